//! The description as pages: `/openapi.json` for programs, `/docs` for people.
//!
//! Both are made once, at the start. `/docs` is one page and one style sheet: no script, nothing from elsewhere, and a policy that
//! would not let either in.
mod page;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use serde_json::Value;

/// What the page may load: its own style sheet.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const STYLE: &str = include_str!("style.css");
/// Browsers and proxies may keep the pages for a minute: they change with a deployment.
const KEEP: &str = "public, max-age=60";

/// The pages of that description.
pub(super) fn routes(document: &Value) -> Router {
    let text = Bytes::from(serde_json::to_string_pretty(document).unwrap_or_default());
    let html = Bytes::from(page::render(document));
    Router::new()
        .route("/openapi.json", get(async move || served("application/json", text)))
        .route("/docs", get(async move || served("text/html; charset=utf-8", html)))
        .route("/docs/style.css", get(async || served("text/css; charset=utf-8", Bytes::from_static(STYLE.as_bytes()))))
}

/// Leads whoever opens the service in a browser to where it is explained.
pub(super) async fn lead() -> Redirect {
    Redirect::temporary("/docs")
}

fn served(kind: &'static str, text: Bytes) -> impl IntoResponse {
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static(KEEP)),
    ];
    (headers, text)
}
