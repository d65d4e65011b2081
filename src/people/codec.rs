//! Records that tell others about people, as bytes: the audit trail and what upstream hears. Pure.
use prost::Message as _;

use super::{ActorRole, AuditEntry, Audited, ClosedReason, NoticeKind, RequestId, Role, Verb};
use crate::event::{DeviceId, SystemNotice, Timestamp, wire};
use wire::{wire_time, wire_type};

/// A record of `watchbell.decisions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<'a> {
    /// About which request.
    pub request: &'a RequestId,
    /// Unique to the record.
    pub id: &'a str,
    /// When it was written.
    pub at: Timestamp,
    /// What it says.
    pub what: What<'a>,
}

/// See [`Told`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "decision.proto says what the fields are")]
pub enum What<'a> {
    /// The request is open.
    Asked { devices: Vec<String> },
    /// Something that upstream may want to tell the person.
    Notice { kind: NoticeKind, reason: &'a str },
    /// The person answered.
    Decided {
        verb: Verb,
        decided_at: Timestamp,
        expires_at: Timestamp,
        jws: &'a str,
        key_thumbprint: &'a str,
        key_jwk: &'a str,
    },
    /// The request ended without an answer.
    Closed(ClosedReason),
    /// About no request: the person disowns what a notice told them.
    NotMe { notice: SystemNotice, device: &'a DeviceId },
}

/// A decision's bytes.
pub fn encode_decision(told: &Told<'_>) -> Vec<u8> {
    use wire::decision::Body;
    let body = match &told.what {
        What::Asked { devices } => Body::Asked(wire::Asked { devices: devices.clone() }),
        What::Notice { kind, reason } => {
            Body::Notice(wire::Notice { kind: wire_notice(*kind).into(), reason: (*reason).to_owned() })
        }
        What::Decided { verb, decided_at, expires_at, jws, key_thumbprint, key_jwk } => Body::Decided(wire::Decided {
            verb: wire_verb(*verb).into(),
            decided_at: Some(wire_time(*decided_at)),
            expires_at: Some(wire_time(*expires_at)),
            jws: (*jws).to_owned(),
            key_thumbprint: (*key_thumbprint).to_owned(),
            key_jwk: (*key_jwk).to_owned(),
        }),
        What::Closed(reason) => Body::Closed(wire::Closed { reason: wire_closed(*reason).into() }),
        What::NotMe { notice, device } => Body::NotMe(wire::NotMe {
            notice: wire::wire_notice(*notice).into(),
            device_id: device.as_str().to_owned(),
        }),
    };
    let record = wire::Decision {
        workspace_id: told.request.person.workspace.as_str().to_owned(),
        r#type: wire_type(told.request.kind).into(),
        event_id: told.request.event.as_str().to_owned(),
        user_id: told.request.person.user.as_str().to_owned(),
        decision_id: told.id.to_owned(),
        at: Some(wire_time(told.at)),
        body: Some(body),
    };
    record.encode_to_vec()
}

const fn wire_verb(verb: Verb) -> wire::Verb {
    match verb {
        Verb::Approve => wire::Verb::Approve,
        Verb::Deny => wire::Verb::Deny,
        Verb::DenyNotMe => wire::Verb::DenyNotMe,
    }
}

const fn wire_notice(kind: NoticeKind) -> wire::NoticeKind {
    match kind {
        NoticeKind::Muted => wire::NoticeKind::Muted,
        NoticeKind::Disabled => wire::NoticeKind::Disabled,
        NoticeKind::Guard => wire::NoticeKind::Guard,
        NoticeKind::NoDevice => wire::NoticeKind::NoDevice,
        NoticeKind::Undeliverable => wire::NoticeKind::Undeliverable,
    }
}

const fn wire_closed(reason: ClosedReason) -> wire::ClosedReason {
    match reason {
        ClosedReason::Expired => wire::ClosedReason::Expired,
        ClosedReason::Superseded => wire::ClosedReason::Superseded,
        ClosedReason::Cancelled => wire::ClosedReason::Cancelled,
    }
}

/// An audit entry's bytes.
pub fn encode_audit(entry: &AuditEntry) -> Vec<u8> {
    let kind = entry.what.kind().map_or(wire::NotificationType::Unspecified, wire_type);
    let (from, to) = entry.what.values().unwrap_or_default();
    let device = entry.what.device().map_or("", DeviceId::as_str);
    let record = wire::AuditEntry {
        audit_id: entry.id.clone(),
        workspace_id: entry.workspace.as_str().to_owned(),
        at: Some(wire_time(entry.at)),
        actor_id: entry.actor.id.as_str().to_owned(),
        actor_role: wire_role(entry.actor.role).into(),
        action: wire_action(&entry.what).into(),
        r#type: kind.into(),
        from: from.to_owned(),
        to: to.to_owned(),
        target_user_id: entry.what.target().map_or("", crate::event::UserId::as_str).to_owned(),
        target_device_id: device.to_owned(),
    };
    record.encode_to_vec()
}

const fn wire_role(role: ActorRole) -> wire::ActorRole {
    match role {
        ActorRole::Of(Role::User) => wire::ActorRole::User,
        ActorRole::Of(Role::Admin) => wire::ActorRole::Admin,
        ActorRole::Of(Role::SuperAdmin) => wire::ActorRole::SuperAdmin,
        ActorRole::Of(Role::Owner) => wire::ActorRole::Owner,
        ActorRole::Operator => wire::ActorRole::Operator,
        ActorRole::Upstream => wire::ActorRole::Upstream,
    }
}

const fn wire_action(what: &Audited) -> wire::AuditAction {
    match what {
        Audited::SettingChanged { .. } => wire::AuditAction::SettingChanged,
        Audited::DetailChanged { .. } => wire::AuditAction::DetailChanged,
        Audited::PersonReset { .. } => wire::AuditAction::PersonReset,
        Audited::DeviceRemoved { .. } => wire::AuditAction::DeviceRemoved,
        Audited::TicketIssued { .. } => wire::AuditAction::TicketIssued,
        Audited::PersonRemoved { .. } => wire::AuditAction::PersonRemoved,
        Audited::WorkspaceDeleted => wire::AuditAction::WorkspaceDeleted,
        Audited::PersonErased { .. } => wire::AuditAction::PersonErased,
        Audited::PersonExported { .. } => wire::AuditAction::PersonExported,
        Audited::NotMe { .. } => wire::AuditAction::NotMe,
    }
}
