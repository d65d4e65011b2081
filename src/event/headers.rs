//! Record headers, as they came: names with bytes, in order, repetition allowed.

use bytes::Bytes;

/// The header of a dead letter that names the notification type of the topic it came from: a redrive is read by it, because the
/// topic of redrives carries all types.
pub const TYPE_HEADER: &str = "watchbell-type";

/// The header of a dead letter that says what its topic carries: a redrive is read as that.
pub const FEED_HEADER: &str = "watchbell-feed";

/// W3C trace context: carried from an event to all that follows from it.
pub const TRACEPARENT: &str = "traceparent";

/// Whether it has the form of a `traceparent`: version, trace, parent and flags in lower-case hexadecimal (W3C Trace Context §3.2).
/// A later version may be longer.
pub fn is_traceparent(text: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (55..=128).contains(&text.len())
        && text.bytes().enumerate().all(|(at, byte)| {
            if [2, 35, 52].contains(&at) { byte == b'-' } else { at >= 55 && byte == b'-' || hex(byte) }
        })
}

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

    /// The trace context, if there is one.
    pub fn traceparent(&self) -> Option<&str> {
        self.get_str(TRACEPARENT).filter(|text| is_traceparent(text))
    }

    /// A copy of the trace context alone: it shares no memory with the record that it came with.
    pub fn only_traceparent(&self) -> Self {
        let mut only = Self::new();
        if let Some(text) = self.traceparent() {
            only.push(TRACEPARENT, text.to_owned());
        }
        only
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What has the form of a trace context is one, whatever its version; anything else is not carried on.
    #[test]
    fn trace_contexts() {
        let v0 = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let later = format!("cc-{}-what", &v0[3..]).replace("what", "fe01");
        let upper = v0.to_uppercase();
        let cases = [(v0, true), (later.as_str(), true), (upper.as_str(), false), ("", false), (&v0[..54], false)];
        for (text, expected) in cases {
            let mut headers = Headers::new();
            headers.push(TRACEPARENT, text.to_owned());
            assert_eq!(headers.traceparent().is_some(), expected, "{text}");
        }
        assert_eq!(Headers::new().traceparent(), None);
    }
}
