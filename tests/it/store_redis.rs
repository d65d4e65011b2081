//! The policy store behind a real Redis and a real PostgreSQL: what one process changes, the others use; what fails is gone around.
use std::sync::Arc;
use std::time::{Duration, Instant};

use watchbell::event::NotificationType::{IdentityVerification, OtpReceived};
use watchbell::policy::{Preference, Setting};
use watchbell::seam::{Clock as _, DeadToken, PolicySource, Query, Removal, SystemClock};
use watchbell::store::{Announced, OpenError, Policy, migrate, open, open_with};

use crate::store_support::{
    AT, Kind, Moved, Place, ask, deaf, device_of, event, hears, installation, phone, preference, setting, until, user,
    ws,
};
use crate::support::services::{Postgres, Redis, shared_redis};
use crate::support::{SOON, block_on};

/// A migrated PostgreSQL store behind the shared Redis. Its keys carry the store's incarnation, so that tests do not meet.
async fn shared() -> Place {
    let mut place = Place::empty(Kind::Postgres);
    place.config.redis_url = Some(shared_redis().into());
    migrate(&place.config, false).await.unwrap();
    place
}

/// One answer of Redis.
pub fn tell(url: &str, command: &[&str]) -> String {
    let (url, command): (String, Vec<String>) = (url.into(), command.iter().map(ToString::to_string).collect());
    block_on(async move {
        let mut connection = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
        let value: redis::Value =
            redis::cmd(&command[0]).arg(&command[1..]).query_async(&mut connection).await.unwrap();
        redis::from_redis_value::<String>(value).unwrap()
    })
}

/// How often Redis executed a command.
fn calls(url: &str, command: &str) -> u64 {
    let stats = tell(url, &["INFO", "commandstats"]);
    let line =
        stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")).map(str::to_owned));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

async fn preference_of(policy: &Policy, person: &str) -> Preference {
    ask(policy, "acme", &[person]).await.unwrap().users[0].preference(OtpReceived)
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_10_policy_is_fresh_everywhere() {
    // A change of a preference or a setting that was announced everywhere reaches the caches of other processes within 100 ms, whichever
    // of them read it first, again and again. How much slower than meant this machine is at the moment is told by what a read of
    // somebody new costs in the same round.
    let place = shared().await;
    let (one, two, writer) =
        (open(&place.config).await.unwrap(), open(&place.config).await.unwrap(), open(&place.config).await.unwrap());
    let (mut changes_seen, mut reads) = (Vec::new(), Vec::new());
    for round in 0..100_u32 {
        let (value, level) =
            if round % 2 == 0 { (Preference::Off, Setting::Enforced) } else { (Preference::On, Setting::Disabled) };
        let changes = [preference("acme", "ada", OtpReceived, value), setting("acme", OtpReceived, level)];
        assert_eq!(writer.admin().write(&changes).await.unwrap(), Announced::Everywhere);
        let written = Instant::now();
        let (first, second) = if round % 3 == 0 { (&one, &two) } else { (&two, &one) };
        for policy in [first, second] {
            until("the change arrives", Duration::from_secs(20), async || {
                let answer = ask(policy, "acme", &["ada"]).await.unwrap();
                let (workspace, entry) = policy.cached(&ws("acme"), &user("ada"))?;
                let same = answer.users[0].preference(OtpReceived) == value && entry.preference(OtpReceived) == value;
                (same && workspace.setting(OtpReceived) == level).then_some(())
            })
            .await;
        }
        changes_seen.push(written.elapsed());
        let began = Instant::now();
        ask(&one, "acme", &[&format!("new-{round}")]).await.unwrap();
        reads.push(began.elapsed());
    }
    changes_seen.sort_unstable();
    reads.sort_unstable();
    let (p99, control) = (changes_seen[98], reads[98]);
    eprintln!("p99 of a change at two other processes, with polling: {p99:?}; of a read of somebody new: {control:?}");
    assert!(p99 < Duration::from_millis(100) + 4 * control, "{p99:?} with reads of {control:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_recipients_cost_one_round_trip() {
    // 500 people are one MGET and one script call; asked again they are none; 50 askers of one person at once are one of each.
    let redis = Redis::start();
    let mut place = Place::empty(Kind::Postgres);
    place.config.redis_url = Some(redis.url().into());
    migrate(&place.config, false).await.unwrap();
    let policy = open(&place.config).await.unwrap();
    let people: Vec<String> = (0..500).map(|n| format!("user-{n}")).collect();
    let people: Vec<&str> = people.iter().map(String::as_str).collect();
    let changes: Vec<_> = people.iter().map(|id| device_of("acme", id, phone("d", &format!("token-{id}")))).collect();
    policy.admin().write(&changes).await.unwrap();
    tell(&redis.url(), &["FLUSHALL"]);
    let counts = || (calls(&redis.url(), "mget"), calls(&redis.url(), "evalsha"));
    let before = counts();
    for _ in 0..2 {
        let answer = ask(&policy, "acme", &people).await.unwrap();
        assert!(answer.users.iter().all(|entry| entry.device_count() == 1));
        assert_eq!(counts(), (before.0 + 1, before.1 + 1));
    }
    // A second process finds all of it in Redis.
    let other = open(&place.config).await.unwrap();
    let answer = ask(&other, "acme", &people).await.unwrap();
    assert!(answer.users.iter().all(|entry| entry.device_count() == 1));
    assert_eq!(counts(), (before.0 + 2, before.1 + 1));

    let askers: Vec<_> = (0..50)
        .map(|_| {
            let policy = policy.clone();
            tokio::spawn(async move { ask(&policy, "acme", &["newcomer"]).await.unwrap() })
        })
        .collect();
    for asker in askers {
        asker.await.unwrap();
    }
    assert_eq!(counts(), (before.0 + 3, before.1 + 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_gone_means_the_store_is_asked() {
    // Without Redis, stopped or frozen, answers come from the store and are right; when it is back, changes arrive by themselves again.
    let mut redis = Redis::start();
    let mut place = Place::empty(Kind::Postgres);
    place.config.redis_url = Some(redis.url().into());
    migrate(&place.config, false).await.unwrap();
    let (reader, writer) = (open(&place.config).await.unwrap(), open(&place.config).await.unwrap());
    let switch =
        async |value: Preference| writer.admin().write(&[preference("acme", "ada", OtpReceived, value)]).await.unwrap();
    assert_eq!(switch(Preference::Off).await, Announced::Everywhere);
    assert_eq!(preference_of(&reader, "ada").await, Preference::Off);

    redis.stop();
    deaf(&reader).await;
    deaf(&writer).await;
    // What was read before must be validated again, although it is young.
    assert!(reader.cached(&ws("acme"), &user("ada")).is_none());
    assert_eq!(switch(Preference::On).await, Announced::NotYet);
    assert_eq!(preference_of(&reader, "ada").await, Preference::On);
    assert!(reader.cached(&ws("acme"), &user("ada")).is_some());

    redis.start_again();
    hears(&reader).await;
    hears(&writer).await;
    assert!(reader.cached(&ws("acme"), &user("ada")).is_none(), "read without tracking");
    assert_eq!(preference_of(&reader, "ada").await, Preference::On);
    assert_eq!(switch(Preference::Off).await, Announced::Everywhere);
    until("the change arrives", SOON, async || (preference_of(&reader, "ada").await == Preference::Off).then_some(()))
        .await;

    redis.freeze();
    deaf(&reader).await;
    for n in 0..20 {
        assert_eq!(preference_of(&reader, &format!("somebody-{n}")).await, Preference::On);
    }
    redis.thaw();
    hears(&reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_starts_without_redis_and_takes_it_up_later() {
    // A Redis that does not answer at the start does not keep a worker from starting, and is used when it comes.
    let mut redis = Redis::start();
    let mut place = Place::empty(Kind::Postgres);
    place.config.redis_url = Some(redis.url().into());
    migrate(&place.config, false).await.unwrap();
    redis.stop();
    let policy = open(&place.config).await.unwrap();
    assert_eq!(preference_of(&policy, "ada").await, Preference::On);
    assert!(!policy.hears_of_changes());
    redis.start_again();
    hears(&policy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_known_value_serves_for_a_while() {
    // Redis and store both gone: what was known serves up to max_stale, what was not known waits; after that everything waits; when the
    // store is back, answers are current again.
    let (mut redis, mut postgres) = (Redis::start(), Postgres::start());
    let mut place = Place::at(postgres.new_database(), tempfile::tempdir().unwrap());
    place.config.redis_url = Some(redis.url().into());
    place.config.store_timeout_ms = 1_000;
    migrate(&place.config, false).await.unwrap();
    let clock = Arc::new(Moved::default());
    let policy = open_with(&place.config, Arc::<Moved>::clone(&clock)).await.unwrap();
    policy.admin().write(&[preference("acme", "ada", OtpReceived, Preference::Off)]).await.unwrap();
    assert_eq!(preference_of(&policy, "ada").await, Preference::Off);

    redis.stop();
    deaf(&policy).await;
    postgres.kill();
    clock.forward(Duration::from_secs(120));
    assert!(policy.cached(&ws("acme"), &user("ada")).is_none(), "older than its TTL");
    assert_eq!(preference_of(&policy, "ada").await, Preference::Off);
    assert_eq!(ask(&policy, "acme", &["nobody-knows"]).await.unwrap_err().what, "policy store");
    assert!(ask(&policy, "acme", &["ada", "nobody-knows"]).await.is_err(), "all or nothing");
    let known = [user("ada")];
    let query = Query { workspace: &ws("acme"), users: &known, withdrawn: Some((IdentityVerification, &event("e"))) };
    assert!(policy.resolve(query).await.is_err(), "whether an event was withdrawn is never assumed");

    clock.forward(Duration::from_secs(900));
    assert!(ask(&policy, "acme", &["ada"]).await.is_err(), "older than max_stale");

    postgres.start_again();
    until("the store answers", SOON, async || ask(&policy, "acme", &["ada"]).await.ok()).await;
    policy.admin().write(&[preference("acme", "ada", OtpReceived, Preference::On)]).await.unwrap();
    assert_eq!(preference_of(&policy, "ada").await, Preference::On);
    redis.start_again();
    hears(&policy).await;
    assert_eq!(preference_of(&policy, "ada").await, Preference::On);
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawals_reach_other_processes() {
    // An event known not to be withdrawn is asked for in Redis alone; once another process withdraws it, that is known at once.
    let place = shared().await;
    let (one, two) = (open(&place.config).await.unwrap(), open(&place.config).await.unwrap());
    let withdrawn = async |policy: &Policy| {
        let query = Query { workspace: &ws("acme"), users: &[], withdrawn: Some((IdentityVerification, &event("e1"))) };
        policy.resolve(query).await.unwrap().withdrawn
    };
    assert!(!withdrawn(&one).await);
    assert!(!withdrawn(&one).await);
    let until = SystemClock.now().plus(Duration::from_secs(600));
    two.withdraw(&ws("acme"), IdentityVerification, &event("e1"), until).await.unwrap();
    assert!(withdrawn(&one).await && withdrawn(&two).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_token_is_gone_everywhere() {
    // A dead token that one worker removes is not used by another one either.
    let place = shared().await;
    let (one, two) = (open(&place.config).await.unwrap(), open(&place.config).await.unwrap());
    one.admin()
        .write(&[device_of("acme", "ada", phone("d1", "t")), device_of("beta", "bob", phone("d1", "t"))])
        .await
        .unwrap();
    assert_eq!(ask(&two, "beta", &["bob"]).await.unwrap().users[0].device_count(), 1);
    let (workspace, person, device) = (ws("acme"), user("ada"), phone("d1", "t").id);
    let dead = DeadToken { workspace, user: person, device, installation: installation("t"), since: AT };
    assert_eq!(one.remove_token(&dead).await.unwrap(), Removal::Removed(2));
    until("it is gone at the other one", SOON, async || {
        (ask(&two, "beta", &["bob"]).await.unwrap().users[0].device_count() == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_not_outvoted() {
    // After a backup was restored and the store renamed, what Redis holds of the newer state is not used, by new processes or old ones.
    let place = shared().await;
    let before = open(&place.config).await.unwrap();
    for value in [Preference::Off, Preference::On, Preference::Off] {
        before.admin().write(&[preference("acme", "ada", OtpReceived, value)]).await.unwrap();
    }
    assert_eq!(preference_of(&before, "ada").await, Preference::Off);
    use secrecy::ExposeSecret;
    use sqlx::{Connection, Executor};
    let mut store =
        sqlx::PgConnection::connect(place.config.store_url.as_ref().unwrap().expose_secret()).await.unwrap();
    store
        .execute("UPDATE users SET version = 1; UPDATE user_preferences SET preference = 'on', version = 1")
        .await
        .unwrap();
    migrate(&place.config, true).await.unwrap();
    let after = open(&place.config).await.unwrap();
    let entry = ask(&after, "acme", &["ada"]).await.unwrap().users[0].clone();
    assert_eq!((entry.preference(OtpReceived), entry.version()), (Preference::On, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_would_break_promises_is_refused() {
    // A replica is refused at the start, with what to do.
    let redis = Redis::start();
    tell(&redis.url(), &["REPLICAOF", "127.0.0.1", "1"]);
    let mut place = Place::empty(Kind::Postgres);
    place.config.redis_url = Some(redis.url().into());
    migrate(&place.config, false).await.unwrap();
    let refused = open(&place.config).await.err().unwrap();
    assert!(matches!(&refused, OpenError::Redis(why) if why.contains("primary")), "{refused}");
}

#[test]
fn the_script_never_writes_an_older_version() {
    // Versions in Redis only rise: a lower one is told so, the same one changes nothing, and a value's age is never flattered.
    let (url, key) = (shared_redis(), crate::support::services::unique("script"));
    let script = include_str!("../../src/store/redis/script.lua");
    let (written, stamp) = block_on(async {
        let mut connection =
            redis::Client::open(url.as_str()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let now: (i64, i64) = redis::cmd("TIME").query_async(&mut connection).await.unwrap();
        let (now, mut written) = (now.0 * 1_000, Vec::new());
        for (version, age, latest, payload) in
            [(5, 0, now, "five"), (4, 0, now, "four"), (5, 0, now, "same"), (9, 0, now - 7_000, "nine")]
        {
            let mut eval = redis::cmd("EVAL");
            eval.arg(script).arg(1).arg(&key).arg(age).arg(latest).arg(30_000).arg(version).arg(60_000).arg(payload);
            let answer: Vec<i64> = eval.query_async(&mut connection).await.unwrap();
            let value: Vec<u8> = redis::cmd("GET").arg(&key).query_async(&mut connection).await.unwrap();
            written.push((
                answer[0],
                i64::from_be_bytes(value[8..16].try_into().unwrap()),
                String::from_utf8(value[16..].to_vec()).unwrap(),
            ));
        }
        let head: Vec<u8> = redis::cmd("GETRANGE").arg(&key).arg(0).arg(7).query_async(&mut connection).await.unwrap();
        (written, i64::from_be_bytes(head.try_into().unwrap()) - now)
    });
    let expected = [(1, 5, "five"), (-1, 5, "five"), (0, 5, "five"), (1, 9, "nine")];
    assert_eq!(written, expected.map(|(answer, version, payload)| (answer, version, payload.to_owned())));
    assert_eq!(stamp, -7_000);
}
