//! Withdrawals: an earlier event no longer matters, because upstream cancelled it or somebody answered.
//!
//! The withdrawal is remembered first, so that a job that still waits anywhere sees it; then every device of the person gets a job that
//! takes the notification back. Two kinds of device get none. An iPhone whose owner policy lets nothing ring for: it showed nothing, or was
//! muted since, and nothing is pushed against policy. And one whose push was refused by this process and still waits in a tier, or whose
//! owner the fatigue guard spared: it showed nothing and will show nothing. Of any other device it is not known whether it ever showed it: taking back what was never shown shows
//! nothing on Android, which is why policy is not asked there, and one silent, passive entry at most on iOS.
use std::sync::Arc;
use std::time::Duration;

use super::gather::Stalled;
use super::hand::InHand;
use super::{Pipeline, plan};
use crate::delivery::codec::{self, Finality};
use crate::delivery::{JobId, Reason, Subject, Withdrawal};
use crate::event::{Cancel, LIFETIME_MAX, UserId};
use crate::seam::{Clock, Forwarder, Lease, PolicySource, PushProvider, Query, Resolved, Settlement};

/// How long taking a notification back is worth a push. A phone that was off for longer shows its own expiry.
const WORTH_SENDING: Duration = Duration::from_secs(24 * 3600);
/// How long a withdrawal is remembered: the longest that an event can live, so that no retry and no held job outlives it.
const REMEMBERED: Duration = LIFETIME_MAX;

impl<S: PolicySource, P: PushProvider, F: Forwarder, C: Clock> Pipeline<S, P, F, C> {
    /// A Cancel on an event topic.
    pub(super) async fn cancel(&self, hand: &mut InHand, cancel: &Cancel, settlement: &Arc<Settlement>) {
        let withdrawal = Withdrawal {
            workspace: cancel.workspace.clone(),
            kind: cancel.kind,
            event: cancel.event.clone(),
            occurred_at: cancel.occurred_at,
            until: cancel.until,
        };
        self.withdraw(hand, withdrawal, &cancel.recipients, settlement).await;
    }

    /// A record of the decisions topic: a final one withdraws its request from the person's phones, and the guard listens to answers.
    pub(super) async fn decision(&self, hand: &mut InHand, settlement: &Arc<Settlement>) {
        let payload = hand.record.payload.as_deref().unwrap_or_default();
        let decision = match codec::decode_decision(payload) {
            Ok(decision) => decision,
            Err(error) => {
                return self.dead_letter(hand, Reason::known("not_a_decision"), error.to_string(), settlement);
            }
        };
        self.guard_hears(&decision).await;
        match decision.finality {
            Finality::Open => self.planned(hand),
            Finality::Final => {
                let withdrawal = Withdrawal {
                    workspace: decision.workspace,
                    kind: decision.kind,
                    event: decision.event,
                    occurred_at: decision.at,
                    until: decision.at.plus(REMEMBERED),
                };
                self.withdraw(hand, withdrawal, &[decision.user], settlement).await;
            }
        }
    }

    async fn withdraw(
        &self,
        hand: &mut InHand,
        mut withdrawal: Withdrawal,
        users: &[UserId],
        settlement: &Arc<Settlement>,
    ) {
        withdrawal.until = withdrawal.until.min(self.clock.now().plus(WORTH_SENDING));
        let resolved = match self.remember_and_resolve(&withdrawal, users, &*hand.record.lease).await {
            Ok(Some(resolved)) => resolved,
            Ok(None) | Err(Stalled::Deadline) => return self.planned(hand),
            Err(Stalled::GivenUp) => return self.give_up(hand, settlement),
        };
        let withdrawal = Arc::new(withdrawal);
        let devices: Vec<_> = users
            .iter()
            .zip(&resolved.users)
            .flat_map(|(user, entry)| entry.devices().map(move |device| (user, entry, device)))
            .filter(|(user, entry, device)| {
                let verdict = plan::withdrawal_verdict(withdrawal.kind, &resolved.workspace, entry, device);
                let (workspace, event) = (withdrawal.workspace.as_str(), withdrawal.event.as_str());
                let shown = JobId::show(workspace, withdrawal.kind, event, user.as_str(), device.id());
                verdict.is_none() && !self.unshown.waits(shown, self.clock.instant())
            })
            .map(|(user, _, device)| (user, device))
            .collect();
        self.planned(hand);
        // In chunks, like an explosion, but without its progress: a kill repeats the record, and a repeated withdrawal changes nothing on a
        // phone.
        for chunk in devices.chunks(self.config.chunk_jobs) {
            let acknowledged = Settlement::waiting();
            for (user, device) in chunk {
                let subject = Subject::Withdrawal(Arc::clone(&withdrawal));
                self.publish_job(&hand.record, subject, user, device, &acknowledged);
            }
            acknowledged.settled().await;
        }
    }

    /// Remembers it for as long as its event may live, however late it comes itself; then asks for the people, if phones are to be told.
    async fn remember_and_resolve(
        &self,
        withdrawal: &Withdrawal,
        users: &[UserId],
        lease: &dyn Lease,
    ) -> Result<Option<Resolved>, Stalled> {
        let remembered_until = withdrawal.occurred_at.plus(REMEMBERED);
        if remembered_until > self.clock.now() {
            let subject = (&withdrawal.workspace, withdrawal.kind, &withdrawal.event);
            self.remember_withdrawal(subject, remembered_until, lease).await?;
        }
        if withdrawal.until <= self.clock.now() {
            return Ok(None);
        }
        let query = Query { workspace: &withdrawal.workspace, users, withdrawn: None };
        self.resolve(query, lease, withdrawal.until).await.map(Some)
    }
}

#[cfg(test)]
#[path = "withdraw_tests.rs"]
mod tests;
