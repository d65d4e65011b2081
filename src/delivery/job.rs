//! The unit of delivery and of retry: one event for one device.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::event::{Event, EventId, NotificationType, SystemNotice, Timestamp, WorkspaceId};

/// The namespace of our job ids. A random UUID, drawn once; changing it would make every retry of the moment of change a new entry on
/// the screen.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0c_51d4_9a0e_4f53_8b7e_2d1c_a6e3_9f48);

/// The id of a job: UUIDv5 (RFC 9562 §5.5) over length-prefixed ids, so that no two different lists of ids can collide by
/// concatenation. The same event for the same device has the same id on every attempt, worker and restart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(Uuid);

impl JobId {
    /// The job that shows a notification. `device` is empty for a recipient without a device.
    pub fn show(workspace: &str, kind: NotificationType, event: &str, user: &str, device: &str) -> Self {
        Self::derive(&[workspace, kind.name(), event, user, device])
    }

    /// The job that takes it back: another job, whose push names the first one's id as what it replaces.
    pub fn withdraw(workspace: &str, kind: NotificationType, event: &str, user: &str, device: &str) -> Self {
        Self::derive(&[workspace, kind.name(), event, user, device, "withdraw"])
    }

    /// The job that shows a notice of Watchbell itself.
    pub fn notice(workspace: &str, kind: NotificationType, notice: &str, user: &str, device: &str) -> Self {
        Self::derive(&[workspace, kind.name(), notice, user, device, "notice"])
    }

    fn derive(parts: &[&str]) -> Self {
        // Six ids of 128 bytes with their length bytes fit; the type's name is shorter. Nothing is allocated.
        let mut name = [0; 6 * 129];
        let mut end = 0;
        for part in parts {
            name[end] = part.len() as u8;
            name[end + 1..end + 1 + part.len()].copy_from_slice(part.as_bytes());
            end += 1 + part.len();
        }
        Self(Uuid::new_v5(&NAMESPACE, &name[..end]))
    }

    /// From its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its 16 bytes, big-endian.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Its canonical text (36 bytes, lower case) without allocating: what `apns-id` asks for.
    pub fn encode(self, buffer: &mut [u8; 36]) -> &str {
        self.0.hyphenated().encode_lower(buffer)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// What a job does on the phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PushKind {
    /// Shows the notification.
    Show,
    /// Takes it back.
    Withdraw,
    /// Shows a notice of Watchbell itself.
    Notice,
}

impl PushKind {
    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Show => "show",
            Self::Withdraw => "withdraw",
            Self::Notice => "notice",
        }
    }
}

/// Where an event was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// One device's job, as it travels through the job topics: references, never content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushJob {
    /// What it does.
    pub kind: PushKind,
    /// The event, with this one recipient. A withdrawal carries the event's ids and no body, a notice its own.
    pub subject: Subject,
    /// The recipient.
    pub user: crate::event::UserId,
    /// The device.
    pub device: crate::event::DeviceId,
    /// Attempts made so far.
    pub attempts: u32,
    /// When the record that asked for it was first read.
    pub first_seen: Timestamp,
    /// Where the event was read.
    pub origin: Origin,
    /// The reason of the last attempt; empty before the first.
    pub last_reason: String,
    /// Whether an earlier attempt may have reached the phone, although no provider accepted it.
    pub maybe_shown: bool,
    /// Until then it is not attempted: the provider asked for a longer wait than the tier's.
    pub wait_until: Option<Timestamp>,
    /// The W3C trace context of the record that asked for it, if it had one.
    pub traceparent: Option<Box<str>>,
}

/// What a job is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An event to show. Its `recipients` are not used: the job names its own.
    Event(Arc<Event>),
    /// An earlier event to take back.
    Withdrawal(Arc<Withdrawal>),
    /// What Watchbell itself tells somebody.
    Notice(Arc<Notice>),
}

/// The event whose notification is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its type.
    pub kind: NotificationType,
    /// Its id.
    pub event: EventId,
    /// When the withdrawal was asked for.
    pub occurred_at: Timestamp,
    /// Until when it is worth sending.
    pub until: Timestamp,
}

/// What Watchbell itself tells somebody, about no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The type of the request that it is about; `trusted_device` where it is about phones.
    pub kind: NotificationType,
    /// Its own id, which stands where an event's would.
    pub id: EventId,
    /// What it says.
    pub what: SystemNotice,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// After this moment nobody is told any more.
    pub until: Timestamp,
}

impl Subject {
    /// The workspace.
    pub fn workspace(&self) -> &WorkspaceId {
        match self {
            Self::Event(event) => &event.workspace,
            Self::Withdrawal(withdrawal) => &withdrawal.workspace,
            Self::Notice(notice) => &notice.workspace,
        }
    }

    /// The notification type.
    pub fn kind(&self) -> NotificationType {
        match self {
            Self::Event(event) => event.kind(),
            Self::Withdrawal(withdrawal) => withdrawal.kind,
            Self::Notice(notice) => notice.kind,
        }
    }

    /// The event's id; a notice's own.
    pub fn event(&self) -> &EventId {
        match self {
            Self::Event(event) => &event.id,
            Self::Withdrawal(withdrawal) => &withdrawal.event,
            Self::Notice(notice) => &notice.id,
        }
    }

    /// After this moment nothing is sent any more.
    pub fn expires_at(&self) -> Timestamp {
        match self {
            Self::Event(event) => event.expires_at,
            Self::Withdrawal(withdrawal) => withdrawal.until,
            Self::Notice(notice) => notice.until,
        }
    }

    /// What it does on the phone.
    pub const fn push_kind(&self) -> PushKind {
        match self {
            Self::Event(_) => PushKind::Show,
            Self::Withdrawal(_) => PushKind::Withdraw,
            Self::Notice(_) => PushKind::Notice,
        }
    }

    /// What it says, if it is a notice.
    pub fn notice(&self) -> Option<SystemNotice> {
        match self {
            Self::Event(_) | Self::Withdrawal(_) => None,
            Self::Notice(notice) => Some(notice.what),
        }
    }

    /// When it happened.
    pub fn occurred_at(&self) -> Timestamp {
        match self {
            Self::Event(event) => event.occurred_at,
            Self::Withdrawal(withdrawal) => withdrawal.occurred_at,
            Self::Notice(notice) => notice.occurred_at,
        }
    }
}

impl PushJob {
    /// The job's id.
    pub fn id(&self) -> JobId {
        let (workspace, kind, event) = (self.subject.workspace().as_str(), self.subject.kind(), self.subject.event());
        let device = self.device.as_str();
        match self.kind {
            PushKind::Show => JobId::show(workspace, kind, event.as_str(), self.user.as_str(), device),
            PushKind::Withdraw => JobId::withdraw(workspace, kind, event.as_str(), self.user.as_str(), device),
            PushKind::Notice => JobId::notice(workspace, kind, event.as_str(), self.user.as_str(), device),
        }
    }

    /// The id by which the phone knows the notification that this job shows or takes back.
    pub fn shown_id(&self) -> JobId {
        let (workspace, kind, event) = (self.subject.workspace().as_str(), self.subject.kind(), self.subject.event());
        match self.kind {
            PushKind::Show | PushKind::Notice => self.id(),
            PushKind::Withdraw => {
                JobId::show(workspace, kind, event.as_str(), self.user.as_str(), self.device.as_str())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moving a byte from one id to its neighbour gives another job, and the longest ids fit.
    #[test]
    fn ids_do_not_run_together() {
        let kind = NotificationType::OtpReceived;
        let a = JobId::show("ab", kind, "c", "u", "d");
        let b = JobId::show("a", kind, "bc", "u", "d");
        assert_ne!(a, b);
        assert_ne!(a, JobId::withdraw("ab", kind, "c", "u", "d"));
        assert_ne!(a, JobId::notice("ab", kind, "c", "u", "d"));
        let long = "x".repeat(128);
        assert_ne!(JobId::withdraw(&long, kind, &long, &long, &long), JobId::show(&long, kind, &long, &long, &long));
    }

    /// The id of a given job never changes: phones in the field hold entries under it.
    #[test]
    fn id_is_stable() {
        let id = JobId::show("acme", NotificationType::IdentityVerification, "e-1", "u-1", "d-1");
        assert_eq!(id.to_string(), "2e8004c7-3722-5913-b69f-8ae657ab8051");
        assert_eq!(id.encode(&mut [0; 36]), id.to_string());
        let notice = JobId::notice("acme", NotificationType::TrustedDevice, "n-1", "u-1", "d-1");
        assert_eq!(notice.to_string(), "6266114e-443e-55e2-af89-577bc1f314b3");
    }
}
