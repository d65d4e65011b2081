//! The offsets thread of one consumer group: reads committed offsets when partitions come, commits while they are ours.
//!
//! The point: every call here waits for a broker (a commit takes about 6 ms, and seconds while the broker is away), so none of them is
//! made by the thread that polls. All partitions travel in one commit, and commits are strictly one after the other, so that a late
//! one cannot overtake the last one of a term.
//!
//! It deliberately never commits for a term that is fenced and never backwards (the tracker's invariant): a broker checks membership,
//! not ownership, and would take either.
//!
//! It fails by trying again; how long it has been failing is part of [`super::source::SourceView`].
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::group::{GroupContext, Shared};
use super::offsets::{Commit, OffsetTracker};
use super::term::Term;
use crate::seam::{Lease, LeaseState};

/// How long a committed offset is asked for, and how soon again.
const LOAD_TIMEOUT: Duration = Duration::from_secs(5);
const LOAD_AGAIN: Duration = Duration::from_millis(200);
/// How often the partitions' ends are asked for, for the lag, and how long.
const ENDS_INTERVAL: Duration = Duration::from_secs(5);
const ENDS_TIMEOUT: Duration = Duration::from_secs(1);

/// What the reader and the terms ask for.
pub(super) enum Ask {
    /// The committed offsets of new terms.
    Load(Vec<Arc<Term>>),
    /// The last commit of terms that end. The sender is dropped when it was tried, and the thread unparked.
    Last(Vec<Arc<Term>>, Sender<()>, Thread),
    /// A commit now of the terms in which somebody waits for one.
    Progress,
}

/// See the module.
pub(super) struct Committer {
    pub(super) consumer: Arc<BaseConsumer<GroupContext>>,
    pub(super) shared: Arc<Shared>,
    pub(super) interval: Duration,
    pub(super) asked: Receiver<Ask>,
    /// Terms whose committed offsets could not be read yet.
    pub(super) unloaded: Vec<Weak<Term>>,
}

impl Committer {
    /// Until the reader is gone.
    pub(super) fn run(mut self) {
        let mut commit_at = Instant::now() + self.interval;
        let mut ends_at = Instant::now();
        loop {
            match self.asked.recv_timeout(commit_at.saturating_duration_since(Instant::now())) {
                Ok(Ask::Load(terms)) => self.load(terms),
                Ok(Ask::Last(terms, done, reader)) => {
                    self.commit_last(&terms);
                    drop(done);
                    reader.unpark();
                }
                // One commit serves everybody who waits by now; who finds nothing left to commit costs nothing.
                Ok(Ask::Progress) => self.commit_those(Term::is_awaited),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // Whatever was asked for: a stream of explosions must not put this off.
            if Instant::now() >= commit_at {
                let unloaded: Vec<_> = self.unloaded.drain(..).filter_map(|term| term.upgrade()).collect();
                self.load(unloaded);
                self.commit_those(|_| true);
                if Instant::now() >= ends_at {
                    self.ask_ends();
                    ends_at = Instant::now() + ENDS_INTERVAL;
                }
                let pause = if self.unloaded.is_empty() { self.interval } else { self.interval.max(LOAD_AGAIN) };
                commit_at = Instant::now() + pause;
            }
        }
    }

    /// Reads what the group committed for these terms, and makes them ready to be taken from.
    fn load(&mut self, terms: Vec<Arc<Term>>) {
        let wanted: Vec<_> = terms.into_iter().filter(|term| term.state() == LeaseState::Owned).collect();
        if wanted.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(wanted.len());
        for term in &wanted {
            list.add_partition(&term.topic, term.partition);
        }
        let read = self.consumer.committed_offsets(list, LOAD_TIMEOUT);
        let read = read.inspect_err(|error| {
            self.shared.report("committed offsets could not be read; trying again", error);
        });
        for term in wanted {
            let element = read.as_ref().ok().and_then(|list| list.find_partition(&term.topic, term.partition));
            match element.map(|element| (element.error(), element.offset(), element.metadata().to_owned())) {
                Some((Ok(()), offset, metadata)) => self.loaded(&term, offset, &metadata),
                Some((Err(error), ..)) => {
                    self.shared.report("a committed offset could not be read; trying again", &error);
                    self.unloaded.push(Arc::downgrade(&term));
                }
                None => self.unloaded.push(Arc::downgrade(&term)),
            }
        }
    }

    fn loaded(&self, term: &Term, offset: Offset, metadata: &str) {
        let committed = match offset {
            Offset::Offset(offset) => Some((offset, metadata)),
            // Nothing was ever committed: the term begins with the first record it reads.
            Offset::Invalid | Offset::Beginning | Offset::End | Offset::Stored | Offset::OffsetTail(_) => None,
        };
        let (tracker, error) = OffsetTracker::new(committed);
        if let Some(error) = error {
            self.shared.counters.maps_ignored.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(topic = &*term.topic, partition = term.partition, %error,
                "ignoring the committed map of completed offsets: records finished above the committed offset are sent again");
        }
        term.load(tracker);
    }

    fn commit_those(&self, which: impl Fn(&Term) -> bool) {
        let mut terms = self.shared.terms();
        terms.retain(|term| which(term));
        match self.commit(&terms, |term| term.state() != LeaseState::Fenced) {
            Ok(()) => self.shared.commit_succeeded(),
            Err(error) => {
                self.shared.commit_failed();
                self.shared.report("offsets could not be committed; trying again", &error);
            }
        }
    }

    /// The terms are fenced by now: nothing of theirs changes any more. Tried twice, because a group that is just rebalancing refuses.
    fn commit_last(&self, terms: &[Arc<Term>]) {
        for last in [false, true] {
            match self.commit(terms, |_| true) {
                Ok(()) => return,
                Err(error) if last => {
                    self.shared.commit_failed();
                    self.shared.report("the last offsets of a partition could not be committed", &error);
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// One commit for all changed terms. On a partial failure the broker keeps the good ones; all are offered again.
    fn commit(&self, terms: &[Arc<Term>], may: impl Fn(&Term) -> bool) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::with_capacity(terms.len());
        let mut offered: Vec<(&Arc<Term>, Commit)> = Vec::new();
        for term in terms {
            let Some(commit) = term.offsets().tracker.committable() else { continue };
            // Asked last: a term that was fenced before this is not committed.
            if !term.is_loaded() || !may(term) {
                continue;
            }
            let mut element = list.add_partition(&term.topic, term.partition);
            element.set_offset(Offset::Offset(commit.offset))?;
            if !commit.metadata.is_empty() {
                // Once for each element: a second time would leak.
                element.set_metadata(&commit.metadata);
            }
            offered.push((term, commit));
        }
        if offered.is_empty() {
            return Ok(());
        }
        self.consumer.commit(&list, CommitMode::Sync)?;
        self.shared.counters.commits.fetch_add(1, Ordering::Relaxed);
        for (term, commit) in offered {
            term.committed(&commit);
        }
        Ok(())
    }

    /// The partitions' ends, in one request for each broker: asking for the offset of the time "end" is ListOffsets with -1.
    fn ask_ends(&self) {
        let terms = self.shared.terms();
        if terms.is_empty() {
            return;
        }
        let ends = terms.iter().map(|term| (term.topic.to_string(), term.partition, Offset::End));
        let ends: TopicPartitionList = ends.collect();
        // Nobody waits for the lag: the next answer will do.
        let Ok(ends) = self.consumer.offsets_for_times(ends, ENDS_TIMEOUT) else { return };
        for term in &terms {
            let element = ends.find_partition(&term.topic, term.partition);
            if let Some(Offset::Offset(end)) = element.map(|element| element.offset()) {
                term.end.store(end, Ordering::Relaxed);
            }
        }
    }
}
