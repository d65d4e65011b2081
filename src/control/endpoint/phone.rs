//! What a phone does with its key alone: report, be reached, show digits, vouch for another phone, roll its key.
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::devices::{Promoted, Reported, seen};
use crate::control::condition::{IfMatch, Tag};
use crate::control::courier::carry;
use crate::control::input::{Body, Named};
use crate::control::phone::{Carried, Phone, is_its_own, named, statement_refused, take_room_of};
use crate::control::problem::Problem;
use crate::control::state::Api;
use crate::control::view::{Moment, announced_within_s};
use crate::event::WorkspaceId;
use crate::people::enrolment::RollRefusal;
use crate::people::signed::{self, Flaw, Signed, Statement, Unchecked};
use crate::people::{AnswerRefusal, DeviceState};
use crate::store::{Keyed, PromotedBy};

/// The phone after its report.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct ReportTaken {
    /// What it may do.
    state: DeviceState,
    /// Whether a push with a nonce is on its way, which the app sends back.
    reach: bool,
    /// Seconds after which the change is in force everywhere at the latest; 0: it is, within milliseconds.
    in_force_within_s: u32,
}

/// A push is on its way.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct OnItsWay {
    /// From then on its nonce counts no more.
    expires_at: Moment,
}

/// What a push brought.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct Nonce {
    /// The nonce.
    nonce: String,
}

/// A phone that pushes reach.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Reached {
    /// What it may do.
    state: DeviceState,
    /// Devices whose place it took: the app was installed anew. They answer nothing any more.
    replaced: Vec<String>,
}

/// Digits to show.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Digits {
    /// Six of them: the person types them on a phone that may approve already.
    digits: String,
    /// From then on they count no more.
    expires_at: Moment,
}

/// Something that was signed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct SignedText {
    /// A JWS in compact form.
    pub(super) jws: String,
}

/// A key was rolled.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct KeyRolled {
    /// RFC 7638 thumbprint of the key that counts now.
    thumbprint: String,
}

/// A statement that a phone's key made, whatever else is wrong with either.
pub(super) struct Stated<S> {
    pub(super) verified: Result<Signed<S>, Flaw>,
    pub(super) keyed: Keyed,
}

impl<S> Stated<S> {
    /// Believes it, if the phone is in use.
    pub(super) fn believe(self) -> Result<(Signed<S>, Keyed), Problem> {
        let Self { verified, keyed } = self;
        match verified {
            Ok(signed) if !keyed.enrolled.retired => Ok((signed, keyed)),
            Ok(_) => Err(AnswerRefusal::UnknownDevice.into()),
            Err(flaw) => Err(refused(&keyed, flaw)),
        }
    }
}

/// Reads a statement and verifies it with the key that the store has. Room for it is the caller's to take.
pub(super) async fn stated<S: Statement>(api: &Api, workspace: &WorkspaceId, jws: &str) -> Result<Stated<S>, Problem> {
    let statement = Unchecked::<S>::read(jws).map_err(statement_refused)?;
    let Some(keyed) = named(api, workspace, statement.device()).await? else {
        api.unproved().count();
        return Err(AnswerRefusal::UnknownDevice.into());
    };
    let verified = statement.verify(&keyed.key, &api.config().devices.public_url);
    if is_its_own(api, &verified) { Ok(Stated { verified, keyed }) } else { Err(refused(&keyed, Flaw::Signature)) }
}

/// Whoever shows a statement of a retired phone's is told no more than of a phone that never was.
fn refused(keyed: &Keyed, flaw: Flaw) -> Problem {
    if keyed.enrolled.retired { AnswerRefusal::UnknownDevice.into() } else { statement_refused(flaw) }
}

/// Report
///
/// Whenever the app starts, and when its token changes: where pushes go, the language, what the system allows. The answer's tag is that of
/// its person's devices and preferences; in `If-Match` of the next report it says that nobody changed any of them meanwhile.
#[utoipa::path(put, path = "/v1/workspaces/{workspace}/phone", tag = "Phones", security(("proof" = [])),
    params(IfMatch),
    request_body = Reported,
    responses((status = 200, description = "It is taken.", body = ReportTaken)))]
pub(in crate::control) async fn report(
    State(api): State<Api>,
    phone: Phone,
    if_match: IfMatch,
    Body(reported): Body<Reported>,
) -> Result<Response, Problem> {
    let Phone { person, device, enrolled, thumbprint } = phone;
    let expected = seen(&api, &person, &if_match).await?;
    let (devices, report) = (api.policy().devices(), reported.into());
    let taken = devices.report(&person, (&device, &thumbprint), &report, expected, api.now()).await?;
    let reach = taken.reach.is_some();
    carry(&api, &person, &device, taken.reach);
    let in_force_within_s = announced_within_s(taken.announced, api.ttl_s());
    Ok(Tag::of_devices(&person, taken.version).on(Json(ReportTaken {
        state: enrolled.state,
        reach,
        in_force_within_s,
    })))
}

/// Ask for a push
///
/// With a nonce, which the app sends back: for a phone that waits for the one before in vain.
#[utoipa::path(post, path = "/v1/workspaces/{workspace}/phone/nonce", tag = "Phones", security(("proof" = [])),
    responses((status = 200, description = "It is on its way.", body = OnItsWay),
        (status = 409, description = "The phone has no push token.")))]
pub(in crate::control) async fn nonce(State(api): State<Api>, phone: Phone) -> Result<Json<OnItsWay>, Problem> {
    let Phone { person, device, thumbprint, .. } = phone;
    let push = api.policy().devices().nonce(&person, &device, &thumbprint, api.now()).await?;
    let expires_at = Moment(push.nonce.expires_at);
    carry(&api, &person, &device, Some(push));
    Ok(Json(OnItsWay { expires_at }))
}

/// Send a nonce back
///
/// That pushes reach the phone, and that its token is its own. A token that another device had moves here, and that device answers no more.
#[utoipa::path(post, path = "/v1/workspaces/{workspace}/phone/reached", tag = "Phones", security(("proof" = [])),
    request_body = Nonce,
    responses((status = 200, description = "Pushes reach the phone.", body = Reached),
        (status = 409, description = "The nonce does not count.")))]
pub(in crate::control) async fn reached(
    State(api): State<Api>,
    phone: Phone,
    Body(Nonce { nonce }): Body<Nonce>,
) -> Result<Json<Reached>, Problem> {
    let Phone { person, device, enrolled, thumbprint } = phone;
    let reached = api.policy().devices().reached(&person, &device, &thumbprint, &nonce, api.now()).await?;
    for (notice, told) in reached.told {
        api.courier().tell(&person, &notice, vec![told]);
    }
    let replaced = reached.replaced.iter().map(|device| device.as_str().to_owned()).collect();
    Ok(Json(Reached { state: enrolled.state, replaced }))
}

/// Ask for digits to show
///
/// On a new phone: its person types them on one that may approve already. Those before count no more.
#[utoipa::path(post, path = "/v1/workspaces/{workspace}/phone/digits", tag = "Phones", security(("proof" = [])),
    responses((status = 200, description = "What to show.", body = Digits)))]
pub(in crate::control) async fn digits(State(api): State<Api>, phone: Phone) -> Result<Json<Digits>, Problem> {
    let Phone { person, device, thumbprint, .. } = phone;
    let digits = api.policy().devices().digits(&person, &device, &thumbprint, api.now()).await?;
    Ok(Json(Digits { digits: digits.number.expose().to_owned(), expires_at: Moment(digits.expires_at) }))
}

/// Let another phone approve
///
/// A statement (`watchbell-promotion+jwt`) by a phone that may approve, with the digits that its person read on the other one. Three wrong
/// ones use them up.
#[utoipa::path(post, path = "/v1/workspaces/{workspace}/phone/promotions", tag = "Phones", security(("proof" = [])),
    request_body = SignedText,
    responses((status = 200, description = "The other phone may approve.", body = Promoted),
        (status = 409, description = "The digits are wrong or do not count, or the other phone was not reached yet.")))]
pub(in crate::control) async fn vouch(
    State(api): State<Api>,
    phone: Phone,
    Body(SignedText { jws }): Body<SignedText>,
) -> Result<Json<Promoted>, Problem> {
    let (word, _) = stated::<signed::Promotion>(&api, &phone.person.workspace, &jws).await?.believe()?;
    if word.device != phone.device || word.says.person != phone.person {
        return Err(statement_refused(signed::Flaw::Subject));
    }
    let (rules, by) = (api.config().devices.rules(), PromotedBy::Approver(&word));
    let promoted =
        api.policy().devices().promote(&phone.person, &word.says.device, by, None, &rules, api.now()).await?;
    Ok(Json(Promoted::by(promoted.way)))
}

/// Roll the key
///
/// A statement (`watchbell-key+jwt`) by the key that counts, with the next one, which makes the request's proof. What the phone may do stays.
#[utoipa::path(post, path = "/v1/workspaces/{workspace}/phone/key", tag = "Phones", security(("proof" = [])),
    params(("DPoP" = String, Header, description = "A proof by the new key, which it carries.")),
    request_body = SignedText,
    responses((status = 200, description = "The new key counts.", body = KeyRolled),
        (status = 409, description = "The new key is not new, or is another one than the proof's.")))]
pub(in crate::control) async fn roll(
    State(api): State<Api>,
    Named(workspace): Named<String>,
    carried: Carried,
    Body(SignedText { jws }): Body<SignedText>,
) -> Result<Json<KeyRolled>, Problem> {
    let unknown = || Problem::from(RollRefusal::UnknownDevice);
    let workspace = WorkspaceId::new(workspace).map_err(|_| unknown())?;
    let stated = stated::<signed::KeyRoll>(&api, &workspace, &jws).await?;
    take_room_of(&api, &stated.keyed)?;
    let (roll, keyed) = stated.believe()?;
    if roll.says.person != keyed.person {
        return Err(statement_refused(Flaw::Subject));
    }
    // Its key may be just made, and anybody's: so it comes after the statement of the key that counts.
    let proof = carried.answering(&api, None).await?;
    api.policy().devices().roll(&roll, &proof, api.now()).await?;
    Ok(Json(KeyRolled { thumbprint: proof.key.thumbprint() }))
}
