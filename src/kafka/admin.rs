//! Topics: made by one command, looked at by every start.
//!
//! The point: what Watchbell relies on and a broker would not refuse is checked before the first record is read: that every topic is
//! there, that a hold topic has one partition (hence one prober in the fleet) and keeps a job for as long as any can live, that the
//! dead letters take the largest input.
//!
//! It deliberately changes no topic that exists, and never makes upstream's event topics unless asked to: their owners decide.
//!
//! It fails with a sentence for each thing that is wrong, and what to do about it. With OAUTHBEARER it can make nothing and look at no
//! setting, because rdkafka gives an admin client no token; [`Admin::unchecked`] says so.
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::RDKafkaErrorCode;

use super::client::{ClientError, ClientEvents, Clients};
use super::config::{GroupProtocol, SaslMechanism, TopicsConfig};
use crate::delivery::{Tier, Urgency};
use crate::event::{LIFETIME_MAX, NotificationType};

/// How much larger than the largest input a dead letter may be: its headers.
const DEAD_LETTER_ROOM: u64 = 64 * 1024;
/// How long a hold topic keeps its jobs, in milliseconds: a day more than the longest-lived event, because the broker counts from when
/// the job was written, and a credential may be mended as late as that.
const HOLD_RETENTION_MS: u128 = LIFETIME_MAX.as_millis() + 24 * 3_600_000;
/// A one-time password does not wait longer than this for a dead worker to be noticed.
const SESSION_MAX: Duration = Duration::from_secs(10);
/// The group's setting on the broker that says when a member is dead (KIP-848).
const SESSION_SETTING: &str = "consumer.session.timeout.ms";
/// How long brokers may take to answer or to make topics.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Between two questions whether the brokers know what was made: they hear of it within milliseconds.
const KNOWN_INTERVAL: Duration = Duration::from_millis(100);

/// What `topics create` is told.
#[derive(Debug, Clone)]
pub struct NewTopics {
    /// Partitions of each topic but the hold topics, which have one.
    pub partitions: i32,
    /// Replicas of each partition.
    pub replication: i32,
    /// Whether upstream's four event topics are made too: for tests and trials.
    pub with_upstreams: bool,
}

/// Where `topics create` and the brokers' settings are out of reach.
const NO_ADMIN: &str = "topics cannot be made with kafka.security.sasl_mechanism = \"oauthbearer\": the Kafka library gives its admin \
                        calls no token. Make them as \"By hand\" in deploy/topics.md says, then run `watchbell topics check`";

/// The topics of this configuration. `credentials` are those that have a hold topic: `apns.<name>`, `fcm.<name>`.
#[derive(Debug)]
pub struct Admin<'a> {
    pub(super) clients: &'a Clients,
    pub(super) topics: &'a TopicsConfig,
    credentials: Vec<&'a str>,
}

impl<'a> Admin<'a> {
    /// Nothing is asked yet.
    pub fn new(clients: &'a Clients, topics: &'a TopicsConfig, credentials: impl IntoIterator<Item = &'a str>) -> Self {
        Self { clients, topics, credentials: credentials.into_iter().collect() }
    }

    fn upstreams(&self) -> Vec<String> {
        NotificationType::ALL.into_iter().map(|kind| self.topics.event(kind).to_owned()).collect()
    }

    /// With the decisions: a worker reads them, whether anybody writes them yet or not.
    fn ours(&self) -> Vec<String> {
        let tiers = |urgency| Tier::ALL.into_iter().map(move |tier| (urgency, tier));
        let jobs = Urgency::ALL.into_iter().flat_map(tiers).map(|(urgency, tier)| self.topics.job(urgency, tier));
        let others = [&self.topics.dlq, &self.topics.redrive, &self.topics.outcomes, &self.topics.decisions];
        jobs.chain(others.into_iter().cloned()).collect()
    }

    /// Those of the API alone: no worker's start asks for them.
    fn of_api(&self) -> Vec<String> {
        [&self.topics.audit, &self.topics.lifecycle].map(String::clone).into()
    }

    pub(super) fn holds(&self) -> Vec<String> {
        self.credentials.iter().map(|credential| self.topics.hold(credential)).collect()
    }

    /// Makes the topics that are missing; returns the names of those it made.
    pub async fn create(&self, new: &NewTopics) -> Result<Vec<String>, ClientError> {
        let admin = self.admin()?;
        let mut names: Vec<(String, i32)> = self.ours().into_iter().map(|name| (name, new.partitions)).collect();
        names.extend(self.of_api().into_iter().map(|name| (name, new.partitions)));
        names.extend(self.holds().into_iter().map(|name| (name, 1)));
        if new.with_upstreams {
            names.extend(self.upstreams().into_iter().map(|name| (name, new.partitions)));
        }
        let letters = self.letter_bytes_wanted(&admin).await.unwrap_or(DEAD_LETTER_ROOM + 1_048_588).to_string();
        let (holds, retention) = (self.holds(), HOLD_RETENTION_MS.to_string());
        let topics: Vec<NewTopic<'_>> = names
            .iter()
            .map(|(name, partitions)| {
                let topic = NewTopic::new(name, *partitions, TopicReplication::Fixed(new.replication));
                if *name == self.topics.dlq {
                    topic.set("max.message.bytes", &letters)
                } else if holds.contains(name) {
                    let settings = hold_settings(&retention);
                    settings.into_iter().fold(topic, |topic, (setting, value)| topic.set(setting, value))
                } else {
                    topic
                }
            })
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
        let results = admin.create_topics(&topics, &options).await;
        let (mut made, mut problems, mut too_many_replicas) = (Vec::new(), Vec::new(), false);
        for result in results.map_err(|error| self.unreachable(error.to_string()))? {
            match result {
                Ok(name) => made.push(name),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                // The same for each: told once.
                Err((_, RDKafkaErrorCode::InvalidReplicationFactor)) => too_many_replicas = true,
                Err((name, code)) => problems.push(format!("topic {name} could not be made: {code}")),
            }
        }
        if too_many_replicas {
            problems.push(too_few_brokers(&admin, new.replication));
        }
        if !problems.is_empty() {
            return Err(ClientError::Refused(problems));
        }
        self.until_known(names.into_iter().map(|(name, _)| name).collect()).await?;
        Ok(made)
    }

    /// Waits until a broker that is asked knows them all: brokers hear of a topic a moment after it was made, and a worker that is
    /// started next must not be told that it is missing.
    async fn until_known(&self, names: Vec<String>) -> Result<(), ClientError> {
        let (clients, until) = (self.clients.clone(), Instant::now() + TIMEOUT);
        let asked = tokio::task::spawn_blocking(move || {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            while clients.partitions(&names, TIMEOUT)?.contains(&0) {
                if Instant::now() > until {
                    return Ok(false);
                }
                std::thread::sleep(KNOWN_INTERVAL);
            }
            Ok(true)
        });
        match asked.await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(self.unreachable("the topics were made, but it does not know all of them".to_owned())),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(self.unreachable(error.to_string())),
        }
    }

    /// Everything about the topics that would not work, for people; empty when all is well. The errors are those of asking.
    pub async fn problems(&self) -> Result<Vec<String>, ClientError> {
        let (upstreams, ours, holds) = (self.upstreams(), self.ours(), self.holds());
        let all: Vec<&str> = [&upstreams, &ours, &holds].into_iter().flatten().map(String::as_str).collect();
        let counts = tokio::task::block_in_place(|| self.clients.partitions(&all, TIMEOUT))?;
        let mut problems = Vec::new();
        for (name, count) in all.iter().zip(&counts) {
            if *count == 0 && upstreams.iter().any(|upstream| upstream == name) {
                problems.push(format!("topic {name} does not exist; its owners make it, or [topics] names another"));
            } else if *count == 0 {
                problems.push(format!("topic {name} does not exist; `watchbell topics create` makes it"));
            } else if *count != 1 && holds.iter().any(|hold| hold == name) {
                problems.push(format!(
                    "hold topic {name} has {count} partitions; it must have one, so that one worker probes the credential: \
                     delete it when it is empty and make it again"
                ));
            }
        }
        if self.has_admin() && problems.is_empty() {
            let admin = self.admin()?;
            self.check_letters(&admin, &mut problems).await?;
            self.check_holds(&admin, &holds, &mut problems).await?;
        }
        Ok(problems)
    }

    /// A sentence for each topic that is missing and that the API alone needs. The API starts all the same, and waits for them.
    pub async fn missing_of_api(&self) -> Result<Vec<String>, ClientError> {
        let topics = self.of_api();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let counts = tokio::task::block_in_place(|| self.clients.partitions(&names, TIMEOUT))?;
        let missing = names.iter().zip(&counts).filter(|(_, count)| **count == 0);
        Ok(missing
            .map(|(name, _)| format!("topic {name} does not exist; `watchbell topics create` makes it"))
            .collect())
    }

    fn has_admin(&self) -> bool {
        self.clients.config().security.sasl_mechanism != Some(SaslMechanism::Oauthbearer)
    }

    /// What [`Admin::problems`] and [`Admin::measured_session`] do not look at with this configuration, if anything.
    pub fn unchecked(&self) -> Option<String> {
        let session = match self.clients.config().group_protocol {
            GroupProtocol::Classic => "",
            GroupProtocol::Consumer => ", nor how long the broker takes to notice a dead worker",
        };
        (!self.has_admin()).then(|| {
            format!(
                "the topics' settings are not checked{session}: the Kafka library gives its admin calls no token with \
                 sasl_mechanism = \"oauthbearer\". See to it that {} takes the largest input and that the hold topics keep jobs for \
                 29 days; deploy/topics.md says how",
                self.topics.dlq
            )
        })
    }

    /// How long the broker takes to notice a dead member of the events group; `None` where that is our own setting (classic groups), where
    /// the broker does not say, and where the group has settings of its own: rdkafka 0.39 takes their source for nonsense and hands on
    /// nothing of the answer.
    pub async fn measured_session(&self) -> Option<Duration> {
        let config = self.clients.config();
        if config.group_protocol != GroupProtocol::Consumer {
            return None;
        }
        let admin = self.admin().ok()?;
        let asked = [ResourceSpecifier::Group(&config.group)];
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
        let answers = admin.describe_configs(&asked, &options).await.ok()?;
        let setting = answers.into_iter().next()?.ok()?.get(SESSION_SETTING)?.value.clone()?;
        setting.parse().ok().map(Duration::from_millis)
    }

    /// What an operator should hear about that, if anything.
    pub async fn session_warning(&self) -> Option<String> {
        let session = self.measured_session().await.filter(|session| *session > SESSION_MAX)?;
        let group = &self.clients.config().group;
        Some(format!(
            "the broker notices a dead worker after {session:?} only: one-time passwords do not live that long. Lower \
             {SESSION_SETTING} of the group {group} and of its companions (kafka-configs --entity-type groups), or use \
             kafka.group_protocol = \"classic\""
        ))
    }

    async fn check_letters(
        &self,
        admin: &AdminClient<ClientEvents>,
        problems: &mut Vec<String>,
    ) -> Result<(), ClientError> {
        let wanted = self.letter_bytes_wanted(admin).await?;
        let dlq = &self.topics.dlq;
        if let Some(has) = self.max_message_bytes(admin, &[dlq.as_str()]).await?.first()
            && *has < wanted
        {
            problems.push(format!(
                "topic {dlq} takes records of {has} bytes, but the largest input with its headers has {wanted}: set its \
                 max.message.bytes to {wanted}"
            ));
        }
        Ok(())
    }

    /// What the dead letters must take: the largest record of any input, and the headers.
    async fn letter_bytes_wanted(&self, admin: &AdminClient<ClientEvents>) -> Result<u64, ClientError> {
        let upstreams = self.upstreams();
        let others = [&self.topics.decisions, &self.topics.redrive, &self.topics.lifecycle].map(String::as_str);
        let inputs: Vec<&str> = upstreams.iter().map(String::as_str).chain(others).collect();
        let largest = self.max_message_bytes(admin, &inputs).await?.into_iter().max();
        Ok(largest.unwrap_or(1_048_588) + DEAD_LETTER_ROOM)
    }

    /// A broker that deletes what waits for its credential loses it silently.
    async fn check_holds(
        &self,
        admin: &AdminClient<ClientEvents>,
        holds: &[String],
        problems: &mut Vec<String>,
    ) -> Result<(), ClientError> {
        let names: Vec<&str> = holds.iter().map(String::as_str).collect();
        let retention = HOLD_RETENTION_MS.to_string();
        for topic in self.settings(admin, &names).await? {
            let OwnedResourceSpecifier::Topic(name) = &topic.specifier else { continue };
            for (setting, wanted) in hold_settings(&retention) {
                let Some(has) = topic.get(setting).and_then(|entry| entry.value.as_deref()) else { continue };
                // -1 is for ever.
                let long_enough = |has: &str| has == "-1" || has.parse().is_ok_and(|ms: u128| ms >= HOLD_RETENTION_MS);
                if has != wanted && !(setting == RETENTION_MS && long_enough(has)) {
                    problems.push(format!(
                        "hold topic {name} has {setting} {has}: jobs that wait for their credential would be deleted before they \
                         expire (an event lives for up to 28 days); set it to {wanted}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// `max.message.bytes` of those of the topics that exist.
    async fn max_message_bytes(
        &self,
        admin: &AdminClient<ClientEvents>,
        topics: &[&str],
    ) -> Result<Vec<u64>, ClientError> {
        let settings = self.settings(admin, topics).await?;
        let value = |topic: &ConfigResource| topic.get("max.message.bytes")?.value.as_ref()?.parse().ok();
        Ok(settings.iter().filter_map(value).collect())
    }

    /// The settings of those of the topics that exist and that we may look at.
    async fn settings(
        &self,
        admin: &AdminClient<ClientEvents>,
        topics: &[&str],
    ) -> Result<Vec<ConfigResource>, ClientError> {
        // librdkafka refuses to ask about nothing.
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<_> = topics.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
        let answers = admin.describe_configs(&asked, &options).await;
        Ok(answers.map_err(|error| self.unreachable(error.to_string()))?.into_iter().flatten().collect())
    }

    fn admin(&self) -> Result<AdminClient<ClientEvents>, ClientError> {
        if !self.has_admin() {
            return Err(ClientError::Unsupported(NO_ADMIN));
        }
        self.clients.asking().create_with_context(self.clients.events("admin")).map_err(ClientError::Create)
    }

    fn unreachable(&self, why: String) -> ClientError {
        ClientError::Unreachable { servers: self.clients.config().bootstrap_servers.clone(), why }
    }
}

/// Why no topic could be made with so many replicas.
fn too_few_brokers(admin: &AdminClient<ClientEvents>, replication: i32) -> String {
    let asked = tokio::task::block_in_place(|| admin.inner().fetch_metadata(None, TIMEOUT));
    let brokers = asked.map_or(1, |metadata| metadata.brokers().len().max(1));
    format!(
        "no topic was made: the cluster has {brokers} broker(s), too few for the {replication} replicas of each partition that were asked \
         for. Use `--replication {brokers}` there, or add brokers"
    )
}

const RETENTION_MS: &str = "retention.ms";

/// What keeps a hold topic's jobs for as long as any can live.
fn hold_settings(retention_ms: &str) -> [(&'static str, &str); 3] {
    [(RETENTION_MS, retention_ms), ("retention.bytes", "-1"), ("cleanup.policy", "delete")]
}
