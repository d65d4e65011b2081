//! `watchbell worker`: reads events, pushes notifications, until SIGTERM or Ctrl-C.
use std::sync::Arc;

use clap::Args;

use super::frame::{self, Frame};
use super::{ConfigArgs, Failure};
use crate::app::{StartError, Worker, check_topics};
use crate::config::Config;
use crate::telemetry::{Component, Readiness};

/// Read events from Kafka and push notifications until SIGTERM or Ctrl-C.
#[derive(Args)]
pub(super) struct WorkerCommand {
    #[command(flatten)]
    config: ConfigArgs,
}

impl WorkerCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = Arc::new(self.config.load_for_worker()?);
        frame::run(&config, run(Arc::clone(&config)))
    }
}

async fn run(config: Arc<Config>) -> Result<(), Failure> {
    let address = &config.worker.http_listen;
    let mut frame = Frame::open("worker.http_listen", address).await?;
    // A task of its own, because it blocks: a signal must not wait for it.
    let start = tokio::spawn(start(Arc::clone(&config), frame.readiness.clone(), frame.starting.clone()));
    let started = async { start.await.map_err(Failure::internal)?.map_err(Failure::from) };
    let Some(worker) = frame.start(started).await? else { return Ok(()) };
    tracing::info!(http = %address, "the worker runs");

    frame.until_asked(worker.export()).await;
    let drained = worker.stop().await;
    frame.close().await;
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
