//! The policy store between two versions: rows that a newer one wrote, and a schema that a newer one migrated. Over both databases.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::str::FromStr as _;

use secrecy::ExposeSecret as _;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use watchbell::event::NotificationType::OtpReceived;
use watchbell::policy::{Preference, Setting};
use watchbell::seam::{OutboxTopic, PolicySource as _};
use watchbell::store::{Migrated, OpenError, migrate, open};

use crate::people::support::published;
use crate::store_support::{Kind, Place, ask, person, phone, preference, setting, user, ws};

/// The migrations before the outbox had more than two topics.
const MIGRATIONS: [&str; 4] = ["0001_policy.sql", "0003_compatibility.sql", "0004_people.sql", "0005_devices.sql"];

/// Executes what a newer version would.
async fn execute(kind: Kind, place: &Place, sql: &'static str) {
    let url = place.config.store_url.as_ref().unwrap().expose_secret();
    match kind {
        Kind::Postgres => {
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            connection.execute(sql).await.unwrap();
            connection.close().await.unwrap();
        }
        Kind::Sqlite => {
            let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
            connection.execute(sql).await.unwrap();
            connection.close().await.unwrap();
        }
    }
}

/// A row that cannot be read costs its own person or workspace: everybody else who was in the same statement is answered, and it is
/// answered too as soon as it can be read.
async fn an_unreadable_row_costs_its_owner(kind: Kind) {
    let (place, policy) = Place::open(kind).await;
    let changes = [
        preference("acme", "ada", OtpReceived, Preference::Off),
        preference("acme", "bob", OtpReceived, Preference::Off),
        setting("later", OtpReceived, Setting::Enforced),
    ];
    policy.admin().write(&changes).await.unwrap();
    let newer = "INSERT INTO user_preferences (workspace, user_id, type, preference, version) \
                 VALUES ('acme', 'bob', 'sms_received', 'off', 1)";
    execute(kind, &place, newer).await;
    let newer = "INSERT INTO workspace_settings (workspace, type, setting, version) VALUES ('later', 'sms_received', 'enforced', 1)";
    execute(kind, &place, newer).await;

    let error = ask(&policy, "acme", &["bob", "ada", "stranger"]).await.unwrap_err();
    assert_eq!(error.what, "policy row");
    for part in ["user bob of workspace acme", "its preferences", "sms_received"] {
        assert!(error.why.contains(part), "{part} is missing in {error}");
    }
    for person in ["ada", "stranger"] {
        assert!(policy.cached(&ws("acme"), &user(person)).is_some(), "{person} was in the same statement");
    }
    assert_eq!(ask(&policy, "acme", &["ada"]).await.unwrap().users[0].preference(OtpReceived), Preference::Off);
    let error = ask(&policy, "later", &["ada"]).await.unwrap_err();
    assert!(error.why.contains("workspace later") && error.why.contains("its settings"), "{error}");

    execute(kind, &place, "DELETE FROM user_preferences WHERE type = 'sms_received'").await;
    assert_eq!(ask(&policy, "acme", &["bob"]).await.unwrap().users[0].preference(OtpReceived), Preference::Off);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_row_costs_its_owner_postgres() {
    an_unreadable_row_costs_its_owner(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_row_costs_its_owner_sqlite() {
    an_unreadable_row_costs_its_owner(Kind::Sqlite).await;
}

/// A newer version migrated the store: this one starts on it, and again after each restart, until a migration says that it is too old.
async fn an_older_version_starts_until_it_is_too_old(kind: Kind) {
    let place = Place::empty(kind);
    let known = migrate(&place.config, false).await.unwrap().to;
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (999, 'later', true, 'x', 0)";
    execute(kind, &place, later).await;
    let starts = async || {
        let policy = open(&place.config).await.unwrap();
        ask(&policy, "acme", &["ada"]).await.unwrap();
        policy.close().await;
    };
    starts().await;
    assert_eq!(migrate(&place.config, false).await.unwrap(), Migrated { from: 999, to: 999 });
    let own =
        "UPDATE compatibility SET minimum_reader = (SELECT max(version) FROM _sqlx_migrations WHERE version < 999)";
    execute(kind, &place, own).await;
    starts().await;

    execute(kind, &place, "UPDATE compatibility SET minimum_reader = 999").await;
    for refused in [open(&place.config).await.err().unwrap(), migrate(&place.config, false).await.err().unwrap()] {
        assert!(matches!(refused, OpenError::Newer { found: 999, needed } if needed == known), "{refused}");
        let told = refused.to_string();
        assert!(
            told.contains("too new for this version") && told.contains("run the version that migrated it"),
            "{told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_starts_until_it_is_too_old_postgres() {
    an_older_version_starts_until_it_is_too_old(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_starts_until_it_is_too_old_sqlite() {
    an_older_version_starts_until_it_is_too_old(Kind::Sqlite).await;
}

/// A store as the version of these migrations left it.
async fn at_version(kind: Kind, place: &Place, migrations: &[&str]) {
    let url = place.config.store_url.as_ref().unwrap().expose_secret();
    let engine = match kind {
        Kind::Postgres => "postgres",
        Kind::Sqlite => "sqlite",
    };
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations").join(engine);
    let then = tempfile::tempdir().unwrap();
    for name in migrations {
        fs::copy(all.join(name), then.path().join(name)).unwrap();
    }
    let then = Migrator::new(then.path()).await.unwrap();
    match kind {
        Kind::Postgres => then.run(&mut sqlx::PgConnection::connect(url).await.unwrap()).await.unwrap(),
        Kind::Sqlite => {
            let options = SqliteConnectOptions::from_str(url).unwrap().create_if_missing(true);
            then.run(&mut options.connect().await.unwrap()).await.unwrap();
        }
    }
}

/// Devices of the version before are enrolled by the migration. What an older worker does on the newer schema, while both are running,
/// is read as it meant it: a device that it wrote is no less a device.
async fn an_older_versions_devices_are_enrolled(kind: Kind) {
    let place = Place::empty(kind);
    at_version(kind, &place, &MIGRATIONS[..2]).await;
    let rows = "INSERT INTO users (workspace, id, version) VALUES ('acme', 'ada', 7);
        INSERT INTO devices (workspace, user_id, id, platform, app, environment, token, locale, registered_at, last_seen, version)
            VALUES ('acme', 'ada', 'd1', 'apns', 'com.example.app', 'production', 't1', 'en-US', 1, 1, 7)";
    execute(kind, &place, rows).await;
    let done = migrate(&place.config, false).await.unwrap();
    assert!(done.from == 3 && done.to > 3, "{done:?}");
    let (policy, ada) = (open(&place.config).await.unwrap(), person("acme", "ada"));
    let quiet = policy.admin().quiet(&ada, &phone("d1", "").id, true, Some(7)).await.unwrap();
    assert_eq!(quiet.version, 8);

    let written = "INSERT INTO devices (workspace, user_id, id, platform, app, environment, token, locale, registered_at, last_seen, version)
            VALUES ('acme', 'ada', 'd2', 'apns', 'com.example.app', 'production', 't2', 'en-US', 1, 1, 9);
        UPDATE users SET version = 9 WHERE id = 'ada'";
    execute(kind, &place, written).await;
    policy.close().await;
    drop(policy);
    let policy = open(&place.config).await.unwrap();
    let entry = ask(&policy, "acme", &["ada"]).await.unwrap().users[0].clone();
    let quiet = ["d1", "d2"].map(|id| entry.device(id).unwrap().quiet());
    assert_eq!(quiet, [true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_versions_devices_are_enrolled_postgres() {
    an_older_versions_devices_are_enrolled(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_versions_devices_are_enrolled_sqlite() {
    an_older_versions_devices_are_enrolled(Kind::Sqlite).await;
}

/// The id in a row of the outbox, as either database prints it.
fn outbox_id(row: &str) -> i64 {
    let row: serde_json::Value = serde_json::from_str(row).unwrap();
    row["id"].as_i64().unwrap_or_else(|| row[0].as_str().unwrap().parse().unwrap())
}

/// What waits in the outbox is published after the migration that lets it have more topics, and no id comes twice: upstream's record of a
/// decision is known by it, also when the row is gone.
async fn an_older_versions_outbox_goes_on(kind: Kind) {
    let place = Place::empty(kind);
    at_version(kind, &place, &MIGRATIONS).await;
    let put = |topic: &str| {
        let bytes = if kind == Kind::Postgres { "'\\x01'" } else { "x'01'" };
        format!(
            "INSERT INTO outbox (topic, shard, key, payload, headers, created_at) VALUES ('{topic}', 0, {bytes}, {bytes}, '[]', 7)"
        )
    };
    for sql in [put("audit"), put("decisions"), put("decisions"), "DELETE FROM outbox WHERE id = 3".to_owned()] {
        place.execute(&sql).await;
    }
    let done = migrate(&place.config, false).await.unwrap();
    assert!(done.from == 5 && done.to > 5, "{done:?}");
    let policy = open(&place.config).await.unwrap();
    let broker = published(&policy).await;
    assert_eq!(broker.log().iter().map(|record| record.topic.name()).collect::<Vec<_>>(), ["audit", "decisions"]);
    // An older process beside it puts in what it knows; the newer one, what is new.
    for topic in OutboxTopic::ALL {
        place.execute(&put(topic.name())).await;
    }
    let ids: Vec<i64> = place.dump(&["outbox"]).await.iter().map(|row| outbox_id(row)).collect();
    assert_eq!(ids.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from([1, 2, 4, 5, 6, 7, 8]), "3 was there once");
    assert_eq!(published(&policy).await.log().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_versions_outbox_goes_on_postgres() {
    an_older_versions_outbox_goes_on(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_versions_outbox_goes_on_sqlite() {
    an_older_versions_outbox_goes_on(Kind::Sqlite).await;
}
