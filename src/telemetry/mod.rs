//! Logs and metrics, and the HTTP side on which they are looked at.
//!
//! The point: one function for each happening, so that its log line and its metric always agree, with names and help texts that
//! dashboards can rely on. [`log`] sets up the log, [`recorder`] the metrics, [`http`] serves them with the health of the process.
//!
//! It deliberately holds no logic: what happened is decided elsewhere. Labels come from closed sets, secrets never get here.
//!
//! It fails only at the start: a log filter that is none, a second recorder.
#[cfg(test)]
pub(crate) mod captured;
mod catalog;
pub mod config;
pub mod flow;
pub mod http;
pub mod log;
mod readiness;
pub mod recorder;

pub use readiness::{Component, Readiness};
