//! Trying again until the store takes what was read.
//!
//! The point: a store that does not answer is waited for, and a store that says that the values are wrong is believed, because whoever waited
//! for it to change its mind would keep everybody behind that record waiting, too. Whoever waits for long says so. It deliberately decides
//! nothing about offsets.
use std::time::{Duration, Instant};

use crate::seam::{LeaseState, Record, Unavailable};
use crate::store::{Failure, Unfit};

/// Between two tries while the store does not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// A record that is tried for so long is worth a line of the log: a failover of a database takes less.
const LONG: Duration = Duration::from_secs(30);
/// Between two such lines.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What came of trying.
pub(super) enum Taken<T> {
    /// The store has it.
    Done(T),
    /// The store will never take it.
    Refused(Unfit),
    /// Every partition of these records is somebody else's by now.
    Fenced,
}

/// Does what `attempt` does for these records, of which there is at least one, until the store answers.
pub(super) async fn until_taken<T, F>(records: &[Record], attempt: impl Fn() -> F) -> Taken<T>
where
    F: Future<Output = Result<T, Failure<Unfit>>>,
{
    let mut wait = Wait { since: Instant::now(), told: None };
    loop {
        if records.iter().all(|record| record.lease.state() == LeaseState::Fenced) {
            return Taken::Fenced;
        }
        match attempt().await {
            Ok(done) => return Taken::Done(done),
            Err(Failure::Refused(unfit)) => return Taken::Refused(unfit),
            Err(Failure::Unavailable(unavailable)) => {
                wait.tell(records, &unavailable);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Says that a record is passed over.
pub(super) fn given_up(record: &Record, unfit: &Unfit) {
    let (lease, offset) = (&record.lease, record.offset);
    tracing::warn!(topic = %lease.topic(), partition = lease.partition(), offset, %unfit, "a record is passed over");
}

/// How long something has been tried, and when that was told last.
struct Wait {
    since: Instant,
    told: Option<Instant>,
}

impl Wait {
    fn tell(&mut self, records: &[Record], unavailable: &Unavailable) {
        let (Some(first), now) = (records.first(), Instant::now()) else { return };
        let (topic, partition, offset) = (first.lease.topic(), first.lease.partition(), first.offset);
        if self.is_worth_a_line(now) {
            let tried_s = now.duration_since(self.since).as_secs();
            tracing::warn!(%topic, partition, offset, tried_s, %unavailable, "a record and all behind it wait for the store");
        } else {
            tracing::debug!(%topic, partition, offset, %unavailable, "a record waits for the store");
        }
    }

    fn is_worth_a_line(&mut self, now: Instant) -> bool {
        let is_due = match self.told {
            None => now.duration_since(self.since) >= LONG,
            Some(told) => now.duration_since(told) >= TOLD_EVERY,
        };
        if is_due {
            self.told = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_is_told_once_a_minute() {
        let began = Instant::now();
        let mut wait = Wait { since: began, told: None };
        let told = (0..200).filter(|second| wait.is_worth_a_line(began + Duration::from_secs(*second)));
        assert_eq!(told.collect::<Vec<_>>(), [30, 90, 150]);
    }
}
