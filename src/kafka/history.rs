//! What one term of a partition handed over and how it ended, for as long as the broker does not have it committed.
//!
//! The point: a partition that is lost (a broker went away, a session ran out) and comes back to the same process is read again from
//! the committed offset. What this process finished since its last commit, or finishes under the lost term still, is told here, so that
//! it is not sent twice.
//!
//! Why that is sound, whoever had the partition in between: an offset is finished when everything that its record caused is acknowledged
//! by the broker. That is a fact about the record, not about its owner, and it does not expire; so what two owners finished is the union
//! of both. What could make it false is another record at the same offset (a topic deleted and made again, a log cut back after an
//! unclean election). Therefore no offset is trusted alone: each is remembered with a fingerprint of its record, and a record that
//! differs makes the whole history worthless.
//!
//! It deliberately knows no consumer, no time and no thread. It fails by forgetting: at [`HANDED_MAX`] the oldest entry goes, and what is
//! not remembered is handed over again.
use std::collections::VecDeque;

/// Records of one term that are remembered, 24 bytes each: what is in flight and what was finished since the last commit.
pub(super) const HANDED_MAX: usize = 16_384;

/// What a history says of a record that is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recall {
    /// It was finished.
    Finished,
    /// It was handed over and is not finished.
    Unfinished,
    /// Nothing is known of it.
    Unknown,
    /// Another record was at its offset: this is not the log that the history speaks of.
    Other,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    fingerprint: u64,
    /// The tracker's version with which it was finished; 0 before.
    finished: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct History {
    /// By rising offset.
    entries: VecDeque<Entry>,
    /// The offset that the group had committed, as far as this term knew.
    committed: Option<i64>,
}

impl History {
    /// The term begins with what the group committed.
    pub(super) fn start(&mut self, committed: Option<i64>) {
        self.committed = committed;
    }

    /// A record is handed over, in the order of reading.
    pub(super) fn begin(&mut self, offset: i64, fingerprint: u64) {
        if self.entries.len() == HANDED_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { offset, fingerprint, finished: 0 });
    }

    /// The record at `offset` is finished; commits of `version` and later say so.
    pub(super) fn finish(&mut self, offset: i64, version: u64) {
        if let Ok(at) = self.entries.binary_search_by_key(&offset, |entry| entry.offset) {
            self.entries[at].finished = version;
        }
    }

    /// The broker took the commit of that offset and version: what it says need not be remembered.
    pub(super) fn committed(&mut self, offset: i64, version: u64) {
        self.committed = Some(offset);
        self.entries.retain(|entry| entry.finished == 0 || entry.finished > version);
    }

    /// Whether there is nothing to recall.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether something lies at or after `offset`.
    pub(super) fn reaches(&self, offset: i64) -> bool {
        self.entries.back().is_some_and(|entry| entry.offset >= offset)
    }

    /// What became of a record.
    pub(super) fn recall(&self, offset: i64, fingerprint: u64) -> Recall {
        match self.entries.binary_search_by_key(&offset, |entry| entry.offset).ok().map(|at| &self.entries[at]) {
            None => Recall::Unknown,
            Some(entry) if entry.fingerprint != fingerprint => Recall::Other,
            Some(entry) if entry.finished == 0 => Recall::Unfinished,
            Some(_) => Recall::Finished,
        }
    }

    /// Whether the group stands before where this term knew it to be: somebody moved it back on purpose, or the topic was made again.
    /// Then everything is to be read again.
    pub(super) fn was_moved_back(&self, committed: Option<i64>) -> bool {
        committed < self.committed
    }
}
