//! A member alone: order, offsets, budgets.
use std::collections::BTreeMap;
use std::time::Duration;

use watchbell::event::NotificationType;
use watchbell::seam::{Budget, Feed, Settlement};

use super::{Member, PROTOCOLS, config, finish};
use crate::support::kafka::{Producer, Record as Sent, committed, create_topics};
use crate::support::services::{shared_kafka, unique};
use crate::support::{SOON, block_on, eventually};

const OTP: Feed = Feed::Event(NotificationType::OtpReceived);
const SHARING: Feed = Feed::Event(NotificationType::AccountSharing);

fn produce(kafka: &str, topic: &str, count: usize) {
    let producer = Producer::new(kafka);
    (0..count).for_each(|n| producer.send_to(topic, &format!("key-{n}"), format!("value-{n}")));
    producer.flush();
}

#[test]
fn records_come_in_order_and_whole() {
    // Each partition's records come in their order, each once, with key, payload, headers and absent parts as they were.
    let (kafka, topic) = (shared_kafka(), unique("whole"));
    create_topics(&kafka, &[(&topic, 3)]);
    let producer = Producer::new(&kafka);
    let mut sent = BTreeMap::new();
    for n in 0..1000 {
        let record = Sent {
            topic: topic.clone(),
            key: (n % 3 != 0).then(|| format!("key-{}", n % 50).into_bytes()),
            payload: (n % 7 != 0).then(|| vec![n as u8; n % 300]),
            headers: vec![("n".into(), n.to_string().into_bytes()), ("empty".into(), Vec::new())],
            ..Sent::default()
        };
        producer.send(&record);
        sent.insert(n, record);
    }
    producer.flush();

    let member = Member::join(&config(&kafka, &unique("group")), &[(&topic, OTP, 2000)]);
    let records = member.take_count(1000);
    let mut next = BTreeMap::new();
    for record in records {
        let expected = next.entry(record.lease.partition()).or_insert(0);
        assert_eq!(record.offset, *expected, "partition {}", record.lease.partition());
        *expected += 1;
        let n: usize = record.headers.get_str("n").unwrap().parse().unwrap();
        let sent = sent.remove(&n).expect("each record once");
        assert_eq!(record.key.as_deref(), sent.key.as_deref());
        assert_eq!(record.payload.as_deref(), sent.payload.as_deref());
        assert_eq!(record.headers.get("empty").map(|value| value.len()), Some(0));
        assert_eq!(record.feed, OTP);
        finish(record);
    }
    assert!(sent.is_empty());
    member.leave(SOON);
}

#[test]
fn a_restart_repeats_only_what_was_unfinished() {
    // What was finished above an unfinished record is not handed over again after a restart, and an explosion goes on where it was
    // acknowledged; under both group protocols.
    for protocol in PROTOCOLS {
        let (kafka, topic) = (shared_kafka(), unique("restart"));
        create_topics(&kafka, &[(&topic, 1)]);
        produce(&kafka, &topic, 300);
        let mut config = config(&kafka, &unique("group"));
        config.group_protocol = protocol;

        let member = Member::join(&config, &[(&topic, OTP, 1000)]);
        let mut kept = Vec::new();
        for record in member.take_count(300) {
            if [10, 50, 200].contains(&record.offset) { kept.push(record) } else { finish(record) }
        }
        let exploded = Settlement::waiting();
        kept[1].lease.progress(50, 128, &exploded);
        block_on(async { tokio::time::timeout(SOON, exploded.settled()).await }).expect("a commit");
        member.leave(Duration::ZERO);
        let committed = committed(&kafka, &config.group, &topic);
        assert_eq!(committed[&0].0, 10);
        assert!(committed[&0].1.is_ascii() && committed[&0].1.len() < 200, "{committed:?}");

        produce(&kafka, &topic, 1);
        let member = Member::join(&config, &[(&topic, OTP, 1000)]);
        let records = member.take_count(4);
        let again: Vec<_> = records.iter().map(|record| (record.offset, record.next_recipient)).collect();
        assert_eq!(again, [(10, 0), (50, 128), (200, 0), (300, 0)]);
        assert_eq!(member.handle.view().skipped, 287);
        records.into_iter().for_each(finish);
        member.leave(SOON);
        let committed = crate::support::kafka::committed(&kafka, &config.group, &topic);
        assert_eq!(committed[&0], (301, String::new()));
    }
}

#[test]
fn progress_is_committed_at_once() {
    // Who explodes a record need not wait for the next routine commit, which here is a minute away.
    let (kafka, topic) = (shared_kafka(), unique("progress"));
    create_topics(&kafka, &[(&topic, 1)]);
    produce(&kafka, &topic, 10);
    let mut config = config(&kafka, &unique("group"));
    config.commit_interval_ms = 60_000;
    let member = Member::join(&config, &[(&topic, OTP, 100)]);
    let records = member.take_count(10);
    for next in [21, 42] {
        let exploded = Settlement::waiting();
        records[3].lease.progress(3, next, &exploded);
        block_on(async { tokio::time::timeout(SOON, exploded.settled()).await }).expect("a commit");
    }
    assert_eq!(member.handle.view().commits, 2);
    assert_eq!(committed(&kafka, &config.group, &topic)[&0].0, 0);
    records.into_iter().for_each(finish);
    member.leave(SOON);
}

#[test]
fn invariant_12_a_budget_bounds_what_is_in_flight_and_loses_nothing() {
    // Never more records in flight than the budget has places; the rest waits in its queue and comes, each once and in order.
    let (kafka, topic) = (shared_kafka(), unique("budget"));
    create_topics(&kafka, &[(&topic, 2)]);
    produce(&kafka, &topic, 2000);
    let member = Member::join(&config(&kafka, &unique("group")), &[(&topic, OTP, 8)]);
    let (mut next, mut total) = (BTreeMap::new(), 0);
    eventually("2000 records", SOON, || {
        let records = member.take();
        assert!(records.len() <= 8, "{} in flight", records.len());
        for record in records {
            let expected = next.entry(record.lease.partition()).or_insert(0);
            assert_eq!(record.offset, *expected);
            *expected += 1;
            total += 1;
            finish(record);
        }
        (total == 2000).then_some(())
    });
    member.leave(SOON);
}

#[test]
fn a_feed_without_room_does_not_hold_up_another() {
    // A backlog that exhausted its own budget leaves other feeds of the same group alone.
    let (kafka, slow, quick) = (shared_kafka(), unique("slow"), unique("quick"));
    create_topics(&kafka, &[(&slow, 2), (&quick, 2)]);
    produce(&kafka, &slow, 5000);
    let member = Member::join(&config(&kafka, &unique("group")), &[(&slow, SHARING, 4), (&quick, OTP, 100)]);
    let stuck = member.take_count(4);
    assert!(stuck.iter().all(|record| record.feed == SHARING));
    produce(&kafka, &quick, 500);
    let mut quick = 0;
    eventually("500 quick records", SOON, || {
        for record in member.take() {
            assert_eq!(record.feed, OTP, "the exhausted feed got a record");
            quick += 1;
            finish(record);
        }
        (quick == 500).then_some(())
    });
    drop(stuck);
}

#[test]
fn a_key_that_floods_takes_its_partitions_part() {
    // Half of the places: the other partition's records come though nothing of the flood ends, and then the flood does, in its order.
    let (kafka, topic) = (shared_kafka(), unique("flood"));
    create_topics(&kafka, &[(&topic, 2)]);
    let producer = Producer::new(&kafka);
    (0..100).for_each(|n| producer.send_to(&topic, "flood", format!("value-{n}")));
    producer.flush();
    let member = Member::join_with(&config(&kafka, &unique("group")), &[(&topic, OTP, Budget::shared(16, 8))]);
    let mut stuck = member.take_count(8);
    let flooded = stuck[0].lease.partition();
    produce(&kafka, &topic, 200);
    let (mut others, mut next) = (0, 0);
    eventually("the other partition's records", SOON, || {
        for record in member.take() {
            assert_ne!(record.lease.partition(), flooded, "more than its part");
            assert_eq!(record.offset, others);
            others += 1;
            finish(record);
        }
        (others >= 20).then_some(())
    });
    eventually("the flood and what is behind it", SOON, || {
        stuck.extend(member.take());
        for record in stuck.drain(..) {
            let next = if record.lease.partition() == flooded { &mut next } else { &mut others };
            assert_eq!(record.offset, *next);
            *next += 1;
            finish(record);
        }
        (next + others == 300).then_some(())
    });
    member.leave(SOON);
}

#[test]
fn invariant_12_a_full_map_of_completed_offsets_back_pressures() {
    // Records that stay unfinished far apart fill the map; then the partition waits, the map still fits into the commit, and when
    // they finish everything comes.
    let (kafka, topic) = (shared_kafka(), unique("full"));
    create_topics(&kafka, &[(&topic, 1)]);
    let count = 30_000;
    produce(&kafka, &topic, count);
    let group = config(&kafka, &unique("group"));
    let member = Member::join(&group, &[(&topic, OTP, 10_000)]);
    let (mut stuck, mut read) = (Vec::new(), 0);
    let take = |read: &mut usize, stuck: &mut Vec<_>| {
        for record in member.take() {
            *read += 1;
            if record.offset % 64 == 0 { stuck.push(record) } else { finish(record) }
        }
    };
    eventually("a full map", SOON, || {
        take(&mut read, &mut stuck);
        member.handle.view().partitions.iter().any(|partition| partition.is_full).then_some(())
    });
    eventually("a commit of the full map", SOON, || {
        take(&mut read, &mut stuck);
        let committed = committed(&kafka, &group.group, &topic);
        let metadata = &committed.get(&0)?.1;
        assert!(metadata.len() <= 4096);
        (metadata.len() > 1000).then_some(())
    });
    assert!(read < count, "all {count} records came in spite of the full map");
    stuck.drain(..).for_each(finish);
    eventually("the rest", SOON, || {
        member.take().into_iter().for_each(|record| {
            read += 1;
            finish(record);
        });
        (read == count).then_some(())
    });
    member.leave(SOON);
    assert_eq!(committed(&kafka, &group.group, &topic)[&0], (count as i64, String::new()));
}
