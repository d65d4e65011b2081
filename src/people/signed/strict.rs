//! JSON of a signed text, read strictly: an object whose members stand once each.
//!
//! The point: two readers of one signed text must not see two things. So a member that stands twice is refused wherever it stands, lists
//! are no objects, null is no absence, and what nobody asked for can be found. It fails by `None`; what is wrong helps an attacker only.
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The members of an object, taken one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Members(BTreeMap<String, Json>);

/// What a member can be. Numbers that are no whole ones, lists, truths and null serve nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Json {
    Text(String),
    Whole(i64),
    Object(BTreeMap<String, Json>),
    Other,
}

impl Members {
    /// The object that these bytes are, and nothing besides.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        match serde_json::from_slice(bytes).ok()? {
            Json::Object(members) => Some(Self(members)),
            Json::Text(_) | Json::Whole(_) | Json::Other => None,
        }
    }

    /// Whether a member stands there, whatever it is.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Takes a member that must be a text.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.0.remove(name)? {
            Json::Text(text) => Some(text),
            Json::Whole(_) | Json::Object(_) | Json::Other => None,
        }
    }

    /// Takes a member that may be missing; `None` if it is there and is no text.
    pub(super) fn maybe_text(&mut self, name: &str) -> Option<Option<String>> {
        if self.has(name) { self.text(name).map(Some) } else { Some(None) }
    }

    /// Takes a member that must be a whole number.
    pub(super) fn whole(&mut self, name: &str) -> Option<i64> {
        match self.0.remove(name)? {
            Json::Whole(number) => Some(number),
            Json::Text(_) | Json::Object(_) | Json::Other => None,
        }
    }

    /// Takes a member that must be an object.
    pub(super) fn object(&mut self, name: &str) -> Option<Self> {
        match self.0.remove(name)? {
            Json::Object(members) => Some(Self(members)),
            Json::Text(_) | Json::Whole(_) | Json::Other => None,
        }
    }

    /// Nothing, if all was taken.
    pub(super) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_str<E>(self, text: &str) -> Result<Json, E> {
                Ok(Json::Text(text.to_owned()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
                Ok(Json::Whole(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
                Ok(i64::try_from(number).map_or(Json::Other, Json::Whole))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
                // Read to its end, and strictly: what stands in it may not stand twice either.
                while list.next_element::<Json>()?.is_some() {}
                Ok(Json::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut members = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if members.contains_key(&name) {
                        map.next_value::<IgnoredAny>()?;
                        return Err(de::Error::custom("a member stands twice"));
                    }
                    let value = map.next_value()?;
                    members.insert(name, value);
                }
                Ok(Json::Object(members))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Objects with each member once, at any depth, and nothing behind them.
    #[test]
    fn members_stand_once() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
            "[]",
            "1",
            "null",
            r#"{"a":1} x"#,
            r#"{"a":1,}"#,
            "",
            r#"{"a":NaN}"#,
        ] {
            assert_eq!(Members::read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Members::read(b"{\"a\":\"\xff\"}"), None, "not UTF-8");
        let deep = format!("{}1{}", "{\"a\":".repeat(2_000), "}".repeat(2_000));
        assert_eq!(Members::read(deep.as_bytes()), None, "no stack is spent on depth");
    }

    /// A member is what it must be, or it is refused: null, truths and fractions are nothing.
    #[test]
    fn members_are_what_they_must_be() {
        let text = br#" {"t":"x","n":-7,"o":{"t":"y"},"z":null,"f":1.0,"b":true,"big":9223372036854775808} "#;
        let mut members = Members::read(text).unwrap();
        assert_eq!((members.text("t"), members.text("t")), (Some("x".into()), None), "once");
        assert_eq!(members.whole("n"), Some(-7));
        assert_eq!(members.object("o").unwrap().text("t"), Some("y".into()));
        assert!(members.has("z") && !members.has("t"));
        assert_eq!((members.maybe_text("z"), members.maybe_text("z")), (None, Some(None)));
        assert_eq!((members.whole("f"), members.text("b"), members.clone().end()), (None, None, None));
        assert_eq!((members.whole("big"), members.end()), (None, Some(())));
    }
}
