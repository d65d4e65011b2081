//! Addresses in one spelling, so that two that mean one place are equal (RFC 9449 §4.3, after RFC 3986 §6.2.2 and §6.2.3).
//!
//! It deliberately never makes two places one: what is decoded is only what RFC 3986 calls unreserved, and a path with dots for segments
//! is refused instead of being walked.

/// The address in its one spelling; `None` for one that cannot be a request's: not http or https, with a user, a query, a fragment, a
/// broken escape, or a segment of dots.
pub(super) fn normal(url: &str) -> Option<String> {
    if !url.is_ascii() || url.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'\\') {
        return None;
    }
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.is_empty() || url.contains(['?', '#', '@']) {
        return None;
    }
    let authority = authority.to_ascii_lowercase();
    let authority = authority.strip_suffix(default_port).or(authority.strip_suffix(':')).unwrap_or(&authority);
    let path = if path.is_empty() { "/".to_owned() } else { normal_path(path)? };
    Some(format!("{scheme}://{authority}{path}"))
}

fn normal_path(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let escape = rest.get(at + 1..at + 3)?;
        let byte = u8::from_str_radix(escape, 16).ok().filter(|_| !escape.contains('+'))?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&escape.to_ascii_uppercase());
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    (!out.split('/').any(|segment| matches!(segment, "." | ".."))).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::normal;

    /// Spellings of one place are equal.
    #[test]
    fn spellings() {
        for (url, expected) in [
            ("https://w.example/v1/x", "https://w.example/v1/x"),
            ("HTTPS://W.Example:443/v1/x", "https://w.example/v1/x"),
            ("http://w.example:80", "http://w.example/"),
            ("https://w.example:/", "https://w.example/"),
            ("https://w.example:8443/", "https://w.example:8443/"),
            ("https://w.example/auth0%7ca%2bb", "https://w.example/auth0%7Ca%2Bb"),
            ("https://w.example/%61%7E", "https://w.example/a~"),
            ("https://w.example/A//b/", "https://w.example/A//b/"),
        ] {
            assert_eq!(normal(url).as_deref(), Some(expected), "{url}");
        }
    }

    /// What cannot be a request's address is none, and is equal to nothing.
    #[test]
    fn no_addresses() {
        for url in [
            "",
            "w.example/v1",
            "ftp://w.example/",
            "https:///v1",
            "https://a@w.example/",
            "https://w.example/?q",
            "https://w.example/#f",
            "https://w.example/%",
            "https://w.example/%4",
            "https://w.example/%zz",
            "https://w.example/%+1",
            "https://w.example/a/../b",
            "https://w.example/%2e%2E/b",
            "https://w.example/./",
            "https://w.example/é",
            "https://w.example/a b",
            "https://w.example\\v1",
            "https://w.example/%2é",
        ] {
            assert_eq!(normal(url), None, "{url}");
        }
    }

    /// A slash in a segment never becomes one between segments.
    #[test]
    fn reserved_stays_escaped() {
        assert_ne!(normal("https://w.example/a%2Fb"), normal("https://w.example/a/b"));
        assert_ne!(normal("https://w.example/A"), normal("https://w.example/a"));
    }
}
