//! From what was asked for to a record: the id, the moment, the key.
use std::fmt;
use std::time::Duration;

use prost::Message as _;
use uuid::Uuid;

use crate::event::wire::{self, event::Body};
use crate::event::{self, DecodeError, Headers, Incoming, Limits, NotificationType, Timestamp};
use crate::seam::{Clock as _, SystemClock};

/// An event as it was asked for: what it leaves out is filled in each time it is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template {
    /// The type of the topic.
    pub(super) kind: NotificationType,
    /// The event; its id, its moment and its deadline may be missing.
    pub(super) event: wire::Event,
    /// From the moment to the deadline, if it was asked for.
    pub(super) lifetime: Option<Duration>,
    /// The line on which it began, if it came from a file.
    pub(super) line: Option<usize>,
}

/// What holds for all events of one run.
#[derive(Debug)]
pub(super) struct Rules {
    /// The records' headers.
    pub(super) headers: Headers,
    /// The decoder's.
    pub(super) limits: Limits,
    /// Whether the records have keys.
    pub(super) with_key: bool,
}

/// A record, checked by the worker's own decoder.
#[derive(Debug)]
pub(super) struct Stamped {
    /// Its key.
    pub(super) key: Option<String>,
    /// Its event's id.
    pub(super) id: String,
    /// Its value.
    pub(super) payload: Vec<u8>,
    /// What the value says.
    pub(super) event: wire::Event,
}

/// An event that a worker would dead-letter.
#[derive(Debug)]
pub(super) struct Refused {
    line: Option<usize>,
    why: DecodeError,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "a worker would refuse the event ({}): {}; nothing was written", self.why.reason(), self.why)
    }
}

impl Template {
    /// The record of this moment. CloudEvents headers fill what the event leaves to them.
    pub(super) fn stamp(&self, rules: &Rules) -> Result<Stamped, Refused> {
        self.stamp_at(rules, SystemClock.now())
    }

    pub(super) fn stamp_at(&self, rules: &Rules, now: Timestamp) -> Result<Stamped, Refused> {
        let mut event = self.event.clone();
        if event.event_id.is_empty() && rules.headers.get("ce_id").is_none() {
            event.event_id = Uuid::now_v7().to_string();
        }
        if event.occurred_at.is_none() && rules.headers.get("ce_time").is_none() {
            event.occurred_at = Some(wire_time(now));
        }
        if let Some(lifetime) = self.lifetime {
            event.expires_at = Some(wire_time(now.plus(lifetime)));
        }
        let payload = event.encode_to_vec();
        let decoded = event::decode(Some(&payload), &rules.headers, self.kind, rules.limits, now);
        let decoded = decoded.map_err(|why| Refused { line: self.line, why })?;
        let (id, recipients) = match &decoded {
            Incoming::Event(event) => (&event.id, &event.recipients),
            Incoming::Cancel(cancel) => (&cancel.id, &cancel.recipients),
        };
        // The contract (event.proto): the user for one recipient, the event for several; a withdrawal has its event's key, so that
        // it is read after it.
        let key = match (recipients.as_slice(), &event.body) {
            ([user], _) => user.as_str(),
            (_, Some(Body::Cancel(cancel))) => &cancel.event_id,
            _ => id.as_str(),
        };
        let key = rules.with_key.then(|| key.to_owned());
        Ok(Stamped { key, id: id.as_str().to_owned(), payload, event })
    }
}

fn wire_time(at: Timestamp) -> prost_types::Timestamp {
    let millis = at.as_millis();
    prost_types::Timestamp { seconds: millis.div_euclid(1_000), nanos: (millis.rem_euclid(1_000) * 1_000_000) as i32 }
}
