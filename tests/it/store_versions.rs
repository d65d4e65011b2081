//! The policy store between two versions: rows that a newer one wrote, and a schema that a newer one migrated. Over both databases.
use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, Executor as _};
use watchbell::event::NotificationType::OtpReceived;
use watchbell::policy::{Preference, Setting};
use watchbell::seam::PolicySource as _;
use watchbell::store::{Migrated, OpenError, migrate, open};

use crate::store_support::{Kind, Place, ask, preference, setting, user, ws};

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
