//! What the worker reads of the decisions topic: whether a request is over, and what was answered. Pure.
use prost::Message as _;

use crate::event::wire::{self, domain_type};
use crate::event::{EventId, NotificationType, Timestamp, UserId, WorkspaceId, to_timestamp};
use crate::policy::Heard;

/// A decision, as far as the worker cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The request's workspace.
    pub workspace: WorkspaceId,
    /// The request's type.
    pub kind: NotificationType,
    /// The request.
    pub event: EventId,
    /// The person who was asked.
    pub user: UserId,
    /// When it was written.
    pub at: Timestamp,
    /// Whether the request is over.
    pub finality: Finality,
    /// What it says to the fatigue guard, if it says anything: a plain denial does not.
    pub heard: Option<Heard>,
}

/// Whether a decision ends its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// `asked`, `notice`, or `not_me`, which is about none.
    Open,
    /// `decided` or `closed`.
    Final,
}

/// Why bytes are no decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the value is no watchbell.v1.Decision: {0}")]
pub struct DecisionError(String);

/// Reads a decision.
pub fn decode_decision(bytes: &[u8]) -> Result<Decision, DecisionError> {
    use wire::decision::Body;
    let missing = |what: &str| DecisionError(format!("it has no {what}"));
    let bad_id = |error: crate::event::IdError| DecisionError(format!("an id {error}"));
    let decision = wire::Decision::decode(bytes).map_err(|error| DecisionError(error.to_string()))?;
    let kind = domain_type(decision.r#type()).ok_or_else(|| missing("type"))?;
    let finality = match &decision.body {
        // A body that a newer writer added is not final for us: the request's own deadline still ends it.
        None | Some(Body::Asked(_) | Body::Notice(_) | Body::NotMe(_)) => Finality::Open,
        Some(Body::Decided(_) | Body::Closed(_)) => Finality::Final,
    };
    let heard = match &decision.body {
        Some(Body::Decided(decided)) => heard(decided.verb()),
        Some(Body::NotMe(_)) => Some(Heard::NotMe),
        None | Some(Body::Asked(_) | Body::Notice(_) | Body::Closed(_)) => None,
    };
    Ok(Decision {
        workspace: WorkspaceId::new(decision.workspace_id).map_err(bad_id)?,
        kind,
        event: EventId::new(decision.event_id).map_err(bad_id)?,
        user: UserId::new(decision.user_id).map_err(bad_id)?,
        at: decision.at.and_then(to_timestamp).ok_or_else(|| missing("date"))?,
        finality,
        heard,
    })
}

/// A verb that only a newer writer knows says nothing.
const fn heard(verb: wire::Verb) -> Option<Heard> {
    match verb {
        wire::Verb::Unspecified | wire::Verb::Deny => None,
        wire::Verb::Approve => Some(Heard::Approved),
        wire::Verb::DenyNotMe => Some(Heard::NotMe),
    }
}
