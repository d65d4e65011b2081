use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::offset_map::{MapError, UNITS_MAX};
use super::*;

fn fresh() -> OffsetTracker {
    OffsetTracker::new(None).0
}

fn reloaded(commit: &Commit) -> OffsetTracker {
    let (tracker, error) = OffsetTracker::new(Some((commit.offset, &commit.metadata)));
    assert_eq!(error, None);
    tracker
}

/// What finished above a stuck record is not read again after a restart; the stuck one is.
#[test]
fn completed_above_the_committed_offset_survives() {
    let mut tracker = fresh();
    (1000..1300).for_each(|offset| assert_eq!(tracker.begin(offset), Begin::Fresh(0)));
    (1000..1300).filter(|offset| ![1007, 1100].contains(offset)).for_each(|offset| tracker.finish(offset));
    let commit = tracker.committable().unwrap();
    assert_eq!(commit.offset, 1007);
    let mut next = reloaded(&commit);
    let fresh: Vec<i64> = (1007..1301).filter(|offset| next.begin(*offset) == Begin::Fresh(0)).collect();
    assert_eq!(fresh, [1007, 1100, 1300]);
}

/// A chunk of recipients that was exploded and acknowledged is not exploded again after a restart.
#[test]
fn next_recipient_survives() {
    let mut tracker = fresh();
    (0..3).for_each(|offset| assert_eq!(tracker.begin(offset), Begin::Fresh(0)));
    tracker.progress(1, 64);
    tracker.progress(1, 128);
    tracker.finish(2);
    let mut next = reloaded(&tracker.committable().unwrap());
    let begun: Vec<Begin> = (0..3).map(|offset| next.begin(offset)).collect();
    assert_eq!(begun, [Begin::Fresh(0), Begin::Fresh(128), Begin::Done]);
    next.finish(0);
    next.finish(1);
    assert_eq!(next.committable().unwrap(), Commit { offset: 3, metadata: String::new(), version: 2 });
}

/// Metadata that another program or version wrote, that is damaged or that belongs to another offset is told apart and ignored.
#[test]
fn unreadable_maps_are_ignored() {
    let mut tracker = fresh();
    (0..9).for_each(|offset| assert_eq!(tracker.begin(offset), Begin::Fresh(0)));
    tracker.finish(5);
    let good = tracker.committable().unwrap().metadata;
    let mut damaged = good.clone();
    damaged.replace_range(20..21, if &good[20..21] == "A" { "B" } else { "A" });
    let cases = [
        (0, "some note".to_owned(), MapError::Foreign),
        (0, good.replacen("w1", "w2", 1), MapError::Foreign),
        (0, damaged, MapError::Damaged),
        (0, "w1AAAA".to_owned(), MapError::Damaged),
        (4, good, MapError::OtherOffset),
    ];
    for (offset, metadata, expected) in cases {
        let (mut tracker, error) = OffsetTracker::new(Some((offset, &metadata)));
        assert_eq!(error, Some(expected), "{metadata}");
        assert_eq!(tracker.begin(offset), Begin::Fresh(0));
    }
}

/// Offsets that the broker never delivers (compacted, expired, transaction markers) do not hold the commit back.
#[test]
fn gaps_are_passed_over() {
    let mut tracker = OffsetTracker::new(Some((10, ""))).0;
    for offset in [500, 501, 1_000_000_000, 1_000_000_064] {
        assert_eq!(tracker.begin(offset), Begin::Fresh(0));
        tracker.finish(offset);
        assert_eq!(tracker.position(), Some(offset + 1));
    }
    assert_eq!(tracker.begin(7), Begin::Again);
}

/// Nothing is committed when nothing changed, and a failed commit is offered again.
#[test]
fn only_changes_are_committed() {
    let mut tracker = fresh();
    assert_eq!(tracker.committable(), None);
    tracker.begin(0);
    assert_eq!(tracker.committable(), None);
    tracker.finish(0);
    let commit = tracker.committable().unwrap();
    assert_eq!(tracker.committable(), Some(commit.clone()));
    tracker.committed(commit.version);
    assert_eq!(tracker.committable(), None);
}

/// However the records of a full partition finish, the map fits; and it is full only when records truly lie far apart.
#[test]
fn a_full_map_still_fits() {
    for spread in [1, 2, 7, 64, 65, 1000] {
        let mut tracker = fresh();
        let mut begun = Vec::new();
        for offset in (0..).step_by(spread) {
            if tracker.is_full() {
                break;
            }
            for between in offset..offset + spread as i64 {
                assert_ne!(tracker.begin(between), Begin::Done);
                if between != offset {
                    tracker.finish(between);
                }
            }
            begun.push(offset);
        }
        assert!(begun.len() > 150, "{} records {spread} apart fill the map", begun.len());
        for chosen in [2, 3] {
            begun.iter().skip(1).step_by(chosen).for_each(|offset| tracker.finish(*offset));
            let commit = tracker.committable().unwrap();
            assert!(commit.metadata.len() <= UNITS_MAX && commit.metadata.is_ascii());
            let mut next = reloaded(&commit);
            let end = begun.last().unwrap() + 1;
            let again: Vec<i64> = (0..end).filter(|offset| next.begin(*offset) == Begin::Fresh(0)).collect();
            let open: Vec<i64> = begun.iter().copied().filter(|offset| !is_done(&tracker, *offset)).collect();
            assert_eq!(again, open, "{spread} apart");
        }
    }
}

fn is_done(tracker: &OffsetTracker, offset: i64) -> bool {
    let block = offset.div_euclid(BLOCK);
    match tracker.blocks.get(&block) {
        Some(bits) => bits >> offset.rem_euclid(BLOCK) & 1 == 1,
        None => block < tracker.horizon,
    }
}

/// More explosions in progress than the map has room for back-pressure, and the map still fits.
#[test]
fn progress_has_its_share_of_the_room() {
    let mut tracker = fresh();
    (0..3000).for_each(|offset| assert_eq!(tracker.begin(offset), Begin::Fresh(0)));
    for offset in 0..3000 {
        tracker.progress(offset, 64);
    }
    assert!(tracker.is_full());
    let commit = tracker.committable().unwrap();
    assert!(commit.metadata.len() <= UNITS_MAX);
    assert_eq!(reloaded(&commit).begin(0), Begin::Fresh(64));
}

#[derive(Debug, Clone)]
enum Step {
    /// Reads a record so many offsets after the last one.
    Begin(i64),
    /// Finishes one of those in flight.
    Finish(prop::sample::Index),
    Progress(prop::sample::Index, u32),
    /// The broker takes what there is to commit.
    Commit,
    /// The process dies and another one goes on from the last commit.
    Reload,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1i64..3).prop_map(Step::Begin),
        1 => (1i64..300).prop_map(Step::Begin),
        6 => any::<prop::sample::Index>().prop_map(Step::Finish),
        1 => (any::<prop::sample::Index>(), 1u32..500).prop_map(|(which, next)| Step::Progress(which, next)),
        2 => Just(Step::Commit),
        1 => Just(Step::Reload),
    ];
    prop::collection::vec(step, 0..400)
}

/// What a broker and a careful clerk with sets would know.
#[derive(Debug, Default, Clone)]
struct Model {
    /// Every offset that the partition ever delivered.
    delivered: BTreeSet<i64>,
    done: BTreeSet<i64>,
    progress: BTreeMap<i64, u32>,
    in_flight: BTreeSet<i64>,
}

impl Model {
    fn position(&self, end: i64) -> i64 {
        self.delivered.difference(&self.done).next().copied().unwrap_or(end)
    }
}

proptest! {
    /// Against a model of sets, over random reading, finishing, committing and crashing: the committed offset is the first unfinished
    /// record, never goes back, and a restart reads again exactly what was not finished when the last commit was made.
    #[test]
    fn agrees_with_a_model(start in 0i64..1000, steps in steps()) {
        let mut tracker = OffsetTracker::new(Some((start, ""))).0;
        let (mut model, mut end) = (Model::default(), start);
        let mut saved = (Commit { offset: start, metadata: String::new(), version: 0 }, model.clone());
        let mut highest = start;
        for step in steps {
            match step {
                Step::Begin(distance) => {
                    if tracker.is_full() { continue }
                    let offset = end + distance - 1;
                    prop_assert_eq!(tracker.begin(offset), Begin::Fresh(0));
                    model.delivered.insert(offset);
                    model.in_flight.insert(offset);
                    end = offset + 1;
                }
                Step::Finish(which) => {
                    let Some(offset) = pick(&model.in_flight, which) else { continue };
                    tracker.finish(offset);
                    model.in_flight.remove(&offset);
                    model.done.insert(offset);
                    model.progress.remove(&offset);
                }
                Step::Progress(which, next) => {
                    let Some(offset) = pick(&model.in_flight, which) else { continue };
                    tracker.progress(offset, next);
                    let entry = model.progress.entry(offset).or_default();
                    *entry = next.max(*entry);
                }
                Step::Commit => {
                    let Some(commit) = tracker.committable() else { continue };
                    tracker.committed(commit.version);
                    prop_assert_eq!(commit.offset, model.position(end));
                    prop_assert!(commit.offset >= highest && commit.metadata.len() <= UNITS_MAX);
                    highest = commit.offset;
                    saved = (commit, model.clone());
                }
                Step::Reload => {
                    let (commit, at_commit) = &saved;
                    tracker = reloaded(commit);
                    let again: Vec<i64> = model.delivered.range(commit.offset..).copied().collect();
                    model.done = at_commit.done.clone();
                    model.progress = at_commit.progress.clone();
                    model.in_flight.clear();
                    for offset in again {
                        let expected = match model.done.contains(&offset) {
                            true => Begin::Done,
                            false => Begin::Fresh(model.progress.get(&offset).copied().unwrap_or(0)),
                        };
                        prop_assert_eq!(tracker.begin(offset), expected, "offset {}", offset);
                        if expected != Begin::Done {
                            model.in_flight.insert(offset);
                        }
                    }
                    // Offsets that no record has are not known to a term that read nothing after them.
                    end = model.delivered.last().map_or(start, |last| last + 1);
                }
            }
            prop_assert_eq!(tracker.in_flight(), model.in_flight.len());
            prop_assert_eq!(tracker.position(), Some(model.position(end)));
        }
    }

    /// Whatever the metadata is, reading it answers and never panics.
    #[test]
    fn any_metadata_is_answered(text in "w1[A-Za-z0-9_-]{0,200}", offset in 0i64..i64::MAX) {
        drop(OffsetTracker::new(Some((offset, &text))));
    }
}

fn pick(from: &BTreeSet<i64>, which: prop::sample::Index) -> Option<i64> {
    (!from.is_empty()).then(|| *which.get(&from.iter().copied().collect::<Vec<_>>()))
}
