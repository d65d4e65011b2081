//! Which requests Google's `projects.messages.send` takes (FCM REST v1): fields and types, and the rules that its documentation states
//! in words. The tests hold every message against it.
use serde_json::Value;

enum Kind {
    Text,
    Flag,
    Integer,
    /// Seconds with the suffix `s`.
    Duration,
    /// RFC 3339.
    Moment,
    OneOf(&'static [&'static str]),
    TextMap,
    TextList,
    Anything,
    Object(&'static [(&'static str, Kind)]),
}

use Kind::{Anything, Duration, Flag, Integer, Moment, Object, OneOf, Text, TextList, TextMap};

const REQUEST: &[(&str, Kind)] = &[("message", Object(MESSAGE)), ("validateOnly", Flag)];

const MESSAGE: &[(&str, Kind)] = &[
    ("android", Object(ANDROID)),
    ("androidV2", Anything),
    ("apns", Object(APNS)),
    ("condition", Text),
    ("data", TextMap),
    ("fcmOptions", Object(OPTIONS)),
    ("fid", Text),
    ("name", Text),
    ("notification", Object(&[("title", Text), ("body", Text), ("image", Text)])),
    ("token", Text),
    ("topic", Text),
    ("webpush", Anything),
];

const OPTIONS: &[(&str, Kind)] = &[("analyticsLabel", Text)];

const ANDROID: &[(&str, Kind)] = &[
    ("bandwidthConstrainedOk", Flag),
    ("collapseKey", Text),
    ("data", TextMap),
    ("directBootOk", Flag),
    ("fcmOptions", Object(OPTIONS)),
    ("notification", Object(ANDROID_NOTIFICATION)),
    ("priority", OneOf(&["NORMAL", "HIGH"])),
    ("restrictedPackageName", Text),
    ("restrictedSatelliteOk", Flag),
    ("ttl", Duration),
];

const ANDROID_NOTIFICATION: &[(&str, Kind)] = &[
    ("title", Text),
    ("body", Text),
    ("icon", Text),
    ("color", Text),
    ("sound", Text),
    ("tag", Text),
    ("clickAction", Text),
    ("bodyLocKey", Text),
    ("bodyLocArgs", TextList),
    ("titleLocKey", Text),
    ("titleLocArgs", TextList),
    ("channelId", Text),
    ("ticker", Text),
    ("sticky", Flag),
    ("eventTime", Moment),
    ("localOnly", Flag),
    (
        "notificationPriority",
        OneOf(&[
            "PRIORITY_UNSPECIFIED",
            "PRIORITY_MIN",
            "PRIORITY_LOW",
            "PRIORITY_DEFAULT",
            "PRIORITY_HIGH",
            "PRIORITY_MAX",
        ]),
    ),
    ("defaultSound", Flag),
    ("defaultVibrateTimings", Flag),
    ("defaultLightSettings", Flag),
    ("vibrateTimings", TextList),
    ("visibility", OneOf(&["VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"])),
    ("notificationCount", Integer),
    ("lightSettings", Anything),
    ("image", Text),
    ("bypassProxyNotification", Flag),
    ("proxy", OneOf(&["PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"])),
];

const APNS: &[(&str, Kind)] = &[
    ("headers", TextMap),
    ("payload", Anything),
    ("fcmOptions", Object(&[("analyticsLabel", Text), ("image", Text)])),
    ("liveActivityToken", Text),
];

/// What Google would refuse in a request; empty if nothing.
pub(super) fn problems(request: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    check_object("request", request, REQUEST, &mut problems);
    let message = &request["message"];
    let targets = ["token", "fid", "topic", "condition"].into_iter().filter(|target| !message[target].is_null());
    if targets.count() != 1 {
        problems.push("message must have exactly one target".to_owned());
    }
    for (key, _) in message["data"].as_object().into_iter().flatten() {
        let reserved = ["from", "gcm", "message_type"].contains(&key.as_str());
        if reserved || key.starts_with("google") || key.starts_with("gcm.") {
            problems.push(format!("message.data.{key} is reserved"));
        }
    }
    problems
}

fn check_object(path: &str, value: &Value, fields: &[(&str, Kind)], problems: &mut Vec<String>) {
    let Some(object) = value.as_object() else {
        problems.push(format!("{path} is not an object"));
        return;
    };
    for (name, value) in object {
        let path = format!("{path}.{name}");
        match fields.iter().find(|(field, _)| field == name) {
            Some((_, kind)) => check(&path, value, kind, problems),
            None => problems.push(format!("{path} is unknown")),
        }
    }
}

fn check(path: &str, value: &Value, kind: &Kind, problems: &mut Vec<String>) {
    let holds = match kind {
        Text => value.is_string(),
        Flag => value.is_boolean(),
        Integer => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        Duration => value.as_str().is_some_and(is_ttl),
        Moment => value.as_str().is_some_and(|text| text.len() >= 20 && text.as_bytes()[10] == b'T'),
        OneOf(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        TextMap => value.as_object().is_some_and(|map| map.values().all(Value::is_string)),
        TextList => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
        Anything => true,
        Object(fields) => {
            check_object(path, value, fields, problems);
            true
        }
    };
    if !holds {
        problems.push(format!("{path} has a wrong type or value"));
    }
}

/// Seconds from 0 to four weeks, with up to nine decimals.
fn is_ttl(text: &str) -> bool {
    let Some(number) = text.strip_suffix('s') else { return false };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction) && fraction.len() <= 9 && whole.parse::<u32>().is_ok_and(|s| s <= 2_419_200)
}

/// The statement of the schema refuses what Google refuses: it could not be trusted otherwise.
#[test]
fn schema_refuses() {
    let good = serde_json::json!({"message": {"token": "t", "data": {"a": "b"}, "android": {"ttl": "3.5s"}}});
    assert_eq!(problems(&good), Vec::<String>::new());
    let cases = [
        ("/message/data/a", serde_json::json!(7)),
        ("/message/data", serde_json::json!({"from": "x"})),
        ("/message/data", serde_json::json!({"google.x": "x"})),
        ("/message/token", serde_json::json!(null)),
        ("/message/android", serde_json::json!({"priority": "high"})),
        ("/message/android", serde_json::json!({"colapseKey": "x"})),
        ("/message/android/ttl", serde_json::json!("2419201s")),
        ("/message/android/ttl", serde_json::json!("-1s")),
        ("/message/android/ttl", serde_json::json!(3)),
        ("/message", serde_json::json!({"token": "t", "topic": "u"})),
    ];
    for (pointer, value) in cases {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert_ne!(problems(&bad), Vec::<String>::new(), "{bad}");
    }
}
