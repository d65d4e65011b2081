//! A lifecycle record's bytes. What it may be is in `lifecycle.proto`. Pure.
use prost::Message as _;

use super::{Lifecycle, LifecycleChange, PersonChange};
use crate::event::wire::{self, lifecycle::Body};
use crate::event::{DecodeError, EventId, Timestamp, UserId, WorkspaceId, occurred_within};

/// Why bytes are no lifecycle record. They go to the dead letters as they are, with [`LifecycleError::reason`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// Something else.
    #[error("the value is not a watchbell.v1.Lifecycle: {0}")]
    NotProtobuf(String),
    /// Nothing, or something that only a newer version knows.
    #[error("the record has no body that this version knows; set one of watchbell.v1.Lifecycle")]
    NoBody,
    /// What would be wrong with an event, too.
    #[error(transparent)]
    Common(#[from] DecodeError),
}

impl LifecycleError {
    /// The reason for headers, metrics and logs: of the closed set of events.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotProtobuf(_) => "not_protobuf",
            Self::NoBody => "no_body",
            Self::Common(error) => error.reason(),
        }
    }
}

/// Decodes one record, read at `now`.
pub fn decode_lifecycle(payload: Option<&[u8]>, now: Timestamp) -> Result<Lifecycle, LifecycleError> {
    let bytes = payload.filter(|bytes| !bytes.is_empty()).ok_or(DecodeError::Empty)?;
    let record = wire::Lifecycle::decode(bytes).map_err(|error| LifecycleError::NotProtobuf(error.to_string()))?;
    let id = EventId::new(record.lifecycle_id).map_err(|why| DecodeError::BadId { field: "lifecycle_id", why })?;
    let workspace =
        WorkspaceId::new(record.workspace_id).map_err(|why| DecodeError::BadId { field: "workspace_id", why })?;
    let occurred_at = occurred_within(record.occurred_at.ok_or(DecodeError::NoDate)?, now)?;
    let user = |id: String| UserId::new(id).map_err(|why| DecodeError::BadId { field: "user_id", why });
    let what = match record.body.ok_or(LifecycleError::NoBody)? {
        Body::UserRemoved(removed) => LifecycleChange::Person(user(removed.user_id)?, PersonChange::Removed),
        Body::SessionsRevoked(revoked) => {
            LifecycleChange::Person(user(revoked.user_id)?, PersonChange::SessionsRevoked)
        }
        Body::WorkspaceDeleted(_) => LifecycleChange::WorkspaceDeleted,
    };
    Ok(Lifecycle { id, workspace, occurred_at, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn what_cannot_be_read_says_why() {
        // Every rule of lifecycle.proto, by the reason under which the record is dead-lettered.
        let record = |body: Option<Body>| wire::Lifecycle {
            lifecycle_id: "l1".into(),
            workspace_id: "acme".into(),
            occurred_at: Some(wire::wire_time(NOW)),
            body,
        };
        let removed = |user: &str| Some(Body::UserRemoved(wire::UserRemoved { user_id: user.into() }));
        let good = record(removed("ada"));
        let day = std::time::Duration::from_secs(24 * 3600);
        let rows = [
            (wire::Lifecycle { lifecycle_id: String::new(), ..good.clone() }, "bad_id"),
            (wire::Lifecycle { workspace_id: "a b".into(), ..good.clone() }, "bad_id"),
            (record(removed("")), "bad_id"),
            (record(None), "no_body"),
            (wire::Lifecycle { occurred_at: None, ..good.clone() }, "no_date"),
            (wire::Lifecycle { occurred_at: Some(wire::wire_time(NOW.plus(day))), ..good.clone() }, "bad_date"),
            (wire::Lifecycle { occurred_at: Some(wire::wire_time(NOW.minus(31 * day))), ..good.clone() }, "bad_date"),
        ];
        for (record, reason) in rows {
            let error = decode_lifecycle(Some(&record.encode_to_vec()), NOW).unwrap_err();
            assert_eq!(error.reason(), reason, "{record:?}");
        }
        let reasons = [None, Some(&b"\xff"[..])].map(|bytes| decode_lifecycle(bytes, NOW).unwrap_err().reason());
        assert_eq!(reasons, ["empty_value", "not_protobuf"]);
        let read = decode_lifecycle(Some(&good.encode_to_vec()), NOW).unwrap();
        assert_eq!(read.what, LifecycleChange::Person(UserId::new("ada").unwrap(), PersonChange::Removed));
        assert_eq!(read.occurred_at, NOW);
    }
}
