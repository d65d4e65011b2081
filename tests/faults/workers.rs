//! Workers that are killed, rolled and rebalanced under load, and services that go away: nothing is lost, order holds.
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::account::{Load, settle};
use watchbell::event::NotificationType;
use watchbell::sandbox::SandboxConfig;
use watchbell::sandbox::apns::inbox::Push;
use watchbell::seam::{Clock as _, SystemClock};

use crate::full;
use crate::support::eventually;
use crate::support::kafka::lag;
use crate::support::process::Watchbell;
use crate::support::services::{Broker, shared_kafka};
use crate::support::stage::{CEILING, Stage, otp, sharing};

pub fn people(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("u{n}")).collect()
}

/// A seed of its own for each run, printed so that a failure can be run again: `WATCHBELL_SEED=…`.
pub fn dice() -> StdRng {
    let seed = std::env::var("WATCHBELL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("WATCHBELL_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// kill -9 at random moments while events flow: every single event reaches its phone and has its outcome, in the order of its key; what is
/// repeated is bounded by what was in flight or finished since the last commit.
#[test]
fn invariant_09_order_by_key_through_kills() {
    let mut dice = dice();
    let people = people(300);
    let stage = Stage::new(&shared_kafka(), 6, &people);
    let mut workers = [stage.worker(), stage.worker()];
    let (events, kills) = (full(5_000, 20_000), full(3, 10));
    let load = Load::start(&stage, &people, events, 500);
    for kill in 1..=kills {
        let at = events * kill / (kills + 2) + dice.random_range(0..events / (kills + 2));
        eventually("the moment of the kill", CEILING, || (load.emitted() >= at).then_some(()));
        let victim = dice.random_range(0..workers.len());
        workers[victim].kill();
        workers[victim] = Watchbell::worker(&stage.config());
    }
    let account = settle(&stage, &load.finish());
    eprintln!("{account:?} after {kills} kills");
    // One second's load for each kill: a commit interval of half a second, and what was in flight.
    assert!(account.repeated <= kills * 500, "{account:?}");
}

/// A rolling restart under load repeats no push.
#[test]
fn rolling_restart_repeats_nothing() {
    let people = people(200);
    let stage = Stage::new(&shared_kafka(), 6, &people);
    let mut workers = [stage.worker(), stage.worker()];
    let load = Load::start(&stage, &people, full(3_000, 10_000), 300);
    for worker in &mut workers {
        worker.terminate();
        assert!(worker.wait(CEILING).success(), "{}", worker.log());
        *worker = stage.worker();
    }
    let account = settle(&stage, &load.finish());
    assert_eq!(account.repeated, 0, "{account:?}");
}

/// Workers that come and go, under both group protocols: nothing is lost, the order of keys holds, nothing is repeated.
#[test]
fn rebalance_storm() {
    for protocol in ["classic", "consumer"] {
        let people = people(200);
        let extra = format!("group_protocol = {protocol:?}");
        let stage = Stage::with(&shared_kafka(), 6, &people, SandboxConfig::default(), &extra);
        let first = stage.worker();
        let load = Load::start(&stage, &people, full(2_500, 10_000), 250);
        for _ in 0..2 {
            let mut others = [stage.worker(), stage.worker()];
            for other in &mut others {
                other.terminate();
                assert!(other.wait(CEILING).success(), "{}", other.log());
            }
        }
        let account = settle(&stage, &load.finish());
        eprintln!("{protocol}: {account:?}");
        assert_eq!(account.repeated, 0, "{protocol}: {account:?}");
        drop(first);
    }
}

/// A worker that is frozen past its session is fenced: its partitions go on elsewhere, and when it thaws it sends nothing that is
/// no longer its own beyond what it had begun.
#[test]
fn frozen_worker_is_fenced() {
    let people = people(100);
    let stage = Stage::new(&shared_kafka(), 4, &people);
    let (frozen, _other) = (stage.worker(), stage.worker());
    let load = Load::start(&stage, &people, full(4_000, 8_000), 200);
    eventually("some load", CEILING, || (load.emitted() >= 500).then_some(()));
    frozen.freeze();
    let at_freeze = load.emitted();
    // Longer than the session of 6 s: the load itself is the clock.
    eventually("the session to end", CEILING, || (load.emitted() >= at_freeze + 200 * 9).then_some(()));
    frozen.thaw();
    let account = settle(&stage, &load.finish());
    eprintln!("{account:?}");
    assert!(account.repeated <= 400, "{account:?}");
}

/// The broker goes away in the middle of load and comes back: nothing is lost, the worker goes on by itself, and when its partitions come
/// back to it, it repeats nothing of what it had sent.
#[test]
fn broker_stopped_and_started() {
    let mut broker = Broker::start();
    let people = people(100);
    // What was sent may take as long as it needs until its outcome is acknowledged: the test does not speak of this machine's speed.
    let patient = "revoke_drain_ms = 30000";
    let stage = Stage::with(&broker.address(), 4, &people, SandboxConfig::default(), patient);
    let mut worker = stage.worker();
    let load = Load::start(&stage, &people, full(2_500, 8_000), 250);
    eventually("some load", CEILING, || (load.emitted() >= 700).then_some(()));
    broker.kill();
    // As long as it takes until somebody else might have the partitions.
    eventually("the partitions to be lost", CEILING, || {
        (worker.metric("watchbell_partitions_lost_total", &[]) > 0.0).then_some(())
    });
    broker.start_again();
    let account = settle(&stage, &load.finish());
    let known = worker.metric("watchbell_records_skipped_total", &[]);
    eprintln!("{account:?}, {known} records came again and were known");
    assert_eq!(account.repeated, 0, "{account:?}");
    worker.terminate();
    assert!(worker.wait(CEILING).success(), "{}", worker.log());
}

/// A backlog of sharing alerts does not delay a one-time password: it is pushed while the backlog is still being worked on, in a small
/// part of the time that the backlog takes.
#[test]
fn backlog_of_one_type_delays_no_other() {
    let people = people(300);
    let stage = Stage::new(&shared_kafka(), 6, &people);
    let backlog = full(15_000, 50_000);
    let worker = stage.worker();
    // Everybody once, so that the store's first reads are not what is measured.
    for user in &people {
        stage.emit(NotificationType::AccountSharing, &sharing(&format!("first-{user}"), &[user]));
    }
    stage.wait_outcomes(people.len());
    for n in 0..backlog {
        let user = &people[n % people.len()];
        stage.emit(NotificationType::AccountSharing, &sharing(&format!("s{n}"), &[user]));
    }
    stage.producer.flush();
    let sharing_topic = stage.topics.event(NotificationType::AccountSharing);
    let began = Instant::now();
    for n in 0..200 {
        let due = began + Duration::from_millis(5 * n);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        stage.emit(
            NotificationType::OtpReceived,
            &otp(&format!("o{n}-{}", SystemClock.now().as_millis()), &[&people[n as usize]]),
        );
    }
    let otps = || stage.sandbox.apns().pushes().iter().filter(|push| is_otp(push)).cloned().collect::<Vec<_>>();
    eventually("all one-time passwords", CEILING, || (otps().len() == 200).then_some(()));
    let left = lag(&stage.bootstrap, &stage.group, sharing_topic);
    assert!(left > 0, "the backlog was gone before the passwords were: this run shows nothing");
    stage.wait_committed(NotificationType::AccountSharing);
    let drained = began.elapsed();
    let mut delays: Vec<u64> = otps().iter().map(|push| push.at_ms.saturating_sub(produced_ms(push))).collect();
    delays.sort_unstable();
    let p99 = Duration::from_millis(delays[delays.len() * 99 / 100]);
    eprintln!("p99 of a one-time password: {p99:?}; the backlog of {backlog} took {drained:?}");
    // In one queue the last passwords would wait for the whole backlog.
    assert!(p99 < drained / 5, "{p99:?} of {drained:?}");
    drop(worker);
}

fn is_otp(push: &Push) -> bool {
    push.payload["type"] == "otp_received"
}

/// When the event was produced, in milliseconds: its id ends with it.
fn produced_ms(push: &Push) -> u64 {
    push.payload["event_id"].as_str().unwrap().rsplit('-').next().unwrap().parse().unwrap()
}
