//! Firebase Cloud Messaging, HTTP v1.
//!
//! The point: data messages only, so that the app draws the buttons; and each of Google's answers has one meaning, stated in one table
//! (`classify`), in which a bare 404 never costs a device its token.
//! Deliberately no topics, no collapse keys, no messages to Apple's devices, no retry but one with a new access token.
//! A misconfigured project answers [`crate::delivery::Outcome::Misconfigured`] and never costs a device its token.
mod access;
mod account;
mod classify;
mod client;
pub mod config;
mod exchange;
mod payload;
#[cfg(test)]
mod schema;

#[cfg(test)]
pub(super) use account::tests::file as service_account_for_tests;
pub(super) use client::Client;

use std::path::Path;
use std::sync::Arc;

use http::uri::PathAndQuery;

use super::http2::{Endpoint, Pool, PoolConfig, WarmUp, tls_config};
use crate::seam::{Clock, CredentialId};
use crate::settings::Problems;
use access::AccessTokens;
use account::Account;
use config::FcmConfig;
use exchange::Exchange;

/// Google's address (FCM REST v1).
const BASE_URL: &str = "https://fcm.googleapis.com";

/// A project whose account was read and whose address was understood, not yet connected.
pub(super) struct Prepared {
    endpoint: Endpoint,
    access: Arc<AccessTokens>,
    path: PathAndQuery,
    apps: usize,
}

impl Prepared {
    /// Reads what the section names; all problems at once.
    pub(super) fn new(config: &FcmConfig, clock: &Arc<dyn Clock>) -> Result<Self, Problems> {
        let mut problems = config.problems();
        let tls = tls_config(config.ca_file.as_deref()).map_err(|error| format!("ca_file: {error}"));
        let ca_file = tls.is_ok().then_some(config.ca_file.as_deref()).flatten();
        let endpoint = tls.and_then(|tls| {
            let url = config.base_url.as_deref().unwrap_or(BASE_URL);
            Endpoint::new(url, tls).map_err(|error| format!("base_url: {error}"))
        });
        let exchange = config.service_account.as_ref().map(|file| exchange(file, config, ca_file, clock));
        match (endpoint, exchange) {
            (Ok(endpoint), Some(Ok((exchange, path)))) if problems.is_empty() => {
                let access = AccessTokens::new(exchange, Arc::clone(clock));
                Ok(Self { endpoint, access, path, apps: config.apps.len() })
            }
            (endpoint, exchange) => {
                endpoint.map_or_else(|problem| problems.add(problem), |_| ());
                if let Some(Err(problem)) = exchange {
                    problems.add(problem);
                }
                Err(problems)
            }
        }
    }

    /// Connects, in the background. Needs a tokio runtime.
    pub(super) fn open(self, credential: CredentialId, pool: &PoolConfig, clock: Arc<dyn Clock>) -> Client {
        let pool = Pool::new(Arc::clone(&credential), self.endpoint, pool.clone(), WarmUp::None);
        Client::new(credential, pool, self.access, self.path, self.apps, clock)
    }
}

fn exchange(
    file: &secrecy::SecretString,
    config: &FcmConfig,
    ca_file: Option<&Path>,
    clock: &Arc<dyn Clock>,
) -> Result<(Exchange, PathAndQuery), String> {
    let account =
        Account::new(file, config.token_url.as_deref()).map_err(|why| format!("service_account_file {why}"))?;
    let path = format!("/v1/projects/{}/messages:send", account.project_id);
    let path = path.parse().map_err(|_| "service_account_file has a project_id that is none".to_owned())?;
    let roots = ca_file.map(roots).transpose().map_err(|why| format!("ca_file: {why}"))?;
    let exchange = Exchange::new(account, roots, Arc::clone(clock)).map_err(|why| format!("token_url: {why}"))?;
    Ok((exchange, path))
}

fn roots(path: &Path) -> Result<Vec<reqwest::Certificate>, String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string())
}
