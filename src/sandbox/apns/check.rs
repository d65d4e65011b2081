//! The headers of a push, judged one after the other.
//!
//! Rules from Apple's "Sending notification requests to APNs". Apple does not document the order in which it judges; the one
//! here is that of Pushy's mock server, with method before authorization as real servers were seen to do.
//! It knows no keys, no connection and no device; those come after.
use super::reason::Reason;
use crate::sandbox::exchange::{Field, Head};

/// Longest collapse id, in bytes.
const MAX_COLLAPSE_ID: usize = 64;
/// Longest payload, in bytes.
const MAX_PAYLOAD: usize = 4_096;
/// Longest payload of a VoIP push, in bytes.
pub(crate) const MAX_VOIP_PAYLOAD: usize = 5_120;
/// Longest topic we keep, in bytes: that of a bundle id's limit at Apple and the longest suffix.
const MAX_TOPIC: usize = 255;

/// `apns-push-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushType {
    Alert,
    Background,
    Voip,
    Complication,
    FileProvider,
    Mdm,
    Location,
    LiveActivity,
    PushToTalk,
    Widgets,
    Controls,
}

/// Type, the word on the wire, what its topic adds to the bundle id.
const PUSH_TYPES: [(PushType, &str, &str); 11] = [
    (PushType::Alert, "alert", ""),
    (PushType::Background, "background", ""),
    (PushType::Voip, "voip", ".voip"),
    (PushType::Complication, "complication", ".complication"),
    (PushType::FileProvider, "fileprovider", ".pushkit.fileprovider"),
    (PushType::Mdm, "mdm", ""),
    (PushType::Location, "location", ".location-query"),
    (PushType::LiveActivity, "liveactivity", ".push-type.liveactivity"),
    (PushType::PushToTalk, "pushtotalk", ".voip-ptt"),
    (PushType::Widgets, "widgets", ".push-type.widgets"),
    (PushType::Controls, "controls", ".push-type.controls"),
];

impl PushType {
    fn of(word: &[u8]) -> Option<Self> {
        PUSH_TYPES.iter().find(|(_, known, _)| known.as_bytes() == word).map(|(kind, _, _)| *kind)
    }

    /// The word on the wire.
    pub(crate) fn word(self) -> &'static str {
        PUSH_TYPES[self as usize].1
    }

    /// The bundle id in a topic of this type; `None` if the topic has not the type's form.
    fn bundle(self, topic: &str) -> Option<&str> {
        let suffix = PUSH_TYPES[self as usize].2;
        if suffix.is_empty() {
            let special = PUSH_TYPES.iter().any(|(_, _, suffix)| !suffix.is_empty() && topic.ends_with(suffix));
            return (!special).then_some(topic);
        }
        topic.strip_suffix(suffix).filter(|bundle| !bundle.is_empty())
    }
}

/// A push whose headers are good.
pub(crate) struct Checked<'a> {
    pub(crate) token: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) bundle: &'a str,
    pub(crate) push_type: PushType,
    pub(crate) priority: u8,
    /// Seconds since 1970; 0 for one attempt only.
    pub(crate) expiration: Option<u64>,
    pub(crate) collapse_id: Option<&'a str>,
}

/// A canonical UUID: 32 lower-case hexadecimal digits as 8-4-4-4-12.
pub(crate) fn canonical_id(id: &[u8]) -> Option<[u8; 36]> {
    let id = <[u8; 36]>::try_from(id).ok()?;
    let good = id.iter().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    });
    good.then_some(id)
}

/// The device token in a path, whatever else is wrong.
pub(crate) fn token_in(path: &[u8]) -> Option<&str> {
    let token = path.strip_prefix(b"/3/device/")?;
    std::str::from_utf8(token).ok()
}

/// Judges everything that the head alone can tell.
pub(crate) fn check(head: &Head) -> Result<Checked<'_>, Reason> {
    if head.has_repeated() {
        return Err(Reason::DuplicateHeaders);
    }
    if let Some(id) = head.get(Field::ApnsId)
        && canonical_id(id).is_none()
    {
        return Err(Reason::BadMessageId);
    }
    if head.get(Field::Method) != Some(b"POST") {
        return Err(Reason::MethodNotAllowed);
    }
    let topic = topic(head)?;
    let collapse_id = collapse_id(head)?;
    let expiration = expiration(head)?;
    let priority = priority(head)?;
    let push_type = match head.get(Field::ApnsPushType) {
        // Required on watchOS only; everywhere else an absent type is taken as an alert.
        None => PushType::Alert,
        Some(word) => PushType::of(word).ok_or(Reason::InvalidPushType)?,
    };
    if (push_type == PushType::Background && priority != 5) || (push_type == PushType::LiveActivity && priority == 1) {
        return Err(Reason::BadPriority);
    }
    let bundle = push_type.bundle(topic).ok_or(Reason::BadTopic)?;
    let token = device_token(head)?;
    Ok(Checked { token, topic, bundle, push_type, priority, expiration, collapse_id })
}

fn topic(head: &Head) -> Result<&str, Reason> {
    let topic = head.get(Field::ApnsTopic).filter(|topic| !topic.is_empty()).ok_or(Reason::MissingTopic)?;
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if topic.len() > MAX_TOPIC || !topic.iter().all(allowed) {
        return Err(Reason::BadTopic);
    }
    std::str::from_utf8(topic).map_err(|_| Reason::BadTopic)
}

fn collapse_id(head: &Head) -> Result<Option<&str>, Reason> {
    let Some(id) = head.get(Field::ApnsCollapseId) else { return Ok(None) };
    if id.is_empty() || id.len() > MAX_COLLAPSE_ID {
        return Err(Reason::BadCollapseId);
    }
    std::str::from_utf8(id).map(Some).map_err(|_| Reason::BadCollapseId)
}

fn expiration(head: &Head) -> Result<Option<u64>, Reason> {
    let Some(text) = head.get(Field::ApnsExpiration) else { return Ok(None) };
    // `parse` alone would take a leading plus sign.
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(Reason::BadExpirationDate);
    }
    let text = std::str::from_utf8(text).map_err(|_| Reason::BadExpirationDate)?;
    text.parse().map(Some).map_err(|_| Reason::BadExpirationDate)
}

fn priority(head: &Head) -> Result<u8, Reason> {
    match head.get(Field::ApnsPriority) {
        None | Some(b"10") => Ok(10),
        Some(b"5") => Ok(5),
        Some(b"1") => Ok(1),
        Some(_) => Err(Reason::BadPriority),
    }
}

fn device_token(head: &Head) -> Result<&str, Reason> {
    let path = head.get(Field::Path).unwrap_or_default();
    if path == b"/3/device" {
        return Err(Reason::MissingDeviceToken);
    }
    let token = token_in(path).ok_or(Reason::BadPath)?;
    if token.is_empty() {
        return Err(Reason::MissingDeviceToken);
    }
    if token.contains('/') {
        return Err(Reason::BadPath);
    }
    // Apple warns against assuming a length, so only what cannot be bytes in hexadecimal is bad.
    if token.len() % 2 != 0 || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Reason::BadDeviceToken);
    }
    Ok(token)
}

/// Judges the size of the body.
pub(crate) fn size(body: &[u8], push_type: PushType) -> Result<(), Reason> {
    let limit = if push_type == PushType::Voip { MAX_VOIP_PAYLOAD } else { MAX_PAYLOAD };
    match body.len() {
        0 => Err(Reason::PayloadEmpty),
        length if length > limit => Err(Reason::PayloadTooLarge),
        _ => Ok(()),
    }
}
