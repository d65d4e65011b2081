//! Writes JSON into one buffer, for payloads of a known shape.
//!
//! Why not serde: a payload is ten constant pieces and as many values; copied into one buffer of the right size they cost one
//! allocation. Tests read every payload back with a JSON parser.

/// A JSON text that is being written.
pub(super) struct Json(Vec<u8>);

impl Json {
    /// An empty text with room for so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// A piece that is JSON already.
    pub(super) fn raw(&mut self, piece: &'static str) -> &mut Self {
        self.0.extend_from_slice(piece.as_bytes());
        self
    }

    /// A string.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.joined(&[text])
    }

    /// A string made of several.
    pub(super) fn joined(&mut self, parts: &[&str]) -> &mut Self {
        self.0.push(b'"');
        for part in parts {
            self.escaped(part.as_bytes());
        }
        self.0.push(b'"');
        self
    }

    /// Quotation marks and backslashes are escaped; control characters, which no cleaned text has, become spaces: so a string never
    /// takes more than twice its bytes.
    fn escaped(&mut self, bytes: &[u8]) {
        let mut copied = 0;
        for (at, byte) in bytes.iter().enumerate() {
            let replacement: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                0..=0x1f => b" ",
                _ => continue,
            };
            self.0.extend_from_slice(&bytes[copied..at]);
            self.0.extend_from_slice(replacement);
            copied = at + 1;
        }
        self.0.extend_from_slice(&bytes[copied..]);
    }

    /// A whole number. Before the epoch there is nothing to send: less than 0 becomes 0.
    pub(super) fn number(&mut self, number: i64) -> &mut Self {
        let mut rest = number.max(0).unsigned_abs();
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.0.extend_from_slice(&digits[at..]);
        self
    }

    /// A piece that is neither quoted nor escaped: what follows the JSON text in the buffer.
    pub(super) fn plain(&mut self, piece: &str) -> &mut Self {
        self.0.extend_from_slice(piece.as_bytes());
        self
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The buffer.
    pub(super) fn into_bytes(self) -> bytes::Bytes {
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is written reads back as it was, but for control characters, and takes at most twice its bytes.
        #[test]
        fn reads_back(text in "(\\PC|[\\x00-\\x7f]){0,60}", number: i64) {
            let mut json = Json::with_capacity(0);
            json.raw("[").text(&text).raw(",").joined(&[&text, ".", &text]).raw(",").number(number).raw("]");
            prop_assert!(json.len() <= 6 * text.len() + 32);
            let bytes = json.into_bytes();
            let read: (String, String, u64) = serde_json::from_slice(&bytes).unwrap();
            let expected = text.replace(|c: char| c < ' ', " ");
            prop_assert_eq!(&read.0, &expected);
            prop_assert_eq!(read.1, format!("{expected}.{expected}"));
            prop_assert_eq!(read.2, number.max(0).unsigned_abs());
        }
    }
}
