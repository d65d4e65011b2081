//! What happens to jobs, as metrics: one function for each happening.
//!
//! The frequent ones use handles that are registered once; the rare ones are looked up when they happen. Labels come from closed sets:
//! types, endings, tiers, our reasons and the providers' documented ones (a foreign reason is `other`).
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use crate::delivery::{Ending, Reason, Tier};
use crate::event::{NotificationType, SystemNotice};
use crate::seam::CredentialId;

/// The flow's metrics.
pub struct FlowSignals {
    accepted: [Counter; NotificationType::COUNT],
    latency: [Histogram; NotificationType::COUNT],
}

impl Default for FlowSignals {
    fn default() -> Self {
        let accepted =
            NotificationType::ALL.map(|kind| counter!("watchbell_jobs_accepted_total", "type" => kind.name()));
        let latency = NotificationType::ALL.map(|kind| histogram!("watchbell_accepted_seconds", "type" => kind.name()));
        Self { accepted, latency }
    }
}

impl FlowSignals {
    /// A provider took a push; `latency` runs from the reading of the event.
    pub fn accepted(&self, kind: NotificationType, latency: Duration) {
        self.accepted[kind.index()].increment(1);
        self.latency[kind.index()].record(latency.as_secs_f64());
    }

    /// A job ended in any other way.
    pub fn ended(&self, kind: NotificationType, ending: &Ending) {
        let reason = ending.reason().map_or("", Reason::label);
        counter!("watchbell_jobs_ended_otherwise_total", "type" => kind.name(), "ending" => ending.name(), "reason" => reason)
            .increment(1);
    }

    /// A notice of ours ended. It is in no figure of a type, whose latencies run from an event.
    pub fn notice_ended(&self, notice: SystemNotice, ending: &Ending) {
        let reason = ending.reason().map_or("", Reason::label);
        counter!("watchbell_notices_ended_total", "notice" => notice.name(), "ending" => ending.name(), "reason" => reason)
            .increment(1);
    }

    /// A job went to a tier.
    pub fn retried(&self, tier: Tier, reason: &Reason) {
        counter!("watchbell_jobs_retried_total", "tier" => tier.name(), "reason" => reason.label()).increment(1);
    }

    /// A job went to hold.
    pub fn held(&self, credential: &CredentialId) {
        counter!("watchbell_jobs_held_total", "credential" => credential.to_string()).increment(1);
    }
}
