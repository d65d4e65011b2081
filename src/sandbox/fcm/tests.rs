//! The FCM simulator over real sockets: token endpoint, send method, registrations.
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::inbox::{RegistrationSettings, RegistrationState};
use crate::sandbox::Sandbox;
use crate::sandbox::config::Project;
use crate::sandbox::fault::{Fault, Provider, Refusal, RetryAfter, Rule};
use crate::sandbox::testing::{H2, Raw, now_s, start, tls, within};

/// A sender with a service account, on one HTTP version.
struct Sender<'a> {
    sandbox: &'a Sandbox,
    http: reqwest::Client,
    account: Value,
}

impl<'a> Sender<'a> {
    fn new(sandbox: &'a Sandbox) -> Self {
        Self::with(sandbox, reqwest::Client::builder())
    }

    fn with(sandbox: &'a Sandbox, builder: reqwest::ClientBuilder) -> Self {
        let ca = reqwest::Certificate::from_pem(&std::fs::read(sandbox.ca_file()).unwrap()).unwrap();
        let http = builder.tls_certs_only([ca]).no_proxy().build().unwrap();
        let file = &sandbox.fcm().service_accounts()[0].path;
        let account = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        Self { sandbox, http, account }
    }

    fn text(&self, field: &str) -> &str {
        self.account[field].as_str().unwrap()
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.text("client_email"),
            "scope": "https://www.googleapis.com/auth/firebase.messaging",
            "aud": self.text("token_uri"),
            "iat": now_s(),
            "exp": now_s() + 3_600,
        })
    }

    fn assertion(&self, header: &Header, claims: &Value) -> String {
        let key = EncodingKey::from_rsa_pem(self.text("private_key").as_bytes()).unwrap();
        jsonwebtoken::encode(header, claims, &key).unwrap()
    }

    fn header(&self) -> Header {
        Header { kid: Some(self.text("private_key_id").to_owned()), ..Header::new(Algorithm::RS256) }
    }

    async fn exchange(&self, assertion: &str) -> (u16, Value) {
        let form = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion)];
        self.post_form(&form).await
    }

    async fn post_form(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let answer = within(self.http.post(self.text("token_uri")).form(form).send()).await.unwrap();
        (answer.status().as_u16(), within(answer.json()).await.unwrap())
    }

    async fn access_token(&self) -> String {
        let (status, body) = self.exchange(&self.assertion(&self.header(), &self.claims())).await;
        assert_eq!((status, &body["token_type"]), (200, &json!("Bearer")), "{body}");
        body["access_token"].as_str().unwrap().to_owned()
    }

    fn url(&self, project: &str) -> String {
        format!("{}/v1/projects/{project}/messages:send", self.sandbox.fcm_url())
    }

    async fn send(&self, token: &str, body: &Value) -> (u16, Value) {
        self.send_text(token, "watchbell-sandbox", &body.to_string()).await
    }

    async fn send_text(&self, token: &str, project: &str, body: &str) -> (u16, Value) {
        let request = self.http.post(self.url(project)).bearer_auth(token).header("content-type", "application/json");
        let answer = within(request.body(body.to_owned()).send()).await.unwrap();
        (answer.status().as_u16(), within(answer.json()).await.unwrap_or_default())
    }
}

fn data(token: &str, data: Value) -> Value {
    json!({ "message": { "token": token, "data": data, "android": { "priority": "HIGH", "ttl": "300s" } } })
}

fn fcm_code(body: &Value) -> Option<&str> {
    let details = body["error"]["details"].as_array()?;
    details.iter().find_map(|detail| detail["errorCode"].as_str())
}

fn fields(body: &Value) -> Vec<&str> {
    let details = body["error"]["details"].as_array().into_iter().flatten();
    let violations = details.filter_map(|detail| detail["fieldViolations"].as_array()).flatten();
    violations.map(|violation| violation["field"].as_str().unwrap_or_default()).collect()
}

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
async fn the_token_endpoint_verifies_the_assertion() {
    // Each row changes one thing of a good assertion, and Google's error names the kind of mistake.
    let sandbox = start(|_| {}).await;
    let sender = Sender::new(&sandbox);
    let change = |field: &str, value: Value| {
        let mut claims = sender.claims();
        claims[field] = value;
        sender.assertion(&sender.header(), &claims)
    };
    let now = now_s();
    let mut stale = sender.claims();
    (stale["iat"], stale["exp"]) = (json!(now - 8_000), json!(now - 4_400));
    let mut early = sender.claims();
    (early["iat"], early["exp"]) = (json!(now + 900), json!(now + 1_800));
    let good = sender.assertion(&sender.header(), &sender.claims());
    let (signed, _) = good.rsplit_once('.').unwrap();
    let other_kid = Header { kid: Some("other".into()), ..sender.header() };
    let rows = [
        (good.clone(), 200, Value::Null),
        (sender.assertion(&Header::new(Algorithm::RS256), &sender.claims()), 200, Value::Null),
        (change("scope", json!("openid https://www.googleapis.com/auth/cloud-platform")), 200, Value::Null),
        (change("scope", json!("https://www.googleapis.com/auth/drive")), 400, json!("invalid_scope")),
        (change("aud", json!("https://oauth2.googleapis.com/token")), 400, json!("invalid_grant")),
        (change("iss", json!("someone@else.iam.gserviceaccount.com")), 400, json!("invalid_grant")),
        (change("exp", json!(now + 3_700)), 400, json!("invalid_grant")),
        (change("iat", json!("now")), 400, json!("invalid_grant")),
        (sender.assertion(&sender.header(), &stale), 400, json!("invalid_grant")),
        (sender.assertion(&sender.header(), &early), 400, json!("invalid_grant")),
        (sender.assertion(&other_kid, &sender.claims()), 400, json!("invalid_grant")),
        (sender.assertion(&Header::new(Algorithm::RS384), &sender.claims()), 400, json!("invalid_grant")),
        (format!("{signed}.AAAA"), 400, json!("invalid_grant")),
        ("no.jwt".to_owned(), 400, json!("invalid_grant")),
    ];
    for (row, (assertion, status, error)) in rows.iter().enumerate() {
        let (got, body) = sender.exchange(assertion).await;
        assert_eq!((got, &body["error"]), (*status, error), "row {row}: {body}");
    }
    assert_eq!(sender.post_form(&[("grant_type", "password")]).await.1["error"], "unsupported_grant_type");
    assert_eq!(sender.post_form(&[("assertion", &good)]).await.1["error"], "invalid_request");
    assert_eq!(sandbox.fcm().refused()[&(400, "invalid_scope".to_owned())], 1);
}

#[tokio::test]
async fn access_tokens_expire_are_revoked_and_belong_to_a_project() {
    // No token, an unknown, an expired, a revoked one: 401 without an FCM code; another project: 403; a wrong path: a bare 404.
    let sandbox = start(|config| {
        config.fcm.projects.push(Project { project_id: "second".into(), project_number: None });
    })
    .await;
    let sender = Sender::new(&sandbox);
    let token = sender.access_token().await;
    let message = data("d", json!({}));
    assert_eq!(sender.send(&token, &message).await.0, 200);
    let (status, body) = sender.send("ya29.unknown", &message).await;
    assert_eq!((status, &body["error"]["status"], fcm_code(&body)), (401, &json!("UNAUTHENTICATED"), None));
    let (status, body) = sender.send_text(&token, "second", &message.to_string()).await;
    assert_eq!((status, &body["error"]["status"], fcm_code(&body)), (403, &json!("PERMISSION_DENIED"), None));
    for path in ["/v1/projects/a/b/messages:send", "/v1/projects/watchbell-sandbox/messages", "/fcm/send"] {
        let url = format!("{}{path}", sandbox.fcm_url());
        let answer = within(sender.http.post(url).bearer_auth(&token).send()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(within(answer.text()).await.unwrap().starts_with("<!DOCTYPE html>"), "no JSON, so no reason to delete");
    }
    sandbox.fcm().revoke_access_tokens();
    assert_eq!(sender.send(&token, &message).await.0, 401);
    let short = start(|config| config.fcm.token_lifetime_s = 0).await;
    let sender = Sender::new(&short);
    let token = sender.access_token().await;
    assert_eq!(sender.send(&token, &message).await.0, 401, "a token that lives no second has expired");
}

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
        (with("data", json!({"k": "x".repeat(4_096)})), "message"),
        (with("android", json!({"notification": {"color": "red"}})), "message.android.notification.color"),
        (with("apns", json!({"headers": {"apns-priority": "10"}})), "message.apns.headers"),
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
async fn a_projects_quota_is_a_bucket_that_refills() {
    // Two requests a window: refused ones of the window cost nothing, a 400 costs one, the next window is full again.
    let sandbox = start(|config| {
        config.fcm.quota = Some(2);
        config.fcm.quota_window_ms = 300;
    })
    .await;
    let sender = Sender::new(&sandbox);
    let token = sender.access_token().await;
    let good = data("d", json!({}));
    let outcome = async {
        let first = sender.send(&token, &json!({"message": {}})).await.0;
        let second = sender.send(&token, &good).await.0;
        let (third, body) = sender.send(&token, &good).await;
        (first, second, third, fcm_code(&body).map(str::to_owned))
    };
    assert_eq!(outcome.await, (400, 200, 429, Some("QUOTA_EXCEEDED".to_owned())));
    within(async {
        while sender.send(&token, &good).await.0 == 429 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn faults_speak_googles_language() {
    // A refusal by code has that code's HTTP status and body; Retry-After comes as seconds or as a date; raw bytes come raw.
    let sandbox = start(|_| {}).await;
    let sender = Sender::new(&sandbox);
    let token = sender.access_token().await;
    let refuse = |reason: &str, retry_after| {
        Fault::Refuse(Refusal { reason: reason.to_owned(), status: None, timestamp: None, retry_after })
    };
    let ask = |fault: Fault| {
        let id = sandbox.add_fault(Rule::always(Provider::Fcm, fault).times(1));
        assert!(id > 0);
        let request = sender.http.post(sender.url("watchbell-sandbox")).bearer_auth(&token);
        request.json(&data("d", json!({}))).send()
    };
    let rows = [
        ("UNAVAILABLE", 503, "UNAVAILABLE", true),
        ("INTERNAL", 500, "INTERNAL", true),
        ("QUOTA_EXCEEDED", 429, "RESOURCE_EXHAUSTED", true),
        ("UNREGISTERED", 404, "NOT_FOUND", true),
        ("UNAUTHENTICATED", 401, "UNAUTHENTICATED", false),
        ("NOT_FOUND", 404, "NOT_FOUND", false),
        ("NEW_ERROR_OF_2030", 400, "UNKNOWN", true),
    ];
    for (code, http, status, coded) in rows {
        let answer = within(ask(refuse(code, None))).await.unwrap();
        assert_eq!(answer.status().as_u16(), http);
        assert!(answer.headers().get("retry-after").is_none());
        let body: Value = within(answer.json()).await.unwrap();
        assert_eq!((&body["error"]["status"], &body["error"]["code"]), (&json!(status), &json!(http)));
        assert_eq!(fcm_code(&body), coded.then_some(code));
    }
    let seconds = within(ask(refuse("UNAVAILABLE", Some(RetryAfter::Seconds(7))))).await.unwrap();
    assert_eq!(seconds.headers()["retry-after"], "7");
    let date = within(ask(refuse("QUOTA_EXCEEDED", Some(RetryAfter::Date { date_in_s: 90 })))).await.unwrap();
    let date = httpdate::parse_http_date(date.headers()["retry-after"].to_str().unwrap()).unwrap();
    let ahead = date.duration_since(std::time::SystemTime::now()).unwrap().as_secs();
    assert!((30..=90).contains(&ahead), "{ahead}");
    let html = Fault::Reply {
        status: 502,
        body: "<html>Bad Gateway</html>".into(),
        content_type: "text/html".into(),
        retry_after: None,
    };
    let answer = within(ask(html)).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()), (502, "text/html"));
    assert_eq!(within(answer.text()).await.unwrap(), "<html>Bad Gateway</html>");
    assert_eq!(sandbox.fcm().accepted(), 0, "no fault accepted anything");

    let id = sandbox.add_fault(Rule::always(Provider::Oauth, refuse("invalid_grant", None)));
    let assertion = sender.assertion(&sender.header(), &sender.claims());
    assert_eq!(sender.exchange(&assertion).await.1["error"], "invalid_grant");
    assert!(sandbox.remove_fault(id));
    assert_eq!(sender.exchange(&assertion).await.0, 200);
}

#[tokio::test]
async fn one_hundred_streams_and_no_more() {
    // The limit is announced at once, and a stream above it is refused without being looked at.
    let sandbox = start(|config| config.fcm.stream_limit = 3).await;
    let mut raw = Raw::connect(&sandbox, &sandbox.fcm_url()).await;
    let headers = [(":method", "POST"), (":path", "/v1/projects/p/messages:send"), (":scheme", "https")];
    let mut streams = Vec::new();
    for _ in 0..4 {
        // Headers alone: the request stays open.
        let (stream, bytes) = raw.request(&headers, b"{}");
        let length = usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        raw.send(&bytes[..9 + length]).await;
        streams.push(stream);
    }
    let reset = raw.next_of(crate::sandbox::wire::frame::RST_STREAM).await.unwrap();
    assert_eq!(
        (reset.head.stream, reset.payload.as_slice(), raw.limits.as_slice()),
        (streams[3], &[0, 0, 0, 7][..], &[3][..])
    );
    assert_eq!(super::super::config::FcmConfig::default().stream_limit, 100);
}

#[tokio::test]
async fn http_1_requests_may_come_in_chunks_and_broken_ones_end_the_connection() {
    // A chunked body is put together; a request that is none gets 400 and the connection closes.
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let sandbox = start(|_| {}).await;
    let exchange = async |request: &str| {
        let mut socket = within(tls(sandbox.ca_file(), &sandbox.fcm_url(), &["http/1.1"])).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        drop(within(socket.read_to_end(&mut answer)).await);
        String::from_utf8(answer).unwrap()
    };
    let chunked = "POST /token HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
                   7\r\ngrant_t\r\nd\r\nype=password&\r\n0\r\n\r\n";
    let answer = exchange(chunked).await;
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n") && answer.contains("unsupported_grant_type"),
        "{answer}"
    );
    for broken in ["nonsense\r\n\r\n", "POST /token HTTP/1.1\r\ncontent-length: many\r\n\r\n"] {
        assert!(exchange(broken).await.starts_with("HTTP/1.1 400 "), "{broken}");
    }
}

#[tokio::test]
async fn a_client_of_another_make_is_served() {
    // The `h2` crate shares no line with this server: token refusal and its JSON arrive as they should.
    let sandbox = start(|_| {}).await;
    let h2 = H2::connect(&sandbox, &sandbox.fcm_url()).await;
    let url = format!("{}/v1/projects/watchbell-sandbox/messages:send", sandbox.fcm_url());
    let got = h2.ask(&url, &[("authorization", "Bearer nothing")], b"{}").await.unwrap();
    assert_eq!((got.status, got.json()["error"]["code"].as_u64()), (401, Some(401)));
}
