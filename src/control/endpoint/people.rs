//! The people of a workspace: whom an admin looks for before helping them.
use axum::Json;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::auth::{Action, Member, Target};
use crate::control::problem::Problem;
use crate::control::state::Api;
use crate::control::view::Moment;
use crate::event::UserId;
use crate::people::{PAGE_MAX, PersonCursor, Place as _, Role};
use crate::store::KnownPerson;

/// A part of a workspace's people.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct People {
    /// In the order of their ids.
    people: Vec<KnownUser>,
    /// What `after` is to be for the people after these; null after the last.
    #[schema(required)]
    next: Option<String>,
}

/// Somebody of the workspace: who signed in, has a device, or chose something.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct KnownUser {
    /// The person's id.
    user: String,
    /// Their role as of their last sign-in; absent if they never signed in: then they count as a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    /// When that sign-in's token was issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_in_at: Option<Moment>,
    /// How many devices they have.
    phones: u64,
    /// How many of these may approve.
    approvers: u64,
    /// When an app of theirs reported last; absent where pushes have nowhere to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<Moment>,
}

impl From<KnownPerson> for KnownUser {
    fn from(known: KnownPerson) -> Self {
        let KnownPerson { user, role, phones, approvers, last_seen } = known;
        let (role, signed_in_at) = role.unzip();
        Self {
            user: user.as_str().to_owned(),
            role,
            signed_in_at: signed_in_at.map(Moment),
            phones,
            approvers,
            last_seen: last_seen.map(Moment),
        }
    }
}

/// Which of them are asked for.
pub(in crate::control) struct Which {
    starts_with: String,
    after: Option<PersonCursor>,
    limit: usize,
}

#[derive(Deserialize)]
struct WhichQuery {
    starts_with: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

impl<S: Send + Sync> FromRequestParts<S> for Which {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let wrong = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, "wrong-page", "Wrong page", detail);
        let range = || wrong(&format!("limit must be a number from 1 to {PAGE_MAX}."));
        let Query(query) = Query::<WhichQuery>::from_request_parts(parts, state).await.map_err(|_| range())?;
        let limit = query.limit.unwrap_or(PersonCursor::PAGE);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(range());
        }
        let starts_with = query.starts_with.unwrap_or_default();
        if !starts_with.is_empty() && UserId::new(starts_with.as_str()).is_err() {
            return Err(wrong(
                "starts_with must be how an id begins: 1 to 128 printable ASCII characters without a space.",
            ));
        }
        let after = query.after.map(|text| PersonCursor::read(&text).ok_or(())).transpose();
        let after = after.map_err(|()| {
            wrong("after must be what next was on the page before. Leave it out to begin at the first.")
        })?;
        Ok(Self { starts_with, after, limit })
    }
}

/// List a workspace's people
///
/// Who signed in, has a device, or chose something, page by page in the order of their ids; whoever was only ever named by an event is not
/// here. With `starts_with` only those whose ids begin so, capital letters being other ones. For owners, super admins and admins.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/users", tag = "People",
    params(("starts_with" = Option<String>, Query, description = "How the ids begin, percent-encoded; without it everybody comes."),
        ("after" = Option<String>, Query, description = "What `next` was on the page before; without it the first ones come."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "People at most; 50 without it.")),
    responses((status = 200, description = "A page of them.", body = People)))]
pub(in crate::control) async fn people(
    State(api): State<Api>,
    member: Member,
    Which { starts_with, after, limit }: Which,
) -> Result<Json<People>, Problem> {
    member.require(Action::ListPeople, Target::Workspace)?;
    let page = api.policy().admin().people(&member.workspace, &starts_with, after.as_ref(), limit).await?;
    let next = page.next.as_ref().map(PersonCursor::to_text);
    Ok(Json(People { people: page.items.into_iter().map(KnownUser::from).collect(), next }))
}
