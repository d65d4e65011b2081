//! What every request passes: an id and a line in the log, room and time, and for the endpoints a person who signed in and calls no
//! oftener than they may.
//!
//! The point: these hold for every address, whoever adds one. A request that began to change something goes on to its end in a task of its
//! own: who hangs up or waits too long must not keep workers from hearing of what was committed.
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::{counter, histogram};

use super::auth::Caller;
use super::input::not_found;
use super::problem::{Kind, Problem};
use super::rate::RateKey;
use super::sessions;
use super::state::Api;
use crate::event::WorkspaceId;

/// The request's id: the caller's own where it is one, else ours. It comes back with the answer and stands in the log.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id of a caller's that is taken over, in bytes: twice a UUID's.
const REQUEST_ID_BYTES_MAX: usize = 72;
/// Seconds after which somebody may try again whom there was no room for, or whose answer took too long.
const AGAIN_S: &str = "1";
/// What says who asks: one address answers each of them otherwise, whatever a cache thinks of it.
const WHO_ASKS: &str = "authorization, dpop";
/// What a page may load: nothing. The interface is data; /docs has a policy of its own.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// Gives the request its id, and the log and the metrics their line. No id of a person stands in it: the route is told, not the address.
pub(super) async fn observe(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let method = method(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("none", MatchedPath::as_str);
    let is_api = request.uri().path().starts_with("/v1/");
    let began = Instant::now();
    let mut response = next.run(request).await;
    let (status, took) = (response.status(), began.elapsed());
    let problem = response.extensions().get::<Kind>().map_or("", |kind| kind.0);
    let labels = [("method", method.to_owned()), ("route", route.to_owned()), ("status", status.as_str().to_owned())];
    counter!("watchbell_api_requests_total", &labels).increment(1);
    histogram!("watchbell_api_seconds", "route" => route.to_owned()).record(took.as_secs_f64());
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let request_id = id.to_str().unwrap_or_default();
    tracing::info!(request_id, method, route, status = status.as_u16(), problem, took_ms, "answered");
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(NOTHING));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // What has a tag may be kept by the browser that asked, if it asks again before each use; the rest is nobody's to keep.
    let keep = if headers.contains_key(header::ETAG) { "private, no-cache" } else { "no-store" };
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static(keep));
    if is_api {
        headers.append(header::VARY, HeaderValue::from_static(WHO_ASKS));
    }
    response
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    let theirs = headers.get(REQUEST_ID).filter(|id| {
        let safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(safe)
    });
    let ours = || HeaderValue::from_str(&uuid::Uuid::now_v7().to_string()).ok();
    theirs.cloned().or_else(ours).unwrap_or(HeaderValue::from_static("none"))
}

/// A label: whoever calls may invent methods.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Bounds how many are answered at once, how large they are and how long they take.
pub(super) async fn bound(State(api): State<Api>, request: Request, next: Next) -> Response {
    let Ok(permit) = Arc::clone(api.in_flight()).try_acquire_owned() else { return busy().into_response() };
    let answer = async {
        let request = match whole(request, api.config().body_bytes_max).await {
            Ok(request) => request,
            Err(problem) => return problem.into_response(),
        };
        let task = tokio::spawn(async move {
            let _permit = permit;
            next.run(request).await
        });
        task.await.unwrap_or_else(|_| broken().into_response())
    };
    tokio::time::timeout(api.config().request_timeout(), answer).await.unwrap_or_else(|_| late().into_response())
}

/// The request with all of its body.
async fn whole(request: Request, bytes_max: u32) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    // The extractor's limit is that of the router's layer.
    match Bytes::from_request(Request::from_parts(parts.clone(), body), &()).await {
        Ok(bytes) => Ok(Request::from_parts(parts, Body::from(bytes))),
        Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_))) => {
            let detail = format!("The body is larger than the {bytes_max} bytes that are taken.");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large", detail))
        }
        Err(_) => {
            let detail = "The body ended early.";
            Err(Problem::new(StatusCode::BAD_REQUEST, "unreadable-body", "Unreadable body", detail))
        }
    }
}

/// Lets in who signed in, whose session was not ended, and who calls no oftener than they may.
pub(super) async fn admit(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let asked = sessions::workspace_of(&mut parts, &api).await;
    match admit_session(&mut parts, &api, asked.as_ref()).await {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

/// The same at the addresses of operators, who belong to no workspace that they name: what ended there did not end for them.
pub(super) async fn admit_operator(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match admit_session(&mut parts, &api, None).await {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

/// The session's own room first: whoever has one that was ended keeps nobody's other ones waiting, and asks the store no oftener.
async fn admit_session(parts: &mut Parts, api: &Api, asked: Option<&WorkspaceId>) -> Result<(), Problem> {
    let caller = Caller::from_request_parts(parts, api).await?;
    take_room(api, &RateKey::Session(caller.user.clone(), caller.issued_at))?;
    sessions::check(api, &caller, asked).await?;
    take_room(api, &RateKey::Sessions(caller.user))
}

/// Takes the room of one call.
pub(super) fn take_room(api: &Api, of: &RateKey) -> Result<(), Problem> {
    api.rate_limits().take(of).map_err(too_many)
}

/// An address that nobody has.
pub(super) async fn no_such_address() -> Problem {
    not_found("no-such-address", "There is no such address. /docs lists those that there are.")
}

/// An address that does not take this method; the answer's `Allow` says which it takes.
pub(super) async fn no_such_method() -> Problem {
    let detail = "This address does not take this method. /docs lists what it takes.";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method", "No such method", detail)
}

fn too_many(wait: Duration) -> Problem {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let detail = format!("You have made too many requests. Try again in {seconds} s.");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", detail)
        .with_header(header::RETRY_AFTER, &seconds.to_string())
}

/// No room at the moment.
pub(super) fn busy() -> Problem {
    let detail = "The service is busy. Try again in a moment.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", detail).with_header(header::RETRY_AFTER, AGAIN_S)
}

fn late() -> Problem {
    let detail = "This took too long. Try again; if you were changing something, look first whether it is done.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "took-too-long", "Took too long", detail)
        .with_header(header::RETRY_AFTER, AGAIN_S)
}

/// A mistake of ours, whose words are in the log.
pub(super) fn broken() -> Problem {
    tracing::error!("a request panicked");
    let detail =
        "Something went wrong here that should not. Try again; whoever runs the service finds it by the request id.";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal-error", "Internal error", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_callers_are_taken_if_they_are_harmless() {
        // Tracing across services needs theirs; what could forge a line of a log, or fill it, is replaced.
        let of = |value: &'static [u8]| {
            request_id(&HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_bytes(value).unwrap())]))
        };
        assert_eq!(of(b"trace-1_a.B"), "trace-1_a.B");
        let long: &'static [u8] = &[b'a'; REQUEST_ID_BYTES_MAX + 1];
        for bad in [&b""[..], b"a b", b"a\tb", b"\xff", b"{\"a\":1}", long] {
            assert_eq!(of(bad).len(), 36, "{bad:?}");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }

    #[test]
    fn waiting_is_told_in_whole_seconds() {
        // Rounded up: a client that waits what it was told is let in.
        let told = |wait| too_many(wait).headers[0].1.clone();
        assert_eq!([told(Duration::from_millis(1)), told(Duration::from_secs(2))], ["1", "2"]);
    }
}
