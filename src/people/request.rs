//! What awaits a person's answer, and how it ends: exactly once.
//!
//! [`judge`] is the whole rule of answering. The store applies its judgement in the transaction in which it read what was judged.
use std::fmt;

use super::{DeviceState, Enrolled, Person};
use crate::event::{DeviceId, EventId, NotificationType, Timestamp};

/// Wrong numbers after which a request is denied, counted over all devices.
pub const WRONG_NUMBERS_MAX: u32 = 3;

/// A request is addressed by workspace, type and event; an event that asks several people makes one for each.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId {
    /// Who is asked, and where.
    pub person: Person,
    /// The type.
    pub kind: NotificationType,
    /// The event that asks.
    pub event: EventId,
}

/// Six digits that upstream's screen shows. They never print.
#[derive(Clone, PartialEq, Eq)]
pub struct MatchNumber(Box<str>);

impl MatchNumber {
    /// `None` unless it is six ASCII digits.
    pub fn new(text: &str) -> Option<Self> {
        (text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| Self(text.into()))
    }

    /// The digits. Whoever calls this must not print them.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MatchNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MatchNumber(redacted)")
    }
}

/// What the app may show of a request: more than any push. It holds addresses and places, so it does not print.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields are those of event.proto, which says what they are")]
pub enum RequestDetail {
    IdentityVerification {
        application: String,
        reason: String,
        ip_address: String,
        location: String,
        device: String,
        new_location: bool,
        new_device: bool,
    },
    TrustedDevice {
        device_name: String,
        device_kind: String,
        browser: String,
        operating_system: String,
        location: String,
        new_location: bool,
        new_device: bool,
    },
}

impl RequestDetail {
    /// The type that it belongs to.
    pub const fn kind(&self) -> NotificationType {
        match self {
            Self::IdentityVerification { .. } => NotificationType::IdentityVerification,
            Self::TrustedDevice { .. } => NotificationType::TrustedDevice,
        }
    }
}

impl fmt::Debug for RequestDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestDetail({})", self.kind().name())
    }
}

/// An event that asks, for one of the people whom it asks, as the store takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    /// Which request.
    pub person: Person,
    /// The event.
    pub event: EventId,
    /// What the app may show; it says the type too.
    pub detail: RequestDetail,
    /// Upstream's sign-in attempt or browser, opaque; empty where it said none.
    pub source: String,
    /// The number that approving requires.
    pub match_number: Option<MatchNumber>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Until when it may be answered.
    pub expires_at: Timestamp,
    /// The event record's key, which is that of all records about it.
    pub record_key: Option<Vec<u8>>,
    /// The event record's trace context.
    pub traceparent: Option<String>,
}

/// A person's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// It is them.
    Approve,
    /// No.
    Deny,
    /// No, and they did not start it.
    DenyNotMe,
}

impl Verb {
    /// The name in the API, statements and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::DenyNotMe => "deny_not_me",
        }
    }

    /// The verb of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Approve, Self::Deny, Self::DenyNotMe].into_iter().find(|verb| verb.name() == name)
    }
}

/// Why a request ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClosedReason {
    /// Nobody answered in time.
    Expired,
    /// A newer request of the same source took its place.
    Superseded,
    /// Upstream cancelled it.
    Cancelled,
}

impl ClosedReason {
    /// The name in the API and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Expired, Self::Superseded, Self::Cancelled].into_iter().find(|reason| reason.name() == name)
    }
}

/// What upstream may want to tell the person before the request is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// The person muted the type, or made all their devices quiet.
    Muted,
    /// The workspace disabled the type.
    Disabled,
    /// The fatigue guard held the notification back.
    Guard,
    /// The person has no device.
    NoDevice,
    /// A notification could not be delivered.
    Undeliverable,
}

/// An answer that was given: final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Unique.
    pub id: String,
    /// What was answered.
    pub verb: Verb,
    /// By which device; for a denial after wrong numbers, that of the last one.
    pub device: DeviceId,
    /// When, by the server's clock.
    pub at: Timestamp,
    /// The device's signed statement, verbatim; empty if nobody signed it, because wrong numbers denied it.
    pub jws: String,
    /// RFC 7638 thumbprint of the key that signed it; empty likewise.
    pub key_thumbprint: String,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Answered.
    Decided(Decision),
    /// Not answered.
    Closed {
        /// Why.
        reason: ClosedReason,
        /// When.
        at: Timestamp,
    },
}

/// A request as its person and their app see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which.
    pub id: RequestId,
    /// What the app may show; `None` for one that was cancelled before it was seen.
    pub detail: Option<RequestDetail>,
    /// Whether approving requires the number.
    pub number_required: bool,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Until when it may be answered.
    pub expires_at: Timestamp,
    /// `None` while it is open.
    pub ending: Option<Ending>,
    /// What its person knows the device by that answered: see [`Standing::device_name`].
    pub device_name: String,
}

/// What an answer is judged by, as read in the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Until when it may be answered.
    pub expires_at: Timestamp,
    /// The number that approving requires, while the request is open.
    pub match_number: Option<MatchNumber>,
    /// Wrong numbers so far.
    pub wrong_numbers: u32,
    /// `None` while it is open.
    pub ending: Option<Ending>,
    /// What its person knows the device by that answered: the name they gave it, or else its model; empty if neither is known any more.
    pub device_name: String,
}

/// A device's answer, its signature checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// To what.
    pub request: RequestId,
    /// By which device.
    pub device: DeviceId,
    /// RFC 7638 thumbprint of the key that signed it.
    pub key_thumbprint: String,
    /// What it says.
    pub verb: Verb,
    /// The number that the person typed.
    pub number: Option<MatchNumber>,
    /// The signed statement, verbatim.
    pub jws: String,
}

/// Why an answer was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerRefusal {
    /// The event has not been read yet, or there is none: to be asked again soon.
    #[error("This request has not arrived here yet. Try again in a moment.")]
    NotProjected,
    /// The person has no such device, it was retired, or it has another key.
    #[error("This phone is not set up for your account any more. Set it up again to answer.")]
    UnknownDevice,
    /// The device may not approve.
    #[error("This phone may not approve yet. Confirm it from a phone that may, or ask your admin for a ticket.")]
    CannotApprove,
    /// Somebody answered otherwise, or from another device.
    #[error("{}", answered_sentence(*.verb, .device_name))]
    Answered {
        /// What was answered.
        verb: Verb,
        /// By which device.
        device: DeviceId,
        /// What its person knows it by; may be empty.
        device_name: String,
        /// When.
        at: Timestamp,
    },
    /// The request is over.
    #[error("{}", closed_sentence(*.reason))]
    Closed {
        /// Why.
        reason: ClosedReason,
    },
    /// Approving requires the number.
    #[error("Type the number that the sign-in screen shows.")]
    NumberMissing,
    /// Another number was typed.
    #[error("That is not the number on the sign-in screen. Tries left: {left}.")]
    NumberWrong {
        /// Wrong numbers that are left before the request is denied; at least 1.
        left: u32,
    },
    /// Too many wrong numbers: the request was denied by this answer.
    #[error("That was wrong {WRONG_NUMBERS_MAX} times, so the request was denied. If it was you, sign in again.")]
    NumbersUsedUp,
}

fn answered_sentence(verb: Verb, device_name: &str) -> String {
    let done = match verb {
        Verb::Approve => "approved",
        Verb::Deny | Verb::DenyNotMe => "denied",
    };
    let by = if device_name.is_empty() { "another phone or in another way" } else { device_name };
    format!("This was {done} already, from {by}.")
}

const fn closed_sentence(reason: ClosedReason) -> &'static str {
    match reason {
        ClosedReason::Expired => "This request expired. Sign in again if it was you.",
        ClosedReason::Superseded => "A newer request took the place of this one. Answer that one.",
        ClosedReason::Cancelled => "This request was cancelled by the application that asked.",
    }
}

/// What is to be done with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It decides the request.
    Decide,
    /// The same device said the same before: it gets the same answer again.
    Again(Decision),
    /// The request's time is over; nobody has closed it yet.
    Expire,
    /// Another wrong number.
    CountWrong {
        /// Those left.
        left: u32,
    },
    /// The last wrong number: the request is denied.
    DenyForNumbers,
    /// Nothing.
    Refuse(AnswerRefusal),
}

/// The rule. The server's clock decides about the deadline; what the device's says is not asked.
pub fn judge(standing: &Standing, answer: &Answer, device: Option<&Enrolled>, now: Timestamp) -> Judgement {
    let known = device.filter(|device| !device.retired && device.thumbprint.as_ref() == Some(&answer.key_thumbprint));
    let Some(device) = known else { return Judgement::Refuse(AnswerRefusal::UnknownDevice) };
    match &standing.ending {
        Some(Ending::Decided(decision)) if decision.device == answer.device && decision.verb == answer.verb => {
            return Judgement::Again(decision.clone());
        }
        Some(Ending::Decided(Decision { verb, device, at, .. })) => {
            let (verb, device, device_name, at) = (*verb, device.clone(), standing.device_name.clone(), *at);
            return Judgement::Refuse(AnswerRefusal::Answered { verb, device, device_name, at });
        }
        Some(Ending::Closed { reason, .. }) => {
            return Judgement::Refuse(AnswerRefusal::Closed { reason: *reason });
        }
        None => {}
    }
    if standing.expires_at <= now {
        return Judgement::Expire;
    }
    match answer.verb {
        Verb::Deny | Verb::DenyNotMe => Judgement::Decide,
        Verb::Approve => match device.state {
            DeviceState::ReceiveOnly => Judgement::Refuse(AnswerRefusal::CannotApprove),
            DeviceState::Approver => judge_number(standing, answer.number.as_ref()),
        },
    }
}

/// Approving, as far as the number goes. A missing number is no try: the person has not guessed.
fn judge_number(standing: &Standing, given: Option<&MatchNumber>) -> Judgement {
    match (&standing.match_number, given) {
        (None, _) => Judgement::Decide,
        (Some(_), None) => Judgement::Refuse(AnswerRefusal::NumberMissing),
        (Some(shown), Some(given)) if shown == given => Judgement::Decide,
        (Some(_), Some(_)) => match WRONG_NUMBERS_MAX.saturating_sub(standing.wrong_numbers + 1) {
            0 => Judgement::DenyForNumbers,
            left => Judgement::CountWrong { left },
        },
    }
}
