//! `watchbell api`: serves the HTTP API, publishes what Kafka is to hear of it, until SIGTERM or Ctrl-C.
use clap::Args;

use super::frame::{self, Frame, listen};
use super::{ConfigArgs, Failure};
use crate::app::ApiServer;
use crate::config::Config;

/// Serve the HTTP API until SIGTERM or Ctrl-C.
#[derive(Args)]
pub(super) struct ApiCommand {
    #[command(flatten)]
    config: ConfigArgs,
}

impl ApiCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.config.load_for_api()?;
        frame::run(&config, run(&config))
    }
}

async fn run(config: &Config) -> Result<(), Failure> {
    let mut frame = Frame::open("api.telemetry_listen", &config.api.telemetry_listen).await?;
    let listener = listen("api.http_listen", &config.api.http_listen).await?;
    let address = listener.local_addr().map_err(Failure::internal)?;
    frame.starting.waiting("opening the policy store");
    let readiness = frame.readiness.clone();
    let Some(server) = frame.start(ApiServer::start(config, listener, &readiness)).await? else { return Ok(()) };
    tracing::info!(http = %address, "the API is served; /docs explains it");

    frame.until_asked(server.export()).await;
    let drained = server.stop(&frame.starting).await;
    frame.close().await;
    if !drained {
        tracing::warn!("the drain deadline passed; requests in flight got no answer");
    }
    Ok(())
}
