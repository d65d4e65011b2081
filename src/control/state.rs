//! What every endpoint works with. Clones share everything.
use std::sync::Arc;

use axum::extract::FromRef;
use tokio::sync::Semaphore;

use super::auth::Authenticator;
use super::config::ApiConfig;
use super::courier::Courier;
use super::rate::{Callers, Strangers};
use super::reach::Counts;
use crate::event::Timestamp;
use crate::seam::Clock;
use crate::store::Policy;

/// See the module.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    policy: Policy,
    authenticator: Arc<Authenticator>,
    clock: Arc<dyn Clock>,
    config: ApiConfig,
    ttl_s: u32,
    callers: Callers,
    strangers: Strangers,
    counts: Counts,
    room: Arc<Semaphore>,
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
        let room = Arc::new(Semaphore::new(usize::try_from(config.in_flight_max).unwrap_or(usize::MAX)));
        let callers = Callers::new(config.requests_per_minute, config.requests_burst);
        let strangers = Strangers::new(config.unproved_per_minute);
        let counts = Counts::default();
        Self(Arc::new(Inner { policy, authenticator, clock, config, ttl_s, callers, strangers, counts, room, courier }))
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    pub(super) fn config(&self) -> &ApiConfig {
        &self.0.config
    }

    pub(super) fn callers(&self) -> &Callers {
        &self.0.callers
    }

    pub(super) fn strangers(&self) -> &Strangers {
        &self.0.strangers
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.0.counts
    }

    pub(super) fn room(&self) -> &Arc<Semaphore> {
        &self.0.room
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
