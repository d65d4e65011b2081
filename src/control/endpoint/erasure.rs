//! Erasing a person: everything about them but the audit trail, which has ids only.
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::actor;
use crate::control::auth::{Action, Member, Target};
use crate::control::input::{Named, user};
use crate::control::problem::Problem;
use crate::control::state::Api;
use crate::control::view::announced_within_s;
use crate::people::Person;

/// A person was erased.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Erased {
    /// Seconds after which every copy of theirs is gone at the latest; 0: it is, within milliseconds.
    in_force_within_s: u32,
}

/// Erase a person's data
///
/// Removes preferences, devices, requests and what happened to notifications. What awaits their answer is cancelled, and upstream hears
/// of it. The audit trail stays: it has ids only. Everybody may erase themselves; owners may erase anybody, super admins everybody but
/// owners. Somebody of whom nothing is kept is erased all the same.
#[utoipa::path(delete, path = "/v1/workspaces/{workspace}/users/{user}/data", tag = "People",
    responses((status = 200, description = "Nothing is kept of the person.", body = Erased)))]
pub(in crate::control) async fn erase(
    State(api): State<Api>,
    member: Member,
    Named((_, id)): Named<(String, String)>,
) -> Result<Json<Erased>, Problem> {
    let person = Person { workspace: member.workspace.clone(), user: user(&id)? };
    let admin = api.policy().admin();
    let target =
        if person.user == member.user { Target::Oneself } else { Target::another(admin.known_role(&person).await?) };
    member.require(Action::EraseData, target)?;
    let announced = admin.erase(&person, &actor(&member), api.now()).await?;
    api.roles().forget(&person);
    Ok(Json(Erased { in_force_within_s: announced_within_s(announced, api.ttl_s()) }))
}
