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
mod model;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{DeviceId, Timestamp};
    use crate::policy::{Device, Environment, Installation, Platform, Token, User};

    const PEOPLE: u64 = 100_000;

    /// A person with one ordinary iPhone.
    fn entry(number: u64) -> UserEntry {
        let device = Device {
            id: DeviceId::new(format!("018f3c1e-7d5a-7c3b-9e55-{number:012x}")).unwrap(),
            installation: Installation {
                platform: Platform::Apns,
                app: "com.example.authenticator".into(),
                environment: Environment::Production,
                token: Token::new(format!("{number:064x}")),
            },
            locale: "en-US".into(),
            registered_at: Timestamp(0),
            quiet: false,
        };
        UserEntry::pack(&User { version: 1, preferences: Default::default(), devices: vec![device] }).unwrap()
    }

    fn filled(max_bytes: u64) -> Arc<Level<UserEntry>> {
        let limits = Limits { ttl_ms: 60_000, unknown_ttl_ms: 5_000, max_stale_ms: 900_000 };
        let (level, prints) = (Level::new(max_bytes, limits), Fingerprints::default());
        for number in 0..PEOPLE {
            let (_, key) = prints.of("0a4f9f1c-6f0e-4d0f-8f0e-3d1f6a9b2c11", &format!("user-{number}"));
            let Begin::Lead(lead) = level.begin(key, Moment(1)) else { continue };
            lead.finish(&entry(number), Moment(1), Moment(1));
        }
        level
    }

    fn resident_bytes() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4_096
    }

    /// A recipient with one device takes at most 300 bytes, tables and allocator included, and weighs what it takes within a tenth.
    #[test]
    fn a_recipient_takes_300_bytes() {
        let before = resident_bytes();
        let level = filled(64 << 20);
        let (entries, weight) = level.size();
        assert_eq!(entries as u64, PEOPLE);
        let taken = level.table_bytes() + entries * entry(0).heap_bytes();
        eprintln!(
            "{} bytes a recipient by count, {} by weight, {} by resident memory",
            taken / entries,
            weight / PEOPLE,
            resident_bytes().saturating_sub(before) / entries
        );
        assert!(taken / entries <= 300, "{} bytes", taken / entries);
        assert!(weight as usize * 10 >= taken * 9, "weighs {weight}, takes {taken}");
    }

    /// The cache keeps to its room.
    #[test]
    fn the_cache_keeps_to_its_room() {
        let level = filled(4 << 20);
        let (entries, weight) = level.size();
        assert!(weight <= 4 << 20 && entries > 10_000, "{entries} entries of {weight} bytes");
        let taken = level.table_bytes() + entries * entry(0).heap_bytes();
        assert!(taken < (4 << 20) * 5 / 4, "{taken} bytes");
    }
}
