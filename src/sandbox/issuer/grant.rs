//! The token endpoint: a code for tokens, once (RFC 6749 §4.1.3 and §5, RFC 7636 §4.6).
use std::collections::BTreeMap;
use std::time::Instant;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::config::Persona;
use super::token::{self, Sign, Times};
use super::{Issuer, State, times};
use crate::sandbox::form;

/// Codes kept; at more, the expired ones are forgotten.
const SWEEP_AT: usize = 1_024;

/// What a code stands for.
pub(super) struct Grant {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    pub(super) scope: String,
    pub(super) nonce: Option<String>,
    pub(super) auth_s: i64,
    pub(super) persona: Persona,
    pub(super) until: Instant,
}

/// `error`, `error_description`.
type Refusal = (&'static str, &'static str);

impl State {
    pub(super) fn remember(&mut self, code: String, grant: Grant) {
        if self.grants.len() >= SWEEP_AT {
            let now = Instant::now();
            self.grants.retain(|_, grant| grant.until > now);
        }
        self.grants.insert(code, grant);
    }
}

impl Issuer {
    /// Answers one token request: status and body.
    pub(super) fn exchange(&self, body: &[u8]) -> (u16, Value) {
        self.redeem(body).map_or_else(
            |(error, description)| {
                self.count_refusal(400, error);
                (400, json!({ "error": error, "error_description": description }))
            },
            |tokens| (200, tokens),
        )
    }

    fn redeem(&self, body: &[u8]) -> Result<Value, Refusal> {
        let body = std::str::from_utf8(body).map_err(|_| ("invalid_request", "the body is no text"))?;
        let mut fields = BTreeMap::new();
        for (name, value) in form::fields(body) {
            if fields.insert(name, value).is_some() {
                return Err(("invalid_request", "a parameter came more than once"));
            }
        }
        let get = |name: &str| fields.get(name).map_or("", String::as_str);
        match get("grant_type") {
            "authorization_code" => {}
            "" => return Err(("invalid_request", "grant_type is missing")),
            _ => return Err(("unsupported_grant_type", "grant_type must be authorization_code")),
        }
        for name in ["code", "redirect_uri", "client_id", "code_verifier"] {
            if get(name).is_empty() {
                return Err(("invalid_request", "code, redirect_uri, client_id and code_verifier are required"));
            }
        }
        if fields.contains_key("client_secret") || !self.state().clients.contains_key(get("client_id")) {
            return Err(("invalid_client", "this client_id is not registered here as a public client"));
        }
        // Whatever comes of it, the code is used now.
        let grant = self.state().grants.remove(get("code"));
        let grant = grant.ok_or(("invalid_grant", "this code is unknown, or was used"))?;
        if grant.until <= Instant::now() {
            return Err(("invalid_grant", "this code has expired"));
        }
        if grant.client_id != get("client_id") || grant.redirect_uri != get("redirect_uri") {
            return Err(("invalid_grant", "this code was issued for another client_id or redirect_uri"));
        }
        let verifier = get("code_verifier");
        let is_verifier = (43..=128).contains(&verifier.len())
            && verifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        let hash = digest::digest(&digest::SHA256, verifier.as_bytes());
        if !is_verifier || URL_SAFE_NO_PAD.encode(hash) != grant.challenge {
            return Err(("invalid_grant", "code_verifier does not belong to code_challenge"));
        }
        self.tokens(&grant).ok_or(("server_error", "the tokens cannot be signed"))
    }

    fn tokens(&self, grant: &Grant) -> Option<Value> {
        let mut state = self.state();
        let lifetime_s = state.token_lifetime_s;
        let times = Times { auth_s: grant.auth_s, ..times(&grant.persona, lifetime_s) };
        let (persona, client) = (&grant.persona, grant.client_id.as_str());
        let access = token::access_claims(&self.url, persona, times, &self.config.audience, client, &grant.scope);
        let id = token::id_claims(&self.url, persona, times, client, grant.nonce.as_deref());
        let (key, usual) = (state.keys.current(), Map::new());
        let access = token::encode(key, Sign::Current, "at+jwt", &usual, &access).ok()?;
        let id = token::encode(key, Sign::Current, "JWT", &usual, &id).ok()?;
        state.issued += 1;
        Some(json!({
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": lifetime_s.max(0),
            "id_token": id,
            "scope": grant.scope,
        }))
    }
}

pub(super) fn is_base64url(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
