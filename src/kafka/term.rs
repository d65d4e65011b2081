//! One term of ownership of one partition, shared by the reader, the offsets thread and every record that was read under it.
//!
//! The point: whether something may still be sent, and what is finished, are facts of a term. A partition that comes back is another
//! term, so that a late ending of the old one cannot touch the new one's offsets.
//!
//! Yet a term knows the earlier terms that its partition had in this process and that ended with something to remember
//! ([`super::history`]): what they finished is skipped, and what they still have in flight is waited for, before anything is taken.
//!
//! It deliberately waits for nobody: the reader is woken, the offsets thread is asked for a commit, the rest is read. It cannot fail.
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::Thread;
use std::time::Instant;

use super::commits::Ask;
use super::history::{History, Recall};
use super::offsets::{Begin, Commit, OffsetTracker};
use crate::seam::{Feed, Lease, LeaseState, Settlement};

const OWNED: u8 = 0;
const DRAINING: u8 = 1;
const FENCED: u8 = 2;

/// Earlier terms of one partition that are remembered; of more, the oldest are forgotten.
const EARLIER_MAX: usize = 4;

/// See the module.
pub(super) struct Term {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) feed: Feed,
    state: AtomicU8,
    /// Whether the committed offset and its map were read: nothing is taken before.
    loaded: AtomicBool,
    /// The partition's end when it was last asked for; -1 before.
    pub(super) end: AtomicI64,
    offsets: Mutex<Offsets>,
    /// Woken when the term was loaded and when nothing is in flight any more.
    reader: Thread,
    /// Where a commit is asked for; gone with the reader.
    ask: Weak<Sender<Ask>>,
}

/// What a term's lock guards.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    pub(super) tracker: OffsetTracker,
    history: History,
    /// Terms that this partition had before in this process, as long as they may know something of what is still to be read.
    earlier: Vec<Arc<Term>>,
    /// Who waits for a commit of that version.
    awaited: Vec<(u64, Arc<Settlement>)>,
    /// First offsets of batches and when they were read: enough to know the age of the oldest unfinished record.
    marks: VecDeque<(i64, Instant)>,
}

impl Offsets {
    /// Begins a record, unless it was read or finished before, in this term or an earlier one; from which recipient on.
    pub(super) fn begin(&mut self, offset: i64, fingerprint: u64) -> Option<u32> {
        let next_recipient = match self.tracker.begin(offset) {
            Begin::Fresh(next_recipient) => next_recipient,
            Begin::Done | Begin::Again => return None,
        };
        self.history.begin(offset, fingerprint);
        if self.earlier.is_empty() {
            return Some(next_recipient);
        }
        match self.recall(offset, fingerprint) {
            None => {
                self.finish(offset);
                None
            }
            Some(0) => Some(next_recipient),
            Some(exploded) => {
                self.tracker.progress(offset, exploded);
                Some(next_recipient.max(exploded))
            }
        }
    }

    /// What the earlier terms know of a record: `None` when one of them finished it, else the recipients that they exploded.
    fn recall(&mut self, offset: i64, fingerprint: u64) -> Option<u32> {
        let (mut finished, mut exploded) = (false, 0);
        self.earlier.retain(|term| {
            let offsets = term.offsets();
            match offsets.history.recall(offset, fingerprint) {
                Recall::Finished => finished = true,
                Recall::Unfinished => exploded = exploded.max(offsets.tracker.next_recipient(offset)),
                Recall::Unknown => {}
                Recall::Other => {
                    tracing::warn!(topic = &*term.topic, partition = term.partition, offset,
                        "another record than before: the topic was made again or cut back, and what was finished of it is forgotten");
                    return false;
                }
            }
            offsets.history.reaches(offset + 1)
        });
        (!finished).then_some(exploded)
    }

    fn finish(&mut self, offset: i64) {
        self.tracker.finish(offset);
        self.history.finish(offset, self.tracker.version());
    }

    /// The broker took this commit; who waited for it.
    fn committed(&mut self, commit: &Commit) -> Vec<Arc<Settlement>> {
        self.tracker.committed(commit.version);
        self.history.committed(commit.offset, commit.version);
        let waited = self.awaited.extract_if(.., |(version, _)| *version <= commit.version);
        waited.map(|(_, settlement)| settlement).collect()
    }

    /// A batch read at `at` begins with `offset`.
    pub(super) fn mark(&mut self, offset: i64, at: Instant) {
        self.forget_finished();
        self.marks.push_back((offset, at));
    }

    fn forget_finished(&mut self) {
        let position = self.tracker.position().unwrap_or(i64::MIN);
        // The mark before the position's own is finished with.
        while self.marks.get(1).is_some_and(|(offset, _)| *offset <= position) {
            self.marks.pop_front();
        }
        if self.tracker.in_flight() == 0 {
            self.marks.clear();
        }
    }

    /// When the oldest unfinished record was read.
    pub(super) fn oldest(&mut self) -> Option<Instant> {
        self.forget_finished();
        self.marks.front().map(|(_, at)| *at)
    }
}

impl Term {
    /// `earlier` are the terms that this process had of the partition, from [`Term::hand_on`].
    pub(super) fn new(
        topic: Arc<str>,
        partition: i32,
        feed: Feed,
        reader: Thread,
        ask: Weak<Sender<Ask>>,
        earlier: Vec<Arc<Term>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            topic,
            partition,
            feed,
            state: OWNED.into(),
            loaded: false.into(),
            end: AtomicI64::new(-1),
            offsets: Mutex::new(Offsets { earlier, ..Offsets::default() }),
            reader,
            ask,
        })
    }

    pub(super) fn offsets(&self) -> MutexGuard<'_, Offsets> {
        // A panic elsewhere leaves plain numbers that are still true.
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The committed offset and its map were read.
    pub(super) fn load(&self, tracker: OffsetTracker) {
        let mut offsets = self.offsets();
        let committed = tracker.position();
        offsets.earlier.retain(|term| {
            let moved_back = term.offsets().history.was_moved_back(committed);
            if moved_back {
                tracing::warn!(
                    topic = &*self.topic,
                    partition = self.partition,
                    committed,
                    "the group was moved back: what was finished after that offset is read again"
                );
            }
            !moved_back
        });
        offsets.tracker = tracker;
        offsets.history.start(committed);
        drop(offsets);
        self.loaded.store(true, Ordering::Release);
        self.reader.unpark();
    }

    /// Whether an earlier term of the partition still has something in flight.
    pub(super) fn waits_for_earlier(&self) -> bool {
        self.offsets().earlier.iter().any(|term| !term.is_drained())
    }

    /// The terms that the partition's next one in this process should know, this one among them: those that have something to remember.
    pub(super) fn hand_on(self: &Arc<Self>) -> Vec<Arc<Self>> {
        let mut terms = std::mem::take(&mut self.offsets().earlier);
        terms.push(Arc::clone(self));
        terms.retain(|term| !term.offsets().history.is_empty());
        terms.drain(..terms.len().saturating_sub(EARLIER_MAX));
        terms
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Nothing new is begun from now on.
    pub(super) fn drain(&self) {
        self.state.fetch_max(DRAINING, Ordering::AcqRel);
        self.await_no_more();
    }

    /// Nothing may be sent from now on.
    pub(super) fn fence(&self) {
        self.state.fetch_max(FENCED, Ordering::AcqRel);
        self.await_no_more();
    }

    /// The broker took this commit.
    pub(super) fn committed(&self, commit: &Commit) {
        let waited = self.offsets().committed(commit);
        waited.iter().for_each(|settlement| settlement.release());
    }

    /// Whether somebody waits for a commit.
    pub(super) fn is_awaited(&self) -> bool {
        !self.offsets().awaited.is_empty()
    }

    /// Nobody need wait for a commit of a term that ends: what waits ends with it.
    fn await_no_more(&self) {
        let waited = std::mem::take(&mut self.offsets().awaited);
        waited.iter().for_each(|(_, settlement)| settlement.release());
    }

    pub(super) fn is_drained(&self) -> bool {
        self.offsets().tracker.in_flight() == 0
    }

    fn wake_if_drained(&self, in_flight: usize) {
        if in_flight == 0 && self.state.load(Ordering::Acquire) != OWNED {
            self.reader.unpark();
        }
    }
}

impl Lease for Term {
    fn state(&self) -> LeaseState {
        match self.state.load(Ordering::Acquire) {
            OWNED => LeaseState::Owned,
            DRAINING => LeaseState::Draining,
            _ => LeaseState::Fenced,
        }
    }

    fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    fn partition(&self) -> i32 {
        self.partition
    }

    fn finish(&self, offset: i64) {
        let mut offsets = self.offsets();
        offsets.finish(offset);
        let in_flight = offsets.tracker.in_flight();
        drop(offsets);
        self.wake_if_drained(in_flight);
    }

    fn abandon(&self, offset: i64) {
        let mut offsets = self.offsets();
        offsets.tracker.abandon(offset);
        let in_flight = offsets.tracker.in_flight();
        drop(offsets);
        self.wake_if_drained(in_flight);
    }

    fn progress(&self, offset: i64, next_recipient: u32, committed: &Arc<Settlement>) {
        committed.hold();
        let mut offsets = self.offsets();
        offsets.tracker.progress(offset, next_recipient);
        if offsets.tracker.is_committed() {
            drop(offsets);
            return committed.release();
        }
        let version = offsets.tracker.version();
        offsets.awaited.push((version, Arc::clone(committed)));
        drop(offsets);
        // Looked at after it was put there, and emptied after the state was changed: one of the two sees the other.
        if self.state() != LeaseState::Owned {
            return self.await_no_more();
        }
        if let Some(ask) = self.ask.upgrade() {
            // Nobody listens when the reader is ending, which drains this term.
            ask.send(Ask::Progress).ok();
        }
    }
}

impl std::fmt::Debug for Term {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Term")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "term_tests.rs"]
mod tests;
