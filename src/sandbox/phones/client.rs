//! The API as a phone calls it: over HTTP, with a proof for each request.
use std::time::Duration;

use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::key::PhoneKey;

/// How long a call may take: an answer waits for Kafka's acknowledgement.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What the API said.
#[derive(Debug, Clone, Serialize)]
pub struct Said {
    /// The HTTP status.
    pub status: u16,
    /// The body; null if it was no JSON.
    pub said: Value,
    /// `Retry-After`, in seconds.
    #[serde(skip)]
    pub(super) retry_after: Option<u64>,
}

impl Said {
    /// Whether the API did it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The problem's short name, such as `request-not-here`.
    #[must_use]
    pub fn problem(&self) -> &str {
        self.said["type"].as_str().and_then(|urn| urn.rsplit(':').next()).unwrap_or_default()
    }

    /// A member of the body that is a text.
    pub(super) fn text(&self, name: &str) -> String {
        self.said[name].as_str().unwrap_or_default().to_owned()
    }
}

/// Where a phone finds the API of its workspace.
#[derive(Debug, Clone)]
pub(super) struct Api {
    http: reqwest::Client,
    /// Where it is called.
    base: String,
    /// What proofs and statements are made for.
    pub(super) public_url: String,
    /// `/v1/workspaces/{workspace}`
    pub(super) path: String,
    pub(super) workspace: String,
}

/// One call, by a phone that is known or not yet.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) body: Option<Value>,
    /// The person's own sign-in, where it is their call too.
    pub(super) sign_in: Option<String>,
    /// By which key, in whose name; `None` for a call that no key speaks for.
    pub(super) proof: Option<(&'a PhoneKey, Option<&'a str>)>,
    /// What the proof says besides.
    pub(super) nonce: Option<&'a str>,
}

impl Api {
    pub(super) fn new(base: &str, public_url: Option<&str>, workspace: &str) -> Result<Self, String> {
        let base = base.trim_end_matches('/').to_owned();
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build().map_err(|error| error.to_string())?;
        Ok(Self {
            http,
            public_url: public_url.map_or_else(|| base.clone(), str::to_owned),
            path: format!("/v1/workspaces/{}", segment(workspace)),
            workspace: workspace.to_owned(),
            base,
        })
    }

    /// What the API says, whatever it is. A sentence if it says nothing.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Said, String> {
        let url = format!("{}{}", self.base, call.path);
        let mut request = self.http.request(call.method.clone(), &url);
        if let Some((key, device)) = call.proof {
            let more = call.nonce.map_or(json!({}), |nonce| json!({"nonce": nonce}));
            let made_for = format!("{}{}", self.public_url, call.path);
            let proof = key.proof(device, (call.method.as_str(), &made_for), &more);
            request = request.header("dpop", proof.map_err(|error| error.to_string())?);
        }
        if let Some(token) = &call.sign_in {
            request = request.bearer_auth(token);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let failed = |error: reqwest::Error| format!("{url} does not answer: {error}");
        let answer = request.send().await.map_err(failed)?;
        let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(failed)?;
        Ok(Said { status, said: serde_json::from_slice(&body).unwrap_or_default(), retry_after })
    }
}

/// An id as a segment of a path.
pub(super) fn segment(id: &str) -> String {
    crate::sandbox::form::escape(id)
}
