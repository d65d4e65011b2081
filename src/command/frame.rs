//! What is around every role that runs until it is asked to end: its runtime, its pages, its start, its end.
//!
//! The point: pages are served from the first moment, because an orchestrator that hears nothing kills a process that only waits for
//! Kafka; a signal during the start ends it at once; the pages close last, when what was in flight has ended.
//!
//! It deliberately does not know what the role does. It fails where it cannot listen, and as the role's start fails.
use std::sync::{Arc, OnceLock};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Failure;
use super::stop::Stop;
use crate::config::Config;
use crate::telemetry::{self, Component, Readiness};

/// What the metrics page does before it is rendered; nothing until the role runs.
type Export = Box<dyn Fn() + Send + Sync>;

/// The surroundings of one role.
pub(super) struct Frame {
    stop: Stop,
    /// Of the whole process.
    pub(super) readiness: Readiness,
    /// Of the start, and of the end.
    pub(super) starting: Component,
    export: Arc<OnceLock<Export>>,
    closing: CancellationToken,
    pages: JoinHandle<std::io::Result<()>>,
}

/// Runs a role to its end, with its log.
pub(super) fn run(config: &Config, role: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    telemetry::log::init(&config.telemetry).map_err(Failure::internal)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::internal)?;
    let done = runtime.block_on(role);
    // What nobody waits for any more may still be waiting for a broker or the store.
    runtime.shutdown_background();
    done
}

/// Listens at the address that this key has.
pub(super) async fn listen(key: &str, address: &str) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| Failure::Unavailable(format!("{key}: cannot listen on {address}: {error}")))
}

impl Frame {
    /// Hears signals and serves the pages at the address that this key has, from here on.
    pub(super) async fn open(key: &str, address: &str) -> Result<Self, Failure> {
        let stop = Stop::listen()?;
        let recorder = telemetry::recorder::install().map_err(Failure::internal)?;
        let listener = listen(key, address).await?;
        let (readiness, closing) = (Readiness::default(), CancellationToken::new());
        let starting = readiness.component("start");
        let export: Arc<OnceLock<Export>> = Arc::default();
        let scraped = Arc::clone(&export);
        let before_scrape = move || scraped.get().into_iter().for_each(|export| export());
        let until = closing.clone().cancelled_owned();
        let pages = tokio::spawn(telemetry::http::serve(listener, readiness.clone(), recorder, before_scrape, until));
        Ok(Self { stop, readiness, starting, export, closing, pages })
    }

    /// Waits for the role's start; `None` if somebody asks to end before it is through.
    pub(super) async fn start<R, E: Into<Failure>>(
        &mut self,
        start: impl Future<Output = Result<R, E>>,
    ) -> Result<Option<R>, Failure> {
        tokio::select! {
            started = start => started.map(Some).map_err(Into::into),
            () = self.stop.asked() => {
                tracing::info!("ended before the start was through");
                Ok(None)
            }
        }
    }

    /// The role runs: it is ready, and `export` adds its numbers to the metrics. Waits until somebody asks to end.
    pub(super) async fn until_asked(&mut self, export: impl Fn() + Send + Sync + 'static) {
        self.export.set(Box::new(export)).ok();
        self.starting.ready();
        self.stop.asked().await;
        tracing::info!("shutting down: what is in flight may end");
    }

    /// Closes the pages, when the role has ended.
    pub(super) async fn close(self) {
        self.closing.cancel();
        if let Ok(Err(error)) = self.pages.await {
            tracing::warn!("the pages of health and metrics failed: {error}");
        }
    }
}
