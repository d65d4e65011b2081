//! Assertion in, access token out: Google's token endpoint.
//!
//! Fails as data: what says that our account is wrong is `Misconfigured`, everything else is `Retryable`. An exchange is bounded in
//! time and in bytes.
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::account::Account;
use crate::delivery::{Outcome, Reach, Reason, RetryScope};
use crate::provider::answer;
use crate::seam::Clock;

/// For connecting, and for the whole exchange.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of an answer: access tokens have about 1 KiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The token endpoint, with the account that asks.
pub(super) struct Exchange {
    pub(super) account: Account,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
}

/// An access token.
pub(super) struct Grant {
    pub(super) token: SecretString,
    pub(super) lifetime: Duration,
}

#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
    /// Seconds.
    expires_in: u64,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl Exchange {
    /// `roots` are trusted instead of the system's. The error is a sentence.
    pub(super) fn new(
        account: Account,
        roots: Option<Vec<reqwest::Certificate>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            // The assertion is for one place only.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("watchbell/", env!("CARGO_PKG_VERSION")));
        let client = match roots {
            Some(roots) => client.tls_certs_only(roots),
            None => client,
        };
        let http = client.build().map_err(|error| error.to_string())?;
        Ok(Self { account, http, clock })
    }

    /// Asks for a token.
    pub(super) async fn grant(&self) -> Result<Grant, Outcome> {
        let assertion =
            self.account.assertion(self.clock.now()).ok_or_else(|| misconfigured("assertion_not_signed"))?;
        let form = [("grant_type", GRANT_TYPE), ("assertion", assertion.as_str())];
        let sent = self.http.post(&self.account.token_url).form(&form).send().await;
        let answer = sent.map_err(|error| {
            let what = if error.is_timeout() { "token_timeout" } else { "token_no_connection" };
            tracing::warn!(error = %without_url(error), "the token endpoint cannot be reached");
            retryable(Reason::known(what), None)
        })?;
        let status = answer.status();
        let retry_after = answer::retry_after(answer.headers(), self.clock.now());
        let body = read(answer).await.ok_or_else(|| retryable(Reason::known("token_answer_cut"), None))?;
        if !status.is_success() {
            return Err(refusal(status.as_u16(), &body, retry_after));
        }
        let granted: Granted =
            serde_json::from_slice(&body).map_err(|_| retryable(Reason::known("token_answer_malformed"), None))?;
        if granted.access_token.expose_secret().is_empty() || granted.expires_in == 0 {
            return Err(retryable(Reason::known("token_answer_malformed"), None));
        }
        Ok(Grant { token: granted.access_token, lifetime: Duration::from_secs(granted.expires_in) })
    }
}

/// The token endpoint's address is no secret, but what went wrong is said without it more shortly.
fn without_url(error: reqwest::Error) -> reqwest::Error {
    error.without_url()
}

async fn read(mut answer: reqwest::Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

/// The table of RFC 6749 §5.2 and of Google's own words.
fn refusal(status: u16, body: &[u8], retry_after: Option<Duration>) -> Outcome {
    let refused: Option<Refused> = serde_json::from_slice(body).ok();
    match refused.as_ref().map(|refused| refused.error.as_str()) {
        Some("invalid_grant") => misconfigured("invalid_grant"),
        Some("invalid_client") => misconfigured("invalid_client"),
        Some("invalid_request") => misconfigured("invalid_request"),
        Some("invalid_scope") => misconfigured("invalid_scope"),
        Some("unauthorized_client") => misconfigured("unauthorized_client"),
        Some("unsupported_grant_type") => misconfigured("unsupported_grant_type"),
        Some("access_denied") => misconfigured("access_denied"),
        Some("internal_failure") => retryable(Reason::known("internal_failure"), retry_after),
        Some("server_error") => retryable(Reason::known("server_error"), retry_after),
        Some("temporarily_unavailable") => retryable(Reason::known("temporarily_unavailable"), retry_after),
        foreign => {
            let reason = foreign.map_or(Reason::known("token_refused"), Reason::foreign);
            match status {
                408 | 429 | 500..=599 => retryable(reason, retry_after),
                _ => Outcome::Misconfigured { reason },
            }
        }
    }
}

fn misconfigured(reason: &'static str) -> Outcome {
    Outcome::Misconfigured { reason: Reason::known(reason) }
}

fn retryable(reason: Reason, retry_after: Option<Duration>) -> Outcome {
    Outcome::Retryable { reason, retry_after, scope: RetryScope::Provider, reach: Reach::Unsent }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What says that the account is wrong holds its jobs; what may pass is tried again.
    #[test]
    fn refusals() {
        let cases = [
            (400, r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#, false),
            (401, r#"{"error":"invalid_client"}"#, false),
            (403, r#"{"error":"access_denied"}"#, false),
            (400, r#"{"error":"new_error"}"#, false),
            (404, "<html>", false),
            (400, r#"{"error":"temporarily_unavailable"}"#, true),
            (400, r#"{"error":"internal_failure"}"#, true),
            (503, r#"{"error":"new_error"}"#, true),
            (502, "<html>", true),
            (429, "", true),
        ];
        for (status, body, passes) in cases {
            let outcome = refusal(status, body.as_bytes(), None);
            assert_eq!(matches!(outcome, Outcome::Retryable { .. }), passes, "{status} {body}: {outcome:?}");
            assert_eq!(matches!(outcome, Outcome::Misconfigured { .. }), !passes, "{status} {body}: {outcome:?}");
        }
    }
}
