//! What the policy store's tests share: a store in either database, and the shapes that they write into it.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use watchbell::event::{DeviceId, EventId, NotificationType, Timestamp, UserId, WorkspaceId};
use watchbell::people::{Actor, ActorRole, Person, Role};
use watchbell::policy::{Device, Environment, Installation, Platform, Preference, Setting, Token};
use watchbell::seam::{Clock, PolicySource, Query, Resolved, SystemClock, Unavailable};
use watchbell::store::{Change, Policy, PolicyConfig, migrate, open};

use crate::support::SOON;
use crate::support::services::shared_postgres_database;

/// The two databases of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Postgres,
    Sqlite,
}

/// An empty database and where it is.
pub struct Place {
    pub config: PolicyConfig,
    _dir: TempDir,
}

impl Place {
    /// An empty, unmigrated one.
    pub fn empty(kind: Kind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = match kind {
            Kind::Postgres => shared_postgres_database(),
            Kind::Sqlite => format!("sqlite:{}", dir.path().join("policy.db").display()),
        };
        Self::at(url, dir)
    }

    /// One at that URL.
    pub fn at(url: String, dir: TempDir) -> Self {
        let config = PolicyConfig {
            store_url: Some(url.into()),
            store_url_file: None,
            redis_url: None,
            redis_url_file: None,
            redis_ca_file: None,
            ttl_s: 60,
            unknown_user_ttl_s: 5,
            max_stale_s: 900,
            cache_max_mib: 30,
            store_concurrency: 4,
            store_timeout_ms: 10_000,
            redis_timeout_ms: 250,
        };
        Self { config, _dir: dir }
    }

    /// Executes statements, past the store.
    pub async fn execute(&self, sql: &str) {
        use secrecy::ExposeSecret as _;
        use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let url = self.config.store_url.as_ref().unwrap().expose_secret();
        if url.starts_with("sqlite") {
            sqlx::SqliteConnection::connect(url).await.unwrap().execute(sql).await.unwrap();
        } else {
            sqlx::PgConnection::connect(url).await.unwrap().execute(sql).await.unwrap();
        }
    }

    /// Every row of some tables, as JSON.
    pub async fn dump(&self, tables: &[&str]) -> Vec<String> {
        use secrecy::ExposeSecret as _;
        use sqlx::{AssertSqlSafe, Connection as _};
        let url = self.config.store_url.as_ref().unwrap().expose_secret();
        let mut rows = Vec::new();
        for table in tables {
            if url.starts_with("sqlite") {
                let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
                let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info($1)")
                    .bind(table)
                    .fetch_all(&mut connection)
                    .await
                    .unwrap();
                let texts: Vec<_> = columns.iter().map(|name| format!("CAST({name} AS text)")).collect();
                let sql = format!("SELECT json_array({}) FROM {table}", texts.join(", "));
                rows.extend(
                    sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap(),
                );
            } else {
                let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
                let sql = format!("SELECT to_json(t)::text FROM {table} t");
                rows.extend(
                    sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap(),
                );
            }
        }
        rows
    }

    /// A migrated one, open.
    pub async fn open(kind: Kind) -> (Self, Policy) {
        let place = Self::empty(kind);
        migrate(&place.config, false).await.unwrap();
        let policy = open(&place.config).await.unwrap();
        (place, policy)
    }
}

pub fn ws(id: &str) -> WorkspaceId {
    WorkspaceId::new(id).unwrap()
}

pub fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub fn event(id: &str) -> EventId {
    EventId::new(id).unwrap()
}

pub const AT: Timestamp = Timestamp(1_700_000_000_000);

pub fn person(workspace: &str, id: &str) -> Person {
    Person { workspace: ws(workspace), user: user(id) }
}

/// Somebody who may.
pub fn admin(id: &str) -> Actor {
    Actor { id: user(id), role: ActorRole::Of(Role::Admin) }
}

pub fn installation(token: &str) -> Installation {
    let (platform, app) = (Platform::Apns, "com.example.app".into());
    Installation { platform, app, environment: Environment::Production, token: Token::new(token) }
}

pub fn phone(id: &str, token: &str) -> Device {
    let id = DeviceId::new(id).unwrap();
    Device { id, installation: installation(token), locale: "en-US".into(), registered_at: AT, quiet: false }
}

pub fn device_of(workspace: &str, person: &str, device: Device) -> Change {
    Change::Device { workspace: ws(workspace), user: user(person), device, last_seen: AT }
}

pub fn preference(workspace: &str, person: &str, kind: NotificationType, preference: Preference) -> Change {
    Change::Preference { workspace: ws(workspace), user: user(person), kind, preference }
}

pub fn setting(workspace: &str, kind: NotificationType, setting: Setting) -> Change {
    Change::Setting { workspace: ws(workspace), kind, setting }
}

/// The answer for some people of a workspace.
pub async fn ask(policy: &Policy, workspace: &str, people: &[&str]) -> Result<Resolved, Unavailable> {
    let people: Vec<UserId> = people.iter().map(|id| user(id)).collect();
    policy.resolve(Query { workspace: &ws(workspace), users: &people, withdrawn: None }).await
}

/// Asks again every 5 ms until the answer is as it should be; panics after `ceiling`.
pub async fn until<T>(what: &str, ceiling: Duration, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(value) = found().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(ceiling, wait)
        .await
        .unwrap_or_else(|_| panic!("gave up after {ceiling:?} waiting for: {what}"))
}

/// A clock that a test moves forward.
#[derive(Default)]
pub struct Moved(AtomicU64);

impl Moved {
    pub fn forward(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }

    fn by(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(self.by())
    }

    fn instant(&self) -> Instant {
        Instant::now() + self.by()
    }
}

/// Waits until changes arrive as they are made.
pub async fn hears(policy: &Policy) {
    until("Redis is in use", SOON, async || policy.hears_of_changes().then_some(())).await;
}

/// Waits until Redis is given up.
pub async fn deaf(policy: &Policy) {
    until("Redis is out of use", SOON, async || (!policy.hears_of_changes()).then_some(())).await;
}

/// The same test over both databases. It may ask for the place, too.
macro_rules! over_both {
    ($($(#[$doc:meta])* async fn $name:ident($policy:ident: Policy $(, $place:ident: &Place)?) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                $(#[$doc])*
                async fn body($policy: Policy $(, $place: &Place)?) $body

                #[tokio::test(flavor = "multi_thread")]
                async fn postgres() {
                    let (_at, policy) = $crate::store_support::Place::open($crate::store_support::Kind::Postgres).await;
                    body(policy $(, { let $place = &_at; $place })?).await;
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn sqlite() {
                    let (_at, policy) = $crate::store_support::Place::open($crate::store_support::Kind::Sqlite).await;
                    body(policy $(, { let $place = &_at; $place })?).await;
                }
            }
        )*
    };
}
pub(crate) use over_both;
