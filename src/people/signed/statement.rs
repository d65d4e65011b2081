//! Statements that stand by themselves: an answer to a request, the promotion of another phone, a key's successor.
//!
//! The point: each says all of what it means within the signature (for whom, about whom, what), so that whoever has it and the key can
//! check it years later, without the request that it came with. It deliberately does not judge `iat`: phones' clocks are wrong, so it is
//! recorded, and what a statement is about says how long it counts. It is read whole or not at all: a member that is not known here is
//! refused, because it may be what its signer meant.
use std::fmt;

use super::key::DeviceKey;
use super::strict::Members;
use super::{Envelope, Flaw, HeaderKey, issued_at, unique};
use crate::event::{DeviceId, EventId, NotificationType, Timestamp, UserId, WorkspaceId};
use crate::people::{Answer, MatchNumber, Person, RequestId, Verb};

/// `typ` of an answer.
pub const DECISION_TYPE: &str = "watchbell-decision+jwt";
/// `typ` of a promotion.
pub const PROMOTION_TYPE: &str = "watchbell-promotion+jwt";
/// `typ` of a key's successor.
pub const KEY_TYPE: &str = "watchbell-key+jwt";

/// What a statement can say.
pub trait Statement: Sized {
    /// The header's `typ`: a statement of one type is never read as another.
    const TYPE: &'static str;

    /// Takes what it says, and nothing else, out of the payload.
    #[doc(hidden)]
    fn take(payload: &mut Payload) -> Option<Self>;
}

/// A payload that is being taken apart.
#[derive(Debug)]
pub struct Payload {
    person: Person,
    members: Members,
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedAnswer {
    request: RequestId,
    verb: Verb,
    number: Option<MatchNumber>,
}

/// An approver's word that another phone of the same person may approve too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// Whose phones both are.
    pub person: Person,
    /// The phone that is to be promoted.
    pub device: DeviceId,
    /// The digits that the person read on it.
    pub number: MatchNumber,
}

/// A device's word that another key takes the place of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRoll {
    /// Whose device it is.
    pub person: Person,
    /// The new key.
    pub key: DeviceKey,
}

/// A statement, read and not believed.
#[derive(Clone)]
pub struct Unchecked<S> {
    envelope: Envelope,
    device: DeviceId,
    audience: String,
    issued_at: Timestamp,
    jti: String,
    says: S,
}

/// A statement that holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed<S> {
    /// By which device.
    pub device: DeviceId,
    /// RFC 7638 thumbprint of the key that signed it.
    pub key_thumbprint: String,
    /// When, by the device's clock: recorded, never judged.
    pub issued_at: Timestamp,
    /// What its maker made unique.
    pub jti: String,
    /// What it says.
    pub says: S,
    /// Verbatim.
    pub jws: String,
}

impl<S: Statement> Unchecked<S> {
    /// Reads a statement of that type.
    pub fn read(text: &str) -> Result<Self, Flaw> {
        let mut envelope = Envelope::open(text, S::TYPE)?;
        // A key that a statement brings along says nothing about who made it.
        let HeaderKey::Named(device) = envelope.key.clone() else { return Err(Flaw::Malformed) };
        let read = take(&mut envelope.payload).ok_or(Flaw::Malformed)?;
        let (audience, issued_at, jti, says) = read;
        Ok(Self { envelope, device, audience, issued_at, jti, says })
    }

    /// The device that it says to be from: whose key to look for.
    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    /// What it says, which nobody vouches for yet: to find the row that it is about.
    pub fn says(&self) -> &S {
        &self.says
    }

    /// Believes it, if that key signed it for that audience.
    pub fn verify(self, key: &DeviceKey, audience: &str) -> Result<Signed<S>, Flaw> {
        let Self { envelope, device, audience: meant, issued_at, jti, says } = self;
        let (_, jws) = envelope.verify(key)?;
        if meant != audience {
            return Err(Flaw::Audience);
        }
        Ok(Signed { device, key_thumbprint: key.thumbprint(), issued_at, jti, says, jws })
    }
}

/// Takes the members of all statements and those of this one; nothing may be left.
fn take<S: Statement>(members: &mut Members) -> Option<(String, Timestamp, String, S)> {
    let mut members = std::mem::take(members);
    let audience = members.text("aud")?;
    let issued_at = issued_at(&mut members)?;
    let jti = members.text("jti").and_then(unique)?;
    let workspace = WorkspaceId::new(members.text("workspace")?).ok()?;
    let user = UserId::new(members.text("user")?).ok()?;
    let mut payload = Payload { person: Person { workspace, user }, members };
    let says = S::take(&mut payload)?;
    payload.members.end()?;
    Some((audience, issued_at, jti, says))
}

impl Payload {
    fn number(&mut self) -> Option<Option<MatchNumber>> {
        match self.members.maybe_text("number")? {
            None => Some(None),
            Some(digits) => MatchNumber::new(&digits).map(Some),
        }
    }
}

impl Statement for SignedAnswer {
    const TYPE: &'static str = DECISION_TYPE;

    fn take(payload: &mut Payload) -> Option<Self> {
        let kind = NotificationType::from_name(&payload.members.text("type")?)?;
        let event = EventId::new(payload.members.text("event")?).ok()?;
        let verb = Verb::from_name(&payload.members.text("verb")?)?;
        let number = payload.number()?;
        Some(Self { request: RequestId { person: payload.person.clone(), kind, event }, verb, number })
    }
}

impl Statement for Promotion {
    const TYPE: &'static str = PROMOTION_TYPE;

    fn take(payload: &mut Payload) -> Option<Self> {
        let device = DeviceId::new(payload.members.text("device")?).ok()?;
        let number = payload.number()??;
        Some(Self { person: payload.person.clone(), device, number })
    }
}

impl Statement for KeyRoll {
    const TYPE: &'static str = KEY_TYPE;

    fn take(payload: &mut Payload) -> Option<Self> {
        let key = DeviceKey::from_members(payload.members.object("jwk")?).ok()?;
        Some(Self { person: payload.person.clone(), key })
    }
}

impl SignedAnswer {
    /// The request that it says to answer.
    pub fn request(&self) -> &RequestId {
        &self.request
    }
}

impl Signed<SignedAnswer> {
    /// The answer, if it is one to that request and to no other.
    pub fn answer_to(self, request: &RequestId) -> Result<Answer, Flaw> {
        let SignedAnswer { request: about, verb, number } = self.says;
        if about != *request {
            return Err(Flaw::Subject);
        }
        let (device, key_thumbprint, jws) = (self.device, self.key_thumbprint, self.jws);
        Ok(Answer { request: about, device, key_thumbprint, verb, number, jws })
    }
}

/// A number may stand in it.
impl<S> fmt::Debug for Unchecked<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unchecked").field("device", &self.device).finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Signed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("device", &self.device).field("jti", &self.jti).finish_non_exhaustive()
    }
}
