//! A person's devices, as they see them after signing in: list, register, name, remove, and let one approve.
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::person;
use crate::control::auth::{Action, Caller, Member, Target};
use crate::control::condition::{IfMatch, IfNoneMatch, Tag};
use crate::control::courier::carry;
use crate::control::input::{Body, Named, device, idempotency_key};
use crate::control::phone::{Carried, Phone};
use crate::control::problem::Problem;
use crate::control::state::Api;
use crate::control::view::{Moment, announced_within_s};
use crate::people::enrolment::{DeviceKind, OwnDevice, Registrant, Report, Stale, Way};
use crate::people::{DeviceState, Permission, Person};
use crate::policy::{Environment, Installation, Platform, Token};
use crate::store::PromotedBy;

/// Somebody's devices.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Devices {
    /// In the order of their enrolment.
    pub(super) devices: Vec<Device>,
}

/// A device.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Device {
    /// Its id, which its proofs and statements name as `kid`.
    device: String,
    /// As its person calls it; may be empty.
    name: String,
    /// What it is.
    kind: DeviceKind,
    /// As its maker calls it; may be empty.
    model: String,
    /// What it may do.
    state: DeviceState,
    /// In which way it became one that may approve; absent if it is not, or was made one otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    promoted_by: Option<Way>,
    /// When it became one that may approve.
    #[serde(skip_serializing_if = "Option::is_none")]
    promoted_at: Option<Moment>,
    /// Whether it proved a key. One that did not only shows.
    has_key: bool,
    /// Since when pushes are known to reach it; absent while that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    reachable_since: Option<Moment>,
    /// Since when nothing reaches it: its provider took the token back, and no push was seen to reach it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable_since: Option<Moment>,
    /// What its system lets the app do; absent if the app did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    permission: Option<Permission>,
    /// Whether time-sensitive notifications are on; absent if the app did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_sensitive: Option<bool>,
    /// Whether it is quiet.
    quiet: bool,
    /// When it was enrolled.
    enrolled_at: Moment,
    /// Where its pushes go; absent while they have nowhere to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pushes: Option<Pushes>,
}

/// Where a device's pushes go.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Pushes {
    /// The platform.
    #[schema(value_type = Platform)]
    platform: &'static str,
    /// The app: bundle id or package name.
    app: String,
    /// The token's world.
    #[schema(value_type = Environment)]
    environment: &'static str,
    /// The token's last characters.
    token_end: String,
    /// The phone's language.
    locale: String,
    /// When the app last reported.
    last_seen: Moment,
}

impl From<OwnDevice> for Device {
    fn from(own: OwnDevice) -> Self {
        let pushes = own.pushes.map(|pushes| Pushes {
            platform: pushes.platform.name(),
            app: pushes.app,
            environment: pushes.environment.name(),
            token_end: pushes.token_end,
            locale: pushes.locale,
            last_seen: Moment(pushes.last_seen),
        });
        Self {
            device: own.id.as_str().to_owned(),
            name: own.name,
            kind: own.kind,
            model: own.model,
            state: own.state,
            promoted_by: own.promoted.and_then(|(_, way)| way),
            promoted_at: own.promoted.map(|(at, _)| Moment(at)),
            has_key: own.has_key,
            reachable_since: own.reachable_since.map(Moment),
            unreachable_since: own.unreachable_since.map(Moment),
            permission: own.permission,
            time_sensitive: own.time_sensitive,
            quiet: own.quiet,
            enrolled_at: Moment(own.enrolled_at),
            pushes,
        }
    }
}

/// What an app reports of its device.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct Reported {
    /// The platform: `apns` or `fcm`.
    platform: Platform,
    /// The app: bundle id or package name.
    app: String,
    /// The token's world: `production` or, of apns only, `sandbox`.
    #[serde(default)]
    environment: Environment,
    /// The platform's push token.
    token: String,
    /// BCP 47 tag of the phone's language.
    locale: String,
    /// As its maker calls it: `Pixel 8`. A login screen may show it.
    #[serde(default)]
    model: String,
    /// What the phone's system lets the app do.
    permission: Option<Permission>,
    /// Whether time-sensitive notifications are on.
    time_sensitive: Option<bool>,
}

impl From<Reported> for Report {
    fn from(reported: Reported) -> Self {
        let Reported { platform, app, environment, token, locale, model, permission, time_sensitive } = reported;
        let installation = Installation { platform, app: app.into(), environment, token: Token::new(token) };
        Self { installation, locale, model, permission, time_sensitive }
    }
}

/// A device to register.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct NewDevice {
    /// The challenge that the request's proof answers.
    challenge: String,
    /// As its person calls it.
    #[serde(default)]
    name: String,
    /// What it is.
    #[serde(default)]
    kind: DeviceKind,
    /// What the app knows the phone itself by, if that outlives the app: then an app that is installed anew takes the place of the one
    /// before.
    phone: Option<String>,
    /// What it will report again.
    report: Reported,
}

/// Something to sign.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Challenge {
    /// What the proof of the registration must carry as `nonce`.
    challenge: String,
    /// From then on it counts no more.
    expires_at: Moment,
}

/// A device that is registered.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Registered {
    /// Its id, which its proofs and statements name as `kid`.
    device: String,
    /// What it may do.
    state: DeviceState,
    /// Whether its key was registered before.
    again: bool,
    /// Whether the app has a nonce to send back: a push with it was given out.
    reach: bool,
    /// Whether pushes go elsewhere until that came back: another device has the token.
    waits: bool,
}

/// What to call a device.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct NewName {
    /// Its name.
    name: String,
}

/// Something about a device was changed.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct DeviceChanged {
    /// Seconds after which the change is in force everywhere at the latest; 0: it is, within milliseconds.
    in_force_within_s: u32,
    /// All devices, with the change.
    devices: Vec<Device>,
}

/// What speaks for a phone.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct NewApprover {
    /// A ticket. Without it the sign-in itself speaks for the phone.
    ticket: Option<String>,
}

/// A phone that may approve.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Promoted {
    /// What it may do.
    state: DeviceState,
    /// In which way it became that; absent if it was that before.
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<Way>,
}

impl Promoted {
    /// In that way, or before.
    pub(super) fn by(way: Option<Way>) -> Self {
        Self { state: DeviceState::Approver, way }
    }
}

/// Devices with the tag that they have.
pub(super) async fn listed(api: &Api, person: &Person) -> Result<(Tag, u64, Vec<Device>), Problem> {
    let (version, devices) = api.policy().devices().list(person).await?;
    Ok((Tag::of_devices(person, version), version, devices.into_iter().map(Device::from).collect()))
}

/// What the caller saw of the devices, as the store's condition; refused where that is not what is there.
pub(super) async fn seen(api: &Api, person: &Person, if_match: &IfMatch) -> Result<Option<u64>, Problem> {
    if !if_match.names_a_version() {
        return Ok(None);
    }
    let (tag, current, _) = listed(api, person).await?;
    if_match.require(&tag, &Stale { current }.to_string())?;
    Ok(Some(current))
}

/// List your devices
///
/// Every device that is enrolled, in the order of enrolment. Of a push token only its end is shown.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/me/devices", tag = "Devices",
    params(IfNoneMatch),
    responses((status = 200, description = "Your devices.", body = Devices)))]
pub(in crate::control) async fn devices(
    State(api): State<Api>,
    member: Member,
    if_none_match: IfNoneMatch,
) -> Result<Response, Problem> {
    member.require(Action::UseDevices, Target::Oneself)?;
    let (tag, _, devices) = listed(&api, &person(&member)).await?;
    Ok(if_none_match.show(&tag, Json(Devices { devices })))
}

/// Ask for a challenge
///
/// The first step of registering a phone: its key signs what this gives, within five minutes. A session may have five open; one more, and
/// its oldest counts no more.
#[utoipa::path(post, path = "/v1/workspaces/{workspace}/me/devices/challenges", tag = "Devices",
    responses((status = 200, description = "What to sign.", body = Challenge)))]
pub(in crate::control) async fn challenge(
    State(api): State<Api>,
    member: Member,
    caller: Caller,
) -> Result<Json<Challenge>, Problem> {
    member.require(Action::UseDevices, Target::Oneself)?;
    let issued = api.policy().devices().challenge(&person(&member), caller.issued_at, api.now()).await?;
    Ok(Json(Challenge { challenge: issued.expose().to_owned(), expires_at: Moment(issued.expires_at) }))
}

/// The header under which a registration is made once.
pub(in crate::control) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Register a phone
///
/// The request carries a proof (`DPoP`) with the phone's new key and the challenge as `nonce`. The phone may receive at once; a push brings
/// it a nonce, which it sends back to be known as reachable. The same key again is the same device. With an `Idempotency-Key` the request
/// may be repeated, with another challenge or the same; with anything else changed it is refused.
#[utoipa::path(post, path = "/v1/workspaces/{workspace}/me/devices", tag = "Devices",
    params(("DPoP" = String, Header, description = "A proof with the phone's key, whose nonce is the challenge."),
        ("Idempotency-Key" = Option<String>, Header, description = "Of the app's making: the same again is answered again.")),
    request_body = NewDevice,
    responses((status = 200, description = "The phone is registered.", body = Registered),
        (status = 409, description = "The challenge or the key does not count, or there are too many devices.")))]
pub(in crate::control) async fn register(
    State(api): State<Api>,
    member: Member,
    carried: Carried,
    headers: HeaderMap,
    Body(new): Body<NewDevice>,
) -> Result<Json<Registered>, Problem> {
    member.require(Action::UseDevices, Target::Oneself)?;
    let key = idempotency_key(&headers)?;
    let proof = carried.answering(&api, Some(&new.challenge)).await?;
    let registrant = Registrant { report: new.report.into(), name: new.name, kind: new.kind, phone: new.phone };
    let (rules, person) = (api.config().devices.rules(), person(&member));
    let devices = api.policy().devices();
    let proved = (&proof, new.challenge.as_str());
    let registered = devices.register(&person, proved, &registrant, key, &rules, api.now()).await?;
    let (reach, waits) = (registered.unproved, registered.waits);
    carry(&api, &person, &registered.device, registered.reach);
    let (device, state) = (registered.device.as_str().to_owned(), registered.state);
    Ok(Json(Registered { device, state, again: registered.again, reach, waits }))
}

/// Name a device
///
/// The name by which you tell your devices apart. Login screens show the model, or the name with most of its letters hidden.
#[utoipa::path(put, path = "/v1/workspaces/{workspace}/me/devices/{device}/name", tag = "Devices",
    params(IfMatch),
    request_body = NewName,
    responses((status = 200, description = "Your devices with the change.", body = DeviceChanged)))]
pub(in crate::control) async fn rename(
    State(api): State<Api>,
    member: Member,
    Named((_, id)): Named<(String, String)>,
    if_match: IfMatch,
    Body(new): Body<NewName>,
) -> Result<Response, Problem> {
    member.require(Action::UseDevices, Target::Oneself)?;
    let (device, person) = (device(&id)?, person(&member));
    let expected = seen(&api, &person, &if_match).await?;
    let announced = api.policy().devices().rename(&person, &device, &new.name, expected).await?;
    let (tag, _, devices) = listed(&api, &person).await?;
    let in_force_within_s = announced_within_s(announced, api.ttl_s());
    Ok(tag.on(Json(DeviceChanged { in_force_within_s, devices })))
}

/// Let this phone approve
///
/// For a phone that was reached, with a proof (`DPoP`) by its key: by a ticket, or by how you signed in, as far as the operator allows
/// either. With another phone that may approve already, use that one instead. `If-Match` takes the tag of your devices.
#[utoipa::path(post, path = "/v1/workspaces/{workspace}/me/devices/{device}/promotion", tag = "Devices",
    params(("DPoP" = String, Header, description = "A proof by the phone's key."), IfMatch),
    request_body = NewApprover,
    responses((status = 200, description = "The phone may approve.", body = Promoted),
        (status = 409, description = "The phone was not reached yet, or the ticket does not count.")))]
pub(in crate::control) async fn promote(
    State(api): State<Api>,
    member: Member,
    caller: Caller,
    Named((_, id)): Named<(String, String)>,
    phone: Phone,
    if_match: IfMatch,
    Body(new): Body<NewApprover>,
) -> Result<Response, Problem> {
    member.require(Action::Enrol, Target::Oneself)?;
    let (device, person) = (device(&id)?, person(&member));
    if phone.person != person || phone.device != device {
        return Err(crate::people::enrolment::PromotionRefusal::UnknownDevice.into());
    }
    let by = match &new.ticket {
        Some(ticket) => PromotedBy::Ticket { ticket, thumbprint: &phone.thumbprint },
        None => PromotedBy::SignIn {
            thumbprint: &phone.thumbprint,
            phishing_resistant: caller.phishing_resistant,
            at: caller.auth_time,
        },
    };
    let expected = seen(&api, &person, &if_match).await?;
    let rules = api.config().devices.rules();
    let promotion = api.policy().devices().promote(&person, &device, by, expected, &rules, api.now()).await?;
    Ok(Tag::of_devices(&person, promotion.version).on(Json(Promoted::by(promotion.way))))
}
