//! The offsets of one partition during one term of ownership: what was begun, what is finished, what may be committed.
//!
//! The point: records finish in any order, but Kafka keeps one offset. Everything below it is finished; what is finished above it
//! travels in the commit's metadata (the map, [`super::offset_map`]), so that a restart does not send again what was sent.
//!
//! It deliberately knows no consumer, no time and no thread: plain values in, plain values out. It cannot fail: a map that cannot be
//! read is an empty one and is reported as such.
//!
//! Invariant: the offset to commit never goes backwards, and an offset counts as done only if it was finished or never delivered.
use std::collections::BTreeMap;

use super::offset_map::{self, BLOCK, MapError};

/// The bytes that one unfinished block can cost in a map at most: its 64 bits and the runs beside it.
const BLOCK_BYTES_MAX: usize = 12;
/// The bytes that one begun explosion can cost in a map at most.
const PROGRESS_BYTES_MAX: usize = 7;
/// The bytes of a map besides these.
const FIXED_BYTES_MAX: usize = 40;

/// What to do with a record that was just read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// It is new: hand it over. Its recipients before this one were exploded by an earlier reader.
    Fresh(u32),
    /// An earlier reader finished it.
    Done,
    /// It was read before in this term.
    Again,
}

/// What to commit for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commit {
    /// The offset of the first record that is not done.
    pub(super) offset: i64,
    /// The map of what is done above it; ASCII, empty when there is nothing to say.
    pub(super) metadata: String,
    /// To be given back to [`OffsetTracker::committed`] when the broker took it.
    pub(super) version: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct OffsetTracker {
    /// Done offsets as bits, by block of [`BLOCK`] offsets. Absent and below `horizon`: all done.
    blocks: BTreeMap<i64, u64>,
    /// The first block of which nothing is known: it and all after it are open.
    horizon: i64,
    /// One past the last offset read; `None` before the first, when nothing was committed.
    seen: Option<i64>,
    in_flight: usize,
    /// The next recipient of the records that are being exploded.
    progress: BTreeMap<i64, u32>,
    /// Rises with every change that a commit would tell.
    version: u64,
    committed: u64,
}

impl OffsetTracker {
    /// A term that begins with what the group committed. An unreadable map is ignored and returned as the second value: records that
    /// it called done will be sent again.
    pub(super) fn new(committed: Option<(i64, &str)>) -> (Self, Option<MapError>) {
        let mut tracker = Self::default();
        let Some((offset, metadata)) = committed else { return (tracker, None) };
        tracker.start(offset);
        let error = match offset_map::decode(metadata, offset) {
            Ok(map) => {
                tracker.load(map);
                None
            }
            Err(error) => Some(error),
        };
        (tracker, error)
    }

    fn start(&mut self, offset: i64) {
        let block = offset.div_euclid(BLOCK);
        let below = bits_below(offset.rem_euclid(BLOCK));
        self.seen = Some(offset);
        self.horizon = block;
        if below != 0 {
            self.blocks.insert(block, below);
            self.horizon = block + 1;
        }
    }

    fn load(&mut self, map: offset_map::OffsetMap) {
        for (block, bits) in map.blocks {
            *self.blocks.entry(block).or_default() |= bits;
        }
        // The map's first block overlaps the one that `start` made; a full one is told by its absence.
        self.blocks.retain(|_, bits| *bits != u64::MAX);
        self.horizon = self.horizon.max(map.horizon);
        self.progress = map.progress;
    }

    /// Takes note of a record in the order of reading. Offsets that were passed over since the last one do not exist any more
    /// (compaction, retention, transaction markers) and count as done.
    pub(super) fn begin(&mut self, offset: i64) -> Begin {
        let seen = match self.seen {
            Some(seen) => seen,
            None => {
                self.start(offset);
                offset
            }
        };
        if offset < seen {
            return Begin::Again;
        }
        self.pass_over(seen, offset);
        self.seen = Some(offset + 1);
        let (block, bit) = (offset.div_euclid(BLOCK), 1 << offset.rem_euclid(BLOCK));
        if block >= self.horizon {
            self.blocks.insert(block, 0);
            self.horizon = block + 1;
        }
        match self.blocks.get(&block) {
            Some(bits) if bits & bit == 0 => {
                self.in_flight += 1;
                Begin::Fresh(self.next_recipient(offset))
            }
            Some(_) | None => Begin::Done,
        }
    }

    /// Marks `from..to` as done, which is wholly at or after everything seen.
    fn pass_over(&mut self, from: i64, to: i64) {
        if from >= to {
            return;
        }
        self.version += 1;
        let (first, last) = (from.div_euclid(BLOCK), (to - 1).div_euclid(BLOCK));
        let bits_in = |block: i64| {
            let low = bits_below((from - block * BLOCK).clamp(0, BLOCK));
            bits_below((to - block * BLOCK).clamp(0, BLOCK)) & !low
        };
        for (block, bits) in self.blocks.range_mut(first..=last) {
            *bits |= bits_in(*block);
        }
        self.blocks.retain(|_, bits| *bits != u64::MAX);
        if last >= self.horizon {
            let bits = bits_in(last);
            if bits != u64::MAX {
                self.blocks.insert(last, bits);
            }
            self.horizon = last + 1;
        }
    }

    /// The record at `offset` is finished.
    pub(super) fn finish(&mut self, offset: i64) {
        let (block, bit) = (offset.div_euclid(BLOCK), 1 << offset.rem_euclid(BLOCK));
        let Some(bits) = self.blocks.get_mut(&block).filter(|bits| **bits & bit == 0) else { return };
        *bits |= bit;
        if *bits == u64::MAX {
            self.blocks.remove(&block);
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        self.progress.remove(&offset);
        self.version += 1;
    }

    /// The record at `offset` ends unfinished: it is read again in a later term.
    pub(super) fn abandon(&mut self, _offset: i64) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// The recipients before `next_recipient` of the record at `offset` are exploded.
    pub(super) fn progress(&mut self, offset: i64, next_recipient: u32) {
        let entry = self.progress.entry(offset).or_default();
        if next_recipient > *entry {
            *entry = next_recipient;
            self.version += 1;
        }
    }

    /// The recipients of the record at `offset` before this one are exploded.
    pub(super) fn next_recipient(&self, offset: i64) -> u32 {
        self.progress.get(&offset).copied().unwrap_or(0)
    }

    /// Rises with every change that a commit would tell.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Records begun and neither finished nor abandoned.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The offset of the first record that is not done; `None` before anything is known.
    pub(super) fn position(&self) -> Option<i64> {
        self.seen?;
        Some(match self.blocks.first_key_value() {
            Some((block, bits)) => block * BLOCK + i64::from(bits.trailing_ones()),
            None => self.horizon * BLOCK,
        })
    }

    /// Whether the map could outgrow three quarters of its room: then nothing more is begun until records finish. The bound is one
    /// that finishing records, in whatever order, only lowers, so what was begun always fits.
    pub(super) fn is_full(&self) -> bool {
        let bound = FIXED_BYTES_MAX + self.blocks.len() * BLOCK_BYTES_MAX + self.progress.len() * PROGRESS_BYTES_MAX;
        bound > offset_map::BYTES_MAX / 4 * 3
    }

    /// What to commit, if it differs from what the broker took last.
    pub(super) fn committable(&self) -> Option<Commit> {
        let offset = self.position().filter(|_| !self.is_committed())?;
        let blocks = self.blocks.iter().map(|(block, bits)| (*block, *bits));
        let metadata = offset_map::encode(offset, blocks, self.horizon, &self.progress);
        Some(Commit { offset, metadata, version: self.version })
    }

    /// Whether the broker knows everything that a commit would tell.
    pub(super) fn is_committed(&self) -> bool {
        self.version == self.committed
    }

    /// The broker took the commit of that version.
    pub(super) fn committed(&mut self, version: u64) {
        self.committed = self.committed.max(version);
    }
}

/// The lowest `count` bits, 0 to 64.
fn bits_below(count: i64) -> u64 {
    if count >= BLOCK { u64::MAX } else { (1 << count) - 1 }
}

#[cfg(test)]
#[path = "offsets_tests.rs"]
mod tests;
