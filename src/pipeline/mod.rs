//! One record in, its pushes and forwards out: gather, decide, act.
//!
//! The point: the whole service on one screen. [`Pipeline::handle`] reads a record, asks the policy store what it needs, plans with pure
//! functions, sends, and publishes what must outlive it. A record is finished only when every forward of it was acknowledged.
//!
//! It deliberately knows no Kafka, no provider and no store, only the traits of [`crate::seam`]; it keeps no order among records (the
//! [`crate::worker`] does) and commits nothing (the record's lease does).
//!
//! It fails in three ways and no fourth. What cannot be read is dead-lettered byte for byte. What breaks on our side stalls the record
//! until it is mended or the deadline passes; nothing is dropped. What a provider says is data for the retry law. A panic before the
//! plan of a record dead-letters that record byte for byte; after it, one job.
//!
//! Invariant: after the first send there is no error path, only forwards.
mod attempt;
mod balance;
mod breaker;
mod ending;
mod explode;
mod gather;
mod guard;
mod hand;
mod hold;
mod inline;
mod job;
mod plan;
mod unshown;
mod wave;
mod withdraw;

pub use balance::{Balance, BalanceSnapshot};
pub(crate) use hand::{InHand, raw};
pub use wave::WaveConfig;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::delivery::{Reason, RetryPolicy};
use crate::event::{self, Cancel, DecodeError, Event, Limits, NotificationType};
use crate::notification::Texts;
use crate::policy::Guard;
use crate::seam::{Clock, Feed, FeedKind, Forwarder, LeaseState, PolicySource, PushProvider, Resolved, Settlement};
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
    /// How many requests may ring for one person.
    pub guard: Guard,
    /// The numbers of the retry law.
    pub retry: RetryPolicy,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self {
            recipients_max: 500,
            inline_max: 16,
            chunk_jobs: 64,
            push_timeout: Duration::from_secs(15),
            probe_interval: Duration::from_secs(10),
            clock_skew: Duration::from_secs(5),
            wave: WaveConfig::default(),
            guard: Guard::default(),
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
    counts: guard::Counts,
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
            counts: guard::Counts::default(),
        }
    }

    /// The balance of everything that was handled so far.
    pub fn balance(&self) -> &Balance {
        &self.balance
    }

    /// Publishes what is worth looking up only when somebody looks: the balance, and which credentials are still taken for wrong.
    pub fn export(&self) {
        self.balance.export();
        self.breakers.lapse(self.clock.instant());
    }

    /// Where pushes go.
    pub fn provider(&self) -> &P {
        &self.provider
    }

    /// Where forwards go.
    pub fn forwarder(&self) -> &F {
        &self.forwarder
    }

    /// Handles one record to its end. Never fails; it panics only when a panic's dead letter cannot be published either.
    pub(crate) async fn handle(&self, hand: &mut InHand) {
        self.balance.record_read();
        let settlement = Settlement::finishing(Arc::clone(&hand.record.lease), hand.record.offset);
        if AssertUnwindSafe(self.take_up(hand, &settlement)).catch_unwind().await.is_err() {
            self.bury(hand, &settlement);
        }
        settlement.release();
    }

    async fn take_up(&self, hand: &mut InHand, settlement: &Arc<Settlement>) {
        if hand.record.lease.state() != LeaseState::Owned {
            return self.give_up(hand, settlement);
        }
        match hand.record.feed {
            Feed::Event(kind) => self.event(kind, hand, settlement).await,
            Feed::Job(..) => Box::pin(self.job(hand, settlement)).await,
            Feed::Hold(_) => Box::pin(self.held(hand, settlement)).await,
            Feed::Redrive => Box::pin(self.redriven(hand, settlement)).await,
            Feed::Decision => Box::pin(self.decision(hand, settlement)).await,
            feed @ (Feed::Outcome | Feed::Lifecycle) => self.not_ours(hand, feed.kind().name(), settlement),
        }
    }

    async fn event(&self, kind: NotificationType, hand: &mut InHand, settlement: &Arc<Settlement>) {
        let gathered = self.gather(kind, &hand.record).await;
        // Borrowed: what is moved out of it would have room twice in each record's future.
        match &gathered {
            Gathered::Ready(event, resolved) => self.act(hand, event, resolved, settlement).await,
            Gathered::Expired(event, reason) => {
                self.planned(hand);
                self.expire_unplanned(&hand.record, event, reason, settlement);
            }
            Gathered::Cancel(cancel) => Box::pin(self.cancel(hand, cancel, settlement)).await,
            Gathered::Dead(error) => {
                self.dead_letter(hand, Reason::known(error.reason()), error.to_string(), settlement);
            }
            Gathered::GivenUp => self.give_up(hand, settlement),
        }
    }

    /// Plans, asks the guard where somebody is to answer, and sends. From the first send on there is no error, only forwards.
    async fn act(&self, hand: &mut InHand, event: &Event, resolved: &Resolved, settlement: &Arc<Settlement>) {
        let mut steps = plan::plan(event, resolved);
        if event.kind().is_actionable() && !event.test {
            steps = self.guarded(event, resolved, steps, hand.record.next_recipient as usize).await;
        }
        if hand.record.next_recipient > 0 || plan::jobs(&steps) > self.config.inline_max {
            Box::pin(self.explode(hand, event, resolved, &steps, settlement)).await;
        } else {
            self.send_inline(hand, event, resolved, &steps, settlement).await;
        }
    }

    fn limits(&self) -> Limits {
        Limits { recipients_max: self.config.recipients_max }
    }

    /// A record that an operator took back from the dead letters: the bytes as they came, what they are in headers.
    async fn redriven(&self, hand: &mut InHand, settlement: &Arc<Settlement>) {
        let headers = &hand.record.headers;
        let feed = headers.get_str(event::FEED_HEADER).unwrap_or(FeedKind::Event.name());
        match FeedKind::from_name(feed) {
            Some(FeedKind::Event | FeedKind::Redrive) => {
                let kind = headers.get_str(event::TYPE_HEADER).and_then(NotificationType::from_name);
                match kind {
                    Some(kind) => self.event(kind, hand, settlement).await,
                    None => {
                        let explanation = format!("the header {} names no notification type", event::TYPE_HEADER);
                        self.dead_letter(hand, Reason::known("no_type"), explanation, settlement);
                    }
                }
            }
            Some(FeedKind::Job | FeedKind::Hold) => self.job(hand, settlement).await,
            Some(FeedKind::Decision) => self.decision(hand, settlement).await,
            // Outcomes are never dead-lettered, and who reads lifecycle records is the API: neither is redriven here.
            Some(FeedKind::Outcome | FeedKind::Lifecycle) | None => {
                let feed = feed.to_owned();
                self.not_ours(hand, &feed, settlement);
            }
        }
    }

    /// A record of something that no worker works on.
    fn not_ours(&self, hand: &mut InHand, feed: &str, settlement: &Arc<Settlement>) {
        let explanation = format!("the header {} says {feed:?}, which nothing is", event::FEED_HEADER);
        self.dead_letter(hand, Reason::known("unknown_feed"), explanation, settlement);
    }
}

#[cfg(test)]
mod bench;
#[cfg(test)]
mod fake_policy;
#[cfg(test)]
pub(crate) mod fakes;
#[cfg(test)]
mod fence_tests;
#[cfg(test)]
mod notice_tests;
#[cfg(test)]
mod panic_tests;
#[cfg(test)]
mod tests;
