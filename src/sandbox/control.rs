//! The control endpoint: what happened, and what shall go wrong. Plain HTTP and JSON, on loopback only, without authentication.
//!
//! | request | does |
//! | --- | --- |
//! | `GET /credentials` | URLs, CA file, key files, service accounts |
//! | `GET /stats` | counts of accepted and refused requests, open connections |
//! | `GET /devices` | all device tokens of both providers |
//! | `GET /devices/{token}` | everything one device received, what is on its screen, what waits |
//! | `PUT /tokens/{token}` | sets a device: `{"provider":"apns","state":"unregistered","timestamp":1700000000000}` |
//! | `GET /faults`, `POST /faults`, `DELETE /faults`, `DELETE /faults/{id}` | the rules of [`super::fault`] |
//! | `POST /connections/{command}` | `goaway`, `disconnect`, `black_hole`, `wedge`, `ignore_pings`, `stream_limit` |
//! | `DELETE /access-tokens` | FCM's access tokens are all unknown from now on |
//! | `PUT /quota`, `DELETE /quota` | what each of FCM's projects may send: `{"requests":100,"window_ms":60000}` |
//! | `GET /issuer` | the issuer's address, clients and personas |
//! | `POST /issuer/tokens` | a token at once, right or wrong: `{"persona":"admin","claims":{"exp":1},"sign":"none"}`, see [`super::issuer::Mint`] |
//! | `POST /issuer/rotate` | a new signing key: `{"keep_old":true,"algorithm":"ES256"}` |
//! | `PUT /issuer/lifetime` | how long tokens live that are issued from now on: `{"token_lifetime_s":5}` |
//! | `PUT /issuer/personas/{name}` | adds or replaces somebody: `{"name":"eve","user":"eve","workspaces":{"acme":"admin"},"acr":"phr","auth_age_s":60}` |
//! | `PUT /issuer/clients/{client_id}` | adds or replaces an application: `{"client_id":"app","redirect_uris":["http://127.0.0.1:1/back"]}` |
//! | `GET /phones` | all phones of [`super::phones`] |
//! | `PUT /phones/{name}` | makes one: `{"persona":"user","platform":"apns"}`, and `app`, `locale`, `model`, `behaviour` |
//! | `GET /phones/{name}`, `DELETE /phones/{name}` | what it is, what is on its screen and what it did; throws it away |
//! | `POST /phones/{name}/enrol` | sets it up: `{"api":"http://localhost:8081","workspace":"acme","ticket_by":"admin"}`, see [`super::phones::Enrol`] |
//! | `PUT /phones/{name}/behaviour` | requests to come: `{"answer":"approve","number":"042137","times":1,"after_ms":500}`; also `deny`, `deny_not_me`, `ignore` |
//! | `POST /phones/{name}/answer` | one request: `{"answer":"deny"}` for the newest on the screen, else with `type` and `event` |
//! | `GET /phones/{name}/pending`, `POST /phones/{name}/refresh` | what awaits its person's answer; its app starts: `{"another_token":true}` |
//! | `POST /reset` | forgets devices, phones, counts and faults; quota, personas and clients are those of the start again |
//!
//! What cannot be read, has a field that nobody knows or a number out of its range is answered 400 with a sentence in `error`, and changes
//! nothing; nothing here stops the simulators.
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::apns::inbox::DeviceSettings;
use super::fault::{Provider, Rule};
use super::fcm::Quota;
use super::fcm::inbox::RegistrationSettings;
use super::wire::judge::Command;
use super::{Shared, url};

type Sandbox = State<Arc<Shared>>;

/// Serves the control endpoint until its task is dropped.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let router = Router::new()
        .route("/credentials", get(credentials))
        .route("/stats", get(stats))
        .route("/devices", get(devices))
        .route("/devices/{token}", get(device))
        .route("/tokens/{token}", put(set_token))
        .route("/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/faults/{id}", delete(remove_fault))
        .route("/connections/{command}", post(command))
        .route("/access-tokens", delete(revoke))
        .route("/quota", put(set_quota).delete(clear_quota))
        .route("/reset", post(reset))
        .merge(super::issuer::control::routes())
        .merge(super::phones::control::routes())
        .with_state(shared);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::warn!(%error, "the control endpoint of the sandbox has ended");
    }
}

async fn credentials(State(shared): Sandbox) -> Json<Value> {
    Json(json!({
        "ca_file": shared.ca_file,
        "apns": { "url": url(shared.apns_address), "keys": shared.apns.keys() },
        "fcm": {
            "url": url(shared.fcm_address),
            "token_uri": format!("{}/token", url(shared.fcm_address)),
            "service_accounts": shared.fcm.service_accounts(),
        },
        "issuer": { "url": shared.issuer.url(), "audience": shared.issuer.audience() },
    }))
}

async fn stats(State(shared): Sandbox) -> Json<Value> {
    let refused = |refusals: std::collections::BTreeMap<(u16, String), u64>| {
        let rows = refusals.into_iter();
        rows.map(|((status, reason), count)| json!({ "status": status, "reason": reason, "count": count }))
            .collect::<Vec<_>>()
    };
    let (apns, fcm) = (&shared.apns, &shared.fcm);
    Json(json!({
        "apns": {
            "accepted": apns.accepted(),
            "refused": refused(apns.refused()),
            "connections": shared.registry.live(Provider::Apns),
        },
        "fcm": {
            "accepted": fcm.accepted(),
            "refused": refused(fcm.refused()),
            "connections": shared.registry.live(Provider::Fcm),
        },
        "issuer": {
            "issued": shared.issuer.issued(),
            "refused": refused(shared.issuer.refused()),
            "connections": shared.registry.live(Provider::Issuer),
        },
        "connections_opened": shared.registry.opened(),
    }))
}

async fn devices(State(shared): Sandbox) -> Json<Value> {
    Json(json!({ "apns": shared.apns.tokens(), "fcm": shared.fcm.tokens() }))
}

async fn device(State(shared): Sandbox, Path(token): Path<String>) -> (StatusCode, Json<Value>) {
    if let Some(device) = shared.apns.device(&token) {
        let counts = json!({ "by_apns_id": device.by_apns_id(), "by_collapse_id": device.by_collapse_id() });
        return (StatusCode::OK, Json(json!({ "provider": "apns", "device": device, "counts": counts })));
    }
    if let Some(registration) = shared.fcm.registration(&token) {
        let counts = json!({ "by_tag": registration.by_tag() });
        return (StatusCode::OK, Json(json!({ "provider": "fcm", "device": registration, "counts": counts })));
    }
    (StatusCode::NOT_FOUND, Json(json!({ "error": "no device with this token has received or been told anything" })))
}

/// A request that changes nothing, and why.
pub(super) type Wrong = (StatusCode, Json<Value>);

pub(super) fn wrong(sentence: impl std::fmt::Display) -> Wrong {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": sentence.to_string() })))
}

/// Reads a body; a field that the read value does not have is a mistake that would otherwise go unnoticed.
pub(super) fn read<T: DeserializeOwned + Serialize>(body: &Bytes) -> Result<T, Wrong> {
    let given: Value = serde_json::from_slice(body).map_err(|error| wrong(format!("the body is no JSON: {error}")))?;
    let read: T = serde_json::from_value(given.clone()).map_err(wrong)?;
    let known = serde_json::to_value(&read).map_err(wrong)?;
    match unknown(&given, &known) {
        Some(field) => Err(wrong(format!("{field} is no field here, or not with these others"))),
        None => Ok(read),
    }
}

/// The first field of `given` that `known` lacks.
fn unknown<'a>(given: &'a Value, known: &Value) -> Option<&'a str> {
    let fields = given.as_object()?.iter().filter(|(_, value)| !value.is_null());
    fields.into_iter().find_map(|(name, value)| match known.get(name) {
        Some(known) => unknown(value, known),
        None => Some(name.as_str()),
    })
}

/// The body of `PUT /tokens/{token}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "provider", rename_all = "snake_case")]
enum TokenSettings {
    Apns(DeviceSettings),
    Fcm(RegistrationSettings),
}

async fn set_token(State(shared): Sandbox, Path(token): Path<String>, body: Bytes) -> Result<StatusCode, Wrong> {
    match read(&body)? {
        TokenSettings::Apns(settings) => shared.apns.set_device(&token, settings),
        TokenSettings::Fcm(settings) => shared.fcm.set_registration(&token, settings),
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn set_quota(State(shared): Sandbox, body: Bytes) -> Result<StatusCode, Wrong> {
    let quota: Quota = read(&body)?;
    quota.check().map_err(wrong)?;
    shared.fcm.set_quota(Some(quota));
    Ok(StatusCode::NO_CONTENT)
}

async fn clear_quota(State(shared): Sandbox) -> StatusCode {
    shared.fcm.set_quota(None);
    StatusCode::NO_CONTENT
}

async fn faults(State(shared): Sandbox) -> Json<Value> {
    let rules = shared.faults.list().into_iter();
    Json(rules.map(|(id, rule, met)| json!({ "id": id, "rule": rule, "met": met })).collect())
}

async fn add_fault(State(shared): Sandbox, body: Bytes) -> Result<(StatusCode, Json<Value>), Wrong> {
    let rule: Rule = read(&body)?;
    rule.check().map_err(wrong)?;
    Ok((StatusCode::CREATED, Json(json!({ "id": shared.faults.add(rule) }))))
}

async fn clear_faults(State(shared): Sandbox) -> Json<Value> {
    Json(json!({ "removed": shared.faults.remove(None) }))
}

async fn remove_fault(State(shared): Sandbox, Path(id): Path<u64>) -> StatusCode {
    if shared.faults.remove(Some(id)) > 0 { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

/// The body of `POST /connections/{command}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandBody {
    provider: Provider,
    /// Only this connection, as `GET /stats` numbers them.
    #[serde(default)]
    connection: Option<u64>,
    /// `goaway`: the debug data's reason.
    #[serde(default)]
    reason: Option<String>,
    /// `goaway`: drop what waits and close at once.
    #[serde(default)]
    lose: bool,
    /// `stream_limit`: streams.
    #[serde(default)]
    streams: Option<u32>,
}

async fn command(State(shared): Sandbox, Path(name): Path<String>, body: Bytes) -> Result<Json<Value>, Wrong> {
    let body: CommandBody = read(&body)?;
    let told = match (name.as_str(), body.streams) {
        ("goaway", _) => {
            let command = Command::Goaway { reason: body.reason, lose: body.lose };
            shared.registry.command(body.provider, body.connection, &command)
        }
        ("disconnect", _) => shared.registry.command(body.provider, body.connection, &Command::Disconnect),
        ("black_hole", _) => shared.registry.command(body.provider, body.connection, &Command::BlackHole),
        ("wedge", _) => shared.registry.command(body.provider, body.connection, &Command::Wedge),
        ("ignore_pings", _) => shared.registry.command(body.provider, body.connection, &Command::IgnorePings),
        ("stream_limit", Some(streams)) => match body.connection {
            None => shared.set_stream_limit(body.provider, streams),
            one => shared.registry.command(body.provider, one, &Command::StreamLimit(streams)),
        },
        (_, _) => {
            let names = "use goaway, disconnect, black_hole, wedge, ignore_pings, or stream_limit with \"streams\"";
            return Err(wrong(names));
        }
    };
    Ok(Json(json!({ "connections": told })))
}

async fn revoke(State(shared): Sandbox) -> StatusCode {
    shared.fcm.revoke_access_tokens();
    StatusCode::NO_CONTENT
}

async fn reset(State(shared): Sandbox) -> StatusCode {
    shared.reset();
    StatusCode::NO_CONTENT
}
