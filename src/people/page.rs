//! Pages of a list that goes on growing: a cursor names a place in it, never a number of items to skip.
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::event::{EventId, NotificationType, Timestamp, UserId};

/// Most items of a page.
pub const PAGE_MAX: usize = 200;

/// The place after an item of a list that is sorted by moment and number, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The item's moment, in ms; 0 in lists that are sorted by number alone.
    pub at: i64,
    /// The item's number.
    pub number: i64,
}

/// The place after a request among those that await an answer, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCursor {
    /// When the request's event happened.
    pub at: Timestamp,
    /// The request's type.
    pub kind: NotificationType,
    /// The request's event.
    pub event: EventId,
}

/// The place after a person among those of a workspace, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonCursor {
    /// The person.
    pub user: UserId,
}

/// What names a place in a list to whoever asks for the next page.
pub trait Place: Sized {
    /// Items of a page if nothing else is asked for.
    const PAGE: usize;
    /// The place of which that text came back; `None` if it is none.
    fn read(text: &str) -> Option<Self>;
}

impl Cursor {
    /// As it is given to who asks for the next page.
    pub fn to_text(self) -> String {
        format!("{}.{}", self.at, self.number)
    }

    /// As it came back; `None` for a text that is no cursor.
    pub fn parse(text: &str) -> Option<Self> {
        let (at, number) = text.split_once('.')?;
        Some(Self { at: at.parse().ok()?, number: number.parse().ok()? })
    }
}

impl Place for Cursor {
    const PAGE: usize = 50;

    fn read(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

impl PendingCursor {
    /// As it is given to who asks for the next page.
    pub fn to_text(&self) -> String {
        // An event's id may have any printable character: the text stands in an address as it is.
        URL_SAFE_NO_PAD.encode(format!("{}.{}.{}", self.at.as_millis(), self.kind.name(), self.event.as_str()))
    }

    /// As it came back; `None` for a text that is no cursor.
    pub fn parse(text: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let mut parts = text.splitn(3, '.');
        let at = Timestamp(parts.next()?.parse().ok()?);
        let kind = NotificationType::from_name(parts.next()?)?;
        Some(Self { at, kind, event: EventId::new(parts.next()?).ok()? })
    }
}

impl Place for PendingCursor {
    /// As many as there may be: an app that asks for no second page should miss as little as can be.
    const PAGE: usize = PAGE_MAX;

    fn read(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

impl PersonCursor {
    /// As it is given to who asks for the next page.
    pub fn to_text(&self) -> String {
        // A person's id may have any printable character, like an event's.
        URL_SAFE_NO_PAD.encode(self.user.as_str())
    }

    /// As it came back; `None` for a text that is no cursor.
    pub fn parse(text: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        UserId::new(text).ok().map(|user| Self { user })
    }
}

impl Place for PersonCursor {
    const PAGE: usize = 50;

    fn read(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, P = Cursor> {
    /// In the list's order: newest first, or by their ids.
    pub items: Vec<T>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<P>,
}

impl<T, P: Clone> Page<T, P> {
    /// A page of at most `limit` items, of a list of which one more was read if there is one.
    pub fn of(read: Vec<(P, T)>, limit: usize) -> Self {
        let more = read.len() > limit;
        let last = if more { limit.checked_sub(1).and_then(|last| read.get(last)) } else { None };
        let next = last.map(|(at, _)| at.clone());
        Self { items: read.into_iter().take(limit).map(|(_, item)| item).collect(), next }
    }
}
