//! What operators see: metrics, configuration, texts.
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;

use super::peer::{REFUSED_STREAM, one_connection, pool, request, send, status};
use crate::provider::http2::{Answer, ConnectionId, NotProcessed, PoolConfig, SendError, Unknown};

/// Connections, streams and resends are counted under the pool's name.
#[tokio::test(start_paused = true)]
async fn metrics_tell_what_the_pool_does() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let (pool, mut lines) = metrics::with_local_recorder(&recorder, || pool(one_connection()));
    let (first, _second) = (send(&pool), send(&pool));
    let mut peer = lines.next(100).await;
    let stream = peer.request().await;
    peer.reset(stream, REFUSED_STREAM).await;
    let mut streams = peer.requests_within(Duration::from_secs(1)).await;
    peer.answer(streams.remove(0), 200, b"").await;
    peer.answer(streams.remove(0), 200, b"").await;
    assert_eq!(status(first).await, 200);
    let _third = send(&pool);
    // Gauges are published once a second.
    assert_eq!(peer.requests_within(Duration::from_secs(3)).await.len(), 1);
    let page = recorder.handle().render();
    for line in [
        "watchbell_provider_connections{pool=\"test\",state=\"open\"} 1",
        "watchbell_provider_connections{pool=\"test\",state=\"draining\"} 0",
        "watchbell_provider_connections_opened_total{pool=\"test\"} 1",
        "watchbell_provider_streams_in_flight{pool=\"test\"} 1",
        "watchbell_provider_streams_waiting{pool=\"test\"} 0",
        "watchbell_provider_resends_total{pool=\"test\"} 1",
    ] {
        assert!(page.lines().any(|seen| seen == line), "{line} is missing in\n{page}");
    }
}

/// The defaults have no problem, and each limit that cannot work is told by its key.
#[test]
fn problems_name_their_key() {
    assert!(PoolConfig::default().problems().is_empty());
    let wrong = PoolConfig {
        connections: 0,
        max_streams_per_connection: 0,
        request_timeout_ms: 1,
        queue_timeout_ms: 1,
        connect_timeout_ms: 1,
        backoff_min_ms: 10_000,
        ping_timeout_ms: 60_000,
        response_body_max: 1,
        sick_latency_factor: 0.5,
        ..PoolConfig::default()
    };
    let problems: Vec<_> = wrong.problems().into_iter().collect();
    for key in [
        "connections",
        "max_streams_per_connection",
        "request_timeout_ms",
        "queue_timeout_ms",
        "connect_timeout_ms",
        "backoff_min_ms",
        "ping_timeout_ms",
        "response_body_max",
        "sick_latency_factor",
    ] {
        assert_eq!(
            problems.iter().filter(|told| told.split(' ').next() == Some(key)).count(),
            1,
            "{key}: {problems:?}"
        );
    }
}

/// Neither a request nor an answer prints what it carries: paths hold device tokens, headers credentials, bodies texts.
#[test]
fn requests_and_answers_do_not_print_their_content() {
    let mut request = request().expect("it is wanted");
    request.headers.insert("authorization", http::HeaderValue::from_static("bearer secret-credential"));
    request.path = "/3/device/secret-token".parse().expect("a path");
    request.body = "secret-text".into();
    let answer = Answer {
        status: http::StatusCode::OK,
        headers: request.headers.clone(),
        body: request.body.clone(),
        complete: true,
        connection: ConnectionId(1),
    };
    let printed = format!("{request:?} {answer:?}");
    assert!(!printed.contains("secret"), "{printed}");
}

/// Each error says in words whether the push may have happened.
#[test]
fn errors_speak_to_people() {
    let not_processed = SendError::NotProcessed(NotProcessed::Refused { attempts: 4, last: "REFUSED_STREAM".into() });
    assert_eq!(not_processed.to_string(), "not processed: refused by the peer each of 4 times: REFUSED_STREAM");
    let unknown = SendError::Unknown { cause: Unknown::Timeout, connection: ConnectionId(7) };
    assert_eq!(unknown.to_string(), "handed over on connection #7, fate unknown: no answer in time");
}
