//! What the workers' outcomes say: with which version of the workspace each event was planned, and when it had ended.
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use prost::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use watchbell::event::wire::{Ending, Outcome};
use watchbell::policy::Setting;

/// How long nothing may arrive before the reading is given up.
const STILL: Duration = Duration::from_secs(30);
/// Outcomes tell whole milliseconds, rounded down; the end of that millisecond is what counts.
const MILLISECOND_US: u64 = 999;

/// One change of the setting.
pub(super) struct Flip {
    /// The workspace's version with it.
    pub(super) version: u64,
    /// When the answer's head was here, microseconds since 1970.
    pub(super) acknowledged_us: u64,
    /// From the call to that.
    pub(super) took: Duration,
    pub(super) to: Setting,
    /// Whether the answer said that it is in force everywhere.
    pub(super) announced: bool,
}

/// One event's ending.
#[derive(Debug, Clone, Copy)]
pub(super) struct Use {
    /// The workspace's version that it was planned with.
    pub(super) version: u64,
    /// When it had ended at the latest, microseconds since 1970. With a push that is after the provider's answer.
    pub(super) ended_us: u64,
    /// The policy kept it from ringing.
    pub(super) suppressed: bool,
}

/// The uses of each worker, in the order of the topics, when so many events have ended.
pub(super) fn outcomes(bootstrap: &str, topics: &[&str], events: u64) -> anyhow::Result<Vec<Vec<Use>>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "bench-policy")
        .set("enable.auto.commit", "false")
        .create()
        .context("creating the consumer of outcomes")?;
    let mut partitions = TopicPartitionList::new();
    for name in topics {
        let metadata = consumer.fetch_metadata(Some(name), STILL)?;
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            partitions.add_partition_offset(name, partition.id(), Offset::Beginning)?;
        }
    }
    consumer.assign(&partitions)?;
    let by_name: HashMap<&str, usize> = topics.iter().copied().zip(0..).collect();
    let (mut uses, mut jobs) = (vec![Vec::new(); topics.len()], HashSet::new());
    let mut last = Instant::now();
    while (jobs.len() as u64) < events {
        let Some(record) = consumer.poll(Duration::from_millis(100)) else {
            ensure!(last.elapsed() < STILL, "only {} of {events} events have ended", jobs.len());
            continue;
        };
        let record = record.context("reading outcomes")?;
        last = Instant::now();
        let outcome = Outcome::decode(record.payload().unwrap_or_default())?;
        let worker = by_name.get(record.topic()).context("an outcome of another topic")?;
        uses[*worker].push(one(&outcome)?);
        jobs.insert(outcome.job_id);
    }
    Ok(uses)
}

fn one(outcome: &Outcome) -> anyhow::Result<Use> {
    let suppressed = match outcome.ending() {
        Ending::Accepted => false,
        Ending::Suppressed if outcome.reason == "disabled_by_workspace" => true,
        other => anyhow::bail!("an event ended as {} ({})", other.as_str_name(), outcome.reason),
    };
    let at = outcome.ended_at.context("an outcome without its time")?;
    let ended_us = at.seconds as u64 * 1_000_000 + at.nanos as u64 / 1_000 + MILLISECOND_US;
    Ok(Use { version: outcome.workspace_version, ended_us, suppressed })
}

/// What one worker did about one change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// From the acknowledgement to the last use of an older value; 0 if that was before it.
    pub(super) after_ms: f64,
    /// From that last use to the first use of the new value: how closely one looked. 0 if they overlap.
    pub(super) gap_ms: f64,
}

/// What one worker did about each change. Its uses come in any order.
pub(super) fn seen(flips: &[Flip], uses: &[Use]) -> anyhow::Result<Vec<Seen>> {
    let (first, last) = (flips.first().context("no change")?.version, flips.last().context("no change")?.version);
    let wanted: HashMap<u64, Setting> = flips.iter().map(|flip| (flip.version, flip.to)).collect();
    // By version: the last moment at which it was used, and the first.
    let mut spans: std::collections::BTreeMap<u64, (u64, u64)> = std::collections::BTreeMap::new();
    for used in uses {
        ensure!(used.version <= last, "an event was planned with a version that nobody made");
        let setting = wanted.get(&used.version).copied().unwrap_or_default();
        ensure!(used.version < first || wanted.contains_key(&used.version), "a version between two changes");
        ensure!(used.suppressed == (setting == Setting::Disabled), "version {} did not do as it says", used.version);
        let (latest, earliest) = spans.entry(used.version).or_insert((used.ended_us, used.ended_us));
        (*latest, *earliest) = ((*latest).max(used.ended_us), (*earliest).min(used.ended_us));
    }
    let of = |flip: &Flip| {
        let old = spans.range(..flip.version).map(|(_, (latest, _))| *latest).max();
        let new = spans.range(flip.version..).map(|(_, (_, earliest))| *earliest).min();
        let (old, new) = (old.context("no use before a change")?, new.context("no use after a change")?);
        ensure!(spans.contains_key(&flip.version), "a worker planned nothing between two changes");
        let ms = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1_000.0;
        Ok(Seen { after_ms: ms(flip.acknowledged_us, old), gap_ms: ms(old, new) })
    };
    flips.iter().map(of).collect()
}
