//! A record in hand: where it stands, so that it is counted once, and dead-lettered byte for byte when the flow itself fails on it.
//!
//! The point: until a record is planned it owes nothing to anybody, so a panic costs that record and its bytes say which it was. From its
//! plan on its jobs answer for themselves. The bytes are kept while they can serve as a dead letter, and let go of just before the
//! first send, because thousands of records wait for their answers at once.
//!
//! It deliberately catches nothing itself: [`Pipeline::handle`] and the jobs do.
use std::sync::Arc;

use super::Pipeline;
use super::attempt::Since;
use crate::delivery::{Origin, Reason};
use crate::event::Timestamp;
use crate::seam::{Clock, Forward, Forwarder, PolicySource, PushProvider, RawRecord, Record, Settlement};

/// See the module. The worker keeps it in its task, and lends it: a future that owned a record would have room for it twice.
pub(crate) struct InHand {
    pub(super) record: Record,
    stage: Stage,
}

/// How far a record has come.
#[derive(Clone, Copy)]
enum Stage {
    /// Nothing of it is decided.
    Read,
    /// It is counted as planned; its forwards are being published.
    Planned,
    /// Its pushes are being sent; its bytes are gone.
    Sending,
    /// It is dead-lettered or given up.
    Over,
}

impl InHand {
    /// Takes a record in hand.
    pub(crate) const fn new(record: Record) -> Self {
        Self { record, stage: Stage::Read }
    }

    /// The record; without its bytes once it is being sent.
    pub(crate) const fn record(&self) -> &Record {
        &self.record
    }

    /// From here on each job of the record answers for itself.
    pub(super) fn begin_sending(&mut self) {
        self.stage = Stage::Sending;
        // All three lie in the buffer of the record's batch. What follows from the record carries the trace context.
        let headers = self.record.headers.only_traceparent();
        (self.record.key, self.record.payload, self.record.headers) = (None, None, headers);
    }
}

impl<S: PolicySource, P: PushProvider, F: Forwarder, C: Clock> Pipeline<S, P, F, C> {
    /// What happens for each recipient is decided, and nothing of it is published yet.
    pub(super) fn planned(&self, hand: &mut InHand) {
        self.balance.record_planned();
        hand.stage = Stage::Planned;
    }

    /// Its partition is being given back before it was planned: the next owner reads it again.
    pub(super) fn give_up(&self, hand: &mut InHand, settlement: &Settlement) {
        self.balance.record_fenced();
        hand.stage = Stage::Over;
        settlement.give_up();
    }

    /// Puts a record into the dead letters, byte for byte.
    pub(super) fn dead_letter(
        &self,
        hand: &mut InHand,
        reason: Reason,
        explanation: String,
        settlement: &Arc<Settlement>,
    ) {
        self.publish_letter(&hand.record, reason, explanation, settlement);
        self.balance.record_dead_lettered();
        hand.stage = Stage::Over;
    }

    fn publish_letter(&self, record: &Record, reason: Reason, explanation: String, settlement: &Arc<Settlement>) {
        tracing::warn!(
            topic = %record.lease.topic(), partition = record.lease.partition(), offset = record.offset,
            reason = reason.as_str(), "record dead-lettered: {explanation}"
        );
        let label = reason.label();
        let read_at = Since::Record(record).first_seen(self.clock.now(), self.clock.instant());
        let letter = Box::new(raw(record, read_at));
        self.forwarder.publish(Forward::DeadRecord { letter, reason, explanation }, settlement);
        metrics::counter!("watchbell_records_dead_lettered_total", "reason" => label).increment(1);
    }

    /// The flow itself failed on a record, and no job answers for it.
    pub(super) fn bury(&self, hand: &mut InHand, settlement: &Arc<Settlement>) {
        let reason = Reason::known("panic");
        match hand.stage {
            Stage::Read => {
                let explanation = "Watchbell itself failed on this record; its log has the place";
                self.dead_letter(hand, reason, explanation.into(), settlement);
            }
            // What was published of it stays so; a redrive repeats it under the same ids.
            Stage::Planned => {
                let explanation = "Watchbell itself failed on a part of this record; its log has the place";
                self.publish_letter(&hand.record, reason, explanation.into(), settlement);
            }
            // There is nothing left to bury: whoever owns the partition next reads the record again.
            Stage::Sending => {
                let (lease, offset) = (&hand.record.lease, hand.record.offset);
                tracing::error!(topic = %lease.topic(), partition = lease.partition(), offset, "a panic outside any job");
                settlement.give_up();
            }
            Stage::Over => {}
        }
    }
}

pub(super) fn origin(record: &Record) -> Origin {
    Origin { topic: Arc::clone(record.lease.topic()), partition: record.lease.partition(), offset: record.offset }
}

/// A record as it goes to the dead letters: byte for byte.
pub(crate) fn raw(record: &Record, first_seen: Timestamp) -> RawRecord {
    RawRecord {
        origin: origin(record),
        feed: record.feed,
        key: record.key.clone(),
        payload: record.payload.clone(),
        headers: record.headers.clone(),
        timestamp: record.timestamp,
        first_seen,
    }
}
