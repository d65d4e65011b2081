//! Where in a token something stands.
//!
//! A name that begins with `/` is a JSON Pointer (RFC 6901), for claims inside claims: `/realm_access/roles`. Any other is the exact name of
//! a claim at the top, dots, colons and slashes included: `https://example.com/roles`, `cognito:groups`.
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

/// The place of one claim.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Claim {
    name: Arc<str>,
    /// The pointer's parts; a single one for a claim at the top.
    path: Box<[String]>,
}

impl Claim {
    /// What is wrong with the name, as the end of a sentence that begins with its key.
    pub(super) fn new(name: &str) -> Result<Self, &'static str> {
        if name.is_empty() {
            return Err("is empty; name a claim, or its path such as /realm_access/roles");
        }
        let path = match name.strip_prefix('/') {
            None => vec![name.to_owned()],
            Some(pointer) => pointer.split('/').map(part).collect::<Option<_>>().ok_or(
                "is no JSON Pointer: write ~0 for a tilde and ~1 for a slash within a name, such as /resource_access/my~1client/roles",
            )?,
        };
        Ok(Self { name: name.into(), path: path.into() })
    }

    /// As it was configured.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What stands there; null is nothing.
    pub(super) fn of<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.path.split_first()?;
        let value = rest.iter().try_fold(claims.get(first)?, |value, part| value.as_object()?.get(part))?;
        (!value.is_null()).then_some(value)
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Undoes the escapes of one part; `None` if a tilde escapes nothing.
fn part(text: &str) -> Option<String> {
    let mut pieces = text.split('~');
    let mut part = pieces.next()?.to_owned();
    for piece in pieces {
        part.push(match piece.chars().next()? {
            '0' => '~',
            '1' => '/',
            _ => return None,
        });
        part.push_str(&piece[1..]);
    }
    Some(part)
}

/// One text, or a list of texts.
pub(super) fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_a_name_or_a_path() {
        // Names may look like anything; a pointer goes through objects only, with the two escapes of RFC 6901.
        let claims = json!({
            "sub": "u", "a.b": 1, "https://x.example/roles": 2, "cognito:groups": 3, "": 4, "nothing": null,
            "a": { "b": 5, "c/d": { "e~f": 6 }, "": 7 }, "list": [8],
        });
        let claims = claims.as_object().unwrap();
        let rows = [
            ("sub", Some(json!("u"))),
            ("a.b", Some(json!(1))),
            ("https://x.example/roles", Some(json!(2))),
            ("cognito:groups", Some(json!(3))),
            ("/", Some(json!(4))),
            ("/sub", Some(json!("u"))),
            ("/a/b", Some(json!(5))),
            ("/a/c~1d/e~0f", Some(json!(6))),
            ("/a/", Some(json!(7))),
            ("/a.b", Some(json!(1))),
            ("a/b", None),
            ("nothing", None),
            ("/list/0", None),
            ("/sub/u", None),
            ("/a/b/c", None),
        ];
        for (name, expected) in rows {
            assert_eq!(Claim::new(name).unwrap().of(claims), expected.as_ref(), "{name}");
        }
        for wrong in ["", "/a~", "/a~2b", "/a/~"] {
            assert!(Claim::new(wrong).is_err(), "{wrong}");
        }
    }
}
