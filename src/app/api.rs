//! The API's process: the HTTP side, the outbox's publishers, the projector and the duties, made in the order of their needs and ended
//! in reverse.
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::courier::PushCourier;
use super::{StartError, duties, observe, projector};
use crate::config::Config;
use crate::control::auth::Authenticator;
use crate::control::{self, Api};
use crate::event::Limits;
use crate::kafka::client::Clients;
use crate::kafka::forwarder::KafkaForwarder;
use crate::kafka::source::SourceHandle;
use crate::notification::Texts;
use crate::provider::{Credentials, Providers};
use crate::seam::{OutboxTopic, SystemClock};
use crate::store::{self, Policy};
use crate::telemetry::{Component, Readiness};

/// How long records that were being written to Kafka may take to be acknowledged at the end. Those that are not stay in the outbox.
const FLUSH: Duration = Duration::from_secs(5);

/// The API that runs.
pub struct ApiServer {
    policy: Policy,
    courier: PushCourier,
    forwarder: KafkaForwarder,
    source: SourceHandle,
    projector: JoinHandle<()>,
    duties: JoinSet<()>,
    stop: CancellationToken,
    http: JoinHandle<std::io::Result<()>>,
    http_stop: CancellationToken,
    drain_deadline: Duration,
    closes_store: bool,
}

impl ApiServer {
    /// Makes all parts and begins to serve. The policy store must be there; Kafka and the issuer may come later: changes are made without
    /// Kafka, which hears of them when it is there.
    pub async fn start(config: &Config, listener: TcpListener, readiness: &Readiness) -> Result<Self, StartError> {
        let policy = store::open(&config.policy).await?;
        Ok(Self { closes_store: true, ..Self::start_on(policy, config, listener, readiness).await? })
    }

    /// As [`Self::start`], on a store that the caller opened and closes: SQLite has one handle in a process.
    pub async fn start_on(
        policy: Policy,
        config: &Config,
        listener: TcpListener,
        readiness: &Readiness,
    ) -> Result<Self, StartError> {
        let policy = policy.alerting_every(config.flow().guard.window);
        let clock = Arc::new(SystemClock);
        let authenticator = Authenticator::start(&config.auth, Arc::clone(&clock) as Arc<_>);
        let authenticator = Arc::new(authenticator.map_err(StartError::SignIn)?);
        let clients = Clients::new(config.kafka.clone())?;
        let forwarder = KafkaForwarder::start_prompt(&clients, &config.topics)?;
        let (stop, http_stop, mut duties) = (CancellationToken::new(), CancellationToken::new(), JoinSet::new());
        for topic in OutboxTopic::ALL {
            let (outbox, sink, stop) = (policy.outbox(), forwarder.clone(), stop.clone());
            duties.spawn(async move { outbox.run(topic, &sink, &stop).await });
        }
        duties.spawn(duties::expire(policy.requests(), readiness.component("store"), stop.clone()));
        duties.spawn(duties::sweep(policy.admin(), stop.clone()));
        let sign_in = readiness.component("sign-in");
        duties.spawn(duties::watch_sign_in(Arc::clone(&authenticator), sign_in, stop.clone()));
        let credentials = Credentials { apns: &config.apns, fcm: &config.fcm };
        let providers = Providers::new(credentials, &config.provider.pool, Arc::clone(&clock) as Arc<_>);
        let providers = providers.map_err(StartError::Credentials)?;
        let push_timeout = Duration::from_millis(config.provider.push_timeout_ms.into());
        let courier = PushCourier::new(providers, policy.clone(), Texts::load()?, push_timeout);
        let carries = Box::new(courier.clone());
        let api = Api::new(policy.clone(), authenticator, clock, config.api.clone(), config.policy.ttl_s, carries);
        let serving = axum::serve(listener, control::router(api));
        let http = tokio::spawn(serving.with_graceful_shutdown(http_stop.clone().cancelled_owned()).into_future());
        let (source, handle) = projector::start(config, &clients).await?;
        let limits = Limits { recipients_max: config.fanout.recipients_max };
        let writes = (policy.requests(), policy.admin());
        let stands = (limits, readiness.component("projector"));
        let projector = tokio::spawn(projector::run(source, writes, courier.clone(), forwarder.clone(), stands));
        let drain_deadline = config.api.drain_deadline();
        Ok(Self {
            policy,
            courier,
            forwarder,
            source: handle,
            projector,
            duties,
            stop,
            http,
            http_stop,
            drain_deadline,
            closes_store: false,
        })
    }

    /// Publishes the numbers that are only worth looking up when somebody looks.
    pub fn export(&self) -> impl Fn() + Send + Sync + use<> {
        let (policy, forwarder, source) = (self.policy.clone(), self.forwarder.clone(), self.source.clone());
        move || {
            observe::export_shared(&policy, &forwarder);
            observe::export_sources(std::slice::from_ref(&source));
        }
    }

    /// Ends in order. Returns whether every request in flight got its answer in time.
    pub async fn stop(mut self, process: &Component) -> bool {
        process.waiting("shutting down");
        self.http_stop.cancel();
        let drained = tokio::time::timeout(self.drain_deadline, &mut self.http).await.is_ok();
        self.http.abort();
        let by = Instant::now() + FLUSH;
        self.source.stop(by.into_std());
        if tokio::time::timeout_at(by + FLUSH, &mut self.projector).await.is_err() {
            self.projector.abort();
        }
        self.stop.cancel();
        let by = Instant::now() + FLUSH;
        let ended = async { while self.duties.join_next().await.is_some() {} };
        if tokio::time::timeout_at(by, ended).await.is_err() {
            self.duties.abort_all();
        }
        let forwarder = self.forwarder.clone();
        let closed = tokio::task::spawn_blocking(move || {
            forwarder.flush(by.into_std());
            forwarder.close();
        });
        if closed.await.is_err() {
            tracing::error!("the producer could not be closed");
        }
        self.courier.close().await;
        if self.closes_store {
            self.policy.close().await;
        }
        drained
    }
}
