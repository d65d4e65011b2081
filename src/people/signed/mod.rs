//! What devices sign: proofs that a request comes from them ([`Proof`]) and statements that stand by themselves
//! ([`SignedAnswer`], [`Promotion`], [`KeyRoll`]). Pure: keys and time come in.
//!
//! The point: each is a JWS in compact form (RFC 7515 §7.1), read so strictly that two readers cannot see two things in it, and nothing of
//! it is believed before its signature was found right with the key that the caller chose. What a text is for stands in `typ`, so that one
//! can never be used as another. There is one algorithm, ES256; a text that names another is refused before anything else is read.
//!
//! It deliberately does not look up keys, remember what was used, or judge what is asked for. It fails by [`Flaw`], which says what is wrong
//! to programs and to people, and repeats nothing of the text.
mod key;
mod proof;
mod statement;
mod strict;
mod url;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use key::DeviceKey;
pub use proof::{Asked, KeyOfProof, PROOF_TYPE, Proof, UncheckedProof};
pub use statement::{
    DECISION_TYPE, KEY_TYPE, KeyRoll, PROMOTION_TYPE, Promotion, Signed, SignedAnswer, Statement, Unchecked,
};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use self::strict::Members;
use crate::event::{DeviceId, Timestamp};

/// Longest text, in bytes: more than five ids of the longest kind, a key and a signature take.
pub const SIGNED_BYTES_MAX: usize = 4_096;
/// Longest `jti` and `nonce`, in bytes: what a UUID or 64 random bytes take, several times over.
pub const UNIQUE_BYTES_MAX: usize = 128;

/// Why a signed text does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Flaw {
    /// It is longer than [`SIGNED_BYTES_MAX`].
    #[error("The signed text is too long: at most {SIGNED_BYTES_MAX} bytes are read.")]
    TooLong,
    /// It is no JWS in compact form, or a part of it is not what it must be.
    #[error("The signed text is not a JWS in compact form with the members that it must have.")]
    Malformed,
    /// It names another algorithm than ES256.
    #[error("The signed text must be signed with ES256.")]
    Algorithm,
    /// Its header has a parameter that is not read here, `crit` among them.
    #[error("The signed text's header has a parameter besides alg, typ and the key.")]
    Parameter,
    /// It is meant for something else.
    #[error("The signed text is of another type than what is asked for here.")]
    Type,
    /// The key is no point of P-256 in a JWK.
    #[error("The key must be a JWK of kty EC and crv P-256.")]
    Key,
    /// The key came with its private half.
    #[error("The key came with its private half, so it is private no more. Make a new one.")]
    PrivateKey,
    /// The key did not sign it.
    #[error("The signature was not made by this device's key.")]
    Signature,
    /// It is meant for somebody else.
    #[error("The signed text is meant for another service.")]
    Audience,
    /// It was signed about something else than what it came with.
    #[error("The signed text is about something else than this request.")]
    Subject,
    /// It was made for another method or address.
    #[error("The proof was made for another method or address.")]
    Request,
    /// It is too old, or from the future.
    #[error("The proof is too old, or your device's clock is wrong. Try again.")]
    Time,
    /// It does not carry the challenge that it must answer.
    #[error("The proof does not answer the challenge.")]
    Nonce,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::TooLong,
        Self::Malformed,
        Self::Algorithm,
        Self::Parameter,
        Self::Type,
        Self::Key,
        Self::PrivateKey,
        Self::Signature,
        Self::Audience,
        Self::Subject,
        Self::Request,
        Self::Time,
        Self::Nonce,
    ];

    /// What it is to a program.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Parameter => "parameter",
            Self::Type => "type",
            Self::Key => "key",
            Self::PrivateKey => "private_key",
            Self::Signature => "signature",
            Self::Audience => "audience",
            Self::Subject => "subject",
            Self::Request => "request",
            Self::Time => "time",
            Self::Nonce => "nonce",
        }
    }
}

/// A JWS taken apart, its signature not yet looked at.
#[derive(Clone)]
struct Envelope {
    /// The text, verbatim.
    text: String,
    /// Its first so many bytes are what was signed: header and payload.
    signed: usize,
    signature: [u8; key::SIGNATURE_BYTES],
    key: HeaderKey,
    payload: Members,
}

/// How a header names the key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum HeaderKey {
    Carried(DeviceKey),
    Named(DeviceId),
}

impl Envelope {
    /// Takes apart a text that must be of type `typ`.
    fn open(text: &str, typ: &str) -> Result<Self, Flaw> {
        if text.len() > SIGNED_BYTES_MAX {
            return Err(Flaw::TooLong);
        }
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Flaw::Malformed);
        };
        let key = header_key(object(header)?, typ)?;
        let signature_at = text.len() - signature.len();
        Ok(Self {
            signature: key::decode(signature).ok_or(Flaw::Signature)?,
            payload: object(payload)?,
            signed: signature_at - 1,
            text: text.to_owned(),
            key,
        })
    }

    /// The payload, if that key signed it.
    fn verify(self, key: &DeviceKey) -> Result<(Members, String), Flaw> {
        let signed = self.text.as_bytes().get(..self.signed).ok_or(Flaw::Malformed)?;
        if key.signed(signed, &self.signature) { Ok((self.payload, self.text)) } else { Err(Flaw::Signature) }
    }
}

fn object(part: &str) -> Result<Members, Flaw> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Flaw::Malformed)?;
    Members::read(&bytes).ok_or(Flaw::Malformed)
}

/// Reads a header: the algorithm first, then what the text is for, then the one key that it names.
fn header_key(mut header: Members, typ: &str) -> Result<HeaderKey, Flaw> {
    if header.text("alg").as_deref() != Some("ES256") {
        return Err(Flaw::Algorithm);
    }
    if header.text("typ").as_deref() != Some(typ) {
        return Err(Flaw::Type);
    }
    let key = match (header.has("jwk"), header.has("kid")) {
        (true, false) => DeviceKey::from_members(header.object("jwk").ok_or(Flaw::Key)?).map(HeaderKey::Carried)?,
        (false, true) => {
            let kid = header.text("kid").and_then(|kid| DeviceId::new(kid).ok());
            HeaderKey::Named(kid.ok_or(Flaw::Malformed)?)
        }
        (true, true) | (false, false) => return Err(Flaw::Malformed),
    };
    header.end().ok_or(Flaw::Parameter)?;
    Ok(key)
}

/// The latest second that is taken for a time: the year 9999.
const LATEST_S: i64 = 253_402_300_799;

/// `iat` in whole seconds (RFC 7519 §2, less its fractions).
fn issued_at(payload: &mut Members) -> Option<Timestamp> {
    payload.whole("iat").filter(|second| (0..=LATEST_S).contains(second)).map(Timestamp::from_secs)
}

/// A value that its maker made unique: visible ASCII, bounded.
fn unique(text: String) -> Option<String> {
    let right = (1..=UNIQUE_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    right.then_some(text)
}
