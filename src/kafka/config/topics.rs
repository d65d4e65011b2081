//! Sections `[topics]` and `[in_flight]`: what the topics are called, and how much of each is worked on at once.
use serde::{Deserialize, Serialize};

use crate::delivery::{Tier, Urgency};
use crate::event::NotificationType;
use crate::settings::Problems;

/// Section `[topics]`: names. Tests and shared clusters change them; a cluster's own prefix fits too.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TopicsConfig {
    /// Upstream's events of this type.
    pub identity_verification: String,
    /// Upstream's events of this type.
    pub trusted_device: String,
    /// Upstream's events of this type.
    pub account_sharing: String,
    /// Upstream's events of this type.
    pub otp_received: String,
    /// What upstream hears about requests; read for the withdrawals that it causes.
    pub decisions: String,
    /// The audit trail.
    pub audit: String,
    /// What becomes of people and workspaces at upstream; read by the API.
    pub lifecycle: String,
    /// Prefix of the ten job topics: `<jobs>.<urgent|normal>.<now|10s|30s|2m|10m>`.
    pub jobs: String,
    /// Prefix of the topics in which jobs wait for a credential to be mended: `<hold>.<credential>`.
    pub hold: String,
    /// Dead letters.
    pub dlq: String,
    /// Records that are taken back from the dead letters.
    pub redrive: String,
    /// One record for each job that ended.
    pub outcomes: String,
}

impl TopicsConfig {
    /// The topic of a type's events.
    pub fn event(&self, kind: NotificationType) -> &str {
        match kind {
            NotificationType::IdentityVerification => &self.identity_verification,
            NotificationType::TrustedDevice => &self.trusted_device,
            NotificationType::AccountSharing => &self.account_sharing,
            NotificationType::OtpReceived => &self.otp_received,
        }
    }

    /// The topic of jobs of this urgency and delay.
    pub fn job(&self, urgency: Urgency, tier: Tier) -> String {
        format!("{}.{}.{}", self.jobs, urgency.name(), tier.name())
    }

    /// The topic in which jobs of this credential wait.
    pub fn hold(&self, credential: &str) -> String {
        format!("{}.{credential}", self.hold)
    }

    /// Everything that contradicts itself or cannot work.
    pub fn problems(&self) -> Problems {
        let named = [
            ("identity_verification", &self.identity_verification),
            ("trusted_device", &self.trusted_device),
            ("account_sharing", &self.account_sharing),
            ("otp_received", &self.otp_received),
            ("decisions", &self.decisions),
            ("audit", &self.audit),
            ("lifecycle", &self.lifecycle),
            ("jobs", &self.jobs),
            ("hold", &self.hold),
            ("dlq", &self.dlq),
            ("redrive", &self.redrive),
            ("outcomes", &self.outcomes),
        ];
        let mut problems = Problems::default();
        for (place, (key, name)) in named.iter().enumerate() {
            if !is_topic_name(name) {
                problems.add(format!("{key} must be 1 to 200 letters, digits, '.', '_' or '-'; it is {name:?}"));
            }
            if let Some((other, _)) = named[..place].iter().find(|(_, earlier)| earlier == name) {
                problems.add(format!("{key} has the same name as {other}; every topic needs its own"));
            }
        }
        problems
    }
}

/// Section `[in_flight]`: records being worked on at once, by what their topic carries, so that a backlog of one never takes
/// another's room. A record that is not let in stays in its prefetched queue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InFlightConfig {
    /// Records in all: the numbers below must not add up to more. At most 3 KiB of memory each.
    pub max: usize,
    /// Records of this type's topic.
    pub identity_verification: usize,
    /// Records of this type's topic.
    pub trusted_device: usize,
    /// Records of this type's topic.
    pub account_sharing: usize,
    /// Records of this type's topic.
    pub otp_received: usize,
    /// Jobs that somebody waits for.
    pub jobs_urgent: usize,
    /// Jobs of sharing alerts.
    pub jobs_normal: usize,
    /// Jobs released from hold, each credential.
    pub hold: usize,
    /// Records taken back from the dead letters.
    pub redrive: usize,
    /// Decisions.
    pub decisions: usize,
}

impl InFlightConfig {
    /// Records of a type's topic.
    pub fn event(&self, kind: NotificationType) -> usize {
        match kind {
            NotificationType::IdentityVerification => self.identity_verification,
            NotificationType::TrustedDevice => self.trusted_device,
            NotificationType::AccountSharing => self.account_sharing,
            NotificationType::OtpReceived => self.otp_received,
        }
    }

    /// Jobs of this urgency.
    pub fn jobs(&self, urgency: Urgency) -> usize {
        match urgency {
            Urgency::Urgent => self.jobs_urgent,
            Urgency::Normal => self.jobs_normal,
        }
    }

    /// Everything that contradicts itself or cannot work, given the number of credentials.
    pub fn problems(&self, credentials: usize) -> Problems {
        let parts = [
            ("identity_verification", self.identity_verification, 1),
            ("trusted_device", self.trusted_device, 1),
            ("account_sharing", self.account_sharing, 1),
            ("otp_received", self.otp_received, 1),
            ("jobs_urgent", self.jobs_urgent, 1),
            ("jobs_normal", self.jobs_normal, 1),
            ("redrive", self.redrive, 1),
            ("decisions", self.decisions, 1),
            ("hold", self.hold, credentials),
        ];
        let sum = parts.iter().map(|(_, part, times)| part.saturating_mul(*times)).fold(0, usize::saturating_add);
        let mut problems = Problems::default();
        if parts.iter().any(|(_, part, _)| *part == 0) {
            problems.add("max is divided into parts of which one is 0: it would never be read; give it at least 1");
        }
        if sum > self.max {
            let list = parts.map(|(key, part, times)| match times {
                1 => format!("{key} {part}"),
                times => format!("{times} times {key} {part}"),
            });
            let (max, list) = (self.max, list.join(", "));
            problems.add(format!("max is {max}, but its parts add up to {sum} ({list}); raise it or lower them"));
        }
        problems
    }
}

/// Kafka's own rule for topic names, a little shorter (its limit is 249), so that a suffix fits.
pub(super) fn is_topic_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=200).contains(&name.len()) && name.bytes().all(allowed) && name != "." && name != ".."
}
