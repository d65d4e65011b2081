//! The ranges of a fault rule's numbers, for rules that come from outside: the control endpoint, a file, a flag.
use super::fault::{Fault, RetryAfter, Rule};

/// No time here is longer, so that adding it to now is always a time.
const YEAR_MS: u64 = 365 * 24 * 3_600 * 1_000;

impl Rule {
    /// What is out of its range, as a sentence. Rules from outside are checked; those of the library are the caller's.
    pub fn check(&self) -> Result<(), String> {
        if !(self.percent > 0.0 && self.percent <= 100.0) {
            return Err(format!("percent must be above 0 and at most 100; it is {}", self.percent));
        }
        if self.count == Some(0) {
            return Err("count must be at least 1; without it the rule has no end".to_owned());
        }
        if self.for_ms.is_some_and(|ms| !(1..=YEAR_MS).contains(&ms)) {
            return Err(format!("for_ms must be between 1 and {YEAR_MS}"));
        }
        self.fault.check()
    }
}

impl Fault {
    fn check(&self) -> Result<(), String> {
        let status = |status: u16| match status {
            200..=599 => Ok(()),
            _ => Err(format!("status must be between 200 and 599; it is {status}")),
        };
        let after = |after: Option<RetryAfter>| match after {
            Some(RetryAfter::Date { date_in_s }) if date_in_s > YEAR_MS / 1_000 => {
                Err(format!("date_in_s must be at most {}; it is {date_in_s}", YEAR_MS / 1_000))
            }
            _ => Ok(()),
        };
        match self {
            Self::Latency { ms, jitter_ms } if ms.saturating_add(*jitter_ms) > YEAR_MS => {
                Err(format!("ms and jitter_ms together must be at most {YEAR_MS}"))
            }
            Self::Refuse(refusal) => refusal.status.map_or(Ok(()), status).and_then(|()| after(refusal.retry_after)),
            Self::Reply { status: code, retry_after, .. } => status(*code).and_then(|()| after(*retry_after)),
            Self::Latency { .. }
            | Self::ResetStream { .. }
            | Self::Disconnect { .. }
            | Self::Hang { .. }
            | Self::BlackHole
            | Self::Goaway { .. }
            | Self::Wedge
            | Self::IgnorePings
            | Self::StreamLimit { .. } => Ok(()),
        }
    }
}
