//! A [`Member`] is one consumer group member whose records the test ends as it likes.
#![allow(dead_code, reason = "two test binaries share this module; neither uses all of it")]
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use watchbell::kafka::client::Clients;
use watchbell::kafka::config::{GroupProtocol, KafkaConfig, TopicsConfig};
use watchbell::kafka::source::{Source, SourceHandle, Subscription};
use watchbell::seam::{Budget, Feed, Record, RecordSource};

use crate::support::{SOON, eventually};

/// Both group protocols, for the tests that speak of groups.
pub const PROTOCOLS: [GroupProtocol; 2] = [GroupProtocol::Classic, GroupProtocol::Consumer];

/// The shipped settings, on this broker.
pub fn config(bootstrap: &str, group: &str) -> KafkaConfig {
    let text = format!(
        r#"
        bootstrap_servers = "{bootstrap}"
        group = "{group}"
        group_protocol = "classic"
        session_timeout_ms = 6000
        heartbeat_interval_ms = 500
        max_poll_interval_ms = 60000
        revoke_drain_ms = 1000
        commit_interval_ms = 100
        prefetch_budget_mib = 16
        security.protocol = "plaintext"
        properties = {{}}
        "#
    );
    toml::from_str(&text).unwrap()
}

/// Topics of a test's own, all with `prefix`.
pub fn topics(prefix: &str) -> TopicsConfig {
    let named = |name: &str| format!("{prefix}.{name}");
    TopicsConfig {
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
    }
}

/// One member of a group. What it reads piles up until the test takes it.
pub struct Member {
    inbox: Arc<Mutex<Vec<Record>>>,
    pub handle: SourceHandle,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    /// Joins `config.group` for these topics, each with a budget.
    pub fn join(config: &KafkaConfig, topics: &[(&str, Feed, usize)]) -> Self {
        let topics: Vec<_> = topics.iter().map(|(topic, feed, places)| (*topic, *feed, Budget::new(*places))).collect();
        Self::join_with(config, &topics)
    }

    /// The same with budgets of the test's own.
    pub fn join_with(config: &KafkaConfig, topics: &[(&str, Feed, Arc<Budget>)]) -> Self {
        let budgets: HashMap<_, _> = topics.iter().map(|(_, feed, budget)| (*feed, Arc::clone(budget))).collect();
        let subscription = Subscription {
            group: config.group.clone(),
            topics: topics.iter().map(|(topic, feed, _)| ((*topic).to_owned(), *feed)).collect(),
            prefetch_kib: config.prefetch_budget_mib * 1024,
        };
        let mut source = Source::start(&Clients::new(config.clone()).unwrap(), subscription, budgets).unwrap();
        let handle = source.handle();
        let inbox: Arc<Mutex<Vec<Record>>> = Arc::default();
        let into = Arc::clone(&inbox);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            while let Some(batch) = runtime.block_on(source.receive()) {
                assert!(batch.len() <= 256, "a batch of {}", batch.len());
                into.lock().unwrap().extend(batch);
            }
        });
        Self { inbox, handle, thread: Some(thread) }
    }

    /// Everything that was read and not taken yet.
    pub fn take(&self) -> Vec<Record> {
        std::mem::take(&mut self.inbox.lock().unwrap())
    }

    /// Takes until there are so many.
    pub fn take_count(&self, count: usize) -> Vec<Record> {
        let mut taken = Vec::new();
        eventually(&format!("{count} records"), SOON, || {
            taken.extend(self.take());
            (taken.len() >= count).then_some(())
        });
        taken
    }

    /// Waits until this member owns so many partitions and nothing else is going on.
    pub fn wait_partitions(&self, count: usize) {
        eventually(&format!("{count} partitions"), Duration::from_secs(60), || {
            (self.handle.view().partitions.len() == count).then_some(())
        });
    }

    /// Leaves the group: what is in flight may end until `drain` from now.
    pub fn leave(mut self, drain: Duration) {
        self.handle.stop(Instant::now() + drain);
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.handle.stop(Instant::now());
    }
}

/// Tells the lease that the record is finished, and gives its place back.
pub fn finish(record: Record) {
    record.lease.finish(record.offset);
}
