//! Act, afterwards: how a job ends, or where it waits for its next attempt. Each of these is one forward and one count, no more. It is
//! counted when it was published, so that a panic on the way is counted as what follows from it, and only as that.
use std::sync::Arc;

use super::Pipeline;
use super::attempt::{Attempt, Attempted, Held, Since};
use super::plan::{Planned, Step};
use crate::delivery::{Ending, JobId, OutcomeRecord, PushJob, PushKind, Reason, Situation, Wait};
use crate::event::{Event, UserId};
use crate::seam::{Clock, CredentialId, Forward, Forwarder, PolicySource, PushProvider, Record, Resolved, Settlement};

impl<S: PolicySource, P: PushProvider, F: Forwarder, C: Clock> Pipeline<S, P, F, C> {
    /// Publishes a job's ending. The job is over.
    pub(super) fn end(&self, attempt: &Attempt<'_>, ending: &Ending, attempts: u32, settlement: &Arc<Settlement>) {
        let now = self.clock.now();
        let reference = attempt.subject.reference(attempt.workspace);
        let outcome = OutcomeRecord {
            job: attempt.ids.job,
            workspace: reference.workspace,
            kind: reference.kind,
            event: reference.event,
            user: attempt.user.as_str(),
            device: attempt.device.id(),
            ending,
            attempts,
            latency: attempt.since.latency(now, self.clock.instant()),
            ended_at: now,
            workspace_version: attempt.workspace.version,
            user_version: attempt.user_version,
            withdrawal: attempt.subject.kind() == PushKind::Withdraw,
            notice: attempt.subject.notice(),
            traceparent: attempt.since.traceparent(),
        };
        self.publish_ending(&outcome, settlement);
    }

    /// Whatever ended, and wherever: one record, one count.
    pub(super) fn publish_ending(&self, outcome: &OutcomeRecord<'_>, settlement: &Arc<Settlement>) {
        self.forwarder.outcome(outcome, settlement);
        self.balance.job_ended();
        if let Some(notice) = outcome.notice {
            return self.signals.notice_ended(notice, outcome.ending);
        }
        match outcome.ending {
            Ending::Accepted => self.signals.accepted(outcome.kind, outcome.latency),
            Ending::Suppressed(_)
            | Ending::Expired(_)
            | Ending::TokenInvalid(_)
            | Ending::NoDevice
            | Ending::DeadLettered(_) => self.signals.ended(outcome.kind, outcome.ending),
        }
    }

    /// A recipient who gets no push: one ending, without a device; or a device of theirs that stays silent: one of its own.
    pub(super) fn end_unplanned(
        &self,
        record: &Record,
        event: &Event,
        resolved: &Resolved,
        step: &Step<'_>,
        ending: &Ending,
        settlement: &Arc<Settlement>,
    ) {
        let versions = (resolved.workspace.version, step.user_version);
        let device = match &step.planned {
            Planned::Silent(device, _) => device.id(),
            Planned::End(_) | Planned::Send(_) | Planned::Tell(_) => "",
        };
        self.end_recipient(record, event, (step.user, device), versions, ending, settlement);
    }

    /// An event whose deadline passed before it could be planned: one ending for each recipient.
    pub(super) fn expire_unplanned(
        &self,
        record: &Record,
        event: &Event,
        reason: &Reason,
        settlement: &Arc<Settlement>,
    ) {
        let ending = Ending::Expired(reason.clone());
        for user in &event.recipients {
            self.end_recipient(record, event, (user, ""), (0, 0), &ending, settlement);
        }
    }

    fn end_recipient(
        &self,
        record: &Record,
        event: &Event,
        (user, device): (&UserId, &str),
        versions: (u64, u64),
        ending: &Ending,
        settlement: &Arc<Settlement>,
    ) {
        self.balance.job_planned();
        let (since, now) = (Since::Record(record), self.clock.now());
        let (workspace, kind, id) = (event.workspace.as_str(), event.kind(), event.id.as_str());
        let outcome = OutcomeRecord {
            job: JobId::show(workspace, kind, id, user.as_str(), device),
            workspace,
            kind,
            event: id,
            user: user.as_str(),
            device,
            ending,
            attempts: 0,
            latency: since.latency(now, self.clock.instant()),
            ended_at: now,
            workspace_version: versions.0,
            user_version: versions.1,
            withdrawal: false,
            notice: None,
            traceparent: since.traceparent(),
        };
        self.publish_ending(&outcome, settlement);
    }

    /// Where a job stands after so many attempts.
    pub(super) fn situation(&self, attempt: &Attempt<'_>, attempts: u32) -> Situation {
        let (now, expires_at) = (self.clock.now(), attempt.subject.expires_at());
        Situation { attempts, first_seen: attempt.since.first_seen(now, self.clock.instant()), now, expires_at }
    }

    /// A device whose app and environment no credential serves: our configuration, so the job waits and no token is touched.
    pub(super) fn without_credential(&self, attempt: &Attempt<'_>, settlement: &Arc<Settlement>) -> Attempted {
        let reason = Reason::known("no_credential");
        metrics::counter!("watchbell_jobs_without_credential_total", "app" => attempt.device.app().to_owned())
            .increment(1);
        match self.config.retry.unserved(self.situation(attempt, attempt.attempts)) {
            Some(wait) => self.retry(attempt, wait, attempt.attempts, &reason, settlement),
            None => self.end(attempt, &Ending::Expired(reason), attempt.attempts, settlement),
        }
        Attempted::Settled
    }

    fn job_of(&self, attempt: &Attempt<'_>, attempts: u32, reason: &Reason) -> Box<PushJob> {
        attempt.job(attempts, attempt.since.first_seen(self.clock.now(), self.clock.instant()), reason)
    }

    pub(super) fn retry(
        &self,
        attempt: &Attempt<'_>,
        wait: Wait,
        attempts: u32,
        reason: &Reason,
        settlement: &Arc<Settlement>,
    ) {
        let mut job = self.job_of(attempt, attempts, reason);
        job.wait_until = wait.until;
        // Until then it is certain that no phone shows it: a Cancel need not take it back.
        if attempt.subject.kind() == PushKind::Show && !attempt.maybe_shown {
            let until = wait.until.unwrap_or(wait.not_before);
            self.unshown.note(attempt.ids.job, until.since(self.clock.now()), self.clock.instant());
        }
        let Wait { tier, not_before, until: _ } = wait;
        self.forwarder.publish(Forward::Job { tier, not_before, job }, settlement);
        self.balance.job_forwarded();
        self.signals.retried(tier, reason);
    }

    pub(super) fn hold(&self, attempt: &Attempt<'_>, held: Held, settlement: &Arc<Settlement>) {
        let job = self.job_of(attempt, attempt.attempts, &held.reason);
        self.hold_job(job, held.credential, settlement);
    }

    /// Puts a job into its credential's hold topic for the first time.
    pub(super) fn hold_job(&self, job: Box<PushJob>, credential: CredentialId, settlement: &Arc<Settlement>) {
        self.put_back(job, credential.clone(), settlement);
        self.signals.held(&credential);
    }

    pub(super) fn dead_letter_job(
        &self,
        attempt: &Attempt<'_>,
        attempts: u32,
        reason: Reason,
        settlement: &Arc<Settlement>,
    ) {
        let job = self.job_of(attempt, attempts, &reason);
        tracing::warn!(job = %attempt.ids.job, reason = reason.as_str(), attempts, "job dead-lettered");
        let group = attempt.since.group();
        self.forwarder.publish(Forward::DeadJob { job, reason: reason.clone(), group }, settlement);
        self.end(attempt, &Ending::DeadLettered(reason), attempts, settlement);
    }

    pub(super) fn panicked(&self, attempt: &Attempt<'_>, settlement: &Arc<Settlement>) {
        tracing::error!(job = %attempt.ids.job, "a panic ended this job's attempt");
        self.dead_letter_job(attempt, attempt.attempts + 1, Reason::known("panic"), settlement);
    }
}
