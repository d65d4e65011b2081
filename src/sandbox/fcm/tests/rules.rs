//! What a message may be: Google's schema and FCM's own rules.
use serde_json::{Value, json};

use super::{Sender, fcm_code, fields};
use crate::sandbox::testing::start;

#[tokio::test]
async fn the_schema_is_googles() {
    // Unknown names and wrong types are named by path, with BadRequest and without an FCM code: never a reason to delete a token.
    let sandbox = start(|_| {}).await;
    let sender = Sender::new(&sandbox);
    let token = sender.access_token().await;
    let rows = [
        (json!({"message": {"token": "d", "datta": {}}}), vec!["message"]),
        (json!({"massage": {}}), vec![""]),
        (json!({"message": {"token": 7}}), vec!["message.token"]),
        (json!({"message": {"token": "d", "data": {"n": 12}}}), vec!["message.data[0].value"]),
        (json!({"message": {"token": "d", "data": ["x"]}}), vec!["message.data"]),
        (json!({"message": {"token": "d", "android": {"priority": "URGENT"}}}), vec!["message.android.priority"]),
        (json!({"message": {"token": "d", "android": {"ttl": 300}}}), vec!["message.android.ttl"]),
        (json!({"message": {"token": "d", "android": {"ttl": "300"}}}), vec!["message.android.ttl"]),
        (json!({"message": {"token": "d", "android": {"ttl": "1.s"}}}), vec!["message.android.ttl"]),
        (json!({"message": {"token": "d", "android": {"collapse_key": 1}}}), vec!["message.android.collapse_key"]),
        (
            json!({"message": {"token": "d", "android": {"notification": {"actions": []}}}}),
            vec!["message.android.notification"],
        ),
        (
            json!({"message": {"token": "d", "android": {"notification": {"titleLocArgs": ["a", 1]}}}}),
            vec!["message.android.notification.title_loc_args[1]"],
        ),
        (
            json!({"message": {"token": "d", "android": {"notification": {"eventTime": "yesterday", "sticky": "yes"}}}}),
            vec!["message.android.notification.event_time", "message.android.notification.sticky"],
        ),
        (
            json!({"message": {"token": "d", "android": {"notification": {"lightSettings": {"color": {"red": "x"}}}}}}),
            vec!["message.android.notification.light_settings.color.red"],
        ),
        (json!({"message": {"token": "d", "apns": {"payload": "{}"}}}), vec!["message.apns.payload"]),
        (json!({"message": {"token": "d", "topic": "t"}}), vec!["message"]),
        (json!([]), vec![""]),
    ];
    for (body, want) in rows {
        let (status, got) = sender.send(&token, &body).await;
        assert_eq!((status, &got["error"]["status"]), (400, &json!("INVALID_ARGUMENT")), "{body}");
        assert_eq!((fields(&got), fcm_code(&got)), (want, None), "{body}");
    }
    let (status, got) = sender.send_text(&token, "watchbell-sandbox", "{\"message\":").await;
    assert_eq!((status, fcm_code(&got)), (400, None));
    let rich = json!({"validate_only": false, "message": {
        "token": "d", "name": null,
        "notification": {"title": "a", "body": "b", "image": "https://x/y.png"},
        "data": {"k": "v"},
        "fcm_options": {"analytics_label": "l"},
        "android": {
            "collapseKey": "c", "priority": "NORMAL", "ttl": "3.5s", "restrictedPackageName": "p", "directBootOk": true,
            "notification": {
                "title": "t", "color": "#0a0B0c", "tag": "x", "notificationCount": "3", "visibility": "SECRET",
                "notification_priority": "PRIORITY_MAX", "proxy": 1, "vibrateTimings": ["0.1s"],
                "eventTime": "2026-01-02T03:04:05.678Z",
                "lightSettings": {"color": {"red": 1, "alpha": 0.5}, "lightOnDuration": "1s", "lightOffDuration": "2s"},
            },
        },
        "apns": {"headers": {"apns-priority": "10"}, "payload": {"aps": {"alert": "x"}, "n": [1, null]}},
        "webpush": {"headers": {"TTL": "1"}, "notification": {"title": 3}, "fcmOptions": {"link": "https://x"}},
    }});
    let (status, got) = sender.send(&token, &rich).await;
    assert_eq!(status, 200, "{got}");
}

#[tokio::test]
async fn fcm_has_rules_beyond_the_schema() {
    // One target, reserved keys, time to live, size, topics, data-only priority for iOS: FcmError and the field in question.
    let sandbox = start(|_| {}).await;
    let sender = Sender::new(&sandbox);
    let token = sender.access_token().await;
    let with = |field: &str, value: Value| {
        let mut message = json!({ "token": "d" });
        message[field] = value;
        json!({ "message": message })
    };
    let rows = [
        (json!({}), "message"),
        (json!({"message": {}}), "message"),
        (json!({"message": {"token": ""}}), "message.token"),
        (with("data", json!({"from": "x"})), "message.data"),
        (with("data", json!({"message_type": "x"})), "message.data"),
        (with("data", json!({"google.x": "x"})), "message.data"),
        (with("data", json!({"gcm.notification.x": "x"})), "message.data"),
        (with("android", json!({"data": {"google_id": "x"}})), "message.android.data"),
        (with("android", json!({"ttl": "2419201s"})), "message.android.ttl"),
        (with("android", json!({"ttl": "2419200.1s"})), "message.android.ttl"),
        (with("android", json!({"ttl": "-1s"})), "message.android.ttl"),
        (with("android", json!({"ttl": "-0.5s"})), "message.android.ttl"),
        (with("data", json!({"k": "x".repeat(4_096)})), "message"),
        (with("android", json!({"notification": {"color": "red"}})), "message.android.notification.color"),
        (with("apns", json!({"headers": {"apns-priority": "10"}})), "message.apns.headers"),
        (with("apns", json!({"payload": {"aps": {"content-available": 1}}})), "message.apns.headers"),
        (with("androidV2", json!({"remoteNotification": {"notification": {"body": "x".repeat(4_096)}}})), "message"),
        (with("webpush", json!({"fcmOptions": {"link": "http://x"}})), "message.webpush.fcm_options.link"),
        (json!({"message": {"token": "d", "android": {}, "androidV2": {}}}), "message.android_v2"),
        (json!({"message": {"topic": "/topics/x"}}), "message.topic"),
        (json!({"message": {"topic": "x", "data": {"k": "x".repeat(2_048)}}}), "message"),
        (json!({"message": {"condition": "'a' and 'b'"}}), "message.condition"),
    ];
    for (body, field) in rows {
        let (status, got) = sender.send(&token, &body).await;
        assert_eq!((status, fcm_code(&got), fields(&got)), (400, Some("INVALID_ARGUMENT"), vec![field]), "{body:.99}");
    }
    let good = [
        with("data", json!({"k": "x".repeat(4_095)})),
        with("android", json!({"ttl": "2419200s"})),
        with("android", json!({"ttl": "0s"})),
        with("android", json!({"ttl": "0.5s"})),
        with("apns", json!({"headers": {"apns-priority": "5"}, "payload": {"aps": {"content-available": 1}}})),
        with(
            "androidV2",
            json!({"remoteNotification": {"mutableContent": true, "notification": {"id": 1, "tag": "x"}}}),
        ),
        json!({"message": {"fid": "installation"}}),
        json!({"message": {"topic": "news-1"}}),
        json!({"message": {"condition": "'a' in topics && ('b' in topics || 'c' in topics)"}}),
    ];
    for body in good {
        let (status, got) = sender.send(&token, &body).await;
        assert_eq!(status, 200, "{body:.99} {got}");
    }
    let accepted = sandbox.fcm().accepted();
    let (status, got) = sender.send(&token, &json!({"validateOnly": true, "message": {"token": "d"}})).await;
    assert_eq!((status, &got["name"]), (200, &json!("projects/watchbell-sandbox/messages/fake_message_id")));
    assert_eq!(sandbox.fcm().accepted(), accepted, "validateOnly delivers nothing");
}
