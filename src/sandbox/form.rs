//! `application/x-www-form-urlencoded`: what queries and the bodies of token endpoints are written in.
//!
//! The point: one reading of it for both token endpoints and the authorization endpoint.
//! It judges nothing: a broken escape stays as it is, and a repeated field is handed out as often as it came.

/// The fields in their order. A field without `=` has an empty value.
pub(crate) fn fields(text: &str) -> impl Iterator<Item = (String, String)> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (unescape(name), unescape(value))
    })
}

/// Undoes the escapes; bytes that are no UTF-8 become replacement characters.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let hex = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, hex(0), hex(1)) {
            (b'+', _, _) => bytes.push(b' '),
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Escapes everything but what RFC 3986 §2.3 calls unreserved.
pub(crate) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            write!(out, "%{byte:02X}").ok();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_escaped_is_read_back() {
        // Every character survives, a plus is a space, broken escapes and lone names are taken as they are.
        let odd = "a b+c&d=e%f/ü~?#";
        assert_eq!(fields(&format!("x={}", escape(odd))).collect::<Vec<_>>(), [("x".into(), odd.into())]);
        let read: Vec<_> = fields("a=1+2&&b&c=%zz%4&a=%F0%9F%94%94").collect();
        let expected = [("a", "1 2"), ("b", ""), ("c", "%zz%4"), ("a", "🔔")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
