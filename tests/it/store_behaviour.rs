//! The policy store of record behaves the same in PostgreSQL and in SQLite: each test here runs over both.
use std::time::Duration;

use watchbell::event::{NotificationType, UserId};
use watchbell::policy::{Detail, Device, Environment, Platform, Preference, Setting};
use watchbell::seam::{DeadToken, PolicySource, Query, Removal};
use watchbell::store::{Change, DEVICES_MAX, Migrated, OpenError, Policy, WriteError, migrate, open};

use crate::store_support::{
    AT, Kind, Place, ask, device_of, event, installation, over_both, phone, preference, setting, user, ws,
};

use NotificationType::{AccountSharing, IdentityVerification, OtpReceived, TrustedDevice};

async fn version(policy: &Policy, workspace: &str, person: &str) -> u64 {
    ask(policy, workspace, &[person]).await.unwrap().users[0].version()
}

fn dead(token: &str, since: i64) -> DeadToken {
    let (workspace, user) = (ws("acme"), user("ada"));
    DeadToken {
        workspace,
        user,
        device: phone("d1", token).id,
        installation: installation(token),
        since: watchbell::event::Timestamp(since),
    }
}

over_both! {
    /// What was never written is enabled, on and without devices, at version 0.
    async fn absent_rows_are_the_defaults(policy: Policy) {
        let answer = ask(&policy, "nowhere", &["nobody"]).await.unwrap();
        assert_eq!(*answer.workspace, watchbell::policy::Workspace::unknown());
        assert_eq!(answer.users, [watchbell::policy::UserEntry::unknown()]);
        assert!(!answer.withdrawn);
    }

    /// What was written is read back, every field of it.
    async fn everything_is_read_back(policy: Policy) {
        let mut tablet = phone("d2", "token-2");
        tablet.installation.platform = Platform::Fcm;
        tablet.installation.environment = Environment::Sandbox;
        tablet.locale = "ja".into();
        let changes = [
            Change::Workspace { workspace: ws("acme"), display_name: "Acme \"& Søn\" 株式会社".into(), detail: Detail::Full },
            setting("acme", OtpReceived, Setting::Enforced),
            setting("acme", AccountSharing, Setting::Disabled),
            preference("acme", "auth0|a@b+c", TrustedDevice, Preference::Off),
            device_of("acme", "auth0|a@b+c", tablet.clone()),
            device_of("acme", "auth0|a@b+c", phone("d1", "token-1")),
        ];
        policy.admin().write(&changes).await.unwrap();
        let answer = ask(&policy, "acme", &["auth0|a@b+c"]).await.unwrap();
        assert_eq!((answer.workspace.display_name.as_str(), answer.workspace.detail), ("Acme \"& Søn\" 株式会社", Detail::Full));
        assert_eq!(answer.workspace.settings, [Setting::Enabled, Setting::Enabled, Setting::Disabled, Setting::Enforced]);
        let entry = &answer.users[0];
        let off: Vec<_> = NotificationType::ALL.into_iter().filter(|kind| entry.preference(*kind) == Preference::Off).collect();
        assert_eq!(off, [TrustedDevice]);
        let devices: Vec<Device> = entry.devices().map(|view| Device {
            id: watchbell::event::DeviceId::new(view.id()).unwrap(),
            installation: view.installation(),
            locale: view.locale().into(),
            registered_at: view.registered_at(),
            quiet: view.quiet(),
        }).collect();
        assert_eq!(devices, [phone("d1", "token-1"), tablet]);
    }

    /// A later write replaces an earlier one of the same row.
    async fn the_last_write_stands(policy: Policy) {
        for (value, pref) in [(Setting::Disabled, Preference::Off), (Setting::Enforced, Preference::On)] {
            let changes = [setting("acme", OtpReceived, value), preference("acme", "ada", OtpReceived, pref)];
            policy.admin().write(&changes).await.unwrap();
            let answer = ask(&policy, "acme", &["ada"]).await.unwrap();
            assert_eq!((answer.workspace.setting(OtpReceived), answer.users[0].preference(OtpReceived)), (value, pref));
        }
    }

    /// Each transaction raises the version of exactly those whom it touches, by one.
    async fn versions_rise_with_each_write(policy: Policy) {
        let admin = policy.admin();
        admin.write(&[preference("acme", "ada", OtpReceived, Preference::Off)]).await.unwrap();
        assert_eq!((version(&policy, "acme", "ada").await, version(&policy, "acme", "bob").await), (1, 0));
        admin.write(&[device_of("acme", "ada", phone("d1", "t1")), device_of("acme", "ada", phone("d2", "t2"))]).await.unwrap();
        assert_eq!(version(&policy, "acme", "ada").await, 2);
        assert_eq!(ask(&policy, "acme", &[]).await.unwrap().workspace.version, 0);
        admin.write(&[setting("acme", OtpReceived, Setting::Enforced)]).await.unwrap();
        admin.write(&[setting("acme", AccountSharing, Setting::Enforced)]).await.unwrap();
        assert_eq!(ask(&policy, "acme", &[]).await.unwrap().workspace.version, 2);
        assert_eq!(version(&policy, "acme", "ada").await, 2);
        assert_eq!(version(&policy, "other", "ada").await, 0);
    }

    /// Within a workspace an installation belongs to who signed in last; in another workspace it stays where it was.
    async fn the_last_sign_in_wins(policy: Policy) {
        let admin = policy.admin();
        admin.write(&[device_of("acme", "ada", phone("d1", "shared")), device_of("beta", "ada", phone("d1", "shared"))]).await.unwrap();
        admin.write(&[device_of("acme", "bob", phone("d9", "shared"))]).await.unwrap();
        let answer = ask(&policy, "acme", &["ada", "bob"]).await.unwrap();
        assert_eq!((answer.users[0].device_count(), answer.users[0].version()), (0, 2), "ada lost it and her version rose");
        assert_eq!(answer.users[1].device("d9").unwrap().expose_token(), "shared");
        assert_eq!(ask(&policy, "beta", &["ada"]).await.unwrap().users[0].device_count(), 1);
        // Moved to another row of the same person.
        admin.write(&[device_of("acme", "bob", phone("d10", "shared"))]).await.unwrap();
        let bob = ask(&policy, "acme", &["bob"]).await.unwrap().users[0].clone();
        assert_eq!((bob.device_count(), bob.version()), (1, 2));
        assert!(bob.device("d10").is_some());
    }

    /// Two who register one installation at the same moment both succeed, and one of them has it.
    async fn concurrent_sign_ins_do_not_fail(policy: Policy) {
        let register = |person: String| {
            let admin = policy.admin();
            async move { admin.write(&[device_of("acme", &person, phone("d", "shared"))]).await }
        };
        let writes: Vec<_> = (0..8).map(|n| tokio::spawn(register(format!("user-{n}")))).collect();
        for write in writes {
            write.await.unwrap().unwrap();
        }
        let people: Vec<String> = (0..8).map(|n| format!("user-{n}")).collect();
        let people: Vec<&str> = people.iter().map(String::as_str).collect();
        let answer = ask(&policy, "acme", &people).await.unwrap();
        assert_eq!(answer.users.iter().map(watchbell::policy::UserEntry::device_count).sum::<usize>(), 1);
    }

    /// Token hygiene: a dead token goes from every row of its installation that was registered at or before the provider's moment,
    /// in every workspace, and from no other.
    async fn a_dead_token_is_removed_only_if_unchanged(policy: Policy) {
        let admin = policy.admin();
        let mut later = phone("d1", "t");
        later.registered_at = AT.plus(Duration::from_millis(1));
        let mut other_app = phone("d2", "t");
        other_app.installation.app = "com.example.other".into();
        admin.write(&[
            device_of("acme", "ada", phone("d1", "t")),
            device_of("acme", "ada", other_app),
            device_of("beta", "bob", phone("d7", "t")),
            device_of("gamma", "cem", later),
        ]).await.unwrap();
        assert_eq!(policy.remove_token(&dead("t", AT.as_millis() - 1)).await.unwrap(), Removal::Unchanged);
        assert_eq!(version(&policy, "acme", "ada").await, 1);
        assert_eq!(policy.remove_token(&dead("t", AT.as_millis())).await.unwrap(), Removal::Removed(2));
        let ada = ask(&policy, "acme", &["ada"]).await.unwrap().users[0].clone();
        assert!(ada.device("d1").is_none() && ada.device("d2").is_some());
        assert_eq!((ada.version(), version(&policy, "beta", "bob").await, version(&policy, "gamma", "cem").await), (2, 2, 1));
        assert_eq!(ask(&policy, "gamma", &["cem"]).await.unwrap().users[0].device_count(), 1, "registered anew since");
        assert_eq!(policy.remove_token(&dead("t", AT.as_millis())).await.unwrap(), Removal::Unchanged);
    }

    /// A list of changes is made whole or not at all.
    async fn a_refused_change_undoes_the_others(policy: Policy) {
        let mut changes = vec![setting("acme", OtpReceived, Setting::Enforced)];
        for n in 0..=DEVICES_MAX {
            changes.push(device_of("acme", "ada", phone(&format!("d{n}"), &format!("t{n}"))));
        }
        let refused = policy.admin().write(&changes).await.unwrap_err();
        assert!(matches!(&refused, WriteError::Refused(why) if why.contains("256 devices")), "{refused}");
        let answer = ask(&policy, "acme", &["ada"]).await.unwrap();
        assert_eq!((answer.workspace.version, answer.users[0].version()), (0, 0));
        changes.pop();
        policy.admin().write(&changes).await.unwrap();
        assert_eq!(ask(&policy, "acme", &["ada"]).await.unwrap().users[0].device_count(), DEVICES_MAX);
    }

    /// A value out of its bounds is refused with its name, and nothing of its text.
    async fn values_have_bounds(policy: Policy) {
        let refused = async |change: Change| policy.admin().write(&[change]).await.unwrap_err().to_string();
        let mut device = phone("d", &"x".repeat(1_025));
        assert_eq!(refused(device_of("acme", "ada", device.clone())).await, "token has 1025 bytes, at most 1024 are allowed");
        device.installation = installation("");
        assert_eq!(refused(device_of("acme", "ada", device.clone())).await, "token is empty");
        device.installation = installation(&"x".repeat(1_024));
        policy.admin().write(&[device_of("acme", "ada", device.clone())]).await.unwrap();
        device.locale = "x".repeat(36);
        assert_eq!(refused(device_of("acme", "ada", device.clone())).await, "locale has 36 bytes, at most 35 are allowed");
        device.locale = "en\0".into();
        assert_eq!(refused(device_of("acme", "ada", device)).await, "locale has a control character");
    }

    /// Many people are answered in the order in which they were asked for, the same one twice included.
    async fn many_people_keep_their_order(policy: Policy) {
        let ids: Vec<String> = (0..500).map(|n| format!("user-{n}")).collect();
        let changes: Vec<_> = ids.iter().step_by(2).map(|id| device_of("acme", id, phone(id, &format!("token-{id}")))).collect();
        policy.admin().write(&changes).await.unwrap();
        let mut asked: Vec<&str> = ids.iter().map(String::as_str).collect();
        asked.push("user-0");
        let answer = ask(&policy, "acme", &asked).await.unwrap();
        assert_eq!(answer.users.len(), 501);
        for (position, id) in asked.iter().enumerate() {
            let known = id.strip_prefix("user-").unwrap().parse::<u32>().unwrap() % 2 == 0;
            assert_eq!(answer.users[position].device(id).is_some(), known, "{id}");
        }
    }

    /// A withdrawal is known until its moment, for that event of that type alone; a later one prolongs it, an earlier one does not.
    async fn withdrawals_are_remembered_until_their_moment(policy: Policy) {
        let now = watchbell::seam::Clock::now(&watchbell::seam::SystemClock);
        let (soon, past) = (now.plus(Duration::from_secs(600)), now.minus(Duration::from_secs(1)));
        let withdrawn = async |kind: NotificationType, id: &str| {
            let people: [UserId; 0] = [];
            let query = Query { workspace: &ws("acme"), users: &people, withdrawn: Some((kind, &event(id))) };
            policy.resolve(query).await.unwrap().withdrawn
        };
        assert!(!withdrawn(IdentityVerification, "e1").await);
        policy.withdraw(&ws("acme"), IdentityVerification, &event("e1"), soon).await.unwrap();
        policy.withdraw(&ws("acme"), IdentityVerification, &event("e1"), past).await.unwrap();
        policy.withdraw(&ws("acme"), IdentityVerification, &event("e2"), past).await.unwrap();
        assert!(withdrawn(IdentityVerification, "e1").await);
        assert!(!withdrawn(TrustedDevice, "e1").await);
        assert!(!withdrawn(IdentityVerification, "e2").await);
        policy.withdraw(&ws("acme"), IdentityVerification, &event("e2"), soon).await.unwrap();
        assert!(withdrawn(IdentityVerification, "e2").await);
    }

    /// What this process writes, it reads at once: nothing old comes out of its cache.
    async fn own_writes_are_read_at_once(policy: Policy) {
        for round in 0..20_u64 {
            let value = if round % 2 == 0 { Preference::Off } else { Preference::On };
            policy.admin().write(&[preference("acme", "ada", OtpReceived, value)]).await.unwrap();
            assert!(policy.cached(&ws("acme"), &user("ada")).is_none());
            assert_eq!(ask(&policy, "acme", &["ada"]).await.unwrap().users[0].preference(OtpReceived), value);
            let (_, cached) = policy.cached(&ws("acme"), &user("ada")).unwrap();
            assert_eq!((cached.preference(OtpReceived), cached.version()), (value, round + 1));
        }
    }
}

/// A store is refused before it was migrated; migrating twice is harmless; a schema of another lineage is refused by its number.
async fn schema_versions(kind: Kind, change: impl AsyncFn(&str, &'static str)) {
    use secrecy::ExposeSecret;
    let place = Place::empty(kind);
    let OpenError::Unmigrated { found: 0, needed: known } = open(&place.config).await.err().unwrap() else { panic!() };
    assert_eq!(migrate(&place.config, false).await.unwrap(), Migrated { from: 0, to: known });
    assert_eq!(migrate(&place.config, false).await.unwrap(), Migrated { from: known, to: known });
    open(&place.config).await.unwrap().close().await;
    let url = place.config.store_url.as_ref().unwrap().expose_secret().to_owned();
    change(&url, "UPDATE _sqlx_migrations SET version = 99 WHERE version = 1").await;
    let newer = |error: OpenError| matches!(error, OpenError::Newer { found: 99, needed } if needed == known);
    assert!(newer(open(&place.config).await.err().unwrap()));
    assert!(newer(migrate(&place.config, false).await.err().unwrap()));
    change(&url, "UPDATE _sqlx_migrations SET version = 1, checksum = 'x' WHERE version = 99").await;
    assert!(matches!(open(&place.config).await.err().unwrap(), OpenError::Altered(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_versions_postgres() {
    schema_versions(Kind::Postgres, async |url, sql| {
        use sqlx::{Connection, Executor};
        sqlx::PgConnection::connect(url).await.unwrap().execute(sql).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_versions_sqlite() {
    schema_versions(Kind::Sqlite, async |url, sql| {
        use sqlx::{Connection, Executor};
        let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
        connection.execute(sql).await.unwrap();
        connection.close().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_serves_one_process() {
    // A second opener of a SQLite file is refused for as long as the first has it.
    let (place, policy) = Place::open(Kind::Sqlite).await;
    assert!(matches!(open(&place.config).await.err().unwrap(), OpenError::InUse { .. }));
    policy.close().await;
    drop(policy);
    open(&place.config).await.unwrap();
}

/// When a device was last seen is in its row and in no answer; a later write replaces it.
async fn last_seen_is_kept(kind: Kind, read: impl AsyncFn(&str) -> i64) {
    use secrecy::ExposeSecret;
    let (place, policy) = Place::open(kind).await;
    let url = place.config.store_url.as_ref().unwrap().expose_secret();
    for seen in [AT, AT.plus(Duration::from_secs(86_400))] {
        let (workspace, user, device) = (ws("acme"), user("ada"), phone("d1", "token-1"));
        policy.admin().write(&[Change::Device { workspace, user, device, last_seen: seen }]).await.unwrap();
        assert_eq!(read(url).await, seen.as_millis());
    }
}

const LAST_SEEN: &str = "SELECT last_seen FROM devices WHERE workspace = 'acme' AND user_id = 'ada' AND id = 'd1'";

#[tokio::test(flavor = "multi_thread")]
async fn last_seen_is_kept_postgres() {
    last_seen_is_kept(Kind::Postgres, async |url| {
        use sqlx::Connection;
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        sqlx::query_scalar(LAST_SEEN).fetch_one(&mut connection).await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn last_seen_is_kept_sqlite() {
    last_seen_is_kept(Kind::Sqlite, async |url| {
        use sqlx::Connection;
        let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
        sqlx::query_scalar(LAST_SEEN).fetch_one(&mut connection).await.unwrap()
    })
    .await;
}
