//! How many streams: the peer's SETTINGS as they change, the warm-up, the queue, several connections.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::peer::{
    NO_ERROR, Peer, REFUSED_STREAM, ended, failure, in_seconds, one_connection, pool, pool_after, request, send,
    send_within, status,
};
use crate::provider::http2::{NotProcessed, PoolConfig, SendError, WarmUp};

const A_WHILE: Duration = Duration::from_secs(1);

async fn answer_all(peer: &mut Peer, streams: &[u32], status: u16) {
    for &stream in streams {
        peer.answer(stream, status, b"").await;
    }
}

/// No more requests are under way than the peer's SETTINGS allow, and a raised or lowered limit is obeyed at once.
#[tokio::test(start_paused = true)]
async fn the_peers_limit_is_obeyed_as_it_changes() {
    let (pool, mut lines) = pool(one_connection());
    let sent: Vec<_> = (0..40).map(|_| send(&pool)).collect();
    let mut peer = lines.next(3).await;
    let first = peer.requests_within(A_WHILE).await;
    assert_eq!(first.len(), 3);
    peer.announce(10).await;
    let raised = peer.requests_within(A_WHILE).await;
    assert_eq!(raised.len(), 7, "3 were under way, 10 are allowed");
    peer.announce(2).await;
    answer_all(&mut peer, &first, 200).await;
    answer_all(&mut peer, &raised[..5], 200).await;
    assert!(peer.requests_within(A_WHILE).await.is_empty(), "2 are still under way, 2 are allowed");
    answer_all(&mut peer, &raised[5..], 200).await;
    assert_eq!(peer.requests_within(A_WHILE).await.len(), 2);
    drop(sent);
}

/// Our own cap holds where the peer would allow more.
#[tokio::test(start_paused = true)]
async fn our_own_cap_holds() {
    let (pool, mut lines) = pool(PoolConfig { max_streams_per_connection: 5, ..one_connection() });
    let _sent: Vec<_> = (0..20).map(|_| send(&pool)).collect();
    let mut peer = lines.next(1_000).await;
    assert_eq!(peer.requests_within(A_WHILE).await.len(), 5);
}

/// With warm-up there is one request at a time until one was answered with a status that shows that the credential was
/// accepted; a 403, a 429 or a 5xx shows nothing.
#[tokio::test(start_paused = true)]
async fn one_stream_until_the_credential_was_accepted() {
    let config = PoolConfig { queue_timeout_ms: 60_000, ..one_connection() };
    let (pool, mut lines) = pool_after(0, config, WarmUp::OneStreamUntilAccepted);
    let _sent: Vec<_> = (0..20).map(|_| send(&pool)).collect();
    let mut peer = lines.next(1_000).await;
    for shows_nothing in [403, 429, 500, 503] {
        let alone = peer.requests_within(A_WHILE).await;
        assert_eq!(alone.len(), 1, "before {shows_nothing}");
        peer.answer(alone[0], shows_nothing, b"").await;
    }
    let alone = peer.requests_within(A_WHILE).await;
    assert_eq!(alone.len(), 1);
    // The request was wrong, but whoever sent it was let in.
    peer.answer(alone[0], 400, b"").await;
    assert_eq!(peer.requests_within(A_WHILE).await.len(), 15);
}

/// Without warm-up the peer's SETTINGS alone rule, from the moment they arrive.
#[tokio::test(start_paused = true)]
async fn without_warm_up_settings_rule_at_once() {
    let (pool, mut lines) = pool(one_connection());
    let _sent: Vec<_> = (0..20).map(|_| send(&pool)).collect();
    let mut peer = lines.next(1_000).await;
    assert_eq!(peer.requests_within(A_WHILE).await.len(), 20);
}

/// Who waits for a stream gets one in order of arrival.
#[tokio::test(start_paused = true)]
async fn the_queue_is_fair() {
    let (pool, mut lines) = pool(one_connection());
    let (order, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..50 {
        let (pool, order) = (pool.clone(), order.clone());
        tokio::spawn(async move {
            let told = || {
                order.send(number).expect("the test listens");
                request()
            };
            pool.send(told, in_seconds(60)).await
        });
        tokio::task::yield_now().await;
    }
    let serving = tokio::spawn(lines.next(2).await.serve(200));
    let mut seen = Vec::new();
    while seen.len() < 50 {
        seen.push(arrivals.recv().await.expect("another request"));
    }
    assert!(seen.is_sorted(), "{seen:?}");
    drop(pool);
    assert_eq!(ended(serving).await, 50);
}

/// A request that is not wanted any more when its turn comes is not sent, and leaves its turn to the next.
#[tokio::test(start_paused = true)]
async fn what_is_not_wanted_any_more_is_not_sent() {
    let (pool, mut lines) = pool(one_connection());
    let first = send(&pool);
    let mut peer = lines.next(1).await;
    let stream = peer.request().await;
    let wanted = Arc::new(AtomicBool::new(true));
    let unwanted = {
        let (pool, wanted) = (pool.clone(), Arc::clone(&wanted));
        tokio::spawn(async move {
            let told = || wanted.load(Ordering::Relaxed).then(request).flatten();
            pool.send(told, in_seconds(60)).await
        })
    };
    tokio::task::yield_now().await;
    let last = send(&pool);
    wanted.store(false, Ordering::Relaxed);
    peer.answer(stream, 200, b"").await;
    assert_eq!(failure(unwanted).await, SendError::NotProcessed(NotProcessed::Unwanted));
    let stream = peer.request().await;
    peer.answer(stream, 200, b"").await;
    assert_eq!((status(first).await, status(last).await), (200, 200));
    assert!(peer.requests_within(A_WHILE).await.is_empty());
    assert_eq!((pool.stats().in_flight, pool.stats().waiting), (0, 0));
}

/// A request given up while it waits, or on its stream, frees its place for the next.
#[tokio::test(start_paused = true)]
async fn a_dropped_request_frees_its_place() {
    let (pool, mut lines) = pool(one_connection());
    let (first, second, third) = (send(&pool), send(&pool), send(&pool));
    let mut peer = lines.next(1).await;
    peer.request().await;
    second.abort();
    first.abort();
    let stream = peer.request().await;
    peer.answer(stream, 200, b"").await;
    assert_eq!(status(third).await, 200);
    let stats = pool.stats();
    assert_eq!((stats.in_flight, stats.waiting), (0, 0));
}

/// Who waits longer than the time to wait is given back as not processed, because of the load.
#[tokio::test(start_paused = true)]
async fn a_full_pool_gives_back_after_the_time_to_wait() {
    let (pool, mut lines) = pool(PoolConfig { queue_timeout_ms: 2_000, ..one_connection() });
    let (_first, second) = (send(&pool), send(&pool));
    let mut peer = lines.next(1).await;
    peer.request().await;
    assert_eq!(failure(second).await, SendError::NotProcessed(NotProcessed::Busy));
}

/// A deadline that passes in the queue is reported as such: nothing was sent.
#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_queue_is_not_sent() {
    let (pool, mut lines) = pool(one_connection());
    let (_first, second) = (send(&pool), send_within(&pool, 2));
    let mut peer = lines.next(1).await;
    peer.request().await;
    assert_eq!(failure(second).await, SendError::Deadline);
}

/// A burst goes to the connections in turn, so many requests at once that they fill one write.
#[tokio::test(start_paused = true)]
async fn connections_share_the_load() {
    let (pool, mut lines) = pool(PoolConfig { connections: 3, ..PoolConfig::default() });
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(lines.next(100).await);
    }
    tokio::time::sleep(A_WHILE).await;
    let _sent: Vec<_> = (0..48).map(|_| send(&pool)).collect();
    for peer in &mut peers {
        assert_eq!(peer.requests_within(A_WHILE).await.len(), 16);
    }
}

/// Requests one by one spread evenly over the connections.
#[tokio::test(start_paused = true)]
async fn connections_take_turns() {
    let (pool, mut lines) = pool(PoolConfig { connections: 3, ..PoolConfig::default() });
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(lines.next(100).await);
    }
    let mut sent = Vec::new();
    for _ in 0..9 {
        tokio::time::sleep(A_WHILE).await;
        sent.push(send(&pool));
    }
    for peer in &mut peers {
        assert_eq!(peer.requests_within(A_WHILE).await.len(), 3);
    }
}

/// A resend on another connection takes another, even when it must wait for it; with one connection it takes that.
#[tokio::test(start_paused = true)]
async fn a_resend_can_avoid_a_connection() {
    let (pool, mut lines) = pool(PoolConfig { connections: 2, ..PoolConfig::default() });
    let (mut one, mut two) = (lines.next(1).await, lines.next(1).await);
    tokio::time::sleep(A_WHILE).await;
    let first = send(&pool);
    let stream_one = one.request().await;
    let second = send(&pool);
    let stream_two = two.request().await;
    one.answer(stream_one, 500, b"").await;
    let answers = futures_util::future::select(first, second).await;
    let futures_util::future::Either::Left((Ok(Ok(failed)), _)) = answers else { panic!("the first is answered") };
    let again = tokio::spawn({
        let pool = pool.clone();
        async move { pool.send_avoiding(request, in_seconds(60), failed.connection).await }
    });
    assert!(one.requests_within(A_WHILE).await.is_empty(), "the avoided connection is free, and left alone");
    two.answer(stream_two, 200, b"").await;
    let stream = two.request().await;
    two.go_away(0, NO_ERROR, "").await;
    let stream_one = one.request().await;
    assert_eq!(stream, 3, "the second request of that connection");
    one.answer(stream_one, 200, b"").await;
    assert_eq!(status(again).await, 200, "the only one left will do");
}

/// A stream refused because the limit was lowered waits for the new limit instead of being refused again.
#[tokio::test(start_paused = true)]
async fn refusals_after_a_lowered_limit_are_absorbed() {
    let (pool, mut lines) = pool(one_connection());
    let sent: Vec<_> = (0..10).map(|_| send(&pool)).collect();
    let mut peer = lines.next(100).await;
    let streams = peer.requests_within(A_WHILE).await;
    assert_eq!(streams.len(), 10);
    peer.announce(1).await;
    for &stream in &streams[1..] {
        peer.reset(stream, REFUSED_STREAM).await;
    }
    peer.answer(streams[0], 200, b"").await;
    let serving = tokio::spawn(peer.serve(200));
    for sent in sent {
        assert_eq!(status(sent).await, 200);
    }
    drop(pool);
    assert_eq!(ended(serving).await, 9);
}
