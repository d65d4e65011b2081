//! A job that waits for its credential: tried until the credential is mended or the deadline passes.
//!
//! Records of one hold topic are handled one after the other. The head is tried when its app's probe is due, and at once where its app
//! works; when it must wait it goes back to the tail, so that every job gets its turn: one of an app that works is never stuck behind
//! one of an app that does not, one that is over ends, and the probes are of different jobs. Once the credential works its jobs flow at
//! the pace of one answer after the other: a release that paces itself.
//!
//! Price: while a credential is broken its hold topic is written round and round, once each probe interval and never faster than
//! [`PACE`]; and what was put back since the last commit is there twice after a kill, as the same job.
use std::sync::Arc;
use std::time::Duration;

use super::Pipeline;
use super::attempt::Held;
use super::breaker::Turn;
use super::hand::InHand;
use super::job::JobAttempted;
use crate::delivery::{Ending, PushJob, Reason};
use crate::seam::{Clock, CredentialId, Forward, Forwarder, Lease, LeaseState, PolicySource, PushProvider, Settlement};

/// How often a waiting job looks whether its partition is being given back: well within the time that a revoke may drain.
const LOOK: Duration = Duration::from_millis(250);
/// The least time between two jobs that are put back untried: ten a second, some 5 KB.
const PACE: Duration = Duration::from_millis(100);

/// What a head does after it waited.
enum Waited {
    /// It is tried again.
    Try,
    /// It goes to the tail.
    Yield,
    /// Its deadline passed.
    Expired,
    /// Its partition is being given back.
    GivenUp,
}

impl<S: PolicySource, P: PushProvider, F: Forwarder, C: Clock> Pipeline<S, P, F, C> {
    pub(super) async fn held(&self, hand: &mut InHand, settlement: &Arc<Settlement>) {
        let Some(mut job) = self.read_job(hand, settlement) else { return };
        let record = &hand.record;
        loop {
            let held = match self.attempt_or_bury(record, &job, settlement).await {
                JobAttempted::Settled => return,
                JobAttempted::GivenUp => return self.fenced(settlement),
                JobAttempted::Held(held) => *held,
            };
            if held.tried || job.last_reason.is_empty() {
                held.reason.as_str().clone_into(&mut job.last_reason);
            }
            if held.tried {
                return self.put_back(Box::new(job), held.credential, settlement);
            }
            match self.wait_turn(&job, &held, &*record.lease).await {
                Waited::Try => {}
                Waited::Yield => return self.put_back(Box::new(job), held.credential, settlement),
                Waited::Expired => {
                    let ending = Ending::Expired(Reason::foreign(&job.last_reason));
                    return self.end_job(&job, None, &ending, settlement);
                }
                Waited::GivenUp => return self.fenced(settlement),
            }
        }
    }

    async fn wait_turn(&self, job: &PushJob, held: &Held, lease: &dyn Lease) -> Waited {
        let id = job.id();
        let mut turn = self.breakers.turn(&held.credential, &held.app, id, self.clock.instant());
        loop {
            let left = job.subject.expires_at().since(self.clock.now());
            if left.is_zero() {
                return Waited::Expired;
            }
            match turn {
                Turn::Try => return Waited::Try,
                Turn::Yield => tokio::time::sleep(PACE.min(left)).await,
                Turn::Wait(due) => {
                    let wait = due.saturating_duration_since(self.clock.instant());
                    tokio::time::sleep(wait.min(left).min(LOOK)).await;
                }
            }
            if lease.state() != LeaseState::Owned {
                return Waited::GivenUp;
            }
            if turn == Turn::Yield {
                return Waited::Yield;
            }
            turn = self.breakers.turn(&held.credential, &held.app, id, self.clock.instant());
        }
    }

    /// To the tail of the credential's hold topic.
    pub(super) fn put_back(&self, job: Box<PushJob>, credential: CredentialId, settlement: &Arc<Settlement>) {
        self.forwarder.publish(Forward::Hold { credential, job }, settlement);
        self.balance.job_forwarded();
    }
}

#[cfg(test)]
#[path = "hold_tests.rs"]
mod tests;
