//! A job that waits for its credential: probed until the credential is mended or the deadline passes.
//!
//! Records of one hold partition are handled one after the other, so the head is the prober and, once the credential works, its
//! successors flow at the pace of one answer after the other: a release that paces itself.
use std::sync::Arc;
use std::time::Duration;

use super::Pipeline;
use super::hand::InHand;
use super::job::JobAttempted;
use crate::delivery::{Ending, Reason};
use crate::seam::{Clock, Forwarder, LeaseState, PolicySource, PushProvider, Settlement};

/// How often a waiting job looks whether its partition is being given back: well within the time that a revoke may drain.
const LOOK: Duration = Duration::from_millis(250);

impl<S: PolicySource, P: PushProvider, F: Forwarder, C: Clock> Pipeline<S, P, F, C> {
    pub(super) async fn held(&self, hand: &mut InHand, settlement: &Arc<Settlement>) {
        let Some(mut job) = self.read_job(hand, settlement) else { return };
        let record = &hand.record;
        loop {
            let held = match self.attempt_or_bury(record, &job, settlement).await {
                JobAttempted::Settled => return,
                JobAttempted::GivenUp => return self.fenced(settlement),
                JobAttempted::Held(held) => held,
            };
            held.reason.as_str().clone_into(&mut job.last_reason);
            // Until the probe is due, the deadline passes, or somebody else takes over.
            loop {
                if record.lease.state() != LeaseState::Owned {
                    return self.fenced(settlement);
                }
                let left = job.subject.expires_at().since(self.clock.now());
                if left.is_zero() {
                    let ending = Ending::Expired(Reason::foreign(&job.last_reason));
                    return self.end_job(&job, None, &ending, settlement);
                }
                let wait = held.due.saturating_duration_since(self.clock.instant());
                if wait.is_zero() {
                    break;
                }
                tokio::time::sleep(wait.min(left).min(LOOK)).await;
            }
        }
    }
}
