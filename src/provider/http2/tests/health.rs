//! Sick connections: found, taken out of service, drained and replaced.
use std::{collections::VecDeque, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::peer::{Lines, NO_ERROR, Peer, ended, one_connection, pool, pool_after, send, send_within, status};
use crate::provider::http2::{Pool, PoolConfig, WarmUp};

const A_WHILE: Duration = Duration::from_secs(1);

/// Answers each request after this delay, until the line closes.
async fn serve_slowly(mut peer: Peer, delay: Duration) {
    let mut due: VecDeque<(Instant, u32)> = VecDeque::new();
    loop {
        let next = due.front().map_or_else(|| Instant::now() + Duration::from_secs(3_600), |&(when, _)| when);
        // Nothing is lost when reading is cut off: the paused clock moves only when all that was written has been read.
        match timeout_at(next, peer.maybe_request()).await {
            Ok(Some(stream)) => due.push_back((Instant::now() + delay, stream)),
            Ok(None) => return,
            Err(_) => {
                if let Some((_, stream)) = due.pop_front() {
                    peer.answer(stream, 200, b"").await;
                }
            }
        }
    }
}

async fn keep_busy(pool: Pool, seconds: u64) {
    for _ in 0..seconds * 10 {
        drop(send_within(&pool, 30));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A connection that answers far more slowly than its siblings is replaced; the siblings stay.
#[tokio::test(start_paused = true)]
async fn a_slow_connection_is_replaced() {
    let config = PoolConfig { connections: 3, request_timeout_ms: 30_000, ..PoolConfig::default() };
    let (pool, mut lines) = pool(config);
    tokio::spawn(serve_slowly(lines.next(100).await, Duration::from_millis(20)));
    tokio::spawn(serve_slowly(lines.next(100).await, Duration::from_millis(20)));
    let slow = tokio::spawn(serve_slowly(lines.next(100).await, Duration::from_secs(3)));
    tokio::spawn(keep_busy(pool.clone(), 600));
    let replacement = lines.next_within(Duration::from_secs(500), 100).await.expect("a replacement");
    tokio::spawn(serve_slowly(replacement, Duration::from_millis(20)));
    // It is closed, after what it had in flight.
    ended(slow).await;
    assert!(lines.next_within(Duration::from_secs(60), 100).await.is_none(), "the siblings stay");
}

/// When all connections are slow, none is sick: the provider is, and reconnecting would not help.
#[tokio::test(start_paused = true)]
async fn a_slow_provider_is_not_met_with_reconnects() {
    let config = PoolConfig { connections: 3, request_timeout_ms: 30_000, ..PoolConfig::default() };
    let (pool, mut lines) = pool(config);
    for _ in 0..3 {
        tokio::spawn(serve_slowly(lines.next(100).await, Duration::from_secs(3)));
    }
    tokio::spawn(keep_busy(pool.clone(), 300));
    assert!(lines.next_within(Duration::from_secs(300), 100).await.is_none());
}

/// A peer that keeps an accepted connection at one stream is replaced, but no more often than the interval allows.
#[tokio::test(start_paused = true)]
async fn a_connection_kept_at_one_stream_is_replaced() {
    let config = PoolConfig { replace_interval_ms: 20_000, ..one_connection() };
    let (pool, mut lines) = pool_after(0, config, WarmUp::OneStreamUntilAccepted);
    tokio::spawn(keep_busy(pool.clone(), 100));
    let mut opened = 0;
    let end = Instant::now() + Duration::from_secs(100);
    while let Some(peer) = lines.next_within(end.saturating_duration_since(Instant::now()), 1).await {
        opened += 1;
        tokio::spawn(peer.serve(200));
    }
    assert!((3..=6).contains(&opened), "{opened} connections in 100 s");
}

async fn first_connection(pool: &Pool, lines: &mut Lines) -> (Peer, crate::provider::http2::ConnectionId) {
    let sent = send(pool);
    let mut peer = lines.next(100).await;
    let stream = peer.request().await;
    peer.answer(stream, 403, b"").await;
    (peer, sent.await.expect("no panic").expect("an answer").connection)
}

/// A condemned connection takes nothing new, finishes what it has, says goodbye, and is replaced.
#[tokio::test(start_paused = true)]
async fn a_condemned_connection_drains_and_is_replaced() {
    let (pool, mut lines) = pool(one_connection());
    let (mut wedged, id) = first_connection(&pool, &mut lines).await;
    let in_flight = send(&pool);
    let stream = wedged.request().await;
    pool.condemn(id, "it answers 403 to every token");
    let next = send(&pool);
    let mut fresh = lines.next(100).await;
    let next_stream = fresh.request().await;
    fresh.answer(next_stream, 200, b"").await;
    assert_eq!(status(next).await, 200);
    wedged.answer(stream, 200, b"").await;
    assert_eq!(status(in_flight).await, 200);
    let goodbye = wedged.until(super::peer::GOAWAY).await.expect("a goodbye");
    assert_eq!(goodbye.payload[4..8], NO_ERROR.to_be_bytes());
}

/// Condemning twice, or one that is gone, changes nothing.
#[tokio::test(start_paused = true)]
async fn condemning_is_idempotent() {
    let (pool, mut lines) = pool(one_connection());
    let (peer, id) = first_connection(&pool, &mut lines).await;
    pool.condemn(id, "once");
    drop(peer);
    let _fresh = lines.next(100).await;
    tokio::time::sleep(A_WHILE).await;
    pool.condemn(id, "twice");
    assert_eq!(pool.stats().open, 1);
}

/// Thousands of timeouts, and the answers that come too late, do not cost the connection; not even when they are more than it
/// remembers (10,000).
#[tokio::test(start_paused = true)]
async fn late_answers_do_not_kill_the_connection() {
    let config = PoolConfig { max_streams_per_connection: 20_000, request_timeout_ms: 1_000, ..one_connection() };
    let (pool, mut lines) = pool(config);
    let sent: Vec<_> = (0..11_500).map(|_| send(&pool)).collect();
    let mut peer = lines.next(20_000).await;
    let streams = peer.requests_within(Duration::from_millis(900)).await;
    assert_eq!(streams.len(), 11_500);
    for sent in sent {
        sent.await.expect("no panic").expect_err("no answer in time");
    }
    for stream in streams {
        peer.answer(stream, 200, b"").await;
    }
    let sent = send(&pool);
    let stream = peer.request().await;
    peer.answer(stream, 200, b"").await;
    assert_eq!(status(sent).await, 200);
}
