//! The Kafka adapters while their broker is away.
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use watchbell::delivery::{Ending, JobId, OutcomeRecord};
use watchbell::event::{NotificationType, Timestamp};
use watchbell::kafka::client::Clients;
use watchbell::kafka::forwarder::KafkaForwarder;
use watchbell::seam::{Feed, Forwarder, LeaseState, Settlement};

use crate::member::{Member, config, finish, topics};
use crate::support::kafka::{Producer, Reader, create_topics};
use crate::support::services::{Broker, unique};
use crate::support::{SOON, block_on, eventually};

const OTP: Feed = Feed::Event(NotificationType::OtpReceived);
const LONG: Duration = Duration::from_secs(60);

fn outcome(forwarder: &KafkaForwarder, user: &str, settlement: &std::sync::Arc<Settlement>) {
    let outcome = OutcomeRecord {
        job: JobId::from_bytes([7; 16]),
        workspace: "acme",
        kind: NotificationType::OtpReceived,
        event: "e-1",
        user,
        device: "device-1",
        ending: &Ending::Accepted,
        attempts: 1,
        latency: Duration::from_millis(3),
        ended_at: Timestamp(1_800_000_000_999),
        workspace_version: 1,
        user_version: 2,
        withdrawal: false,
        notice: None,
        traceparent: None,
    };
    forwarder.outcome(&outcome, settlement);
}

#[test]
fn invariant_02_forwards_survive_a_broker_that_goes_and_comes() {
    // Everything published before, while and after the broker is away is acknowledged in the end, each once; nothing is told to be
    // acknowledged while it is not.
    let mut broker = Broker::start();
    let topics = topics("faults");
    create_topics(&broker.address(), &[(&topics.outcomes, 3)]);
    let forwarder = KafkaForwarder::start(&Clients::new(config(&broker.address(), "group")).unwrap(), &topics).unwrap();
    let settlement = Settlement::waiting();
    let mut sent = 0;
    let mut publish = |count: usize| {
        for _ in 0..count {
            outcome(&forwarder, &format!("user-{sent}"), &settlement);
            sent += 1;
        }
    };
    publish(500);
    eventually("the first acknowledgements", SOON, || (forwarder.view().acknowledged > 0).then_some(()));
    publish(500);
    broker.kill();
    publish(1000);
    assert!(!forwarder.flush(Instant::now() + Duration::from_secs(2)), "acknowledged without a broker");
    assert!(forwarder.view().acknowledged < 2000);
    broker.start_again();
    publish(500);
    block_on(async { tokio::time::timeout(LONG, settlement.settled()).await }).expect("all acknowledged");
    assert_eq!(forwarder.view().acknowledged, 2500);

    let mut reader = Reader::from_beginning(&broker.address(), &[&topics.outcomes]);
    reader.until_count(2500, LONG);
    let records = reader.up_to_the_end();
    let users: BTreeSet<_> = records.iter().map(|record| record.key.clone().unwrap()).collect();
    assert_eq!((records.len(), users.len()), (2500, 2500), "each once");
    forwarder.close();
}

#[test]
fn invariant_09_a_lost_partition_is_fenced_and_comes_again() {
    // When the group could not be reached for a session, somebody else may own the partitions: leases are fenced without a commit. When
    // the partitions come back, nothing is taken from them while something is in flight under the old leases; what was finished under
    // those, though never committed, is not handed over again, and everything else is.
    let broker = Broker::start();
    let topic = unique("lost");
    create_topics(&broker.address(), &[(&topic, 2)]);
    let producer = Producer::new(&broker.address());
    (0..80).for_each(|n| producer.send_to(&topic, &format!("key-{n}"), "value"));
    producer.flush();
    let mut config = config(&broker.address(), "group");
    // The test speaks of waiting, not of this machine's speed.
    config.revoke_drain_ms = 30_000;
    let member = Member::join(&config, &[(&topic, OTP, 200)]);
    let (committed, records): (Vec<_>, Vec<_>) =
        member.take_count(80).into_iter().partition(|record| record.offset < 5);
    committed.into_iter().for_each(finish);
    let sum = || {
        let committed = crate::support::kafka::committed(&broker.address(), "group", &topic);
        committed.values().map(|(offset, _)| *offset).sum::<i64>()
    };
    eventually("the first commits", SOON, || (sum() == 10).then_some(()));

    broker.freeze();
    let (finished, records): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| record.offset < 10);
    finished.into_iter().for_each(finish);
    eventually("a fence", LONG, || {
        records.iter().all(|record| record.lease.state() == LeaseState::Fenced).then_some(())
    });
    assert_eq!(member.handle.view().lost, 2);
    broker.thaw();
    eventually("both partitions, read up to their commits", LONG, || {
        let partitions = member.handle.view().partitions;
        (partitions.len() == 2 && partitions.iter().all(|partition| partition.lag.is_some())).then_some(())
    });
    assert!(member.take().is_empty(), "something came while the lost leases had records in flight");
    let (late, unfinished): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| record.offset < 15);
    late.into_iter().for_each(finish);
    let wanted: BTreeSet<_> = unfinished.iter().map(|record| (record.lease.partition(), record.offset)).collect();
    assert!(wanted.len() > 20, "too few are left to show anything");
    unfinished.into_iter().for_each(|record| record.lease.abandon(record.offset));
    let again = member.take_count(wanted.len());
    assert!(again.iter().all(|record| record.lease.state() == LeaseState::Owned));
    assert_eq!(again.iter().map(|record| (record.lease.partition(), record.offset)).collect::<BTreeSet<_>>(), wanted);
    assert_eq!(again.len(), wanted.len(), "each once");
    again.into_iter().for_each(finish);
    member.leave(SOON);
    assert_eq!(sum(), 80);
}

#[test]
fn a_member_goes_on_when_its_broker_comes_back() {
    // A broker's restart costs no record and no order; the member comes back by itself, commits and goes on.
    let mut broker = Broker::start();
    let topic = unique("restart");
    create_topics(&broker.address(), &[(&topic, 1)]);
    let group = config(&broker.address(), "group");
    let member = Member::join(&group, &[(&topic, OTP, 100)]);
    let producer = Producer::new(&broker.address());
    let mut next = 0;
    for round in 0..3 {
        (0..50).for_each(|n| producer.send_to(&topic, &format!("key-{n}"), round.to_string()));
        producer.flush();
        eventually("the round's records", LONG, || {
            for record in member.take() {
                // A record may come again after a restart (it was not committed yet), never too late.
                assert!(record.offset <= next, "{next} was skipped for {}", record.offset);
                next = next.max(record.offset + 1);
                finish(record);
            }
            (next == 50 * (round + 1)).then_some(())
        });
        if round < 2 {
            broker.kill();
            broker.start_again();
        }
    }
    eventually("commits that succeed", LONG, || {
        let committed = crate::support::kafka::committed(&broker.address(), "group", &topic);
        (committed.get(&0)?.0 == 150 && member.handle.view().commits_failing_for.is_none()).then_some(())
    });
    member.leave(SOON);
}

#[test]
fn progress_waits_for_a_broker_that_is_away() {
    // What was exploded counts as committed when the broker has it, however long that takes; while the lease is ours nothing else ends
    // the wait.
    let mut broker = Broker::start();
    let topic = unique("progress");
    create_topics(&broker.address(), &[(&topic, 1)]);
    let mut group = config(&broker.address(), "group");
    // Longer than the broker is away: the lease stays ours.
    group.session_timeout_ms = 60_000;
    let producer = Producer::new(&broker.address());
    producer.send_to(&topic, "key", "value");
    producer.flush();
    let member = Member::join(&group, &[(&topic, OTP, 100)]);
    let record = member.take_count(1).remove(0);
    broker.kill();
    let committed = Settlement::waiting();
    record.lease.progress(record.offset, 21, &committed);
    block_on(async {
        let mut settled = std::pin::pin!(committed.settled());
        assert!(futures_util::poll!(&mut settled).is_pending());
        broker.start_again();
        tokio::time::timeout(LONG, settled).await.expect("a commit");
    });
    assert_eq!(record.lease.state(), LeaseState::Owned);
    let (offset, map) = crate::support::kafka::committed(&broker.address(), "group", &topic)[&0].clone();
    assert_eq!(offset, 0);
    assert!(!map.is_empty(), "the progress stands in the commit's map");
    finish(record);
    member.leave(SOON);
}
