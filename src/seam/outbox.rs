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
}

impl OutboxTopic {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Audit, Self::Decisions];

    /// The name in the store and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Decisions => "decisions",
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
    /// Its headers.
    pub headers: Vec<(String, String)>,
}

/// What writes records to a broker.
pub trait OutboxSink: Send + Sync + 'static {
    /// Writes one, however long that takes, and releases the hold that it takes on the settlement when the broker has acknowledged it.
    /// The next record of the same key comes after that.
    fn write(&self, record: &OutboxRecord, settlement: &Arc<Settlement>);
}
