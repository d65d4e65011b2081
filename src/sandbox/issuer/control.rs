//! The control endpoint's part for the issuer. The table is in [`super::super::control`].
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::config::{Client, Persona, SigningAlgorithm};
use super::token::Mint;
use crate::sandbox::Shared;
use crate::sandbox::control::{Wrong, read, wrong};

/// The routes below `/issuer`.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/issuer", get(summary))
        .route("/issuer/tokens", post(mint))
        .route("/issuer/rotate", post(rotate))
        .route("/issuer/lifetime", put(set_lifetime))
        .route("/issuer/personas/{name}", put(set_persona))
        .route("/issuer/clients/{client_id}", put(set_client))
}

type Sandbox = State<Arc<Shared>>;

async fn summary(State(shared): Sandbox) -> Json<Value> {
    Json(shared.issuer.summary())
}

async fn mint(State(shared): Sandbox, body: Bytes) -> Result<(StatusCode, Json<Value>), Wrong> {
    let mint: Mint = read(&body)?;
    let token = shared.issuer.mint(&mint).map_err(wrong)?;
    Ok((StatusCode::CREATED, Json(json!({ "access_token": token, "token_type": "Bearer" }))))
}

/// The body of `POST /issuer/rotate`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// What the new key signs with.
    #[serde(default = "es256")]
    algorithm: SigningAlgorithm,
    /// Whether the keys before it stay published.
    keep_old: bool,
}

fn es256() -> SigningAlgorithm {
    SigningAlgorithm::ES256
}

async fn rotate(State(shared): Sandbox, body: Bytes) -> Result<(StatusCode, Json<Value>), Wrong> {
    let Rotation { algorithm, keep_old } = read(&body)?;
    let kid = shared.issuer.rotate(algorithm, keep_old).map_err(wrong)?;
    Ok((StatusCode::CREATED, Json(json!({ "kid": kid }))))
}

/// The body of `PUT /issuer/lifetime`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lifetime {
    /// Seconds; zero or less for tokens that are expired when they are issued.
    token_lifetime_s: i64,
}

/// A year, in seconds: adding it to now is always a time.
const YEAR_S: i64 = 365 * 24 * 3_600;

async fn set_lifetime(State(shared): Sandbox, body: Bytes) -> Result<StatusCode, Wrong> {
    let Lifetime { token_lifetime_s } = read(&body)?;
    if !(-YEAR_S..=YEAR_S).contains(&token_lifetime_s) {
        return Err(wrong(format!(
            "token_lifetime_s must be between -{YEAR_S} and {YEAR_S}; it is {token_lifetime_s}"
        )));
    }
    shared.issuer.set_token_lifetime(token_lifetime_s);
    Ok(StatusCode::NO_CONTENT)
}

async fn set_persona(State(shared): Sandbox, Path(name): Path<String>, body: Bytes) -> Result<StatusCode, Wrong> {
    let persona: Persona = read(&body)?;
    if persona.name != name {
        return Err(wrong(format!("name must be the one of the path, {name}")));
    }
    shared.issuer.set_persona(persona);
    Ok(StatusCode::NO_CONTENT)
}

async fn set_client(State(shared): Sandbox, Path(client_id): Path<String>, body: Bytes) -> Result<StatusCode, Wrong> {
    let client: Client = read(&body)?;
    if client.client_id != client_id {
        return Err(wrong(format!("client_id must be the one of the path, {client_id}")));
    }
    shared.issuer.set_client(client);
    Ok(StatusCode::NO_CONTENT)
}
