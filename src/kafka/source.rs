//! One consumer group as a [`RecordSource`].
//!
//! The point: [`Source::start`] joins a group and gives records; [`SourceHandle::stop`] ends that in order: nothing new is handed over,
//! what was begun may end, offsets are committed, the group is left, and only then [`Source::receive`] returns `None`.
//!
//! It deliberately decides nothing about records. How many may be in flight is the caller's: one budget for each feed, and no budget
//! shared by two sources (a budget wakes one thread).
//!
//! It fails at the start only, when the clients' properties are refused. After that brokers may come and go: [`SourceHandle::view`] says
//! how it stands.
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::client::{ClientError, Clients};
use super::commits::Committer;
use super::group::{GroupContext, Rebalances, Shared};
use super::reader::{Parts, Reader};
use crate::seam::{Budget, Feed, Lease, Record, RecordSource};

/// How long the brokers are asked how many partitions there are. A cluster that is away does not hold up the start.
const PARTITIONS_TIMEOUT: Duration = Duration::from_secs(5);
/// Partitions that are reckoned with when nobody answers.
const PARTITIONS_GUESS: usize = 64;
/// A partition's queue is worth having from this size on, in KiB; beyond the second one it only costs memory.
const PREFETCH_KIB: std::ops::RangeInclusive<u32> = 16..=1024;

/// What a group reads.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The group's name.
    pub group: String,
    /// Its topics, with what each carries.
    pub topics: Vec<(String, Feed)>,
    /// Its part of `kafka.prefetch_budget_mib`, in KiB.
    pub prefetch_kib: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Source {
    batches: UnboundedReceiver<Vec<Record>>,
    handle: SourceHandle,
}

/// Stops a source, and says how it stands. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct SourceHandle {
    shared: Arc<Shared>,
    group: Arc<str>,
}

impl Source {
    /// Joins the group. `budgets` has one budget for each feed of the subscription. Blocks for up to 5 s while asking for the number
    /// of partitions: call it from a thread that may.
    pub fn start(
        clients: &Clients,
        subscription: Subscription,
        budgets: HashMap<Feed, Arc<Budget>>,
    ) -> Result<Self, ClientError> {
        let missing: Vec<_> = subscription.topics.iter().filter(|(_, feed)| !budgets.contains_key(feed)).collect();
        if !missing.is_empty() {
            return Err(ClientError::Config(vec![format!("no in-flight budget is given for {missing:?}")]));
        }
        let topics: Vec<&str> = subscription.topics.iter().map(|(topic, _)| topic.as_str()).collect();
        let partitions = match clients.partitions(&topics, PARTITIONS_TIMEOUT) {
            Ok(counts) => counts.iter().sum::<usize>().max(1),
            Err(error) => {
                tracing::warn!(group = subscription.group, %error, "going on; the group is joined when Kafka answers");
                PARTITIONS_GUESS
            }
        };
        let prefetch_kib = subscription.prefetch_kib / u32::try_from(partitions).unwrap_or(u32::MAX);
        let prefetch_kib = prefetch_kib.clamp(*PREFETCH_KIB.start(), *PREFETCH_KIB.end());
        let properties = clients.consumer(&subscription.group, prefetch_kib);
        let context: GroupContext = clients.events_with("consumer", Rebalances::default());
        let mut consumer: BaseConsumer<GroupContext> =
            properties.create_with_context(context).map_err(ClientError::Create)?;

        let shared = Arc::new(Shared::default());
        // Set once, right here.
        shared.events.set(Arc::clone(consumer.context())).ok();
        let waker = Arc::clone(&shared);
        consumer.set_nonempty_callback(move || waker.wake());
        consumer.subscribe(&topics).map_err(ClientError::Create)?;

        let (out, batches) = unbounded_channel();
        let group: Arc<str> = subscription.group.into();
        let config = clients.config();
        let parts = Start {
            consumer: Arc::new(consumer),
            shared: Arc::clone(&shared),
            feeds: subscription.topics.into_iter().collect(),
            budgets,
            out,
            group: Arc::clone(&group),
            commit_interval: config.commit_interval(),
            revoke_drain: config.revoke_drain(),
            session: Duration::from_millis(config.session_timeout_ms.into()),
        };
        parts.spawn().map_err(|error| ClientError::Config(vec![format!("no thread could be started: {error}")]))?;
        Ok(Self { batches, handle: SourceHandle { shared, group } })
    }

    /// Stops it and says how it stands.
    pub fn handle(&self) -> SourceHandle {
        self.handle.clone()
    }
}

impl RecordSource for Source {
    async fn receive(&mut self) -> Option<Vec<Record>> {
        self.batches.recv().await
    }
}

struct Start {
    consumer: Arc<BaseConsumer<GroupContext>>,
    shared: Arc<Shared>,
    feeds: HashMap<String, Feed>,
    budgets: HashMap<Feed, Arc<Budget>>,
    out: tokio::sync::mpsc::UnboundedSender<Vec<Record>>,
    group: Arc<str>,
    commit_interval: Duration,
    revoke_drain: Duration,
    session: Duration,
}

impl Start {
    fn spawn(self) -> std::io::Result<()> {
        let (ask, asked) = mpsc::channel();
        let committer = Committer {
            consumer: Arc::clone(&self.consumer),
            shared: Arc::clone(&self.shared),
            interval: self.commit_interval,
            asked,
            unloaded: Vec::new(),
        };
        let span = tracing::info_span!("kafka", group = &*self.group);
        let within = span.clone();
        let committer = std::thread::Builder::new()
            .name("kafka-offsets".to_owned())
            .spawn(move || within.in_scope(|| committer.run()))?;
        std::thread::Builder::new().name("kafka-reader".to_owned()).spawn(move || {
            self.shared.reader.set(std::thread::current()).ok();
            let parts = Parts {
                consumer: self.consumer,
                shared: self.shared,
                feeds: self.feeds,
                budgets: self.budgets,
                out: self.out,
                ask,
                committer,
                revoke_drain: self.revoke_drain,
                session: self.session,
            };
            span.in_scope(|| Reader::new(parts).run());
        })?;
        Ok(())
    }
}

/// How one assigned partition stands.
#[derive(Debug, Clone)]
pub struct PartitionView {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// What the topic carries.
    pub feed: Feed,
    /// Records handed over or held, and not ended.
    pub in_flight: usize,
    /// Records between the first one that is not done and the end; `None` before the end was first asked for. At most 5 s old.
    pub lag: Option<i64>,
    /// How long ago the oldest unfinished record was read.
    pub oldest: Option<Duration>,
    /// Whether the map of completed offsets is nearly full, so that nothing is taken.
    pub is_full: bool,
}

/// How a source stands.
#[derive(Debug, Clone)]
pub struct SourceView {
    /// The group.
    pub group: Arc<str>,
    /// Whether the group ever gave us an assignment, be it an empty one.
    pub joined: bool,
    /// Its partitions.
    pub partitions: Vec<PartitionView>,
    /// For how long commits have been failing; `None` while they succeed.
    pub commits_failing_for: Option<Duration>,
    /// Records handed over.
    pub handed: u64,
    /// Records that an earlier reader had finished.
    pub skipped: u64,
    /// Records of delay tiers that were held and given back with their partition.
    pub returned: u64,
    /// Commits that the broker took.
    pub commits: u64,
    /// Commits that failed.
    pub commits_failed: u64,
    /// Maps of completed offsets that could not be read.
    pub maps_ignored: u64,
    /// Turns in which records were left in their queue because a map was nearly full.
    pub maps_full: u64,
    /// Partitions that were lost without being asked back.
    pub lost: u64,
    /// Partitions that were given back before everything in flight had ended.
    pub undrained: u64,
    /// Errors that librdkafka reported.
    pub errors: u64,
}

impl SourceHandle {
    /// Hands over nothing more, and closes when everything handed over has ended, at `by` at the latest. Returns at once.
    pub fn stop(&self, by: Instant) {
        self.shared.stop.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(by);
        self.shared.wake();
    }

    /// How it stands. Takes each partition's lock for a moment: for a scrape, not for the hot path.
    pub fn view(&self) -> SourceView {
        let counters = &self.shared.counters;
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let now = Instant::now();
        let partitions = self.shared.terms().into_iter().map(|term| {
            let end = term.end.load(Ordering::Relaxed);
            let mut offsets = term.offsets();
            let position = offsets.tracker.position().filter(|_| end >= 0);
            PartitionView {
                topic: Arc::clone(term.topic()),
                partition: term.partition(),
                feed: term.feed,
                in_flight: offsets.tracker.in_flight(),
                lag: position.map(|position| (end - position).max(0)),
                oldest: offsets.oldest().map(|at| now.saturating_duration_since(at)),
                is_full: offsets.tracker.is_full(),
            }
        });
        SourceView {
            group: Arc::clone(&self.group),
            joined: self.shared.joined.load(Ordering::Acquire),
            partitions: partitions.collect(),
            commits_failing_for: self.shared.failing_for(),
            handed: load(&counters.handed),
            skipped: load(&counters.skipped),
            returned: load(&counters.returned),
            commits: load(&counters.commits),
            commits_failed: load(&counters.commits_failed),
            maps_ignored: load(&counters.maps_ignored),
            maps_full: load(&counters.maps_full),
            lost: load(&counters.lost),
            undrained: load(&counters.undrained),
            errors: self.shared.events.get().map_or(0, |context| context.errors()),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // Nobody is left to end anything.
        self.handle.stop(Instant::now());
    }
}
