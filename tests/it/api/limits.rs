//! What the API does not let through: too much, too often, too slow, unreadable; and what it says then.
use secrecy::ExposeSecret as _;
use serde_json::json;
use sqlx::{Connection as _, Executor as _};
use watchbell::event::NotificationType;
use watchbell::policy::Preference;
use watchbell::store::Policy;

use super::support::Served;
use crate::store_support::{Kind, Place, over_both, person, until};
use crate::support::SOON;

const OTP: &str = "/v1/workspaces/acme/me/preferences/otp_received";

over_both! {
    /// Bodies that are none, of another kind, of another form, too large: each its own word, and none of it said back.
    async fn bodies(policy: Policy) {
        let served = Served::with(policy, |api| api.body_bytes_max = 1_024).await;
        let large = format!("{{\"preference\": \"{}\"}}", "x".repeat(1_024));
        let secret = "{\"preference\": \"hush\"}";
        for (kind, body, status, problem) in [
            ("application/json", "{\"preference\": \"off\"}", 200, ""),
            ("Application/JSON; charset=utf-8", "{\"preference\": \"on\"}", 200, ""),
            ("text/plain", "{\"preference\": \"off\"}", 415, "not-json"),
            ("", "{\"preference\": \"off\"}", 415, "not-json"),
            ("application/json", "{\"preference\":", 400, "unreadable-body"),
            ("application/json", "", 400, "unreadable-body"),
            ("application/json", secret, 422, "wrong-body"),
            ("application/json", "{\"preference\": \"off\", \"hush\": 1}", 422, "wrong-body"),
            ("application/json", "[]", 422, "wrong-body"),
            ("application/json", &large, 413, "body-too-large"),
        ] {
            let call = served.call_as("user", "PUT", OTP).bytes(body);
            let call = if kind.is_empty() { call } else { call.header("content-type", kind) };
            let answer = call.answer().await;
            assert_eq!(answer.status, status, "{kind} {body}: {}", answer.text);
            if status != 200 {
                assert_eq!(answer.problem(), problem, "{body}");
                assert!(!answer.text.contains("hush"), "{}", answer.text);
            }
        }
        // Who is not signed in is told that, and not what their body lacks.
        assert_eq!(served.call("PUT", OTP).bytes("x").answer().await.problem(), "no-token");
    }

    /// One session's calls are bounded, told when to come again, and nobody else waits for them.
    async fn calls_of_one_session(policy: Policy) {
        let served = Served::with(policy, |api| (api.requests_per_minute, api.requests_burst) = (1, 3)).await;
        let session = format!("Bearer {}", served.sandbox.issuer().token("user").unwrap());
        let get = async |path| served.call("GET", path).header("authorization", &session).answer().await;
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(get("/v1/me").await.status);
        }
        assert_eq!(statuses, [200, 200, 200, 429, 429]);
        let refused = get("/v1/workspaces/acme/me/preferences").await;
        assert_eq!((refused.status, refused.problem()), (429, "too-many-requests"));
        assert!((50..=60).contains(&refused.header("retry-after").parse::<u32>().unwrap()), "{:?}", refused.headers);
        assert_eq!(served.get("owner", "/v1/me").await.status, 200);
        // Junk tokens are refused as such, and take nobody's room.
        let junk = served.call("GET", "/v1/me").header("authorization", "Bearer junk").answer().await;
        assert_eq!((junk.status, junk.problem()), (401, "not-a-token"));
        assert!(junk.header("www-authenticate").contains("invalid_token"));
    }

    /// Addresses and methods that there are not; ids of requests; nothing may be loaded or kept.
    async fn addresses_methods_and_headers(policy: Policy) {
        let served = Served::new(policy).await;
        for path in ["/nowhere", "/v1", "/v1/workspaces/acme", "/v2/me", "/docs/../x", "/v1/me/"] {
            assert_eq!(served.get("user", path).await.problem(), "no-such-address", "{path}");
        }
        for path in ["/v1/workspaces/%ff/me/preferences", "/v1/workspaces/acme/users/%ff/devices"] {
            let answer = served.get("user", path).await;
            assert_eq!((answer.status, answer.problem()), (404, "no-such-address"), "{path}: {}", answer.text);
        }
        let answer = served.call_as("user", "PATCH", "/v1/me").answer().await;
        assert_eq!((answer.status, answer.problem(), answer.header("allow")), (405, "no-such-method", "GET,HEAD"));
        assert_eq!(served.call_as("user", "FOO", "/v1/me").status().await, 405);
        assert_eq!(served.call_as("user", "HEAD", "/v1/me").status().await, 200);

        let named = served.call_as("user", "GET", "/v1/me").header("x-request-id", "trace-1").answer().await;
        assert_eq!((named.header("x-request-id"), named.header("cache-control")), ("trace-1", "no-store"));
        let forged = served.call_as("user", "GET", "/v1/me").header("x-request-id", "a b").answer().await;
        assert_eq!(forged.header("x-request-id").len(), 36);
        assert_eq!(named.header("content-security-policy"), "default-src 'none'; frame-ancestors 'none'");
        let tagged = served.get("user", "/v1/workspaces/acme/me/preferences").await;
        assert_eq!(tagged.header("cache-control"), "private, no-cache");
    }

    /// Pages of other origins are refused by browsers unless they are configured; then they are asked for as browsers do.
    async fn pages_of_other_origins(policy: Policy) {
        let preflight = async |served: &Served, origin: &str| {
            let call = served.call("OPTIONS", OTP).header("origin", origin).header("access-control-request-method", "PUT");
            call.header("access-control-request-headers", "authorization,content-type,if-match").answer().await
        };
        let closed = Served::new(policy.clone()).await;
        let refused = preflight(&closed, "https://console.example").await;
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (405, ""));

        let open = Served::with(policy, |api| api.cors_origins = vec!["https://console.example".into()]).await;
        let allowed = preflight(&open, "https://console.example").await;
        assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (200, "https://console.example"));
        for header in ["authorization", "content-type", "if-match"] {
            assert!(allowed.header("access-control-allow-headers").contains(header), "{:?}", allowed.headers);
        }
        assert_eq!(allowed.header("access-control-allow-credentials"), "", "tokens, never cookies");
        assert_eq!(preflight(&open, "https://evil.example").await.header("access-control-allow-origin"), "");
        let call = open.call_as("user", "GET", "/v1/me").header("origin", "https://console.example").answer().await;
        assert!(call.header("access-control-expose-headers").contains("etag"), "{:?}", call.headers);
    }
}

/// Who waits too long is told so, and what they began is done all the same, told to whoever holds a copy.
#[tokio::test(flavor = "multi_thread")]
async fn what_takes_too_long_goes_on_to_its_end() {
    let (place, policy) = Place::open(Kind::Postgres).await;
    let served = Served::with(policy, |api| (api.request_timeout_ms, api.in_flight_max) = (300, 2)).await;
    // The first call also waits for the issuer's keys; on a busy machine it takes its time.
    let on = async || (served.put("user", OTP, json!({"preference": "on"})).await.status == 200).then_some(());
    until("a first change", SOON, on).await;
    let url = place.config.store_url.as_ref().unwrap().expose_secret();
    let mut other = sqlx::PgConnection::connect(url).await.unwrap();
    other.execute("BEGIN; LOCK TABLE users IN EXCLUSIVE MODE").await.unwrap();
    for _ in 0..2 {
        let late = served.put("user", OTP, json!({"preference": "off"})).await;
        assert_eq!((late.status, late.problem()), (503, "took-too-long"));
    }
    // Both still have their room: it is the work that is bounded, not the waiting.
    let busy = served.put("user", OTP, json!({"preference": "off"})).await;
    assert_eq!((busy.status, busy.problem(), busy.header("retry-after")), (503, "busy", "1"));
    other.execute("COMMIT").await.unwrap();
    let jonas = person("acme", "jonas");
    until("the change to be made", SOON, async || {
        let found = served.policy.admin().preferences(&jonas).await.unwrap();
        (found.types[NotificationType::OtpReceived.index()].preference == Preference::Off).then_some(())
    })
    .await;
    until("room again", SOON, async || (served.get("user", "/v1/me").await.status == 200).then_some(())).await;
}

/// A store that cannot be reached is told as such, with when to try again.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone() {
    let (_place, policy) = Place::open(Kind::Sqlite).await;
    let served = Served::new(policy).await;
    served.policy.close().await;
    let answer = served.get("user", "/v1/workspaces/acme/me/preferences").await;
    assert_eq!((answer.status, answer.problem(), answer.header("retry-after")), (503, "store-unavailable", "1"));
    assert_eq!(served.get("user", "/v1/me").await.status, 200, "who one is stands in the token");
}
