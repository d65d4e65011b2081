//! Everything that goes wrong on purpose, as a client meets it.
use futures_util::FutureExt as _;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::{ONE, TWO, bearer, connect, path, ping, push, received};
use crate::sandbox::Sandbox;
use crate::sandbox::fault::{Fault, Provider, Refusal, RetryAfter, Rule};
use crate::sandbox::testing::{PAYLOAD, Raw, put_numbers, start, within};
use crate::sandbox::wire::frame;

/// Long enough that no test waits for it.
const LONG: Fault = Fault::Latency { ms: 3_600_000, jitter_ms: 0 };

fn once(sandbox: &Sandbox, fault: Fault) {
    assert!(sandbox.add_fault(Rule::always(Provider::Apns, fault).times(1)) > 0);
}

/// A connection that has already sent one good push to `ONE`.
async fn warm(sandbox: &Sandbox, bearer: &str) -> Raw {
    let mut raw = connect(sandbox).await;
    assert_eq!(raw.ask(&push(bearer, &path(ONE)), PAYLOAD).await.status, 200);
    raw
}

/// Last stream, code and debug data of the next GOAWAY.
async fn goaway(raw: &mut Raw) -> (u32, u32, serde_json::Value) {
    let payload = raw.next_of(frame::GOAWAY).await.unwrap().payload;
    let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
    (number(0), number(4), serde_json::from_slice(&payload[8..]).unwrap_or_default())
}

#[tokio::test]
async fn a_refusal_has_the_status_of_its_reason_unless_it_is_told_another() {
    // Reasons of Apple's table, an unknown one, a timestamp, Retry-After in both forms, and bytes that are no JSON.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    let mut raw = warm(&sandbox, &bearer).await;
    let refusal = |reason: &str| Refusal { reason: reason.into(), status: None, timestamp: None, retry_after: None };
    let rows = [
        (refusal("TooManyRequests"), 429, json!({"reason": "TooManyRequests"})),
        (refusal("InternalServerError"), 500, json!({"reason": "InternalServerError"})),
        (refusal("ServiceUnavailable"), 503, json!({"reason": "ServiceUnavailable"})),
        (refusal("Shutdown"), 503, json!({"reason": "Shutdown"})),
        (refusal("IdleTimeout"), 400, json!({"reason": "IdleTimeout"})),
        (refusal("ExpiredProviderToken"), 403, json!({"reason": "ExpiredProviderToken"})),
        (refusal("SomethingNew"), 400, json!({"reason": "SomethingNew"})),
        (Refusal { status: Some(599), ..refusal("SomethingNew") }, 599, json!({"reason": "SomethingNew"})),
        (
            Refusal { timestamp: Some(42), ..refusal("Unregistered") },
            410,
            json!({"reason": "Unregistered", "timestamp": 42}),
        ),
    ];
    for (refusal, status, body) in rows {
        once(&sandbox, Fault::Refuse(refusal.clone()));
        let got = raw.ask(&push(&bearer, &path(ONE)), PAYLOAD).await;
        assert_eq!((got.status, got.json(), got.headers.get("retry-after")), (status, body, None), "{refusal:?}");
    }
    for (after, good) in [(RetryAfter::Seconds(9), "9"), (RetryAfter::Date { date_in_s: 0 }, " GMT")] {
        once(&sandbox, Fault::Refuse(Refusal { retry_after: Some(after), ..refusal("TooManyRequests") }));
        let got = raw.ask(&push(&bearer, &path(ONE)), PAYLOAD).await;
        assert!(got.headers["retry-after"].ends_with(good), "{got:?}");
    }
    let html = Fault::Reply { status: 502, body: "<html>".into(), content_type: "text/html".into(), retry_after: None };
    once(&sandbox, html);
    let got = raw.ask(&push(&bearer, &path(ONE)), PAYLOAD).await;
    assert_eq!(
        (got.status, got.body.as_slice(), got.headers["content-type"].as_str()),
        (502, &b"<html>"[..], "text/html")
    );
    once(&sandbox, Fault::Reply { status: 404, body: String::new(), content_type: String::new(), retry_after: None });
    let got = raw.ask(&push(&bearer, &path(ONE)), PAYLOAD).await;
    assert_eq!((got.status, got.body.len()), (404, 0), "a bare 404");
    assert_eq!(received(&sandbox, ONE), 1);
    assert_eq!(sandbox.apns().refused()[&(599, "SomethingNew".to_owned())], 1);
}

#[tokio::test]
async fn latency_delays_its_request_and_no_other() {
    // A slow push for one device is overtaken by another on the same connection, and accepted only when its time has come.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    let mut raw = warm(&sandbox, &bearer).await;
    let slow = Rule::always(Provider::Apns, Fault::Latency { ms: 300, jitter_ms: 0 }).on(TWO);
    assert!(sandbox.add_fault(slow) > 0);
    let (two, one) = (path(TWO), path(ONE));
    let (late, mut bytes) = raw.request(&push(&bearer, &two), PAYLOAD);
    let (early, more) = raw.request(&push(&bearer, &one), PAYLOAD);
    bytes.extend(more);
    let before = std::time::Instant::now();
    raw.send(&bytes).await;
    assert_eq!(raw.answer().await.unwrap().0, early);
    assert_eq!(received(&sandbox, TWO), 0, "not looked at yet");
    let (stream, got) = raw.answer().await.unwrap();
    assert_eq!((stream, got.status, received(&sandbox, TWO)), (late, 200, 1));
    assert!(before.elapsed() >= std::time::Duration::from_millis(300));
}

#[tokio::test]
async fn a_lossy_goaway_says_why_and_loses_what_waits() {
    // Debug data is Apple's JSON, the last stream id lies below the waiting push, nothing of it is accepted, then it closes.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    let mut raw = warm(&sandbox, &bearer).await;
    assert!(sandbox.add_fault(Rule::always(Provider::Apns, LONG).on(TWO)) > 0);
    let (stream, bytes) = raw.request(&push(&bearer, &path(TWO)), PAYLOAD);
    raw.send(&bytes).await;
    ping(&mut raw).await;
    raw.next_of(frame::PING).await.unwrap();
    assert_eq!(sandbox.goaway(Provider::Apns, Some("Shutdown"), true), 1);
    assert_eq!(goaway(&mut raw).await, (stream - 2, 0, json!({"reason": "Shutdown"})));
    assert_eq!(raw.next().await, None);
    assert_eq!(received(&sandbox, TWO), 0);
}

#[tokio::test]
async fn a_graceful_goaway_answers_what_is_open_and_ignores_what_comes() {
    // The last stream id covers the open push, which is answered; a later stream gets nothing; then the connection closes.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    let mut raw = warm(&sandbox, &bearer).await;
    assert!(sandbox.add_fault(Rule::always(Provider::Apns, Fault::Latency { ms: 200, jitter_ms: 0 }).on(TWO)) > 0);
    let (open, bytes) = raw.request(&push(&bearer, &path(TWO)), PAYLOAD);
    raw.send(&bytes).await;
    ping(&mut raw).await;
    raw.next_of(frame::PING).await.unwrap();
    assert_eq!(sandbox.goaway(Provider::Apns, None, false), 1);
    let (last, code, debug) = goaway(&mut raw).await;
    assert_eq!((last, code, debug), (open, 0, json!(null)));
    let (_, bytes) = raw.request(&push(&bearer, &path(ONE)), PAYLOAD);
    raw.send(&bytes).await;
    let (answered, got) = raw.answer().await.unwrap();
    assert_eq!((answered, got.status), (open, 200));
    assert_eq!(raw.next().await, None);
    assert_eq!((received(&sandbox, ONE), received(&sandbox, TWO)), (1, 1));
}

#[tokio::test]
async fn a_push_may_be_lost_before_or_after_it_was_accepted() {
    // GOAWAY, stream reset and TCP reset, each once before (not recorded) and once after (recorded, unanswered).
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    for accept in [false, true] {
        for fault in [
            Fault::Goaway { reason: Some("ServiceUnavailable".into()), accept },
            Fault::ResetStream { accept },
            Fault::Disconnect { accept },
        ] {
            sandbox.reset();
            let mut raw = warm(&sandbox, &bearer).await;
            once(&sandbox, fault.clone());
            let (stream, bytes) = raw.request(&push(&bearer, &path(TWO)), PAYLOAD);
            raw.send(&bytes).await;
            if matches!(fault, Fault::Goaway { .. }) {
                let (last, _, debug) = goaway(&mut raw).await;
                assert_eq!(last, if accept { stream } else { stream - 2 });
                assert_eq!(debug, json!({"reason": "ServiceUnavailable"}));
                assert_eq!(raw.next().await, None);
            } else if matches!(fault, Fault::ResetStream { .. }) {
                let reset = raw.next_of(frame::RST_STREAM).await.unwrap();
                assert_eq!((reset.head.stream, reset.payload.as_slice()), (stream, &[0, 0, 0, 2][..]));
                assert_eq!(raw.ask(&push(&bearer, &path(ONE)), PAYLOAD).await.status, 200, "the connection lives on");
            } else {
                assert_eq!(raw.next_of(frame::HEADERS).await, None);
            }
            assert_eq!(received(&sandbox, TWO), usize::from(accept), "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_hanging_push_holds_its_stream_until_the_client_gives_it_up() {
    // No answer ever; the stream counts against the limit; the client's reset frees it. With accept the device has the push.
    let sandbox = start(|config| config.apns.stream_limit = 1).await;
    let bearer = bearer(&sandbox);
    let mut raw = warm(&sandbox, &bearer).await;
    once(&sandbox, Fault::Hang { accept: true });
    let (hanging, bytes) = raw.request(&push(&bearer, &path(TWO)), PAYLOAD);
    raw.send(&bytes).await;
    let (second, bytes) = raw.request(&push(&bearer, &path(ONE)), PAYLOAD);
    raw.send(&bytes).await;
    assert_eq!(raw.next_of(frame::RST_STREAM).await.unwrap().head.stream, second);
    let mut reset = Vec::new();
    put_numbers(&mut reset, frame::RST_STREAM, hanging, &[0]);
    raw.send(&reset).await;
    assert_eq!(raw.ask(&push(&bearer, &path(ONE)), PAYLOAD).await.status, 200);
    assert_eq!(received(&sandbox, TWO), 1);
}

#[tokio::test]
async fn a_black_hole_keeps_the_connection_and_says_nothing() {
    // Neither the push nor a PING is answered and nothing closes, while other connections are served.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    let mut raw = warm(&sandbox, &bearer).await;
    raw.next_of(frame::SETTINGS).await.unwrap();
    assert!(sandbox.add_fault(Rule::always(Provider::Apns, Fault::BlackHole).on(TWO)) > 0);
    let (_, bytes) = raw.request(&push(&bearer, &path(TWO)), PAYLOAD);
    raw.send(&bytes).await;
    ping(&mut raw).await;
    let mut other = connect(&sandbox).await;
    for _ in 0..50 {
        assert_eq!(other.ask(&push(&bearer, &path(ONE)), PAYLOAD).await.status, 200);
    }
    assert!(raw.socket.read_u8().now_or_never().is_none(), "still open, still silent");
    assert_eq!(sandbox.connections(Provider::Apns).len(), 2);
    assert_eq!(sandbox.black_hole(Provider::Apns), 2);
    ping(&mut other).await;
    assert_eq!(sandbox.disconnect(Provider::Apns), 2);
    assert_eq!(within(raw.next()).await, None, "a silent connection can still be reset");
    assert_eq!(received(&sandbox, TWO), 0);
}

#[tokio::test]
async fn a_black_hole_ends_when_its_client_leaves() {
    // Whether it left behind data that nobody read or not, the connection is no longer counted as open; one whose client stays is.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    let (quiet, mut talking) = (warm(&sandbox, &bearer).await, warm(&sandbox, &bearer).await);
    let mut staying = warm(&sandbox, &bearer).await;
    assert_eq!(sandbox.black_hole(Provider::Apns), 3);
    for raw in [&mut talking, &mut staying] {
        ping(raw).await;
    }
    drop(quiet);
    drop(talking);
    within(async {
        while sandbox.connections(Provider::Apns).len() > 1 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(staying.socket.read_u8().now_or_never().is_none(), "still open, still silent");
    assert_eq!(sandbox.disconnect(Provider::Apns), 1);
}

#[tokio::test]
async fn pings_may_go_unanswered_while_pushes_are_served() {
    // After the fault the answer to a push comes, and no PING acknowledgement before it.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    let mut raw = warm(&sandbox, &bearer).await;
    let opaque = ping(&mut raw).await;
    assert_eq!(raw.next_of(frame::PING).await.unwrap().payload, opaque);
    once(&sandbox, Fault::IgnorePings);
    assert_eq!(raw.ask(&push(&bearer, &path(ONE)), PAYLOAD).await.status, 200);
    ping(&mut raw).await;
    let (_, bytes) = raw.request(&push(&bearer, &path(ONE)), PAYLOAD);
    raw.send(&bytes).await;
    loop {
        let frame = raw.next().await.unwrap();
        assert_ne!(frame.head.kind, frame::PING);
        if frame.head.kind == frame::HEADERS {
            break;
        }
    }
}

#[tokio::test]
async fn a_wedged_connection_refuses_good_tokens() {
    // By fault or by command: ExpiredProviderToken to everything on this connection, and to nothing on the next.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    let mut raw = warm(&sandbox, &bearer).await;
    once(&sandbox, Fault::Wedge);
    for _ in 0..2 {
        let got = raw.ask(&push(&bearer, &path(ONE)), PAYLOAD).await;
        assert_eq!((got.status, got.reason().as_str()), (403, "ExpiredProviderToken"));
    }
    let mut other = warm(&sandbox, &bearer).await;
    assert_eq!(sandbox.wedge(Provider::Apns), 2);
    assert_eq!(other.ask(&push(&bearer, &path(ONE)), PAYLOAD).await.reason(), "ExpiredProviderToken");
}
