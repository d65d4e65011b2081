//! What the policy store's caches bound: how many ask the store of record at once, and for how long a stranger stays one.
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, Executor as _, PgConnection};
use watchbell::event::NotificationType::OtpReceived;
use watchbell::policy::{Preference, Setting};
use watchbell::seam::PolicySource as _;
use watchbell::store::{Policy, migrate, open, open_with};

use crate::store_support::{Kind, Moved, Place, ask, deaf, preference, setting, until, user, ws};
use crate::support::SOON;
use crate::support::services::Redis;

/// How many connections of ours work at a statement in this database.
async fn working(observer: &mut PgConnection) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'watchbell' \
               AND state = 'active'";
    sqlx::query_scalar(sql).fetch_one(observer).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_12_without_redis_few_ask_the_store_at_once() {
    // Redis is away and three hundred people are asked for at once, while the store is slow: it has `store_concurrency` statements at a
    // time to work at, never more, and everybody is answered.
    const CONCURRENCY: u32 = 3;
    let mut redis = Redis::start();
    let mut place = Place::empty(Kind::Postgres);
    place.config.redis_url = Some(redis.url().into());
    place.config.store_concurrency = CONCURRENCY;
    place.config.store_timeout_ms = 30_000;
    migrate(&place.config, false).await.unwrap();
    let policy = open(&place.config).await.unwrap();
    policy.admin().write(&[preference("acme", "user-7", OtpReceived, Preference::Off)]).await.unwrap();
    redis.stop();
    deaf(&policy).await;

    let url = place.config.store_url.as_ref().unwrap().expose_secret();
    let (mut owner, mut observer) =
        (PgConnection::connect(url).await.unwrap(), PgConnection::connect(url).await.unwrap());
    let mut lock = owner.begin().await.unwrap();
    lock.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let askers: Vec<_> = (0..300)
        .map(|n| {
            let policy = policy.clone();
            tokio::spawn(async move { preference_of(&policy, &format!("user-{n}")).await })
        })
        .collect();
    let mut most = 0;
    let mut lock = Some(lock);
    until("everybody's answer", SOON, async || {
        let now = working(&mut observer).await;
        most = most.max(now);
        if now == i64::from(CONCURRENCY)
            && let Some(lock) = lock.take()
        {
            lock.rollback().await.unwrap();
        }
        askers.iter().all(tokio::task::JoinHandle::is_finished).then_some(())
    })
    .await;
    assert_eq!(most, i64::from(CONCURRENCY));
    for (n, asker) in askers.into_iter().enumerate() {
        assert_eq!(asker.await.unwrap() == Preference::Off, n == 7, "user-{n}");
    }
}

async fn preference_of(policy: &Policy, person: &str) -> Preference {
    ask(policy, "acme", &[person]).await.unwrap().users[0].preference(OtpReceived)
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_asked_for_again_soon() {
    // Somebody whom the store does not know is not asked for at every event, but much sooner again than somebody whom it knows: who just
    // signed up is heard.
    let mut place = Place::empty(Kind::Postgres);
    (place.config.ttl_s, place.config.unknown_user_ttl_s) = (600, 100);
    migrate(&place.config, false).await.unwrap();
    let clock = Arc::new(Moved::default());
    let policy = open_with(&place.config, Arc::<Moved>::clone(&clock)).await.unwrap();
    let writer = open(&place.config).await.unwrap();
    let switch = async |person: &str, value: Preference| {
        writer.admin().write(&[preference("acme", person, OtpReceived, value)]).await.unwrap();
    };
    writer.admin().write(&[setting("acme", OtpReceived, Setting::Enabled)]).await.unwrap();
    switch("ada", Preference::On).await;
    for person in ["ada", "stranger"] {
        assert_eq!(preference_of(&policy, person).await, Preference::On);
    }
    switch("ada", Preference::Off).await;
    switch("stranger", Preference::Off).await;
    let cached = |person: &str| policy.cached(&ws("acme"), &user(person)).is_some();

    clock.forward(Duration::from_secs(50));
    assert!(cached("ada") && cached("stranger"));
    assert_eq!(preference_of(&policy, "stranger").await, Preference::On);
    clock.forward(Duration::from_secs(51));
    assert!(cached("ada") && !cached("stranger"));
    assert_eq!(preference_of(&policy, "stranger").await, Preference::Off);
    assert_eq!(preference_of(&policy, "ada").await, Preference::On);
    clock.forward(Duration::from_secs(500));
    assert_eq!(preference_of(&policy, "ada").await, Preference::Off);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_forgotten_by_redis_soon() {
    // The copies in Redis live no longer than the answers that they are copies of.
    let redis = Redis::start();
    let mut place = Place::empty(Kind::Postgres);
    (place.config.ttl_s, place.config.unknown_user_ttl_s) = (600, 100);
    place.config.redis_url = Some(redis.url().into());
    migrate(&place.config, false).await.unwrap();
    let policy = open(&place.config).await.unwrap();
    policy.admin().write(&[preference("acme", "ada", OtpReceived, Preference::On)]).await.unwrap();
    ask(&policy, "acme", &["ada", "stranger"]).await.unwrap();
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    for (person, lives_s) in [("ada", 500..=600), ("stranger", 1..=100)] {
        let keys: Vec<String> =
            redis::cmd("KEYS").arg(format!("*{person}*")).query_async(&mut connection).await.unwrap();
        let [key] = &keys[..] else { panic!("{person}: {keys:?}") };
        let left: i64 = redis::cmd("TTL").arg(key).query_async(&mut connection).await.unwrap();
        assert!(lives_s.contains(&left), "{person}'s copy lives for {left} s");
    }
}
