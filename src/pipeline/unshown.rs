//! Which notifications certainly are on no phone: refused by their provider, waiting in a tier until a known moment; or held back by the
//! fatigue guard.
//!
//! The point: a Cancel that comes meanwhile pushes nothing to that phone. The job sees the withdrawal when its tier lets it go, and ends.
//!
//! Deliberately in this process's memory: an event and its Cancel have one key, so one worker usually reads both, and an outage of a
//! provider must not become a wave of writes to the store. Where another worker reads the Cancel, or this one restarted, the phone may
//! get one silent, passive entry for nothing. What is remembered holds for every worker, because a tier keeps its delay.
//!
//! It cannot fail; beyond its bound it remembers no more.
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::delivery::JobId;

/// Most jobs that are remembered: 4 MB.
const JOBS_MAX: usize = 100_000;
/// How much earlier than by our clock another worker may let a job go.
const CLOCKS_APART: Duration = Duration::from_secs(1);

/// How often a full memory is searched for what is over.
const SEARCHED_EACH: Duration = Duration::from_secs(1);

/// The jobs that certainly wait.
#[derive(Default)]
pub(super) struct Unshown(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// By job, until when.
    jobs: HashMap<JobId, Instant>,
    searched: Option<Instant>,
}

impl Unshown {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job will not be tried for so long from now.
    pub(super) fn note(&self, job: JobId, wait: Duration, now: Instant) {
        let mut waiting = self.lock();
        let recently = |searched| now.saturating_duration_since(searched) < SEARCHED_EACH;
        if waiting.jobs.len() >= JOBS_MAX && !waiting.searched.is_some_and(recently) {
            waiting.jobs.retain(|_, until| *until > now);
            waiting.searched = Some(now);
        }
        if waiting.jobs.len() < JOBS_MAX {
            waiting.jobs.insert(job, now + wait.saturating_sub(CLOCKS_APART));
        }
    }

    /// Whether it certainly waits.
    pub(super) fn waits(&self, job: JobId, now: Instant) -> bool {
        self.lock().jobs.get(&job).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: usize) -> JobId {
        JobId::from_bytes((number as u128).to_be_bytes())
    }

    /// A job waits until a second before its tier lets it go, and no other job does.
    #[test]
    fn until_its_tier() {
        let (unshown, now) = (Unshown::default(), Instant::now());
        unshown.note(job(1), Duration::from_secs(10), now);
        assert!(unshown.waits(job(1), now + Duration::from_millis(8_999)));
        assert!(!unshown.waits(job(1), now + Duration::from_secs(9)));
        assert!(!unshown.waits(job(2), now));
    }

    /// A provider's long outage fills no memory: what is over makes room, and beyond the bound nothing is remembered.
    #[test]
    fn bounded() {
        let (unshown, now) = (Unshown::default(), Instant::now());
        for number in 0..=JOBS_MAX {
            unshown.note(job(number), Duration::from_secs(10), now);
        }
        assert!(unshown.waits(job(0), now) && !unshown.waits(job(JOBS_MAX), now));
        unshown.note(job(JOBS_MAX), Duration::from_secs(10), now + Duration::from_secs(9));
        assert!(unshown.waits(job(JOBS_MAX), now + Duration::from_secs(9)));
        assert_eq!(unshown.lock().jobs.len(), 1);
    }
}
