//! The whole product around one test: a broker's topics of its own, a migrated store, the simulators, and workers as processes.
use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use prost::Message as _;
use tempfile::TempDir;
use watchbell::config::Config;
use watchbell::event::{DeviceId, NotificationType, Timestamp, UserId, WorkspaceId, wire};
use watchbell::kafka::admin::{Admin, NewTopics};
use watchbell::kafka::client::Clients;
use watchbell::kafka::config::TopicsConfig;
use watchbell::policy::{Device, Environment, Installation, Platform, Token};
use watchbell::sandbox::{Sandbox, SandboxConfig};
use watchbell::seam::{Clock as _, SystemClock};
use watchbell::store::{Change, OpenError, Policy, PolicyConfig, migrate, open};

use super::eventually;
use super::kafka::{Producer, Reader, lag};
use super::process::Watchbell;
use super::services::{shared_postgres_database, unique};

/// The app of every device on the stage, on both platforms.
pub const APP: &str = "com.example.app";
/// Another app of Apple's, served by the same credential.
pub const OTHER_APP: &str = "com.example.other";
/// The workspace of everybody on the stage.
pub const WORKSPACE: &str = "acme";
/// How long anything on the stage may take before the test gives up on it.
pub const CEILING: Duration = Duration::from_secs(90);

/// See the module.
pub struct Stage {
    pub bootstrap: String,
    pub sandbox: Sandbox,
    pub topics: TopicsConfig,
    pub group: String,
    pub store_url: String,
    pub redis_url: Option<String>,
    /// More of section `[policy]`.
    pub policy: &'static str,
    /// `guard.max`: more than the product's, because loads ask the same few people again and again.
    pub guard_max: u32,
    pub producer: Producer,
    extra: String,
    runtime: tokio::runtime::Runtime,
    _dir: TempDir,
}

impl Stage {
    /// On that broker, with PostgreSQL and topics of its own. `people` have one iPhone each, `token_of(name)`.
    pub fn new(bootstrap: &str, partitions: i32, people: &[String]) -> Self {
        Self::with(bootstrap, partitions, people, SandboxConfig::default(), "")
    }

    /// As [`Stage::new`], with a sandbox of the caller's, and more configuration: TOML that begins within `[kafka]`.
    pub fn with(bootstrap: &str, partitions: i32, people: &[String], sandbox: SandboxConfig, extra: &str) -> Self {
        let store_url = shared_postgres_database();
        let stage = Self::bare(bootstrap, partitions, store_url, sandbox, extra);
        stage.add_people(people);
        stage
    }

    /// With a store of the caller's, and nobody in it.
    pub fn bare(bootstrap: &str, partitions: i32, store_url: String, sandbox: SandboxConfig, extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let sandbox = runtime.block_on(Sandbox::start(sandbox)).unwrap();
        let prefix = unique("stage");
        let named = |name: &str| format!("{prefix}.{name}");
        let topics = TopicsConfig {
            identity_verification: named("identity-verification"),
            trusted_device: named("trusted-device"),
            account_sharing: named("account-sharing"),
            otp_received: named("otp-received"),
            decisions: named("decisions"),
            audit: named("audit"),
            lifecycle: named("lifecycle"),
            jobs: named("jobs"),
            hold: named("hold"),
            dlq: named("dlq"),
            redrive: named("redrive"),
            outcomes: named("outcomes"),
        };
        let stage = Self {
            bootstrap: bootstrap.to_owned(),
            sandbox,
            topics,
            group: named("group"),
            store_url,
            redis_url: None,
            policy: "",
            guard_max: 10_000,
            producer: Producer::new(bootstrap),
            extra: extra.to_owned(),
            runtime,
            _dir: dir,
        };
        let config = load(&stage.config());
        stage.runtime.block_on(async {
            migrate(&config.policy, false).await.unwrap();
            let clients = Clients::new(config.kafka.clone()).unwrap();
            let credentials = config.credentials();
            let admin = Admin::new(&clients, &config.topics, credentials.iter().map(String::as_str));
            admin.create(&NewTopics { partitions, replication: 1, with_upstreams: true }).await.unwrap();
            // What was just made is not known to every part of a busy broker at once, and a worker insists on it.
            let given_up = Instant::now() + CEILING;
            while !admin.problems().await.is_ok_and(|problems| problems.is_empty()) {
                assert!(Instant::now() < given_up, "the topics are not there: {:?}", admin.problems().await);
            }
        });
        stage
    }

    /// The workers' configuration.
    pub fn config(&self) -> String {
        let (sandbox, topics) = (&self.sandbox, &self.topics);
        let key = &sandbox.apns().keys()[0];
        let account = &sandbox.fcm().service_accounts()[0];
        let ca = sandbox.ca_file().display();
        let mut text = format!("[kafka]\nbootstrap_servers = {:?}\ngroup = {:?}\n", self.bootstrap, self.group);
        writeln!(text, "{}", self.extra).unwrap();
        writeln!(text, "[topics]\nidentity_verification = {:?}\ntrusted_device = {:?}\naccount_sharing = {:?}\notp_received = {:?}\ndecisions = {:?}\naudit = {:?}\nlifecycle = {:?}\njobs = {:?}\nhold = {:?}\ndlq = {:?}\nredrive = {:?}\noutcomes = {:?}",
            topics.identity_verification, topics.trusted_device, topics.account_sharing, topics.otp_received, topics.decisions,
            topics.audit, topics.lifecycle, topics.jobs, topics.hold, topics.dlq, topics.redrive, topics.outcomes).unwrap();
        writeln!(text, "[policy]\nstore_url = {:?}\n{}", self.store_url, self.policy).unwrap();
        if let Some(redis) = &self.redis_url {
            writeln!(text, "redis_url = {redis:?}").unwrap();
        }
        writeln!(text, "[guard]\nmax = {}", self.guard_max).unwrap();
        writeln!(text, "[apns.main]\nteam_id = {:?}\nkey_id = {:?}\nkey_file = {:?}\napps = [{APP:?}, {OTHER_APP:?}]\nenvironment = \"production\"\nbase_url = {:?}\nca_file = \"{ca}\"",
            key.key.team_id, key.key.key_id, key.path.display().to_string(), sandbox.apns_url()).unwrap();
        writeln!(
            text,
            "[fcm.main]\nservice_account_file = {:?}\napps = [{APP:?}]\nbase_url = {:?}\nca_file = \"{ca}\"",
            account.path.display().to_string(),
            sandbox.fcm_url()
        )
        .unwrap();
        text
    }

    /// A worker that is ready.
    pub fn worker(&self) -> Watchbell {
        let mut worker = Watchbell::worker(&self.config());
        worker.wait_ready();
        worker
    }

    /// Gives each of these people one iPhone.
    pub fn add_people(&self, people: &[String]) {
        let devices: Vec<Change> =
            people.iter().map(|name| device(name, "phone", Platform::Apns, &token_of(name))).collect();
        self.write(&devices);
    }

    /// Writes to the store as an admin would.
    pub fn write(&self, changes: &[Change]) {
        let config = load(&self.config());
        self.runtime.block_on(async {
            let policy = opened(&config.policy).await;
            for chunk in changes.chunks(500) {
                policy.admin().write(chunk).await.unwrap();
            }
            policy.close().await;
        });
    }

    /// Puts an event on its type's topic.
    pub fn emit(&self, kind: NotificationType, event: &wire::Event) {
        let key = if event.recipients.len() == 1 { &event.recipients[0] } else { &event.event_id };
        self.producer.send_to(self.topics.event(kind), key, event.encode_to_vec());
    }

    /// Everything on the outcomes topic up to its end.
    pub fn outcomes(&self) -> Vec<wire::Outcome> {
        let mut reader = Reader::from_beginning(&self.bootstrap, &[&self.topics.outcomes]);
        let records = reader.up_to_the_end();
        records.iter().map(|record| wire::Outcome::decode(&**record.payload.as_ref().unwrap()).unwrap()).collect()
    }

    /// Waits until so many different jobs have an outcome.
    pub fn wait_outcomes(&self, jobs: usize) -> HashMap<Vec<u8>, Vec<wire::Outcome>> {
        eventually("all outcomes", CEILING, || {
            let mut by_job: HashMap<Vec<u8>, Vec<wire::Outcome>> = HashMap::new();
            for outcome in self.outcomes() {
                by_job.entry(outcome.job_id.clone()).or_default().push(outcome);
            }
            (by_job.len() >= jobs).then_some(by_job)
        })
    }

    /// Waits until everything on a topic is committed by the events' group.
    pub fn wait_committed(&self, kind: NotificationType) {
        eventually("the lag to be gone", CEILING, || {
            (lag(&self.bootstrap, &self.group, self.topics.event(kind)) == 0).then_some(())
        });
    }
}

fn load(text: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("watchbell.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(Some(&file), std::iter::empty()).unwrap()
}

/// The token of a person's iPhone.
pub fn token_of(name: &str) -> String {
    let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex:0>64}")
}

/// A device row.
pub fn device(user: &str, id: &str, platform: Platform, token: &str) -> Change {
    device_of(APP, user, id, platform, token)
}

/// A device row of that app.
pub fn device_of(app: &str, user: &str, id: &str, platform: Platform, token: &str) -> Change {
    Change::Device {
        workspace: WorkspaceId::new(WORKSPACE).unwrap(),
        user: UserId::new(user).unwrap(),
        device: Device {
            id: DeviceId::new(id).unwrap(),
            installation: Installation {
                platform,
                app: app.into(),
                environment: Environment::Production,
                token: Token::new(token),
            },
            locale: "en-US".into(),
            registered_at: Timestamp::from_secs(1_700_000_000),
            quiet: false,
        },
        last_seen: SystemClock.now(),
    }
}

/// An OTP event for these people, now.
pub fn otp(id: &str, recipients: &[&str]) -> wire::Event {
    let body = wire::event::Body::OtpReceived(wire::OtpReceived { account: "Bank".into(), service: "ACME".into() });
    event(id, recipients, body)
}

/// A sharing event for these people, now.
pub fn sharing(id: &str, recipients: &[&str]) -> wire::Event {
    let body = wire::event::Body::AccountShared(wire::AccountShared {
        account: "Payroll".into(),
        shared_by: "Ana".into(),
        access_level: 0,
    });
    event(id, recipients, body)
}

/// Any event for these people, now.
pub fn event(id: &str, recipients: &[&str], body: wire::event::Body) -> wire::Event {
    let millis = SystemClock.now().as_millis();
    wire::Event {
        event_id: id.into(),
        workspace_id: WORKSPACE.into(),
        recipients: recipients.iter().map(|name| (*name).to_owned()).collect(),
        occurred_at: Some(prost_types::Timestamp { seconds: millis / 1000, nanos: (millis % 1000) as i32 * 1_000_000 }),
        expires_at: None,
        test: false,
        body: Some(body),
    }
}

/// The store, opened as often as a busy machine needs.
async fn opened(config: &PolicyConfig) -> Policy {
    let by = Instant::now() + CEILING;
    loop {
        match open(config).await {
            Err(OpenError::Unreachable(why)) if Instant::now() < by => eprintln!("the store is not open yet: {why}"),
            opened => return opened.unwrap(),
        }
    }
}
