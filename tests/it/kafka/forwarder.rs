//! What the forwarder writes, as others read it.
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use watchbell::delivery::{
    Ending, JobId, Origin, OutcomeRecord, PushJob, PushKind, Reason, Subject, Tier, Withdrawal, codec,
};
use watchbell::event::{DeviceId, EventId, Headers, NotificationType, Timestamp, UserId, WorkspaceId, wire};
use watchbell::kafka::admin::{Admin, NewTopics};
use watchbell::kafka::client::Clients;
use watchbell::kafka::config::TopicsConfig;
use watchbell::kafka::forwarder::KafkaForwarder;
use watchbell::kafka::headers;
use watchbell::seam::{
    Feed, Forward, Forwarder, Group, OutboxRecord, OutboxSink as _, OutboxTopic, RawRecord, Settlement,
};

use super::{config, topics};
use crate::support::kafka::{Reader, create_topics};
use crate::support::services::{shared_kafka, unique};
use crate::support::{SOON, block_on, eventually};

const KIND: NotificationType = NotificationType::IdentityVerification;

pub fn job() -> PushJob {
    let withdrawal = Withdrawal {
        workspace: WorkspaceId::new("acme").unwrap(),
        kind: KIND,
        event: EventId::new("e-1").unwrap(),
        occurred_at: Timestamp(1_800_000_000_000),
        until: Timestamp(1_800_000_600_000),
    };
    PushJob {
        kind: PushKind::Withdraw,
        subject: Subject::Withdrawal(Arc::new(withdrawal)),
        user: UserId::new("user-1").unwrap(),
        device: DeviceId::new("device-1").unwrap(),
        attempts: 4,
        first_seen: Timestamp(1_800_000_000_456),
        origin: Origin { topic: "identity-verification".into(), partition: 1, offset: 7 },
        last_reason: "InternalServerError".into(),
        maybe_shown: false,
        wait_until: None,
        traceparent: None,
    }
}

pub fn letter() -> RawRecord {
    let mut headers = Headers::new();
    headers.push("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    RawRecord {
        origin: Origin { topic: "otp-received".into(), partition: 3, offset: 70_000 },
        feed: Feed::Event(NotificationType::OtpReceived),
        key: Some(Bytes::from_static(b"user-1")),
        payload: Some(Bytes::from_static(b"\xff\x00not an event")),
        headers,
        timestamp: Some(Timestamp(1_800_000_000_123)),
        first_seen: Timestamp(1_800_000_000_456),
    }
}

fn outcome<'a>(user: &'a str, ending: &'a Ending) -> OutcomeRecord<'a> {
    OutcomeRecord {
        job: JobId::from_bytes([7; 16]),
        workspace: "acme",
        kind: KIND,
        event: "e-1",
        user,
        device: "device-1",
        ending,
        attempts: 1,
        latency: Duration::from_millis(3),
        ended_at: Timestamp(1_800_000_000_999),
        workspace_version: 1,
        user_version: 2,
        withdrawal: false,
        notice: None,
        traceparent: None,
    }
}

/// Waits until everything that was published on this settlement is acknowledged.
fn settle(settlement: &Settlement) {
    block_on(async { tokio::time::timeout(SOON, settlement.settled()).await }).expect("all acknowledged");
}

fn start(kafka: &str) -> (Clients, TopicsConfig, KafkaForwarder) {
    let clients = Clients::new(config(kafka, &unique("group"))).unwrap();
    let topics = topics(&unique("forwarder"));
    let new = NewTopics { partitions: 2, replication: 1, with_upstreams: true };
    block_on(Admin::new(&clients, &topics, ["apns.main"]).create(&new)).unwrap();
    let forwarder = KafkaForwarder::start(&clients, &topics).unwrap();
    (clients, topics, forwarder)
}

#[test]
fn each_forward_goes_to_its_topic() {
    // Outcomes, tiers, hold and dead letters are acknowledged by the broker, each once, keyed and in the topic where its reader looks.
    let kafka = shared_kafka();
    let (clients, topics, forwarder) = start(&kafka);
    let settlement = Settlement::waiting();
    let ending = Ending::Suppressed(Reason::known("muted_by_user"));
    forwarder.outcome(&outcome("user-1", &ending), &settlement);
    let not_before = Timestamp(1_800_000_010_000);
    for tier in Tier::ALL {
        forwarder.publish(Forward::Job { tier, not_before, job: Box::new(job()) }, &settlement);
    }
    forwarder.publish(Forward::Hold { credential: "apns.main".into(), job: Box::new(job()) }, &settlement);
    let reason = Reason::known("not_protobuf");
    for feed in [letter().feed, Feed::Decision] {
        let letter = Box::new(RawRecord { feed, ..letter() });
        let dead = Forward::DeadRecord { letter, reason: reason.clone(), explanation: "why".into() };
        forwarder.publish(dead, &settlement);
    }
    for group in [Group::Events, Group::Jobs] {
        let dead = Forward::DeadJob { job: Box::new(job()), reason: reason.clone(), group };
        forwarder.publish(dead, &settlement);
    }
    settle(&settlement);
    // The client counts a record as its own until the report of it was read to its end.
    assert!(forwarder.flush(Instant::now() + SOON), "an acknowledged forward is still in flight");
    assert_eq!(forwarder.view().acknowledged, 11);

    let tiers: Vec<String> = Tier::ALL.map(|tier| topics.job(watchbell::delivery::Urgency::Urgent, tier)).into();
    let hold = topics.hold("apns.main");
    let mut all: Vec<&str> = vec![&topics.outcomes, &hold, &topics.dlq];
    all.extend(tiers.iter().map(String::as_str));
    let mut reader = Reader::from_beginning(&kafka, &all);
    reader.until_count(11, SOON);
    let records = reader.up_to_the_end();
    assert_eq!(records.len(), 11);
    assert!(records.iter().all(|record| record.key.as_deref() == Some(b"user-1")));
    for tier in &tiers {
        let read: Vec<_> = records.iter().filter(|record| record.topic == *tier).collect();
        assert_eq!(read.len(), 1, "{tier}");
        assert_eq!(codec::decode_job(read[0].payload.as_ref().unwrap()), Ok(job()));
        assert_eq!(read[0].header(headers::NOT_BEFORE).as_deref(), Some("1800000010000"));
        assert_eq!(read[0].header(headers::DEADLINE).as_deref(), Some("1800000600000"));
    }
    let of = |topic: &str| records.iter().filter(|record| record.topic == topic).collect::<Vec<_>>();
    assert_eq!(of(&hold).len(), 1);
    let read = wire::Outcome::decode(&**of(&topics.outcomes)[0].payload.as_ref().unwrap()).unwrap();
    assert_eq!((read.reason.as_str(), read.user_id.as_str()), ("muted_by_user", "user-1"));
    let letters = of(&topics.dlq);
    let record = letters.iter().find(|letter| letter.header(headers::KIND).as_deref() == Some("record")).unwrap();
    assert_eq!(record.payload.as_deref(), letter().payload.as_deref(), "byte for byte");
    assert!(record.header("traceparent").is_some());
    let dead = letters.iter().find(|letter| letter.header(headers::KIND).as_deref() == Some("job")).unwrap();
    assert_eq!(codec::decode_job(dead.payload.as_ref().unwrap()), Ok(job()));
    // Each names the group that read it.
    let (kafka, header) = (clients.config(), "kafka_dlt-original-consumer-group");
    let mut groups: Vec<_> = letters.iter().map(|letter| letter.header(header).unwrap()).collect();
    let mut expected = [kafka.group.clone(), kafka.group.clone(), kafka.jobs_group(), kafka.withdraw_group()];
    groups.sort();
    expected.sort();
    assert_eq!(groups, expected);
    forwarder.close();
}

#[test]
fn what_the_broker_refuses_is_written_again() {
    // A forward whose topic is missing is given back by librdkafka, kept, and written when the topic is there; its settlement waits.
    let kafka = shared_kafka();
    let mut config = config(&kafka, &unique("group"));
    // How long librdkafka believes that a missing topic is only new.
    config.properties.set("topic.metadata.propagation.max.ms", "500");
    config.properties.set("topic.metadata.refresh.interval.ms", "500");
    let topics = topics(&unique("late"));
    let forwarder = KafkaForwarder::start(&Clients::new(config).unwrap(), &topics).unwrap();
    let settlement = Settlement::waiting();
    for n in 0..10 {
        forwarder.outcome(&outcome(&format!("user-{n}"), &Ending::Accepted), &settlement);
    }
    eventually("records given back", SOON, || (forwarder.view().given_back >= 10).then_some(()));
    assert_eq!(forwarder.view().acknowledged, 0);
    assert!(!forwarder.flush(Instant::now() + Duration::from_millis(50)));
    create_topics(&kafka, &[(&topics.outcomes, 1)]);
    settle(&settlement);
    let mut reader = Reader::from_beginning(&kafka, &[&topics.outcomes]);
    reader.until_count(10, SOON);
    assert_eq!(reader.up_to_the_end().len(), 10);
}

#[test]
fn a_java_consumer_prints_our_dead_letters() {
    // Kafka's own console consumer, as a Java team would run it, shows a dead letter's headers and bytes.
    let kafka = shared_kafka();
    let (_clients, topics, forwarder) = start(&kafka);
    let settlement = Settlement::waiting();
    let (letter, reason) = (Box::new(letter()), Reason::known("not_protobuf"));
    forwarder.publish(Forward::DeadRecord { letter, reason, explanation: "the value is no event".into() }, &settlement);
    settle(&settlement);
    let home = std::env::var("WATCHBELL_TEST_KAFKA_HOME").unwrap();
    let output = std::process::Command::new("java")
        .args(["-Xmx128m", "-cp", &format!("{home}/lib/*"), "org.apache.kafka.tools.consumer.ConsoleConsumer"])
        .args(["--bootstrap-server", &kafka, "--topic", &topics.dlq, "--from-beginning", "--max-messages", "1"])
        .args(["--timeout-ms", "60000", "--property", "print.headers=true", "--property", "print.key=true"])
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let wanted = [
        "traceparent:00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "watchbell-kind:record",
        "watchbell-reason:not_protobuf",
        "watchbell-origin-offset:70000",
        "kafka_dlt-original-topic:otp-received",
        "kafka_dlt-exception-message:the value is no event",
        "__connect.errors.partition:3",
        "\tuser-1\t",
    ];
    for part in wanted {
        assert!(printed.contains(part), "{part} is not in: {printed}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_producer_beyond_repair_is_replaced() {
    // An idempotent producer that meets a fatal error can write nothing any more; another one takes its place and writes what it held.
    let mock = MockCluster::new(1).unwrap();
    let topics = topics("fatal");
    mock.create_topic(&topics.outcomes, 1, 1).unwrap();
    let config = config(&mock.bootstrap_servers(), "group");
    let forwarder = KafkaForwarder::start(&Clients::new(config).unwrap(), &topics).unwrap();
    let settlement = Settlement::waiting();
    forwarder.outcome(&outcome("user-0", &Ending::Accepted), &settlement);
    eventually("the first acknowledgement", SOON, || (forwarder.view().acknowledged == 1).then_some(()));
    mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    for n in 1..=20 {
        forwarder.outcome(&outcome(&format!("user-{n}"), &Ending::Accepted), &settlement);
    }
    settle(&settlement);
    let view = forwarder.view();
    assert_eq!((view.acknowledged, view.replaced), (21, 1), "{view:?}");
}

#[test]
fn what_the_outbox_holds_goes_to_its_topic() {
    // Key, value and headers arrive as they were put in, a record without a key too, and the acknowledgement is told. A job has the headers
    // that it would have from a worker.
    let kafka = shared_kafka();
    let (_clients, topics, forwarder) = start(&kafka);
    let settlement = Settlement::waiting();
    let record = |topic, key: Option<&str>, payload: &[u8]| OutboxRecord {
        topic,
        key: key.map(|key| key.as_bytes().to_vec()),
        payload: payload.to_vec(),
        headers: vec![("traceparent".to_owned(), "00-1-2-01".to_owned())],
    };
    let mut waiting = Vec::new();
    codec::encode_job(&job(), &mut waiting);
    let now = topics.job(watchbell::delivery::Urgency::Urgent, Tier::Now);
    let rows = [
        (&topics.audit, record(OutboxTopic::Audit, Some("acme"), &[0, 1, 255])),
        (&topics.decisions, record(OutboxTopic::Decisions, None, &[0, 1, 255])),
        (&topics.outcomes, record(OutboxTopic::Outcomes, Some("user-1"), &[2])),
        (&topics.redrive, record(OutboxTopic::Redrive, Some("user-1"), &[3])),
        (&now, record(OutboxTopic::Jobs, Some("user-1"), &waiting)),
        (&now, record(OutboxTopic::Jobs, Some("user-2"), b"of a newer version")),
    ];
    rows.iter().for_each(|(_, record)| forwarder.write(record, &settlement));
    settle(&settlement);
    let all: Vec<&str> = rows.iter().map(|(topic, _)| topic.as_str()).collect();
    let mut reader = Reader::from_beginning(&kafka, &all[..5]);
    let read = reader.until_count(rows.len(), SOON).to_vec();
    assert_eq!(read.len(), rows.len());
    for (topic, put) in &rows {
        let found = read.iter().find(|read| read.topic == **topic && read.payload.as_ref() == Some(&put.payload));
        let found = found.unwrap_or_else(|| panic!("{topic} has no {put:?}"));
        assert_eq!(found.key, put.key);
        if put.payload == waiting {
            let of = |name| found.header(name);
            assert_eq!(
                (of(headers::KIND).as_deref(), of(headers::NOT_BEFORE).as_deref()),
                (Some("job"), Some("1800000000456"))
            );
            assert_eq!((of(headers::DEADLINE).as_deref(), of("traceparent")), (Some("1800000600000"), None));
        } else {
            assert_eq!(found.header("traceparent").as_deref(), Some("00-1-2-01"), "{topic}");
        }
    }
    forwarder.close();
}
