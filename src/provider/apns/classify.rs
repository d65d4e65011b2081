//! What each of Apple's answers means for the push, the device and the credential, in one table.
//!
//! Sources: Apple, "Handling notification responses from APNs", and what is known to differ on the wire. A reason that nobody
//! documented is kept as text and judged by the status alone; it never costs a device its token.
use std::time::Duration;

use a2::ErrorReason;
use serde::Deserialize as _;
use serde::de::value::{Error as ValueError, StrDeserializer};

use crate::delivery::{Outcome, Reach, Reason, RetryScope, THROTTLED_WAIT};
use crate::event::Timestamp;
use crate::provider::answer::reach_of;
use crate::provider::standing::{Standing, Trust};

/// What an answer means, and whether the same push may be sent once more at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ruling {
    pub(super) outcome: Outcome,
    pub(super) resend: Resend,
}

/// Whether to send once more at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resend {
    /// No.
    No,
    /// On another connection: this one's server is in trouble.
    Elsewhere,
    /// On another connection, and this one is not used again: it holds on to what it thinks of our token.
    Condemn,
}

/// The classes of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// The token is finished.
    Dead,
    /// The token is not known for this app and environment, or the app or environment is wrong.
    Unknown,
    /// This push can never work.
    Unworkable,
    /// Our configuration is wrong.
    Misconfigured,
    /// The connection took offence at our provider token; a fresh one tells whether the token is really wrong.
    Token,
    /// Too many pushes to this device.
    Throttled,
    /// Apple is in trouble; another server may be better.
    Trouble,
    /// The connection is at its end.
    Connection,
}

/// Apple's body of an error.
#[derive(serde::Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    reason: std::borrow::Cow<'a, str>,
    /// Milliseconds since the epoch, with status 410.
    timestamp: Option<i64>,
}

/// Judges an answer that is not 200. `retry_after` is what the answer asked for; Apple documents no such header, and it is honoured.
pub(super) fn classify(status: u16, body: &[u8], retry_after: Option<Duration>, standing: &Standing) -> Ruling {
    let body: Option<Body<'_>> = serde_json::from_slice(body).ok();
    let timestamp = body.as_ref().and_then(|body| body.timestamp).map(Timestamp);
    let (reason, class) = match body.as_ref().map(|body| (body.reason.as_ref(), known(&body.reason))) {
        Some((_, Some(known))) => {
            let (name, class) = entry(&known);
            (Reason::known(name), class)
        }
        Some((foreign, None)) => (Reason::foreign(foreign), by_status(status)),
        None => (Reason::known("no_reason"), by_status(status)),
    };
    let trust = if class == Class::Unknown { standing.unknown_token() } else { Trust::Unproven };
    rule(class, reason, timestamp, (retry_after, reach_of(status)), trust)
}

/// `answer` is the wait that it asks for, and how far the push got.
fn rule(
    class: Class,
    reason: Reason,
    since: Option<Timestamp>,
    answer: (Option<Duration>, Reach),
    trust: Trust,
) -> Ruling {
    let (retry_after, reach) = answer;
    let retryable = |scope, retry_after, reason| Outcome::Retryable { reason, retry_after, scope, reach };
    let (outcome, resend) = match class {
        Class::Dead => (Outcome::TokenInvalid { since, reason }, Resend::No),
        Class::Unknown => (trust.judge(reason), Resend::No),
        Class::Unworkable => (Outcome::Rejected { reason }, Resend::No),
        Class::Misconfigured => (Outcome::Misconfigured { reason }, Resend::No),
        Class::Token => (Outcome::Misconfigured { reason }, Resend::Condemn),
        Class::Throttled => {
            let wait = retry_after.unwrap_or(THROTTLED_WAIT);
            (retryable(RetryScope::Device, Some(wait), reason), Resend::No)
        }
        // Whoever names a time to wait does not want to be asked again at once.
        Class::Trouble if retry_after.is_some() => (retryable(RetryScope::Provider, retry_after, reason), Resend::No),
        Class::Trouble => (retryable(RetryScope::Provider, None, reason), Resend::Elsewhere),
        Class::Connection => (retryable(RetryScope::Provider, retry_after, reason), Resend::Condemn),
    };
    Ruling { outcome, resend }
}

fn known(reason: &str) -> Option<ErrorReason> {
    // Seen on the wire beside the documented spelling.
    let reason = if reason == "BadEnvironmentKeyInToken" { "BadEnvironmentKeyIdInToken" } else { reason };
    ErrorReason::deserialize(StrDeserializer::<ValueError>::new(reason)).ok()
}

fn by_status(status: u16) -> Class {
    match status {
        // No page, or another one: whoever answers is not Apple. A wrong base_url must not drain a topic.
        300..=399 | 401 | 403 | 404 => Class::Misconfigured,
        429 => Class::Throttled,
        408 | 500..=599 => Class::Trouble,
        _ => Class::Unworkable,
    }
}

/// The table: every reason of Apple's page, its name on the wire and its class.
fn entry(reason: &ErrorReason) -> (&'static str, Class) {
    match reason {
        ErrorReason::BadCollapseId => ("BadCollapseId", Class::Unworkable),
        ErrorReason::BadDeviceToken => ("BadDeviceToken", Class::Unknown),
        ErrorReason::BadExpirationDate => ("BadExpirationDate", Class::Unworkable),
        ErrorReason::BadMessageId => ("BadMessageId", Class::Unworkable),
        ErrorReason::BadPriority => ("BadPriority", Class::Unworkable),
        ErrorReason::BadTopic => ("BadTopic", Class::Misconfigured),
        ErrorReason::DeviceTokenNotForTopic => ("DeviceTokenNotForTopic", Class::Unknown),
        ErrorReason::DuplicateHeaders => ("DuplicateHeaders", Class::Unworkable),
        ErrorReason::IdleTimeout => ("IdleTimeout", Class::Connection),
        ErrorReason::InvalidPushType => ("InvalidPushType", Class::Unworkable),
        ErrorReason::MissingDeviceToken => ("MissingDeviceToken", Class::Unworkable),
        ErrorReason::MissingTopic => ("MissingTopic", Class::Misconfigured),
        ErrorReason::PayloadEmpty => ("PayloadEmpty", Class::Unworkable),
        ErrorReason::TopicDisallowed => ("TopicDisallowed", Class::Misconfigured),
        ErrorReason::BadCertificate => ("BadCertificate", Class::Misconfigured),
        ErrorReason::BadCertificateEnvironment => ("BadCertificateEnvironment", Class::Misconfigured),
        ErrorReason::ExpiredProviderToken => ("ExpiredProviderToken", Class::Token),
        ErrorReason::Forbidden => ("Forbidden", Class::Misconfigured),
        ErrorReason::InvalidProviderToken => ("InvalidProviderToken", Class::Token),
        ErrorReason::MissingProviderToken => ("MissingProviderToken", Class::Misconfigured),
        // The connection remembers the first key that was used on it.
        ErrorReason::UnrelatedKeyIdInToken => ("UnrelatedKeyIdInToken", Class::Token),
        ErrorReason::BadEnvironmentKeyIdInToken => ("BadEnvironmentKeyIdInToken", Class::Misconfigured),
        ErrorReason::BadPath => ("BadPath", Class::Unworkable),
        ErrorReason::MethodNotAllowed => ("MethodNotAllowed", Class::Unworkable),
        ErrorReason::ExpiredToken => ("ExpiredToken", Class::Dead),
        ErrorReason::Unregistered => ("Unregistered", Class::Dead),
        ErrorReason::PayloadTooLarge => ("PayloadTooLarge", Class::Unworkable),
        // Our token changes every 40 minutes, so somebody else uses the key: one more token would make it worse.
        ErrorReason::TooManyProviderTokenUpdates => ("TooManyProviderTokenUpdates", Class::Misconfigured),
        ErrorReason::TooManyRequests => ("TooManyRequests", Class::Throttled),
        ErrorReason::InternalServerError => ("InternalServerError", Class::Trouble),
        ErrorReason::ServiceUnavailable => ("ServiceUnavailable", Class::Trouble),
        ErrorReason::Shutdown => ("Shutdown", Class::Connection),
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
            Outcome::TokenInvalid { since: Some(_), reason } => ("dead since", reason),
            Outcome::TokenInvalid { since: None, reason } => ("dead", reason),
            Outcome::Rejected { reason } => ("rejected", reason),
            Outcome::Misconfigured { reason } => ("misconfigured", reason),
            Outcome::Retryable { scope: RetryScope::Device, reason, retry_after: Some(_), .. } => ("throttled", reason),
            Outcome::Retryable { scope: RetryScope::Device, retry_after: None, .. } => {
                panic!("a throttle needs a time")
            }
            Outcome::Retryable { scope: RetryScope::Provider, reason, .. } => ("retry", reason),
        };
        format!("{word} {reason} {:?}", ruling.resend)
    }

    /// Every documented answer means what Apple's page says it means, for an app that is known to be configured right.
    #[test]
    fn documented_answers() {
        let cases = [
            (400, "BadCollapseId", "rejected BadCollapseId No"),
            (400, "BadDeviceToken", "dead BadDeviceToken No"),
            (400, "BadExpirationDate", "rejected BadExpirationDate No"),
            (400, "BadMessageId", "rejected BadMessageId No"),
            (400, "BadPriority", "rejected BadPriority No"),
            (400, "BadTopic", "misconfigured BadTopic No"),
            (400, "DeviceTokenNotForTopic", "dead DeviceTokenNotForTopic No"),
            (400, "DuplicateHeaders", "rejected DuplicateHeaders No"),
            (400, "IdleTimeout", "retry IdleTimeout Condemn"),
            (400, "InvalidPushType", "rejected InvalidPushType No"),
            (400, "MissingDeviceToken", "rejected MissingDeviceToken No"),
            (400, "MissingTopic", "misconfigured MissingTopic No"),
            (400, "PayloadEmpty", "rejected PayloadEmpty No"),
            (400, "TopicDisallowed", "misconfigured TopicDisallowed No"),
            (403, "BadCertificate", "misconfigured BadCertificate No"),
            (403, "BadCertificateEnvironment", "misconfigured BadCertificateEnvironment No"),
            (403, "ExpiredProviderToken", "misconfigured ExpiredProviderToken Condemn"),
            (403, "Forbidden", "misconfigured Forbidden No"),
            (403, "InvalidProviderToken", "misconfigured InvalidProviderToken Condemn"),
            (403, "MissingProviderToken", "misconfigured MissingProviderToken No"),
            (403, "UnrelatedKeyIdInToken", "misconfigured UnrelatedKeyIdInToken Condemn"),
            (403, "BadEnvironmentKeyIdInToken", "misconfigured BadEnvironmentKeyIdInToken No"),
            (403, "BadEnvironmentKeyInToken", "misconfigured BadEnvironmentKeyIdInToken No"),
            (404, "BadPath", "rejected BadPath No"),
            (405, "MethodNotAllowed", "rejected MethodNotAllowed No"),
            (410, "ExpiredToken", "dead ExpiredToken No"),
            (410, "Unregistered", "dead Unregistered No"),
            (413, "PayloadTooLarge", "rejected PayloadTooLarge No"),
            (429, "TooManyProviderTokenUpdates", "misconfigured TooManyProviderTokenUpdates No"),
            (429, "TooManyRequests", "throttled TooManyRequests No"),
            (500, "InternalServerError", "retry InternalServerError Elsewhere"),
            (503, "ServiceUnavailable", "retry ServiceUnavailable Elsewhere"),
            (503, "Shutdown", "retry Shutdown Condemn"),
        ];
        for (status, reason, expected) in cases {
            let body = format!(r#"{{"reason":"{reason}"}}"#);
            assert_eq!(short(&classify(status, body.as_bytes(), None, &proven())), expected, "{status} {reason}");
        }
    }

    /// A reason that nobody documented is kept as text and judged by its status, and never costs a token; so is a body that is no JSON.
    #[test]
    fn undocumented_answers() {
        let cases = [
            (400, r#"{"reason":"NewReason"}"#, "rejected NewReason No"),
            (403, r#"{"reason":"NewReason"}"#, "misconfigured NewReason No"),
            (410, r#"{"reason":"NewReason","timestamp":1}"#, "rejected NewReason No"),
            (429, r#"{"reason":"New\nReason"}"#, "throttled New_Reason No"),
            (503, r#"{"reason":"NewReason"}"#, "retry NewReason Elsewhere"),
            (502, "<html>Bad Gateway</html>", "retry no_reason Elsewhere"),
            (410, "", "rejected no_reason No"),
            (302, "", "misconfigured no_reason No"),
            (404, "<html>Not Found</html>", "misconfigured no_reason No"),
            (404, r#"{"reason":"NewReason"}"#, "misconfigured NewReason No"),
            (400, r#"{"reason":7}"#, "rejected no_reason No"),
        ];
        for (status, body, expected) in cases {
            assert_eq!(short(&classify(status, body.as_bytes(), None, &proven())), expected, "{status} {body}");
        }
    }

    /// What Apple says of broadcast channels only, which no push of ours names: were it ever said, its status is what counts, it costs no
    /// token, and its text is kept.
    #[test]
    fn broadcast_answers() {
        let reasons = [
            "FeatureNotEnabled",
            "MissingChannelId",
            "BadChannelId",
            "ChannelNotRegistered",
            "BadRequestParams",
            "BadRequestPayload",
            "MissingPushType",
            "CannotCreateChannelConfig",
            "TopicMismatch",
        ];
        for reason in reasons {
            let body = format!(r#"{{"reason":"{reason}","timestamp":1}}"#);
            for (status, word) in
                [(400, "rejected"), (403, "misconfigured"), (404, "misconfigured"), (410, "rejected"), (500, "retry")]
            {
                let ruling = classify(status, body.as_bytes(), None, &proven());
                let resend = if status == 500 { Resend::Elsewhere } else { Resend::No };
                assert_eq!(short(&ruling), format!("{word} {reason} {resend:?}"), "{status}");
            }
        }
    }

    /// A token that left carries the moment since when, in Apple's milliseconds.
    #[test]
    fn gone_since() {
        let body = br#"{"reason":"Unregistered","timestamp":1508249865488}"#;
        let expected =
            Outcome::TokenInvalid { since: Some(Timestamp(1_508_249_865_488)), reason: Reason::known("Unregistered") };
        assert_eq!(classify(410, body, None, &Standing::default()).outcome, expected);
    }

    /// A token that Apple does not know is kept until the app is proven: the environment or the bundle may be what is wrong.
    #[test]
    fn unknown_tokens_are_kept() {
        for reason in ["BadDeviceToken", "DeviceTokenNotForTopic"] {
            let body = format!(r#"{{"reason":"{reason}"}}"#);
            let standing = Standing::default();
            let rulings: Vec<String> =
                (0..30).map(|_| short(&classify(400, body.as_bytes(), None, &standing))).collect();
            assert_eq!(rulings[0], format!("rejected {reason} No"));
            assert_eq!(rulings[29], format!("misconfigured {reason} No"));
        }
    }

    /// A wait that the answer asks for is passed on, and forbids to resend at once.
    #[test]
    fn waits() {
        let asked = Some(Duration::from_secs(7));
        for (status, reason) in [(503, "ServiceUnavailable"), (429, "TooManyRequests")] {
            let body = format!(r#"{{"reason":"{reason}"}}"#);
            let ruling = classify(status, body.as_bytes(), asked, &proven());
            assert_eq!(ruling.resend, Resend::No);
            assert!(matches!(ruling.outcome, Outcome::Retryable { retry_after, .. } if retry_after == asked));
        }
        let unasked = classify(429, br#"{"reason":"TooManyRequests"}"#, None, &proven()).outcome;
        assert!(matches!(unasked, Outcome::Retryable { retry_after: Some(THROTTLED_WAIT), .. }), "{unasked:?}");
    }
}
