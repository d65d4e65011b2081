//! Gather: the I/O before the plan. What breaks here stalls; nothing is dropped.
use std::time::Duration;

use super::{Gathered, Pipeline};
use crate::delivery::Reason;
use crate::event::{self, Event, Incoming, NotificationType, Timestamp, UserId, WorkspaceId};
use crate::seam::{
    Clock, Feed, Forwarder, Lease, LeaseState, PolicySource, PushProvider, Query, Record, Resolved, Unavailable,
};

/// First and longest pause between two tries of something that is unavailable. The first is short, because most outages are a
/// reconnect; the longest bounds the load that waiting records put on what is coming back.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Why gathering stopped waiting.
pub(super) enum Stalled {
    /// The deadline passed.
    Deadline,
    /// The partition is being given back.
    GivenUp,
}

impl<S: PolicySource, P: PushProvider, F: Forwarder, C: Clock> Pipeline<S, P, F, C> {
    pub(super) async fn gather(&self, kind: NotificationType, record: &Record) -> Gathered {
        let now = self.clock.now();
        let decoded = event::decode(record.payload.as_deref(), &record.headers, kind, self.limits(), now);
        let event = match decoded {
            Ok(Incoming::Event(event)) => event,
            Ok(Incoming::Cancel(cancel)) => return Gathered::Cancel(cancel),
            Err(error) => return Gathered::Dead(error),
        };
        if event.expires_at <= now {
            return Gathered::Expired(event, Reason::known("deadline"));
        }
        // A first attempt does not pay for looking whether the event was withdrawn. A redrive does: whoever asks for it comes late.
        let withdrawn = match record.feed {
            Feed::Redrive => Some((kind, &event.id)),
            Feed::Event(_) | Feed::Job(..) | Feed::Hold(_) | Feed::Decision | Feed::Outcome | Feed::Lifecycle => None,
        };
        if withdrawn.is_none()
            && let Some(resolved) = self.cached(&event)
        {
            return Gathered::Ready(event, resolved);
        }
        let query = Query { workspace: &event.workspace, users: &event.recipients, withdrawn };
        match Box::pin(self.resolve(query, &*record.lease, event.expires_at)).await {
            Ok(resolved) => Gathered::Ready(event, resolved),
            Err(Stalled::Deadline) => Gathered::Expired(event, Reason::known("policy_unavailable")),
            Err(Stalled::GivenUp) => Gathered::GivenUp,
        }
    }

    /// The answer for one recipient from this process's memory: the usual case, without an await.
    fn cached(&self, event: &Event) -> Option<Resolved> {
        let [user] = event.recipients.as_slice() else { return None };
        let (workspace, user) = self.policy.cached(&event.workspace, user)?;
        Some(Resolved { workspace, users: vec![user], withdrawn: false })
    }

    /// Asks the policy store until it answers, the deadline passes, or the partition is given back.
    pub(super) async fn resolve(
        &self,
        query: Query<'_>,
        lease: &dyn Lease,
        expires_at: Timestamp,
    ) -> Result<Resolved, Stalled> {
        let mut pause = PAUSE_MIN;
        loop {
            match self.policy.resolve(query).await {
                Ok(resolved) => return Ok(resolved),
                Err(unavailable) => self.pause(&unavailable, &mut pause, lease, expires_at).await?,
            }
        }
    }

    /// Remembers a withdrawal, however long the store takes.
    pub(super) async fn remember_withdrawal(
        &self,
        subject: (&WorkspaceId, NotificationType, &crate::event::EventId),
        until: Timestamp,
        lease: &dyn Lease,
    ) -> Result<(), Stalled> {
        let (workspace, kind, event) = subject;
        let mut pause = PAUSE_MIN;
        loop {
            match self.policy.withdraw(workspace, kind, event, until).await {
                Ok(()) => return Ok(()),
                Err(unavailable) => self.pause(&unavailable, &mut pause, lease, until).await?,
            }
        }
    }

    async fn pause(
        &self,
        unavailable: &Unavailable,
        pause: &mut Duration,
        lease: &dyn Lease,
        expires_at: Timestamp,
    ) -> Result<(), Stalled> {
        metrics::counter!("watchbell_stalls_total", "what" => unavailable.what).increment(1);
        tracing::debug!(what = unavailable.what, "waiting: {}", unavailable.why);
        let left = expires_at.since(self.clock.now());
        if left.is_zero() {
            return Err(Stalled::Deadline);
        }
        tokio::time::sleep((*pause).min(left)).await;
        *pause = (*pause * 2).min(PAUSE_MAX);
        match lease.state() {
            LeaseState::Owned => Ok(()),
            LeaseState::Draining | LeaseState::Fenced => Err(Stalled::GivenUp),
        }
    }

    /// One person's answer, with whether the event was withdrawn: what a job asks at each attempt.
    pub(super) async fn resolve_one(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        withdrawn: Option<(NotificationType, &crate::event::EventId)>,
        lease: &dyn Lease,
        expires_at: Timestamp,
    ) -> Result<Resolved, Stalled> {
        let query = Query { workspace, users: std::slice::from_ref(user), withdrawn };
        self.resolve(query, lease, expires_at).await
    }
}
