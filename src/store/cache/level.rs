//! One kind of value, by key: the slots, the reads under way, and the rules of [`super`].
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use tokio::sync::watch;

use super::key::Halves;
use super::{Fingerprint, Moment, Value};

/// The bounds that a level keeps, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Limits {
    /// How long a value is fresh, from its read at the store.
    pub(in crate::store) ttl_ms: u64,
    /// The same where the store has no row.
    pub(in crate::store) unknown_ttl_ms: u64,
    /// How long a value is the last known one, from its read at the store.
    pub(in crate::store) max_stale_ms: u64,
}

/// A tenth of the TTL is jitter, so that what was read together does not expire together.
const JITTER_PARTS: u64 = 10;

/// The moment of the read and the generation under which it was made, in one word: 40 bits of milliseconds (34 years) and 24 bits of
/// generation. Generation 0 is no generation: the value is known to be outdated, and the moment is that at which this was heard.
#[derive(Debug, Clone, Copy)]
struct Mark(u64);

impl Mark {
    const MOMENT_BITS: u32 = 40;
    const OUTDATED: u64 = 0;
    const GENERATIONS: u64 = 1 << (64 - Self::MOMENT_BITS);

    fn new(read_at: Moment, generation: u64) -> Self {
        Self(generation << Self::MOMENT_BITS | read_at.0 & ((1 << Self::MOMENT_BITS) - 1))
    }

    fn read_at(self) -> Moment {
        Moment(self.0 & ((1 << Self::MOMENT_BITS) - 1))
    }

    fn generation(self) -> u64 {
        self.0 >> Self::MOMENT_BITS
    }
}

#[derive(Debug, Clone)]
struct Slot<V> {
    value: V,
    mark: Mark,
}

/// What the cache needs for an entry besides its value's bytes: 56 bytes of slot (a test measures it) and the index, 5 bytes at a
/// load between 7/16 and 7/8.
const OVERHEAD_BYTES: usize = 56 + 10;

#[derive(Debug, Clone, Copy)]
struct ByBytes;

impl<V: Value> Weighter<Fingerprint, Slot<V>> for ByBytes {
    fn weight(&self, _: &Fingerprint, slot: &Slot<V>) -> u64 {
        (OVERHEAD_BYTES + slot.value.heap_bytes()) as u64
    }
}

/// A read under way, which others wait for.
struct Flight<V> {
    id: u64,
    generation: u64,
    result: watch::Receiver<Option<V>>,
}

struct Flights<V> {
    next_id: u64,
    by_key: HashMap<Fingerprint, Flight<V>>,
}

/// One kind of value, by key.
pub(in crate::store) struct Level<V> {
    slots: Cache<Fingerprint, Slot<V>, ByBytes, Halves, DefaultLifecycle<Fingerprint, Slot<V>>>,
    /// Held by everything that changes a slot, so that an invalidation and a fill cannot pass each other. Never by [`Level::fresh`].
    flights: Mutex<Flights<V>>,
    /// 1 and up.
    generation: AtomicU64,
    limits: Limits,
}

/// How to get a value that is not fresh.
pub(in crate::store) enum Begin<V: Value> {
    /// It is fresh after all.
    Fresh(V),
    /// Somebody reads it already; a closed channel means that they gave up.
    Join(watch::Receiver<Option<V>>),
    /// Read it, and give it to [`Lead::finish`].
    Lead(Lead<V>),
}

/// What became of a value that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Kept {
    /// It is in the cache.
    Yes,
    /// It may be used by those who asked for it, but something happened since the read began: it is not in the cache.
    Discarded,
    /// A higher version was seen in this process, or it is as old as a TTL by now: it must not be used.
    Unusable,
}

impl<V: Value + Send + Sync + 'static> Level<V> {
    /// An empty level with room for so many bytes.
    pub(in crate::store) fn new(max_bytes: u64, limits: Limits) -> Arc<Self> {
        // Ghosts remember keys that were thrown out, each in a slot of full size: half as many of them would be a third more memory.
        let options = OptionsBuilder::new()
            .weight_capacity(max_bytes)
            .estimated_items_capacity((max_bytes / 256).max(16) as usize)
            .ghost_allocation(0.05)
            .build();
        let slots = match options {
            Ok(options) => Cache::with_options(options, ByBytes, Halves::default(), DefaultLifecycle::default()),
            Err(_) => Cache::with(
                (max_bytes / 256).max(16) as usize,
                max_bytes,
                ByBytes,
                Halves::default(),
                DefaultLifecycle::default(),
            ),
        };
        let flights = Mutex::new(Flights { next_id: 0, by_key: HashMap::new() });
        Arc::new(Self { slots, flights, generation: AtomicU64::new(1), limits })
    }

    /// The value, if it is fresh. The hot path: one look-up, no allocation.
    pub(in crate::store) fn fresh(&self, key: Fingerprint, now: Moment) -> Option<V> {
        let slot = self.slots.get(&key)?;
        let current = slot.mark.generation() == self.generation.load(Ordering::Acquire);
        (current && self.young(key, &slot.value, slot.mark.read_at(), now)).then_some(slot.value)
    }

    /// Whether a copy that somebody else read is young, and not behind what was seen here.
    pub(in crate::store) fn usable(&self, key: Fingerprint, value: &V, read_at: Moment, now: Moment) -> bool {
        self.young(key, value, read_at, now) && !self.is_behind(key, value.version(), read_at)
    }

    /// Whether the value is younger than its TTL.
    fn young(&self, key: Fingerprint, value: &V, read_at: Moment, now: Moment) -> bool {
        let ttl = if value.version() == 0 { self.limits.unknown_ttl_ms } else { self.limits.ttl_ms };
        let jitter = key.part(ttl / JITTER_PARTS + 1);
        now.ms_since(read_at) < ttl - jitter
    }

    /// The last known value, for who can reach nothing.
    pub(in crate::store) fn last_known(&self, key: Fingerprint, now: Moment) -> Option<V> {
        let slot = self.slots.get(&key)?;
        let known = slot.mark.generation() != Mark::OUTDATED;
        (known && now.ms_since(slot.mark.read_at()) <= self.limits.max_stale_ms).then_some(slot.value)
    }

    /// Whether a value that was read is older than what this process has seen or heard of.
    fn is_behind(&self, key: Fingerprint, version: u64, read_at: Moment) -> bool {
        self.slots.peek(&key).is_some_and(|slot| {
            let (seen, since) = (slot.value.version(), slot.mark.read_at());
            let lower = version < seen && read_at.ms_since(since) < self.limits.ttl_ms;
            // Replaced, and the replacement not seen yet: only a later read can tell that it is this version after all.
            let replaced = version == seen && slot.mark.generation() == Mark::OUTDATED && read_at < since;
            lower || replaced
        })
    }

    /// Begins a read, or joins one that began under the same conditions.
    pub(in crate::store) fn begin(self: &Arc<Self>, key: Fingerprint, now: Moment) -> Begin<V> {
        let mut flights = self.lock();
        if let Some(value) = self.fresh(key, now) {
            return Begin::Fresh(value);
        }
        let generation = self.generation.load(Ordering::Acquire);
        if let Some(flight) = flights.by_key.get(&key)
            && flight.generation == generation
        {
            return Begin::Join(flight.result.clone());
        }
        let (sender, result) = watch::channel(None);
        flights.next_id += 1;
        let id = flights.next_id;
        flights.by_key.insert(key, Flight { id, generation, result });
        Begin::Lead(Lead { level: Arc::clone(self), key, id, generation, result: sender })
    }

    /// Somebody changed it, or Redis no longer tracks it: what is held, and every read under way, may be old.
    pub(in crate::store) fn invalidate(&self, key: Fingerprint, now: Moment) {
        let mut flights = self.lock();
        flights.by_key.remove(&key);
        // Redis also announces that a copy expired there. That says nothing about the value, which has expired here too and stays the
        // last known one. Before that, somebody wrote: the value is known to be outdated, and only its version is of use.
        if let Some(slot) = self.slots.peek(&key)
            && self.young(key, &slot.value, slot.mark.read_at(), now)
        {
            let mark = Mark::new(now, Mark::OUTDATED);
            self.slots.insert(key, Slot { value: slot.value, mark });
        }
    }

    /// The stream of invalidations was interrupted, or begins anew: everything must be validated again before it is used.
    pub(in crate::store) fn doubt_everything(&self) {
        let _flights = self.lock();
        let next = self.generation.load(Ordering::Acquire) + 1;
        self.generation.store(if next < Mark::GENERATIONS { next } else { 1 }, Ordering::Release);
    }

    /// Another store, or the same one in another life: nothing that is held means anything.
    pub(in crate::store) fn forget_everything(&self) {
        self.doubt_everything();
        self.lock().by_key.clear();
        self.slots.clear();
    }

    /// What the tables of the cache take, without what their values own.
    #[cfg(test)]
    pub(in crate::store) fn table_bytes(&self) -> usize {
        self.slots.memory_used().total()
    }

    /// Entries held, and their weight in bytes.
    pub(in crate::store) fn size(&self) -> (usize, u64) {
        (self.slots.len(), self.slots.weight())
    }

    fn finish(&self, lead: &Lead<V>, value: &V, read_at: Moment, now: Moment) -> Kept {
        let mut flights = self.lock();
        let taken = take(&mut flights, lead);
        if self.is_behind(lead.key, value.version(), read_at) {
            return Kept::Unusable;
        }
        let too_old = now.ms_since(read_at) >= self.limits.ttl_ms;
        let undisturbed = taken && !too_old && lead.generation == self.generation.load(Ordering::Acquire);
        // Read under an earlier generation, it is not fresh. Invalidated while it was read, or too old, it is not to be used, but to be
        // remembered: what comes out later must not be older.
        let mark = if taken && !too_old { Mark::new(read_at, lead.generation) } else { Mark::new(now, Mark::OUTDATED) };
        let superfluous = self.slots.peek(&lead.key).is_some_and(|slot| {
            let same = slot.value.version() == value.version();
            same && (!undisturbed || slot.mark.generation() == lead.generation && slot.mark.read_at() > read_at)
        });
        if !superfluous {
            self.slots.insert(lead.key, Slot { value: value.clone(), mark });
        }
        match (too_old, undisturbed) {
            (true, _) => Kept::Unusable,
            (false, true) => Kept::Yes,
            (false, false) => Kept::Discarded,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Flights<V>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the lead's flight; whether it was still the one that others would join.
fn take<V: Value>(flights: &mut Flights<V>, lead: &Lead<V>) -> bool {
    match flights.by_key.entry(lead.key) {
        Entry::Occupied(flight) if flight.get().id == lead.id => {
            flight.remove();
            true
        }
        Entry::Occupied(_) | Entry::Vacant(_) => false,
    }
}

/// The duty to read one value. Dropped without [`Lead::finish`], it lets others try.
pub(in crate::store) struct Lead<V: Value> {
    level: Arc<Level<V>>,
    key: Fingerprint,
    id: u64,
    generation: u64,
    result: watch::Sender<Option<V>>,
}

impl<V: Value + Send + Sync + 'static> Lead<V> {
    /// Keeps the value if nothing happened since the read began, and hands it to those who wait for it, if it may be used.
    pub(in crate::store) fn finish(self, value: &V, read_at: Moment, now: Moment) -> Kept {
        let kept = self.level.finish(&self, value, read_at, now);
        match kept {
            Kept::Yes | Kept::Discarded => {
                self.result.send_replace(Some(value.clone()));
            }
            Kept::Unusable => {}
        }
        kept
    }

    /// Where it belongs.
    #[cfg(test)]
    pub(in crate::store) fn level(&self) -> &Level<V> {
        &self.level
    }

    /// Hands those who wait a value that is not to be kept.
    pub(in crate::store) fn serve(self, value: &V) {
        self.result.send_replace(Some(value.clone()));
    }
}

impl<V: Value> Drop for Lead<V> {
    fn drop(&mut self) {
        let mut flights = self.level.flights.lock().unwrap_or_else(PoisonError::into_inner);
        take(&mut flights, self);
    }
}
