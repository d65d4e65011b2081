//! One term of ownership of one partition, shared by the reader, the offsets thread and every record that was read under it.
//!
//! The point: whether something may still be sent, and what is finished, are facts of a term. A partition that comes back is another
//! term, so that a late ending of the old one cannot touch the new one's offsets.
//!
//! It deliberately talks to nobody: the reader is woken, the rest is read. It cannot fail.
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Instant;

use super::offsets::OffsetTracker;
use crate::seam::{Feed, Lease, LeaseState};

const OWNED: u8 = 0;
const DRAINING: u8 = 1;
const FENCED: u8 = 2;

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
}

/// What a term's lock guards.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    pub(super) tracker: OffsetTracker,
    /// First offsets of batches and when they were read: enough to know the age of the oldest unfinished record.
    marks: VecDeque<(i64, Instant)>,
}

impl Offsets {
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
    pub(super) fn new(topic: Arc<str>, partition: i32, feed: Feed, reader: Thread) -> Arc<Self> {
        Arc::new(Self {
            topic,
            partition,
            feed,
            state: OWNED.into(),
            loaded: false.into(),
            end: AtomicI64::new(-1),
            offsets: Mutex::default(),
            reader,
        })
    }

    pub(super) fn offsets(&self) -> MutexGuard<'_, Offsets> {
        // A panic elsewhere leaves plain numbers that are still true.
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The committed offset and its map were read.
    pub(super) fn load(&self, tracker: OffsetTracker) {
        self.offsets().tracker = tracker;
        self.loaded.store(true, Ordering::Release);
        self.reader.unpark();
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Nothing new is begun from now on.
    pub(super) fn drain(&self) {
        self.state.fetch_max(DRAINING, Ordering::AcqRel);
    }

    /// Nothing may be sent from now on.
    pub(super) fn fence(&self) {
        self.state.fetch_max(FENCED, Ordering::AcqRel);
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
        offsets.tracker.finish(offset);
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

    fn progress(&self, offset: i64, next_recipient: u32) {
        self.offsets().tracker.progress(offset, next_recipient);
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
