//! What we read, and which of our groups reads it.
use crate::delivery::{Tier, Urgency};
use crate::event::NotificationType;

/// What a topic that we read carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feed {
    /// Upstream's events of one type.
    Event(NotificationType),
    /// Jobs, delayed or not.
    Job(Urgency, Tier),
    /// Jobs that wait for a credential to be mended; by the credential's place in the configuration, because each has a budget of its
    /// own.
    Hold(u8),
    /// Raw records taken back from the dead letters; the type stands in a header.
    Redrive,
    /// Upstream-facing decisions, read for the withdrawals they cause.
    Decision,
    /// How jobs ended, read by the API for what people may look back on.
    Outcome,
    /// What becomes of people and workspaces at upstream, read by the API.
    Lifecycle,
}

/// What a topic carries, without the details: the name under which dead letters tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedKind {
    /// [`Feed::Event`].
    Event,
    /// [`Feed::Job`].
    Job,
    /// [`Feed::Hold`].
    Hold,
    /// [`Feed::Redrive`].
    Redrive,
    /// [`Feed::Decision`].
    Decision,
    /// [`Feed::Outcome`].
    Outcome,
    /// [`Feed::Lifecycle`].
    Lifecycle,
}

impl FeedKind {
    const ALL: [Self; 7] =
        [Self::Event, Self::Job, Self::Hold, Self::Redrive, Self::Decision, Self::Outcome, Self::Lifecycle];

    /// The name in headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Job => "job",
            Self::Hold => "hold",
            Self::Redrive => "redrive",
            Self::Decision => "decision",
            Self::Outcome => "outcome",
            Self::Lifecycle => "lifecycle",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Which of our consumer groups reads something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Upstream's events.
    Events,
    /// Jobs, hold and redrive.
    Jobs,
    /// Decisions.
    Withdraw,
    /// What the API projects.
    Requests,
}

impl Feed {
    /// What it carries, without the details.
    pub const fn kind(self) -> FeedKind {
        match self {
            Self::Event(_) => FeedKind::Event,
            Self::Job(..) => FeedKind::Job,
            Self::Hold(_) => FeedKind::Hold,
            Self::Redrive => FeedKind::Redrive,
            Self::Decision => FeedKind::Decision,
            Self::Outcome => FeedKind::Outcome,
            Self::Lifecycle => FeedKind::Lifecycle,
        }
    }

    /// The group that reads it.
    pub const fn group(self) -> Group {
        match self {
            Self::Event(_) => Group::Events,
            Self::Job(..) | Self::Hold(_) | Self::Redrive => Group::Jobs,
            Self::Decision => Group::Withdraw,
            Self::Outcome | Self::Lifecycle => Group::Requests,
        }
    }
}
