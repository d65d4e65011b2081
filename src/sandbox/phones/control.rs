//! The control endpoint's part for the phones. The table is in [`super::super::control`].
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Behaviour, Enrol, Make, Reply, View};
use crate::sandbox::Shared;
use crate::sandbox::control::{Wrong, read, wrong};

/// The routes below `/phones`.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/phones", get(list))
        .route("/phones/{name}", put(make).get(show).delete(remove))
        .route("/phones/{name}/enrol", post(enrol))
        .route("/phones/{name}/behaviour", put(behave))
        .route("/phones/{name}/answer", post(answer))
        .route("/phones/{name}/pending", get(pending))
        .route("/phones/{name}/refresh", post(refresh))
}

type Sandbox = State<Arc<Shared>>;

async fn list(State(shared): Sandbox) -> Json<Vec<View>> {
    let phones = &shared.phones;
    Json(phones.names().iter().filter_map(|name| phones.view(name).ok()).collect())
}

async fn make(
    State(shared): Sandbox,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<View>), Wrong> {
    let made: Make = read(&body)?;
    Ok((StatusCode::CREATED, Json(shared.phones.make(&name, made).map_err(wrong)?)))
}

/// The phone, and what it did.
async fn show(State(shared): Sandbox, Path(name): Path<String>) -> Result<Json<Value>, Wrong> {
    let view = shared.phones.view(&name).map_err(wrong)?;
    Ok(Json(json!({ "phone": view, "log": shared.phones.log_of(&name) })))
}

async fn remove(State(shared): Sandbox, Path(name): Path<String>) -> StatusCode {
    if shared.phones.remove(&name) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn enrol(State(shared): Sandbox, Path(name): Path<String>, body: Bytes) -> Result<Json<Value>, Wrong> {
    let enrol: Enrol = read(&body)?;
    Ok(Json(json!(shared.phones.enrol(&name, &enrol).await.map_err(wrong)?)))
}

async fn behave(State(shared): Sandbox, Path(name): Path<String>, body: Bytes) -> Result<StatusCode, Wrong> {
    let behaviour: Behaviour = read(&body)?;
    shared.phones.behave(&name, behaviour).map_err(wrong)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The body of `POST /phones/{name}/answer`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// The request's type; without it, and without an event, the newest on the screen.
    #[serde(default)]
    r#type: Option<String>,
    /// The request's event.
    #[serde(default)]
    event: Option<String>,
    /// The answer.
    answer: Reply,
    /// The digits that the person read on the other screen.
    #[serde(default)]
    number: Option<String>,
}

async fn answer(State(shared): Sandbox, Path(name): Path<String>, body: Bytes) -> Result<Json<Value>, Wrong> {
    let Answer { r#type: about, event, answer, number } = read(&body)?;
    let (about, event) = match (about, event) {
        (Some(about), Some(event)) => (about, event),
        (None, None) => {
            let screen = shared.phones.view(&name).map_err(wrong)?.screen;
            let asks = |about: &str| matches!(about, "identity_verification" | "trusted_device");
            let newest = screen.into_iter().rev().find(|shown| asks(&shown.about));
            let newest = newest.ok_or_else(|| wrong(format!("nothing on {name}'s screen awaits an answer")))?;
            (newest.about, newest.event)
        }
        _ => return Err(wrong("name type and event, or neither for the newest request on the screen")),
    };
    let said = shared.phones.answer(&name, (&about, &event), answer, number.as_deref()).await.map_err(wrong)?;
    Ok(Json(json!({ "type": about, "event": event, "status": said.status, "said": said.said })))
}

async fn pending(State(shared): Sandbox, Path(name): Path<String>) -> Result<Json<Value>, Wrong> {
    Ok(Json(json!(shared.phones.pending(&name).await.map_err(wrong)?)))
}

/// The body of `POST /phones/{name}/refresh`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refresh {
    /// Whether the platform gave the app another push token.
    #[serde(default)]
    another_token: bool,
}

async fn refresh(State(shared): Sandbox, Path(name): Path<String>, body: Bytes) -> Result<Json<Value>, Wrong> {
    let Refresh { another_token } = read(&body)?;
    Ok(Json(json!(shared.phones.refresh(&name, another_token).await.map_err(wrong)?)))
}
