//! Access tokens for SASL OAUTHBEARER by OAuth 2.0 client credentials (RFC 6749 §4.4).
//!
//! The point: librdkafka asks for a token on the thread that polls a client, so one token serves all clients of the process and is
//! fetched on the tokio runtime; the asking thread waits for it, at most ten seconds.
//!
//! It deliberately schedules nothing: librdkafka asks again after four fifths of a token's life, and after ten seconds when it got
//! none. It fails with a sentence that names the endpoint; neither the secret nor a token is ever part of it.
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::client::OAuthToken;
use secrecy::{ExposeSecret, SecretString};

use super::config::SecurityConfig;

/// How long an asking thread waits. Shorter than any session.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// A token is shared while at least this much of its life is left; clients ask anew after four fifths of it.
const SHARED_LIFE: f64 = 0.3;
/// The life of a token whose issuer does not say (RFC 6749 §5.1 leaves it to documentation).
const DEFAULT_LIFE_SECS: u64 = 300;
/// Longest answer of the token endpoint, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

struct Held {
    token: SecretString,
    life: Duration,
    expires_at: SystemTime,
}

/// Whom to ask, and as whom.
struct Grant {
    token_url: String,
    client_id: String,
    client_secret: SecretString,
    scope: Option<String>,
}

/// See the module.
pub(super) struct TokenSource {
    grant: Arc<Grant>,
    http: reqwest::Client,
    runtime: tokio::runtime::Handle,
    held: Mutex<Option<Held>>,
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSource").field("token_url", &self.grant.token_url).finish_non_exhaustive()
    }
}

#[derive(serde::Deserialize)]
struct Answer {
    access_token: SecretString,
    expires_in: Option<u64>,
}

impl TokenSource {
    /// Fetches nothing yet.
    pub(super) fn new(config: &SecurityConfig) -> Result<Self, String> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| "OAUTHBEARER needs a tokio runtime around the Kafka clients".to_owned())?;
        let missing = |key: &str| format!("kafka.security.{key} is missing: OAUTHBEARER needs it");
        let grant = Grant {
            token_url: config.token_url.clone().ok_or_else(|| missing("token_url"))?,
            client_id: config.client_id.clone().ok_or_else(|| missing("client_id"))?,
            client_secret: config.client_secret.clone().ok_or_else(|| missing("client_secret_file"))?,
            scope: config.scope.clone().filter(|scope| !scope.is_empty()),
        };
        let http = reqwest::Client::builder().timeout(FETCH_TIMEOUT).build();
        let http = http.map_err(|error| format!("no HTTP client could be made for OAUTHBEARER: {error}"))?;
        Ok(Self { grant: Arc::new(grant), http, runtime, held: Mutex::new(None) })
    }

    /// A token with enough life left, fetched if need be. Blocks; never called on the runtime's own threads.
    pub(super) fn token(&self) -> Result<OAuthToken, String> {
        // Held over the fetch: clients that ask at the same time get the same token by one request.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        let fresh = held.as_ref().is_some_and(|held| {
            held.expires_at.duration_since(now).is_ok_and(|left| left > held.life.mul_f64(SHARED_LIFE))
        });
        if !fresh {
            *held = Some(self.fetch_blocking(now)?);
        }
        let held = held.as_ref().ok_or("no token")?;
        let expires_at = held.expires_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(OAuthToken {
            token: held.token.expose_secret().to_owned(),
            principal_name: self.grant.client_id.clone(),
            lifetime_ms: expires_at.as_millis() as i64,
        })
    }

    fn fetch_blocking(&self, now: SystemTime) -> Result<Held, String> {
        let (sender, receiver) = mpsc::channel();
        let (http, grant) = (self.http.clone(), Arc::clone(&self.grant));
        self.runtime.spawn(async move {
            // The other end is gone only when it no longer waits.
            sender.send(fetch(&http, &grant).await).ok();
        });
        let about = |why: String| format!("kafka.security.token_url ({}): {why}", self.grant.token_url);
        let answer = receiver.recv_timeout(FETCH_TIMEOUT * 2).map_err(|_| about("no answer in time".to_owned()))?;
        let answer = answer.map_err(about)?;
        let life = Duration::from_secs(answer.expires_in.unwrap_or(DEFAULT_LIFE_SECS).max(1));
        Ok(Held { token: answer.access_token, life, expires_at: now + life })
    }
}

/// RFC 6749 §2.3.1: the two parts are application/x-www-form-urlencoded before they become the Basic credentials.
fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

async fn fetch(http: &reqwest::Client, grant: &Grant) -> Result<Answer, String> {
    let mut form = vec![("grant_type", "client_credentials")];
    if let Some(scope) = &grant.scope {
        form.push(("scope", scope));
    }
    let (id, secret) = (form_encoded(&grant.client_id), form_encoded(grant.client_secret.expose_secret()));
    let request = http.post(&grant.token_url).basic_auth(id, Some(secret));
    let mut response = request.form(&form).send().await.map_err(|error| error.without_url().to_string())?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    if !status.is_success() {
        // RFC 6749 §5.2: a machine-readable error, which holds no secret.
        let error = serde_json::from_slice::<serde_json::Value>(&body).ok();
        let error = error.as_ref().and_then(|answer| answer.get("error")).and_then(|error| error.as_str());
        return Err(format!("{status} {}", error.unwrap_or("without an error code")));
    }
    serde_json::from_slice(&body).map_err(|_| "the answer has no access_token".to_owned())
}
