//! What these tests share: an API on a port, people who sign in, and calls whose answers are checked against the description.
use std::sync::{Arc, Mutex};

use reqwest::header::HeaderMap;
use serde_json::Value;
use watchbell::config::Config;
use watchbell::control::auth::{AuthConfig, Authenticator};
use watchbell::control::{Api, ApiConfig, Courier, router};
use watchbell::delivery::Notice;
use watchbell::event::{DeviceId, SystemNotice};
use watchbell::people::Person;
use watchbell::sandbox::{Sandbox, SandboxConfig};
use watchbell::seam::SystemClock;
use watchbell::store::{Policy, Silenced, ToReach};

use super::described::violations;

/// An API that is served.
pub struct Served {
    pub policy: Policy,
    pub sandbox: Sandbox,
    pub url: String,
    pub document: Value,
    /// Nonces that were to be pushed.
    pub pushed: Pushed,
    pub http: reqwest::Client,
}

/// A courier that keeps what it is given.
#[derive(Clone, Default)]
pub struct Pushed {
    nonces: Arc<Mutex<Vec<ToReach>>>,
    told: Arc<Mutex<Vec<(SystemNotice, Silenced)>>>,
}

impl Pushed {
    /// The next one.
    pub fn take(&self) -> ToReach {
        self.nonces.lock().unwrap().pop().expect("nothing was pushed")
    }

    /// The retired phones that were to be told, and what.
    pub fn told(&self) -> Vec<(SystemNotice, Silenced)> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

impl Courier for Pushed {
    fn carry(&self, _: &Person, _: &DeviceId, push: ToReach) {
        self.nonces.lock().unwrap().push(push);
    }

    fn tell(&self, _: &Person, notice: &Notice, told: Vec<Silenced>) {
        self.told.lock().unwrap().extend(told.into_iter().map(|phone| (notice.what, phone)));
    }
}

impl Served {
    /// As it is shipped, on that store.
    pub async fn new(policy: Policy) -> Self {
        Self::with(policy, |_| {}).await
    }

    /// With another section `[api]`.
    pub async fn with(policy: Policy, change: impl FnOnce(&mut ApiConfig)) -> Self {
        let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
        let mut config = Config::load(None, []).unwrap();
        change(&mut config.api);
        let authenticator = Authenticator::start(&auth(&sandbox, config.auth), Arc::new(SystemClock)).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        config.api.devices.public_url.clone_from(&url);
        let (pushed, clock) = (Pushed::default(), Arc::new(SystemClock));
        let courier = Box::new(pushed.clone());
        let api = Api::new(policy.clone(), Arc::new(authenticator), clock, config.api, 60, courier);
        tokio::spawn(async move { axum::serve(listener, router(api)).await });
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { policy, sandbox, url, document: watchbell::control::document(), pushed, http }
    }

    /// A call by nobody in particular.
    pub fn call(&self, method: &str, path: &str) -> Call<'_> {
        let (method, path) = (method.to_owned(), path.to_owned());
        Call { served: self, method, path, headers: Vec::new(), body: None }
    }

    /// A call by one of the issuer's personas.
    pub fn call_as(&self, persona: &str, method: &str, path: &str) -> Call<'_> {
        let token = self.sandbox.issuer().token(persona).unwrap();
        self.call(method, path).header("authorization", &format!("Bearer {token}"))
    }

    /// What that persona reads there.
    pub async fn get(&self, persona: &str, path: &str) -> Answer {
        self.call_as(persona, "GET", path).answer().await
    }

    /// What that persona's JSON does there.
    pub async fn put(&self, persona: &str, path: &str, body: Value) -> Answer {
        self.call_as(persona, "PUT", path).json(&body).answer().await
    }
}

/// A section `[auth]` for that sandbox's issuer.
fn auth(sandbox: &Sandbox, shipped: AuthConfig) -> AuthConfig {
    AuthConfig {
        issuer: Some(sandbox.issuer().url().to_owned()),
        audience: vec![sandbox.issuer().audience().to_owned()],
        console_client_id: Some("watchbell-console".to_owned()),
        ca_file: Some(sandbox.ca_file().to_owned()),
        operator_claim: Some("operator".to_owned()),
        operator_value: Some("true".to_owned()),
        ..shipped
    }
}

/// A call that is being made up.
pub struct Call<'a> {
    served: &'a Served,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Call<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").bytes(serde_json::to_vec(body).unwrap())
    }

    pub fn bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Makes it. The answer is one that is described, and has what every answer has.
    pub async fn answer(self) -> Answer {
        let Self { served, method, path, headers, body } = self;
        let verb = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = served.http.request(verb, format!("{}{path}", served.url));
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let kind = headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
        let is_json = kind.ends_with("json") && method != "HEAD";
        let body = if is_json { serde_json::from_str(&text).unwrap() } else { Value::Null };
        let wrong = violations(&served.document, &method, &path, status, kind, &body);
        assert!(wrong.is_empty(), "{method} {path} {status}: {wrong:?}\n{text}");
        for name in ["x-request-id", "content-security-policy", "x-content-type-options", "cache-control"] {
            assert!(headers.contains_key(name), "{method} {path} {status} has no {name}");
        }
        let vary: Vec<_> = headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
        assert!(!path.starts_with("/v1/") || vary.join(",").contains("authorization"), "{method} {path}: {vary:?}");
        if status >= 400 && method != "HEAD" {
            assert_eq!(kind, "application/problem+json", "{method} {path} {status}: {text}");
            let sentence = body["detail"].as_str().unwrap();
            assert!(sentence.ends_with('.') && sentence.contains(' '), "{method} {path} {status}: {sentence:?}");
            assert_eq!(body["status"], status);
        }
        Answer { status, headers, body, text }
    }

    /// Makes it, and returns its status.
    pub async fn status(self) -> u16 {
        self.answer().await.status
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// Null where it is no JSON.
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// A header; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The word of a problem.
    pub fn problem(&self) -> &str {
        self.body["type"].as_str().unwrap().strip_prefix("urn:watchbell:problem:").unwrap()
    }
}
