//! What a sandbox is told at its start: where it listens, which teams, keys, projects and people exist, how strict it is.
//!
//! Every field has a default, so that `SandboxConfig::default()` is a whole sandbox on free loopback ports; the same structure
//! is read from a TOML or JSON file by `watchbell sandbox --config`.
//! It holds no secrets: keys are generated or loaded in the directory it names.
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::fault::Rule;
use super::fcm::Quota;
use super::issuer::IssuerConfig;

/// Everything about one sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxConfig {
    /// Address to listen on. The control endpoint has no authentication: keep it on loopback.
    pub host: IpAddr,
    /// Port of the APNs simulator; 0 takes a free one.
    pub apns_port: u16,
    /// Port of the FCM simulator and its token endpoint; 0 takes a free one.
    pub fcm_port: u16,
    /// Port of the OIDC issuer; 0 takes a free one.
    pub issuer_port: u16,
    /// Port of the control endpoint; 0 takes a free one.
    pub control_port: u16,
    /// Further names under which clients reach it, such as its host name in a network of containers: the certificate has them too.
    pub names: Vec<String>,
    /// Where the CA, the keys and the service accounts are kept, and found again at the next start. Without it a temporary
    /// directory that goes with the sandbox.
    pub dir: Option<PathBuf>,
    /// The APNs simulator.
    pub apns: ApnsConfig,
    /// The FCM simulator.
    pub fcm: FcmConfig,
    /// The OIDC issuer.
    pub issuer: IssuerConfig,
    /// Faults in force from the start.
    pub faults: Vec<Rule>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            apns_port: 0,
            fcm_port: 0,
            issuer_port: 0,
            control_port: 0,
            names: Vec::new(),
            dir: None,
            apns: ApnsConfig::default(),
            fcm: FcmConfig::default(),
            issuer: IssuerConfig::default(),
            faults: Vec::new(),
        }
    }
}

/// How much is kept of each accepted push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recording {
    /// Headers and body of every push, by device: for tests and demonstrations. Memory grows with every push.
    #[default]
    Full,
    /// Only the apns-id and the time of arrival, 24 bytes a push, in order: for load tests that account for each push.
    Arrivals,
    /// Only counters: for load tests without end.
    Counters,
}

/// Apple's two worlds: a key or a device token of one means nothing in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Shipping apps.
    Production,
    /// Development builds.
    Sandbox,
}

/// One developer team.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// Ten characters, the `iss` of its tokens.
    pub team_id: String,
    /// Bundle ids it may push to; empty for any.
    #[serde(default)]
    pub topics: Vec<String>,
}

/// One APNs authentication key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApnsKey {
    /// Ten characters, the `kid` of its tokens.
    pub key_id: String,
    /// The team it belongs to; one of the teams.
    pub team_id: String,
    /// The environment it is bound to; without it both, as older keys.
    #[serde(default)]
    pub environment: Option<Environment>,
    /// For a topic-specific key the bundle ids it may push to; empty for a team-scoped key.
    #[serde(default)]
    pub topics: Vec<String>,
}

/// The APNs simulator.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApnsConfig {
    /// Teams that exist.
    pub teams: Vec<Team>,
    /// Keys that exist.
    pub keys: Vec<ApnsKey>,
    /// Which environment this endpoint is. Without it both at once: a request belongs to the environment of its key.
    pub environment: Option<Environment>,
    /// Concurrent streams of a connection before a valid provider token was seen. Apple: 1.
    pub first_stream_limit: u32,
    /// Concurrent streams after it. 1,000 was observed at Apple.
    pub stream_limit: u32,
    /// Whether the limit falls back to `first_stream_limit` after each 4xx but 410, until the next accepted push (Apple, "Handling
    /// notification responses from APNs").
    pub cut_streams_on_error: bool,
    /// Such answers in a row after which a connection is told to leave; BadDeviceToken counts twice, because Apple says that it does so
    /// sooner then. Apple states no number; 0 is never.
    pub errors_until_goaway: u32,
    /// Whether provider tokens with DER signatures and padded standard base64 are accepted besides the standard form. Apple
    /// evidently does; strict is better for finding mistakes.
    pub accept_der: bool,
    /// Whether a connection that saw an expired provider token answers ExpiredProviderToken for ever after.
    pub wedge_on_expired: bool,
    /// Distinct provider tokens that a connection may show in 20 minutes before it gets TooManyProviderTokenUpdates.
    pub tokens_per_20_minutes: usize,
    /// Whether unknown device tokens are bad. By default every token is a live device.
    pub strict_tokens: bool,
    /// Whether payloads are parsed and compared with the push type. Sizes are always checked.
    pub check_payloads: bool,
    /// How much is kept of each accepted push.
    pub recording: Recording,
}

impl Default for ApnsConfig {
    fn default() -> Self {
        let team_id = "WBSANDBOXT".to_owned();
        Self {
            teams: vec![Team { team_id: team_id.clone(), topics: Vec::new() }],
            keys: vec![ApnsKey { key_id: "WBSANDBOXK".to_owned(), team_id, environment: None, topics: Vec::new() }],
            environment: None,
            first_stream_limit: 1,
            stream_limit: 1_000,
            cut_streams_on_error: true,
            errors_until_goaway: 100,
            accept_der: false,
            wedge_on_expired: true,
            tokens_per_20_minutes: 2,
            strict_tokens: false,
            check_payloads: true,
            recording: Recording::Full,
        }
    }
}

/// One Firebase project.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// The id in the send URL and in the service account.
    pub project_id: String,
    /// The number that may stand for the id in the send URL.
    #[serde(default)]
    pub project_number: Option<String>,
}

/// The FCM simulator and its token endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FcmConfig {
    /// Projects that exist; each gets a service account.
    pub projects: Vec<Project>,
    /// Seconds that an access token lives. Google: 3,600.
    pub token_lifetime_s: u64,
    /// Concurrent streams of a connection. 100 was observed at Google.
    pub stream_limit: u32,
    /// Whether unknown registration tokens are malformed. By default every token is a live registration.
    pub strict_tokens: bool,
    /// Requests that a project may send in each window; without it no quota. Google: 600,000 a minute.
    pub quota: Option<u64>,
    /// The quota's window in milliseconds. Google: 60,000.
    pub quota_window_ms: u64,
    /// How much is kept of each accepted message; `arrivals` counts as `counters`, because messages have no id of the sender's.
    pub recording: Recording,
}

impl FcmConfig {
    pub(crate) fn quota(&self) -> Option<Quota> {
        self.quota.map(|requests| Quota { requests, window_ms: self.quota_window_ms })
    }
}

impl Default for FcmConfig {
    fn default() -> Self {
        Self {
            projects: vec![Project {
                project_id: "watchbell-sandbox".to_owned(),
                project_number: Some("100000000001".to_owned()),
            }],
            token_lifetime_s: 3_600,
            stream_limit: 100,
            strict_tokens: false,
            quota: None,
            quota_window_ms: 60_000,
            recording: Recording::Full,
        }
    }
}
