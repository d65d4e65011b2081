//! How a page signs people in: what it must know before anybody has a token. Nothing here is secret: a browser sends all of it in the open.
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::auth::SignInAt;
use crate::control::state::Api;

/// Browsers and proxies may keep it for a minute: it changes with a deployment.
const KEEP: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "public, max-age=60")];

/// Where people sign in, and for what.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct SignIn {
    /// The OpenID Connect issuer; its discovery document is at `/.well-known/openid-configuration` below it.
    issuer: String,
    /// The access token's audience must be one of these.
    audience: Vec<String>,
    /// The client as which a console signs people in, by authorization code with PKCE and without a secret; absent if none was configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
}

/// Read where people sign in
///
/// What a page needs to send somebody to the sign-in service. Without a token.
#[utoipa::path(get, path = "/v1/sign-in", tag = "You", security(()),
    responses((status = 200, description = "Where people sign in.", body = SignIn)))]
pub(in crate::control) async fn sign_in(State(api): State<Api>) -> ([(HeaderName, &'static str); 1], Json<SignIn>) {
    let SignInAt { issuer, audience, client_id } = api.sign_in_at().clone();
    (KEEP, Json(SignIn { issuer, audience, client_id }))
}
