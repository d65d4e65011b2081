//! A worker that is killed while it splits an event for many people.
use std::collections::HashSet;

use prost::Message as _;
use rand::RngExt as _;
use watchbell::delivery::{Tier, Urgency};
use watchbell::event::{NotificationType, wire};
use watchbell::policy::Platform;

use crate::full;
use crate::support::kafka::{Reader, Record};
use crate::support::services::shared_kafka;
use crate::support::stage::{CEILING, Stage, device, sharing, token_of};
use crate::workers::{dice, people};

/// As shipped: `fanout.chunk_max`. Nobody here has so many devices that theirs alone are more.
const CHUNK_MAX: usize = 64;
const PEOPLE: usize = 500;
const DEVICES: usize = 3;

/// The jobs of one event among what lies on a job topic.
fn jobs_of(event: &str, records: &[Record]) -> Vec<(String, String)> {
    let jobs = records.iter().map(|record| wire::PushJob::decode(&**record.payload.as_ref().unwrap()).unwrap());
    jobs.filter(|job| job.event_id == event).map(|job| (job.user_id, job.device_id)).collect()
}

/// An event for 500 people with three devices each is split into jobs; a kill -9 in the middle repeats at most one chunk of them, and
/// loses none.
#[test]
fn invariant_03_a_kill_in_an_explosion_repeats_one_chunk() {
    let mut dice = dice();
    let people = people(PEOPLE);
    let stage = Stage::new(&shared_kafka(), 1, &people);
    let more: Vec<_> = (people.iter())
        .flat_map(|name| {
            ["tablet", "watch"].map(|id| device(name, id, Platform::Apns, &token_of(&format!("{name}-{id}"))))
        })
        .collect();
    stage.write(&more);
    let everybody: Vec<&str> = people.iter().map(String::as_str).collect();
    let topic = stage.topics.job(Urgency::Normal, Tier::Now);
    let mut jobs = Reader::from_beginning(&stage.bootstrap, &[&topic]);
    for kill in 0..full(2, 10) {
        let event = format!("big-{kill}");
        let mut worker = stage.worker();
        stage.emit(NotificationType::AccountSharing, &sharing(&event, &everybody));
        let at = dice.random_range(1..PEOPLE * DEVICES / 2);
        jobs.until("the moment of the kill", CEILING, |records| jobs_of(&event, records).len() >= at);
        worker.kill();
        let before = jobs_of(&event, jobs.up_to_the_end()).len();
        assert!(before < PEOPLE * DEVICES, "it was over before the kill: this run shows nothing");
        let _worker = stage.worker();
        stage.wait_committed(NotificationType::AccountSharing);
        let all = jobs_of(&event, jobs.up_to_the_end());
        let different: HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), PEOPLE * DEVICES, "each device has its job");
        let repeated = all.len() - different.len();
        eprintln!("killed after {before} jobs: {repeated} repeated");
        assert!(repeated <= CHUNK_MAX, "{repeated} jobs came again after a kill at {before}");
    }
}
