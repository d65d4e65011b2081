//! Who calls: what a console needs to begin.
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::auth::Caller;
use crate::control::state::Api;
use crate::people::Role;

/// How long names are waited for: one look at a primary key takes milliseconds, and a console can do without them.
const NAMES_WAIT: Duration = Duration::from_millis(500);

/// Who you are to this service.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Me {
    /// Your id, the same in all workspaces.
    user: String,
    /// Whether you may do what spans workspaces.
    operator: bool,
    /// The workspaces in which you have a role, by their ids.
    workspaces: Vec<Membership>,
}

/// A workspace of yours.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Membership {
    /// Its id.
    workspace: String,
    /// Its name for people; absent if none was set, or it cannot be read at the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    /// Your role there.
    role: Role,
}

/// Read who you are
///
/// What your sign-in token says of you: your id, and your role in each of your workspaces; with what these are called.
#[utoipa::path(get, path = "/v1/me", tag = "You", responses((status = 200, description = "You.", body = Me)))]
pub(in crate::control) async fn me(State(api): State<Api>, caller: Caller) -> Json<Me> {
    let ids: Vec<_> = caller.workspaces().map(|(workspace, _)| workspace).collect();
    // Who one is stands in the token: without the store, or while it is slow, names are left out.
    let names = tokio::time::timeout(NAMES_WAIT, api.policy().admin().display_names(&ids)).await;
    let mut names = names.ok().and_then(Result::ok).unwrap_or_default();
    let workspaces = caller
        .workspaces()
        .map(|(workspace, role)| Membership {
            workspace: workspace.as_str().to_owned(),
            display_name: names.remove(workspace.as_str()),
            role,
        })
        .collect();
    Json(Me { user: caller.user.as_str().to_owned(), operator: caller.operator, workspaces })
}
