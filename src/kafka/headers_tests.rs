use std::sync::Arc;

use super::*;
use crate::delivery::{PushKind, Subject, Withdrawal};
use crate::event::{DeviceId, EventId, UserId, WorkspaceId};

fn letter() -> RawRecord {
    let mut headers = Headers::new();
    headers.push("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    headers.push("ce_id", "e-1");
    RawRecord {
        origin: Origin { topic: "otp-received".into(), partition: 3, offset: 70_000 },
        feed: Feed::Event(NotificationType::OtpReceived),
        key: Some(Bytes::from_static(b"user-1")),
        payload: Some(Bytes::from_static(b"\xffnot an event")),
        headers,
        timestamp: Some(Timestamp(1_800_000_000_123)),
        first_seen: Timestamp(1_800_000_000_456),
    }
}

fn job() -> PushJob {
    let until = Timestamp(1_800_000_600_000);
    let withdrawal = Withdrawal {
        workspace: WorkspaceId::new("acme").unwrap(),
        kind: NotificationType::IdentityVerification,
        event: EventId::new("e-1").unwrap(),
        occurred_at: Timestamp(1_800_000_000_000),
        until,
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
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
    }
}

fn shown(headers: &Headers) -> String {
    headers.iter().map(|(name, value)| format!("{name}: {}\n", value.escape_ascii())).collect()
}

/// What a record's dead letter carries is a contract with whoever reads the dead letters.
#[test]
fn a_dead_records_headers() {
    let reason = Reason::known("not_protobuf");
    let headers = of_dead_record(&letter(), &reason, "the value is not a watchbell.v1.Event", "watchbell");
    insta::assert_snapshot!(shown(&headers), @r"
    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
    ce_id: e-1
    watchbell-kind: record
    watchbell-feed: event
    watchbell-type: otp_received
    watchbell-reason: not_protobuf
    watchbell-explanation: the value is not a watchbell.v1.Event
    watchbell-attempts: 1
    watchbell-first-seen: 1800000000456
    watchbell-origin-topic: otp-received
    watchbell-origin-partition: 3
    watchbell-origin-offset: 70000
    kafka_dlt-original-topic: otp-received
    kafka_dlt-original-partition: \x00\x00\x00\x03
    kafka_dlt-original-offset: \x00\x00\x00\x00\x00\x01\x11p
    kafka_dlt-original-timestamp: \x00\x00\x01\xa3\x18\\P{
    kafka_dlt-original-timestamp-type: CreateTime
    kafka_dlt-original-consumer-group: watchbell
    kafka_dlt-exception-fqcn: watchbell.not_protobuf
    kafka_dlt-exception-message: the value is not a watchbell.v1.Event
    kafka_dlt-exception-stacktrace: watchbell.not_protobuf: the value is not a watchbell.v1.Event
    __connect.errors.topic: otp-received
    __connect.errors.partition: 3
    __connect.errors.offset: 70000
    __connect.errors.connector.name: watchbell
    __connect.errors.task.id: 0
    __connect.errors.stage: VALUE_CONVERTER
    __connect.errors.class.name: watchbell
    __connect.errors.exception.class.name: watchbell.not_protobuf
    __connect.errors.exception.message: the value is not a watchbell.v1.Event
    __connect.errors.exception.stacktrace: watchbell.not_protobuf: the value is not a watchbell.v1.Event
    ");
}

/// What a job's dead letter carries is a contract with whoever reads the dead letters.
#[test]
fn a_dead_jobs_headers() {
    insta::assert_snapshot!(shown(&of_dead_job(&job(), &Reason::known("InternalServerError"), "watchbell.jobs")), @r"
    watchbell-kind: job
    watchbell-type: identity_verification
    watchbell-attempts: 4
    watchbell-first-seen: 1800000000456
    watchbell-deadline: 1800000600000
    watchbell-origin-topic: identity-verification
    watchbell-origin-partition: 1
    watchbell-origin-offset: 7
    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
    watchbell-reason: InternalServerError
    watchbell-explanation: the job ended after 4 attempts: InternalServerError
    kafka_dlt-original-topic: identity-verification
    kafka_dlt-original-partition: \x00\x00\x00\x01
    kafka_dlt-original-offset: \x00\x00\x00\x00\x00\x00\x00\x07
    kafka_dlt-original-consumer-group: watchbell.jobs
    kafka_dlt-exception-fqcn: watchbell.InternalServerError
    kafka_dlt-exception-message: the job ended after 4 attempts: InternalServerError
    kafka_dlt-exception-stacktrace: watchbell.InternalServerError: the job ended after 4 attempts: InternalServerError
    __connect.errors.topic: identity-verification
    __connect.errors.partition: 1
    __connect.errors.offset: 7
    __connect.errors.connector.name: watchbell
    __connect.errors.task.id: 0
    __connect.errors.stage: TASK_PUT
    __connect.errors.class.name: watchbell
    __connect.errors.exception.class.name: watchbell.InternalServerError
    __connect.errors.exception.message: the job ended after 4 attempts: InternalServerError
    __connect.errors.exception.stacktrace: watchbell.InternalServerError: the job ended after 4 attempts: InternalServerError
    ");
}

/// A letter that fails again has the same headers as after its first failure, with the new reason and one attempt more.
#[test]
fn a_repeated_failure_replaces() {
    let first = of_dead_record(&letter(), &Reason::known("bad_id"), "first", "watchbell");
    let origin = Origin { topic: "watchbell.redrive".into(), partition: 0, offset: 1 };
    let first_seen = Timestamp(1_900_000_000_000);
    let redriven = RawRecord { headers: first.clone(), feed: Feed::Redrive, origin, first_seen, ..letter() };
    let second = of_dead_record(&redriven, &Reason::known("bad_date"), "second", "watchbell.redrive");
    let names = |headers: &Headers| headers.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&first), names(&second));
    assert_eq!(second.get_str(REASON), Some("bad_date"));
    assert_eq!(super::origin(&second), Some(letter().origin));
    assert_eq!(moment(&second, FIRST_SEEN), Some(letter().first_seen));
    assert_eq!((attempts(&first), attempts(&second)), (Some(1), Some(2)));
    assert_eq!(notification_type(&second), Some(NotificationType::OtpReceived));
    assert_eq!(second.get_str("traceparent"), first.get_str("traceparent"));
    assert_eq!(second.get_str(FEED), Some("event"), "as which it is redriven again");
}

/// What a redrive needs comes back from the headers as it went in: above all the offset, which others have mixed up with the partition.
#[test]
fn round_trip() {
    let headers = of_dead_record(&letter(), &Reason::known("bad_id"), "x", "g");
    assert_eq!(origin(&headers), Some(letter().origin));
    assert_eq!(moment(&headers, FIRST_SEEN), Some(letter().first_seen));
    assert_eq!(LetterKind::of(&headers), Some(LetterKind::Record));
    let spring = |name: &str| headers.get(name).unwrap().to_vec();
    assert_eq!(spring("kafka_dlt-original-partition"), 3i32.to_be_bytes());
    assert_eq!(spring("kafka_dlt-original-offset"), 70_000i64.to_be_bytes());

    let headers = of_job(&job(), Some(Timestamp(5)));
    assert_eq!(LetterKind::of(&headers), Some(LetterKind::Job));
    assert_eq!(moment(&headers, NOT_BEFORE), Some(Timestamp(5)));
    assert_eq!(moment(&headers, DEADLINE), Some(job().subject.expires_at()));
    assert_eq!(attempts(&headers), Some(4));
    let postponed = of_postponed(&headers, Timestamp(9), Timestamp(10));
    assert_eq!(moment(&postponed, NOT_BEFORE), Some(Timestamp(9)));
    assert_eq!(postponed.iter().count(), headers.iter().count());
}

/// A long explanation is cut at a character, so that the headers never outgrow their room.
#[test]
fn explanations_are_bounded() {
    let long = "é".repeat(5_000);
    let headers = of_dead_record(&letter(), &Reason::known("bad_id"), &long, "g");
    assert_eq!(headers.get_str(EXPLANATION).unwrap().len(), EXPLANATION_BYTES_MAX);
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes < 16 * 1024, "{bytes} bytes of headers");
}
