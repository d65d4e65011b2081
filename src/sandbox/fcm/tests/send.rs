//! From a service account to a device, and what the device keeps.
use serde_json::json;

use super::{Sender, data, fcm_code, fields};
use crate::sandbox::Sandbox;
use crate::sandbox::fcm::inbox::{RegistrationSettings, RegistrationState};
use crate::sandbox::testing::{H2, start};

#[tokio::test]
async fn a_message_travels_from_service_account_to_device_on_both_http_versions() {
    // Assertion, access token, send, inbox; over HTTP/2 and over HTTP/1.1.
    let sandbox = start(|_| {}).await;
    for builder in [reqwest::Client::builder(), reqwest::Client::builder().http1_only()] {
        let sender = Sender::with(&sandbox, builder);
        let token = sender.access_token().await;
        let (status, body) = sender.send(&token, &data("device-1", json!({ "kind": "show", "tag": "t" }))).await;
        assert_eq!(status, 200, "{body}");
        let name = body["name"].as_str().unwrap();
        assert!(name.starts_with("projects/watchbell-sandbox/messages/"), "{name}");
        let last = sandbox.fcm().registration("device-1").unwrap().received.last().cloned().unwrap();
        assert_eq!((last.name.as_str(), last.priority, last.ttl_s), (name, "HIGH", 300));
        assert_eq!(last.data["tag"], "t");
        let by_number = sender.send_text(&token, "100000000001", &data("device-1", json!({})).to_string()).await;
        assert_eq!(by_number.0, 200, "the project's number stands for its id");
    }
    assert_eq!(sandbox.fcm().accepted(), 4);
}

#[tokio::test]
async fn registrations_answer_by_their_state() {
    // Each state has its HTTP code, status and FCM code; a malformed token also names its field.
    let sandbox = start(|_| {}).await;
    let sender = Sender::new(&sandbox);
    let token = sender.access_token().await;
    let rows = [
        (RegistrationState::Live, 200, None, vec![]),
        (RegistrationState::Unregistered, 404, Some("UNREGISTERED"), vec![]),
        (RegistrationState::Malformed, 400, Some("INVALID_ARGUMENT"), vec!["message.token"]),
        (RegistrationState::OtherSender, 403, Some("SENDER_ID_MISMATCH"), vec![]),
        (RegistrationState::Throttled, 429, Some("QUOTA_EXCEEDED"), vec![]),
        (RegistrationState::ThirdPartyAuth, 401, Some("THIRD_PARTY_AUTH_ERROR"), vec![]),
    ];
    for (state, status, code, field) in rows {
        sandbox.fcm().set_registration("d", RegistrationSettings { state, online: true });
        let (got, body) = sender.send(&token, &data("d", json!({}))).await;
        assert_eq!((got, fcm_code(&body), fields(&body)), (status, code, field), "{state:?}");
    }
    let strict = start(|config| config.fcm.strict_tokens = true).await;
    let sender = Sender::new(&strict);
    let token = sender.access_token().await;
    assert_eq!(fields(&sender.send(&token, &data("d", json!({}))).await.1), ["message.token"]);
    strict.fcm().set_registration("d", RegistrationSettings::default());
    assert_eq!(sender.send(&token, &data("d", json!({}))).await.0, 200);
}

#[tokio::test]
async fn a_tag_replaces_and_a_withdrawal_removes() {
    // What is on the screen: one entry for each tag, none after a withdrawal, and messages without a tag side by side.
    let sandbox = start(|_| {}).await;
    let sender = Sender::new(&sandbox);
    let token = sender.access_token().await;
    let shown = || {
        let device = sandbox.fcm().registration("d").unwrap();
        device.shown.iter().map(|message| message.data.get("n").cloned().unwrap_or_default()).collect::<Vec<_>>()
    };
    for (n, data_of) in [
        ("1", json!({"kind": "show", "tag": "a", "n": "1"})),
        ("2", json!({"kind": "show", "tag": "b", "n": "2"})),
        ("3", json!({"kind": "show", "tag": "a", "n": "3"})),
        ("4", json!({"n": "4"})),
    ] {
        assert_eq!(sender.send(&token, &data("d", data_of)).await.0, 200, "{n}");
    }
    assert_eq!(shown(), ["2", "3", "4"]);
    sender.send(&token, &data("d", json!({"kind": "withdraw", "tag": "b"}))).await;
    assert_eq!(shown(), ["3", "4"]);
    let device = sandbox.fcm().registration("d").unwrap();
    assert_eq!((device.received.len(), device.by_tag()["a"], device.by_tag()["b"]), (5, 2, 2));
}

#[tokio::test]
async fn an_offline_device_keeps_what_fcm_stores() {
    // Time to live 0 is now or never; of one collapse key the last waits; more than a hundred others are dropped altogether.
    let sandbox = start(|_| {}).await;
    let sender = Sender::new(&sandbox);
    let token = sender.access_token().await;
    let offline = RegistrationSettings { online: false, ..RegistrationSettings::default() };
    sandbox.fcm().set_registration("d", offline);
    let message = |ttl: &str, key: Option<&str>, n: usize| json!({"message": {"token": "d", "data": {"n": n.to_string()}, "android": {"ttl": ttl, "collapseKey": key}}});
    for body in [message("0s", None, 0), message("60s", Some("k"), 1), message("60s", Some("k"), 2)] {
        assert_eq!(sender.send(&token, &body).await.0, 200);
    }
    let waiting = |sandbox: &Sandbox| sandbox.fcm().registration("d").unwrap().waiting.len();
    assert_eq!(waiting(&sandbox), 1);
    for n in 0..101 {
        sender.send(&token, &message("60s", None, n)).await;
    }
    let device = sandbox.fcm().registration("d").unwrap();
    assert_eq!((device.waiting.len(), device.deleted_messages, device.received.len()), (1, true, 104));
    sandbox.fcm().set_registration("d", RegistrationSettings::default());
    let shown = sandbox.fcm().registration("d").unwrap().shown;
    assert_eq!(shown.iter().map(|message| message.data["n"].as_str()).collect::<Vec<_>>(), ["2"]);
}

#[tokio::test]
async fn a_client_of_another_make_is_served() {
    // The `h2` crate shares no line with this server: token refusal and its JSON arrive as they should.
    let sandbox = start(|_| {}).await;
    let h2 = H2::connect(&sandbox, &sandbox.fcm_url()).await;
    let url = format!("{}/v1/projects/watchbell-sandbox/messages:send?alt=json", sandbox.fcm_url());
    let got = h2.ask(&url, &[("authorization", "Bearer nothing")], b"{}").await.unwrap();
    assert_eq!((got.status, got.json()["error"]["code"].as_u64()), (401, Some(401)));
}
