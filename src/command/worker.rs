//! `watchbell worker`: reads events, pushes notifications, until SIGTERM or Ctrl-C.
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{ConfigArgs, Failure};
use crate::app::{StartError, Worker, check_topics};
use crate::config::Config;
use crate::telemetry::{self, Readiness};

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
        runtime.block_on(run(&config))
    }
}

async fn run(config: &Config) -> Result<(), Failure> {
    // Taken first, so that a signal during the start ends the start's worker in order too.
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::internal)?;
    let recorder = telemetry::recorder::install().map_err(Failure::internal)?;
    let address = &config.worker.http_listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Failure::Unavailable(format!("worker.http_listen: cannot listen on {address}: {error}")))?;
    let readiness = Readiness::default();
    check_topics(config).await?;
    let worker = Worker::start(config, readiness.clone()).await?;
    let closing = CancellationToken::new();
    let until = closing.clone().cancelled_owned();
    let pages = tokio::spawn(telemetry::http::serve(listener, readiness, recorder, worker.export(), until));
    tracing::info!(http = %address, "the worker runs");

    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
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

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Kafka(error) => error.into(),
            StartError::Credentials(_) => Self::Usage(error.to_string()),
            StartError::Store(_) | StartError::Topics(_) => Self::Unavailable(error.to_string()),
            StartError::Texts(_) | StartError::Task(_) => Self::Internal(error.to_string()),
        }
    }
}
