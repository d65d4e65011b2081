//! The outbox's way out: records that wait in the store, written in the transaction of what they tell, until a broker has them.
use std::sync::Arc;

use super::Settlement;

/// Which topic a record of the outbox is for. Its name on the broker is configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutboxTopic {
    /// The audit trail.
    Audit,
    /// What upstream hears about requests.
    Decisions,
    /// Jobs that somebody waits for and nothing delays: what people are told about their devices.
    Jobs,
    /// What phones say they showed.
    Outcomes,
    /// Records that are read as if they were redriven: events that a person sends to themselves.
    Redrive,
}

impl OutboxTopic {
    /// All of them, in an order that never changes: a topic's place names its locks, in every version.
    pub const ALL: [Self; 5] = [Self::Audit, Self::Decisions, Self::Jobs, Self::Outcomes, Self::Redrive];

    /// The name in the store and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Decisions => "decisions",
            Self::Jobs => "jobs",
            Self::Outcomes => "outcomes",
            Self::Redrive => "redrive",
        }
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRecord {
    /// Where it goes.
    pub topic: OutboxTopic,
    /// Records of one key are written in the order in which they were put into the outbox; `None`: in any.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub payload: Vec<u8>,
    /// Its headers. A job brings none but its trace context: it is written with those that every job has.
    pub headers: Vec<(String, String)>,
}

/// What writes records to a broker.
pub trait OutboxSink: Send + Sync + 'static {
    /// Writes one, however long that takes, and releases the hold that it takes on the settlement when the broker has acknowledged it.
    /// The next record of the same key comes after that.
    fn write(&self, record: &OutboxRecord, settlement: &Arc<Settlement>);
}
