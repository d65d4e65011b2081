//! How often one caller may call: GCRA, which gives back room steadily instead of by the minute.
//!
//! Counted in this process, so several replicas allow that many times more: it protects the store from one caller's loop, it is no
//! quota. A person's sessions have room together and each of their phones has its own, so that neither a stolen session nor a stolen phone
//! keeps another phone from answering; and a session that was ended takes nobody's room but its own. A caller whose room is whole again is forgotten, so memory is bounded by those who called within
//! the last minutes.
//!
//! Whoever calls in the name of a phone has no room until they proved to be it. What that may cost is bounded for all of them together, by how
//! many did not prove it. So that whoever makes up names keeps nobody from answering, phones that proved themselves here lately are listened to
//! all the same; a phone that this process does not know yet has to wait.
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

/// Who has room of their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum RoomOf {
    /// All sessions of a person that were not ended.
    Sessions(UserId),
    /// One session of a person, by when its token was issued, before it is known whether it was ended.
    Session(UserId, Timestamp),
    /// One phone of a person.
    Phone(Person, DeviceId),
    /// One phone of somebody who was erased.
    ErasedPhone(WorkspaceId, DeviceId),
}

/// Everybody's room.
pub(super) struct Callers {
    limiter: DefaultKeyedRateLimiter<RoomOf>,
    clock: DefaultClock,
    calls: AtomicU32,
}

impl Callers {
    /// Zeroes count as ones.
    pub(super) fn new(per_minute: u32, burst: u32) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(at_least_one(per_minute)).allow_burst(at_least_one(burst));
        Self { limiter: RateLimiter::keyed(quota), clock: DefaultClock::default(), calls: AtomicU32::new(0) }
    }

    /// Takes a call's room.
    ///
    /// # Errors
    /// How long the caller has to wait for room.
    pub(super) fn take(&self, caller: &RoomOf) -> Result<(), Duration> {
        if self.calls.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(caller).map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

/// Phones that are remembered as having proved themselves: of so many those that called last, in some megabytes.
const KNOWN_MAX: usize = 65_536;

/// Too many did not prove to be whom they named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deaf;

/// What those who did not prove to be a phone have together, and the phones that did.
pub(super) struct Strangers {
    limiter: DefaultDirectRateLimiter,
    clock: DefaultClock,
    deaf_until: Mutex<Option<Instant>>,
    /// By a hash of their names, whose key is this process's own.
    known: Cache<u64, ()>,
    names: RandomState,
}

impl Strangers {
    /// Zero counts as one.
    pub(super) fn new(per_minute: u32) -> Self {
        let quota = Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN));
        Self {
            limiter: RateLimiter::direct(quota),
            clock: DefaultClock::default(),
            deaf_until: Mutex::default(),
            known: Cache::new(KNOWN_MAX),
            names: RandomState::new(),
        }
    }

    /// Nothing, if who calls in the name of that phone is to be listened to.
    pub(super) fn listen(&self, workspace: &WorkspaceId, device: &DeviceId) -> Result<(), Deaf> {
        let until = *self.deaf_until.lock().unwrap_or_else(PoisonError::into_inner);
        let deaf = until.is_some_and(|until| Instant::now() < until);
        if deaf && self.known.get(&self.name(workspace, device)).is_none() { Err(Deaf) } else { Ok(()) }
    }

    /// Somebody did not prove to be whom they named.
    pub(super) fn failed(&self) {
        if let Err(not_until) = self.limiter.check() {
            let until = Instant::now() + not_until.wait_time_from(self.clock.now());
            *self.deaf_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        }
    }

    /// That phone signed something.
    pub(super) fn known(&self, workspace: &WorkspaceId, device: &DeviceId) {
        self.known.insert(self.name(workspace, device), ());
    }

    fn name(&self, workspace: &WorkspaceId, device: &DeviceId) -> u64 {
        self.names.hash_one((workspace, device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(user: &str) -> RoomOf {
        RoomOf::Sessions(UserId::new(user).unwrap())
    }

    #[test]
    fn each_person_has_room_of_their_own() {
        // The burst at once and then one every half minute; somebody else is not kept waiting, nor is any phone.
        let callers = Callers::new(2, 3);
        let (ada, jonas) = (sessions("ada"), sessions("jonas"));
        for _ in 0..3 {
            assert_eq!(callers.take(&ada), Ok(()));
        }
        let wait = callers.take(&ada).unwrap_err();
        assert!((Duration::from_secs(25)..=Duration::from_secs(30)).contains(&wait), "{wait:?}");
        assert_eq!(callers.take(&jonas), Ok(()));
        let workspace = crate::event::WorkspaceId::new("acme").unwrap();
        let phone = |id| {
            let person = Person { workspace: workspace.clone(), user: UserId::new("ada").unwrap() };
            RoomOf::Phone(person, DeviceId::new(id).unwrap())
        };
        while callers.take(&phone("stolen")).is_ok() {}
        assert_eq!(callers.take(&phone("hers")), Ok(()));
    }

    #[test]
    fn made_up_names_silence_no_phone_that_is_known() {
        // Three that failed are looked at and the fourth closes the door: for a third of a minute, and not for who signed something before.
        let strangers = Strangers::new(3);
        let workspace = crate::event::WorkspaceId::new("acme").unwrap();
        let [hers, other] = ["hers", "other"].map(|id| DeviceId::new(id).unwrap());
        strangers.known(&workspace, &hers);
        for _ in 0..4 {
            assert_eq!(strangers.listen(&workspace, &other), Ok(()));
            strangers.failed();
        }
        assert_eq!(strangers.listen(&workspace, &other), Err(Deaf));
        assert_eq!(strangers.listen(&workspace, &hers), Ok(()));
        assert_eq!(strangers.listen(&crate::event::WorkspaceId::new("globex").unwrap(), &hers), Err(Deaf));
    }

    #[test]
    fn who_has_all_their_room_is_forgotten() {
        // A million different callers are not a million entries.
        let callers = Callers::new(60_000, 1);
        for n in 0..3 * SWEEP_EVERY {
            callers.take(&sessions(&format!("user-{n}"))).ok();
        }
        assert!(callers.limiter.len() < 3 * SWEEP_EVERY as usize, "{}", callers.limiter.len());
    }
}
