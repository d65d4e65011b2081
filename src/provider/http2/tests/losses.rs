//! Connections that end: by GOAWAY, by silence, by loss, by our own hand; and how new ones are opened.
use std::time::Duration;

use tokio::time::Instant;

use super::peer::{
    GOAWAY, INTERNAL_ERROR, NO_ERROR, PING, Sent, failure, one_connection, pool, pool_after, send, send_within, status,
};
use crate::provider::http2::{ConnectionId, NotProcessed, Pool, PoolConfig, SendError, Unknown, WarmUp};

const A_WHILE: Duration = Duration::from_secs(1);

async fn lost(sent: Sent) -> ConnectionId {
    match failure(sent).await {
        SendError::Unknown { cause: Unknown::ConnectionLost(_), connection } => connection,
        other => panic!("{other}"),
    }
}

async fn until(what: &str, pool: &Pool, holds: impl Fn(&Pool) -> bool) {
    let ceiling = Instant::now() + Duration::from_secs(600);
    while !holds(pool) {
        assert!(Instant::now() < ceiling, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A connection lost after the hand-over leaves the fate of its requests unknown: none is resent. The next request goes out
/// on a new connection.
#[tokio::test(start_paused = true)]
async fn a_lost_connection_leaves_fates_unknown() {
    let (pool, mut lines) = pool(one_connection());
    let (first, second) = (send(&pool), send(&pool));
    let mut peer = lines.next(100).await;
    assert_eq!(peer.requests_within(A_WHILE).await.len(), 2);
    drop(peer);
    assert_eq!(lost(first).await, lost(second).await);
    let third = send(&pool);
    let mut peer = lines.next(100).await;
    let stream = peer.request().await;
    peer.answer(stream, 200, b"").await;
    assert_eq!(status(third).await, 200);
    assert!(peer.requests_within(A_WHILE).await.is_empty());
}

/// An answer that arrived before the connection was lost still counts.
#[tokio::test(start_paused = true)]
async fn an_answer_before_the_loss_counts() {
    let (pool, mut lines) = pool(one_connection());
    let sent = send(&pool);
    let mut peer = lines.next(100).await;
    let stream = peer.request().await;
    peer.answer(stream, 200, b"").await;
    drop(peer);
    assert_eq!(status(sent).await, 200);
}

/// After GOAWAY no new stream is opened on that connection, even while it finishes what it has.
#[tokio::test(start_paused = true)]
async fn nothing_new_after_go_away() {
    let (pool, mut lines) = pool(one_connection());
    let slow = send(&pool);
    let mut old = lines.next(100).await;
    let slow_stream = old.request().await;
    old.go_away(slow_stream, NO_ERROR, r#"{"reason":"Shutdown"}"#).await;
    let mut new = lines.next(100).await;
    let next = send(&pool);
    let stream = new.request().await;
    new.answer(stream, 200, b"").await;
    assert_eq!(status(next).await, 200);
    assert_eq!((pool.stats().open, pool.stats().draining), (1, 1));
    assert!(old.requests_within(A_WHILE).await.is_empty());
    old.answer(slow_stream, 201, b"").await;
    assert_eq!(status(slow).await, 201);
    until("the drained connection is gone", &pool, |pool| pool.stats().draining == 0).await;
}

/// GOAWAY with an error loses the streams it says it did not process to a resend, and those below its last id to *unknown* when
/// the connection then ends.
#[tokio::test(start_paused = true)]
async fn go_away_with_an_error_and_a_loss() {
    let (pool, mut lines) = pool(one_connection());
    let (first, second) = (send(&pool), send(&pool));
    let mut old = lines.next(100).await;
    let low = old.requests_within(A_WHILE).await[0];
    old.go_away(low, INTERNAL_ERROR, "").await;
    drop(old);
    let mut new = lines.next(100).await;
    let stream = new.request().await;
    new.answer(stream, 200, b"").await;
    let mut fates = [first.await.expect("no panic"), second.await.expect("no panic")];
    fates.sort_by_key(Result::is_err);
    assert_eq!(fates[0].as_ref().expect("resent and answered").status, 200);
    assert!(matches!(fates[1], Err(SendError::Unknown { cause: Unknown::ConnectionLost(_), .. })));
    assert!(new.requests_within(A_WHILE).await.is_empty(), "the other is not resent");
}

/// A silent connection is asked for a sign of life and kept as long as it gives one.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_alive_by_pings() {
    let (pool, mut lines) = pool(one_connection());
    let mut peer = lines.next(100).await;
    assert!(peer.requests_within(Duration::from_secs(600)).await.is_empty());
    assert!(peer.pings >= 5, "{} pings in ten minutes", peer.pings);
    assert_eq!(pool.stats().open, 1);
    assert!(lines.next_within(A_WHILE, 1).await.is_none(), "no second connection was needed");
}

/// A peer that does not answer a PING is dead: its requests are unknown, and a new connection takes its place.
#[tokio::test(start_paused = true)]
async fn an_unanswered_ping_ends_the_connection() {
    let config = PoolConfig { request_timeout_ms: 600_000, ..one_connection() };
    let (pool, mut lines) = pool(config.clone());
    let mut peer = lines.next(100).await;
    peer.answers_pings = false;
    let began = Instant::now();
    let sent = send_within(&pool, 300);
    peer.request().await;
    let reading = tokio::spawn(async move { peer.until(PING).await.map(|_| peer) });
    lost(sent).await;
    let silence = Duration::from_millis(2 * config.ping_interval_ms + config.ping_timeout_ms);
    assert!(began.elapsed() <= silence + A_WHILE, "{:?}", began.elapsed());
    lines.next(100).await;
    assert!(reading.await.expect("no panic").is_some(), "it was asked");
}

/// A timeout makes the pool ask at once, so that a black hole costs one request timeout and one PING timeout, not a PING interval.
#[tokio::test(start_paused = true)]
async fn a_timeout_raises_suspicion_at_once() {
    let config = PoolConfig {
        request_timeout_ms: 2_000,
        ping_interval_ms: 3_600_000,
        ping_timeout_ms: 1_000,
        ..one_connection()
    };
    let (pool, mut lines) = pool(config);
    let mut hole = lines.next(100).await;
    hole.answers_pings = false;
    let began = Instant::now();
    let sent = send(&pool);
    assert!(matches!(failure(sent).await, SendError::Unknown { cause: Unknown::Timeout, .. }));
    let _new = lines.next(100).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// A peer that takes the line and never says a word carries one request at most, and is replaced.
#[tokio::test(start_paused = true)]
async fn a_peer_without_settings_is_replaced() {
    let (pool, mut lines) = pool(one_connection());
    let sent: Vec<_> = (0..5).map(|_| send_within(&pool, 50)).collect();
    let mute = lines.next_mute().await;
    let mut peer = lines.next(100).await;
    drop(mute);
    let fates = futures_util::future::join_all(sent);
    let fates = tokio::join!(fates, async {
        for stream in peer.requests_within(A_WHILE).await {
            peer.answer(stream, 200, b"").await;
        }
    })
    .0;
    let unknown = fates.iter().filter(|fate| matches!(fate, Ok(Err(SendError::Unknown { .. })))).count();
    let given_back = fates.iter().filter(|fate| matches!(fate, Ok(Err(SendError::NotProcessed(_))))).count();
    assert_eq!((unknown, given_back), (1, 4));
}

/// After a failed connect the pauses grow up to the longest, and end with the first success.
#[tokio::test(start_paused = true)]
async fn connects_back_off() {
    let config = PoolConfig { backoff_min_ms: 1_000, backoff_max_ms: 8_000, ..one_connection() };
    let began = Instant::now();
    let (pool, mut lines) = pool_after(6, config, WarmUp::None);
    let _peer = lines.next(100).await;
    // Pauses of 1, 2, 4, 8, 8 and 8 s, each shortened by at most a half, each noticed within two ticks.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(15_500) && took <= Duration::from_millis(31_700), "{took:?}");
    until("open", &pool, |pool| pool.stats().open == 1).await;
}

/// A peer that closes each connection at once is not stormed with new ones.
#[tokio::test(start_paused = true)]
async fn connections_that_die_young_back_off_too() {
    let config = PoolConfig { backoff_min_ms: 1_000, backoff_max_ms: 8_000, ..one_connection() };
    let (_pool, mut lines) = pool(config);
    let (began, mut opened) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(60) {
        if let Some(peer) = lines.next_within(Duration::from_secs(60), 100).await {
            opened += 1;
            drop(peer);
        }
    }
    assert!((7..=20).contains(&opened), "{opened} connections in a minute");
}

/// A credential that is refused on every connection does not lead to a storm of new ones, although each is condemned.
#[tokio::test(start_paused = true)]
async fn a_refused_credential_is_not_met_with_reconnects() {
    let config = PoolConfig { backoff_min_ms: 1_000, backoff_max_ms: 8_000, ..one_connection() };
    let (pool, mut lines) = pool_after(0, config, WarmUp::OneStreamUntilAccepted);
    tokio::spawn(async move {
        loop {
            if let Ok(answer) = send(&pool).await.expect("no panic") {
                pool.condemn(answer.connection, "403");
            }
        }
    });
    let (began, mut opened) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(60) {
        if let Some(peer) = lines.next_within(Duration::from_secs(60), 100).await {
            opened += 1;
            tokio::spawn(peer.serve(403));
        }
    }
    assert!((7..=20).contains(&opened), "{opened} connections in a minute");
}

/// Connections are opened one after the other, never in a storm.
#[tokio::test(start_paused = true)]
async fn connects_are_spaced() {
    let (_pool, mut lines) = pool(PoolConfig { connections: 5, connect_spacing_ms: 2_000, ..PoolConfig::default() });
    let began = Instant::now();
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(lines.next(100).await);
    }
    assert!(began.elapsed() >= Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(lines.next_within(Duration::from_secs(20), 100).await.is_none(), "and no more than asked for");
}

/// A closing pool takes nothing new, sends away who waits, and lets what is in flight end.
#[tokio::test(start_paused = true)]
async fn closing_drains() {
    let (pool, mut lines) = pool(one_connection());
    let (first, waiting) = (send(&pool), send(&pool));
    let mut peer = lines.next(1).await;
    let stream = peer.request().await;
    let closing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close().await }
    });
    assert_eq!(failure(waiting).await, SendError::NotProcessed(NotProcessed::Closing));
    assert_eq!(failure(send(&pool)).await, SendError::NotProcessed(NotProcessed::Closing));
    assert!(!closing.is_finished());
    peer.answer(stream, 200, b"").await;
    assert_eq!(status(first).await, 200);
    assert!(peer.until(GOAWAY).await.is_some(), "a proper goodbye");
    drop(peer);
    closing.await.expect("no panic");
    assert_eq!(pool.stats().open + pool.stats().draining, 0);
    assert!(lines.next_within(A_WHILE, 1).await.is_none(), "no new connection");
}

/// Closing does not wait for a peer that is no longer there.
#[tokio::test(start_paused = true)]
async fn closing_gives_up_a_dead_path() {
    let config = PoolConfig { request_timeout_ms: 600_000, ping_interval_ms: 3_600_000, ..one_connection() };
    let ping_timeout = Duration::from_millis(config.ping_timeout_ms);
    let (pool, mut lines) = pool(config);
    let sent = send_within(&pool, 600);
    let mut peer = lines.next(100).await;
    peer.request().await;
    let began = Instant::now();
    pool.close().await;
    assert!(began.elapsed() <= ping_timeout + A_WHILE, "{:?}", began.elapsed());
    lost(sent).await;
}

/// Dropping the last clone of a pool closes its connections.
#[tokio::test(start_paused = true)]
async fn a_dropped_pool_closes_its_connections() {
    let (pool, mut lines) = pool(one_connection());
    let mut peer = lines.next(100).await;
    until("open", &pool, |pool| pool.stats().open == 1).await;
    drop(pool);
    assert!(peer.until(GOAWAY).await.is_some());
}
