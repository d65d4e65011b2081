//! What awaits a person's answer, and what happened to their notifications. Answering is the phones'.
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::person;
use crate::control::auth::{Action, Member, Target};
use crate::control::condition::{IfNoneMatch, Tag};
use crate::control::input::{Named, Part, event, kind, not_found, user};
use crate::control::problem::Problem;
use crate::control::state::Api;
use crate::control::view::Moment;
use crate::event::{DeviceId, NotificationType};
use crate::people::{
    self, ClosedReason, Cursor, Decision, Ending, Happening, Page, PendingCursor, Person, RequestId, Verb,
};

/// What awaits your answer.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Pending {
    /// Newest first.
    requests: Vec<Request>,
    /// What `before` is to be for the requests after these; null after the last.
    #[schema(required)]
    next: Option<String>,
}

/// A request for your answer.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Request {
    /// Its type.
    r#type: NotificationType,
    /// The id of the event that asks; with the type it names the request.
    event: String,
    /// When it happened.
    occurred_at: Moment,
    /// Until when it can be answered.
    expires_at: Moment,
    /// Whether approving needs the six digits that the other screen shows.
    number_required: bool,
    /// What to show; absent for one that was cancelled before it was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<RequestDetail>,
    /// How it ended; absent while it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
}

/// What a request is about, as its application told it: names are a stranger's words.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields are those of event.proto, which says what they are")]
pub(in crate::control) enum RequestDetail {
    IdentityVerification {
        application: String,
        reason: String,
        ip_address: String,
        location: String,
        device: String,
        new_location: bool,
        new_device: bool,
    },
    TrustedDevice {
        device_name: String,
        device_kind: String,
        browser: String,
        operating_system: String,
        location: String,
        new_location: bool,
        new_device: bool,
    },
}

/// How a request ended: answered, with a verb and a device, or closed for a reason.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Ended {
    /// When.
    at: Moment,
    /// What was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    verb: Option<Verb>,
    /// The device that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// What you call it, or else its model; absent if neither is known any more.
    #[serde(skip_serializing_if = "String::is_empty")]
    device_name: String,
    /// Why it was closed without an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ClosedReason>)]
    closed: Option<&'static str>,
}

/// A part of what happened.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Recent {
    /// Newest first.
    items: Vec<Activity>,
    /// What `before` is to be for the items after these; null after the last.
    #[schema(required)]
    next: Option<String>,
}

/// Something that happened to a notification. Its contents are not kept.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Activity {
    /// When.
    at: Moment,
    /// What.
    what: Happening,
    /// The notification's type.
    r#type: NotificationType,
    /// The notification's event.
    event: String,
    /// On which device; absent where it concerns none, or all.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// What you call it, or else its model; absent if neither is known any more, and where somebody else reads this.
    #[serde(skip_serializing_if = "String::is_empty")]
    device_name: String,
    /// Why; absent where there is nothing to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

impl From<people::Request> for Request {
    fn from(found: people::Request) -> Self {
        Self {
            r#type: found.id.kind,
            event: found.id.event.as_str().to_owned(),
            occurred_at: Moment(found.occurred_at),
            expires_at: Moment(found.expires_at),
            number_required: found.number_required,
            detail: found.detail.map(RequestDetail::from),
            ended: found.ending.map(|ending| Ended::of(ending, found.device_name)),
        }
    }
}

impl From<Page<people::Request, PendingCursor>> for Pending {
    fn from(page: Page<people::Request, PendingCursor>) -> Self {
        let requests = page.items.into_iter().map(Request::from);
        Self { requests: requests.collect(), next: page.next.as_ref().map(PendingCursor::to_text) }
    }
}

impl From<people::RequestDetail> for RequestDetail {
    fn from(detail: people::RequestDetail) -> Self {
        match detail {
            people::RequestDetail::IdentityVerification {
                application,
                reason,
                ip_address,
                location,
                device,
                new_location,
                new_device,
            } => Self::IdentityVerification {
                application,
                reason,
                ip_address,
                location,
                device,
                new_location,
                new_device,
            },
            people::RequestDetail::TrustedDevice {
                device_name,
                device_kind,
                browser,
                operating_system,
                location,
                new_location,
                new_device,
            } => Self::TrustedDevice {
                device_name,
                device_kind,
                browser,
                operating_system,
                location,
                new_location,
                new_device,
            },
        }
    }
}

impl Ended {
    fn of(ending: Ending, device_name: String) -> Self {
        match ending {
            Ending::Decided(Decision { verb, device, at, .. }) => {
                let device = Some(device.as_str().to_owned());
                Self { at: Moment(at), verb: Some(verb), device, device_name, closed: None }
            }
            Ending::Closed { reason, at } => {
                Self { at: Moment(at), verb: None, device: None, device_name, closed: Some(reason.name()) }
            }
        }
    }
}

impl From<people::Activity> for Activity {
    fn from(activity: people::Activity) -> Self {
        Self {
            at: Moment(activity.at),
            what: activity.what,
            r#type: activity.kind,
            event: activity.event.as_str().to_owned(),
            device: activity.device.as_ref().map(DeviceId::as_str).map(str::to_owned),
            device_name: String::new(),
            reason: activity.reason,
        }
    }
}

impl From<Page<people::Activity>> for Recent {
    fn from(page: Page<people::Activity>) -> Self {
        let items = page.items.into_iter().map(Activity::from);
        Self { items: items.collect(), next: page.next.map(Cursor::to_text) }
    }
}

/// A request changes once in its life, when it ends, and with the name of the phone that ended it. The tag is that of one person's request, and says nothing beside its address.
pub(super) fn tag(request: &people::Request) -> Tag {
    let state = match &request.ending {
        None => "open".to_owned(),
        // The name of the phone that answered is shown, too, and may be changed.
        Some(Ending::Decided(decision)) => format!("decided-{}-{}", decision.id, request.device_name),
        Some(Ending::Closed { reason, .. }) => format!("closed-{}", reason.name()),
    };
    Tag::of(&request.id.person, &state)
}

/// Read what awaits your answer
///
/// Open requests, newest first, page by page. What was kept from ringing is here too.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/me/requests", tag = "Requests",
    params(("before" = Option<String>, Query, description = "What `next` was on the page before; without it the newest requests come."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Requests at most; 200 without it.")),
    responses((status = 200, description = "What is pending.", body = Pending)))]
pub(in crate::control) async fn pending(
    State(api): State<Api>,
    member: Member,
    part: Part<PendingCursor>,
) -> Result<Json<Pending>, Problem> {
    member.require(Action::ReadRequests, Target::Oneself)?;
    let requests = api.policy().requests();
    let page = requests.pending(&person(&member), part.before.as_ref(), part.limit, api.now()).await?;
    Ok(Json(page.into()))
}

/// Read one request
///
/// Open or ended. One whose event has not been read yet is answered 503: ask again after `Retry-After`.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/me/requests/{type}/{event}", tag = "Requests",
    params(IfNoneMatch),
    responses((status = 200, description = "The request.", body = Request)))]
pub(in crate::control) async fn request(
    State(api): State<Api>,
    member: Member,
    Named((_, type_name, event_id)): Named<(String, String, String)>,
    if_none_match: IfNoneMatch,
) -> Result<Response, Problem> {
    member.require(Action::ReadRequests, Target::Oneself)?;
    let id = RequestId { person: person(&member), kind: of_type(&type_name)?, event: event(&event_id)? };
    let Some(found) = api.policy().requests().request(&id).await? else { return Err(not_yet()) };
    Ok(if_none_match.show(&tag(&found), Json(Request::from(found))))
}

/// The type of that name, if it is answered.
pub(super) fn of_type(name: &str) -> Result<NotificationType, Problem> {
    let kind = kind(name)?;
    let informs = "Notifications of this type only inform; there is nothing to answer.";
    if kind.is_actionable() { Ok(kind) } else { Err(not_found("no-such-request", informs)) }
}

/// Nobody can tell a request that is on its way from one that never was.
pub(super) fn not_yet() -> Problem {
    let detail = "This request has not arrived here yet, or there is none. Try again in a moment.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "request-not-here", "Not here yet", detail)
        .with_header(header::RETRY_AFTER, "1")
}

/// Read what happened to your notifications
///
/// Your last 30 days, newest first, page by page: what was delivered, muted, seen, answered, on which device, and why.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/me/recent", tag = "Requests",
    params(("before" = Option<String>, Query, description = "What `next` was on the page before; without it the newest items come."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Items at most; 50 without it.")),
    responses((status = 200, description = "A page of it.", body = Recent)))]
pub(in crate::control) async fn recent(
    State(api): State<Api>,
    member: Member,
    part: Part,
) -> Result<Json<Recent>, Problem> {
    member.require(Action::ReadRequests, Target::Oneself)?;
    let (requests, person) = (api.policy().requests(), person(&member));
    let page = requests.last_days(&person, part.before, part.limit, api.now()).await?;
    let names = requests.device_names(&person).await?;
    let mut recent = Recent::from(page);
    for item in &mut recent.items {
        let device = item.device.as_deref().and_then(|id| DeviceId::new(id).ok());
        item.device_name = device.and_then(|device| names.get(&device).cloned()).unwrap_or_default();
    }
    Ok(Json(recent))
}

/// Read what happened to a person's notifications
///
/// The same of anybody in the workspace, for support: never what they said. For owners, super admins and admins.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/users/{user}/recent", tag = "People",
    params(("before" = Option<String>, Query, description = "What `next` was on the page before; without it the newest items come."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Items at most; 50 without it.")),
    responses((status = 200, description = "A page of it.", body = Recent)))]
pub(in crate::control) async fn activity(
    State(api): State<Api>,
    member: Member,
    Named((_, id)): Named<(String, String)>,
    part: Part,
) -> Result<Json<Recent>, Problem> {
    member.require(Action::ReadActivity, Target::Workspace)?;
    let person = Person { workspace: member.workspace.clone(), user: user(&id)? };
    let page = api.policy().requests().last_days(&person, part.before, part.limit, api.now()).await?;
    Ok(Json(page.into()))
}
