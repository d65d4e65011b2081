//! The verifier against the sandbox's issuer over HTTPS, through an axum router as the API's handlers use it.
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRef, Path};
use axum::routing::get;
use reqwest::StatusCode;

use super::super::{Action, Authenticator, Member, Target};
use super::*;
use crate::control::problem::Problem;
use crate::sandbox::fault::{Fault, Provider, Rule};
use crate::sandbox::issuer::tests::Browser;
use crate::sandbox::issuer::{Issuer, Mint, SigningAlgorithm};
use crate::sandbox::testing::within;
use crate::seam::SystemClock;

#[derive(Clone)]
struct App(Arc<Authenticator>);

impl FromRef<App> for Arc<Authenticator> {
    fn from_ref(app: &App) -> Self {
        Arc::clone(&app.0)
    }
}

async fn me(caller: Caller) -> String {
    caller.user.to_string()
}

async fn settings(member: Member, caller: Caller) -> Result<String, Problem> {
    assert_eq!(member.user, caller.user);
    member.require(Action::ChangeSettings, Target::Workspace)?;
    Ok(member.role.words().to_owned())
}

async fn reset(member: Member, Path((_, user)): Path<(String, String)>) -> Result<String, Problem> {
    member.require(Action::ResetDevices, Target::another(None))?;
    Ok(user)
}

/// A sandbox, and an API in front of which the verifier stands.
struct Api {
    browser: Browser,
    verifier: Arc<Authenticator>,
    url: String,
}

fn section(browser: &Browser, changes: Value) -> AuthConfig {
    let mut keys = object(json!({
        "issuer": browser.sandbox.issuer().url(), "audience": ["watchbell"], "ca_file": browser.sandbox.ca_file(),
        "jwks_refetch_interval_s": 1, "operator_claim": "operator", "operator_value": "true",
    }));
    keys.extend(object(changes));
    config(Value::Object(keys))
}

impl Api {
    async fn new(changes: Value) -> Self {
        let browser = Browser::new(|_| {}).await;
        let verifier = Arc::new(Authenticator::start(&section(&browser, changes), Arc::new(SystemClock)).unwrap());
        let router = Router::new()
            .route("/me", get(me))
            .route("/workspaces/{workspace}/settings", get(settings))
            .route("/workspaces/{workspace}/users/{user}/reset", get(reset))
            .with_state(App(Arc::clone(&verifier)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { browser, verifier, url }
    }

    fn issuer(&self) -> &Issuer {
        self.browser.sandbox.issuer()
    }

    /// Status, `WWW-Authenticate`, and the body as JSON or text.
    async fn get(&self, path: &str, token: Option<&str>) -> (StatusCode, Option<String>, Value) {
        let mut request = self.browser.http.get(format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = within(request.send()).await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (status, challenge, kind) = (answer.status(), header("www-authenticate"), header("content-type"));
        let text = within(answer.text()).await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        assert_eq!(status.is_success(), kind.as_deref() != Some("application/problem+json"), "{body}");
        (status, challenge, body)
    }

    async fn verify(&self, token: &str) -> Result<Caller, Refusal> {
        within(self.verifier.authenticate(token)).await
    }

    /// Asks again until the answer is this one.
    async fn becomes(&self, token: &str, expected: Result<(), Refusal>) {
        within(async {
            while self.verify(token).await.map(drop) != expected {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn people_get_in_as_who_they_are() {
    // Each persona by the code flow: who it is, in which workspace, with which role; 403 and 404 as problems, with sentences.
    let api = Api::new(json!({})).await;
    let rows = [
        ("owner", "ada", [200, 403, 404], Some("owner")),
        ("super_admin", "samira", [200, 404, 404], Some("super admin")),
        ("admin", "benita", [200, 404, 404], Some("admin")),
        ("user", "jonas", [403, 404, 404], None),
        ("elsewhere", "hanako", [404, 200, 404], None),
        ("operator", "otto", [404, 404, 404], None),
    ];
    for (persona, user, statuses, role) in rows {
        let code = api.browser.code(persona).await;
        let tokens = api.browser.exchange(&code, &[]).await.json();
        let token = tokens["access_token"].as_str().unwrap();
        assert_eq!(api.get("/me", Some(token)).await, (StatusCode::OK, None, json!(user)));
        for (id, expected) in ["acme", "globex", "nowhere"].into_iter().zip(statuses) {
            let (status, _, body) = api.get(&format!("/workspaces/{id}/settings"), Some(token)).await;
            assert_eq!(status.as_u16(), expected, "{persona} in {id}: {body}");
            match expected {
                403 => assert_eq!(
                    body["detail"],
                    "Your role in this workspace (user) does not allow you to change the workspace's settings."
                ),
                404 => assert_eq!(body["type"], "urn:watchbell:problem:no-workspace"),
                _ => {}
            }
        }
        if let Some(role) = role {
            assert_eq!(api.get("/workspaces/acme/settings", Some(token)).await.2, role);
        }
        assert_eq!(api.get("/workspaces/a%20b/settings", Some(token)).await.0.as_u16(), 404);
        let caller = api.verify(token).await.unwrap();
        assert_eq!((caller.operator, caller.auth_time.is_some()), (persona == "operator", true));
        let id_token = tokens["id_token"].as_str().unwrap();
        assert_eq!(api.verify(id_token).await, Err(Refusal::WrongAudience), "an ID token is for the client");
    }
    let admin = api.issuer().token("admin").unwrap();
    assert_eq!(api.get("/workspaces/acme/users/jonas/reset", Some(&admin)).await.2, "jonas");
}

#[tokio::test]
async fn wrong_tokens_are_told_apart_and_told_nothing_of() {
    // Every wrong token that the issuer can make: its status, type and challenge; nothing of it stands in the answer.
    let api = Api::new(json!({})).await;
    let rows = [
        (json!({"claims": {"exp": 1}}), "token-expired"),
        (json!({"claims": {"exp": null}}), "token-without-time"),
        (json!({"claims": {"iat": null}}), "token-without-time"),
        (json!({"claims": {"iat": 1}}), "token-too-old"),
        (json!({"claims": {"nbf": 99_999_999_999_u64}}), "token-not-yet-valid"),
        (json!({"claims": {"aud": "hush"}}), "wrong-audience"),
        (json!({"claims": {"aud": null}}), "wrong-audience"),
        (json!({"claims": {"iss": "https://hush.example"}}), "wrong-issuer"),
        (json!({"header": {"kid": "hush"}}), "unknown-key"),
        (json!({"header": {"crit": ["x"]}}), "critical-extension"),
        (json!({"header": {"typ": "logout+jwt"}}), "wrong-kind-of-token"),
        (json!({"header": {"alg": "ES384"}}), "algorithm-not-allowed"),
        (json!({"sign": "none"}), "algorithm-not-allowed"),
        (json!({"sign": "public_key_as_secret"}), "algorithm-not-allowed"),
        (json!({"sign": "stranger"}), "wrong-signature"),
        (json!({"sign": "broken"}), "wrong-signature"),
    ];
    for (mut mint, kind) in rows {
        mint["persona"] = json!("super_admin");
        mint["claims"]["secret"] = json!("hush-claim");
        let token = api.issuer().mint(&serde_json::from_value::<Mint>(mint.clone()).unwrap()).unwrap();
        let (status, challenge, body) = api.get("/me", Some(&token)).await;
        assert_eq!(
            (status.as_u16(), &body["status"], &body["type"]),
            (401, &json!(401), &json!(format!("urn:watchbell:problem:{kind}"))),
            "{mint}"
        );
        let expected = format!("Bearer realm=\"watchbell\", error=\"invalid_token\", error_description=\"{kind}\"");
        assert_eq!(challenge, Some(expected));
        assert!(body["detail"].as_str().unwrap().ends_with('.'));
        let told = body.to_string();
        for part in token.split('.').chain(["hush", "samira"]).filter(|part| !part.is_empty()) {
            assert!(!told.contains(part), "{told}");
        }
    }
    for claims in [json!({"sub": null}), json!({"sub": "a b"})] {
        let mint = Mint { persona: "owner".into(), claims: object(claims), ..Mint::default() };
        assert_eq!(api.get("/me", Some(&api.issuer().mint(&mint).unwrap())).await.0.as_u16(), 403);
    }
}

#[tokio::test]
async fn a_token_comes_in_its_header_once() {
    // No header, another scheme, two headers, a query parameter: none of these signs anybody in; the scheme has no case.
    let api = Api::new(json!({})).await;
    let token = api.issuer().token("owner").unwrap();
    let (status, challenge, body) = api.get("/me", None).await;
    assert_eq!(
        (status.as_u16(), challenge.as_deref(), &body["title"]),
        (401, Some("Bearer realm=\"watchbell\""), &json!("Not signed in"))
    );
    assert_eq!(api.get(&format!("/me?access_token={token}"), None).await.0.as_u16(), 401);
    let rows = [
        (vec![format!("Basic {token}")], "no-token"),
        (vec![token.clone()], "no-token"),
        (vec!["Bearer".to_owned()], "not-a-token"),
        (vec![format!("Bearer {token} {token}")], "not-a-token"),
        (vec![format!("Bearer {token}"), format!("Bearer {token}")], "not-a-token"),
        (vec![format!("bEARER  {token}")], ""),
    ];
    for (headers, kind) in rows {
        let mut request = api.browser.http.get(format!("{}/me", api.url));
        for header in &headers {
            request = request.header("authorization", header);
        }
        let answer = within(request.send()).await.unwrap();
        let (status, body) = (answer.status().as_u16(), within(answer.text()).await.unwrap());
        assert_eq!((status == 200, body.contains(kind)), (kind.is_empty(), true), "{kind}: {body}");
    }
}

#[tokio::test]
async fn keys_rotate_under_the_verifier() {
    // A token of a new key is good as soon as it may be fetched; one of an old key while it is published; then not.
    let api = Api::new(json!({})).await;
    let first = api.issuer().token("user").unwrap();
    assert!(api.verify(&first).await.is_ok());
    api.issuer().rotate(SigningAlgorithm::RS256, true).unwrap();
    let second = api.issuer().token("user").unwrap();
    api.becomes(&second, Ok(())).await;
    assert!(api.verify(&first).await.is_ok());
    api.issuer().rotate(SigningAlgorithm::ES256, false).unwrap();
    let third = api.issuer().token("user").unwrap();
    api.becomes(&third, Ok(())).await;
    assert_eq!(api.verify(&first).await, Err(Refusal::UnknownKey));
    assert_eq!(api.verify(&second).await, Err(Refusal::UnknownKey));
}

fn fault(browser: &Browser, path: &str, fault: Fault) -> u64 {
    let rule = Rule { token: Some(path.to_owned()), ..Rule::always(Provider::Issuer, fault) };
    browser.sandbox.add_fault(rule)
}

fn reply(status: u16, body: String) -> Fault {
    Fault::Reply { status, body, content_type: "application/json".to_owned(), retry_after: None }
}

#[tokio::test]
async fn an_issuer_in_trouble_lets_nobody_in_and_says_why() {
    // Down, slow, too much, nonsense, a redirect, the keys or the discovery of somebody else: 503, and a sentence for the operator.
    let browser = Browser::new(|_| {}).await;
    let url = browser.sandbox.issuer().url().to_owned();
    let port = url.rsplit_once(':').unwrap().1.to_owned();
    let token = browser.sandbox.issuer().token("owner").unwrap();
    let (jwks, discovery) = ("/jwks", "/.well-known/openid-configuration");
    let other = json!({"issuer": "https://other.example", "jwks_uri": format!("{url}/jwks")}).to_string();
    let plain = json!({"issuer": url, "jwks_uri": "http://127.0.0.1/jwks"}).to_string();
    let huge = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300_000));
    let rows = [
        (Some((jwks, reply(503, String::new()))), json!({}), "the issuer answers 503"),
        (Some((jwks, reply(302, String::new()))), json!({}), "the issuer answers 302"),
        (Some((jwks, reply(200, huge.clone()))), json!({}), "more than auth.jwks_bytes_max (262144) bytes"),
        (Some((discovery, reply(200, huge))), json!({}), "more than auth.jwks_bytes_max (262144) bytes"),
        (Some((jwks, reply(200, "<html>".to_owned()))), json!({}), "is no JSON Web Key Set"),
        (Some((jwks, reply(200, "{\"keys\":[]}".to_owned()))), json!({}), "has no key for any of auth.algorithms"),
        (Some((discovery, reply(200, "{}".to_owned()))), json!({}), "is no discovery document"),
        (Some((discovery, reply(200, other))), json!({}), "is of another issuer than auth.issuer"),
        (Some((discovery, reply(200, plain))), json!({}), "has a jwks_uri that is not https"),
        (Some((jwks, Fault::Hang { accept: false })), json!({"jwks_timeout_ms": 300}), "300ms"),
        (Some((jwks, Fault::Disconnect { accept: false })), json!({}), "cannot be fetched from"),
        (None, json!({"issuer": format!("https://localhost:{port}")}), "is of another issuer than auth.issuer"),
        (None, json!({"ca_file": null}), "cannot be fetched from"),
        (None, json!({"jwks_url": "https://127.0.0.1:1/jwks"}), "cannot be fetched from"),
    ];
    for (wrong, changes, why) in rows {
        let id = wrong.map(|(path, wrong)| fault(&browser, path, wrong));
        let verifier = Authenticator::start(&section(&browser, changes), Arc::new(SystemClock)).unwrap();
        let refused = within(verifier.authenticate(&token)).await;
        assert_eq!(refused, Err(Refusal::KeysUnavailable { retry_after_s: 1 }), "{why}");
        let told = verifier.trouble().unwrap();
        // The time is up on either side of the call.
        assert!(told.contains(why) || why == "300ms" && told.contains("timed out"), "{why}: {told}");
        id.map(|id| browser.sandbox.remove_fault(id));
    }
    let answer = Problem::from(Refusal::KeysUnavailable { retry_after_s: 7 });
    let told = answer.headers.iter().find(|(name, _)| name == "retry-after").map(|(_, value)| value.as_bytes());
    assert_eq!((answer.status.as_u16(), told), (503, Some(&b"7"[..])));
    let verifier =
        Authenticator::start(&section(&browser, json!({"jwks_url": format!("{url}/jwks")})), Arc::new(SystemClock))
            .unwrap();
    fault(&browser, discovery, reply(503, String::new()));
    assert!(within(verifier.authenticate(&token)).await.is_ok(), "whoever says where the keys are needs no discovery");
    assert_eq!(verifier.trouble(), None);
}

#[tokio::test]
async fn a_section_that_is_not_whole_starts_nothing() {
    // Without an issuer or audience, or with a file of authorities that is none, there is no verifier at all.
    let browser = Browser::new(|_| {}).await;
    let empty = tempfile::NamedTempFile::new().unwrap();
    for (changes, told) in [
        (json!({"issuer": null}), "issuer is missing"),
        (json!({"audience": []}), "audience is missing"),
        (json!({"ca_file": "/no/such/file"}), "ca_file: cannot use /no/such/file"),
        (json!({"ca_file": empty.path()}), "it has no certificate"),
    ] {
        let error = Authenticator::start(&section(&browser, changes), Arc::new(SystemClock)).unwrap_err();
        assert!(error.contains(told), "{error}");
    }
}
