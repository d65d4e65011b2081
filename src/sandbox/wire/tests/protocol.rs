//! The protocol itself: what a client may send, and what ends its connection.
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{ONE, TWO, bearer, connect, path, ping, push, received};
use crate::sandbox::fault::{Fault, Provider, Rule};
use crate::sandbox::testing::{H2, PAYLOAD, TOPIC, put_head, put_literal, put_numbers, start, tls, within};
use crate::sandbox::wire::frame;

#[tokio::test]
async fn a_request_may_come_in_any_legal_shape() {
    // Padding, priority, CONTINUATION, split data, trailers, unknown frames and bytes one by one all make the same push.
    let sandbox = start(|_| {}).await;
    let (bearer, one) = (bearer(&sandbox), path(ONE));
    let mut raw = connect(&sandbox).await;
    let mut block = Vec::new();
    for (name, value) in push(&bearer, &one) {
        put_literal(&mut block, name, value);
    }
    let (front, back) = block.split_at(100);
    let mut out = Vec::new();
    put_head(&mut out, 4, 0x77, 0xff, 0);
    out.extend_from_slice(b"what");
    put_head(&mut out, 5, 2, 0, 3);
    out.extend_from_slice(&[0, 0, 0, 0, 15]);
    put_head(&mut out, 1 + 5 + front.len() + 3, frame::HEADERS, frame::PADDED | frame::WITH_PRIORITY, 1);
    out.extend_from_slice(&[3, 0, 0, 0, 0, 15]);
    out.extend_from_slice(front);
    out.extend_from_slice(&[0; 3]);
    put_head(&mut out, back.len(), frame::CONTINUATION, frame::END_HEADERS, 1);
    out.extend_from_slice(back);
    let (start_of_body, rest) = PAYLOAD.split_at(10);
    put_head(&mut out, 10, frame::DATA, 0, 1);
    out.extend_from_slice(start_of_body);
    put_head(&mut out, 1 + rest.len() + 2, frame::DATA, frame::PADDED, 1);
    out.push(2);
    out.extend_from_slice(rest);
    out.extend_from_slice(&[0; 2]);
    let mut trailer = Vec::new();
    put_literal(&mut trailer, "x-checksum", "1");
    put_head(&mut out, trailer.len(), frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, 1);
    out.extend_from_slice(&trailer);
    for byte in &out {
        raw.send(std::slice::from_ref(byte)).await;
    }
    assert_eq!(raw.answer().await.unwrap().1.status, 200);
    assert_eq!(sandbox.apns().device(ONE).unwrap().received[0].payload_bytes, PAYLOAD.len());
}

#[tokio::test]
async fn a_breach_of_the_protocol_ends_the_connection_with_its_code() {
    // RFC 9113's connection errors: GOAWAY with the code, then the end; other connections do not notice.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    let frame_of = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let mut out = Vec::new();
        put_head(&mut out, payload.len(), kind, flags, stream);
        out.extend_from_slice(payload);
        out
    };
    let end = frame::END_HEADERS | frame::END_STREAM;
    let mut too_long = Vec::new();
    put_head(&mut too_long, frame::MAX_FRAME + 1, frame::DATA, 0, 1);
    let rows = [
        ("headers on an even stream", frame_of(frame::HEADERS, end, 2, &[0x82]), frame::Code::Protocol),
        ("data on a stream never opened", frame_of(frame::DATA, 0, 9, b"x"), frame::Code::Protocol),
        ("an index beyond the table", frame_of(frame::HEADERS, end, 1, &[0xff, 0x7f]), frame::Code::Compression),
        ("a frame beyond the limit", too_long, frame::Code::FrameSize),
        ("settings of five bytes", frame_of(frame::SETTINGS, 0, 0, b"12345"), frame::Code::FrameSize),
        ("a ping of seven bytes", frame_of(frame::PING, 0, 0, b"1234567"), frame::Code::FrameSize),
        ("a push promise", frame_of(frame::PUSH_PROMISE, 0, 1, b"1234"), frame::Code::Protocol),
        ("a continuation of nothing", frame_of(frame::CONTINUATION, 0, 1, b""), frame::Code::Protocol),
        (
            "padding longer than the frame",
            frame_of(frame::HEADERS, end | frame::PADDED, 1, &[9, 1]),
            frame::Code::Protocol,
        ),
        ("an open window of zero", frame_of(frame::WINDOW_UPDATE, 0, 0, &[0; 4]), frame::Code::Protocol),
        (
            "a frame between headers and continuation",
            [frame_of(frame::HEADERS, 0, 1, &[0x82]), frame_of(frame::PING, 0, 0, &[0; 8])].concat(),
            frame::Code::Protocol,
        ),
        (
            "a stream used twice",
            [frame_of(frame::HEADERS, end, 1, &[0x82]), frame_of(frame::HEADERS, end, 1, &[0x82])].concat(),
            frame::Code::StreamClosed,
        ),
    ];
    let mut witness = connect(&sandbox).await;
    for (what, bytes, code) in rows {
        let mut raw = connect(&sandbox).await;
        raw.send(&bytes).await;
        let goaway = raw.next_of(frame::GOAWAY).await.expect(what);
        assert_eq!(goaway.payload[4..8], (code as u32).to_be_bytes(), "{what}");
        assert_eq!(raw.next().await, None, "{what}");
    }
    assert_eq!(witness.ask(&push(&bearer, &path(ONE)), PAYLOAD).await.status, 200);
}

#[tokio::test]
async fn what_is_no_http_2_is_closed_without_a_word() {
    // A client that negotiated h2 and then speaks something else.
    let sandbox = start(|_| {}).await;
    let mut socket = within(tls(sandbox.ca_file(), &sandbox.apns_url(), &["h2"])).await.unwrap();
    socket.write_all(b"POST /3/device/aa HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    drop(within(socket.read_to_end(&mut answer)).await);
    assert!(!answer.windows(4).any(|window| window == b"HTTP"), "at most our SETTINGS");
}

#[tokio::test]
async fn http_1_is_refused_by_closing() {
    // A client that offers only HTTP/1.1, or no protocol at all, gets no answer: at Apple the connection drops.
    let sandbox = start(|_| {}).await;
    assert!(within(tls(sandbox.ca_file(), &sandbox.apns_url(), &["http/1.1"])).await.is_err());
    let mut socket = within(tls(sandbox.ca_file(), &sandbox.apns_url(), &[])).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    drop(within(socket.read_to_end(&mut answer)).await);
    assert!(answer.is_empty());
}

#[tokio::test]
async fn a_reset_request_is_forgotten() {
    // A push that waits under latency and is given up by its client is never accepted.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    let mut raw = connect(&sandbox).await;
    raw.ask(&push(&bearer, &path(ONE)), PAYLOAD).await;
    let delay = Fault::Latency { ms: 50, jitter_ms: 0 };
    assert!(sandbox.add_fault(Rule::always(Provider::Apns, delay)) > 0);
    let (stream, mut bytes) = raw.request(&push(&bearer, &path(TWO)), PAYLOAD);
    put_numbers(&mut bytes, frame::RST_STREAM, stream, &[0]);
    raw.send(&bytes).await;
    // A later request, delayed as long, is answered after the first would have been.
    assert_eq!(raw.ask(&push(&bearer, &path(ONE)), PAYLOAD).await.status, 200);
    assert_eq!((received(&sandbox, ONE), received(&sandbox, TWO)), (2, 0));
}

#[tokio::test]
async fn answers_respect_the_clients_windows() {
    // A client whose streams begin with a window of zero gets the body of a refusal only when it opens the window.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    let mut raw = connect(&sandbox).await;
    let mut settings = Vec::new();
    put_head(&mut settings, 6, frame::SETTINGS, 0, 0);
    settings.extend_from_slice(&[0, 4, 0, 0, 0, 0]);
    raw.send(&settings).await;
    let (stream, bytes) = raw.request(&push(&bearer, &path(ONE)), b"");
    raw.send(&bytes).await;
    assert!(!raw.next_of(frame::HEADERS).await.unwrap().head.has(frame::END_STREAM));
    ping(&mut raw).await;
    loop {
        let frame = raw.next().await.unwrap();
        assert_ne!(frame.head.kind, frame::DATA);
        if frame.head.kind == frame::PING {
            break;
        }
    }
    let mut open = Vec::new();
    put_numbers(&mut open, frame::WINDOW_UPDATE, stream, &[100]);
    raw.send(&open).await;
    assert_eq!(raw.next_of(frame::DATA).await.unwrap().payload, br#"{"reason":"PayloadEmpty"}"#);
}

#[tokio::test]
async fn a_huge_body_is_read_and_refused_and_huge_headers_too() {
    // A body beyond every window still gets its 413; a header list beyond the announced size gets 431.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    let h2 = H2::connect(&sandbox, &sandbox.apns_url()).await;
    let uri = format!("{}{}", sandbox.apns_url(), path(ONE));
    let sent = [("authorization", bearer.as_str()), ("apns-topic", TOPIC)];
    let got = h2.ask(&uri, &sent, &vec![b'x'; 300_000]).await.unwrap();
    assert_eq!((got.status, got.reason().as_str()), (413, "PayloadTooLarge"));
    let mut raw = connect(&sandbox).await;
    let large = "x".repeat(9_000);
    let mut headers = push(&bearer, "/3/device/aa");
    headers.push(("x-large", &large));
    assert_eq!(raw.ask(&headers, PAYLOAD).await.status, 431);
    assert_eq!(sandbox.apns().accepted(), 0);
}
