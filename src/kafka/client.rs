//! Clients of librdkafka: their properties, and what they say of themselves.
//!
//! The point: every property that Watchbell ships is set here, each with its reason, so that consumers, producers and admin calls
//! cannot differ by accident; the operator's own properties come last and win.
//!
//! It deliberately exits on nothing: librdkafka reports each lost connection as an error and comes back by itself, so errors are
//! counted and logged, at most one line a second. It fails only while a client is made, with librdkafka's own sentence.
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use secrecy::ExposeSecret;

use super::config::{GroupProtocol, KafkaConfig, SaslMechanism};
use super::oauth::TokenSource;

/// Largest record that is produced, in bytes. Brokers allow 1 MiB unless told otherwise; this only must not be what is in the way.
const MESSAGE_BYTES_MAX: &str = "16777216";

/// Whether what a producer is given waits a moment for more, to be written with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linger {
    /// Milliseconds: fewer and larger requests to the brokers, for what comes by the thousand.
    Batches,
    /// Not at all: for what somebody waits for.
    Never,
}

/// What kept a client from being made or a question from being answered, for people.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The configuration contradicts itself.
    #[error("the [kafka] configuration cannot be used: {}", .0.join("; "))]
    Config(Vec<String>),
    /// With this configuration it cannot be done from here.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The brokers answered, and refused.
    #[error("{}", .0.join("\n"))]
    Refused(Vec<String>),
    /// librdkafka refused the properties.
    #[error("a Kafka client could not be made: {0}")]
    Create(KafkaError),
    /// The brokers did not answer.
    #[error("Kafka ({servers}) did not answer: {why}. Is kafka.bootstrap_servers right, and may we connect?")]
    Unreachable {
        /// `kafka.bootstrap_servers`.
        servers: String,
        /// librdkafka's words.
        why: String,
    },
}

/// What every client is made from.
#[derive(Debug, Clone)]
pub struct Clients {
    pub(super) config: Arc<KafkaConfig>,
    tokens: Option<Arc<TokenSource>>,
}

impl Clients {
    /// Checks the configuration. With OAUTHBEARER it must be called within a tokio runtime, which then fetches the tokens.
    pub fn new(config: KafkaConfig) -> Result<Self, ClientError> {
        let problems: Vec<String> = config.problems().into_iter().collect();
        if !problems.is_empty() {
            return Err(ClientError::Config(problems));
        }
        let tokens = match config.security.sasl_mechanism {
            Some(SaslMechanism::Oauthbearer) => {
                Some(TokenSource::new(&config.security).map_err(|problem| ClientError::Config(vec![problem]))?)
            }
            Some(SaslMechanism::Plain | SaslMechanism::ScramSha256 | SaslMechanism::ScramSha512) | None => None,
        };
        Ok(Self { config: Arc::new(config), tokens })
    }

    /// The `[kafka]` configuration.
    pub fn config(&self) -> &KafkaConfig {
        &self.config
    }

    /// What a client says of itself goes here.
    pub fn events(&self, name: &'static str) -> ClientEvents {
        self.events_with(name, ())
    }

    /// The same, for a client with callbacks of its own, which need `own`.
    pub(super) fn events_with<T>(&self, name: &'static str, own: T) -> ClientEvents<T> {
        ClientEvents {
            name,
            tokens: self.tokens.clone(),
            served: 0.into(),
            errors: 0.into(),
            logged_at: 0.into(),
            suppressed: 0.into(),
            last_error: None.into(),
            own,
        }
    }

    /// The properties that all clients share.
    pub(super) fn base(&self) -> ClientConfig {
        let config = &self.config;
        let mut properties = ClientConfig::new();
        properties
            .set("bootstrap.servers", &config.bootstrap_servers)
            .set("client.id", "watchbell")
            // A broker that is back is noticed within a second: with the default of 10 s consumers came back 9.5 s after it.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            // One-time passwords wait for nobody's Nagle.
            .set("socket.nagle.disable", "true")
            // A half-dead connection is given up before a session would be.
            .set("socket.timeout.ms", "10000")
            .set("socket.keepalive.enable", "true")
            .set("log.connection.close", "false");
        properties.set_log_level(RDKafkaLogLevel::Warning);
        let security = &config.security;
        properties.set("security.protocol", security.protocol.name());
        let files = [
            ("ssl.ca.location", &security.ca_file),
            ("ssl.certificate.location", &security.certificate_file),
            ("ssl.key.location", &security.key_file),
        ];
        for (name, file) in files {
            if let Some(file) = file {
                properties.set(name, file.to_string_lossy());
            }
        }
        if let Some(mechanism) = security.sasl_mechanism {
            // With OAUTHBEARER the token comes from `generate_oauth_token`.
            properties.set("sasl.mechanism", mechanism.name());
        }
        if let (Some(username), Some(password)) = (&security.username, &security.password) {
            properties.set("sasl.username", username).set("sasl.password", password.expose_secret());
        }
        properties
    }

    fn with_operators_own(&self, mut properties: ClientConfig) -> ClientConfig {
        self.config.properties.apply(&mut properties);
        properties
    }

    /// A client that only asks.
    pub(super) fn asking(&self) -> ClientConfig {
        self.with_operators_own(self.base())
    }

    /// A member of `group`, each of whose partitions may prefetch so many KiB.
    pub(super) fn consumer(&self, group: &str, prefetch_kib: u32) -> ClientConfig {
        let config = &self.config;
        let mut properties = self.base();
        properties
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // With `latest`, an eviction before the first commit would skip records silently.
            .set("auto.offset.reset", "earliest")
            .set("max.poll.interval.ms", config.max_poll_interval_ms.to_string())
            // Per partition, because every partition is split off: this is what bounds the memory.
            .set("queued.max.messages.kbytes", prefetch_kib.to_string())
            .set("fetch.message.max.bytes", "65536")
            // A small queue refills after this: with the default of 1,000 ms it ran dry for 500 ms at a time, with 10 for 4 to 15.
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.error.backoff.ms", "100")
            // An idle fetch is answered at once when a record comes; this is how long it may stay open.
            .set("fetch.wait.max.ms", "500")
            .set("fetch.min.bytes", "1")
            .set("check.crcs", "false");
        match config.group_protocol {
            GroupProtocol::Classic => {
                properties
                    .set("group.protocol", "classic")
                    .set("partition.assignment.strategy", "cooperative-sticky")
                    .set("session.timeout.ms", config.session_timeout_ms.to_string())
                    .set("heartbeat.interval.ms", config.heartbeat_interval_ms.to_string());
            }
            // The client refuses the other three: they are settings of the group on the broker.
            GroupProtocol::Consumer => {
                properties.set("group.protocol", "consumer");
            }
        }
        self.with_operators_own(properties)
    }

    /// A producer of what Watchbell writes.
    pub fn producer(&self, linger: Linger) -> ClientConfig {
        let linger_ms = match linger {
            // Batches outcomes, half as many requests as with librdkafka's own 5 ms. Nobody waits for what a worker writes, but the people
            // of an event for many, whose jobs go through a topic.
            Linger::Batches => "10",
            // A phone waits for its answer's acknowledgement and a login screen for `asked`, and of one key one record is written at a
            // time: each would pay for the wait.
            Linger::Never => "0",
        };
        let mut properties = self.base();
        properties
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", linger_ms)
            // The largest input and its dead letter's headers must fit; the topics' own limits rule as well.
            .set("message.max.bytes", MESSAGE_BYTES_MAX)
            // Nothing is given up: a record waits for its broker however long that takes.
            .set("message.timeout.ms", "0")
            // The same partition for a key as the Java clients choose, so that other teams' joins by key work.
            .set("partitioner", "murmur2_random")
            // Beyond this the forwarder keeps what it was given.
            .set("queue.buffering.max.kbytes", "32768")
            .set("queue.buffering.max.messages", "100000");
        self.with_operators_own(properties)
    }

    /// How many partitions each of these topics has; a topic that does not exist has none.
    pub fn partitions(&self, topics: &[&str], timeout: Duration) -> Result<Vec<usize>, ClientError> {
        let unreachable =
            |why: String| ClientError::Unreachable { servers: self.config.bootstrap_servers.clone(), why };
        let asking: BaseConsumer<ClientEvents> =
            self.asking().create_with_context(self.events("asking")).map_err(ClientError::Create)?;
        let until = Instant::now() + timeout;
        let mut counts = Vec::with_capacity(topics.len());
        for topic in topics {
            // Serves a token's refresh, without which nothing connects.
            drop(asking.poll(Duration::ZERO));
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let metadata =
                asking.fetch_metadata(Some(topic), left).map_err(|error| unreachable(self.explain(&asking, &error)))?;
            counts.push(metadata.topics().first().map_or(0, |topic| topic.partitions().len()));
        }
        Ok(counts)
    }

    /// What librdkafka said last is more use to people than "timed out".
    fn explain(&self, asking: &BaseConsumer<ClientEvents>, error: &KafkaError) -> String {
        for _ in 0..100 {
            drop(asking.poll(Duration::ZERO));
        }
        match asking.context().last_error() {
            Some(reason) => format!("{error}; {reason}"),
            None => error.to_string(),
        }
    }
}

/// The context of a client: its log lines, its errors, its token; and what its own callbacks need. Cheap to ask, written from
/// librdkafka's serving thread.
#[derive(Debug)]
pub struct ClientEvents<T = ()> {
    name: &'static str,
    tokens: Option<Arc<TokenSource>>,
    /// Everything that was served besides records: tells a poll that found nothing from one that served an event.
    served: AtomicU64,
    errors: AtomicU64,
    /// The second in which the last line was logged, since the epoch of this process's clock.
    logged_at: AtomicI64,
    suppressed: AtomicU64,
    last_error: std::sync::Mutex<Option<String>>,
    pub(super) own: T,
}

impl<T> ClientEvents<T> {
    /// Events served so far.
    pub(super) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    pub(super) fn serve(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }

    /// Errors so far.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    fn last_error(&self) -> Option<String> {
        self.last_error.lock().ok().and_then(|last| last.clone())
    }

    /// Counts an error, and logs it unless one was logged in this second.
    pub(super) fn report(&self, what: &str, error: &KafkaError, reason: &str) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        // That all brokers are down says less than why the last one is.
        let says_why = error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown);
        if let Ok(mut last) = self.last_error.lock()
            && (says_why || last.is_none())
        {
            *last = Some(reason.to_owned());
        }
        if let Some(suppressed) = self.may_log() {
            tracing::warn!(client = self.name, suppressed, %error, reason, "Kafka: {what}");
        }
    }

    /// How many lines were suppressed since the last one, if one may be logged now.
    fn may_log(&self) -> Option<u64> {
        let epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let second = epoch.as_secs() as i64;
        if self.logged_at.swap(second, Ordering::Relaxed) == second {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.suppressed.swap(0, Ordering::Relaxed))
    }
}

impl<T: Send + Sync + 'static> ClientContext for ClientEvents<T> {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.serve();
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                // The same as what arrives as an error event; here without a code.
                if let Some(suppressed) = self.may_log() {
                    tracing::warn!(client = self.name, suppressed, facility, line, "librdkafka");
                }
            }
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => {
                tracing::info!(client = self.name, facility, line, "librdkafka");
            }
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(client = self.name, facility, line, "librdkafka");
            }
        }
    }

    fn stats_raw(&self, _statistics: &[u8]) {
        self.serve();
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.serve();
        let what = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                "the broker refused our credentials (kafka.security)"
            }
            Some(RDKafkaErrorCode::SSL) => "TLS failed (kafka.security)",
            Some(RDKafkaErrorCode::AllBrokersDown) => "no broker can be reached (kafka.bootstrap_servers)",
            _ => "a client reports an error",
        };
        self.report(what, &error, reason);
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.serve();
        let tokens = self.tokens.as_ref().ok_or("kafka.security has no token_url")?;
        Ok(tokens.token()?)
    }
}

impl ConsumerContext for ClientEvents {}
