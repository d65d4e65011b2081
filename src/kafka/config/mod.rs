//! What Kafka's side can be told: the cluster, the groups, the topics, how much may be in flight.
//!
//! The point: any librdkafka property can be set verbatim under `kafka.properties`, but those with which Watchbell could not keep its
//! promises; the keys here are those that Watchbell computes with, or that must agree with each other. It deliberately does not repeat
//! librdkafka's own list.
//!
//! Nothing here fails: what is wrong comes back from the `problems` functions as sentences that begin with the key.
mod properties;
mod security;
mod topics;

pub use properties::Properties;
pub use security::{SaslMechanism, SecurityConfig, SecurityProtocol};
pub use topics::{InFlightConfig, TopicsConfig};

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::settings::Problems;

/// Section `[kafka]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// `host:port`, several separated by commas.
    pub bootstrap_servers: String,
    /// The consumer group that reads events. Jobs are read by `<group>.jobs`, decisions by `<group>.withdraw`.
    pub group: String,
    /// Which of Kafka's two group protocols.
    pub group_protocol: GroupProtocol,
    /// Milliseconds without a heartbeat after which a worker is dead. Classic groups only: under KIP-848 it lives on the broker.
    pub session_timeout_ms: u32,
    /// Milliseconds between two heartbeats. Classic groups only.
    pub heartbeat_interval_ms: u32,
    /// Milliseconds without a poll after which the worker leaves its groups.
    pub max_poll_interval_ms: u32,
    /// Milliseconds that records in flight may take to end when their partition is revoked, or was lost and comes back.
    pub revoke_drain_ms: u32,
    /// Milliseconds between two commits.
    pub commit_interval_ms: u32,
    /// Mebibytes of records fetched ahead, over all partitions of all groups of this process.
    pub prefetch_budget_mib: u32,
    /// TLS and SASL.
    pub security: SecurityConfig,
    /// Any librdkafka property by its own name. Wins over what Watchbell sets, except for the names it needs itself.
    pub properties: Properties,
}

/// `kafka.group_protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupProtocol {
    /// The client assigns, cooperatively and sticky.
    Classic,
    /// The broker assigns (KIP-848, Kafka 4.0 and later).
    Consumer,
}

impl KafkaConfig {
    /// The group that reads jobs, the hold topics and the redrive.
    pub fn jobs_group(&self) -> String {
        format!("{}.jobs", self.group)
    }

    /// The group that reads decisions.
    pub fn withdraw_group(&self) -> String {
        format!("{}.withdraw", self.group)
    }

    /// The group in which the API reads what awaits people's answers.
    pub fn requests_group(&self) -> String {
        format!("{}.requests", self.group)
    }

    /// How long records in flight may take to end when their partition is revoked.
    pub fn revoke_drain(&self) -> Duration {
        Duration::from_millis(self.revoke_drain_ms.into())
    }

    /// The pause between two commits.
    pub fn commit_interval(&self) -> Duration {
        Duration::from_millis(self.commit_interval_ms.into())
    }

    /// Everything that contradicts itself or cannot work.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        let servers = self.bootstrap_servers.split(',').map(str::trim);
        let is_host = |host: &str| !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/@".contains(c));
        let is_address = |server: &str| {
            server.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok())
        };
        problems.require(
            servers.clone().all(is_address),
            "bootstrap_servers must be host:port, several separated by commas",
        );
        problems.require(topics::is_topic_name(&self.group), "group must be 1 to 200 letters, digits, '.', '_' or '-'");
        problems.require(self.session_timeout_ms >= 1_000, "session_timeout_ms must be at least 1000");
        problems.require(
            self.heartbeat_interval_ms >= 100 && self.heartbeat_interval_ms.saturating_mul(3) <= self.session_timeout_ms,
            "heartbeat_interval_ms must be at least 100 and at most a third of session_timeout_ms, so that one lost heartbeat is no death",
        );
        problems.require(
            self.max_poll_interval_ms >= self.session_timeout_ms,
            "max_poll_interval_ms must not be below session_timeout_ms",
        );
        problems.require(
            self.revoke_drain_ms.saturating_mul(2) <= self.max_poll_interval_ms,
            "revoke_drain_ms must be at most half of max_poll_interval_ms: a rebalance waits for it",
        );
        problems.require(
            (10..=60_000).contains(&self.commit_interval_ms),
            "commit_interval_ms must be between 10 and 60000",
        );
        problems
            .require((1..=4_096).contains(&self.prefetch_budget_mib), "prefetch_budget_mib must be between 1 and 4096");
        problems.nest("properties", self.properties.problems());
        problems.nest("security", self.security.problems());
        problems
    }
}
