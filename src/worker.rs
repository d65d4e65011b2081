//! The worker's loop: order by key, parallel across keys.
//!
//! The point: within one feed, a record begins only after the first attempt of the previous record of its key was answered or forwarded;
//! that the broker acknowledged the forward is what its offset waits for, not the next record. Different keys run at the same time, far
//! beyond the number of partitions. Records without a key have no order.
//!
//! How: a lane for each key that has work. The first record of a key starts a task; what arrives meanwhile waits in the lane, and the
//! same task takes it up when it is done, so a busy key costs no new task and the loop waits for nobody. A key with much waiting behind it
//! is an offender (its producer gives one key to what needs no order): [`Lanes::longest`] shows it, and a line of the log says where its
//! records are.
//!
//! It deliberately knows nothing of budgets (the source takes a permit for each record before it hands it over), of commits (the
//! record's lease), and of what handling means (the [`Pipeline`]).
//!
//! It fails by not going on: a record that could not even be dead-lettered is given up, never finished, and read again by whoever owns
//! its partition next.
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::FutureExt as _;
use tokio_util::task::TaskTracker;

use crate::allowance::Allowance;
use crate::event::NotificationType;
use crate::pipeline::{InHand, Pipeline};
use crate::seam::{Clock, Feed, Forwarder, PolicySource, PushProvider, Record, RecordSource};

/// So many records that wait behind one of their key are told about: at 100 ms a push the last of them waits for more than six seconds.
const BACKLOG_TOLD: usize = 64;

/// Runs one source until it is closed and everything that it handed out has come to an end. Sources may share `lanes`.
pub async fn run<R, S, P, F, C>(mut source: R, pipeline: Arc<Pipeline<S, P, F, C>>, lanes: Arc<Lanes>)
where
    R: RecordSource,
    S: PolicySource,
    P: PushProvider,
    F: Forwarder,
    C: Clock,
{
    let tasks = TaskTracker::new();
    while let Some(batch) = source.receive().await {
        for record in batch {
            let Some(key) = lanes.key(&record) else {
                tasks.spawn(one(Arc::clone(&pipeline), record));
                continue;
            };
            if let Some(record) = lanes.enter(key, record) {
                tasks.spawn(lane(Arc::clone(&pipeline), Arc::clone(&lanes), key, record));
            }
        }
    }
    tasks.close();
    tasks.wait().await;
}

fn lane<S, P, F, C>(
    pipeline: Arc<Pipeline<S, P, F, C>>,
    lanes: Arc<Lanes>,
    key: u64,
    first: Record,
) -> impl Future<Output = ()> + Send
where
    S: PolicySource,
    P: PushProvider,
    F: Forwarder,
    C: Clock,
{
    let mut hand = InHand::new(first);
    async move {
        loop {
            guarded(&pipeline, &mut hand).await;
            match lanes.next(key) {
                Some(next) => hand = InHand::new(next),
                None => return,
            }
        }
    }
}

fn one<S, P, F, C>(pipeline: Arc<Pipeline<S, P, F, C>>, record: Record) -> impl Future<Output = ()> + Send
where
    S: PolicySource,
    P: PushProvider,
    F: Forwarder,
    C: Clock,
{
    let mut hand = InHand::new(record);
    async move { guarded(&pipeline, &mut hand).await }
}

/// Handles one record. The pipeline dead-letters what it panics on; a panic that gets here is one of the dead-lettering itself, and must
/// not take the lane with it.
async fn guarded<S, P, F, C>(pipeline: &Pipeline<S, P, F, C>, hand: &mut InHand)
where
    S: PolicySource,
    P: PushProvider,
    F: Forwarder,
    C: Clock,
{
    if AssertUnwindSafe(pipeline.handle(hand)).catch_unwind().await.is_err() {
        let (lease, offset) = (&hand.record().lease, hand.record().offset);
        tracing::error!(topic = %lease.topic(), partition = lease.partition(), offset, "a record could not be dead-lettered");
        lease.abandon(offset);
    }
}

/// The keys that have work, and what waits for them.
pub struct Lanes {
    hasher: RandomState,
    busy: Mutex<Busy>,
    /// Lines about keys with a long backlog.
    lines: Allowance,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { hasher: RandomState::new(), busy: Mutex::default(), lines: Allowance::one_line_a_minute() }
    }
}

/// By the hash of the key; `None` while nothing waits behind the record that is being handled.
type Busy = HashMap<u64, Option<Box<VecDeque<Record>>>, Identity>;

/// The keys of the map are hashes already.
type Identity = std::hash::BuildHasherDefault<IdentityHasher>;

#[derive(Default)]
struct IdentityHasher(u64);

impl std::hash::Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only u64 keys are hashed with this; anything else still gives some number.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

impl Lanes {
    /// How many records wait behind one of their key, in the longest lane of each type, by [`NotificationType::index`]. Looks at every
    /// lane, of which there are as many as records in flight: for a scrape, not for the flow.
    pub fn longest(&self) -> [usize; NotificationType::COUNT] {
        let mut longest = [0; NotificationType::COUNT];
        for waiting in self.lock().values().flatten() {
            if let Some(Feed::Event(kind)) = waiting.front().map(|record| record.feed) {
                let longest = &mut longest[kind.index()];
                *longest = waiting.len().max(*longest);
            }
        }
        longest
    }

    /// The lane of a record; `None` when it has no order. Two keys with one hash share a lane: more order than promised, never less.
    fn key(&self, record: &Record) -> Option<u64> {
        match record.feed {
            Feed::Event(kind) => record.key.as_deref().map(|key| self.hasher.hash_one((kind.index(), key))),
            // One after the other in each hold partition: the head is the prober.
            Feed::Hold(_) => Some(self.hasher.hash_one((record.lease.topic(), record.lease.partition()))),
            Feed::Job(..) | Feed::Redrive | Feed::Decision | Feed::Outcome | Feed::Lifecycle => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Busy> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the record back when its lane was free, which is now busy; keeps it when it must wait.
    fn enter(&self, key: u64, record: Record) -> Option<Record> {
        let mut busy = self.lock();
        match busy.entry(key) {
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(None);
                Some(record)
            }
            std::collections::hash_map::Entry::Occupied(mut lane) => {
                let waiting = lane.get_mut().get_or_insert_default();
                waiting.push_back(record);
                if waiting.len() >= BACKLOG_TOLD {
                    self.tell_of(waiting);
                }
                None
            }
        }
    }

    /// Where the records of a busy key are. The key itself is somebody's id.
    #[cold]
    fn tell_of(&self, waiting: &VecDeque<Record>) {
        let Some(Record { feed: Feed::Event(kind), lease, offset, .. }) = waiting.back() else { return };
        if self.lines.take(Instant::now()) {
            tracing::warn!(
                topic = %lease.topic(), partition = lease.partition(), offset, kind = kind.name(), waiting = waiting.len(),
                "many records of one key wait for each other; what needs no order should have a key of its own, or none"
            );
        }
    }

    /// The next record of a lane; without one the lane is free again.
    fn next(&self, key: u64) -> Option<Record> {
        let mut busy = self.lock();
        let next = busy.get_mut(&key).and_then(Option::as_mut).and_then(|waiting| waiting.pop_front());
        if next.is_none() {
            busy.remove(&key);
        }
        next
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
