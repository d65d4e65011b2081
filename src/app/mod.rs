//! The composition root: from a configuration to a running worker or API, and back to nothing in order.
//!
//! The point: every part is made here, in the order of its needs, and ended here in the reverse order: readiness turns 503, nothing
//! new is read, what is in flight ends within the drain deadline, offsets are committed, forwards are flushed, groups are left, and the
//! HTTP side closes last.
//!
//! It deliberately holds no logic of its own. It fails at the start with a sentence for people ([`StartError`]); once it runs, nothing
//! that breaks outside ends it.
mod api;
mod courier;
mod duties;
mod lifecycle;
mod observe;
mod outcome;
mod patience;
mod projector;

pub use api::ApiServer;
pub use outcome::note_outcomes;
pub use projector::project_event;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, JoinSet};

use crate::config::Config;
use crate::delivery::{Tier, Urgency};
use crate::event::NotificationType;
use crate::kafka::admin::Admin;
use crate::kafka::client::{ClientError, Clients};
use crate::kafka::forwarder::KafkaForwarder;
use crate::kafka::source::{Source, SourceHandle, Subscription};
use crate::notification::{Texts, TextsError};
use crate::pipeline::{Balance, Pipeline};
use crate::provider::{Credentials, Providers};
use crate::seam::{Budget, Feed, SystemClock};
use crate::store::{self, Policy};
use crate::telemetry::Readiness;
use crate::worker::Lanes;
use crate::{settings, worker};

/// The flow with everything real in it.
type Flow = Pipeline<Policy, Providers, KafkaForwarder, SystemClock>;

/// Of the prefetch budget, in percent: fresh events take most of it, jobs and decisions trickle.
const EVENTS_PREFETCH_PERCENT: u32 = 75;
const JOBS_PREFETCH_PERCENT: u32 = 20;
const DECISIONS_PREFETCH_PERCENT: u32 = 5;

/// How long the forwards of drained records may take to be acknowledged after the drain itself.
const FLUSH: Duration = Duration::from_secs(5);

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The policy store cannot be opened.
    #[error("{0}")]
    Store(#[from] store::OpenError),
    /// A Kafka client cannot be made.
    #[error("{0}")]
    Kafka(#[from] ClientError),
    /// Topics are missing, or would not work.
    #[error("{}", .0.join("\n"))]
    Topics(Vec<String>),
    /// A credential is wrong.
    #[error("{}", sentences(.0))]
    Credentials(settings::Problems),
    /// The compiled-in texts are wrong.
    #[error("{0}")]
    Texts(#[from] TextsError),
    /// Nobody could sign in.
    #[error("auth.{0}")]
    SignIn(String),
    /// A task of ours could not run.
    #[error("a start-up task ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

fn sentences(problems: &settings::Problems) -> String {
    problems.clone().into_iter().collect::<Vec<_>>().join("\n")
}

/// A worker that runs.
pub struct Worker {
    flow: Arc<Flow>,
    policy: Policy,
    forwarder: KafkaForwarder,
    sources: Vec<SourceHandle>,
    lanes: Arc<Lanes>,
    tasks: JoinSet<()>,
    watch: JoinHandle<()>,
    readiness: Readiness,
    drain_deadline: Duration,
    closes_store: bool,
}

impl Worker {
    /// Makes all parts and begins to read. The policy store must be there; Kafka and the providers may come later.
    pub async fn start(config: &Config, readiness: Readiness) -> Result<Self, StartError> {
        let policy = store::open(&config.policy).await?;
        Ok(Self { closes_store: true, ..Self::start_on(policy, config, readiness).await? })
    }

    /// As [`Self::start`], on a store that the caller opened and closes: SQLite has one handle in a process.
    pub async fn start_on(policy: Policy, config: &Config, readiness: Readiness) -> Result<Self, StartError> {
        let texts = Texts::load()?;
        let credentials = Credentials { apns: &config.apns, fcm: &config.fcm };
        let clock = Arc::new(SystemClock);
        let providers = Providers::new(credentials, &config.provider.pool, clock).map_err(StartError::Credentials)?;
        let clients = Clients::new(config.kafka.clone())?;
        let forwarder = KafkaForwarder::start(&clients, &config.topics)?;
        let flow =
            Arc::new(Pipeline::new(policy.clone(), providers, forwarder.clone(), SystemClock, texts, config.flow()));
        let (mut tasks, lanes) = (JoinSet::new(), Arc::<Lanes>::default());
        let mut sources = Vec::new();
        for (subscription, budgets) in subscriptions(config) {
            let clients = clients.clone();
            // Asking the brokers for their partitions blocks.
            let started = tokio::task::spawn_blocking(move || Source::start(&clients, subscription, budgets));
            let source = started.await??;
            sources.push(source.handle());
            tasks.spawn(worker::run(source, Arc::clone(&flow), Arc::clone(&lanes)));
        }
        let watch = tokio::spawn(observe::watch(readiness.component("kafka"), sources.clone(), forwarder.clone()));
        let drain_deadline = config.worker.drain_deadline();
        let closes_store = false;
        Ok(Self { flow, policy, forwarder, sources, lanes, tasks, watch, readiness, drain_deadline, closes_store })
    }

    /// What happened so far.
    pub fn balance(&self) -> &Balance {
        self.flow.balance()
    }

    /// Publishes the numbers that are only worth looking up when somebody looks.
    pub fn export(&self) -> impl Fn() + Send + Sync + use<> {
        let (flow, policy, forwarder) = (Arc::clone(&self.flow), self.policy.clone(), self.forwarder.clone());
        let (sources, lanes) = (self.sources.clone(), Arc::clone(&self.lanes));
        move || {
            flow.export();
            observe::export(&policy, &forwarder, &sources, &lanes);
        }
    }

    /// Ends in order. Returns whether everything in flight came to its end in time.
    pub async fn stop(mut self) -> bool {
        self.watch.abort();
        self.readiness.component("worker").waiting("shutting down");
        let by = Instant::now() + self.drain_deadline;
        for source in &self.sources {
            source.stop(by);
        }
        let drained =
            tokio::time::timeout_at((by + FLUSH).into(), async { while self.tasks.join_next().await.is_some() {} });
        let drained = drained.await.is_ok();
        self.tasks.abort_all();
        let forwarder = self.forwarder.clone();
        let flushed = tokio::task::spawn_blocking(move || {
            let flushed = forwarder.flush(Instant::now() + FLUSH);
            forwarder.close();
            flushed
        });
        let flushed = flushed.await.unwrap_or(false);
        self.flow.provider().close().await;
        if self.closes_store {
            self.policy.close().await;
        }
        drained && flushed
    }
}

/// Looks at what the flow relies on and a broker would not refuse: topics that exist, and fit. Needs a runtime of several threads.
pub async fn check_topics(config: &Config) -> Result<(), StartError> {
    let clients = Clients::new(config.kafka.clone())?;
    let credentials = config.credentials();
    let admin = Admin::new(&clients, &config.topics, credentials.iter().map(String::as_str));
    let problems = admin.problems().await?;
    let warnings = admin.session_warning().await.into_iter().chain(admin.unchecked());
    warnings.chain(admin.unread_holds().await).for_each(|warning| tracing::warn!("{warning}"));
    if problems.is_empty() { Ok(()) } else { Err(StartError::Topics(problems)) }
}

/// The groups, what each reads, and how much of it may be in flight. No two groups share a budget.
fn subscriptions(config: &Config) -> Vec<(Subscription, HashMap<Feed, Arc<Budget>>)> {
    let (kafka, topics, in_flight) = (&config.kafka, &config.topics, &config.in_flight);
    let prefetch = |percent: u32| kafka.prefetch_budget_mib * 1024 / 100 * percent;
    let events: Vec<_> =
        NotificationType::ALL.into_iter().map(|kind| (topics.event(kind).to_owned(), Feed::Event(kind))).collect();
    let event_budgets = NotificationType::ALL.map(|kind| (Feed::Event(kind), Budget::new(in_flight.event(kind))));

    let mut jobs: Vec<_> = Vec::new();
    let mut job_budgets = HashMap::new();
    for urgency in Urgency::ALL {
        let budget = Budget::new(in_flight.jobs(urgency));
        for tier in Tier::ALL {
            jobs.push((topics.job(urgency, tier), Feed::Job(urgency, tier)));
            job_budgets.insert(Feed::Job(urgency, tier), Arc::clone(&budget));
        }
    }
    // A budget for each: the jobs of a credential that is broken wait in theirs, and must not keep another's waiting.
    for (credential, place) in config.credentials().iter().zip(0..) {
        jobs.push((topics.hold(credential), Feed::Hold(place)));
        job_budgets.insert(Feed::Hold(place), Budget::new(in_flight.hold));
    }
    jobs.push((topics.redrive.clone(), Feed::Redrive));
    job_budgets.insert(Feed::Redrive, Budget::new(in_flight.redrive));

    let group = |group: String, topics, percent| Subscription { group, topics, prefetch_kib: prefetch(percent) };
    vec![
        (group(kafka.group.clone(), events, EVENTS_PREFETCH_PERCENT), event_budgets.into()),
        (group(kafka.jobs_group(), jobs, JOBS_PREFETCH_PERCENT), job_budgets),
        (
            group(kafka.withdraw_group(), vec![(topics.decisions.clone(), Feed::Decision)], DECISIONS_PREFETCH_PERCENT),
            HashMap::from([(Feed::Decision, Budget::new(in_flight.decisions))]),
        ),
    ]
}
