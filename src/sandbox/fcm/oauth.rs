//! The token endpoint: a service account's signed assertion for an opaque access token.
//!
//! Google's "Using OAuth 2.0 for server to server applications": RS256 by the account's key, `iss` the account, `aud` this
//! endpoint, one of the two scopes that FCM takes, at most an hour of life.
//! Access tokens are random, live as long as the configuration says and can be revoked. No refresh tokens, no id tokens. The request's
//! content type and the assertion's `typ` are not looked at: Google documents what they should be, not what becomes of others.
//! What is wrong is answered with Google's `error` and `error_description`.
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::sandbox::credentials::ServiceAccount;
use crate::sandbox::form;

/// The grant type of RFC 7523.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Scopes that allow sending.
const SCOPES: [&str; 2] =
    ["https://www.googleapis.com/auth/firebase.messaging", "https://www.googleapis.com/auth/cloud-platform"];
/// Longest life of an assertion, in seconds.
const MAX_LIFE_S: i64 = 3_600;
/// How far the clocks may differ, in seconds. Google states no number.
const SKEW_S: i64 = 300;
/// Access tokens kept; at more, the expired ones are forgotten.
const SWEEP_AT: usize = 1_024;

/// An OAuth error: `error`, `error_description`.
pub(crate) type OauthError = (&'static str, &'static str);

const BAD_FRAME: OauthError = (
    "invalid_grant",
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. \
     Check your iat and exp values in the JWT claim.",
);

/// Issues access tokens and knows them again.
pub(crate) struct TokenEndpoint {
    pub(crate) accounts: Vec<ServiceAccount>,
    audiences: Vec<String>,
    lifetime: Duration,
    issued: RwLock<HashMap<String, Issued>>,
}

/// What an access token stands for.
struct Issued {
    account: usize,
    until: Instant,
    assertion: String,
}

impl TokenEndpoint {
    pub(crate) fn new(accounts: Vec<ServiceAccount>, audiences: Vec<String>, lifetime: Duration) -> Self {
        Self { accounts, audiences, lifetime, issued: RwLock::default() }
    }

    /// Answers one exchange: status and body.
    pub(crate) fn exchange(&self, form: &[u8], now_s: u64) -> (u16, Value) {
        match self.grant(form, i64::try_from(now_s).unwrap_or(i64::MAX)) {
            Ok((account, assertion)) => {
                let token = format!("ya29.sandbox.{}", uuid::Uuid::new_v4().simple());
                let mut issued = self.issued.write().unwrap_or_else(PoisonError::into_inner);
                if issued.len() >= SWEEP_AT {
                    let now = Instant::now();
                    issued.retain(|_, own| own.until > now);
                }
                issued.insert(token.clone(), Issued { account, until: Instant::now() + self.lifetime, assertion });
                let lifetime = self.lifetime.as_secs();
                (200, json!({ "access_token": token, "expires_in": lifetime, "token_type": "Bearer" }))
            }
            Err((error, description)) => (400, json!({ "error": error, "error_description": description })),
        }
    }

    /// The account of a living access token.
    pub(crate) fn account(&self, token: &str) -> Option<&ServiceAccount> {
        let issued = self.issued.read().unwrap_or_else(PoisonError::into_inner);
        let own = issued.get(token)?;
        (own.until > Instant::now()).then(|| &self.accounts[own.account])
    }

    /// The access tokens, and the assertions that they were given for.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let issued = self.issued.read().unwrap_or_else(PoisonError::into_inner);
        issued.iter().flat_map(|(token, own)| [token.clone(), own.assertion.clone()]).collect()
    }

    /// Makes every access token unknown.
    pub(crate) fn revoke_all(&self) {
        self.issued.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The account, and the assertion that proves it.
    fn grant(&self, form: &[u8], now: i64) -> Result<(usize, String), OauthError> {
        let form = String::from_utf8_lossy(form);
        let field = |name: &str| form::fields(&form).find_map(|(key, value)| (key == name).then_some(value));
        match field("grant_type").as_deref() {
            Some(GRANT) => {}
            Some(_) => return Err(("unsupported_grant_type", "Invalid grant_type")),
            None => return Err(("invalid_request", "Required parameter is missing: grant_type")),
        }
        let assertion = field("assertion").ok_or(("invalid_request", "Required parameter is missing: assertion"))?;
        Ok((self.verify(&assertion, now)?, assertion))
    }

    fn verify(&self, assertion: &str, now: i64) -> Result<usize, OauthError> {
        const NO_JWT: OauthError = ("invalid_grant", "Bad Request");
        let parts: Vec<&str> = assertion.split('.').collect();
        let [header, claims, signature] = parts[..] else { return Err(NO_JWT) };
        let json = |part: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
            serde_json::from_slice::<Value>(&bytes).ok()
        };
        let fields = json(header).ok_or(NO_JWT)?;
        let claims_json = json(claims).ok_or(NO_JWT)?;
        if fields["alg"] != "RS256" {
            return Err(("invalid_grant", "Invalid JWT: unsupported algorithm."));
        }
        let account = self.accounts.iter().position(|account| claims_json["iss"] == *account.client_email);
        let index = account.ok_or(("invalid_grant", "Invalid grant: account not found"))?;
        let account = &self.accounts[index];
        let kid = &fields["kid"];
        if !kid.is_null() && *kid != *account.key_id {
            return Err(("invalid_grant", "Invalid JWT Signature."));
        }
        let signed = &assertion.as_bytes()[..header.len() + 1 + claims.len()];
        let signature = URL_SAFE_NO_PAD.decode(signature.trim_end_matches('=')).map_err(|_| NO_JWT)?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &account.public_key)
            .verify(signed, &signature)
            .map_err(|_| ("invalid_grant", "Invalid JWT Signature."))?;
        self.claims(&claims_json, now)?;
        Ok(index)
    }

    fn claims(&self, claims: &Value, now: i64) -> Result<(), OauthError> {
        let audience = claims["aud"].as_str().unwrap_or_default();
        if !self.audiences.iter().any(|own| own == audience) {
            return Err(("invalid_grant", "Invalid JWT: Failed audience check."));
        }
        let (Some(issued), Some(expires)) = (claims["iat"].as_i64(), claims["exp"].as_i64()) else {
            return Err(BAD_FRAME);
        };
        let lives = expires.saturating_sub(issued) <= MAX_LIFE_S && expires > issued;
        if !lives || issued > now + SKEW_S || expires < now - SKEW_S {
            return Err(BAD_FRAME);
        }
        let scopes = claims["scope"].as_str().unwrap_or_default();
        if !scopes.split(' ').any(|scope| SCOPES.contains(&scope)) {
            return Err(("invalid_scope", "Invalid OAuth scope or ID token audience provided."));
        }
        Ok(())
    }
}
