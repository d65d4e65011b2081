//! Act: a record for few devices, sent by the record itself and all at once.
//!
//! Everything that can fail as a whole (rendering, ids) is done for all devices before anything is published or sent.
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::Pipeline;
use super::attempt::{About, Attempt, Attempted, Ids, Since};
use super::hand::InHand;
use super::plan::{Planned, Step};
use crate::delivery::JobId;
use crate::event::{Event, UserId};
use crate::notification::{Locale, Notification, render};
use crate::policy::DeviceView;
use crate::seam::{Clock, Forwarder, Lease, PolicySource, PushProvider, Record, Resolved, Settlement};

/// The id of the job that shows this event on this device.
fn show(event: &Event, user: &UserId, device: &DeviceView<'_>) -> JobId {
    JobId::show(event.workspace.as_str(), event.kind(), event.id.as_str(), user.as_str(), device.id())
}

fn first_attempt<'a>(
    record: &'a Record,
    event: &'a Event,
    resolved: &'a Resolved,
    notification: &'a Notification,
    step: &Step<'a>,
    device: &'a DeviceView<'a>,
    job: JobId,
) -> Attempt<'a> {
    Attempt {
        subject: About::Event(event, notification),
        user: step.user,
        device,
        workspace: &resolved.workspace,
        user_version: step.user_version,
        ids: Ids { job, shown: job },
        attempts: 0,
        maybe_shown: false,
        since: Since::Record(record),
    }
}

impl<S: PolicySource, P: PushProvider, F: Forwarder, C: Clock> Pipeline<S, P, F, C> {
    /// Sends what a record plans for few devices. The usual one-device record pays for no list and no second future.
    pub(super) async fn send_inline(
        &self,
        hand: &mut InHand,
        event: &Event,
        resolved: &Resolved,
        steps: &[Step<'_>],
        settlement: &Arc<Settlement>,
    ) {
        if let [step @ Step { planned: Planned::Send(device), .. }] = steps {
            let locale = Locale::resolve(device.locale());
            let notification = render(event, &resolved.workspace, locale, &self.texts);
            let job = show(event, step.user, device);
            self.planned(hand);
            hand.begin_sending();
            let attempt = first_attempt(&hand.record, event, resolved, &notification, step, device, job);
            return self.run(&attempt, &*hand.record.lease, settlement).await;
        }
        Box::pin(self.send_several(hand, event, resolved, steps, settlement)).await;
    }

    /// Several devices: all at once, rendered once for each locale.
    async fn send_several(
        &self,
        hand: &mut InHand,
        event: &Event,
        resolved: &Resolved,
        steps: &[Step<'_>],
        settlement: &Arc<Settlement>,
    ) {
        let mut rendered: Vec<(Locale, Notification)> = Vec::new();
        let mut sends = Vec::with_capacity(steps.len());
        for step in steps {
            let Planned::Send(device) = &step.planned else { continue };
            let locale = Locale::resolve(device.locale());
            let known = rendered.iter().position(|(known, _)| *known == locale);
            let at = known.unwrap_or_else(|| {
                rendered.push((locale, render(event, &resolved.workspace, locale, &self.texts)));
                rendered.len() - 1
            });
            sends.push((step, device, show(event, step.user, device), at));
        }
        self.planned(hand);
        for step in steps {
            match &step.planned {
                Planned::End(ending) | Planned::Silent(_, ending) => {
                    self.end_unplanned(&hand.record, event, resolved, step, ending, settlement);
                }
                Planned::Tell(device) => {
                    self.tell_held_back(&hand.record, event, (step.user, device), settlement);
                }
                Planned::Send(_) => {}
            }
        }
        hand.begin_sending();
        let record = &hand.record;
        let attempts: Vec<Attempt<'_>> = sends
            .into_iter()
            .map(|(step, device, job, at)| first_attempt(record, event, resolved, &rendered[at].1, step, device, job))
            .collect();
        let run = |attempt| Box::pin(self.run(attempt, &*record.lease, settlement));
        let mut sends: FuturesUnordered<_> = attempts.iter().map(run).collect();
        while sends.next().await.is_some() {}
    }

    /// One attempt of a job that was not held before: what must wait for its credential goes to the hold topic. A panic in it costs this
    /// job and nothing else.
    async fn run(&self, attempt: &Attempt<'_>, lease: &dyn Lease, settlement: &Arc<Settlement>) {
        self.balance.job_planned();
        let attempted = async {
            match self.attempt(attempt, lease, settlement).await {
                Attempted::Settled => {}
                Attempted::Fenced => self.fenced(settlement),
                Attempted::Held(held) => self.hold(attempt, *held, settlement),
            }
        };
        if AssertUnwindSafe(attempted).catch_unwind().await.is_err() {
            self.panicked(attempt, settlement);
        }
    }
}
