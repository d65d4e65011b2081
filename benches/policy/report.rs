//! The table for people and `target/bench-policy.json` for machines.
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Serialize;
use watchbell::policy::Setting;

use super::evidence::{Flip, Seen, Use, seen};

/// What a run's numbers depend on.
pub(super) struct Circumstances {
    pub(super) redis: bool,
    /// What is to be kept, in milliseconds.
    pub(super) target_ms: f64,
    pub(super) people: u64,
    /// Of each worker: copies that Redis said were old.
    pub(super) invalidations: Vec<f64>,
    /// Of each worker: times that Redis was taken out of use.
    pub(super) redis_lost: Vec<f64>,
}

/// A set of times.
#[derive(Debug, Serialize)]
pub(super) struct Spread {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        Self { p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) }
    }

    fn row(&self, what: &str, note: &str) -> String {
        format!("{what:<46} {:>8.1} {:>8.1} {:>8.1}   {note}\n", self.p50_ms, self.p99_ms, self.max_ms)
    }
}

/// One worker.
#[derive(Debug, Serialize)]
struct WorkerSeen {
    /// From the acknowledgement to its last use of the old value.
    last_use: Spread,
    /// From that to its first use of the new one.
    gap: Spread,
    /// Events that it planned, in all and a second.
    events: usize,
    events_per_s: f64,
    /// Copies that Redis told it were old.
    invalidations: f64,
    /// Times that it took Redis out of use.
    redis_lost: f64,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Results {
    /// Whether the target was kept.
    pub(super) held: bool,
    pub(super) target_ms: f64,
    /// For each change: from the acknowledgement to the last use of the old value on any worker.
    pub(super) slowest: Spread,
    /// The same of changes to enabled: the old value's uses send nothing, so this is without a push's time.
    to_enabled: Spread,
    /// The same of changes to disabled: the old value's uses end when the provider has answered.
    to_disabled: Spread,
    /// Share of the changes whose old value nobody used after the acknowledgement.
    over_at_once: f64,
    /// The call that changes a setting, from the call to the answer.
    call: Spread,
    flips: usize,
    /// Changes whose answer did not say that they are in force everywhere.
    not_announced: usize,
    redis: bool,
    people: u64,
    workers: Vec<WorkerSeen>,
}

impl Results {
    pub(super) fn of(flips: &[Flip], uses: &[Vec<Use>], circumstances: Circumstances) -> anyhow::Result<Self> {
        let (mut by_worker, mut workers) = (Vec::new(), Vec::new());
        let numbers = circumstances.invalidations.iter().zip(&circumstances.redis_lost);
        for (uses, (invalidations, redis_lost)) in uses.iter().zip(numbers) {
            let seen = seen(flips, uses)?;
            workers.push(WorkerSeen::of(&seen, uses, *invalidations, *redis_lost));
            by_worker.push(seen);
        }
        let slowest = |number: usize| by_worker.iter().map(|seen| seen[number].after_ms).fold(0.0, f64::max);
        let slowest: Vec<f64> = (0..flips.len()).map(slowest).collect();
        let to = |setting| {
            Spread::of(flips.iter().zip(&slowest).filter(move |(flip, _)| flip.to == setting).map(|(_, ms)| *ms))
        };
        let all = Spread::of(slowest.iter().copied());
        Ok(Self {
            held: all.p99_ms <= circumstances.target_ms,
            target_ms: circumstances.target_ms,
            to_enabled: to(Setting::Enabled),
            to_disabled: to(Setting::Disabled),
            slowest: all,
            over_at_once: slowest.iter().filter(|ms| **ms == 0.0).count() as f64 / flips.len() as f64,
            call: Spread::of(flips.iter().map(|flip| flip.took.as_secs_f64() * 1e3)),
            flips: flips.len(),
            not_announced: flips.iter().filter(|flip| !flip.announced).count(),
            redis: circumstances.redis,
            people: circumstances.people,
            workers,
        })
    }

    /// Fails if the run shows something else than it is to show: changes that Redis carried to every worker.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if !self.redis {
            return Ok(());
        }
        ensure!(self.not_announced == 0, "{} changes were not announced", self.not_announced);
        for worker in &self.workers {
            ensure!(worker.redis_lost == 0.0, "a worker lost Redis: what it saw is its fallback");
            ensure!(worker.invalidations >= self.flips as f64, "a worker was not told of every change");
        }
        Ok(())
    }

    pub(super) fn table(&self) -> String {
        let mut table = format!("{:<46} {:>8} {:>8} {:>8}\n", "milliseconds", "p50", "p99", "max");
        let target = format!("p99 at most {} ms: {}", self.target_ms, if self.held { "held" } else { "MISSED" });
        table += &self.slowest.row("acknowledged to last use of the old, any worker", &target);
        table += &self.to_enabled.row("  changes to enabled (nothing is sent)", "");
        table += &self.to_disabled.row("  changes to disabled (until the push's answer)", "");
        for (number, worker) in (1..).zip(&self.workers) {
            table += &worker.last_use.row(&format!("  worker {number}"), "");
        }
        for (number, worker) in (1..).zip(&self.workers) {
            let note = format!("{:.0} events/s", worker.events_per_s);
            table += &worker.gap.row(&format!("last of the old to first of the new, worker {number}"), &note);
        }
        table += &self.call.row("the call that changes it", "");
        let told: Vec<String> = self.workers.iter().map(|worker| worker.invalidations.to_string()).collect();
        table += &format!(
            "\n{} changes, {} people, {} events; after {:.0} % of the changes nobody used the old value any more. {}",
            self.flips,
            self.people,
            self.workers.iter().map(|worker| worker.events).sum::<usize>(),
            self.over_at_once * 100.0,
            if self.redis {
                format!("Redis told the workers {} times.", told.join(", "))
            } else {
                "Without Redis.".to_owned()
            },
        );
        table
    }

    /// Writes them as JSON.
    pub(super) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(file, json).with_context(|| format!("writing {}", file.display()))
    }
}

impl WorkerSeen {
    fn of(seen: &[Seen], uses: &[Use], invalidations: f64, redis_lost: f64) -> Self {
        let first = uses.iter().map(|used| used.ended_us).min().unwrap_or_default();
        let last = uses.iter().map(|used| used.ended_us).max().unwrap_or_default();
        Self {
            last_use: Spread::of(seen.iter().map(|seen| seen.after_ms)),
            gap: Spread::of(seen.iter().map(|seen| seen.gap_ms)),
            events: uses.len(),
            events_per_s: uses.len() as f64 * 1e6 / (last - first).max(1) as f64,
            invalidations,
            redis_lost,
        }
    }
}
