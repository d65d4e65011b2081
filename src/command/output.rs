//! Standard output, which may be closed before its time (`| head`): that is no failure and no panic.
use std::fmt::Display;
use std::io::{ErrorKind, Write as _};

use super::Failure;

/// Writes a line; false when nobody reads any more, and no later line needs to be written.
pub(super) fn line(text: impl Display) -> Result<bool, Failure> {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::Internal(format!("standard output cannot be written: {error}"))),
    }
}
