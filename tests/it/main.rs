//! The tests against real services, in one binary: it links once. Run it as
//! `tests/services/run -- cargo test --test it`.
#![allow(unreachable_pub, reason = "nothing of a test binary is reachable from outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should panic")]
#![allow(clippy::print_stderr, reason = "cargo shows it with the test that failed")]

mod api;
mod commands;
mod contracts;
mod dead_letters;
mod emit;
mod hold;
mod invariants;
mod kafka;
mod layers;
mod people;
mod providers;
mod security;
mod services;
mod start;
mod store_behaviour;
mod store_bounds;
mod store_guard;
mod store_import;
mod store_redis;
mod store_support;
mod store_tls;
mod store_versions;
mod support;
mod trace;
mod upstream;
mod walk;
mod worker;
