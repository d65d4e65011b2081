//! What the demo prints: each notification as its phone shows it, what its person answers, and what upstream hears.
use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::io::IsTerminal as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::people::PHONES;
use super::stage::{News, Stage};
use super::upstream;
use crate::command::output;
use crate::delivery::JobId;
use crate::event::wire;
use crate::pipeline::BalanceSnapshot;
use crate::sandbox::phones::{Did, Entry, Reply, What};

/// Width of the column with the phone's name.
const NAME: usize = 16;

/// The terminal, and how far the phones' log was read.
pub(super) struct Screen {
    color: bool,
    read: u64,
    endings: BTreeMap<String, u64>,
    /// What upstream heard, and how often.
    heard: BTreeMap<String, u64>,
    /// Jobs that wait on a topic for another attempt.
    waiting: HashSet<JobId>,
    /// Whether somebody still reads what is printed.
    watched: Cell<bool>,
}

impl Screen {
    pub(super) fn new() -> Self {
        let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            color,
            read: 0,
            endings: BTreeMap::new(),
            heard: BTreeMap::new(),
            waiting: HashSet::new(),
            watched: Cell::new(true),
        }
    }

    /// False once nobody reads any more, as behind `| head`.
    pub(super) fn is_watched(&self) -> bool {
        self.watched.get()
    }

    pub(super) fn opening(&self) {
        self.line(
            "",
            "Watchbell: starting a broker, a store, Apple, Google, a worker, an API and six phones in this process …",
        );
    }

    pub(super) fn ready(&self, stage: &Stage) {
        let (sandbox, (api, enrolled)) = (stage.sandbox(), stage.enrolled());
        let parts = [sandbox.apns_url(), sandbox.fcm_url(), sandbox.issuer().url().to_owned(), format!("{api}/docs")];
        let [apple, google, sign_in, docs] = parts;
        self.line("", &self.dim(&format!("Apple {apple}, Google {google}, sign-in {sign_in}")));
        self.line(
            "",
            &self.dim(&format!("The API {docs}, where all phones are enrolled, each with a key of its own:")),
        );
        for (phone, enrolled) in PHONES.iter().zip(enrolled) {
            let because = match (phone.vouched_by, enrolled.state.as_str()) {
                (_, "receive_only") => "may receive only".to_owned(),
                (Some(other), _) => format!("may approve: {other} vouched for it"),
                (None, _) => "may approve: its person just signed in, and it is their first".to_owned(),
            };
            self.line("", &self.dim(&format!("  {:<NAME$}{because}", phone.name)));
        }
        self.line("", &self.dim("Ctrl-C ends it with a summary. Times are UTC."));
        self.line("", "");
    }

    pub(super) fn scene(&self, title: &str) {
        self.line(&clock(), &self.dim(&format!("── {title}")));
    }

    /// Prints what happened since the last look.
    pub(super) fn show(&mut self, stage: &Stage) {
        for entry in stage.sandbox().phones().log_since(self.read) {
            self.read = entry.sequence + 1;
            self.phone(&entry);
        }
        while let Some(news) = stage.news() {
            match news {
                News::Waits(job) => {
                    self.waiting.insert(job.id());
                    let text = format!("{}: {} waits for another attempt", job.user, job.subject.kind().name());
                    self.said("not shown yet", &self.dim(&text));
                }
                // A record without an ending says something else of its job.
                News::Ended(_, outcome) if outcome.ending() == wire::Ending::Unspecified => {}
                News::Ended(job, outcome) => {
                    self.waiting.remove(&job);
                    self.ending(&outcome);
                }
                News::Upstream(decision) => {
                    let (counted, text) = upstream::heard(&decision, stage);
                    *self.heard.entry(counted).or_default() += 1;
                    self.said("upstream hears", &text);
                }
            }
        }
    }

    /// What a phone did.
    fn phone(&self, entry: &Entry) {
        let What { title, body, said, .. } = &entry.what;
        let name = self.name(&entry.phone);
        match entry.did {
            Did::Showed => self.notification(&name, &entry.what),
            Did::TookAway if title.is_empty() => {
                self.line(&clock(), &format!("{name}  {}", self.dim("(takes the notification away)")));
            }
            Did::TookAway => {
                let silently = self.dim("(silently, in place of the notification)");
                self.line(&clock(), &format!("{name}  {title}  {silently}"));
                self.below(&self.dim(body));
            }
            Did::Read if entry.what.status == Some(200) => {
                self.line(&clock(), &format!("{name}  {}", self.dim(&detail(&said["detail"]))));
            }
            Did::Answered => {
                let answer = match entry.what.answer.unwrap_or_default() {
                    Reply::Approve => "Approve",
                    Reply::Deny => "Deny",
                    Reply::DenyNotMe => "Deny: it was not me",
                    Reply::Ignore => "nothing",
                };
                let api = match (entry.what.status, said["published"].as_bool()) {
                    (Some(200), Some(true)) => "signed; the API: upstream has it".to_owned(),
                    (Some(202), _) => "signed; the API: recorded".to_owned(),
                    _ => {
                        said["detail"].as_str().map_or_else(|| said.to_string(), |detail| format!("the API: {detail}"))
                    }
                };
                self.line(
                    &clock(),
                    &format!("{name}  {} {}", self.bold(&format!("→ {answer}")), self.dim(&format!("({api})"))),
                );
            }
            // Setting phones up is told before the first scene, and receipts are quiet. What fails is told.
            Did::Registered | Did::Reached | Did::Promoted | Did::Refreshed | Did::Read | Did::Receipted => {
                if entry.what.status != Some(200) {
                    self.line(&clock(), &format!("{name}  {}", self.dim(&said.to_string())));
                }
            }
        }
    }

    fn notification(&self, name: &str, what: &What) {
        self.line(&clock(), &format!("{name}  {}", self.bold(&what.title)));
        self.below(&what.body);
        match what.category.as_str() {
            "watchbell.approve" => self.below("[ Approve ]  [ Deny ]"),
            "watchbell.approve_number" => self.below("[ Approve: type the number on the screen ]  [ Deny ]"),
            "watchbell.notice_not_me" => self.below("[ It was not me ]"),
            _ => {}
        }
    }

    fn ending(&mut self, outcome: &wire::Outcome) {
        let ending = outcome.ending().as_str_name().trim_start_matches("ENDING_").to_lowercase();
        *self.endings.entry(ending.clone()).or_default() += 1;
        if outcome.ending() != wire::Ending::Accepted {
            let kind = outcome.r#type().as_str_name().trim_start_matches("NOTIFICATION_TYPE_").to_lowercase();
            let why = if outcome.reason.is_empty() { String::new() } else { format!(": {}", outcome.reason) };
            self.said("not shown", &self.dim(&format!("{}: {kind} {ending}{why}", outcome.user_id)));
        }
    }

    pub(super) fn summary(&self, balance: &BalanceSnapshot) {
        self.line("", "");
        self.line("", &self.bold("Summary"));
        self.line("", &format!("  {:<36} {}", "records read", balance.records_read));
        self.line("", &format!("  {:<36} {}", "jobs planned", balance.jobs_planned));
        for (ending, count) in &self.endings {
            self.line("", &format!("  {:<36} {count}", format!("ended: {ending}")));
        }
        self.line("", &format!("  {:<36} {}", "sent on to a topic", balance.jobs_forwarded));
        let open = balance.records_open() + balance.jobs_open();
        self.line("", &format!("  {:<36} {}", "still waiting for a retry", self.waiting.len()));
        self.line("", &format!("  {:<36} {open}", "unaccounted for"));
        for (heard, count) in &self.heard {
            self.line("", &format!("  {:<36} {count}", format!("upstream heard {heard}")));
        }
    }

    /// A line that is no phone's.
    fn said(&self, who: &str, text: &str) {
        self.line(&clock(), &format!("{who:<NAME$}  {text}"));
    }

    /// A line below a notification's title.
    fn below(&self, text: &str) {
        self.line("", &format!("{:<NAME$}  {text}", ""));
    }

    fn name(&self, phone: &str) -> String {
        self.bold(&format!("{phone:<NAME$}"))
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

/// What the app shows of a request, once it fetched it with the phone's key: names are a stranger's words.
fn detail(detail: &Value) -> String {
    let text = |name: &str| detail[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let flag = |name: &str, words: &str| (detail[name] == true).then(|| words.to_owned());
    let what = text("application").or_else(|| text("device_name")).map(|name| format!("“{name}”"));
    let parts = [
        what,
        text("device"),
        text("browser"),
        text("operating_system"),
        text("location"),
        flag("new_location", "new location"),
        flag("new_device", "new device"),
    ];
    format!("(fetches the detail) {}", parts.into_iter().flatten().collect::<Vec<_>>().join(" · "))
}
