//! `make bench`: what one push costs the worker, against a bare HTTP/2 client that sends the same requests.
//!
//! The point: a machine changes its speed within minutes, so absolute numbers say little. Worker and floor take turns against the same
//! simulator, and what is judged is the median of the paired ratios of CPU time a push. The worker is the release binary with its
//! shipped settings, alone on the first core; broker, simulator and load share the second.
//!
//! It deliberately judges nothing: targets are printed beside the values, and only a broken run ends in an error.
//! It fails with a sentence; the worker's log and configuration stay in `target/bench`.
mod floor;
mod latency;
mod report;
mod rounds;

use std::path::PathBuf;

use clap::Args;

/// The core of what is measured, and the core of everything else.
const MEASURED_CORE: usize = 0;
const OTHER_CORE: usize = 1;

/// Measures the worker against a bare HTTP/2 client. Run it by `make bench`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Runs the bare client described by this file; how the benchmark starts its own second half.
    #[arg(long, hide = true)]
    floor: Option<PathBuf>,
    /// Pairs of rounds, worker and floor in turn.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Events in each round.
    #[arg(long, default_value_t = 150_000)]
    events: u64,
    /// People with one device each.
    #[arg(long, default_value_t = 100_000)]
    recipients: u64,
    /// Events that are produced and not yet accepted, at full speed.
    #[arg(long, default_value_t = 5_000)]
    outstanding: u64,
    /// Requests that the bare client keeps in flight over all its connections; as many as the worker did while it warmed up, unless given.
    #[arg(long)]
    in_flight: Option<usize>,
    /// Seconds at 30 % of the full rate.
    #[arg(long, default_value_t = 15)]
    calm_seconds: u64,
    /// Only the paired rounds: for work on one thing.
    #[arg(long)]
    rounds_only: bool,
    /// A line of TOML for the worker's configuration, such as 'kafka.commit_interval_ms = 100'; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.floor {
        Some(file) => floor::run(file),
        None => rounds::run(arguments),
    }
}
