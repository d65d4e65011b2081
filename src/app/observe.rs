//! How the worker stands: its readiness, and the numbers that are looked up at a scrape.
use std::time::Duration;

use metrics::{counter, gauge};

use crate::event::NotificationType;
use crate::kafka::forwarder::KafkaForwarder;
use crate::kafka::source::SourceHandle;
use crate::store::Policy;
use crate::telemetry::Component;
use crate::worker::Lanes;

/// How often readiness is looked at: an orchestrator asks every few seconds.
const LOOK: Duration = Duration::from_millis(500);
/// Commits or forwards that fail for longer than this make the process not ready: a rebalance or a broker's restart takes less.
const FAILING_MAX: Duration = Duration::from_secs(15);

/// Keeps the readiness up to date, until it is aborted.
pub(super) async fn watch(kafka: Component, sources: Vec<SourceHandle>, forwarder: KafkaForwarder) {
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        match trouble(&sources, &forwarder) {
            None => kafka.ready(),
            Some(reason) => kafka.waiting(reason),
        }
    }
}

/// Why the worker should not be counted on, if it should not.
fn trouble(sources: &[SourceHandle], forwarder: &KafkaForwarder) -> Option<String> {
    for source in sources {
        let view = source.view();
        if !view.joined {
            return Some(format!("the group {} is not joined yet", view.group));
        }
        if let Some(failing) = view.commits_failing_for.filter(|failing| *failing > FAILING_MAX) {
            return Some(format!("the group {} has not committed for {} s", view.group, failing.as_secs()));
        }
    }
    let waiting = forwarder.view().waiting_for.filter(|waiting| *waiting > FAILING_MAX)?;
    Some(format!("records wait to be written for {} s", waiting.as_secs()))
}

/// Publishes what is only worth looking up when somebody looks, of the parts that every process has.
pub(super) fn export_shared(policy: &Policy, forwarder: &KafkaForwarder) {
    let (entries, bytes) = policy.cache_size();
    gauge!("watchbell_cache_entries").set(entries as f64);
    gauge!("watchbell_cache_bytes").set(bytes as f64);
    let view = forwarder.view();
    gauge!("watchbell_forwards_in_flight").set(view.in_flight as f64);
    gauge!("watchbell_forwards_waiting").set(view.waiting as f64);
    counter!("watchbell_forwards_acknowledged_total").absolute(view.acknowledged);
    counter!("watchbell_forwards_given_back_total").absolute(view.given_back);
}

/// The same of the worker's own parts.
pub(super) fn export(policy: &Policy, forwarder: &KafkaForwarder, sources: &[SourceHandle], lanes: &Lanes) {
    export_shared(policy, forwarder);
    for (kind, longest) in NotificationType::ALL.into_iter().zip(lanes.longest()) {
        gauge!("watchbell_key_backlog_max", "type" => kind.name()).set(longest as f64);
    }
    export_sources(sources);
}

/// The same of the groups that a process reads in.
pub(super) fn export_sources(sources: &[SourceHandle]) {
    for source in sources {
        let view = source.view();
        let group = view.group.to_string();
        gauge!("watchbell_partitions_assigned", "group" => group.clone()).set(view.partitions.len() as f64);
        counter!("watchbell_records_skipped_total", "group" => group.clone()).absolute(view.skipped);
        counter!("watchbell_commits_total", "group" => group.clone()).absolute(view.commits);
        counter!("watchbell_commits_failed_total", "group" => group.clone()).absolute(view.commits_failed);
        counter!("watchbell_offset_maps_ignored_total", "group" => group.clone()).absolute(view.maps_ignored);
        counter!("watchbell_offset_maps_full_total", "group" => group.clone()).absolute(view.maps_full);
        counter!("watchbell_partitions_lost_total", "group" => group.clone()).absolute(view.lost);
        counter!("watchbell_partitions_undrained_total", "group" => group.clone()).absolute(view.undrained);
        let failing = view.commits_failing_for.unwrap_or_default();
        gauge!("watchbell_commits_failing_seconds", "group" => group.clone()).set(failing.as_secs_f64());
        for partition in &view.partitions {
            let labels = [("topic", partition.topic.to_string()), ("partition", partition.partition.to_string())];
            gauge!("watchbell_records_in_flight", &labels).set(partition.in_flight as f64);
            if let Some(lag) = partition.lag {
                gauge!("watchbell_lag_records", &labels).set(lag as f64);
            }
            let oldest = partition.oldest.unwrap_or_default();
            gauge!("watchbell_oldest_unfinished_seconds", &labels).set(oldest.as_secs_f64());
        }
    }
}
