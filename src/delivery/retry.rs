//! The retry law: from a provider's outcome to what happens next, in one pure function.
//!
//! Only attempts that ended are seen here: what may be resent at once (a refused stream, one APNs 5xx) was resent by the provider's
//! client. Everything else waits in a tier: a topic with one constant delay. Longer waits need longer tiers, never a sleeping task.
//!
//! Invariant: nothing is ever scheduled at or past the deadline; a delay is never shorter than the provider asked for.
use std::time::Duration;

use super::{Ending, Outcome, Reason, RetryScope};
use crate::event::{NotificationType, Timestamp};

/// Which of the two rows of job topics a job waits in, so that sharing alerts never delay what a person waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Urgency {
    /// Everything that a person waits for.
    Urgent,
    /// Sharing alerts.
    Normal,
}

impl Urgency {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Urgent, Self::Normal];

    /// The urgency of a type.
    pub const fn of(kind: NotificationType) -> Self {
        match kind {
            NotificationType::IdentityVerification
            | NotificationType::TrustedDevice
            | NotificationType::OtpReceived => Self::Urgent,
            NotificationType::AccountSharing => Self::Normal,
        }
    }

    /// The part of the topic's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Normal => "normal",
        }
    }
}

/// A job topic's delay: constant within the topic, so that its order is the order of falling due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// No delay: exploded jobs, redrives, releases from hold.
    Now,
    /// 10 s: the least that FCM asks a sender to wait (Firebase, "Best practices when sending FCM messages at scale").
    S10,
    /// 30 s.
    S30,
    /// 2 min: the first one that suits a 429 without Retry-After (Firebase: at least 60 s).
    M2,
    /// 10 min.
    M10,
}

impl Tier {
    /// All, by rising delay.
    pub const ALL: [Self; 5] = [Self::Now, Self::S10, Self::S30, Self::M2, Self::M10];

    /// The tiers that delay, by rising delay.
    pub const DELAYING: [Self; 4] = [Self::S10, Self::S30, Self::M2, Self::M10];

    /// How long a job waits in it.
    pub const fn delay(self) -> Duration {
        match self {
            Self::Now => Duration::ZERO,
            Self::S10 => Duration::from_secs(10),
            Self::S30 => Duration::from_secs(30),
            Self::M2 => Duration::from_secs(120),
            Self::M10 => Duration::from_secs(600),
        }
    }

    /// The part of the topic's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::S10 => "10s",
            Self::S30 => "30s",
            Self::M2 => "2m",
            Self::M10 => "10m",
        }
    }
}

/// What happens after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextStep {
    /// It ended.
    Done(Ending),
    /// The token is removed if it is still the one that was used, then it ended.
    InvalidateToken {
        /// Since when the token is dead by the provider's clock.
        since: Option<Timestamp>,
        /// How the job ends.
        ending: Ending,
    },
    /// It waits in a tier.
    Retry {
        /// Which.
        tier: Tier,
        /// When the tier lets it go.
        not_before: Timestamp,
        /// Why.
        reason: Reason,
    },
    /// It waits apart until somebody mends its credential.
    Hold {
        /// Why.
        reason: Reason,
    },
    /// It goes to the dead letters, and ended.
    DeadLetter {
        /// Why.
        reason: Reason,
    },
}

/// The numbers of the law.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// Attempts of one job, the first included, before it is dead-lettered: 1 to 100.
    pub attempts_max: u32,
}

impl Default for RetryPolicy {
    /// Ten attempts reach past an hour by the tiers; Firebase calls a request that still fails after 60 minutes not transient.
    fn default() -> Self {
        Self { attempts_max: 10 }
    }
}

/// The least wait after a provider's 429 for one device, where it names none (Firebase: 60 s; APNs names none, 60 s is practice).
const THROTTLED_WAIT: Duration = Duration::from_secs(60);

impl RetryPolicy {
    /// What happens after attempt number `attempts` (1 for the first), which ended with `outcome` at `now`, for a job that expires at
    /// `expires_at`.
    pub fn next(&self, outcome: Outcome, attempts: u32, now: Timestamp, expires_at: Timestamp) -> NextStep {
        match outcome {
            Outcome::Accepted => NextStep::Done(Ending::Accepted),
            Outcome::TokenInvalid { since, reason } => {
                NextStep::InvalidateToken { since, ending: Ending::TokenInvalid(reason) }
            }
            Outcome::Rejected { reason } => NextStep::DeadLetter { reason },
            Outcome::Misconfigured { reason } if now >= expires_at => NextStep::Done(Ending::Expired(reason)),
            Outcome::Misconfigured { reason } => NextStep::Hold { reason },
            Outcome::Retryable { reason, .. } if attempts >= self.attempts_max => NextStep::DeadLetter { reason },
            Outcome::Retryable { reason, retry_after, scope, maybe_shown: _ } => {
                let wait = least_wait(retry_after, scope);
                match tier(attempts, wait, expires_at.since(now)) {
                    Some(tier) => NextStep::Retry { tier, not_before: now.plus(tier.delay()), reason },
                    None => NextStep::Done(Ending::Expired(reason)),
                }
            }
        }
    }
}

fn least_wait(retry_after: Option<Duration>, scope: RetryScope) -> Duration {
    match (retry_after, scope) {
        (Some(asked), RetryScope::Device | RetryScope::Provider) => asked,
        (None, RetryScope::Device) => THROTTLED_WAIT,
        (None, RetryScope::Provider) => Duration::ZERO,
    }
}

/// The tier for the attempt after number `attempts`: one step longer each time, at least `wait`, and less than `left`; where the step
/// does not fit into what is left, the longest that does, because one more try beats none.
fn tier(attempts: u32, wait: Duration, left: Duration) -> Option<Tier> {
    let step = (attempts.max(1) as usize - 1).min(Tier::DELAYING.len() - 1);
    // A Retry-After beyond the longest tier waits in the longest one: the job is planned anew there and may wait again.
    let wait = wait.min(Tier::M10.delay());
    let fits = |tier: &Tier| tier.delay() >= wait && tier.delay() < left;
    let wished = Tier::DELAYING[step..].iter().copied().find(fits);
    wished.or_else(|| Tier::DELAYING[..step].iter().rev().copied().find(fits))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn retryable(retry_after: Option<u64>, scope: RetryScope) -> Outcome {
        let retry_after = retry_after.map(Duration::from_secs);
        Outcome::Retryable { reason: Reason::known("ServiceUnavailable"), retry_after, scope, maybe_shown: false }
    }

    fn after(attempts: u32, outcome: Outcome, left_secs: u64) -> NextStep {
        RetryPolicy::default().next(outcome, attempts, NOW, NOW.plus(Duration::from_secs(left_secs)))
    }

    fn tier_of(step: NextStep) -> Option<Tier> {
        match step {
            NextStep::Retry { tier, .. } => Some(tier),
            NextStep::Done(Ending::Expired(_)) => None,
            other => panic!("{other:?}"),
        }
    }

    /// Each attempt waits one tier longer, and the longest tier repeats.
    #[test]
    fn waits_grow() {
        let tiers: Vec<_> =
            (1..=6).map(|n| tier_of(after(n, retryable(None, RetryScope::Provider), 86_400)).unwrap().name()).collect();
        assert_eq!(tiers, ["10s", "30s", "2m", "10m", "10m", "10m"]);
    }

    /// Retry-After rounds up to a tier; a throttled device waits at least a minute; what does not fit before the deadline expires.
    #[test]
    fn retry_after_and_deadline() {
        use RetryScope::{Device, Provider};
        let cases = [
            (1, Some(11), Provider, 86_400, Some(Tier::S30)),
            (1, Some(0), Provider, 86_400, Some(Tier::S10)),
            (1, Some(3_600), Provider, 86_400, Some(Tier::M10)),
            (1, None, Device, 86_400, Some(Tier::M2)),
            (1, None, Device, 100, None),
            (3, None, Provider, 60, Some(Tier::S30)),
            (1, None, Provider, 10, None),
            (1, Some(20), Provider, 25, None),
        ];
        for (attempts, asked, scope, left, expected) in cases {
            let step = after(attempts, retryable(asked, scope), left);
            assert_eq!(tier_of(step), expected, "attempt {attempts}, Retry-After {asked:?}, {left} s left");
        }
    }

    /// The last attempt that is allowed ends in the dead letters with its reason.
    #[test]
    fn attempts_end() {
        let step = after(10, retryable(None, RetryScope::Provider), 86_400);
        assert_eq!(step, NextStep::DeadLetter { reason: Reason::known("ServiceUnavailable") });
    }

    /// A misconfiguration holds the job, neither deletes a token nor dead-letters it, and at the deadline it expires with the reason.
    #[test]
    fn misconfigured_holds() {
        let reason = Reason::known("InvalidProviderToken");
        let outcome = Outcome::Misconfigured { reason: reason.clone() };
        assert_eq!(after(99, outcome.clone(), 1), NextStep::Hold { reason: reason.clone() });
        assert_eq!(after(1, outcome, 0), NextStep::Done(Ending::Expired(reason)));
    }

    proptest! {
        /// Nothing is scheduled at or past the deadline, nor earlier than asked for within the longest tier.
        #[test]
        fn deadline_rules(attempts in 1u32..9, asked in proptest::option::of(0u64..900), device: bool, left in 0u64..2_000) {
            let scope = if device { RetryScope::Device } else { RetryScope::Provider };
            let expires_at = NOW.plus(Duration::from_secs(left));
            match after(attempts, retryable(asked, scope), left) {
                NextStep::Retry { tier, not_before, .. } => {
                    prop_assert!(not_before < expires_at);
                    prop_assert!(tier.delay().as_secs() >= asked.unwrap_or(0).min(600));
                    prop_assert!(tier >= Tier::S10);
                }
                NextStep::Done(Ending::Expired(_)) => prop_assert!(left <= 600),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
