//! What Watchbell itself tells people: their own security, so nothing of policy, preference or quiet phone keeps it from showing.

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SystemNotice {
    /// Several requests came in a short time: further ones do not ring, and wait in the app.
    Guard,
    /// A phone was set up.
    Enrolled,
    /// A phone may approve from now on.
    Promoted,
    /// A phone was removed.
    Removed,
    /// All phones were retired.
    Reset,
    /// To admins: somebody said that it was not them.
    NotMe,
    /// A phone's key was followed by another one.
    Rolled,
    /// To admins: somebody erased everything about themselves.
    Erased,
}

impl SystemNotice {
    /// How many there are.
    pub const COUNT: usize = 8;

    /// All of them.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Guard,
        Self::Enrolled,
        Self::Promoted,
        Self::Removed,
        Self::Reset,
        Self::NotMe,
        Self::Rolled,
        Self::Erased,
    ];

    /// The name in payloads, metrics and the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guard => "guard",
            Self::Enrolled => "enrolled",
            Self::Promoted => "promoted",
            Self::Removed => "removed",
            Self::Reset => "reset",
            Self::NotMe => "not_me",
            Self::Rolled => "rolled",
            Self::Erased => "erased",
        }
    }
}
