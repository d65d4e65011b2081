//! The issuer's key set (RFC 7517): which key may verify what. Pure.
//!
//! A key that is not for signatures, of a kind that no allowed algorithm uses, or unreadable is left out and harms no other. Two keys of one
//! name are both tried, as RFC 7517 §4.5 allows them.
use std::sync::Arc;

use jsonwebtoken::{Algorithm as JwtAlgorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::config::Algorithm;

/// Most keys of a set: issuers publish two or three, during rotations of several algorithms a dozen.
const KEYS_MAX: usize = 64;
/// Most keys of one name that are tried for a token.
const SAME_NAME_MAX: usize = 4;

/// One key.
pub(super) struct Key {
    kid: Option<String>,
    /// The only algorithm that it is for, if the issuer says so.
    alg: Option<Algorithm>,
    kind: Kind,
    pub(super) decoding: DecodingKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Algorithm {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// Only what may be allowed has a name here.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    pub(super) const fn jwt(self) -> JwtAlgorithm {
        match self {
            Self::RS256 => JwtAlgorithm::RS256,
            Self::RS384 => JwtAlgorithm::RS384,
            Self::RS512 => JwtAlgorithm::RS512,
            Self::PS256 => JwtAlgorithm::PS256,
            Self::PS384 => JwtAlgorithm::PS384,
            Self::PS512 => JwtAlgorithm::PS512,
            Self::ES256 => JwtAlgorithm::ES256,
            Self::ES384 => JwtAlgorithm::ES384,
            Self::EdDSA => JwtAlgorithm::EdDSA,
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512 => Kind::Rsa,
            Self::ES256 => Kind::P256,
            Self::ES384 => Kind::P384,
            Self::EdDSA => Kind::Ed25519,
        }
    }
}

/// A JWK, as far as it matters here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    fn key(self, allowed: &[Algorithm]) -> Option<Key> {
        let signs = self.usage.as_deref().is_none_or(|usage| usage == "sig");
        let verifies = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !signs || !verifies {
            return None;
        }
        let alg = match &self.alg {
            Some(name) => Some(Algorithm::named(name)?),
            None => None,
        };
        let (kind, decoding) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (Kind::Rsa, DecodingKey::from_rsa_components(&self.n?, &self.e?)),
            ("EC", Some("P-256")) => (Kind::P256, DecodingKey::from_ec_components(&self.x?, &self.y?)),
            ("EC", Some("P-384")) => (Kind::P384, DecodingKey::from_ec_components(&self.x?, &self.y?)),
            ("OKP", Some("Ed25519")) => (Kind::Ed25519, DecodingKey::from_ed_components(&self.x?)),
            _ => return None,
        };
        let key = Key { kid: self.kid, alg, kind, decoding: decoding.ok()? };
        allowed.iter().any(|algorithm| key.fits(*algorithm)).then_some(key)
    }
}

impl Key {
    fn fits(&self, algorithm: Algorithm) -> bool {
        self.kind == algorithm.kind() && self.alg.is_none_or(|alg| alg == algorithm)
    }
}

/// The keys that the issuer publishes and that count here: at least one.
pub(super) struct KeySet(Vec<Arc<Key>>);

impl KeySet {
    /// Reads a key set; the error is the end of a sentence.
    pub(super) fn read(text: &[u8], allowed: &[Algorithm]) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let document: Document = serde_json::from_slice(text).map_err(|_| "is no JSON Web Key Set")?;
        let keys = document.keys.into_iter().take(KEYS_MAX).filter_map(|key| Jwk::deserialize(key).ok()?.key(allowed));
        let keys: Vec<_> = keys.map(Arc::new).collect();
        if keys.is_empty() {
            return Err("has no key for any of auth.algorithms");
        }
        Ok(Self(keys))
    }

    /// The keys that may have signed a token with this header. A token without a name needs a set in which only one key fits.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<Arc<Key>> {
        let fitting = self.0.iter().filter(|key| key.fits(algorithm)).cloned();
        match kid {
            Some(kid) => fitting.filter(|key| key.kid.as_deref() == Some(kid)).take(SAME_NAME_MAX).collect(),
            None => {
                let fitting: Vec<_> = fitting.take(2).collect();
                if fitting.len() == 1 { fitting } else { Vec::new() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rsa(fields: Value) -> Value {
        let mut key = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" });
        key.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        key
    }

    fn set(keys: Value) -> Result<KeySet, &'static str> {
        KeySet::read(json!({ "keys": keys }).to_string().as_bytes(), &[Algorithm::RS256, Algorithm::ES256])
    }

    #[test]
    fn only_keys_that_may_verify_count() {
        // Keys for encryption, of other algorithms or kinds, secret or broken ones are left out; the others stay.
        let good = rsa(json!({"kid": "good"}));
        for other in [
            rsa(json!({"kid": "other", "use": "enc"})),
            rsa(json!({"kid": "other", "key_ops": ["encrypt"]})),
            rsa(json!({"kid": "other", "alg": "RS512"})),
            rsa(json!({"kid": "other", "alg": "RSA-OAEP"})),
            rsa(json!({"kid": "other", "alg": "HS256"})),
            rsa(json!({"kid": "other", "alg": "none"})),
            rsa(json!({"kid": "other", "n": null})),
            rsa(json!({"kid": "other", "n": "!"})),
            json!({"kty": "oct", "k": "AQAB", "kid": "other", "alg": "HS256"}),
            json!({"kty": "EC", "crv": "P-384", "x": "AQAB", "y": "AQAB", "kid": "other"}),
            json!({"kty": "EC", "crv": "secp256k1", "x": "AQAB", "y": "AQAB", "kid": "other"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AQAB", "kid": "other"}),
            json!({"kid": "other"}),
            json!("other"),
            json!(null),
        ] {
            assert!(set(json!([other])).is_err(), "{other}");
            let set = set(json!([other, good])).unwrap();
            assert_eq!((set.0.len(), set.find(Some("good"), Algorithm::RS256).len()), (1, 1), "{other}");
        }
        for broken in ["", "[]", "{}", "{\"keys\":{}}", "<html>"] {
            assert!(KeySet::read(broken.as_bytes(), &[Algorithm::RS256]).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_key_is_found_by_name_and_algorithm() {
        // The name and the algorithm must both fit; two of one name are both candidates; without a name it must be the only one.
        let ec = json!({"kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB", "kid": "ec"});
        let set = set(json!([rsa(json!({"kid": "a"})), rsa(json!({"kid": "a", "use": "sig"})), ec])).unwrap();
        let found = |kid, algorithm| set.find(kid, algorithm).len();
        assert_eq!((found(Some("a"), Algorithm::RS256), found(Some("a"), Algorithm::ES256)), (2, 0));
        assert_eq!((found(Some("ec"), Algorithm::ES256), found(Some("ec"), Algorithm::RS256)), (1, 0));
        assert_eq!((found(Some("A"), Algorithm::RS256), found(Some(""), Algorithm::RS256)), (0, 0));
        assert_eq!((found(None, Algorithm::ES256), found(None, Algorithm::RS256)), (1, 0));
    }

    #[test]
    fn a_set_is_bounded() {
        // However many keys come, so many are kept; however many have one name, so many are tried.
        let keys: Vec<_> = (0..1_000).map(|_| rsa(json!({"kid": "same"}))).collect();
        let set = set(json!(keys)).unwrap();
        assert_eq!((set.0.len(), set.find(Some("same"), Algorithm::RS256).len()), (KEYS_MAX, SAME_NAME_MAX));
    }

    #[test]
    fn nothing_symmetric_has_a_name() {
        // Only asymmetric algorithms can be allowed, whatever the configuration or a token says.
        for name in ["none", "None", "NONE", "HS256", "HS384", "HS512", "rs256", "ES512", ""] {
            assert!(Algorithm::named(name).is_none(), "{name}");
        }
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
            assert_eq!(serde_json::to_value(algorithm).unwrap(), algorithm.name());
            assert_eq!(serde_json::to_value(algorithm.jwt()).unwrap(), algorithm.name());
        }
    }
}
