//! The APNs simulator over real sockets: what a sender is told, and what devices receive.
use serde_json::json;

use super::inbox::{DeviceSettings, TokenState};
use crate::sandbox::Sandbox;
use crate::sandbox::config::{ApnsKey, Environment, Recording, Team};
use crate::sandbox::testing::{Got, H2, PAYLOAD, Raw, TOPIC, der_jwt, jwt, now_s, start, token};

const DEVICE: &str = "/3/device/00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";
const TOKEN: &str = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";
const ID: &str = "eabeae54-14a8-11e5-b60b-1697f925ec7b";

/// The headers of a good alert; those in `change` replace or add, an empty value removes.
fn headers<'a>(bearer: &'a str, change: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut headers = vec![
        (":method", "POST"),
        (":scheme", "https"),
        (":path", DEVICE),
        (":authority", "localhost"),
        ("authorization", bearer),
        ("apns-id", ID),
        ("apns-topic", TOPIC),
        ("apns-push-type", "alert"),
        ("apns-priority", "10"),
    ];
    for (name, value) in change {
        headers.retain(|(known, _)| known != name);
        if !value.is_empty() {
            headers.push((name, value));
        }
    }
    headers
}

fn bearer(sandbox: &Sandbox) -> String {
    format!("bearer {}", token(sandbox, 0, 0))
}

/// Changed headers, body, status, reason.
type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, u16, &'a str);

async fn ask_fresh(sandbox: &Sandbox, headers: &[(&str, &str)], body: &[u8]) -> Got {
    Raw::connect(sandbox, &sandbox.apns_url()).await.ask(headers, body).await
}

#[tokio::test]
async fn every_rule_for_headers_and_payload_has_its_status_and_reason() {
    // Apple's table of reasons, one row for each way to break a rule; the row's other headers are good.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    let long = "c".repeat(65);
    let large = format!(r#"{{"aps":{{"alert":"{}"}}}}"#, "x".repeat(4_097 - 22));
    assert_eq!(large.len(), 4_097 - 2);
    let too_large = format!("{large}  ");
    let payload = std::str::from_utf8(PAYLOAD).unwrap();
    let rows: &[Row] = &[
        (&[], payload, 200, ""),
        (&[("apns-push-type", ""), ("apns-priority", "")], payload, 200, ""),
        (&[("apns-priority", "5")], payload, 200, ""),
        (&[("apns-priority", "1")], payload, 200, ""),
        (&[("apns-expiration", "0")], payload, 200, ""),
        (&[("apns-expiration", "1999999999")], payload, 200, ""),
        (&[("apns-collapse-id", &long[1..])], payload, 200, ""),
        (&[("apns-id", "eabeae5414a811e5b60b1697f925ec7b")], payload, 400, "BadMessageId"),
        (&[("apns-id", "EABEAE54-14A8-11E5-B60B-1697F925EC7B")], payload, 400, "BadMessageId"),
        (&[(":method", "GET")], payload, 405, "MethodNotAllowed"),
        (&[("apns-topic", "")], payload, 400, "MissingTopic"),
        (&[("apns-topic", "com/example")], payload, 400, "BadTopic"),
        (&[("apns-topic", "com.example.app.voip")], payload, 400, "BadTopic"),
        (&[("apns-collapse-id", &long)], payload, 400, "BadCollapseId"),
        (&[("apns-expiration", "-1")], payload, 400, "BadExpirationDate"),
        (&[("apns-expiration", "tomorrow")], payload, 400, "BadExpirationDate"),
        (&[("apns-priority", "7")], payload, 400, "BadPriority"),
        (&[("apns-push-type", "banner")], payload, 400, "InvalidPushType"),
        (&[("apns-push-type", "background")], r#"{"aps":{"content-available":1}}"#, 400, "BadPriority"),
        (&[("apns-push-type", "background"), ("apns-priority", "5")], r#"{"aps":{"content-available":1}}"#, 200, ""),
        (&[("apns-push-type", "background"), ("apns-priority", "5")], payload, 400, "InvalidPushType"),
        (&[("apns-push-type", "voip")], payload, 400, "BadTopic"),
        (&[("apns-push-type", "voip"), ("apns-topic", "com.example.app.voip")], &too_large, 200, ""),
        (&[("apns-push-type", "location"), ("apns-topic", "com.example.app.location-query")], "{}", 200, ""),
        (&[(":path", "/3/device")], payload, 400, "MissingDeviceToken"),
        (&[(":path", "/3/device/")], payload, 400, "MissingDeviceToken"),
        (&[(":path", "/2/device/aa")], payload, 404, "BadPath"),
        (&[(":path", "/3/device/aa/bb")], payload, 404, "BadPath"),
        (&[(":path", "/3/device/xyz1")], payload, 400, "BadDeviceToken"),
        (&[(":path", "/3/device/abc")], payload, 400, "BadDeviceToken"),
        (&[(":path", "/3/device/ab")], payload, 200, ""),
        (&[("authorization", "")], payload, 403, "MissingProviderToken"),
        (&[("authorization", "basic abc")], payload, 403, "MissingProviderToken"),
        (&[("authorization", "bearer a.b.c")], payload, 403, "InvalidProviderToken"),
        (&[], "", 400, "PayloadEmpty"),
        (&[], &large, 200, ""),
        (&[], &too_large, 413, "PayloadTooLarge"),
        (&[], "not json", 400, "BadRequestPayload"),
        (&[], r#"{"aps":{"content-available":1}}"#, 400, "InvalidPushType"),
    ];
    for (change, body, status, reason) in rows {
        let got = ask_fresh(&sandbox, &headers(&bearer, change), body.as_bytes()).await;
        assert_eq!((got.status, got.reason().as_str()), (*status, *reason), "{change:?} {:.60}", body);
        if *status != 200 {
            assert_eq!(got.headers["content-type"], "application/json");
            assert_eq!(got.json(), json!({ "reason": reason }), "nothing else in the body");
        }
    }
}

#[tokio::test]
async fn a_repeated_header_is_refused() {
    // A second `apns-topic`, even with the same value, is DuplicateHeaders; so is any other header that comes twice.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    for (twice, reason) in [
        (&[("apns-topic", TOPIC)][..], "DuplicateHeaders"),
        (&[("x-trace", "1"), ("user-agent", "a"), ("x-trace", "2")][..], "DuplicateHeaders"),
        (&[("x-trace", "1"), ("user-agent", "1")][..], ""),
    ] {
        let got = ask_fresh(&sandbox, &[&headers(&bearer, &[])[..], twice].concat(), PAYLOAD).await;
        assert_eq!(got.reason(), reason, "{twice:?}");
    }
}

#[tokio::test]
async fn the_apns_id_is_echoed_or_made() {
    // A canonical id comes back in success and refusal; without one the answer has a new canonical one.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    let mut raw = Raw::connect(&sandbox, &sandbox.apns_url()).await;
    let got = raw.ask(&headers(&bearer, &[]), PAYLOAD).await;
    assert_eq!((got.headers["apns-id"].as_str(), got.body.len()), (ID, 0));
    assert_eq!(raw.ask(&headers(&bearer, &[]), b"").await.headers["apns-id"], ID);
    let made = raw.ask(&headers(&bearer, &[("apns-id", "")]), PAYLOAD).await.headers["apns-id"].clone();
    assert!(super::check::canonical_id(made.as_bytes()).is_some() && made != ID, "{made}");
}

#[tokio::test]
async fn provider_tokens_are_really_verified() {
    // Each row is a token that differs from a good one in one thing; Apple says InvalidProviderToken to all but the old one.
    let sandbox = start(|_| {}).await;
    let key = sandbox.apns().keys()[0].clone();
    let header = r#"{"alg":"ES256","kid":"WBSANDBOXK"}"#;
    let claims = |iat: i64| format!(r#"{{"iss":"WBSANDBOXT","iat":{iat}}}"#);
    let now = now_s();
    let other = tempfile::tempdir().unwrap();
    let other_dir = crate::sandbox::credentials::Directory::open(Some(other.path())).unwrap();
    let (stranger, _) = crate::sandbox::credentials::apns_key(&other_dir, "STRANGER01").unwrap();
    let good = jwt(&key.path, header, &claims(now));
    let rows = [
        (good.clone(), 200, ""),
        (jwt(&key.path, header, &claims(now - 3_590)), 200, ""),
        (jwt(&key.path, r#"{"alg":"ES256","kid":"WBSANDBOXK","typ":"JWT"}"#, &claims(now + 5)), 200, ""),
        (jwt(&key.path, header, &claims(now - 3_700)), 403, "ExpiredProviderToken"),
        (jwt(&key.path, header, &claims(now + 600)), 403, "InvalidProviderToken"),
        (jwt(&key.path, header, &claims(now * 1_000)), 403, "InvalidProviderToken"),
        (jwt(&key.path, header, &format!(r#"{{"iss":"WBSANDBOXT","iat":"{now}"}}"#)), 403, "InvalidProviderToken"),
        (jwt(&key.path, header, r#"{"iss":"WBSANDBOXT"}"#), 403, "InvalidProviderToken"),
        (jwt(&key.path, header, &format!(r#"{{"iss":"SOMEBODYEL","iat":{now}}}"#)), 403, "InvalidProviderToken"),
        (jwt(&key.path, r#"{"alg":"ES256","kid":"UNKNOWNKEY"}"#, &claims(now)), 403, "InvalidProviderToken"),
        (jwt(&key.path, r#"{"alg":"ES256"}"#, &claims(now)), 403, "InvalidProviderToken"),
        (jwt(&key.path, r#"{"alg":"none","kid":"WBSANDBOXK"}"#, &claims(now)), 403, "InvalidProviderToken"),
        (jwt(&stranger, header, &claims(now)), 403, "InvalidProviderToken"),
        (der_jwt(&key.path, header, &claims(now)), 403, "InvalidProviderToken"),
        (format!("{good}A"), 403, "InvalidProviderToken"),
        (good.replace('.', ""), 403, "InvalidProviderToken"),
    ];
    for (row, (token, status, reason)) in rows.iter().enumerate() {
        let bearer = format!("Bearer {token}");
        let got = ask_fresh(&sandbox, &headers(&bearer, &[]), PAYLOAD).await;
        assert_eq!((got.status, got.reason().as_str()), (*status, *reason), "row {row}");
    }
    let lenient = start(|config| config.apns.accept_der = true).await;
    let key = &lenient.apns().keys()[0];
    for token in [der_jwt(&key.path, header, &claims(now)), jwt(&key.path, header, &claims(now))] {
        let got = ask_fresh(&lenient, &headers(&format!("bearer {token}"), &[]), PAYLOAD).await;
        assert_eq!(got.status, 200, "with accept_der both forms are good");
    }
}

#[tokio::test]
async fn devices_answer_by_their_state() {
    // Unregistered, expired, bad, throttled, of another environment or app: each with Apple's status, reason and timestamp.
    let sandbox = start(|config| {
        config.apns.keys[0].environment = Some(Environment::Production);
    })
    .await;
    let bearer = bearer(&sandbox);
    let mut raw = Raw::connect(&sandbox, &sandbox.apns_url()).await;
    let live = DeviceSettings::default();
    let state = |state| DeviceSettings { state, ..live.clone() };
    let rows = [
        (live.clone(), 200, json!(null)),
        (state(TokenState::Bad), 400, json!({"reason": "BadDeviceToken"})),
        (
            state(TokenState::Unregistered { timestamp: 1_700_000_000_123 }),
            410,
            json!({"reason": "Unregistered", "timestamp": 1_700_000_000_123_u64}),
        ),
        (state(TokenState::Expired { timestamp: 5 }), 410, json!({"reason": "ExpiredToken", "timestamp": 5})),
        (state(TokenState::Throttled), 429, json!({"reason": "TooManyRequests"})),
        (
            DeviceSettings { environment: Some(Environment::Sandbox), ..live.clone() },
            400,
            json!({"reason": "BadDeviceToken"}),
        ),
        (DeviceSettings { environment: Some(Environment::Production), ..live.clone() }, 200, json!(null)),
        (
            DeviceSettings { topic: Some("com.example.other".into()), ..live.clone() },
            400,
            json!({"reason": "DeviceTokenNotForTopic"}),
        ),
        (DeviceSettings { topic: Some(TOPIC.into()), ..live.clone() }, 200, json!(null)),
    ];
    for (settings, status, body) in rows {
        sandbox.apns().set_device(TOKEN, settings.clone());
        let got = raw.ask(&headers(&bearer, &[]), PAYLOAD).await;
        assert_eq!((got.status, got.json()), (status, body), "{settings:?}");
    }
    assert_eq!(sandbox.apns().refused()[&(410, "Unregistered".to_owned())], 1);
    assert_eq!(sandbox.apns().accepted(), 3);
}

#[tokio::test]
async fn strict_tokens_must_be_known() {
    // With strict tokens a device that nobody announced is BadDeviceToken; an announced one is live.
    let sandbox = start(|config| config.apns.strict_tokens = true).await;
    let bearer = bearer(&sandbox);
    let mut raw = Raw::connect(&sandbox, &sandbox.apns_url()).await;
    assert_eq!(raw.ask(&headers(&bearer, &[]), PAYLOAD).await.reason(), "BadDeviceToken");
    sandbox.apns().set_device(&TOKEN.to_uppercase(), DeviceSettings::default());
    assert_eq!(raw.ask(&headers(&bearer, &[]), PAYLOAD).await.status, 200);
    assert_eq!(raw.ask(&headers(&bearer, &[(":path", "/3/device/ff")]), PAYLOAD).await.reason(), "BadDeviceToken");
}

#[tokio::test]
async fn a_device_keeps_every_push_in_order_and_shows_the_last_of_each_collapse_id() {
    // Exactly-once and replacement can be asserted: all arrivals, counts by id, and the screen after collapse.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    let h2 = H2::connect(&sandbox, &sandbox.apns_url()).await;
    let uri = format!("{}{DEVICE}", sandbox.apns_url());
    let ids = [ID, "eabeae54-14a8-11e5-b60b-1697f925ec7c", "eabeae54-14a8-11e5-b60b-1697f925ec7d"];
    for (id, collapse) in [(ids[0], "a"), (ids[1], "b"), (ids[0], "a"), (ids[2], "a")] {
        let sent = [
            ("authorization", bearer.as_str()),
            ("apns-id", id),
            ("apns-topic", TOPIC),
            ("apns-collapse-id", collapse),
            ("apns-expiration", "1999999999"),
            ("x-trace", "t1"),
        ];
        assert_eq!(h2.ask(&uri, &sent, PAYLOAD).await.unwrap().status, 200);
    }
    let device = sandbox.apns().device(TOKEN).unwrap();
    let received: Vec<_> = device.received.iter().map(|push| push.apns_id.as_str()).collect();
    assert_eq!(received, [ids[0], ids[1], ids[0], ids[2]]);
    assert_eq!((device.by_apns_id()[ids[0]], device.by_collapse_id()["a"]), (2, 3));
    let shown: Vec<_> = device.shown.iter().map(|push| push.apns_id.as_str()).collect();
    assert_eq!(shown, [ids[1], ids[2]]);
    let push = &device.received[0];
    assert_eq!(
        (push.topic.as_str(), push.push_type, push.priority, push.expiration),
        (TOPIC, "alert", 10, Some(1_999_999_999))
    );
    assert_eq!(push.payload["aps"]["alert"]["title"], "Sign-in");
    assert!(!push.expired_on_arrival());
    assert!(push.headers.contains(&("x-trace".to_owned(), "t1".to_owned())));
    assert!(!format!("{push:?}{:?}", push.headers).contains("bearer"), "the provider token is not kept");
    assert_eq!(sandbox.apns().pushes().len(), 4);
}

#[tokio::test]
async fn an_offline_device_keeps_one_push_for_each_app() {
    // Expiration 0 is not stored, an expired one is not shown, of several for one app the last remains.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    let mut raw = Raw::connect(&sandbox, &sandbox.apns_url()).await;
    let offline = DeviceSettings { online: false, ..DeviceSettings::default() };
    sandbox.apns().set_device(TOKEN, offline);
    let later = (now_s() + 600).to_string();
    let sent = [
        ("apns-expiration", later.as_str(), TOPIC, "first"),
        ("apns-expiration", later.as_str(), TOPIC, "second"),
        ("apns-expiration", "0", "com.example.other", "dropped"),
        ("apns-expiration", later.as_str(), "com.example.third", "third"),
    ];
    for (name, value, topic, collapse) in sent {
        let change = [(name, value), ("apns-topic", topic), ("apns-collapse-id", collapse)];
        assert_eq!(raw.ask(&headers(&bearer, &change), PAYLOAD).await.status, 200);
    }
    let device = sandbox.apns().device(TOKEN).unwrap();
    assert_eq!((device.received.len(), device.shown.len()), (4, 0));
    sandbox.apns().set_device(TOKEN, DeviceSettings::default());
    let device = sandbox.apns().device(TOKEN).unwrap();
    let shown: Vec<_> = device.shown.iter().filter_map(|push| push.collapse_id.as_deref()).collect();
    assert_eq!(shown, ["second", "third"]);
    assert!(device.waiting.is_empty());
}

#[tokio::test]
async fn teams_keys_and_environments_do_not_mix_on_one_connection() {
    // The first good token binds the connection; what then differs in team, topics or environment is refused on it.
    let sandbox = start(|config| {
        let key = |key_id: &str, team_id: &str, environment, topics: &[&str]| ApnsKey {
            key_id: key_id.into(),
            team_id: team_id.into(),
            environment,
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        };
        config.apns.teams.push(Team { team_id: "OTHERTEAM1".into(), topics: vec!["com.other.app".into()] });
        config.apns.tokens_per_20_minutes = 10;
        config.apns.keys = vec![
            key("KEYPROD001", "WBSANDBOXT", Some(Environment::Production), &[]),
            key("KEYPROD002", "WBSANDBOXT", Some(Environment::Production), &[]),
            key("KEYDEVEL01", "WBSANDBOXT", Some(Environment::Sandbox), &[]),
            key("KEYTOPIC01", "WBSANDBOXT", Some(Environment::Production), &[TOPIC]),
            key("KEYOTHER01", "OTHERTEAM1", Some(Environment::Production), &[]),
        ];
    })
    .await;
    let bearers: Vec<String> = (0..5).map(|key| format!("bearer {}", token(&sandbox, key, 0))).collect();
    let mut raw = Raw::connect(&sandbox, &sandbox.apns_url()).await;
    let mut reasons = Vec::new();
    for key in [0, 1, 2, 3, 4, 0] {
        reasons.push(raw.ask(&headers(&bearers[key], &[]), PAYLOAD).await.reason());
    }
    let unrelated = "UnrelatedKeyIdInToken";
    assert_eq!(reasons, ["", "", unrelated, unrelated, "InvalidProviderToken", ""]);
    let fresh = ask_fresh(&sandbox, &headers(&bearers[3], &[("apns-topic", "com.example.second")]), PAYLOAD).await;
    assert_eq!(fresh.reason(), "TopicDisallowed", "a topic key pushes to its topics only");
    assert_eq!(ask_fresh(&sandbox, &headers(&bearers[4], &[]), PAYLOAD).await.reason(), "TopicDisallowed");
    let own = headers(&bearers[4], &[("apns-topic", "com.other.app")]);
    assert_eq!(ask_fresh(&sandbox, &own, PAYLOAD).await.status, 200);

    let production = start(|config| {
        config.apns.environment = Some(Environment::Production);
        config.apns.keys[0].environment = Some(Environment::Sandbox);
    })
    .await;
    let bearer = bearer(&production);
    let got = ask_fresh(&production, &headers(&bearer, &[]), PAYLOAD).await;
    assert_eq!((got.status, got.reason().as_str()), (403, "BadEnvironmentKeyIdInToken"));
    let development = start(|config| config.apns.environment = Some(Environment::Sandbox)).await;
    let bearer = self::bearer(&development);
    let got = ask_fresh(&development, &headers(&bearer, &[]), PAYLOAD).await;
    assert!(
        got.status == 200 && got.headers.contains_key("apns-unique-id"),
        "only the development environment has one"
    );
}

#[tokio::test]
async fn too_many_distinct_tokens_spoil_a_connection() {
    // Two distinct tokens in twenty minutes are allowed; with the third the connection is refused, its first token too.
    let sandbox = start(|_| {}).await;
    let bearers: Vec<String> = (0..3).map(|age| format!("bearer {}", token(&sandbox, 0, age))).collect();
    let mut raw = Raw::connect(&sandbox, &sandbox.apns_url()).await;
    let mut statuses = Vec::new();
    for bearer in [&bearers[0], &bearers[1], &bearers[0], &bearers[2], &bearers[0]] {
        let got = raw.ask(&headers(bearer, &[]), PAYLOAD).await;
        statuses.push((got.status, got.reason()));
    }
    let ok = || (200, String::new());
    let spoilt = || (429, "TooManyProviderTokenUpdates".to_owned());
    assert_eq!(statuses, [ok(), ok(), ok(), spoilt(), spoilt()]);
    assert_eq!(ask_fresh(&sandbox, &headers(&bearers[2], &[]), PAYLOAD).await.status, 200, "judged per connection");
}

#[tokio::test]
async fn an_expired_token_wedges_the_connection() {
    // After ExpiredProviderToken a good token does not help on the same connection; it does on a new one, or with the option off.
    for (wedge, after) in [(true, (403, "ExpiredProviderToken")), (false, (200, ""))] {
        let sandbox = start(|config| config.apns.wedge_on_expired = wedge).await;
        let (old, new) = (format!("bearer {}", token(&sandbox, 0, 4_000)), bearer(&sandbox));
        let mut raw = Raw::connect(&sandbox, &sandbox.apns_url()).await;
        assert_eq!(raw.ask(&headers(&old, &[]), PAYLOAD).await.reason(), "ExpiredProviderToken");
        let got = raw.ask(&headers(&new, &[]), PAYLOAD).await;
        assert_eq!((got.status, got.reason().as_str()), after);
        assert_eq!(ask_fresh(&sandbox, &headers(&new, &[]), PAYLOAD).await.status, 200);
    }
}

#[tokio::test]
async fn recording_can_be_ids_or_nothing() {
    // Arrivals keep id and time in order; counters keep nothing but the count.
    for (recording, kept) in [(Recording::Arrivals, 2), (Recording::Counters, 0)] {
        let sandbox = start(|config| config.apns.recording = recording).await;
        let bearer = bearer(&sandbox);
        let mut raw = Raw::connect(&sandbox, &sandbox.apns_url()).await;
        for _ in 0..2 {
            raw.ask(&headers(&bearer, &[]), PAYLOAD).await;
        }
        let arrivals = sandbox.apns().take_arrivals();
        assert_eq!((sandbox.apns().accepted(), arrivals.len(), sandbox.apns().pushes().len()), (2, kept, 0));
        assert!(arrivals.iter().all(|(id, _)| uuid::Uuid::from_u128(*id).to_string() == ID));
    }
}
