//! What every endpoint works with. Clones share everything.
use std::sync::Arc;

use axum::extract::FromRef;
use tokio::sync::Semaphore;

use super::auth::{Authenticator, SignInAt};
use super::config::ApiConfig;
use super::courier::Courier;
use super::rate::{RateLimits, UnprovedLimit};
use super::reach::Counts;
use super::turns::Turns;
use crate::event::{Timestamp, UserId};
use crate::seam::Clock;
use crate::store::Policy;

/// Exports that are handed out at once. Each has a connection of the store's while it reads a page, and some hundred kilobytes.
const EXPORTS_MAX: usize = 8;
/// Of these, those that one person asked for: one whose reader went away without a word, and the next try.
const EXPORTS_OF_ONE_MAX: usize = 2;

/// See the module.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    policy: Policy,
    authenticator: Arc<Authenticator>,
    clock: Arc<dyn Clock>,
    config: ApiConfig,
    ttl_s: u32,
    rate_limits: RateLimits,
    unproved: UnprovedLimit,
    counts: Counts,
    exports: Turns<UserId>,
    in_flight: Arc<Semaphore>,
    courier: Box<dyn Courier>,
}

impl Api {
    /// `ttl_s` is how old a copy of policy may be: the time after which a change is in force that could not be announced.
    pub fn new(
        policy: Policy,
        authenticator: Arc<Authenticator>,
        clock: Arc<dyn Clock>,
        config: ApiConfig,
        ttl_s: u32,
        courier: Box<dyn Courier>,
    ) -> Self {
        let in_flight = Arc::new(Semaphore::new(usize::try_from(config.in_flight_max).unwrap_or(usize::MAX)));
        Self(Arc::new(Inner {
            rate_limits: RateLimits::new(config.requests_per_minute, config.requests_burst),
            unproved: UnprovedLimit::new(config.unproved_per_minute),
            counts: Counts::default(),
            exports: Turns::new(EXPORTS_MAX, EXPORTS_OF_ONE_MAX),
            policy,
            authenticator,
            clock,
            config,
            ttl_s,
            in_flight,
            courier,
        }))
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    pub(super) fn config(&self) -> &ApiConfig {
        &self.0.config
    }

    pub(super) fn sign_in_at(&self) -> &SignInAt {
        self.0.authenticator.sign_in_at()
    }

    pub(super) fn rate_limits(&self) -> &RateLimits {
        &self.0.rate_limits
    }

    pub(super) fn unproved(&self) -> &UnprovedLimit {
        &self.0.unproved
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Exports, by who asks for them.
    pub(super) fn exports(&self) -> &Turns<UserId> {
        &self.0.exports
    }

    /// Requests that are being answered.
    pub(super) fn in_flight(&self) -> &Arc<Semaphore> {
        &self.0.in_flight
    }

    pub(super) fn courier(&self) -> &dyn Courier {
        &*self.0.courier
    }

    pub(super) fn ttl_s(&self) -> u32 {
        self.0.ttl_s
    }

    pub(super) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}

impl FromRef<Api> for Arc<Authenticator> {
    fn from_ref(api: &Api) -> Self {
        Arc::clone(&api.0.authenticator)
    }
}
