//! The schema and its version: applied by `watchbell migrate`, checked by everything else.
//!
//! The point: a program never works on tables that it cannot use. It deliberately never migrates by itself, because workers of two
//! versions run side by side during a deploy: first comes a migration that only adds, on which the older workers go on and start again;
//! one that takes away comes when they are gone, and raises `minimum_reader` in the table `compatibility`, so that none of them starts.
//! Each migration is applied whole or not at all, and none is changed afterwards: its checksum is in the store.
//!
//! That older programs go on does not say that they know what a newer one wrote. While one still runs beside, it lets keys register that are in
//! `erased_keys` only (12), believes tokens from before `ended_sessions` (13), enrols devices of which no session is known (17), which
//! what is told late then retires, leaves `unreachable_since` where a phone is reached again (18), and cannot show pages of the trail on which a
//! newer one wrote that what pushes say was changed.
use sqlx::migrate::{MigrateError, Migrator};

use super::config::PolicyConfig;
use super::database::{Database, Engine, Missing, Sql};
use super::error::{OpenError, told};
use super::telemetry;

static POSTGRES: Migrator = sqlx::migrate!("src/store/migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("src/store/migrations/sqlite");

fn migrator(database: &Database) -> &'static Migrator {
    match &database.engine {
        Engine::Postgres(_) => &POSTGRES,
        Engine::Sqlite(_) => &SQLITE,
    }
}

/// The version that this program needs.
pub(super) fn needed(postgres: bool) -> i64 {
    let migrator = if postgres { &POSTGRES } else { &SQLITE };
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// What a migration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The version before; 0 for none.
    pub from: i64,
    /// The version now.
    pub to: i64,
}

/// Brings the store to the version that this program needs, and gives it a name of its own if it has none. A newer schema stays as it is,
/// if this program may work on it.
///
/// `renamed` gives it a new name: after a backup was restored, so that what Redis still holds of the newer state is not used.
pub async fn migrate(config: &PolicyConfig, renamed: bool) -> Result<Migrated, OpenError> {
    let database = Database::connect(config, Missing::Create).await?;
    let done = migrate_database(&database, renamed).await;
    database.close().await;
    done
}

async fn migrate_database(database: &Database, renamed: bool) -> Result<Migrated, OpenError> {
    let migrator = migrator(database);
    let from = applied(database).await?.last().map_or(0, |(version, _)| *version);
    let to = needed(matches!(database.engine, Engine::Postgres(_)));
    if from > to {
        check(database).await?;
        name(database, renamed).await.map_err(|error| OpenError::Migration(told(&error)))?;
        return Ok(Migrated { from, to: from });
    }
    let run = match &database.engine {
        Engine::Postgres(pool) => {
            let mut connection = pool.acquire().await.map_err(|error| OpenError::Migration(told(&error)))?;
            // An index of a large table takes longer than any statement of the service may. The connection serves nothing else.
            let patient = sqlx::query("SET statement_timeout = 0").execute(&mut *connection).await;
            patient.map_err(|error| OpenError::Migration(told(&error)))?;
            migrator.run(&mut *connection).await
        }
        Engine::Sqlite(file) => migrator.run(&file.write).await,
    };
    run.map_err(|error| match error {
        MigrateError::VersionMismatch(version) => OpenError::Altered(version),
        MigrateError::VersionMissing(_) => OpenError::Newer { found: from, needed: to },
        other => OpenError::Migration(other.to_string()),
    })?;
    name(database, renamed).await.map_err(|error| OpenError::Migration(told(&error)))?;
    Ok(Migrated { from, to })
}

async fn name(database: &Database, renamed: bool) -> Result<(), sqlx::Error> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let mut tx = database.begin().await?;
    if renamed {
        tx.execute("DELETE FROM incarnation".into(), &[]).await?;
    }
    let insert = "INSERT INTO incarnation (one, id) VALUES (1, $1) ON CONFLICT (one) DO NOTHING";
    tx.execute(insert.into(), &[super::database::Arg::Text(&id)]).await?;
    tx.commit().await
}

/// Refuses a store on whose schema this program may not work.
pub(super) async fn check(database: &Database) -> Result<(), OpenError> {
    let applied = applied(database).await?;
    let needed = needed(matches!(database.engine, Engine::Postgres(_)));
    let found = applied.last().map_or(0, |(version, _)| *version);
    for migration in migrator(database).iter() {
        match applied.iter().find(|(version, _)| *version == migration.version) {
            None if found > needed => return Err(OpenError::Newer { found, needed }),
            None => return Err(OpenError::Unmigrated { found, needed }),
            Some((version, checksum)) if *checksum != hex(&migration.checksum) => {
                return Err(OpenError::Altered(*version));
            }
            Some(_) => {}
        }
    }
    if found > needed {
        let minimum = minimum_reader(database).await.map_err(|error| OpenError::Unreachable(told(&error)))?;
        if minimum > needed {
            return Err(OpenError::Newer { found, needed });
        }
        telemetry::newer_schema(found, needed);
    }
    Ok(())
}

/// The version of the oldest program that may work on this schema.
async fn minimum_reader(database: &Database) -> Result<i64, sqlx::Error> {
    let rows = database.rows("SELECT minimum_reader FROM compatibility".into(), &[]).await?;
    rows.first().map_or(Err(sqlx::Error::RowNotFound), |row| row.int(0))
}

/// The name of this store's present life.
pub(super) async fn incarnation(database: &Database) -> Result<String, sqlx::Error> {
    let rows = database.rows("SELECT id FROM incarnation".into(), &[]).await?;
    rows.first().map_or(Err(sqlx::Error::RowNotFound), |row| Ok(row.text(0)?.to_owned()))
}

/// The versions applied and their checksums in hex, ascending.
async fn applied(database: &Database) -> Result<Vec<(i64, String)>, OpenError> {
    const TABLES: Sql = Sql {
        postgres: "SELECT 1::bigint WHERE to_regclass('_sqlx_migrations') IS NOT NULL",
        sqlite: "SELECT 1 FROM sqlite_master WHERE name = '_sqlx_migrations'",
    };
    const APPLIED: Sql = Sql {
        postgres: "SELECT version, encode(checksum, 'hex') FROM _sqlx_migrations WHERE success ORDER BY version",
        sqlite: "SELECT version, lower(hex(checksum)) FROM _sqlx_migrations WHERE success ORDER BY version",
    };
    let read = async {
        if database.rows(TABLES, &[]).await?.is_empty() {
            return Ok(Vec::new());
        }
        let rows = database.rows(APPLIED, &[]).await?;
        rows.iter().map(|row| Ok((row.int(0)?, row.text(1)?.to_owned()))).collect()
    };
    read.await.map_err(|error: sqlx::Error| OpenError::Unreachable(told(&error)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
