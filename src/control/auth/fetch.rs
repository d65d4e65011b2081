//! Fetches the issuer's keys, by way of its discovery document unless the configuration says where they are.
//!
//! HTTPS only, no redirects, bounded in bytes; whoever calls bounds the time. It fails with a sentence that names the address.
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::config::{Algorithm, AuthConfig};
use super::keys::KeySet;
use crate::settings::is_https_url;

/// OpenID Connect Discovery §4.
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Where the keys are, and how to get there.
pub(super) struct Fetch {
    http: reqwest::Client,
    issuer: String,
    jwks_url: Option<String>,
    algorithms: Vec<Algorithm>,
    bytes_max: usize,
}

impl Fetch {
    /// The error is a sentence that begins with a key of the section.
    pub(super) fn new(config: &AuthConfig) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_millis(config.jwks_timeout_ms.into()))
            .user_agent(concat!("watchbell/", env!("CARGO_PKG_VERSION")));
        let client = match &config.ca_file {
            Some(file) => client.tls_certs_only(roots(file)?),
            None => client,
        };
        Ok(Self {
            http: client.build().map_err(|error| format!("ca_file: {error}"))?,
            issuer: config.issuer.clone().ok_or("issuer is missing")?,
            jwks_url: config.jwks_url.clone(),
            algorithms: config.algorithms.clone(),
            bytes_max: config.jwks_bytes_max,
        })
    }

    /// The keys as they are published now.
    pub(super) async fn keys(&self) -> Result<KeySet, String> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let text = self.get(&url).await?;
        KeySet::read(&text, &self.algorithms).map_err(|what| format!("the issuer's answer at {url} {what}"))
    }

    async fn discover(&self) -> Result<String, String> {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
            jwks_uri: String,
        }
        let url = format!("{}{DISCOVERY}", self.issuer.trim_end_matches('/'));
        let text = self.get(&url).await?;
        let document: Document = serde_json::from_slice(&text)
            .map_err(|_| format!("the issuer's answer at {url} is no discovery document"))?;
        if document.issuer != self.issuer {
            return Err(format!(
                "the discovery document at {url} is of another issuer than auth.issuer; they must be the same to the byte"
            ));
        }
        if !is_https_url(&document.jwks_uri) {
            return Err(format!("the discovery document at {url} has a jwks_uri that is not https"));
        }
        Ok(document.jwks_uri)
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let fail = |error: reqwest::Error| {
            format!("the issuer's keys cannot be fetched from {url}: {}", causes(&error.without_url()))
        };
        let mut answer = self.http.get(url).header("accept", "application/json").send().await.map_err(fail)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(format!("the issuer answers {} at {url}", answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(fail)? {
            if body.len() + chunk.len() > self.bytes_max {
                return Err(format!(
                    "the issuer's answer at {url} has more than auth.jwks_bytes_max ({}) bytes",
                    self.bytes_max
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// An error with what caused it: the outermost alone says "error sending request".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(cause) = inner {
        text = format!("{text}: {cause}");
        inner = cause.source();
    }
    text
}

fn roots(file: &Path) -> Result<Vec<reqwest::Certificate>, String> {
    let fail = |error: &dyn std::fmt::Display| format!("ca_file: cannot use {}: {error}", file.display());
    let pem = std::fs::read(file).map_err(|error| fail(&error))?;
    let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| fail(&error))?;
    if roots.is_empty() { Err(fail(&"it has no certificate")) } else { Ok(roots) }
}
