//! Phones that call with their own key: who they are, and that it is them.
//!
//! The point: a phone that is woken in the background has no sign-in, so its key alone says who calls: a proof in the header `DPoP`
//! (RFC 9449), made for this method and address, a moment ago, and used once. [`Phone`] exists only for a proof that held. The order is the
//! point, too: first the signature, then room, and only then is anything written, so that nobody writes who has no key, and no phone more
//! than its room allows. It deliberately lets no retired phone in; one whose key still signs takes its own room, so that apps that go on
//! asking are not taken for people who make up names. [`AnyPhone`] may have been retired within a day, or its person erased: a person whose
//! phones were all taken out of use can still say with one of them that it was not them.
//!
//! It fails with 401. A phone that is unknown, retired or of another workspace gets one answer. A wrong signature in the name of a phone that
//! is there gets another, so that an app can tell a mistake of its own from the end of its enrolment; names are random UUIDs, so whoever
//! learns from this that one exists knew it before.
pub(super) mod config;
mod refused;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

pub(super) use self::refused::{sign_in_too_old, statement_refused};

use super::gate::{busy, take_room};
use super::problem::Problem;
use super::rate::{RateKey, TooManyUnproved};
use super::sessions::workspace_of;
use super::state::Api;
use crate::event::{DeviceId, WorkspaceId};
use crate::people::signed::{Asked, DeviceKey, Flaw, KeyOfProof, Proof, UncheckedProof};
use crate::people::{Enrolled, Person, RETIRED_KEY_LIFE};
use crate::store::Keyed;

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

/// The same, or one that may say that it was not its person, and nothing else.
#[derive(Debug, Clone)]
pub(super) enum AnyPhone {
    /// Of somebody: in use, or retired within [`RETIRED_KEY_LIFE`].
    Known(Phone),
    /// Of somebody who was erased within that time, and who it was is not known.
    Erased { workspace: WorkspaceId, device: DeviceId },
}

/// A proof that a key made which it carries: of a phone that is to be registered, or that rolls its key. Not yet believed: what else speaks
/// for the request stands in its body.
pub(super) struct Carried {
    proof: UncheckedProof,
    key: DeviceKey,
    method: String,
    path: String,
}

impl Carried {
    /// Believes it and uses it up, if it answers the challenge, where there is one. Whoever asks for this was given room before.
    pub(super) async fn answering(self, api: &Api, challenge: Option<&str>) -> Result<Proof, Problem> {
        let Self { proof, key, method, path } = self;
        let proof = verify(api, proof, &key, (&method, &path), challenge).map_err(|flaw| bad_proof(api, flaw))?;
        spend(api, &proof).await?;
        Ok(proof)
    }
}

fn verify(
    api: &Api,
    proof: UncheckedProof,
    key: &DeviceKey,
    (method, path): (&str, &str),
    nonce: Option<&str>,
) -> Result<Proof, Flaw> {
    let devices = &api.config().devices;
    let url = format!("{}{path}", devices.public_url);
    proof.verify(key, &Asked { method, url: &url, nonce, now: api.now(), window: devices.proof_window() })
}

/// A proof counts once. This writes, so it comes after room was taken.
async fn spend(api: &Api, proof: &Proof) -> Result<(), Problem> {
    if api.policy().devices().spend(proof).await? { Ok(()) } else { Err(used_before()) }
}

/// The phone of that name with its key. Names are anybody's to make up, so it is looked for only while few were.
pub(super) async fn named(api: &Api, workspace: &WorkspaceId, device: &DeviceId) -> Result<Option<Keyed>, Problem> {
    api.unproved().admit(workspace, device).map_err(|TooManyUnproved| busy())?;
    Ok(api.policy().devices().keyed(workspace, device).await?)
}

/// Whether a signature that is said to be a phone's was made by its key. One that was not counts among what nobody proved.
pub(super) fn is_its_own<T>(api: &Api, verified: &Result<T, Flaw>) -> bool {
    let is_forged = matches!(verified, Err(Flaw::Signature));
    if is_forged {
        api.unproved().count();
    }
    !is_forged
}

/// Takes the room of a phone that signed for this call, whatever else is wrong with it.
pub(super) fn take_room_of(api: &Api, Keyed { person, device, enrolled, .. }: &Keyed) -> Result<(), Problem> {
    if !enrolled.retired {
        api.unproved().proved(&person.workspace, device);
    }
    take_room(api, &RateKey::Phone(person.clone(), device.clone()))
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
        let named = Named::read(parts, api).await?;
        let phone = match named.look(api).await? {
            Some(keyed) if keyed.enrolled.retired => return Err(named.refuse_retired(parts, api, &keyed)),
            Some(keyed) => named.prove(parts, api, keyed).await?,
            None => return Err(nobody(api)),
        };
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
        let (named, now) = (Named::read(parts, api).await?, api.now());
        let lives = |keyed: &Keyed| keyed.retired_at.is_none_or(|at| now.since(at) <= RETIRED_KEY_LIFE);
        let phone = match named.look(api).await? {
            Some(keyed) if lives(&keyed) => Self::Known(named.prove(parts, api, keyed).await?),
            Some(keyed) => return Err(named.refuse_retired(parts, api, &keyed)),
            None => named.prove_erased(parts, api).await?,
        };
        parts.extensions.insert(phone.clone());
        Ok(phone)
    }
}

/// Whose proof a request carries, as it says itself.
struct Named {
    proof: UncheckedProof,
    workspace: WorkspaceId,
    device: DeviceId,
}

impl Named {
    async fn read(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let proof = read(api, &parts.headers)?;
        let KeyOfProof::Of(device) = proof.key() else { return Err(bad_proof(api, Flaw::Key)) };
        let workspace = workspace_of(parts, api).await.ok_or_else(unknown_phone)?;
        Ok(Self { proof, workspace, device })
    }

    async fn look(&self, api: &Api) -> Result<Option<Keyed>, Problem> {
        named(api, &self.workspace, &self.device).await
    }

    /// The phone, if the proof is by its key.
    async fn prove(self, parts: &Parts, api: &Api, keyed: Keyed) -> Result<Phone, Problem> {
        let verified = self.verify(parts, api, &keyed.key);
        if is_its_own(api, &verified) {
            take_room_of(api, &keyed)?;
        }
        let proof = verified.map_err(|flaw| bad_proof(api, flaw))?;
        spend(api, &proof).await?;
        let thumbprint = proof.key.thumbprint();
        Ok(Phone { person: keyed.person, device: keyed.device, enrolled: keyed.enrolled, thumbprint })
    }

    /// What a retired phone is told, whether or not the proof is by its key: whoever makes up a name does not learn that there was one.
    fn refuse_retired(self, parts: &Parts, api: &Api, keyed: &Keyed) -> Problem {
        let verified = self.verify(parts, api, &keyed.key);
        let room = if is_its_own(api, &verified) { take_room_of(api, keyed) } else { Ok(()) };
        room.err().unwrap_or_else(unknown_phone)
    }

    /// The phone of somebody who was erased, if the proof is by its key.
    async fn prove_erased(self, parts: &Parts, api: &Api) -> Result<AnyPhone, Problem> {
        let (workspace, device) = (self.workspace.clone(), self.device.clone());
        let key = api.policy().devices().erased(&workspace, &device, api.now()).await?.ok_or_else(|| nobody(api))?;
        let verified = self.verify(parts, api, &key);
        if is_its_own(api, &verified) {
            take_room(api, &RateKey::ErasedPhone(workspace.clone(), device.clone()))?;
        }
        let proof = verified.map_err(|flaw| bad_proof(api, flaw))?;
        spend(api, &proof).await?;
        Ok(AnyPhone::Erased { workspace, device })
    }

    fn verify(self, parts: &Parts, api: &Api, key: &DeviceKey) -> Result<Proof, Flaw> {
        verify(api, self.proof, key, (parts.method.as_str(), parts.uri.path()), None)
    }
}

impl FromRequestParts<Api> for Carried {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let proof = read(api, &parts.headers)?;
        let KeyOfProof::Carried(key) = proof.key() else { return Err(bad_proof(api, Flaw::Key)) };
        Ok(Self { proof, key, method: parts.method.as_str().to_owned(), path: parts.uri.path().to_owned() })
    }
}

/// Lets in a phone whose proof holds, and that calls no oftener than it may.
pub(super) async fn admit(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match Phone::from_request_parts(&mut parts, &api).await {
        Ok(_) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

/// The same, of a phone that may say that it was not its person.
pub(super) async fn admit_any(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match AnyPhone::from_request_parts(&mut parts, &api).await {
        Ok(_) => next.run(Request::from_parts(parts, body)).await,
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

/// There is no phone of the name that somebody called in.
fn nobody(api: &Api) -> Problem {
    api.unproved().count();
    unknown_phone()
}

/// Never enrolled, retired, or enrolled in another workspace: whoever asks is not told which.
fn unknown_phone() -> Problem {
    let detail = "This phone is not set up for your account any more. Set it up again.";
    Problem::new(StatusCode::UNAUTHORIZED, "unknown-phone", "Unknown phone", detail)
}
