//! What becomes of people and workspaces at upstream: somebody left, sessions were revoked, a workspace is gone.
//!
//! The point: each is a thing that happened once, by its id, and means the same whether Kafka or an operator tells it. Pure.
use super::Person;
use crate::event::{EventId, UserId, WorkspaceId};

/// What happened at upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    /// Unique within the workspace: the same again is nothing new.
    pub id: EventId,
    /// Where.
    pub workspace: WorkspaceId,
    /// What.
    pub what: LifecycleChange,
}

/// See [`Lifecycle`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LifecycleChange {
    /// A person left the workspace.
    UserRemoved(UserId),
    /// A person's sessions may be somebody else's.
    SessionsRevoked(UserId),
    /// The workspace is gone.
    WorkspaceDeleted,
}

impl LifecycleChange {
    /// The name in the API and the store.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UserRemoved(_) => "user_removed",
            Self::SessionsRevoked(_) => "sessions_revoked",
            Self::WorkspaceDeleted => "workspace_deleted",
        }
    }

    /// Whom it concerns; `None` for everybody.
    pub const fn user(&self) -> Option<&UserId> {
        match self {
            Self::UserRemoved(user) | Self::SessionsRevoked(user) => Some(user),
            Self::WorkspaceDeleted => None,
        }
    }

    /// Whether what awaits an answer is closed, too.
    pub const fn cancels(&self) -> bool {
        match self {
            Self::UserRemoved(_) | Self::WorkspaceDeleted => true,
            Self::SessionsRevoked(_) => false,
        }
    }
}

impl Lifecycle {
    /// Whom it concerns; `None` for everybody.
    pub fn person(&self) -> Option<Person> {
        let user = self.what.user()?.clone();
        Some(Person { workspace: self.workspace.clone(), user })
    }
}
