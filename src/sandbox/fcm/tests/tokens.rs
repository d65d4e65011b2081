//! Assertions, access tokens, projects.
use jsonwebtoken::{Algorithm, Header};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Sender, data, fcm_code};
use crate::sandbox::config::Project;
use crate::sandbox::testing::{now_s, start, within};

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
    // No token, an unknown, an expired, a revoked one: 401 without an FCM code; another project: 403; none that exists, or a wrong path: 404.
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
    let (status, body) = sender.send_text(&token, "third", &message.to_string()).await;
    assert_eq!((status, &body["error"]["status"], fcm_code(&body)), (404, &json!("NOT_FOUND"), None));
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
