//! Which connection is sick: far slower than its siblings, or kept at one stream by the peer.
use super::{State, Tick};
use crate::provider::http2::ConnectionId;

/// Why the books call a connection sick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::provider::http2) enum Sickness {
    Slow,
    Narrow,
}

impl<C: Clone> State<C> {
    /// The sickest open connection, if one is sick and another is there to carry on.
    pub(in crate::provider::http2) fn sick(&mut self, now: Tick) -> Option<(ConnectionId, Sickness)> {
        let (laws, open) = (self.laws.clone(), self.members.iter().filter(|(_, m)| !m.draining).count());
        let total: f32 = self.members.iter().filter(|(_, m)| !m.draining).map(|(_, m)| m.latency).sum();
        for (_, member) in &mut self.members {
            if member.draining {
                continue;
            }
            let narrow = member.accepted && member.peer_limit <= 1 && laws.cap > 1;
            let since = narrow.then(|| member.narrow_since.unwrap_or(now));
            member.narrow_since = since;
            if since.is_some_and(|since| now.saturating_sub(since) >= laws.narrow) {
                return Some((member.id, Sickness::Narrow));
            }
            if open < 2 || member.samples < 16 {
                continue;
            }
            let others = (total - member.latency) / (open - 1) as f32;
            if member.latency > laws.sick_floor && member.latency > laws.sick_factor * others.max(0.0) {
                return Some((member.id, Sickness::Slow));
            }
        }
        None
    }
}
