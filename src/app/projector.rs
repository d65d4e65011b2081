//! Events that ask become requests that people answer, outcomes what they may look back on, and lifecycle records retire keys: read in a
//! group of the API's own, so that several processes share the work.
//!
//! The point: a record's offset is finished after the transaction that holds its requests and what upstream hears of them. Killed between
//! the two, the record is read again and changes nothing, because what is there is known. Records of one key are projected in their order,
//! so that upstream hears of a request before it hears of its end; what is read out of order after all (a cancel before its event, an
//! older event after a newer one) the transactions put right.
//!
//! A key that floods takes its partition's part of what is worked on at once, and no more: other partitions go on. What comes behind the
//! flood in its own partition waits for it, as long as its lane takes for so many transactions; to go past it, either the flood would have
//! to be kept here, without a bound, or its records be left in the log and read a second time, with a second place to commit.
//!
//! An event that cannot be read is counted and passed over: the worker, which reads the same record, dead-letters it. So is, with a warning,
//! what the store says it will never take: one record must not hold up everybody's. It fails by waiting: while the store does not answer,
//! records wait in Kafka.
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use metrics::counter;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::task::TaskTracker;

use super::courier::PushCourier;
use super::patience::{Taken, given_up, until_taken};
use super::{StartError, lifecycle, outcome};
use crate::config::Config;
use crate::event::{Limits, NotificationType, Timestamp};
use crate::kafka::client::Clients;
use crate::kafka::source::{Source, SourceHandle, Subscription};
use crate::people::codec_event::{Asked, decode_asked};
use crate::people::{Projection, RequestId};
use crate::seam::{Budget, Clock, Feed, Forwarder, Record, RecordSource, SystemClock};
use crate::store::{Admin, Projected, Requests};
use crate::telemetry::Component;

/// Records of a type that are worked on at once: more than the store does at once, so that it never waits for Kafka.
const IN_FLIGHT: usize = 128;
/// Of these, those of one partition: as many as keep its lanes at work when their keys are spread, and what one key that floods may take.
const OF_PARTITION: usize = 2 * LANES;
/// Outcomes that are worked on at once.
const OUTCOMES_IN_FLIGHT: usize = OUTCOME_LANES * outcome::BATCH_MAX;
/// Of these, those of one partition.
const OUTCOMES_OF_PARTITION: usize = OUTCOMES_IN_FLIGHT / 2;
/// Lanes of outcomes, each of which notes many at once.
const OUTCOME_LANES: usize = 4;
/// Lanes of lifecycle records: each is one transaction, or for a whole workspace many.
const LIFECYCLE_LANES: usize = 4;
/// Keys are spread over so many lanes, each of which projects one record after the other: as many as the store does at once.
const LANES: usize = 16;
/// People of one event that are asked at once, each in a transaction of their own: an event may ask hundreds, and others wait behind it in its lane.
const PEOPLE_AT_ONCE: usize = 4;

/// Joins the group. The brokers may come later.
pub(super) async fn start(config: &Config, clients: &Clients) -> Result<(Source, SourceHandle), StartError> {
    let kinds = NotificationType::ALL.into_iter().filter(|kind| kind.is_actionable());
    let events = kinds.map(|kind| (config.topics.event(kind).to_owned(), Feed::Event(kind)));
    let others = [(config.topics.outcomes.clone(), Feed::Outcome), (config.topics.lifecycle.clone(), Feed::Lifecycle)];
    let topics: Vec<_> = events.chain(others).collect();
    let budget = |feed| match feed {
        Feed::Outcome => Budget::shared(OUTCOMES_IN_FLIGHT, OUTCOMES_OF_PARTITION),
        _ => Budget::shared(IN_FLIGHT, OF_PARTITION),
    };
    let budgets: HashMap<_, _> = topics.iter().map(|(_, feed)| (*feed, budget(*feed))).collect();
    let prefetch_kib = config.kafka.prefetch_budget_mib * 1024;
    let subscription = Subscription { group: config.kafka.requests_group(), topics, prefetch_kib };
    let clients = clients.clone();
    // Asking the brokers for their partitions blocks.
    let source = tokio::task::spawn_blocking(move || Source::start(&clients, subscription, budgets)).await??;
    let handle = source.handle();
    Ok((source, handle))
}

/// Projects what it reads until the source is closed and everything that it handed out has come to an end.
pub(super) async fn run(
    mut source: impl RecordSource,
    (requests, admin): (Requests, Admin),
    courier: PushCourier,
    letters: impl Forwarder + Clone,
    (limits, lanes_stand): (Limits, Component),
) {
    lanes_stand.ready();
    let tasks = TaskTracker::new();
    // What waits in the lanes is bounded by the budgets.
    let lanes: [UnboundedSender<Record>; LANES] = std::array::from_fn(|_| {
        let (enter, mut records) = unbounded_channel();
        let requests = requests.clone();
        tasks.spawn(async move {
            while let Some(record) = records.recv().await {
                project_event(&requests, record, limits).await;
            }
        });
        enter
    });
    let outcomes: [UnboundedSender<Record>; OUTCOME_LANES] = std::array::from_fn(|_| {
        let (enter, records) = unbounded_channel();
        tasks.spawn(outcome::run(records, requests.clone()));
        enter
    });
    let lives: [UnboundedSender<Record>; LIFECYCLE_LANES] = std::array::from_fn(|_| {
        let (enter, records) = unbounded_channel();
        tasks.spawn(lifecycle::run(records, admin.clone(), courier.clone(), letters.clone()));
        enter
    });
    let hasher = RandomState::new();
    while let Some(batch) = source.receive().await {
        for record in batch {
            let hash = match record.key.as_deref() {
                Some(key) => hasher.hash_one(key),
                None => record.offset.unsigned_abs(),
            };
            // A lane ends after the last of its senders, which is here.
            let lane = match record.feed {
                Feed::Outcome => &outcomes[(hash % OUTCOME_LANES as u64) as usize],
                Feed::Lifecycle => &lives[(hash % LIFECYCLE_LANES as u64) as usize],
                _ => &lanes[(hash % LANES as u64) as usize],
            };
            if let Err(SendError(record)) = lane.send(record) {
                // No panic of a record's ends a lane, so this is none of a record's. It stays unfinished, and is read again.
                let (lease, offset) = (&record.lease, record.offset);
                tracing::error!(topic = %lease.topic(), partition = lease.partition(), offset, "a lane has ended");
                lanes_stand.waiting("a lane has ended: restart this process, the log has the reason");
                lease.abandon(offset);
            }
        }
    }
    drop((lanes, outcomes, lives));
    tasks.close();
    tasks.wait().await;
}

/// Projects one event and tells its lease. Killed wherever it waits, it leaves the lease untold, and whoever reads the record again does the
/// rest.
pub async fn project_event(requests: &Requests, record: Record, limits: Limits) {
    let done = AssertUnwindSafe(project(requests, &record, limits)).catch_unwind().await;
    let (lease, offset) = (&record.lease, record.offset);
    match done {
        Ok(true) => lease.finish(offset),
        Ok(false) => lease.abandon(offset),
        Err(_) => {
            tracing::error!(topic = %lease.topic(), partition = lease.partition(), offset, "a record could not be projected");
            if let Feed::Event(kind) = record.feed {
                count(kind, "panicked");
            }
            lease.abandon(offset);
        }
    }
}

/// Whether the record is done with; false if its partition went first.
async fn project(requests: &Requests, record: &Record, limits: Limits) -> bool {
    let Feed::Event(kind) = record.feed else { return true };
    let (payload, key) = (record.payload.as_deref(), record.key.as_deref());
    let asked = match decode_asked(payload, &record.headers, key, kind, limits, SystemClock.now()) {
        Ok(asked) => asked,
        Err(error) => {
            let (lease, reason) = (&record.lease, error.reason());
            let (topic, partition) = (lease.topic(), lease.partition());
            tracing::debug!(%topic, partition, offset = record.offset, reason, "unreadable");
            count(kind, "unreadable");
            return true;
        }
    };
    let steps: Vec<_> = match &asked {
        Asked::Requests(projections) => projections.iter().map(Step::Ask).collect(),
        Asked::Cancelled(ids, until) => ids.iter().map(|id| Step::Cancel(id, *until)).collect(),
    };
    for steps in steps.chunks(PEOPLE_AT_ONCE) {
        let taken = join_all(steps.iter().map(|step| take(requests, record, kind, step))).await;
        if taken.contains(&false) {
            return false;
        }
    }
    true
}

/// What an event means for one person.
enum Step<'a> {
    Ask(&'a Projection),
    Cancel(&'a RequestId, Timestamp),
}

/// Whether one person's part of a record is done with; false if its partition went first.
async fn take(requests: &Requests, record: &Record, kind: NotificationType, step: &Step<'_>) -> bool {
    let key = record.key.as_deref();
    let taken = until_taken(std::slice::from_ref(record), || async {
        let now = SystemClock.now();
        Ok(match step {
            Step::Ask(projection) => match requests.project(projection, now).await? {
                Projected::Open => "open",
                Projected::Closed(_) => "closed",
                Projected::Known => "known",
            },
            Step::Cancel(id, until) if requests.cancel(id, key, *until, now).await? => "cancelled",
            Step::Cancel(..) => "over",
        })
    });
    match taken.await {
        Taken::Done(result) => count(kind, result),
        Taken::Refused(unfit) => {
            given_up(record, &unfit);
            count(kind, "refused");
        }
        Taken::Fenced => return false,
    }
    true
}

fn count(kind: NotificationType, result: &'static str) {
    counter!("watchbell_requests_projected_total", "type" => kind.name(), "result" => result).increment(1);
}
