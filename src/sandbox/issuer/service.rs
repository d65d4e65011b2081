//! One connection to the issuer: which endpoint is asked, and the answer's headers.
use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Issuer;
use super::authorize::Destination;
use crate::sandbox::exchange::{Answer, Field, Request, Service};
use crate::sandbox::fault::{Provider, Refusal};

pub(super) const DISCOVERY: &str = "/.well-known/openid-configuration";
pub(super) const JWKS: &str = "/jwks";
pub(super) const AUTHORIZE: &str = "/authorize";
pub(super) const TOKEN: &str = "/token";

/// Longest body of a token request, in bytes: a code and a verifier take a few hundred.
const MAX_BODY: usize = 16 * 1024;
/// Concurrent streams of a connection.
const STREAMS: u32 = 100;

/// One connection.
pub(crate) struct IssuerService {
    issuer: Arc<Issuer>,
}

impl IssuerService {
    pub(crate) fn new(issuer: Arc<Issuer>) -> Self {
        Self { issuer }
    }

    fn token(&self, request: &Request<'_>, answer: &mut Answer) {
        let origin = self.allowed_origin(request);
        let wrong = |error: &str, description: &str| json!({ "error": error, "error_description": description });
        let (status, body) = match text(request, Field::Method) {
            "OPTIONS" => (204, Value::Null),
            "POST" if request.body.len() > MAX_BODY => (413, wrong("invalid_request", "the body is too long")),
            "POST" if !is_form(text(request, Field::ContentType)) => {
                (400, wrong("invalid_request", "the content type must be application/x-www-form-urlencoded"))
            }
            // RFC 6749 §5.2: 401 where the client tried to authenticate by this header.
            "POST" if request.head.get(Field::Authorization).is_some() => {
                (401, wrong("invalid_client", "clients are public here and have no secret"))
            }
            "POST" => self.issuer.exchange(request.body),
            _ => (405, wrong("invalid_request", "use POST")),
        };
        match status {
            204 => answer.reset(204),
            status => write(answer, status, &body),
        }
        if matches!(status, 401 | 405 | 413) {
            self.issuer.count_refusal(status, body["error"].as_str().unwrap_or_default());
        }
        if status == 401 {
            answer.headers.push(("www-authenticate", "Basic realm=\"none\"".to_owned()));
        }
        answer.headers.push(("vary", "origin".to_owned()));
        if let Some(origin) = origin {
            answer.headers.push(("access-control-allow-origin", origin));
            if status == 204 {
                answer.headers.push(("access-control-allow-methods", "POST".to_owned()));
                answer.headers.push(("access-control-allow-headers", "content-type".to_owned()));
                answer.headers.push(("access-control-max-age", "600".to_owned()));
            }
        }
    }

    /// The request's origin, if some client has a redirect there.
    fn allowed_origin(&self, request: &Request<'_>) -> Option<String> {
        let origin = request.head.others().find(|(name, _)| *name == b"origin")?.1;
        let origin = std::str::from_utf8(origin).ok()?;
        let state = self.issuer.state();
        let mut uris = state.clients.values().flat_map(|client| &client.redirect_uris);
        uris.any(|uri| origin_of(uri) == Some(origin)).then(|| origin.to_owned())
    }

    fn authorize(&self, query: &str, answer: &mut Answer) {
        match self.issuer.authorize(query) {
            Destination::Redirect(uri) => {
                answer.reset(302);
                answer.headers.push(("location", uri));
            }
            Destination::Page(status, page) => {
                answer.reset(status);
                answer.body.extend_from_slice(page.as_bytes());
                answer.headers.push(("content-type", "text/html; charset=utf-8".to_owned()));
                let policy = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'";
                answer.headers.push(("content-security-policy", policy.to_owned()));
            }
        }
        answer.headers.push(("cache-control", "no-store".to_owned()));
        answer.headers.push(("referrer-policy", "no-referrer".to_owned()));
    }
}

/// `scheme://host:port` of an absolute address.
fn origin_of(uri: &str) -> Option<&str> {
    let host = uri.find("://")? + 3;
    let end = uri[host..].find(['/', '?', '#']).map_or(uri.len(), |at| host + at);
    Some(&uri[..end])
}

fn is_form(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn write(answer: &mut Answer, status: u16, body: &Value) {
    answer.reset(status);
    answer.body.extend_from_slice(body.to_string().as_bytes());
    answer.headers.push(("content-type", "application/json".to_owned()));
    answer.headers.push(("cache-control", "no-store".to_owned()));
}

/// What is the same for everybody, and secret to nobody: a page of any origin may read it.
fn write_for_any_page(answer: &mut Answer, body: &Value) {
    write(answer, 200, body);
    answer.headers.push(("access-control-allow-origin", "*".to_owned()));
}

fn text<'a>(request: &Request<'a>, field: Field) -> &'a str {
    request.head.get(field).and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default()
}

/// The path, and the query after it.
fn address<'a>(request: &Request<'a>) -> (&'a str, &'a str) {
    let whole = text(request, Field::Path);
    whole.split_once('?').unwrap_or((whole, ""))
}

impl Service for IssuerService {
    fn body_limit(&self) -> usize {
        MAX_BODY
    }

    fn first_stream_limit(&self) -> u32 {
        STREAMS
    }

    /// What a fault can aim at is the path.
    fn target<'a>(&self, request: &Request<'a>) -> (Provider, Option<Cow<'a, str>>) {
        (Provider::Issuer, Some(address(request).0.into()))
    }

    fn answer(&mut self, request: &Request<'_>, answer: &mut Answer) {
        let (path, query) = address(request);
        match (path, text(request, Field::Method)) {
            (TOKEN, _) => self.token(request, answer),
            (DISCOVERY, "GET") => write_for_any_page(answer, &self.issuer.discovery()),
            (JWKS, "GET") => write_for_any_page(answer, &self.issuer.jwks()),
            (AUTHORIZE, "GET") => self.authorize(query, answer),
            (DISCOVERY | JWKS | AUTHORIZE, _) => write(answer, 405, &json!({ "error": "use GET" })),
            _ => write(answer, 404, &json!({ "error": "there is nothing here" })),
        }
    }

    fn refuse(&mut self, _request: &Request<'_>, refusal: &Refusal, answer: &mut Answer) {
        let status = refusal.status.unwrap_or(400);
        write(answer, status, &json!({ "error": refusal.reason }));
        if let Some(retry_after) = refusal.retry_after {
            answer.headers.push(("retry-after", retry_after.value()));
        }
        self.issuer.count_refusal(status, &refusal.reason);
    }

    /// Provider tokens are Apple's; there is nothing to wedge here.
    fn wedge(&mut self) {}

    /// The connection's own limit is the session's; nothing here returns to another one.
    fn set_stream_limit(&mut self, _limit: u32) {}
}
