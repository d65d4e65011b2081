//! Outcomes become what people may look back on, and what upstream hears while a request is open: many in one transaction.
//!
//! The point: as in [`super::projector`], offsets are finished after the commit, and what is read again is there already. An outcome may be
//! read before its event is projected, because it comes by another topic; so one of which upstream is to hear waits a moment for its
//! request. It fails by waiting, while the store does not answer.
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::people::Seen;
use crate::people::codec_outcome::{JobEnded, decode_outcome, decode_seen};
use crate::seam::{Clock, LeaseState, Record, SystemClock};
use crate::store::Requests;

/// Outcomes that one transaction notes: some milliseconds of work.
pub(super) const BATCH_MAX: usize = 64;
/// Between two looks for the request of an outcome that was read first.
const REQUEST_SOON: Duration = Duration::from_millis(50);
/// An outcome that ended longer ago than this, or has waited for so long, waits for no request: it was projected long ago, or never will be.
const REQUEST_MAX: Duration = Duration::from_secs(5);
/// Between two tries while the store does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// Notes what comes, until nothing comes any more.
pub(super) async fn run(mut records: UnboundedReceiver<Record>, requests: Requests) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while records.recv_many(&mut batch, BATCH_MAX).await > 0 {
        note_outcomes(&requests, &mut batch).await;
    }
}

/// Notes a batch of outcomes, empties it and tells the leases, as [`super::project_event`] does.
pub async fn note_outcomes(requests: &Requests, batch: &mut Vec<Record>) {
    let done = note(requests, batch).await;
    for record in batch.drain(..) {
        if done { record.lease.finish(record.offset) } else { record.lease.abandon(record.offset) }
    }
}

/// Whether the batch is noted; false if every partition of it went first.
async fn note(requests: &Requests, batch: &[Record]) -> bool {
    let noted = note_endings(requests, batch).await;
    // After the endings: what a device showed was accepted before, and stands before it in their person's partition.
    for seen in batch.iter().filter_map(|record| decode_seen(record.payload.as_deref().unwrap_or_default())) {
        measure(requests, &seen).await;
    }
    noted
}

/// How long it took from the provider to the screen. It is a number for operators: whoever cannot be asked is left out, and a record that is
/// read again counts again.
async fn measure(requests: &Requests, seen: &Seen) {
    match requests.taken(seen).await {
        Ok(Some(taken)) => {
            let platform = taken.platform.map_or("unknown", crate::policy::Platform::name);
            let took = seen.at.since(taken.at).as_secs_f64();
            histogram!("watchbell_accepted_to_seen_seconds", "type" => seen.kind.name(), "platform" => platform)
                .record(took);
        }
        Ok(None) => {}
        Err(unavailable) => tracing::debug!(%unavailable, "a seen mark is not measured"),
    }
}

/// Whether the endings of the batch are noted.
async fn note_endings(requests: &Requests, batch: &[Record]) -> bool {
    let endings: Vec<JobEnded> = batch.iter().filter_map(readable).collect();
    if endings.is_empty() {
        return true;
    }
    let latest = endings.iter().map(|ended| ended.activity.at).max().unwrap_or_default();
    let began = Instant::now();
    loop {
        if batch.iter().all(|record| record.lease.state() == LeaseState::Fenced) {
            return false;
        }
        let now = SystemClock.now();
        // Whichever is first: the clock of who wrote it may be ahead of ours.
        let without_request = now.since(latest).max(began.elapsed()) > REQUEST_MAX;
        match requests.ended(&endings, without_request, now).await {
            Ok(true) => {
                counter!("watchbell_outcomes_noted_total", "result" => "noted").increment(endings.len() as u64);
                return true;
            }
            Ok(false) => tokio::time::sleep(REQUEST_SOON).await,
            Err(unavailable) => {
                tracing::debug!(%unavailable, "outcomes wait for the store");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

fn readable(record: &Record) -> Option<JobEnded> {
    let passed_over = |result: &'static str| {
        counter!("watchbell_outcomes_noted_total", "result" => result).increment(1);
        None
    };
    match decode_outcome(record.payload.as_deref().unwrap_or_default()) {
        Ok(Some(ended)) => Some(ended),
        Ok(None) => passed_over("passed_over"),
        Err(error) => {
            tracing::debug!(topic = %record.lease.topic(), offset = record.offset, %error, "unreadable");
            passed_over("unreadable")
        }
    }
}
