//! Section `[telemetry]`: logs.
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use crate::settings::Problems;

/// Section `[telemetry]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetryConfig {
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged: a level, or tracing-subscriber's directives, such as `info,watchbell::kafka=debug`.
    pub log_level: String,
}

/// `telemetry.log_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl TelemetryConfig {
    /// Everything that cannot work.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        if let Err(error) = EnvFilter::try_new(&self.log_level) {
            problems.add(format!("log_level is no filter: {error}; use error, warn, info, debug or trace"));
        }
        problems
    }
}
