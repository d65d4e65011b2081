//! Notifications: what a person reads, platform-neutral, rendered once for each locale.
use crate::event::NotificationType;

/// A rendered notification. Its texts come from strangers' names and never print.
#[derive(Clone, PartialEq, Eq)]
pub struct Notification {
    /// The type.
    pub kind: NotificationType,
    /// One line.
    pub title: String,
    /// A sentence or two.
    pub body: String,
    /// Which buttons the app shows.
    pub category: Category,
    /// How it interrupts.
    pub interruption: Interruption,
}

/// The app's registered category: which buttons a notification has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    /// No buttons.
    Inform,
    /// Approve and deny.
    Approve,
    /// Approve with a text input for the number, and deny.
    ApproveNumber,
}

/// How a notification interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interruption {
    /// Sound, unless the phone is in Focus.
    Active,
    /// Breaks through Focus where the person allows it.
    TimeSensitive,
}

impl std::fmt::Debug for Notification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notification").field("kind", &self.kind).finish_non_exhaustive()
    }
}
