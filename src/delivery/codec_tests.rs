use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::delivery::{JobId, Reason};

fn notice() -> Notice {
    let at = Timestamp(1_800_000_000_123);
    Notice {
        workspace: WorkspaceId::new("w").unwrap(),
        kind: NotificationType::TrustedDevice,
        id: EventId::new("n").unwrap(),
        what: SystemNotice::Reset,
        occurred_at: at,
        until: at.plus(Duration::from_secs(60)),
    }
}

fn job(kind: PushKind) -> PushJob {
    let at = Timestamp(1_800_000_000_123);
    let (workspace, event) = (WorkspaceId::new("w").unwrap(), EventId::new("e").unwrap());
    let user = UserId::new("u").unwrap();
    let subject = match kind {
        PushKind::Show => Subject::Event(Arc::new(Event {
            id: event,
            workspace,
            recipients: vec![user.clone()],
            occurred_at: at,
            expires_at: at.plus(Duration::from_secs(60)),
            number_required: true,
            test: false,
            body: Body::TrustedDevice {
                device_name: "Pixel 8".into(),
                browser: "Firefox".into(),
                operating_system: "Linux".into(),
                new_location: true,
            },
        })),
        PushKind::Withdraw => Subject::Withdrawal(Arc::new(Withdrawal {
            workspace,
            kind: NotificationType::TrustedDevice,
            event,
            occurred_at: at,
            until: at.plus(Duration::from_secs(60)),
        })),
        PushKind::Notice => Subject::Notice(Arc::new(notice())),
    };
    PushJob {
        kind,
        subject,
        user,
        device: DeviceId::new("d").unwrap(),
        attempts: 3,
        first_seen: at,
        origin: Origin { topic: "trusted-device".into(), partition: 4, offset: 5 },
        last_reason: "ServiceUnavailable".into(),
        maybe_shown: true,
        wait_until: Some(at.plus(Duration::from_secs(30))),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
    }
}

/// A job that was written is read back as it was, milliseconds included.
#[test]
fn job_round_trip() {
    for kind in [PushKind::Show, PushKind::Withdraw, PushKind::Notice] {
        let mut bytes = Vec::new();
        encode_job(&job(kind), &mut bytes);
        assert_eq!(decode_job(&bytes), Ok(job(kind)));
    }
}

/// A job of a newer schema is told apart from bytes that are no job, and is known by its ids as far as they can be read.
#[test]
fn newer_schema() {
    let mut bytes = Vec::new();
    encode_job(&job(PushKind::Show), &mut bytes);
    let mut newer = wire::PushJob::decode(&*bytes).unwrap();
    newer.schema = JOB_SCHEMA + 1;
    newer.body = None;
    let expected = Timestamp(1_800_000_060_123);
    let read = |job: &wire::PushJob| match decode_job(&job.encode_to_vec()) {
        Err(JobError::Newer { schema, expires_at, named }) if (schema, expires_at) == (JOB_SCHEMA + 1, expected) => {
            named.map(|named| named.id())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(read(&newer), Some(job(PushKind::Show).id()));
    newer.kind = wire::PushKind::Withdraw.into();
    assert_eq!(read(&newer), Some(job(PushKind::Withdraw).id()));
    newer.kind = 77;
    assert_eq!(read(&newer), None);
    assert!(matches!(decode_job(b""), Err(JobError::Malformed(_))));
    assert!(matches!(decode_job(b"\xff"), Err(JobError::Malformed(_))));
}

/// Outcomes are written by hand for speed; the generated code reads every field of them.
#[test]
fn outcome_matches_the_generated_code() {
    let ending = Ending::Expired(Reason::known("deadline"));
    let outcome = OutcomeRecord {
        job: JobId::from_bytes([7; 16]),
        workspace: "w",
        kind: NotificationType::OtpReceived,
        event: "e",
        user: "u",
        device: "d",
        ending: &ending,
        attempts: 2,
        latency: Duration::from_micros(1_234_567),
        ended_at: Timestamp(1_800_000_000_123),
        workspace_version: 8,
        user_version: 9,
        withdrawal: true,
        notice: Some(SystemNotice::NotMe),
        traceparent: None,
    };
    let mut bytes = Vec::new();
    encode_outcome(&outcome, &mut bytes);
    let read = wire::Outcome::decode(&*bytes).unwrap();
    let expected = wire::Outcome {
        job_id: vec![7; 16],
        workspace_id: "w".into(),
        r#type: wire::NotificationType::OtpReceived.into(),
        event_id: "e".into(),
        user_id: "u".into(),
        device_id: "d".into(),
        ending: wire::Ending::Expired.into(),
        reason: "deadline".into(),
        attempts: 2,
        latency_us: 1_234_567,
        ended_at: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 123_000_000 }),
        workspace_version: 8,
        user_version: 9,
        withdrawal: true,
        notice: wire::SystemNotice::NotMe.into(),
        seen_at: None,
    };
    assert_eq!(read, expected);
    assert_eq!(bytes, expected.encode_to_vec());
}

/// Only a notice's job has schema 2, or 4 where it says what the first notices did not, so that a worker that knows no notices lets it wait and does everything else. What the API writes of
/// a notice is a job that was not attempted yet.
#[test]
fn a_notices_schema() {
    for (kind, schema) in [(PushKind::Show, 1), (PushKind::Withdraw, 1), (PushKind::Notice, 2)] {
        let mut bytes = Vec::new();
        encode_job(&job(kind), &mut bytes);
        assert_eq!(wire::PushJob::decode(&*bytes).unwrap().schema, schema);
    }
    for what in SystemNotice::ALL {
        let job = PushJob { subject: Subject::Notice(Arc::new(Notice { what, ..notice() })), ..job(PushKind::Notice) };
        let mut bytes = Vec::new();
        encode_job(&job, &mut bytes);
        let schema = if matches!(what, SystemNotice::Rolled | SystemNotice::Erased) { 4 } else { 2 };
        assert_eq!(wire::PushJob::decode(&*bytes).unwrap().schema, schema, "{what:?}");
        assert_eq!(decode_job(&bytes), Ok(job));
    }
    let mut bytes = Vec::new();
    encode_notice(&notice(), &UserId::new("u").unwrap(), &DeviceId::new("d").unwrap(), &mut bytes);
    let fresh = PushJob {
        attempts: 0,
        origin: Origin::default(),
        last_reason: String::new(),
        maybe_shown: false,
        wait_until: None,
        traceparent: None,
        ..job(PushKind::Notice)
    };
    assert_eq!(decode_job(&bytes), Ok(fresh));
    // What says nothing that this worker knows is no job of this schema, and no event's ending in a newer one.
    let mut unknown = wire::PushJob { notice: 77, ..wire::PushJob::decode(&*bytes).unwrap() };
    assert!(matches!(decode_job(&unknown.encode_to_vec()), Err(JobError::Malformed(_))));
    unknown.schema = JOB_SCHEMA + 1;
    assert!(matches!(decode_job(&unknown.encode_to_vec()), Err(JobError::Newer { named: None, .. })));
}

/// So has a test's: a worker that knows no tests would show it as what it is not.
#[test]
fn a_tests_schema() {
    let show = job(PushKind::Show);
    let Subject::Event(event) = &show.subject else { panic!() };
    let test = PushJob { subject: Subject::Event(Arc::new(Event { test: true, ..(**event).clone() })), ..show.clone() };
    let mut bytes = Vec::new();
    encode_job(&test, &mut bytes);
    assert_eq!(wire::PushJob::decode(&*bytes).unwrap().schema, 3);
    assert_eq!(decode_job(&bytes), Ok(test));
}

/// Only decided and closed are final.
#[test]
fn finality() {
    use wire::decision::Body;
    let read = |body| {
        let decision = wire::Decision {
            workspace_id: "w".into(),
            r#type: wire::NotificationType::IdentityVerification.into(),
            event_id: "e".into(),
            user_id: "u".into(),
            decision_id: "x".into(),
            at: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            body,
        };
        decode_decision(&decision.encode_to_vec()).unwrap().finality
    };
    assert_eq!(read(Some(Body::Decided(wire::Decided::default()))), Finality::Final);
    assert_eq!(read(Some(Body::Closed(wire::Closed::default()))), Finality::Final);
    assert_eq!(read(Some(Body::Asked(wire::Asked::default()))), Finality::Open);
    assert_eq!(read(Some(Body::Notice(wire::Notice::default()))), Finality::Open);
    assert_eq!(read(Some(Body::NotMe(wire::NotMe::default()))), Finality::Open);
    assert_eq!(read(None), Finality::Open);
}

proptest! {
    /// Whatever the bytes are, reading answers and never panics.
    #[test]
    fn never_panics(bytes: Vec<u8>) {
        drop(decode_job(&bytes));
        drop(decode_decision(&bytes));
    }
}
