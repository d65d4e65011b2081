//! One request and one answer, as both simulated providers see them.
//!
//! A [`Head`] keeps every header of a request in one buffer that is used again for later requests, and finds the headers that
//! the providers judge by slot instead of by name: at a hundred thousand requests a second this is what allocation would cost.
//! It knows nothing of frames, and nothing of what a provider thinks of a value.
//! Values are bytes as they came; whoever judges them decides what is malformed.
use std::ops::Range;

/// The headers that a provider judges, each with a slot of its own; all others are `Other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Field {
    Method,
    Path,
    Scheme,
    Authority,
    Authorization,
    ContentType,
    ContentLength,
    ApnsId,
    ApnsTopic,
    ApnsPushType,
    ApnsPriority,
    ApnsExpiration,
    ApnsCollapseId,
    Other,
}

/// Slots for the fields that have one.
const SLOTS: usize = Field::Other as usize;

/// Every field with a slot, in the order of the slots.
pub(crate) const FIELDS: [(Field, &str); SLOTS] = [
    (Field::Method, ":method"),
    (Field::Path, ":path"),
    (Field::Scheme, ":scheme"),
    (Field::Authority, ":authority"),
    (Field::Authorization, "authorization"),
    (Field::ContentType, "content-type"),
    (Field::ContentLength, "content-length"),
    (Field::ApnsId, "apns-id"),
    (Field::ApnsTopic, "apns-topic"),
    (Field::ApnsPushType, "apns-push-type"),
    (Field::ApnsPriority, "apns-priority"),
    (Field::ApnsExpiration, "apns-expiration"),
    (Field::ApnsCollapseId, "apns-collapse-id"),
];

impl Field {
    /// The field of a lower-case header name.
    pub(crate) fn of(name: &[u8]) -> Self {
        // Lengths are distinct enough that this compiles to one jump and one comparison.
        match name {
            b":method" => Self::Method,
            b":path" => Self::Path,
            b":scheme" => Self::Scheme,
            b":authority" => Self::Authority,
            b"authorization" => Self::Authorization,
            b"content-type" => Self::ContentType,
            b"content-length" => Self::ContentLength,
            b"apns-id" => Self::ApnsId,
            b"apns-topic" => Self::ApnsTopic,
            b"apns-push-type" => Self::ApnsPushType,
            b"apns-priority" => Self::ApnsPriority,
            b"apns-expiration" => Self::ApnsExpiration,
            b"apns-collapse-id" => Self::ApnsCollapseId,
            _ => Self::Other,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Span {
    from: u32,
    to: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.from as usize..self.to as usize
    }
}

/// The headers of one request.
#[derive(Default)]
pub(crate) struct Head {
    arena: Vec<u8>,
    slots: [Span; SLOTS],
    seen: u16,
    repeated: u16,
    others: Vec<(Span, Span)>,
}

impl Head {
    /// Forgets everything, keeps the room.
    pub(crate) fn clear(&mut self) {
        self.arena.clear();
        self.others.clear();
        self.seen = 0;
        self.repeated = 0;
    }

    /// The size of the header list as HTTP/2 counts it would be larger by 32 bytes a header; this is the room used.
    pub(crate) fn size(&self) -> usize {
        self.arena.len()
    }

    /// Adds one header; `write` appends its value to the buffer that it is given.
    pub(crate) fn add<E>(
        &mut self,
        field: Field,
        name: &[u8],
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        if field == Field::Other {
            let from = self.arena.len() as u32;
            self.arena.extend_from_slice(name);
            let middle = self.arena.len() as u32;
            write(&mut self.arena)?;
            let to = self.arena.len() as u32;
            self.others.push((Span { from, to: middle }, Span { from: middle, to }));
            return Ok(());
        }
        let from = self.arena.len() as u32;
        write(&mut self.arena)?;
        let to = self.arena.len() as u32;
        let bit = 1_u16 << field as u8;
        if self.seen & bit != 0 {
            self.repeated |= bit;
        }
        self.seen |= bit;
        self.slots[field as usize] = Span { from, to };
        Ok(())
    }

    /// The value of `field`, the last one if it was repeated.
    pub(crate) fn get(&self, field: Field) -> Option<&[u8]> {
        let bit = 1_u16 << field as u8;
        (self.seen & bit != 0).then(|| &self.arena[self.slots[field as usize].range()])
    }

    /// Whether any header came more than once.
    pub(crate) fn has_repeated(&self) -> bool {
        // The headers without a slot are few.
        let again = |at: usize, name: &[u8]| self.others().take(at).any(|(earlier, _)| earlier == name);
        self.repeated != 0 || self.others().enumerate().any(|(at, (name, _))| again(at, name))
    }

    /// The headers without a slot.
    pub(crate) fn others(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.others.iter().map(|(name, value)| (&self.arena[name.range()], &self.arena[value.range()]))
    }
}

/// One whole request.
pub(crate) struct Request<'a> {
    pub(crate) head: &'a Head,
    /// At most the service's body limit plus one byte; what came beyond it was counted and dropped.
    pub(crate) body: &'a [u8],
}

/// What a service says to one request. One value is used again for all requests of a connection.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Echo of `apns-id`, kept apart because every answer of APNs has one.
    pub(crate) apns_id: Option<[u8; 36]>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// A new limit of concurrent streams for this connection, to be announced after the answer.
    pub(crate) stream_limit: Option<u32>,
    /// Whether this connection takes leave after the answer.
    pub(crate) leave: bool,
}

impl Answer {
    /// Back to an empty answer of `status`, keeping the room.
    pub(crate) fn reset(&mut self, status: u16) {
        self.status = status;
        self.apns_id = None;
        self.headers.clear();
        self.body.clear();
        self.stream_limit = None;
        self.leave = false;
    }
}

/// One connection's view of a simulated provider.
pub(crate) trait Service: Send + 'static {
    /// Longest body worth keeping, in bytes; one byte more is kept so that the service sees that it was exceeded.
    fn body_limit(&self) -> usize;

    /// Streams that a new connection may have open at once.
    fn first_stream_limit(&self) -> u32;

    /// Which part of the provider is asked, and for which device token, so that faults can aim.
    fn target<'a>(&self, request: &Request<'a>)
    -> (crate::sandbox::fault::Provider, Option<std::borrow::Cow<'a, str>>);

    /// Judges one whole request and records what it accepts.
    fn answer(&mut self, request: &Request<'_>, answer: &mut Answer);

    /// Refuses one request for `refusal`, which a fault asks for, in the provider's own form.
    fn refuse(&mut self, request: &Request<'_>, refusal: &crate::sandbox::fault::Refusal, answer: &mut Answer);

    /// From now on every answer of this connection is that the provider token expired, whatever token comes.
    fn wedge(&mut self);

    /// Puts a new stream limit into force for this connection, now and as the limit to return to.
    fn set_stream_limit(&mut self, limit: u32);
}
