//! The pool's metrics: every name in one place, every handle registered once. Install the recorder before a pool is made.
use metrics::{Counter, Gauge, counter, gauge};

use super::state::Census;

/// The handles of one pool, labelled with its name.
pub(super) struct Telemetry {
    open: Gauge,
    draining: Gauge,
    in_flight: Gauge,
    waiting: Gauge,
    pub(super) opened: Counter,
    pub(super) connect_failures: Counter,
    pub(super) lost: Counter,
    pub(super) retired_by_peer: Counter,
    pub(super) retired_slow: Counter,
    pub(super) retired_narrow: Counter,
    pub(super) retired_condemned: Counter,
    pub(super) resends: Counter,
    pub(super) timeouts: Counter,
}

impl Telemetry {
    pub(super) fn new(pool: &str) -> Self {
        let connections =
            |state: &'static str| gauge!("watchbell_provider_connections", "pool" => pool.to_owned(), "state" => state);
        let retired = |why: &'static str| counter!("watchbell_provider_connections_retired_total", "pool" => pool.to_owned(), "why" => why);
        let label = || ("pool", pool.to_owned());
        Self {
            open: connections("open"),
            draining: connections("draining"),
            in_flight: gauge!("watchbell_provider_streams_in_flight", &[label()]),
            waiting: gauge!("watchbell_provider_streams_waiting", &[label()]),
            opened: counter!("watchbell_provider_connections_opened_total", &[label()]),
            connect_failures: counter!("watchbell_provider_connect_failures_total", &[label()]),
            lost: counter!("watchbell_provider_connections_lost_total", &[label()]),
            retired_by_peer: retired("peer"),
            retired_slow: retired("slow"),
            retired_narrow: retired("narrow"),
            retired_condemned: retired("condemned"),
            resends: counter!("watchbell_provider_resends_total", &[label()]),
            timeouts: counter!("watchbell_provider_timeouts_total", &[label()]),
        }
    }

    pub(super) fn publish(&self, census: Census) {
        self.open.set(census.open as f64);
        self.draining.set(census.draining as f64);
        self.in_flight.set(census.in_flight as f64);
        self.waiting.set(census.waiting as f64);
    }
}
