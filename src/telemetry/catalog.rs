//! Every metric by name, with what it counts: the help text of a scrape, and what dashboards rely on. A test keeps it complete.
use metrics::{describe_counter, describe_gauge, describe_histogram};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}
use Kind::{Counter, Gauge, Histogram};

/// The name tells the unit: `_total` counts, `_seconds`, `_bytes`; anything else is a number of what it is called.
const METRICS: &[(Kind, &str, &str)] = &[
    (Histogram, "watchbell_accepted_seconds", "From reading an event to the provider's acceptance of a push, by type"),
    (
        Histogram,
        "watchbell_accepted_to_seen_seconds",
        "From a provider's acceptance of a push to its phone's word that it was shown, by type and platform",
    ),
    (Counter, "watchbell_api_requests_total", "Requests to the API, by method, route and status"),
    (Histogram, "watchbell_api_seconds", "From a request's arrival at the API to its answer, by route"),
    (Gauge, "watchbell_build_info", "1, with the version as a label"),
    (Gauge, "watchbell_cache_bytes", "Bytes of the policy cache in this process"),
    (Gauge, "watchbell_cache_entries", "Entries of the policy cache in this process"),
    (Counter, "watchbell_policy_invalidations_total", "Copies of policy that Redis said had changed or expired"),
    (
        Counter,
        "watchbell_policy_reads_total",
        "Policy values by where they came from: memory, redis, store, last_known",
    ),
    (Counter, "watchbell_policy_redis_lost_total", "Times that Redis went out of use"),
    (
        Counter,
        "watchbell_policy_redis_unfit_total",
        "Times that Redis answered but must not be used: a replica, a cluster, too old",
    ),
    (Gauge, "watchbell_policy_redis_up", "1 while Redis is in use and changes of policy arrive as they are made"),
    (
        Counter,
        "watchbell_policy_unreadable_rows_total",
        "Reads of a row that this version cannot read and whose owner waits, by kind: user, workspace: alert on it",
    ),
    (
        Counter,
        "watchbell_outcomes_noted_total",
        "Outcomes that the API read, by result: noted, passed_over, unreadable, refused by the store, panicked",
    ),
    (
        Counter,
        "watchbell_lifecycle_total",
        "Lifecycle records that the API read, by what and result: applied, known, unreadable",
    ),
    (
        Counter,
        "watchbell_requests_projected_total",
        "Events that await an answer and cancels, once for each person, by result: open, closed, known, cancelled, over, unreadable, refused by \
         the store, panicked",
    ),
    (Counter, "watchbell_sign_ins_refused_total", "Requests whose sign-in token does not count, by reason"),
    (Counter, "watchbell_signing_key_fetches_total", "Fetches of the issuer's keys, by result"),
    (Counter, "watchbell_policy_unannounced_changes_total", "Changes of policy that others see after one TTL only"),
    (
        Counter,
        "watchbell_guard_answers_lost_total",
        "Answers that the fatigue guard's common count did not hear of, because Redis could not be told",
    ),
    (
        Counter,
        "watchbell_guard_counted_alone_total",
        "Requests whose ringing this process counted by itself, because Redis could not be asked",
    ),
    (
        Counter,
        "watchbell_guard_held_back_total",
        "Requests that did not ring for a person for whom too many had rung, by type: somebody may be under attack",
    ),
    (
        Gauge,
        "watchbell_commits_failing_seconds",
        "For how long a group's commits have been failing; 0 while they succeed",
    ),
    (Counter, "watchbell_commits_failed_total", "Commits that the broker did not take, by group"),
    (Counter, "watchbell_commits_total", "Commits, by group"),
    (
        Gauge,
        "watchbell_credential_misconfigured",
        "1 while a credential is refused for an app, whose jobs wait: alert on it",
    ),
    (Counter, "watchbell_forwards_acknowledged_total", "Records written and acknowledged by the broker"),
    (
        Counter,
        "watchbell_forwards_given_back_total",
        "Records that the broker did not take at once and that were written again",
    ),
    (Gauge, "watchbell_forwards_in_flight", "Records handed to the producer and not acknowledged yet"),
    (Gauge, "watchbell_forwards_waiting", "Records that wait for room in the producer"),
    (Counter, "watchbell_jobs_accepted_total", "Pushes that a provider accepted, by type"),
    (Counter, "watchbell_jobs_ended_otherwise_total", "Jobs that ended in any other way, by type, ending and reason"),
    (Counter, "watchbell_jobs_ended_total", "Balance: jobs that ended"),
    (Counter, "watchbell_jobs_fenced_total", "Balance: jobs given up because their partition was somebody else's"),
    (Counter, "watchbell_jobs_forwarded_total", "Balance: jobs that went to a tier or to hold"),
    (Counter, "watchbell_jobs_held_total", "Jobs that went to hold, by credential"),
    (
        Counter,
        "watchbell_jobs_newer_schema_total",
        "Jobs of a newer schema than this worker knows; they wait for a newer worker",
    ),
    (Counter, "watchbell_jobs_planned_total", "Balance: jobs planned = ended + forwarded + fenced + in flight"),
    (Counter, "watchbell_jobs_retried_total", "Jobs that went to a tier, by tier and reason"),
    (Counter, "watchbell_jobs_without_credential_total", "Jobs of an app that no credential serves, by app"),
    (
        Gauge,
        "watchbell_key_backlog_max",
        "Most records of one key that wait for the one before them, by type: a producer's hot key",
    ),
    (Gauge, "watchbell_lag_records", "Records of a partition that are not read yet"),
    (Counter, "watchbell_nonces_total", "Nonces that were to be pushed to phones, by result"),
    (Counter, "watchbell_not_me_total", "Times that somebody said it was not them, by what was not: alert on it"),
    (
        Counter,
        "watchbell_notices_carried_total",
        "Notices that the API pushed itself, to phones that were just retired, by result",
    ),
    (Counter, "watchbell_notices_ended_total", "Notices of Watchbell itself, by notice, ending and reason"),
    (
        Counter,
        "watchbell_offset_maps_full_total",
        "Times a partition was not read because its map of finished offsets was full",
    ),
    (
        Counter,
        "watchbell_offset_maps_ignored_total",
        "Maps of finished offsets that could not be read; their records are sent again",
    ),
    (Gauge, "watchbell_oldest_unfinished_seconds", "Age of the oldest record in flight of a partition"),
    (
        Gauge,
        "watchbell_outbox_oldest_seconds",
        "How long the oldest record of a topic has waited in the outbox: alert on it",
    ),
    (Counter, "watchbell_outbox_stalls_total", "Times that the outbox could not be read or marked"),
    (Gauge, "watchbell_outbox_waiting", "Records of a topic that wait in the outbox; counted up to 10,000"),
    (Gauge, "watchbell_partitions_assigned", "Partitions of this worker, by group"),
    (Counter, "watchbell_partitions_lost_total", "Partitions lost without having been asked for back"),
    (Counter, "watchbell_partitions_undrained_total", "Partitions given back before their records in flight had ended"),
    (Counter, "watchbell_provider_connect_failures_total", "Connects to a provider that failed, by pool"),
    (Gauge, "watchbell_provider_connections", "Connections of a pool, by state"),
    (Counter, "watchbell_provider_connections_lost_total", "Connections that broke, by pool"),
    (Counter, "watchbell_provider_connections_opened_total", "Connections that were opened, by pool"),
    (Counter, "watchbell_provider_connections_retired_total", "Connections that were replaced, by pool and why"),
    (
        Counter,
        "watchbell_provider_resends_total",
        "Requests resent because the provider certainly had not processed them",
    ),
    (Gauge, "watchbell_provider_streams_in_flight", "Requests in flight, by pool"),
    (Gauge, "watchbell_provider_streams_waiting", "Requests that wait for a stream, by pool"),
    (Counter, "watchbell_provider_timeouts_total", "Requests without an answer in time, by pool"),
    (Counter, "watchbell_records_dead_lettered_total", "Records that went to the dead letters whole, by reason"),
    (Counter, "watchbell_records_dead_lettered_whole_total", "Balance: records that went to the dead letters whole"),
    (
        Counter,
        "watchbell_records_fenced_total",
        "Balance: records given up because their partition was somebody else's",
    ),
    (Gauge, "watchbell_records_in_flight", "Records of a partition that are being worked on"),
    (Counter, "watchbell_records_planned_total", "Balance: records whose jobs were planned"),
    (
        Counter,
        "watchbell_records_read_total",
        "Balance: records read = planned + dead-lettered whole + fenced + in flight",
    ),
    (Counter, "watchbell_records_skipped_total", "Records that an earlier reader had finished already"),
    (Counter, "watchbell_stalls_total", "Waits because something of ours was away, by what"),
    (Gauge, "watchbell_token_removal_stopped", "1 while an app's dead tokens are too many to be believed: alert on it"),
];

/// Tells the recorder what every metric is.
pub(super) fn describe() {
    for (kind, name, help) in METRICS {
        match kind {
            Counter => describe_counter!(*name, *help),
            Gauge => describe_gauge!(*name, *help),
            Histogram => describe_histogram!(*name, *help),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The metric names in the sources under `dir`, without those of tests.
    fn names_in(dir: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                names_in(&path, names);
            } else if file.ends_with(".rs") && !file.ends_with("tests.rs") && file != "catalog.rs" {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("mod tests {").next().unwrap();
                let found = code.split("\"watchbell_").skip(1).map(|rest| rest.split('"').next().unwrap());
                // A longer string only mentions a metric.
                let is_name = |rest: &&str| rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                names.extend(found.filter(is_name).map(|rest| format!("watchbell_{rest}")));
            }
        }
    }

    #[test]
    fn every_metric_is_described() {
        // Each metric that the code names has a line here, and each line here is named by the code.
        let mut named = BTreeSet::new();
        names_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut named);
        let described: BTreeSet<_> = METRICS.iter().map(|(_, name, _)| (*name).to_owned()).collect();
        let missing: Vec<_> = named.difference(&described).collect();
        let stale: Vec<_> = described.difference(&named).collect();
        assert!(
            missing.is_empty() && stale.is_empty(),
            "not in telemetry/catalog.rs: {missing:?}; nowhere else: {stale:?}"
        );
        assert_eq!(described.len(), METRICS.len(), "a name has two lines");
    }

    #[test]
    fn names_tell_kind_and_unit() {
        // Counters end in _total and nothing else does, as Prometheus' naming rules ask.
        for (kind, name, _) in METRICS {
            assert_eq!(name.ends_with("_total"), *kind == Counter, "{name}");
        }
    }
}
