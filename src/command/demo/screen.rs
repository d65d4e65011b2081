//! What the demo prints: each notification as its phone shows it.
use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::io::IsTerminal as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::people::PHONES;
use super::stage::{News, Stage};
use crate::command::output;
use crate::delivery::JobId;
use crate::event::wire;
use crate::pipeline::BalanceSnapshot;
use crate::sandbox::Sandbox;

/// Width of the column with the phone's name.
const NAME: usize = 16;

/// The terminal, and how far the phones were read.
pub(super) struct Screen {
    color: bool,
    apns: u64,
    fcm: u64,
    endings: BTreeMap<String, u64>,
    /// Jobs that wait on a topic for another attempt.
    waiting: HashSet<JobId>,
    /// Whether somebody still reads what is printed.
    watched: Cell<bool>,
}

impl Screen {
    pub(super) fn new() -> Self {
        let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { color, apns: 0, fcm: 0, endings: BTreeMap::new(), waiting: HashSet::new(), watched: Cell::new(true) }
    }

    /// False once nobody reads any more, as behind `| head`.
    pub(super) fn is_watched(&self) -> bool {
        self.watched.get()
    }

    pub(super) fn opening(&self) {
        self.line("", "Watchbell: starting a broker, a store, Apple, Google and a worker in this process …");
    }

    pub(super) fn ready(&self, sandbox: &Sandbox) {
        self.line("", &self.dim(&format!("Apple at {}, Google at {}", sandbox.apns_url(), sandbox.fcm_url())));
        self.line("", &self.dim("Ctrl-C ends it with a summary. Times are UTC."));
        self.line("", "");
    }

    pub(super) fn scene(&self, title: &str) {
        self.line(&clock(), &self.dim(&format!("── {title}")));
    }

    /// Prints what arrived since the last look.
    pub(super) fn show(&mut self, stage: &Stage) {
        let seen = self.apns;
        for push in stage.sandbox().apns().pushes().iter().filter(|push| push.sequence >= seen) {
            self.apns = push.sequence + 1;
            let aps = &push.payload["aps"];
            let passive = aps["interruption-level"] == "passive";
            let text = |key: &str| aps["alert"][key].as_str().unwrap_or_default();
            self.notification(&push.token, text("title"), text("body"), aps["category"].as_str(), passive);
        }
        let seen = self.fcm;
        let messages = stage.sandbox().fcm().messages();
        for message in messages.iter().filter(|message| message.sequence >= seen) {
            self.fcm = message.sequence + 1;
            let text = |key: &str| message.data.get(key).map_or("", String::as_str);
            if message.withdraws {
                self.line(
                    &clock(),
                    &format!("{}  {}", self.name(&message.token), self.dim("(takes the notification away)")),
                );
            } else {
                let category = message.data.get("category").map(String::as_str);
                self.notification(&message.token, text("title"), text("body"), category, false);
            }
        }
        while let Some(news) = stage.news() {
            match news {
                News::Waits(job) => {
                    self.waiting.insert(job.id());
                    let text = format!("{}: {} waits for another attempt", job.user, job.subject.kind().name());
                    self.line(&clock(), &format!("{:<NAME$}  {}", "not shown yet", self.dim(&text)));
                }
                News::Ended(job, outcome) => {
                    self.waiting.remove(&job);
                    self.ending(&outcome);
                }
            }
        }
    }

    fn notification(&self, token: &str, title: &str, body: &str, category: Option<&str>, passive: bool) {
        let title = match passive {
            true => format!("{title}  {}", self.dim("(silently, in place of the notification)")),
            false => self.bold(title),
        };
        self.line(&clock(), &format!("{}  {title}", self.name(token)));
        let indent = " ".repeat(NAME);
        self.line("", &format!("{indent}  {}", if passive { self.dim(body) } else { body.to_owned() }));
        let buttons = match category {
            Some("watchbell.approve") => "[ Approve ]  [ Deny ]",
            Some("watchbell.approve_number") => "[ Approve: type the number on the screen ]  [ Deny ]",
            _ => return,
        };
        self.line("", &format!("{indent}  {buttons}"));
    }

    fn ending(&mut self, outcome: &wire::Outcome) {
        let ending = outcome.ending().as_str_name().trim_start_matches("ENDING_").to_lowercase();
        *self.endings.entry(ending.clone()).or_default() += 1;
        if outcome.ending() != wire::Ending::Accepted {
            let kind = outcome.r#type().as_str_name().trim_start_matches("NOTIFICATION_TYPE_").to_lowercase();
            let why = if outcome.reason.is_empty() { String::new() } else { format!(": {}", outcome.reason) };
            let text = format!("{}: {kind} {ending}{why}", outcome.user_id);
            self.line(&clock(), &format!("{:<NAME$}  {}", "not shown", self.dim(&text)));
        }
    }

    pub(super) fn summary(&self, balance: &BalanceSnapshot) {
        self.line("", "");
        self.line("", &self.bold("Summary"));
        self.line("", &format!("  {:<28} {}", "records read", balance.records_read));
        self.line("", &format!("  {:<28} {}", "jobs planned", balance.jobs_planned));
        for (ending, count) in &self.endings {
            self.line("", &format!("  {:<28} {count}", format!("ended: {ending}")));
        }
        self.line("", &format!("  {:<28} {}", "sent on to a topic", balance.jobs_forwarded));
        let open = balance.records_open() + balance.jobs_open();
        self.line("", &format!("  {:<28} {}", "still waiting for a retry", self.waiting.len()));
        self.line("", &format!("  {:<28} {open}", "unaccounted for"));
    }

    fn name(&self, token: &str) -> String {
        let name = PHONES.iter().find(|phone| phone.token() == token).map_or("?", |phone| phone.name);
        self.bold(&format!("{name:<NAME$}"))
    }

    fn bold(&self, text: &str) -> String {
        if self.color { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn dim(&self, text: &str) -> String {
        if self.color { format!("\u{1b}[2m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn line(&self, time: &str, text: &str) {
        if self.watched.get() {
            let written = output::line(format!("{time:<8}  {text}").trim_end());
            // A screen that cannot be written is one that nobody watches.
            self.watched.set(written.unwrap_or(false));
        }
    }
}

/// Hours, minutes and seconds of UTC.
fn clock() -> String {
    let secs = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) % 86_400;
    format!("{:02}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60)
}
