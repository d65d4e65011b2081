//! What is refused, as `application/problem+json` (RFC 9457).
//!
//! The point: one form for every refusal of the API, with a `type` for programs and a `detail` that an app can show to a person.
//! It never carries what was wrong to the letter: no token, no claim, no body.
use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use crate::seam::Unavailable;
use crate::store::Failure;

/// The beginning of each `type`.
const TYPES: &str = "urn:watchbell:problem:";

/// What an answer says of itself to the log: the kind of its problem.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind(pub(super) &'static str);

/// One refusal.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The answer's status.
    pub status: StatusCode,
    /// What it is to a program: the `type` after `urn:watchbell:problem:`. Lower case with hyphens, and part of the interface.
    pub kind: &'static str,
    /// What it is in a few words; the same for each of its kind.
    pub title: &'static str,
    /// What happened here and what to do, for people.
    pub detail: String,
    /// Further members, such as who answered first.
    pub more: Map<String, Value>,
    /// Headers of the answer, none of them twice.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem without further members.
    pub fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, title, detail: detail.into(), more: Map::new(), headers: Vec::new() }
    }

    /// Adds a member. `type`, `title`, `status` and `detail` are the problem's own and stay.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header; a value that cannot stand in one is left out.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = self.more;
        body.insert("type".to_owned(), format!("{TYPES}{}", self.kind).into());
        body.insert("title".to_owned(), self.title.into());
        body.insert("status".to_owned(), self.status.as_u16().into());
        body.insert("detail".to_owned(), self.detail.into());
        let mut answer = (self.status, Json(Value::Object(body))).into_response();
        answer.headers_mut().extend(self.headers);
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        answer.extensions_mut().insert(Kind(self.kind));
        answer
    }
}

impl From<Unavailable> for Problem {
    fn from(unavailable: Unavailable) -> Self {
        tracing::warn!(why = unavailable.why, "the {} did not answer", unavailable.what);
        let detail = "The service cannot reach its store at the moment. Try again in a moment; if you were changing something, look first \
                      whether it is done.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", "Not available", detail)
            .with_header(header::RETRY_AFTER, "1")
    }
}

/// What the store refused is told by the refusal itself.
impl<R: std::error::Error + Into<Self>> From<Failure<R>> for Problem {
    fn from(failure: Failure<R>) -> Self {
        match failure {
            Failure::Unavailable(unavailable) => unavailable.into(),
            Failure::Refused(refusal) => refusal.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_problem_is_an_answer() {
        // RFC 9457 §3: the media type, the four members, further members beside them; its own members cannot be replaced.
        let problem = Problem::new(StatusCode::CONFLICT, "decided", "Already decided", "Ada denied it on her phone.");
        let problem = problem.with("by", "ada").with("status", 200).with_header(header::RETRY_AFTER, "3");
        let answer = problem.with_header(header::ETAG, "broken\n").into_response();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (409, &"application/problem+json".parse().unwrap())
        );
        assert_eq!((&answer.headers()["retry-after"], answer.headers().get("etag")), (&"3".parse().unwrap(), None));
        let body = axum::body::to_bytes(answer.into_body(), 4_096).await.unwrap();
        let expected = serde_json::json!({
            "type": "urn:watchbell:problem:decided", "title": "Already decided", "status": 409,
            "detail": "Ada denied it on her phone.", "by": "ada",
        });
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }
}
