//! Several members of one group: what moves, drains first; what moved, is neither lost nor repeated.
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use watchbell::event::NotificationType;
use watchbell::kafka::config::{GroupProtocol, KafkaConfig};
use watchbell::seam::{Feed, LeaseState, Record};

use super::{Member, PROTOCOLS, config, finish};
use crate::support::kafka::{Producer, committed, create_topics};
use crate::support::services::{shared_kafka, unique};
use crate::support::{SOON, eventually};

const OTP: Feed = Feed::Event(NotificationType::OtpReceived);
const LONG: Duration = Duration::from_secs(60);

fn group(kafka: &str, protocol: GroupProtocol) -> KafkaConfig {
    let mut config = config(kafka, &unique("group"));
    config.group_protocol = protocol;
    config
}

/// One record for each partition, found by producing until each has one more than before.
fn produce_to_each(kafka: &str, topic: &str, keys: &[String]) {
    let producer = Producer::new(kafka);
    keys.iter().for_each(|key| producer.send_to(topic, key, "value"));
    producer.flush();
}

/// Keys of which each partition of a topic gets at least one.
fn many_keys() -> Vec<String> {
    (0..64).map(|n| format!("key-{n}")).collect()
}

#[test]
fn invariant_09_rebalances_under_load_repeat_and_lose_nothing() {
    // While members come and go, every record is handed over exactly once and each partition keeps its order: a partition moves only
    // after what was begun has ended and was committed.
    for protocol in PROTOCOLS {
        let (kafka, topic) = (shared_kafka(), unique("storm"));
        create_topics(&kafka, &[(&topic, 6)]);
        let mut config = group(&kafka, protocol);
        // The test speaks of draining, not of this machine's speed.
        config.revoke_drain_ms = 20_000;
        let ledger: Mutex<BTreeMap<i32, Vec<i64>>> = Mutex::default();
        let (stop, produced) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let work = |member: Member, leave: &'static AtomicBool| {
                let (ledger, stop) = (&ledger, &stop);
                scope.spawn(move || {
                    while !leave.load(Ordering::Acquire) && !stop.load(Ordering::Acquire) {
                        for record in member.take() {
                            assert_ne!(record.lease.state(), LeaseState::Fenced, "handed over too late");
                            let mut ledger = ledger.lock().unwrap();
                            ledger.entry(record.lease.partition()).or_default().push(record.offset);
                            drop(ledger);
                            finish(record);
                        }
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    // Leaving drains: what was read and not worked on is given up, and read again by the next owner.
                    for record in member.take() {
                        record.lease.abandon(record.offset);
                    }
                    member.leave(Duration::ZERO);
                })
            };
            scope.spawn(|| {
                let producer = Producer::new(&kafka);
                while !stop.load(Ordering::Acquire) && produced.load(Ordering::Relaxed) < 20_000 {
                    for _ in 0..5 {
                        let n = produced.fetch_add(1, Ordering::Relaxed);
                        producer.send_to(&topic, &format!("key-{n}"), "value");
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                producer.flush();
            });
            let never: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
            let second_leaves: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
            let topics = [(topic.as_str(), OTP, 500)];
            let owned = |handle: &watchbell::kafka::source::SourceHandle, count: usize| {
                eventually(&format!("{count} partitions"), LONG, || {
                    (handle.view().partitions.len() == count).then_some(())
                });
            };
            let first = Member::join(&config, &topics);
            let first_handle = first.handle.clone();
            work(first, never);
            owned(&first_handle, 6);
            work(Member::join(&config, &topics), second_leaves);
            owned(&first_handle, 3);
            let third = Member::join(&config, &topics);
            let third_handle = third.handle.clone();
            work(third, never);
            owned(&third_handle, 2);
            second_leaves.store(true, Ordering::Release);
            owned(&third_handle, 3);
            // Everything that is produced by now arrives.
            let so_far = produced.load(Ordering::Relaxed);
            eventually("the records produced so far", LONG, || {
                (ledger.lock().unwrap().values().map(Vec::len).sum::<usize>() >= so_far).then_some(())
            });
            assert_eq!(first_handle.view().undrained, 0);
            stop.store(true, Ordering::Release);
        });
        for (partition, offsets) in ledger.into_inner().unwrap() {
            let in_order = offsets.iter().copied().eq(0..offsets.len() as i64);
            assert!(in_order, "partition {partition} under {protocol:?}: {offsets:?}");
        }
    }
}

/// Two partitions at `first`, an unfinished record in each; `second` joins. The record whose partition goes, and the other.
fn moving(kafka: &str, config: &KafkaConfig, topic: &str) -> (Member, Member, Record, Record) {
    create_topics(kafka, &[(topic, 2)]);
    let topics = [(topic, OTP, 500)];
    let first = Member::join(config, &topics);
    first.wait_partitions(2);
    produce_to_each(kafka, topic, &many_keys());
    let mut held: BTreeMap<i32, Record> = BTreeMap::new();
    for record in first.take_count(64) {
        if record.offset == 0 { drop(held.insert(record.lease.partition(), record)) } else { finish(record) }
    }
    assert_eq!(held.len(), 2);
    let second = Member::join(config, &topics);
    let goes = eventually("a lease that drains", LONG, || {
        held.iter().find(|(_, record)| record.lease.state() != LeaseState::Owned).map(|(partition, _)| *partition)
    });
    let goes = held.remove(&goes).unwrap();
    let stays = held.pop_first().unwrap().1;
    (first, second, goes, stays)
}

#[test]
fn invariant_09_a_revoked_partition_drains_before_it_moves() {
    // What was begun may end within the drain; it is committed, and the next owner does not get it. The kept partition never notices.
    for protocol in PROTOCOLS {
        let (kafka, topic) = (shared_kafka(), unique("drains"));
        let mut config = group(&kafka, protocol);
        config.revoke_drain_ms = 20_000;
        let (first, second, goes, stays) = moving(&kafka, &config, &topic);
        assert_eq!((goes.lease.state(), stays.lease.state()), (LeaseState::Draining, LeaseState::Owned));
        assert_eq!(second.handle.view().partitions.len(), 0, "the partition moved before it was drained");
        let (lease, partition) = (goes.lease.clone(), goes.lease.partition());
        finish(goes);
        second.wait_partitions(1);
        assert_eq!((lease.state(), stays.lease.state()), (LeaseState::Fenced, LeaseState::Owned));
        let (end, _) = committed(&kafka, &config.group, &topic)[&partition].clone();

        produce_to_each(&kafka, &topic, &many_keys());
        let records = second.take_count(1);
        assert!(records.iter().all(|record| record.lease.partition() == partition));
        assert_eq!(records[0].offset, end, "the new owner begins where the old one ended");
        let still: Vec<_> = first.take_count(1);
        assert!(still.iter().all(|record| record.lease.partition() == stays.lease.partition()));
    }
}

#[test]
fn invariant_09_what_does_not_drain_is_fenced_and_comes_again() {
    // After the drain's time nothing may be sent under the old lease; the record goes to the next owner, and a late ending under
    // the old lease changes nothing for it.
    let (kafka, topic) = (shared_kafka(), unique("fenced"));
    let mut config = group(&kafka, GroupProtocol::Classic);
    config.revoke_drain_ms = 200;
    let (first, second, goes, _stays) = moving(&kafka, &config, &topic);
    eventually("the fence", SOON, || (goes.lease.state() == LeaseState::Fenced).then_some(()));
    let again = second.take_count(1).remove(0);
    assert_eq!((again.offset, again.lease.partition()), (0, goes.lease.partition()));
    assert_eq!(first.handle.view().undrained, 1);
    let partition = goes.lease.partition();
    finish(goes);
    // A commit that comes after the late ending, of the record's own partition, by its new owner.
    produce_to_each(&kafka, &topic, &many_keys());
    second.take_count(1).into_iter().for_each(finish);
    eventually("a commit of the new owner", SOON, || (second.handle.view().commits > 0).then_some(()));
    assert_eq!(committed(&kafka, &config.group, &topic)[&partition].0, 0, "the unfinished record was committed over");
}

#[test]
fn invariant_09_a_partition_that_comes_back_delivers_again() {
    // A partition that was revoked and is assigned again gives its records, as if it had never been away.
    for protocol in PROTOCOLS {
        let (kafka, topic) = (shared_kafka(), unique("back"));
        create_topics(&kafka, &[(&topic, 4)]);
        let config = group(&kafka, protocol);
        let topics = [(topic.as_str(), OTP, 500)];
        let first = Member::join(&config, &topics);
        first.wait_partitions(4);
        for _ in 0..2 {
            let second = Member::join(&config, &topics);
            second.wait_partitions(2);
            first.wait_partitions(2);
            second.leave(SOON);
            first.wait_partitions(4);
            produce_to_each(&kafka, &topic, &many_keys());
            let mut partitions = BTreeMap::new();
            for record in first.take_count(64) {
                *partitions.entry(record.lease.partition()).or_insert(0) += 1;
                finish(record);
            }
            assert_eq!(partitions.len(), 4, "{partitions:?}");
        }
    }
}
