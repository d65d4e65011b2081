//! The log: one subscriber for the process, on standard error, so that what a command prints stays its own.
use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use super::config::{LogFormat, TelemetryConfig};

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is none; a checked configuration has one.
    #[error("telemetry.log_level is no filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The process has a subscriber already.
    #[error("the log was set up twice: {0}")]
    Twice(#[from] TryInitError),
}

/// Sets up the log of this process; once.
pub fn init(config: &TelemetryConfig) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&config.log_level)?;
    let terminal = std::io::stderr().is_terminal();
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match (config.log_format, terminal) {
        (LogFormat::Text, _) | (LogFormat::Auto, true) => {
            fmt::layer().with_writer(std::io::stderr).with_ansi(terminal).with_filter(filter).boxed()
        }
        (LogFormat::Json, _) | (LogFormat::Auto, false) => {
            fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).with_filter(filter).boxed()
        }
    };
    tracing_subscriber::registry().with(lines).try_init()?;
    Ok(())
}
