//! The ids that travel through Watchbell, one type each, so that a user id can never stand where an event id belongs.
//!
//! Every id is opaque: 1 to 128 bytes of printable ASCII without space (identity providers use `|`, `@` and `+`). Whoever puts one
//! into a URL percent-encodes it. Construction is the only check; a value that exists is valid.
use std::fmt;

/// Longest id, in bytes.
pub const ID_BYTES_MAX: usize = 128;

/// Why a string is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// It has no bytes.
    #[error("is empty")]
    Empty,
    /// It has more than [`ID_BYTES_MAX`] bytes.
    #[error("has {0} bytes, at most {ID_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// It has a byte outside printable ASCII without space (0x21 to 0x7E).
    #[error("has a byte that is not printable ASCII at position {0}")]
    NotPrintable(usize),
}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > ID_BYTES_MAX {
        return Err(IdError::TooLong(text.len()));
    }
    match text.bytes().position(|byte| !byte.is_ascii_graphic()) {
        Some(at) => Err(IdError::NotPrintable(at)),
        None => Ok(()),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Takes a string that obeys the rule of all ids.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }

            /// The id as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// A workspace: the tenant whose admins set the policy.
    WorkspaceId
}
id! {
    /// A person within a workspace: (workspace, user) names one person.
    UserId
}
id! {
    /// An event, unique within (workspace, type).
    EventId
}
id! {
    /// A device row of one user: one installation of an app.
    DeviceId
}

impl DeviceId {
    /// A copy of an id that was checked before.
    pub(crate) fn checked(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether a string obeys the rule of all ids.
    pub(crate) fn admits(text: &str) -> bool {
        check(text).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An id is 1 to 128 bytes of printable ASCII without space, and nothing else.
    #[test]
    fn id_rule() {
        assert!(UserId::new("auth0|a.b+c@example.com").is_ok());
        assert!(UserId::new("x".repeat(128)).is_ok());
        assert_eq!(UserId::new(""), Err(IdError::Empty));
        assert_eq!(UserId::new("x".repeat(129)), Err(IdError::TooLong(129)));
        assert_eq!(UserId::new("a b"), Err(IdError::NotPrintable(1)));
        assert_eq!(UserId::new("a\u{7f}"), Err(IdError::NotPrintable(1)));
        assert_eq!(UserId::new("é"), Err(IdError::NotPrintable(0)));
    }
}
