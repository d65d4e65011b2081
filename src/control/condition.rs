//! `ETag`, `If-Match` and `If-None-Match` (RFC 9110 §8.8.3, §13.1): who changes what they have not seen is told so.
//!
//! What is signed about one thing by itself (an answer, a key's successor, a promotion by another phone), and an erasure, take none: the signature
//! names what it means, and an erasure takes whatever there is.
//!
//! A tag is made of what an answer shows or of its versions, and of nothing else, so that every process makes the same one. When a device was last
//! seen is noted in passing, without a version: a list that is asked for with its tag may be said to be unchanged though only that is newer. That of what one
//! person is shown is made of whose it is, too: `…/me/…` is one address for everybody, and nobody has what another one was shown. `If-Match`
//! may be left out: then whatever is there is changed. Each header is an argument of the endpoints that read it and described where it is
//! read: `params(IfMatch)`.
use aws_lc_rs::digest::{Context, SHA256};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::openapi::optional_header;
use super::problem::Problem;
use crate::people::Person;

/// Tags that are read of one header.
const TAGS_MAX: usize = 16;
/// Bytes of a hash that a tag holds: no two states that one address ever had are told by the same.
const HASH_BYTES: usize = 12;

/// An answer's tag, without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag(String);

impl Tag {
    /// `text` must be printable ASCII without quotes.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// That of what this person is shown in that state. It says nothing but whether it is the same.
    pub(super) fn of(person: &Person, state: &str) -> Self {
        let mut context = Context::new(&SHA256);
        for part in [person.workspace.as_str(), person.user.as_str(), state] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        Self(URL_SAFE_NO_PAD.encode(&context.finish().as_ref()[..HASH_BYTES]))
    }

    /// That of the person's devices, which have one version together with their preferences.
    pub(super) fn of_devices(person: &Person, version: u64) -> Self {
        Self::of(person, &format!("u{version}"))
    }

    /// The answer with this tag.
    pub(super) fn on(&self, answer: impl IntoResponse) -> Response {
        let mut response = answer.into_response();
        if let Ok(value) = HeaderValue::from_str(&format!("\"{}\"", self.0)) {
            response.headers_mut().insert(header::ETAG, value);
        }
        response
    }
}

/// What stands in one of the two headers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Any,
    /// Each with whether it is a strong one.
    These(Vec<(bool, String)>),
}

impl Wanted {
    fn has(&self, tag: &Tag, weak_counts: bool) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|(strong, text)| (*strong || weak_counts) && *text == tag.0),
        }
    }
}

/// `If-Match` of a request that changes something: what the caller saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct IfMatch(Option<Wanted>);

/// `If-None-Match` of a request that reads: what the caller has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct IfNoneMatch(Option<Wanted>);

impl IfMatch {
    /// Whether the caller said what they saw.
    pub(super) fn names_a_version(&self) -> bool {
        matches!(self.0, Some(Wanted::These(_)))
    }

    /// Nothing, if it allows a change of what has that tag.
    ///
    /// # Errors
    /// 412, with the sentence.
    pub(super) fn require(&self, current: &Tag, sentence: &str) -> Result<(), Problem> {
        // Only strong tags count for a change.
        match &self.0 {
            Some(wanted) if !wanted.has(current, false) => Err(changed_meanwhile(sentence)),
            _ => Ok(()),
        }
    }
}

impl IfNoneMatch {
    /// The answer with its tag; 304 without a body for a caller who has it already.
    pub(super) fn show(&self, tag: &Tag, answer: impl IntoResponse) -> Response {
        match &self.0 {
            Some(wanted) if wanted.has(tag, true) => tag.on(StatusCode::NOT_MODIFIED),
            _ => tag.on(answer),
        }
    }
}

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let says = "The tag of what you saw; if it is not that any more, nothing is changed and the answer is 412. Without it, or with *, \
                    whatever is there is changed.";
        vec![optional_header("If-Match", says)]
    }
}

impl IntoParams for IfNoneMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let says = "The tag of what you have; if it is still that, the answer is 304 without a body.";
        vec![optional_header("If-None-Match", says)]
    }
}

/// The refusal of a change by somebody who saw an older version.
pub(super) fn changed_meanwhile(sentence: &str) -> Problem {
    Problem::new(StatusCode::PRECONDITION_FAILED, "changed-meanwhile", "Changed meanwhile", sentence)
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read(parts, &header::IF_MATCH).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read(parts, &header::IF_NONE_MATCH).map(Self)
    }
}

fn read(parts: &Parts, name: &HeaderName) -> Result<Option<Wanted>, Problem> {
    let mut lines = parts.headers.get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return Ok(None);
    }
    let text: Option<Vec<&str>> = lines.map(|line| line.to_str().ok()).collect();
    text.and_then(|lines| wanted(&lines.join(","))).map(Some).ok_or_else(|| unreadable(name))
}

/// None of our tags has a comma in it, so that a tag that has one is nobody's here.
fn wanted(text: &str) -> Option<Wanted> {
    if text.trim() == "*" {
        return Some(Wanted::Any);
    }
    let tags = text.split(',').map(|tag| {
        let tag = tag.trim();
        let (strong, quoted) = tag.strip_prefix("W/").map_or((true, tag), |weak| (false, weak));
        let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
        let is_tag = inner.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
        is_tag.then(|| (strong, inner.to_owned()))
    });
    tags.take(TAGS_MAX).collect::<Option<_>>().map(Wanted::These)
}

fn unreadable(name: &HeaderName) -> Problem {
    let detail = format!("The header {name} is not a list of quoted tags, as they come in ETag, nor *.");
    Problem::new(StatusCode::BAD_REQUEST, "unreadable-condition", "Unreadable condition", detail)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;
    use crate::event::{UserId, WorkspaceId};

    async fn sent<C: FromRequestParts<(), Rejection = Problem>>(headers: &[(&str, &str)]) -> Result<C, Problem> {
        let request = headers.iter().fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        C::from_request_parts(&mut parts, &()).await
    }

    #[tokio::test]
    async fn a_change_needs_the_tag_that_was_seen() {
        // No condition and * change whatever is there; weak tags never count for a change; several are an or, in one line or two.
        let now = Tag::new("s3");
        let rows: [(&[(&str, &str)], bool); 8] = [
            (&[], true),
            (&[("if-match", "*")], true),
            (&[("if-match", "\"s3\"")], true),
            (&[("if-match", "\"s2\", \"s3\"")], true),
            (&[("if-match", "\"s2\""), ("if-match", "\"s3\"")], true),
            (&[("if-match", "W/\"s3\"")], false),
            (&[("if-match", "\"s2\"")], false),
            (&[("if-match", "\"\"")], false),
        ];
        for (headers, allowed) in rows {
            let refused = sent::<IfMatch>(headers).await.unwrap().require(&now, "Look again.");
            assert_eq!(refused.is_ok(), allowed, "{headers:?}");
            assert!(refused.map_or_else(|problem| problem.status == 412 && problem.detail == "Look again.", |()| true));
        }
        for broken in ["s3", "\"s3", "", "\"a\" \"b", "\"a b\""] {
            let problem = sent::<IfMatch>(&[("if-match", broken)]).await.unwrap_err();
            assert_eq!((problem.status.as_u16(), problem.detail.contains("if-match")), (400, true), "{broken}");
        }
    }

    #[test]
    fn nobody_has_the_tag_of_another() {
        // The same state of another person, of the same id in another workspace, and where both ids together read alike.
        let of = |workspace: &str, user: &str, version| {
            let (workspace, user) = (WorkspaceId::new(workspace).unwrap(), UserId::new(user).unwrap());
            Tag::of_devices(&Person { workspace, user }, version)
        };
        let tag = of("acme", "ada", 4);
        for other in [of("acme", "ben", 4), of("globex", "ada", 4), of("acmea", "da", 4), of("acme", "ada", 5)] {
            assert_ne!(tag, other);
        }
        assert_eq!(tag, of("acme", "ada", 4), "every process makes the same");
        assert_eq!((tag.0.len(), tag.0.contains("u4")), (16, false));
    }

    #[tokio::test]
    async fn who_has_it_already_gets_no_body() {
        // If-None-Match compares weakly (RFC 9110 §13.1.2); either way the tag comes along.
        for (value, status) in [("\"s3\"", 304), ("W/\"s3\"", 304), ("*", 304), ("\"s2\"", 200)] {
            let answer = sent::<IfNoneMatch>(&[("if-none-match", value)]).await.unwrap().show(&Tag::new("s3"), "body");
            assert_eq!(answer.status(), status, "{value}");
            assert_eq!(answer.headers()["etag"], "\"s3\"", "{value}");
        }
    }
}
