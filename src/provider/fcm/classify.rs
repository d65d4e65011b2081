//! What each of Google's answers means for the push, the device and the credential, in one table.
//!
//! Sources: Firebase, "FCM error codes" (REST v1 `ErrorCode`) and "Best practices when sending FCM messages at scale"; google.rpc
//! `Status`, `BadRequest`. Read in this order: the FcmError among the details, the status, the HTTP code: a 404 without an FcmError
//! means a wrong project or path, and never that a token is dead.
use std::time::Duration;

use serde::Deserialize;

use crate::delivery::{Outcome, Reason, RetryScope, THROTTLED_WAIT};
use crate::provider::answer::reach_of;
use crate::provider::standing::{Standing, Trust};

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ruling {
    pub(super) outcome: Outcome,
    /// Our access token was refused: a new one, once, may help.
    pub(super) refresh: bool,
}

/// Every code of Firebase's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ErrorCode {
    UnspecifiedError,
    InvalidArgument,
    Unregistered,
    SenderIdMismatch,
    QuotaExceeded,
    Unavailable,
    Internal,
    ThirdPartyAuthError,
}

/// The classes of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// The token is finished.
    Dead,
    /// The token is not known for this project, or the project is wrong.
    Unknown,
    /// This message can never work.
    Unworkable,
    /// Our configuration is wrong.
    Misconfigured,
    /// Our access token was refused.
    AccessToken,
    /// Too many messages.
    Quota,
    /// Google is in trouble.
    Trouble,
}

#[derive(Deserialize)]
struct Body {
    error: Error,
}

#[derive(Deserialize)]
struct Error {
    #[serde(default)]
    status: String,
    #[serde(default)]
    details: Vec<Detail>,
}

/// One of the details: what is not understood is ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    #[serde(default, rename = "@type")]
    kind: String,
    #[serde(default)]
    error_code: String,
    #[serde(default)]
    field_violations: Vec<Violation>,
}

#[derive(Deserialize)]
struct Violation {
    #[serde(default)]
    field: String,
}

/// The end of the type's name, whatever its prefix.
const FCM_ERROR: &str = "google.firebase.fcm.v1.FcmError";

/// Judges an answer that is not 200.
pub(super) fn classify(status: u16, body: &[u8], retry_after: Option<Duration>, standing: &Standing) -> Ruling {
    let body: Option<Body> = serde_json::from_slice(body).ok();
    let (reason, class) = match &body {
        Some(Body { error }) => judge(error, status),
        None => (http_reason(status), by_http(status)),
    };
    let trust = if class == Class::Unknown { standing.unknown_token() } else { Trust::Unproven };
    let (scope, reach) = (RetryScope::Provider, reach_of(status));
    let retry = |retry_after, reason| Outcome::Retryable { reason, retry_after, scope, reach };
    let outcome = match class {
        Class::Dead => Outcome::TokenInvalid { since: None, reason },
        Class::Unknown => trust.judge(reason),
        Class::Unworkable => Outcome::Rejected { reason },
        Class::Misconfigured | Class::AccessToken => Outcome::Misconfigured { reason },
        Class::Quota => retry(Some(retry_after.unwrap_or(THROTTLED_WAIT)), reason),
        Class::Trouble => retry(retry_after, reason),
    };
    Ruling { outcome, refresh: class == Class::AccessToken }
}

fn judge(error: &Error, status: u16) -> (Reason, Class) {
    let fcm = error.details.iter().find(|detail| detail.kind.ends_with(FCM_ERROR));
    let violations = || error.details.iter().flat_map(|detail| &detail.field_violations);
    if let Some(detail) = fcm {
        return match known(&detail.error_code) {
            Some(code) => entry(code, violations().next().map(|violation| violation.field.as_str()), status),
            None => (Reason::foreign(&detail.error_code), by_http(status)),
        };
    }
    if violations().any(|violation| is_token(&violation.field)) {
        return (Reason::known("INVALID_ARGUMENT"), Class::Unknown);
    }
    by_status(&error.status, status)
}

fn known(code: &str) -> Option<ErrorCode> {
    use serde::de::value::{Error as ValueError, StrDeserializer};
    ErrorCode::deserialize(StrDeserializer::<ValueError>::new(code)).ok()
}

fn is_token(field: &str) -> bool {
    field == "message.token" || field == "token"
}

/// The table. `violation` is the first field that a BadRequest among the details complains about.
fn entry(code: ErrorCode, violation: Option<&str>, status: u16) -> (Reason, Class) {
    let (name, class) = match code {
        ErrorCode::UnspecifiedError => ("UNSPECIFIED_ERROR", by_http(status)),
        // Our messages are well-formed by construction, so without a named field it is the token that is malformed.
        ErrorCode::InvalidArgument if violation.is_none_or(is_token) => ("INVALID_ARGUMENT", Class::Unknown),
        ErrorCode::InvalidArgument => ("INVALID_ARGUMENT", Class::Unworkable),
        ErrorCode::Unregistered => ("UNREGISTERED", Class::Dead),
        ErrorCode::SenderIdMismatch => ("SENDER_ID_MISMATCH", Class::Unknown),
        ErrorCode::QuotaExceeded => ("QUOTA_EXCEEDED", Class::Quota),
        ErrorCode::Unavailable => ("UNAVAILABLE", Class::Trouble),
        ErrorCode::Internal => ("INTERNAL", Class::Trouble),
        // A key that was uploaded to Firebase is bad.
        ErrorCode::ThirdPartyAuthError => ("THIRD_PARTY_AUTH_ERROR", Class::Misconfigured),
    };
    (Reason::known(name), class)
}

/// The codes of google.rpc by name, as answers without an FcmError carry them.
fn by_status(name: &str, http: u16) -> (Reason, Class) {
    let (name, class) = match name {
        "UNAUTHENTICATED" => ("UNAUTHENTICATED", Class::AccessToken),
        "PERMISSION_DENIED" => ("PERMISSION_DENIED", Class::Misconfigured),
        "NOT_FOUND" => ("NOT_FOUND", Class::Misconfigured),
        "INVALID_ARGUMENT" => ("INVALID_ARGUMENT", Class::Unworkable),
        "FAILED_PRECONDITION" => ("FAILED_PRECONDITION", Class::Unworkable),
        "OUT_OF_RANGE" => ("OUT_OF_RANGE", Class::Unworkable),
        "RESOURCE_EXHAUSTED" => ("RESOURCE_EXHAUSTED", Class::Quota),
        "UNAVAILABLE" => ("UNAVAILABLE", Class::Trouble),
        "INTERNAL" => ("INTERNAL", Class::Trouble),
        "UNKNOWN" => ("UNKNOWN", Class::Trouble),
        "ABORTED" => ("ABORTED", Class::Trouble),
        "CANCELLED" => ("CANCELLED", Class::Trouble),
        "DEADLINE_EXCEEDED" => ("DEADLINE_EXCEEDED", Class::Trouble),
        "" => return (http_reason(http), by_http(http)),
        foreign => return (Reason::foreign(foreign), by_http(http)),
    };
    (Reason::known(name), class)
}

fn by_http(status: u16) -> Class {
    match status {
        401 => Class::AccessToken,
        // No page, or another one: whoever answers is not Google. A wrong base_url must not drain a topic.
        300..=399 | 403 | 404 => Class::Misconfigured,
        429 => Class::Quota,
        408 | 500..=599 => Class::Trouble,
        _ => Class::Unworkable,
    }
}

/// A front end's answer that has no body of Google's.
fn http_reason(status: u16) -> Reason {
    match status {
        400 => Reason::known("http_400"),
        401 => Reason::known("http_401"),
        403 => Reason::known("http_403"),
        404 => Reason::known("http_404"),
        429 => Reason::known("http_429"),
        500 => Reason::known("http_500"),
        502 => Reason::known("http_502"),
        503 => Reason::known("http_503"),
        504 => Reason::known("http_504"),
        other => Reason::foreign(&format!("http_{other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven() -> Standing {
        let standing = Standing::default();
        standing.accepted();
        standing
    }

    fn short(ruling: &Ruling) -> String {
        let (word, reason) = match &ruling.outcome {
            Outcome::Accepted => panic!("an error cannot be an acceptance"),
            Outcome::TokenInvalid { reason, .. } => ("dead", reason),
            Outcome::Rejected { reason } => ("rejected", reason),
            Outcome::Misconfigured { reason } => ("misconfigured", reason),
            Outcome::Retryable { reason, retry_after: None, .. } => ("retry", reason),
            Outcome::Retryable { reason, retry_after: Some(wait), .. } => {
                return format!("retry {reason} after {} s", wait.as_secs());
            }
        };
        format!("{word} {reason}{}", if ruling.refresh { " refresh" } else { "" })
    }

    fn with_details(status: &str, details: &str) -> String {
        format!(r#"{{"error":{{"code":1,"message":"Text","status":"{status}","details":[{details}]}}}}"#)
    }

    fn fcm_error(code: &str) -> String {
        format!(r#"{{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"{code}"}}"#)
    }

    fn bad_request(field: &str) -> String {
        let kind = "type.googleapis.com/google.rpc.BadRequest";
        format!(r#"{{"@type":"{kind}","fieldViolations":[{{"field":"{field}","description":"Text"}}]}}"#)
    }

    /// Every documented error code means what Firebase's page says, for a project that is known to be configured right.
    #[test]
    fn documented_codes() {
        let cases = [
            (404, "NOT_FOUND", "UNREGISTERED", "dead UNREGISTERED"),
            (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "dead INVALID_ARGUMENT"),
            (403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "dead SENDER_ID_MISMATCH"),
            (401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "misconfigured THIRD_PARTY_AUTH_ERROR"),
            (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "retry QUOTA_EXCEEDED after 60 s"),
            (503, "UNAVAILABLE", "UNAVAILABLE", "retry UNAVAILABLE"),
            (500, "INTERNAL", "INTERNAL", "retry INTERNAL"),
            (500, "INTERNAL", "UNSPECIFIED_ERROR", "retry UNSPECIFIED_ERROR"),
            (400, "INVALID_ARGUMENT", "UNSPECIFIED_ERROR", "rejected UNSPECIFIED_ERROR"),
            (418, "TEAPOT", "NEW_CODE", "rejected NEW_CODE"),
            (503, "UNAVAILABLE", "NEW_CODE", "retry NEW_CODE"),
        ];
        for (status, name, code, expected) in cases {
            let body = with_details(name, &fcm_error(code));
            assert_eq!(short(&classify(status, body.as_bytes(), None, &proven())), expected, "{status} {code}");
        }
    }

    /// Without an FcmError no token is ever called dead but where the token's own field is named: a bare 404 is a wrong project.
    #[test]
    fn answers_without_a_code() {
        let cases = [
            (404, "NOT_FOUND", "misconfigured NOT_FOUND"),
            (403, "PERMISSION_DENIED", "misconfigured PERMISSION_DENIED"),
            (401, "UNAUTHENTICATED", "misconfigured UNAUTHENTICATED refresh"),
            (400, "INVALID_ARGUMENT", "rejected INVALID_ARGUMENT"),
            (400, "FAILED_PRECONDITION", "rejected FAILED_PRECONDITION"),
            (400, "OUT_OF_RANGE", "rejected OUT_OF_RANGE"),
            (429, "RESOURCE_EXHAUSTED", "retry RESOURCE_EXHAUSTED after 60 s"),
            (503, "UNAVAILABLE", "retry UNAVAILABLE"),
            (500, "INTERNAL", "retry INTERNAL"),
            (500, "UNKNOWN", "retry UNKNOWN"),
            (409, "ABORTED", "retry ABORTED"),
            (499, "CANCELLED", "retry CANCELLED"),
            (504, "DEADLINE_EXCEEDED", "retry DEADLINE_EXCEEDED"),
            (501, "UNIMPLEMENTED", "retry UNIMPLEMENTED"),
        ];
        for (status, name, expected) in cases {
            let body = with_details(name, "");
            assert_eq!(short(&classify(status, body.as_bytes(), None, &proven())), expected, "{status} {name}");
        }
    }

    /// An invalid argument is the token only where nothing else is named.
    #[test]
    fn invalid_arguments() {
        let code = fcm_error("INVALID_ARGUMENT");
        let cases = [
            (format!("{code},{}", bad_request("message.token")), "dead INVALID_ARGUMENT"),
            (bad_request("message.token"), "dead INVALID_ARGUMENT"),
            (format!("{code},{}", bad_request("message.android.ttl")), "rejected INVALID_ARGUMENT"),
            (bad_request("message.data[0].value"), "rejected INVALID_ARGUMENT"),
            (r#"{"@type":"x","unheard":{"of":1}}"#.to_owned(), "rejected INVALID_ARGUMENT"),
        ];
        for (details, expected) in cases {
            let body = with_details("INVALID_ARGUMENT", &details);
            assert_eq!(short(&classify(400, body.as_bytes(), None, &proven())), expected, "{details}");
            let unproven = classify(400, body.as_bytes(), None, &Standing::default());
            assert_eq!(short(&unproven), "rejected INVALID_ARGUMENT", "a token is kept until the project is proven");
        }
    }

    /// A front end's page is judged by its status alone.
    #[test]
    fn bodies_that_are_not_googles() {
        let cases = [
            (502, "<html>Bad Gateway</html>", "retry http_502"),
            (404, "<html>", "misconfigured http_404"),
            (401, "", "misconfigured http_401 refresh"),
            (429, "", "retry http_429 after 60 s"),
            (302, "", "misconfigured http_302"),
            (400, "[]", "rejected http_400"),
            (403, r#"{"error":{}}"#, "misconfigured http_403"),
            (500, r#"{"error":"text"}"#, "retry http_500"),
        ];
        for (status, body, expected) in cases {
            assert_eq!(short(&classify(status, body.as_bytes(), None, &proven())), expected, "{status} {body}");
        }
    }

    /// `Retry-After` is passed on, for a quota instead of the minute.
    #[test]
    fn waits() {
        let asked = Some(Duration::from_secs(7));
        for code in ["QUOTA_EXCEEDED", "UNAVAILABLE", "INTERNAL"] {
            let body = with_details("", &fcm_error(code));
            assert_eq!(short(&classify(503, body.as_bytes(), asked, &proven())), format!("retry {code} after 7 s"));
        }
    }
}
