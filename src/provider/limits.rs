//! What keeps every payload under its platform's limit, whatever it is given.
use std::borrow::Cow;

use crate::notification::{clean, cut};

/// Longest payload, in bytes: Apple's limit for an alert's body, and Google's for the keys and values of a message's data.
#[cfg(test)]
pub(super) const PAYLOAD_BYTES_MAX: usize = 4096;
/// Longest title, in bytes. What is rendered is far shorter.
const TITLE_BYTES_MAX: usize = 256;
/// Longest body text, in bytes. What is rendered is shorter; together with the rest, all escaped to twice their length, it fits.
const BODY_BYTES_MAX: usize = 800;

/// A title that fits.
pub(super) fn title(text: &str) -> Cow<'_, str> {
    shortened(text, TITLE_BYTES_MAX)
}

/// A body text that fits.
pub(super) fn body(text: &str) -> Cow<'_, str> {
    shortened(text, BODY_BYTES_MAX)
}

/// A workspace's name that fits, at most [`crate::notification::NAME_BYTES_MAX`] bytes; cleaned, because apps show it as it is.
pub(super) fn workspace_name(name: &str) -> Cow<'_, str> {
    clean(name)
}

fn shortened(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max { Cow::Borrowed(text) } else { cut(text, usize::MAX, bytes_max) }
}
