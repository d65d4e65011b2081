//! Concurrent streams: one until a good token, more after it, changed while the connection runs.
use super::{ONE, TWO, bearer, connect, path, ping, push, received};
use crate::sandbox::apns::inbox::{DeviceSettings, TokenState};
use crate::sandbox::fault::{Fault, Provider, Refusal, Rule};
use crate::sandbox::testing::{H2, PAYLOAD, Raw, TOPIC, put_numbers, start, token, within};
use crate::sandbox::wire::frame;

/// Opens a stream whose body never ends.
async fn open(raw: &mut Raw, headers: &[(&str, &str)]) -> u32 {
    let (stream, bytes) = raw.request(headers, PAYLOAD);
    let length = usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
    raw.send(&bytes[..frame::HEAD + length]).await;
    stream
}

async fn refused(raw: &mut Raw) -> (u32, u32) {
    let reset = raw.next_of(frame::RST_STREAM).await.unwrap();
    (reset.head.stream, u32::from_be_bytes(reset.payload.try_into().unwrap()))
}

#[tokio::test]
async fn one_stream_until_a_good_token_was_answered() {
    // Apple: one stream at first; a bad token does not raise the limit, a good one does, even if its push is refused.
    let sandbox = start(|config| config.apns.wedge_on_expired = false).await;
    let (good, old) = (bearer(&sandbox), format!("bearer {}", token(&sandbox, 0, 4_000)));
    let (one, two) = (path(ONE), path(TWO));
    let mut raw = connect(&sandbox).await;
    let first = open(&mut raw, &push(&good, &one)).await;
    let second = open(&mut raw, &push(&good, &two)).await;
    assert_eq!(refused(&mut raw).await, (second, frame::Code::RefusedStream as u32));
    assert_eq!(raw.limits, [1]);
    let mut end = Vec::new();
    put_numbers(&mut end, frame::RST_STREAM, first, &[0]);
    raw.send(&end).await;
    assert_eq!(raw.ask(&push(&old, &one), PAYLOAD).await.reason(), "ExpiredProviderToken");
    ping(&mut raw).await;
    raw.next_of(frame::PING).await.unwrap();
    assert_eq!(raw.limits, [1], "an expired token raises nothing");
    assert_eq!(raw.ask(&push(&good, &one), b"").await.reason(), "PayloadEmpty");
    raw.next_of(frame::SETTINGS).await.unwrap();
    assert_eq!(raw.limits, [1, 1_000]);
    assert_eq!(received(&sandbox, TWO), 0);
}

#[tokio::test]
async fn the_limit_changes_while_the_connection_runs() {
    // A lower limit is announced by SETTINGS and holds at once; new connections rise to it; a fault can set it for one.
    let sandbox = start(|_| {}).await;
    let (bearer, one) = (bearer(&sandbox), path(ONE));
    let mut raw = connect(&sandbox).await;
    raw.ask(&push(&bearer, &one), PAYLOAD).await;
    raw.next_of(frame::SETTINGS).await.unwrap();
    assert_eq!(sandbox.set_stream_limit(Provider::Apns, 2), 1);
    raw.next_of(frame::SETTINGS).await.unwrap();
    assert_eq!(raw.limits, [1, 1_000, 2]);
    for _ in 0..2 {
        open(&mut raw, &push(&bearer, &one)).await;
    }
    let third = open(&mut raw, &push(&bearer, &one)).await;
    assert_eq!(refused(&mut raw).await.0, third);

    let mut later = connect(&sandbox).await;
    later.ask(&push(&bearer, &one), PAYLOAD).await;
    later.next_of(frame::SETTINGS).await.unwrap();
    assert_eq!(later.limits, [1, 2]);
    let rule = Rule::always(Provider::Apns, Fault::StreamLimit { streams: 7 }).times(1);
    assert!(sandbox.add_fault(rule) > 0);
    assert_eq!(later.ask(&push(&bearer, &one), PAYLOAD).await.status, 200);
    later.next_of(frame::SETTINGS).await.unwrap();
    assert_eq!(later.limits, [1, 2, 7]);
}

#[tokio::test]
async fn a_4xx_cuts_the_limit_until_the_next_accepted_push() {
    // What the sender did wrong puts the connection back to one stream, an accepted push frees it. A device that left, and what went
    // wrong at Apple, change nothing.
    let sandbox = start(|_| {}).await;
    let gone = TokenState::Unregistered { timestamp: 1 };
    sandbox.apns().set_device(TWO, DeviceSettings { state: gone, ..DeviceSettings::default() });
    let bearer = bearer(&sandbox);
    let mut raw = connect(&sandbox).await;
    let mut ask = async |device: &str, body: &[u8], status: u16, limits: &[u32]| {
        assert_eq!(raw.ask(&push(&bearer, &path(device)), body).await.status, status);
        // A PING's answer comes after what was announced.
        ping(&mut raw).await;
        raw.next_of(frame::PING).await.unwrap();
        assert_eq!(raw.limits, limits, "after {status}");
    };
    ask(ONE, PAYLOAD, 200, &[1, 1_000]).await;
    ask(TWO, PAYLOAD, 410, &[1, 1_000]).await;
    let unavailable = Refusal { reason: "ServiceUnavailable".into(), status: None, timestamp: None, retry_after: None };
    sandbox.add_fault(Rule::always(Provider::Apns, Fault::Refuse(unavailable)).times(1));
    ask(ONE, PAYLOAD, 503, &[1, 1_000]).await;
    ask(ONE, b"", 400, &[1, 1_000, 1]).await;
    ask(ONE, PAYLOAD, 200, &[1, 1_000, 1, 1_000]).await;
}

#[tokio::test]
async fn many_errors_end_a_connection() {
    // Four in a row are too many here; an accepted push begins the count anew, a bad device token counts twice, one that left not at all.
    let sandbox = start(|config| config.apns.errors_until_goaway = 4).await;
    let gone = TokenState::Unregistered { timestamp: 1 };
    sandbox.apns().set_device(TWO, DeviceSettings { state: gone, ..DeviceSettings::default() });
    let bearer = bearer(&sandbox);
    let mut raw = connect(&sandbox).await;
    let mut statuses = Vec::new();
    let asked = [(ONE, &b""[..]); 3].into_iter().chain([(ONE, PAYLOAD), (ONE, b""), (ONE, b"")]);
    for (device, body) in asked.chain([(TWO, PAYLOAD); 5]) {
        statuses.push(raw.ask(&push(&bearer, &path(device)), body).await.status);
    }
    assert_eq!(statuses, [400, 400, 400, 200, 400, 400, 410, 410, 410, 410, 410]);
    let bad = DeviceSettings { state: TokenState::Bad, ..DeviceSettings::default() };
    sandbox.apns().set_device(TWO, bad);
    assert_eq!(raw.ask(&push(&bearer, &path(TWO)), PAYLOAD).await.status, 400);
    assert!(raw.next_of(frame::GOAWAY).await.is_some());
}

#[tokio::test]
async fn thousands_of_pushes_in_parallel_arrive_once_each() {
    // Under a client of another make with many streams at once, every push is answered and recorded exactly once.
    let sandbox = start(|_| {}).await;
    let bearer = bearer(&sandbox);
    let h2 = H2::connect(&sandbox, &sandbox.apns_url()).await;
    let uri = format!("{}{}", sandbox.apns_url(), path(ONE));
    let ids: Vec<String> = (0..3_000_u128).map(|n| uuid::Uuid::from_u128(n).to_string()).collect();
    let send = async |id: &String| {
        let sent =
            [("authorization", bearer.as_str()), ("apns-id", id), ("apns-topic", TOPIC), ("apns-collapse-id", id)];
        let got = h2.ask(&uri, &sent, PAYLOAD).await.unwrap();
        assert_eq!((got.status, &got.headers["apns-id"]), (200, id));
    };
    send(&ids[0]).await;
    let rest = ids[1..].iter().map(send);
    within(futures_util::stream::StreamExt::for_each_concurrent(futures_util::stream::iter(rest), 200, |one| one))
        .await;
    let device = sandbox.apns().device(ONE).unwrap();
    assert_eq!((device.received.len(), device.by_apns_id().len(), device.shown.len()), (3_000, 3_000, 3_000));
}
