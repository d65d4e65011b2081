//! What a push brings to a phone, whichever platform it came by: the members that `docs/app.md` names.
use serde_json::Value;

use crate::sandbox::apns::inbox::Push;
use crate::sandbox::fcm::inbox::Message;

/// What a push asks of the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Show an entry.
    Show,
    /// Take an entry away.
    Withdraw,
    /// Send a nonce back.
    Reach,
    /// Show it and nothing else: a kind that this phone does not know, or a push of somebody else's.
    Other,
}

/// A push, as the app reads it.
#[derive(Clone)]
pub(super) struct Arrival {
    pub(super) kind: Kind,
    /// The notification's type; empty where it has none.
    pub(super) about: String,
    pub(super) event: String,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) category: String,
    pub(super) number_required: bool,
    /// Seconds since 1970.
    pub(super) expires_at: Option<u64>,
    /// Whether it neither sounds nor lights the screen.
    pub(super) silently: bool,
    pub(super) nonce: String,
}

impl From<&Push> for Arrival {
    fn from(push: &Push) -> Self {
        let (payload, aps) = (&push.payload, &push.payload["aps"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            kind: kind(payload["kind"].as_str()),
            about: text(&payload["type"]),
            event: text(&payload["event_id"]),
            title: text(&aps["alert"]["title"]),
            body: text(&aps["alert"]["body"]),
            category: text(&aps["category"]),
            number_required: payload["number_required"] == true,
            expires_at: payload["expires_at"].as_u64(),
            silently: aps["interruption-level"] == "passive",
            nonce: text(&payload["nonce"]),
        }
    }
}

impl From<&Message> for Arrival {
    fn from(message: &Message) -> Self {
        let text = |name: &str| message.data.get(name).cloned().unwrap_or_default();
        Self {
            kind: kind(message.data.get("kind").map(String::as_str)),
            about: text("type"),
            event: text("event_id"),
            title: text("title"),
            body: text("body"),
            category: text("category"),
            number_required: text("number_required") == "true",
            expires_at: text("expires_at").parse().ok(),
            silently: text("interruption") == "passive",
            nonce: text("nonce"),
        }
    }
}

fn kind(name: Option<&str>) -> Kind {
    match name {
        Some("show") => Kind::Show,
        Some("withdraw") => Kind::Withdraw,
        Some("reach") => Kind::Reach,
        _ => Kind::Other,
    }
}
