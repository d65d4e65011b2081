//! One connection as the books see it.
use super::{Laws, Tick};
use crate::provider::http2::ConnectionId;

/// Requests that a connection takes before it has written those it was given. Each holds about 2 KiB in the framing's buffers
/// until then, which never shrink, so a burst of thousands would cost megabytes for good; 500 fill twenty TLS records.
const UNWRITTEN_MAX: u32 = 512;

/// Requests that one connection is given in a row, so that they leave together. Sixteen pushes of everyday length (600 to 900 bytes of
/// frames) fill one TLS record of 16 KiB: one system call here and one there, instead of one for each connection.
const GATHERED: u32 = 16;

/// One connection in the books.
pub(super) struct Member<C> {
    pub(super) id: ConnectionId,
    pub(super) connection: C,
    pub(super) in_flight: u32,
    /// Requests given to it since it last wrote all it had.
    pub(super) unwritten: u32,
    pub(super) peer_limit: u32,
    pub(super) accepted: bool,
    pub(super) draining: bool,
    pub(super) gone: bool,
    /// Mean ticks to an answer, weighed towards the last sixteen.
    pub(super) latency: f32,
    pub(super) samples: u32,
    pub(super) narrow_since: Option<Tick>,
}

impl<C> Member<C> {
    pub(super) fn new(id: ConnectionId, connection: C, peer_limit: u32) -> Self {
        Self {
            id,
            connection,
            in_flight: 0,
            unwritten: 0,
            peer_limit,
            accepted: false,
            draining: false,
            gone: false,
            latency: 0.0,
            samples: 0,
            narrow_since: None,
        }
    }

    pub(super) fn limit(&self, laws: &Laws) -> u32 {
        let limit = self.peer_limit.min(laws.cap);
        if laws.one_until_accepted && !self.accepted { limit.min(1) } else { limit }
    }

    pub(super) fn has_room(&self, laws: &Laws) -> bool {
        self.in_flight < self.limit(laws) && self.unwritten < UNWRITTEN_MAX
    }

    /// Whether it is about to write and more would leave with it.
    pub(super) fn gathers(&self) -> bool {
        (1..GATHERED).contains(&self.unwritten)
    }

    pub(super) fn sample(&mut self, ticks: Tick) {
        self.samples = self.samples.saturating_add(1);
        self.latency += (ticks as f32 - self.latency) / 16.0;
    }
}
