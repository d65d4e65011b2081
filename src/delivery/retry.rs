//! The retry law: from a provider's outcome to what happens next, in one pure function.
//!
//! Only attempts that ended are seen here: what may be resent at once (a refused stream, one APNs 5xx) was resent by the provider's
//! client. Everything else waits in a tier: a topic with one constant delay. Longer waits need longer tiers, never a sleeping task.
//!
//! Each attempt that was sent waits one tier longer than the last, and there are [`RetryPolicy::attempts_max`] of them. What could not be
//! sent (no connection, no access token, no credential for the app) is no attempt: it waits about as long as it has been waiting, and only
//! the deadline ends it.
//!
//! Invariant: nothing is ever scheduled at or past the deadline, nor attempted earlier than the provider asked for. A wait that is longer
//! than any tier goes through the longest one again and again.
use std::time::Duration;

use super::{Ending, Outcome, Reach, Reason, RetryScope};
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
        /// Where, and for how long.
        wait: Wait,
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

/// A wait in a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Which tier.
    pub tier: Tier,
    /// When the tier lets it go.
    pub not_before: Timestamp,
    /// Until when it waits on after that, where no tier is as long as the wait.
    pub until: Option<Timestamp>,
}

/// Where a job stands when its next step is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// Attempts that were sent so far.
    pub attempts: u32,
    /// When the record that asked for it was first read.
    pub first_seen: Timestamp,
    /// The time.
    pub now: Timestamp,
    /// Its deadline.
    pub expires_at: Timestamp,
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

/// The least wait after a provider's 429 that names none (Firebase, "Best practices when sending FCM messages at scale": 60 s; Apple
/// documents none, 60 s is practice).
pub const THROTTLED_WAIT: Duration = Duration::from_secs(60);

impl RetryPolicy {
    /// What happens after `outcome`, the attempts being those that were sent, this one included.
    pub fn next(&self, outcome: Outcome, job: Situation) -> NextStep {
        match outcome {
            Outcome::Accepted => NextStep::Done(Ending::Accepted),
            Outcome::TokenInvalid { since, reason } => {
                NextStep::InvalidateToken { since, ending: Ending::TokenInvalid(reason) }
            }
            Outcome::Rejected { reason } => NextStep::DeadLetter { reason },
            Outcome::Misconfigured { reason } if job.now >= job.expires_at => NextStep::Done(Ending::Expired(reason)),
            Outcome::Misconfigured { reason } => NextStep::Hold { reason },
            Outcome::Retryable { reason, retry_after, scope, reach } => {
                let step = match reach {
                    Reach::Unsent => step_by_age(job),
                    Reach::Refused | Reach::Unknown if job.attempts >= self.attempts_max => {
                        return NextStep::DeadLetter { reason };
                    }
                    Reach::Refused | Reach::Unknown => job.attempts.max(1) as usize - 1,
                };
                match wait(step, least_wait(retry_after, scope), job) {
                    Some(wait) => NextStep::Retry { wait, reason },
                    None => NextStep::Done(Ending::Expired(reason)),
                }
            }
        }
    }

    /// How a job waits whose app and environment no credential serves; `None` when it expires first. Somebody may add one, so it is
    /// neither an attempt nor a reason for the dead letters.
    pub fn unserved(&self, job: Situation) -> Option<Wait> {
        wait(step_by_age(job), Duration::ZERO, job)
    }

    /// How a job waits on that its tier let go before its wait was over; `None` when it expires first.
    pub fn wait_on(&self, until: Timestamp, job: Situation) -> Option<Wait> {
        wait(0, until.since(job.now), job)
    }
}

fn least_wait(retry_after: Option<Duration>, scope: RetryScope) -> Duration {
    match (retry_after, scope) {
        (Some(asked), RetryScope::Device | RetryScope::Provider) => asked,
        (None, RetryScope::Device) => THROTTLED_WAIT,
        (None, RetryScope::Provider) => Duration::ZERO,
    }
}

/// The step of a job that could not be sent: the tier after those that its age has room for.
fn step_by_age(job: Situation) -> usize {
    let age = job.now.since(job.first_seen);
    let ends = Tier::DELAYING.iter().scan(Duration::ZERO, |end, tier| {
        *end += tier.delay();
        Some(*end)
    });
    ends.take_while(|end| *end <= age).count()
}

/// The wait of that step, at least `least`.
fn wait(step: usize, least: Duration, job: Situation) -> Option<Wait> {
    let tier = tier(step.min(Tier::DELAYING.len() - 1), least, job.expires_at.since(job.now))?;
    let until = (least > tier.delay()).then(|| job.now.plus(least));
    Some(Wait { tier, not_before: job.now.plus(tier.delay()), until })
}

/// The step's tier, or a longer one if `least` asks for it; where that does not fit into what is left, the longest that does, because one
/// more try beats none; where none is as long as `least`, the longest, after which the job waits on.
fn tier(step: usize, least: Duration, left: Duration) -> Option<Tier> {
    if least >= left {
        return None;
    }
    let fits = |tier: &Tier| tier.delay() < left;
    let enough = |tier: &Tier| fits(tier) && tier.delay() >= least;
    let wished = Tier::DELAYING[step..].iter().copied().find(enough);
    let shorter = || Tier::DELAYING[..step].iter().rev().copied().find(enough);
    wished.or_else(shorter).or_else(|| Tier::DELAYING.into_iter().rev().find(fits))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn outcome(retry_after: Option<u64>, scope: RetryScope, reach: Reach) -> Outcome {
        let retry_after = retry_after.map(Duration::from_secs);
        Outcome::Retryable { reason: Reason::known("ServiceUnavailable"), retry_after, scope, reach }
    }

    fn retryable(retry_after: Option<u64>, scope: RetryScope) -> Outcome {
        outcome(retry_after, scope, Reach::Refused)
    }

    fn situation(attempts: u32, left_secs: u64) -> Situation {
        Situation { attempts, first_seen: NOW, now: NOW, expires_at: NOW.plus(Duration::from_secs(left_secs)) }
    }

    fn after(attempts: u32, outcome: Outcome, left_secs: u64) -> NextStep {
        RetryPolicy::default().next(outcome, situation(attempts, left_secs))
    }

    fn tier_of(step: NextStep) -> Option<Tier> {
        match step {
            NextStep::Retry { wait, .. } => Some(wait.tier),
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

    /// Retry-After rounds up to a tier, and to several where none is as long or none that is ends before the deadline; a throttled device
    /// waits at least a minute; what does not fit before the deadline expires.
    #[test]
    fn retry_after_and_deadline() {
        use RetryScope::{Device, Provider};
        let cases = [
            (1, Some(11), Provider, 86_400, Some((Tier::S30, None))),
            (1, Some(0), Provider, 86_400, Some((Tier::S10, None))),
            (1, Some(3_600), Provider, 86_400, Some((Tier::M10, Some(3_600)))),
            (1, Some(3_600), Provider, 3_600, None),
            (1, None, Device, 86_400, Some((Tier::M2, None))),
            (1, None, Device, 100, Some((Tier::S30, Some(60)))),
            (1, None, Device, 60, None),
            (3, None, Provider, 60, Some((Tier::S30, None))),
            (1, None, Provider, 10, None),
            (1, Some(20), Provider, 25, Some((Tier::S10, Some(20)))),
        ];
        for (attempts, asked, scope, left, expected) in cases {
            let step = after(attempts, retryable(asked, scope), left);
            let waits = match step {
                NextStep::Retry { wait, .. } => Some((wait.tier, wait.until.map(|until| until.since(NOW).as_secs()))),
                NextStep::Done(Ending::Expired(_)) => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(waits, expected, "attempt {attempts}, Retry-After {asked:?}, {left} s left");
        }
    }

    /// The last attempt that is allowed ends in the dead letters with its reason.
    #[test]
    fn attempts_end() {
        let step = after(10, retryable(None, RetryScope::Provider), 86_400);
        assert_eq!(step, NextStep::DeadLetter { reason: Reason::known("ServiceUnavailable") });
    }

    /// What could not be sent is never dead-lettered; its waits grow with its age, and the deadline ends it. The same rules where no
    /// credential serves the app.
    #[test]
    fn unsent_is_no_attempt() {
        let policy = RetryPolicy::default();
        let ages = [(0, "10s"), (9, "10s"), (10, "30s"), (40, "2m"), (160, "10m"), (100_000, "10m")];
        for (age, expected) in ages {
            let job = Situation { now: NOW.plus(Duration::from_secs(age)), ..situation(99, 1_000_000) };
            let step = policy.next(outcome(None, RetryScope::Provider, Reach::Unsent), job);
            assert_eq!(tier_of(step).unwrap().name(), expected, "after {age} s");
            assert_eq!(policy.unserved(job).unwrap().tier.name(), expected, "after {age} s");
        }
        assert_eq!(policy.unserved(situation(0, 10)), None);
    }

    /// A misconfiguration holds the job, neither deletes a token nor dead-letters it, and at the deadline it expires with the reason.
    #[test]
    fn misconfigured_holds() {
        let reason = Reason::known("InvalidProviderToken");
        let outcome = Outcome::Misconfigured { reason: reason.clone() };
        assert_eq!(after(99, outcome.clone(), 1), NextStep::Hold { reason: reason.clone() });
        assert_eq!(after(1, outcome, 0), NextStep::Done(Ending::Expired(reason)));
    }

    /// Follows a job through its tiers, each of which lets it go so many seconds late, until it may be attempted; `None` when it expires.
    fn attempted_at(first: NextStep, mut job: Situation, late: u64) -> Option<Timestamp> {
        let mut next = match first {
            NextStep::Retry { wait, .. } => Some(wait),
            NextStep::Done(Ending::Expired(_)) => None,
            other => panic!("{other:?}"),
        };
        // The moment is the first wait's, as it is carried in the job.
        let until = next?.until;
        loop {
            let wait = next?;
            assert!(wait.not_before < job.expires_at && wait.tier >= Tier::S10);
            job.now = wait.not_before.plus(Duration::from_secs(late));
            match until.filter(|until| *until > job.now) {
                Some(until) => next = RetryPolicy::default().wait_on(until, job),
                None => return Some(job.now),
            }
        }
    }

    proptest! {
        /// Nothing is scheduled at or past the deadline, nothing is attempted earlier than was asked for, and nothing expires that had
        /// time for another attempt.
        #[test]
        fn deadline_rules(
            attempts in 1u32..9,
            asked in proptest::option::of(0u64..8_000),
            device: bool,
            unsent: bool,
            left in 0u64..10_000,
            late in 0u64..3,
        ) {
            let scope = if device { RetryScope::Device } else { RetryScope::Provider };
            let reach = if unsent { Reach::Unsent } else { Reach::Refused };
            let asked_or_law = asked.unwrap_or(if device { 60 } else { 0 });
            let first = after(attempts, outcome(asked, scope, reach), left);
            match attempted_at(first, situation(attempts, left), late) {
                Some(at) => {
                    prop_assert!(at >= NOW.plus(Duration::from_secs(asked_or_law)));
                    prop_assert!(at >= NOW.plus(Tier::S10.delay()));
                }
                // A tier lets go a little late each time, and the shortest takes ten seconds.
                None => prop_assert!(left <= asked_or_law + 10 + late * 20, "{left} s were left for {asked_or_law}"),
            }
        }
    }
}
