//! A device's key: a point of P-256, as JWK (RFC 7518 §6.2), with its thumbprint (RFC 7638), and what it signed (ES256, RFC 7518 §3.4).
//!
//! The point: there is one curve, one algorithm and one spelling of a key. What the library checks was looked up in its source: that the
//! point is on the curve, that a signature has 64 bytes, that both its halves are in range. It deliberately holds no private key.
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Flaw;
use super::strict::Members;

/// The length of a coordinate, in bytes (RFC 7518 §6.2.1.2).
const COORDINATE_BYTES: usize = 32;
/// The length of an ES256 signature, in bytes: R and S (RFC 7518 §3.4).
pub(super) const SIGNATURE_BYTES: usize = 64;

/// A device's public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceKey {
    x: [u8; COORDINATE_BYTES],
    y: [u8; COORDINATE_BYTES],
}

impl DeviceKey {
    /// The key of a JWK. Members that do not make the key are passed over, but a private half is refused: whoever sent it burnt the key.
    pub fn from_jwk(text: &str) -> Result<Self, Flaw> {
        Self::from_members(Members::read(text.as_bytes()).ok_or(Flaw::Key)?)
    }

    pub(super) fn from_members(mut jwk: Members) -> Result<Self, Flaw> {
        if jwk.has("d") {
            return Err(Flaw::PrivateKey);
        }
        if jwk.text("kty").as_deref() != Some("EC") || jwk.text("crv").as_deref() != Some("P-256") {
            return Err(Flaw::Key);
        }
        let algorithm = jwk.maybe_text("alg").ok_or(Flaw::Key)?;
        let purpose = jwk.maybe_text("use").ok_or(Flaw::Key)?;
        if algorithm.is_some_and(|name| name != "ES256") || purpose.is_some_and(|name| name != "sig") {
            return Err(Flaw::Key);
        }
        let mut coordinate = |name: &str| jwk.text(name).and_then(|text| decode(&text)).ok_or(Flaw::Key);
        Ok(Self { x: coordinate("x")?, y: coordinate("y")? })
    }

    /// The JWK in its one spelling: that of which the thumbprint is made (RFC 7638 §3).
    pub fn to_jwk(&self) -> String {
        let [x, y] = [&self.x, &self.y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
    }

    /// RFC 7638 thumbprint, with SHA-256: 43 characters.
    pub fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.to_jwk().as_bytes()))
    }

    /// Whether this key signed these bytes.
    pub(super) fn signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        // SEC 1 §2.3.3: a point, uncompressed.
        let mut point = [4; 1 + 2 * COORDINATE_BYTES];
        point[1..=COORDINATE_BYTES].copy_from_slice(&self.x);
        point[1 + COORDINATE_BYTES..].copy_from_slice(&self.y);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(bytes, signature).is_ok()
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey({})", self.thumbprint())
    }
}

/// Base64url without padding (RFC 7515 §2), in its one spelling, of exactly so many bytes.
pub(super) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}
