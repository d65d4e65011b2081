//! What both providers' answers have in common: their dates, their `Retry-After`, and what it means that there is no answer.
use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

use super::http2::{Answer, NotProcessed, SendError, Unknown};
use crate::delivery::{Outcome, Reach, Reason, RetryScope};
use crate::event::Timestamp;

/// Longest `Retry-After` that is believed. A broken front end must not park a job for a year; the longest tier is far shorter.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// When the provider answered, by its own clock.
pub(super) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

/// How long the provider asks to wait: seconds or a date (RFC 9110 §10.2.3). A date counts from the answer's own date where it has
/// one, so that our clock's error does not matter.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => http_date(text)?.since(date(headers).unwrap_or(now)),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn http_date(text: &str) -> Option<Timestamp> {
    let since = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_secs(i64::try_from(since.as_secs()).ok()?))
}

/// Whether the push was accepted.
pub(super) fn is_ok(sent: &Result<Answer, SendError>) -> bool {
    sent.as_ref().is_ok_and(|answer| answer.status == http::StatusCode::OK)
}

/// What it means for a push that there is no answer.
pub(super) fn unanswered(error: &SendError) -> Outcome {
    let reason = match error {
        SendError::NotProcessed(NotProcessed::NoConnection(_)) => "no_connection",
        SendError::NotProcessed(NotProcessed::Busy) => "no_free_stream",
        SendError::NotProcessed(NotProcessed::Refused { .. }) => "refused_stream",
        SendError::NotProcessed(NotProcessed::Closing) => "shutting_down",
        SendError::NotProcessed(NotProcessed::Unwanted) => "not_wanted",
        SendError::NotProcessed(NotProcessed::Malformed(_)) => {
            return Outcome::Rejected { reason: Reason::known("malformed_request") };
        }
        SendError::Unknown { cause: Unknown::Timeout, .. } => "timeout",
        SendError::Unknown { cause: Unknown::Reset(_), .. } => "stream_reset",
        SendError::Unknown { cause: Unknown::ConnectionLost(_), .. } => "connection_lost",
        SendError::Deadline => "deadline",
    };
    let reach = match error {
        SendError::NotProcessed(NotProcessed::Refused { .. }) => Reach::Refused,
        SendError::NotProcessed(_) | SendError::Deadline => Reach::Unsent,
        SendError::Unknown { .. } => Reach::Unknown,
    };
    Outcome::Retryable { reason: Reason::known(reason), retry_after: None, scope: RetryScope::Provider, reach }
}

/// How far a push got whose answer asks for another try: a server that says that it is too busy, or gone, has not passed it on; one that
/// failed in the middle may have.
pub(super) const fn reach_of(status: u16) -> Reach {
    if status >= 500 && status != 503 { Reach::Unknown } else { Reach::Refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Retry-After` is read as seconds and as a date, the date against the answer's own; nonsense is ignored.
    #[test]
    fn retry_after_forms() {
        let now = Timestamp::from_secs(1_800_000_000);
        let cases = [
            (Some("30"), None, Some(30)),
            (Some(" 0 "), None, Some(0)),
            (Some("99999999999"), None, Some(86_400)),
            (Some("Fri, 15 Jan 2027 08:01:00 GMT"), None, Some(60)),
            (Some("Fri, 15 Jan 2027 08:01:00 GMT"), Some("Fri, 15 Jan 2027 08:00:50 GMT"), Some(10)),
            (Some("Fri, 15 Jan 2027 07:00:00 GMT"), None, Some(0)),
            (Some("soon"), None, None),
            (Some("-5"), None, None),
            (None, None, None),
        ];
        for (asked, date, expected) in cases {
            let mut headers = HeaderMap::new();
            asked.map(|text| headers.insert(RETRY_AFTER, text.parse().unwrap()));
            date.map(|text| headers.insert(DATE, text.parse().unwrap()));
            assert_eq!(retry_after(&headers, now).map(|wait| wait.as_secs()), expected, "{asked:?} at {date:?}");
        }
    }

    /// A provider that turned a push away has not shown it; one that broke in the middle may have, and so may one that never answered.
    #[test]
    fn what_may_be_shown() {
        let open: Vec<u16> = (100..=504).filter(|status| reach_of(*status) == Reach::Unknown).collect();
        assert_eq!(open, [500, 501, 502, 504]);
    }

    /// No answer never costs a device its token: it is tried again, unless the request itself cannot be sent.
    #[test]
    fn no_answer() {
        let cases = [
            (SendError::NotProcessed(NotProcessed::NoConnection("x".into())), "no_connection", Reach::Unsent),
            (SendError::NotProcessed(NotProcessed::Busy), "no_free_stream", Reach::Unsent),
            (
                SendError::NotProcessed(NotProcessed::Refused { attempts: 3, last: "x".into() }),
                "refused_stream",
                Reach::Refused,
            ),
            (SendError::NotProcessed(NotProcessed::Closing), "shutting_down", Reach::Unsent),
            (SendError::NotProcessed(NotProcessed::Unwanted), "not_wanted", Reach::Unsent),
            (SendError::Deadline, "deadline", Reach::Unsent),
        ];
        for (error, expected, far) in cases {
            let outcome = unanswered(&error);
            assert!(
                matches!(&outcome, Outcome::Retryable { reason, reach, .. } if reason.as_str() == expected && *reach == far),
                "{outcome:?}"
            );
        }
        let malformed = unanswered(&SendError::NotProcessed(NotProcessed::Malformed("x".into())));
        assert_eq!(malformed, Outcome::Rejected { reason: Reason::known("malformed_request") });
    }
}
