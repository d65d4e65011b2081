//! Lifecycle records retire keys: read in the API's group, in lanes of their own, so that a workspace of a hundred thousand people keeps
//! nobody's requests waiting.
//!
//! The point: a record's offset is finished after all that follows from it is committed. Killed before, it is read again, and what was done
//! by its id is not done again. What cannot be read is dead-lettered byte for byte by the API itself, because no worker reads this topic. It
//! fails by waiting, while the store does not answer.
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use metrics::counter;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::control::Courier;
use crate::delivery::Reason;
use crate::event::UserId;
use crate::people::codec_lifecycle::{LifecycleError, decode_lifecycle};
use crate::people::{Actor, ActorRole, Lifecycle};
use crate::pipeline::raw;
use crate::seam::{Clock, Forward, Forwarder, LeaseState, Record, Settlement, SystemClock};
use crate::store::{Admin, Told};

/// Between two tries while the store does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// Does what follows from what comes, until nothing comes any more.
pub(super) async fn run(
    mut records: UnboundedReceiver<Record>,
    admin: Admin,
    courier: impl Courier,
    letters: impl Forwarder,
) {
    while let Some(record) = records.recv().await {
        let (lease, offset) = (&record.lease, record.offset);
        let done = AssertUnwindSafe(one(&admin, &courier, &record, &letters)).catch_unwind().await;
        match done {
            Ok(Done::Applied) => lease.finish(offset),
            // Its letter finishes it.
            Ok(Done::DeadLettered) => {}
            Ok(Done::Fenced) => lease.abandon(offset),
            Err(_) => {
                let explanation = "Watchbell itself failed on this record; its log has the place";
                dead_letter(&record, Reason::known("panic"), explanation.to_owned(), &letters);
            }
        }
    }
}

/// What became of a record.
enum Done {
    Applied,
    DeadLettered,
    Fenced,
}

async fn one(admin: &Admin, courier: &impl Courier, record: &Record, letters: &impl Forwarder) -> Done {
    let read = decode_lifecycle(record.payload.as_deref(), SystemClock.now());
    let (by, told) = match read.and_then(|told| Ok((actor(&told)?, told))) {
        Ok(read) => read,
        Err(error) => {
            count("unreadable", "none");
            dead_letter(record, Reason::known(error.reason()), error.to_string(), letters);
            return Done::DeadLettered;
        }
    };
    if told.of_person().is_some() && told.until(SystemClock.now()).is_some() {
        tracing::warn!(
            topic = %record.lease.topic(), partition = record.lease.partition(), offset = record.offset, id = %told.id,
            "a lifecycle record is read more than ten minutes after it happened, or upstream's clock is behind: what began since is spared"
        );
    }
    loop {
        if record.lease.state() == LeaseState::Fenced {
            return Done::Fenced;
        }
        match admin.lifecycle(&told, &by, SystemClock.now()).await {
            Ok(applied) => {
                count(if applied.again { "known" } else { "applied" }, told.what.name());
                if let Some(Told { person, notice, phones }) = applied.told {
                    courier.tell(&person, &notice, phones);
                }
                return Done::Applied;
            }
            Err(unavailable) => {
                tracing::debug!(%unavailable, "a lifecycle record waits for the store");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Who acts: upstream, by that record.
fn actor(told: &Lifecycle) -> Result<Actor, LifecycleError> {
    let bad = |why| crate::event::DecodeError::BadId { field: "lifecycle_id", why };
    Ok(Actor { id: UserId::new(told.id.as_str()).map_err(bad)?, role: ActorRole::Upstream })
}

fn dead_letter(record: &Record, reason: Reason, explanation: String, letters: &impl Forwarder) {
    let (lease, offset) = (&record.lease, record.offset);
    tracing::warn!(
        topic = %lease.topic(), partition = lease.partition(), offset, reason = reason.as_str(), "record dead-lettered: {explanation}"
    );
    let settlement = Settlement::finishing(std::sync::Arc::clone(lease), offset);
    let first_seen = SystemClock.now().minus(record.read_at.elapsed());
    let label = reason.label();
    let letter = Box::new(raw(record, first_seen));
    letters.publish(Forward::DeadRecord { letter, reason, explanation }, &settlement);
    settlement.release();
    metrics::counter!("watchbell_records_dead_lettered_total", "reason" => label).increment(1);
}

fn count(result: &'static str, what: &'static str) {
    counter!("watchbell_lifecycle_total", "what" => what, "result" => result).increment(1);
}
