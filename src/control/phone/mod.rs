//! Phones that call with their own key: who they are, and that it is them.
//!
//! The point: a phone that is woken in the background has no sign-in, so its key alone says who calls: a proof in the header `DPoP`
//! (RFC 9449), made for this method and address, a moment ago, and used once. [`Phone`] exists only for a proof that held. It deliberately
//! lets no retired phone in, and says nothing of why a phone is not known. [`AnyPhone`] may be retired: a person whose phones were all
//! retired can still say with one of them that it was not them. It fails with 401 and the flaw's name.
pub(super) mod config;
mod refused;

use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

pub(super) use self::refused::statement_refused;

use super::problem::Problem;
use super::rate::RoomOf;
use super::state::Api;
use crate::event::{DeviceId, WorkspaceId};
use crate::people::signed::{Asked, DeviceKey, Flaw, KeyOfProof, Proof, UncheckedProof};
use crate::people::{Enrolled, Person};

/// The header that carries a proof (RFC 9449 §4.1).
pub(super) const PROOF: HeaderName = HeaderName::from_static("dpop");

/// A phone whose proof held.
#[derive(Debug, Clone)]
pub(super) struct Phone {
    pub(super) person: Person,
    pub(super) device: DeviceId,
    pub(super) enrolled: Enrolled,
    /// Of the key with which it signs.
    pub(super) thumbprint: String,
}

/// The same, whether it is retired or not.
#[derive(Debug, Clone)]
pub(super) struct AnyPhone(pub(super) Phone);

/// A proof that held and was never used before, by a key that it carried: of a phone that is to be registered, or that rolls its key.
pub(super) struct NewKey(pub(super) Proof);

/// As [`NewKey`], for a request that answers a challenge, which is not known before its body is read: not yet believed.
pub(super) struct Carried {
    proof: UncheckedProof,
    key: DeviceKey,
    method: String,
    path: String,
}

impl Carried {
    /// Believes it, if it answers the challenge.
    pub(super) async fn answering(self, api: &Api, challenge: &str) -> Result<Proof, Problem> {
        let Self { proof, key, method, path } = self;
        believe(api, proof, &key, (&method, &path), Some(challenge)).await
    }
}

/// Believes a proof once.
async fn believe(
    api: &Api,
    proof: UncheckedProof,
    key: &DeviceKey,
    (method, path): (&str, &str),
    nonce: Option<&str>,
) -> Result<Proof, Problem> {
    let devices = &api.config().devices;
    let url = format!("{}{path}", devices.public_url);
    let asked = Asked { method, url: &url, nonce, now: api.now(), window: devices.proof_window() };
    let proof = proof.verify(key, &asked).map_err(|flaw| bad_proof(api, flaw))?;
    if api.policy().devices().spend(&proof).await? { Ok(proof) } else { Err(used_before()) }
}

fn read(api: &Api, headers: &HeaderMap) -> Result<UncheckedProof, Problem> {
    let mut found = headers.get_all(PROOF).iter();
    let text = match (found.next(), found.next()) {
        (None, _) => return Err(no_proof()),
        (Some(header), None) => header.to_str().map_err(|_| bad_proof(api, Flaw::Malformed))?,
        (Some(_), Some(_)) => return Err(bad_proof(api, Flaw::Malformed)),
    };
    UncheckedProof::read(text).map_err(|flaw| bad_proof(api, flaw))
}

impl FromRequestParts<Api> for Phone {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        if let Some(phone) = parts.extensions.get::<Self>() {
            return Ok(phone.clone());
        }
        let phone = proved(parts, api, |enrolled| !enrolled.retired).await?;
        parts.extensions.insert(phone.clone());
        Ok(phone)
    }
}

impl FromRequestParts<Api> for AnyPhone {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        if let Some(phone) = parts.extensions.get::<Self>() {
            return Ok(phone.clone());
        }
        let phone = Self(proved(parts, api, |_| true).await?);
        parts.extensions.insert(phone.clone());
        Ok(phone)
    }
}

/// The phone whose proof the request carries, if it is `known`.
async fn proved(parts: &mut Parts, api: &Api, known: impl Fn(&Enrolled) -> bool) -> Result<Phone, Problem> {
    let proof = read(api, &parts.headers)?;
    let KeyOfProof::Of(device) = proof.key() else { return Err(bad_proof(api, Flaw::Key)) };
    let path = RawPathParams::from_request_parts(parts, api).await.map_err(|_| unknown_phone())?;
    let named = path.iter().find_map(|(name, value)| (name == "workspace").then_some(value));
    let workspace = named.and_then(|id| WorkspaceId::new(id).ok()).ok_or_else(unknown_phone)?;
    let keyed = api.policy().devices().keyed(&workspace, &device).await?;
    let keyed = keyed.filter(|keyed| known(&keyed.enrolled)).ok_or_else(unknown_phone)?;
    let made_for = (parts.method.as_str(), parts.uri.path());
    let proof = believe(api, proof, &keyed.key, made_for, None).await?;
    let thumbprint = proof.key.thumbprint();
    Ok(Phone { person: keyed.person, device, enrolled: keyed.enrolled, thumbprint })
}

impl FromRequestParts<Api> for Carried {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let proof = read(api, &parts.headers)?;
        let KeyOfProof::Carried(key) = proof.key() else { return Err(bad_proof(api, Flaw::Key)) };
        Ok(Self { proof, key, method: parts.method.as_str().to_owned(), path: parts.uri.path().to_owned() })
    }
}

impl FromRequestParts<Api> for NewKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let Carried { proof, key, method, path } = Carried::from_request_parts(parts, api).await?;
        believe(api, proof, &key, (&method, &path), None).await.map(Self)
    }
}

/// Lets in a phone whose proof holds, and whose person calls no oftener than they may.
pub(super) async fn admit(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let phone = Phone::from_request_parts(&mut parts, &api).await;
    pass(&api, phone, Request::from_parts(parts, body), next).await
}

/// The same, whether it is retired or not.
pub(super) async fn admit_any(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let phone = AnyPhone::from_request_parts(&mut parts, &api).await;
    pass(&api, phone.map(|AnyPhone(phone)| phone), Request::from_parts(parts, body), next).await
}

async fn pass(api: &Api, phone: Result<Phone, Problem>, request: Request, next: Next) -> Response {
    let phone = match phone {
        Ok(phone) => phone,
        Err(problem) => return problem.into_response(),
    };
    match super::gate::room_for(api, &RoomOf::Phone(phone.person, phone.device)) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn no_proof() -> Problem {
    let detail = "This phone did not prove who it is. The app must send a proof by the phone's key.";
    Problem::new(StatusCode::UNAUTHORIZED, "no-proof", "No proof", detail)
}

/// `server_time` lets an app whose phone's clock is wrong mend its next proof.
fn bad_proof(api: &Api, flaw: Flaw) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "bad-proof", "Proof refused", flaw.to_string())
        .with("flaw", flaw.name())
        .with("server_time", api.now().as_secs())
}

fn used_before() -> Problem {
    let detail = "This proof was used before. The app must make a new one for each request.";
    Problem::new(StatusCode::UNAUTHORIZED, "proof-used", "Proof used", detail)
}

/// Whatever the reason: a thief learns nothing of which phones there are.
fn unknown_phone() -> Problem {
    let detail = "This phone is not set up for your account any more. Set it up again.";
    Problem::new(StatusCode::UNAUTHORIZED, "unknown-phone", "Unknown phone", detail)
}
