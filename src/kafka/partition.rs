//! One assigned partition as the reader takes from it: its queue, its term, and the gate of its delay.
//!
//! The point: whether a record may be taken (loaded, nothing of an earlier term in flight, ready, room in the map, a place in the
//! budget and in the partition's part of it, due) is decided here, in that order, before the record leaves its queue. It cannot fail: an error that a queue reports is
//! reported on.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::message::{BorrowedMessage, Message};

use super::batch::{Batch, RECORDS_MAX, Waiting, fingerprint};
use super::group::{GroupContext, Shared};
use super::lane::Lane;
use super::term::Term;
use super::tiers::Gate;
use crate::event::Timestamp;
use crate::seam::{Feed, Lease, Permit};

/// Records that one partition may give before the next one's turn.
const SHARE: usize = 32;

/// What a turn brought.
pub(super) enum Took {
    /// So many records, taken or passed over; there may be more.
    Records(usize),
    /// Nothing now.
    Nothing,
    /// Nothing, because the map of completed offsets has no room, or as much is in flight as may be of one partition.
    Full,
}

/// A record out of its queue, its fingerprint and its place in the budget.
type Polled<'a> = (BorrowedMessage<'a>, u64, Permit);

/// See the module.
pub(super) struct Partition {
    pub(super) term: Arc<Term>,
    queue: PartitionQueue<GroupContext>,
    /// Set by librdkafka when the queue gets its first record.
    ready: Arc<AtomicBool>,
    pub(super) lane: usize,
    gate: Option<Gate<Waiting>>,
    /// How long an earlier term's records in flight are waited for; zero when there are none, or not any more.
    patience: Duration,
    /// Until when, from the moment at which something might have been taken.
    waits_until: Option<Instant>,
}

impl Partition {
    pub(super) fn new(
        term: Arc<Term>,
        queue: PartitionQueue<GroupContext>,
        ready: Arc<AtomicBool>,
        lane: usize,
        patience: Duration,
    ) -> Self {
        let gate = match term.feed {
            Feed::Job(_, tier) if !tier.delay().is_zero() => Some(Gate::new(tier.delay())),
            Feed::Job(..)
            | Feed::Event(_)
            | Feed::Hold(_)
            | Feed::Redrive
            | Feed::Decision
            | Feed::Outcome
            | Feed::Lifecycle => None,
        };
        Self { term, queue, ready, lane, gate, patience, waits_until: None }
    }

    /// Takes its share into the batch.
    pub(super) fn take(
        &mut self,
        batch: &mut Batch,
        lane: &mut Lane,
        reader: &Thread,
        now: Instant,
        clock: Timestamp,
        shared: &Shared,
    ) -> Took {
        if !self.term.is_loaded() {
            return Took::Nothing;
        }
        if !self.patience.is_zero() {
            let until = *self.waits_until.get_or_insert(now + self.patience);
            // Woken by the earlier term when nothing of it is in flight any more.
            if now < until && self.term.waits_for_earlier() {
                return Took::Nothing;
            }
            self.patience = Duration::ZERO;
        }
        if self.gate.is_some() {
            return self.take_due(batch, lane, reader, now, clock, shared);
        }
        if !self.ready.load(Ordering::Acquire) {
            return Took::Nothing;
        }
        let (is_full, in_flight) = self.room();
        if is_full {
            shared.counters.maps_full.fetch_add(1, Ordering::Relaxed);
            return Took::Full;
        }
        let share = SHARE.min(RECORDS_MAX - batch.len()).min(lane.left_of_one(in_flight));
        if share == 0 {
            return Took::Full;
        }
        // Polled first and begun after: whoever ends a record waits for the lock, never for librdkafka.
        let mut polled: Vec<Polled<'_>> = Vec::new();
        let mut permit = lane.permit(now, reader);
        if permit.is_some() {
            // Cleared before the queue is asked: what comes after its last answer sets it again.
            self.ready.store(false, Ordering::Release);
        }
        let empty = loop {
            let Some(place) = permit.take() else { break false };
            let Some(message) = poll(&self.queue) else { break true };
            let fingerprint = fingerprint(&message, &shared.seed);
            polled.push((message, fingerprint, place));
            if polled.len() == share {
                break false;
            }
            permit = lane.permit(now, reader);
        };
        if !empty {
            self.ready.store(true, Ordering::Release);
        }
        let taken = polled.len();
        if taken == 0 {
            return Took::Nothing;
        }
        self.begin(polled, batch, now, shared);
        Took::Records(taken)
    }

    /// Whether the map of completed offsets is nearly full, and how much is in flight.
    fn room(&self) -> (bool, usize) {
        let offsets = self.term.offsets();
        (offsets.tracker.is_full(), offsets.tracker.in_flight())
    }

    fn begin(&self, polled: Vec<Polled<'_>>, batch: &mut Batch, now: Instant, shared: &Shared) {
        let (mut first, mut passed) = (true, 0);
        let mut offsets = self.term.offsets();
        for (message, fingerprint, permit) in polled {
            match offsets.begin(message.offset(), fingerprint) {
                Some(next_recipient) => {
                    if std::mem::take(&mut first) {
                        offsets.mark(message.offset(), now);
                    }
                    batch.push(&message, next_recipient, &self.term, permit);
                }
                None => passed += 1,
            }
        }
        drop(offsets);
        if passed > 0 {
            shared.counters.skipped.fetch_add(passed, Ordering::Relaxed);
        }
    }

    /// The same for a delay tier: reads up to the first record that is not due, lets go what is.
    fn take_due(
        &mut self,
        batch: &mut Batch,
        lane: &mut Lane,
        reader: &Thread,
        now: Instant,
        clock: Timestamp,
        shared: &Shared,
    ) -> Took {
        let Some(gate) = &mut self.gate else { return Took::Nothing };
        gate.tick(clock);
        let mut full = false;
        while gate.wants() && self.ready.load(Ordering::Acquire) {
            let mut offsets = self.term.offsets();
            full = offsets.tracker.is_full();
            if full {
                shared.counters.maps_full.fetch_add(1, Ordering::Relaxed);
                break;
            }
            self.ready.store(false, Ordering::Release);
            let Some(message) = poll(&self.queue) else { break };
            self.ready.store(true, Ordering::Release);
            match offsets.begin(message.offset(), fingerprint(&message, &shared.seed)) {
                Some(next_recipient) => {
                    offsets.mark(message.offset(), now);
                    let (waiting, due, deadline) = Waiting::of(&message, next_recipient);
                    gate.offer(clock, due, deadline, waiting);
                }
                None => drop(shared.counters.skipped.fetch_add(1, Ordering::Relaxed)),
            }
        }
        gate.start(clock);
        let mut taken = 0;
        while taken < SHARE && batch.len() < RECORDS_MAX && gate.is_open(clock) {
            let Some(permit) = lane.permit(now, reader) else { break };
            let Some(waiting) = gate.release(clock) else { break };
            batch.push_waited(waiting, &self.term, permit);
            taken += 1;
        }
        match taken {
            0 if full => Took::Full,
            0 => Took::Nothing,
            taken => Took::Records(taken),
        }
    }

    /// When the gate has something to let go; `None` without a gate, or when its queue has to bring something first.
    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        self.gate.as_ref().and_then(Gate::wake_at)
    }

    /// Gives up what is held and was not handed over; how much that was.
    pub(super) fn give_back(&mut self) -> u64 {
        let held = self.gate.as_mut().map(Gate::drain).into_iter().flatten();
        held.map(|waiting| self.term.abandon(waiting.offset())).count() as u64
    }
}

/// The next record; errors of a partition (a leader that moved, a broker that is away) are librdkafka's to mend.
fn poll(queue: &PartitionQueue<GroupContext>) -> Option<BorrowedMessage<'_>> {
    loop {
        match queue.poll(Duration::ZERO)? {
            Ok(message) => return Some(message),
            Err(error) => tracing::debug!(%error, "a partition reports an error"),
        }
    }
}
