//! What becomes of people and workspaces at upstream: somebody left, sessions were revoked, a workspace is gone.
//!
//! The point: each is a thing that happened once, by its id, and means the same whether Kafka or an operator tells it. Pure.
use std::time::Duration;

use super::Person;
use crate::event::{EventId, FUTURE_MAX, Timestamp, UserId, WorkspaceId};

/// How long after it happened something is read in time, and how far upstream's clock may be off without anybody's noticing: as far as it
/// may be ahead (`lifecycle.proto`).
const IN_TIME: Duration = FUTURE_MAX;

/// What happened at upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    /// Unique within the workspace: the same again is nothing new.
    pub id: EventId,
    /// Where.
    pub workspace: WorkspaceId,
    /// When, by upstream's clock.
    pub occurred_at: Timestamp,
    /// What.
    pub what: LifecycleChange,
}

/// See [`Lifecycle`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LifecycleChange {
    /// Something became of a person.
    Person(UserId, PersonChange),
    /// The workspace is gone.
    WorkspaceDeleted,
}

/// What became of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonChange {
    /// They left the workspace.
    Removed,
    /// Their sessions may be somebody else's.
    SessionsRevoked,
}

impl LifecycleChange {
    /// The name in the API and the store.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Person(_, PersonChange::Removed) => "user_removed",
            Self::Person(_, PersonChange::SessionsRevoked) => "sessions_revoked",
            Self::WorkspaceDeleted => "workspace_deleted",
        }
    }

    /// Whom it concerns; `None` for everybody.
    pub const fn user(&self) -> Option<&UserId> {
        match self {
            Self::Person(user, _) => Some(user),
            Self::WorkspaceDeleted => None,
        }
    }
}

impl Lifecycle {
    /// Whom it concerns, and what became of them; `None` for everybody.
    pub fn of_person(&self) -> Option<(Person, PersonChange)> {
        match &self.what {
            LifecycleChange::Person(user, what) => {
                Some((Person { workspace: self.workspace.clone(), user: user.clone() }, *what))
            }
            LifecycleChange::WorkspaceDeleted => None,
        }
    }

    /// Whether it is read so late that what began since is another matter: somebody signed in again, or was hired again. Then it concerns
    /// what began until that moment. `None`: it is read in time, and concerns whatever is there.
    ///
    /// Sessions are judged by when their tokens were issued, requests by when they happened: upstream's clock, as `occurred_at`. What that
    /// clock says is believed for ten minutes in either direction. One that is further behind spares what began within the rest; one that
    /// is further ahead is refused.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.occurred_at.plus(IN_TIME);
        (until < now).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_in_time_concerns_whatever_is_there() {
        let at = Timestamp(1_800_000_000_000);
        let told = Lifecycle {
            id: EventId::new("l1").unwrap(),
            workspace: WorkspaceId::new("acme").unwrap(),
            occurred_at: at,
            what: LifecycleChange::WorkspaceDeleted,
        };
        let ms = Duration::from_millis(1);
        let late = at.plus(IN_TIME + ms);
        // A clock that is ahead, the moment itself, the last one in time; then it is late, however late.
        assert_eq!([at.minus(IN_TIME), at, at.plus(IN_TIME)].map(|now| told.until(now)), [None; 3]);
        assert_eq!([late, late.plus(1_000 * IN_TIME)].map(|now| told.until(now)), [Some(at.plus(IN_TIME)); 2]);
    }
}
