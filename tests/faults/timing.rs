//! How soon others go on: after a worker's death, and after a broker's return. Both are timers of the shipped settings; what this machine
//! adds to them is taken from the same run.
use std::collections::HashMap;
use std::time::{Duration, Instant};

use prost::Message as _;
use watchbell::event::{NotificationType, Timestamp, wire};
use watchbell::sandbox::SandboxConfig;
use watchbell::seam::{Clock as _, SystemClock};

use crate::account::{Emitted, Load, emit, settle};
use crate::support::eventually;
use crate::support::kafka::Reader;
use crate::support::services::{Broker, shared_kafka};
use crate::support::stage::{CEILING, Stage};
use crate::workers::{assigned, people};

/// How soon a dead worker's partitions are somebody else's: the session of 6 s, and a rebalance. Absolute, unlike the other limits here: it is
/// what is promised (a one-time password must not be stale by then), and what it is made of are timers, not this machine's speed.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);
/// How soon after its return a broker's records flow again.
const RECOVERED_WITHIN: Duration = Duration::from_secs(2);
const PARTITIONS: i32 = 4;

/// When each event's push arrived first.
fn arrived(stage: &Stage) -> HashMap<String, Timestamp> {
    let mut at = HashMap::new();
    for push in stage.sandbox.apns().pushes() {
        let id = push.payload["event_id"].as_str().unwrap().to_owned();
        at.entry(id).or_insert(Timestamp(push.at_ms as i64));
    }
    at
}

/// The events of each partition, in its order.
fn by_partition(stage: &Stage) -> HashMap<(String, i32), Vec<String>> {
    let topics = NotificationType::ALL.map(|kind| stage.topics.event(kind));
    let mut reader = Reader::from_beginning(&stage.bootstrap, &topics);
    let mut events: HashMap<_, Vec<String>> = HashMap::new();
    for record in reader.up_to_the_end() {
        let event = wire::Event::decode(&**record.payload.as_ref().unwrap()).unwrap();
        events.entry((record.topic.clone(), record.partition)).or_default().push(event.event_id);
    }
    events
}

/// A worker is killed: within ten seconds the other one has its partitions, and delivers what is on them.
#[test]
fn a_dead_worker_is_noticed() {
    let people = people(100);
    let stage = Stage::new(&shared_kafka(), PARTITIONS, &people);
    let all = f64::from(PARTITIONS) * NotificationType::COUNT as f64;
    let (mut victim, other) = (stage.worker(), stage.worker());
    let load = Load::start(&stage, &people, usize::MAX, 100);
    eventually("both to have partitions", CEILING, || {
        let (one, two) = (assigned(&victim, &stage), assigned(&other, &stage));
        (one > 0.0 && two > 0.0 && one + two == all).then_some(())
    });
    load.wait_for_more(300);
    let (killed, began) = (SystemClock.now(), Instant::now());
    victim.kill();
    eventually("the other one to have all partitions", CEILING, || (assigned(&other, &stage) == all).then_some(()));
    let reassigned = began.elapsed();
    load.wait_for_more(100);
    let emitted = load.end();
    settle(&stage, &emitted);

    let (arrived, emitted): (_, HashMap<_, _>) =
        (arrived(&stage), emitted.into_iter().map(|one| (one.event.clone(), one)).collect());
    let delay = |one: &Emitted| arrived[&one.event].since(one.at);
    // What came in the last second before: the machine's own pace.
    let just_before =
        emitted.values().filter(|one| one.at < killed.minus(delay(one)) && killed.since(one.at).as_secs() < 2);
    let usual = just_before.map(delay).max().unwrap();
    let of_partitions = by_partition(&stage);
    let first_after =
        of_partitions.values().filter_map(|events| events.iter().map(|id| &emitted[id]).find(|one| one.at >= killed));
    let silent = first_after.map(|one| arrived[&one.event].since(killed)).max().unwrap();
    eprintln!(
        "reassigned {reassigned:?} after the kill, longest silence of a partition {silent:?}, usual delay {usual:?}"
    );
    assert!(reassigned < NOTICED_WITHIN, "{reassigned:?}");
    assert!(silent < NOTICED_WITHIN + usual, "{silent:?}, usually {usual:?}");
}

/// The broker returns, after an outage that the session outlived and after one that it did not: within two seconds from the moment at which
/// another client of it is served, the worker delivers again.
#[test]
fn a_worker_recovers_with_its_broker() {
    let mut broker = Broker::start();
    let people = people(50);
    let probe = "probe".to_owned();
    let stage = Stage::with(
        &broker.address(),
        PARTITIONS,
        &[&people[..], std::slice::from_ref(&probe)].concat(),
        SandboxConfig::default(),
        "",
    );
    let mut worker = stage.worker();
    let load = Load::start(&stage, &people, usize::MAX, 50);
    let mut probes = Vec::new();
    for outlived in [true, false] {
        load.wait_for_more(100);
        broker.kill();
        let lost = worker.metric("watchbell_partitions_lost_total", &[]);
        if outlived {
            load.wait_for_more(50);
        } else {
            eventually("the partitions to be lost", CEILING, || {
                (worker.metric("watchbell_partitions_lost_total", &[]) > lost).then_some(())
            });
        }
        broker.start_again();
        let back = Instant::now();
        let kind = NotificationType::OtpReceived;
        let to = (&stage.producer, stage.topics.event(kind));
        probes.push(emit(to, kind, format!("probe-{outlived}"), probe.clone(), CEILING * 2));
        stage.producer.flush();
        let (served, served_at) = (back.elapsed(), SystemClock.now());
        let id = &probes.last().unwrap().event;
        let delivered = eventually("the probe", CEILING, || arrived(&stage).remove(id));
        let recovered = delivered.since(served_at);
        eprintln!(
            "session outlived: {outlived}; another client served after {served:?}, delivered {recovered:?} after that"
        );
        assert!(recovered < RECOVERED_WITHIN, "{recovered:?}");
    }
    let emitted = [load.end(), probes].concat();
    settle(&stage, &emitted);
    worker.terminate();
    assert!(worker.wait(CEILING).success(), "{}", worker.log());
}
