//! Publishing: claim a shard, read its head, write, wait for the broker, mark, give the shard back. A kill between any two of these loses
//! nothing, and repeats at most what was written and not marked: [`BATCH`] records of a shard.
use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Outbox, SHARDS};
use crate::event::Timestamp;
use crate::seam::{OutboxRecord, OutboxSink, OutboxTopic, Settlement, Unavailable};
use crate::store::database::{Arg, Engine, Row, Sql, Tx};
use crate::store::error::unavailable;
use crate::store::telemetry;

/// Most records that are read, written and marked together.
const BATCH: usize = 64;
/// How long an idle publisher waits before it looks for what other processes, now dead, left behind.
const IDLE: Duration = Duration::from_millis(500);
/// How long it waits after the store did not answer.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How often the backlog is counted.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// Where our advisory locks begin among those of the database: "watchbel" in ASCII.
const LOCKS: i64 = 0x7761_7463_6862_656c;

/// Whose turn it is: one process's, until this is dropped.
enum Turn {
    /// The lock goes with the transaction, which holds nothing else.
    Postgres(Tx),
    Sqlite,
}

/// A record that waits.
struct Waiting {
    id: i64,
    record: OutboxRecord,
}

impl Outbox {
    /// Publishes what waits for a topic until `stop`. Run it once for each topic, so that a topic that is missing holds up no other.
    pub async fn run(&self, topic: OutboxTopic, sink: &impl OutboxSink, stop: &CancellationToken) {
        let mut count_at = Instant::now();
        while !stop.is_cancelled() {
            // Before looking: what is put into the outbox from here on wakes us.
            let written = self.inner.outbox.written.notified();
            let round = async {
                let (published, _) = self.round(topic, sink).await?;
                if count_at <= Instant::now() {
                    let backlog = self.backlog(topic, self.inner.caches.clock.now()).await?;
                    telemetry::outbox_backlog(topic, backlog);
                    count_at = Instant::now() + COUNT_EVERY;
                }
                Ok::<_, Unavailable>(published)
            };
            let pause = match stop.run_until_cancelled(round).await {
                None => return,
                Some(Ok(0)) => IDLE,
                Some(Ok(_)) => continue,
                Some(Err(unavailable)) => {
                    telemetry::outbox_stalled(&unavailable.why);
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = written => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Publishes what waits for a topic now, as far as no other process is at it. Returns how many records were published and marked.
    pub async fn drain(&self, topic: OutboxTopic, sink: &impl OutboxSink) -> Result<usize, Unavailable> {
        let mut published = 0;
        loop {
            let (count, more) = self.round(topic, sink).await?;
            published += count;
            if !more {
                return Ok(published);
            }
        }
    }

    /// Publishes a batch of each shard: one that has much to say does not keep the others waiting for all of it. Returns how many records,
    /// and whether some shard may have more.
    async fn round(&self, topic: OutboxTopic, sink: &impl OutboxSink) -> Result<(usize, bool), Unavailable> {
        let (mut published, mut more) = (0, false);
        for (shard, _) in self.heads(topic).await? {
            let count = self.drain_batch(topic, shard, sink).await.map_err(|error| unavailable(&error))?;
            published += count;
            more |= count == BATCH;
        }
        Ok((published, more))
    }

    /// Publishes at most [`BATCH`] records of a shard.
    async fn drain_batch(
        &self,
        topic: OutboxTopic,
        shard: usize,
        sink: &impl OutboxSink,
    ) -> Result<usize, sqlx::Error> {
        let Some(lock) = self.inner.outbox.shards[topic as usize].get(shard) else { return Ok(0) };
        let Ok(_mine) = lock.try_lock() else { return Ok(0) };
        let Some(mut turn) = self.claim(topic, shard).await? else { return Ok(0) };
        let batch = self.read(&mut turn, topic, shard).await?;
        if batch.is_empty() {
            return Ok(0);
        }
        let ids: Vec<i64> = batch.iter().map(|waiting| waiting.id).collect();
        write(batch, sink).await;
        self.mark(turn, &ids, self.inner.caches.clock.now()).await?;
        self.inner.outbox.published.notify_waiters();
        Ok(ids.len())
    }

    /// Takes the turn, if it is nobody else's.
    async fn claim(&self, topic: OutboxTopic, shard: usize) -> Result<Option<Turn>, sqlx::Error> {
        const CLAIM: &str = "SELECT CASE WHEN pg_try_advisory_xact_lock($1) THEN 1::bigint ELSE 0::bigint END";
        match &self.inner.store.database.engine {
            Engine::Sqlite(_) => Ok(Some(Turn::Sqlite)),
            Engine::Postgres(_) => {
                let mut tx = self.inner.store.database.begin().await?;
                let lock = LOCKS + (topic as usize * SHARDS + shard) as i64;
                let rows = tx.rows(CLAIM.into(), &[Arg::Int(lock)]).await?;
                let claimed = rows.first().map_or(Ok(0), |row| row.int(0))? == 1;
                Ok(claimed.then_some(Turn::Postgres(tx)))
            }
        }
    }

    /// In a statement of its own after the lock: it sees what the one who had the turn before has marked.
    async fn read(&self, turn: &mut Turn, topic: OutboxTopic, shard: usize) -> Result<Vec<Waiting>, sqlx::Error> {
        const READ: &str = "SELECT id, key, payload, headers FROM outbox
            WHERE topic = $1 AND shard = $2 AND published_at IS NULL ORDER BY id LIMIT $3";
        let args = [Arg::Text(topic.name()), Arg::Int(shard as i64), Arg::Int(BATCH as i64)];
        let rows = match turn {
            Turn::Postgres(tx) => tx.rows(READ.into(), &args).await?,
            Turn::Sqlite => self.inner.store.database.rows(READ.into(), &args).await?,
        };
        rows.iter().map(|row| waiting(topic, row)).collect()
    }

    async fn mark(&self, turn: Turn, ids: &[i64], now: Timestamp) -> Result<(), sqlx::Error> {
        const MARK: Sql = Sql {
            postgres: "UPDATE outbox SET published_at = $1
                WHERE id IN (SELECT value::bigint FROM json_array_elements_text($2::text::json))",
            sqlite: "UPDATE outbox SET published_at = $1 WHERE id IN (SELECT value FROM json_each($2))",
        };
        let mut tx = match turn {
            Turn::Postgres(tx) => tx,
            Turn::Sqlite => self.inner.store.database.begin().await?,
        };
        let ids = format!("{ids:?}");
        tx.execute(MARK, &[Arg::Int(now.as_millis()), Arg::Text(&ids)]).await?;
        tx.commit().await
    }
}

/// Writes a batch: of each key one record at a time, the next one when the one before is acknowledged; different keys at once.
async fn write(batch: Vec<Waiting>, sink: &impl OutboxSink) {
    let mut rest = batch;
    while !rest.is_empty() {
        let acknowledged = Settlement::waiting();
        let mut keys = HashSet::new();
        let (now, later): (Vec<_>, Vec<_>) = rest.into_iter().partition(|waiting| match &waiting.record.key {
            Some(key) => keys.insert(key.clone()),
            None => true,
        });
        for waiting in &now {
            sink.write(&waiting.record, &acknowledged);
        }
        acknowledged.settled().await;
        rest = later;
    }
}

fn waiting(topic: OutboxTopic, row: &Row) -> Result<Waiting, sqlx::Error> {
    let headers = serde_json::from_str(row.text(3)?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let (key, payload) = (row.bytes(1)?.map(<[u8]>::to_vec), row.bytes(2)?.unwrap_or_default().to_vec());
    Ok(Waiting { id: row.int(0)?, record: OutboxRecord { topic, key, payload, headers } })
}
