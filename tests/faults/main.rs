//! The tests that stop, kill and freeze services and processes. What a test stops is its own; the rest have topics, groups and databases of
//! their own on services that they share. They run one at a time:
//! `tests/services/run -- cargo test --test faults -- --test-threads=1`.
#![allow(unreachable_pub, reason = "nothing of a test binary is reachable from outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should panic")]
#![allow(clippy::print_stderr, reason = "cargo shows it with the test that failed")]

mod account;
mod fan_out;
mod kafka;
mod ledger;
#[path = "../it/kafka/member.rs"]
mod member;
mod outages;
mod services;
#[path = "../it/support/mod.rs"]
mod support;
mod timing;
mod workers;

/// The numbers of `make soak`, or those of the gate.
fn full(gate: usize, soak: usize) -> usize {
    if std::env::var_os("WATCHBELL_SOAK").is_some() { soak } else { gate }
}
