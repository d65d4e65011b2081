//! What a phone does about requests, with its key alone: read what is pending, read one, answer it, and say what it showed.
//!
//! The point: an answer that counted is published as it was signed, so whoever reads it may show it here again, as often as they like. What
//! can still be answered was answered by nobody yet, so an answer to it comes from its phone and takes the phone's room; any other takes
//! room of its own, and leaves the phone its own. It deliberately makes no difference between the phone, which asks again whether its
//! answer was published, and who read it. Price: one more read an answer, before its room is taken.
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::phone::{SignedText, Stated, stated};
use super::requests::{Pending, Request, not_yet, of_type, tag};
use crate::control::condition::IfNoneMatch;
use crate::control::gate::take_room;
use crate::control::input::{Body, Named, Part, event};
use crate::control::phone::{Phone, statement_refused, take_room_of};
use crate::control::problem::Problem;
use crate::control::rate::RateKey;
use crate::control::state::Api;
use crate::control::view::Moment;
use crate::event::{NotificationType, WorkspaceId};
use crate::people::signed::SignedAnswer;
use crate::people::{AnswerRefusal, PendingCursor, RequestId, Verb};
use crate::store::Keyed;

/// An answer that counts.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Answered {
    /// What was answered.
    verb: Verb,
    /// Unique; upstream hears of it under this name.
    decision: String,
    /// When, by the service's clock.
    at: Moment,
    /// Whether upstream's log has it. If not it is recorded, and upstream will hear of it.
    published: bool,
}

/// What was shown.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct Seen {
    /// At most 50.
    shown: Vec<Shown>,
}

/// One notification that was shown.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct Shown {
    /// Its type.
    r#type: NotificationType,
    /// Its event's id.
    event: String,
}

/// What was written down.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct SeenTaken {
    /// How many. A phone is believed a thousand in a day; what is more is left out, and what was never sent to it is told nobody.
    taken: usize,
}

/// Most that one receipt names: what a phone shows while it has no network.
const SHOWN_MAX: usize = 50;

/// Read what awaits an answer, on a phone
///
/// Open requests of the phone's person, newest first, page by page. What was kept from ringing is here too.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/phone/requests", tag = "Phones", security(("proof" = [])),
    params(("before" = Option<String>, Query, description = "What `next` was on the page before; without it the newest requests come."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Requests at most; 200 without it.")),
    responses((status = 200, description = "What is pending.", body = Pending)))]
pub(in crate::control) async fn phone_pending(
    State(api): State<Api>,
    phone: Phone,
    part: Part<PendingCursor>,
) -> Result<Json<Pending>, Problem> {
    let requests = api.policy().requests();
    let page = requests.pending(&phone.person, part.before.as_ref(), part.limit, api.now()).await?;
    Ok(Json(page.into()))
}

/// Read one request, on a phone
///
/// What a push leaves out: which application, where, on which device. One whose event has not been read yet is answered 503.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/phone/requests/{type}/{event}", tag = "Phones", security(("proof" = [])),
    params(IfNoneMatch),
    responses((status = 200, description = "The request.", body = Request)))]
pub(in crate::control) async fn phone_request(
    State(api): State<Api>,
    phone: Phone,
    Named((_, type_name, event_id)): Named<(String, String, String)>,
    if_none_match: IfNoneMatch,
) -> Result<Response, Problem> {
    let id = RequestId { person: phone.person, kind: of_type(&type_name)?, event: event(&event_id)? };
    let found = api.policy().requests().request(&id).await?.ok_or_else(not_yet)?;
    Ok(if_none_match.show(&tag(&found), Json(Request::from(found))))
}

/// Answer a request
///
/// A statement (`watchbell-decision+jwt`) by the phone's key, which says all that it means; it needs no proof besides. The first answer
/// stands. The same from the same phone, whatever its bytes, gets the same answer again; any other is told which device answered what (`device`, `device_name`,
/// `verb`) and when (`at`).
/// 202: it is recorded, and upstream's log does not have it yet; ask again if you want to know. There is no `If-Match`: the statement names
/// what was shown, and counts for that alone.
#[utoipa::path(post, path = "/v1/workspaces/{workspace}/phone/requests/{type}/{event}/answer", tag = "Phones", security(()),
    request_body = SignedText,
    responses((status = 200, description = "Upstream's log has the answer.", body = Answered),
        (status = 202, description = "The answer is recorded, and upstream will hear of it.", body = Answered),
        (status = 409, description = "It was answered otherwise, it is over, or the number is missing or wrong.")))]
pub(in crate::control) async fn answer(
    State(api): State<Api>,
    Named((workspace, type_name, event_id)): Named<(String, String, String)>,
    Body(SignedText { jws }): Body<SignedText>,
) -> Result<Response, Problem> {
    let (kind, event) = (of_type(&type_name)?, event(&event_id)?);
    let workspace = WorkspaceId::new(workspace).map_err(|_| Problem::from(AnswerRefusal::UnknownDevice))?;
    let stated = stated::<SignedAnswer>(&api, &workspace, &jws).await?;
    if is_open(&api, &stated).await? {
        take_room_of(&api, &stated.keyed)?;
    } else {
        let Keyed { person, device, .. } = &stated.keyed;
        take_room(&api, &RateKey::ShownAgain(person.clone(), device.clone()))?;
    }
    let (signed, keyed) = stated.believe()?;
    let answer = signed.answer_to(&RequestId { person: keyed.person, kind, event }).map_err(statement_refused)?;
    let answered = api.policy().requests().decide(&answer, api.now()).await?;
    let wait = api.config().devices.answer_wait();
    // That the store cannot be asked now does not undo what it recorded.
    let published = api.policy().outbox().published(answered.outbox, wait).await.unwrap_or(false);
    let status = if published { StatusCode::OK } else { StatusCode::ACCEPTED };
    let decision = answered.decision;
    let body = Answered { verb: decision.verb, decision: decision.id, at: Moment(decision.at), published };
    Ok((status, Json(body)).into_response())
}

/// Whether it is an answer by a phone in use to a request of its own person's that nobody answered and nothing ended yet.
async fn is_open(api: &Api, Stated { verified, keyed }: &Stated<SignedAnswer>) -> Result<bool, Problem> {
    let Ok(signed) = verified else { return Ok(false) };
    let about = signed.says.request();
    if keyed.enrolled.retired || about.person != keyed.person {
        return Ok(false);
    }
    Ok(api.policy().requests().request(about).await?.is_some_and(|request| request.ending.is_none()))
}

/// Say what was shown
///
/// Best effort, in batches: the person sees it in what happened lately, and operators how long it takes from a provider to a screen.
#[utoipa::path(post, path = "/v1/workspaces/{workspace}/phone/seen", tag = "Phones", security(("proof" = [])),
    request_body = Seen,
    responses((status = 200, description = "It is written down.", body = SeenTaken)))]
pub(in crate::control) async fn seen(
    State(api): State<Api>,
    phone: Phone,
    Body(Seen { shown }): Body<Seen>,
) -> Result<Json<SeenTaken>, Problem> {
    if shown.len() > SHOWN_MAX {
        let detail = format!("A receipt names at most {SHOWN_MAX} notifications.");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-body", "Wrong body", detail));
    }
    let (requests, now) = (api.policy().requests(), api.now());
    let named = shown.iter().map(|one| Ok((one.r#type, event(&one.event)?)));
    let named = named.collect::<Result<Vec<_>, Problem>>()?;
    let marked = requests.seen(&phone.person, &phone.device, &named, now).await?;
    Ok(Json(SeenTaken { taken: shown.len() - marked.too_many }))
}
