//! The metrics recorder: keeps what the `metrics` macros are told, until somebody scrapes it.
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Bounds of all histograms of seconds. A push to a provider takes tens of milliseconds; the tiers reach to ten minutes.
const SECONDS: [f64; 18] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0];

/// Between two upkeeps: until the next one, a histogram keeps every sample it was given, 8 bytes each.
const UPKEEP: Duration = Duration::from_secs(1);

/// Installs the recorder of this process; once, and before any handle is registered, because a handle registered earlier counts nothing.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()?;
    super::catalog::describe();
    metrics::gauge!("watchbell_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

/// Folds the histograms' samples into their buckets, for ever.
pub(super) async fn keep_up(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}
