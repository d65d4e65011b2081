//! Pages of a list that goes on growing at its head: a cursor names a place in it, never a number of items to skip.

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

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Newest first.
    pub items: Vec<T>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// A page of at most `limit` items, of a list of which one more was read if there is one.
    pub fn of(read: Vec<(Cursor, T)>, limit: usize) -> Self {
        let more = read.len() > limit;
        let next = if more { limit.checked_sub(1).and_then(|last| read.get(last)).map(|(at, _)| *at) } else { None };
        Self { items: read.into_iter().take(limit).map(|(_, item)| item).collect(), next }
    }
}
