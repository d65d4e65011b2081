//! The APNs simulator: what Apple's push service answers, and what the devices behind it receive.
//!
//! For tests, demonstrations and load: provider tokens are really verified, headers and payloads judged by Apple's documented
//! rules, device tokens have states, and every answer has Apple's status, reason and body. Where Apple documents nothing the
//! source of the behaviour stands beside it.
//! No broadcast channels, no certificates of providers, no delivery over the air. Of what Apple does to connections one thing is not
//! here: refusing a bundle id that is new to the connection (Apple does not say which pushes of a connection count as its first).
//! It fails as Apple does: by its answers. Nothing a client sends may panic it.
mod check;
pub mod inbox;
mod payload;
pub mod reason;
pub(crate) mod service;
mod token;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use self::inbox::{Device, DeviceSettings, Inbox, Push};
use self::token::{KnownKey, Verifier};
use super::config::{ApnsConfig, ApnsKey, Environment};
use super::credentials::{self, CredentialsError, Directory};

/// A key file and what it is good for.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ApnsKeyFile {
    /// The key as configured.
    #[serde(flatten)]
    pub key: ApnsKey,
    /// PKCS#8 PEM, as Apple hands it out.
    pub path: PathBuf,
}

/// The APNs simulator, shared by all its connections.
pub struct Apns {
    config: ApnsConfig,
    verifier: Verifier,
    inbox: Inbox,
    key_files: Vec<ApnsKeyFile>,
    /// The limit that connections rise to; the control endpoint may change it.
    stream_limit: AtomicU32,
    /// Refusals by status and reason.
    refusals: Mutex<BTreeMap<(u16, String), u64>>,
    /// The provider tokens that senders have shown.
    shown: Mutex<BTreeSet<String>>,
}

impl std::fmt::Debug for Apns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Apns").field("accepted", &self.accepted()).finish_non_exhaustive()
    }
}

impl Apns {
    pub(crate) fn new(config: ApnsConfig, dir: &Directory) -> Result<Self, CredentialsError> {
        let mut known = Vec::new();
        let mut key_files = Vec::new();
        for key in &config.keys {
            let (path, public) = credentials::apns_key(dir, &key.key_id)?;
            known.push(KnownKey { key: key.clone(), public });
            key_files.push(ApnsKeyFile { key: key.clone(), path });
        }
        Ok(Self {
            verifier: Verifier::new(known, config.accept_der),
            inbox: Inbox::new(config.recording, config.strict_tokens),
            key_files,
            stream_limit: AtomicU32::new(config.stream_limit),
            refusals: Mutex::default(),
            shown: Mutex::default(),
            config,
        })
    }

    /// The key files a client signs with.
    #[must_use]
    pub fn keys(&self) -> &[ApnsKeyFile] {
        &self.key_files
    }

    /// The environment that a key pushes to here; `None`: both.
    pub fn environment_of(&self, key: &ApnsKey) -> Option<Environment> {
        self.config.environment.or(key.environment)
    }

    /// Pushes accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.inbox.accepted()
    }

    /// Requests refused so far, by HTTP status and reason.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<(u16, String), u64> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A device that received something or was set; upper and lower case of the token are the same.
    #[must_use]
    pub fn device(&self, token: &str) -> Option<Device> {
        self.inbox.device(token)
    }

    /// All such device tokens, sorted.
    #[must_use]
    pub fn tokens(&self) -> Vec<String> {
        self.inbox.tokens()
    }

    /// Every accepted push in the order of acceptance (full recording only).
    #[must_use]
    pub fn pushes(&self) -> Vec<Arc<Push>> {
        self.inbox.pushes()
    }

    /// Apns-id and arrival in microseconds since 1970 of every push since the last call (recording `arrivals` only).
    #[must_use]
    pub fn take_arrivals(&self) -> Vec<(u128, u64)> {
        self.inbox.take_arrivals()
    }

    /// The good provider tokens that senders have shown. For tests that look for them where they must not be.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The pushes that reach a device from now on.
    pub(crate) fn listen(&self, token: &str) -> tokio::sync::mpsc::UnboundedReceiver<Arc<Push>> {
        self.inbox.listen(token)
    }

    /// Says what APNs believes of a device token.
    pub fn set_device(&self, token: &str, settings: DeviceSettings) {
        self.inbox.set(token, settings, now_us() / 1_000_000);
    }

    /// Forgets devices, settings and counts; keys and connections stay.
    pub fn reset(&self) {
        self.inbox.reset();
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.stream_limit.store(self.config.stream_limit, Ordering::Relaxed);
    }

    pub(crate) fn set_stream_limit(&self, limit: u32) {
        self.stream_limit.store(limit, Ordering::Relaxed);
    }

    fn count_refusal(&self, status: u16, reason: &str) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        *refusals.entry((status, reason.to_owned())).or_default() += 1;
    }
}

/// Microseconds since 1970; 0 on a machine whose clock stands before that.
pub(crate) fn now_us() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
