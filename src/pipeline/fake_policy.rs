//! The policy store in memory, for the tests of the flow.
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::fakes::{FakeClock, FakeForwarder, FakeLease, NOW, user};
use crate::event::{EventId, NotificationType, Timestamp, UserId, WorkspaceId};
use crate::policy::{Guard, Heard, Ring, Tally, User, UserEntry, Workspace};
use crate::seam::{Clock as _, DeadToken, LeaseState, PolicySource, Query, Removal, Resolved, Ringing, Unavailable};

/// A policy store in memory.
#[derive(Default)]
pub(crate) struct FakePolicy {
    pub(crate) workspace: Mutex<Option<Workspace>>,
    pub(crate) users: Mutex<HashMap<String, User>>,
    pub(crate) withdrawn: Mutex<HashSet<(NotificationType, EventId)>>,
    pub(crate) remembered: Mutex<Vec<Remembered>>,
    pub(crate) removed: Mutex<Vec<DeadToken>>,
    pub(crate) away: AtomicBool,
    /// So many of the next calls panic.
    pub(crate) panics: AtomicUsize,
    /// It answers for one person more than it was asked for.
    pub(crate) surplus: AtomicBool,
    /// It has everybody in its memory.
    pub(crate) near: AtomicBool,
    pub(crate) asked: AtomicUsize,
    /// Fenced by whoever asks for people.
    pub(crate) fences: OnceLock<Arc<FakeLease>>,
    /// What rang, by person, where all processes count together; none of them does otherwise.
    pub(crate) common: Mutex<Option<HashMap<String, Tally>>>,
    /// By what the common count measures its windows.
    pub(crate) clock: OnceLock<FakeClock>,
    /// The common count answers nobody.
    pub(crate) speechless: AtomicBool,
    /// Whose forwards are looked at when a withdrawal is remembered.
    pub(crate) forwarder: OnceLock<Arc<FakeForwarder>>,
}

/// A withdrawal, as it was remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) until: Timestamp,
    /// How many forwards had been published by then.
    pub(crate) after_forwards: usize,
}

/// Panics as often as it was told to.
fn panic_if_told(panics: &AtomicUsize) {
    let told = panics.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
    assert!(!told, "the test says so");
}

impl FakePolicy {
    fn check(&self) -> Result<(), Unavailable> {
        self.asked.fetch_add(1, SeqCst);
        panic_if_told(&self.panics);
        match self.away.load(SeqCst) {
            true => Err(Unavailable { what: "policy store", why: "the test says so".into() }),
            false => Ok(()),
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.get().map_or(NOW, |clock| clock.now())
    }

    fn workspace(&self) -> Arc<Workspace> {
        Arc::new(self.workspace.lock().unwrap().clone().unwrap_or_else(Workspace::unknown))
    }

    fn entry(&self, user: &UserId) -> UserEntry {
        let users = self.users.lock().unwrap();
        users.get(user.as_str()).map_or_else(UserEntry::unknown, |user| UserEntry::pack(user).unwrap())
    }
}

impl PolicySource for Arc<FakePolicy> {
    fn cached(&self, _: &WorkspaceId, user: &UserId) -> Option<(Arc<Workspace>, UserEntry)> {
        self.near.load(SeqCst).then(|| (self.workspace(), self.entry(user)))
    }

    async fn resolve(&self, query: Query<'_>) -> Result<Resolved, Unavailable> {
        if let Some(lease) = self.fences.get() {
            lease.set(LeaseState::Fenced);
        }
        self.check()?;
        let withdrawn = query
            .withdrawn
            .is_some_and(|(kind, event)| self.withdrawn.lock().unwrap().contains(&(kind, event.clone())));
        let surplus = self.surplus.load(SeqCst).then(|| UserEntry::pack(&user("surplus", 1)).unwrap());
        let users = query.users.iter().map(|user| self.entry(user)).chain(surplus).collect();
        Ok(Resolved { workspace: self.workspace(), users, withdrawn })
    }

    async fn withdraw(
        &self,
        _: &WorkspaceId,
        kind: NotificationType,
        event: &EventId,
        until: Timestamp,
    ) -> Result<(), Unavailable> {
        self.check()?;
        let after_forwards = self.forwarder.get().map_or(0, |forwarder| forwarder.forwards.lock().unwrap().len());
        self.remembered.lock().unwrap().push(Remembered { until, after_forwards });
        self.withdrawn.lock().unwrap().insert((kind, event.clone()));
        Ok(())
    }

    async fn remove_token(&self, dead: &DeadToken) -> Result<Removal, Unavailable> {
        self.check()?;
        self.removed.lock().unwrap().push(dead.clone());
        Ok(Removal::Removed(1))
    }

    fn counts_together(&self) -> bool {
        self.common.lock().unwrap().is_some()
    }

    async fn ring(&self, ringing: Ringing<'_>) -> Option<Vec<Ring>> {
        if self.speechless.load(SeqCst) {
            return None;
        }
        let request = BuildHasherDefault::<DefaultHasher>::default().hash_one((ringing.kind, ringing.event));
        let mut common = self.common.lock().unwrap();
        let tallies = common.as_mut()?;
        let now = self.now();
        let ring = |user: &&UserId| tallies.entry(user.to_string()).or_default().ring(request, now, ringing.guard);
        Some(ringing.users.iter().map(ring).collect())
    }

    async fn hear(&self, _: &WorkspaceId, user: &UserId, heard: Heard, ago: Duration, guard: &Guard) {
        if let Some(tallies) = self.common.lock().unwrap().as_mut() {
            let now = self.now();
            tallies.entry(user.to_string()).or_default().hear(heard, now.minus(ago), now, guard);
        }
    }
}
