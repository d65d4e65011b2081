//! What a provider says about one push, and how a job ends.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::JobId;
use crate::event::{NotificationType, SystemNotice, Timestamp};

/// Longest foreign reason that is kept, in bytes: providers' own are at most 30 characters.
const FOREIGN_REASON_BYTES_MAX: usize = 64;

/// A machine-readable reason: ours, or a provider's as it stands on the wire.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reason(Cow<'static, str>);

impl Reason {
    /// One of ours, or a provider's documented one.
    pub const fn known(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// A provider's that nobody documented: kept as text, cut to [`FOREIGN_REASON_BYTES_MAX`], with anything but printable ASCII
    /// replaced, because it goes into logs and headers.
    pub fn foreign(text: &str) -> Self {
        let clean = |c: char| if c.is_ascii_graphic() { c } else { '_' };
        Self(Cow::Owned(text.chars().take(FOREIGN_REASON_BYTES_MAX).map(clean).collect()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text for a metric's label: a foreign reason becomes `other`, so that a provider cannot make labels.
    pub fn label(&self) -> &'static str {
        match self.0 {
            Cow::Borrowed(text) => text,
            Cow::Owned(_) => "other",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What became of one attempt, as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took it. Not proof that it was shown.
    Accepted,
    /// This token is finished.
    TokenInvalid {
        /// Since when, by the provider's clock; `None` when it does not say.
        since: Option<Timestamp>,
        /// The provider's reason.
        reason: Reason,
    },
    /// This message can never work.
    Rejected {
        /// The provider's reason.
        reason: Reason,
    },
    /// It may work later.
    Retryable {
        /// The provider's reason, or what went wrong on the way.
        reason: Reason,
        /// The least time to wait, if the provider said so.
        retry_after: Option<Duration>,
        /// What is in trouble.
        scope: RetryScope,
        /// How far it got.
        reach: Reach,
    },
    /// Our credential, topic or project is wrong: nothing of this credential can work until somebody mends it.
    Misconfigured {
        /// The provider's reason.
        reason: Reason,
    },
}

impl Outcome {
    /// Whether the phone may have it although nobody accepted it.
    pub const fn maybe_shown(&self) -> bool {
        match self {
            Self::Retryable { reach, .. } => matches!(reach, Reach::Unknown),
            Self::Accepted | Self::TokenInvalid { .. } | Self::Rejected { .. } | Self::Misconfigured { .. } => false,
        }
    }

    /// Whether the provider was asked, which is what counts as an attempt.
    pub const fn was_sent(&self) -> bool {
        !matches!(self, Self::Retryable { reach: Reach::Unsent, .. })
    }

    /// The outcome of a second try, after a first one that may have been shown or not.
    #[must_use]
    pub fn after(mut self, first: &Self) -> Self {
        if let Self::Retryable { reach, .. } = &mut self {
            *reach = (*reach).max(match first {
                Self::Retryable { reach, .. } => *reach,
                Self::Accepted | Self::TokenInvalid { .. } | Self::Rejected { .. } | Self::Misconfigured { .. } => {
                    Reach::Refused
                }
            });
        }
        self
    }
}

/// How far a push got that nobody accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reach {
    /// It never left us: there was no connection, no free stream, no access token, or its device must wait.
    Unsent,
    /// The provider turned it away: no phone shows it.
    Refused,
    /// Nobody said what became of it: the phone may show it.
    Unknown,
}

/// What a retryable outcome speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryScope {
    /// This device only: too many pushes to one token.
    Device,
    /// The provider, or the way to it.
    Provider,
}

/// How a job ends: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The provider took it.
    Accepted,
    /// Policy held it back.
    Suppressed(Reason),
    /// Its deadline passed. The reason says what held it up: `deadline`, or the last attempt's.
    Expired(Reason),
    /// The provider says that the token is dead.
    TokenInvalid(Reason),
    /// The recipient has no device.
    NoDevice,
    /// It lies in the dead letters.
    DeadLettered(Reason),
}

impl Ending {
    /// The name in metrics and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Suppressed(_) => "suppressed",
            Self::Expired(_) => "expired",
            Self::TokenInvalid(_) => "token_invalid",
            Self::NoDevice => "no_device",
            Self::DeadLettered(_) => "dead_lettered",
        }
    }

    /// The reason; `None` where the ending says it all.
    pub const fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Accepted | Self::NoDevice => None,
            Self::Suppressed(reason)
            | Self::Expired(reason)
            | Self::TokenInvalid(reason)
            | Self::DeadLettered(reason) => Some(reason),
        }
    }
}

/// One job's ending, for `watchbell.outcomes`; borrowed, because it is encoded where it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeRecord<'a> {
    /// The job.
    pub job: JobId,
    /// Its workspace.
    pub workspace: &'a str,
    /// Its type.
    pub kind: NotificationType,
    /// Its event.
    pub event: &'a str,
    /// Its recipient: the record's key.
    pub user: &'a str,
    /// Its device; empty where the recipient has none.
    pub device: &'a str,
    /// How it ended.
    pub ending: &'a Ending,
    /// Attempts made.
    pub attempts: u32,
    /// From the reading of the event to this ending.
    pub latency: Duration,
    /// When it ended.
    pub ended_at: Timestamp,
    /// The workspace entry's version that was in force; 0 where policy was not asked.
    pub workspace_version: u64,
    /// The user entry's version that was in force; 0 where policy was not asked.
    pub user_version: u64,
    /// Whether this job took a notification back.
    pub withdrawal: bool,
    /// What this job said, if it was a notice of Watchbell itself: `event` is the notice's own id then.
    pub notice: Option<SystemNotice>,
    /// The W3C trace context of the event's record, if it had one.
    pub traceparent: Option<&'a str>,
}
