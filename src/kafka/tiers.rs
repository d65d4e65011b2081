//! When the records of a delay tier are let go. Pure: the time comes in as an argument.
//!
//! The point: a tier's delay is constant, so its records fall due in their order and only the first one needs watching. Records that
//! fell due together (a provider's outage writes thousands within a second) are let go spread over a fifth of the delay, the earliest
//! deadline first, so that a retry is not a second wave.
//!
//! It deliberately holds few records: the head that is not due, and one batch that is. It cannot fail: a time that no clock of ours
//! could have written is not waited for.
use std::time::Duration;

use crate::event::Timestamp;

/// Records of one partition that are let go together, at most.
const BATCH_MAX: usize = 512;
/// The part of the delay over which a batch is spread: a fifth.
const SPREAD_DIVISOR: u32 = 5;
/// A few records need no spreading: they are let go at least at this pace.
const INTERVAL_MAX: Duration = Duration::from_millis(20);
/// A batch that is full has more behind it: it is let go at this pace, a thousand a second for each partition.
const INTERVAL_FULL: Duration = Duration::from_millis(1);
/// Writers' clocks may differ from ours by this much: a head that is later than its delay allows is waited for so long, not longer.
const SKEW_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Held<T> {
    due: Timestamp,
    deadline: Timestamp,
    record: T,
}

/// The gate of one partition of one tier.
#[derive(Debug)]
pub(super) struct Gate<T> {
    delay: Duration,
    head: Option<Held<T>>,
    /// Due, being gathered.
    gathered: Vec<Held<T>>,
    /// Due, being let go; the earliest deadline last.
    releasing: Vec<Held<T>>,
    /// When the batch began to be let go, how many went since, and the time for each.
    started: Timestamp,
    released: u32,
    interval: Duration,
    /// A record that expires before this is let go at once: waiting could only lose it.
    spread_end: Timestamp,
}

impl<T> Gate<T> {
    pub(super) fn new(delay: Duration) -> Self {
        Self {
            delay,
            head: None,
            gathered: Vec::new(),
            releasing: Vec::new(),
            started: Timestamp(0),
            released: 0,
            interval: Duration::ZERO,
            spread_end: Timestamp(0),
        }
    }

    /// Whether another record should be read.
    pub(super) fn wants(&self) -> bool {
        self.head.is_none() && self.releasing.is_empty() && self.gathered.len() < BATCH_MAX
    }

    /// Takes a record that was just read.
    pub(super) fn offer(&mut self, now: Timestamp, not_before: Timestamp, deadline: Timestamp, record: T) {
        let latest = now.plus(self.delay).plus(SKEW_MAX);
        let held = Held { due: not_before.min(latest), deadline, record };
        if held.due > now {
            self.head = Some(held);
        } else {
            self.gathered.push(held);
        }
    }

    /// Looks whether the head fell due. Called before reading on.
    pub(super) fn tick(&mut self, now: Timestamp) {
        if let Some(head) = self.head.take_if(|head| head.due <= now) {
            self.gathered.push(head);
        }
    }

    /// What was gathered begins to be let go. Called when nothing more could be read.
    pub(super) fn start(&mut self, now: Timestamp) {
        if !self.releasing.is_empty() || self.gathered.is_empty() {
            return;
        }
        let spread = self.delay / SPREAD_DIVISOR;
        self.interval = match self.gathered.len() {
            BATCH_MAX => INTERVAL_FULL,
            count => (spread / count as u32).min(INTERVAL_MAX),
        };
        self.started = now;
        self.released = 0;
        self.spread_end = now.plus(spread);
        std::mem::swap(&mut self.releasing, &mut self.gathered);
        // Stable, so that equal deadlines keep their order; reversed, because they are taken from the end.
        self.releasing.reverse();
        self.releasing.sort_by_key(|held| std::cmp::Reverse(held.deadline));
    }

    /// Whether a record may go now.
    pub(super) fn is_open(&self, now: Timestamp) -> bool {
        self.releasing.last().is_some_and(|held| self.next_at() <= now || held.deadline <= self.spread_end)
    }

    /// The next record, if it may go now.
    pub(super) fn release(&mut self, now: Timestamp) -> Option<T> {
        if !self.is_open(now) {
            return None;
        }
        let held = self.releasing.pop()?;
        self.released += 1;
        Some(held.record)
    }

    /// By the plan, not by the last release: a late turn catches up.
    fn next_at(&self) -> Timestamp {
        self.started.plus(self.interval * self.released)
    }

    /// When the next turn is worth taking; `None` while there is nothing.
    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        if self.releasing.is_empty() { self.head.as_ref().map(|head| head.due) } else { Some(self.next_at()) }
    }

    /// Everything held, given back.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        let all = self.head.take().into_iter().chain(self.gathered.drain(..)).chain(self.releasing.drain(..));
        all.map(|held| held.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const DELAY: Duration = Duration::from_secs(10);

    fn at(millis: i64) -> Timestamp {
        Timestamp(NOW.0 + millis)
    }

    /// Lets go until nothing is held, by turns exactly when the gate asks for them; (millisecond, record) in order.
    fn run<T>(gate: &mut Gate<T>, mut now: Timestamp) -> Vec<(i64, T)> {
        let mut out = Vec::new();
        loop {
            gate.tick(now);
            gate.start(now);
            while let Some(record) = gate.release(now) {
                out.push((now.0 - NOW.0, record));
            }
            match gate.wake_at() {
                Some(next) => now = next.max(Timestamp(now.0 + 1)),
                None => return out,
            }
        }
    }

    /// Nothing goes before it is due, and nothing is read past a head that is not.
    #[test]
    fn the_head_is_held() {
        let mut gate = Gate::new(DELAY);
        gate.offer(NOW, at(4_000), at(60_000), "head");
        assert!(!gate.wants());
        gate.start(NOW);
        assert_eq!((gate.release(NOW), gate.wake_at()), (None, Some(at(4_000))));
        assert_eq!(run(&mut gate, NOW), [(4_000, "head")]);
        assert!(gate.wants());
    }

    /// What fell due together goes over a fifth of the delay, the earliest deadline first.
    #[test]
    fn a_burst_is_spread_by_deadline() {
        let mut gate = Gate::new(DELAY);
        for n in 0..200 {
            gate.offer(NOW, NOW, at(100_000 - n), n);
        }
        let out = run(&mut gate, NOW);
        assert_eq!(out.iter().map(|(_, n)| *n).collect::<Vec<_>>(), (0..200).rev().collect::<Vec<_>>());
        let last = out.last().unwrap().0;
        assert!((1_900..=2_000).contains(&last), "the last of 200 went after {last} ms");
        assert!(out.windows(2).all(|pair| pair[1].0 - pair[0].0 <= 10), "{out:?}");
    }

    /// Two records do not wait a second for each other, and one does not wait at all.
    #[test]
    fn a_few_go_at_once() {
        let mut gate = Gate::new(DELAY);
        gate.offer(NOW, NOW, at(90_000), 1);
        gate.offer(NOW, NOW, at(90_000), 2);
        assert_eq!(run(&mut gate, NOW), [(0, 1), (20, 2)]);
    }

    /// A record that would expire while the batch is spread goes at once.
    #[test]
    fn a_near_deadline_does_not_wait() {
        let mut gate = Gate::new(DELAY);
        for n in 0..100 {
            gate.offer(NOW, NOW, if n < 50 { at(1_500) } else { at(90_000) }, n);
        }
        let out = run(&mut gate, NOW);
        assert!(out[..50].iter().all(|(millis, n)| *millis == 0 && *n < 50), "{out:?}");
    }

    /// A head that is up to 2 s out of order is waited for; one beyond what any writer could have meant is not.
    #[test]
    fn a_wrong_clock_is_bounded() {
        for (not_before, expected) in [(11_500, 11_500), (12_000, 12_000), (3_600_000, 12_000)] {
            let mut gate = Gate::new(DELAY);
            gate.offer(NOW, at(not_before), at(i64::MAX / 4), ());
            assert_eq!(run(&mut gate, NOW), [(expected, ())]);
        }
    }

    /// A full batch means a flood: it goes at a thousand a second, not at 512 per fifth of the delay.
    #[test]
    fn a_flood_is_not_throttled_to_death() {
        let mut gate = Gate::new(Duration::from_secs(600));
        let mut offered = 0;
        while gate.wants() {
            gate.offer(NOW, NOW, at(i64::MAX / 4), offered);
            offered += 1;
        }
        let out = run(&mut gate, NOW);
        assert_eq!((out.len(), out.last().unwrap().0), (BATCH_MAX, BATCH_MAX as i64 - 1));
    }

    /// What is held when the partition goes away is given back, all of it.
    #[test]
    fn drain_gives_everything_back() {
        let mut gate = Gate::new(DELAY);
        gate.offer(NOW, NOW, at(90_000), 1);
        gate.start(NOW);
        gate.offer(NOW, NOW, at(90_000), 2);
        gate.offer(NOW, at(5_000), at(90_000), 3);
        let mut all: Vec<i32> = gate.drain().collect();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
        assert_eq!(gate.wake_at(), None);
    }
}
