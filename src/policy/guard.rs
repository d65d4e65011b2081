//! The fatigue guard: how many requests may ring for one person before further ones stay silent.
//!
//! The point: whoever has a password must not get an approval by asking until somebody taps to have peace. It counts distinct requests that
//! rang, so a retry or a record that is read again counts once and rings again. It decides ringing only, and outweighs *enforced*: what
//! it holds back stays open and is answered in the app. An approval empties the count; "not me" leaves no room for a whole window.
//!
//! This is the law. Where the count is shared, `store/redis/guard.lua` says the same once more, and one test holds the two together. It
//! cannot fail. Moments in the future (a clock was set back) are forgotten: a guard that errs lets phones ring.
use std::time::Duration;

use crate::event::Timestamp;

/// By how much the clocks of whoever wrote an answer and whoever counts may differ: what rang so shortly after an approval is forgiven too.
pub const CLOCKS_APART: Duration = Duration::from_secs(5);

/// The guard's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// So many requests may ring for one person within a window.
    pub max: u32,
    /// For how long a request that rang counts.
    pub window: Duration,
}

impl Default for Guard {
    fn default() -> Self {
        Self { max: 5, window: Duration::from_secs(600) }
    }
}

/// What the guard says of one request for one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    /// It may ring, and counts.
    Rings,
    /// It stays silent, and does not count.
    HeldBack {
        /// Whether the person is to be told: true for one request of a window, each time that it is asked for.
        first: bool,
    },
}

/// An answer that the guard listens to. A plain denial says nothing about who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The person approved: what rang before was theirs.
    Approved,
    /// The person did not start it: somebody else asks.
    NotMe,
}

/// One person's count. Requests are told apart by hashes of the caller's.
#[derive(Debug, Default)]
pub struct Tally {
    rang: Vec<(u64, Timestamp)>,
    /// Apart and rare: most people are never held back.
    held: Option<Box<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    /// When "not me" was said.
    tight: Option<Timestamp>,
    /// Which request was the first to be held back, and when.
    told: Option<(u64, Timestamp)>,
}

impl Guard {
    fn counts(&self, at: Timestamp, now: Timestamp) -> bool {
        at <= now && at.plus(self.window) > now
    }
}

impl Tally {
    /// A request would ring.
    pub fn ring(&mut self, request: u64, now: Timestamp, guard: &Guard) -> Ring {
        self.forget(now, guard);
        if self.rang.iter().any(|(rang, _)| *rang == request) {
            return Ring::Rings;
        }
        let tight = self.held.as_ref().is_some_and(|held| held.tight.is_some());
        if !tight && self.rang.len() < guard.max as usize {
            // One at a time: most people have one.
            self.rang.reserve_exact(1);
            self.rang.push((request, now));
            return Ring::Rings;
        }
        let (first, _) = *self.held.get_or_insert_default().told.get_or_insert((request, now));
        Ring::HeldBack { first: first == request }
    }

    /// The person answered a request at that moment.
    pub fn hear(&mut self, heard: Heard, at: Timestamp, now: Timestamp, guard: &Guard) {
        match heard {
            Heard::Approved => self.rang.retain(|(_, rang)| *rang > at),
            Heard::NotMe if guard.counts(at, now) => {
                let tight = &mut self.held.get_or_insert_default().tight;
                *tight = (*tight).max(Some(at));
            }
            Heard::NotMe => {}
        }
    }

    fn forget(&mut self, now: Timestamp, guard: &Guard) {
        self.rang.retain(|(_, at)| guard.counts(*at, now));
        if let Some(held) = &mut self.held {
            held.tight = held.tight.filter(|at| guard.counts(*at, now));
            held.told = held.told.filter(|(_, at)| guard.counts(*at, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GUARD: Guard = Guard { max: 3, window: Duration::from_secs(100) };
    const HELD: Ring = Ring::HeldBack { first: false };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000 + second)
    }

    /// As many as the guard lets ring do, then the first that does not says so, each time that it is asked for; what rang rings again.
    #[test]
    fn the_first_is_told() {
        let mut tally = Tally::default();
        let mut ring = |request, second| tally.ring(request, at(second), &GUARD);
        assert_eq!([(1, 1), (2, 2), (3, 3), (2, 4)].map(|(request, second)| ring(request, second)), [Ring::Rings; 4]);
        assert_eq!(ring(4, 10), Ring::HeldBack { first: true });
        assert_eq!([5, 6].map(|request| ring(request, 20)), [HELD; 2]);
        assert_eq!(ring(4, 30), Ring::HeldBack { first: true }, "read again after a crash");
        assert_eq!(ring(1, 100), Ring::Rings, "a retry");
        // The first of them is over; the person was told less than a window ago.
        assert_eq!((ring(7, 102), ring(8, 102), ring(9, 102)), (Ring::Rings, Ring::Rings, HELD));
        assert_eq!(ring(9, 110), Ring::Rings, "the third is over, too");
        assert_eq!(ring(10, 111), Ring::HeldBack { first: true }, "another window");
    }

    /// An approval forgives what rang before it; "not me" silences for a window, and an approval does not undo that.
    #[test]
    fn answers() {
        let mut tally = Tally::default();
        for request in [1, 2, 3] {
            tally.ring(request, at(request as i64), &GUARD);
        }
        tally.hear(Heard::Approved, at(2), at(5), &GUARD);
        assert_eq!([4, 5].map(|request| tally.ring(request, at(5), &GUARD)), [Ring::Rings; 2]);
        assert_eq!(tally.ring(6, at(5), &GUARD), Ring::HeldBack { first: true });
        tally.hear(Heard::NotMe, at(10), at(12), &GUARD);
        tally.hear(Heard::Approved, at(12), at(12), &GUARD);
        assert_eq!(tally.ring(7, at(109), &GUARD), Ring::HeldBack { first: true });
        assert_eq!(tally.ring(7, at(110), &GUARD), Ring::Rings);
        tally.hear(Heard::NotMe, at(10), at(200), &GUARD);
        assert_eq!(tally.ring(8, at(200), &GUARD), Ring::Rings, "an old answer that is read again");
    }

    /// A clock that is set back silences nobody.
    #[test]
    fn a_clock_set_back() {
        let mut tally = Tally::default();
        for request in [1, 2, 3, 4] {
            tally.ring(request, at(1_000), &GUARD);
        }
        tally.hear(Heard::NotMe, at(1_000), at(1_000), &GUARD);
        assert_eq!(tally.ring(5, at(0), &GUARD), Ring::Rings);
    }

    proptest! {
        /// Whatever comes: what the guard says is what a list of everything that happened says.
        #[test]
        fn the_law_is_its_model(steps in prop::collection::vec((0..40_i64, 0..12_u64, 0..10_u8), 1..200)) {
            let (mut tally, mut now) = (Tally::default(), 0);
            let (mut rang, mut told) = <(Vec<(u64, i64)>, Vec<(u64, i64)>)>::default();
            let mut not_me: Vec<i64> = Vec::new();
            let young = |then: i64, now: i64| now - then < 100;
            for (later, request, what) in steps {
                now += later;
                match what {
                    0 => {
                        tally.hear(Heard::Approved, at(now), at(now), &GUARD);
                        rang.clear();
                    }
                    1 => {
                        tally.hear(Heard::NotMe, at(now), at(now), &GUARD);
                        not_me.push(now);
                    }
                    _ => {
                        let said = tally.ring(request, at(now), &GUARD);
                        let living: Vec<u64> = rang.iter().filter(|(_, then)| young(*then, now)).map(|(id, _)| *id).collect();
                        let tight = not_me.iter().any(|then| young(*then, now));
                        let rings = living.contains(&request) || (!tight && living.len() < 3);
                        let first = told.iter().rfind(|(_, then)| young(*then, now)).map_or(request, |(id, _)| *id);
                        prop_assert_eq!(said, if rings { Ring::Rings } else { Ring::HeldBack { first: first == request } });
                        if rings && !living.contains(&request) {
                            rang.push((request, now));
                        }
                        if !rings && !told.iter().any(|(_, then)| young(*then, now)) {
                            told.push((request, now));
                        }
                    }
                }
            }
        }
    }
}
