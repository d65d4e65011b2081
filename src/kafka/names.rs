//! The names of the topics that are written to, made once: no name is formatted on the way.
use super::config::TopicsConfig;
use crate::delivery::{Tier, Urgency};

#[derive(Debug)]
pub(super) struct Names {
    jobs: [[String; Tier::ALL.len()]; Urgency::ALL.len()],
    hold: String,
    pub(super) dlq: String,
    pub(super) outcomes: String,
    pub(super) decisions: String,
    pub(super) audit: String,
    pub(super) redrive: String,
}

impl Names {
    pub(super) fn new(topics: &TopicsConfig) -> Self {
        Self {
            jobs: Urgency::ALL.map(|urgency| Tier::ALL.map(|tier| topics.job(urgency, tier))),
            hold: topics.hold.clone(),
            dlq: topics.dlq.clone(),
            outcomes: topics.outcomes.clone(),
            decisions: topics.decisions.clone(),
            audit: topics.audit.clone(),
            redrive: topics.redrive.clone(),
        }
    }

    pub(super) fn job(&self, urgency: Urgency, tier: Tier) -> &str {
        &self.jobs[urgency as usize][tier as usize]
    }

    pub(super) fn hold(&self, credential: &str) -> String {
        // Rare: only what is misconfigured is held.
        format!("{}.{credential}", self.hold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each job goes to the topic of its own urgency and tier.
    #[test]
    fn jobs_do_not_mix() {
        let topics = TopicsConfig {
            identity_verification: "a".into(),
            trusted_device: "b".into(),
            account_sharing: "c".into(),
            otp_received: "d".into(),
            decisions: "e".into(),
            audit: "i".into(),
            lifecycle: "j".into(),
            jobs: "jobs".into(),
            hold: "hold".into(),
            dlq: "f".into(),
            redrive: "g".into(),
            outcomes: "h".into(),
        };
        let names = Names::new(&topics);
        for urgency in Urgency::ALL {
            for tier in Tier::ALL {
                assert_eq!(names.job(urgency, tier), format!("jobs.{}.{}", urgency.name(), tier.name()));
            }
        }
        assert_eq!(names.hold("apns.main"), "hold.apns.main");
    }
}
