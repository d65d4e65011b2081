//! `watchbell emit`: events for upstream's topics, from flags or JSON.
//!
//! The point: what upstream teams would write, in one line of shell: to see a notification arrive, to try a workspace's policy, to put
//! load on a worker. The event goes through the worker's own decoder first, so a bad one is refused here with the same sentence that
//! its dead letter would carry.
//!
//! It deliberately knows no store and no provider, and writes to no topic of ours.
//!
//! It fails before anything is written if one event is wrong, and afterwards if Kafka did not take all of them or somebody stopped it.
mod flags;
mod json;
mod produce;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use self::flags::{Count, Header, Rate, TypeOfTopic};
use self::template::{Rules, Template};
use super::{ConfigArgs, Failure, output};
use crate::config::Config;
use crate::event::{Headers, Limits};
use crate::kafka::client::Clients;

/// How long the brokers may take to say whether the topics exist.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Write events to upstream's topics, from flags or from JSON.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, arg_required_else_help = true)]
pub(super) struct EmitCommand {
    #[command(subcommand)]
    typed: Option<flags::Typed>,
    /// Events as JSON: one, or one after another (JSON lines), in the names of event.proto; `-` is standard input. An event without
    /// eventId gets one, without occurredAt it happens now.
    #[arg(long, value_name = "FILE", required = true)]
    json: Option<PathBuf>,
    /// The type whose topic a cancel in the JSON goes to.
    #[arg(long, value_name = "TYPE")]
    cancel_type: Option<TypeOfTopic>,
    #[command(flatten)]
    production: Production,
}

/// How the events are written.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Writing")]
struct Production {
    #[command(flatten)]
    config: ConfigArgs,
    /// A header of the records; may be repeated.
    #[arg(long = "header", visible_alias = "headers", value_name = "NAME=VALUE")]
    headers: Vec<Header>,
    /// Write null keys: no order is wanted. Otherwise the key is the user id for one recipient, the event id for several.
    #[arg(long)]
    no_key: bool,
    /// So many events, each with an id of its own unless one was given; several in the JSON take turns. Default: each once.
    #[arg(long, value_name = "N")]
    count: Option<Count>,
    /// At most so many a second, for example 200/s. Default: as fast as Kafka takes them.
    #[arg(long, value_name = "N/s")]
    rate: Option<Rate>,
    /// Print the records as JSON lines and write nothing. The `event` of a line is what --json reads.
    #[arg(long)]
    dry_run: bool,
}

impl EmitCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (templates, production) = match (self.typed, self.json) {
            (Some(typed), _) => {
                let (template, production) = typed.into_template();
                (vec![template], production)
            }
            (None, Some(file)) => {
                let kind = self.cancel_type.map(|kind| kind.0);
                let templates = json::read(&read(&file)?, kind);
                let inside = |error: json::JsonError| Failure::Input(format!("{}: {error}", file.display()));
                (templates.map_err(inside)?, self.production)
            }
            (None, None) => return Err(Failure::Usage("say what to emit: a type, or --json FILE".to_owned())),
        };
        emit(&templates, &production)
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|error| Failure::Input(format!("{} cannot be read: {error}", file.display())))?;
    Ok(text)
}

fn emit(templates: &[Template], production: &Production) -> Result<(), Failure> {
    let config = production.config.load()?;
    let mut headers = Headers::new();
    production.headers.iter().for_each(|Header(name, value)| headers.push(name.as_str(), value.clone().into_bytes()));
    let limits = Limits { recipients_max: config.fanout.recipients_max };
    let rules = Rules { headers, limits, with_key: !production.no_key };
    // All or nothing: every event is looked at before the first is written.
    for template in templates {
        template.stamp(&rules).map_err(|refused| Failure::Input(refused.to_string()))?;
    }
    let count = production.count.map_or(templates.len() as u64, |count| count.0);
    let stamped = templates.iter().cycle().take(usize::try_from(count).unwrap_or(usize::MAX));
    if production.dry_run {
        for template in stamped {
            if !print_one(template, &rules, &config)? {
                break;
            }
        }
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(Failure::internal)?;
    let clients = {
        // A token for OAUTHBEARER is fetched by the runtime.
        let _entered = runtime.enter();
        let clients = Clients::new(config.kafka.clone())?;
        topics_exist(&clients, templates, &config)?;
        clients
    };
    let plan = produce::Plan { templates: stamped, rules: &rules, count, rate: production.rate, config: &config };
    runtime.block_on(produce::run(&clients, plan))
}

/// False when nobody reads any more.
fn print_one(template: &Template, rules: &Rules, config: &Config) -> Result<bool, Failure> {
    let record = template.stamp(rules).map_err(|refused| Failure::Input(refused.to_string()))?;
    output::line(json::record(&record, config.topics.event(template.kind), &rules.headers))
}

/// A topic that does not exist would take its events only after a timeout, or be made with the broker's defaults.
fn topics_exist(clients: &Clients, templates: &[Template], config: &Config) -> Result<(), Failure> {
    let topics: BTreeSet<&str> = templates.iter().map(|template| config.topics.event(template.kind)).collect();
    let topics: Vec<&str> = topics.into_iter().collect();
    let counts = clients.partitions(&topics, ASK_TIMEOUT)?;
    match topics.iter().zip(counts).find(|(_, count)| *count == 0) {
        Some((topic, _)) => Err(Failure::Unavailable(format!(
            "topic {topic} does not exist: make it (deploy/topics.md tells how), or name another in [topics]"
        ))),
        None => Ok(()),
    }
}
