//! What Recent shows: what happened to a person's notifications, without their contents.
use super::{ClosedReason, NoticeKind, Person, Verb};
use crate::event::{DeviceId, EventId, NotificationType, Timestamp};

/// A device's word that it showed a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whose device.
    pub person: Person,
    /// The notification's type.
    pub kind: NotificationType,
    /// The notification's event.
    pub event: EventId,
    /// Which device.
    pub device: DeviceId,
    /// When it said so.
    pub at: Timestamp,
}

/// What can happen to a person's notifications, as Recent shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// To whom.
    pub person: Person,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Happening,
    /// The notification's type.
    pub kind: NotificationType,
    /// The notification's event.
    pub event: EventId,
    /// On which device; `None` where it concerns none, or all.
    pub device: Option<DeviceId>,
    /// Why, as in outcomes; empty where there is nothing to say.
    pub reason: String,
}

impl Activity {
    /// What upstream hears of it while the request is open: why nobody may answer from a notification. `None` where there is nothing to say,
    /// or nobody waits for an answer. One phone that its person made quiet is not told upstream, because another one rings; that all of
    /// them are is. Of what was not delivered only the lack of a device has no reason.
    pub fn notice(&self) -> Option<NoticeKind> {
        if !self.kind.is_actionable() {
            return None;
        }
        match (self.what, self.reason.as_str()) {
            (Happening::Suppressed, "muted_by_user" | "all_devices_quiet") => Some(NoticeKind::Muted),
            (Happening::Suppressed, "disabled_by_workspace") => Some(NoticeKind::Disabled),
            (Happening::Suppressed, "fatigue_guard") => Some(NoticeKind::Guard),
            (Happening::Undelivered, "") => Some(NoticeKind::NoDevice),
            (Happening::Undelivered, _) => Some(NoticeKind::Undeliverable),
            _ => None,
        }
    }
}

/// See [`Activity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// The provider took it.
    Delivered,
    /// Policy kept it from ringing.
    Suppressed,
    /// It could not be delivered.
    Undelivered,
    /// The app said that it was shown.
    Seen,
    /// Approved.
    Approved,
    /// Denied.
    Denied,
    /// Denied, and the person did not start it.
    DeniedNotMe,
    /// Its time was over.
    Expired,
    /// A newer one took its place.
    Superseded,
    /// Upstream cancelled it.
    Cancelled,
}

impl Happening {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Delivered,
        Self::Suppressed,
        Self::Undelivered,
        Self::Seen,
        Self::Approved,
        Self::Denied,
        Self::DeniedNotMe,
        Self::Expired,
        Self::Superseded,
        Self::Cancelled,
    ];

    /// The name in the API and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Suppressed => "suppressed",
            Self::Undelivered => "undelivered",
            Self::Seen => "seen",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::DeniedNotMe => "denied_not_me",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }

    /// What has that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|happening| happening.name() == name)
    }
}

impl From<Verb> for Happening {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Approve => Self::Approved,
            Verb::Deny => Self::Denied,
            Verb::DenyNotMe => Self::DeniedNotMe,
        }
    }
}

impl From<ClosedReason> for Happening {
    fn from(reason: ClosedReason) -> Self {
        match reason {
            ClosedReason::Expired => Self::Expired,
            ClosedReason::Superseded => Self::Superseded,
            ClosedReason::Cancelled => Self::Cancelled,
        }
    }
}
