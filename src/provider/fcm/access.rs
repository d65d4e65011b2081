//! The access token of the moment: obtained once for all, renewed early, used as long as it lives.
//!
//! The point: however many pushes find the token gone, one exchange is made; and a token endpoint in trouble is not noticed while the old
//! token lives, because renewal begins five minutes before its end, in the background.
//! Fails with the exchange's outcome, which is remembered for a moment, so that nobody hammers an endpoint that just refused.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Release};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use secrecy::ExposeSecret as _;
use tokio::sync::Mutex;
use tokio::time::timeout_at;

use super::exchange::{Exchange, Grant};
use crate::allowance::Allowance;
use crate::delivery::{Outcome, Reach, Reason, RetryScope};
use crate::seam::Clock;

/// Renewal begins this long before the end of a token's life; Google's own libraries begin 225 s before.
const REFRESH_MARGIN: Duration = Duration::from_secs(300);
/// Workers that started together do not renew together.
const JITTER_SECS: u64 = 60;
/// A token is not used in the last seconds of its life: it must still be good when it arrives.
const LAST_SECONDS: Duration = Duration::from_secs(10);
/// After a failed exchange nobody asks again for so long.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

/// A token, in the headers of a send. Never printed.
pub(super) struct Access {
    pub(super) headers: HeaderMap,
    refresh_at: Instant,
    expires_at: Instant,
}

/// The token of one service account.
pub(super) struct AccessTokens {
    exchange: Exchange,
    clock: Arc<dyn Clock>,
    current: ArcSwapOption<Access>,
    /// Held by whoever makes the exchange; remembers the last failure.
    turn: Mutex<Option<(Instant, Outcome)>>,
    renewing: AtomicBool,
    /// How often a refused token may be replaced: where a new one is refused too, a third does not help.
    replacements: Allowance,
}

/// Why a token is wanted.
#[derive(Clone, Copy)]
enum Want<'a> {
    /// There is none that lives.
    Any,
    /// This one will end soon.
    Newer(&'a Arc<Access>),
    /// This one was refused.
    Another(&'a Arc<Access>),
}

impl AccessTokens {
    pub(super) fn new(exchange: Exchange, clock: Arc<dyn Clock>) -> Arc<Self> {
        let (current, renewing) = (ArcSwapOption::empty(), AtomicBool::new(false));
        let replacements = Allowance::new(1, FAILURE_PAUSE);
        Arc::new(Self { exchange, clock, current, turn: Mutex::new(None), renewing, replacements })
    }

    /// The token, if there is one that lives. Starts its renewal in the background when it is time.
    pub(super) fn current(self: &Arc<Self>) -> Option<Arc<Access>> {
        let access = self.current.load_full()?;
        let now = self.clock.instant();
        if now >= access.refresh_at && !self.renewing.swap(true, AcqRel) {
            tokio::spawn(Arc::clone(self).renew(Arc::clone(&access)));
        }
        (now < access.expires_at).then_some(access)
    }

    async fn renew(self: Arc<Self>, old: Arc<Access>) {
        if let Err(outcome) = self.in_turn(Want::Newer(&old)).await {
            tracing::warn!(project = %self.project_id(), ?outcome, "the access token could not be renewed yet");
            tokio::time::sleep(FAILURE_PAUSE).await;
        }
        self.renewing.store(false, Release);
    }

    /// A living token, waiting for the exchange until `deadline` at the latest.
    pub(super) async fn obtain(&self, deadline: Instant) -> Result<Arc<Access>, Outcome> {
        self.until(deadline, Want::Any).await
    }

    /// Another token than the one that was refused, waiting for the exchange until `deadline` at the latest.
    pub(super) async fn replace(&self, refused: &Arc<Access>, deadline: Instant) -> Result<Arc<Access>, Outcome> {
        self.until(deadline, Want::Another(refused)).await
    }

    async fn until(&self, deadline: Instant, want: Want<'_>) -> Result<Arc<Access>, Outcome> {
        timeout_at(deadline.into(), self.in_turn(want)).await.unwrap_or_else(|_| Err(retryable("token_timeout")))
    }

    async fn in_turn(&self, want: Want<'_>) -> Result<Arc<Access>, Outcome> {
        let mut last_failure = self.turn.lock().await;
        let asked_at = self.clock.instant();
        if let Some(access) = self.current.load_full().filter(|access| asked_at < access.expires_at)
            && want.is_met_by(&access)
        {
            return Ok(access);
        }
        if let Some((failed_at, outcome)) = &*last_failure
            && asked_at.saturating_duration_since(*failed_at) < FAILURE_PAUSE
        {
            return Err(outcome.clone());
        }
        if matches!(want, Want::Another(_)) && !self.replacements.take(asked_at) {
            return Err(Outcome::Misconfigured { reason: Reason::known("UNAUTHENTICATED") });
        }
        match self.exchange.grant().await.and_then(|grant| access(&grant, asked_at)) {
            Ok(access) => {
                let access = Arc::new(access);
                self.current.store(Some(Arc::clone(&access)));
                *last_failure = None;
                Ok(access)
            }
            Err(outcome) => {
                *last_failure = Some((self.clock.instant(), outcome.clone()));
                Err(outcome)
            }
        }
    }

    pub(super) fn project_id(&self) -> &str {
        &self.exchange.account.project_id
    }
}

impl Want<'_> {
    fn is_met_by(self, access: &Arc<Access>) -> bool {
        match self {
            Self::Any => true,
            Self::Newer(old) | Self::Another(old) => !Arc::ptr_eq(old, access),
        }
    }
}

/// Its life counts from before the exchange, so that the way there never makes it seem longer.
fn access(grant: &Grant, asked_at: Instant) -> Result<Access, Outcome> {
    let malformed = |_| retryable("token_answer_malformed");
    let bearer = format!("Bearer {}", grant.token.expose_secret());
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(AUTHORIZATION, HeaderValue::try_from(bearer).map_err(malformed)?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let margin = REFRESH_MARGIN + Duration::from_secs(rand::random_range(0..JITTER_SECS));
    // A token of a short life is renewed after half of it.
    let fresh_for = grant.lifetime.saturating_sub(margin).max(grant.lifetime / 2);
    let last_seconds = LAST_SECONDS.min(grant.lifetime / 10);
    Ok(Access { headers, refresh_at: asked_at + fresh_for, expires_at: asked_at + (grant.lifetime - last_seconds) })
}

fn retryable(reason: &'static str) -> Outcome {
    Outcome::Retryable {
        reason: Reason::known(reason),
        retry_after: None,
        scope: RetryScope::Provider,
        reach: Reach::Unsent,
    }
}
