//! A `watchbell` process under measurement: its configuration, its start, its pages.
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::process;
use crate::stage::{APP, Simulator, Topics};

/// How long a process may take from its start until it is ready.
const READY: Duration = Duration::from_secs(60);

/// What a process is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    Worker,
    Api,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Api => "api",
        }
    }

    /// The key of the address at which its pages are.
    fn pages(self) -> &'static str {
        match self {
            Self::Worker => "worker.http_listen",
            Self::Api => "api.telemetry_listen",
        }
    }
}

/// What one process is started with.
pub(crate) struct Setup<'a> {
    pub(crate) role: Role,
    pub(crate) name: &'a str,
    pub(crate) dir: &'a Path,
    pub(crate) bootstrap: &'a str,
    pub(crate) topics: &'a Topics,
    pub(crate) store_url: &'a str,
    pub(crate) simulator: &'a Simulator,
    /// Lines `section.key = value`, beside what every process of the benchmarks needs.
    pub(crate) settings: &'a [String],
    /// The only core that it may use, if it is to have only one.
    pub(crate) core: Option<usize>,
    /// Partitions of each topic that is not there yet.
    pub(crate) partitions: u32,
}

/// A running process, killed when dropped.
pub(crate) struct Running {
    child: Child,
    http_port: u16,
    log: PathBuf,
}

/// Free now; nobody else on this machine is likely to take it within the second.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

impl Running {
    /// Makes its topics and starts the release binary that lies beside this program.
    pub(crate) fn start(setup: &Setup<'_>) -> anyhow::Result<Self> {
        let http_port = free_port()?;
        let file = setup.dir.join(format!("{}.toml", setup.name));
        fs::write(&file, setup.toml(http_port)?)?;
        let program = std::env::current_exe()?.with_file_name("watchbell");
        make_topics(&program, &file, setup.partitions)?;
        let log = setup.dir.join(format!("{}.log", setup.name));
        let output = File::create(&log)?;
        let mut command = match setup.core {
            Some(core) => process::pinned(core, &program),
            None => Command::new(&program),
        };
        command.args([setup.role.name(), "--config"]).arg(&file);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("starting {}", setup.name))?;
        Ok(Self { child, http_port, log })
    }

    /// Waits until it is ready.
    pub(crate) fn wait_ready(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        while !self.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            self.check()?;
            ensure!(started.elapsed() < READY, "a process is not ready; see {}", self.log.display());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails if it has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "a process ended; see {}", self.log.display());
        Ok(())
    }

    /// The sum of a metric over its labels; 0 without one.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let answer = self.get("/metrics").unwrap_or_default();
        let of_that_name = answer.lines().filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            rest.starts_with('{') || rest.starts_with(' ')
        });
        of_that_name.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).fold(0.0, |sum, value| sum + value)
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

fn make_topics(program: &Path, config: &Path, partitions: u32) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command
        .args(["topics", "--config"])
        .arg(config)
        .args(["create", "--replication", "1", "--with-upstreams"])
        .args(["--partitions", &partitions.to_string()]);
    let output = command.output().context("running watchbell topics")?;
    ensure!(output.status.success(), "watchbell topics: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            tracing::error!(%error, "a process may be left over");
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
            format!("policy.store_url = {:?}", self.store_url),
            format!("{} = \"127.0.0.1:{http_port}\"", self.role.pages()),
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
