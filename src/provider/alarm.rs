//! How often a misconfigured credential is complained about: a thousand pushes in flight find it at once, and one line is enough.
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines about the same credential.
const INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Alarm {
    last: Mutex<Option<Instant>>,
}

impl Alarm {
    /// Whether it is time for a line; asking takes the turn.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= INTERVAL);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first complaint is heard at once, then one in each interval.
    #[test]
    fn one_line_an_interval() {
        let (alarm, now) = (Alarm::default(), Instant::now());
        let heard: Vec<bool> = [0, 1, 59, 60, 61, 119, 120].map(|s| alarm.is_due(now + Duration::from_secs(s))).into();
        assert_eq!(heard, [true, false, false, true, false, false, true]);
    }
}
