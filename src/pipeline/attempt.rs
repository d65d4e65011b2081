//! Act: one job's attempt, from the last checks before the send to the forwards after it.
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Pipeline;
use super::breaker::Admission;
use super::hand::origin;
use crate::delivery::{
    Content, Ending, JobId, NextStep, Notice, Origin, Outcome, Push, PushJob, PushKind, Reason, Reference, Subject,
    Withdrawal,
};
use crate::event::{Event, SystemNotice, Timestamp, UserId, WorkspaceId};
use crate::notification::Notification;
use crate::policy::{DeviceView, Workspace};
use crate::seam::{
    Clock, CredentialId, DeadToken, Forwarder, Group, Lease, LeaseState, PolicySource, PushProvider, Record, Settlement,
};

/// What one attempt is about; borrowed from the record or the job that it belongs to.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) subject: About<'a>,
    pub(super) user: &'a UserId,
    pub(super) device: &'a DeviceView<'a>,
    pub(super) workspace: &'a Workspace,
    pub(super) user_version: u64,
    /// The job, and the notification that it shows or takes back.
    pub(super) ids: Ids,
    /// Attempts made before this one.
    pub(super) attempts: u32,
    /// Whether one of them may have been shown.
    pub(super) maybe_shown: bool,
    pub(super) since: Since<'a>,
}

/// A job's id, and the one that the notification is known by on the phone.
#[derive(Clone, Copy)]
pub(super) struct Ids {
    pub(super) job: JobId,
    pub(super) shown: JobId,
}

impl Ids {
    /// Derived once, because each is a SHA-1 over all ids.
    pub(super) fn of(job: &PushJob) -> Self {
        let shown = job.shown_id();
        match job.kind {
            PushKind::Show | PushKind::Notice => Self { job: shown, shown },
            PushKind::Withdraw => Self { job: job.id(), shown },
        }
    }
}

/// What is shown or taken back.
#[derive(Clone, Copy)]
pub(super) enum About<'a> {
    Event(&'a Event, &'a Notification),
    Withdrawal(&'a Arc<Withdrawal>, &'a Notification),
    Notice(&'a Arc<Notice>, &'a Notification),
}

/// Where and when it began.
#[derive(Clone, Copy)]
pub(super) enum Since<'a> {
    /// With the record that is being handled.
    Record(&'a Record),
    /// With an earlier record.
    Job(&'a PushJob),
}

/// What became of an attempt that may not end the job.
pub(super) enum Attempted {
    /// The job ended or was forwarded.
    Settled,
    /// Its partition is somebody else's.
    Fenced,
    /// Its credential is wrong.
    Held(Box<Held>),
}

/// A job that must wait for its credential.
pub(super) struct Held {
    pub(super) credential: CredentialId,
    /// Its device's app.
    pub(super) app: Box<str>,
    pub(super) reason: Reason,
    /// Whether the provider was asked just now.
    pub(super) tried: bool,
}

impl<'a> About<'a> {
    pub(super) const fn kind(self) -> PushKind {
        match self {
            Self::Event(..) => PushKind::Show,
            Self::Withdrawal(..) => PushKind::Withdraw,
            Self::Notice(..) => PushKind::Notice,
        }
    }

    pub(super) fn notice(self) -> Option<SystemNotice> {
        match self {
            Self::Event(..) | Self::Withdrawal(..) => None,
            Self::Notice(notice, _) => Some(notice.what),
        }
    }

    fn workspace(self) -> &'a WorkspaceId {
        match self {
            Self::Event(event, _) => &event.workspace,
            Self::Withdrawal(withdrawal, _) => &withdrawal.workspace,
            Self::Notice(notice, _) => &notice.workspace,
        }
    }

    pub(super) fn expires_at(self) -> Timestamp {
        match self {
            Self::Event(event, _) => event.expires_at,
            Self::Withdrawal(withdrawal, _) => withdrawal.until,
            Self::Notice(notice, _) => notice.until,
        }
    }

    pub(super) fn reference(self, workspace: &'a Workspace) -> Reference<'a> {
        match self {
            Self::Event(event, _) => Reference::of(event, workspace),
            Self::Withdrawal(withdrawal, _) => Reference {
                workspace: withdrawal.workspace.as_str(),
                workspace_name: &workspace.display_name,
                kind: withdrawal.kind,
                event: withdrawal.event.as_str(),
                number_required: false,
                test: false,
            },
            Self::Notice(notice, _) => Reference::of_notice(notice, workspace),
        }
    }
}

impl Attempt<'_> {
    /// The job as it travels; made only when it must.
    pub(super) fn job(&self, attempts: u32, first_seen: Timestamp, last_reason: &Reason) -> Box<PushJob> {
        let subject = match self.subject {
            About::Event(event, _) => {
                let recipients = vec![self.user.clone()];
                Subject::Event(Arc::new(Event { recipients, ..event.clone() }))
            }
            About::Withdrawal(withdrawal, _) => Subject::Withdrawal(Arc::clone(withdrawal)),
            About::Notice(notice, _) => Subject::Notice(Arc::clone(notice)),
        };
        Box::new(PushJob {
            kind: self.subject.kind(),
            subject,
            user: self.user.clone(),
            device: self.device.device_id(),
            attempts,
            first_seen,
            origin: self.since.origin(),
            last_reason: last_reason.as_str().to_owned(),
            maybe_shown: self.maybe_shown,
            wait_until: None,
            traceparent: self.since.traceparent().map(Into::into),
        })
    }
}

impl<'a> Since<'a> {
    pub(super) fn traceparent(self) -> Option<&'a str> {
        match self {
            Self::Record(record) => record.headers.traceparent(),
            Self::Job(job) => job.traceparent.as_deref(),
        }
    }

    /// The group that read what it began with.
    pub(super) fn group(self) -> Group {
        match self {
            Self::Record(record) => record.feed.group(),
            Self::Job(_) => Group::Jobs,
        }
    }

    fn origin(self) -> Origin {
        match self {
            Self::Record(record) => origin(record),
            Self::Job(job) => job.origin.clone(),
        }
    }

    pub(super) fn latency(self, now: Timestamp, instant: Instant) -> Duration {
        match self {
            Self::Record(record) => instant.saturating_duration_since(record.read_at),
            Self::Job(job) => now.since(job.first_seen),
        }
    }

    pub(super) fn first_seen(self, now: Timestamp, instant: Instant) -> Timestamp {
        match self {
            Self::Record(record) => now.minus(instant.saturating_duration_since(record.read_at)),
            Self::Job(job) => job.first_seen,
        }
    }
}

fn held(attempt: &Attempt<'_>, credential: &CredentialId, reason: Reason, tried: bool) -> Attempted {
    let (credential, app) = (credential.clone(), attempt.device.app().into());
    Attempted::Held(Box::new(Held { credential, app, reason, tried }))
}

impl<S: PolicySource, P: PushProvider, F: Forwarder, C: Clock> Pipeline<S, P, F, C> {
    pub(super) fn fenced(&self, settlement: &Settlement) {
        self.balance.job_fenced();
        settlement.give_up();
    }

    /// The last checks, the send, and what follows from its outcome.
    pub(super) async fn attempt(
        &self,
        attempt: &Attempt<'_>,
        lease: &dyn Lease,
        settlement: &Arc<Settlement>,
    ) -> Attempted {
        let Some(credential) = self.provider.credential(attempt.device) else {
            return self.without_credential(attempt, settlement);
        };
        let (now, instant) = (self.clock.now(), self.clock.instant());
        let expires_at = attempt.subject.expires_at();
        if expires_at <= now {
            self.end(attempt, &Ending::Expired(Reason::known("deadline")), attempt.attempts, settlement);
            return Attempted::Settled;
        }
        if self.breakers.admit(credential, attempt.device.app(), instant) == Admission::Hold {
            let reason = Reason::known("credential_misconfigured");
            return held(attempt, credential, reason, false);
        }
        if lease.state() == LeaseState::Fenced {
            return Attempted::Fenced;
        }
        let timeout = self.config.push_timeout.min(expires_at.since(now));
        let push = Push {
            job: attempt.ids.job,
            collapse: attempt.ids.shown,
            device: attempt.device,
            content: match attempt.subject {
                About::Event(_, notification) => Content::Show(notification),
                About::Withdrawal(_, notification) => Content::Withdraw(notification),
                About::Notice(notice, notification) => Content::Notice(notification, notice.what),
            },
            reference: attempt.subject.reference(attempt.workspace),
            expires_at,
            attempts: attempt.attempts,
        };
        // A push may wait for a free stream, or be sent once more: the lease is looked at again each time that it goes on the wire.
        let wanted = || lease.state() != LeaseState::Fenced;
        match self.provider.push(&push, instant + timeout, &wanted).await {
            Outcome::Accepted => {
                self.breakers.mend(credential, attempt.device.app());
                self.wave.accepted(attempt.device.app(), instant);
                self.end(attempt, &Ending::Accepted, attempt.attempts + 1, settlement);
                Attempted::Settled
            }
            // Whoever has the partition now reads the record again: a retry of ours would ring besides.
            Outcome::Retryable { .. } if !wanted() => Attempted::Fenced,
            outcome => Box::pin(self.follow(attempt, outcome, credential, now, settlement)).await,
        }
    }

    /// What follows from anything but acceptance. `sent_at` is the moment before the send.
    async fn follow(
        &self,
        attempt: &Attempt<'_>,
        outcome: Outcome,
        credential: &CredentialId,
        sent_at: Timestamp,
        settlement: &Arc<Settlement>,
    ) -> Attempted {
        let instant = self.clock.instant();
        self.breakers_hear(attempt, credential, &outcome, instant);
        let attempts = attempt.attempts + u32::from(outcome.was_sent());
        let attempt = Attempt { maybe_shown: attempt.maybe_shown || outcome.maybe_shown(), ..*attempt };
        match self.config.retry.next(outcome, self.situation(&attempt, attempts)) {
            NextStep::Done(ending) => self.end(&attempt, &ending, attempts, settlement),
            NextStep::InvalidateToken { since, ending } => {
                self.invalidate(&attempt, since, sent_at).await;
                self.end(&attempt, &ending, attempts, settlement);
            }
            NextStep::Retry { wait, reason } => self.retry(&attempt, wait, attempts, &reason, settlement),
            NextStep::Hold { reason } => return held(&attempt, credential, reason, true),
            NextStep::DeadLetter { reason } => self.dead_letter_job(&attempt, attempts, reason, settlement),
        }
        Attempted::Settled
    }

    fn breakers_hear(&self, attempt: &Attempt<'_>, credential: &CredentialId, outcome: &Outcome, instant: Instant) {
        let app = attempt.device.app();
        match outcome {
            Outcome::Misconfigured { .. } => self.breakers.trip(credential, app, attempt.ids.job, instant),
            // The provider judged the message or the token, so it had accepted the credential.
            Outcome::Accepted | Outcome::TokenInvalid { .. } | Outcome::Rejected { .. } => {
                self.breakers.mend(credential, app);
            }
            Outcome::Retryable { .. } => {}
        }
    }

    async fn invalidate(&self, attempt: &Attempt<'_>, since: Option<Timestamp>, sent_at: Timestamp) {
        if !self.wave.dead(attempt.device.app(), self.clock.instant()) {
            return;
        }
        let dead = DeadToken {
            workspace: attempt.subject.workspace().clone(),
            user: attempt.user.clone(),
            device: attempt.device.device_id(),
            installation: attempt.device.installation(),
            since: since.unwrap_or_else(|| sent_at.minus(self.config.clock_skew)),
        };
        // A token that stays because the store is away dies at its next push: nothing waits for it.
        match self.policy.remove_token(&dead).await {
            Ok(removal) => tracing::debug!(device = %dead.device, ?removal, "dead token"),
            Err(unavailable) => tracing::warn!(device = %dead.device, "a dead token stays for now: {unavailable}"),
        }
    }
}
