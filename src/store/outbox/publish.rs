//! Publishing: claim a shard, read its head, write, wait for the broker, mark, give the shard back. A kill between any two of these loses
//! nothing, and repeats at most what was written and not marked: [`BATCH`] records of a shard.
//!
//! The point: nobody waits long for others' backlog. Shards go side by side, [`LANES`] of a topic, each in its turn; in a shard the keys
//! take turns, each with a few records, all keys of a batch at once. It deliberately has one record of a key in flight: what a producer gives
//! back (it was refused, or the producer had to be replaced) is written again later, and by then a later one must not be out.
use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{join_all, try_join_all};
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lanes::Lanes;
use super::{Outbox, SHARDS};
use crate::event::Timestamp;
use crate::seam::{OutboxRecord, OutboxSink, OutboxTopic, Settlement, Unavailable};
use crate::store::database::{Arg, Engine, Row, Sql, Tx};
use crate::store::error::unavailable;
use crate::store::telemetry;

/// Most records that are read, written and marked together.
const BATCH: usize = 64;
/// Most of these that are of one key, if others of its shard wait, too: as many round trips to the broker as another key may wait for.
const OF_KEY_MAX: i64 = 8;
/// As much of a key as takes turns, in bytes, as in the index: longer than any id. Keys that begin alike take one turn together.
const KEY_BYTES: usize = 128;
/// Shards of a topic that a process publishes at once: with PostgreSQL each holds a connection while a broker makes it wait.
pub(in crate::store) const LANES: usize = 4;
/// How long it waits after the store did not answer.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How often the backlog is counted.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// Where our advisory locks begin among those of the database: "watchbel" in ASCII.
const LOCKS: i64 = 0x7761_7463_6862_656c;

macro_rules! read {
    ($key:literal, $last:literal) => {
        concat!(
            "WITH RECURSIVE keys (k, n) AS (
                SELECT * FROM (SELECT ",
            $key,
            ", 1 FROM outbox WHERE topic = $1 AND shard = $2 AND published_at IS NULL
                    AND ",
            $key,
            " >= $3 ORDER BY ",
            $key,
            " LIMIT 1) AS first
                UNION ALL SELECT (SELECT ",
            $key,
            " FROM outbox WHERE topic = $1 AND shard = $2 AND published_at IS NULL
                    AND ",
            $key,
            " > keys.k ORDER BY ",
            $key,
            " LIMIT 1), n + 1 FROM keys WHERE k IS NOT NULL AND n < $4)
            SELECT id, key, payload, headers FROM outbox WHERE id IN (",
            $last,
            ") ORDER BY id"
        )
    };
}

/// `$3` where the keys begin, `$4` how many records, `$5` how many of a key. First the first ones of all keys, then the second ones, …
const READ: Sql = Sql {
    postgres: read!(
        "coalesce(substr(key, 1, 128), ''::bytea)",
        "SELECT id FROM keys, LATERAL (SELECT id, row_number() OVER (ORDER BY id) AS depth FROM outbox
            WHERE topic = $1 AND shard = $2 AND published_at IS NULL AND coalesce(substr(key, 1, 128), ''::bytea) = keys.k
            ORDER BY id LIMIT $5) AS of_key
        WHERE k IS NOT NULL ORDER BY depth, k LIMIT $4"
    ),
    sqlite: read!(
        "coalesce(substr(key, 1, 128), x'')",
        "SELECT id FROM (SELECT o.id AS id, k, row_number() OVER (PARTITION BY k ORDER BY o.id) AS depth
            FROM keys CROSS JOIN outbox o WHERE k IS NOT NULL AND o.id IN
                (SELECT id FROM outbox WHERE topic = $1 AND shard = $2 AND published_at IS NULL
                    AND coalesce(substr(key, 1, 128), x'') = keys.k ORDER BY id LIMIT $5))
        ORDER BY depth, k LIMIT $4"
    ),
};

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
        stop.run_until_cancelled(self.publish(topic, sink)).await;
    }

    /// Shards side by side, each a batch at a time. Never ends.
    async fn publish(&self, topic: OutboxTopic, sink: &impl OutboxSink) {
        let (mut lanes, mut at_work, mut count_at) = (Lanes::new(), FuturesUnordered::new(), Instant::now());
        loop {
            // Before looking: what is put into the outbox from here on wakes us.
            let written = self.inner.outbox.written.notified();
            let pause = match self.look(topic, &mut count_at).await {
                Ok(waiting) => {
                    let waiting: Vec<usize> = waiting.iter().map(|(shard, _)| *shard).collect();
                    for shard in lanes.take(&waiting, LANES - at_work.len()) {
                        at_work.push(async move { (shard, self.one_batch(topic, shard, sink).await) });
                    }
                    lanes.until_next(&waiting)
                }
                Err(unavailable) => {
                    telemetry::outbox_stalled(&unavailable.why);
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                Some((shard, published)) = at_work.next() => lanes.leave(shard, published),
                () = written => lanes.wake(),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// The shards in which something waits. Counts it, if it is time to.
    async fn look(&self, topic: OutboxTopic, count_at: &mut Instant) -> Result<Vec<(usize, Timestamp)>, Unavailable> {
        let waiting = self.heads(topic).await?;
        if *count_at <= Instant::now() {
            let backlog = self.backlog(topic, self.inner.caches.clock.now()).await?;
            telemetry::outbox_backlog(topic, backlog);
            *count_at = Instant::now() + COUNT_EVERY;
        }
        Ok(waiting)
    }

    /// A batch of a shard, if the shard was to be had; after a while, if the store did not answer.
    async fn one_batch(&self, topic: OutboxTopic, shard: usize, sink: &impl OutboxSink) -> bool {
        match self.drain_batch(topic, shard, sink).await {
            Ok(published) => published.is_some(),
            Err(error) => {
                telemetry::outbox_stalled(&unavailable(&error).why);
                tokio::time::sleep(AFTER_FAILURE).await;
                false
            }
        }
    }

    /// Publishes what waits for a topic now, as far as no other process is at it. Returns how many records were published and marked.
    pub async fn drain(&self, topic: OutboxTopic, sink: &impl OutboxSink) -> Result<usize, Unavailable> {
        let mut published = 0;
        loop {
            let before = published;
            for shards in self.heads(topic).await?.chunks(LANES) {
                let batches = shards.iter().map(|(shard, _)| self.drain_batch(topic, *shard, sink));
                let counts = try_join_all(batches).await.map_err(|error| unavailable(&error))?;
                published += counts.iter().flatten().sum::<usize>();
            }
            if published == before {
                return Ok(published);
            }
        }
    }

    /// Publishes a batch of a shard. Returns how many records that was; `None` if somebody else is at it.
    async fn drain_batch(
        &self,
        topic: OutboxTopic,
        shard: usize,
        sink: &impl OutboxSink,
    ) -> Result<Option<usize>, sqlx::Error> {
        let Some(lock) = self.inner.outbox.shards[topic as usize].get(shard) else { return Ok(None) };
        let Ok(mut from) = lock.try_lock() else { return Ok(None) };
        let Some(mut turn) = self.claim(topic, shard).await? else { return Ok(None) };
        let mut batch = self.read(&mut turn, topic, shard, &from).await?;
        if batch.is_empty() && !from.is_empty() {
            // Behind the last key: from the first one again.
            from.clear();
            batch = self.read(&mut turn, topic, shard, &from).await?;
        }
        *from = after(&batch);
        if batch.is_empty() {
            return Ok(Some(0));
        }
        let ids: Vec<i64> = batch.iter().map(|waiting| waiting.id).collect();
        write(batch, sink).await;
        self.mark(turn, &ids, self.inner.caches.clock.now()).await?;
        self.inner.outbox.published.notify_waiters();
        Ok(Some(ids.len()))
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

    /// The first records of each of the next keys, from `from` on. In a statement of its own after the lock: it sees what the one who had
    /// the turn before has marked.
    async fn read(
        &self,
        turn: &mut Turn,
        topic: OutboxTopic,
        shard: usize,
        from: &[u8],
    ) -> Result<Vec<Waiting>, sqlx::Error> {
        let args = [
            Arg::Text(topic.name()),
            Arg::Int(shard as i64),
            Arg::Bytes(Some(from)),
            Arg::Int(BATCH as i64),
            Arg::Int(OF_KEY_MAX),
        ];
        let rows = match turn {
            Turn::Postgres(tx) => tx.rows(READ, &args).await?,
            Turn::Sqlite => self.inner.store.database.rows(READ, &args).await?,
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
    let mut keys: BTreeMap<Option<Vec<u8>>, Vec<OutboxRecord>> = BTreeMap::new();
    for Waiting { record, .. } in batch {
        keys.entry(record.key.clone()).or_default().push(record);
    }
    let unordered = keys.remove(&None).unwrap_or_default().into_iter().map(|record| vec![record]);
    join_all(unordered.chain(keys.into_values()).map(|records| write_in_order(records, sink))).await;
}

async fn write_in_order(records: Vec<OutboxRecord>, sink: &impl OutboxSink) {
    for record in records {
        let acknowledged = Settlement::waiting();
        sink.write(&record, &acknowledged);
        acknowledged.settled().await;
    }
}

/// Where the keys begin that come after those of this batch; the first ones again after a batch without any.
fn after(batch: &[Waiting]) -> Vec<u8> {
    let last = batch.iter().map(|waiting| waiting.record.key.as_deref().unwrap_or_default()).max();
    last.map(|key| [&key[..key.len().min(KEY_BYTES)], &[0]].concat()).unwrap_or_default()
}

fn waiting(topic: OutboxTopic, row: &Row) -> Result<Waiting, sqlx::Error> {
    let headers = serde_json::from_str(row.text(3)?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let (key, payload) = (row.bytes(1)?.map(<[u8]>::to_vec), row.bytes(2)?.unwrap_or_default().to_vec());
    Ok(Waiting { id: row.int(0)?, record: OutboxRecord { topic, key, payload, headers } })
}
