//! The fatigue guard in the flow: asked between plan and send, for requests that await an answer and for nobody else.
//!
//! The point: once the guard's number of requests rang for a person, further ones stay silent, and the person is told once. What is asked
//! is the count of all processes together, where there is one; else this process counts by itself, under the same law, for the 14,000
//! people for whom something rang last. A job is never asked for: its record was.
//!
//! Deliberately not asked in advance who needs no asking: that a request is somebody's first is what only the count knows.
//! It never stalls and never fails: a count that cannot be asked is this process's own, and then a person may be rung at by each worker
//! as often as the guard allows one.
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Pipeline;
use super::plan::{self, Step};
use crate::delivery::codec::Decision;
use crate::delivery::{JobId, Notice, Subject};
use crate::event::{Event, EventId, SystemNotice, Timestamp, UserId, WorkspaceId};
use crate::policy::{CLOCKS_APART, DeviceView, Guard, Heard, Ring, Tally};
use crate::seam::{Clock, Forwarder, PolicySource, PushProvider, Record, Resolved, Ringing, Settlement};

/// Most people of each half: what fills a table of 8,192 places, some 330 KB. Both halves with what rang for everybody in them: 1 MB.
const HALF_MAX: usize = 7_168;

/// How long after a request's deadline its end may be heard of.
const END_HEARD: Duration = Duration::from_secs(300);

/// This process's own count. Nothing is allocated before something rings.
#[derive(Default)]
pub(super) struct Counts {
    hasher: RandomState,
    people: Mutex<People>,
}

/// By hashes of 64 bits under a key of this process: two of 14,000 people share a count once in 10^11 processes.
#[derive(Default)]
struct People {
    /// Those for whom something rang since `since`, and those of the time before, who are forgotten next.
    young: HashMap<u64, Tally>,
    old: HashMap<u64, Tally>,
    since: Option<Timestamp>,
}

impl People {
    /// A person's count. A half that is full, or a window old, becomes the old one, whose people are all a window old or too many.
    fn tally(&mut self, person: u64, now: Timestamp, guard: &Guard) -> &mut Tally {
        let known = self.old.remove(&person);
        let outdated = self.since.is_none_or(|since| since > now || since.plus(guard.window) <= now);
        if outdated || (self.young.len() >= HALF_MAX && !self.young.contains_key(&person)) {
            self.old = std::mem::take(&mut self.young);
            self.since = Some(now);
        }
        let old = &mut self.old;
        self.young.entry(person).or_insert_with(|| known.or_else(|| old.remove(&person)).unwrap_or_default())
    }
}

impl Counts {
    fn with<T>(
        &self,
        (workspace, user): (&WorkspaceId, &UserId),
        now: Timestamp,
        guard: &Guard,
        work: impl FnOnce(&mut Tally) -> T,
    ) -> T {
        let person = self.hasher.hash_one((workspace.as_str(), user.as_str()));
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        work(people.tally(person, now, guard))
    }

    fn ring(&self, event: &Event, user: &UserId, now: Timestamp, guard: &Guard) -> Ring {
        let request = self.hasher.hash_one((event.kind().index(), event.id.as_str()));
        self.with((&event.workspace, user), now, guard, |tally| tally.ring(request, now, guard))
    }
}

impl<S: PolicySource, P: PushProvider, F: Forwarder, C: Clock> Pipeline<S, P, F, C> {
    /// The plan without the pushes that would be too many. Recipients before `first` were asked for by an earlier reader of the record.
    pub(super) async fn guarded<'a>(
        &self,
        event: &Event,
        resolved: &'a Resolved,
        steps: Vec<Step<'a>>,
        first: usize,
    ) -> Vec<Step<'a>> {
        let together = match self.policy.counts_together() {
            // Boxed: most records' futures need no room for it.
            true => Box::pin(self.ring_together(event, &steps, first)).await,
            false => None,
        };
        let (now, guard) = (self.clock.now(), &self.config.guard);
        let mut together = together.map(Vec::into_iter);
        let mut held_back = Vec::new();
        for (recipient, user) in plan::ringing(&steps).filter(|(recipient, _)| *recipient >= first) {
            let ring = match &mut together {
                // One answer for each is the seam's promise.
                Some(answers) => answers.next().unwrap_or(Ring::Rings),
                None => self.counts.ring(event, user, now, guard),
            };
            if let Ring::HeldBack { first } = ring {
                held_back.push((recipient, first));
                metrics::counter!("watchbell_guard_held_back_total", "type" => event.kind().name()).increment(1);
            }
        }
        if held_back.is_empty() {
            return steps;
        }
        self.note_unshown(event, resolved, &held_back);
        plan::hold_back(steps, resolved, &held_back)
    }

    /// What did not ring need not be taken back when it ends: on an iPhone that would leave an entry for each.
    fn note_unshown(&self, event: &Event, resolved: &Resolved, held_back: &[(usize, bool)]) {
        let (wait, now) = (event.expires_at.plus(END_HEARD).since(self.clock.now()), self.clock.instant());
        let (workspace, kind, id) = (event.workspace.as_str(), event.kind(), event.id.as_str());
        for (recipient, _) in held_back {
            for device in resolved.users[*recipient].devices() {
                let user = event.recipients[*recipient].as_str();
                self.unshown.note(JobId::show(workspace, kind, id, user, device.id()), wait, now);
            }
        }
    }

    async fn ring_together(&self, event: &Event, steps: &[Step<'_>], first: usize) -> Option<Vec<Ring>> {
        let asked = plan::ringing(steps).filter(|(recipient, _)| *recipient >= first);
        let users: Vec<&UserId> = asked.map(|(_, user)| user).collect();
        let (workspace, kind, guard) = (&event.workspace, event.kind(), &self.config.guard);
        self.policy.ring(Ringing { workspace, kind, event: &event.id, users: &users, guard }).await
    }

    /// Tells a device, quietly, that further requests stay silent. The notice's id follows from the request, so that a record which is read
    /// again tells nobody twice.
    pub(super) fn tell_held_back(
        &self,
        record: &Record,
        event: &Event,
        (user, device): (&UserId, &DeviceView<'_>),
        settlement: &Arc<Settlement>,
    ) {
        let (workspace, kind, now) = (event.workspace.clone(), event.kind(), self.clock.now());
        let id = JobId::show(workspace.as_str(), kind, event.id.as_str(), user.as_str(), "").to_string();
        let notice = Notice {
            workspace,
            kind,
            id: EventId::new(id).unwrap_or_else(|_| event.id.clone()),
            what: SystemNotice::Guard,
            occurred_at: now,
            until: now.plus(self.config.guard.window),
        };
        self.publish_job(record, Subject::Notice(Arc::new(notice)), user, device, settlement);
    }

    /// Listens to an answer: in the common count and in this process's own, which is in use while the common one is not.
    pub(super) async fn guard_hears(&self, decision: &Decision) {
        let Some(heard) = decision.heard else { return };
        let (now, guard) = (self.clock.now(), &self.config.guard);
        let at = match heard {
            Heard::Approved => decision.at.plus(CLOCKS_APART),
            Heard::NotMe => decision.at,
        };
        let at = at.min(now);
        self.counts.with((&decision.workspace, &decision.user), now, guard, |tally| tally.hear(heard, at, now, guard));
        if self.policy.counts_together() {
            self.policy.hear(&decision.workspace, &decision.user, heard, now.since(at), guard).await;
        }
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
