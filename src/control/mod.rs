//! The control plane's HTTP side: what people see and decide, over JSON.
//!
//! | part | is |
//! | --- | --- |
//! | [`auth`] | from a bearer token to a [`auth::Caller`] and a [`auth::Member`] |
//! | [`phone`], [`courier`] | from a proof to a phone; and how a phone is reached |
//! | [`endpoint`] | one file for each thing that people work on |
//! | [`input`], [`condition`], [`view`] | what comes in, `ETag` and `If-Match`, how values look |
//! | [`gate`], [`rate`], [`sessions`] | what every request passes: identity, limits, its line in the log |
//! | [`reach`], [`turns`] | what costs more than other answers, and is bounded by itself |
//! | [`openapi`], [`docs`] | the interface described, for programs and for people |
//! | [`problem`] | whatever is refused, as `application/problem+json` |
//!
//! The point: an endpoint asks who calls, asks [`auth::may`] whether they may, asks the store, and shows the answer; every rule about
//! settings and preferences is the store's and the domain's. What is registered is described, and what is described is registered.
//!
//! It deliberately has no switch that lets anybody in without a token, no sign-in of its own, no session, and no TLS: it stands behind
//! a proxy that ends TLS.
//!
//! It fails with a problem that has a sentence for people: 4xx for what the caller can mend, 503 with `Retry-After` for what passes.
pub mod auth;
mod condition;
pub mod config;
mod courier;
mod docs;
mod endpoint;
mod gate;
mod input;
mod openapi;
mod phone;
pub mod problem;
mod rate;
mod reach;
mod sessions;
mod state;
mod turns;
mod view;

pub use config::ApiConfig;
pub use courier::Courier;
pub use openapi::document;
pub use phone::config::DevicesConfig;
pub use state::Api;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Seconds for which a browser may remember what it was allowed: Chromium's own limit.
const CORS_MAX_AGE: std::time::Duration = std::time::Duration::from_secs(7_200);

/// Everything that is served. The state is shared with it.
pub fn router(api: Api) -> Router {
    let document = openapi::document();
    let people = endpoint::routes().split_for_parts().0;
    let people = people.route_layer(from_fn_with_state(api.clone(), gate::admit)).with_state(api.clone());
    let operators = endpoint::of_operators().split_for_parts().0;
    let operators =
        operators.route_layer(from_fn_with_state(api.clone(), gate::admit_operator)).with_state(api.clone());
    let phones = endpoint::of_phones().split_for_parts().0;
    let phones = phones.route_layer(from_fn_with_state(api.clone(), phone::admit)).with_state(api.clone());
    let any_phones = endpoint::of_any_phones().split_for_parts().0;
    let any_phones = any_phones.route_layer(from_fn_with_state(api.clone(), phone::admit_any)).with_state(api.clone());
    let statements = endpoint::of_statements().split_for_parts().0.with_state(api.clone());
    let anybody = endpoint::of_anybody().split_for_parts().0.with_state(api.clone());
    let cors = cors(&api.config().cors_origins);
    let router = Router::new()
        .merge(people)
        .merge(operators)
        .merge(phones)
        .merge(any_phones)
        .merge(statements)
        .merge(anybody)
        .merge(docs::routes(&document))
        .route("/", get(docs::lead))
        .fallback(gate::no_such_address)
        .method_not_allowed_fallback(gate::no_such_method)
        .layer(from_fn_with_state(api.clone(), gate::bound))
        .layer(DefaultBodyLimit::max(usize::try_from(api.config().body_bytes_max).unwrap_or(usize::MAX)));
    let router = if let Some(cors) = cors { router.layer(cors) } else { router };
    router.layer(from_fn(gate::observe))
}

/// Which pages of other origins may call; `None` if no browser page of another origin may, which is how it starts.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    if origins.is_empty() {
        return None;
    }
    Some(
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([Method::GET, Method::PUT, Method::POST, Method::DELETE])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::IF_MATCH,
                header::IF_NONE_MATCH,
                endpoint::IDEMPOTENCY_KEY,
                phone::PROOF,
                gate::REQUEST_ID,
            ])
            .expose_headers([header::ETAG, header::RETRY_AFTER, gate::REQUEST_ID])
            .max_age(CORS_MAX_AGE),
    )
}
