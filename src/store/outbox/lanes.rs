//! Which shards of a topic a process publishes next: in turn, and no oftener than there is reason to.
//!
//! The point: a shard that another process holds is tried again seldom. While a broker is away that process holds it for as long, and each
//! try is a transaction of PostgreSQL. What is written here meanwhile is no reason to hurry, because whoever holds a shard looks again when
//! its batch is out; but it may be idle by then, so the next try is [`TRY_AGAIN`] after the last one. It deliberately knows nothing of
//! records, and cannot fail.
use std::time::Duration;

use tokio::time::Instant;

use super::SHARDS;

/// How long an idle publisher waits before it looks for what other processes, now dead, left behind.
pub(super) const IDLE: Duration = Duration::from_millis(500);
/// How soon after a try another process's shard is tried again because something was written: before anybody notices, and at most 20 times a
/// second, each try three statements of which none reads a row.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// A shard, as this process sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shard {
    Free,
    /// It is being published here.
    AtWork,
    /// Another process's, when it was tried; it is left alone until then.
    Anothers {
        tried: Instant,
        until: Instant,
    },
}

/// The shards of a topic, and which of them is looked at next.
pub(super) struct Lanes {
    shards: [Shard; SHARDS],
    next: usize,
}

impl Lanes {
    pub(super) const fn new() -> Self {
        Self { shards: [Shard::Free; SHARDS], next: 0 }
    }

    /// Something was written: what is another's may be free again soon.
    pub(super) fn wake(&mut self) {
        for shard in &mut self.shards {
            if let Shard::Anothers { tried, until } = shard {
                *until = (*until).min(*tried + TRY_AGAIN);
            }
        }
    }

    /// As many of the waiting shards as may begin now, in turn: one that always has something to say does not come twice before another.
    pub(super) fn take(&mut self, waiting: &[usize], room: usize) -> Vec<usize> {
        let now = Instant::now();
        let free = |shard: &&usize| match self.shards.get(**shard) {
            Some(Shard::Free) => true,
            Some(Shard::Anothers { until, .. }) => *until <= now,
            Some(Shard::AtWork) | None => false,
        };
        let mut shards: Vec<usize> = waiting.iter().filter(free).copied().collect();
        shards.sort_by_key(|shard| (shard + SHARDS - self.next) % SHARDS);
        shards.truncate(room);
        for shard in &shards {
            self.shards[*shard] = Shard::AtWork;
        }
        if let Some(last) = shards.last() {
            self.next = (last + 1) % SHARDS;
        }
        shards
    }

    /// A shard that was being published is not any more; or, if it was not to be `had`, is another process's.
    pub(super) fn leave(&mut self, shard: usize, had: bool) {
        let tried = Instant::now();
        self.shards[shard] = if had { Shard::Free } else { Shard::Anothers { tried, until: tried + IDLE } };
    }

    /// How long there is nothing to do, unless something is written or a batch ends: until the first of the waiting shards may be tried
    /// again, [`IDLE`] at most.
    pub(super) fn until_next(&self, waiting: &[usize]) -> Duration {
        let now = Instant::now();
        let next = waiting.iter().filter_map(|shard| match self.shards.get(*shard) {
            // One that may be tried now waits for a lane, which ends its batch.
            Some(Shard::Anothers { until, .. }) if *until > now => Some(*until - now),
            Some(Shard::Anothers { .. } | Shard::Free | Shard::AtWork) | None => None,
        });
        next.min().unwrap_or(IDLE).min(IDLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, sleep};

    const MS: Duration = Duration::from_millis(1);

    /// How often shards are tried that other processes hold, while something is written here every so often, and when, in a second.
    async fn tries(waiting: &[usize], written_every: Duration) -> Vec<Duration> {
        let (mut lanes, began, mut tries) = (Lanes::new(), Instant::now(), Vec::new());
        let mut written = began + written_every;
        while began.elapsed() < Duration::from_secs(1) {
            for shard in lanes.take(waiting, 4) {
                tries.push(began.elapsed());
                lanes.leave(shard, false);
            }
            // As the publisher: whichever is first.
            let pause = lanes.until_next(waiting);
            if Instant::now() + pause < written {
                sleep(pause).await;
            } else {
                tokio::time::sleep_until(written).await;
                written += written_every;
                lanes.wake();
            }
        }
        tries
    }

    #[tokio::test(start_paused = true)]
    async fn anothers_shard_is_tried_seldom() {
        // However much is written; and as soon as said, not at the next idle look.
        assert_eq!(tries(&[3], MS).await.len(), 20);
        assert_eq!(tries(&[3], 10 * MS).await.len(), 20);
        assert_eq!(tries(&[3], 30 * MS).await[..3], [0, 50, 100].map(|ms| ms * MS));
        assert_eq!(tries(&[3], 2_000 * MS).await, [0, 500].map(|ms| ms * MS), "nothing is written");
        let all: Vec<usize> = (0..SHARDS).collect();
        assert!(tries(&all, MS).await.len() <= 20 * SHARDS);
    }

    #[tokio::test(start_paused = true)]
    async fn shards_take_turns() {
        let mut lanes = Lanes::new();
        assert_eq!(lanes.take(&[1, 2, 9], 2), [1, 2]);
        assert!(lanes.take(&[1, 2, 9], 0).is_empty());
        assert_eq!(lanes.until_next(&[1, 2, 9]), IDLE, "a batch that ends says so");
        lanes.leave(1, true);
        assert_eq!(lanes.take(&[1, 2, 9], 2), [9, 1], "who was there comes after who was not");
        lanes.leave(1, true);
        lanes.leave(9, false);
        assert_eq!(lanes.take(&[1, 9], 2), [1]);
        advance(IDLE).await;
        assert_eq!(lanes.take(&[9], 2), [9], "whoever had it may be dead");
    }
}
