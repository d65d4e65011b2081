//! The way into one in-flight budget, as the reader sees it.
//!
//! The point: at the limit every record that ends frees one place. Taking each by a wake of its own would cost more than the record,
//! so an exhausted budget is left alone for a millisecond, and only a budget that is still exhausted then is waited for.
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::seam::{Budget, Feed, Permit};

/// How long freed places are gathered.
const GATHER: Duration = Duration::from_millis(1);

/// See the module.
pub(super) struct Lane {
    pub(super) feed: Feed,
    budget: Arc<Budget>,
    took: bool,
    pause_until: Option<Instant>,
}

impl Lane {
    pub(super) fn new(feed: Feed, budget: Arc<Budget>) -> Self {
        Self { feed, budget, took: false, pause_until: None }
    }

    /// How many more places a partition may take that has so many.
    pub(super) fn left_of_one(&self, in_flight: usize) -> usize {
        self.budget.of_one().saturating_sub(in_flight)
    }

    /// A place, if one is free; else `reader` is unparked when it is worth asking again, or [`Self::pause_left`] says when.
    pub(super) fn permit(&mut self, now: Instant, reader: &Thread) -> Option<Permit> {
        if self.pause_until.is_some_and(|until| now < until) {
            return None;
        }
        let permit = match self.budget.try_take() {
            Some(permit) => Some(permit),
            None if std::mem::take(&mut self.took) => {
                self.pause_until = Some(now + GATHER);
                return None;
            }
            None => {
                self.budget.notify(reader.clone());
                // A place that became free just before was not told.
                self.budget.try_take()
            }
        };
        self.pause_until = None;
        self.took |= permit.is_some();
        permit
    }

    /// How long the pause still lasts, if there is one. A pause that is over is worth one more turn, at once.
    pub(super) fn pause_left(&mut self, now: Instant) -> Option<Duration> {
        let left = self.pause_until?.saturating_duration_since(now);
        if left.is_zero() {
            self.pause_until = None;
        }
        Some(left.max(Duration::from_micros(50)))
    }
}
