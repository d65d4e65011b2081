//! The in-process cache, and the rules by which it stays coherent.
//!
//! The point: a copy is used only while it is certain to be young enough. Every value carries the moment before its read at the store
//! of record began, and expires one TTL after *that*, whatever caches it came through. A read takes a [`Lead`] before it begins; an
//! invalidation, or the loss of the stream that would have brought one, makes the lead worthless, so that its value is not kept.
//!
//! It deliberately does no I/O and reads no clock: time, values and events come in as arguments, and a model test plays them in
//! thousands of orders. It cannot fail; what it does not hold is a miss.
//!
//! Rules, for one key:
//! - *fresh*: younger than its TTL (jitter only downwards), read since tracking was last regained, and not invalidated since.
//! - *last known*: not invalidated, younger than `max_stale`; used only by who can reach nothing.
//! - a lower version never replaces a higher one, unless it was read a whole TTL later: then the store itself went back (a backup).
mod caches;
mod key;
mod level;
#[cfg(test)]
mod model_tests;

pub(super) use caches::Caches;
pub(super) use key::{Fingerprint, Fingerprints};
pub(super) use level::{Begin, Kept, Lead, Level, Limits};

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::policy::{UserEntry, Workspace};

/// A moment of this process's monotonic clock, in milliseconds since an origin of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Moment(pub(super) u64);

impl Moment {
    /// This moment less so many milliseconds; the origin at the earliest.
    pub(super) fn minus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }

    /// Milliseconds since `earlier`; 0 when that is later.
    pub(super) fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Turns the monotonic clock's instants into [`Moment`]s.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    at: Instant,
}

impl Origin {
    /// Room before the process's start, for values that another process read before it: longer than any TTL.
    const BEFORE: Duration = Duration::from_secs(24 * 3_600);

    pub(super) fn new(now: Instant) -> Self {
        Self { at: now }
    }

    pub(super) fn moment(self, instant: Instant) -> Moment {
        Moment((instant.saturating_duration_since(self.at) + Self::BEFORE).as_millis() as u64)
    }
}

/// What the cache keeps.
pub(super) trait Value: Clone {
    /// Rises with every write; 0 where the store has no row.
    fn version(&self) -> u64;
    /// Bytes on the heap, the allocator's share included.
    fn heap_bytes(&self) -> usize;
}

/// What an allocation of so many bytes takes: glibc, jemalloc and mimalloc alike need at most 8 bytes of their own and round to 16.
fn allocation(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16)
}

/// The two counters in front of what an [`Arc`] holds.
const ARC_BYTES: usize = 2 * size_of::<usize>();

impl Value for UserEntry {
    fn version(&self) -> u64 {
        UserEntry::version(self)
    }

    fn heap_bytes(&self) -> usize {
        allocation(ARC_BYTES + self.as_bytes().len())
    }
}

impl Value for Arc<Workspace> {
    fn version(&self) -> u64 {
        self.version
    }

    fn heap_bytes(&self) -> usize {
        allocation(ARC_BYTES + size_of::<Workspace>()) + allocation(self.display_name.capacity())
    }
}
