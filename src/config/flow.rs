//! Sections whose numbers go to modules that know no configuration: the flow and the process around it.
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Config;
use crate::pipeline::{FlowConfig, WaveConfig};
use crate::policy::Guard;
use crate::provider::http2::PoolConfig;
use crate::settings::Problems;

/// A resend has at least this part of a request's time: an answer usually takes far less.
const RESEND_ROOM: u64 = 5;

/// Section `[fanout]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FanoutConfig {
    /// Most recipients of one event; one with more is dead-lettered. 1 to 500.
    pub recipients_max: usize,
    /// A record with more jobs than this is exploded into jobs before anything is sent.
    pub inline_max: usize,
    /// Most jobs of an exploded record between two acknowledgements: what a kill may repeat. 1 to 64.
    pub chunk_max: usize,
}

/// Section `[provider]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// Milliseconds that one push may take, waiting for a connection and one resend included.
    pub push_timeout_ms: u32,
    /// The connections.
    pub pool: PoolConfig,
}

/// Section `[hold]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HoldConfig {
    /// Milliseconds between two tries of a broken credential, each with one waiting job.
    pub probe_interval_ms: u32,
}

/// Section `[dead_tokens]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeadTokensConfig {
    /// Seconds over which an app's dead tokens are counted.
    pub wave_window_s: u32,
    /// Fewer dead tokens than this in a window are always believed.
    pub wave_dead_min: u32,
    /// More than this share of a window's answers, in percent, is not believed: nothing is removed, somebody is alerted.
    pub wave_dead_percent: u32,
    /// Milliseconds by which our clock and a provider's may differ.
    pub clock_skew_ms: u32,
}

/// Section `[guard]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GuardConfig {
    /// So many requests may ring for one person within a window.
    pub max: u32,
    /// Seconds for which a request that rang counts.
    pub window_s: u32,
}

/// Section `[worker]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    /// Where `/livez`, `/readyz` and `/metrics` are served: `address:port`.
    pub http_listen: String,
    /// Milliseconds that records in flight may take to end after SIGTERM.
    pub drain_deadline_ms: u32,
}

impl Config {
    /// The flow's numbers.
    pub fn flow(&self) -> FlowConfig {
        let (fanout, dead) = (&self.fanout, &self.dead_tokens);
        FlowConfig {
            recipients_max: fanout.recipients_max,
            inline_max: fanout.inline_max,
            chunk_jobs: fanout.chunk_max,
            push_timeout: Duration::from_millis(self.provider.push_timeout_ms.into()),
            probe_interval: Duration::from_millis(self.hold.probe_interval_ms.into()),
            clock_skew: Duration::from_millis(dead.clock_skew_ms.into()),
            wave: WaveConfig {
                window: Duration::from_secs(dead.wave_window_s.into()),
                dead_min: dead.wave_dead_min,
                dead_percent: dead.wave_dead_percent,
            },
            guard: Guard { max: self.guard.max, window: Duration::from_secs(self.guard.window_s.into()) },
            retry: self.retry.clone(),
        }
    }
}

impl FanoutConfig {
    pub(super) fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        // The contract with upstream (proto/watchbell/v1/event.proto) promises no more.
        problems.require((1..=500).contains(&self.recipients_max), "recipients_max must be between 1 and 500");
        problems.require((1..=1_000).contains(&self.inline_max), "inline_max must be between 1 and 1000");
        problems.require((1..=64).contains(&self.chunk_max), "chunk_max must be between 1 and 64");
        problems
    }
}

impl ProviderConfig {
    pub(super) fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        problems.require(self.push_timeout_ms >= 100, "push_timeout_ms must be at least 100");
        let (push, request) = (u64::from(self.push_timeout_ms), self.pool.request_timeout_ms);
        let least = request.saturating_add(request / RESEND_ROOM);
        if push < least {
            problems.add(format!(
                "push_timeout_ms ({push}) leaves a push that had no answer within pool.request_timeout_ms ({request}) no time to be sent \
                 again: it must be at least {least}, or pool.request_timeout_ms less"
            ));
        }
        problems.nest("pool", self.pool.problems());
        problems
    }
}

impl HoldConfig {
    pub(super) fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        problems.require(self.probe_interval_ms >= 100, "probe_interval_ms must be at least 100");
        problems
    }
}

impl DeadTokensConfig {
    pub(super) fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        problems.require(self.wave_window_s >= 1, "wave_window_s must be at least 1");
        problems.require((1..=100).contains(&self.wave_dead_percent), "wave_dead_percent must be between 1 and 100");
        problems.require(self.clock_skew_ms <= 300_000, "clock_skew_ms must be at most 300000");
        problems
    }
}

impl GuardConfig {
    pub(super) fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        // None would silence everybody; a count is kept for each that may ring.
        problems.require((1..=10_000).contains(&self.max), "max must be between 1 and 10000");
        problems.require((1..=86_400).contains(&self.window_s), "window_s must be between 1 and 86400");
        problems
    }
}

impl WorkerConfig {
    /// How long records in flight may take to end after SIGTERM.
    pub fn drain_deadline(&self) -> Duration {
        Duration::from_millis(self.drain_deadline_ms.into())
    }

    pub(super) fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        problems.require(
            self.http_listen.parse::<SocketAddr>().is_ok(),
            "http_listen must be address:port, for example 0.0.0.0:8080 or [::]:8080",
        );
        problems
    }
}
