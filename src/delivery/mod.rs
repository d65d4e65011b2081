//! Delivery: what one device's push is, how a provider's answer is read, and what happens next.
//!
//! The point: the whole retry law and every id live here as values and pure functions; whoever does I/O only carries them out. It
//! deliberately knows no provider, no topic name and no client library. It cannot fail.
//!
//! Invariant: does no I/O, reads no clock, throws no dice: the time and the dice come in as arguments.
pub mod codec;
mod codec_decision;
mod job;
mod outcome;
pub mod retry;

pub use job::{JobId, Notice, Origin, PushJob, PushKind, Subject, Withdrawal};
pub use outcome::{Ending, Outcome, OutcomeRecord, Reach, Reason, RetryScope};
pub use retry::{NextStep, RetryPolicy, Situation, THROTTLED_WAIT, Tier, Urgency, Wait};

use crate::event::{Event, SystemNotice, Timestamp};
use crate::notification::Notification;
use crate::policy::{DeviceView, Workspace};

/// All that a provider needs for one push; borrowed, because it lives only as long as the send.
#[derive(Debug, Clone, Copy)]
pub struct Push<'a> {
    /// The same on every attempt: `apns-id`, and a data field for the app.
    pub job: JobId,
    /// What the entry on the screen is known by (collapse id, tag): the notification's job id, for its withdrawal too.
    pub collapse: JobId,
    /// Where it goes.
    pub device: &'a DeviceView<'a>,
    /// What it says.
    pub content: Content<'a>,
    /// What the app may fetch more about.
    pub reference: Reference<'a>,
    /// After this moment it must not be shown.
    pub expires_at: Timestamp,
    /// Attempts made before this one.
    pub attempts: u32,
}

/// What a push does on the phone.
#[derive(Clone, Copy)]
pub enum Content<'a> {
    /// Shows a notification.
    Show(&'a Notification),
    /// Shows a notice of Watchbell itself.
    Notice(&'a Notification, SystemNotice),
    /// Takes it back: removed where the platform can, silently replaced by this where it cannot.
    Withdraw(&'a Notification),
    /// Brings a nonce, which comes back to prove that pushes reach the phone. About no event.
    Nonce {
        /// One line, for a phone whose app does not take it.
        title: &'a str,
        /// A sentence.
        body: &'a str,
        /// The nonce.
        nonce: &'a str,
    },
}

/// A nonce never prints.
impl std::fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Show(notification) => f.debug_tuple("Show").field(notification).finish(),
            Self::Withdraw(notification) => f.debug_tuple("Withdraw").field(notification).finish(),
            Self::Notice(_, what) => f.debug_tuple("Notice").field(what).finish(),
            Self::Nonce { .. } => f.write_str("Nonce(redacted)"),
        }
    }
}

/// The ids that every push carries so that the app can ask for more.
#[derive(Debug, Clone, Copy)]
pub struct Reference<'a> {
    /// The workspace's id.
    pub workspace: &'a str,
    /// The workspace's name, for people.
    pub workspace_name: &'a str,
    /// The type's name.
    pub kind: crate::event::NotificationType,
    /// The event's id.
    pub event: &'a str,
    /// Whether approving needs the number (never the number).
    pub number_required: bool,
    /// Whether the event is a test.
    pub test: bool,
}

impl<'a> Reference<'a> {
    /// The reference of an event.
    pub fn of(event: &'a Event, workspace: &'a Workspace) -> Self {
        Self {
            workspace: event.workspace.as_str(),
            workspace_name: &workspace.display_name,
            kind: event.kind(),
            event: event.id.as_str(),
            number_required: event.number_required,
            test: event.test,
        }
    }

    /// The reference of a notice: its own id stands where an event's would.
    pub fn of_notice(notice: &'a Notice, workspace: &'a Workspace) -> Self {
        Self {
            workspace: notice.workspace.as_str(),
            workspace_name: &workspace.display_name,
            kind: notice.kind,
            event: notice.id.as_str(),
            number_required: false,
            test: false,
        }
    }
}
