//! Records on their way from librdkafka's memory to the flow.
//!
//! The point: what a batch's records hold lies in one buffer of exactly their size, so that a batch costs one allocation, librdkafka's
//! memory is free again at once, and a record in flight keeps no more than its own bytes. They are gathered in a buffer that stays.
//! It cannot fail.
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Headers as _, Message};

use super::headers;
use super::term::Term;
use crate::event::{Headers, Timestamp};
use crate::seam::{Permit, Record};

/// Records in a batch, at most: one wake of the flow for each batch.
pub(super) const RECORDS_MAX: usize = 256;
/// Most bytes that the gathering buffer keeps from one batch to the next: some batches of ordinary events.
const BUFFER_BYTES: usize = 256 * 1024;

/// Where a record's parts lie in its buffer.
pub(super) struct Copied {
    pub(super) offset: i64,
    key: Option<Range<usize>>,
    payload: Option<Range<usize>>,
    headers: Vec<(Box<str>, Range<usize>)>,
    timestamp: Option<Timestamp>,
    pub(super) next_recipient: u32,
}

impl Copied {
    pub(super) fn of(message: &BorrowedMessage<'_>, next_recipient: u32, buffer: &mut Vec<u8>) -> Self {
        let mut put = |bytes: &[u8]| {
            let start = buffer.len();
            buffer.extend_from_slice(bytes);
            start..buffer.len()
        };
        let key = message.key().map(&mut put);
        let payload = message.payload().map(&mut put);
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|header| (header.key.into(), put(header.value.unwrap_or_default()))).collect()
        });
        let timestamp = message.timestamp().to_millis().map(Timestamp);
        Self { offset: message.offset(), key, payload, headers, timestamp, next_recipient }
    }

    /// The moment in a header, read in place.
    fn moment(&self, name: &str, buffer: &[u8]) -> Option<Timestamp> {
        let (_, range) = self.headers.iter().rev().find(|(header, _)| **header == *name)?;
        headers::parse_moment(buffer.get(range.clone())?)
    }

    fn into_record(self, bytes: &Bytes, term: Arc<Term>, permit: Permit, read_at: Instant) -> Record {
        let mut headers = Headers::new();
        for (name, range) in self.headers {
            headers.push(name, bytes.slice(range));
        }
        Record {
            feed: term.feed,
            lease: term,
            offset: self.offset,
            key: self.key.map(|range| bytes.slice(range)),
            payload: self.payload.map(|range| bytes.slice(range)),
            headers,
            timestamp: self.timestamp,
            next_recipient: self.next_recipient,
            read_at,
            permit,
        }
    }
}

/// A record of a delay tier, which waits with a buffer of its own.
pub(super) struct Waiting {
    copied: Copied,
    bytes: Bytes,
}

impl Waiting {
    /// The record, when it is due and when it expires. Without these headers it is due at once and never expires.
    pub(super) fn of(message: &BorrowedMessage<'_>, next_recipient: u32) -> (Self, Timestamp, Timestamp) {
        let mut buffer = Vec::new();
        let copied = Copied::of(message, next_recipient, &mut buffer);
        let due = copied.moment(headers::NOT_BEFORE, &buffer).unwrap_or(Timestamp(i64::MIN));
        let deadline = copied.moment(headers::DEADLINE, &buffer).unwrap_or(Timestamp(i64::MAX));
        (Self { copied, bytes: buffer.into() }, due, deadline)
    }

    pub(super) fn offset(&self) -> i64 {
        self.copied.offset
    }
}

/// The records of one hand-over.
#[derive(Default)]
pub(super) struct Batch {
    buffer: Vec<u8>,
    fresh: Vec<(Copied, Arc<Term>, Permit)>,
    waited: Vec<(Waiting, Arc<Term>, Permit)>,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.waited.len()
    }

    /// Copies a record that was begun.
    pub(super) fn push(
        &mut self,
        message: &BorrowedMessage<'_>,
        next_recipient: u32,
        term: &Arc<Term>,
        permit: Permit,
    ) {
        let copied = Copied::of(message, next_recipient, &mut self.buffer);
        self.fresh.push((copied, Arc::clone(term), permit));
    }

    pub(super) fn push_waited(&mut self, waiting: Waiting, term: &Arc<Term>, permit: Permit) {
        self.waited.push((waiting, Arc::clone(term), permit));
    }

    /// The records, in the order of their partitions; the batch is empty again.
    pub(super) fn finish(&mut self, read_at: Instant) -> Vec<Record> {
        let bytes = Bytes::copy_from_slice(&self.buffer);
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES);
        let fresh = self.fresh.drain(..);
        let fresh = fresh.map(|(copied, term, permit)| copied.into_record(&bytes, term, permit, read_at));
        let waited = self.waited.drain(..);
        let waited =
            waited.map(|(waiting, term, permit)| waiting.copied.into_record(&waiting.bytes, term, permit, read_at));
        fresh.chain(waited).collect()
    }
}

/// What a record is, in 64 bits: that two which differ have the same is one chance in 2^64. Only comparable under the same `seed`.
pub(super) fn fingerprint(message: &BorrowedMessage<'_>, seed: &RandomState) -> u64 {
    let mut hasher = seed.build_hasher();
    message.timestamp().to_millis().hash(&mut hasher);
    message.key().hash(&mut hasher);
    message.payload().hash(&mut hasher);
    for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
        header.key.hash(&mut hasher);
        header.value.hash(&mut hasher);
    }
    hasher.finish()
}
