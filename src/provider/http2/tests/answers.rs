//! Answers, failures and their names, limits and time.
use std::time::Duration;

use tokio::time::Instant;

use super::peer::{
    DATA, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM, RST_STREAM, failure, in_seconds, one_connection, pool, pool_after,
    request, send, send_within, status,
};
use crate::provider::http2::{NotProcessed, PoolConfig, SendError, Unknown, WarmUp, exchange::Sending};

/// The answer's status and body come back as the peer sent them.
#[tokio::test(start_paused = true)]
async fn an_answer_carries_status_and_body() {
    let (pool, mut lines) = pool(one_connection());
    let sending = send(&pool);
    let mut peer = lines.next(100).await;
    let stream = peer.request().await;
    peer.answer(stream, 400, br#"{"reason":"BadDeviceToken"}"#).await;
    let answer = sending.await.expect("no panic").expect("an answer");
    assert_eq!(
        (answer.status.as_u16(), &answer.body[..], answer.complete),
        (400, &br#"{"reason":"BadDeviceToken"}"#[..], true)
    );
}

/// A body longer than the limit is cut there, and the status still counts.
#[tokio::test(start_paused = true)]
async fn a_body_is_capped() {
    let (pool, mut lines) = pool(PoolConfig { response_body_max: 256, ..one_connection() });
    let sending = send(&pool);
    let mut peer = lines.next(100).await;
    let stream = peer.request().await;
    peer.head(stream, 503, false).await;
    peer.write(DATA, 0, stream, &[b'x'; 200]).await;
    peer.write(DATA, 0, stream, &[b'y'; 57]).await;
    let answer = sending.await.expect("no panic").expect("an answer");
    assert_eq!((answer.status.as_u16(), answer.body.len(), answer.complete), (503, 256, false));
    assert_eq!(peer.until(RST_STREAM).await.expect("a reset").stream, stream);
}

/// An answer whose body stalls past the time is returned with its status, cut.
#[tokio::test(start_paused = true)]
async fn the_deadline_covers_the_body() {
    let (pool, mut lines) = pool(one_connection());
    let sending = send_within(&pool, 2);
    let mut peer = lines.next(100).await;
    let stream = peer.request().await;
    peer.head(stream, 200, false).await;
    let answer = sending.await.expect("no panic").expect("an answer");
    assert_eq!((answer.status.as_u16(), answer.complete), (200, false));
}

/// A request without an answer ends at its deadline, at most 250 ms late, as unknown, and its stream is reset.
#[tokio::test(start_paused = true)]
async fn a_timeout_is_unknown_and_punctual() {
    let (pool, mut lines) = pool(one_connection());
    let deadline = in_seconds(3);
    let sending = send_within(&pool, 3);
    let mut peer = lines.next(100).await;
    let stream = peer.request().await;
    let error = failure(sending).await;
    assert!(matches!(error, SendError::Unknown { cause: Unknown::Timeout, .. }), "{error}");
    let late = Instant::now().into_std().checked_duration_since(deadline).expect("not early");
    assert!(late <= Duration::from_millis(250), "{late:?} late");
    assert_eq!(peer.until(RST_STREAM).await.expect("a reset").stream, stream);
}

/// A request whose deadline passes before there is a connection was never sent, and says so.
#[tokio::test(start_paused = true)]
async fn a_deadline_before_the_hand_over_is_its_own_error() {
    let (pool, mut lines) = pool_after(2, one_connection(), WarmUp::None);
    let sending = send_within(&pool, 0);
    assert_eq!(failure(sending).await, SendError::Deadline);
    let mut peer = lines.next(100).await;
    assert!(peer.requests_within(Duration::from_secs(1)).await.is_empty());
}

/// Without a connection, a request is given back after the time to wait, with the reason why there is none.
#[tokio::test(start_paused = true)]
async fn no_connection_is_not_processed_and_says_why() {
    let (pool, _lines) = pool_after(usize::MAX, one_connection(), WarmUp::None);
    let error = failure(send(&pool)).await;
    let SendError::NotProcessed(NotProcessed::NoConnection(why)) = error else { panic!("{error}") };
    assert!(why.contains("connection refused by the test"), "{why}");
}

/// What answers take of the connection's window is given back: it never runs dry.
#[tokio::test(start_paused = true)]
async fn bodies_do_not_use_up_the_window() {
    let (pool, mut lines) = pool(one_connection());
    let first = send(&pool);
    let mut peer = lines.next(100).await;
    let stream = peer.request().await;
    peer.answer(stream, 200, &[b'x'; 4_000]).await;
    assert_eq!(status(first).await, 200);
    // Three times the window, complete and cut by turns.
    for round in 0..800 {
        let sent = send(&pool);
        let stream = peer.request().await;
        let body = if round % 2 == 0 { 3_000 } else { 5_000 };
        peer.answer(stream, 200, &vec![b'x'; body]).await;
        let answer = sent.await.expect("no panic").expect("an answer");
        assert_eq!((answer.body.len(), answer.complete), (body.min(4_096), body <= 4_096), "round {round}");
    }
    assert_eq!(pool.stats().open, 1);
}

/// A refused stream was not processed: it is sent again within the process, and the caller sees only the answer.
#[tokio::test(start_paused = true)]
async fn a_refused_stream_is_resent() {
    let (pool, mut lines) = pool(one_connection());
    let sending = send(&pool);
    let mut peer = lines.next(100).await;
    let first = peer.request().await;
    peer.reset(first, REFUSED_STREAM).await;
    let second = peer.request().await;
    assert_ne!(first, second);
    peer.answer(second, 200, b"").await;
    assert_eq!(status(sending).await, 200);
}

/// A request that is refused again and again is given back as not processed, after a bounded number of resends.
#[tokio::test(start_paused = true)]
async fn resends_are_bounded() {
    let (pool, mut lines) = pool(PoolConfig { max_resends: 2, ..one_connection() });
    let sending = send(&pool);
    let mut peer = lines.next(100).await;
    for _ in 0..3 {
        let stream = peer.request().await;
        peer.reset(stream, REFUSED_STREAM).await;
    }
    let error = failure(sending).await;
    assert!(matches!(error, SendError::NotProcessed(NotProcessed::Refused { attempts: 3, .. })), "{error}");
}

/// A reset for any other reason says nothing about processing: unknown, and never resent.
#[tokio::test(start_paused = true)]
async fn another_reset_is_unknown() {
    let (pool, mut lines) = pool(one_connection());
    let sending = send(&pool);
    let mut peer = lines.next(100).await;
    let stream = peer.request().await;
    peer.reset(stream, INTERNAL_ERROR).await;
    let error = failure(sending).await;
    assert!(matches!(error, SendError::Unknown { cause: Unknown::Reset(_), .. }), "{error}");
    assert!(peer.requests_within(Duration::from_secs(30)).await.is_empty());
}

/// After GOAWAY the streams above the last id are sent again elsewhere, and those below get their answer where they are.
#[tokio::test(start_paused = true)]
async fn go_away_resends_exactly_what_was_not_processed() {
    let (pool, mut lines) = pool(one_connection());
    let (first, second) = (send(&pool), send(&pool));
    let mut old = lines.next(100).await;
    let (low, high) = (old.request().await, old.request().await);
    old.go_away(low, NO_ERROR, r#"{"reason":"Shutdown"}"#).await;
    let mut new = lines.next(100).await;
    let again = new.request().await;
    new.answer(again, 201, b"").await;
    old.answer(low, 202, b"").await;
    let mut statuses = [0, 0];
    for (seen, sending) in statuses.iter_mut().zip([first, second]) {
        *seen = status(sending).await;
    }
    statuses.sort_unstable();
    assert_eq!((statuses, high > low), ([201, 202], true));
}

/// The future is small: it is held once for each push in flight.
#[test]
fn the_future_of_a_request_stays_small() {
    fn size<F: Fn() -> Option<crate::provider::http2::Request>>(_: F) -> usize {
        size_of::<Sending<'static, F>>()
    }
    let bytes = size(request);
    assert!(bytes <= 256, "{bytes} bytes");
}
