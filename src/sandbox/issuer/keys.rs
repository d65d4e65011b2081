//! The issuer's keys: one signs, those before it may still be published.
//!
//! Signatures are made here with the cryptographic library alone, so that whoever verifies them shares no code with who made them.
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::config::SigningAlgorithm;
use crate::sandbox::credentials::CredentialsError;

/// One key and its name.
pub(super) struct Key {
    pub(super) kid: String,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl Key {
    pub(super) fn generate(algorithm: SigningAlgorithm) -> Result<Self, CredentialsError> {
        let fail = |_| CredentialsError::Generate;
        let pair = match algorithm {
            SigningAlgorithm::ES256 => {
                Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(fail)?)
            }
            SigningAlgorithm::RS256 => Pair::Rsa(rsa::KeyPair::generate(rsa::KeySize::Rsa2048).map_err(fail)?.into()),
        };
        Ok(Self { kid: uuid::Uuid::new_v4().simple().to_string(), pair })
    }

    pub(super) fn algorithm(&self) -> SigningAlgorithm {
        match self.pair {
            Pair::Ec(_) => SigningAlgorithm::ES256,
            Pair::Rsa(_) => SigningAlgorithm::RS256,
        }
    }

    pub(super) fn alg(&self) -> &'static str {
        match self.algorithm() {
            SigningAlgorithm::ES256 => "ES256",
            SigningAlgorithm::RS256 => "RS256",
        }
    }

    /// The signature as a JWS carries it (RFC 7518 §3.3, §3.4).
    pub(super) fn sign(&self, signed: &[u8]) -> Result<Vec<u8>, CredentialsError> {
        let fail = |_| CredentialsError::Generate;
        match &self.pair {
            Pair::Ec(pair) => Ok(pair.sign(&SystemRandom::new(), signed).map_err(fail)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed, &mut signature).map_err(fail)?;
                Ok(signature)
            }
        }
    }

    /// The public key as a JWK (RFC 7517, RFC 7518 §6).
    pub(super) fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.pair {
            Pair::Ec(pair) => {
                // An uncompressed point: 4, x, y.
                let point = pair.public_key().as_ref();
                let (x, y) = (text(&point[1..33]), text(&point[33..65]));
                json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.kid, "use": "sig", "alg": "ES256" })
            }
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let n = text(public.modulus().big_endian_without_leading_zero());
                let e = text(public.exponent().big_endian_without_leading_zero());
                json!({ "kty": "RSA", "n": n, "e": e, "kid": self.kid, "use": "sig", "alg": "RS256" })
            }
        }
    }

    /// The public key as PEM: what a verifier that takes any algorithm would use as an HMAC secret.
    pub(super) fn public_pem(&self) -> Result<String, CredentialsError> {
        let fail = |_| CredentialsError::Generate;
        let der: PublicKeyX509Der<'_> = match &self.pair {
            Pair::Ec(pair) => pair.public_key().as_der().map_err(fail)?,
            Pair::Rsa(pair) => pair.public_key().as_der().map_err(fail)?,
        };
        let lines = STANDARD.encode(der.as_ref());
        let lines: Vec<_> = lines.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        Ok(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n")))
    }
}

/// The keys, the one that signs last.
pub(super) struct Keys {
    current: Key,
    earlier: Vec<Key>,
}

impl Keys {
    pub(super) fn new(algorithm: SigningAlgorithm) -> Result<Self, CredentialsError> {
        Ok(Self { current: Key::generate(algorithm)?, earlier: Vec::new() })
    }

    pub(super) fn current(&self) -> &Key {
        &self.current
    }

    /// A new key signs from now on; those before it stay published or are gone at once.
    pub(super) fn rotate(&mut self, to: Key, keep_old: bool) {
        let old = std::mem::replace(&mut self.current, to);
        if keep_old {
            self.earlier.push(old);
        } else {
            self.earlier.clear();
        }
    }

    /// The key set (RFC 7517 §5).
    pub(super) fn jwks(&self) -> Value {
        let keys = self.earlier.iter().chain([&self.current]);
        json!({ "keys": keys.map(Key::jwk).collect::<Vec<_>>() })
    }
}
