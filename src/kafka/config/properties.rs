//! Section `[kafka.properties]`: librdkafka's own properties, as the operator sets them.
//!
//! The point: librdkafka knows best which names and values it takes, so there is no list of what is allowed; there is one of what would
//! break a promise of ours. Values do not print: among them are passwords and keys, and each version of librdkafka has new ones.
use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::settings::Problems;

/// Properties by name.
#[derive(Clone, Default)]
pub struct Properties(BTreeMap<String, String>);

/// Properties that Watchbell sets itself, or needs as they are, and what takes their place.
const OWN_PROPERTIES: [(&str, &str); 27] = [
    ("bootstrap.servers", "kafka.bootstrap_servers"),
    ("metadata.broker.list", "kafka.bootstrap_servers"),
    ("group.id", "kafka.group"),
    ("group.protocol", "kafka.group_protocol"),
    ("session.timeout.ms", "kafka.session_timeout_ms"),
    ("heartbeat.interval.ms", "kafka.heartbeat_interval_ms"),
    ("max.poll.interval.ms", "kafka.max_poll_interval_ms"),
    ("queued.max.messages.kbytes", "kafka.prefetch_budget_mib"),
    ("security.protocol", "kafka.security.protocol"),
    ("sasl.mechanism", "kafka.security.sasl_mechanism"),
    ("sasl.mechanisms", "kafka.security.sasl_mechanism"),
    ("sasl.username", "kafka.security.username"),
    ("sasl.password", "kafka.security.password_file"),
    ("enable.auto.commit", FINISHED),
    ("auto.commit.enable", FINISHED),
    ("enable.auto.offset.store", FINISHED),
    ("offset.store.method", "nothing: offsets live on the broker, with what is finished above them"),
    ("partition.assignment.strategy", "nothing: classic groups are cooperative-sticky"),
    ("enable.idempotence", "nothing: it is always on"),
    ("acks", ACKS),
    ("request.required.acks", ACKS),
    ("message.timeout.ms", NO_TIMEOUT),
    ("delivery.timeout.ms", NO_TIMEOUT),
    (
        "delivery.report.only.error",
        "nothing: an offset is finished when what was written for it is acknowledged, so no acknowledgement may be kept back",
    ),
    (
        "transactional.id",
        "nothing: what is written is part of no transaction, and such a producer writes nothing outside of one",
    ),
    ("test.mock.num.brokers", "kafka.bootstrap_servers: brokers of the client's own acknowledge what they forget"),
    (
        "auto.offset.reset",
        "nothing: a group without an offset reads from the earliest record, because `latest` skips what came before its first \
         commit. To begin elsewhere, set the group's offsets with kafka-consumer-groups while no worker runs",
    ),
];

const FINISHED: &str = "nothing: an offset is committed when its record is finished";
const ACKS: &str =
    "the topic's min.insync.replicas: an offset is finished when all replicas in sync have what was written for it";
const NO_TIMEOUT: &str =
    "nothing: what is written waits for its broker however long that takes, because giving up would lose it";

impl Properties {
    /// Sets one.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// The value of one. Whoever calls this must not print it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets all of them in a client's.
    pub(in crate::kafka) fn apply(&self, client: &mut ClientConfig) {
        for (name, value) in &self.0 {
            client.set(name, value);
        }
    }

    pub(super) fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        for (name, value) in &self.0 {
            if let Some((_, instead)) = OWN_PROPERTIES.iter().find(|(own, _)| own == name) {
                problems.add(format!("{name} is set by Watchbell itself; use {instead}"));
            } else if let Err(error) = ClientConfig::new().set(name, value).create_native_config() {
                // The error itself prints the value, which may be a secret under a misspelt name.
                let why = match error {
                    KafkaError::ClientConfig(_, why, _, _) => why,
                    other => other.to_string(),
                };
                problems.add(format!("{name} is refused by librdkafka: {why}"));
            }
        }
        problems
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.keys().map(|name| (name, "[redacted]")))
    }
}

/// Property names have dots, which TOML reads as tables unless they are quoted. Both spellings mean the same here.
impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut flat = Self::default();
        for (name, node) in BTreeMap::<String, Node>::deserialize(deserializer)? {
            flatten(name, node, &mut flat.0);
        }
        Ok(flat)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Node {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Table(BTreeMap<String, Node>),
}

fn flatten(prefix: String, node: Node, flat: &mut BTreeMap<String, String>) {
    match node {
        Node::Bool(value) => drop(flat.insert(prefix, value.to_string())),
        Node::Integer(value) => drop(flat.insert(prefix, value.to_string())),
        Node::Float(value) => drop(flat.insert(prefix, value.to_string())),
        Node::Text(value) => drop(flat.insert(prefix, value)),
        Node::Table(table) => {
            for (name, node) in table {
                flatten(format!("{prefix}.{name}"), node, flat);
            }
        }
    }
}
