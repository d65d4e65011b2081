//! Runs the `watchbell` binary as its users do.
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::services::{free_port, send_signal};
use super::{SOON, eventually};

/// Runs `watchbell` to its end and returns its status and what it printed.
pub fn watchbell(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// The binary of this build, without any `WATCHBELL_` variable of the caller's that would count as configuration.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_watchbell"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WATCHBELL_") {
            command.env_remove(name);
        }
    }
    command
}

/// A running `watchbell`, killed when dropped; its output goes to a file that failing tests show.
pub struct Watchbell {
    child: Child,
    dir: TempDir,
    /// Its HTTP side (livez, readyz, metrics) on loopback.
    pub http_port: u16,
    /// The API on loopback, if it serves one.
    pub api_port: u16,
}

impl Watchbell {
    /// Starts `watchbell worker` with this TOML configuration, to which the HTTP side's address is added by environment.
    pub fn worker(config: &str) -> Self {
        Self::start("worker", config)
    }

    /// Starts `watchbell api` likewise; the API itself is on [`Self::api_port`].
    pub fn api(config: &str) -> Self {
        Self::start("api", config)
    }

    fn start(role: &str, config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("watchbell.toml");
        fs::write(&file, config).unwrap();
        let (http_port, api_port) = (free_port(), free_port());
        let log = File::create(dir.path().join("log")).unwrap();
        let child = command(&[role, "--config", file.to_str().unwrap()])
            .env("WATCHBELL_WORKER__HTTP_LISTEN", format!("127.0.0.1:{http_port}"))
            .env("WATCHBELL_API__TELEMETRY_LISTEN", format!("127.0.0.1:{http_port}"))
            .env("WATCHBELL_API__HTTP_LISTEN", format!("127.0.0.1:{api_port}"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, dir, http_port, api_port }
    }

    /// Waits until `/readyz` answers 200.
    pub fn wait_ready(&mut self) {
        let log = self.log_file();
        eventually("watchbell to be ready", Duration::from_secs(60), || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "watchbell ended ({ended:?}):\n{}", read(&log));
            (self.get("/readyz")?.0 == 200).then_some(())
        });
    }

    /// Status and body of a GET on its HTTP side; None while nobody answers there.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http_port)).ok()?;
        stream.set_read_timeout(Some(SOON)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// The sum of a metric's samples that have all of `labels` (each written `name="value"`); 0 if there is none.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (_, text) = self.get("/metrics").expect("watchbell answers on /metrics");
        let of_that_name = text.lines().filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            (rest.starts_with('{') || rest.starts_with(' ')) && labels.iter().all(|label| rest.contains(label))
        });
        of_that_name.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        send_signal("TERM", &[self.pid()]);
    }

    /// Waits for its end.
    pub fn wait(&mut self, ceiling: Duration) -> ExitStatus {
        let log = self.log_file();
        let ended = eventually("watchbell to end", ceiling, || self.child.try_wait().unwrap());
        assert!(!read(&log).contains("panicked at"), "watchbell panicked:\n{}", read(&log));
        ended
    }

    /// Kills it (SIGKILL) and waits.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Freezes it (SIGSTOP) until [`Self::thaw`].
    pub fn freeze(&self) {
        send_signal("STOP", &[self.pid()]);
    }

    /// Lets it run again.
    pub fn thaw(&self) {
        send_signal("CONT", &[self.pid()]);
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        read(&self.log_file())
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

impl Drop for Watchbell {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("the end of watchbell's output:");
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}
