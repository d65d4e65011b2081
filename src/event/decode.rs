//! Bytes of an event topic → [`Incoming`].
//!
//! Three frames are understood: plain protobuf, the Confluent wire format (its frame is skipped), and CloudEvents in binary mode (its
//! headers fill an empty `event_id` and `occurred_at`). A protobuf message never begins with a zero byte, because no field has the
//! number 0, so the first byte tells the Confluent frame for certain.
use std::time::Duration;

use prost::Message as _;
use unicode_segmentation::UnicodeSegmentation as _;

use super::wire::{self, event::Body as WireBody};
use super::{
    Access, Body, Cancel, Event, EventId, Headers, IdError, Incoming, NotificationType, Timestamp, UserId, WorkspaceId,
};

/// Longest text for people in a body, in bytes (`event.proto`): beyond it a required one is refused and an optional one cut.
const NAME_BYTES_MAX: usize = 256;
/// An event may be this far in our future: producers' clocks are not ours.
pub(crate) const FUTURE_MAX: Duration = Duration::from_secs(10 * 60);
/// An event may be this old. Older ones are a producer's mistake (seconds for milliseconds, a replayed topic).
const PAST_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Longest life: what FCM keeps a message for (REST v1, `android.ttl`: 4 weeks); APNs would keep it for 30 days.
pub const LIFETIME_MAX: Duration = Duration::from_secs(28 * 24 * 3600);
/// How long taking a notification back is worth a push when the withdrawal does not say.
const CANCEL_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Longest Confluent message-index list that is believed: nesting deeper than this is no frame of our schema.
const MESSAGE_INDEXES_MAX: u64 = 16;

/// Why bytes are no event. The bytes go to the dead letters as they are, with [`DecodeError::reason`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum DecodeError {
    #[error("the record has no value (a tombstone); an event topic carries events only")]
    Empty,
    #[error("the value begins with the Confluent magic byte, but its frame is cut short or implausible")]
    BadFrame,
    #[error("the value is not a watchbell.v1.Event: {0}")]
    NotProtobuf(String),
    #[error("{field} {why}")]
    BadId { field: &'static str, why: IdError },
    #[error("there are no recipients; an event needs 1 to {max}")]
    NoRecipients { max: usize },
    #[error("there are {count} recipients; at most {max} are allowed")]
    TooManyRecipients { count: usize, max: usize },
    #[error("the envelope has no body; set one of the types of watchbell.v1.Event")]
    NoBody,
    #[error("the body is of type {body}, but this topic carries {topic}", body = .body.name(), topic = .topic.name())]
    WrongTopic { body: NotificationType, topic: NotificationType },
    #[error("{field} is {bytes} bytes long; 1 to {NAME_BYTES_MAX} are allowed")]
    BadName { field: &'static str, bytes: usize },
    #[error("match_number is not six digits")]
    BadMatchNumber,
    #[error("occurred_at is missing")]
    NoDate,
    #[error("{field} is out of range: {why}")]
    BadDate { field: &'static str, why: &'static str },
}

impl DecodeError {
    /// The reason for headers, metrics and logs: a closed set.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "empty_value",
            Self::BadFrame => "bad_frame",
            Self::NotProtobuf(_) => "not_protobuf",
            Self::BadId { .. } => "bad_id",
            Self::NoRecipients { .. } => "no_recipients",
            Self::TooManyRecipients { .. } => "too_many_recipients",
            Self::NoBody => "no_body",
            Self::WrongTopic { .. } => "wrong_topic",
            Self::BadName { .. } => "bad_name",
            Self::BadMatchNumber => "bad_match_number",
            Self::NoDate => "no_date",
            Self::BadDate { .. } => "bad_date",
        }
    }
}

/// The limits that an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most recipients of one event: 1 to 500.
    pub recipients_max: usize,
}

/// Decodes one record of the topic of `topic`'s type, read at `now`.
pub fn decode(
    payload: Option<&[u8]>,
    headers: &Headers,
    topic: NotificationType,
    limits: Limits,
    now: Timestamp,
) -> Result<Incoming, DecodeError> {
    check_envelope(envelope(payload)?, headers, topic, limits, now)
}

/// As [`decode`], with the body as it was written beside it: a request shows more of it than any notification.
pub fn decode_whole(
    payload: Option<&[u8]>,
    headers: &Headers,
    topic: NotificationType,
    limits: Limits,
    now: Timestamp,
) -> Result<(Incoming, Option<WireBody>), DecodeError> {
    let envelope = envelope(payload)?;
    let body = envelope.body.clone();
    Ok((check_envelope(envelope, headers, topic, limits, now)?, body))
}

fn envelope(payload: Option<&[u8]>) -> Result<wire::Event, DecodeError> {
    let bytes = payload.filter(|bytes| !bytes.is_empty()).ok_or(DecodeError::Empty)?;
    wire::Event::decode(unframe(bytes)?).map_err(|error| DecodeError::NotProtobuf(error.to_string()))
}

fn check_envelope(
    envelope: wire::Event,
    headers: &Headers,
    topic: NotificationType,
    limits: Limits,
    now: Timestamp,
) -> Result<Incoming, DecodeError> {
    let id = or_header(envelope.event_id, headers, "ce_id");
    let id = EventId::new(id).map_err(|why| DecodeError::BadId { field: "event_id", why })?;
    let workspace =
        WorkspaceId::new(envelope.workspace_id).map_err(|why| DecodeError::BadId { field: "workspace_id", why })?;
    let recipients = check_recipients(envelope.recipients, limits)?;
    let (occurred_at, test) = (check_occurred_at(envelope.occurred_at, headers, now)?, envelope.test);
    let body = envelope.body.ok_or(DecodeError::NoBody)?;
    let lifetime = match &body {
        WireBody::Cancel(_) => CANCEL_LIFETIME,
        _ => topic.default_lifetime(),
    };
    let expires_at = check_expires_at(envelope.expires_at, occurred_at, lifetime)?;
    let (body, number_required) = match wire_body(body)? {
        Checked::Body(body, number_required) => (body, number_required),
        Checked::Cancel(event) => {
            let kind = topic;
            return Ok(Incoming::Cancel(Cancel {
                id,
                workspace,
                kind,
                event,
                recipients,
                occurred_at,
                until: expires_at,
            }));
        }
    };
    if body.kind() != topic {
        return Err(DecodeError::WrongTopic { body: body.kind(), topic });
    }
    // A test asks nothing, so there is nothing to type.
    let number_required = number_required && !test;
    Ok(Incoming::Event(Event { id, workspace, recipients, occurred_at, expires_at, number_required, test, body }))
}

/// The protobuf message within the Confluent frame, or the bytes themselves where there is none.
fn unframe(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    if bytes.first() != Some(&0) {
        return Ok(bytes);
    }
    // Magic byte, four bytes of schema id, then the message indexes: a zigzag count and that many zigzag numbers, where the count 0
    // stands for the list [0].
    let mut rest = bytes.get(5..).ok_or(DecodeError::BadFrame)?;
    let count = prost::encoding::decode_varint(&mut rest).map_err(|_| DecodeError::BadFrame)?;
    let count = count >> 1;
    if count > MESSAGE_INDEXES_MAX {
        return Err(DecodeError::BadFrame);
    }
    for _ in 0..count {
        prost::encoding::decode_varint(&mut rest).map_err(|_| DecodeError::BadFrame)?;
    }
    Ok(rest)
}

fn or_header(value: String, headers: &Headers, name: &str) -> String {
    if value.is_empty() { headers.get_str(name).unwrap_or_default().to_owned() } else { value }
}

fn check_recipients(given: Vec<String>, limits: Limits) -> Result<Vec<UserId>, DecodeError> {
    let max = limits.recipients_max;
    if given.is_empty() {
        return Err(DecodeError::NoRecipients { max });
    }
    if given.len() > max {
        return Err(DecodeError::TooManyRecipients { count: given.len(), max });
    }
    let several = given.len() > 1;
    let mut recipients = Vec::with_capacity(given.len());
    for user in given {
        recipients.push(UserId::new(user).map_err(|why| DecodeError::BadId { field: "recipients", why })?);
    }
    if several {
        let mut seen = std::collections::HashSet::with_capacity(recipients.len());
        recipients.retain(|user| seen.insert(user.clone()));
    }
    Ok(recipients)
}

fn check_occurred_at(
    given: Option<prost_types::Timestamp>,
    headers: &Headers,
    now: Timestamp,
) -> Result<Timestamp, DecodeError> {
    let given = match given {
        Some(at) => at,
        None => {
            let text = headers.get_str("ce_time").ok_or(DecodeError::NoDate)?;
            text.parse().map_err(|_| DecodeError::BadDate { field: "ce_time", why: "it is not RFC 3339" })?
        }
    };
    occurred_within(given, now)
}

/// When something happened, if that is believable at `now`: at most 10 minutes in the future, at most 30 days in the past.
pub(crate) fn occurred_within(given: prost_types::Timestamp, now: Timestamp) -> Result<Timestamp, DecodeError> {
    let field = "occurred_at";
    let at = to_timestamp(given).ok_or(DecodeError::BadDate { field, why: "it is no valid timestamp" })?;
    if at > now.plus(FUTURE_MAX) {
        return Err(DecodeError::BadDate { field, why: "it is more than 10 minutes in the future" });
    }
    if at < now.minus(PAST_MAX) {
        return Err(DecodeError::BadDate { field, why: "it is more than 30 days in the past" });
    }
    Ok(at)
}

fn check_expires_at(
    given: Option<prost_types::Timestamp>,
    occurred_at: Timestamp,
    lifetime: Duration,
) -> Result<Timestamp, DecodeError> {
    let field = "expires_at";
    let Some(given) = given else { return Ok(occurred_at.plus(lifetime)) };
    let at = to_timestamp(given).ok_or(DecodeError::BadDate { field, why: "it is no valid timestamp" })?;
    if at <= occurred_at {
        return Err(DecodeError::BadDate { field, why: "it is not after occurred_at" });
    }
    if at > occurred_at.plus(LIFETIME_MAX) {
        return Err(DecodeError::BadDate { field, why: "it is more than 28 days after occurred_at" });
    }
    Ok(at)
}

/// A protobuf timestamp in milliseconds; `None` when it is outside protobuf's own range (years 1 to 9999).
pub fn to_timestamp(at: prost_types::Timestamp) -> Option<Timestamp> {
    const YEAR_1: i64 = -62_135_596_800;
    const YEAR_9999_END: i64 = 253_402_300_799;
    let valid = (YEAR_1..=YEAR_9999_END).contains(&at.seconds) && (0..1_000_000_000).contains(&at.nanos);
    valid.then(|| Timestamp(at.seconds * 1000 + i64::from(at.nanos) / 1_000_000))
}

/// A checked body, and whether approving needs the number.
#[derive(Debug)]
pub enum Checked {
    /// A notification's body.
    Body(Body, bool),
    /// A withdrawal of that event.
    Cancel(EventId),
}

/// Checks one wire body. Push jobs share it, so that what was accepted once is accepted again.
pub fn wire_body(body: WireBody) -> Result<Checked, DecodeError> {
    Ok(match body {
        WireBody::IdentityVerificationRequested(asked) => {
            let number_required = check_match_number(asked.match_number.as_deref())?;
            let body = Body::IdentityVerification {
                application: name("application", asked.application)?,
                device: text(asked.device),
                new_location: asked.new_location,
                new_device: asked.new_device,
            };
            Checked::Body(body, number_required)
        }
        WireBody::TrustedDeviceRequested(asked) => {
            let number_required = check_match_number(asked.match_number.as_deref())?;
            let body = Body::TrustedDevice {
                device_name: name("device_name", asked.device_name)?,
                browser: text(asked.browser),
                operating_system: text(asked.operating_system),
                new_location: asked.new_location,
            };
            Checked::Body(body, number_required)
        }
        WireBody::AccountShared(shared) => {
            let access = access(shared.access_level());
            let body = Body::AccountSharing {
                account: name("account", shared.account)?,
                shared_by: name("shared_by", shared.shared_by)?,
                access,
            };
            Checked::Body(body, false)
        }
        WireBody::OtpReceived(otp) => {
            let body =
                Body::OtpReceived { account: name("account", otp.account)?, service: name("service", otp.service)? };
            Checked::Body(body, false)
        }
        WireBody::Cancel(cancel) => {
            let event =
                EventId::new(cancel.event_id).map_err(|why| DecodeError::BadId { field: "cancel.event_id", why })?;
            Checked::Cancel(event)
        }
    })
}

fn access(level: wire::AccessLevel) -> Access {
    match level {
        wire::AccessLevel::Unspecified => Access::Unspecified,
        wire::AccessLevel::View => Access::View,
        wire::AccessLevel::Use => Access::Use,
        wire::AccessLevel::Edit => Access::Edit,
        wire::AccessLevel::Manage => Access::Manage,
    }
}

/// A required text for people.
fn name(field: &'static str, mut value: String) -> Result<String, DecodeError> {
    drop_nul(&mut value);
    let bytes = value.len();
    if (1..=NAME_BYTES_MAX).contains(&bytes) { Ok(value) } else { Err(DecodeError::BadName { field, bytes }) }
}

/// U+0000 is in no text that a person reads, and PostgreSQL takes none that has it.
fn drop_nul(value: &mut String) {
    if value.contains('\0') {
        value.retain(|c| c != '\0');
    }
}

/// An optional text for people: the whole graphemes of its beginning. Nobody is left without a notification because a browser calls itself
/// something long; a phone shows less of it anyway. U+0000 is left out.
pub(crate) fn text(mut value: String) -> String {
    drop_nul(&mut value);
    if value.len() > NAME_BYTES_MAX {
        let ends = value.grapheme_indices(true).map(|(at, grapheme)| at + grapheme.len());
        let end = ends.take_while(|end| *end <= NAME_BYTES_MAX).last().unwrap_or(0);
        value.truncate(end);
    }
    value
}

fn check_match_number(number: Option<&str>) -> Result<bool, DecodeError> {
    match number {
        None => Ok(false),
        Some(digits) if digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(true),
        Some(_) => Err(DecodeError::BadMatchNumber),
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
