use super::super::cache::Limits;
use super::super::database::Missing;
use super::super::read::UserKey;
use super::super::schema;
use super::*;
use crate::event::{UserId, WorkspaceId};
use crate::seam::SystemClock;
use crate::telemetry::captured::Captured;

/// A reader of a new store, in which these statements were executed.
async fn reader(dir: &std::path::Path, statements: &[&'static str]) -> Arc<Reader> {
    let mut config = crate::config::Config::load(None, []).unwrap().policy;
    config.store_url = Some(format!("sqlite:{}", dir.join("policy.db").display()).into());
    schema::migrate(&config, false).await.unwrap();
    let database = Arc::new(Database::connect(&config, Missing::Refuse).await.unwrap());
    let mut tx = database.begin().await.unwrap();
    for statement in statements {
        tx.execute((*statement).into(), &[]).await.unwrap();
    }
    tx.commit().await.unwrap();
    let limits = Limits { ttl_ms: 60_000, unknown_ttl_ms: 5_000, max_stale_ms: 900_000 };
    Reader::new(database, Arc::new(Caches::new(1 << 20, limits, Arc::new(SystemClock))), &config)
}

fn person(id: &str) -> Wanted {
    let key = UserKey { workspace: WorkspaceId::new("acme").unwrap(), user: UserId::new(id).unwrap() };
    Wanted { users: vec![key], ..Wanted::default() }
}

/// Of everybody in one statement, only who asked for a row that cannot be read gets no answer; the log says whose row it is and what is
/// wrong with it, and no token.
#[tokio::test]
async fn an_unreadable_row_costs_who_asked_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let statements = [
        "INSERT INTO users (workspace, id, version) VALUES ('acme', 'ada', 7), ('acme', 'bob', 8), ('acme', 'eve', 9), \
         ('acme', 'low', -1)",
        "INSERT INTO user_preferences (workspace, user_id, type, preference, version) VALUES ('acme', 'bob', 'sms_received', 'off', 8)",
        "INSERT INTO devices (workspace, user_id, id, platform, app, environment, token, locale, registered_at, last_seen, version) \
         VALUES ('acme', 'eve', 'no id', 'apns', 'a', 'production', 'SECRET', 'de', 0, 0, 9)",
    ];
    let reader = reader(dir.path(), &statements).await;
    let captured = Captured::begin();
    // All permits are taken until everybody has asked, so that one statement serves them.
    let permits = Arc::clone(&reader.statements).acquire_many_owned(reader.statements.available_permits() as u32);
    let permits = permits.await.unwrap();
    let people = ["ada", "bob", "eve", "low", "new"];
    let asking = people.map(|id| {
        tokio::spawn({
            let reader = Arc::clone(&reader);
            async move { reader.read(person(id)).await.unwrap().0.users.remove(0) }
        })
    });
    while reader.waiting.lock().unwrap().len() < people.len() {
        tokio::task::yield_now().await;
    }
    drop(permits);
    reader.serve();
    let [ada, bob, eve, low, new] = futures_util::future::join_all(asking).await.try_into().unwrap();
    assert_eq!(ada.unwrap().unwrap().version(), 7);
    assert_eq!(new.unwrap().unwrap().version(), 0);
    for (found, user, wrong) in [
        (bob, "bob", "its preferences: unknown variant `sms_received`"),
        (eve, "eve", "its devices: "),
        (low, "low", "its version: "),
    ] {
        let told = found.unwrap().unwrap_err().unavailable().to_string();
        assert!(told.contains(&format!("user {user} of workspace acme")) && told.contains(wrong), "{told}");
        let lines = captured.lines_with(&["ERROR", "workspace=\"acme\"", &format!("user=\"{user}\""), wrong]);
        assert_eq!(lines.len(), 1, "{user}: {:?}", captured.lines_with(&[]));
    }
    assert_eq!(captured.lines_with(&["SECRET"]), [""; 0]);
}
