//! What is remembered of who calls, asked with each call: whether their session was ended here, and which role they had last.
//!
//! The point: a token that was taken back is believed by nobody who heard of it, and every process hears of it, because it is in the store.
//! Who may do what to whom depends on both roles, and a token tells of one: the store remembers the other's, noted at most once an hour.
//! Price: one statement a call, which reads some rows by their keys, three at most for each workspace of the token: 0.6 ms with PostgreSQL on
//! the same machine, measured in a debug build on two busy cores, one after the other. It comes after the session's own room was taken, so
//! no session asks the store oftener than `api.requests_per_minute` says. It keeps nothing in the process: what is over must be over
//! everywhere at once, and a copy would have to be forgotten.
//!
//! It fails with 401 for a session that was ended, and with 503 while the store cannot say; a note that could not be made is made with the
//! next call, and who has none counts as a user.
use std::time::Duration;

use axum::extract::{FromRequestParts as _, RawPathParams};
use axum::http::request::Parts;

use super::auth::{Caller, Refusal, counted};
use super::problem::Problem;
use super::state::Api;
use crate::event::WorkspaceId;
use crate::people::Person;
use crate::store::Remembered;

/// How much later a sign-in is that is noted again, though it tells the same role.
const NOTED_FOR: Duration = Duration::from_secs(3_600);
/// Workspaces of one token whose roles are noted; a token has a handful.
const WORKSPACES_MAX: usize = 32;

/// The workspace that a call is about, if it is about one.
pub(super) async fn workspace_of(parts: &mut Parts, api: &Api) -> Option<WorkspaceId> {
    let path = RawPathParams::from_request_parts(parts, api).await.ok()?;
    let named = path.iter().find_map(|(name, value)| (name == "workspace").then_some(value));
    named.and_then(|id| WorkspaceId::new(id).ok())
}

/// Lets in a session that was not ended in the workspace that it asks for; one that asks for none, if its token has no workspace or it counts
/// in some of them. Notes the roles that the token gives.
pub(super) async fn check(api: &Api, caller: &Caller, asked: Option<&WorkspaceId>) -> Result<(), Problem> {
    let roles: Vec<_> = caller.workspaces().take(WORKSPACES_MAX).collect();
    let mut workspaces: Vec<_> = roles.iter().map(|(workspace, _)| *workspace).collect();
    // Who has no role there is told that there is no such workspace: what ended in it is not theirs to hear.
    let asked = asked.filter(|asked| caller.workspaces().any(|(workspace, _)| workspace == *asked));
    workspaces.extend(asked.filter(|asked| !workspaces.contains(asked)));
    if workspaces.is_empty() {
        return Ok(());
    }
    let remembered = match api.policy().admin().remembered(&caller.user, &workspaces).await {
        Ok(remembered) => remembered,
        // What is about no workspace shows what the token says, and nothing else.
        Err(_) if asked.is_none() => return Ok(()),
        Err(unavailable) => return Err(unavailable.into()),
    };
    let is_over = |one: &Remembered| one.not_before.is_some_and(|not_before| caller.issued_at < not_before);
    let mut named =
        workspaces.iter().zip(&remembered).filter(|(workspace, _)| asked.is_none_or(|one| one == **workspace));
    // An operator speaks for upstream: what ended where they are a member, too, is not what they are asked as.
    let speaks_for_upstream = asked.is_none() && caller.operator;
    if !speaks_for_upstream && named.all(|(_, one)| is_over(one)) {
        return Err(counted(Refusal::SessionEnded).into());
    }
    for ((workspace, role), one) in roles.iter().zip(&remembered) {
        let known = one.role.is_some_and(|(known, at)| {
            caller.issued_at < at || known == *role && caller.issued_at.since(at) < NOTED_FOR
        });
        if known || is_over(one) {
            continue;
        }
        let person = Person { workspace: (*workspace).clone(), user: caller.user.clone() };
        if let Err(unavailable) = api.policy().admin().note_role(&person, *role, caller.issued_at).await {
            tracing::debug!(%unavailable, "a role was not noted");
        }
    }
    Ok(())
}
