//! A file of workspaces, settings, preferences and devices, as changes to the store.
//!
//! The point: a whole small world in one file, for a first start, a test or a move, made whole or not at all. TOML or JSON, the same
//! names:
//!
//! ```toml
//! [[workspaces]]
//! id = "acme"                          # required
//! display_name = "Acme"                # what pushes call it; the id where it is left out
//! detail = "minimal"                   # how much pushes say: minimal (default) or full
//! settings = { otp_received = "enforced", account_sharing = "disabled" } # disabled, enabled (default) or enforced
//!
//! [[workspaces.users]]
//! id = "ada"                           # required
//! preferences = { trusted_device = "off" } # on (default) or off
//!
//! [[workspaces.users.devices]]
//! id = "ada-phone"                     # required, unique within the person
//! platform = "apns"                    # required: apns or fcm
//! app = "com.example.app"              # required: bundle id or package name
//! token = "..."                        # required: the platform's token
//! environment = "production"           # production (default) or sandbox (apns only)
//! locale = "en-US"                     # BCP 47; en-US where it is left out
//! registered_at = 1767225600000        # ms since 1970; the time of the import where it is left out
//! ```
//!
//! The types are `identity_verification`, `trusted_device`, `account_sharing`, `otp_received`. What the file does not name stays as it is.
//! It deliberately removes nothing. It fails by telling everything that is wrong, each with its line; tokens are never repeated.
mod reader;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;

use crate::event::Timestamp;
use crate::store::write::Change;

/// The largest file, in bytes: some 200,000 people.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// The two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TOML 1.0.
    Toml,
    /// JSON.
    Json,
}

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// 1 and up.
    pub line: usize,
    /// What is wrong, and where within the tree.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Import {
    /// The changes, to be written together.
    pub changes: Vec<Change>,
    /// Workspaces named.
    pub workspaces: usize,
    /// People named.
    pub users: usize,
    /// Devices named.
    pub devices: usize,
}

/// Reads a file's text. Everything that is wrong with it, by line.
pub fn read(text: &str, format: Format, now: Timestamp) -> Result<Import, Vec<Problem>> {
    let root = match format {
        Format::Toml => tree::toml(text)?,
        Format::Json => tree::json(text)?,
    };
    let mut reader = reader::Reader::new(now);
    reader.root(root);
    reader.done()
}
