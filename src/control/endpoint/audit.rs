//! The audit trail: who changed what. Ids only, and for admins.
use axum::Json;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::auth::{Action, Member, Target};
use crate::control::input::Part;
use crate::control::problem::Problem;
use crate::control::state::Api;
use crate::control::view::{AuditAction, AuditValue, Moment, by_name};
use crate::event::{DeviceId, NotificationType, UserId};
use crate::people::{ActorRole, AuditEntry, Audited, Cursor};
use crate::store::Only;

/// A part of the audit trail.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct AuditPage {
    /// Newest first.
    entries: Vec<Entry>,
    /// What `before` is to be for the entries after these; null after the last.
    #[schema(required)]
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
    /// What was done.
    #[schema(value_type = AuditAction)]
    action: &'static str,
    /// The type whose setting was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<NotificationType>,
    /// What was set before: a setting, or how much pushes say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<AuditValue>)]
    from: Option<&'static str>,
    /// What is set after.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<AuditValue>)]
    to: Option<&'static str>,
    /// The id of the person whom it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// The id of the device that was removed, or with which somebody said that it was not them.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
}

impl From<AuditEntry> for Entry {
    fn from(entry: AuditEntry) -> Self {
        let (from, to) = entry.what.values().unzip();
        Self {
            at: Moment(entry.at),
            actor: entry.actor.id.as_str().to_owned(),
            actor_role: entry.actor.role,
            action: entry.what.action(),
            r#type: entry.what.kind(),
            from,
            to,
            user: entry.what.target().map(UserId::as_str).map(str::to_owned),
            device: entry.what.device().map(DeviceId::as_str).map(str::to_owned),
            id: entry.id,
        }
    }
}

/// Which entries are asked for.
pub(in crate::control) struct Which(Only);

#[derive(Deserialize)]
struct WhichQuery {
    user: Option<String>,
    action: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Which {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let wrong = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "wrong-page", "Wrong page", detail);
        let unread =
            || wrong("What follows the question mark cannot be read. /docs says what may stand there.".to_owned());
        let Query(query) = Query::<WhichQuery>::from_request_parts(parts, state).await.map_err(|_| unread())?;
        let user = query.user.map(UserId::new).transpose();
        let user = user.map_err(|error| wrong(format!("user is nobody's id: it {error}.")))?;
        let known = |name: String| Audited::ACTIONS.into_iter().find(|action| *action == name).ok_or(());
        let action = query.action.map(known).transpose();
        let action = action
            .map_err(|()| wrong(format!("action must be one of {}, or be left out.", Audited::ACTIONS.join(", "))))?;
        Ok(Self(Only { user, action }))
    }
}

/// Read the audit trail
///
/// Who changed what in the workspace, newest first, page by page; all of it, or what one person did and what was done to them, or one kind of
/// thing. Entries are kept for 400 days. For owners, super admins and admins.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/audit", tag = "Settings",
    params(("user" = Option<String>, Query, description = "Only what this person did, and what concerns them: their id, percent-encoded."),
        ("action" = Option<AuditAction>, Query, description = "Only this."),
        ("before" = Option<String>, Query, description = "What `next` was on the page before, of the same question; without it the newest entries come."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Entries at most; 50 without it.")),
    responses((status = 200, description = "A page of the trail.", body = AuditPage)))]
pub(in crate::control) async fn audit_trail(
    State(api): State<Api>,
    member: Member,
    part: Part,
    Which(only): Which,
) -> Result<Json<AuditPage>, Problem> {
    member.require(Action::ReadAudit, Target::Workspace)?;
    let page = api.policy().admin().audit_of(&member.workspace, &only, part.before, part.limit).await?;
    let entries = page.items.into_iter().map(Entry::from).collect();
    Ok(Json(AuditPage { entries, next: page.next.map(Cursor::to_text) }))
}
