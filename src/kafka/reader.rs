//! The thread that polls one consumer group: it serves librdkafka, carries out rebalances, takes records and hands them over.
//!
//! The point: it is always polling, whatever the rest of the program does, and it never waits for a broker. It sleeps until
//! librdkafka has something (a callback of each queue unparks it), a place in a budget becomes free, or something falls due.
//! Back-pressure, delays and draining are queues that are simply not polled: nothing that was prefetched is dropped.
//!
//! It deliberately touches offsets only to begin records; whoever ends them tells their [`Term`].
//!
//! It fails by going on: errors are reported, lost partitions are fenced at once, and the group is joined again.
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Weak};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::mpsc::UnboundedSender;

use super::batch::{Batch, RECORDS_MAX};
use super::commits::Ask;
use super::group::{Change, GroupContext, Shared};
use super::lane::Lane;
use super::partition::{Partition, Took};
use super::term::Term;
use crate::seam::{Budget, Clock, Feed, Record, SystemClock};

/// The longest sleep. Everything has something that wakes; this bounds what a missed wake could cost.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// While a partition may give nothing more, because its map of completed offsets or its part of the budget is full, it is looked at this often.
const FULL_SLEEP: Duration = Duration::from_millis(5);
/// How long the last commit may take before partitions are given back without it.
const LAST_COMMIT_MAX: Duration = Duration::from_secs(5);
/// After a freeze longer than the session nothing is taken for so long: the news that the partitions were lost comes first.
const SUSPICION: Duration = Duration::from_secs(1);

/// Partitions that are being given back.
struct Revoke {
    list: TopicPartitionList,
    terms: Vec<Arc<Term>>,
    since: Instant,
    /// Answers when the last commit was tried; `None` while records are still ending.
    committing: Option<Receiver<()>>,
}

/// See the module.
pub(super) struct Reader {
    consumer: Arc<BaseConsumer<GroupContext>>,
    shared: Arc<Shared>,
    feeds: HashMap<String, Feed>,
    lanes: Vec<Lane>,
    partitions: Vec<Partition>,
    /// Where the next round begins, so that no partition is always first.
    turn: usize,
    revokes: Vec<Revoke>,
    batch: Batch,
    out: UnboundedSender<Vec<Record>>,
    ask: Option<Arc<Sender<Ask>>>,
    committer: Option<JoinHandle<()>>,
    revoke_drain: Duration,
    session: Duration,
    last_turn: Instant,
    suspended_until: Option<Instant>,
    me: Thread,
}

/// What a reader is made from.
pub(super) struct Parts {
    pub(super) consumer: Arc<BaseConsumer<GroupContext>>,
    pub(super) shared: Arc<Shared>,
    pub(super) feeds: HashMap<String, Feed>,
    pub(super) budgets: HashMap<Feed, Arc<Budget>>,
    pub(super) out: UnboundedSender<Vec<Record>>,
    pub(super) ask: Sender<Ask>,
    pub(super) committer: JoinHandle<()>,
    pub(super) revoke_drain: Duration,
    pub(super) session: Duration,
}

impl Reader {
    pub(super) fn new(parts: Parts) -> Self {
        let lanes = parts.budgets.into_iter().map(|(feed, budget)| Lane::new(feed, budget)).collect();
        Self {
            consumer: parts.consumer,
            shared: parts.shared,
            feeds: parts.feeds,
            lanes,
            partitions: Vec::new(),
            turn: 0,
            revokes: Vec::new(),
            batch: Batch::default(),
            out: parts.out,
            ask: Some(Arc::new(parts.ask)),
            committer: Some(parts.committer),
            revoke_drain: parts.revoke_drain,
            session: parts.session,
            last_turn: Instant::now(),
            suspended_until: None,
            me: std::thread::current(),
        }
    }

    /// Until stopped and drained; then leaves the group.
    pub(super) fn run(mut self) {
        loop {
            self.notice_freeze();
            self.serve();
            self.advance_revokes();
            let stop_by = self.shared.stop_by();
            if stop_by.is_some_and(|by| self.is_stopped(by)) {
                break;
            }
            let may_take = stop_by.is_none() && self.suspended_until.is_none_or(|until| Instant::now() >= until);
            let sleep = if may_take { self.take() } else { SLEEP_MAX };
            if !sleep.is_zero() {
                std::thread::park_timeout(sleep.min(self.next_deadline()));
            }
        }
        self.close();
    }

    fn notice_freeze(&mut self) {
        let now = Instant::now();
        let gap = now.duration_since(self.last_turn);
        self.last_turn = now;
        if gap > self.session {
            tracing::warn!(?gap, "the process stood still for longer than a session: waiting for news of the group");
            self.suspended_until = Some(now + SUSPICION);
        }
    }

    /// Serves everything on the main queue: rebalances, errors, log lines, token refreshes.
    fn serve(&mut self) {
        loop {
            let before = self.consumer.context().served();
            match self.consumer.poll(Duration::ZERO) {
                Some(Ok(_)) => {
                    // Every partition is split off before it is assigned, so no record comes this way.
                    tracing::error!("a record came on the main queue and is left to the next owner of its partition");
                }
                Some(Err(error)) => self.consumer.context().report("the group reports an error", &error, ""),
                // Nothing was there, rather than an event that was no record.
                None if self.consumer.context().served() == before => break,
                None => {}
            }
        }
        for change in self.consumer.context().own.take() {
            match change {
                Change::Assign(list) => self.assign(&list),
                Change::Revoke { list, lost } => self.revoke(list, lost),
            }
        }
    }

    fn assign(&mut self, list: &TopicPartitionList) {
        self.shared.joined.store(true, Ordering::Release);
        let mut terms = Vec::new();
        for element in list.elements() {
            let Some(&feed) = self.feeds.get(element.topic()) else { continue };
            let Some(lane) = self.lanes.iter().position(|lane| lane.feed == feed) else { continue };
            // A partition that is assigned again without a new split is silently dead: split first, always.
            let Some(mut queue) = self.consumer.split_partition_queue(element.topic(), element.partition()) else {
                continue;
            };
            let ready = Arc::new(AtomicBool::new(true));
            let (flag, reader) = (Arc::clone(&ready), self.me.clone());
            queue.set_nonempty_callback(move || {
                flag.store(true, Ordering::Release);
                reader.unpark();
            });
            let (topic, number): (Arc<str>, i32) = (element.topic().into(), element.partition());
            let earlier = self.shared.recall(&topic, number);
            // What was begun before the partition was lost may end for as long as it might have, had it been asked back.
            let patience = if earlier.is_empty() { Duration::ZERO } else { self.revoke_drain };
            let ask = self.ask.as_ref().map_or_else(Weak::new, Arc::downgrade);
            let term = Term::new(topic, number, feed, self.me.clone(), ask, earlier);
            self.shared.add(&term);
            self.partitions.push(Partition::new(Arc::clone(&term), queue, ready, lane, patience));
            terms.push(term);
        }
        if let Err(error) = self.consumer.incremental_assign(list) {
            self.consumer.context().report("partitions could not be taken", &error, "");
        }
        if !terms.is_empty() {
            tracing::info!(partitions = terms.len(), "partitions came");
        }
        self.ask(Ask::Load(terms));
    }

    fn revoke(&mut self, list: TopicPartitionList, lost: bool) {
        let is_revoked = |term: &Term| list.find_partition(&term.topic, term.partition).is_some();
        let mut terms = Vec::new();
        let returned = &self.shared.counters.returned;
        self.partitions.retain_mut(|partition| {
            let goes = is_revoked(&partition.term);
            if goes {
                partition.term.drain();
                returned.fetch_add(partition.give_back(), Ordering::Relaxed);
                terms.push(Arc::clone(&partition.term));
            }
            !goes
        });
        tracing::info!(partitions = terms.len(), lost, "partitions go");
        let revoke = Revoke { list, terms, since: Instant::now(), committing: None };
        if lost {
            self.lose(&revoke);
        } else {
            self.revokes.push(revoke);
        }
    }

    /// Somebody else owns them already: nothing may be sent, nothing may be committed.
    fn lose(&self, revoke: &Revoke) {
        self.shared.counters.lost.fetch_add(revoke.terms.len() as u64, Ordering::Relaxed);
        revoke.terms.iter().for_each(|term| term.fence());
        self.give_back(revoke);
    }

    fn give_back(&self, revoke: &Revoke) {
        for term in &revoke.terms {
            self.shared.remove(term);
            self.shared.remember(term);
        }
        if let Err(error) = self.consumer.incremental_unassign(&revoke.list) {
            self.consumer.context().report("partitions could not be given back", &error, "");
        }
    }

    fn advance_revokes(&mut self) {
        if self.revokes.is_empty() {
            return;
        }
        let lost = self.consumer.assignment_lost();
        for mut revoke in std::mem::take(&mut self.revokes) {
            if lost {
                self.lose(&revoke);
                continue;
            }
            let over = revoke.since.elapsed() >= self.revoke_drain;
            if revoke.committing.is_none() && (over || revoke.terms.iter().all(|term| term.is_drained())) {
                revoke.committing = Some(self.fence_and_commit(&revoke.terms));
            }
            let committed = revoke.committing.as_ref().is_some_and(is_over);
            if committed || revoke.since.elapsed() >= self.revoke_drain + LAST_COMMIT_MAX {
                self.give_back(&revoke);
            } else {
                self.revokes.push(revoke);
            }
        }
    }

    /// Nothing more is sent under these terms; what is finished by now is what is committed.
    fn fence_and_commit(&self, terms: &[Arc<Term>]) -> Receiver<()> {
        let undrained = terms.iter().filter(|term| !term.is_drained()).count();
        self.shared.counters.undrained.fetch_add(undrained as u64, Ordering::Relaxed);
        terms.iter().for_each(|term| term.fence());
        let (done, is_done) = mpsc::channel();
        self.ask(Ask::Last(terms.to_vec(), done, self.me.clone()));
        is_done
    }

    fn ask(&self, ask: Ask) {
        if let Some(sender) = &self.ask {
            // The offsets thread ends after this one only.
            sender.send(ask).ok();
        }
    }

    /// Takes what is there, round and round over the partitions, and hands it over; how long to sleep after.
    fn take(&mut self) -> Duration {
        let now = Instant::now();
        let clock = SystemClock.now();
        let mut full = false;
        let count = self.partitions.len();
        loop {
            let mut taken = 0;
            for step in 0..count {
                let partition = &mut self.partitions[(self.turn + step) % count];
                let lane = &mut self.lanes[partition.lane];
                let took = partition.take(&mut self.batch, lane, &self.me, now, clock, &self.shared);
                match took {
                    Took::Records(records) => taken += records,
                    Took::Nothing => {}
                    Took::Full => full = true,
                }
                if self.batch.len() >= RECORDS_MAX {
                    break;
                }
            }
            self.turn = self.turn.wrapping_add(1);
            if taken == 0 || self.batch.len() >= RECORDS_MAX {
                break;
            }
        }
        let more = self.batch.len() >= RECORDS_MAX;
        self.hand_over(now);
        if more {
            return Duration::ZERO;
        }
        let sleep = if full { FULL_SLEEP } else { SLEEP_MAX };
        let now = Instant::now();
        let pauses = self.lanes.iter_mut().filter_map(|lane| lane.pause_left(now));
        let gates = self.partitions.iter().filter_map(|partition| partition.wake_at());
        let dues = gates.map(|at| at.since(clock).max(Duration::from_millis(1)));
        pauses.chain(dues).fold(sleep, Duration::min)
    }

    fn hand_over(&mut self, now: Instant) {
        let records = self.batch.finish(now);
        if records.is_empty() {
            return;
        }
        self.shared.counters.handed.fetch_add(records.len() as u64, Ordering::Relaxed);
        if let Err(unsent) = self.out.send(records) {
            // The flow is gone: its records end unfinished, and there is nothing left to do but stop.
            unsent.0.iter().for_each(|record| record.lease.abandon(record.offset));
            *self.shared.stop.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(now);
        }
    }

    fn next_deadline(&self) -> Duration {
        let revokes = self.revokes.iter().map(|revoke| {
            let wait =
                if revoke.committing.is_some() { self.revoke_drain + LAST_COMMIT_MAX } else { self.revoke_drain };
            wait.saturating_sub(revoke.since.elapsed()).max(Duration::from_millis(1))
        });
        revokes.fold(SLEEP_MAX, Duration::min)
    }

    /// Whether everything ended that was begun, or the time for it is over.
    fn is_stopped(&mut self, by: Instant) -> bool {
        let returned = &self.shared.counters.returned;
        for partition in &mut self.partitions {
            partition.term.drain();
            returned.fetch_add(partition.give_back(), Ordering::Relaxed);
        }
        self.revokes.is_empty() && self.partitions.iter().all(|partition| partition.term.is_drained())
            || Instant::now() >= by
    }

    /// Commits for the last time, then queues before consumer: a queue that outlives it keeps the member in the group.
    fn close(mut self) {
        let pending = self.revokes.iter().flat_map(|revoke| &revoke.terms);
        let terms: Vec<_> = self.partitions.iter().map(|partition| &partition.term).chain(pending).cloned().collect();
        let done = self.fence_and_commit(&terms);
        // Answers by hanging up; a broker that is away costs this long.
        done.recv_timeout(LAST_COMMIT_MAX).ok();
        terms.iter().for_each(|term| self.shared.remove(term));
        self.partitions.clear();
        self.consumer.context().own.closing.store(true, Ordering::Release);
        for change in self.consumer.context().own.take() {
            if let Change::Revoke { list, .. } = change {
                self.consumer.incremental_unassign(&list).ok();
            }
        }
        for revoke in &self.revokes {
            self.consumer.incremental_unassign(&revoke.list).ok();
        }
        drop(self.ask.take());
        if self.committer.take().is_some_and(|committer| committer.join().is_err()) {
            tracing::error!("the offsets thread had panicked");
        }
        // Dropping the last reference closes the consumer and leaves the group.
        drop(self.consumer);
        tracing::info!("left the group");
    }
}

fn is_over(done: &Receiver<()>) -> bool {
    match done.try_recv() {
        Ok(()) | Err(TryRecvError::Disconnected) => true,
        Err(TryRecvError::Empty) => false,
    }
}
