//! The contracts with other programs and other versions of ourselves: bytes that were stored once are read for ever.
//!
//! The stored bytes lie in `tests/it/data`, with their text beside them; protobuf's own encoder wrote them, not ours.
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::time::Duration;

use watchbell::delivery::codec::{self, JobError};
use watchbell::delivery::{Ending, JobId, OutcomeRecord, Reason};
use watchbell::event::{
    self, DecodeError, DeviceId, EventId, Headers, Incoming, Limits, NotificationType, SystemNotice, Timestamp, UserId,
    WorkspaceId,
};
use watchbell::people::codec_lifecycle::decode_lifecycle;
use watchbell::people::codec_outcome::encode_seen;
use watchbell::people::{Actor, ActorRole, AuditEntry, Audited, Person, Role, Seen, codec::encode_audit};
use watchbell::policy::{Detail, Setting};

/// When the stored events happened: 2026-11-01T00:00:00Z.
const OCCURRED: Timestamp = Timestamp::from_secs(1_793_491_200);
const LIMITS: Limits = Limits { recipients_max: 500 };
/// Field 900, which no schema has: the number 1, and the text "later".
const FROM_THE_FUTURE: [&[u8]; 2] = [&[0xa0, 0x38, 1], &[0xa2, 0x38, 5, b'l', b'a', b't', b'e', b'r']];

/// The stored bytes of every version of a record, by name (`v1/otp_received_full`), in order.
fn stored(record: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/data").join(record);
    let mut found = Vec::new();
    for version in fs::read_dir(folder).unwrap() {
        let version = version.unwrap();
        for file in fs::read_dir(version.path()).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "bin") {
                let (version, name) = (version.file_name(), file.file_stem().unwrap());
                found.push((format!("{}/{}", version.display(), name.display()), fs::read(&file).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no stored bytes of {record}");
    found.sort();
    found
}

/// The type of the topic that a stored event is on; a withdrawal may be on any.
fn topic_of(name: &str) -> NotificationType {
    let name = name.split_once('/').unwrap().1;
    let typed = NotificationType::ALL.into_iter().find(|kind| name.starts_with(kind.name()));
    typed.unwrap_or_else(|| {
        assert!(name.starts_with("cancel"), "{name} is named after no type");
        NotificationType::AccountSharing
    })
}

fn decode_event(name: &str, bytes: &[u8]) -> Result<Incoming, DecodeError> {
    event::decode(Some(bytes), &Headers::new(), topic_of(name), LIMITS, OCCURRED.plus(Duration::from_secs(30)))
}

/// What every stored record is read as, for a snapshot; it must be read as the same with fields that we do not know.
fn all_read<T: Debug + PartialEq, E: Debug + PartialEq>(
    record: &str,
    decode: impl Fn(&str, &[u8]) -> Result<T, E>,
) -> String {
    let read = stored(record).into_iter().map(|(name, bytes)| {
        let read = decode(&name, &bytes);
        for unknown in FROM_THE_FUTURE {
            assert_eq!(
                decode(&name, &[&bytes, unknown].concat()),
                read,
                "{name}: a field that we do not know is ignored"
            );
            assert_eq!(decode(&name, &[unknown, &bytes].concat()), read, "{name}: wherever it stands");
        }
        format!("{name}: {:#?}\n", read.unwrap_or_else(|error| panic!("{name} is read no more: {error:?}")))
    });
    read.collect()
}

#[test]
fn events_of_every_version_are_read() {
    // Adding fields never breaks old producers: what any version of the schema wrote is read as what it meant then.
    insta::assert_snapshot!(all_read("event", decode_event));
}

#[test]
fn every_type_has_stored_events() {
    // The test above covers each type and the withdrawal, with all fields and with the fewest.
    let names: Vec<_> = stored("event").into_iter().map(|(name, _)| name).collect();
    for kind in NotificationType::ALL.map(NotificationType::name).into_iter().chain(["cancel"]) {
        for extent in ["full", "least"] {
            assert!(names.contains(&format!("v1/{kind}_{extent}")), "no stored bytes of {kind} ({extent})");
        }
    }
}

#[test]
fn a_field_added_to_a_body_is_ignored() {
    // New fields may appear within a body too; a producer that is ahead of us is understood as far as we know.
    let (name, least) = &stored("event").into_iter().find(|(name, _)| name == "v1/otp_received_least").unwrap();
    let body = [0x0a, 1, b'A', 0x12, 1, b'S']; // account = "A", service = "S"
    let tag = [0x6a, body.len() as u8]; // field 13, otp_received
    assert!(least.ends_with(&[&tag[..], &body].concat()), "the body stands at the end");
    let envelope = &least[..least.len() - tag.len() - body.len()];
    for unknown in FROM_THE_FUTURE {
        let longer = [0x6a, (body.len() + unknown.len()) as u8];
        let bytes = [envelope, &longer, &body, unknown].concat();
        assert_eq!(decode_event(name, &bytes), decode_event(name, least));
    }
    // A body of a type that is younger than we are is no body to us, and says so: it is dead-lettered, not misread.
    let younger = [envelope, &[0xa2, 0x38, 2, 0x08, 1]].concat();
    assert_eq!(decode_event(name, &younger), Err(DecodeError::NoBody));
}

#[test]
fn jobs_of_every_version_are_read() {
    // A job may outlive the worker that wrote it by a deployment: every version's bytes are read.
    insta::assert_snapshot!(all_read("job", |_, bytes| codec::decode_job(bytes)));
}

#[test]
fn a_job_that_needs_a_newer_worker_is_told_apart() {
    // Raising `schema` is how a newer worker says that its job must not be misread: it is no malformed job.
    for (name, bytes) in stored("job") {
        // The last value of a field counts, so a second `schema` raises it.
        let newer = codec::decode_job(&[&bytes[..], &[0x08, 5]].concat());
        let job = codec::decode_job(&bytes).unwrap();
        let Err(JobError::Newer { schema: 5, expires_at, named: Some(named) }) = &newer else {
            panic!("{name}: {newer:?}")
        };
        assert_eq!((*expires_at, named.id()), (job.subject.expires_at(), job.id()), "{name}");
    }
}

#[test]
fn decisions_of_every_version_are_read() {
    // What an api of any version wrote is read by every worker; only an answer or a closing is final.
    insta::assert_snapshot!(all_read("decision", |_, bytes| codec::decode_decision(bytes)));
}

#[test]
fn lifecycle_records_of_every_version_are_read() {
    // Whoever runs the sign-in may have built against the first version.
    let now = OCCURRED.plus(Duration::from_secs(30));
    insta::assert_snapshot!(all_read("lifecycle", |_, bytes| decode_lifecycle(Some(bytes), now)));
}

#[test]
fn outcomes_are_what_readers_of_every_version_expect() {
    // What we write begins with what the first version would have written, byte for byte: fields are only added behind.
    let job = JobId::show("acme", NotificationType::IdentityVerification, "e-1", "u-1", "d-1");
    let accepted = OutcomeRecord {
        job,
        workspace: "acme",
        kind: NotificationType::IdentityVerification,
        event: "e-1",
        user: "u-1",
        device: "d-1",
        ending: &Ending::Accepted,
        attempts: 1,
        latency: Duration::from_micros(900),
        ended_at: OCCURRED,
        workspace_version: 1,
        user_version: 2,
        withdrawal: false,
        notice: None,
        traceparent: None,
    };
    let no_device = OutcomeRecord {
        kind: NotificationType::AccountSharing,
        device: "",
        ending: &Ending::NoDevice,
        attempts: 0,
        latency: Duration::ZERO,
        workspace_version: 0,
        user_version: 0,
        ..accepted.clone()
    };
    let expired = OutcomeRecord {
        kind: NotificationType::OtpReceived,
        ending: &Ending::Expired(Reason::known("deadline")),
        attempts: 3,
        latency: Duration::from_micros(12_345_678_901),
        ended_at: OCCURRED.plus(Duration::from_millis(5)),
        workspace_version: u64::MAX,
        user_version: 9,
        withdrawal: true,
        notice: None,
        traceparent: None,
        ..accepted.clone()
    };
    let notice = OutcomeRecord {
        kind: NotificationType::TrustedDevice,
        event: "n-1",
        notice: Some(SystemNotice::Guard),
        ..accepted.clone()
    };
    let written =
        [("v1/accepted", &accepted), ("v1/no_device", &no_device), ("v1/expired", &expired), ("v2/notice", &notice)];
    let stored = stored("outcome");
    for (name, outcome) in written {
        let mut written = Vec::new();
        codec::encode_outcome(outcome, &mut written);
        let (_, bytes) = stored.iter().find(|(other, _)| other == name).unwrap();
        assert!(written.starts_with(bytes), "{name}: wrote {written:02x?}, stored {bytes:02x?}");
    }
}

#[test]
fn a_seen_mark_is_what_readers_of_every_version_expect() {
    // The same for a phone's word among the outcomes, which came with the second version.
    let job = JobId::show("acme", NotificationType::IdentityVerification, "e-1", "u-1", "d-1");
    let seen = Seen {
        person: Person { workspace: WorkspaceId::new("acme").unwrap(), user: UserId::new("u-1").unwrap() },
        kind: NotificationType::IdentityVerification,
        event: EventId::new("e-1").unwrap(),
        device: DeviceId::new("d-1").unwrap(),
        at: OCCURRED.plus(Duration::from_millis(5)),
    };
    let stored = stored("outcome");
    let (_, bytes) = stored.iter().find(|(name, _)| name == "v2/seen").unwrap();
    assert!(encode_seen(&seen, job.as_bytes()).starts_with(bytes));
}

#[test]
fn the_audit_trail_is_what_readers_of_every_version_expect() {
    // The same for what others keep of who changed what: every action, and every right by which somebody acts.
    let user = || UserId::new("u-1").unwrap();
    let (from, to) = (Setting::Enabled, Setting::Enforced);
    let changed = Audited::SettingChanged { kind: NotificationType::OtpReceived, from, to };
    let removed = Audited::DeviceRemoved { user: user(), device: DeviceId::new("d-1").unwrap() };
    let entries = [
        (ActorRole::Of(Role::Owner), changed),
        (ActorRole::Of(Role::SuperAdmin), Audited::DetailChanged { from: Detail::Minimal, to: Detail::Full }),
        (ActorRole::Of(Role::SuperAdmin), Audited::PersonReset { user: user() }),
        (ActorRole::Of(Role::Admin), removed),
        (ActorRole::Of(Role::Admin), Audited::TicketIssued { user: user() }),
        (ActorRole::Upstream, Audited::PersonRemoved { user: user() }),
        (ActorRole::Operator, Audited::WorkspaceDeleted),
        (ActorRole::Operator, Audited::PersonErased { user: user() }),
        (ActorRole::Of(Role::User), Audited::PersonExported { user: user() }),
        (ActorRole::Of(Role::User), Audited::NotMe { user: user(), device: DeviceId::new("d-1").unwrap() }),
    ];
    let stored = stored("audit");
    for (role, what) in entries {
        let name = format!("v1/{}", what.action());
        let entry = AuditEntry {
            id: "aud-1".into(),
            workspace: WorkspaceId::new("acme").unwrap(),
            at: OCCURRED.plus(Duration::from_millis(123)),
            actor: Actor { id: UserId::new("auth0|root").unwrap(), role },
            what,
        };
        let (written, (_, bytes)) = (encode_audit(&entry), stored.iter().find(|(other, _)| *other == name).unwrap());
        assert!(written.starts_with(bytes), "{name}: wrote {written:02x?}, stored {bytes:02x?}");
    }
}
