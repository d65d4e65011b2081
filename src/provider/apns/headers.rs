//! The headers of a push: all that is constant is prepared, so that a push clones one map and sets three values.
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::payload::Values;
use super::token::{Signer, issued_at};
use crate::event::Timestamp;

static APNS_ID: HeaderName = HeaderName::from_static("apns-id");
static COLLAPSE_ID: HeaderName = HeaderName::from_static("apns-collapse-id");
static EXPIRATION: HeaderName = HeaderName::from_static("apns-expiration");
static PRIORITY: HeaderName = HeaderName::from_static("apns-priority");
static PUSH_TYPE: HeaderName = HeaderName::from_static("apns-push-type");
static TOPIC: HeaderName = HeaderName::from_static("apns-topic");

/// The headers of all apps of one credential, with the token of the moment.
pub(super) struct Headers {
    signer: Signer,
    topics: Box<[HeaderValue]>,
    current: ArcSwap<Prepared>,
}

/// Never printed: it holds the token. The value cannot be marked sensitive, because it belongs into HPACK's table.
struct Prepared {
    issued_at: i64,
    /// By the app's position.
    apps: Box<[HeaderMap]>,
}

impl Headers {
    /// The headers for apps of these bundle ids, in this order; `None` if one of them is no header value.
    pub(super) fn new(signer: Signer, apps: &[String], now: Timestamp) -> Option<Self> {
        let topics: Box<[_]> = apps.iter().map(|app| HeaderValue::from_str(app)).collect::<Result<_, _>>().ok()?;
        let current = ArcSwap::from_pointee(prepare(&signer, &topics, issued_at(now)));
        Some(Self { signer, topics, current })
    }

    /// The headers of one push of the app at that position.
    pub(super) fn of(&self, app: usize, values: Values, now: Timestamp) -> HeaderMap {
        let issued_at = issued_at(now);
        let mut prepared = self.current.load();
        if prepared.issued_at != issued_at {
            // Whoever else does this at the same moment makes the same bytes.
            self.current.store(Arc::new(prepare(&self.signer, &self.topics, issued_at)));
            prepared = self.current.load();
        }
        let mut headers = prepared.apps[app].clone();
        headers.insert(&APNS_ID, values.id);
        headers.insert(&COLLAPSE_ID, values.collapse_id);
        headers.insert(&EXPIRATION, values.expiration);
        headers
    }
}

fn prepare(signer: &Signer, topics: &[HeaderValue], issued_at: i64) -> Prepared {
    // Base64url and ASCII only, so it is a header value.
    let bearer = format!("bearer {}", signer.token(issued_at));
    let bearer = HeaderValue::try_from(bearer).unwrap_or(HeaderValue::from_static(""));
    let of_topic = |topic: &HeaderValue| {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(AUTHORIZATION, bearer.clone());
        headers.insert(&TOPIC, topic.clone());
        headers.insert(&PUSH_TYPE, constant(&a2::PushType::Alert));
        headers.insert(&PRIORITY, constant(&a2::Priority::High));
        for each in [&APNS_ID, &COLLAPSE_ID, &EXPIRATION] {
            headers.insert(each, HeaderValue::from_static(""));
        }
        headers
    };
    Prepared { issued_at, apps: topics.iter().map(of_topic).collect() }
}

/// a2's word for a constant.
fn constant(word: &impl std::fmt::Display) -> HeaderValue {
    HeaderValue::try_from(word.to_string()).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::provider::apns::token::TEST_KEY;
    use crate::provider::fixtures::NOW;

    fn headers(apps: &[&str]) -> Option<Headers> {
        let signer = Signer::new(&TEST_KEY.into(), "ABC123DEFG", "TEAM456789").unwrap();
        Headers::new(signer, &apps.iter().map(|app| (*app).to_owned()).collect::<Vec<_>>(), NOW)
    }

    fn values() -> Values {
        let value = HeaderValue::from_static;
        Values { id: value("1"), collapse_id: value("2"), expiration: value("3") }
    }

    /// A push carries the seven headers that Apple asks for, with the topic of its own app.
    #[test]
    fn seven_headers() {
        let headers = headers(&["com.example.a", "com.example.b"]).unwrap().of(1, values(), NOW);
        let mut named: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        named.sort_unstable();
        let (_, authorization) = named[6];
        let rest = [
            ("apns-collapse-id", "2"),
            ("apns-expiration", "3"),
            ("apns-id", "1"),
            ("apns-priority", "10"),
            ("apns-push-type", "alert"),
            ("apns-topic", "com.example.b"),
        ];
        assert_eq!(named[..6], rest);
        assert!(authorization.starts_with("bearer ey") && !headers[AUTHORIZATION].is_sensitive());
    }

    /// The token changes when the clock passes the grid, not before, and comes back the same when the clock is set back.
    #[test]
    fn token_follows_the_clock() {
        let headers = headers(&["com.example.a"]).unwrap();
        let at = |secs: u64| headers.of(0, values(), NOW.plus(Duration::from_secs(secs)))[AUTHORIZATION].clone();
        let first = at(0);
        assert_eq!(first, at(89));
        let next = at(90);
        assert_ne!(first, next);
        assert_eq!(next, at(2_489));
        assert_ne!(next, at(2_490));
        assert_eq!(first, at(0));
    }

    /// A bundle id that cannot stand in a header is refused.
    #[test]
    fn impossible_topic() {
        assert!(headers(&["com.example\n"]).is_none());
    }
}
