//! What processes under measurement work with: topics, people and devices in a store, the simulator.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::sync::oneshot;
use watchbell::event::{DeviceId, NotificationType, Timestamp, UserId, WorkspaceId};
use watchbell::policy::{Detail, Device, Environment, Installation, Platform, Token};
use watchbell::sandbox::config::{ApnsConfig, Recording};
use watchbell::sandbox::{Sandbox, SandboxConfig};
use watchbell::store::{self, Change, PolicyConfig};

use crate::process;

/// Everybody's one device.
pub(crate) const DEVICE: &str = "phone";
pub(crate) const APP: &str = "com.example.watchbell";
/// Changes in one transaction of the store, and how long it may take.
const CHUNK: usize = 1_000;
const CHUNK_TIMEOUT_MS: i64 = 30_000;

/// A variable by which `tests/services/run` says where it runs what.
pub(crate) fn services(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: run this by make, which starts the services"))
}

/// The target folder that this program lies in, and an empty folder of that name there.
pub(crate) fn fresh_dir(name: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("this program lies in no target folder")?.to_owned();
    let dir = target.join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    Ok((target, dir))
}

/// So many people, each with one device, spread over so many workspaces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct People {
    pub(crate) count: u64,
    pub(crate) workspaces: u64,
}

impl People {
    pub(crate) fn workspace(self, owner: u64) -> String {
        format!("workspace-{:02}", owner % self.workspaces)
    }
}

pub(crate) fn user(owner: u64) -> String {
    format!("user-{owner:06}")
}

/// The names of one run's topics: no run reads what another wrote.
#[derive(Clone)]
pub(crate) struct Topics {
    run: String,
    events: [String; NotificationType::COUNT],
    outcomes: String,
}

impl Topics {
    pub(crate) fn new(run: &str) -> Self {
        let events = NotificationType::ALL.map(|kind| format!("{run}.{}", kind.name()));
        Self { run: run.to_owned(), events, outcomes: format!("{run}.outcomes") }
    }

    /// The same topics, but one for the outcomes of that process alone.
    pub(crate) fn with_outcomes_of(&self, process: &str) -> Self {
        Self { outcomes: format!("{}.outcomes.{process}", self.run), ..self.clone() }
    }

    pub(crate) fn outcomes(&self) -> &str {
        &self.outcomes
    }

    pub(crate) fn event(&self, kind: NotificationType) -> &str {
        &self.events[kind.index()]
    }

    pub(crate) fn named(&self, what: &str) -> String {
        format!("{}.{what}", self.run)
    }

    pub(crate) fn toml(&self) -> String {
        // The load asks its people again and again, and every push is to be counted.
        let mut lines = vec!["[guard]\nmax = 10000\n[topics]".to_owned()];
        lines.extend(NotificationType::ALL.map(|kind| format!("{} = {:?}", kind.name(), self.event(kind))));
        lines.push(format!("outcomes = {:?}", self.outcomes));
        let others = ["decisions", "audit", "jobs", "hold", "dlq", "redrive"];
        lines.extend(others.map(|name| format!("{name} = {:?}", self.named(name))));
        lines.join("\n")
    }
}

/// Fills a new store with these people.
pub(crate) fn populate(store_url: &str, people: People) -> anyhow::Result<()> {
    // The keys of the section but the store's URL, from the defaults that everybody has.
    let defaults: toml::Table = watchbell::config::DEFAULTS.parse()?;
    let mut section = defaults.get("policy").and_then(toml::Value::as_table).context("no [policy]")?.clone();
    section.insert("store_url".into(), store_url.into());
    section.insert("store_timeout_ms".into(), CHUNK_TIMEOUT_MS.into());
    let config: PolicyConfig = section.try_into()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        store::migrate(&config, false).await?;
        let policy = store::open(&config).await?;
        let mut changes = Vec::with_capacity(CHUNK);
        for number in 0..people.workspaces {
            let (workspace, display_name) = (WorkspaceId::new(people.workspace(number))?, format!("Acme {number}"));
            changes.push(Change::Workspace { workspace, display_name, detail: Detail::Minimal });
        }
        for owner in 0..people.count {
            changes.push(device(people, owner)?);
            if changes.len() == CHUNK || owner + 1 == people.count {
                policy.admin().write(&changes).await?;
                changes.clear();
            }
        }
        policy.close().await;
        Ok(())
    })
}

fn device(people: People, owner: u64) -> anyhow::Result<Change> {
    let installation = Installation {
        platform: Platform::Apns,
        app: APP.into(),
        environment: Environment::Production,
        // 32 bytes in hexadecimal, as Apple's tokens are today.
        token: Token::new(format!("{owner:064x}")),
    };
    let registered_at = Timestamp::from_secs(1_700_000_000);
    let locale = ["en-US", "es-ES", "de-DE", "ja-JP"][(owner % 4) as usize].to_owned();
    let device = Device { id: DeviceId::new(DEVICE.to_owned())?, installation, locale, registered_at, quiet: false };
    let (workspace, user) = (WorkspaceId::new(people.workspace(owner))?, UserId::new(user(owner))?);
    Ok(Change::Device { workspace, user, device, last_seen: registered_at })
}

/// The APNs simulator, on a thread of its own in this process.
pub(crate) struct Simulator {
    sandbox: Arc<Sandbox>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<anyhow::Result<()>>>,
    tid: u32,
}

impl Simulator {
    /// Starts it with its keys and CA in `dir`.
    pub(crate) fn start(dir: &Path, recording: Recording) -> anyhow::Result<Self> {
        let apns = ApnsConfig { recording, ..ApnsConfig::default() };
        let config = SandboxConfig { dir: Some(dir.to_owned()), apns, ..SandboxConfig::default() };
        let (stop, stopped) = oneshot::channel();
        let (sender, started) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("simulator".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let sandbox = Arc::new(Sandbox::start(config).await?);
                let tid = process::this_thread()?;
                sender.send((Arc::clone(&sandbox), tid)).context("the benchmark has ended")?;
                // An error is the sender's end, which is an end too.
                drop(stopped.await);
                anyhow::Ok(())
            })
        })?;
        let Ok((sandbox, tid)) = started.recv() else {
            thread.join().map_err(|_| anyhow::anyhow!("the simulator panicked"))??;
            bail!("the simulator did not start");
        };
        Ok(Self { sandbox, stop: Some(stop), thread: Some(thread), tid })
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Pushes accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.sandbox.apns().accepted()
    }

    /// CPU time of its thread.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        process::thread_cpu(self.tid)
    }

    /// Fails if it refused anything: a benchmark of refusals means nothing.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let refused = self.sandbox.apns().refused();
        ensure!(refused.is_empty(), "the simulator refused pushes: {refused:?}");
        Ok(())
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(_) | Ok(Err(_))) = self.thread.take().map(std::thread::JoinHandle::join) {
            tracing::error!("the simulator ended badly");
        }
    }
}
