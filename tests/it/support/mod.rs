//! What the tests against real services share.
//!
//! [`services`] runs Kafka, Redis and PostgreSQL; [`kafka`] creates topics, produces and consumes; [`process`] runs the
//! `watchbell` binary; [`eventually`] waits for a condition with a ceiling.
//!
//! The point: a test waits on what it means and fails with what it saw; it never sleeps for a guessed time. A ceiling is
//! there to end a broken run, so it is generous and says nothing about speed.
//!
//! Everything here blocks its thread. In an async test use `#[tokio::test(flavor = "multi_thread")]` and
//! `tokio::task::block_in_place`.
#![allow(dead_code, reason = "two test binaries share this module; neither uses all of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should panic")]

pub mod kafka;
pub mod process;
pub mod secure;
pub mod services;
pub mod stage;

use std::thread;
use std::time::{Duration, Instant};

/// The ceiling for things that normally take well under a second.
pub const SOON: Duration = Duration::from_secs(30);

/// Polls `found` every 20 ms until it gives something, and panics naming `what` after `ceiling`.
pub fn eventually<T>(what: &str, ceiling: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(started.elapsed() < ceiling, "gave up after {ceiling:?} waiting for: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a future to its end from any thread, whether or not a runtime is around it.
pub fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    thread::scope(|scope| {
        scope
            .spawn(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future))
            .join()
            .unwrap()
    })
}
