//! The configuration: compiled-in defaults, then a TOML file, then the environment.
//!
//! The point: `config/default.toml` is the only place with default values and the reference that people read; each section's struct
//! belongs to the module that uses it. A value from the environment is `WATCHBELL_<SECTION>__<KEY>`. A secret `x` may come from the
//! file named by `x_file` instead.
//!
//! It deliberately reads nothing again while running, and binds no port: a process starts with a configuration that is whole, or not.
//!
//! It fails with [`Problems`]: everything that is wrong at once (unknown keys, types, ranges, contradictions, unreadable files), each
//! with its key, where its value came from, and what to do.
mod check;
mod flow;
mod load;
mod mend;
mod secrets;
#[cfg(test)]
mod tests;
mod words;

pub use flow::{DeadTokensConfig, FanoutConfig, GuardConfig, HoldConfig, ProviderConfig, WorkerConfig};
pub use load::{DEFAULTS, Problem, Problems};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::control::ApiConfig;
use crate::control::auth::AuthConfig;
use crate::delivery::RetryPolicy;
use crate::kafka::config::{InFlightConfig, KafkaConfig, TopicsConfig};
use crate::provider::{apns::config::ApnsConfig, fcm::config::FcmConfig};
use crate::store::config::PolicyConfig;
use crate::telemetry::config::TelemetryConfig;

/// Everything that can be set. `config/default.toml` describes each key.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The cluster and the groups.
    pub kafka: KafkaConfig,
    /// The topics' names.
    pub topics: TopicsConfig,
    /// Records worked on at once.
    pub in_flight: InFlightConfig,
    /// Events for many people.
    pub fanout: FanoutConfig,
    /// Settings, preferences and devices: where they come from and how old they may be.
    pub policy: PolicyConfig,
    /// How many requests may ring for one person.
    pub guard: GuardConfig,
    /// What all providers share.
    pub provider: ProviderConfig,
    /// The retry law's numbers.
    pub retry: RetryPolicy,
    /// Jobs that wait for a credential to be mended.
    pub hold: HoldConfig,
    /// When dead tokens are believed.
    pub dead_tokens: DeadTokensConfig,
    /// Who may sign in to the API, and what their tokens say.
    pub auth: AuthConfig,
    /// The HTTP API.
    pub api: ApiConfig,
    /// The worker process.
    pub worker: WorkerConfig,
    /// Logs.
    pub telemetry: TelemetryConfig,
    /// Apple's push service: credentials by name.
    #[serde(default)]
    pub apns: BTreeMap<String, ApnsConfig>,
    /// Firebase Cloud Messaging: projects by name.
    #[serde(default)]
    pub fcm: BTreeMap<String, FcmConfig>,
}

impl Config {
    /// The names of all credentials, `apns.<name>` and `fcm.<name>`: each has a hold topic.
    pub fn credentials(&self) -> Vec<String> {
        let apns = self.apns.keys().map(|name| format!("apns.{name}"));
        apns.chain(self.fcm.keys().map(|name| format!("fcm.{name}"))).collect()
    }
}
