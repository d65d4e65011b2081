//! One record in, its pushes and forwards out: gather, decide, act.
//!
//! The point: the whole service on one screen. [`Pipeline::handle`] reads a record, asks the policy store what it needs, plans with pure
//! functions, sends, and publishes what must outlive it. A record is finished only when every forward of it was acknowledged.
//!
//! It deliberately knows no Kafka, no provider and no store, only the traits of [`crate::seam`]; it keeps no order among records (the
//! [`crate::worker`] does) and commits nothing (the record's lease does).
//!
//! It fails in three ways and no fourth. What cannot be read is dead-lettered byte for byte. What breaks on our side stalls the record
//! until it is mended or the deadline passes; nothing is dropped. What a provider says is data for the retry law. A panic costs the
//! record it happened in before its plan, and one job after it.
//!
//! Invariant: after the first send there is no error path, only forwards.
mod attempt;
mod balance;
mod breaker;
mod ending;
mod explode;
mod gather;
mod hold;
mod job;
mod plan;
mod unshown;
mod wave;
mod withdraw;

pub use balance::{Balance, BalanceSnapshot};
pub use wave::WaveConfig;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::delivery::{Origin, Reason, RetryPolicy};
use crate::event::{self, Cancel, DecodeError, Event, Limits, NotificationType};
use crate::notification::Texts;
use crate::seam::{
    Clock, Feed, Forward, Forwarder, LeaseState, PolicySource, PushProvider, RawRecord, Record, Resolved, Settlement,
};
use crate::telemetry::flow::FlowSignals;

/// The flow's numbers. Each is a config key.
#[derive(Debug, Clone)]
pub struct FlowConfig {
    /// Most recipients of one event.
    pub recipients_max: usize,
    /// A record with more jobs than this is exploded into jobs before anything is sent.
    pub inline_max: usize,
    /// Most jobs of an exploded record between two acknowledgements: what a kill may repeat.
    pub chunk_jobs: usize,
    /// How long one push may take, its resend included.
    pub push_timeout: Duration,
    /// How often a job of a misconfigured credential is tried.
    pub probe_interval: Duration,
    /// How far our clock and a provider's may be apart when a dead token comes without a timestamp.
    pub clock_skew: Duration,
    /// When dead tokens are too many to be believed.
    pub wave: WaveConfig,
    /// The numbers of the retry law.
    pub retry: RetryPolicy,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self {
            recipients_max: 500,
            inline_max: 16,
            chunk_jobs: 64,
            push_timeout: Duration::from_secs(10),
            probe_interval: Duration::from_secs(10),
            clock_skew: Duration::from_secs(5),
            wave: WaveConfig::default(),
            retry: RetryPolicy::default(),
        }
    }
}

/// The flow of one worker process; shared by all its record tasks.
pub struct Pipeline<S, P, F, C> {
    policy: S,
    provider: P,
    forwarder: F,
    clock: C,
    texts: Texts,
    config: FlowConfig,
    balance: Balance,
    signals: FlowSignals,
    breakers: breaker::Breakers,
    wave: wave::Waves,
    unshown: unshown::Unshown,
}

/// What gathering made of an event's record.
enum Gathered {
    /// It can be planned.
    Ready(Event, Resolved),
    /// Its deadline passed before it could be.
    Expired(Event, Reason),
    /// It withdraws an earlier event.
    Cancel(Cancel),
    /// It is no event.
    Dead(DecodeError),
    /// Its partition is being given back.
    GivenUp,
}

impl<S: PolicySource, P: PushProvider, F: Forwarder, C: Clock> Pipeline<S, P, F, C> {
    /// Puts the parts together.
    pub fn new(policy: S, provider: P, forwarder: F, clock: C, texts: Texts, config: FlowConfig) -> Self {
        let breakers = breaker::Breakers::new(config.probe_interval);
        let wave = wave::Waves::new(config.wave);
        Self {
            policy,
            provider,
            forwarder,
            clock,
            texts,
            config,
            balance: Balance::default(),
            signals: FlowSignals::default(),
            breakers,
            wave,
            unshown: unshown::Unshown::default(),
        }
    }

    /// The balance of everything that was handled so far.
    pub fn balance(&self) -> &Balance {
        &self.balance
    }

    /// Where pushes go.
    pub fn provider(&self) -> &P {
        &self.provider
    }

    /// Where forwards go.
    pub fn forwarder(&self) -> &F {
        &self.forwarder
    }

    /// Handles one record to its end. Never fails and never panics.
    pub async fn handle(&self, mut record: Record) {
        self.balance.record_read();
        if record.lease.state() != LeaseState::Owned {
            self.balance.record_fenced();
            record.lease.abandon(record.offset);
            return;
        }
        let settlement = Settlement::finishing(Arc::clone(&record.lease), record.offset);
        match record.feed {
            Feed::Event(kind) => self.event(kind, &mut record, &settlement).await,
            Feed::Job(..) => Box::pin(self.job(&record, &settlement)).await,
            Feed::Hold => Box::pin(self.held(&record, &settlement)).await,
            Feed::Redrive => Box::pin(self.redriven(&mut record, &settlement)).await,
            Feed::Decision => Box::pin(self.decision(&record, &settlement)).await,
        }
        settlement.release();
    }

    async fn event(&self, kind: NotificationType, record: &mut Record, settlement: &Arc<Settlement>) {
        let gathered = AssertUnwindSafe(self.gather(kind, record)).catch_unwind().await;
        match gathered {
            Ok(Gathered::Ready(event, resolved)) => self.act(record, &event, &resolved, settlement).await,
            Ok(Gathered::Expired(event, reason)) => {
                self.balance.record_planned();
                self.expire_unplanned(record, &event, &reason, settlement);
            }
            Ok(Gathered::Cancel(cancel)) => Box::pin(self.cancel(record, cancel, settlement)).await,
            Ok(Gathered::Dead(error)) => {
                self.dead_letter(record, Reason::known(error.reason()), error.to_string(), settlement);
            }
            Ok(Gathered::GivenUp) => {
                self.balance.record_fenced();
                settlement.give_up();
            }
            Err(_) => self.dead_letter(
                record,
                Reason::known("panic"),
                "Watchbell itself failed on this record; its log has the place".into(),
                settlement,
            ),
        }
    }

    /// Plans and sends. From here on there is no error, only forwards.
    async fn act(&self, record: &mut Record, event: &Event, resolved: &Resolved, settlement: &Arc<Settlement>) {
        self.balance.record_planned();
        // The bytes were copied into the event; only the lease, the offset and the permit are still needed.
        record.payload = None;
        let planned = plan::plan(event, resolved);
        if record.next_recipient > 0 || plan::jobs(&planned) > self.config.inline_max {
            Box::pin(self.explode(record, event, resolved, &planned, settlement)).await;
        } else {
            self.send_inline(record, event, resolved, &planned, settlement).await;
        }
    }

    /// Puts a record into the dead letters, byte for byte.
    fn dead_letter(&self, record: &Record, reason: Reason, explanation: String, settlement: &Arc<Settlement>) {
        self.balance.record_dead_lettered();
        tracing::warn!(
            topic = %record.lease.topic(), partition = record.lease.partition(), offset = record.offset,
            reason = reason.as_str(), "record dead-lettered: {explanation}"
        );
        metrics::counter!("watchbell_records_dead_lettered_total", "reason" => reason.label()).increment(1);
        let letter = Box::new(raw(record, self.clock.now()));
        self.forwarder.publish(Forward::DeadRecord { letter, reason, explanation }, settlement);
    }

    fn limits(&self) -> Limits {
        Limits { recipients_max: self.config.recipients_max }
    }

    /// A record that an operator took back from the dead letters: the bytes as upstream wrote them, the type in a header.
    async fn redriven(&self, record: &mut Record, settlement: &Arc<Settlement>) {
        let kind = record.headers.get_str(event::TYPE_HEADER).and_then(NotificationType::from_name);
        match kind {
            Some(kind) => self.event(kind, record, settlement).await,
            None => {
                let explanation = format!("the header {} names no notification type", event::TYPE_HEADER);
                self.dead_letter(record, Reason::known("no_type"), explanation, settlement);
            }
        }
    }
}

fn origin(record: &Record) -> Origin {
    Origin { topic: Arc::clone(record.lease.topic()), partition: record.lease.partition(), offset: record.offset }
}

fn raw(record: &Record, now: crate::event::Timestamp) -> RawRecord {
    RawRecord {
        origin: origin(record),
        feed: record.feed,
        key: record.key.clone(),
        payload: record.payload.clone(),
        headers: record.headers.clone(),
        timestamp: record.timestamp,
        first_seen: now,
    }
}

#[cfg(test)]
mod bench;
#[cfg(test)]
pub(crate) mod fakes;
#[cfg(test)]
mod tests;
