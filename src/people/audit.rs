//! The audit trail: who changed what in a workspace. Ids only, so that erasing a person leaves the trail whole.
use super::Actor;
use crate::event::{DeviceId, NotificationType, Timestamp, UserId, WorkspaceId};
use crate::policy::{Detail, Setting};

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audited {
    /// A type was disabled, enabled or enforced.
    SettingChanged {
        /// Of which type.
        kind: NotificationType,
        /// Before.
        from: Setting,
        /// After; another one.
        to: Setting,
    },
    /// Pushes of the workspace say more, or less.
    DetailChanged {
        /// Before.
        from: Detail,
        /// After; another one.
        to: Detail,
    },
    /// All keys of a person were retired.
    PersonReset {
        /// Whose.
        user: UserId,
    },
    /// Somebody else's device was removed.
    DeviceRemoved {
        /// Whose.
        user: UserId,
        /// Which.
        device: DeviceId,
    },
    /// A ticket for a promotion was issued.
    TicketIssued {
        /// For whom.
        user: UserId,
    },
    /// A person left: their keys were retired, and what awaited their answer was cancelled.
    PersonRemoved {
        /// Who.
        user: UserId,
    },
    /// The workspace is gone: the same for everybody in it.
    WorkspaceDeleted,
    /// Everything about a person but this trail was erased.
    PersonErased {
        /// About whom.
        user: UserId,
    },
    /// What is kept about a person was handed out.
    PersonExported {
        /// About whom.
        user: UserId,
    },
    /// Somebody said that what they were told of their devices was not them.
    NotMe {
        /// Who.
        user: UserId,
        /// With which of their devices.
        device: DeviceId,
    },
}

impl Audited {
    /// The names of all that can be done.
    pub const ACTIONS: [&str; 10] = [
        "setting_changed",
        "detail_changed",
        "person_reset",
        "device_removed",
        "ticket_issued",
        "person_removed",
        "workspace_deleted",
        "person_erased",
        "person_exported",
        "not_me",
    ];

    /// The name in the API and the store.
    pub const fn action(&self) -> &'static str {
        match self {
            Self::SettingChanged { .. } => "setting_changed",
            Self::DetailChanged { .. } => "detail_changed",
            Self::PersonReset { .. } => "person_reset",
            Self::DeviceRemoved { .. } => "device_removed",
            Self::TicketIssued { .. } => "ticket_issued",
            Self::PersonRemoved { .. } => "person_removed",
            Self::WorkspaceDeleted => "workspace_deleted",
            Self::PersonErased { .. } => "person_erased",
            Self::PersonExported { .. } => "person_exported",
            Self::NotMe { .. } => "not_me",
        }
    }

    /// What it changed, in words: before and after. `None` where nothing has such words.
    pub const fn values(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::SettingChanged { from, to, .. } => Some((from.name(), to.name())),
            Self::DetailChanged { from, to } => Some((from.name(), to.name())),
            Self::PersonReset { .. }
            | Self::DeviceRemoved { .. }
            | Self::TicketIssued { .. }
            | Self::PersonRemoved { .. }
            | Self::WorkspaceDeleted
            | Self::PersonErased { .. }
            | Self::PersonExported { .. }
            | Self::NotMe { .. } => None,
        }
    }

    /// The type whose setting was changed.
    pub const fn kind(&self) -> Option<NotificationType> {
        match self {
            Self::SettingChanged { kind, .. } => Some(*kind),
            Self::DetailChanged { .. }
            | Self::PersonReset { .. }
            | Self::DeviceRemoved { .. }
            | Self::TicketIssued { .. }
            | Self::PersonRemoved { .. }
            | Self::WorkspaceDeleted
            | Self::PersonErased { .. }
            | Self::PersonExported { .. }
            | Self::NotMe { .. } => None,
        }
    }

    /// The device that it is about, or with which it was said.
    pub const fn device(&self) -> Option<&DeviceId> {
        match self {
            Self::DeviceRemoved { device, .. } | Self::NotMe { device, .. } => Some(device),
            Self::SettingChanged { .. }
            | Self::DetailChanged { .. }
            | Self::PersonReset { .. }
            | Self::TicketIssued { .. }
            | Self::PersonRemoved { .. }
            | Self::WorkspaceDeleted
            | Self::PersonErased { .. }
            | Self::PersonExported { .. } => None,
        }
    }

    /// The person whom it concerns, if it concerns one.
    pub const fn target(&self) -> Option<&UserId> {
        match self {
            Self::SettingChanged { .. } | Self::DetailChanged { .. } | Self::WorkspaceDeleted => None,
            Self::PersonReset { user }
            | Self::DeviceRemoved { user, .. }
            | Self::TicketIssued { user }
            | Self::PersonRemoved { user }
            | Self::PersonErased { user }
            | Self::PersonExported { user }
            | Self::NotMe { user, .. } => Some(user),
        }
    }
}

/// One entry of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Unique; the same in the store and on Kafka.
    pub id: String,
    /// Where.
    pub workspace: WorkspaceId,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What.
    pub what: Audited,
}
