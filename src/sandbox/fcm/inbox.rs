//! What the app instances behind FCM have received.
//!
//! For each registration: every accepted message in the order of arrival, what is on its screen, what waits while it is offline
//! (a hundred messages and four collapse keys, as FCM stores), and the state a test gave it.
//! What is on the screen follows a convention that apps commonly keep for data messages: a message whose data has [`TAG`]
//! replaces the entry of that tag, and one whose [`KIND`] is [`WITHDRAW`] removes it; a notification message replaces by its own
//! `tag`. It knows no app and shows nothing; a phone of the sandbox listens to its token and is woken by what reaches the device.
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::schema::{duration, get};
use crate::sandbox::config::Recording;

/// Data key: the entry on the screen that a message belongs to.
pub const TAG: &str = "tag";
/// Data key: what a message asks of the app.
pub const KIND: &str = "kind";
/// Value of [`KIND`]: take the entry of this tag off the screen.
pub const WITHDRAW: &str = "withdraw";
/// Messages without a collapse key that FCM stores for a device; at one more all are dropped (Firebase, "About FCM messages").
const STORED: usize = 100;
/// Collapse keys that FCM stores for a device.
const STORED_KEYS: usize = 4;
/// Time to live without `ttl`: four weeks, in seconds.
const DEFAULT_TTL_S: u64 = 2_419_200;

/// What FCM believes of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationState {
    /// Messages are accepted.
    #[default]
    Live,
    /// 404 UNREGISTERED.
    Unregistered,
    /// 400 INVALID_ARGUMENT with the token's field named.
    Malformed,
    /// 403 SENDER_ID_MISMATCH.
    OtherSender,
    /// 429 QUOTA_EXCEEDED for this device.
    Throttled,
    /// 401 THIRD_PARTY_AUTH_ERROR: an Apple or web registration whose key in Firebase is bad.
    ThirdPartyAuth,
}

/// What a test says about a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrationSettings {
    /// What FCM believes of it.
    #[serde(default)]
    pub state: RegistrationState,
    /// Whether the device can be reached; if not, messages wait as long as their time to live.
    #[serde(default = "yes")]
    pub online: bool,
}

fn yes() -> bool {
    true
}

impl Default for RegistrationSettings {
    fn default() -> Self {
        Self { state: RegistrationState::Live, online: true }
    }
}

/// One accepted message.
#[derive(Clone, PartialEq, Serialize)]
pub struct Message {
    /// Its place among all accepted messages of this sandbox, from 0.
    pub sequence: u64,
    /// When it was accepted, in milliseconds since 1970.
    pub at_ms: u64,
    /// The registration it was for.
    pub token: String,
    /// `projects/{id}/messages/{id}`, as answered.
    pub name: String,
    /// The project that sent it.
    pub project: String,
    /// Its data as the device gets it.
    pub data: BTreeMap<String, String>,
    /// `HIGH` or `NORMAL`; absent in the message it follows from its kind.
    pub priority: &'static str,
    /// Seconds.
    pub ttl_s: u64,
    /// `android.collapseKey`.
    pub collapse_key: Option<String>,
    /// The entry on the screen that it belongs to.
    pub tag: Option<String>,
    /// Whether it takes that entry away.
    pub withdraws: bool,
    /// The whole `message`.
    pub message: Value,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message").field("sequence", &self.sequence).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Message {
    /// Reads from a judged `message` what the device would see.
    pub(crate) fn read(token: &str, project: &str, name: String, at_ms: u64, message: Value) -> Self {
        let android = get(&message, "android").or_else(|| get(&message, "androidV2"));
        let field = |name: &str| android.and_then(|android| get(android, name));
        let data: BTreeMap<String, String> = field("data")
            .or_else(|| get(&message, "data"))
            .and_then(Value::as_object)
            .map(|data| {
                data.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
            })
            .unwrap_or_default();
        let remote = field("remoteNotification").and_then(|remote| get(remote, "notification"));
        let notification = field("notification").or(remote);
        let shown = notification.is_some() || get(&message, "notification").is_some();
        let high = match field("priority").and_then(Value::as_str) {
            Some(priority) => priority == "HIGH",
            None => shown,
        };
        let own_tag = notification.and_then(|own| get(own, "tag")).and_then(Value::as_str).map(str::to_owned);
        let ttl = field("ttl").and_then(Value::as_str).and_then(duration);
        Self {
            sequence: 0,
            at_ms,
            token: token.to_owned(),
            name,
            project: project.to_owned(),
            priority: if high { "HIGH" } else { "NORMAL" },
            ttl_s: ttl.map_or(DEFAULT_TTL_S, |(seconds, _)| seconds.unsigned_abs()),
            collapse_key: field("collapseKey").and_then(Value::as_str).map(str::to_owned),
            tag: data.get(TAG).cloned().or(own_tag),
            withdraws: data.get(KIND).is_some_and(|kind| kind == WITHDRAW),
            data,
            message,
        }
    }
}

/// One registration as a test sees it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Registration {
    /// What was said about it.
    pub settings: RegistrationSettings,
    /// Every accepted message in the order of arrival, whether it reached the device or not.
    pub received: Vec<Arc<Message>>,
    /// What is on the screen, oldest first.
    pub shown: Vec<Arc<Message>>,
    /// What waits until the device is online.
    pub waiting: Vec<Arc<Message>>,
    /// Whether more than a hundred messages waited and all were dropped (`onDeletedMessages` in the app).
    pub deleted_messages: bool,
    /// Who is woken by what reaches the device.
    #[serde(skip)]
    listener: Option<UnboundedSender<Arc<Message>>>,
}

impl Registration {
    /// How many accepted messages had each tag.
    #[must_use]
    pub fn by_tag(&self) -> HashMap<&str, usize> {
        let mut counts = HashMap::new();
        for tag in self.received.iter().filter_map(|message| message.tag.as_deref()) {
            *counts.entry(tag).or_default() += 1;
        }
        counts
    }

    fn take(&mut self, message: Arc<Message>) {
        self.received.push(Arc::clone(&message));
        if self.settings.online {
            return self.show(message);
        }
        if message.ttl_s == 0 {
            return;
        }
        match &message.collapse_key {
            Some(key) => {
                self.waiting.retain(|waiting| waiting.collapse_key.as_ref() != Some(key));
                self.waiting.push(message);
                let keyed = self.waiting.iter().filter(|waiting| waiting.collapse_key.is_some()).count();
                if keyed > STORED_KEYS
                    && let Some(oldest) = self.waiting.iter().position(|waiting| waiting.collapse_key.is_some())
                {
                    // FCM keeps four and promises not which; here the oldest goes.
                    self.waiting.remove(oldest);
                }
            }
            None => {
                self.waiting.push(message);
                if self.waiting.iter().filter(|waiting| waiting.collapse_key.is_none()).count() > STORED {
                    self.waiting.retain(|waiting| waiting.collapse_key.is_some());
                    self.deleted_messages = true;
                }
            }
        }
    }

    fn show(&mut self, message: Arc<Message>) {
        if let Some(listener) = &self.listener {
            // A phone that is gone is told nothing.
            listener.send(Arc::clone(&message)).ok();
        }
        if let Some(tag) = &message.tag {
            self.shown.retain(|shown| shown.tag.as_ref() != Some(tag));
        }
        if !message.withdraws {
            self.shown.push(message);
        }
    }
}

/// All registrations.
pub(crate) struct Inbox {
    recording: Recording,
    strict: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    registrations: HashMap<String, Registration>,
    known: std::collections::HashSet<String>,
    accepted: u64,
}

impl Inbox {
    pub(crate) fn new(recording: Recording, strict: bool) -> Self {
        Self { recording, strict, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What FCM believes of a token.
    pub(crate) fn believes(&self, token: &str) -> RegistrationState {
        let state = self.state();
        if self.strict && !state.known.contains(token) {
            return RegistrationState::Malformed;
        }
        state.registrations.get(token).map(|registration| registration.settings.state).unwrap_or_default()
    }

    /// Records an accepted message; to a topic it is only counted.
    pub(crate) fn accept(&self, token: Option<&str>, message: impl FnOnce() -> Message) {
        let mut state = self.state();
        let sequence = state.accepted;
        state.accepted += 1;
        if let (Some(token), Recording::Full) = (token, self.recording) {
            let message = Message { sequence, ..message() };
            state.registrations.entry(token.to_owned()).or_default().take(Arc::new(message));
        }
    }

    /// Says something about a token. A device that comes online gets what waited and still lives.
    pub(crate) fn set(&self, token: &str, settings: RegistrationSettings, now_ms: u64) {
        let mut state = self.state();
        state.known.insert(token.to_owned());
        let registration = state.registrations.entry(token.to_owned()).or_default();
        registration.settings = settings;
        if registration.settings.online {
            for message in std::mem::take(&mut registration.waiting) {
                if message.at_ms + message.ttl_s * 1_000 > now_ms {
                    registration.show(message);
                }
            }
        }
    }

    /// What reaches the device from now on, as long as it is not forgotten. The token is known from now on. Needs a full recording.
    pub(crate) fn listen(&self, token: &str) -> UnboundedReceiver<Arc<Message>> {
        let (listener, messages) = unbounded_channel();
        let mut state = self.state();
        state.known.insert(token.to_owned());
        state.registrations.entry(token.to_owned()).or_default().listener = Some(listener);
        messages
    }

    pub(crate) fn registration(&self, token: &str) -> Option<Registration> {
        self.state().registrations.get(token).cloned()
    }

    pub(crate) fn tokens(&self) -> Vec<String> {
        let mut tokens: Vec<String> = self.state().registrations.keys().cloned().collect();
        tokens.sort_unstable();
        tokens
    }

    pub(crate) fn messages(&self) -> Vec<Arc<Message>> {
        let state = self.state();
        let mut messages: Vec<_> = state.registrations.values().flat_map(|one| one.received.iter().cloned()).collect();
        messages.sort_unstable_by_key(|message| message.sequence);
        messages
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.state().accepted
    }

    pub(crate) fn reset(&self) {
        *self.state() = State::default();
    }
}
