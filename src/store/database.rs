//! The two databases behind one small interface: a statement, its arguments, its rows.
//!
//! The point: everything above is written once, with the same SQL for both (`$1` is a parameter in either), so that the two cannot
//! drift apart. It deliberately knows nothing about policy. PostgreSQL is a pool of connections. SQLite is one connection that writes
//! and a pool that reads, in WAL mode, and a lock file, because its changes are announced within the process only.
//!
//! Fails by [`sqlx::Error`]; every statement waits for `store_timeout_ms` at most, a wait for a connection included.
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Postgres, Row as _, Sqlite, Transaction};

use super::config::PolicyConfig;
use super::error::{OpenError, told};
use super::outbox::LANES;
use crate::seam::OutboxTopic;

/// A statement's argument.
#[derive(Clone, Copy)]
pub(super) enum Arg<'a> {
    Text(&'a str),
    Int(i64),
    /// NULL for `None`, as are the next two.
    MaybeText(Option<&'a str>),
    MaybeInt(Option<i64>),
    Bytes(Option<&'a [u8]>),
}

/// A row, its columns by position.
pub(super) enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

impl Row {
    pub(super) fn text(&self, column: usize) -> Result<&str, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(column),
            Self::Sqlite(row) => row.try_get(column),
        }
    }

    /// The text, empty where it is NULL.
    pub(super) fn text_or_empty(&self, column: usize) -> Result<&str, sqlx::Error> {
        Ok(self.maybe_text(column)?.unwrap_or_default())
    }

    pub(super) fn maybe_text(&self, column: usize) -> Result<Option<&str>, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(column),
            Self::Sqlite(row) => row.try_get(column),
        }
    }

    pub(super) fn maybe_int(&self, column: usize) -> Result<Option<i64>, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(column),
            Self::Sqlite(row) => row.try_get(column),
        }
    }

    pub(super) fn bytes(&self, column: usize) -> Result<Option<&[u8]>, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(column),
            Self::Sqlite(row) => row.try_get(column),
        }
    }

    pub(super) fn int(&self, column: usize) -> Result<i64, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(column),
            Self::Sqlite(row) => row.try_get(column),
        }
    }
}

/// A statement for each database; one text serves both where it can.
#[derive(Clone, Copy)]
pub(super) struct Sql {
    pub(super) postgres: &'static str,
    pub(super) sqlite: &'static str,
}

impl From<&'static str> for Sql {
    fn from(both: &'static str) -> Self {
        Self { postgres: both, sqlite: both }
    }
}

fn postgres_query<'q>(sql: Sql, args: &[Arg<'q>]) -> Query<'q, Postgres, PgArguments> {
    args.iter().fold(sqlx::query(sql.postgres), |query, arg| match *arg {
        Arg::Text(text) => query.bind(text),
        Arg::Int(int) => query.bind(int),
        Arg::MaybeText(text) => query.bind(text),
        Arg::MaybeInt(int) => query.bind(int),
        Arg::Bytes(bytes) => query.bind(bytes),
    })
}

fn sqlite_query<'q>(sql: Sql, args: &[Arg<'q>]) -> Query<'q, Sqlite, SqliteArguments> {
    args.iter().fold(sqlx::query(sql.sqlite), |query, arg| match *arg {
        Arg::Text(text) => query.bind(text),
        Arg::Int(int) => query.bind(int),
        Arg::MaybeText(text) => query.bind(text),
        Arg::MaybeInt(int) => query.bind(int),
        Arg::Bytes(bytes) => query.bind(bytes),
    })
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Where SQLite's connections and lock are.
pub(super) struct SqliteFile {
    pub(super) write: SqlitePool,
    read: SqlitePool,
    /// Locked while it is open.
    _lock: File,
}

pub(super) enum Engine {
    Postgres(PgPool),
    Sqlite(SqliteFile),
}

/// The store of record.
pub(super) struct Database {
    pub(super) engine: Engine,
    timeout: Duration,
}

/// How long to wait for a first connection: longer than a database needs to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether a missing SQLite file is made: by a migration only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Create,
    Refuse,
}

impl Database {
    pub(super) async fn connect(config: &PolicyConfig, missing: Missing) -> Result<Self, OpenError> {
        let url = config.store_url();
        let timeout = match missing {
            Missing::Create => PATIENCE,
            Missing::Refuse => config.store_timeout(),
        };
        let engine = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => Engine::Postgres(connect_postgres(url, config, timeout).await?),
            Some("sqlite") => Engine::Sqlite(open_sqlite(url, config, missing).await?),
            _ => return Err(bad_url("it must begin with postgres:// or sqlite:")),
        };
        Ok(Self { engine, timeout })
    }

    /// The rows of one statement, outside any transaction: one snapshot.
    pub(super) async fn rows(&self, sql: Sql, args: &[Arg<'_>]) -> Result<Vec<Row>, sqlx::Error> {
        match &self.engine {
            Engine::Postgres(pool) => {
                let rows = within(self.timeout, postgres_query(sql, args).fetch_all(pool)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Engine::Sqlite(file) => {
                let rows = within(self.timeout, sqlite_query(sql, args).fetch_all(&file.read)).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
        }
    }

    /// Begins a transaction that writes. Dropping it rolls it back.
    pub(super) async fn begin(&self) -> Result<Tx, sqlx::Error> {
        // Boxed: sqlx's future has 29 kB in a release build, and every future of a write would hold it.
        let work = match &self.engine {
            Engine::Postgres(pool) => Work::Postgres(within(self.timeout, Box::pin(pool.begin())).await?),
            Engine::Sqlite(file) => {
                Work::Sqlite(within(self.timeout, Box::pin(file.write.begin_with("BEGIN IMMEDIATE"))).await?)
            }
        };
        Ok(Tx { work, timeout: self.timeout })
    }

    /// Closes all connections; waits until they are.
    pub(super) async fn close(&self) {
        match &self.engine {
            Engine::Postgres(pool) => pool.close().await,
            Engine::Sqlite(file) => {
                file.read.close().await;
                file.write.close().await;
            }
        }
    }
}

enum Work {
    Postgres(Transaction<'static, Postgres>),
    Sqlite(Transaction<'static, Sqlite>),
}

/// A transaction.
pub(super) struct Tx {
    work: Work,
    timeout: Duration,
}

impl Tx {
    pub(super) async fn rows(&mut self, sql: Sql, args: &[Arg<'_>]) -> Result<Vec<Row>, sqlx::Error> {
        match &mut self.work {
            Work::Postgres(tx) => {
                let rows = within(self.timeout, postgres_query(sql, args).fetch_all(&mut **tx)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Work::Sqlite(tx) => {
                let rows = within(self.timeout, sqlite_query(sql, args).fetch_all(&mut **tx)).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
        }
    }

    /// Executes one statement that returns nothing.
    pub(super) async fn execute(&mut self, sql: Sql, args: &[Arg<'_>]) -> Result<(), sqlx::Error> {
        match &mut self.work {
            Work::Postgres(tx) => {
                within(self.timeout, postgres_query(sql, args).execute(&mut **tx)).await?;
            }
            Work::Sqlite(tx) => {
                within(self.timeout, sqlite_query(sql, args).execute(&mut **tx)).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        match self.work {
            Work::Postgres(tx) => within(self.timeout, tx.commit()).await,
            Work::Sqlite(tx) => within(self.timeout, tx.commit()).await,
        }
    }
}

/// Whether the store's URL is one, as far as that shows without connecting.
pub(super) fn check_url(url: &str) -> Result<(), OpenError> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => postgres_options(url).map(drop),
        Some("sqlite") => sqlite_options(url).map(drop),
        _ => Err(bad_url("it must begin with postgres:// or sqlite:")),
    }
}

fn postgres_options(url: &str) -> Result<PgConnectOptions, OpenError> {
    PgConnectOptions::from_str(url).map_err(|error| bad_url(&error.to_string()))
}

fn sqlite_options(url: &str) -> Result<SqliteConnectOptions, OpenError> {
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(bad_url("a database in memory cannot be shared by several connections: give a file"));
    }
    SqliteConnectOptions::from_str(url).map_err(|error| bad_url(&error.to_string()))
}

async fn connect_postgres(url: &str, config: &PolicyConfig, timeout: Duration) -> Result<PgPool, OpenError> {
    // The server gives up a statement that we no longer wait for, and a machine that is gone within half a minute instead of its
    // system's two hours: a connection may hold a shard of the outbox.
    let statement_timeout = timeout.as_millis().to_string();
    let keepalives = [("tcp_keepalives_idle", "10"), ("tcp_keepalives_interval", "5"), ("tcp_keepalives_count", "3")];
    let options = postgres_options(url)?
        .application_name("watchbell")
        .options([("statement_timeout", statement_timeout.as_str())])
        .options(keepalives);
    // A publisher of the outbox keeps one while it waits for a broker: it must not be one that reads need.
    let publishers = (OutboxTopic::ALL.len() * LANES) as u32;
    PgPoolOptions::new()
        .max_connections(config.store_concurrency + publishers)
        .acquire_timeout(PATIENCE)
        .connect_with(options)
        .await
        .map_err(|error| OpenError::Unreachable(told(&error)))
}

/// Page cache of one SQLite connection, negative: in KiB (SQLite, PRAGMA cache_size).
const PAGE_CACHE_KIB: &str = "-256";

/// Connections that read a SQLite file, at most: each is a thread, and takes half a MiB with its caches (measured). A look-up takes
/// microseconds, most of them the processor's.
const SQLITE_READERS: u32 = 4;

async fn open_sqlite(url: &str, config: &PolicyConfig, missing: Missing) -> Result<SqliteFile, OpenError> {
    let options = sqlite_options(url)?;
    let path = options.get_filename().to_owned();
    if missing == Missing::Refuse && !path.exists() {
        return Err(OpenError::Unmigrated { found: 0, needed: super::schema::needed(false) });
    }
    let lock = lock(&path)?;
    let options = options
        .create_if_missing(missing == Missing::Create)
        .journal_mode(SqliteJournalMode::Wal)
        // With WAL, NORMAL keeps the file whole at a power cut and may lose the last commits; a mute that was confirmed must not go.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(config.store_timeout());
    // Each connection has a page cache of its own, 2 MiB unless told; the system's, and ours above, hold the same pages.
    let options = options.pragma("cache_size", PAGE_CACHE_KIB);
    let pool = |connections: u32| SqlitePoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE);
    let unreachable = |error: sqlx::Error| OpenError::Unreachable(format!("{}: {}", path.display(), told(&error)));
    let write = pool(1).connect_with(options.clone()).await.map_err(unreachable)?;
    let readers = config.store_concurrency.min(SQLITE_READERS);
    let read = pool(readers).connect_with(options.read_only(true)).await.map_err(unreachable)?;
    Ok(SqliteFile { write, read, _lock: lock })
}

/// The lock goes with the process, however it ends.
fn lock(database: &Path) -> Result<File, OpenError> {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let unreachable = |error: std::io::Error| OpenError::Unreachable(format!("{}: {error}", path.display()));
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(unreachable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::InUse { file: database.display().to_string() }),
        Err(std::fs::TryLockError::Error(error)) => Err(unreachable(error)),
    }
}

fn bad_url(why: &str) -> OpenError {
    OpenError::Url { key: "store_url", why: why.into() }
}
