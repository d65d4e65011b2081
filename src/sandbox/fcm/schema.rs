//! The request of FCM's send method as Google's discovery document `fcm:v1` (revision 20261023) states it: names, types, enums.
//!
//! A body is judged as Google's JSON front end judges it before FCM sees it: unknown names and wrong types are violations with a
//! path, all of them at once. Names may be in camelCase or snake_case, `null` is absence, integers may be strings, enums may be
//! numbers (the JSON mapping of proto3).
//! What FCM itself asks for (one target, reserved keys, sizes) is in the module beside it.
use serde_json::{Map, Value};

/// What a field holds.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Bool,
    Int32,
    Float,
    /// `"3.5s"`.
    Duration,
    /// RFC 3339.
    Timestamp,
    Texts,
    Durations,
    TextMap,
    AnyMap,
    Enum(&'static [&'static str]),
    Object(&'static Shape),
}

type Shape = [(&'static str, Kind)];

use Kind::{AnyMap, Bool, Duration, Durations, Enum, Float, Int32, Object, Text, TextMap, Texts, Timestamp};

static REQUEST: &Shape = &[("message", Object(MESSAGE)), ("validateOnly", Bool)];

#[rustfmt::skip]
static MESSAGE: &Shape = &[
    ("android", Object(ANDROID)), ("androidV2", Object(ANDROID_V2)), ("apns", Object(APNS)), ("condition", Text),
    ("data", TextMap), ("fcmOptions", Object(LABEL)), ("fid", Text), ("name", Text),
    ("notification", Object(NOTIFICATION)), ("token", Text), ("topic", Text), ("webpush", Object(WEBPUSH)),
];

static NOTIFICATION: &Shape = &[("body", Text), ("image", Text), ("title", Text)];

/// FcmOptions and AndroidFcmOptions.
static LABEL: &Shape = &[("analyticsLabel", Text)];

#[rustfmt::skip]
static ANDROID: &Shape = &[
    ("bandwidthConstrainedOk", Bool), ("collapseKey", Text), ("data", TextMap), ("directBootOk", Bool),
    ("fcmOptions", Object(LABEL)), ("notification", Object(ANDROID_NOTIFICATION)),
    ("priority", Enum(&["NORMAL", "HIGH"])), ("restrictedPackageName", Text), ("restrictedSatelliteOk", Bool),
    ("ttl", Duration),
];

#[rustfmt::skip]
static ANDROID_V2: &Shape = &[
    ("backgroundSync", Object(&[])), ("bandwidthConstrainedOk", Bool), ("collapseKey", Text), ("data", TextMap),
    ("directBootOk", Bool), ("fcmOptions", Object(LABEL)), ("remoteNotification", Object(REMOTE_NOTIFICATION)),
    ("restrictedPackageName", Text), ("restrictedSatelliteOk", Bool), ("ttl", Duration),
];

static REMOTE_NOTIFICATION: &Shape =
    &[("mutableContent", Bool), ("notification", Object(ANDROID_NOTIFICATION_V2)), ("useAsV1DataMessage", Bool)];

static PRIORITIES: &[&str] =
    &["PRIORITY_UNSPECIFIED", "PRIORITY_MIN", "PRIORITY_LOW", "PRIORITY_DEFAULT", "PRIORITY_HIGH", "PRIORITY_MAX"];
static VISIBILITIES: &[&str] = &["VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"];

#[rustfmt::skip]
static ANDROID_NOTIFICATION: &Shape = &[
    ("body", Text), ("bodyLocArgs", Texts), ("bodyLocKey", Text), ("bypassProxyNotification", Bool), ("channelId", Text),
    ("clickAction", Text), ("color", Text), ("defaultLightSettings", Bool), ("defaultSound", Bool),
    ("defaultVibrateTimings", Bool), ("eventTime", Timestamp), ("icon", Text), ("image", Text),
    ("lightSettings", Object(LIGHT)), ("localOnly", Bool), ("notificationCount", Int32),
    ("notificationPriority", Enum(PRIORITIES)),
    ("proxy", Enum(&["PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"])), ("sound", Text), ("sticky", Bool),
    ("tag", Text), ("ticker", Text), ("title", Text), ("titleLocArgs", Texts), ("titleLocKey", Text),
    ("vibrateTimings", Durations), ("visibility", Enum(VISIBILITIES)),
];

#[rustfmt::skip]
static ANDROID_NOTIFICATION_V2: &Shape = &[
    ("body", Text), ("bodyLocArgs", Texts), ("bodyLocKey", Text), ("channelId", Text), ("clickAction", Text),
    ("color", Text), ("defaultLightSettings", Bool), ("defaultSound", Bool), ("defaultVibrateTimings", Bool),
    ("eventTime", Timestamp), ("icon", Text), ("id", Int32), ("image", Text), ("lightSettings", Object(LIGHT)),
    ("localOnly", Bool), ("notificationCount", Int32), ("notificationPriority", Enum(PRIORITIES)), ("sound", Text),
    ("sticky", Bool), ("tag", Text), ("ticker", Text), ("title", Text), ("titleLocArgs", Texts), ("titleLocKey", Text),
    ("vibrateTimings", Durations), ("visibility", Enum(VISIBILITIES)),
];

static LIGHT: &Shape = &[("color", Object(COLOR)), ("lightOffDuration", Duration), ("lightOnDuration", Duration)];

static COLOR: &Shape = &[("alpha", Float), ("blue", Float), ("green", Float), ("red", Float)];

#[rustfmt::skip]
static APNS: &Shape = &[
    ("fcmOptions", Object(&[("analyticsLabel", Text), ("image", Text)])), ("headers", TextMap),
    ("liveActivityToken", Text), ("payload", AnyMap),
];

#[rustfmt::skip]
static WEBPUSH: &Shape = &[
    ("data", TextMap), ("fcmOptions", Object(&[("analyticsLabel", Text), ("link", Text)])), ("headers", TextMap),
    ("notification", AnyMap),
];

/// One thing that is wrong, as `google.rpc.BadRequest` reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Path of the field, names in snake_case.
    pub(crate) field: String,
    pub(crate) description: String,
}

/// All that is wrong with the names and types of a request body.
pub(crate) fn violations(body: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    match body {
        Value::Object(fields) => object(fields, REQUEST, "", &mut found),
        _ => found.push(Violation {
            field: String::new(),
            description: "Invalid JSON payload received. The root element is not an object.".to_owned(),
        }),
    }
    found
}

/// The value of a field, by its camelCase name or the snake_case one; `None` for null.
pub(crate) fn get<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let fields = object.as_object()?;
    fields.get(name).or_else(|| fields.get(&snake(name))).filter(|value| !value.is_null())
}

/// Seconds and nanoseconds of a protobuf duration in JSON, both with its sign.
pub(crate) fn duration(text: &str) -> Option<(i64, i32)> {
    let number = text.strip_suffix('s')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let good = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !good || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) || number.ends_with('.') {
        return None;
    }
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    Some((whole.parse().ok()?, if whole.starts_with('-') { -nanos } else { nanos }))
}

fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn object(fields: &Map<String, Value>, shape: &Shape, path: &str, found: &mut Vec<Violation>) {
    for (name, value) in fields {
        let Some((known, kind)) = shape.iter().find(|(known, _)| known == name || snake(known) == *name) else {
            let at = if path.is_empty() { String::new() } else { format!(" at '{path}'") };
            let description = format!("Invalid JSON payload received. Unknown name \"{name}\"{at}: Cannot find field.");
            found.push(Violation { field: path.to_owned(), description });
            continue;
        };
        if value.is_null() {
            continue;
        }
        let path = if path.is_empty() { snake(known) } else { format!("{path}.{}", snake(known)) };
        check(value, *kind, &path, found);
    }
}

fn check(value: &Value, kind: Kind, path: &str, found: &mut Vec<Violation>) {
    let mut expect = |good: bool, name: &str| {
        if !good {
            let description = format!("Invalid value at '{path}' ({name}), {value}");
            found.push(Violation { field: path.to_owned(), description });
        }
    };
    match kind {
        Text => expect(value.is_string(), "TYPE_STRING"),
        Bool => expect(value.is_boolean(), "TYPE_BOOL"),
        Int32 => expect(integer(value).is_some(), "TYPE_INT32"),
        Float => expect(value.is_number(), "TYPE_FLOAT"),
        Duration => expect(
            value.as_str().and_then(duration).is_some(),
            "type.googleapis.com/google.protobuf.Duration), Field 'x', Illegal duration format; duration must end with 's'",
        ),
        Timestamp => expect(
            value.as_str().is_some_and(is_timestamp),
            "type.googleapis.com/google.protobuf.Timestamp), Field 'x', Illegal timestamp format",
        ),
        Enum(words) => expect(
            value.as_str().is_some_and(|word| words.contains(&word)) || integer(value).is_some(),
            "type.googleapis.com/google.firebase.fcm.v1 enum",
        ),
        Texts => items(value, Text, path, found),
        Durations => items(value, Duration, path, found),
        TextMap => match value {
            Value::Object(fields) => {
                for (index, value) in fields.values().enumerate() {
                    check(value, Text, &format!("{path}[{index}].value"), found);
                }
            }
            _ => expect(false, "Map"),
        },
        AnyMap => expect(value.is_object(), "type.googleapis.com/google.protobuf.Struct"),
        Object(shape) => match value {
            Value::Object(fields) => object(fields, shape, path, found),
            _ => expect(false, "Message"),
        },
    }
}

fn items(value: &Value, kind: Kind, path: &str, found: &mut Vec<Violation>) {
    // proto3 JSON takes a single value for a repeated field nowhere: it has to be an array.
    let Value::Array(items) = value else {
        let description = format!("Invalid value at '{path}' (repeated), {value}");
        return found.push(Violation { field: path.to_owned(), description });
    };
    for (index, item) in items.iter().enumerate() {
        check(item, kind, &format!("{path}[{index}]"), found);
    }
}

fn integer(value: &Value) -> Option<i32> {
    let number = value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))?;
    i32::try_from(number).ok()
}

/// The shape of RFC 3339, `2026-01-02T03:04:05.678Z` or with an offset.
fn is_timestamp(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else { return false };
    let (time, zone) = match time.find(['Z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => return false,
    };
    let form = |text: &str, pattern: &str| {
        text.len() == pattern.len()
            && text.bytes().zip(pattern.bytes()).all(|(a, b)| if b == b'0' { a.is_ascii_digit() } else { a == b })
    };
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    form(date, "0000-00-00")
        && form(clock, "00:00:00")
        && !fraction.is_empty()
        && fraction.len() <= 9
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && (zone == "Z" || form(&zone[1..], "00:00"))
}
