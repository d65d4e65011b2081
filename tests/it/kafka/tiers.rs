//! Delay tiers on a real broker; their exact times belong to the gate's own tests.
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use watchbell::delivery::{Tier, Urgency};
use watchbell::event::NotificationType;
use watchbell::kafka::headers;
use watchbell::seam::Feed;

use super::{Member, config, finish};
use crate::support::kafka::{Producer, Record, committed, create_topics};
use crate::support::services::{shared_kafka, unique};
use crate::support::{SOON, eventually};

const TIER: Feed = Feed::Job(Urgency::Urgent, Tier::S10);
const OTP: Feed = Feed::Event(NotificationType::OtpReceived);

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn produce(kafka: &str, topic: &str, count: usize, not_before: i64, deadline: impl Fn(usize) -> i64) {
    let producer = Producer::new(kafka);
    for n in 0..count {
        producer.send(&Record {
            topic: topic.to_owned(),
            key: Some(format!("key-{n}").into_bytes()),
            payload: Some(n.to_string().into_bytes()),
            headers: vec![
                (headers::NOT_BEFORE.into(), not_before.to_string().into_bytes()),
                (headers::DEADLINE.into(), deadline(n).to_string().into_bytes()),
            ],
            ..Record::default()
        });
    }
    producer.flush();
}

#[test]
fn a_tier_holds_until_due_and_spreads() {
    // No record comes before its time; those that fall due together come spread, the earliest deadline first, and fresh events of
    // the same group do not wait behind them.
    let (kafka, tier, fresh) = (shared_kafka(), unique("tier"), unique("fresh"));
    create_topics(&kafka, &[(&tier, 1), (&fresh, 1)]);
    let member = Member::join(&config(&kafka, &unique("group")), &[(&tier, TIER, 1000), (&fresh, OTP, 10)]);
    member.wait_partitions(2);
    let not_before = now() + 4_000;
    produce(&kafka, &tier, 200, not_before, |n| not_before + 600_000 - n as i64);
    let producer = Producer::new(&kafka);
    producer.send_to(&fresh, "key", "fresh");
    producer.flush();

    let (mut arrivals, mut fresh_came) = (Vec::new(), false);
    eventually("200 held records", SOON, || {
        for record in member.take() {
            if record.feed == OTP {
                assert!(arrivals.is_empty(), "a fresh event waited behind held jobs");
                fresh_came = true;
            } else {
                assert!(now() >= not_before, "{} ms too early", not_before - now());
                let n: i64 = std::str::from_utf8(record.payload.as_ref().unwrap()).unwrap().parse().unwrap();
                arrivals.push((now(), n));
            }
            finish(record);
        }
        (arrivals.len() == 200).then_some(())
    });
    assert!(fresh_came);
    let order: Vec<i64> = arrivals.iter().map(|(_, n)| *n).collect();
    assert_eq!(order, (0..200).rev().collect::<Vec<_>>(), "the earliest deadline goes first");
    // A fifth of ten seconds, less one interval; how much later it may be is this machine's affair.
    let spread = arrivals.last().unwrap().0 - arrivals[0].0;
    assert!(spread >= 1_800, "200 records that fell due together came within {spread} ms");
}

#[test]
fn held_records_go_back_with_their_partition() {
    // A member that leaves gives back what it holds unread: the next one gets everything that was not finished, each once.
    let (kafka, tier) = (shared_kafka(), unique("tier"));
    create_topics(&kafka, &[(&tier, 1)]);
    let config = config(&kafka, &unique("group"));
    let not_before = now() + 3_000;
    produce(&kafka, &tier, 100, not_before, |_| not_before + 600_000);
    let member = Member::join(&config, &[(&tier, TIER, 1000)]);
    eventually("a held head", SOON, || {
        member.handle.view().partitions.iter().any(|partition| partition.in_flight == 1).then_some(())
    });
    // It holds the head now; it leaves at once, because nothing of it is with the flow.
    member.leave(Duration::from_secs(3600));
    assert!(committed(&kafka, &config.group, &tier).get(&0).is_none_or(|(offset, _)| *offset == 0));

    let member = Member::join(&config, &[(&tier, TIER, 1000)]);
    let mut times = BTreeMap::new();
    for record in member.take_count(100) {
        *times.entry(record.offset).or_insert(0) += 1;
        finish(record);
    }
    assert!(times.len() == 100 && times.values().all(|times| *times == 1), "{times:?}");
}
