//! `make bench-policy`: how long workers use a setting after its change was acknowledged.
//!
//! The point: the promise is about the last use of the old value anywhere, so that is what is looked for: an admin flips one type's setting
//! through the API while three workers plan that workspace's events all the time, and each worker's outcomes say with which version of the
//! workspace each event was planned, and when it had ended. Each worker writes its outcomes to a topic of its own.
//!
//! It deliberately gives every doubt to the slower side: an event counts until its push was answered, and until the end of its millisecond.
//! It ends in an error if the target is missed, or if what it saw is no evidence.
mod evidence;
mod flips;
mod report;

use clap::Args;

/// Measures how long workers use a setting that was changed. Run it by `make bench-policy`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Changes of the setting.
    #[arg(long, default_value_t = 400)]
    flips: usize,
    /// Events a second, over all workers.
    #[arg(long, default_value_t = 1_200.0)]
    per_second: f64,
    /// People of the workspace, with one device each.
    #[arg(long, default_value_t = 3_000)]
    people: u64,
    /// Milliseconds between two changes: at random, from half as many to half as many more. [default: 250; without Redis 6000]
    #[arg(long)]
    pause_ms: Option<u64>,
    /// No Redis: changes are seen when a copy's time is over, here two seconds, which is the target then. Take fewer flips.
    #[arg(long)]
    without_redis: bool,
    /// A line of TOML for the configuration of all processes; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

/// The target: after the acknowledgement nobody uses the old value for longer, p99.
const TARGET_MS: f64 = 100.0;
/// Pause between changes, in milliseconds: long enough for the old value's last use.
const PAUSE_MS: u64 = 250;
/// How long a copy lives where there is no Redis, in seconds, and what must not be longer then.
const TTL_S: u32 = 2;
const WITHOUT_REDIS: [&str; 3] =
    ["policy.ttl_s = 2", "policy.unknown_user_ttl_s = 2", "policy.store_timeout_ms = 1000"];
/// The pause then: even the shortest is longer than a copy lives.
const PAUSE_WITHOUT_REDIS_MS: u64 = 6_000;

impl Arguments {
    /// The target, in milliseconds: without Redis a copy's life, and what a push and its answer may take besides.
    fn target_ms(&self) -> f64 {
        if self.without_redis { f64::from(TTL_S) * 1e3 + TARGET_MS } else { TARGET_MS }
    }

    fn pause_ms(&self) -> u64 {
        self.pause_ms.unwrap_or(if self.without_redis { PAUSE_WITHOUT_REDIS_MS } else { PAUSE_MS })
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    flips::run(arguments)
}
