//! Kafka, Redis and PostgreSQL for tests: the shared ones that `tests/services/run` started, and ones of a test's own.
//!
//! Tests that only use a service take the shared one ([`shared_kafka`] and so on) with topics, groups, keys and databases
//! named by [`unique`]. Tests that stop, kill or freeze a service start their own ([`Broker`], [`Redis`], [`Postgres`]):
//! a port and a folder of its own, gone when the value is dropped.
//!
//! It fails by panicking with the end of the service's log.
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{block_on, eventually};

/// The bootstrap address (host:port) of the shared Kafka.
pub fn shared_kafka() -> String {
    from_run("WATCHBELL_TEST_KAFKA")
}

/// The URL of the shared Redis. All tests share its database 0: use keys of your own, never FLUSHALL.
pub fn shared_redis() -> String {
    from_run("WATCHBELL_TEST_REDIS")
}

/// The URL of a new, empty database on the shared PostgreSQL.
pub fn shared_postgres_database() -> String {
    new_database(&from_run("WATCHBELL_TEST_POSTGRES"))
}

fn from_run(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run the tests as `tests/services/run -- cargo test ...`"))
}

/// `prefix` and a suffix that no other test, now or earlier, has.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", &uuid::Uuid::new_v4().simple().to_string()[..12])
}

fn new_database(server: &str) -> String {
    let name = unique("test").replace('-', "_");
    block_on(async {
        use sqlx::{Connection, Executor};
        let mut connection = sqlx::PgConnection::connect(server).await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    });
    format!("{}/{name}", server.rsplit_once('/').unwrap().0)
}

/// A port that is free now, below the range from which the kernel gives ports to outgoing connections, so that nobody
/// takes it while its server is away.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Within which a service is ready. A broker takes 3 s on an idle machine and more than a minute on one that compiles beside it.
const START_CEILING: Duration = Duration::from_secs(180);

/// One server process, run by a script of `tests/services/` in a folder of its own.
struct Server {
    script: &'static str,
    ready_line: &'static str,
    dir: TempDir,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Server {
    fn start(script: &'static str, ready_line: &'static str, arguments: Vec<String>) -> Self {
        // In the runner's folder, so that whatever outlives a killed test ends with the runner.
        let parent = std::env::var_os("WATCHBELL_TEST_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let dir = tempfile::Builder::new().prefix(&format!("own-{script}-")).tempdir_in(parent).unwrap();
        // PostgreSQL's user has to pass.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o711)).unwrap();
        let mut server = Self { script, ready_line, dir, arguments, child: None };
        server.start_again();
        server
    }

    fn start_again(&mut self) {
        assert!(self.child.is_none(), "{} is running already", self.script);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services").join(self.script);
        fs::remove_file(self.dir.path().join("log")).ok();
        self.child = Some(Command::new(script).arg(self.dir.path()).args(&self.arguments).spawn().unwrap());
        let started = Instant::now();
        eventually("a service to be ready", 2 * START_CEILING, || {
            let log = self.log();
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{} ended at its start ({ended:?}):\n{log}", self.script);
            assert!(started.elapsed() < START_CEILING, "{} is not ready after {START_CEILING:?}:\n{log}", self.script);
            // The line in its own log, never the port: a port may answer as somebody else.
            log.contains(self.ready_line).then_some(())
        });
    }

    fn log(&self) -> String {
        fs::read(self.dir.path().join("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().unwrap_or_else(|| panic!("{} is not running", self.script)).id()
    }

    fn signal_and_wait(&mut self, signal: &str) {
        send_signal(signal, &[self.pid()]);
        self.child.take().unwrap().wait().unwrap();
    }

    /// Freezing stops the children too: a PostgreSQL whose parent alone sleeps goes on answering.
    fn signal_all(&self, signal: &str) {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        send_signal(signal, &[pid]);
        for child in children.split_whitespace() {
            // A child may have ended since it was listed.
            Command::new("kill").args([&format!("-{signal}"), child]).stderr(Stdio::null()).status().ok();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.signal_all("CONT");
            // QUIT is PostgreSQL's immediate shutdown, in which it gives its shared memory back.
            self.signal_and_wait(if self.script == "postgres" { "QUIT" } else { "KILL" });
        }
    }
}

/// A port of its own, before the other arguments.
fn with_port(arguments: &[&str]) -> Vec<String> {
    std::iter::once(free_port().to_string()).chain(arguments.iter().map(ToString::to_string)).collect()
}

/// Sends a signal by the `kill` program: the standard library has no call for it.
pub fn send_signal(signal: &str, pids: &[u32]) {
    let status = Command::new("kill").arg(format!("-{signal}")).args(pids.iter().map(u32::to_string)).status();
    assert!(status.unwrap().success(), "kill -{signal} {pids:?} failed");
}

macro_rules! server_controls {
    ($server:ident) => {
        impl $server {
            /// Asks it to stop (SIGTERM) and waits until it has.
            pub fn stop(&mut self) {
                self.0.signal_and_wait("TERM");
            }

            /// Kills it and its children (SIGKILL).
            pub fn kill(&mut self) {
                self.0.signal_all("KILL");
                self.0.signal_and_wait("KILL");
            }

            /// Starts it again on the same port and folder after [`Self::stop`] or [`Self::kill`]; returns when ready.
            pub fn start_again(&mut self) {
                self.0.start_again();
            }

            /// Stops it from running (SIGSTOP): connections stay open and nothing answers.
            pub fn freeze(&self) {
                self.0.signal_all("STOP");
            }

            /// Lets it run again after [`Self::freeze`].
            pub fn thaw(&self) {
                self.0.signal_all("CONT");
            }

            /// What it wrote since its last start.
            pub fn log(&self) -> String {
                self.0.log()
            }
        }
    };
}

/// A Kafka broker of the test's own (KRaft, a single node). Its records survive stop, kill and start.
pub struct Broker(Server);
server_controls!(Broker);

impl Broker {
    /// Starts a broker with the settings of `tests/services/kafka`; takes about 3 s.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a broker with further arguments for `tests/services/kafka`: `name=value` properties, `--add-scram=...`,
    /// `extra.listeners=...`.
    pub fn start_with(arguments: &[&str]) -> Self {
        let plain = free_port();
        let mut other = free_port();
        while other == plain {
            other = free_port();
        }
        let mut all = vec![plain.to_string(), other.to_string()];
        all.extend(arguments.iter().map(ToString::to_string));
        Self(Server::start("kafka", "Kafka Server started", all))
    }

    /// The plain listener's address (host:port).
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.0.arguments[0])
    }
}

/// A Redis of the test's own. It keeps nothing over a restart.
pub struct Redis(Server);
server_controls!(Redis);

impl Redis {
    /// Starts an empty Redis.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts an empty Redis with further options of redis-server, such as `--tls-port`.
    pub fn start_with(options: &[&str]) -> Self {
        Self(Server::start("redis", "Ready to accept connections", with_port(options)))
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.0.arguments[0])
    }
}

/// A PostgreSQL of the test's own. Its tables survive stop, kill and start.
pub struct Postgres(Server);
server_controls!(Postgres);

impl Postgres {
    /// Starts a PostgreSQL with an empty cluster; takes about 2 s.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a PostgreSQL with further options of `postgres`, such as `-c`, `ssl=on`.
    pub fn start_with(options: &[&str]) -> Self {
        Self(Server::start("postgres", "database system is ready to accept connections", with_port(options)))
    }

    /// The URL of a new, empty database on it.
    pub fn new_database(&self) -> String {
        new_database(&format!("postgres://watchbell@127.0.0.1:{}/postgres", self.0.arguments[0]))
    }
}
