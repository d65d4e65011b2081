//! What librdkafka acknowledges and what it gives back.
//!
//! The point: an acknowledgement is told to the settlement that waits for it, on the thread that serves the producer; anything else is
//! written down whole, so that it can be written again. It cannot fail.
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Message, OwnedHeaders};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use super::client::ClientEvents;
use crate::seam::Settlement;

/// How soon what was given back is written again: doubled with each failure of the same record, up to the second of these.
const AGAIN_MIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(10);

/// A record that waits to be written again.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) topic: String,
    pub(super) key: Option<Vec<u8>>,
    pub(super) payload: Option<Vec<u8>>,
    pub(super) headers: Option<OwnedHeaders>,
    pub(super) settlement: Arc<Settlement>,
    failures: u32,
    at: Instant,
    since: Instant,
}

/// What is acknowledged and what waits.
#[derive(Debug, Default)]
pub(super) struct Board {
    waiting: Mutex<VecDeque<Waiting>>,
    pub(super) acknowledged: AtomicU64,
    pub(super) given_back: AtomicU64,
    pub(super) replaced: AtomicU64,
    pub(super) stop: AtomicBool,
}

impl Board {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a record that was given back for the first time.
    pub(super) fn keep(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        headers: Option<OwnedHeaders>,
        settlement: Arc<Settlement>,
    ) {
        self.given_back.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        self.waiting().push_back(Waiting {
            topic: topic.to_owned(),
            key: key.map(<[u8]>::to_vec),
            payload: payload.map(<[u8]>::to_vec),
            headers,
            settlement,
            failures: 1,
            at: now + AGAIN_MIN,
            since: now,
        });
    }

    /// Keeps a record that could not be written again.
    pub(super) fn keep_on(&self, mut waiting: Waiting) {
        waiting.failures = waiting.failures.saturating_add(1);
        waiting.at = Instant::now() + AGAIN_MIN.saturating_mul(1 << waiting.failures.min(7)).min(AGAIN_MAX);
        self.waiting().push_back(waiting);
    }

    /// Those whose time has come.
    pub(super) fn take_due(&self) -> Vec<Waiting> {
        let now = Instant::now();
        let mut waiting = self.waiting();
        let (due, kept) = waiting.drain(..).partition(|record: &Waiting| record.at <= now);
        *waiting = kept;
        Vec::from(due)
    }

    /// How many wait, and for how long the oldest has.
    pub(super) fn waits(&self) -> (usize, Option<Duration>) {
        let waiting = self.waiting();
        let since = waiting.iter().map(|record| record.since).min();
        (waiting.len(), since.map(|since| since.elapsed()))
    }
}

/// The producer's context.
pub(super) type DeliveryContext = ClientEvents<Arc<Board>>;

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = Arc<Settlement>;

    fn delivery(&self, result: &DeliveryResult<'_>, settlement: Arc<Settlement>) {
        match result {
            Ok(_) => {
                self.own.acknowledged.fetch_add(1, Ordering::Relaxed);
                settlement.release();
            }
            Err((error, message)) => {
                // A record taken back from a dead producer is no news: the next one writes it.
                let purged = [Some(RDKafkaErrorCode::PurgeQueue), Some(RDKafkaErrorCode::PurgeInflight)];
                if !purged.contains(&error.rdkafka_error_code()) {
                    self.report(&format!("{} refuses a record", message.topic()), error, "");
                }
                let headers = message.headers().map(|headers| headers.detach());
                self.own.keep(message.topic(), message.key(), message.payload(), headers, settlement);
            }
        }
    }
}
