//! What a consumer group's three parties share: librdkafka's callbacks, the reader, the offsets thread.
//!
//! The point: callbacks answer nothing. A rebalance is written down and carried out by the reader right after the poll that brought it,
//! on the same thread, where blocking nobody and dropping queues is possible; so no callback needs the consumer it came from. Only
//! while the consumer closes, when no reader is left, the callback answers for itself.
//!
//! It fails by counting and logging what librdkafka reports.
use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::client::ClientEvents;
use super::term::Term;

/// A rebalance to carry out.
#[derive(Debug)]
pub(super) enum Change {
    /// These are ours from now on.
    Assign(TopicPartitionList),
    /// These are to be given back; or are already somebody else's.
    Revoke { list: TopicPartitionList, lost: bool },
}

/// What rebalances need of librdkafka's view of us.
#[derive(Debug, Default)]
pub(super) struct Rebalances {
    changes: Mutex<Vec<Change>>,
    /// Set by the reader before it lets go of the consumer.
    pub(super) closing: AtomicBool,
}

impl Rebalances {
    /// Those that came since the last call.
    pub(super) fn take(&self) -> Vec<Change> {
        std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// librdkafka's view of us.
pub(super) type GroupContext = ClientEvents<Rebalances>;

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        self.serve();
        let assign = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.own.closing.load(Ordering::Acquire) {
            let answered = if assign { consumer.incremental_assign(list) } else { consumer.incremental_unassign(list) };
            if let Err(error) = answered {
                self.report("a rebalance while closing could not be answered", &error, "");
            }
            return;
        }
        let change = match assign {
            true => Change::Assign(list.clone()),
            false => Change::Revoke { list: list.clone(), lost: consumer.assignment_lost() },
        };
        self.own.changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
    }

    fn commit_callback(&self, _result: rdkafka::error::KafkaResult<()>, _offsets: &TopicPartitionList) {
        self.serve();
    }
}

/// Numbers that only rise.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Records handed over.
    pub(super) handed: AtomicU64,
    /// Records that an earlier reader had finished.
    pub(super) skipped: AtomicU64,
    /// Records that were held for a later time and given back with their partition.
    pub(super) returned: AtomicU64,
    /// Commits that the broker took.
    pub(super) commits: AtomicU64,
    /// Commits that failed.
    pub(super) commits_failed: AtomicU64,
    /// Maps that could not be read.
    pub(super) maps_ignored: AtomicU64,
    /// Partitions that were lost without being asked back.
    pub(super) lost: AtomicU64,
    /// Partitions that were given back with records still in flight, because the drain's time was over.
    pub(super) undrained: AtomicU64,
    /// How often records were left in their queue because a map of completed offsets was nearly full.
    pub(super) maps_full: AtomicU64,
}

/// By topic and partition: the term that holds now.
type Terms = HashMap<(Arc<str>, i32), Arc<Term>>;

/// By topic and partition: the terms that held and ended with something to remember.
type Earlier = HashMap<(Arc<str>, i32), Vec<Arc<Term>>>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Shared {
    terms: Mutex<Terms>,
    /// For when their partitions come back.
    earlier: Mutex<Earlier>,
    /// What fingerprints of records are made with.
    pub(super) seed: RandomState,
    pub(super) counters: Counters,
    /// Since when commits fail; `None` while they succeed.
    failing_since: Mutex<Option<Instant>>,
    /// Whether the group ever gave us an assignment, empty or not.
    pub(super) joined: AtomicBool,
    /// Until when the flow may take to end what it began, once stopping.
    pub(super) stop: Mutex<Option<Instant>>,
    /// To be unparked when `stop` was set.
    pub(super) reader: std::sync::OnceLock<std::thread::Thread>,
    /// Where errors of the calls we make go.
    pub(super) events: std::sync::OnceLock<Arc<GroupContext>>,
}

impl Shared {
    pub(super) fn terms(&self) -> Vec<Arc<Term>> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn add(&self, term: &Arc<Term>) {
        let key = (Arc::clone(&term.topic), term.partition);
        self.terms.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(term));
    }

    pub(super) fn remove(&self, term: &Term) {
        let key = (Arc::clone(&term.topic), term.partition);
        self.terms.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    /// Keeps what a fenced term knows until its partition comes back.
    pub(super) fn remember(&self, term: &Arc<Term>) {
        let earlier = term.hand_on();
        if !earlier.is_empty() {
            let key = (Arc::clone(&term.topic), term.partition);
            self.earlier.lock().unwrap_or_else(PoisonError::into_inner).insert(key, earlier);
        }
    }

    /// What is remembered of a partition that comes.
    pub(super) fn recall(&self, topic: &Arc<str>, partition: i32) -> Vec<Arc<Term>> {
        let key = (Arc::clone(topic), partition);
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner).remove(&key).unwrap_or_default()
    }

    pub(super) fn commit_succeeded(&self) {
        *self.failing_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn commit_failed(&self) {
        self.counters.commits_failed.fetch_add(1, Ordering::Relaxed);
        self.failing_since.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
    }

    pub(super) fn failing_for(&self) -> Option<Duration> {
        self.failing_since.lock().unwrap_or_else(PoisonError::into_inner).map(|since| since.elapsed())
    }

    pub(super) fn stop_by(&self) -> Option<Instant> {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the reader. Before it runs there is nothing to wake: it looks at everything first.
    pub(super) fn wake(&self) {
        if let Some(reader) = self.reader.get() {
            reader.unpark();
        }
    }

    pub(super) fn report(&self, what: &str, error: &KafkaError) {
        if let Some(context) = self.events.get() {
            context.report(what, error, "");
        }
    }
}
