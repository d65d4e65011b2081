//! Access tokens for SASL OAUTHBEARER by OAuth 2.0 client credentials (RFC 6749 §4.4).
//!
//! The point: librdkafka asks for a token on the thread that polls a client, where records wait meanwhile. So one token serves all
//! clients of the process, it is fetched on the tokio runtime, by one request at a time, and well before anybody asks for the next one;
//! while the token in hand lives, nobody waits for its successor, however long the endpoint takes.
//!
//! Without a living token the asking thread waits, for at most [`WAIT_MAX`]; a failure is then remembered for [`FAILURE_LIFE`], so that
//! each client of the process does not pay for it in turn. It deliberately schedules no retries: librdkafka asks again after four fifths
//! of a token's remaining life, and ten seconds after it got none. It fails with a sentence that names the endpoint; neither the secret
//! nor a token is ever part of it.
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::client::OAuthToken;
use secrecy::{ExposeSecret, SecretString};

use super::config::SecurityConfig;

/// How long the endpoint may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a thread waits that has no living token. Shorter than the default session (6 s).
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a failure stands for the next ones. Shorter than the ten seconds after which librdkafka asks again, so that its next ask
/// is a new request.
const FAILURE_LIFE: Duration = Duration::from_secs(9);
/// A token is renewed when this much of its life is left: before the clients ask anew, which they do after four fifths of it.
const RENEWED_AT: f64 = 0.3;
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

/// What is known of tokens.
#[derive(Default)]
struct State {
    held: Option<Held>,
    fetching: bool,
    failure: Option<(Instant, String)>,
}

/// See the module.
pub(super) struct TokenSource {
    grant: Grant,
    http: reqwest::Client,
    runtime: tokio::runtime::Handle,
    state: Mutex<State>,
    /// Told at the end of each fetch.
    fetched: Condvar,
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

impl Held {
    fn left(&self, now: SystemTime) -> Duration {
        self.expires_at.duration_since(now).unwrap_or_default()
    }

    fn is_due(&self, now: SystemTime) -> bool {
        self.left(now) <= self.life.mul_f64(RENEWED_AT)
    }
}

impl State {
    /// The token in hand, if it lives; with whether it should be renewed.
    fn living(&self, now: SystemTime) -> Option<(&Held, bool)> {
        self.held.as_ref().filter(|held| !held.left(now).is_zero()).map(|held| (held, held.is_due(now)))
    }

    fn failure(&self, instant: Instant) -> Option<&str> {
        let (at, why) = self.failure.as_ref()?;
        (instant.saturating_duration_since(*at) < FAILURE_LIFE).then_some(why.as_str())
    }
}

impl TokenSource {
    /// Fetches nothing yet.
    pub(super) fn new(config: &SecurityConfig) -> Result<Arc<Self>, String> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| "OAUTHBEARER needs a tokio runtime around the Kafka clients".to_owned())?;
        let missing = |key: &str| format!("kafka.security.{key} is missing: OAUTHBEARER needs it");
        let grant = Grant {
            token_url: config.token_url.clone().ok_or_else(|| missing("token_url"))?,
            client_id: config.client_id.clone().ok_or_else(|| missing("client_id"))?,
            client_secret: config.client_secret.clone().ok_or_else(|| missing("client_secret_file"))?,
            scope: config.scope.clone().filter(|scope| !scope.is_empty()),
        };
        // The client's secret is for one place only.
        let http =
            reqwest::Client::builder().timeout(FETCH_TIMEOUT).redirect(reqwest::redirect::Policy::none()).build();
        let http = http.map_err(|error| format!("no HTTP client could be made for OAUTHBEARER: {error}"))?;
        Ok(Arc::new(Self { grant, http, runtime, state: Mutex::default(), fetched: Condvar::new() }))
    }

    /// A living token: the one in hand, else a fetched one. Blocks only without one; never called on the runtime's own threads.
    pub(super) fn token(self: &Arc<Self>) -> Result<OAuthToken, String> {
        self.token_at(SystemTime::now(), Instant::now())
    }

    fn token_at(self: &Arc<Self>, now: SystemTime, instant: Instant) -> Result<OAuthToken, String> {
        let mut state = self.lock();
        let wanted = state.living(now).is_none_or(|(_, due)| due);
        if wanted && state.failure(instant).is_none() {
            self.begin_fetch(&mut state);
        }
        if state.living(now).is_none() && state.fetching {
            let waited = self.fetched.wait_timeout_while(state, WAIT_MAX, |state| state.fetching);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        match state.living(now) {
            Some((held, _)) => Ok(self.handed_over(held)),
            None => Err(self.about(state.failure(instant).unwrap_or("no answer in time"))),
        }
    }

    fn handed_over(&self, held: &Held) -> OAuthToken {
        let expires_at = held.expires_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        OAuthToken {
            token: held.token.expose_secret().to_owned(),
            principal_name: self.grant.client_id.clone(),
            lifetime_ms: expires_at.as_millis() as i64,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn about(&self, why: &str) -> String {
        format!("kafka.security.token_url ({}): {why}", self.grant.token_url)
    }

    /// Starts a fetch, unless one is on its way.
    fn begin_fetch(self: &Arc<Self>, state: &mut State) {
        if !state.fetching {
            state.fetching = true;
            self.runtime.spawn(Arc::clone(self).fetch_once());
        }
    }

    async fn fetch_once(self: Arc<Self>) {
        let now = SystemTime::now();
        let answer = fetch(&self.http, &self.grant).await;
        let mut state = self.lock();
        state.fetching = false;
        match answer {
            Ok(answer) => {
                let life = Duration::from_secs(answer.expires_in.unwrap_or(DEFAULT_LIFE_SECS).max(1));
                state.held = Some(Held { token: answer.access_token, life, expires_at: now + life });
                state.failure = None;
                self.runtime.spawn(renew(Arc::downgrade(&self), life.mul_f64(1.0 - RENEWED_AT)));
            }
            Err(why) => {
                if state.living(now).is_some() {
                    tracing::warn!("{}; the token in hand lives on", self.about(&why));
                }
                state.failure = Some((Instant::now(), why));
            }
        }
        drop(state);
        self.fetched.notify_all();
    }
}

/// Fetches the next token when this one is due, if there are clients still and nobody did.
async fn renew(source: Weak<TokenSource>, after: Duration) {
    tokio::time::sleep(after).await;
    let Some(source) = source.upgrade() else { return };
    let mut state = source.lock();
    if state.living(SystemTime::now()).is_none_or(|(_, due)| due) {
        source.begin_fetch(&mut state);
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

#[cfg(test)]
#[path = "oauth_tests.rs"]
mod tests;
