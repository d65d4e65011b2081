//! Redis and PostgreSQL stopped and started again in the middle of load: what can be decided is, what cannot waits, and nobody is notified
//! against policy. Every event is accounted for by its job.
use std::time::Duration;

use watchbell::event::{NotificationType, wire};
use watchbell::policy::{Preference, Setting};

use crate::account::{Emitted, Load, emit, number};
use crate::full;
use crate::ledger::{Audit, Ledger, preferences, setting};
use crate::support::eventually;
use crate::support::process::Watchbell;
use crate::support::services::{Postgres, Redis, shared_kafka, shared_postgres_database, shared_redis};
use crate::support::stage::{CEILING, Stage};
use watchbell::sandbox::SandboxConfig;

const PER_SECOND: u32 = 250;
const TTL: Duration = Duration::from_secs(2);
/// A life short enough to end within an outage.
const SHORT_LIFE: Duration = Duration::from_secs(3);
/// Answers expire while the test looks on, and nothing older serves: each promise can be told from the next one.
const STRICT: &str = "ttl_s = 2\nunknown_user_ttl_s = 1\nmax_stale_s = 2\nstore_timeout_ms = 1000\n";
/// As [`STRICT`], but the last known answer serves for longer than a TTL.
const LENIENT: &str = "ttl_s = 2\nunknown_user_ttl_s = 1\nmax_stale_s = 6\nstore_timeout_ms = 1000\n";
const MAX_STALE: Duration = Duration::from_secs(6);

fn named(prefix: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| format!("{prefix}{n}")).collect()
}

/// People who are asked for again and again, each with every type, about once a second.
fn known(n: usize) -> String {
    format!("u{}", n / NotificationType::COUNT % 60)
}

/// Every third event is for somebody who was never asked for before, until all of those are known too.
fn known_or_new(n: usize) -> String {
    if n.is_multiple_of(3) && n / 3 < NEWCOMERS { format!("new{}", n / 3) } else { known(n) }
}

const NEWCOMERS: usize = 1_500;

/// A stage with that store and that Redis, for these people.
fn stage(store_url: String, redis_url: String, policy: &'static str, people: &[String]) -> Stage {
    let mut stage = Stage::bare(&shared_kafka(), 4, store_url, SandboxConfig::default(), "");
    stage.redis_url = Some(redis_url);
    stage.policy = policy;
    stage.add_people(people);
    stage
}

fn redis_up(workers: &[Watchbell], up: bool) {
    eventually("the workers to notice what became of Redis", CEILING, || {
        let all = workers.iter().all(|worker| (worker.metric("watchbell_policy_redis_up", &[]) > 0.5) == up);
        all.then_some(())
    });
}

fn reads(workers: &[Watchbell], from: &str) -> f64 {
    let label = format!("from=\"{from}\"");
    workers.iter().map(|worker| worker.metric("watchbell_policy_reads_total", &[&label])).sum()
}

/// Emits one event that lives shortly.
fn emit_short(stage: &Stage, event: String, user: &str) -> Emitted {
    let kind = NotificationType::OtpReceived;
    emit((&stage.producer, stage.topics.event(kind)), kind, event, user.to_owned(), SHORT_LIFE)
}

fn expired_for_want_of_policy(outcome: &wire::Outcome) -> bool {
    outcome.ending() == wire::Ending::Expired && outcome.reason == "policy_unavailable"
}

/// Waits for every ending, ends the workers, and audits.
fn audit(stage: &Stage, workers: &mut [Watchbell], emitted: &[Emitted], ledger: &Ledger, bound: Duration) -> Audit {
    stage.wait_outcomes(emitted.len());
    for worker in workers {
        worker.terminate();
        assert!(worker.wait(CEILING).success(), "{}", worker.log());
    }
    let audit = ledger.audit(stage, emitted, bound);
    eprintln!("{audit:?} of {}", emitted.len());
    audit
}

/// Redis goes away and comes back: the store is asked instead, changes made meanwhile count after one TTL, and afterwards Redis is used
/// again. Nothing waits for it.
#[test]
fn redis_stopped_and_started() {
    let mut redis = Redis::start();
    let people = named("u", 0..60);
    let stage = stage(shared_postgres_database(), redis.url(), STRICT, &people);
    let mut ledger = Ledger::default();
    ledger.write(&stage, &preferences(&people[..20], Preference::Off));
    let mut workers = [stage.worker(), stage.worker()];
    redis_up(&workers, true);
    let load = Load::picking(&stage, usize::MAX, PER_SECOND, known);
    load.wait_for_more(full(500, 2_000));

    redis.kill();
    redis_up(&workers, false);
    let changes = [preferences(&people[..10], Preference::On), preferences(&people[20..30], Preference::Off)].concat();
    ledger.write(&stage, &changes);
    ledger.write(&stage, &[setting(NotificationType::TrustedDevice, Setting::Disabled)]);
    // Longer than a TTL; and what was emitted by then ends without Redis.
    let emitted = load.wait_for_more(full(750, 3_000));
    stage.wait_outcomes(emitted);

    let before = reads(&workers, "redis");
    redis.start_again();
    redis_up(&workers, true);
    ledger.write(&stage, &preferences(&people[30..40], Preference::Off));
    ledger.write(&stage, &[setting(NotificationType::TrustedDevice, Setting::Enforced)]);
    load.wait_for_more(full(750, 3_000));
    assert!(reads(&workers, "redis") > before, "Redis is not used again");
    let audit = audit(&stage, &mut workers, &load.end(), &ledger, TTL);
    assert_eq!(audit.expired, 0);
    assert!(audit.accepted > 0 && audit.suppressed > 0 && audit.obeyed > 0, "{audit:?}");
}

/// PostgreSQL goes away and comes back, with a Redis that forgets after a TTL: then nothing is known of anybody, least of all of people who
/// were never asked for. Their events wait; those whose deadline passes end as expired, the others are delivered when it is back.
#[test]
fn postgres_stopped_and_started() {
    let mut postgres = Postgres::start();
    let (people, newcomers, late) = (named("u", 0..60), named("new", 0..NEWCOMERS), named("late", 0..20));
    let everybody = [&people[..], &newcomers, &late].concat();
    let stage = stage(postgres.new_database(), shared_redis(), STRICT, &everybody);
    let mut ledger = Ledger::default();
    let every_fifth: Vec<String> = newcomers.iter().step_by(5).cloned().collect();
    ledger.write(&stage, &preferences(&[&people[..10], &every_fifth, &late[..10]].concat(), Preference::Off));
    let mut workers = [stage.worker()];
    let load = Load::picking(&stage, usize::MAX, PER_SECOND, known_or_new);
    load.wait_for_more(full(500, 1_000));

    ledger.write(&stage, &preferences(&people[10..20], Preference::Off));
    ledger.write(&stage, &[setting(NotificationType::TrustedDevice, Setting::Disabled)]);
    postgres.kill();
    let at_kill = load.emitted();
    let short: Vec<Emitted> = late.iter().map(|user| emit_short(&stage, format!("short-{user}"), user)).collect();
    eventually("what lives shortly to expire while the store is away", CEILING, || {
        let outcomes = stage.outcomes();
        (outcomes.iter().filter(|outcome| expired_for_want_of_policy(outcome)).count() == short.len()).then_some(())
    });
    load.wait_for_more(full(250, 1_000));
    // The one that was being emitted when PostgreSQL died may have been in time.
    let guessed: Vec<_> = stage
        .outcomes()
        .into_iter()
        .filter(|outcome| outcome.user_id.starts_with("new") && number(&outcome.event_id) > at_kill)
        .collect();
    assert!(guessed.is_empty(), "decided without policy: {guessed:?}");

    postgres.start_again();
    load.wait_for_more(full(500, 1_000));
    let emitted = [load.end(), short].concat();
    let audit = audit(&stage, &mut workers, &emitted, &ledger, TTL);
    assert_eq!(audit.expired, late.len());
    assert!(audit.accepted > 0 && audit.suppressed > 0 && audit.obeyed > 0, "{audit:?}");
}

/// Both go away at once: the last known policy serves up to `max_stale_s`, then everything waits, and nothing is notified against what was
/// changed in the meantime beyond that bound.
#[test]
fn redis_and_postgres_stopped_and_started() {
    let (mut redis, mut postgres) = (Redis::start(), Postgres::start());
    let (people, newcomers) = (named("u", 0..60), named("new", 0..NEWCOMERS));
    let everybody = [&people[..], &newcomers, &["probe".to_owned()]].concat();
    let stage = stage(postgres.new_database(), redis.url(), LENIENT, &everybody);
    let mut ledger = Ledger::default();
    ledger.write(&stage, &preferences(&[&people[..10], &newcomers[..100]].concat(), Preference::Off));
    let mut workers = [stage.worker()];
    redis_up(&workers, true);
    let load = Load::picking(&stage, usize::MAX, PER_SECOND, known_or_new);
    load.wait_for_more(full(500, 1_000));

    redis.kill();
    redis_up(&workers, false);
    // Nobody hears of this: the worker learns of it by asking, or not at all.
    ledger.write(&stage, &preferences(&people[10..30], Preference::Off));
    ledger.write(&stage, &[setting(NotificationType::TrustedDevice, Setting::Disabled)]);
    let mut probes = vec![emit_short(&stage, "probe-0".into(), "probe")];
    eventually("the probe to be known", CEILING, || {
        stage.outcomes().iter().any(|outcome| outcome.user_id == "probe").then_some(())
    });
    postgres.kill();
    // A probe that expires came when even the last known answer was too old; everybody else was asked for soon after the first one.
    eventually("the last known policy to be too old", CEILING, || {
        probes.push(emit_short(&stage, format!("probe-{}", probes.len()), "probe"));
        stage.outcomes().iter().any(expired_for_want_of_policy).then_some(())
    });
    assert!(reads(&workers, "last_known") > 0.0, "the last known policy did not serve");
    let stale = load.wait_for_more(2 * PER_SECOND as usize);
    load.wait_for_more(full(250, 1_000));
    let guessed: Vec<_> = stage.outcomes().into_iter().filter(|outcome| number(&outcome.event_id) > stale).collect();
    assert!(guessed.is_empty(), "decided on what is too old: {guessed:?}");

    postgres.start_again();
    redis.start_again();
    redis_up(&workers, true);
    load.wait_for_more(full(500, 1_000));
    let emitted = [load.end(), probes].concat();
    let audit = audit(&stage, &mut workers, &emitted, &ledger, MAX_STALE);
    assert!(audit.accepted > 0 && audit.suppressed > 0 && audit.obeyed > 0, "{audit:?}");
}
