//! The outbox: what Kafka is to hear is written with the change that it tells of, and published from here until the broker has it.
//!
//! The point: a change and its record cannot part, whatever is killed when. A record is marked after its acknowledgement, so a kill
//! between the two repeats it: at least once. Records of one key share a shard, a shard has one publisher at a time in the fleet, and the
//! next record of a key is not written before the one before is acknowledged; so a key's records first appear in order, even where one of
//! them is repeated behind others. Two transactions that run at once have no order; one that began after another had committed has.
//!
//! A shard's publisher holds an advisory lock of PostgreSQL, which goes with its connection, so a killed process gives it back at once and
//! a machine that is gone within half a minute; with SQLite there is one process, and a lock within it.
//!
//! It deliberately never gives a record up: while a broker is away the backlog grows in the store, and [`Backlog`] says how old it is.
//! Fails by [`Unavailable`] of the store; a sink has no way to fail but to take its time.
mod lanes;
mod publish;

pub(super) use publish::LANES;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use super::database::Arg;
use super::error::unavailable;
use super::policy::Inner;
use super::work::Work;
use crate::event::Timestamp;
use crate::seam::{OutboxRecord, OutboxTopic, Unavailable};

/// Parts of a topic that are published independently, by any process. More than processes worth having; changing it would need a moment
/// in which nothing waits, or a key's records could overtake each other.
const SHARDS: usize = 16;
/// Largest record, in bytes: several times the largest statement that a phone can sign, and below every broker's default limit.
const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// Most records that [`Backlog::waiting`] counts: counting more would cost more than the number is worth.
pub const BACKLOG_COUNTED_MAX: u64 = 10_000;
/// How soon another process's mark is looked for while somebody waits for it: later each time, up to the second, because hundreds wait
/// while a broker is away.
const LOOK: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(1);

/// The name of a record in the outbox.
pub type OutboxId = i64;

/// What this process's publishers and writers share.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// Something was put into the outbox here.
    written: Notify,
    /// Something was marked as published here.
    published: Notify,
    /// For each shard the turn, and the key from which it goes on.
    shards: [[Mutex<Vec<u8>>; SHARDS]; OutboxTopic::ALL.len()],
}

impl Desk {
    pub(super) fn wake(&self) {
        self.written.notify_waiters();
    }
}

/// What waits for a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Records, [`BACKLOG_COUNTED_MAX`] at most.
    pub waiting: u64,
    /// How long the oldest has been waiting.
    pub oldest: Duration,
}

/// The reader's side of the outbox. Clones share everything.
#[derive(Clone)]
pub struct Outbox {
    inner: Arc<Inner>,
}

impl Work {
    /// Puts a record into the outbox, if this transaction lasts.
    pub(super) async fn tell(&mut self, record: &OutboxRecord, at: Timestamp) -> Result<OutboxId, sqlx::Error> {
        const TELL: &str = "INSERT INTO outbox (topic, shard, key, payload, headers, created_at)
            VALUES ($1, $2, $3, $4, $5, $6) RETURNING id";
        if record.payload.len() > PAYLOAD_BYTES_MAX {
            let why = format!("a record of {} bytes is more than the outbox takes", record.payload.len());
            return Err(sqlx::Error::Encode(why.into()));
        }
        let headers = serde_json::to_string(&record.headers).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let shard = shard(record.key.as_deref().unwrap_or(&record.payload));
        let row = [
            Arg::Text(record.topic.name()),
            Arg::Int(shard),
            Arg::Bytes(record.key.as_deref()),
            Arg::Bytes(Some(&record.payload)),
            Arg::Text(&headers),
            Arg::Int(at.as_millis()),
        ];
        let rows = self.tx.rows(TELL.into(), &row).await?;
        self.touched.told = true;
        rows.first().ok_or(sqlx::Error::RowNotFound)?.int(0)
    }
}

/// FNV-1a (64 bits, Fowler, Noll and Vo): the same in every process and version, which the shard of a key must be.
fn shard(key: &[u8]) -> i64 {
    let hash = key
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    (hash % SHARDS as u64) as i64
}

impl Outbox {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// What waits for a topic.
    pub async fn backlog(&self, topic: OutboxTopic, now: Timestamp) -> Result<Backlog, Unavailable> {
        const COUNT: &str = "SELECT count(*) FROM
            (SELECT 1 FROM outbox WHERE topic = $1 AND published_at IS NULL LIMIT $2) AS counted";
        let heads = self.heads(topic).await?;
        let oldest = heads.iter().map(|(_, since)| now.since(*since)).max().unwrap_or_default();
        let args = [Arg::Text(topic.name()), Arg::Int(BACKLOG_COUNTED_MAX as i64)];
        let rows = self.inner.store.database.rows(COUNT.into(), &args).await.map_err(|error| unavailable(&error))?;
        let waiting = rows.first().map_or(Ok(0), |row| row.int(0)).map_err(|error| unavailable(&error))?;
        Ok(Backlog { waiting: u64::try_from(waiting).unwrap_or_default(), oldest })
    }

    /// The shards in which something waits, each with since when its first record has been waiting.
    async fn heads(&self, topic: OutboxTopic) -> Result<Vec<(usize, Timestamp)>, Unavailable> {
        const HEADS: &str = "WITH RECURSIVE shards (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM shards WHERE n + 1 < $2)
            SELECT n, since FROM (SELECT CAST(n AS bigint) AS n, (SELECT o.created_at FROM outbox o
                WHERE o.topic = $1 AND o.shard = shards.n AND o.published_at IS NULL ORDER BY o.id LIMIT 1) AS since FROM shards) AS heads
            WHERE since IS NOT NULL";
        let args = [Arg::Text(topic.name()), Arg::Int(SHARDS as i64)];
        let rows = self.inner.store.database.rows(HEADS.into(), &args).await.map_err(|error| unavailable(&error))?;
        let heads: Result<Vec<_>, sqlx::Error> = rows
            .iter()
            .map(|row| Ok((usize::try_from(row.int(0)?).unwrap_or_default(), Timestamp(row.int(1)?))))
            .collect();
        heads.map_err(|error| unavailable(&error))
    }

    /// Waits until the broker has acknowledged a record, whichever process published it; false if that takes longer than `within`.
    pub async fn published(&self, id: OutboxId, within: Duration) -> Result<bool, Unavailable> {
        let waiting = async {
            let mut pauses = pauses();
            loop {
                let marked = self.inner.outbox.published.notified();
                if self.is_published(id).await? {
                    return Ok(());
                }
                tokio::time::timeout(pauses.next().unwrap_or(LOOK_MAX), marked).await.ok();
            }
        };
        match tokio::time::timeout(within, waiting).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(unavailable)) => Err(unavailable),
            Err(_) => Ok(false),
        }
    }

    /// One that is gone was published long ago: nothing else is removed.
    async fn is_published(&self, id: OutboxId) -> Result<bool, Unavailable> {
        const READ: &str = "SELECT 1 FROM outbox WHERE id = $1 AND published_at IS NULL";
        let rows = self.inner.store.database.rows(READ.into(), &[Arg::Int(id)]).await;
        rows.map(|rows| rows.is_empty()).map_err(|error| unavailable(&error))
    }
}

/// How long to wait before each look for another process's mark.
fn pauses() -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(LOOK), |pause| Some((*pause * 2).min(LOOK_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_looks_seldom() {
        // Another process's mark is seen soon at first; while brokers are away an answer that waits three seconds asks the store six times.
        let looks = |within: Duration| {
            let mut waited = Duration::ZERO;
            pauses()
                .take_while(|pause| {
                    waited += *pause;
                    waited < within
                })
                .count()
        };
        assert_eq!((looks(Duration::from_millis(200)), looks(Duration::from_secs(3))), (2, 6));
    }

    /// A key's shard never changes: what waits under it was put there by another version.
    #[test]
    fn shards_are_for_ever() {
        assert_eq!(["", "acme", "auth0|ada", "0a4f9f1c"].map(|key| shard(key.as_bytes())), [5, 15, 5, 15]);
        let mut used = [0; SHARDS];
        for n in 0..1_600 {
            used[shard(format!("user-{n}").as_bytes()) as usize] += 1;
        }
        assert!(used.iter().all(|keys| *keys > 50), "{used:?}");
    }
}
