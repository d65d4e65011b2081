//! What became of people and workspaces, told by an operator: the same as upstream's records on Kafka say.
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::auth::Caller;
use crate::control::input::{Body, Named, workspace};
use crate::control::problem::Problem;
use crate::control::state::Api;
use crate::control::view::announced_within_s;
use crate::event::{EventId, UserId};
use crate::people::{Actor, ActorRole, Lifecycle, LifecycleChange, PersonChange};
use crate::store::Told;

/// What happened.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::control) enum LifecycleWord {
    /// A person left: keys are retired, sessions end, and what awaits their answer is cancelled.
    UserRemoved,
    /// A person's sessions may be somebody else's: they end, keys are retired, and the phones told.
    SessionsRevoked,
    /// The workspace is gone: what `user_removed` does, for everybody in it.
    WorkspaceDeleted,
}

/// What became of a person, or of a workspace.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct LifecycleTold {
    /// A name for it, unique within the workspace: 1 to 128 characters of visible ASCII. The same again does nothing more.
    id: String,
    /// What happened.
    what: LifecycleWord,
    /// The person's id; not for `workspace_deleted`.
    #[serde(default)]
    user: Option<String>,
}

/// What came of it.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct LifecycleApplied {
    /// It was done before, under that id.
    again: bool,
    /// Devices whose keys were retired now.
    devices_retired: u64,
    /// Requests that were cancelled now.
    requests_cancelled: u64,
    /// Seconds after which the devices ring nowhere any more at the latest; 0: within milliseconds.
    in_force_within_s: u32,
}

/// Say what became of people
///
/// Retires keys at once, as a record on `watchbell.lifecycle` does: of a person who left or whose sessions were revoked, or of everybody in a
/// workspace that is gone. It erases nothing. A large workspace takes longer than a request may: then the answer is 503, the work goes on,
/// and the same `id` again does what is left, or says that nothing is. For operators; the audit trail says who did.
#[utoipa::path(post, path = "/v1/operator/workspaces/{workspace}/lifecycle", tag = "Operators",
    request_body = LifecycleTold,
    responses((status = 200, description = "No device that it concerns answers any more.", body = LifecycleApplied)))]
pub(in crate::control) async fn lifecycle(
    State(api): State<Api>,
    caller: Caller,
    Named(id): Named<String>,
    Body(told): Body<LifecycleTold>,
) -> Result<Json<LifecycleApplied>, Problem> {
    caller.require_operator()?;
    let workspace = workspace(&id)?;
    let id = EventId::new(told.id).map_err(|error| wrong(&format!("id {error}.")))?;
    let user = told.user.map(|user| UserId::new(user).map_err(|error| wrong(&format!("user {error}.")))).transpose()?;
    let what = match (told.what, user) {
        (LifecycleWord::UserRemoved, Some(user)) => LifecycleChange::Person(user, PersonChange::Removed),
        (LifecycleWord::SessionsRevoked, Some(user)) => LifecycleChange::Person(user, PersonChange::SessionsRevoked),
        (LifecycleWord::WorkspaceDeleted, None) => LifecycleChange::WorkspaceDeleted,
        (LifecycleWord::WorkspaceDeleted, Some(_)) => {
            return Err(wrong("workspace_deleted concerns everybody: leave user out."));
        }
        (LifecycleWord::UserRemoved | LifecycleWord::SessionsRevoked, None) => {
            return Err(wrong("user is missing: say whom it concerns."));
        }
    };
    let by = Actor { id: caller.user, role: ActorRole::Operator };
    let now = api.now();
    let told = Lifecycle { id, workspace, occurred_at: now, what };
    let applied = api.policy().admin().lifecycle(&told, &by, now).await?;
    if let Some(Told { person, notice, phones }) = applied.told {
        api.courier().tell(&person, &notice, phones);
    }
    Ok(Json(LifecycleApplied {
        again: applied.again,
        devices_retired: applied.devices,
        requests_cancelled: applied.closed,
        in_force_within_s: announced_within_s(applied.announced, api.ttl_s()),
    }))
}

fn wrong(detail: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-body", "Wrong body", detail)
}
