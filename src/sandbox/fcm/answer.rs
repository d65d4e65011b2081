//! Google's way to answer: an id, or an error with `code`, `message`, `status` and `details`.
//!
//! Sources: Firebase, "FCM error codes"; google.rpc.Status. The order of classification for senders is FcmError first, then
//! `status`, then the HTTP code, so each error here carries exactly the details that Google gives it.
use serde_json::{Value, json};

use super::schema::Violation;
use crate::sandbox::exchange::Answer;
use crate::sandbox::fault::RetryAfter;

/// `@type` of FCM's own error codes.
const FCM_ERROR: &str = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
/// `@type` of field violations.
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
/// `@type` of exceeded quotas.
const QUOTA_FAILURE: &str = "type.googleapis.com/google.rpc.QuotaFailure";

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Names or types that Google's front end does not know: BadRequest alone.
    Schema(Vec<Violation>),
    /// The body is not JSON.
    NotJson(String),
    /// FCM itself finds a field wrong: FcmError and BadRequest.
    Field(Violation),
    /// An error code, without more.
    Code(&'static str),
    /// The project's or device's quota.
    Quota { subject: String },
    /// No access token, or one that is unknown, expired or revoked.
    Unauthenticated,
    /// An access token of another project.
    PermissionDenied { project: String },
    /// No such path: what a wrong URL gets, without any JSON.
    NotFound,
}

/// An FCM error code, its HTTP code, its status, its usual text.
const CODES: [(&str, u16, &str, &str); 12] = [
    ("UNREGISTERED", 404, "NOT_FOUND", "Requested entity was not found."),
    ("INVALID_ARGUMENT", 400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    ("SENDER_ID_MISMATCH", 403, "PERMISSION_DENIED", "SenderId mismatch"),
    ("THIRD_PARTY_AUTH_ERROR", 401, "UNAUTHENTICATED", "Auth error from APNS or Web Push Service"),
    ("QUOTA_EXCEEDED", 429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Messages sent'."),
    ("UNAVAILABLE", 503, "UNAVAILABLE", "The service is currently unavailable."),
    ("INTERNAL", 500, "INTERNAL", "Internal error encountered."),
    ("UNSPECIFIED_ERROR", 400, "UNKNOWN", "Unknown error."),
    // Statuses that come without an FCM error code.
    ("UNAUTHENTICATED", 401, "UNAUTHENTICATED", UNAUTHENTICATED),
    ("PERMISSION_DENIED", 403, "PERMISSION_DENIED", "The caller does not have permission"),
    ("NOT_FOUND", 404, "NOT_FOUND", "Requested entity was not found."),
    ("RESOURCE_EXHAUSTED", 429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
];
/// How many of [`CODES`] are FCM's own.
const FCM_CODES: usize = 8;

const UNAUTHENTICATED: &str = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie \
                               or other valid authentication credential.";

/// Writes the answer to an accepted message.
pub(crate) fn accepted(answer: &mut Answer, name: &str) {
    write(answer, 200, &json!({ "name": name }));
}

/// Writes a refusal; returns the word under which it is counted.
pub(crate) fn refused(answer: &mut Answer, refused: &Refused) -> String {
    match refused {
        Refused::Schema(violations) => {
            let message = violations.iter().map(|violation| violation.description.as_str()).collect::<Vec<_>>();
            error(answer, 400, "INVALID_ARGUMENT", &message.join("\n"), vec![bad_request(violations)])
        }
        Refused::NotJson(what) => {
            let message = format!("Invalid JSON payload received. {what}");
            let violation = Violation { field: String::new(), description: message.clone() };
            error(answer, 400, "INVALID_ARGUMENT", &message, vec![bad_request(&[violation])])
        }
        Refused::Field(violation) => {
            let details = vec![fcm_error("INVALID_ARGUMENT"), bad_request(std::slice::from_ref(violation))];
            error(answer, 400, "INVALID_ARGUMENT", &violation.description, details)
        }
        Refused::Code(code) => coded(answer, code, None, None),
        Refused::Quota { subject } => {
            let (_, code, status, message) = CODES[4];
            let failure = json!({
                "@type": QUOTA_FAILURE,
                "violations": [{ "subject": subject, "description": message }],
            });
            error(answer, code, status, message, vec![fcm_error("QUOTA_EXCEEDED"), failure]);
            "QUOTA_EXCEEDED".to_owned()
        }
        Refused::Unauthenticated => coded(answer, "UNAUTHENTICATED", None, None),
        Refused::PermissionDenied { project } => {
            let message = format!(
                "Permission 'cloudmessaging.messages.create' denied on resource \
                 '//cloudresourcemanager.googleapis.com/projects/{project}' (or it may not exist)."
            );
            error(answer, 403, "PERMISSION_DENIED", &message, Vec::new())
        }
        Refused::NotFound => {
            answer.reset(404);
            answer.headers.push(("content-type", "text/html; charset=UTF-8".to_owned()));
            answer.body.extend_from_slice(b"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>");
            "404".to_owned()
        }
    }
}

/// Writes the refusal that belongs to a code; a code that Google does not have is sent as an FcmError of its own.
pub(crate) fn coded(answer: &mut Answer, word: &str, http: Option<u16>, retry_after: Option<RetryAfter>) -> String {
    let known = CODES.iter().position(|(known, ..)| *known == word);
    let (code, status, message) = match known {
        Some(index) => (CODES[index].1, CODES[index].2, CODES[index].3),
        None => (400, "UNKNOWN", "Unknown error."),
    };
    let details = match known {
        Some(index) if index >= FCM_CODES => Vec::new(),
        Some(_) | None => vec![fcm_error(word)],
    };
    error(answer, http.unwrap_or(code), status, message, details);
    if let Some(retry_after) = retry_after {
        answer.headers.push(("retry-after", retry_after.value()));
    }
    word.to_owned()
}

fn error(answer: &mut Answer, code: u16, status: &str, message: &str, details: Vec<Value>) -> String {
    let mut error = json!({ "code": code, "message": message, "status": status });
    if !details.is_empty() {
        error["details"] = Value::Array(details);
    }
    write(answer, code, &json!({ "error": error }));
    status.to_owned()
}

fn fcm_error(code: &str) -> Value {
    json!({ "@type": FCM_ERROR, "errorCode": code })
}

fn bad_request(violations: &[Violation]) -> Value {
    let violations: Vec<Value> = violations
        .iter()
        .map(|violation| match violation.field.as_str() {
            "" => json!({ "description": violation.description }),
            field => json!({ "field": field, "description": violation.description }),
        })
        .collect();
    json!({ "@type": BAD_REQUEST, "fieldViolations": violations })
}

/// Writes any JSON body.
pub(crate) fn write(answer: &mut Answer, status: u16, body: &Value) {
    answer.reset(status);
    answer.headers.push(("content-type", "application/json; charset=UTF-8".to_owned()));
    // Writing JSON into memory fails only for keys that are no strings, which a `Value` cannot hold.
    answer.body.extend_from_slice(body.to_string().as_bytes());
}
