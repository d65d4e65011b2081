//! How a command fails: a message for people on standard error, and an exit code from BSD's `sysexits.h`.
use std::io::Write as _;
use std::process::ExitCode;

use crate::config::Problems;

/// The table in `--help`.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
   0  done
  64  the command line or the configuration is wrong
  65  the given data is wrong (a file to import, an event)
  69  something that is needed cannot be reached at the start, or refuses us (Kafka, the store)
  70  an internal error
 130  stopped (Ctrl-C, SIGTERM) before its work was done";

/// Why a command failed. The message says what, where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line contradicts itself in a way that its parser does not see.
    #[error("{0}")]
    Usage(String),
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] Problems),
    /// The given data is wrong.
    #[error("{0}")]
    Input(String),
    /// Something cannot be reached, or refuses us.
    #[error("{0}")]
    Unavailable(String),
    /// Somebody asked it to end before its work was done.
    #[error("{0}")]
    Stopped(String),
    /// Anything that should not happen.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Failure {
    const fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) => 64,
            Self::Input(_) => 65,
            Self::Unavailable(_) => 69,
            Self::Internal(_) => 70,
            // What a shell reports for a command that Ctrl-C ended.
            Self::Stopped(_) => 130,
        }
    }

    /// An internal error with its causes.
    pub fn internal(error: impl Into<anyhow::Error>) -> Self {
        Self::Internal(format!("{:#}", error.into()))
    }

    pub(super) fn report(&self) -> ExitCode {
        // Nothing is left to do when even standard error is closed.
        writeln!(std::io::stderr(), "watchbell: {}", self.to_string().trim_end()).ok();
        self.code().into()
    }
}

/// Help and version are no failures; everything else that the parser says is a wrong command line.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    let code = if error.use_stderr() { 64 } else { 0 };
    // Nothing is left to do when even standard error is closed.
    error.print().ok();
    code.into()
}
