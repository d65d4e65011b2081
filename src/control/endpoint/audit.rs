//! The audit trail: who changed what. Ids only, and for admins.
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::auth::{Action, Member, Target};
use crate::control::input::Part;
use crate::control::problem::Problem;
use crate::control::state::Api;
use crate::control::view::{Moment, by_name};
use crate::event::{DeviceId, NotificationType, UserId};
use crate::people::{ActorRole, AuditEntry, Audited, Cursor};
use crate::policy::Setting;

/// A part of the audit trail.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct AuditPage {
    /// Newest first.
    entries: Vec<Entry>,
    /// What `before` is to be for the entries after these; null after the last.
    next: Option<String>,
}

/// One entry of the trail.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(in crate::control) struct Entry {
    /// Unique, and the same in the records on Kafka.
    id: String,
    /// When.
    at: Moment,
    /// The id of who did it.
    actor: String,
    /// By which right.
    #[serde(serialize_with = "by_name")]
    actor_role: ActorRole,
    /// What was done: `setting_changed`, `person_reset`, `device_removed`, `ticket_issued`, `person_removed`,
    /// `workspace_deleted`, `person_erased`, `person_exported`, `not_me`.
    action: &'static str,
    /// The type whose setting was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<NotificationType>,
    /// Its setting before.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Setting>,
    /// Its setting after.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Setting>,
    /// The id of the person whom it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// The id of the device that was removed, or with which somebody said that it was not them.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
}

impl From<AuditEntry> for Entry {
    fn from(entry: AuditEntry) -> Self {
        let (r#type, from, to, device) = match &entry.what {
            Audited::SettingChanged { kind, from, to } => (Some(*kind), Some(*from), Some(*to), None),
            Audited::DeviceRemoved { device, .. } | Audited::NotMe { device, .. } => (None, None, None, Some(device)),
            Audited::PersonReset { .. }
            | Audited::TicketIssued { .. }
            | Audited::PersonRemoved { .. }
            | Audited::WorkspaceDeleted
            | Audited::PersonErased { .. }
            | Audited::PersonExported { .. } => (None, None, None, None),
        };
        Self {
            at: Moment(entry.at),
            actor: entry.actor.id.as_str().to_owned(),
            actor_role: entry.actor.role,
            action: entry.what.action(),
            r#type,
            from,
            to,
            user: entry.what.target().map(UserId::as_str).map(str::to_owned),
            device: device.map(DeviceId::as_str).map(str::to_owned),
            id: entry.id,
        }
    }
}

/// Read the audit trail
///
/// Who changed what in the workspace, newest first, page by page. Entries are kept for 400 days. For owners, super admins and admins.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/audit", tag = "Settings",
    params(("before" = Option<String>, Query, description = "What `next` was on the page before; without it the newest entries come."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Entries at most; 50 without it.")),
    responses((status = 200, description = "A page of the trail.", body = AuditPage)))]
pub(in crate::control) async fn audit_trail(
    State(api): State<Api>,
    member: Member,
    part: Part,
) -> Result<Json<AuditPage>, Problem> {
    member.require(Action::ReadAudit, Target::Workspace)?;
    let page = api.policy().admin().audit_trail(&member.workspace, part.before, part.limit).await?;
    let entries = page.items.into_iter().map(Entry::from).collect();
    Ok(Json(AuditPage { entries, next: page.next.map(Cursor::to_text) }))
}
