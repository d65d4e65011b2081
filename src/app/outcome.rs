//! Outcomes become what people may look back on, and what upstream hears while a request is open: many in one transaction.
//!
//! The point: as in [`super::projector`], offsets are finished after the commit, and what is read again is there already. An outcome may be
//! read before its event, because it comes by another topic; then upstream hears of it with the request. It fails by waiting, while the store
//! does not answer; what the store will never take is passed over with a warning.
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use metrics::{counter, histogram};
use tokio::sync::mpsc::UnboundedReceiver;

use super::patience::{Taken, given_up, until_taken};
use crate::people::Seen;
use crate::people::codec_outcome::{JobEnded, decode_outcome, decode_seen};
use crate::seam::{Clock, Record, SystemClock};
use crate::store::Requests;

/// Outcomes that one transaction notes: some milliseconds of work.
pub(super) const BATCH_MAX: usize = 64;

/// Notes what comes, until nothing comes any more.
pub(super) async fn run(mut records: UnboundedReceiver<Record>, requests: Requests) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while records.recv_many(&mut batch, BATCH_MAX).await > 0 {
        note_outcomes(&requests, &mut batch).await;
    }
}

/// Notes a batch of outcomes, empties it and tells the leases, as [`super::project_event`] does. Where one of them makes us panic, or the store
/// does not take all of them together, each is noted by itself; what makes us panic is left for whoever reads it again.
pub async fn note_outcomes(requests: &Requests, batch: &mut Vec<Record>) {
    let together = AssertUnwindSafe(note(requests, batch)).catch_unwind().await.ok().flatten();
    for record in batch.drain(..) {
        let done = match together {
            Some(done) => Ok(Some(done)),
            None => AssertUnwindSafe(note(requests, std::slice::from_ref(&record))).catch_unwind().await,
        };
        let (lease, offset) = (&record.lease, record.offset);
        match done {
            Ok(Some(true)) => lease.finish(offset),
            Ok(Some(false) | None) => lease.abandon(offset),
            Err(_) => {
                tracing::error!(topic = %lease.topic(), partition = lease.partition(), offset, "an outcome could not be noted");
                count("panicked", 1);
                lease.abandon(offset);
            }
        }
    }
}

/// Whether the batch is noted; false if every partition of it went first. `None`, and nothing is noted, where the store does not take several
/// together.
async fn note(requests: &Requests, batch: &[Record]) -> Option<bool> {
    let noted = note_endings(requests, batch).await?;
    // After the endings: what a device showed was accepted before, and stands before it in their person's partition.
    for seen in batch.iter().filter_map(|record| decode_seen(record.payload.as_deref().unwrap_or_default())) {
        measure(requests, &seen).await;
    }
    Some(noted)
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

/// Whether the endings of the batch are noted; see [`note`].
async fn note_endings(requests: &Requests, batch: &[Record]) -> Option<bool> {
    let read = batch.iter().filter_map(readable);
    let endings: Vec<JobEnded> = read.collect();
    if endings.is_empty() {
        return Some(true);
    }
    match until_taken(batch, || requests.ended(&endings, SystemClock.now())).await {
        Taken::Done(()) => {
            count("noted", endings.len());
            Some(true)
        }
        Taken::Fenced => Some(false),
        Taken::Refused(unfit) => {
            let [record] = batch else { return None };
            given_up(record, &unfit);
            count("refused", 1);
            Some(true)
        }
    }
}

fn count(result: &'static str, outcomes: usize) {
    counter!("watchbell_outcomes_noted_total", "result" => result).increment(outcomes as u64);
}

fn readable(record: &Record) -> Option<JobEnded> {
    let passed_over = |result: &'static str| {
        count(result, 1);
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
