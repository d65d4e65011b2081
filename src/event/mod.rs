//! Events: what upstream services say happened, checked and in the domain's own types.
//!
//! The point: whatever leaves [`decode()`] is complete and within its limits, so nothing behind it checks again. This module is the only
//! one that reads upstream's protobuf. It deliberately drops what Watchbell never needs (the IP address, the location, the match
//! number itself), so that those cannot leak into a push, a job, a log or an outcome; [`decode_whole`] has them beside it, for what awaits an
//! answer.
//!
//! It fails closed: bytes that are no event give a [`DecodeError`] with a precise reason, and the caller dead-letters them as they are.
//!
//! Invariant: does no I/O, reads no clock.
mod decode;
mod headers;
mod id;
mod notice;
mod text;
mod time;
pub mod wire;

pub use decode::{Checked, DecodeError, LIFETIME_MAX, Limits, decode, decode_whole, to_timestamp, wire_body};
pub(crate) use decode::{FUTURE_MAX, occurred_within, text};
pub use headers::{FEED_HEADER, Headers, TRACEPARENT, TYPE_HEADER, is_traceparent};
pub use id::{DeviceId, EventId, ID_BYTES_MAX, IdError, UserId, WorkspaceId};
pub use notice::SystemNotice;
pub use text::is_invisible;
pub use time::Timestamp;

use std::time::Duration;

/// The notification types. Each has a topic of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationType {
    /// Somebody signs in and the person must say whether it is them.
    IdentityVerification,
    /// A new device wants to be trusted.
    TrustedDevice,
    /// An account was shared with the person.
    AccountSharing,
    /// A one-time password arrived.
    OtpReceived,
}

impl NotificationType {
    /// How many there are: the length of an array indexed by [`Self::index`].
    pub const COUNT: usize = 4;

    /// All of them, in the order of [`Self::index`].
    pub const ALL: [Self; Self::COUNT] =
        [Self::IdentityVerification, Self::TrustedDevice, Self::AccountSharing, Self::OtpReceived];

    /// Position in arrays kept by type.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name in config, metrics, payloads and the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IdentityVerification => "identity_verification",
            Self::TrustedDevice => "trusted_device",
            Self::AccountSharing => "account_sharing",
            Self::OtpReceived => "otp_received",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// How long an event without `expires_at` lives.
    ///
    /// Five and ten minutes bound how long a secret that the person transfers stays valid (NIST SP 800-63B-4: at most ten); a
    /// one-time password is of no use after about two; a share may be learnt of days later.
    pub const fn default_lifetime(self) -> Duration {
        match self {
            Self::IdentityVerification => Duration::from_secs(5 * 60),
            Self::TrustedDevice => Duration::from_secs(10 * 60),
            Self::AccountSharing => Duration::from_secs(7 * 24 * 3600),
            Self::OtpReceived => Duration::from_secs(2 * 60),
        }
    }

    /// Whether the person approves or denies it.
    pub const fn is_actionable(self) -> bool {
        match self {
            Self::IdentityVerification | Self::TrustedDevice => true,
            Self::AccountSharing | Self::OtpReceived => false,
        }
    }
}

/// What one record on an event topic says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// Something happened that people should see.
    Event(Event),
    /// An earlier event no longer matters.
    Cancel(Cancel),
}

/// Something that happened, for one or several people of one workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Unique within (workspace, type).
    pub id: EventId,
    /// The workspace of all recipients.
    pub workspace: WorkspaceId,
    /// 1 to [`Limits::recipients_max`] people, each once, in the order of the envelope.
    pub recipients: Vec<UserId>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// After this moment nobody is told any more.
    pub expires_at: Timestamp,
    /// Whether approving needs the number that upstream's screen shows.
    pub number_required: bool,
    /// Whether it is a test that its recipient sent to themselves: it asks nothing, whatever its type.
    pub test: bool,
    /// What happened.
    pub body: Body,
}

impl Event {
    /// The type of the body.
    pub fn kind(&self) -> NotificationType {
        self.body.kind()
    }
}

/// The withdrawal of an earlier event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancel {
    /// The withdrawal's own id.
    pub id: EventId,
    /// The earlier event's workspace.
    pub workspace: WorkspaceId,
    /// The earlier event's type: that of the topic.
    pub kind: NotificationType,
    /// The earlier event.
    pub event: EventId,
    /// Whose notifications are withdrawn.
    pub recipients: Vec<UserId>,
    /// When the withdrawal was asked for.
    pub occurred_at: Timestamp,
    /// Until when taking the notification back is worth a push. It is remembered for longer.
    pub until: Timestamp,
}

/// What happened, by type: only what a notification may ever show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// See [`NotificationType::IdentityVerification`].
    IdentityVerification {
        /// The application that asks.
        application: String,
        /// The device that asks, for people.
        device: String,
        /// A place where this person was never seen before.
        new_location: bool,
        /// A device with which this person was never seen before.
        new_device: bool,
    },
    /// See [`NotificationType::TrustedDevice`].
    TrustedDevice {
        /// As its owner named it.
        device_name: String,
        /// For people.
        browser: String,
        /// For people.
        operating_system: String,
        /// A place where this person was never seen before.
        new_location: bool,
    },
    /// See [`NotificationType::AccountSharing`].
    AccountSharing {
        /// The shared account's name.
        account: String,
        /// Who shared it.
        shared_by: String,
        /// What they may do with it.
        access: Access,
    },
    /// See [`NotificationType::OtpReceived`].
    OtpReceived {
        /// The account's name.
        account: String,
        /// Who sent the code.
        service: String,
    },
}

impl Body {
    /// The type it belongs to.
    pub const fn kind(&self) -> NotificationType {
        match self {
            Self::IdentityVerification { .. } => NotificationType::IdentityVerification,
            Self::TrustedDevice { .. } => NotificationType::TrustedDevice,
            Self::AccountSharing { .. } => NotificationType::AccountSharing,
            Self::OtpReceived { .. } => NotificationType::OtpReceived,
        }
    }
}

/// What a person may do with an account that was shared with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Upstream did not say.
    Unspecified,
    /// Look.
    View,
    /// Sign in with it.
    Use,
    /// Change it.
    Edit,
    /// Share it on.
    Manage,
}
