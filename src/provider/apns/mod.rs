//! Apple Push Notification service, with token authentication.
//!
//! The point: a push costs one buffer and one cloned header map, and each of Apple's answers has one meaning, stated in one table
//! (`classify`). a2 supplies the vocabulary (push types, priorities, reasons); its client is never constructed.
//! Deliberately no certificates, no background pushes, no retry beyond one resend on another connection.
//! A misconfigured credential answers [`crate::delivery::Outcome::Misconfigured`] and never costs a device its token.
mod classify;
mod client;
pub mod config;
mod headers;
mod payload;
mod throttle;
mod token;

pub(super) use client::Client;
#[cfg(test)]
pub(crate) use token::TEST_KEY;

use std::sync::Arc;
use std::time::Duration;

use super::http2::{Endpoint, Pool, PoolConfig, WarmUp, tls_config};
use crate::allowance::Allowance;
use crate::policy::Environment;
use crate::seam::{Clock, CredentialId};
use crate::settings::Problems;
use config::ApnsConfig;
use headers::Headers;
use token::Signer;

/// Apple's addresses ("Sending notification requests to APNs").
const PRODUCTION_URL: &str = "https://api.push.apple.com";
const SANDBOX_URL: &str = "https://api.sandbox.push.apple.com";

/// A credential whose key was read and whose address was understood, not yet connected.
pub(super) struct Prepared {
    endpoint: Endpoint,
    headers: Headers,
    apps: usize,
}

impl Prepared {
    /// Reads what the section names; all problems at once.
    pub(super) fn new(config: &ApnsConfig, clock: &dyn Clock) -> Result<Self, Problems> {
        let mut problems = config.problems();
        let default_url = match config.environment {
            Environment::Production => PRODUCTION_URL,
            Environment::Sandbox => SANDBOX_URL,
        };
        let endpoint = tls_config(config.ca_file.as_deref()).map_err(|error| format!("ca_file: {error}"));
        let endpoint = endpoint.and_then(|tls| {
            let url = config.base_url.as_deref().unwrap_or(default_url);
            Endpoint::new(url, tls).map_err(|error| format!("base_url: {error}"))
        });
        let signer = config.key.as_ref().and_then(|key| Signer::new(key, &config.key_id, &config.team_id));
        problems.require(
            signer.is_some() || config.key.is_none(),
            "key_file is not a PKCS#8 private key on P-256; take the .p8 file as Apple gives it",
        );
        let headers = signer.and_then(|signer| Headers::new(signer, &config.apps, clock.now()));
        match (endpoint, headers) {
            (Ok(endpoint), Some(headers)) if problems.is_empty() => {
                Ok(Self { endpoint, headers, apps: config.apps.len() })
            }
            (endpoint, headers) => {
                if let Err(problem) = endpoint {
                    problems.add(problem);
                }
                let explained = headers.is_some() || !problems.is_empty();
                problems.require(explained, "apps has a name that is no bundle id; bundle ids are printable ASCII");
                Err(problems)
            }
        }
    }

    /// Connects, in the background. Needs a tokio runtime.
    pub(super) fn open(self, credential: CredentialId, pool: &PoolConfig, clock: Arc<dyn Clock>) -> Client {
        // Enough to replace every connection twice in a minute.
        let condemnations = u32::try_from(2 * pool.connections + 2).unwrap_or(u32::MAX);
        let condemnations = Allowance::new(condemnations, Duration::from_secs(60));
        let pool = Pool::new(Arc::clone(&credential), self.endpoint, pool.clone(), WarmUp::OneStreamUntilAccepted);
        Client::new(credential, pool, self.headers, self.apps, condemnations, clock)
    }
}

#[cfg(test)]
pub(super) fn body_for_tests(push: &crate::delivery::Push<'_>) -> serde_json::Value {
    serde_json::from_slice(&payload::encode(push).body).unwrap_or_default()
}
