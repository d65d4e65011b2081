//! `watchbell api`: serves the HTTP API, publishes what Kafka is to hear of it, until SIGTERM or Ctrl-C.
use std::sync::{Arc, OnceLock};

use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::stop::Stop;
use super::{ConfigArgs, Failure};
use crate::app::ApiServer;
use crate::config::Config;
use crate::telemetry::{self, Readiness};

/// Serve the HTTP API until SIGTERM or Ctrl-C.
#[derive(Args)]
pub(super) struct ApiCommand {
    #[command(flatten)]
    config: ConfigArgs,
}

impl ApiCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.config.load_for_api()?;
        telemetry::log::init(&config.telemetry).map_err(Failure::internal)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::internal)?;
        let done = runtime.block_on(run(config));
        // What a request began that nobody waits for any more may still be waiting for the store.
        runtime.shutdown_background();
        done
    }
}

/// What the metrics page does before it is rendered; nothing until the API runs.
type Export = Box<dyn Fn() + Send + Sync>;

async fn run(config: Config) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let recorder = telemetry::recorder::install().map_err(Failure::internal)?;
    let telemetry = listen("api.telemetry_listen", &config.api.telemetry_listen).await?;
    let listener = listen("api.http_listen", &config.api.http_listen).await?;
    let address = listener.local_addr().map_err(Failure::internal)?;
    let (readiness, closing) = (Readiness::default(), CancellationToken::new());
    let starting = readiness.component("start");
    let export: Arc<OnceLock<Export>> = Arc::default();
    let scraped = Arc::clone(&export);
    let before_scrape = move || scraped.get().into_iter().for_each(|export| export());
    let until = closing.clone().cancelled_owned();
    let pages = tokio::spawn(telemetry::http::serve(telemetry, readiness.clone(), recorder, before_scrape, until));

    starting.waiting("opening the policy store");
    let server = tokio::select! {
        started = ApiServer::start(&config, listener, &readiness) => started?,
        () = stop.asked() => {
            tracing::info!("ended before the start was through");
            return Ok(());
        }
    };
    export.set(Box::new(server.export())).ok();
    starting.ready();
    tracing::info!(http = %address, "the API is served; /docs explains it");

    stop.asked().await;
    tracing::info!("shutting down: what is in flight may end");
    let drained = server.stop(&starting).await;
    closing.cancel();
    if let Ok(Err(error)) = pages.await {
        tracing::warn!("the telemetry's HTTP side failed: {error}");
    }
    if !drained {
        tracing::warn!("the drain deadline passed; requests in flight got no answer");
    }
    Ok(())
}

async fn listen(key: &str, address: &str) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| Failure::Unavailable(format!("{key}: cannot listen on {address}: {error}")))
}
