//! What comes in: bodies, names in the path, pages. Refused with a problem, and never said back to who sent it: it may hold a secret.
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::event::{DeviceId, EventId, IdError, NotificationType, UserId, WorkspaceId};
use crate::people::{Cursor, PAGE_MAX, Place};

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if essence != "application/json" {
            let detail = "The body must be JSON, and its Content-Type application/json.";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "Not JSON", detail));
        }
        let unread = |_: BytesRejection| bad_request("unreadable-body", "Unreadable body", "The body ended early.");
        let bytes = Bytes::from_request(request, state).await.map_err(unread)?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            if error.is_data() {
                let detail = format!(
                    "The body is JSON, but not what this address takes (line {line}, column {column}). /docs says what that is."
                );
                return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-body", "Wrong body", detail);
            }
            let detail = format!("The body is no JSON (line {line}, column {column}).");
            bad_request("unreadable-body", "Unreadable body", detail)
        })
    }
}

/// What stands in the path, in its order.
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(names)| Self(names)).map_err(|_| not_found("no-such-address", "There is no such address."))
    }
}

/// The type of that name.
pub(super) fn kind(name: &str) -> Result<NotificationType, Problem> {
    NotificationType::from_name(name).ok_or_else(|| {
        let known = NotificationType::ALL.map(NotificationType::name).join(", ");
        not_found("no-such-type", &format!("There is no such type of notification. There are {known}."))
    })
}

/// The workspace of that id.
pub(super) fn workspace(id: &str) -> Result<WorkspaceId, Problem> {
    WorkspaceId::new(id).map_err(|error| no_id("workspace", &error))
}

/// The person of that id.
pub(super) fn user(id: &str) -> Result<UserId, Problem> {
    UserId::new(id).map_err(|error| no_id("person", &error))
}

/// The event of that id.
pub(super) fn event(id: &str) -> Result<EventId, Problem> {
    EventId::new(id).map_err(|error| no_id("request", &error))
}

/// The device of that id.
pub(super) fn device(id: &str) -> Result<DeviceId, Problem> {
    DeviceId::new(id).map_err(|error| no_id("device", &error))
}

fn no_id(what: &str, error: &IdError) -> Problem {
    not_found("no-such-id", &format!("There is no such {what}: what the address says {error}."))
}

/// Longest idempotency key, in bytes: a UUID several times over.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// The idempotency key, if one came.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(super::endpoint::IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()));
    let detail = format!("Idempotency-Key must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible characters of ASCII.");
    key.map(Some).ok_or_else(|| bad_request("wrong-idempotency-key", "Wrong idempotency key", detail))
}

/// Which part of a list is asked for.
pub(super) struct Part<P = Cursor> {
    /// Where it begins; `None` at the head.
    pub(super) before: Option<P>,
    /// Items at most.
    pub(super) limit: usize,
}

#[derive(Deserialize)]
struct PartQuery {
    before: Option<String>,
    limit: Option<usize>,
}

impl<S: Send + Sync, P: Place> FromRequestParts<S> for Part<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let wrong = |detail: String| bad_request("wrong-page", "Wrong page", detail);
        let range = || wrong(format!("limit must be a number from 1 to {PAGE_MAX}."));
        let Query(query) = Query::<PartQuery>::from_request_parts(parts, state).await.map_err(|_| range())?;
        let limit = query.limit.unwrap_or(P::PAGE);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(range());
        }
        let cursor = query.before.map(|text| P::read(&text).ok_or(()));
        let before = cursor.transpose().map_err(|()| {
            wrong("before must be what next was on the page before. Leave it out to begin at the newest.".to_owned())
        })?;
        Ok(Self { before, limit })
    }
}

fn bad_request(kind: &'static str, title: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, kind, title, detail)
}

/// 404 with that sentence.
pub(super) fn not_found(kind: &'static str, detail: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, kind, "Not found", detail)
}
