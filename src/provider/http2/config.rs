//! The limits of a pool, each with its unit and reason.
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::settings::Problems;

/// How many connections a pool keeps, what each may carry, and when patience ends.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolConfig {
    /// Connections kept open. Several, so that one sick path or one GOAWAY never stops a provider. 1 to 64.
    pub connections: usize,
    /// Our own cap on concurrent requests of one connection; the peer's SETTINGS may only lower it. APNs announces 1,000.
    pub max_streams_per_connection: u32,
    /// Milliseconds that one attempt may take from hand-over to the last byte of the answer.
    pub request_timeout_ms: u64,
    /// Milliseconds that a request may wait for a free stream before it is given back as not processed.
    pub queue_timeout_ms: u64,
    /// Milliseconds for TCP, TLS and the HTTP/2 preface, for each address tried.
    pub connect_timeout_ms: u64,
    /// Milliseconds between the starts of two connections: opening many at once looks like an attack to a provider.
    pub connect_spacing_ms: u64,
    /// Milliseconds of the first pause after a failed connect; doubled each time, jittered downwards by up to a half.
    pub backoff_min_ms: u64,
    /// Milliseconds of the longest pause between connects. Short, because one-time codes wait behind it.
    pub backoff_max_ms: u64,
    /// Milliseconds without a byte from the peer after which a PING asks whether it is there.
    pub ping_interval_ms: u64,
    /// Milliseconds until an unanswered PING means that the connection is dead.
    pub ping_timeout_ms: u64,
    /// Bytes of an answer's body that are kept; providers' error bodies are a few hundred.
    pub response_body_max: usize,
    /// Resends of one request that the peer certainly did not process (refused stream, GOAWAY), within its deadline.
    pub max_resends: u8,
    /// A connection is sick when its mean time to answer is this many times that of the pool's others…
    pub sick_latency_factor: f32,
    /// …and above this many milliseconds.
    pub sick_latency_floor_ms: u64,
    /// Milliseconds for which an accepted connection may stay limited to one stream before it counts as sick.
    pub narrow_timeout_ms: u64,
    /// Milliseconds between two replacements of sick connections, so that a slow provider is not met with reconnects.
    pub replace_interval_ms: u64,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            connections: 4,
            max_streams_per_connection: 1_000,
            request_timeout_ms: 10_000,
            queue_timeout_ms: 5_000,
            connect_timeout_ms: 5_000,
            connect_spacing_ms: 100,
            backoff_min_ms: 250,
            backoff_max_ms: 5_000,
            ping_interval_ms: 30_000,
            ping_timeout_ms: 5_000,
            response_body_max: 4_096,
            max_resends: 3,
            sick_latency_factor: 8.0,
            sick_latency_floor_ms: 1_000,
            narrow_timeout_ms: 5_000,
            replace_interval_ms: 15_000,
        }
    }
}

impl PoolConfig {
    /// Everything that contradicts itself or cannot work.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        let mut require = |holds, sentence| problems.require(holds, sentence);
        require((1..=64).contains(&self.connections), "connections must be between 1 and 64");
        require(self.max_streams_per_connection > 0, "max_streams_per_connection must be at least 1");
        require(self.request_timeout_ms >= 100, "request_timeout_ms must be at least 100");
        require(self.queue_timeout_ms >= 100, "queue_timeout_ms must be at least 100");
        require(self.connect_timeout_ms >= 100, "connect_timeout_ms must be at least 100");
        require(self.backoff_min_ms >= 50, "backoff_min_ms must be at least 50");
        require(self.backoff_min_ms <= self.backoff_max_ms, "backoff_min_ms must not exceed backoff_max_ms");
        require(self.ping_timeout_ms >= 100, "ping_timeout_ms must be at least 100");
        require(self.ping_timeout_ms <= self.ping_interval_ms, "ping_timeout_ms must not exceed ping_interval_ms");
        require((256..=65_535).contains(&self.response_body_max), "response_body_max must be between 256 and 65535");
        require(self.sick_latency_factor > 1.0, "sick_latency_factor must be above 1");
        problems
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn ping_interval(&self) -> Duration {
        Duration::from_millis(self.ping_interval_ms)
    }

    pub(super) fn ping_timeout(&self) -> Duration {
        Duration::from_millis(self.ping_timeout_ms)
    }
}
