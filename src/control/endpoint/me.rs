//! Who calls: what a console needs to begin.
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::auth::Caller;
use crate::control::problem::Problem;
use crate::control::state::Api;
use crate::people::Role;

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
    /// Its name for people; absent if none was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    /// Your role there.
    role: Role,
}

/// Read who you are
///
/// What your sign-in token says of you: your id, and your role in each of your workspaces; with what these are called.
#[utoipa::path(get, path = "/v1/me", tag = "You", responses((status = 200, description = "You.", body = Me)))]
pub(in crate::control) async fn me(State(api): State<Api>, caller: Caller) -> Result<Json<Me>, Problem> {
    let ids: Vec<_> = caller.workspaces().map(|(workspace, _)| workspace).collect();
    let mut names = api.policy().admin().display_names(&ids).await?;
    let workspaces = caller
        .workspaces()
        .map(|(workspace, role)| Membership {
            workspace: workspace.as_str().to_owned(),
            display_name: names.remove(workspace.as_str()),
            role,
        })
        .collect();
    Ok(Json(Me { user: caller.user.as_str().to_owned(), operator: caller.operator, workspaces }))
}
