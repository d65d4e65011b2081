//! The projector, killed wherever it waits: between reading and committing, between two people, between the commit and the offset.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use prost::Message as _;
use watchbell::app::{note_outcomes, project_event};
use watchbell::event::NotificationType::IdentityVerification;
use watchbell::event::{Headers, Limits, wire};
use watchbell::people::{RequestDetail, RequestId};
use watchbell::seam::{Budget, Clock as _, Feed, Lease, LeaseState, OutboxTopic, Record, Settlement, SystemClock};
use watchbell::store::{Policy, Requests};

use super::support::{Broker, Killed, heard};
use crate::store_support::{event, over_both, person};
use crate::support::stage;

const LIMITS: Limits = Limits { recipients_max: 10 };
/// Whom each event asks.
const PEOPLE: [&str; 2] = ["ada", "jonas"];

/// A partition that is ours, and whether its record is finished.
#[derive(Debug, Default)]
pub struct Ours(AtomicBool);

impl Lease for Ours {
    fn state(&self) -> LeaseState {
        LeaseState::Owned
    }

    fn topic(&self) -> &Arc<str> {
        static TOPIC: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| "events".into());
        &TOPIC
    }

    fn partition(&self) -> i32 {
        0
    }

    fn finish(&self, _offset: i64) {
        assert!(!self.0.swap(true, Ordering::AcqRel), "finished twice");
    }

    fn abandon(&self, _offset: i64) {
        panic!("nobody took the partition away");
    }

    fn progress(&self, _offset: i64, _next_recipient: u32, _committed: &Arc<Settlement>) {
        panic!("this is no explosion");
    }
}

impl Ours {
    pub fn is_finished(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A record, read for the first time or again.
pub fn read(feed: Feed, payload: Vec<u8>) -> (Arc<Ours>, Record) {
    let lease = Arc::new(Ours::default());
    let record = read_under(Arc::clone(&lease) as _, feed, payload);
    (lease, record)
}

/// A record of that lease.
pub fn read_under(lease: Arc<dyn Lease>, feed: Feed, payload: Vec<u8>) -> Record {
    Record {
        feed,
        lease,
        offset: 7,
        key: Some(Bytes::from_static(b"key")),
        payload: Some(payload.into()),
        headers: Headers::new(),
        timestamp: None,
        next_recipient: 0,
        read_at: Instant::now(),
        permit: Budget::new(1).try_take().unwrap(),
    }
}

/// What marks a record that is read for the first time, and one that is read again: whose transaction lasted shows in what is stored, also
/// where it ended after its process was killed.
const FIRST: &str = "first";
const AGAIN: &str = "again";

fn sign_in(id: &str, mark: &str) -> Vec<u8> {
    let body = wire::IdentityVerificationRequested { application: mark.into(), ..Default::default() };
    stage::event(id, &PEOPLE, wire::event::Body::IdentityVerificationRequested(body)).encode_to_vec()
}

/// How many of the people it asks, as it was read then.
async fn asked(requests: &Requests, id: &str, mark: &str) -> usize {
    let mut asked = 0;
    for user in PEOPLE {
        let id = RequestId { person: person("acme", user), kind: IdentityVerification, event: event(id) };
        let request = requests.request(&id).await.unwrap();
        let detail = request.and_then(|request| request.detail);
        let Some(RequestDetail::IdentityVerification { application, .. }) = detail else { continue };
        asked += usize::from(application == mark);
    }
    asked
}

/// How a notification ended.
pub fn outcome(id: &str, user: &str, ending: wire::Ending) -> wire::Outcome {
    wire::Outcome {
        job_id: vec![7; 16],
        workspace_id: "acme".into(),
        r#type: wire::wire_type(IdentityVerification).into(),
        event_id: id.into(),
        user_id: user.into(),
        ending: ending.into(),
        ended_at: Some(wire::wire_time(SystemClock.now())),
        ..Default::default()
    }
}

/// A delivery to one of the people's phones.
fn delivery(id: &str, user: &str, mark: &str) -> Vec<u8> {
    let accepted = outcome(id, user, wire::Ending::Accepted);
    wire::Outcome { device_id: "d1".into(), reason: mark.into(), ..accepted }.encode_to_vec()
}

/// One that did not ring, of which upstream hears.
fn muted(id: &str, user: &str) -> Vec<u8> {
    wire::Outcome { reason: "muted_by_user".into(), ..outcome(id, user, wire::Ending::Suppressed) }.encode_to_vec()
}

/// How many deliveries of an event people may look back on, as they were read then.
async fn delivered(requests: &Requests, id: &str, mark: &str) -> usize {
    let mut delivered = 0;
    for user in PEOPLE {
        let page = requests.recent(&person("acme", user), None, 200).await.unwrap();
        delivered += page.items.iter().filter(|item| item.event.as_str() == id && item.reason == mark).count();
    }
    delivered
}

over_both! {
    /// Upstream hears once whom an event asks, and they are asked once, whatever it was that was killed.
    async fn killed_while_an_event_is_projected(policy: Policy) {
        let (requests, mut waits, mut rounds, mut seen) = (policy.requests(), 0, 0, BTreeSet::new());
        // How often it waits on its way is not the same each time, so the way is gone until it was killed on each part of it.
        while !BTreeSet::from([(0, false), (1, false), (2, false), (2, true)]).is_subset(&seen) {
            let id = format!("e{rounds}");
            let (lease, record) = read(Feed::Event(IdentityVerification), sign_in(&id, FIRST));
            let (killed, limits) = (requests.clone(), LIMITS);
            let projecting = async move { project_event(&killed, record, limits).await };
            let ended = Killed { waits, inner: Box::pin(projecting) }.await.is_some();
            assert_eq!(lease.is_finished(), ended);
            if !ended {
                let (lease, record) = read(Feed::Event(IdentityVerification), sign_in(&id, AGAIN));
                project_event(&requests, record, LIMITS).await;
                assert!(lease.is_finished());
            }
            let (first, again) = (asked(&requests, &id, FIRST).await, asked(&requests, &id, AGAIN).await);
            assert_eq!((first + again, ended && again > 0), (2, false), "each once, and finished after the commit");
            seen.insert((first, ended));
            (waits, rounds) = (if ended { 0 } else { waits + 1 }, rounds + 1);
            assert!(rounds < 1_000, "{seen:?}");
        }
        let broker = Broker::default();
        policy.outbox().drain(OutboxTopic::Decisions, &broker).await.unwrap();
        let decisions = broker.decisions();
        assert_eq!(decisions.len(), 2 * rounds, "each once, and nothing else");
        for round in 0..rounds {
            assert_eq!(heard(&decisions, &format!("e{round}")), ["asked[]", "asked[]"]);
        }
    }

    /// What became of notifications is noted once, and told once where upstream is to hear of it: whether its event was read before or after.
    async fn killed_while_outcomes_are_noted(policy: Policy) {
        let (requests, mut waits, mut rounds, mut seen) = (policy.requests(), 0, 0, BTreeSet::new());
        let batch = |id: &str, mark: &str| -> (Vec<_>, Vec<_>) {
            let outcomes = PEOPLE.into_iter().flat_map(|user| [delivery(id, user, mark), muted(id, user)]);
            outcomes.map(|outcome| read(Feed::Outcome, outcome)).unzip()
        };
        let project = async |id: &str| project_event(&requests, read(Feed::Event(IdentityVerification), sign_in(id, FIRST)).1, LIMITS).await;
        let all = [(0, false), (2, false), (2, true)].map(|(first, ended)| [(first, ended, true), (first, ended, false)]);
        while !all.iter().flatten().all(|state| seen.contains(state)) {
            let (id, before) = (format!("e{rounds}"), rounds % 2 == 0);
            if before {
                project(&id).await;
            }
            let (leases, mut records) = batch(&id, FIRST);
            let killed = requests.clone();
            let noting = async move { note_outcomes(&killed, &mut records).await };
            let ended = Killed { waits, inner: Box::pin(noting) }.await.is_some();
            assert!(leases.iter().all(|lease| lease.is_finished() == ended));
            if !ended {
                let (leases, mut records) = batch(&id, AGAIN);
                note_outcomes(&requests, &mut records).await;
                assert!(leases.iter().all(|lease| lease.is_finished()));
            }
            if !before {
                project(&id).await;
            }
            let (first, again) = (delivered(&requests, &id, FIRST).await, delivered(&requests, &id, AGAIN).await);
            assert_eq!((first + again, ended && again > 0), (2, false), "each once, and finished after the commit");
            assert_ne!(first, 1, "all or none");
            seen.insert((first, ended, before));
            rounds += 1;
            // Each wait twice: before the event and after it.
            waits = if ended && !before { 0 } else { waits + u64::from(!before) };
            assert!(rounds < 1_000, "{seen:?}");
        }
        let broker = Broker::default();
        policy.outbox().drain(OutboxTopic::Decisions, &broker).await.unwrap();
        let decisions = broker.decisions();
        for round in 0..rounds {
            let mut heard = heard(&decisions, &format!("e{round}"));
            heard.sort();
            assert_eq!(heard, ["Muted", "Muted", "asked[]", "asked[]"], "round {round}");
        }
    }
}
