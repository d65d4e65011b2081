//! The FCM simulator: the send method of HTTP v1 and the token endpoint before it.
//!
//! A sender's whole path is real: an assertion signed by a service account, an access token that lives and dies, a message judged
//! field by field against Google's published schema, registrations with states, quotas, and errors in Google's words.
//! Topics and conditions are judged and counted, not delivered. No legacy API, no batches, no topic management.
//! It fails as Google does: by its answers. Nothing a client sends may panic it.
mod answer;
mod check;
pub mod inbox;
mod oauth;
mod schema;
pub(crate) mod service;

#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::inbox::{Inbox, Message, Registration, RegistrationSettings};
use self::oauth::TokenEndpoint;
use super::apns::now_us;
use super::config::FcmConfig;
use super::credentials::{self, CredentialsError, Directory};

/// A service account's file and its project.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceAccountFile {
    /// The project it may send for.
    pub project_id: String,
    /// JSON as Google hands it out, `token_uri` pointing at this sandbox.
    pub path: PathBuf,
}

/// What a project may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Requests in each window.
    pub requests: u64,
    /// The window in milliseconds. Google: 60,000.
    #[serde(default = "minute")]
    pub window_ms: u64,
}

fn minute() -> u64 {
    60_000
}

impl Quota {
    /// What is wrong with it, as a sentence.
    pub fn check(&self) -> Result<(), String> {
        let day = 86_400_000;
        let good = (1..=day).contains(&self.window_ms);
        good.then_some(()).ok_or_else(|| format!("window_ms must be between 1 and {day}; it is {}", self.window_ms))
    }
}

/// Requests of one project in the running window.
struct Bucket {
    since: Instant,
    used: u64,
}

/// The quota in force, and what the projects used of it.
struct Quotas {
    quota: Option<Quota>,
    buckets: BTreeMap<String, Bucket>,
}

impl Quotas {
    fn new(quota: Option<Quota>) -> Mutex<Self> {
        Mutex::new(Self { quota, buckets: BTreeMap::new() })
    }
}

/// The FCM simulator, shared by all its connections.
pub struct Fcm {
    config: FcmConfig,
    tokens: TokenEndpoint,
    inbox: Inbox,
    stream_limit: AtomicU32,
    quotas: Mutex<Quotas>,
    refusals: Mutex<BTreeMap<(u16, String), u64>>,
}

impl std::fmt::Debug for Fcm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fcm").field("accepted", &self.accepted()).finish_non_exhaustive()
    }
}

impl Fcm {
    /// `urls` are the base URLs under which this endpoint is known, the one for the files first.
    pub(crate) fn new(config: FcmConfig, dir: &Directory, urls: &[String]) -> Result<Self, CredentialsError> {
        let audiences: Vec<String> = urls.iter().map(|url| format!("{url}/token")).collect();
        let token_uri = audiences.first().cloned().unwrap_or_default();
        let accounts = config.projects.iter();
        let accounts = accounts.map(|project| credentials::service_account(dir, &project.project_id, &token_uri));
        let lifetime = Duration::from_secs(config.token_lifetime_s);
        Ok(Self {
            tokens: TokenEndpoint::new(accounts.collect::<Result<_, _>>()?, audiences, lifetime),
            inbox: Inbox::new(config.recording, config.strict_tokens),
            stream_limit: AtomicU32::new(config.stream_limit),
            quotas: Quotas::new(config.quota()),
            refusals: Mutex::default(),
            config,
        })
    }

    /// The service-account files a client authenticates with.
    #[must_use]
    pub fn service_accounts(&self) -> Vec<ServiceAccountFile> {
        let accounts = self.tokens.accounts.iter();
        accounts
            .map(|account| ServiceAccountFile { project_id: account.project_id.clone(), path: account.file.clone() })
            .collect()
    }

    /// Messages accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.inbox.accepted()
    }

    /// Requests refused so far, by HTTP status and error code or OAuth error.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<(u16, String), u64> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A registration that received something or was set.
    #[must_use]
    pub fn registration(&self, token: &str) -> Option<Registration> {
        self.inbox.registration(token)
    }

    /// All such registration tokens, sorted.
    #[must_use]
    pub fn tokens(&self) -> Vec<String> {
        self.inbox.tokens()
    }

    /// Every accepted message in the order of acceptance (full recording only).
    #[must_use]
    pub fn messages(&self) -> Vec<Arc<Message>> {
        self.inbox.messages()
    }

    /// The messages that reach a device from now on.
    pub(crate) fn listen(&self, token: &str) -> tokio::sync::mpsc::UnboundedReceiver<Arc<Message>> {
        self.inbox.listen(token)
    }

    /// Says what FCM believes of a registration.
    pub fn set_registration(&self, token: &str, settings: RegistrationSettings) {
        self.inbox.set(token, settings, now_us() / 1_000);
    }

    /// Makes every access token issued so far unknown: the next send with it gets 401.
    pub fn revoke_access_tokens(&self) {
        self.tokens.revoke_all();
    }

    /// Puts another quota into force for every project, or none; what was used is forgotten.
    pub fn set_quota(&self, quota: Option<Quota>) {
        *self.quotas.lock().unwrap_or_else(PoisonError::into_inner) = Quotas { quota, buckets: BTreeMap::new() };
    }

    /// Everything that a sender has shown or been given and that must stay secret: assertions and access tokens. For tests that look for
    /// them where they must not be.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        self.tokens.secrets()
    }

    /// Forgets registrations, settings and counts; accounts, access tokens and connections stay.
    pub fn reset(&self) {
        self.inbox.reset();
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.set_quota(self.config.quota());
        self.stream_limit.store(self.config.stream_limit, Ordering::Relaxed);
    }

    pub(crate) fn set_stream_limit(&self, limit: u32) {
        self.stream_limit.store(limit, Ordering::Relaxed);
    }

    fn count_refusal(&self, status: u16, reason: String) {
        *self.refusals.lock().unwrap_or_else(PoisonError::into_inner).entry((status, reason)).or_default() += 1;
    }

    /// Takes one request from the project's quota; false if none is left. What is refused for it takes nothing.
    fn within_quota(&self, project: &str) -> bool {
        let mut quotas = self.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Quota { requests, window_ms }) = quotas.quota else { return true };
        let window = Duration::from_millis(window_ms);
        // The window begins with the project's first request: Google's minutes follow no clock either.
        let bucket =
            quotas.buckets.entry(project.to_owned()).or_insert_with(|| Bucket { since: Instant::now(), used: 0 });
        if bucket.since.elapsed() >= window {
            *bucket = Bucket { since: Instant::now(), used: 0 };
        }
        let free = bucket.used < requests;
        bucket.used += u64::from(free);
        free
    }
}
