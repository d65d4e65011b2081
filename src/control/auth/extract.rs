//! For handlers: `Caller` for who calls, `Member` for the same in the workspace of the path's `{workspace}`.
//!
//! The token comes in `Authorization: Bearer` and nowhere else (RFC 6750 §2.1). It is verified once for a request, however many
//! extractors ask.
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, RawPathParams};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::{Authenticator, Caller, Member, Refusal};
use crate::control::input::not_found;
use crate::control::problem::Problem;
use crate::event::WorkspaceId;

impl<S> FromRequestParts<S> for Caller
where
    Arc<Authenticator>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(caller.clone());
        }
        let token = bearer(parts)?;
        let caller = Arc::<Authenticator>::from_ref(state).authenticate(token).await?;
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}

impl<S> FromRequestParts<S> for Member
where
    Arc<Authenticator>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let path = RawPathParams::from_request_parts(parts, state).await.map_err(|_| not_an_address())?;
        // What is no id is no workspace of anybody's.
        let named = path.iter().find_map(|(name, value)| (name == "workspace").then_some(value));
        let workspace = named.and_then(|id| WorkspaceId::new(id).ok()).ok_or(Refusal::NoWorkspace)?;
        Ok(caller.in_workspace(&workspace)?)
    }
}

fn not_an_address() -> Problem {
    not_found("no-such-address", "There is no such address: what is percent-encoded in it is not UTF-8.")
}

fn bearer(parts: &Parts) -> Result<&str, Refusal> {
    let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
    let header = match (headers.next(), headers.next()) {
        (None, _) => return Err(Refusal::NoToken),
        (Some(header), None) => header.to_str().map_err(|_| Refusal::NotAToken)?,
        (Some(_), Some(_)) => return Err(Refusal::NotAToken),
    };
    let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::NoToken);
    }
    Ok(token.trim_matches(' '))
}
