//! What people are told about their devices, and admins of somebody who says that it was not them.
//!
//! The point: whoever has a person's session can set a phone up, and the person hears of it on every phone that they had. They may say that
//! it was not them, from those phones and from one that was just retired. It deliberately retires nothing by that: whoever set a phone up
//! has a key, too, and could retire the person's own phones with it. Admins are told, and decide.
use std::time::Duration;

use super::ActorRole;
use super::enrolment::Way;
use crate::event::{DeviceId, EventId, NotificationType, SystemNotice, Timestamp, UserId};

/// How long a retired key may still say that it was not its person: as long as a push about it is worth bringing. Of whatever its person was
/// told, not of its retirement alone: who retires a phone has mostly enrolled or promoted another one before, whose notice is on its screen.
pub const RETIRED_KEY_LIFE: Duration = NOTICE_LIFE;
/// How long ago somebody who is told of others' words may have signed in last: half a year. Who was here no more since then may administer
/// nothing any more, and nobody has said so.
pub const ALERTED_SEEN_WITHIN: Duration = Duration::from_secs(180 * 24 * 3600);
/// How long a push about it is worth bringing: a phone that is off for a night and a morning still tells; after that the list does.
pub const NOTICE_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Most people who are told that somebody said it was not them: those who were here last. It bounds what one tap writes.
pub const ALERTED_MAX: usize = 100;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A device was enrolled.
    Enrolled {
        /// Which.
        device: DeviceId,
    },
    /// A device may approve.
    Promoted {
        /// Which.
        device: DeviceId,
        /// How it became that.
        way: Way,
    },
    /// A device answers and rings no more.
    Removed {
        /// Which.
        device: DeviceId,
        /// By whom.
        how: Removal,
    },
    /// All devices were retired.
    Reset {
        /// By whom, if it was not the person.
        by: Option<ActorRole>,
    },
    /// A device's key was followed by another one, which the old one signed.
    Rolled {
        /// Which device.
        device: DeviceId,
    },
    /// For admins: somebody erased everything about themselves. Only the audit trail says who.
    Erased,
    /// For admins: somebody says that it was not them.
    NotMe {
        /// Who; `None`: they were erased.
        user: Option<UserId>,
        /// With which device they said so.
        device: DeviceId,
        /// What was not them.
        of: Disowned,
    },
}

/// How a device came to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// With the person's own sign-in.
    Own,
    /// By somebody else who may.
    By(ActorRole),
    /// Another one took its place: the app was installed anew, or its push token belongs to another device now.
    Replaced,
}

/// What somebody says was not them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disowned {
    /// What a notice told them.
    Notice {
        /// What that was.
        what: SystemNotice,
        /// The notice's id.
        id: EventId,
    },
    /// A request.
    Request {
        /// Its type.
        kind: NotificationType,
        /// Its event.
        event: EventId,
    },
}

impl Disowned {
    /// The name in metrics: what kind of thing it was.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Notice { what, .. } => what.name(),
            Self::Request { .. } => Self::REQUEST,
        }
    }

    /// [`Self::name`] of a request.
    pub const REQUEST: &'static str = "request";
}

impl News {
    /// What a push says of it.
    pub const fn what(&self) -> SystemNotice {
        match self {
            Self::Enrolled { .. } => SystemNotice::Enrolled,
            Self::Promoted { .. } => SystemNotice::Promoted,
            Self::Removed { .. } => SystemNotice::Removed,
            Self::Reset { .. } => SystemNotice::Reset,
            Self::NotMe { .. } => SystemNotice::NotMe,
            Self::Rolled { .. } => SystemNotice::Rolled,
            Self::Erased => SystemNotice::Erased,
        }
    }

    /// The type under which it travels: that of the request that it is about, if it is about one.
    pub const fn kind(&self) -> NotificationType {
        match self {
            Self::NotMe { of: Disowned::Request { kind, .. }, .. } => *kind,
            Self::Enrolled { .. }
            | Self::Promoted { .. }
            | Self::Removed { .. }
            | Self::Reset { .. }
            | Self::Rolled { .. }
            | Self::Erased
            | Self::NotMe { .. } => NotificationType::TrustedDevice,
        }
    }

    /// The device that it is about; `None`: all of them.
    pub const fn device(&self) -> Option<&DeviceId> {
        match self {
            Self::Enrolled { device }
            | Self::Promoted { device, .. }
            | Self::Removed { device, .. }
            | Self::Rolled { device }
            | Self::NotMe { device, .. } => Some(device),
            Self::Reset { .. } | Self::Erased => None,
        }
    }
}

/// What somebody was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeEntry {
    /// What pushes name it by.
    pub id: EventId,
    /// When it happened.
    pub at: Timestamp,
    /// What.
    pub news: News,
    /// Name and model of the person's own device that it is about, as far as they are known.
    pub device: Option<(String, String)>,
    /// When they said that it was not them, and with which device.
    pub not_me: Option<(Timestamp, DeviceId)>,
}
