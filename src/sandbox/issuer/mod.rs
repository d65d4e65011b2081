//! An OpenID Connect issuer: discovery, keys, the authorization code flow with PKCE, tokens of invented people.
//!
//! The point: tests, demonstrations and people with curl sign in the way production does, and whoever verifies tokens can be shown every
//! token that must be refused.
//!
//! | endpoint | does |
//! | --- | --- |
//! | `GET /.well-known/openid-configuration` | OpenID Connect Discovery §4 |
//! | `GET /jwks` | the public keys |
//! | `GET /authorize` | a code for the persona in `login_hint`, at once; without it a page to choose one |
//! | `POST /token` | the code for an access token (RFC 9068) and an ID token |
//!
//! As strict as a real one: `redirect_uri` to the byte, PKCE with S256 only, a code once and for a minute. Public clients only; no
//! refresh tokens, no sessions, no passwords: whoever reaches it is whom they say. CORS is for the token endpoint, from the
//! origins that a client's `redirect_uris` have, and for what is published: discovery and keys, from anywhere.
//!
//! Keys live as long as the process. It fails as an issuer does, by its answers; the faults of [`super::fault`] with the provider `issuer`
//! meet it too, their `token` being a path, such as `/jwks`.
mod authorize;
pub mod config;
pub(crate) mod control;
mod grant;
mod keys;
pub(crate) mod service;
mod token;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

pub use self::config::{Client, IssuerConfig, Persona, SigningAlgorithm};
pub use self::token::{Mint, Sign};

use self::grant::Grant;
use self::keys::{Key, Keys};
use self::token::Times;
use super::apns::now_us;
use super::credentials::CredentialsError;

/// What `scope` says of tokens that are issued without the code flow.
const SCOPE: &str = "openid";

/// The issuer, shared by all its connections.
pub struct Issuer {
    config: IssuerConfig,
    url: String,
    state: Mutex<State>,
}

/// What changes while it runs.
struct State {
    keys: Keys,
    token_lifetime_s: i64,
    clients: BTreeMap<String, Client>,
    personas: BTreeMap<String, Persona>,
    /// By code.
    grants: HashMap<String, Grant>,
    issued: u64,
    refusals: BTreeMap<(u16, String), u64>,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Issuer {
    /// `url` is where it listens: its identifier, unless the configuration names another.
    pub(crate) fn new(config: IssuerConfig, url: String) -> Result<Self, CredentialsError> {
        let state = State {
            keys: Keys::new(config.algorithm)?,
            token_lifetime_s: config.token_lifetime_s,
            clients: clients(&config),
            personas: personas(&config),
            grants: HashMap::new(),
            issued: 0,
            refusals: BTreeMap::new(),
        };
        let url = config.url.clone().unwrap_or(url).trim_end_matches('/').to_owned();
        Ok(Self { config, url, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The issuer's identifier, the `iss` of its tokens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The `aud` of its access tokens.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.config.audience
    }

    /// An access token of a persona, as the code flow would give it; `None` if there is no such persona.
    #[must_use]
    pub fn token(&self, persona: &str) -> Option<String> {
        self.mint(&Mint { persona: persona.to_owned(), ..Mint::default() }).ok()
    }

    /// The user's id of a persona, `None` if there is no such persona.
    #[must_use]
    pub fn user(&self, persona: &str) -> Option<String> {
        self.state().personas.get(persona).map(|persona| persona.user.clone())
    }

    /// An access token without the code flow, with whatever claims and signature.
    ///
    /// # Errors
    /// A sentence, if there is no such persona or the cryptographic library refuses.
    pub fn mint(&self, mint: &Mint) -> Result<String, String> {
        let mut state = self.state();
        let Some(persona) = state.personas.get(&mint.persona) else {
            let known: Vec<_> = state.personas.keys().map(String::as_str).collect();
            return Err(format!("there is no persona {}; there are {}", mint.persona, known.join(", ")));
        };
        let times = times(persona, state.token_lifetime_s);
        let client = state.clients.keys().next().map_or("", String::as_str);
        let mut claims = token::access_claims(&self.url, persona, times, &self.config.audience, client, SCOPE);
        token::replace(&mut claims, &mint.claims);
        let signed = token::encode(state.keys.current(), mint.sign, "at+jwt", &mint.header, &claims);
        state.issued += 1;
        signed.map_err(|error| error.to_string())
    }

    /// A new key signs from now on; the ones before it stay published or are gone at once. Returns its name.
    ///
    /// # Errors
    /// [`CredentialsError::Generate`] if the cryptographic library refuses.
    pub fn rotate(&self, algorithm: SigningAlgorithm, keep_old: bool) -> Result<String, CredentialsError> {
        let key = Key::generate(algorithm)?;
        let kid = key.kid.clone();
        self.state().keys.rotate(key, keep_old);
        Ok(kid)
    }

    /// The key set as it is published.
    #[must_use]
    pub fn jwks(&self) -> Value {
        self.state().keys.jwks()
    }

    /// Seconds that tokens live which are issued from now on; zero or less makes them expired already.
    pub fn set_token_lifetime(&self, seconds: i64) {
        self.state().token_lifetime_s = seconds;
    }

    /// Adds a persona or replaces the one of the same name.
    pub fn set_persona(&self, persona: Persona) {
        self.state().personas.insert(persona.name.clone(), persona);
    }

    /// Adds a client or replaces the one of the same id: for an application whose port is known only once it listens.
    pub fn set_client(&self, client: Client) {
        self.state().clients.insert(client.client_id.clone(), client);
    }

    /// Tokens issued so far, by either way.
    #[must_use]
    pub fn issued(&self) -> u64 {
        self.state().issued
    }

    /// Requests refused so far, by HTTP status and OAuth error.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<(u16, String), u64> {
        self.state().refusals.clone()
    }

    /// Personas, clients and the lifetime are those of the start again; codes and counts are forgotten. Keys stay.
    pub fn reset(&self) {
        let mut state = self.state();
        state.token_lifetime_s = self.config.token_lifetime_s;
        (state.clients, state.personas) = (clients(&self.config), personas(&self.config));
        state.grants.clear();
        state.refusals.clear();
        state.issued = 0;
    }

    fn count_refusal(&self, status: u16, error: &str) {
        *self.state().refusals.entry((status, error.to_owned())).or_default() += 1;
    }

    /// What a client needs to know, and what a person may want to (without any key).
    pub(crate) fn summary(&self) -> Value {
        let state = self.state();
        json!({
            "issuer": self.url,
            "audience": self.config.audience,
            "clients": state.clients.values().collect::<Vec<_>>(),
            "personas": state.personas.values().collect::<Vec<_>>(),
            "token_lifetime_s": state.token_lifetime_s,
            "signing_key": state.keys.current().kid,
        })
    }

    /// OpenID Connect Discovery §3, RFC 8414 §2.
    fn discovery(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.url);
        json!({
            "issuer": self.url,
            "authorization_endpoint": at(service::AUTHORIZE),
            "token_endpoint": at(service::TOKEN),
            "jwks_uri": at(service::JWKS),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "RS256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "scopes_supported": ["openid"],
            "claims_supported": ["iss", "sub", "aud", "iat", "exp", "auth_time", "acr", "workspaces", "operator"],
            "authorization_response_iss_parameter_supported": true,
        })
    }
}

fn clients(config: &IssuerConfig) -> BTreeMap<String, Client> {
    config.clients.iter().map(|client| (client.client_id.clone(), client.clone())).collect()
}

fn personas(config: &IssuerConfig) -> BTreeMap<String, Persona> {
    config.personas.iter().map(|persona| (persona.name.clone(), persona.clone())).collect()
}

/// A sign-in of this moment, as far back as the persona's lies.
fn times(persona: &Persona, lifetime_s: i64) -> Times {
    let now_s = i64::try_from(now_us() / 1_000_000).unwrap_or(i64::MAX);
    Times { now_s, auth_s: now_s.saturating_sub_unsigned(persona.auth_age_s), lifetime_s }
}
