//! A phone's key, and what an app signs with it: proofs and statements, as `docs/app.md` says.
//!
//! The point: it is an app's side, written from what app teams are told. It shares no code with what verifies it. The key lives in memory,
//! as long as the phone, and cannot print.
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::sandbox::credentials::CredentialsError;

/// `typ` of a proof (RFC 9449 §4.2).
pub(super) const PROOF: &str = "dpop+jwt";
/// `typ` of an answer.
pub(super) const DECISION: &str = "watchbell-decision+jwt";
/// `typ` of what lets another phone approve.
pub(super) const PROMOTION: &str = "watchbell-promotion+jwt";

/// A P-256 key. Clones are the same key.
#[derive(Clone)]
pub struct PhoneKey(Arc<EcdsaKeyPair>);

impl std::fmt::Debug for PhoneKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PhoneKey({})", self.thumbprint())
    }
}

impl PhoneKey {
    /// A new key.
    ///
    /// # Errors
    /// [`CredentialsError::Generate`] if the cryptographic library refuses.
    pub fn generate() -> Result<Self, CredentialsError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| CredentialsError::Generate)?;
        Ok(Self(Arc::new(pair)))
    }

    /// Both halves of the point, in base64url.
    fn point(&self) -> [String; 2] {
        // SEC 1 §2.3.3: 4, then the coordinates.
        let point = self.0.public_key().as_ref();
        [1..33, 33..65].map(|half| URL_SAFE_NO_PAD.encode(point.get(half).unwrap_or_default()))
    }

    /// The public half as JWK (RFC 7518 §6.2).
    #[must_use]
    pub fn jwk(&self) -> Value {
        let [x, y] = self.point();
        json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})
    }

    /// RFC 7638 thumbprint of it.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let [x, y] = self.point();
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        URL_SAFE_NO_PAD.encode(digest(&SHA256, jwk.as_bytes()))
    }

    /// A JWS in compact form (RFC 7515 §3.1) by ES256.
    ///
    /// # Errors
    /// [`CredentialsError::Generate`] if the cryptographic library refuses.
    pub fn sign(&self, header: &Value, payload: &Value) -> Result<String, CredentialsError> {
        let signed = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| CredentialsError::Generate)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// A proof for a request: in the name of the device, or with the key itself while it has none. `more` outweighs what it usually says.
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub fn proof(
        &self,
        device: Option<&str>,
        (method, url): (&str, &str),
        more: &Value,
    ) -> Result<String, CredentialsError> {
        let header = match device {
            Some(device) => json!({"alg": "ES256", "typ": PROOF, "kid": device}),
            None => json!({"alg": "ES256", "typ": PROOF, "jwk": self.jwk()}),
        };
        self.sign(&header, &with(json!({"htm": method, "htu": url, "iat": now_s(), "jti": unique()}), more))
    }

    /// A statement that stands by itself, of this device. `more` says what it is about.
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub fn statement(&self, device: &str, typ: &str, more: &Value) -> Result<String, CredentialsError> {
        let header = json!({"alg": "ES256", "typ": typ, "kid": device});
        self.sign(&header, &with(json!({"iat": now_s(), "jti": unique()}), more))
    }
}

/// The payload with more members, or with others in their place.
fn with(mut payload: Value, more: &Value) -> Value {
    if let (Some(payload), Some(more)) = (payload.as_object_mut(), more.as_object()) {
        payload.extend(more.clone());
    }
    payload
}

fn unique() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
