//! Erasing a person: everything about them but the audit trail, which has ids only.
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::actor;
use crate::control::auth::{Action, Caller, Member, Target};
use crate::control::input::{Named, user};
use crate::control::phone::sign_in_too_old;
use crate::control::problem::Problem;
use crate::control::state::Api;
use crate::control::view::announced_within_s;
use crate::people::Person;

/// Whether who calls signed in a moment ago. Whoever has an old session of somebody must not be able to silence their phones with it.
pub(super) fn is_fresh(api: &Api, caller: &Caller) -> bool {
    api.config().devices.rules().is_fresh(caller.auth_time, api.now())
}

/// What they are told who did not. `who` does it for them whose issuer does not say when they signed in.
pub(super) fn not_fresh(caller: &Caller, who: &str) -> Problem {
    match caller.auth_time {
        Some(_) => sign_in_too_old("You signed in too long ago for this. Sign in again, then try once more."),
        None => sign_in_too_old(&format!(
            "Your sign-in does not say when it was, and for this it has to be fresh. Ask {who} to do it."
        )),
    }
}

/// A person was erased.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Erased {
    /// Seconds after which every copy of theirs is gone at the latest; 0: it is, within milliseconds.
    in_force_within_s: u32,
}

/// Erase a person's data
///
/// Removes preferences, devices, requests and what happened to notifications. What awaits their answer is cancelled, and upstream hears
/// of it. The audit trail stays: it has ids only. The person's phones are told, their keys never count again, and whoever is signed in as
/// them has to sign in again. Everybody may erase themselves, with a sign-in as fresh as `api.devices.sign_in_max_age_s` says (the token's
/// `auth_time`); those who administer the workspace are told of that. Owners may erase anybody, super admins everybody but owners. Somebody
/// of whom nothing is kept is erased all the same.
#[utoipa::path(delete, path = "/v1/workspaces/{workspace}/users/{user}/data", tag = "People",
    responses((status = 200, description = "Nothing is kept of the person.", body = Erased)))]
pub(in crate::control) async fn erase(
    State(api): State<Api>,
    member: Member,
    caller: Caller,
    Named((_, id)): Named<(String, String)>,
) -> Result<Json<Erased>, Problem> {
    let person = Person { workspace: member.workspace.clone(), user: user(&id)? };
    let admin = api.policy().admin();
    let target =
        if person.user == member.user { Target::Oneself } else { Target::another(admin.known_role(&person).await?) };
    member.require(Action::EraseData, target)?;
    if target == Target::Oneself && !is_fresh(&api, &caller) {
        return Err(not_fresh(&caller, "an owner of the workspace"));
    }
    let erased = admin.erase(&person, &actor(&member), api.now()).await?;
    api.courier().tell(&person, &erased.notice, erased.told);
    Ok(Json(Erased { in_force_within_s: announced_within_s(erased.announced, api.ttl_s()) }))
}
