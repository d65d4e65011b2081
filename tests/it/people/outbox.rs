//! The outbox: in order by key, at least once, whatever is killed when, however many publish.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;
use watchbell::event::{NotificationType, wire};
use watchbell::people::SettingChange;
use watchbell::policy::Setting;
use watchbell::seam::{OutboxRecord, OutboxSink, OutboxTopic, Settlement};
use watchbell::store::{Backlog, Policy, open};

use super::support::{Broker, Killed, after};
use crate::store_support::{AT, Kind, Place, admin, over_both, until, ws};
use crate::support::SOON;

use OutboxTopic::{Audit, Decisions};

/// So many records for a workspace, numbered by their moments.
async fn tell(policy: &Policy, workspace: &str, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let setting = if n % 2 == 0 { Setting::Enforced } else { Setting::Disabled };
        let (kind, actor) = (NotificationType::OtpReceived, admin("ada"));
        let change = SettingChange { workspace: ws(workspace), kind, setting, expected: None, actor, at: after(n) };
        policy.admin().set(&change).await.unwrap();
    }
}

/// The numbers of each workspace, as they were first seen.
fn first_seen(log: &[OutboxRecord]) -> BTreeMap<String, Vec<u64>> {
    let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for record in log {
        let entry = wire::AuditEntry::decode(&record.payload[..]).unwrap();
        let number = entry.at.unwrap().seconds as u64 - AT.as_secs() as u64;
        let numbers = seen.entry(entry.workspace_id).or_default();
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    seen
}

async fn waiting(policy: &Policy) -> u64 {
    policy.outbox().backlog(Audit, AT).await.unwrap().waiting
}

/// Whether, of three records in two shards, what was written and what was left say: killed before anything was written, after some was
/// and nothing was marked, between the shards, and after everything.
fn everywhere(seen: &BTreeSet<(usize, u64)>) -> bool {
    let between = |(written, left): &(usize, u64)| *written > 0 && (1..3).contains(left);
    let unmarked = |(written, left): &(usize, u64)| *written > 0 && *left == 3;
    seen.contains(&(0, 3)) && seen.contains(&(3, 0)) && seen.iter().any(unmarked) && seen.iter().any(between)
}

/// A broker that never acknowledges anything of acme's.
#[derive(Clone, Default)]
struct Without(Broker);

impl OutboxSink for Without {
    fn write(&self, record: &OutboxRecord, settlement: &Arc<Settlement>) {
        if record.key.as_deref() == Some(b"acme") {
            settlement.hold();
        }
        self.0.write(record, settlement);
    }
}

/// A broker that acknowledges a little later, so that a publisher can be killed while it waits for that.
#[derive(Clone, Default)]
struct Slow(Broker);

impl OutboxSink for Slow {
    fn write(&self, record: &OutboxRecord, settlement: &Arc<Settlement>) {
        settlement.hold();
        self.0.write(record, settlement);
        let settlement = Arc::clone(settlement);
        tokio::spawn(async move { settlement.release() });
    }
}

over_both! {
    /// Records of a key come out in the order in which they were put in, with their headers and bytes, and once.
    async fn in_order_by_key(policy: Policy) {
        for n in 0..30 {
            tell(&policy, &format!("w{}", n % 3), n..n + 1).await;
        }
        assert_eq!(waiting(&policy).await, 30);
        let broker = Broker::default();
        assert_eq!(policy.outbox().drain(Decisions, &broker).await.unwrap(), 0, "another topic's");
        assert_eq!(policy.outbox().drain(Audit, &broker).await.unwrap(), 30);
        assert_eq!(policy.outbox().drain(Audit, &broker).await.unwrap(), 0);
        let expected: BTreeMap<_, Vec<u64>> =
            (0..3).map(|w| (format!("w{w}"), (0..30).filter(|n| n % 3 == w).collect())).collect();
        assert_eq!((first_seen(&broker.log()), broker.log().len(), waiting(&policy).await), (expected, 30, 0));
    }

    /// The next record of a key is not written before the one before is acknowledged, and nothing is marked before that either.
    async fn one_at_a_time_by_key(policy: Policy) {
        tell(&policy, "acme", 0..3).await;
        let broker = Broker::holding();
        let (outbox, sink) = (policy.outbox(), broker.clone());
        let publisher = tokio::spawn(async move { outbox.drain(Audit, &sink).await });
        for n in 1..=3 {
            until("the next record", SOON, async || (broker.log().len() == n).then_some(())).await;
            assert_eq!(waiting(&policy).await, 3, "nothing is marked yet");
            assert_eq!(broker.acknowledge(), 1);
        }
        assert_eq!(publisher.await.unwrap().unwrap(), 3);
        assert_eq!(waiting(&policy).await, 0);
    }

    /// Each key's first record is on its way at once, whatever the broker makes others wait for; and what is held up there holds up no other.
    async fn no_key_waits_for_another(policy: Policy) {
        let keys = ["acme", "beta", "w0", "w1", "0a4f9f1c"];
        for key in keys {
            tell(&policy, key, 0..2).await;
        }
        let (outbox, stop) = (policy.outbox(), CancellationToken::new());
        let (broker, stopped) = (Without::default(), stop.clone());
        let sink = broker.clone();
        let publisher = tokio::spawn(async move { outbox.run(Audit, &sink, &stopped).await });
        let out = |key: &str| first_seen(&broker.0.log()).get(key).map_or(0, Vec::len);
        until("every key but one", SOON, async || {
            (out("acme") == 1 && keys[1..].iter().all(|key| out(key) == 2)).then_some(())
        })
        .await;
        tell(&policy, "w0", 2..3).await;
        until("what is told later", SOON, async || (out("w0") == 3).then_some(())).await;
        assert_eq!(out("acme"), 1, "not the next one before the first is acknowledged");
        stop.cancel();
        publisher.await.unwrap();
    }

    /// Of a key that has a thousand records waiting, others see some, not all, before their own are out: in its shard as in another one.
    async fn nobody_waits_for_a_backlog(policy: Policy, place: &Place) {
        const COPIES: &str = "INSERT INTO outbox (topic, shard, key, payload, headers, created_at)
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
            SELECT topic, shard, key, payload, headers, created_at FROM outbox CROSS JOIN n";
        tell(&policy, "acme", 0..1).await;
        place.execute(COPIES).await;
        // Shards 15 and 5, as acme's and another.
        tell(&policy, "0a4f9f1c", 0..1).await;
        tell(&policy, "auth0|ada", 0..1).await;
        assert_eq!(waiting(&policy).await, 1_002);
        let (outbox, stop, broker) = (policy.outbox(), CancellationToken::new(), Slow::default());
        let (sink, stopped) = (broker.clone(), stop.clone());
        let publisher = tokio::spawn(async move { outbox.run(Audit, &sink, &stopped).await });
        let before = |key: &str| broker.0.log().iter().position(|record| record.key.as_deref() == Some(key.as_bytes()));
        for key in ["0a4f9f1c", "auth0|ada"] {
            let before = until(key, SOON, async || before(key)).await;
            assert!(before < 64, "{before} of the backlog came before {key}");
        }
        stop.cancel();
        publisher.await.unwrap();
    }

    /// Keys that take turns all come to theirs, however many they are, and however alike they begin; those without any, too.
    async fn every_key_has_its_turn(policy: Policy, place: &Place) {
        const MANY: &str = "INSERT INTO outbox (topic, shard, key, payload, headers, created_at)
            WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 399)
            SELECT topic, shard, CAST('LONG' || CAST(i % 200 AS text) AS KIND), payload, headers, created_at FROM outbox CROSS JOIN n";
        tell(&policy, "acme", 0..1).await;
        let url = place.config.store_url.as_ref().unwrap().expose_secret();
        let kind = if url.starts_with("sqlite") { "blob" } else { "bytea" };
        place.execute(&MANY.replace("KIND", kind).replace("LONG", &"long".repeat(40))).await;
        place.execute("UPDATE outbox SET key = NULL WHERE id % 10 = 0").await;
        let broker = Broker::default();
        assert_eq!(policy.outbox().drain(Audit, &broker).await.unwrap(), 401);
        assert_eq!((broker.log().len(), waiting(&policy).await), (401, 0));
    }

    /// Killed wherever it can be, a publisher loses nothing, keeps the order, and repeats only what it had not marked.
    async fn killed_between_any_two_steps(policy: Policy) {
        let (slow, mut rounds, mut waits, mut seen) = (Slow::default(), 0, 0, BTreeSet::new());
        // How often it waits on its way is not the same each time, so the way is gone until it was killed on each part of it.
        while !everywhere(&seen) {
            tell(&policy, "acme", 2 * rounds..2 * rounds + 2).await;
            tell(&policy, "beta", rounds..rounds + 1).await;
            let (outbox, sink, before) = (policy.outbox(), slow.clone(), slow.0.log().len());
            let drain = async move { outbox.drain(Audit, &sink).await.unwrap() };
            let done = Killed { waits, inner: Box::pin(drain) }.await;
            let (written, left) = (slow.0.log().len() - before, waiting(&policy).await);
            seen.insert((written, left));
            // Somebody else goes on where it was killed; a dead connection gives its lock back a moment later.
            let repeated = slow.0.log().len();
            until("the rest", SOON, async || {
                policy.outbox().drain(Audit, &slow).await.unwrap();
                (waiting(&policy).await == 0).then_some(())
            })
            .await;
            assert!((slow.0.log().len() - repeated) as u64 <= left, "what was marked is not repeated");
            rounds += 1;
            waits = if done == Some(3) { 0 } else { waits + 1 };
            assert!(rounds < 1_000, "{seen:?}");
        }
        let expected = [("acme", 2 * rounds), ("beta", rounds)].map(|(key, told)| (key.to_owned(), (0..told).collect::<Vec<_>>()));
        assert_eq!(first_seen(&slow.0.log()), BTreeMap::from(expected));
    }

    /// Whoever put a record in can wait until a broker has it, and is told when that takes too long.
    async fn waiting_for_the_broker(policy: Policy) {
        tell(&policy, "acme", 0..1).await;
        let outbox = policy.outbox();
        assert!(!outbox.published(1, Duration::from_millis(1)).await.unwrap());
        let (broker, stop) = (Broker::holding(), CancellationToken::new());
        let (publisher, sink, stopped) = (policy.outbox(), broker.clone(), stop.clone());
        let publisher = tokio::spawn(async move { publisher.run(Audit, &sink, &stopped).await });
        let waiter = tokio::spawn(async move { outbox.published(1, SOON).await });
        until("the record", SOON, async || (broker.log().len() == 1).then_some(())).await;
        assert!(!waiter.is_finished());
        broker.acknowledge();
        assert!(waiter.await.unwrap().unwrap());
        // Written while the publisher sleeps: it is woken.
        tell(&policy, "acme", 1..2).await;
        until("the next record", SOON, async || (broker.log().len() == 2).then_some(())).await;
        stop.cancel();
        publisher.await.unwrap();
        assert_eq!(waiting(&policy).await, 1, "stopped before the broker had it");
    }

    /// The backlog says how many wait and since when the oldest does.
    async fn backlog(policy: Policy) {
        assert_eq!(policy.outbox().backlog(Audit, after(9)).await.unwrap(), Backlog::default());
        tell(&policy, "acme", 5..7).await;
        tell(&policy, "beta", 3..4).await;
        let backlog = policy.outbox().backlog(Audit, after(9)).await.unwrap();
        assert_eq!(backlog, Backlog { waiting: 3, oldest: Duration::from_secs(6) });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_share_the_work() {
    // Three processes publish while two write: everything arrives, in the order of each key, and nothing twice.
    let place = Place::empty(Kind::Postgres);
    watchbell::store::migrate(&place.config, false).await.unwrap();
    let (broker, stop) = (Slow::default(), CancellationToken::new());
    let mut publishers = Vec::new();
    for _ in 0..3 {
        let (policy, sink, stop) = (open(&place.config).await.unwrap(), broker.clone(), stop.clone());
        publishers.push(tokio::spawn(async move { policy.outbox().run(Audit, &sink, &stop).await }));
    }
    let mut writers = Vec::new();
    for half in 0..2 {
        let policy = open(&place.config).await.unwrap();
        writers.push(tokio::spawn(async move {
            for n in 0..20 {
                for w in 0..6 {
                    tell(&policy, &format!("w{half}{w}"), n..n + 1).await;
                }
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let policy = open(&place.config).await.unwrap();
    until("an empty outbox", SOON, async || (waiting(&policy).await == 0).then_some(())).await;
    stop.cancel();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let log = broker.0.log();
    assert_eq!(log.len(), 240);
    let seen = first_seen(&log);
    assert_eq!(seen.len(), 12);
    assert!(seen.values().all(|numbers| *numbers == (0..20).collect::<Vec<_>>()), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_is_one_processes_at_a_time() {
    // While one process waits for the broker, another does not touch the same key; when the first dies, the other one takes over.
    let place = Place::empty(Kind::Postgres);
    watchbell::store::migrate(&place.config, false).await.unwrap();
    let (one, two) = (open(&place.config).await.unwrap(), open(&place.config).await.unwrap());
    tell(&one, "acme", 0..2).await;
    let (outbox, broker) = (one.outbox(), Broker::holding());
    let sink = broker.clone();
    let first = tokio::spawn(async move { outbox.drain(Audit, &sink).await });
    until("the first record", SOON, async || (broker.log().len() == 1).then_some(())).await;
    let other = Broker::default();
    assert_eq!(two.outbox().drain(Audit, &other).await.unwrap(), 0);
    first.abort();
    until("the other's turn", SOON, async || (two.outbox().drain(Audit, &other).await.unwrap() == 2).then_some(()))
        .await;
    assert_eq!(first_seen(&other.log())["acme"], [0, 1]);
}
