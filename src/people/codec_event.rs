//! An event topic's bytes as what awaits people's answers. Pure.
//!
//! The point: what is refused here is what the worker refuses, by the same rules, so that a request and its notification never part; only
//! more of it is kept. The number and the addresses are for the store and the app: they do not print.
use std::time::Duration;

use prost::Message as _;

use super::{MatchNumber, Person, Projection, RequestDetail, RequestId};
use crate::event::wire::{self, event::Body};
use crate::event::{
    Cancel, DecodeError, Event, EventId, Headers, Incoming, Limits, NotificationType, Timestamp, decode_whole, text,
};

/// Where the names of sources are made that cannot be kept as they are: a UUID of our own.
const SOURCES: uuid::Uuid = uuid::Uuid::from_u128(0x5d0f_2b1a_7f6e_4c39_9a51_3c8e_d2b7_6f04);
/// Longest source that is kept as it is, in bytes; a longer one, or one with a control character (PostgreSQL takes no text with U+0000), is
/// kept as a name made of it. It is compared, and never shown.
const SOURCE_BYTES_MAX: usize = 128;

/// What one record of an actionable type's topic means to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It asks these people.
    Requests(Vec<Projection>),
    /// It takes back what it asked these people, and what it has still to ask them until that moment.
    Cancelled(Vec<RequestId>, Timestamp),
}

/// Decodes one record of the topic of `topic`'s type, read at `now`.
pub fn decode_asked(
    payload: Option<&[u8]>,
    headers: &Headers,
    key: Option<&[u8]>,
    topic: NotificationType,
    limits: Limits,
    now: Timestamp,
) -> Result<Asked, DecodeError> {
    match decode_whole(payload, headers, topic, limits, now)? {
        (Incoming::Event(event), _) if event.test => Ok(Asked::Requests(Vec::new())),
        (Incoming::Event(event), Some(body)) => requests(&event, body, headers, key),
        (Incoming::Event(_), None) => Err(DecodeError::NoBody),
        (Incoming::Cancel(cancel), _) => Ok(cancelled(cancel)),
    }
}

fn requests(event: &Event, body: Body, headers: &Headers, key: Option<&[u8]>) -> Result<Asked, DecodeError> {
    let Some((detail, source, number)) = detail(body) else { return Ok(Asked::Requests(Vec::new())) };
    let match_number = match number {
        Some(digits) => Some(MatchNumber::new(&digits).ok_or(DecodeError::BadMatchNumber)?),
        None => None,
    };
    let projection = |user: &crate::event::UserId| Projection {
        person: Person { workspace: event.workspace.clone(), user: user.clone() },
        event: event.id.clone(),
        detail: detail.clone(),
        source: source.clone(),
        match_number: match_number.clone(),
        occurred_at: event.occurred_at,
        expires_at: event.expires_at,
        record_key: key.map(<[u8]>::to_vec),
        traceparent: headers.traceparent().map(str::to_owned),
    };
    Ok(Asked::Requests(event.recipients.iter().map(projection).collect()))
}

fn cancelled(cancel: Cancel) -> Asked {
    let id = |user| RequestId {
        person: Person { workspace: cancel.workspace.clone(), user },
        kind: cancel.kind,
        event: cancel.event.clone(),
    };
    Asked::Cancelled(cancel.recipients.into_iter().map(id).collect(), cancel.until)
}

/// How long a test is worth showing, at most: whoever sent it waits for it.
const TEST_LIFE: Duration = Duration::from_secs(5 * 60);

/// The event of a test that a person sends to themselves. What its body says is shown nowhere.
pub fn encode_test(person: &Person, kind: NotificationType, id: &EventId, now: Timestamp) -> Vec<u8> {
    let name = || "Watchbell".to_owned();
    let body = match kind {
        NotificationType::IdentityVerification => {
            Body::IdentityVerificationRequested(wire::IdentityVerificationRequested {
                application: name(),
                ..Default::default()
            })
        }
        NotificationType::TrustedDevice => {
            Body::TrustedDeviceRequested(wire::TrustedDeviceRequested { device_name: name(), ..Default::default() })
        }
        NotificationType::AccountSharing => {
            Body::AccountShared(wire::AccountShared { account: name(), shared_by: name(), ..Default::default() })
        }
        NotificationType::OtpReceived => Body::OtpReceived(wire::OtpReceived { account: name(), service: name() }),
    };
    let event = wire::Event {
        event_id: id.as_str().to_owned(),
        workspace_id: person.workspace.as_str().to_owned(),
        recipients: vec![person.user.as_str().to_owned()],
        occurred_at: Some(wire::wire_time(now)),
        expires_at: Some(wire::wire_time(now.plus(kind.default_lifetime().min(TEST_LIFE)))),
        test: true,
        body: Some(body),
    };
    event.encode_to_vec()
}

/// What the app may show, upstream's source and the number; `None` for what only informs.
fn detail(body: Body) -> Option<(RequestDetail, String, Option<String>)> {
    match body {
        Body::IdentityVerificationRequested(asked) => {
            let detail = RequestDetail::IdentityVerification {
                application: text(asked.application),
                reason: text(asked.reason),
                ip_address: text(asked.ip_address),
                location: text(asked.location),
                device: text(asked.device),
                new_location: asked.new_location,
                new_device: asked.new_device,
            };
            Some((detail, source(asked.source), asked.match_number))
        }
        Body::TrustedDeviceRequested(asked) => {
            let device_kind = device_kind(asked.device_kind()).to_owned();
            let detail = RequestDetail::TrustedDevice {
                device_name: text(asked.device_name),
                device_kind,
                browser: text(asked.browser),
                operating_system: text(asked.operating_system),
                location: text(asked.location),
                new_location: asked.new_location,
                new_device: asked.new_device,
            };
            Some((detail, source(asked.source), asked.match_number))
        }
        Body::AccountShared(_) | Body::OtpReceived(_) | Body::Cancel(_) => None,
    }
}

fn source(given: String) -> String {
    if given.len() <= SOURCE_BYTES_MAX && !given.chars().any(char::is_control) {
        return given;
    }
    uuid::Uuid::new_v5(&SOURCES, given.as_bytes()).to_string()
}

const fn device_kind(kind: wire::DeviceKind) -> &'static str {
    match kind {
        wire::DeviceKind::Unspecified => "",
        wire::DeviceKind::Phone => "phone",
        wire::DeviceKind::Tablet => "tablet",
        wire::DeviceKind::Desktop => "desktop",
        wire::DeviceKind::Browser => "browser",
        wire::DeviceKind::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::NotificationType::{IdentityVerification, OtpReceived, TrustedDevice};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const LIMITS: Limits = Limits { recipients_max: 500 };

    fn event(body: Body) -> wire::Event {
        wire::Event {
            event_id: "e1".into(),
            workspace_id: "acme".into(),
            recipients: vec!["ada".into(), "jonas".into(), "ada".into()],
            occurred_at: Some(wire::wire_time(NOW)),
            expires_at: None,
            test: false,
            body: Some(body),
        }
    }

    fn sign_in() -> wire::IdentityVerificationRequested {
        wire::IdentityVerificationRequested {
            application: "Payroll".into(),
            ip_address: "203.0.113.9".into(),
            location: "Lisbon".into(),
            match_number: Some("123456".into()),
            source: "browser-1".into(),
            new_device: true,
            ..Default::default()
        }
    }

    fn decoded(event: &wire::Event, topic: NotificationType) -> Result<Asked, DecodeError> {
        let mut headers = Headers::new();
        headers.push("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
        decode_asked(Some(&event.encode_to_vec()), &headers, Some(b"key"), topic, LIMITS, NOW)
    }

    #[test]
    fn everybody_who_is_asked_has_a_request() {
        // One for each person, each once, with all that the app may show and what upstream's records need.
        let event = event(Body::IdentityVerificationRequested(sign_in()));
        let Ok(Asked::Requests(requests)) = decoded(&event, IdentityVerification) else { panic!() };
        assert_eq!(requests.iter().map(|request| request.person.user.as_str()).collect::<Vec<_>>(), ["ada", "jonas"]);
        let first = &requests[0];
        let RequestDetail::IdentityVerification { ip_address, location, new_device, .. } = &first.detail else {
            panic!()
        };
        assert_eq!((ip_address.as_str(), location.as_str(), *new_device), ("203.0.113.9", "Lisbon", true));
        assert_eq!(first.match_number.as_ref().map(MatchNumber::expose), Some("123456"));
        assert_eq!((first.source.as_str(), first.record_key.as_deref()), ("browser-1", Some(&b"key"[..])));
        assert!(first.traceparent.is_some());
        assert_eq!(first.expires_at, NOW.plus(IdentityVerification.default_lifetime()));
    }

    #[test]
    fn no_text_has_nul() {
        // Whatever a field may be, the database takes it.
        let nul = || "\0x\0".to_owned();
        let asked = wire::IdentityVerificationRequested {
            application: nul(),
            reason: nul(),
            ip_address: nul(),
            location: nul(),
            device: nul(),
            source: nul(),
            ..Default::default()
        };
        let trusted = wire::TrustedDeviceRequested {
            device_name: nul(),
            browser: nul(),
            operating_system: nul(),
            location: nul(),
            source: nul(),
            ..Default::default()
        };
        let bodies = [
            (IdentityVerification, Body::IdentityVerificationRequested(asked)),
            (TrustedDevice, Body::TrustedDeviceRequested(trusted)),
        ];
        for (topic, body) in bodies {
            let Ok(Asked::Requests(requests)) = decoded(&event(body), topic) else { panic!() };
            let detail = serde_json::to_string(&requests[0].detail).unwrap();
            assert!(!detail.contains("\\u0000") && detail.contains("\"x\""), "{detail}");
            assert!(!requests[0].source.contains('\0'));
        }
    }

    #[test]
    fn what_the_worker_refuses_is_refused() {
        // The same rules, whatever the topic; what only informs asks nobody.
        let event_of = |body| event(body);
        let asks = event_of(Body::IdentityVerificationRequested(sign_in()));
        assert!(matches!(decoded(&asks, TrustedDevice), Err(DecodeError::WrongTopic { .. })));
        let bad = wire::IdentityVerificationRequested { match_number: Some("12".into()), ..sign_in() };
        let bad = decoded(&event_of(Body::IdentityVerificationRequested(bad)), IdentityVerification);
        assert_eq!(bad, Err(DecodeError::BadMatchNumber));
        let informs = Body::OtpReceived(wire::OtpReceived { account: "a".into(), service: "b".into() });
        assert_eq!(decoded(&event_of(informs), OtpReceived), Ok(Asked::Requests(Vec::new())));
        let nothing = decode_asked(None, &Headers::new(), None, IdentityVerification, LIMITS, NOW);
        assert_eq!(nothing, Err(DecodeError::Empty));
    }

    #[test]
    fn a_test_asks_nobody() {
        // Of each type: the worker reads it as an event of that type which is a test, and the projector as nothing.
        let person = Person {
            workspace: crate::event::WorkspaceId::new("acme").unwrap(),
            user: crate::event::UserId::new("ada").unwrap(),
        };
        for kind in NotificationType::ALL {
            let bytes = encode_test(&person, kind, &EventId::new("test-1").unwrap(), NOW);
            let headers = Headers::new();
            let Ok(Incoming::Event(read)) = crate::event::decode(Some(&bytes), &headers, kind, LIMITS, NOW) else {
                panic!()
            };
            assert!(read.test && !read.number_required && read.expires_at <= NOW.plus(TEST_LIFE), "{read:?}");
            let asked = decode_asked(Some(&bytes), &headers, None, kind, LIMITS, NOW);
            assert_eq!(asked, Ok(Asked::Requests(Vec::new())), "{kind:?}");
        }
    }

    #[test]
    fn a_cancel_names_every_request() {
        // It is read after the event or before it; either way each person's request is over.
        let cancel = event(Body::Cancel(wire::Cancel { event_id: "e0".into() }));
        let Ok(Asked::Cancelled(requests, until)) = decoded(&cancel, TrustedDevice) else { panic!() };
        let named: Vec<_> = requests.iter().map(|id| (id.person.user.as_str(), id.event.as_str(), id.kind)).collect();
        assert_eq!(named, [("ada", "e0", TrustedDevice), ("jonas", "e0", TrustedDevice)]);
        assert!(until > NOW);
    }

    #[test]
    fn sources_are_opaque_and_bounded() {
        // Two long ones are still two, and the same one is still the same.
        let of = |text: &str| {
            let asked = wire::TrustedDeviceRequested {
                device_name: "d".into(),
                device_kind: wire::DeviceKind::Tablet.into(),
                source: text.into(),
                ..Default::default()
            };
            match decoded(&event(Body::TrustedDeviceRequested(asked)), TrustedDevice) {
                Ok(Asked::Requests(requests)) => requests[0].clone(),
                other => panic!("{other:?}"),
            }
        };
        let (one, other) = ("a".repeat(200), "a".repeat(201));
        assert_eq!(of(&one).source, of(&one).source);
        assert_ne!(of(&one).source, of(&other).source);
        assert!(of(&one).source.len() <= SOURCE_BYTES_MAX && of("short").source == "short");
        // What no database would take is a name, too; one of nothing is none.
        let [nul, other, tab] = ["a\0b", "a\0c", "a\tb"].map(|source| of(source).source);
        assert!(nul != other && nul == of("a\0b").source && of("").source.is_empty());
        assert!([nul, other, tab].iter().all(|source| uuid::Uuid::parse_str(source).is_ok()));
        assert_eq!(of("Müllers Laptop").source, "Müllers Laptop");
        let RequestDetail::TrustedDevice { device_kind, .. } = of("").detail else { panic!() };
        assert_eq!(device_kind, "tablet");
    }
}
