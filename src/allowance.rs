//! How often something may happen that helps once and harms when it is repeated: a line for people, a new connection, a new token.
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// At most `max` times in each window; the window begins with the first time.
#[derive(Debug)]
pub(crate) struct Allowance {
    max: u32,
    window: Duration,
    /// Since when, and how often since.
    used: Mutex<Option<(Instant, u32)>>,
}

impl Allowance {
    pub(crate) const fn new(max: u32, window: Duration) -> Self {
        Self { max, window, used: Mutex::new(None) }
    }

    /// One line a minute about what is misconfigured: a thousand pushes in flight find it at once.
    pub(crate) const fn one_line_a_minute() -> Self {
        Self::new(1, Duration::from_secs(60))
    }

    /// Whether it may happen once more now; a yes counts.
    pub(crate) fn take(&self, now: Instant) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, times) =
            used.filter(|(since, _)| now.saturating_duration_since(*since) < self.window).unwrap_or((now, 0));
        let granted = times < self.max;
        *used = Some((since, times + u32::from(granted)));
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is allowed is allowed at once, then no more until the window is over.
    #[test]
    fn allowed_in_each_window() {
        let (allowance, now) = (Allowance::new(2, Duration::from_secs(60)), Instant::now());
        let granted = [0, 1, 2, 59, 60, 61, 62, 121].map(|s| allowance.take(now + Duration::from_secs(s)));
        assert_eq!(granted, [true, true, false, false, true, true, false, true]);
        let line = Allowance::one_line_a_minute();
        assert_eq!([0, 59, 60].map(|s| line.take(now + Duration::from_secs(s))), [true, false, true]);
    }
}
