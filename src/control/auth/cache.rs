//! The issuer's keys as this process knows them: fetched ahead of need, and once for however many requests miss one.
//!
//! One task fetches: each `jwks_ttl_s`, sooner when a token names a key that is not there, never oftener than once in
//! `jwks_refetch_interval_s`. A fetched set replaces the one before, so that a key lives here as long as the issuer publishes it and one
//! `jwks_ttl_s` more at most. While the issuer cannot be reached the last set serves for `jwks_max_stale_s` beyond that.
//!
//! It fails as data: a token whose key might be on a set that could not be fetched is neither right nor wrong
//! ([`Refusal::KeysUnavailable`]).
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::config::{Algorithm, AuthConfig};
use super::keys::{Key, KeySet};
use super::refusal::Refusal;

/// When to fetch, and how long what was fetched is good.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// From one fetch to the next.
    ttl: Duration,
    /// Between two fetches at least.
    interval: Duration,
    /// How long keys are good since their fetch began.
    good_for: Duration,
    /// How long one fetch may take.
    timeout: Duration,
}

impl Pace {
    pub(super) fn new(config: &AuthConfig) -> Self {
        Self {
            ttl: Duration::from_secs(config.jwks_ttl_s.into()),
            interval: Duration::from_secs(config.jwks_refetch_interval_s.into()),
            good_for: config.keys_good_for(),
            timeout: Duration::from_millis(config.jwks_timeout_ms.into()),
        }
    }
}

/// The keys, and the task that fetches them. Dropping it ends the task.
pub(super) struct KeyCache {
    state: watch::Receiver<State>,
    ask: Arc<Notify>,
    pace: Pace,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    /// The last set, and when its fetch began.
    set: Option<(KeySet, Instant)>,
    fetching: bool,
    /// When the last fetch ended, and why if it failed.
    ended: Option<(Instant, Result<(), String>)>,
}

/// What can be said about a key at this moment.
enum Look {
    Found(Vec<Arc<Key>>),
    Refused(Refusal),
    /// A fetch may bring it; one that is to be begun first is asked for.
    Wait {
        ask: bool,
    },
}

impl State {
    fn look(&self, kid: Option<&str>, algorithm: Algorithm, pace: Pace) -> Look {
        let now = Instant::now();
        let set = self.set.as_ref().filter(|(_, began)| now < *began + pace.good_for).map(|(set, _)| set);
        let keys = set.map(|set| set.find(kid, algorithm)).unwrap_or_default();
        if !keys.is_empty() {
            return Look::Found(keys);
        }
        match &self.ended {
            _ if self.fetching => Look::Wait { ask: false },
            Some((ended, result)) if now < *ended + pace.interval => Look::Refused(match (set, result) {
                (Some(_), Ok(())) => Refusal::UnknownKey,
                _ => unavailable(pace),
            }),
            _ => Look::Wait { ask: true },
        }
    }
}

fn unavailable(pace: Pace) -> Refusal {
    Refusal::KeysUnavailable { retry_after_s: pace.interval.as_secs().max(1) }
}

impl KeyCache {
    /// Begins to fetch, on the current Tokio runtime.
    pub(super) fn start<F, A>(pace: Pace, fetch: F) -> Self
    where
        F: Fn() -> A + Send + 'static,
        A: Future<Output = Result<KeySet, String>> + Send + 'static,
    {
        let (sender, state) = watch::channel(State::default());
        let ask = Arc::new(Notify::new());
        let task = tokio::spawn(keep(pace, fetch, sender, Arc::clone(&ask)));
        Self { state, ask, pace, task }
    }

    /// The keys that may have signed a token with this header: at least one.
    pub(super) async fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Vec<Arc<Key>>, Refusal> {
        let mut state = self.state.clone();
        // One fetch that runs, one that is asked for.
        let patience = Instant::now() + 2 * self.pace.timeout;
        loop {
            let look = state.borrow_and_update().look(kid, algorithm, self.pace);
            match look {
                Look::Found(keys) => return Ok(keys),
                Look::Refused(refusal) => return Err(refusal),
                Look::Wait { ask: true } => self.ask.notify_one(),
                Look::Wait { ask: false } => {}
            }
            match timeout_at(patience, state.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(unavailable(self.pace)),
            }
        }
    }

    /// Why no token can be verified at this moment, if none can.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.state.borrow();
        match (&state.set, &state.ended) {
            (Some((_, began)), _) if Instant::now() < *began + self.pace.good_for => None,
            (_, Some((_, Err(why)))) => Some(why.clone()),
            (_, Some((_, Ok(()))) | None) => Some("the issuer's keys are being fetched".to_owned()),
        }
    }
}

impl Drop for KeyCache {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep<F, A>(pace: Pace, fetch: F, state: watch::Sender<State>, ask: Arc<Notify>)
where
    F: Fn() -> A + Send + 'static,
    A: Future<Output = Result<KeySet, String>> + Send + 'static,
{
    loop {
        let began = Instant::now();
        state.send_modify(|state| state.fetching = true);
        let fetched = timeout_at(began + pace.timeout, fetch()).await;
        let fetched =
            fetched.unwrap_or_else(|_| Err(format!("the issuer's keys did not come within {:?}", pace.timeout)));
        let label = if fetched.is_ok() { "fetched" } else { "failed" };
        metrics::counter!("watchbell_signing_key_fetches_total", "result" => label).increment(1);
        if let Err(why) = &fetched {
            tracing::warn!("{why}; sign-ins go on with the keys at hand while they are recent enough");
        }
        // Whoever asked until now waits for this one.
        ask.notified().now_or_never();
        let ended = Instant::now();
        let next = ended + if fetched.is_ok() { pace.ttl } else { pace.interval };
        state.send_modify(|state| {
            state.fetching = false;
            state.ended = Some((ended, fetched.as_ref().map(drop).map_err(Clone::clone)));
            if let Ok(set) = fetched {
                state.set = Some((set, began));
            }
        });
        tokio::select! {
            () = sleep_until(next) => {}
            () = ask.notified() => sleep_until(ended + pace.interval).await,
        }
    }
}
