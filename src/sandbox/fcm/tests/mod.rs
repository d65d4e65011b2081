//! The FCM simulator over real sockets: token endpoint, send method, registrations.
mod faults;
mod rules;
mod send;
mod tokens;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::sandbox::Sandbox;
use crate::sandbox::testing::{now_s, within};

/// A sender with a service account, on one HTTP version.
pub(in crate::sandbox) struct Sender<'a> {
    sandbox: &'a Sandbox,
    pub(super) http: reqwest::Client,
    account: Value,
}

impl<'a> Sender<'a> {
    pub(in crate::sandbox) fn new(sandbox: &'a Sandbox) -> Self {
        Self::with(sandbox, reqwest::Client::builder())
    }

    pub(super) fn with(sandbox: &'a Sandbox, builder: reqwest::ClientBuilder) -> Self {
        let ca = reqwest::Certificate::from_pem(&std::fs::read(sandbox.ca_file()).unwrap()).unwrap();
        let http = builder.tls_certs_only([ca]).no_proxy().build().unwrap();
        let file = &sandbox.fcm().service_accounts()[0].path;
        let account = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        Self { sandbox, http, account }
    }

    pub(super) fn text(&self, field: &str) -> &str {
        self.account[field].as_str().unwrap()
    }

    pub(super) fn claims(&self) -> Value {
        json!({
            "iss": self.text("client_email"),
            "scope": "https://www.googleapis.com/auth/firebase.messaging",
            "aud": self.text("token_uri"),
            "iat": now_s(),
            "exp": now_s() + 3_600,
        })
    }

    pub(super) fn assertion(&self, header: &Header, claims: &Value) -> String {
        let key = EncodingKey::from_rsa_pem(self.text("private_key").as_bytes()).unwrap();
        jsonwebtoken::encode(header, claims, &key).unwrap()
    }

    pub(super) fn header(&self) -> Header {
        Header { kid: Some(self.text("private_key_id").to_owned()), ..Header::new(Algorithm::RS256) }
    }

    pub(super) async fn exchange(&self, assertion: &str) -> (u16, Value) {
        let form = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion)];
        self.post_form(&form).await
    }

    pub(super) async fn post_form(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let answer = within(self.http.post(self.text("token_uri")).form(form).send()).await.unwrap();
        (answer.status().as_u16(), within(answer.json()).await.unwrap())
    }

    pub(in crate::sandbox) async fn access_token(&self) -> String {
        let (status, body) = self.exchange(&self.assertion(&self.header(), &self.claims())).await;
        assert_eq!((status, &body["token_type"]), (200, &json!("Bearer")), "{body}");
        body["access_token"].as_str().unwrap().to_owned()
    }

    pub(super) fn url(&self, project: &str) -> String {
        format!("{}/v1/projects/{project}/messages:send", self.sandbox.fcm_url())
    }

    pub(in crate::sandbox) async fn send(&self, token: &str, body: &Value) -> (u16, Value) {
        self.send_text(token, "watchbell-sandbox", &body.to_string()).await
    }

    pub(super) async fn send_text(&self, token: &str, project: &str, body: &str) -> (u16, Value) {
        let request = self.http.post(self.url(project)).bearer_auth(token).header("content-type", "application/json");
        let answer = within(request.body(body.to_owned()).send()).await.unwrap();
        (answer.status().as_u16(), within(answer.json()).await.unwrap_or_default())
    }
}

pub(in crate::sandbox) fn data(token: &str, data: Value) -> Value {
    json!({ "message": { "token": token, "data": data, "android": { "priority": "HIGH", "ttl": "300s" } } })
}

pub(super) fn fcm_code(body: &Value) -> Option<&str> {
    let details = body["error"]["details"].as_array()?;
    details.iter().find_map(|detail| detail["errorCode"].as_str())
}

pub(super) fn fields(body: &Value) -> Vec<&str> {
    let details = body["error"]["details"].as_array().into_iter().flatten();
    let violations = details.filter_map(|detail| detail["fieldViolations"].as_array()).flatten();
    violations.map(|violation| violation["field"].as_str().unwrap_or_default()).collect()
}
