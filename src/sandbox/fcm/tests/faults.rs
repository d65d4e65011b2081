//! Quotas, faults, stream limits and HTTP/1.1 at its edges.
use serde_json::{Value, json};

use super::{Sender, data, fcm_code};
use crate::sandbox::config::FcmConfig;
use crate::sandbox::fault::{Fault, Provider, Refusal, RetryAfter, Rule};
use crate::sandbox::testing::{Raw, start, tls, within};

#[tokio::test]
async fn a_projects_quota_is_a_bucket_that_refills() {
    // Two requests a window: refused ones of the window cost nothing, a 400 costs one, the next window is full again.
    let sandbox = start(|config| {
        config.fcm.quota = Some(2);
        config.fcm.quota_window_ms = 300;
    })
    .await;
    let sender = Sender::new(&sandbox);
    let token = sender.access_token().await;
    let good = data("d", json!({}));
    let outcome = async {
        let first = sender.send(&token, &json!({"message": {}})).await.0;
        let second = sender.send(&token, &good).await.0;
        let (third, body) = sender.send(&token, &good).await;
        (first, second, third, fcm_code(&body).map(str::to_owned))
    };
    assert_eq!(outcome.await, (400, 200, 429, Some("QUOTA_EXCEEDED".to_owned())));
    within(async {
        while sender.send(&token, &good).await.0 == 429 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn faults_speak_googles_language() {
    // A refusal by code has that code's HTTP status and body; Retry-After comes as seconds or as a date; raw bytes come raw.
    let sandbox = start(|_| {}).await;
    let sender = Sender::new(&sandbox);
    let token = sender.access_token().await;
    let refuse = |reason: &str, retry_after| {
        Fault::Refuse(Refusal { reason: reason.to_owned(), status: None, timestamp: None, retry_after })
    };
    let ask = |fault: Fault| {
        let id = sandbox.add_fault(Rule::always(Provider::Fcm, fault).times(1));
        assert!(id > 0);
        let request = sender.http.post(sender.url("watchbell-sandbox")).bearer_auth(&token);
        request.json(&data("d", json!({}))).send()
    };
    let rows = [
        ("UNAVAILABLE", 503, "UNAVAILABLE", true),
        ("INTERNAL", 500, "INTERNAL", true),
        ("QUOTA_EXCEEDED", 429, "RESOURCE_EXHAUSTED", true),
        ("UNREGISTERED", 404, "NOT_FOUND", true),
        ("UNAUTHENTICATED", 401, "UNAUTHENTICATED", false),
        ("NOT_FOUND", 404, "NOT_FOUND", false),
        ("NEW_ERROR_OF_2030", 400, "UNKNOWN", true),
    ];
    for (code, http, status, coded) in rows {
        let answer = within(ask(refuse(code, None))).await.unwrap();
        assert_eq!(answer.status().as_u16(), http);
        assert!(answer.headers().get("retry-after").is_none());
        let body: Value = within(answer.json()).await.unwrap();
        assert_eq!((&body["error"]["status"], &body["error"]["code"]), (&json!(status), &json!(http)));
        assert_eq!(fcm_code(&body), coded.then_some(code));
    }
    let seconds = within(ask(refuse("UNAVAILABLE", Some(RetryAfter::Seconds(7))))).await.unwrap();
    assert_eq!(seconds.headers()["retry-after"], "7");
    let date = within(ask(refuse("QUOTA_EXCEEDED", Some(RetryAfter::Date { date_in_s: 90 })))).await.unwrap();
    let date = httpdate::parse_http_date(date.headers()["retry-after"].to_str().unwrap()).unwrap();
    let ahead = date.duration_since(std::time::SystemTime::now()).unwrap().as_secs();
    assert!((30..=90).contains(&ahead), "{ahead}");
    let html = Fault::Reply {
        status: 502,
        body: "<html>Bad Gateway</html>".into(),
        content_type: "text/html".into(),
        retry_after: None,
    };
    let answer = within(ask(html)).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()), (502, "text/html"));
    assert_eq!(within(answer.text()).await.unwrap(), "<html>Bad Gateway</html>");
    assert_eq!(sandbox.fcm().accepted(), 0, "no fault accepted anything");

    let id = sandbox.add_fault(Rule::always(Provider::Oauth, refuse("invalid_grant", None)));
    let assertion = sender.assertion(&sender.header(), &sender.claims());
    assert_eq!(sender.exchange(&assertion).await.1["error"], "invalid_grant");
    assert!(sandbox.remove_fault(id));
    assert_eq!(sender.exchange(&assertion).await.0, 200);
}

#[tokio::test]
async fn one_hundred_streams_and_no_more() {
    // The limit is announced at once, and a stream above it is refused without being looked at.
    let sandbox = start(|config| config.fcm.stream_limit = 3).await;
    let mut raw = Raw::connect(&sandbox, &sandbox.fcm_url()).await;
    let headers = [(":method", "POST"), (":path", "/v1/projects/p/messages:send"), (":scheme", "https")];
    let mut streams = Vec::new();
    for _ in 0..4 {
        // Headers alone: the request stays open.
        let (stream, bytes) = raw.request(&headers, b"{}");
        let length = usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        raw.send(&bytes[..9 + length]).await;
        streams.push(stream);
    }
    let reset = raw.next_of(crate::sandbox::wire::frame::RST_STREAM).await.unwrap();
    assert_eq!(
        (reset.head.stream, reset.payload.as_slice(), raw.limits.as_slice()),
        (streams[3], &[0, 0, 0, 7][..], &[3][..])
    );
    assert_eq!(FcmConfig::default().stream_limit, 100);
}

#[tokio::test]
async fn http_1_requests_may_come_in_chunks_and_broken_ones_end_the_connection() {
    // A chunked body is put together; a request that is none gets 400 and the connection closes.
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let sandbox = start(|_| {}).await;
    let exchange = async |request: &str| {
        let mut socket = within(tls(sandbox.ca_file(), &sandbox.fcm_url(), &["http/1.1"])).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        drop(within(socket.read_to_end(&mut answer)).await);
        String::from_utf8(answer).unwrap()
    };
    let chunked = "POST /token HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
                   7\r\ngrant_t\r\nd\r\nype=password&\r\n0\r\n\r\n";
    let answer = exchange(chunked).await;
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n") && answer.contains("unsupported_grant_type"),
        "{answer}"
    );
    for broken in ["nonsense\r\n\r\n", "POST /token HTTP/1.1\r\ncontent-length: many\r\n\r\n"] {
        assert!(exchange(broken).await.starts_with("HTTP/1.1 400 "), "{broken}");
    }
}

#[tokio::test]
async fn faults_reach_http_1_as_far_as_it_has_them() {
    // Without streams, what cannot be said closes the connection or leaves it silent; accepted or not is as the rule says.
    use futures_util::FutureExt as _;
    let sandbox = start(|_| {}).await;
    let sender = Sender::with(&sandbox, reqwest::Client::builder().http1_only().pool_max_idle_per_host(0));
    let token = sender.access_token().await;
    let send = || {
        let request = sender.http.post(sender.url("watchbell-sandbox")).bearer_auth(&token);
        request.json(&data("d", json!({}))).send()
    };
    let received = || sandbox.fcm().registration("d").map_or(0, |device| device.received.len());
    let mut want = 0;
    for accept in [false, true] {
        for fault in [
            Fault::Disconnect { accept },
            Fault::ResetStream { accept },
            Fault::Goaway { reason: Some("x".into()), accept },
        ] {
            assert!(sandbox.add_fault(Rule::always(Provider::Fcm, fault.clone()).times(1)) > 0);
            assert!(within(send()).await.is_err(), "{fault:?}");
            want += usize::from(accept);
            assert_eq!(received(), want, "{fault:?}");
        }
    }
    for fault in [Fault::Hang { accept: false }, Fault::BlackHole] {
        assert!(sandbox.add_fault(Rule::always(Provider::Fcm, fault.clone()).times(1)) > 0);
        let mut silent = Box::pin(send());
        within(async {
            while !sandbox.shared.faults.list().is_empty() {
                assert!((&mut silent).now_or_never().is_none());
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        })
        .await;
        assert_eq!(within(send()).await.unwrap().status(), 200, "others are served");
        want += 1;
        assert!((&mut silent).now_or_never().is_none(), "{fault:?}");
        drop(silent);
        within(async {
            while !sandbox.connections(Provider::Fcm).is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        })
        .await;
    }
    assert!(sandbox.add_fault(Rule::always(Provider::Fcm, Fault::Latency { ms: 30, jitter_ms: 0 }).times(1)) > 0);
    let before = std::time::Instant::now();
    assert_eq!(within(send()).await.unwrap().status(), 200);
    assert!(before.elapsed() >= std::time::Duration::from_millis(30));
    assert!(sandbox.add_fault(Rule::always(Provider::Fcm, Fault::Wedge).times(1)) > 0);
    assert_eq!(within(send()).await.unwrap().status(), 401);
    assert_eq!(received(), want + 1);
}
