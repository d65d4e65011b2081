//! A proof that a request comes from a device, in the manner of DPoP (RFC 9449 §4): made anew for each request, over its method and address.
//!
//! The point: whoever reads a proof can use it for nothing else, and not for the same thing again once its `jti` is remembered. It
//! deliberately does not cover the body: what must not be altered is signed in a statement of its own. A proof carries the key (`jwk`)
//! where the key is not known yet, and otherwise names the device (`kid`), of which the server has the key.
use std::fmt;
use std::time::Duration;

use super::key::DeviceKey;
use super::url::normal;
use super::{Envelope, Flaw, HeaderKey, issued_at, unique};
use crate::event::{DeviceId, Timestamp};

/// The header's `typ` (RFC 9449 §4.2).
pub const PROOF_TYPE: &str = "dpop+jwt";

/// Which key a proof says to be made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyOfProof {
    /// The one that it carries. That it was made with it says nothing about whose it is.
    Carried(DeviceKey),
    /// That of this device.
    Of(DeviceId),
}

/// What a proof must have been made for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The request's method, in capitals.
    pub method: &'a str,
    /// The request's address as the device knows it: the service's public one, without query and fragment.
    pub url: &'a str,
    /// The challenge that it must answer; `None` where none was given.
    pub nonce: Option<&'a str>,
    /// Now, by the server's clock.
    pub now: Timestamp,
    /// How far its time may be from now, either way.
    pub window: Duration,
}

/// A proof, read and not believed.
#[derive(Clone)]
pub struct UncheckedProof(Envelope);

/// A proof that holds, unless it was used before.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// The key that made it.
    pub key: DeviceKey,
    /// What makes it unique among those of its key.
    pub jti: String,
    /// When it was made, by the device's clock.
    pub issued_at: Timestamp,
    /// Until when its `jti` must be remembered: afterwards its time alone refuses it.
    pub remember_until: Timestamp,
}

impl UncheckedProof {
    /// Reads a proof.
    pub fn read(text: &str) -> Result<Self, Flaw> {
        Envelope::open(text, PROOF_TYPE).map(Self)
    }

    /// The key that it says to be made with.
    pub fn key(&self) -> KeyOfProof {
        match &self.0.key {
            HeaderKey::Carried(key) => KeyOfProof::Carried(*key),
            HeaderKey::Named(device) => KeyOfProof::Of(device.clone()),
        }
    }

    /// Believes it, if that key made it for what was asked.
    pub fn verify(self, key: &DeviceKey, asked: &Asked<'_>) -> Result<Proof, Flaw> {
        if let HeaderKey::Carried(carried) = &self.0.key
            && carried != key
        {
            return Err(Flaw::Signature);
        }
        let (mut payload, _) = self.0.verify(key)?;
        let jti = payload.text("jti").and_then(unique).ok_or(Flaw::Malformed)?;
        let issued_at = issued_at(&mut payload).ok_or(Flaw::Malformed)?;
        let method = payload.text("htm").ok_or(Flaw::Malformed)?;
        let url = payload.text("htu").ok_or(Flaw::Malformed)?;
        let nonce = payload.maybe_text("nonce").ok_or(Flaw::Malformed)?;
        // What else stands in the payload is passed over: libraries for DPoP put `ath` and others there.
        let right_url = normal(&url).is_some_and(|url| normal(asked.url) == Some(url));
        if method != asked.method || !right_url {
            return Err(Flaw::Request);
        }
        if asked.now.since(issued_at).max(issued_at.since(asked.now)) > asked.window {
            return Err(Flaw::Time);
        }
        if asked.nonce.is_some() && nonce.as_deref() != asked.nonce {
            return Err(Flaw::Nonce);
        }
        // A second more: `iat` has whole seconds, and a moment that is just inside must still be remembered.
        let remember_until = issued_at.plus(asked.window).plus(Duration::from_secs(1));
        Ok(Proof { key: *key, jti, issued_at, remember_until })
    }
}

impl fmt::Debug for UncheckedProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UncheckedProof").field("key", &self.key()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").field("key", &self.key).field("issued_at", &self.issued_at).finish_non_exhaustive()
    }
}
