//! The benchmarks: `make bench` and `make bench-policy`. What they share is beside this file.
//!
//! They measure release binaries from the outside, on a real broker, and change nothing in them.
mod load;
mod policy;
mod process;
mod running;
mod stage;
mod worker;

use clap::Parser;

/// Measures Watchbell. Run it by make, which starts the services.
#[derive(Debug, Parser)]
enum Benchmark {
    /// What one push costs the worker, against a bare HTTP/2 client.
    Worker(worker::Arguments),
    /// How long workers use a setting that was changed.
    Policy(policy::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Benchmark::parse() {
        Benchmark::Worker(arguments) => worker::run(&arguments),
        Benchmark::Policy(arguments) => policy::run(&arguments),
    }
}
