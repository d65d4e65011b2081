//! One breaker for each app of each credential: while Apple or Google refuses it, its new jobs wait apart and nobody else's do.
//!
//! By app, because a credential may serve one app well and another not (a wrong topic): an app that works is never held for one that
//! does not. Where the credential itself is wrong, each of its apps finds that out with one push an interval.
//!
//! It opens on the first misconfigured answer and lets one job through each probe interval; the first answer that speaks of anything
//! else closes it. It deliberately never opens on a provider's own trouble (5xx, time-outs): those are retried by tier.
//!
//! Of the workers whose pushes a credential failed, one reads its hold topic and hears when it works again; another may never send
//! anything more for that app. So an open breaker that no refusal has confirmed for [`LAPSE_INTERVALS`] is forgotten: what nobody tried
//! lately is not known to be wrong, and the next push finds out. The reader of the hold topic goes on saying so while jobs wait there.
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::delivery::JobId;
use crate::seam::CredentialId;

/// After so many probe intervals without a refusal an open breaker is forgotten. Enough that a hold topic of some thousand jobs of several
/// apps goes round between two probes of one of them; five minutes with the default interval.
const LAPSE_INTERVALS: u32 = 30;

/// The breakers of one process. Closed ones cost one atomic load.
#[derive(Debug)]
pub(super) struct Breakers {
    probe_interval: Duration,
    any_open: AtomicBool,
    open: Mutex<HashMap<CredentialId, HashMap<Box<str>, Open>>>,
}

/// An open breaker.
#[derive(Debug)]
struct Open {
    /// When the next probe is due.
    due: Instant,
    /// When the credential was refused last.
    refused: Instant,
    /// The last probe.
    probe: JobId,
    /// Whether that job let another one be the next probe.
    yielded: bool,
}

/// Whether a job may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Send it. While the breaker is open this is the interval's one probe.
    Send,
    /// Let it wait.
    Hold,
}

/// What the head of a hold topic does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is tried.
    Try,
    /// It goes to the tail, so that those behind it get their turn.
    Yield,
    /// It waits: it was the last probe, so everything behind it had its turn since.
    Wait(Instant),
}

impl Breakers {
    pub(super) fn new(probe_interval: Duration) -> Self {
        Self { probe_interval, any_open: AtomicBool::new(false), open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CredentialId, HashMap<Box<str>, Open>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks before a send.
    pub(super) fn admit(&self, credential: &CredentialId, app: &str, now: Instant) -> Admission {
        if !self.any_open.load(Relaxed) {
            return Admission::Send;
        }
        match self.lock().get_mut(credential).and_then(|apps| apps.get_mut(app)) {
            Some(open) if open.due > now => Admission::Hold,
            Some(open) => {
                open.due = now + self.probe_interval;
                Admission::Send
            }
            None => Admission::Send,
        }
    }

    /// Asks for the head of the credential's hold topic.
    pub(super) fn turn(&self, credential: &CredentialId, app: &str, job: JobId, now: Instant) -> Turn {
        let mut open = self.lock();
        let Some(open) = open.get_mut(credential).and_then(|apps| apps.get_mut(app)) else { return Turn::Try };
        match (open.due <= now, open.probe == job) {
            (true, false) => Turn::Try,
            // Something may be wrong with this very job: another one is the next probe, if there is one.
            (true, true) if !open.yielded => {
                open.yielded = true;
                Turn::Yield
            }
            (true, true) => Turn::Try,
            (false, true) => Turn::Wait(open.due),
            (false, false) => Turn::Yield,
        }
    }

    /// A misconfigured answer came.
    pub(super) fn trip(&self, credential: &CredentialId, app: &str, job: JobId, now: Instant) {
        let open = Open { due: now + self.probe_interval, refused: now, probe: job, yielded: false };
        if self.lock().entry(credential.clone()).or_default().insert(app.into(), open).is_none() {
            tracing::error!(%credential, app, "credential misconfigured: this app's jobs wait in its hold topic");
        }
        self.any_open.store(true, Relaxed);
        gauge(credential, app, 1.0);
    }

    /// An answer came that the credential was good for.
    pub(super) fn mend(&self, credential: &CredentialId, app: &str) {
        if !self.any_open.load(Relaxed) {
            return;
        }
        let mut open = self.lock();
        let Some(apps) = open.get_mut(credential) else { return };
        if apps.remove(app).is_some() {
            tracing::info!(%credential, app, "credential works again: this app's jobs flow");
            gauge(credential, app, 0.0);
        }
        if apps.is_empty() {
            open.remove(credential);
        }
        self.any_open.store(!open.is_empty(), Relaxed);
    }

    /// Forgets what no refusal has confirmed for long.
    pub(super) fn lapse(&self, now: Instant) {
        if !self.any_open.load(Relaxed) {
            return;
        }
        let life = self.probe_interval * LAPSE_INTERVALS;
        let mut open = self.lock();
        open.retain(|credential, apps| {
            apps.retain(|app, open| {
                let lives = now.saturating_duration_since(open.refused) < life;
                if !lives {
                    tracing::info!(%credential, app, "not refused here for {life:?}: the next push finds out whether it works");
                    gauge(credential, app, 0.0);
                }
                lives
            });
            !apps.is_empty()
        });
        self.any_open.store(!open.is_empty(), Relaxed);
    }
}

fn gauge(credential: &CredentialId, app: &str, value: f64) {
    let labels = [("credential", credential.to_string()), ("app", app.to_owned())];
    metrics::gauge!("watchbell_credential_misconfigured", &labels).set(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn job(number: u8) -> JobId {
        JobId::from_bytes([number; 16])
    }

    /// An open breaker lets one probe through each interval, holds the rest, and leaves other credentials and other apps alone.
    #[test]
    fn one_probe_each_interval() {
        let breakers = Breakers::new(INTERVAL);
        let (bad, good): (CredentialId, CredentialId) = ("apns.a".into(), "fcm.b".into());
        let start = Instant::now();
        assert_eq!(breakers.admit(&bad, "app", start), Admission::Send);
        breakers.trip(&bad, "app", job(1), start);
        assert_eq!(breakers.admit(&bad, "app", start), Admission::Hold);
        assert_eq!(breakers.admit(&bad, "another", start), Admission::Send);
        assert_eq!(breakers.admit(&good, "app", start), Admission::Send);
        let due = start + INTERVAL;
        assert_eq!(breakers.admit(&bad, "app", due), Admission::Send);
        assert_eq!(breakers.admit(&bad, "app", due), Admission::Hold);
        breakers.mend(&bad, "another");
        assert_eq!(breakers.admit(&bad, "app", due), Admission::Hold);
        breakers.mend(&bad, "app");
        assert_eq!(breakers.admit(&bad, "app", due), Admission::Send);
        assert_eq!(breakers.admit(&bad, "app", due), Admission::Send);
    }

    /// The last probe ends a round of the hold topic and waits; when the next probe is due it lets another job be it, once.
    #[test]
    fn a_round_ends_at_the_probe() {
        let breakers = Breakers::new(INTERVAL);
        let (credential, start): (CredentialId, _) = ("apns.a".into(), Instant::now());
        let turn = |number, at| breakers.turn(&credential, "app", job(number), at);
        assert_eq!(turn(1, start), Turn::Try);
        breakers.trip(&credential, "app", job(1), start);
        let due = start + INTERVAL;
        assert_eq!((turn(2, start), turn(1, start)), (Turn::Yield, Turn::Wait(due)));
        assert_eq!((turn(1, due), turn(2, due)), (Turn::Yield, Turn::Try));
        assert_eq!(turn(1, due), Turn::Try, "it is alone, so it is the probe again");
        breakers.mend(&credential, "app");
        assert_eq!(turn(2, start), Turn::Try);
    }

    /// A worker that sends nothing more for an app says that its credential is wrong for a while only; one that goes on being refused says
    /// so for as long.
    #[test]
    fn an_unconfirmed_refusal_is_forgotten() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let breakers = Breakers::new(INTERVAL);
            let (credential, start): (CredentialId, _) = ("apns.a".into(), Instant::now());
            let says = |value: u8| {
                let line = format!("watchbell_credential_misconfigured{{credential=\"apns.a\",app=\"app\"}} {value}\n");
                assert!(recorder.handle().render().contains(&line), "{}", recorder.handle().render());
            };
            breakers.trip(&credential, "app", job(1), start);
            let mut refused = start;
            for number in 2..100 {
                refused += INTERVAL;
                breakers.lapse(refused);
                assert_eq!(breakers.admit(&credential, "app", refused), Admission::Send);
                breakers.trip(&credential, "app", job(number), refused);
                says(1);
            }
            let silent = refused + INTERVAL * LAPSE_INTERVALS;
            breakers.lapse(silent - Duration::from_millis(1));
            says(1);
            breakers.lapse(silent);
            says(0);
            assert_eq!(breakers.turn(&credential, "app", job(1), silent), Turn::Try);
            assert_eq!([0, 1].map(|_| breakers.admit(&credential, "app", silent)), [Admission::Send; 2]);
        });
    }
}
