//! The embedded parts: in-process broker, SQLite, simulators, phones, worker and API.
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};
use tokio::net::TcpListener;

use super::people;
use crate::app::{ApiServer, Worker};
use crate::command::Failure;
use crate::config::Config;
use crate::delivery::codec::decode_job;
use crate::delivery::{JobId, PushJob, Tier, Urgency};
use crate::event::{NotificationType, wire};
use crate::pipeline::BalanceSnapshot;
use crate::sandbox::issuer::IssuerConfig;
use crate::sandbox::phones::{Enrol, Enrolled};
use crate::sandbox::{Sandbox, SandboxConfig};
use crate::store::{self, Policy};
use crate::telemetry::Readiness;

/// Partitions of each topic: enough to see that keys matter, few enough to start at once.
const PARTITIONS: i32 = 2;

/// How long the worker may take to join its groups on the in-process broker, which waits 3 s for more members.
const READY: Duration = Duration::from_secs(60);

/// What was written to Kafka.
pub(super) enum News {
    /// A job that waits for another attempt.
    Waits(PushJob),
    /// A job that ended.
    Ended(JobId, Box<wire::Outcome>),
    /// What upstream hears.
    Upstream(Box<wire::Decision>),
}

/// Everything that the demo embeds. Dropping it ends it all.
pub(super) struct Stage {
    config: Config,
    policy: Policy,
    worker: Worker,
    api: ApiServer,
    readiness: Readiness,
    enrolled: Vec<Enrolled>,
    producer: ThreadedProducer<DefaultProducerContext>,
    news: BaseConsumer,
    sandbox: Sandbox,
    _cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Stage {
    pub(super) async fn set() -> Result<Self, Failure> {
        let cluster = MockCluster::new(1).map_err(Failure::internal)?;
        let issuer = IssuerConfig { personas: people::personas(), ..IssuerConfig::default() };
        let sandbox = Sandbox::start(SandboxConfig { issuer, ..SandboxConfig::default() }).await;
        let sandbox = sandbox.map_err(Failure::internal)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Failure::internal)?;
        let address = listener.local_addr().map_err(Failure::internal)?;
        let config = configuration(&cluster.bootstrap_servers(), &sandbox, address)?;
        for topic in topics(&config) {
            cluster.create_topic(&topic, partitions(&config, &topic), 1).map_err(Failure::internal)?;
        }
        store::migrate(&config.policy, false).await.map_err(Failure::internal)?;
        let policy = store::open(&config.policy).await.map_err(Failure::internal)?;
        let changes = people::changes().map_err(Failure::internal)?;
        policy.admin().write(&changes).await.map_err(Failure::internal)?;
        let readiness = Readiness::default();
        let api = ApiServer::start_on(policy.clone(), &config, listener, &readiness).await?;
        let worker = Worker::start_on(policy.clone(), &config, readiness.clone()).await?;
        let enrolled = enrol(&sandbox, &config.api.devices.public_url).await.map_err(Failure::Internal)?;
        wait_ready(&readiness).await?;
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", cluster.bootstrap_servers());
        let producer = client.set("linger.ms", "1").create().map_err(Failure::internal)?;
        client.set("group.id", "demo.screen").set("auto.offset.reset", "earliest");
        let news: BaseConsumer = client.create().map_err(Failure::internal)?;
        let mut list = rdkafka::TopicPartitionList::new();
        // What is on its way without a delay waits for nothing.
        let now = Urgency::ALL.map(|urgency| config.topics.job(urgency, Tier::Now));
        let read = jobs(&config)
            .filter(|topic| !now.contains(topic))
            .chain([config.topics.outcomes.clone(), config.topics.decisions.clone()]);
        for (topic, partition) in
            read.flat_map(|topic| (0..partitions(&config, &topic)).map(move |n| (topic.clone(), n)))
        {
            list.add_partition_offset(&topic, partition, rdkafka::Offset::Beginning).map_err(Failure::internal)?;
        }
        news.assign(&list).map_err(Failure::internal)?;
        Ok(Self { config, policy, worker, api, readiness, enrolled, producer, news, sandbox, _cluster: cluster })
    }

    pub(super) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// What the API knows itself by, and who was enrolled there: one for each of [`people::PHONES`].
    pub(super) fn enrolled(&self) -> (&str, &[Enrolled]) {
        (&self.config.api.devices.public_url, &self.enrolled)
    }

    pub(super) fn balance(&self) -> BalanceSnapshot {
        self.worker.balance().snapshot()
    }

    /// Puts an event on its type's topic.
    pub(super) fn produce(&self, kind: NotificationType, key: &str, payload: &[u8]) -> Result<(), Failure> {
        let record = BaseRecord::to(self.config.topics.event(kind)).key(key).payload(payload);
        self.producer.send(record).map_err(|(error, _)| Failure::internal(error))
    }

    /// What was written next, if anything was.
    pub(super) fn news(&self) -> Option<News> {
        let message = self.news.poll(Duration::ZERO)?.ok()?;
        let payload = message.payload()?;
        if message.topic() == self.config.topics.decisions {
            return prost::Message::decode(payload).ok().map(|decision| News::Upstream(Box::new(decision)));
        }
        if message.topic() != self.config.topics.outcomes {
            return decode_job(payload).ok().map(News::Waits);
        }
        let outcome: wire::Outcome = prost::Message::decode(payload).ok()?;
        Some(News::Ended(outcome.job_id.as_slice().try_into().ok().map(JobId::from_bytes)?, outcome.into()))
    }

    /// Ends everything in order.
    pub(super) async fn strike(self) {
        drop(self.news);
        self.api.stop(&self.readiness.component("demo")).await;
        self.worker.stop().await;
        self.policy.close().await;
        self.sandbox.shutdown().await;
    }
}

/// Everybody signs in on their phones and sets them up.
async fn enrol(sandbox: &Sandbox, api: &str) -> Result<Vec<Enrolled>, String> {
    let mut enrolled = Vec::new();
    for phone in &people::PHONES {
        sandbox.phones().make(phone.name, phone.make())?;
        let enrol = Enrol {
            api: api.to_owned(),
            workspace: people::WORKSPACE.to_owned(),
            vouched_by: phone.vouched_by.map(str::to_owned),
            ..Enrol::default()
        };
        enrolled.push(sandbox.phones().enrol(phone.name, &enrol).await?);
    }
    Ok(enrolled)
}

/// Waits until worker and API have joined their groups, so that the first scene is as fast as the others.
async fn wait_ready(readiness: &Readiness) -> Result<(), Failure> {
    let ready = async {
        while !readiness.reasons().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(READY, ready).await;
    waited.map_err(|_| {
        Failure::Unavailable(format!("worker and API did not get ready: {}", readiness.reasons().join("; ")))
    })
}

fn topics(config: &Config) -> Vec<String> {
    let names = &config.topics;
    let mut topics: Vec<String> = NotificationType::ALL.into_iter().map(|kind| names.event(kind).to_owned()).collect();
    let others = [&names.decisions, &names.audit, &names.lifecycle, &names.dlq, &names.redrive, &names.outcomes];
    topics.extend(others.map(String::clone));
    topics.extend(jobs(config));
    topics
}

/// Where jobs wait.
fn jobs(config: &Config) -> impl Iterator<Item = String> {
    let names = &config.topics;
    let tiers = Urgency::ALL.into_iter().flat_map(|urgency| Tier::ALL.map(|tier| names.job(urgency, tier)));
    tiers.chain(config.credentials().into_iter().map(|credential| names.hold(&credential)))
}

/// A credential's hold topic has one.
fn partitions(config: &Config, topic: &str) -> i32 {
    if topic.starts_with(&config.topics.hold) { 1 } else { PARTITIONS }
}

/// The shipped configuration, pointed at what is embedded.
fn configuration(bootstrap: &str, sandbox: &Sandbox, api: SocketAddr) -> Result<Config, Failure> {
    let missing = || Failure::Internal("the sandbox made no credentials".into());
    let key = sandbox.apns().keys().first().ok_or_else(missing)?;
    let accounts = sandbox.fcm().service_accounts();
    let account = accounts.first().ok_or_else(missing)?;
    let (ca, dir, app) = (sandbox.ca_file().display(), sandbox.dir(), people::APP);
    let mut text = String::new();
    // Writing to a string cannot fail.
    write!(
        text,
        "[kafka]\nbootstrap_servers = \"{bootstrap}\"\n\
         [policy]\nstore_url = \"sqlite:{}\"\n\
         [apns.main]\nteam_id = \"{}\"\nkey_id = \"{}\"\nkey_file = \"{}\"\napps = [\"{app}\"]\n\
         environment = \"production\"\nbase_url = \"{}\"\nca_file = \"{ca}\"\n\
         [fcm.main]\nservice_account_file = \"{}\"\napps = [\"{app}\"]\nbase_url = \"{}\"\nca_file = \"{ca}\"\n\
         [auth]\nissuer = \"{}\"\naudience = [\"{}\"]\nconsole_client_id = \"watchbell-console\"\nca_file = \"{ca}\"\n\
         [api]\nhttp_listen = \"{api}\"\n\
         [api.devices]\npublic_url = \"http://{api}\"\napprover_ways = [\"approver\", \"fresh_sign_in\"]\n",
        dir.join("demo.db").display(),
        key.key.team_id,
        key.key.key_id,
        key.path.display(),
        sandbox.apns_url(),
        account.path.display(),
        sandbox.fcm_url(),
        sandbox.issuer().url(),
        sandbox.issuer().audience(),
    )
    .ok();
    let file = dir.join("watchbell.toml");
    std::fs::write(&file, text).map_err(Failure::internal)?;
    // The worker's problems would be the API's too.
    Ok(Config::load_for_api(Some(&file), std::iter::empty())?)
}
