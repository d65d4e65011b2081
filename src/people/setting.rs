//! What a workspace's admins set, and who set it.
use super::Actor;
use crate::event::{NotificationType, Timestamp, WorkspaceId};
use crate::policy::{Detail, Setting};

/// One type's setting and its last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingState {
    /// The type.
    pub kind: NotificationType,
    /// What is in force.
    pub setting: Setting,
    /// Who set it and when; `None` if it is the default or was imported.
    pub changed: Option<(Actor, Timestamp)>,
}

/// All settings of a workspace, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceSettings {
    /// Rises with every change; 0 where the store has no row.
    pub version: u64,
    /// For people; empty where the store has no row.
    pub display_name: String,
    /// How much its pushes say.
    pub detail: Detail,
    /// One for each type, in the order of [`NotificationType::ALL`].
    pub settings: [SettingState; NotificationType::COUNT],
}

/// A wish to change one type's setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingChange {
    /// Whose.
    pub workspace: WorkspaceId,
    /// Of which type.
    pub kind: NotificationType,
    /// The new value.
    pub setting: Setting,
    /// The version that the admin saw; `None` to change whatever is there.
    pub expected: Option<u64>,
    /// Who wishes it.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}

/// A wish to change how much a workspace's pushes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetailChange {
    /// Whose.
    pub workspace: WorkspaceId,
    /// The new value.
    pub detail: Detail,
    /// The version that the admin saw; `None` to change whatever is there.
    pub expected: Option<u64>,
    /// Who wishes it.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}

/// Why a setting was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingRefusal {
    /// Somebody changed the workspace since.
    #[error("Somebody else changed this workspace's settings meanwhile. Look at them again before you change them.")]
    Stale {
        /// The version now.
        current: u64,
    },
}
