//! The two levels together, with their keys and their clock: what an invalidation acts upon.
use std::sync::Arc;

use super::{Fingerprints, Level, Limits, Moment, Origin};
use crate::event::{UserId, WorkspaceId};
use crate::policy::{UserEntry, Workspace};
use crate::seam::Clock;

/// A workspace's entry is a few hundred bytes and serves all its people: an eighth of the room holds thousands.
const WORKSPACES_SHARE: u64 = 8;

/// Everything that this process holds.
pub(in crate::store) struct Caches {
    pub(in crate::store) fingerprints: Fingerprints,
    pub(in crate::store) workspaces: Arc<Level<Arc<Workspace>>>,
    pub(in crate::store) users: Arc<Level<UserEntry>>,
    pub(in crate::store) clock: Arc<dyn Clock>,
    origin: Origin,
}

impl Caches {
    /// Empty ones, with room for so many bytes in all.
    pub(in crate::store) fn new(room: u64, limits: Limits, clock: Arc<dyn Clock>) -> Self {
        Self {
            fingerprints: Fingerprints::default(),
            workspaces: Level::new(room / WORKSPACES_SHARE, limits),
            users: Level::new(room - room / WORKSPACES_SHARE, limits),
            origin: Origin::new(clock.instant()),
            clock,
        }
    }

    pub(in crate::store) fn now(&self) -> Moment {
        self.origin.moment(self.clock.instant())
    }

    /// The answer for one person, if both halves are fresh: the hot path.
    pub(in crate::store) fn fresh(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
    ) -> Option<(Arc<Workspace>, UserEntry)> {
        let (of_workspace, of_user) = self.fingerprints.of(workspace.as_str(), user.as_str());
        let now = self.now();
        Some((self.workspaces.fresh(of_workspace, now)?, self.users.fresh(of_user, now)?))
    }

    pub(in crate::store) fn invalidate_user(&self, workspace: &str, user: &str) {
        self.users.invalidate(self.fingerprints.of(workspace, user).1, self.now());
    }

    pub(in crate::store) fn invalidate_workspace(&self, workspace: &str) {
        self.workspaces.invalidate(self.fingerprints.of_workspace(workspace), self.now());
    }

    /// See [`Level::doubt_everything`].
    pub(in crate::store) fn doubt_everything(&self) {
        self.workspaces.doubt_everything();
        self.users.doubt_everything();
    }

    /// See [`Level::forget_everything`].
    pub(in crate::store) fn forget_everything(&self) {
        self.workspaces.forget_everything();
        self.users.forget_everything();
    }

    /// Entries held, and the bytes that they take.
    pub(in crate::store) fn size(&self) -> (usize, u64) {
        let ((workspaces, one), (users, two)) = (self.workspaces.size(), self.users.size());
        (workspaces + users, one + two)
    }
}
