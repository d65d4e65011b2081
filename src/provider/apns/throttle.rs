//! Devices to which Apple said 429, and until when nothing is sent to them.
//!
//! Bounded: where it is full of devices that still wait, one more is not remembered, and Apple simply says 429 again. Tokens are kept as
//! keyed hashes; two that collide delay each other, which costs a retry and nothing else.
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most devices remembered: 240 KiB.
const DEVICES_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Throttle {
    hasher: RandomState,
    until: Mutex<HashMap<u64, Instant>>,
    /// How many are remembered, so that nobody pays for the lock while there are none.
    count: AtomicUsize,
}

impl Throttle {
    /// Whether no device is remembered; cheap.
    pub(super) fn is_idle(&self) -> bool {
        self.count.load(Relaxed) == 0
    }

    /// How long the device must wait; `None` when it need not.
    pub(super) fn wait(&self, token: &str, now: Instant) -> Option<Duration> {
        let device = self.hasher.hash_one(token);
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until.get(&device)?.saturating_duration_since(now);
        if left.is_zero() {
            until.remove(&device);
            self.count.store(until.len(), Relaxed);
            return None;
        }
        Some(left)
    }

    /// The device must wait.
    pub(super) fn delay(&self, token: &str, wait: Duration, now: Instant) {
        let device = self.hasher.hash_one(token);
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= DEVICES_MAX {
            until.retain(|_, moment| *moment > now);
        }
        if until.len() < DEVICES_MAX {
            until.insert(device, now + wait);
        }
        self.count.store(until.len(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A throttled device waits until its time is over, and no other device waits with it.
    #[test]
    fn only_this_device_waits() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(throttle.wait("a", now), None);
        throttle.delay("a", MINUTE, now);
        assert_eq!(throttle.wait("a", now), Some(MINUTE));
        assert_eq!(throttle.wait("b", now), None);
        assert_eq!(throttle.wait("a", now + MINUTE / 2), Some(MINUTE / 2));
        assert_eq!(throttle.wait("a", now + MINUTE), None);
        assert!(throttle.is_idle());
    }

    /// However many devices are throttled, the memory is bounded, and makes room when their time is over.
    #[test]
    fn bounded() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for device in 0..=DEVICES_MAX {
            throttle.delay(&device.to_string(), MINUTE, now);
        }
        assert_eq!(throttle.count.load(Relaxed), DEVICES_MAX);
        assert_eq!(throttle.wait(&DEVICES_MAX.to_string(), now), None);
        throttle.delay("later", MINUTE, now + MINUTE);
        assert_eq!(throttle.count.load(Relaxed), 1);
        assert_eq!(throttle.wait("later", now + MINUTE), Some(MINUTE));
    }
}
