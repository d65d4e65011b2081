//! The provider token: the JWT by which Apple knows whose pushes these are.
//!
//! The point: Apple counts distinct tokens and refuses who renews too often, so every worker and every restart must present the same
//! bytes without talking to each other. Hence the moment of issue lies on a grid of 40 minutes of the wall clock, and the signature is
//! deterministic (RFC 6979). It deliberately never makes a token because of an error.
//! It fails at load only, where the key is no P-256 key.
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::DecodePrivateKey as _;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};

use crate::event::Timestamp;

/// Seconds between two tokens. Apple wants at least 20 and at most 60 minutes ("Establishing a token-based connection to APNs").
const GRID_SECS: i64 = 2400;
/// A token is used this many seconds after its moment of issue at the earliest: with ages of 1.5 to 41.5 minutes, clocks that are 90 s
/// wrong in either direction still give a token that is neither from the future nor an hour old.
const MARGIN_SECS: i64 = 90;

/// The `iat` of the token to present at a moment, in seconds since the epoch.
pub(super) fn issued_at(now: Timestamp) -> i64 {
    (now.as_secs() - MARGIN_SECS).div_euclid(GRID_SECS) * GRID_SECS
}

/// Signs provider tokens with one key of one team.
pub(super) struct Signer {
    key: SigningKey,
    key_id: String,
    team_id: String,
}

impl Signer {
    /// Takes the text of Apple's `.p8` file; `None` if it is none. The ids are ten alphanumeric characters each.
    pub(super) fn new(key: &SecretString, key_id: &str, team_id: &str) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(key.expose_secret().as_bytes()).ok()?;
        let key = SigningKey::from_pkcs8_der(der.secret_pkcs8_der()).ok()?;
        Some(Self { key, key_id: key_id.to_owned(), team_id: team_id.to_owned() })
    }

    /// The token issued at a moment, always the same bytes. No `typ`: Apple's page does not list it.
    pub(super) fn token(&self, issued_at: i64) -> String {
        let header = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, self.key_id);
        let claims = format!(r#"{{"iss":"{}","iat":{issued_at}}}"#, self.team_id);
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature: Signature = self.key.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.to_bytes(), &mut token);
        token
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("key_id", &self.key_id).field("team_id", &self.team_id).finish_non_exhaustive()
    }
}

/// The key of RFC 6979 §A.2.5, in the form of Apple's files.
#[cfg(test)]
pub(crate) const TEST_KEY: &str = "-----BEGIN PRIVATE KEY-----
MEECAQAwEwYHKoZIzj0CAQYIKoZIzj0DAQcEJzAlAgEBBCDJr6nYRbp1FmtcIVdnsdaTTlDD2zbomxJ7imIrEg9nIQ==
-----END PRIVATE KEY-----";

#[cfg(test)]
mod tests {
    use p256::ecdsa::signature::Verifier as _;
    use p256::ecdsa::{Signature, VerifyingKey};
    use proptest::prelude::*;

    use super::*;

    fn signer() -> Signer {
        Signer::new(&TEST_KEY.into(), "ABC123DEFG", "TEAM456789").unwrap()
    }

    /// The signature is the deterministic one of RFC 6979 §A.2.5 (P-256, SHA-256, "sample").
    #[test]
    fn signature_is_deterministic() {
        let signature: Signature = signer().key.sign(b"sample");
        let expected = "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716\
                        F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8";
        assert_eq!(format!("{signature:X}"), expected);
    }

    /// The token of a given key and moment is these bytes, in every worker and for ever.
    #[test]
    fn token_vector() {
        let token = signer().token(1_799_997_600);
        insta::assert_snapshot!(token);
        let parts: Vec<&str> = token.split('.').collect();
        let decoded = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(decoded(parts[0]), r#"{"alg":"ES256","kid":"ABC123DEFG"}"#);
        assert_eq!(decoded(parts[1]), r#"{"iss":"TEAM456789","iat":1799997600}"#);
        let signature = Signature::from_slice(&URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).unwrap();
        let key = VerifyingKey::from(&signer().key);
        key.verify(format!("{}.{}", parts[0], parts[1]).as_bytes(), &signature).unwrap();
    }

    /// What is no P-256 key is refused, and nothing prints the key.
    #[test]
    fn keys() {
        for text in ["", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", "secret"] {
            assert!(Signer::new(&text.into(), "ABC123DEFG", "TEAM456789").is_none(), "{text:?}");
        }
        let printed = format!("{:?}", signer());
        assert_eq!(printed, r#"Signer { key_id: "ABC123DEFG", team_id: "TEAM456789", .. }"#);
    }

    proptest! {
        /// At every moment the token is 90 seconds to 41.5 minutes old, and its moment lies on the grid.
        #[test]
        fn age(now in 0i64..10_000_000_000) {
            let issued_at = issued_at(Timestamp::from_secs(now));
            let age = now - issued_at;
            prop_assert!((90..2490).contains(&age), "{age} s old");
            prop_assert_eq!(issued_at % 2400, 0);
        }
    }
}
