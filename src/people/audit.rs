//! The audit trail: who changed what in a workspace. Ids only, so that erasing a person leaves the trail whole.
use super::Actor;
use crate::event::{DeviceId, NotificationType, Timestamp, UserId, WorkspaceId};
use crate::policy::Setting;

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
    /// The name in the API and the store.
    pub const fn action(&self) -> &'static str {
        match self {
            Self::SettingChanged { .. } => "setting_changed",
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

    /// The person whom it concerns, if it concerns one.
    pub const fn target(&self) -> Option<&UserId> {
        match self {
            Self::SettingChanged { .. } | Self::WorkspaceDeleted => None,
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
