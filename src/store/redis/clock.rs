//! How old a value is that Redis holds, in this process's time.
//!
//! The point: a bound that holds whatever the two clocks do. Every read asks Redis for its time in the same exchange, so that nothing is
//! extrapolated: a value's age is taken as if Redis had told its time at the very beginning of the exchange, which errs towards older.
//! What remains is a clock of Redis that is set back between a value's writing and its reading. A step larger than the slack is seen by
//! comparing the exchanges, and values stamped before it are no longer believed; a smaller one is covered by taking every value for as
//! much older. Deliberately no offset is kept and trusted for a while. It cannot fail; what it does not believe is expired.
use crate::store::cache::Moment;

/// One exchange with Redis: its time, and the moments between which it told it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exchange {
    pub(super) began: Moment,
    pub(super) ended: Moment,
    /// Milliseconds since the epoch.
    pub(super) redis_ms: i64,
}

/// What the exchanges so far say about Redis's clock.
#[derive(Debug)]
pub(super) struct RedisClock {
    last: Option<Exchange>,
    /// Stamps in between may be from before the clock was set back.
    doubtful: Option<(i64, i64)>,
    ttl_ms: i64,
    slack_ms: i64,
}

/// A step of a clock that matters; daily corrections by NTP slew and stay far below it.
const SLACK_MAX_MS: u64 = 1_000;

impl RedisClock {
    /// A second of slack, or a tenth of a TTL below ten seconds.
    pub(super) fn new(ttl_ms: u64) -> Self {
        let slack_ms = SLACK_MAX_MS.min(ttl_ms / 10) as i64;
        Self { last: None, doubtful: None, ttl_ms: ttl_ms as i64, slack_ms }
    }

    /// Takes note of an exchange. They may come in any order.
    pub(super) fn note(&mut self, exchange: Exchange) {
        if let Some(last) = self.last {
            if exchange.began < last.ended {
                return;
            }
            let elapsed_most = exchange.ended.ms_since(last.began) as i64;
            let elapsed_least = exchange.began.ms_since(last.ended) as i64;
            if exchange.redis_ms < last.redis_ms + elapsed_least - self.slack_ms {
                let latest = last.redis_ms + elapsed_most;
                let (from, to) = self.doubtful.unwrap_or((i64::MAX, i64::MIN));
                self.doubtful = Some((from.min(latest - self.ttl_ms - self.slack_ms), to.max(latest)));
            }
        }
        self.last = Some(exchange);
    }

    /// The moment of a read by its stamp, seen in this exchange: never later than it was. `None` if the stamp is not believed.
    pub(super) fn read_at(&self, exchange: Exchange, stamp: i64) -> Option<Moment> {
        let age = exchange.redis_ms - stamp;
        if age < 0 || self.doubtful.is_some_and(|(from, to)| (from..=to).contains(&stamp)) {
            return None;
        }
        Some(exchange.began.minus_ms((age + self.slack_ms) as u64))
    }

    /// Redis's time at a moment, or somewhat before: the latest that a stamp may say. Unknown before the first exchange.
    pub(super) fn stamp(&self, moment: Moment) -> i64 {
        let Some(last) = self.last else { return 0 };
        last.redis_ms + moment.0 as i64 - last.ended.0 as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(began: u64, ended: u64, redis_ms: i64) -> Exchange {
        Exchange { began: Moment(began), ended: Moment(ended), redis_ms }
    }

    /// A value is never taken for younger than it is, wherever within the exchange Redis told its time.
    #[test]
    fn ages_err_towards_older() {
        let mut clock = RedisClock::new(60_000);
        // Redis's clock reads 1,000,000 at moment 100,000.
        for told_at in [100_000, 100_200, 100_400] {
            let seen = exchange(100_000, 100_400, 900_000 + told_at);
            clock.note(seen);
            let read_at = clock.read_at(seen, 900_000 + 95_000).unwrap();
            assert!(read_at <= Moment(95_000) && read_at >= Moment(95_000 - 1_400), "{read_at:?}");
            assert!(clock.stamp(Moment(95_000)) <= 900_000 + 95_000);
        }
    }

    /// After Redis's clock was set back, stamps from before are not believed, however far it went; new ones are.
    #[test]
    fn a_clock_set_back_is_noticed() {
        for back in [1_500, 30_000, 86_400_000] {
            let mut clock = RedisClock::new(60_000);
            clock.note(exchange(100_000, 100_001, 1_000_000_000));
            let stamped_before = 1_000_000_000 - 100;
            let seen = exchange(101_000, 101_001, 1_000_001_000 - back);
            clock.note(seen);
            assert_eq!(clock.read_at(seen, stamped_before), None, "in Redis's future, or doubtful");
            // The old stamp's time comes again.
            let again = exchange(101_000 + back as u64, 101_001 + back as u64, 1_000_001_000);
            clock.note(again);
            assert_eq!(clock.read_at(again, stamped_before), None);
            let stamped_after = 1_000_001_000 + 61_000;
            let later = exchange(162_001 + back as u64, 162_002 + back as u64, stamped_after + 1);
            clock.note(later);
            assert!(clock.read_at(later, stamped_after).is_some());
        }
    }

    /// Small differences are no step, and a clock set forward only makes values look older.
    #[test]
    fn other_differences_do_no_harm() {
        let mut clock = RedisClock::new(60_000);
        clock.note(exchange(100_000, 100_001, 1_000_000));
        let slewed = exchange(101_000, 101_001, 1_000_600);
        clock.note(slewed);
        assert!(clock.read_at(slewed, 1_000_000).is_some());
        let forward = exchange(102_000, 102_001, 1_041_600);
        clock.note(forward);
        assert!(clock.read_at(forward, 1_000_600).unwrap() < Moment(61_000));
    }
}
