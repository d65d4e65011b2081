//! A job that was read from a job topic: planned anew, for its one device.
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;

use super::attempt::{About, Attempt, Attempted, Held, Ids, Since};
use super::gather::Stalled;
use super::hand::{InHand, raw};
use super::{Pipeline, plan};
use crate::delivery::codec::{self, JobError, NamedJob};
use crate::delivery::{Ending, OutcomeRecord, PushJob, PushKind, Reason, Situation, Subject, Tier, Wait};
use crate::event::Timestamp;
use crate::notification::{Locale, Notification, notice, render, withdrawn};
use crate::policy::{DeviceView, Workspace};
use crate::seam::{Clock, Forward, Forwarder, Group, Lease, PolicySource, PushProvider, Record, Resolved, Settlement};

/// What became of one attempt of a job that was read from a topic.
pub(super) enum JobAttempted {
    /// It ended or was forwarded.
    Settled,
    /// It must wait for its credential.
    Held(Box<Held>),
    /// Its partition is being given back.
    GivenUp,
}

impl<S: PolicySource, P: PushProvider, F: Forwarder, C: Clock> Pipeline<S, P, F, C> {
    pub(super) async fn job(&self, hand: &mut InHand, settlement: &Arc<Settlement>) {
        let Some(job) = self.read_job(hand, settlement) else { return };
        if let Some(until) = job.wait_until.filter(|until| *until > self.clock.now()) {
            return self.wait_on(job, until, settlement);
        }
        match self.attempt_or_bury(&hand.record, &job, settlement).await {
            JobAttempted::Settled => {}
            JobAttempted::GivenUp => self.fenced(settlement),
            JobAttempted::Held(held) => {
                let last_reason = held.reason.as_str().to_owned();
                self.hold_job(Box::new(PushJob { last_reason, ..job }), held.credential, settlement);
            }
        }
    }

    /// A job whose tier let it go before its wait was over.
    fn wait_on(&self, job: PushJob, until: Timestamp, settlement: &Arc<Settlement>) {
        let (now, expires_at) = (self.clock.now(), job.subject.expires_at());
        let situation = Situation { attempts: job.attempts, first_seen: job.first_seen, now, expires_at };
        match self.config.retry.wait_on(until, situation) {
            Some(Wait { tier, not_before, until: _ }) => {
                self.forwarder.publish(Forward::Job { tier, not_before, job: Box::new(job) }, settlement);
                self.balance.job_forwarded();
            }
            None => self.end_job(&job, None, &expired(&job, "deadline"), settlement),
        }
    }

    /// One attempt; a panic in it costs this job and nothing else.
    pub(super) async fn attempt_or_bury(
        &self,
        record: &Record,
        job: &PushJob,
        settlement: &Arc<Settlement>,
    ) -> JobAttempted {
        match AssertUnwindSafe(self.attempt_job(job, &*record.lease, settlement)).catch_unwind().await {
            Ok(attempted) => attempted,
            Err(_) => {
                self.bury_job(PushJob { attempts: job.attempts + 1, ..job.clone() }, Group::Jobs, settlement);
                JobAttempted::Settled
            }
        }
    }

    /// The flow itself failed on a job: it is dead-lettered.
    pub(super) fn bury_job(&self, mut job: PushJob, group: Group, settlement: &Arc<Settlement>) {
        let reason = Reason::known("panic");
        tracing::error!(job = %job.id(), "a panic ended this job");
        reason.as_str().clone_into(&mut job.last_reason);
        let letter = Box::new(job.clone());
        self.forwarder.publish(Forward::DeadJob { job: letter, reason: reason.clone(), group }, settlement);
        self.end_job(&job, None, &Ending::DeadLettered(reason), settlement);
    }

    /// Decodes a job; what is none goes to the dead letters, what is newer than we are waits for a newer worker.
    pub(super) fn read_job(&self, hand: &mut InHand, settlement: &Arc<Settlement>) -> Option<PushJob> {
        let payload = hand.record.payload.as_deref().unwrap_or_default();
        match codec::decode_job(payload) {
            Ok(job) => {
                self.planned(hand);
                self.balance.job_planned();
                Some(job)
            }
            Err(JobError::Newer { expires_at, named, .. }) => {
                self.postpone_newer(hand, expires_at, named.as_deref(), settlement);
                None
            }
            Err(error @ JobError::Malformed(_)) => {
                self.dead_letter(hand, Reason::known("not_a_job"), error.to_string(), settlement);
                None
            }
        }
    }

    fn postpone_newer(
        &self,
        hand: &mut InHand,
        expires_at: Timestamp,
        named: Option<&NamedJob>,
        settlement: &Arc<Settlement>,
    ) {
        let now = self.clock.now();
        if expires_at > now {
            self.planned(hand);
            self.balance.job_planned();
            let letter = Box::new(raw(&hand.record, now));
            let not_before = now.plus(Tier::S30.delay());
            self.forwarder.publish(Forward::NewerJob { letter, not_before, expires_at }, settlement);
            self.balance.job_forwarded();
            return metrics::counter!("watchbell_jobs_newer_schema_total").increment(1);
        }
        match named {
            Some(named) => {
                self.planned(hand);
                self.balance.job_planned();
                self.expire_newer(named, now, settlement);
            }
            None => {
                let explanation =
                    "a job of a newer schema than this worker's, past its deadline and without readable ids";
                self.dead_letter(hand, Reason::known("newer_schema"), explanation.into(), settlement);
            }
        }
    }

    /// No worker that knew its schema came in time.
    fn expire_newer(&self, job: &NamedJob, now: Timestamp, settlement: &Arc<Settlement>) {
        let ending = Ending::Expired(Reason::known("newer_schema"));
        let outcome = OutcomeRecord {
            job: job.id(),
            workspace: job.workspace.as_str(),
            kind: job.notification,
            event: job.event.as_str(),
            user: job.user.as_str(),
            device: job.device.as_str(),
            ending: &ending,
            attempts: job.attempts,
            latency: now.since(job.first_seen),
            ended_at: now,
            workspace_version: 0,
            user_version: 0,
            withdrawal: job.kind == PushKind::Withdraw,
            notice: job.notice,
            traceparent: job.traceparent.as_deref(),
        };
        self.publish_ending(&outcome, settlement);
    }

    /// One attempt, with everything resolved anew, so that a mute, a withdrawal or a moved token since the last one is obeyed.
    pub(super) async fn attempt_job(
        &self,
        job: &PushJob,
        lease: &dyn Lease,
        settlement: &Arc<Settlement>,
    ) -> JobAttempted {
        let (workspace, expires_at) = (job.subject.workspace(), job.subject.expires_at());
        if expires_at <= self.clock.now() {
            self.end_job(job, None, &expired(job, "deadline"), settlement);
            return JobAttempted::Settled;
        }
        let withdrawn = match job.kind {
            PushKind::Show => Some((job.subject.kind(), job.subject.event())),
            PushKind::Withdraw | PushKind::Notice => None,
        };
        let resolved = match self.resolve_one(workspace, &job.user, withdrawn, lease, expires_at).await {
            Ok(resolved) => resolved,
            Err(Stalled::Deadline) => {
                self.end_job(job, None, &expired(job, "policy_unavailable"), settlement);
                return JobAttempted::Settled;
            }
            Err(Stalled::GivenUp) => return JobAttempted::GivenUp,
        };
        let device = match self.plan_job(job, &resolved) {
            Ok(device) => device,
            Err(ending) => {
                self.end_job(job, Some(&resolved), &ending, settlement);
                return JobAttempted::Settled;
            }
        };
        let notification = self.render_job(job, &resolved.workspace, &device);
        let subject = match &job.subject {
            Subject::Event(event) => About::Event(event, &notification),
            Subject::Withdrawal(withdrawal) => About::Withdrawal(withdrawal, &notification),
            Subject::Notice(notice) => About::Notice(notice, &notification),
        };
        let attempt = Attempt {
            subject,
            user: &job.user,
            device: &device,
            workspace: &resolved.workspace,
            user_version: resolved.users[0].version(),
            ids: Ids::of(job),
            attempts: job.attempts,
            maybe_shown: job.maybe_shown,
            since: Since::Job(job),
        };
        match self.attempt(&attempt, lease, settlement).await {
            Attempted::Settled => JobAttempted::Settled,
            Attempted::Fenced => JobAttempted::GivenUp,
            Attempted::Held(held) => JobAttempted::Held(held),
        }
    }

    /// The one device of a job, if policy lets it ring, or be told of a withdrawal; a notice asks no policy.
    fn plan_job<'a>(&self, job: &PushJob, resolved: &'a Resolved) -> Result<DeviceView<'a>, Ending> {
        let (kind, workspace, user) = (job.subject.kind(), &resolved.workspace, &resolved.users[0]);
        let device = user.device(job.device.as_str()).ok_or(Ending::NoDevice);
        let verdict = match (job.kind, &device) {
            (PushKind::Withdraw, Ok(device)) => plan::withdrawal_verdict(kind, workspace, user, device),
            (PushKind::Show, Ok(device)) => plan::verdict(kind, workspace, user, resolved.withdrawn)
                .or_else(|| plan::job_verdict(kind, workspace, user, device)),
            (PushKind::Show | PushKind::Withdraw, Err(_)) => plan::verdict(kind, workspace, user, resolved.withdrawn),
            // A notice is about the person's own security: no setting, no preference and no quiet phone keeps it from showing.
            (PushKind::Notice, Ok(_) | Err(_)) => None,
        };
        verdict.map_or(device, Err)
    }

    fn render_job(&self, job: &PushJob, workspace: &Workspace, device: &DeviceView<'_>) -> Notification {
        let locale = Locale::resolve(device.locale());
        match &job.subject {
            Subject::Event(event) => render(event, workspace, locale, &self.texts),
            Subject::Withdrawal(withdrawal) => withdrawn(withdrawal.kind, locale, &self.texts),
            Subject::Notice(said) => notice(said.kind, said.what, locale, &self.texts),
        }
    }

    /// Publishes the ending of a job that never got to its provider.
    pub(super) fn end_job(
        &self,
        job: &PushJob,
        resolved: Option<&Resolved>,
        ending: &Ending,
        settlement: &Arc<Settlement>,
    ) {
        let now = self.clock.now();
        let outcome = OutcomeRecord {
            job: job.id(),
            workspace: job.subject.workspace().as_str(),
            kind: job.subject.kind(),
            event: job.subject.event().as_str(),
            user: job.user.as_str(),
            device: job.device.as_str(),
            ending,
            attempts: job.attempts,
            latency: now.since(job.first_seen),
            ended_at: now,
            workspace_version: resolved.map_or(0, |resolved| resolved.workspace.version),
            user_version: resolved.map_or(0, |resolved| resolved.users[0].version()),
            withdrawal: job.kind == PushKind::Withdraw,
            notice: job.subject.notice(),
            traceparent: job.traceparent.as_deref(),
        };
        self.publish_ending(&outcome, settlement);
    }
}

/// An expiry that keeps what held the job up.
fn expired(job: &PushJob, otherwise: &'static str) -> Ending {
    let reason = if job.last_reason.is_empty() { Reason::known(otherwise) } else { Reason::foreign(&job.last_reason) };
    Ending::Expired(reason)
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
