//! The map of completed offsets as text: what a commit's metadata says beyond its offset.
//!
//! `w1` and base64url without padding over: the committed offset (8 bytes, big-endian); the number of runs and the runs; the number of
//! explosions in progress and each as its distance from the committed offset and its next recipient; a checksum (FNV-1a, 32 bits). All
//! numbers without a stated width are varints. A run is `count << 2 | kind` over blocks of 64 offsets aligned to multiples of 64: done,
//! open, or as bits (eight bytes for each block, little-endian). What follows the last run is open.
//!
//! ASCII because a broker mangles metadata that is not UTF-8, and at most 4,096 units because it refuses more
//! (`offset.metadata.max.bytes`, Kafka's default). Unreadable text is an error that the caller counts and ignores.
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Offsets in a block: the bits of a word.
pub(super) const BLOCK: i64 = 64;
/// Longest metadata that a broker takes by default, in UTF-16 units (and, being ASCII, bytes).
pub(super) const UNITS_MAX: usize = 4096;
/// Bytes that fit into it behind the prefix.
pub(super) const BYTES_MAX: usize = (UNITS_MAX - PREFIX.len()) / 4 * 3;

const PREFIX: &str = "w1";
const DONE: u64 = 0;
const OPEN: u64 = 1;
const BITS: u64 = 2;

/// Why metadata is no map of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum MapError {
    /// It has another version, or another program wrote it.
    #[error("the offset's metadata is not a map of this version")]
    Foreign,
    /// It is cut short or changed.
    #[error("the map of completed offsets is damaged")]
    Damaged,
    /// It belongs to another offset: somebody moved the group's offset and left the metadata.
    #[error("the map of completed offsets belongs to another offset")]
    OtherOffset,
}

/// A map that was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OffsetMap {
    /// The blocks that are not wholly done, with their done bits.
    pub(super) blocks: BTreeMap<i64, u64>,
    /// The first block that is open with all after it.
    pub(super) horizon: i64,
    /// Next recipients of records being exploded.
    pub(super) progress: BTreeMap<i64, u32>,
}

enum Run {
    Done(u64),
    Open(u64),
    Bits(Vec<u64>),
}

/// Writes a map; empty when it would say nothing. What does not fit is left out, highest offsets first: those are read again after a
/// restart, nothing is lost.
pub(super) fn encode(
    offset: i64,
    blocks: impl Iterator<Item = (i64, u64)>,
    horizon: i64,
    progress: &BTreeMap<i64, u32>,
) -> String {
    let runs = runs(offset, blocks, horizon);
    if runs.is_empty() && progress.is_empty() {
        return String::new();
    }
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(&offset.to_be_bytes());
    // Three bytes for either count and four for the checksum stay free.
    let mut kept = Vec::new();
    let mut count = 0;
    for run in &runs {
        let before = kept.len();
        put_run(&mut kept, run);
        if bytes.len() + kept.len() > BYTES_MAX - 10 {
            kept.truncate(before);
            break;
        }
        count += 1;
    }
    put_varint(&mut bytes, count);
    bytes.append(&mut kept);
    count = 0;
    for (at, next) in progress {
        let before = kept.len();
        put_varint(&mut kept, at.saturating_sub(offset).max(0) as u64);
        put_varint(&mut kept, u64::from(*next));
        if bytes.len() + kept.len() > BYTES_MAX - 7 {
            kept.truncate(before);
            break;
        }
        count += 1;
    }
    put_varint(&mut bytes, count);
    bytes.append(&mut kept);
    bytes.extend_from_slice(&checksum(&bytes).to_be_bytes());
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes))
}

/// The runs from the block of `offset` on, without trailing open ones: empty when nothing at or above `offset` is done.
fn runs(offset: i64, blocks: impl Iterator<Item = (i64, u64)>, horizon: i64) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut at = offset.div_euclid(BLOCK);
    // Bits below the committed offset say nothing.
    let below = (1 << offset.rem_euclid(BLOCK)) - 1;
    let first = at;
    for (block, bits) in blocks {
        push_done(&mut runs, block - at);
        let bits = if block == first { bits & !below } else { bits };
        match (runs.last_mut(), bits) {
            (Some(Run::Open(count)), 0) => *count += 1,
            (_, 0) => runs.push(Run::Open(1)),
            (Some(Run::Bits(words)), bits) => words.push(bits),
            (_, bits) => runs.push(Run::Bits(vec![bits])),
        }
        at = block + 1;
    }
    push_done(&mut runs, horizon - at);
    if let Some(Run::Open(_)) = runs.last() {
        runs.pop();
    }
    runs
}

fn push_done(runs: &mut Vec<Run>, count: i64) {
    if count > 0 {
        runs.push(Run::Done(count as u64));
    }
}

fn put_run(bytes: &mut Vec<u8>, run: &Run) {
    match run {
        Run::Done(count) => put_varint(bytes, count << 2 | DONE),
        Run::Open(count) => put_varint(bytes, count << 2 | OPEN),
        Run::Bits(words) => {
            put_varint(bytes, (words.len() as u64) << 2 | BITS);
            words.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        }
    }
}

fn put_varint(bytes: &mut Vec<u8>, value: u64) {
    prost::encoding::encode_varint(value, bytes);
}

/// FNV-1a with 32 bits (draft-eastlake-fnv): against damage, not against malice.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Reads the metadata of a commit at `offset`; empty metadata is an empty map.
pub(super) fn decode(metadata: &str, offset: i64) -> Result<OffsetMap, MapError> {
    if metadata.is_empty() {
        return Ok(OffsetMap { horizon: offset.div_euclid(BLOCK), ..OffsetMap::default() });
    }
    let text = metadata.strip_prefix(PREFIX).ok_or(MapError::Foreign)?;
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| MapError::Damaged)?;
    let (body, sum) = bytes.split_last_chunk::<4>().ok_or(MapError::Damaged)?;
    if checksum(body) != u32::from_be_bytes(*sum) {
        return Err(MapError::Damaged);
    }
    let (base, mut rest) = body.split_first_chunk::<8>().ok_or(MapError::Damaged)?;
    if i64::from_be_bytes(*base) != offset {
        return Err(MapError::OtherOffset);
    }
    read(&mut rest, offset).ok_or(MapError::Damaged)
}

fn read(rest: &mut &[u8], offset: i64) -> Option<OffsetMap> {
    let mut map = OffsetMap { horizon: offset.div_euclid(BLOCK), ..OffsetMap::default() };
    for _ in 0..varint(rest)? {
        let run = varint(rest)?;
        let count = i64::try_from(run >> 2).ok()?;
        let end = map.horizon.checked_add(count).filter(|end| *end < i64::MAX / BLOCK)?;
        match run & 3 {
            DONE => {}
            // A run of open blocks longer than any map that could have been begun is damage, not an allocation.
            OPEN if count <= UNITS_MAX as i64 => map.blocks.extend((map.horizon..end).map(|block| (block, 0))),
            BITS => {
                for block in map.horizon..end {
                    let (word, tail) = rest.split_first_chunk::<8>()?;
                    map.blocks.insert(block, u64::from_le_bytes(*word));
                    *rest = tail;
                }
            }
            _ => return None,
        }
        map.horizon = end;
    }
    for _ in 0..varint(rest)? {
        let at = offset.checked_add_unsigned(varint(rest)?)?;
        map.progress.insert(at, u32::try_from(varint(rest)?).ok()?);
    }
    rest.is_empty().then_some(map)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(rest).ok()
}
