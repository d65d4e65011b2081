//! From the moment of production to the moment at which the simulator accepted, event by event.
use std::collections::HashMap;

use anyhow::ensure;

/// Exact percentiles of a set of latencies.
pub(crate) struct Latencies {
    /// Microseconds, ascending.
    sorted: Vec<u64>,
}

impl Latencies {
    /// Joins what was produced (apns-id and microseconds since 1970) with what arrived. Every event must have arrived exactly once.
    pub(crate) fn join(produced: &[(u128, u64)], arrived: &[(u128, u64)]) -> anyhow::Result<Self> {
        let mut at: HashMap<u128, u64> = HashMap::with_capacity(arrived.len());
        for (id, moment) in arrived {
            ensure!(at.insert(*id, *moment).is_none(), "a push was sent twice; the benchmark's worker may not do that");
        }
        let mut sorted = Vec::with_capacity(produced.len());
        for (id, produced) in produced {
            let Some(arrived) = at.get(id) else { anyhow::bail!("an event never arrived at the simulator") };
            sorted.push(arrived.saturating_sub(*produced));
        }
        sorted.sort_unstable();
        Ok(Self { sorted })
    }

    /// The latency in milliseconds that `share` (0 to 1) of the events did not exceed.
    pub(crate) fn percentile_ms(&self, share: f64) -> f64 {
        let rank = (share * self.sorted.len() as f64).ceil() as usize;
        let value = self.sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default();
        value as f64 / 1_000.0
    }
}
