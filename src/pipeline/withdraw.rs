//! Withdrawals: an earlier event no longer matters, because upstream cancelled it or somebody answered.
//!
//! The withdrawal is remembered first, so that a job that still waits in a tier sees it; then every device of the person gets a job that
//! takes the notification back. A device whose push was refused by this process, and still waits in a tier, gets none: it showed nothing
//! and will show nothing. Of any other device it is not known whether it ever showed it: taking back what was never shown shows
//! nothing new on Android and one silent, passive entry at most on iOS.
use std::sync::Arc;
use std::time::Duration;

use super::Pipeline;
use super::gather::Stalled;
use crate::delivery::codec::{self, Finality};
use crate::delivery::{JobId, Reason, Subject, Withdrawal};
use crate::event::{Cancel, LIFETIME_MAX, UserId};
use crate::seam::{Clock, Forwarder, PolicySource, PushProvider, Query, Record, Settlement};

/// How long taking a notification back is worth a push. A phone that was off for longer shows its own expiry.
const WORTH_SENDING: Duration = Duration::from_secs(24 * 3600);
/// How long an answered request is remembered: the longest that an event can live, so that no retry outlives it.
const REMEMBERED: Duration = LIFETIME_MAX;

impl<S: PolicySource, P: PushProvider, F: Forwarder, C: Clock> Pipeline<S, P, F, C> {
    /// A Cancel on an event topic.
    pub(super) async fn cancel(&self, record: &Record, cancel: Cancel, settlement: &Arc<Settlement>) {
        let withdrawal = Withdrawal {
            workspace: cancel.workspace,
            kind: cancel.kind,
            event: cancel.event,
            occurred_at: cancel.occurred_at,
            until: cancel.until,
        };
        self.withdraw(record, withdrawal, &cancel.recipients, settlement).await;
    }

    /// A record of the decisions topic: a final one withdraws its request from the person's phones.
    pub(super) async fn decision(&self, record: &Record, settlement: &Arc<Settlement>) {
        let payload = record.payload.as_deref().unwrap_or_default();
        let decision = match codec::decode_decision(payload) {
            Ok(decision) => decision,
            Err(error) => {
                return self.dead_letter(record, Reason::known("not_a_decision"), error.to_string(), settlement);
            }
        };
        match decision.finality {
            Finality::Open => self.balance.record_planned(),
            Finality::Final => {
                let withdrawal = Withdrawal {
                    workspace: decision.workspace,
                    kind: decision.kind,
                    event: decision.event,
                    occurred_at: decision.at,
                    until: decision.at.plus(REMEMBERED),
                };
                self.withdraw(record, withdrawal, &[decision.user], settlement).await;
            }
        }
    }

    async fn withdraw(
        &self,
        record: &Record,
        mut withdrawal: Withdrawal,
        users: &[UserId],
        settlement: &Arc<Settlement>,
    ) {
        let now = self.clock.now();
        if withdrawal.until <= now {
            return self.balance.record_planned();
        }
        let subject = (&withdrawal.workspace, withdrawal.kind, &withdrawal.event);
        let remembered = self.remember_withdrawal(subject, withdrawal.until, &*record.lease).await;
        withdrawal.until = withdrawal.until.min(now.plus(WORTH_SENDING));
        let query = Query { workspace: &withdrawal.workspace, users, withdrawn: None };
        let resolved = match remembered {
            Ok(()) => self.resolve(query, &*record.lease, withdrawal.until).await,
            Err(stalled) => Err(stalled),
        };
        let resolved = match resolved {
            Ok(resolved) => resolved,
            Err(Stalled::Deadline) => return self.balance.record_planned(),
            Err(Stalled::GivenUp) => {
                self.balance.record_fenced();
                return settlement.give_up();
            }
        };
        self.balance.record_planned();
        let withdrawal = Arc::new(withdrawal);
        // In chunks, like an explosion: a kill repeats what was not finished, and a repeated withdrawal changes nothing on a phone.
        let devices: Vec<_> = users
            .iter()
            .zip(&resolved.users)
            .flat_map(|(user, entry)| entry.devices().map(move |device| (user, device)))
            .filter(|(user, device)| {
                let (workspace, event) = (withdrawal.workspace.as_str(), withdrawal.event.as_str());
                let shown = JobId::show(workspace, withdrawal.kind, event, user.as_str(), device.id());
                !self.unshown.waits(shown, self.clock.instant())
            })
            .collect();
        for chunk in devices.chunks(self.config.chunk_jobs) {
            let acknowledged = Settlement::waiting();
            for (user, device) in chunk {
                let subject = Subject::Withdrawal(Arc::clone(&withdrawal));
                self.publish_job(record, subject, user, device, &acknowledged);
            }
            acknowledged.settled().await;
        }
    }
}

#[cfg(test)]
#[path = "withdraw_tests.rs"]
mod tests;
