//! The table for people and `target/bench.json` for machines.
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

/// What one phase cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// User and system time of the whole process, microseconds a push.
    pub(crate) cpu_us: f64,
    /// By the clock.
    pub(crate) per_second: f64,
    /// How much of its core the process used, 0 to 1. Well below 1, something else was the limit.
    pub(crate) busy: f64,
    /// CPU time of the simulator, microseconds a push.
    pub(crate) simulator_us: f64,
}

/// One worker round and the floor round beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) worker: Cost,
    pub(crate) floor: Cost,
}

impl Pair {
    fn ratio(&self) -> f64 {
        self.worker.cpu_us / self.floor.cpu_us
    }
}

/// Everything that was measured. Absent values belong to phases that were not run.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// Pushes accepted in a second of the clock at full speed, median over the rounds.
    pub(crate) pushes_per_s: f64,
    /// Median over the rounds.
    pub(crate) cpu_us_per_push: f64,
    /// Median over the rounds.
    pub(crate) floor_cpu_us_per_push: f64,
    /// Median of the paired ratios.
    pub(crate) ratio: f64,
    /// Least and greatest of the paired ratios.
    pub(crate) ratio_range: [f64; 2],
    /// Produced to accepted, at full speed.
    pub(crate) p50_ms: f64,
    /// As above.
    pub(crate) p99_ms: f64,
    /// As above.
    pub(crate) p999_ms: f64,
    /// Produced and not yet accepted, at full speed: they make those latencies.
    pub(crate) outstanding: u64,
    /// Requests that the floor keeps in flight.
    pub(crate) floor_in_flight: usize,
    /// Connections of worker and floor.
    pub(crate) connections: usize,
    /// Share of its core that the worker used.
    pub(crate) worker_core_busy: f64,
    /// CPU time of the simulator.
    pub(crate) simulator_us_per_push: f64,
    /// Most memory of the worker of the rounds.
    pub(crate) rounds_peak_rss_mib: f64,
    /// The worker's CPU time a push by the names of its threads, beginnings of rounds included.
    pub(crate) cpu_us_by_thread: BTreeMap<String, f64>,
    pub(crate) rounds: usize,
    pub(crate) recipients: u64,
    #[serde(flatten)]
    pub(crate) calm: Option<Calm>,
    #[serde(flatten)]
    pub(crate) crowd: Option<Crowd>,
}

/// At 30 % of the full rate.
#[derive(Debug, Serialize)]
pub(crate) struct Calm {
    pub(crate) p50_ms_at_30_percent: f64,
    pub(crate) p99_ms_at_30_percent: f64,
    pub(crate) p999_ms_at_30_percent: f64,
    pub(crate) cpu_us_per_push_at_30_percent: f64,
}

/// With as many in flight as may be.
#[derive(Debug, Serialize)]
pub(crate) struct Crowd {
    /// Most streams open at once that a sample saw.
    pub(crate) peak_in_flight: u64,
    pub(crate) peak_rss_mib: f64,
}

/// The middle value; of an even number the lower of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// The ratios of all pairs: median, least, greatest.
pub(crate) fn ratios(pairs: &[Pair]) -> (f64, [f64; 2]) {
    let all = || pairs.iter().map(Pair::ratio);
    (median(all()), [all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max)])
}

/// One pair as a line.
pub(crate) fn pair_line(number: usize, pair: &Pair) -> String {
    format!(
        "round {number:>2}   worker {:>6.2} µs {:>7.0}/s ({:>3.0} % of its core)   floor {:>6.2} µs {:>7.0}/s ({:>3.0} %)   ratio {:.2}",
        pair.worker.cpu_us,
        pair.worker.per_second,
        pair.worker.busy * 100.0,
        pair.floor.cpu_us,
        pair.floor.per_second,
        pair.floor.busy * 100.0,
        pair.ratio(),
    )
}

impl Results {
    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![
            ("pushes a second on one core", format!("{:.0}", self.pushes_per_s), ""),
            ("CPU a push, worker", format!("{:.2} µs", self.cpu_us_per_push), ""),
            ("CPU a push, bare h2 client", format!("{:.2} µs", self.floor_cpu_us_per_push), ""),
            (
                "ratio, median of pairs",
                format!("{:.2} ({:.2} to {:.2})", self.ratio, self.ratio_range[0], self.ratio_range[1]),
                "at most 1.7, goal 1.5",
            ),
            ("produced to accepted, full speed, p50", format!("{:.1} ms", self.p50_ms), ""),
            ("  p99", format!("{:.1} ms", self.p99_ms), ""),
            ("  p99.9", format!("{:.1} ms", self.p999_ms), ""),
        ];
        if let Some(calm) = &self.calm {
            rows.push(("produced to accepted at 30 %, p50", format!("{:.1} ms", calm.p50_ms_at_30_percent), ""));
            rows.push(("  p99", format!("{:.1} ms", calm.p99_ms_at_30_percent), "at most 15 ms"));
            rows.push(("  p99.9", format!("{:.1} ms", calm.p999_ms_at_30_percent), ""));
        }
        rows.push(("peak memory in the rounds", format!("{:.0} MiB", self.rounds_peak_rss_mib), ""));
        if let Some(crowd) = &self.crowd {
            rows.push(("most in flight", crowd.peak_in_flight.to_string(), ""));
            rows.push(("peak memory with them", format!("{:.0} MiB", crowd.peak_rss_mib), "at most 96 MiB, goal 64"));
        }
        let mut table = String::new();
        for (what, value, target) in rows {
            table += &format!("{what:<40} {value:>22}   {target}\n");
        }
        table += &format!(
            "\n{} recipients; worker with {} events outstanding, floor with {} in flight, {} connections each; the worker used {:.0} % of its core, \
             the simulator {:.1} µs a push of the other.",
            self.recipients,
            self.outstanding,
            self.floor_in_flight,
            self.connections,
            self.worker_core_busy * 100.0,
            self.simulator_us_per_push,
        );
        let mut threads: Vec<_> = self.cpu_us_by_thread.iter().filter(|(_, used)| **used >= 0.01).collect();
        threads.sort_by(|a, b| b.1.total_cmp(a.1));
        for (name, used) in threads {
            table += &format!("\n  {name:<38} {used:>19.2} µs");
        }
        table
    }

    /// Writes them as JSON.
    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(file, json).with_context(|| format!("writing {}", file.display()))
    }
}
