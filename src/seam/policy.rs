//! The seam to the policy store.
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::Unavailable;
use crate::event::{DeviceId, EventId, NotificationType, Timestamp, UserId, WorkspaceId};
use crate::policy::{Guard, Heard, Installation, Ring, UserEntry, Workspace};

/// What the flow asks the policy store for one record or job.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The workspace.
    pub workspace: &'a WorkspaceId,
    /// The people, any number.
    pub users: &'a [UserId],
    /// Also: whether this event was withdrawn. Asked from the second attempt on; inline first attempts do not pay for it.
    pub withdrawn: Option<(NotificationType, &'a EventId)>,
}

/// The policy store's answer.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The workspace's settings.
    pub workspace: Arc<Workspace>,
    /// One entry for each of [`Query::users`], in their order.
    pub users: Vec<UserEntry>,
    /// Whether the event was withdrawn and still is.
    pub withdrawn: bool,
}

/// A dead token, to be removed only if it is still the one that was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadToken {
    /// The workspace of the job.
    pub workspace: WorkspaceId,
    /// The person of the job.
    pub user: UserId,
    /// The device of the job.
    pub device: DeviceId,
    /// What the push was sent to: a dead token is dead for everybody who shares the installation.
    pub installation: Installation,
    /// Removed only where it was registered at or before this moment: the provider's, or the begin of the send less skew.
    pub since: Timestamp,
}

/// What became of a dead token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone, from so many rows.
    Removed(u64),
    /// It was registered anew meanwhile, or is gone already.
    Unchanged,
}

/// A request that would ring for these people, to be counted.
#[derive(Debug, Clone, Copy)]
pub struct Ringing<'a> {
    /// Their workspace.
    pub workspace: &'a WorkspaceId,
    /// The request's type.
    pub kind: NotificationType,
    /// The request.
    pub event: &'a EventId,
    /// Whose phones would ring, any number.
    pub users: &'a [&'a UserId],
    /// How many may.
    pub guard: &'a Guard,
}

/// Where settings, preferences, devices and withdrawals come from, and where what rang is counted for all processes together.
pub trait PolicySource: Send + Sync + 'static {
    /// The answer for one person, if it is fresh in this process: no await, no withdrawal.
    fn cached(&self, workspace: &WorkspaceId, user: &UserId) -> Option<(Arc<Workspace>, UserEntry)>;
    /// The answer, in one round trip however many people there are.
    fn resolve(&self, query: Query<'_>) -> impl Future<Output = Result<Resolved, Unavailable>> + Send;
    /// Remembers that an event is withdrawn until that moment.
    fn withdraw(
        &self,
        workspace: &WorkspaceId,
        kind: NotificationType,
        event: &EventId,
        until: Timestamp,
    ) -> impl Future<Output = Result<(), Unavailable>> + Send;
    /// Removes a dead token by compare-and-clear.
    fn remove_token(&self, dead: &DeadToken) -> impl Future<Output = Result<Removal, Unavailable>> + Send;
    /// Whether what rings is counted together with other processes at this moment. Where it is not, the caller counts by itself.
    fn counts_together(&self) -> bool;
    /// Counts a request: one answer for each person, in one round trip that never lasts long. `None` if it could not be counted.
    fn ring(&self, ringing: Ringing<'_>) -> impl Future<Output = Option<Vec<Ring>>> + Send;
    /// Tells the common count what a person answered so long ago. Lost if it cannot be told: the count ends by itself after a window.
    fn hear(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        heard: Heard,
        ago: Duration,
        guard: &Guard,
    ) -> impl Future<Output = ()> + Send;
}
