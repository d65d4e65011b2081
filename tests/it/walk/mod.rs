//! What the documents tell people to type is typed, command by command and as it is written, in one shell against real services.
//!
//! The point: a command that no longer works fails here before it fails somebody who reads the page. Each has to end with 0, and to
//! print what [`Walk::expecting`] was told of it; what was told of a command that the page no longer has fails, too.
//!
//! What differs from the page: each port that it names or takes for granted is a free one ([`PORTS`]); Kafka and the store are the test's own,
//! by the variables that the README gives for that; and what a reader does between two commands (waiting until something is there, another
//! terminal for what does not end) is done here. Deliberately not typed: what builds Watchbell.
mod programs;
mod readme;

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::eventually;
use crate::support::process::command;
use crate::support::services::{Broker, free_port, shared_postgres_database};

/// Within which a command ends, and what a reader waits for is there. One takes seconds; Maven fetches what it needs for a minute.
const CEILING: Duration = Duration::from_secs(120);

/// The ports that the documents name, and which variable or flag gives another one.
const PORTS: [(u16, &str); 7] = [
    (2197, "--apns-port"),
    (2198, "--fcm-port"),
    (2199, "--control-port"),
    (2200, "--issuer-port"),
    (8080, "WATCHBELL_WORKER__HTTP_LISTEN"),
    (8081, "WATCHBELL_API__HTTP_LISTEN"),
    (8082, "WATCHBELL_API__TELEMETRY_LISTEN"),
];

fn page(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The part of a page under a heading, up to the next one of its rank.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let begin = page.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
    let part = &page[begin + 1..];
    let rank = heading.split(' ').next().unwrap();
    let next = part[heading.len()..].find(&format!("\n{rank} "));
    &part[..next.map_or(part.len(), |next| heading.len() + next)]
}

/// The blocks of a part that are in that language, without their indentation; "" is what one types.
fn blocks(part: &str, language: &str) -> Vec<String> {
    let (mut blocks, mut block): (Vec<String>, Option<(String, bool)>) = (Vec::new(), None);
    for line in part.lines() {
        match (line.trim_start().strip_prefix("```"), &mut block) {
            (Some(name), None) => block = Some((String::new(), name == language)),
            (Some(_), Some(_)) => blocks.extend(block.take().filter(|(_, ours)| *ours).map(|(text, _)| text)),
            (None, Some((text, _))) => *text += &format!("{}\n", line.trim_start()),
            (None, None) => {}
        }
    }
    blocks
}

/// The commands of all blocks: a line each, or several where a line ends in a backslash.
fn commands(part: &str) -> Vec<String> {
    let text = blocks(part, "").concat().replace("\\\n", "\u{0}");
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| line.replace('\u{0}', "\\\n")).collect()
}

/// A shell in a folder of its own, with Kafka, a store, and other ports than those of the page. What it started ends with it.
struct Walk {
    shell: Child,
    folder: TempDir,
    typed: usize,
    ports: Vec<u16>,
    bootstrap: String,
    expected: Vec<(&'static str, &'static str)>,
    aloud: bool,
    _broker: Broker,
}

impl Walk {
    /// `give` is the README's own line for a Kafka and a store at other addresses.
    fn begin(give: &str) -> Self {
        let (broker, store, folder) = (Broker::start(), shared_postgres_database(), tempfile::tempdir().unwrap());
        let ports: Vec<u16> = PORTS.iter().map(|_| free_port()).collect();
        let mut bash = command(&[]);
        let watchbell = Path::new(bash.get_program()).parent().unwrap().to_owned();
        let mut path = std::ffi::OsString::from(watchbell);
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        bash = std::process::Command::new("bash");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WATCHBELL_")) {
            bash.env_remove(name);
        }
        bash.env("PATH", path).env("WATCHBELL_TEST_KAFKA", broker.address()).env("WATCHBELL_TEST_POSTGRES", store);
        for ((_, name), port) in PORTS.iter().zip(&ports).filter(|((_, name), _)| name.starts_with("WATCHBELL_")) {
            bash.env(name, format!("127.0.0.1:{port}"));
        }
        // A group of its own, which ends as a whole.
        bash.current_dir(&folder).process_group(0).stdin(Stdio::piped());
        let shell = bash.spawn().unwrap();
        let (bootstrap, expected) = (broker.address(), Vec::new());
        let mut walk = Self { shell, folder, typed: 0, ports, bootstrap, expected, aloud: false, _broker: broker };
        // Where the test is killed, its end of the pipe is closed and the shell ends: so does what it started.
        walk.types("trap 'kill 0' EXIT");
        let public = walk.adapted("export WATCHBELL_API__DEVICES__PUBLIC_URL=http://localhost:8081");
        walk.types(&public);
        walk.types(give);
        walk
    }

    /// Whatever begins so has to print this.
    fn expecting(mut self, expected: &[(&'static str, &'static str)]) -> Self {
        self.expected = expected.to_vec();
        self
    }

    /// With this walk's ports in place of the page's.
    fn adapted(&self, text: &str) -> String {
        let ports = PORTS.iter().zip(&self.ports);
        let flags = ports.clone().filter(|((_, name), _)| name.starts_with("--"));
        let flags: String = flags.map(|((_, flag), port)| format!(" {flag} {port}")).collect();
        let text = text.replace("watchbell sandbox", &format!("watchbell sandbox{flags}"));
        let text = text.replace("localhost:9092", &self.bootstrap);
        ports.fold(text, |text, ((old, _), new)| text.replace(&format!(":{old}"), &format!(":{new}")))
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), self.adapted(text)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read(self.folder.path().join(name))
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    }

    /// Types it and returns how it ended and the name under which its words are kept; what goes on in the background goes on.
    fn try_type(&mut self, text: &str) -> (i32, String) {
        let name = format!("typed-{}", self.typed);
        self.typed += 1;
        fs::write(self.folder.path().join(&name), text).unwrap();
        let line = format!(
            "eval \"$(cat \"{0}/{name}\")\" >\"{0}/{name}.out\" 2>&1 </dev/null; echo $? >\"{0}/{name}.new\"; mv \"{0}/{name}.new\" \"{0}/{name}.code\"",
            self.folder.path().display()
        );
        writeln!(self.shell.stdin.as_mut().unwrap(), "{line}").unwrap();
        let what = format!("the end of\n{text}");
        let code = eventually(&what, CEILING, || self.read(&format!("{name}.code")).trim().parse().ok());
        (code, format!("{name}.out"))
    }

    /// Types what has to end with 0; returns what it printed.
    fn types(&mut self, text: &str) -> String {
        let (code, words) = self.try_type(text);
        let printed = self.read(&words);
        if self.aloud {
            eprintln!("$ {text}\n{}", printed.trim_end());
        }
        assert_eq!(code, 0, "{text}\n{printed}");
        printed
    }

    /// Types a command of a page, and does what its reader does besides.
    fn follows(&mut self, command: &str) -> String {
        let text = self.adapted(command);
        let expected = self.expected.iter().position(|(beginning, _)| command.starts_with(beginning));
        let expected = expected.map(|index| self.expected.remove(index).1);
        let mut printed = self.types(&text);
        if let Some(expected) = expected.filter(|_| text.contains("| jq .")) {
            // Whoever looks and sees nothing yet looks again.
            eventually(expected, CEILING, || {
                printed = self.types(&text);
                printed.contains(expected).then_some(())
            });
        }
        if let Some(expected) = expected {
            assert!(printed.contains(expected), "{text}\nprinted no {expected:?}:\n{printed}");
        }
        if command.starts_with("watchbell sandbox &") {
            let words = format!("typed-{}.out", self.typed - 1);
            eventually("the sandbox to say that it is ready", CEILING, || {
                self.read(&words).contains("Ready").then_some(())
            });
        }
        printed
    }

    /// Everything that was to be printed was.
    fn done(mut self) {
        assert_eq!(std::mem::take(&mut self.expected), [], "the page has no such commands any more");
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = (self.typed.saturating_sub(20)..self.typed)
                .map(|n| self.read(&format!("typed-{n}")) + "\n" + &self.read(&format!("typed-{n}.out")));
            eprintln!("{}", last.collect::<Vec<_>>().join("\n"));
        }
        let group = format!("-{}", self.shell.id());
        std::process::Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status().ok();
        self.shell.wait().ok();
    }
}
