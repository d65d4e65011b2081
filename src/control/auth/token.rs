//! One token: its form, its signature, and the claims that RFC 7519 and RFC 9068 give a meaning. Pure: keys and time come in.
//!
//! The order is the point: nothing that a token says is believed before its signature is found right, but the name of the key and the
//! algorithm, and the algorithm only if the operator allows it.
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::caller::Validity;
use super::claim::{Claim, texts};
use super::config::{Algorithm, AuthConfig};
use super::keys::Key;
use super::refusal::Refusal;
use crate::event::Timestamp;

/// The kinds of token that are read, in lower case: RFC 9068 §2.1, and what issuers wrote before it. Absent is one of them.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// What a token says of itself before anything is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
}

/// The rules that every token must obey.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    algorithms: Vec<Algorithm>,
    issuer: String,
    audience: Vec<String>,
    audience_claim: Claim,
    leeway: Duration,
    max_age: Duration,
    bytes_max: usize,
}

impl Rules {
    /// The error is a sentence that begins with the key.
    pub(super) fn new(config: &AuthConfig) -> Result<Self, String> {
        let missing = |key: &str| format!("{key} is missing");
        Ok(Self {
            algorithms: config.algorithms.clone(),
            issuer: config.issuer.clone().ok_or_else(|| missing("issuer"))?,
            audience: Some(config.audience.clone()).filter(|own| !own.is_empty()).ok_or_else(|| missing("audience"))?,
            audience_claim: Claim::new(&config.audience_claim).map_err(|what| format!("audience_claim {what}"))?,
            leeway: Duration::from_secs(config.leeway_s.into()),
            max_age: Duration::from_secs(config.max_token_age_s.into()),
            bytes_max: config.token_bytes_max,
        })
    }

    /// Reads the header, which nobody vouches for yet.
    pub(super) fn header(&self, token: &str) -> Result<Header, Refusal> {
        #[derive(Deserialize)]
        struct Raw {
            alg: String,
            kid: Option<String>,
            typ: Option<String>,
            #[serde(default, deserialize_with = "present")]
            crit: bool,
        }
        if token.len() > self.bytes_max {
            return Err(Refusal::NotAToken);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(Refusal::NotAToken);
        };
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| Refusal::NotAToken)?;
        let raw: Raw = serde_json::from_slice(&header).map_err(|_| Refusal::NotAToken)?;
        let algorithm = Algorithm::named(&raw.alg).filter(|algorithm| self.algorithms.contains(algorithm));
        let algorithm = algorithm.ok_or(Refusal::AlgorithmNotAllowed)?;
        if raw.crit {
            return Err(Refusal::CriticalExtension);
        }
        if raw.typ.is_some_and(|typ| !TYPES.contains(&typ.to_ascii_lowercase().as_str())) {
            return Err(Refusal::WrongKind);
        }
        Ok(Header { algorithm, kid: raw.kid })
    }

    /// The claims, if one of the keys made the signature.
    pub(super) fn claims(token: &str, header: &Header, keys: &[Arc<Key>]) -> Result<Map<String, Value>, Refusal> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::NotAToken)?;
        // Not the library's `decode`: it has an opinion of the claims, by a clock of its own.
        let made_by = |key: &Arc<Key>| {
            jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key.decoding, header.algorithm.jwt())
        };
        if !keys.iter().any(|key| made_by(key).unwrap_or(false)) {
            return Err(Refusal::WrongSignature);
        }
        let (_, claims) = signed.split_once('.').ok_or(Refusal::NotAToken)?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| Refusal::NotAToken)?;
        serde_json::from_slice(&claims).map_err(|_| Refusal::NotAToken)
    }

    /// Judges what every token has to say.
    pub(super) fn judge(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Validity, Refusal> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(Refusal::WrongIssuer);
        }
        let audience = self.audience_claim.of(claims).and_then(texts).unwrap_or_default();
        if !audience.iter().any(|audience| self.audience.iter().any(|own| own == audience)) {
            return Err(Refusal::WrongAudience);
        }
        let required = |name: &'static str| time(claims, name)?.ok_or(Refusal::NoTime(name));
        let (expires_at, issued_at) = (required("exp")?, required("iat")?);
        if now >= expires_at.plus(self.leeway) {
            return Err(Refusal::Expired);
        }
        let not_before = time(claims, "nbf")?.map_or(issued_at, |not_before| not_before.max(issued_at));
        if not_before > now.plus(self.leeway) {
            return Err(Refusal::NotYetValid);
        }
        let too_old_at = issued_at.plus(self.max_age);
        if now > too_old_at {
            return Err(Refusal::TooOld);
        }
        Ok(Validity { issued_at, valid_until: expires_at.min(too_old_at), auth_time: time(claims, "auth_time")? })
    }
}

/// Whether a field is there, whatever it is: null is no way around it.
fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(value).map(|_| true)
}

/// The latest second that is taken for a time: the year 9999.
const LATEST_S: f64 = 253_402_300_799.0;

/// A NumericDate (RFC 7519 §2); one that is there must be one.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>, Refusal> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..=LATEST_S).contains(seconds));
    seconds.map(|seconds| Some(Timestamp((seconds * 1_000.0) as i64))).ok_or(Refusal::NoTime(name))
}
