//! `watchbell worker`: reads events, pushes notifications, until SIGTERM or Ctrl-C.
use std::sync::{Arc, OnceLock};

use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::stop::Stop;
use super::{ConfigArgs, Failure};
use crate::app::{StartError, Worker, check_topics};
use crate::config::Config;
use crate::telemetry::{self, Component, Readiness};

/// Read events from Kafka and push notifications until SIGTERM or Ctrl-C.
#[derive(Args)]
pub(super) struct WorkerCommand {
    #[command(flatten)]
    config: ConfigArgs,
}

impl WorkerCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.config.load_for_worker()?;
        telemetry::log::init(&config.telemetry).map_err(Failure::internal)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::internal)?;
        let done = runtime.block_on(run(Arc::new(config)));
        // A start that was given up may still be asking a broker that does not answer.
        runtime.shutdown_background();
        done
    }
}

/// What the metrics page does before it is rendered; nothing until the worker runs.
type Export = Box<dyn Fn() + Send + Sync>;

async fn run(config: Arc<Config>) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let recorder = telemetry::recorder::install().map_err(Failure::internal)?;
    let address = config.worker.http_listen.clone();
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| Failure::Unavailable(format!("worker.http_listen: cannot listen on {address}: {error}")))?;
    // Served from the first moment: an orchestrator that hears nothing kills a worker that only waits for Kafka.
    let (readiness, closing) = (Readiness::default(), CancellationToken::new());
    let starting = readiness.component("start");
    let export: Arc<OnceLock<Export>> = Arc::default();
    let scraped = Arc::clone(&export);
    let before_scrape = move || scraped.get().into_iter().for_each(|export| export());
    let until = closing.clone().cancelled_owned();
    let pages = tokio::spawn(telemetry::http::serve(listener, readiness.clone(), recorder, before_scrape, until));

    // A task of its own, because it blocks: a signal must not wait for it.
    let start = tokio::spawn(start(Arc::clone(&config), readiness, starting.clone()));
    let worker = tokio::select! {
        started = start => started.map_err(Failure::internal)??,
        () = stop.asked() => {
            tracing::info!("ended before the start was through: nothing was read");
            return Ok(());
        }
    };
    export.set(Box::new(worker.export())).ok();
    starting.ready();
    tracing::info!(http = %address, "the worker runs");

    stop.asked().await;
    tracing::info!("shutting down: what is in flight may end");
    let drained = worker.stop().await;
    closing.cancel();
    if let Ok(Err(error)) = pages.await {
        tracing::warn!("the HTTP side failed: {error}");
    }
    if drained {
        tracing::info!("everything in flight came to its end");
    } else {
        tracing::warn!("the drain deadline passed; what had not ended is read again by whoever comes next");
    }
    Ok(())
}

async fn start(config: Arc<Config>, readiness: Readiness, starting: Component) -> Result<Worker, StartError> {
    starting.waiting(format!("asking Kafka ({}) about its topics", config.kafka.bootstrap_servers));
    check_topics(&config).await?;
    starting.waiting("opening the policy store and joining the groups");
    Worker::start(&config, readiness).await
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Kafka(error) => error.into(),
            StartError::Credentials(_) | StartError::SignIn(_) => Self::Usage(error.to_string()),
            StartError::Store(_) | StartError::Topics(_) => Self::Unavailable(error.to_string()),
            StartError::Texts(_) | StartError::Task(_) => Self::Internal(error.to_string()),
        }
    }
}
