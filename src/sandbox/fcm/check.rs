//! What FCM asks of a message whose names and types are good.
//!
//! One target; `android` or `androidV2`, not both; no reserved data keys; a time to live within four weeks; a payload within its
//! size; normal priority, said in so many words, for data-only messages to iOS. Sources: the reference of REST v1 `projects.messages`, "FCM error codes".
//! It does not know whether the target exists.
use serde_json::Value;

use super::answer::Refused;
use super::schema::{Violation, duration, get};

/// Longest payload in bytes, keys and values.
const MAX_PAYLOAD: usize = 4_096;
/// The same for messages to topics.
const MAX_TOPIC_PAYLOAD: usize = 2_048;
/// Four weeks in seconds.
const MAX_TTL_S: i64 = 2_419_200;
/// Longest topic name, in bytes.
const MAX_TOPIC: usize = 900;
/// Topics in one condition.
const MAX_CONDITION_TOPICS: usize = 5;

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// A registration token or an installation id, and the field it stood in.
    Device { field: &'static str, token: &'a str },
    /// A topic or a condition, as one text.
    Topics(&'a str),
}

fn wrong<T>(field: &str, description: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::Field(Violation { field: field.to_owned(), description: description.into() }))
}

/// Judges a message; returns its target.
pub(crate) fn check(message: &Value) -> Result<Target<'_>, Refused> {
    let target = target(message)?;
    if get(message, "android").is_some() && get(message, "androidV2").is_some() {
        return wrong("message.android_v2", "Only one of android and android_v2 may be set.");
    }
    for (path, config) in [("android", get(message, "android")), ("android_v2", get(message, "androidV2"))] {
        let Some(config) = config else { continue };
        if let Some(ttl) = get(config, "ttl").and_then(Value::as_str).and_then(duration)
            && !((0, 0)..=(MAX_TTL_S, 0)).contains(&ttl)
        {
            let description = "Invalid TTL value; TTL must be between 0 and 2419200 seconds";
            return wrong(&format!("message.{path}.ttl"), description);
        }
        keys(config, &format!("message.{path}.data"))?;
    }
    keys(message, "message.data")?;
    if let Some(webpush) = get(message, "webpush") {
        keys(webpush, "message.webpush.data")?;
        let link = get(webpush, "fcmOptions").and_then(|options| get(options, "link")).and_then(Value::as_str);
        if link.is_some_and(|link| !link.is_empty() && !link.starts_with("https://")) {
            return wrong("message.webpush.fcm_options.link", "Invalid link; HTTPS is required");
        }
    }
    apple(message)?;
    color(message)?;
    size(message, target)?;
    Ok(target)
}

fn target(message: &Value) -> Result<Target<'_>, Refused> {
    let fields = ["token", "fid", "topic", "condition"];
    let mut set =
        fields.into_iter().filter_map(|field| get(message, field).and_then(Value::as_str).map(|to| (field, to)));
    let Some((field, to)) = set.next() else {
        return wrong("message", "Recipient of the message is not set.");
    };
    if let Some((other, _)) = set.next() {
        let description =
            format!("Invalid value at 'message' (oneof), oneof field 'target' is already set. Cannot set '{other}'");
        return Err(Refused::Schema(vec![Violation { field: "message".to_owned(), description }]));
    }
    match field {
        "topic" => topic(to, "message.topic"),
        "condition" => condition(to),
        _ if to.is_empty() => wrong("message.token", "The registration token is not a valid FCM registration token"),
        "fid" => Ok(Target::Device { field: "message.fid", token: to }),
        _ => Ok(Target::Device { field: "message.token", token: to }),
    }
}

fn topic<'a>(name: &'a str, field: &str) -> Result<Target<'a>, Refused> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'%');
    if name.is_empty() || name.len() > MAX_TOPIC || !name.bytes().all(allowed) {
        return wrong(field, "Invalid topic name; it must match [a-zA-Z0-9-_.~%]{1,900}");
    }
    Ok(Target::Topics(name))
}

fn condition(text: &str) -> Result<Target<'_>, Refused> {
    let mut rest = text;
    let mut topics = 0;
    while let Some((_, after)) = rest.split_once('\'') {
        let Some((name, after)) = after.split_once('\'') else {
            return wrong("message.condition", "Invalid condition expression");
        };
        topic(name, "message.condition")?;
        topics += 1;
        let Some(after) = after.trim_start().strip_prefix("in topics") else {
            return wrong("message.condition", "Invalid condition expression");
        };
        rest = after;
    }
    if topics == 0 || topics > MAX_CONDITION_TOPICS {
        return wrong("message.condition", "Invalid condition; one to five topics are allowed");
    }
    Ok(Target::Topics(text))
}

/// Reserved keys: the reference names some, the page of errors some more; none of them is worth sending.
fn keys(config: &Value, path: &str) -> Result<(), Refused> {
    let Some(Value::Object(data)) = get(config, "data") else { return Ok(()) };
    let reserved = |key: &&String| {
        matches!(key.as_str(), "from" | "message_type" | "gcm")
            || key.starts_with("google")
            || key.starts_with("gcm.notification.")
    };
    match data.keys().find(reserved) {
        Some(key) => wrong(path, format!("Invalid data payload key: {key}")),
        None => Ok(()),
    }
}

fn apple(message: &Value) -> Result<(), Refused> {
    let Some(apns) = get(message, "apns") else { return Ok(()) };
    let headers = get(apns, "headers");
    let priority = headers.and_then(|headers| get(headers, "apns-priority")).and_then(Value::as_str);
    let aps = get(apns, "payload").and_then(|payload| get(payload, "aps"));
    let visible = get(message, "notification").is_some()
        || aps.is_some_and(|aps| ["alert", "badge", "sound"].iter().any(|key| get(aps, key).is_some()));
    // Without the header it is 10.
    if !visible && priority != Some("5") {
        return wrong("message.apns.headers", "Only normal priority (apns-priority 5) is allowed for data messages");
    }
    Ok(())
}

fn color(message: &Value) -> Result<(), Refused> {
    let notification = get(message, "android").and_then(|android| get(android, "notification"));
    let Some(color) = notification.and_then(|own| get(own, "color")).and_then(Value::as_str) else { return Ok(()) };
    let digits = color.strip_prefix('#').unwrap_or_default();
    if digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    wrong("message.android.notification.color", "Invalid color; it must be in #rrggbb format")
}

fn size(message: &Value, target: Target<'_>) -> Result<(), Refused> {
    let android = get(message, "android").or_else(|| get(message, "androidV2"));
    // The platform's data takes the place of the message's own.
    let data = android.and_then(|android| get(android, "data")).or_else(|| get(message, "data"));
    let shown = android.and_then(|android| get(android, "notification"));
    let remote = android.and_then(|android| get(android, "remoteNotification"));
    let remote = remote.and_then(|remote| get(remote, "notification"));
    let bytes: usize = [data, get(message, "notification"), shown, remote].into_iter().flatten().map(texts).sum();
    let limit = match target {
        Target::Device { .. } => MAX_PAYLOAD,
        Target::Topics(_) => MAX_TOPIC_PAYLOAD,
    };
    if bytes > limit {
        return wrong("message", format!("Message is too big: {bytes} bytes, the limit is {limit}"));
    }
    let apns = get(message, "apns").and_then(|apns| get(apns, "payload"));
    if apns.is_some_and(|payload| payload.to_string().len() > MAX_PAYLOAD) {
        return wrong("message.apns.payload", format!("Message is too big: the limit is {MAX_PAYLOAD}"));
    }
    Ok(())
}

/// Bytes of the keys and texts of an object.
fn texts(object: &Value) -> usize {
    let fields = object.as_object().into_iter().flatten();
    fields.map(|(key, value)| key.len() + value.as_str().map_or_else(|| value.to_string().len(), str::len)).sum()
}
