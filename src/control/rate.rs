//! How often one caller may call: GCRA, which gives back room steadily instead of by the minute.
//!
//! Counted in this process, so several replicas allow that many times more: it protects the store from one caller's loop, it is no quota.
//! Each session and each phone of a person has a limit of its own, and all sessions of a person together one that is several times as
//! high: so neither a stolen session nor a stolen phone keeps the person's other ones from calling, and who signs in again and again has no
//! more room for it. A session that was ended takes nobody's room but its own. What a phone signed to be published, its answers, may be
//! shown by whoever read it; so an answer to what is not open takes room that nothing else of the phone needs. A caller whose room is whole
//! again is forgotten, so memory is bounded by those who called within the last minutes.
//!
//! Whoever calls in the name of a phone has no room until they proved to be it. What that may cost is bounded for all of them together, by
//! how many did not prove it. So that whoever makes up names keeps nobody from answering, phones that proved themselves here lately are
//! admitted all the same; a phone that this process does not know yet has to wait. A retired phone whose key still signs is no stranger: an
//! app that goes on asking takes room of its own, until its key is forgotten.
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use quick_cache::sync::Cache;

use crate::event::{DeviceId, Timestamp, UserId, WorkspaceId};
use crate::people::Person;

/// Calls between two sweeps of those whose room is whole again: some milliseconds of work.
const SWEEP_EVERY: u32 = 4_096;

/// As how many sessions all of a person's may call together: an app's and two browsers', and one that is somebody else's.
const SESSIONS: u32 = 4;

/// Who has a limit of their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum RateKey {
    /// All sessions of a person that were not ended.
    Sessions(UserId),
    /// One session of a person, by when its token was issued, before it is known whether it was ended.
    Session(UserId, Timestamp),
    /// One phone of a person.
    Phone(Person, DeviceId),
    /// Whoever shows answers of one phone to what is not open: that phone, which did not hear that it was taken, or who read the answer.
    ShownAgain(Person, DeviceId),
    /// One phone of somebody who was erased.
    ErasedPhone(WorkspaceId, DeviceId),
}

/// Everybody's limits.
pub(super) struct RateLimits {
    each: DefaultKeyedRateLimiter<RateKey>,
    together: DefaultKeyedRateLimiter<RateKey>,
    clock: DefaultClock,
    calls: AtomicU32,
}

impl RateLimits {
    /// What one session, or one phone, may do. Zeroes count as ones.
    pub(super) fn new(per_minute: u32, burst: u32) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let times = |times| {
            let [per_minute, burst] = [per_minute, burst].map(|number| at_least_one(number.saturating_mul(times)));
            RateLimiter::keyed(Quota::per_minute(per_minute).allow_burst(burst))
        };
        Self { each: times(1), together: times(SESSIONS), clock: DefaultClock::default(), calls: AtomicU32::new(0) }
    }

    /// Takes a call's room.
    ///
    /// # Errors
    /// How long the caller has to wait for room.
    pub(super) fn take(&self, key: &RateKey) -> Result<(), Duration> {
        if self.calls.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.each.retain_recent();
            self.together.retain_recent();
        }
        let limiter = match key {
            RateKey::Sessions(_) => &self.together,
            RateKey::Session(..) | RateKey::Phone(..) | RateKey::ShownAgain(..) | RateKey::ErasedPhone(..) => {
                &self.each
            }
        };
        limiter.check_key(key).map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

/// Phones that are remembered as having proved themselves: of so many those that called last, in some megabytes.
const KNOWN_MAX: usize = 65_536;

/// Too many did not prove to be whom they named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyUnproved;

/// What those who did not prove to be a phone have together, and the phones that did.
pub(super) struct UnprovedLimit {
    limiter: DefaultDirectRateLimiter,
    clock: DefaultClock,
    exhausted_until: Mutex<Option<Instant>>,
    /// By a hash of their names, whose key is this process's own.
    known: Cache<u64, ()>,
    names: RandomState,
}

impl UnprovedLimit {
    /// Zero counts as one.
    pub(super) fn new(per_minute: u32) -> Self {
        let quota = Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN));
        Self {
            limiter: RateLimiter::direct(quota),
            clock: DefaultClock::default(),
            exhausted_until: Mutex::default(),
            known: Cache::new(KNOWN_MAX),
            names: RandomState::new(),
        }
    }

    /// Nothing, if who calls in the name of that phone is to be looked at.
    pub(super) fn admit(&self, workspace: &WorkspaceId, device: &DeviceId) -> Result<(), TooManyUnproved> {
        let until = *self.exhausted_until.lock().unwrap_or_else(PoisonError::into_inner);
        let exhausted = until.is_some_and(|until| Instant::now() < until);
        let known = || self.known.get(&self.name(workspace, device)).is_some();
        if exhausted && !known() { Err(TooManyUnproved) } else { Ok(()) }
    }

    /// Somebody did not prove to be whom they named.
    pub(super) fn count(&self) {
        if let Err(not_until) = self.limiter.check() {
            let until = Instant::now() + not_until.wait_time_from(self.clock.now());
            *self.exhausted_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        }
    }

    /// That phone signed something a moment ago.
    pub(super) fn proved(&self, workspace: &WorkspaceId, device: &DeviceId) {
        self.known.insert(self.name(workspace, device), ());
    }

    fn name(&self, workspace: &WorkspaceId, device: &DeviceId) -> u64 {
        self.names.hash_one((workspace, device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(user: &str) -> RateKey {
        RateKey::Sessions(UserId::new(user).unwrap())
    }

    #[test]
    fn each_person_has_room_of_their_own() {
        // The burst at once and then one every half minute; somebody else is not kept waiting, nor is any phone.
        let limits = RateLimits::new(2, 3);
        let session = |user, at| RateKey::Session(UserId::new(user).unwrap(), Timestamp(at));
        let (ada, jonas) = (session("ada", 1), session("jonas", 1));
        for _ in 0..3 {
            assert_eq!(limits.take(&ada), Ok(()));
        }
        let wait = limits.take(&ada).unwrap_err();
        assert!((Duration::from_secs(25)..=Duration::from_secs(30)).contains(&wait), "{wait:?}");
        assert_eq!((limits.take(&jonas), limits.take(&session("ada", 2))), (Ok(()), Ok(())));
        let workspace = crate::event::WorkspaceId::new("acme").unwrap();
        let phone = |id| {
            let person = Person { workspace: workspace.clone(), user: UserId::new("ada").unwrap() };
            RateKey::Phone(person, DeviceId::new(id).unwrap())
        };
        while limits.take(&phone("stolen")).is_ok() {}
        assert_eq!(limits.take(&phone("hers")), Ok(()));
    }

    #[test]
    fn who_signs_in_again_and_again_has_no_more_room() {
        // All sessions of a person may call as often as four, however many they are: one of them alone never uses that up.
        let limits = RateLimits::new(2, 3);
        let calls = |limits: &RateLimits| (0..50).take_while(|_| limits.take(&sessions("ada")).is_ok()).count();
        assert_eq!((calls(&limits), limits.take(&sessions("jonas"))), (12, Ok(())));
    }

    #[test]
    fn made_up_names_silence_no_phone_that_is_known() {
        // Three that failed are looked at and the fourth closes the door: for a third of a minute, and not for who signed something before.
        let unproved = UnprovedLimit::new(3);
        let workspace = crate::event::WorkspaceId::new("acme").unwrap();
        let [hers, other] = ["hers", "other"].map(|id| DeviceId::new(id).unwrap());
        unproved.proved(&workspace, &hers);
        for _ in 0..4 {
            assert_eq!(unproved.admit(&workspace, &other), Ok(()));
            unproved.count();
        }
        assert_eq!(unproved.admit(&workspace, &other), Err(TooManyUnproved));
        assert_eq!(unproved.admit(&workspace, &hers), Ok(()));
        assert_eq!(unproved.admit(&crate::event::WorkspaceId::new("globex").unwrap(), &hers), Err(TooManyUnproved));
    }

    #[test]
    fn who_has_all_their_room_is_forgotten() {
        // A million different callers are not a million entries.
        let limits = RateLimits::new(60_000, 1);
        for n in 0..3 * SWEEP_EVERY {
            limits.take(&sessions(&format!("user-{n}"))).ok();
        }
        assert!(limits.together.len() < 3 * SWEEP_EVERY as usize, "{}", limits.together.len());
    }
}
