//! Whom notifications reach: what admins look at before they enforce a type, and whom to help.
use axum::Json;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::auth::{Action, Member, Target};
use crate::control::input::{Named, kind};
use crate::control::problem::Problem;
use crate::control::reach::Counted;
use crate::control::state::Api;
use crate::control::view::Moment;
use crate::event::{NotificationType, UserId};
use crate::people::PAGE_MAX;
use crate::people::enrolment::Unreached;
use crate::policy::Setting;
use crate::store;

/// People of a page if nothing else is asked for.
const PAGE: usize = 50;

/// How many people each type reaches.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Reach {
    /// People of the workspace: those who signed in or have a device.
    people: u64,
    /// One for each type.
    types: Vec<ReachOfType>,
    /// When they were counted. They are counted anew after ten times as long as that took: at once in a workspace of hundreds, after half a
    /// minute in one of a hundred thousand.
    counted_at: Moment,
}

/// How many people a type reaches.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct ReachOfType {
    /// The type.
    r#type: NotificationType,
    /// What the workspace set for it.
    setting: Setting,
    /// People whom it reaches.
    reached: u64,
    /// People whom it does not reach, each counted under what has to be mended first.
    not_reached: NotReached,
}

/// People whom a type does not reach.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct NotReached {
    /// They have no phone to which a push could go.
    no_phone: u64,
    /// Their phones' systems show no notifications of the app.
    notifications_off: u64,
    /// No push is known to reach any of their phones: none ever did, or the providers took the phones' tokens back.
    not_reachable: u64,
    /// It awaits an answer, and none of their phones that a push could go to may approve.
    cannot_approve: u64,
    /// The workspace disabled it, they turned it off, or their phones are quiet.
    suppressed: u64,
}

impl From<Counted> for Reach {
    fn from(Counted { reach, at, .. }: Counted) -> Self {
        let of_type = |of: store::ReachOfType| {
            let [no_phone, notifications_off, not_reachable, cannot_approve, suppressed] = of.unreached;
            let not_reached = NotReached { no_phone, notifications_off, not_reachable, cannot_approve, suppressed };
            ReachOfType { r#type: of.kind, setting: of.setting, reached: of.reached, not_reached }
        };
        Self { people: reach.people, types: reach.types.into_iter().map(of_type).collect(), counted_at: Moment(at) }
    }
}

/// A part of those whom a type does not reach.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct UnreachedPage {
    /// In the order of their ids. There may be none on a page that has another one after it.
    people: Vec<UnreachedPerson>,
    /// What `after` is to be for the people after these; null after the last.
    #[schema(required)]
    next: Option<String>,
}

/// Somebody whom a type does not reach.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct UnreachedPerson {
    /// The person's id.
    user: String,
    /// What has to be mended first.
    #[schema(value_type = Unreached)]
    reason: &'static str,
    /// Of somebody who is `not_reachable`: since when, which is when the last of their phones' tokens died; absent if no phone of theirs was
    /// ever lost in that way.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable_since: Option<Moment>,
    /// When an app of theirs reported last; absent where pushes have nowhere to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<Moment>,
}

/// Which of them are asked for.
pub(in crate::control) struct Which {
    only: Option<Unreached>,
    after: Option<UserId>,
    limit: usize,
}

#[derive(Deserialize)]
struct WhichQuery {
    reason: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

impl<S: Send + Sync> FromRequestParts<S> for Which {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let wrong = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "wrong-page", "Wrong page", detail);
        let range = || wrong(format!("limit must be a number from 1 to {PAGE_MAX}."));
        let Query(query) = Query::<WhichQuery>::from_request_parts(parts, state).await.map_err(|_| range())?;
        let limit = query.limit.unwrap_or(PAGE);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(range());
        }
        let only = query.reason.map(|name| Unreached::from_name(&name).ok_or(())).transpose();
        let only = only.map_err(|()| {
            let known = Unreached::ALL.map(Unreached::name).join(", ");
            wrong(format!("reason must be one of {known}, or be left out."))
        })?;
        let after = query.after.map(UserId::new).transpose();
        let after = after.map_err(|_| {
            wrong("after must be what next was on the page before. Leave it out to begin at the first.".to_owned())
        })?;
        Ok(Self { only, after, limit })
    }
}

/// See whom notifications reach
///
/// For each type how many people it reaches, and how many it does not and why: before it is enforced, or after. Counting reads everybody; where
/// that takes longer than two seconds the answer is 503 with `Retry-After`, and the count is there for who asks then. For owners, super admins
/// and admins.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/reach", tag = "Settings",
    responses((status = 200, description = "How many people each type reaches.", body = Reach)))]
pub(in crate::control) async fn reach(State(api): State<Api>, member: Member) -> Result<Json<Reach>, Problem> {
    member.require(Action::ReadReach, Target::Workspace)?;
    let counted = api.counts().of(&api, &member.workspace).await?;
    Ok(Json(counted.into()))
}

/// List whom a type does not reach
///
/// Each with what has to be mended first, page by page in the order of their ids. For owners, super admins and admins.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/reach/{type}", tag = "Settings",
    params(("reason" = Option<Unreached>, Query, description = "Only those with this reason."),
        ("after" = Option<String>, Query, description = "What `next` was on the page before; without it the first ones come."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "People at most; 50 without it.")),
    responses((status = 200, description = "A page of them.", body = UnreachedPage)))]
pub(in crate::control) async fn unreached(
    State(api): State<Api>,
    member: Member,
    Named((_, type_name)): Named<(String, String)>,
    Which { only, after, limit }: Which,
) -> Result<Json<UnreachedPage>, Problem> {
    member.require(Action::ReadReach, Target::Workspace)?;
    let kind = kind(&type_name)?;
    let _turn = api.counts().look(&member.workspace).await?;
    let (found, next) = api.policy().admin().unreached((&member.workspace, kind), only, after, limit).await?;
    let shown = |person: store::UnreachedPerson| UnreachedPerson {
        user: person.user.as_str().to_owned(),
        reason: person.why.name(),
        unreachable_since: person.unreachable_since.map(Moment),
        last_seen: person.last_seen.map(Moment),
    };
    let next = next.map(|user| user.as_str().to_owned());
    Ok(Json(UnreachedPage { people: found.into_iter().map(shown).collect(), next }))
}
