//! What the worker works with: topics, people and devices, the simulator, and the worker process itself.
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::sync::oneshot;
use watchbell::event::{DeviceId, NotificationType, Timestamp, UserId, WorkspaceId};
use watchbell::policy::{Detail, Device, Environment, Installation, Platform, Token};
use watchbell::sandbox::config::{ApnsConfig, Recording};
use watchbell::sandbox::{Sandbox, SandboxConfig};
use watchbell::store::{self, Change, PolicyConfig};

use crate::{MEASURED_CORE, process};

/// Everybody's one device.
pub(crate) const DEVICE: &str = "phone";
const APP: &str = "com.example.watchbell";
/// People are spread over so many workspaces.
const WORKSPACES: u64 = 100;
/// Changes in one transaction of the store, and how long it may take.
const CHUNK: usize = 1_000;
const CHUNK_TIMEOUT_MS: i64 = 30_000;
/// How long a worker may take from its start until it is ready.
const READY: Duration = Duration::from_secs(60);

pub(crate) fn workspace(owner: u64) -> String {
    format!("workspace-{:02}", owner % WORKSPACES)
}

pub(crate) fn user(owner: u64) -> String {
    format!("user-{owner:06}")
}

/// The names of one run's topics: no run reads what another wrote.
#[derive(Clone)]
pub(crate) struct Topics {
    run: String,
    events: [String; NotificationType::COUNT],
}

impl Topics {
    pub(crate) fn new(run: &str) -> Self {
        Self { run: run.to_owned(), events: NotificationType::ALL.map(|kind| format!("{run}.{}", kind.name())) }
    }

    pub(crate) fn event(&self, kind: NotificationType) -> &str {
        &self.events[kind.index()]
    }

    fn named(&self, what: &str) -> String {
        format!("{}.{what}", self.run)
    }

    fn toml(&self) -> String {
        let mut lines = vec!["[topics]".to_owned()];
        lines.extend(NotificationType::ALL.map(|kind| format!("{} = {:?}", kind.name(), self.event(kind))));
        let others = ["decisions", "jobs", "hold", "dlq", "redrive", "outcomes"];
        lines.extend(others.map(|name| format!("{name} = {:?}", self.named(name))));
        lines.join("\n")
    }
}

/// Fills a new SQLite store with so many people.
pub(crate) fn populate(file: &Path, recipients: u64) -> anyhow::Result<()> {
    // The keys of the section but the store's URL, from the defaults that everybody has.
    let defaults: toml::Table = watchbell::config::DEFAULTS.parse()?;
    let mut section = defaults.get("policy").and_then(toml::Value::as_table).context("no [policy]")?.clone();
    section.insert("store_url".into(), format!("sqlite:{}", file.display()).into());
    section.insert("store_timeout_ms".into(), CHUNK_TIMEOUT_MS.into());
    let config: PolicyConfig = section.try_into()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        store::migrate(&config, false).await?;
        let policy = store::open(&config).await?;
        let mut changes = Vec::with_capacity(CHUNK);
        for number in 0..WORKSPACES {
            let (workspace, display_name) = (WorkspaceId::new(workspace(number))?, format!("Acme {number}"));
            changes.push(Change::Workspace { workspace, display_name, detail: Detail::Minimal });
        }
        for owner in 0..recipients {
            changes.push(device(owner)?);
            if changes.len() == CHUNK || owner + 1 == recipients {
                policy.admin().write(&changes).await?;
                changes.clear();
            }
        }
        policy.close().await;
        Ok(())
    })
}

fn device(owner: u64) -> anyhow::Result<Change> {
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
    let (workspace, user) = (WorkspaceId::new(workspace(owner))?, UserId::new(user(owner))?);
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

/// What one worker process is started with.
pub(crate) struct Setup<'a> {
    pub(crate) name: &'a str,
    pub(crate) dir: &'a Path,
    pub(crate) bootstrap: &'a str,
    pub(crate) topics: &'a Topics,
    pub(crate) store: &'a Path,
    pub(crate) simulator: &'a Simulator,
    /// Lines `section.key = value`, beside what every worker of the benchmark needs.
    pub(crate) settings: &'a [String],
}

/// A running worker, killed when dropped.
pub(crate) struct Worker {
    child: Child,
    http_port: u16,
    log: PathBuf,
}

impl Worker {
    /// Makes its topics, starts the release binary that lies beside this program on the measured core, and waits until it is ready.
    pub(crate) fn start(setup: &Setup<'_>) -> anyhow::Result<Self> {
        // Free now; nobody else on this machine is likely to take it within the second.
        let http_port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let file = setup.dir.join(format!("{}.toml", setup.name));
        fs::write(&file, setup.toml(http_port)?)?;
        let program = std::env::current_exe()?.with_file_name("watchbell");
        make_topics(&program, &file)?;
        let log = setup.dir.join(format!("{}.log", setup.name));
        let output = File::create(&log)?;
        let child = process::pinned(MEASURED_CORE, &program)
            .arg("worker")
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("starting the worker")?;
        let mut worker = Self { child, http_port, log };
        let started = Instant::now();
        while !worker.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            worker.check()?;
            ensure!(started.elapsed() < READY, "the worker is not ready; see {}", worker.log.display());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(worker)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails if it has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "the worker ended; see {}", self.log.display());
        Ok(())
    }

    /// The sum of a metric over its labels; 0 without one.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let answer = self.get("/metrics").unwrap_or_default();
        let of_that_name = answer.lines().filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            rest.starts_with('{') || rest.starts_with(' ')
        });
        of_that_name.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http_port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

/// Partitions of each topic: one worker needs no more, its order is by key, and a broker that shares a core pays for each batch and each
/// fetch by partition.
const PARTITIONS: &str = "1";

fn make_topics(program: &Path, config: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command
        .args(["topics", "--config"])
        .arg(config)
        .args(["create", "--replication", "1", "--with-upstreams"])
        .args(["--partitions", PARTITIONS]);
    let output = command.output().context("running watchbell topics")?;
    ensure!(output.status.success(), "watchbell topics: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            tracing::error!(%error, "a worker may be left over");
        }
    }
}

impl Setup<'_> {
    fn toml(&self, http_port: u16) -> anyhow::Result<String> {
        let apns = self.simulator.sandbox().apns();
        let key = apns.keys().first().context("the simulator has no key")?;
        let lines = [
            format!("kafka.bootstrap_servers = {:?}", self.bootstrap),
            format!("kafka.group = {:?}", self.topics.named("worker")),
            format!("policy.store_url = \"sqlite:{}\"", self.store.display()),
            // The cache is to be hot; a run may last longer than the minute for which an entry lives by default.
            "policy.ttl_s = 3600".to_owned(),
            "policy.max_stale_s = 3600".to_owned(),
            format!("worker.http_listen = \"127.0.0.1:{http_port}\""),
        ];
        let credential = [
            "[apns.main]".to_owned(),
            format!("team_id = {:?}", key.key.team_id),
            format!("key_id = {:?}", key.key.key_id),
            format!("key_file = {:?}", key.path),
            format!("apps = [{APP:?}]"),
            "environment = \"production\"".to_owned(),
            format!("base_url = {:?}", self.simulator.sandbox().apns_url()),
            format!("ca_file = {:?}", self.simulator.sandbox().ca_file()),
        ];
        Ok([&lines[..], self.settings, &credential[..], &[self.topics.toml()]].concat().join("\n") + "\n")
    }
}
