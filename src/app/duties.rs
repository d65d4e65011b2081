//! What the API's process does without being asked: requests end at their deadline, and what need not be kept goes.
//!
//! Any number of processes may do both at once. While the store does not answer they wait; nothing is lost but time.
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::control::auth::Authenticator;
use crate::event::Timestamp;
use crate::seam::{Clock, SystemClock, Unavailable};
use crate::store::{Admin, Requests};
use crate::telemetry::Component;

/// Longest wait between two looks for requests that end: another process may have opened one that ends sooner than those known here. Also
/// how soon readiness follows the store.
const LOOK: Duration = Duration::from_secs(1);
/// Shortest wait after a look that ended nothing: an answer that holds its request takes some milliseconds.
const HELD: Duration = Duration::from_millis(50);
/// Between two looks at how sign-in stands.
const LOOK_AT_SIGN_IN: Duration = Duration::from_millis(500);
/// Between two sweeps when nothing was left to remove: rows live for hours at least.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Between two sweeps while there is more to remove, so that people's own requests come in between.
const SWEEP_ON: Duration = Duration::from_millis(100);

/// Ends requests whose time is over, until `stop`; tells readiness whether the store answers.
pub(super) async fn expire(requests: Requests, store: Component, stop: CancellationToken) {
    let rounds = async {
        loop {
            match round(&requests).await {
                Ok(pause) => {
                    store.ready();
                    tokio::time::sleep(pause).await;
                }
                Err(unavailable) => {
                    store.waiting(unavailable.to_string());
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    };
    stop.run_until_cancelled(rounds).await;
}

/// Ends what is over, and says how long nothing will be.
async fn round(requests: &Requests) -> Result<Duration, Unavailable> {
    let ended = requests.expire(SystemClock.now()).await?;
    if ended > 0 {
        tracing::debug!(ended, "requests expired");
        return Ok(Duration::ZERO);
    }
    Ok(pause(requests.next_expiry().await?, SystemClock.now()))
}

/// How long to wait when nothing could be ended, although the next request's time may be over: another transaction holds it then.
fn pause(next: Option<Timestamp>, now: Timestamp) -> Duration {
    next.map_or(LOOK, |next| next.since(now).clamp(HELD, LOOK))
}

/// Removes what need not be kept, until `stop`.
pub(super) async fn sweep(admin: Admin, stop: CancellationToken) {
    let rounds = async {
        loop {
            let pause = match admin.sweep(SystemClock.now()).await {
                Ok(0) => SWEEP_EVERY,
                Ok(_) => SWEEP_ON,
                Err(unavailable) => {
                    tracing::debug!(%unavailable, "nothing was swept");
                    SWEEP_EVERY
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    stop.run_until_cancelled(rounds).await;
}

/// Tells readiness whether people can sign in, until `stop`.
pub(super) async fn watch_sign_in(authenticator: Arc<Authenticator>, sign_in: Component, stop: CancellationToken) {
    let looks = async {
        let mut ticks = tokio::time::interval(LOOK_AT_SIGN_IN);
        loop {
            ticks.tick().await;
            match authenticator.trouble() {
                None => sign_in.ready(),
                Some(trouble) => sign_in.waiting(trouble),
            }
        }
    };
    stop.run_until_cancelled(looks).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_holds_is_not_asked_for_at_once() {
        // A request that is over and held, one that ends soon, later, much later, and none.
        let now = Timestamp(1_800_000_000_000);
        let soon = |ms: i64| Some(Timestamp(now.as_millis() + ms));
        let pauses = [soon(-9_000), soon(0), soon(7), soon(700), soon(90_000), None].map(|next| pause(next, now));
        assert_eq!(pauses.map(|pause| pause.as_millis()), [50, 50, 50, 700, 1_000, 1_000]);
    }
}
