//! What the devices behind APNs have received.
//!
//! For each device token: every accepted push in the order of arrival, what is on its screen (a later push with the same
//! collapse id has replaced the earlier), what waits for an offline device (one push for each app, as Apple keeps), and the state
//! a test gave it. A phone of the sandbox listens to its token and is woken by what reaches the device.
//! It does not judge requests. Devices are spread over shards by their token, so that connections seldom meet at a lock.
//! Memory grows with each recorded push; [`crate::sandbox::config::Recording`] says how much is kept.
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::reason::Reason;
use crate::sandbox::config::{Environment, Recording};

/// A power of two.
const SHARDS: usize = 32;

/// What APNs believes of a device token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TokenState {
    /// Pushes are accepted.
    #[default]
    Live,
    /// 400 BadDeviceToken.
    Bad,
    /// 410 Unregistered.
    Unregistered {
        /// Since when, in milliseconds since 1970.
        timestamp: u64,
    },
    /// 410 ExpiredToken.
    Expired {
        /// Since when, in milliseconds since 1970.
        timestamp: u64,
    },
    /// 429 TooManyRequests.
    Throttled,
}

/// What a test says about a device token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSettings {
    /// What APNs believes of it.
    #[serde(flatten)]
    pub state: TokenState,
    /// The environment it belongs to; without it both. A push from the other one gets BadDeviceToken.
    #[serde(default)]
    pub environment: Option<Environment>,
    /// The app it belongs to; without it any. A push for another topic gets DeviceTokenNotForTopic.
    #[serde(default)]
    pub topic: Option<String>,
    /// Whether the device can be reached; if not, accepted pushes wait or are dropped as Apple's storage does.
    #[serde(default = "yes")]
    pub online: bool,
}

fn yes() -> bool {
    true
}

impl Default for DeviceSettings {
    fn default() -> Self {
        Self { state: TokenState::Live, environment: None, topic: None, online: true }
    }
}

/// One accepted push.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Push {
    /// Its place among all accepted pushes of this sandbox, from 0.
    pub sequence: u64,
    /// When it was accepted, in milliseconds since 1970.
    pub at_ms: u64,
    /// The device token it was for.
    pub token: String,
    /// `apns-id`.
    pub apns_id: String,
    /// `apns-topic`.
    pub topic: String,
    /// `apns-push-type`, or `alert` if it was absent.
    pub push_type: &'static str,
    /// `apns-priority`, or 10.
    pub priority: u8,
    /// `apns-expiration`, in seconds since 1970.
    pub expiration: Option<u64>,
    /// `apns-collapse-id`.
    pub collapse_id: Option<String>,
    /// The key that signed its provider token.
    pub key_id: String,
    /// All other headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body; `Null` if it was no JSON.
    pub payload: serde_json::Value,
    /// The body's length in bytes.
    pub payload_bytes: usize,
}

impl std::fmt::Debug for Push {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Push")
            .field("sequence", &self.sequence)
            .field("apns_id", &self.apns_id)
            .field("topic", &self.topic)
            .field("push_type", &self.push_type)
            .field("collapse_id", &self.collapse_id)
            .finish_non_exhaustive()
    }
}

impl Push {
    /// Whether it had already expired when it was accepted. Expiration 0 is one attempt now, and never late.
    #[must_use]
    pub fn expired_on_arrival(&self) -> bool {
        self.expiration.is_some_and(|until| until > 0 && until.saturating_mul(1_000) < self.at_ms)
    }
}

/// One device as a test sees it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Device {
    /// What was said about it.
    pub settings: DeviceSettings,
    /// Every accepted push in the order of arrival, whether it reached the screen or not.
    pub received: Vec<Arc<Push>>,
    /// What is on the screen, oldest first; a push with a collapse id has replaced the earlier one and stands last.
    pub shown: Vec<Arc<Push>>,
    /// What waits until the device is online: one push for each topic.
    pub waiting: Vec<Arc<Push>>,
    /// Who is woken by what reaches the device.
    #[serde(skip)]
    listener: Option<UnboundedSender<Arc<Push>>>,
}

impl Device {
    /// How many accepted pushes had each apns-id.
    #[must_use]
    pub fn by_apns_id(&self) -> HashMap<&str, usize> {
        let mut counts = HashMap::new();
        for push in &self.received {
            *counts.entry(push.apns_id.as_str()).or_default() += 1;
        }
        counts
    }

    /// How many accepted pushes had each collapse id.
    #[must_use]
    pub fn by_collapse_id(&self) -> HashMap<&str, usize> {
        let mut counts = HashMap::new();
        for id in self.received.iter().filter_map(|push| push.collapse_id.as_deref()) {
            *counts.entry(id).or_default() += 1;
        }
        counts
    }

    fn take(&mut self, push: Arc<Push>, now_s: u64) {
        self.received.push(Arc::clone(&push));
        if self.settings.online {
            self.show(push);
        } else if push.expiration.is_none_or(|until| until > now_s) {
            // Apple stores one push for each app, usually the latest.
            self.waiting.retain(|waiting| waiting.topic != push.topic);
            self.waiting.push(push);
        }
    }

    fn show(&mut self, push: Arc<Push>) {
        if let Some(listener) = &self.listener {
            // A phone that is gone is told nothing.
            listener.send(Arc::clone(&push)).ok();
        }
        if push.push_type == "background" {
            return;
        }
        if push.collapse_id.is_some() {
            self.shown.retain(|shown| shown.collapse_id != push.collapse_id || shown.topic != push.topic);
        }
        self.shown.push(push);
    }
}

/// All devices.
pub(crate) struct Inbox {
    recording: Recording,
    strict: bool,
    shards: Vec<Mutex<HashMap<Box<str>, Device>>>,
    hasher: RandomState,
    /// Tokens of which something was said; while 0, load tests need not look.
    settings: AtomicUsize,
    accepted: AtomicU64,
    arrivals: Mutex<Vec<(u128, u64)>>,
}

impl Inbox {
    pub(crate) fn new(recording: Recording, strict: bool) -> Self {
        Self {
            recording,
            strict,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            settings: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            arrivals: Mutex::default(),
        }
    }

    fn shard(&self, token: &str) -> MutexGuard<'_, HashMap<Box<str>, Device>> {
        let index = self.hasher.hash_one(token) as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether APNs would take a push for this token now; else the reason and its timestamp.
    pub(crate) fn admit(
        &self,
        token: &str,
        bundle: &str,
        environment: Option<Environment>,
    ) -> Result<(), (Reason, Option<u64>)> {
        if self.settings.load(Ordering::Acquire) == 0 {
            return if self.strict { Err((Reason::BadDeviceToken, None)) } else { Ok(()) };
        }
        let shard = self.shard(token);
        // In strict mode nothing is received before it was set, so every device here was.
        let Some(settings) = shard.get(token).map(|device| &device.settings) else {
            return if self.strict { Err((Reason::BadDeviceToken, None)) } else { Ok(()) };
        };
        if settings.environment.is_some_and(|own| environment.is_some_and(|asked| own != asked)) {
            return Err((Reason::BadDeviceToken, None));
        }
        if settings.topic.as_deref().is_some_and(|own| own != bundle) {
            return Err((Reason::DeviceTokenNotForTopic, None));
        }
        match settings.state {
            TokenState::Live => Ok(()),
            TokenState::Bad => Err((Reason::BadDeviceToken, None)),
            TokenState::Unregistered { timestamp } => Err((Reason::Unregistered, Some(timestamp))),
            TokenState::Expired { timestamp } => Err((Reason::ExpiredToken, Some(timestamp))),
            TokenState::Throttled => Err((Reason::TooManyRequests, None)),
        }
    }

    /// Records an accepted push; `push` is only built when it is kept.
    pub(crate) fn accept(&self, apns_id: &[u8; 36], now_us: u64, push: impl FnOnce(u64) -> Push) {
        let sequence = self.accepted.fetch_add(1, Ordering::Relaxed);
        match self.recording {
            Recording::Counters => {}
            Recording::Arrivals => {
                let id = uuid::Uuid::try_parse_ascii(apns_id).map_or(0, |id| id.as_u128());
                self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push((id, now_us));
            }
            Recording::Full => {
                let push = push(sequence);
                let mut shard = self.shard(&push.token);
                let push = Arc::new(push);
                let device = shard.entry(push.token.as_str().into()).or_default();
                device.take(push, now_us / 1_000_000);
            }
        }
    }

    /// Says something about a token. A device that comes online gets what waited and has not expired.
    pub(crate) fn set(&self, token: &str, settings: DeviceSettings, now_s: u64) {
        let token = token.to_ascii_lowercase();
        let mut shard = self.shard(&token);
        let device = shard.entry(token.as_str().into()).or_default();
        device.settings = settings;
        if device.settings.online {
            for push in std::mem::take(&mut device.waiting) {
                if push.expiration.is_none_or(|until| until > now_s) {
                    device.show(push);
                }
            }
        }
        self.settings.fetch_add(1, Ordering::Release);
    }

    /// What reaches the device from now on, as long as it is not forgotten. The token is known from now on. Needs a full recording.
    pub(crate) fn listen(&self, token: &str) -> UnboundedReceiver<Arc<Push>> {
        let (listener, pushes) = unbounded_channel();
        self.shard(token).entry(token.into()).or_default().listener = Some(listener);
        self.settings.fetch_add(1, Ordering::Release);
        pushes
    }

    pub(crate) fn device(&self, token: &str) -> Option<Device> {
        let token = token.to_ascii_lowercase();
        self.shard(&token).get(token.as_str()).cloned()
    }

    pub(crate) fn tokens(&self) -> Vec<String> {
        let mut tokens: Vec<String> = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.extend(shard.keys().map(|token| token.to_string()));
        }
        tokens.sort_unstable();
        tokens
    }

    /// Every recorded push in the order of acceptance.
    pub(crate) fn pushes(&self) -> Vec<Arc<Push>> {
        let mut pushes: Vec<Arc<Push>> = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            pushes.extend(shard.values().flat_map(|device| device.received.iter().cloned()));
        }
        pushes.sort_unstable_by_key(|push| push.sequence);
        pushes
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(crate) fn take_arrivals(&self) -> Vec<(u128, u64)> {
        std::mem::take(&mut self.arrivals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets devices, settings and counts.
    pub(crate) fn reset(&self) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        self.settings.store(0, Ordering::Release);
        self.accepted.store(0, Ordering::Relaxed);
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
