//! The six seams: where the flow meets the outside. Each is a trait; the flow knows nothing else.
//!
//! | trait | in production | besides |
//! | --- | --- | --- |
//! | [`RecordSource`] | Kafka consumer groups | records from memory, in the flow's tests |
//! | [`PolicySource`] | PostgreSQL or SQLite | the cache in front of either |
//! | [`PushProvider`] | APNs | FCM |
//! | [`Forwarder`] | Kafka producer | a list in memory, in the flow's tests |
//! | [`OutboxSink`] | Kafka producer | a list in memory, in the store's tests |
//! | [`Clock`] | the system's | a clock that tests move |
//!
//! What breaks on our side is [`Unavailable`] and nothing else: the flow stalls, backs off, never commits and never drops. What a
//! provider says is an [`Outcome`], as data, and never an error.
mod feed;
mod outbox;
mod policy;

pub use feed::{Feed, FeedKind, Group};
pub use outbox::{OutboxRecord, OutboxSink, OutboxTopic};
pub use policy::{DeadToken, PolicySource, Query, Removal, Resolved, Ringing};

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::delivery::{Outcome, OutcomeRecord, Push, PushJob, Reason, Tier};
use crate::event::{Headers, Timestamp};
use crate::policy::DeviceView;

/// Something of ours cannot be reached: a store, a cache, a broker. The caller waits and tries again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is unavailable: {why}")]
pub struct Unavailable {
    /// What: `policy store`, `policy row`, `Kafka`.
    pub what: &'static str,
    /// What it said.
    pub why: String,
}

/// What may still be done with a record of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// The partition is ours.
    Owned,
    /// The partition is being given back: what was begun may end, nothing new is begun.
    Draining,
    /// The partition is somebody else's by now: nothing may be sent any more.
    Fenced,
}

/// One term of ownership of one partition. Records hold it; it learns when each of them is finished.
pub trait Lease: Send + Sync + std::fmt::Debug {
    /// What may still be done. Cheap: read before each record is begun, and again when a push goes on the wire.
    fn state(&self) -> LeaseState;
    /// The topic's name.
    fn topic(&self) -> &Arc<str>;
    /// The partition's number.
    fn partition(&self) -> i32;
    /// The record at this offset is finished: every forward of it was acknowledged. Called once for each record.
    fn finish(&self, offset: i64);
    /// The record at this offset is given up unfinished (fenced, or shut down before it was begun): whoever owns the partition next
    /// reads it again. Called instead of [`Lease::finish`].
    fn abandon(&self, offset: i64);
    /// The recipients before `next_recipient` of the record at this offset are exploded and acknowledged. Takes one hold on `committed`
    /// and releases it when that survives a crash, or when the lease is not owned any more: what comes first.
    fn progress(&self, offset: i64, next_recipient: u32, committed: &Arc<Settlement>);
}

/// One record, as it was read. Dropping it releases its place in the in-flight budget; its lease must have been told by then.
#[derive(Debug)]
pub struct Record {
    /// What its topic carries.
    pub feed: Feed,
    /// The term of ownership under which it was read.
    pub lease: Arc<dyn Lease>,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub payload: Option<Bytes>,
    /// Its headers.
    pub headers: Headers,
    /// Its timestamp; the in-process broker makes all the same, so nothing is derived from it.
    pub timestamp: Option<Timestamp>,
    /// Recipients before this one were exploded by an earlier reader that did not get to the end.
    pub next_recipient: u32,
    /// When it was read, by the monotonic clock.
    pub read_at: Instant,
    /// Its place in the in-flight budget, released on drop.
    pub permit: Permit,
}

/// A place in an in-flight budget, given back on drop.
#[derive(Debug)]
pub struct Permit(Arc<Budget>);

/// How many records of one kind may be in flight. The source takes a permit before it takes a record, so that back-pressure is a queue
/// that is not polled: nothing prefetched is dropped.
#[derive(Debug)]
pub struct Budget {
    /// Most at once.
    max: usize,
    /// Most at once of one partition.
    of_one: usize,
    taken: std::sync::atomic::AtomicUsize,
    /// Woken when a place becomes free after the budget was exhausted.
    freed: std::sync::Mutex<Option<std::thread::Thread>>,
}

impl Budget {
    /// A budget of `max` places, at least 1.
    pub fn new(max: usize) -> Arc<Self> {
        Self::shared(max, usize::MAX)
    }

    /// The same, of which one partition has `of_one` at most, at least 1: so that no backlog of one partition takes all of them.
    pub fn shared(max: usize, of_one: usize) -> Arc<Self> {
        let (max, of_one) = (max.max(1), of_one.max(1));
        Arc::new(Self { max, of_one, taken: 0.into(), freed: std::sync::Mutex::new(None) })
    }

    /// A place, if one is free.
    pub fn try_take(self: &Arc<Self>) -> Option<Permit> {
        use std::sync::atomic::Ordering::{AcqRel, Acquire};
        let take = |taken: usize| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(AcqRel, Acquire, take).ok().map(|_| Permit(Arc::clone(self)))
    }

    /// Places taken at this moment.
    pub fn taken(&self) -> usize {
        self.taken.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Most places at once.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Most places at once of one partition.
    pub fn of_one(&self) -> usize {
        self.of_one
    }

    /// Asks that `thread` be unparked when the next place becomes free.
    pub fn notify(&self, thread: std::thread::Thread) {
        *self.freed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(thread);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let before = self.0.taken.fetch_sub(1, std::sync::atomic::Ordering::AcqRel);
        if before == self.0.max {
            let waiting = self.0.freed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            if let Some(thread) = waiting {
                thread.unpark();
            }
        }
    }
}

/// Where records come from. Ownership of partitions, commits and delays are its own affair.
pub trait RecordSource: Send {
    /// The next batch; `None` when it was closed and everything handed out before was told to its lease.
    fn receive(&mut self) -> impl Future<Output = Option<Vec<Record>>> + Send;
}

/// A credential's name in config, `apns.<name>` or `fcm.<name>`: what a misconfiguration holds apart.
pub type CredentialId = Arc<str>;

/// Whether a push may still be sent. Cheap, and asked where a push's turn comes: it may have waited for seconds by then.
pub type Wanted<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// Where pushes go.
pub trait PushProvider: Send + Sync + 'static {
    /// The credential that serves a device; `None` when no credential is configured for its app and environment.
    fn credential(&self, device: &DeviceView<'_>) -> Option<&CredentialId>;
    /// Sends one push and waits for the answer, until `deadline` at the latest. What is certain not to have been processed was resent
    /// within. `wanted` is asked just before each time that it goes on the wire; once it says no, nothing is sent any more.
    fn push<'a>(
        &'a self,
        push: &'a Push<'a>,
        deadline: Instant,
        wanted: Wanted<'a>,
    ) -> impl Future<Output = Outcome> + Send + 'a;
}

/// What leaves a record or a job besides its pushes and its outcome.
#[derive(Debug)]
pub enum Forward {
    /// A job for a tier.
    Job {
        /// Which tier.
        tier: Tier,
        /// When the tier lets it go.
        not_before: Timestamp,
        /// The job.
        job: Box<PushJob>,
    },
    /// A job that waits for its credential.
    Hold {
        /// The credential.
        credential: CredentialId,
        /// The job, its reason in [`PushJob::last_reason`].
        job: Box<PushJob>,
    },
    /// A job that a newer worker wrote: its bytes go to the 30s tier as they came, again and again until its deadline.
    NewerJob {
        /// The job's bytes, key and headers.
        letter: Box<RawRecord>,
        /// When the tier lets it go.
        not_before: Timestamp,
        /// Its deadline.
        expires_at: Timestamp,
    },
    /// A record's dead letter: its bytes as they came.
    DeadRecord {
        /// The record's position, bytes and headers.
        letter: Box<RawRecord>,
        /// A closed set, for headers and metrics.
        reason: Reason,
        /// For people.
        explanation: String,
    },
    /// A job's dead letter.
    DeadJob {
        /// The job, its reason in [`PushJob::last_reason`].
        job: Box<PushJob>,
        /// The provider's reason, or ours.
        reason: Reason,
        /// The group that read it, or the event that it is a part of.
        group: Group,
    },
}

/// The bytes and the origin of a record that goes to the dead letters.
#[derive(Debug, Clone)]
pub struct RawRecord {
    /// Where it was read.
    pub origin: crate::delivery::Origin,
    /// What its topic carries.
    pub feed: Feed,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub payload: Option<Bytes>,
    /// Its headers.
    pub headers: Headers,
    /// Its timestamp.
    pub timestamp: Option<Timestamp>,
    /// When it was first read.
    pub first_seen: Timestamp,
}

/// Where forwards go. Nothing is ever given up: a forward that the broker does not take is published again until it does.
pub trait Forwarder: Send + Sync + 'static {
    /// Publishes one job's ending. Takes one hold on `settlement` and releases it when the broker acknowledged. Returns at once. On the
    /// hot path: everything is borrowed and encoded in place.
    fn outcome(&self, outcome: &OutcomeRecord<'_>, settlement: &Arc<Settlement>);
    /// Publishes anything else, in the same way.
    fn publish(&self, forward: Forward, settlement: &Arc<Settlement>);
}

/// Counts what must be acknowledged before something may happen: a record's offset be finished, or a waiting task go on.
///
/// It starts with one hold, the creator's; each forward adds one; it settles when all were released.
#[derive(Debug)]
pub struct Settlement {
    pending: std::sync::atomic::AtomicUsize,
    given_up: std::sync::atomic::AtomicBool,
    then: Then,
}

#[derive(Debug)]
enum Then {
    Finish(Arc<dyn Lease>, i64),
    Wake(tokio::sync::Notify),
}

impl Settlement {
    /// Finishes the record at `offset` of `lease` when it settles.
    pub fn finishing(lease: Arc<dyn Lease>, offset: i64) -> Arc<Self> {
        Arc::new(Self { pending: 1.into(), given_up: false.into(), then: Then::Finish(lease, offset) })
    }

    /// Lets [`Settlement::settled`] return when it settles.
    pub fn waiting() -> Arc<Self> {
        Arc::new(Self { pending: 1.into(), given_up: false.into(), then: Then::Wake(tokio::sync::Notify::new()) })
    }

    /// One more acknowledgement must come.
    pub fn hold(&self) {
        self.pending.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    /// The record ends unfinished: when this settles, its lease is told to abandon it instead.
    pub fn give_up(&self) {
        self.given_up.store(true, std::sync::atomic::Ordering::Release);
    }

    /// One acknowledgement came, or the creator is done.
    pub fn release(&self) {
        use std::sync::atomic::Ordering::{AcqRel, Acquire};
        if self.pending.fetch_sub(1, AcqRel) == 1 {
            match &self.then {
                Then::Finish(lease, offset) if self.given_up.load(Acquire) => lease.abandon(*offset),
                Then::Finish(lease, offset) => lease.finish(*offset),
                Then::Wake(notify) => notify.notify_one(),
            }
        }
    }

    /// Releases the creator's hold and waits until all acknowledgements came. Only for [`Settlement::waiting`].
    pub async fn settled(&self) {
        self.release();
        match &self.then {
            Then::Finish(..) => {}
            Then::Wake(notify) => notify.notified().await,
        }
    }
}

/// The time.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// The monotonic clock.
    fn instant(&self) -> Instant;
}

/// The system's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp(since.as_millis() as i64)
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }
}
