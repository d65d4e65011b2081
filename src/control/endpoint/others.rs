//! Other people's devices, for whoever helps them: see, remove, reset, and issue the ticket by which a new phone may approve; and how a
//! person takes their own out of use.
//!
//! The point: whoever has an old session of somebody must not leave them without a phone that may approve. So of oneself that has to be
//! meant, and a sign-in that is not fresh cannot mean it.
use axum::Json;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::devices::{Devices, listed, seen};
use super::erasure::{is_fresh, not_fresh};
use super::{actor, person};
use crate::control::auth::{Action, Caller, Member, Refusal, Target};
use crate::control::condition::{IfMatch, IfNoneMatch, Tag};
use crate::control::input::{Named, device, user};
use crate::control::problem::Problem;
use crate::control::state::Api;
use crate::control::view::{Moment, announced_within_s};
use crate::event::WorkspaceId;
use crate::people::enrolment::ChangeRefusal;
use crate::people::{Actor, ActorRole, Person, Role};
use crate::store::Failure;

/// Whether a phone is meant to go even where it is the last one that may approve.
pub(in crate::control) struct EvenTheLast(bool);

#[derive(Deserialize)]
struct RemovalQuery {
    #[serde(default)]
    even_the_last: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for EvenTheLast {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<RemovalQuery>::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query.even_the_last)).map_err(|_| {
            let detail = "even_the_last must be true or false.";
            Problem::new(StatusCode::BAD_REQUEST, "wrong-query", "Wrong query", detail)
        })
    }
}

/// Who calls, in the workspace of the address.
struct Asking<'a> {
    caller: &'a Caller,
    member: &'a Member,
}

impl Asking<'_> {
    /// Whether the last phone that may approve goes, if they say that it is meant.
    fn may_mean(&self, api: &Api, person: &Person) -> bool {
        person.user != self.member.user || is_fresh(api, self.caller)
    }

    /// What they are told who `meant` it and may not.
    fn told(&self, meant: bool, refused: Failure<ChangeRefusal>) -> Problem {
        match refused {
            Failure::Refused(ChangeRefusal::LastApprover) if meant => {
                not_fresh(self.caller, "somebody who administers the workspace")
            }
            Failure::Refused(_) | Failure::Unavailable(_) => refused.into(),
        }
    }
}

/// A device was removed.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct DeviceRemoved {
    /// How many phones of the person's that pushes go to may still approve.
    approvers_left: u32,
    /// Seconds after which it rings nowhere any more at the latest; 0: within milliseconds.
    in_force_within_s: u32,
}

/// Every device of a person was retired.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct PersonReset {
    /// The devices that were retired.
    devices: Vec<String>,
    /// Seconds after which they ring nowhere any more at the latest; 0: within milliseconds.
    in_force_within_s: u32,
}

/// A ticket.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Ticket {
    /// What the person's app redeems; show it to them alone, as a QR code.
    ticket: String,
    /// From then on it counts no more.
    expires_at: Moment,
}

/// Whom it concerns, and whether the caller may.
pub(super) async fn whom(api: &Api, member: &Member, action: Action, id: &str) -> Result<Person, Problem> {
    let person = Person { workspace: member.workspace.clone(), user: user(id)? };
    let target = if person.user == member.user {
        Target::Oneself
    } else {
        Target::another(api.policy().admin().known_role(&person).await?)
    };
    member.require(action, target)?;
    Ok(person)
}

async fn remove_of(
    api: &Api,
    asking: &Asking<'_>,
    (person, id): (&Person, &str),
    if_match: &IfMatch,
    meant: bool,
) -> Result<Response, Problem> {
    let (device, member) = (device(id)?, asking.member);
    let expected = seen(api, person, if_match).await?;
    let by = (person.user != member.user).then(|| actor(member));
    let how = (meant && asking.may_mean(api, person), expected);
    let removed = api.policy().devices().remove(person, &device, by.as_ref(), how, api.now()).await;
    let removed = removed.map_err(|refused| asking.told(meant, refused))?;
    api.courier().tell(person, &removed.notice, removed.told.into_iter().collect());
    let in_force_within_s = announced_within_s(removed.announced, api.ttl_s());
    let answer = DeviceRemoved { approvers_left: removed.approvers_left, in_force_within_s };
    Ok(Tag::of_devices(person, removed.version).on(Json(answer)))
}

/// Remove a device of yours
///
/// It rings and answers no more, and its key never counts again. The last phone that may approve goes only with `even_the_last=true`, and
/// with a sign-in as fresh as `api.devices.sign_in_max_age_s` says (the token's `auth_time`): otherwise 403 `sign-in-too-old`.
#[utoipa::path(delete, path = "/v1/workspaces/{workspace}/me/devices/{device}", tag = "Devices",
    params(("even_the_last" = Option<bool>, Query, description = "True, if it is meant to go even where it is the last phone that may approve."),
        IfMatch),
    responses((status = 200, description = "It is gone.", body = DeviceRemoved),
        (status = 409, description = "It is the last phone that may approve.")))]
pub(in crate::control) async fn remove_own(
    State(api): State<Api>,
    member: Member,
    caller: Caller,
    Named((_, id)): Named<(String, String)>,
    EvenTheLast(meant): EvenTheLast,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    member.require(Action::RemoveDevice, Target::Oneself)?;
    let asking = Asking { caller: &caller, member: &member };
    remove_of(&api, &asking, (&person(&member), &id), &if_match, meant).await
}

/// List a person's devices
///
/// What they see themselves. For admins of users, for super admins of everybody but owners, and for owners.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/users/{user}/devices", tag = "People",
    params(IfNoneMatch),
    responses((status = 200, description = "Their devices.", body = Devices)))]
pub(in crate::control) async fn devices_of(
    State(api): State<Api>,
    member: Member,
    Named((_, id)): Named<(String, String)>,
    if_none_match: IfNoneMatch,
) -> Result<Response, Problem> {
    let person = whom(&api, &member, Action::RemoveDevice, &id).await?;
    let (tag, _, devices) = listed(&api, &person).await?;
    Ok(if_none_match.show(&tag, Json(Devices { devices })))
}

/// Remove a person's device
///
/// As they could themselves; the audit trail says who did. The last phone that may approve goes only with `even_the_last=true`, one's own
/// also only with a fresh sign-in.
#[utoipa::path(delete, path = "/v1/workspaces/{workspace}/users/{user}/devices/{device}", tag = "People",
    params(("even_the_last" = Option<bool>, Query, description = "True, if it is meant to go even where it is the last phone that may approve."),
        IfMatch),
    responses((status = 200, description = "It is gone.", body = DeviceRemoved),
        (status = 409, description = "It is the last phone that may approve.")))]
pub(in crate::control) async fn remove_of_another(
    State(api): State<Api>,
    member: Member,
    caller: Caller,
    Named((_, user, id)): Named<(String, String, String)>,
    EvenTheLast(meant): EvenTheLast,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let person = whom(&api, &member, Action::RemoveDevice, &user).await?;
    let asking = Asking { caller: &caller, member: &member };
    remove_of(&api, &asking, (&person, &id), &if_match, meant).await
}

/// Retire all devices of a person
///
/// For a lost phone, or a stolen session: every key is retired and nothing is enrolled. A new phone needs a ticket, or a sign-in that cannot
/// be phished. The audit trail says who did. Of yourself phones that may approve go only with `even_the_last=true`, and with a sign-in as
/// fresh as `api.devices.sign_in_max_age_s` says (the token's `auth_time`): otherwise 403 `sign-in-too-old`. `If-Match` takes the tag of
/// their devices.
#[utoipa::path(post, path = "/v1/workspaces/{workspace}/users/{user}/devices/reset", tag = "People",
    params(("even_the_last" = Option<bool>, Query, description = "True, if you mean to be left without a phone that may approve."), IfMatch),
    responses((status = 200, description = "No device of theirs answers any more.", body = PersonReset),
        (status = 409, description = "They are your own, and one of them may approve.")))]
pub(in crate::control) async fn reset(
    State(api): State<Api>,
    member: Member,
    caller: Caller,
    Named((_, id)): Named<(String, String)>,
    EvenTheLast(meant): EvenTheLast,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let person = whom(&api, &member, Action::ResetDevices, &id).await?;
    let asking = Asking { caller: &caller, member: &member };
    let expected = seen(&api, &person, &if_match).await?;
    let how = (meant && asking.may_mean(&api, &person), expected);
    let reset = api.policy().devices().reset(&person, &actor(&member), how, api.now()).await;
    let reset = reset.map_err(|refused| asking.told(meant, refused))?;
    api.courier().tell(&person, &reset.notice, reset.told);
    let devices = reset.devices.iter().map(|device| device.as_str().to_owned()).collect();
    let answer = PersonReset { devices, in_force_within_s: announced_within_s(reset.announced, api.ttl_s()) };
    Ok(Tag::of_devices(&person, reset.version).on(Json(answer)))
}

/// Issue a ticket
///
/// Good for one phone of that person, for ten minutes, together with their own sign-in. Those before count no more. Nobody issues one to
/// themselves. Operators may for anybody, in any workspace, which is what upstream's own service is. The audit trail says who did. `If-Match`
/// takes the tag of their devices, so that nobody issues one to somebody who has a new phone already.
#[utoipa::path(post, path = "/v1/workspaces/{workspace}/users/{user}/tickets", tag = "People",
    params(IfMatch),
    responses((status = 200, description = "The ticket.", body = Ticket)))]
pub(in crate::control) async fn ticket(
    State(api): State<Api>,
    caller: Caller,
    Named((workspace, id)): Named<(String, String)>,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let workspace = WorkspaceId::new(workspace).map_err(|_| Refusal::NoWorkspace)?;
    let (person, by) = if caller.operator {
        let person = Person { workspace, user: user(&id)? };
        if person.user == caller.user {
            let (role, action) = (Role::User, Action::IssueTicket);
            return Err(Refusal::NotAllowed { role, action, target: Target::Oneself }.into());
        }
        (person, Actor { id: caller.user, role: ActorRole::Operator })
    } else {
        let member = caller.in_workspace(&workspace)?;
        (whom(&api, &member, Action::IssueTicket, &id).await?, actor(&member))
    };
    let expected = seen(&api, &person, &if_match).await?;
    let (issued, version) = api.policy().devices().ticket(&person, &by, expected, api.now()).await?;
    let answer = Ticket { ticket: issued.expose().to_owned(), expires_at: Moment(issued.expires_at) };
    Ok(Tag::of_devices(&person, version).on(Json(answer)))
}
