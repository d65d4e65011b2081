//! One breaker for each credential: while a credential of ours is wrong, its new jobs wait apart and nobody else's do.
//!
//! It opens on the first misconfigured answer and lets one job through each probe interval; the first answer that speaks of anything
//! else closes it. It deliberately never opens on a provider's own trouble (5xx, time-outs): those are retried by tier.
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::seam::CredentialId;

/// The breakers of one process. Closed ones cost one atomic load.
#[derive(Debug)]
pub(super) struct Breakers {
    probe_interval: Duration,
    any_open: AtomicBool,
    open: Mutex<HashMap<CredentialId, Instant>>,
}

/// Whether a job may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Send it. While the breaker is open this is the interval's one probe.
    Send,
    /// Let it wait; the next probe is due at that moment.
    Hold(Instant),
}

impl Breakers {
    pub(super) fn new(probe_interval: Duration) -> Self {
        Self { probe_interval, any_open: AtomicBool::new(false), open: Mutex::default() }
    }

    /// Asks before a send.
    pub(super) fn admit(&self, credential: &CredentialId, now: Instant) -> Admission {
        if !self.any_open.load(Relaxed) {
            return Admission::Send;
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(credential) {
            Some(due) if *due > now => Admission::Hold(*due),
            Some(due) => {
                *due = now + self.probe_interval;
                Admission::Send
            }
            None => Admission::Send,
        }
    }

    /// A misconfigured answer came.
    pub(super) fn trip(&self, credential: &CredentialId, now: Instant) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.insert(credential.clone(), now + self.probe_interval).is_none() {
            tracing::error!(credential = %credential, "credential misconfigured: its jobs wait in its hold topic");
        }
        self.any_open.store(true, Relaxed);
        metrics::gauge!("watchbell_credential_misconfigured", "credential" => credential.to_string()).set(1.0);
    }

    /// An answer came that the credential was good for.
    pub(super) fn mend(&self, credential: &CredentialId) {
        if !self.any_open.load(Relaxed) {
            return;
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.remove(credential).is_some() {
            tracing::info!(credential = %credential, "credential works again: its jobs flow");
            metrics::gauge!("watchbell_credential_misconfigured", "credential" => credential.to_string()).set(0.0);
        }
        self.any_open.store(!open.is_empty(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An open breaker lets one probe through each interval, holds the rest, and leaves other credentials alone.
    #[test]
    fn one_probe_each_interval() {
        let interval = Duration::from_secs(10);
        let breakers = Breakers::new(interval);
        let (bad, good): (CredentialId, CredentialId) = ("apns.a".into(), "fcm.b".into());
        let start = Instant::now();
        assert_eq!(breakers.admit(&bad, start), Admission::Send);
        breakers.trip(&bad, start);
        assert_eq!(breakers.admit(&bad, start), Admission::Hold(start + interval));
        assert_eq!(breakers.admit(&good, start), Admission::Send);
        let due = start + interval;
        assert_eq!(breakers.admit(&bad, due), Admission::Send);
        assert_eq!(breakers.admit(&bad, due), Admission::Hold(due + interval));
        breakers.mend(&bad);
        assert_eq!(breakers.admit(&bad, due), Admission::Send);
        assert_eq!(breakers.admit(&bad, due), Admission::Send);
    }
}
