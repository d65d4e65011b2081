use std::collections::BTreeSet;

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::super::history::HANDED_MAX;
use super::*;
use crate::event::NotificationType;

fn term(earlier: Vec<Arc<Term>>, committed: Option<&Commit>) -> Arc<Term> {
    let feed = Feed::Event(NotificationType::OtpReceived);
    let term = Term::new("topic".into(), 0, feed, std::thread::current(), Weak::new(), earlier);
    let (tracker, error) = OffsetTracker::new(committed.map(|commit| (commit.offset, commit.metadata.as_str())));
    assert_eq!(error, None);
    term.load(tracker);
    term
}

/// Reads these offsets; those that are handed over, with their next recipients.
fn read(term: &Term, offsets: std::ops::Range<i64>) -> Vec<(i64, u32)> {
    read_as(term, offsets, |offset| offset as u64)
}

fn read_as(term: &Term, offsets: std::ops::Range<i64>, fingerprint: impl Fn(i64) -> u64) -> Vec<(i64, u32)> {
    offsets.filter_map(|offset| Some((offset, term.offsets().begin(offset, fingerprint(offset))?))).collect()
}

fn commit(term: &Term) -> Commit {
    let commit = term.offsets().tracker.committable().unwrap();
    term.committed(&commit);
    commit
}

fn lose(term: &Arc<Term>) -> Vec<Arc<Term>> {
    term.fence();
    term.hand_on()
}

/// What was finished since the last commit, before the partition was lost or after, is not handed over again; what ended unfinished is,
/// and an explosion goes on where it was. The next commit says all of it.
#[test]
fn invariant_09_a_lost_partition_comes_back_to_what_it_had_finished() {
    let first = term(Vec::new(), None);
    assert_eq!(read(&first, 0..8).len(), 8);
    (0..3).for_each(|offset| first.finish(offset));
    let committed = commit(&first);
    first.finish(4);
    first.progress(5, 64, &Settlement::waiting());
    let earlier = lose(&first);
    first.abandon(3);
    first.abandon(5);
    let second = term(earlier, Some(&committed));
    assert!(second.waits_for_earlier(), "6 and 7 are in flight");
    first.finish(6);
    first.abandon(7);
    assert!(!second.waits_for_earlier());
    assert_eq!(read(&second, 3..9), [(3, 0), (5, 64), (7, 0), (8, 0)]);
    [3, 5, 7, 8].into_iter().for_each(|offset| second.finish(offset));
    assert_eq!(commit(&second).offset, 9);
    assert!(second.hand_on().is_empty(), "everything is committed");
}

/// Who asks for progress waits until a commit says it, or until the term ends; a commit of what was before says nothing of it.
#[test]
fn progress_is_awaited() {
    let is_released = |settlement: &Arc<Settlement>| settlement.settled().now_or_never().is_some();
    let term = term(Vec::new(), None);
    assert_eq!(read(&term, 0..3).len(), 3);
    term.finish(0);
    let before = term.offsets().tracker.committable().unwrap();
    let settlements: Vec<_> = (0..4).map(|_| Settlement::waiting()).collect();
    term.progress(1, 21, &settlements[0]);
    term.committed(&before);
    assert!(term.is_awaited());
    commit(&term);
    assert!(is_released(&settlements[0]) && !term.is_awaited());
    term.progress(1, 21, &settlements[1]);
    assert!(is_released(&settlements[1]), "it is committed already");
    term.progress(1, 42, &settlements[2]);
    term.drain();
    assert!(is_released(&settlements[2]));
    term.progress(1, 63, &settlements[3]);
    assert!(is_released(&settlements[3]));
}

/// A second loss before the first commit forgets nothing of the first term.
#[test]
fn lost_again_before_it_was_read() {
    let first = term(Vec::new(), None);
    read(&first, 0..6);
    let committed = {
        first.finish(0);
        commit(&first)
    };
    [2, 5].into_iter().for_each(|offset| first.finish(offset));
    [1, 3, 4].into_iter().for_each(|offset| first.abandon(offset));
    let second = term(lose(&first), Some(&committed));
    // It gets past 2 only.
    assert_eq!(read(&second, 1..4), [(1, 0), (3, 0)]);
    second.finish(1);
    second.abandon(3);
    let third = term(lose(&second), Some(&committed));
    assert_eq!(read(&third, 1..6), [(3, 0), (4, 0)]);
}

/// Another record at a remembered offset is another log: nothing that is remembered holds for it.
#[test]
fn invariant_02_another_log_is_not_skipped() {
    let first = term(Vec::new(), None);
    read(&first, 0..10);
    let committed = {
        first.finish(0);
        commit(&first)
    };
    (5..10).for_each(|offset| first.finish(offset));
    let second = term(lose(&first), Some(&committed));
    let other = |offset: i64| offset as u64 + 1000;
    assert_eq!(read_as(&second, 1..10, other).len(), 9);
    // Even where one record happens to be the same again.
    assert_eq!(second.offsets().earlier.len(), 0);
}

/// A group that stands before where it stood was moved back by somebody, who wants the records again.
#[test]
fn a_group_that_was_moved_back_reads_everything_again() {
    for moved in [None, Some(Commit { offset: 2, metadata: String::new(), version: 0 })] {
        let first = term(Vec::new(), None);
        read(&first, 0..10);
        (0..4).for_each(|offset| first.finish(offset));
        commit(&first);
        first.finish(6);
        let second = term(lose(&first), moved.as_ref());
        assert_eq!(read(&second, 2..10).len(), 8);
    }
}

/// However much is handed over and lost, only so much is remembered.
#[test]
fn invariant_12_what_is_remembered_is_bounded() {
    let mut earlier = Vec::new();
    for _ in 0..10 {
        let term = term(earlier, None);
        read(&term, 0..1);
        term.finish(0);
        // Nothing is committed, and one record stays in flight.
        read(&term, 1..HANDED_MAX as i64 + 10);
        (2..HANDED_MAX as i64 + 10).for_each(|offset| term.finish(offset));
        earlier = lose(&term);
        assert!(earlier.len() <= EARLIER_MAX);
    }
    let next = term(earlier, None);
    let again = read(&next, 0..HANDED_MAX as i64 + 10);
    assert_eq!(again.len(), 10, "the oldest are forgotten");
}

#[derive(Debug, Clone)]
enum Step {
    Produce(u8),
    Read(u8),
    Finish(prop::sample::Index),
    /// What is fenced and was not sent is given up.
    Abandon(prop::sample::Index),
    Commit,
    /// A commit that the broker took and whose answer was lost.
    CommitUnheard,
    Lose,
    /// Another member has the partition until it comes back: it reads so many, finishes some, commits.
    Other(u8, prop::sample::Index),
    /// The topic is made again while we do not have it.
    Recreate,
    ComeBack,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        4 => (1u8..20).prop_map(Step::Produce),
        6 => (1u8..20).prop_map(Step::Read),
        20 => index().prop_map(Step::Finish),
        6 => index().prop_map(Step::Abandon),
        2 => Just(Step::Commit),
        1 => Just(Step::CommitUnheard),
        2 => Just(Step::Lose),
        2 => (1u8..30, index()).prop_map(|(count, which)| Step::Other(count, which)),
        1 => Just(Step::Recreate),
        4 => Just(Step::ComeBack),
    ];
    prop::collection::vec(step, 0..200)
}

/// A broker's partition, and what is true of its records. Each has an id of its own, which is its fingerprint.
#[derive(Default)]
struct World {
    log: Vec<u64>,
    produced: u64,
    committed: Option<Commit>,
    finished: BTreeSet<u64>,
    /// By us.
    ours: BTreeSet<u64>,
    owned: Option<Arc<Term>>,
    position: i64,
    earlier: Vec<Arc<Term>>,
    in_flight: Vec<(Arc<Term>, i64, u64)>,
    losses: usize,
    /// Whether what is in flight is waited for without end.
    patient: bool,
}

impl World {
    fn read(&mut self, count: u8) -> Result<(), TestCaseError> {
        let Some(term) = self.owned.clone() else { return Ok(()) };
        if self.patient && term.waits_for_earlier() {
            return Ok(());
        }
        for _ in 0..count {
            let Some(id) = self.log.get(self.position as usize).copied() else { break };
            match term.offsets().begin(self.position, id) {
                None => prop_assert!(self.finished.contains(&id), "{} was skipped and not finished", self.position),
                Some(_) => {
                    // Impatience, and more losses than terms are remembered, may cost a repeat.
                    let may_repeat = !self.patient || self.losses > EARLIER_MAX;
                    prop_assert!(may_repeat || !self.ours.contains(&id), "{} is handed over again", self.position);
                    self.in_flight.push((Arc::clone(&term), self.position, id));
                }
            }
            self.position += 1;
        }
        Ok(())
    }

    fn other(&mut self, count: u8, which: prop::sample::Index) {
        if self.owned.is_some() {
            return;
        }
        let committed = self.committed.as_ref().map(|commit| (commit.offset, commit.metadata.as_str()));
        let mut tracker = OffsetTracker::new(committed).0;
        let from = committed.map_or(0, |(offset, _)| offset);
        let fresh = (from..self.log.len() as i64).take(count.into());
        let fresh: Vec<i64> = fresh.filter(|offset| matches!(tracker.begin(*offset), Begin::Fresh(_))).collect();
        let left = which.index(fresh.len() + 1);
        for (n, offset) in fresh.into_iter().enumerate() {
            if n != left {
                tracker.finish(offset);
                self.finished.insert(self.log[offset as usize]);
            }
        }
        self.committed = tracker.committable().or(self.committed.take());
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Produce(count) => {
                self.log.extend(self.produced..self.produced + u64::from(count));
                self.produced += u64::from(count);
            }
            Step::Read(count) => self.read(count)?,
            Step::Finish(which) if !self.in_flight.is_empty() => {
                let (term, offset, id) = self.in_flight.swap_remove(which.index(self.in_flight.len()));
                term.finish(offset);
                self.finished.insert(id);
                self.ours.insert(id);
            }
            Step::Abandon(which) if !self.in_flight.is_empty() => {
                let at = which.index(self.in_flight.len());
                if self.in_flight[at].0.state() == LeaseState::Fenced {
                    let (term, offset, _) = self.in_flight.swap_remove(at);
                    term.abandon(offset);
                }
            }
            Step::Finish(_) | Step::Abandon(_) => {}
            Step::Commit | Step::CommitUnheard => {
                let Some(term) = &self.owned else { return Ok(()) };
                let mut offsets = term.offsets();
                let Some(commit) = offsets.tracker.committable() else { return Ok(()) };
                if matches!(step, Step::Commit) {
                    offsets.committed(&commit);
                }
                drop(offsets);
                self.committed = Some(commit);
            }
            Step::Lose => {
                if let Some(term) = self.owned.take() {
                    self.earlier = lose(&term);
                    self.losses += 1;
                }
            }
            Step::Other(count, which) => self.other(count, which),
            Step::Recreate if self.owned.is_none() => (self.log, self.committed) = (Vec::new(), None),
            Step::Recreate => {}
            Step::ComeBack if self.owned.is_none() => {
                let term = term(std::mem::take(&mut self.earlier), self.committed.as_ref());
                let waits =
                    self.in_flight.iter().any(|(of, ..)| term.offsets().earlier.iter().any(|e| Arc::ptr_eq(e, of)));
                prop_assert_eq!(term.waits_for_earlier(), waits);
                self.position = self.committed.as_ref().map_or(0, |commit| commit.offset);
                self.owned = Some(term);
            }
            Step::ComeBack => {}
        }
        Ok(())
    }
}

proptest! {
    /// However a partition goes and comes, whoever has it in between and whatever happens to its topic: nothing is skipped that was not
    /// finished, and nothing is handed over again that this process had finished by then.
    #[test]
    fn invariant_02_only_what_was_finished_is_skipped(patient in any::<bool>(), steps in steps()) {
        let mut world = World { patient, ..World::default() };
        for step in steps {
            world.step(step)?;
        }
    }
}
