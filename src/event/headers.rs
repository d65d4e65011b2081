//! Record headers, as they came: names with bytes, in order, repetition allowed.

use bytes::Bytes;

/// The header of a dead letter that names the notification type of the topic it came from: a redrive is read by it, because the
/// topic of redrives carries all types.
pub const TYPE_HEADER: &str = "watchbell-type";

/// The header of a dead letter that says what its topic carries: a redrive is read as that.
pub const FEED_HEADER: &str = "watchbell-feed";

/// The headers of one record. Most records of most upstreams have none, and an empty list allocates nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Box<str>, Bytes)>);

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one at the end.
    pub fn push(&mut self, name: impl Into<Box<str>>, value: impl Into<Bytes>) {
        self.0.push((name.into(), value.into()));
    }

    /// The last value of that name: Kafka's own rule for repeated headers.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().rev().find(|(other, _)| &**other == name).map(|(_, value)| value)
    }

    /// The last value of that name, if it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
