//! Fan-out: a record for many devices becomes many jobs before anything is sent, so that a kill repeats at most one chunk of it.
use std::sync::Arc;

use super::plan::Planned;
use super::{Pipeline, origin};
use crate::delivery::{PushJob, PushKind, Subject, Tier};
use crate::event::{Event, UserId};
use crate::policy::DeviceView;
use crate::seam::{Clock, Forward, Forwarder, LeaseState, PolicySource, PushProvider, Record, Resolved, Settlement};

impl<S: PolicySource, P: PushProvider, F: Forwarder, C: Clock> Pipeline<S, P, F, C> {
    /// Publishes the plan in recipient order, in chunks; after each chunk's acknowledgements the record remembers where it is.
    pub(super) async fn explode(
        &self,
        record: &Record,
        event: &Event,
        resolved: &Resolved,
        planned: &[Planned<'_>],
        settlement: &Arc<Settlement>,
    ) {
        let begin = planned.partition_point(|step| step.recipient() < record.next_recipient as usize);
        let shared = Arc::new(event.clone());
        let mut rest = &planned[begin..];
        while !rest.is_empty() {
            if record.lease.state() != LeaseState::Owned {
                self.balance.job_planned();
                self.fenced(settlement);
                return;
            }
            let (chunk, tail) = rest.split_at(chunk_len(rest, self.config.chunk_jobs));
            let acknowledged = Settlement::waiting();
            for step in chunk {
                match step {
                    Planned::End { recipient, ending } => {
                        self.end_unplanned(record, event, resolved, *recipient, ending, &acknowledged);
                    }
                    Planned::Send { recipient, device } => {
                        self.publish_job(
                            record,
                            Subject::Event(Arc::clone(&shared)),
                            &event.recipients[*recipient],
                            device,
                            &acknowledged,
                        );
                    }
                }
            }
            acknowledged.settled().await;
            if let Some(next) = tail.first() {
                record.lease.progress(record.offset, next.recipient() as u32);
            }
            rest = tail;
        }
    }

    /// Publishes one device's first attempt as a job.
    pub(super) fn publish_job(
        &self,
        record: &Record,
        subject: Subject,
        user: &UserId,
        device: &DeviceView<'_>,
        settlement: &Arc<Settlement>,
    ) {
        self.balance.job_planned();
        self.balance.job_forwarded();
        let now = self.clock.now();
        let kind = match &subject {
            Subject::Event(_) => PushKind::Show,
            Subject::Withdrawal(_) => PushKind::Withdraw,
        };
        let job = PushJob {
            kind,
            subject,
            user: user.clone(),
            device: device.device_id(),
            attempts: 0,
            first_seen: now.minus(self.clock.instant().saturating_duration_since(record.read_at)),
            origin: origin(record),
            last_reason: String::new(),
            maybe_shown: false,
        };
        self.forwarder.publish(Forward::Job { tier: Tier::Now, not_before: now, job: Box::new(job) }, settlement);
    }
}

/// How many steps the next chunk takes: whole recipients, at most `max` steps, at least one recipient.
fn chunk_len(steps: &[Planned<'_>], max: usize) -> usize {
    if steps.len() <= max {
        return steps.len();
    }
    let cut = steps[max].recipient();
    let whole = steps.partition_point(|step| step.recipient() < cut);
    if whole > 0 { whole } else { steps.partition_point(|step| step.recipient() <= cut) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Ending;

    /// A chunk never cuts a recipient in two, and always makes headway.
    #[test]
    fn chunks_are_whole_recipients() {
        let steps = |sizes: &[usize]| -> Vec<Planned<'static>> {
            let each = sizes.iter().enumerate();
            each.flat_map(|(recipient, size)| {
                (0..*size).map(move |_| Planned::End { recipient, ending: Ending::NoDevice })
            })
            .collect()
        };
        assert_eq!(chunk_len(&steps(&[3, 3, 3]), 64), 9);
        assert_eq!(chunk_len(&steps(&[3, 3, 3]), 6), 6);
        assert_eq!(chunk_len(&steps(&[3, 3, 3]), 5), 3);
        assert_eq!(chunk_len(&steps(&[5, 1]), 2), 5);
    }
}
