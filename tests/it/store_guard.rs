//! The fatigue guard's common count on a real Redis: the same law as in process, for all processes together, and nothing that stalls.
use std::collections::HashSet;
use std::time::{Duration, Instant};

use watchbell::event::NotificationType::{IdentityVerification, TrustedDevice};
use watchbell::policy::{Guard, Heard, Preference, Ring, Tally};
use watchbell::seam::{Clock as _, PolicySource as _, Ringing, SystemClock};
use watchbell::store::{Announced, Policy, migrate, open};

use crate::store_redis::tell;
use crate::store_support::{AT, Kind, Place, admin, deaf, event, hears, person, preference, until, user, ws};
use crate::support::SOON;
use crate::support::services::{Redis, shared_redis};

const GUARD: Guard = Guard { max: 3, window: Duration::from_secs(600) };

async fn behind(redis: &str) -> Place {
    let mut place = Place::empty(Kind::Postgres);
    place.config.redis_url = Some(redis.into());
    migrate(&place.config, false).await.unwrap();
    place
}

async fn ring(policy: &Policy, who: &str, request: &str, guard: &Guard) -> Option<Ring> {
    let (workspace, id, who) = (ws("acme"), event(request), user(who));
    let ringing = Ringing { workspace: &workspace, kind: IdentityVerification, event: &id, users: &[&who], guard };
    policy.ring(ringing).await.map(|rings| rings[0])
}

async fn hear(policy: &Policy, who: &str, heard: Heard, ago: Duration, guard: &Guard) {
    policy.hear(&ws("acme"), &user(who), heard, ago, guard).await;
}

/// Numbers that look like chance, the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Whatever happens in whatever order, at either of two processes: Redis's script says what the law says.
#[tokio::test(flavor = "multi_thread")]
async fn the_script_keeps_the_law() {
    let place = behind(&shared_redis()).await;
    let processes = [open(&place.config).await.unwrap(), open(&place.config).await.unwrap()];
    let mut dice = Dice(1);
    for round in 0..60 {
        let (who, mut law, mut steps) = (format!("ada-{round}"), Tally::default(), Vec::new());
        for _ in 0..30 {
            let policy = &processes[dice.roll(2) as usize];
            let request = dice.roll(9);
            match dice.roll(12) {
                0 => {
                    steps.push("approved".to_owned());
                    law.hear(Heard::Approved, SystemClock.now(), SystemClock.now(), &GUARD);
                    hear(policy, &who, Heard::Approved, Duration::ZERO, &GUARD).await;
                }
                1 if round % 3 == 0 => {
                    steps.push("not me".to_owned());
                    law.hear(Heard::NotMe, SystemClock.now(), SystemClock.now(), &GUARD);
                    hear(policy, &who, Heard::NotMe, Duration::ZERO, &GUARD).await;
                }
                _ => {
                    let expected = law.ring(request, SystemClock.now(), &GUARD);
                    let said = ring(policy, &who, &format!("e{request}"), &GUARD).await;
                    steps.push(format!("{request}: {said:?}"));
                    assert_eq!(said, Some(expected), "{who}: {steps:?}");
                }
            }
        }
    }
}

/// By Redis's own clock a window ends, a second notice is due, and an answer counts by when it was given.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_ends() {
    let place = behind(&shared_redis()).await;
    let policy = open(&place.config).await.unwrap();
    let short = Guard { max: 1, window: Duration::from_millis(150) };
    let begun = Instant::now();
    assert_eq!(ring(&policy, "ada", "e1", &short).await, Some(Ring::Rings));
    if ring(&policy, "ada", "e2", &short).await == Some(Ring::HeldBack { first: true }) {
        // Otherwise this machine stood still for a whole window.
        until("its window to end", SOON, async || {
            (ring(&policy, "ada", "e3", &short).await? == Ring::Rings).then_some(())
        })
        .await;
        // Redis counts whole milliseconds.
        assert!(begun.elapsed() + Duration::from_millis(2) > short.window, "{:?}", begun.elapsed());
    }
    // An old answer changes nothing: neither what was said a window ago, nor an approval of what was before.
    hear(&policy, "bob", Heard::NotMe, GUARD.window, &GUARD).await;
    for request in ["e1", "e2", "e3"] {
        assert_eq!(ring(&policy, "bob", request, &GUARD).await, Some(Ring::Rings));
    }
    hear(&policy, "bob", Heard::Approved, Duration::from_secs(60), &GUARD).await;
    assert_eq!(ring(&policy, "bob", "e4", &GUARD).await, Some(Ring::HeldBack { first: true }));
    hear(&policy, "bob", Heard::Approved, Duration::ZERO, &GUARD).await;
    assert_eq!(ring(&policy, "bob", "e5", &GUARD).await, Some(Ring::Rings));
}

/// Fifty requests that come at two processes at once: as many ring as may, and one of them tells the person. Types share the count, people
/// do not, and an event for many is one round trip.
#[tokio::test(flavor = "multi_thread")]
async fn one_count_for_all() {
    let place = behind(&shared_redis()).await;
    let processes = [open(&place.config).await.unwrap(), open(&place.config).await.unwrap()];
    let asked = (0..50).map(|n| {
        let policy = processes[n % 2].clone();
        tokio::spawn(async move { ring(&policy, "ada", &format!("e{n}"), &GUARD).await.unwrap() })
    });
    let mut said = Vec::new();
    for asked in asked.collect::<Vec<_>>() {
        said.push(asked.await.unwrap());
    }
    let count = |ring| said.iter().filter(|said| **said == ring).count();
    assert_eq!((count(Ring::Rings), count(Ring::HeldBack { first: true })), (3, 1), "{said:?}");

    let (workspace, id) = (ws("acme"), event("device"));
    let people: Vec<_> = ["ada", "bob", "cem"].map(user).into();
    let users: Vec<_> = people.iter().collect();
    let ringing = Ringing { workspace: &workspace, kind: TrustedDevice, event: &id, users: &users, guard: &GUARD };
    let rings = processes[0].ring(ringing).await.unwrap();
    assert_eq!(rings, [Ring::HeldBack { first: false }, Ring::Rings, Ring::Rings]);
}

/// Nobody waits for a Redis that is gone or frozen: the caller is told to count by itself. When it is back it is asked again, and has the
/// script.
#[tokio::test(flavor = "multi_thread")]
async fn redis_gone_never_stalls() {
    let mut redis = Redis::start();
    let place = behind(&redis.url()).await;
    let policy = open(&place.config).await.unwrap();
    assert!(policy.counts_together());
    assert_eq!(ring(&policy, "ada", "e1", &GUARD).await, Some(Ring::Rings));
    redis.freeze();
    let begun = Instant::now();
    assert_eq!(ring(&policy, "ada", "e2", &GUARD).await, None);
    hear(&policy, "ada", Heard::Approved, Duration::ZERO, &GUARD).await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(!policy.counts_together(), "nobody else waits for it");
    redis.thaw();
    hears(&policy).await;
    redis.stop();
    deaf(&policy).await;
    assert_eq!((policy.counts_together(), ring(&policy, "ada", "e3", &GUARD).await), (false, None));
    redis.start_again();
    hears(&policy).await;
    assert_eq!(ring(&policy, "ada", "e4", &GUARD).await, Some(Ring::Rings));
    // Without a Redis each process counts for itself.
    let (_place, alone) = Place::open(Kind::Sqlite).await;
    assert!(!alone.counts_together());
}

/// A Redis that was told to forget its scripts is given them again within the same question: the count goes on where it was, what is written
/// arrives, and the session stays.
#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_redis_forgot() {
    let redis = Redis::start();
    let place = behind(&redis.url()).await;
    let policy = open(&place.config).await.unwrap();
    let forget = || assert_eq!(tell(&redis.url(), &["SCRIPT", "FLUSH"]), "OK");
    for request in ["e1", "e2", "e3"] {
        assert_eq!(ring(&policy, "ada", request, &GUARD).await, Some(Ring::Rings));
    }
    forget();
    assert_eq!(ring(&policy, "ada", "e4", &GUARD).await, Some(Ring::HeldBack { first: true }));
    forget();
    hear(&policy, "ada", Heard::Approved, Duration::ZERO, &GUARD).await;
    assert_eq!(ring(&policy, "ada", "e5", &GUARD).await, Some(Ring::Rings), "the approval was heard");
    forget();
    let muted = preference("acme", "ada", IdentityVerification, Preference::Off);
    assert_eq!(policy.admin().write(&[muted]).await.unwrap(), Announced::Everywhere);
    assert!(policy.counts_together(), "the session is the same");
}

/// Of a person who is erased Redis keeps no count either; others' stay.
#[tokio::test(flavor = "multi_thread")]
async fn an_erased_person_has_no_count() {
    let place = behind(&shared_redis()).await;
    let policy = open(&place.config).await.unwrap();
    let fill = async |who: &str| {
        let mut rings = HashSet::new();
        for request in ["e1", "e2", "e3", "e4"] {
            rings.insert(format!("{:?}", ring(&policy, who, &format!("{who}-{request}"), &GUARD).await.unwrap()));
        }
        rings.len()
    };
    assert_eq!((fill("ada").await, fill("bob").await), (2, 2));
    policy.admin().erase(&person("acme", "ada"), &admin("root"), AT).await.unwrap();
    assert_eq!(ring(&policy, "ada", "another", &GUARD).await, Some(Ring::Rings));
    assert_eq!(ring(&policy, "bob", "another", &GUARD).await, Some(Ring::HeldBack { first: false }));
}
