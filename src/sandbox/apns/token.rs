//! Provider tokens: the JWT in `authorization`, verified once for each distinct token.
//!
//! Apple's form (header `alg` ES256 and `kid`; claims `iss` and a numeric `iat`; base64url without padding; signature r‖s of 64
//! bytes); with `accept_der` also what some clients send in its place, DER signatures and padded standard base64.
//! The verdict does not depend on time or connection, so it is kept; age, team and number of tokens are the connection's.
//! A token that cannot be read or verified is [`Verdict::Invalid`], whatever the cause: Apple does not tell either.
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::sandbox::config::ApnsKey;

/// Distinct tokens whose verdicts are kept; at more, all are forgotten.
const KEPT: usize = 4_096;
/// Length of an r‖s signature in bytes.
const FIXED_SIGNATURE: usize = 64;

/// What one distinct token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Signed by the key with this index.
    Signed {
        /// Index into the keys.
        key: usize,
        /// Seconds since 1970.
        issued_at: i64,
    },
    /// No token of ours.
    Invalid,
}

/// A key and its public half.
pub(crate) struct KnownKey {
    pub(crate) key: ApnsKey,
    /// Uncompressed point.
    pub(crate) public: Vec<u8>,
}

/// Verifies tokens and remembers the verdicts.
pub(crate) struct Verifier {
    pub(crate) keys: Vec<KnownKey>,
    accept_der: bool,
    verdicts: RwLock<HashMap<Arc<[u8]>, Verdict>>,
}

impl Verifier {
    pub(crate) fn new(keys: Vec<KnownKey>, accept_der: bool) -> Self {
        Self { keys, accept_der, verdicts: RwLock::default() }
    }

    /// The verdict on `token`, verified at its first sight only.
    pub(crate) fn verdict(&self, token: &[u8]) -> Verdict {
        if let Some(verdict) = self.verdicts.read().unwrap_or_else(PoisonError::into_inner).get(token) {
            return *verdict;
        }
        let verdict = self.verify(token).unwrap_or(Verdict::Invalid);
        let mut verdicts = self.verdicts.write().unwrap_or_else(PoisonError::into_inner);
        if verdicts.len() >= KEPT {
            verdicts.clear();
        }
        verdicts.insert(token.into(), verdict);
        verdict
    }

    fn verify(&self, token: &[u8]) -> Option<Verdict> {
        let token = std::str::from_utf8(token).ok()?;
        let mut parts = token.split('.');
        let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let fields: serde_json::Value = serde_json::from_slice(&self.decode(header)?).ok()?;
        if fields["alg"] != "ES256" {
            return None;
        }
        let kid = fields["kid"].as_str()?;
        let index = self.keys.iter().position(|known| known.key.key_id == kid)?;
        let known = &self.keys[index];
        let signed = &token[..header.len() + 1 + claims.len()];
        let signature = self.decode(signature)?;
        let algorithm: &'static dyn aws_lc_rs::signature::VerificationAlgorithm =
            if signature.len() == FIXED_SIGNATURE || !self.accept_der {
                &ECDSA_P256_SHA256_FIXED
            } else {
                &ECDSA_P256_SHA256_ASN1
            };
        UnparsedPublicKey::new(algorithm, &known.public).verify(signed.as_bytes(), &signature).ok()?;
        let claims: serde_json::Value = serde_json::from_slice(&self.decode(claims)?).ok()?;
        if claims["iss"] != known.key.team_id {
            return None;
        }
        Some(Verdict::Signed { key: index, issued_at: claims["iat"].as_i64()? })
    }

    fn decode(&self, part: &str) -> Option<Vec<u8>> {
        let strict = URL_SAFE_NO_PAD.decode(part).ok();
        strict.or_else(|| self.accept_der.then(|| STANDARD.decode(part).ok()).flatten())
    }
}
