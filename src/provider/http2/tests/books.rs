//! The books alone, as plain values: whatever happens in whatever order, nobody is lost and no limit is broken.
use std::{collections::BTreeMap, task::Waker};

use proptest::prelude::*;

use crate::provider::http2::{
    ConnectionId,
    state::{Ending, Laws, State, Turn},
};

#[derive(Clone, Debug)]
enum Step {
    Enter { avoid: Option<u64> },
    Leave { which: usize, accepted: bool },
    Open { limit: u32 },
    Limit { which: u64, limit: u32 },
    Retire { which: u64 },
    Close { which: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => proptest::option::weighted(0.2, 0..6_u64).prop_map(|avoid| Step::Enter { avoid }),
        5 => (any::<usize>(), any::<bool>()).prop_map(|(which, accepted)| Step::Leave { which, accepted }),
        1 => (1..5_u32).prop_map(|limit| Step::Open { limit }),
        1 => (0..6_u64, 0..6_u32).prop_map(|(which, limit)| Step::Limit { which, limit }),
        1 => (0..6_u64).prop_map(|which| Step::Retire { which }),
        1 => (0..6_u64).prop_map(|which| Step::Close { which }),
    ];
    proptest::collection::vec(step, 1..200)
}

/// A second, plain statement of what the books should say.
#[derive(Default)]
struct Model {
    /// Per connection: limit, in service, in flight.
    connections: BTreeMap<u64, (u32, bool, u32)>,
    /// Entered and not left, in order of arrival: key, whom it avoids, whose stream it holds.
    exchanges: Vec<(usize, Option<u64>, Option<u64>)>,
}

impl Model {
    fn free(&self, avoid: Option<u64>) -> bool {
        let open = || self.connections.iter().filter(|(_, c)| c.1);
        let others = open().any(|(&id, _)| Some(id) != avoid);
        open().any(|(&id, c)| c.2 < c.0 && (Some(id) != avoid || !others))
    }

    /// Asks the books who holds what now, and checks what was granted.
    fn settle(&mut self, state: &mut State<u64>) {
        let mut granted = Vec::new();
        for index in 0..self.exchanges.len() {
            let (key, _, held) = self.exchanges[index];
            if held.is_some() {
                continue;
            }
            if let Turn::Granted(grant) = state.wait(key, Waker::noop()) {
                self.exchanges[index].2 = Some(grant.connection);
                granted.push((index, grant.connection));
                let connection = self.connections.get_mut(&grant.connection).expect("one that was opened");
                connection.2 += 1;
                assert!(connection.1, "a connection out of service was used");
                assert!(connection.2 <= connection.0, "over the limit");
            }
        }
        for &(place, connection) in &granted {
            let passed_over = self.exchanges[..place].iter().filter(|(_, _, held)| held.is_none());
            assert!(passed_over.into_iter().all(|(_, avoid, _)| *avoid == Some(connection)), "the queue was overtaken");
        }
        for (_, avoid, held) in &self.exchanges {
            assert!(held.is_some() || !self.free(*avoid), "somebody waits although there is a stream for them");
        }
    }

    fn run(&mut self, state: &mut State<u64>, step: Step, now: u32) {
        match step {
            Step::Enter { avoid } => {
                let (key, _) = state.enter(now, u32::MAX, avoid.map(ConnectionId), Waker::noop());
                self.exchanges.push((key, avoid, None));
            }
            Step::Leave { which, accepted } if !self.exchanges.is_empty() => {
                let (key, _, held) = self.exchanges.remove(which % self.exchanges.len());
                if let Some(connection) = held.and_then(|id| self.connections.get_mut(&id)) {
                    connection.2 -= 1;
                }
                state.leave(key, Ending::Answered { accepted }, now);
            }
            Step::Leave { .. } => {}
            Step::Open { limit } => {
                let id = self.connections.len() as u64;
                self.connections.insert(id, (limit, true, 0));
                state.opened(ConnectionId(id), id, limit, now);
            }
            Step::Limit { which, limit } => {
                if let Some(connection) = self.connections.get_mut(&which) {
                    connection.0 = limit;
                }
                state.limit_changed(ConnectionId(which), limit, now);
            }
            Step::Retire { which } => {
                if let Some(connection) = self.connections.get_mut(&which) {
                    connection.1 = false;
                }
                state.retire(ConnectionId(which), now);
            }
            Step::Close { which } => {
                if let Some(connection) = self.connections.get_mut(&which) {
                    connection.1 = false;
                }
                state.closed(ConnectionId(which), now);
            }
        }
    }
}

fn laws() -> Laws {
    Laws {
        cap: 4,
        request: 100,
        queue: 100,
        one_until_accepted: false,
        sick_factor: 8.0,
        sick_floor: 20.0,
        narrow: 100,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// No limit is broken, nobody overtakes, nobody waits beside a free stream, and the counts agree with a plain model.
    #[test]
    fn the_books_agree_with_a_plain_model(steps in steps()) {
        let (mut state, mut model) = (State::new(laws()), Model::default());
        for (now, step) in steps.into_iter().enumerate() {
            let step = if let Step::Open { limit } = step { Step::Open { limit: limit.min(4) } } else { step };
            let step = if let Step::Limit { which, limit } = step { Step::Limit { which, limit: limit.min(4) } } else { step };
            model.run(&mut state, step, now as u32);
            model.settle(&mut state);
            let census = state.census();
            let holding = model.exchanges.iter().filter(|(_, _, held)| held.is_some()).count();
            prop_assert_eq!((census.in_flight, census.waiting), (holding, model.exchanges.len() - holding));
        }
        for (key, _, _) in model.exchanges.drain(..) {
            state.leave(key, Ending::Cut, 0);
        }
        for id in 0..model.connections.len() as u64 {
            state.closed(ConnectionId(id), 0);
        }
        prop_assert!(state.is_empty());
    }
}

/// A connection is given no more than a burst before it has written what it was given; what is given up does not count.
#[test]
fn a_burst_waits_until_it_is_written() {
    let mut state = State::new(Laws { cap: 10_000, ..laws() });
    state.opened(ConnectionId(0), 0_u64, 10_000, 0);
    let keys: Vec<_> = (0..600).map(|_| state.enter(0, u32::MAX, None, Waker::noop()).0).collect();
    assert_eq!((state.census().in_flight, state.census().waiting), (512, 88));
    for &key in &keys[..10] {
        state.leave(key, Ending::Cut, 0);
    }
    assert_eq!((state.census().in_flight, state.census().waiting), (512, 78), "ten given up, ten more given");
    state.written(ConnectionId(0), 0);
    assert_eq!((state.census().in_flight, state.census().waiting), (590, 0));
}

/// Requests at once go together, sixteen to a connection; once they are written, the least loaded connection comes next.
#[test]
fn what_is_sent_at_once_is_gathered() {
    let mut state = State::new(Laws { cap: 10_000, ..laws() });
    for id in 0..2 {
        state.opened(ConnectionId(id), id, 10_000, 0);
    }
    let enter = |state: &mut State<u64>| match state.enter(0, u32::MAX, None, Waker::noop()).1 {
        Turn::Granted(grant) => grant.connection,
        Turn::Waiting { .. } | Turn::Closing => panic!("there is room"),
    };
    let first: Vec<_> = (0..20).map(|_| enter(&mut state)).collect();
    assert_eq!(first, [[0; 16].as_slice(), &[1; 4]].concat());
    state.written(ConnectionId(0), 0);
    assert_eq!(enter(&mut state), 1, "it gathers still");
    state.written(ConnectionId(1), 0);
    assert_eq!(enter(&mut state), 1, "it has fewer in flight");
}
