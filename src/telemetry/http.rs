//! The worker's HTTP side: `/livez`, `/readyz` and `/metrics`.
//!
//! `/livez` says that the runtime still answers, and no more: a broker or a provider that is away is no reason to kill the process.
//! `/readyz` says 503 and why while any component waits, and from the beginning of a shutdown.
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use super::Readiness;
use super::recorder::keep_up;

/// What the pages show.
#[derive(Clone)]
struct Pages {
    readiness: Readiness,
    metrics: PrometheusHandle,
    before_scrape: Arc<dyn Fn() + Send + Sync>,
}

/// Serves until `shutdown` resolves; then requests that have begun are answered. `before_scrape` runs before the metrics are rendered, for
/// numbers that are only worth publishing when somebody looks. Fails only with the listener.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    metrics: PrometheusHandle,
    before_scrape: impl Fn() + Send + Sync + 'static,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let upkeep = tokio::spawn(keep_up(metrics.clone()));
    let pages = Pages { readiness, metrics, before_scrape: Arc::new(before_scrape) };
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .with_state(pages);
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown).await;
    upkeep.abort();
    served
}

async fn readyz(State(pages): State<Pages>) -> impl IntoResponse {
    let reasons = pages.readiness.reasons();
    if reasons.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
    }
}

async fn render(State(pages): State<Pages>) -> impl IntoResponse {
    (pages.before_scrape)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], pages.metrics.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn page(address: std::net::SocketAddr, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn readiness_and_metrics_follow_the_process() {
        // Not ready until every component is, not ready again with its reason, and the metrics as they are at the scrape.
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let counter = metrics::with_local_recorder(&recorder, || metrics::counter!("watchbell_test_total"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let readiness = Readiness::default();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let scraped = move || counter.increment(1);
        let shutdown = async { stopped.await.unwrap() };
        let served = tokio::spawn(serve(listener, readiness.clone(), recorder.handle(), scraped, shutdown));

        assert_eq!(page(address, "/readyz").await, (503, "starting\n".into()));
        let (kafka, store) = (readiness.component("kafka"), readiness.component("store"));
        store.ready();
        assert_eq!(page(address, "/readyz").await, (503, "kafka: starting\n".into()));
        kafka.ready();
        assert_eq!(page(address, "/readyz").await, (200, "ready\n".into()));
        kafka.waiting("draining");
        assert_eq!(page(address, "/readyz").await, (503, "kafka: draining\n".into()));
        assert_eq!(page(address, "/livez").await, (200, "ok\n".into()));
        assert!(page(address, "/metrics").await.1.contains("watchbell_test_total 1"));
        assert!(page(address, "/metrics").await.1.contains("watchbell_test_total 2"));

        stop.send(()).unwrap();
        served.await.unwrap().unwrap();
    }
}
