//! Fan-out: a record for many devices becomes many jobs before anything is sent, so that a kill repeats at most one chunk of it.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Pipeline;
use super::attempt::Since;
use super::hand::{InHand, origin};
use super::plan::{Planned, Step};
use crate::delivery::{PushJob, Subject, Tier};
use crate::event::{Event, UserId};
use crate::policy::DeviceView;
use crate::seam::{Clock, Forward, Forwarder, LeaseState, PolicySource, PushProvider, Record, Resolved, Settlement};

impl<S: PolicySource, P: PushProvider, F: Forwarder, C: Clock> Pipeline<S, P, F, C> {
    /// Publishes the plan in recipient order, in chunks. The next chunk waits until this one is acknowledged and the group has it committed
    /// where the record is, so that a kill repeats no more than one.
    pub(super) async fn explode(
        &self,
        hand: &mut InHand,
        event: &Event,
        resolved: &Resolved,
        steps: &[Step<'_>],
        settlement: &Arc<Settlement>,
    ) {
        let begin = steps.partition_point(|step| step.recipient < hand.record.next_recipient as usize);
        let shared = Arc::new(event.clone());
        self.planned(hand);
        let record = &hand.record;
        let mut rest = &steps[begin..];
        while !rest.is_empty() {
            if record.lease.state() != LeaseState::Owned {
                self.balance.job_planned();
                self.fenced(settlement);
                return;
            }
            let (chunk, tail) = rest.split_at(chunk_len(rest, self.config.chunk_jobs));
            let acknowledged = Settlement::waiting();
            for step in chunk {
                match &step.planned {
                    Planned::End(ending) | Planned::Silent(_, ending) => {
                        self.end_unplanned(record, event, resolved, step, ending, &acknowledged);
                    }
                    Planned::Tell(device) => {
                        self.tell_held_back(record, event, (step.user, device), &acknowledged);
                    }
                    Planned::Send(device) => {
                        let subject = Subject::Event(Arc::clone(&shared));
                        self.publish_job(record, subject, step.user, device, &acknowledged);
                    }
                }
            }
            acknowledged.settled().await;
            if let Some(next) = tail.first() {
                let committed = Settlement::waiting();
                record.lease.progress(record.offset, next.recipient as u32, &committed);
                committed.settled().await;
            }
            rest = tail;
        }
    }

    /// Publishes one device's first attempt as a job. A panic in it costs this job and nothing else.
    pub(super) fn publish_job(
        &self,
        record: &Record,
        subject: Subject,
        user: &UserId,
        device: &DeviceView<'_>,
        settlement: &Arc<Settlement>,
    ) {
        self.balance.job_planned();
        let published = catch_unwind(AssertUnwindSafe(|| {
            let job = Box::new(self.first_job(record, subject.clone(), user, device));
            let not_before = self.clock.now();
            self.forwarder.publish(Forward::Job { tier: Tier::Now, not_before, job }, settlement);
        }));
        match published {
            Ok(()) => self.balance.job_forwarded(),
            Err(_) => {
                self.bury_job(self.first_job(record, subject, user, device), record.feed.group(), settlement);
            }
        }
    }

    fn first_job(&self, record: &Record, subject: Subject, user: &UserId, device: &DeviceView<'_>) -> PushJob {
        let since = Since::Record(record);
        PushJob {
            kind: subject.push_kind(),
            subject,
            user: user.clone(),
            device: device.device_id(),
            attempts: 0,
            first_seen: since.first_seen(self.clock.now(), self.clock.instant()),
            origin: origin(record),
            last_reason: String::new(),
            maybe_shown: false,
            wait_until: None,
            traceparent: since.traceparent().map(Into::into),
        }
    }
}

/// How many steps the next chunk takes: whole recipients, at most `max` steps, at least one recipient.
fn chunk_len(steps: &[Step<'_>], max: usize) -> usize {
    if steps.len() <= max {
        return steps.len();
    }
    let cut = steps[max].recipient;
    let whole = steps.partition_point(|step| step.recipient < cut);
    if whole > 0 { whole } else { steps.partition_point(|step| step.recipient <= cut) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Ending;

    /// A chunk never cuts a recipient in two, and always makes headway.
    #[test]
    fn chunks_are_whole_recipients() {
        let user = UserId::new("u").unwrap();
        let len = |sizes: &[usize], max| {
            let each = sizes.iter().enumerate();
            let steps: Vec<Step<'_>> = each
                .flat_map(|(recipient, size)| std::iter::repeat_n(recipient, *size))
                .map(|recipient| Step {
                    recipient,
                    user: &user,
                    user_version: 0,
                    planned: Planned::End(Ending::NoDevice),
                })
                .collect();
            chunk_len(&steps, max)
        };
        assert_eq!(len(&[3, 3, 3], 64), 9);
        assert_eq!(len(&[3, 3, 3], 6), 6);
        assert_eq!(len(&[3, 3, 3], 5), 3);
        assert_eq!(len(&[5, 1], 2), 5);
    }
}
