//! What a token says, and how it is signed: rightly, or wrongly in the ways that a verifier must notice.
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::config::Persona;
use super::keys::Key;
use crate::sandbox::credentials::CredentialsError;

/// What is issued at once on request, without the code flow: the body of `POST /issuer/tokens`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mint {
    /// Whose token.
    pub persona: String,
    /// Claims in place of the usual ones, whatever they are; null takes one away.
    #[serde(default)]
    pub claims: Map<String, Value>,
    /// Header fields in place of the usual ones; null takes one away.
    #[serde(default)]
    pub header: Map<String, Value>,
    /// How it is signed.
    #[serde(default)]
    pub sign: Sign,
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// By the key that signs at present.
    #[default]
    Current,
    /// By a key of nobody, under the name of the one that signs at present.
    Stranger,
    /// By the right key, then one bit of the signature is turned.
    Broken,
    /// Not at all: `alg` is `none` and the signature empty.
    None,
    /// `alg` is `HS256`, the secret is the public key's PEM.
    PublicKeyAsSecret,
}

/// When and for how long a token is issued.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) now_s: i64,
    pub(super) auth_s: i64,
    pub(super) lifetime_s: i64,
}

/// What both kinds of token say of a person.
fn claims(issuer: &str, persona: &Persona, times: Times, audience: &str) -> Map<String, Value> {
    let mut claims = Map::new();
    let mut say = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    say("iss", issuer.into());
    say("sub", persona.user.as_str().into());
    say("aud", audience.into());
    say("iat", times.now_s.into());
    say("exp", (times.now_s + times.lifetime_s).into());
    say("auth_time", times.auth_s.into());
    say("jti", uuid::Uuid::new_v4().to_string().into());
    if let Some(acr) = &persona.acr {
        say("acr", acr.as_str().into());
    }
    claims
}

/// An access token in the form of RFC 9068.
pub(super) fn access_claims(
    issuer: &str,
    persona: &Persona,
    times: Times,
    audience: &str,
    client_id: &str,
    scope: &str,
) -> Map<String, Value> {
    let mut claims = claims(issuer, persona, times, audience);
    claims.insert("client_id".to_owned(), client_id.into());
    claims.insert("scope".to_owned(), scope.into());
    claims.insert("workspaces".to_owned(), json!(persona.workspaces));
    if persona.operator {
        claims.insert("operator".to_owned(), true.into());
    }
    replace(&mut claims, &persona.claims);
    claims
}

/// An ID token of OpenID Connect Core §2.
pub(super) fn id_claims(
    issuer: &str,
    persona: &Persona,
    times: Times,
    client_id: &str,
    nonce: Option<&str>,
) -> Map<String, Value> {
    let mut claims = claims(issuer, persona, times, client_id);
    claims.insert("name".to_owned(), persona.name.as_str().into());
    if let Some(nonce) = nonce {
        claims.insert("nonce".to_owned(), nonce.into());
    }
    claims
}

/// Puts each field in place of the one of the same name; null takes it away.
pub(super) fn replace(fields: &mut Map<String, Value>, by: &Map<String, Value>) {
    for (name, value) in by {
        match value {
            Value::Null => drop(fields.remove(name)),
            value => drop(fields.insert(name.clone(), value.clone())),
        }
    }
}

/// The compact form (RFC 7515 §3.1). `typ` is the header's; `more` outweighs all of the header.
pub(super) fn encode(
    key: &Key,
    sign: Sign,
    typ: &str,
    more: &Map<String, Value>,
    claims: &Map<String, Value>,
) -> Result<String, CredentialsError> {
    let alg = match sign {
        Sign::Current | Sign::Stranger | Sign::Broken => key.alg(),
        Sign::None => "none",
        Sign::PublicKeyAsSecret => "HS256",
    };
    let mut header = Map::new();
    header.insert("alg".to_owned(), alg.into());
    header.insert("typ".to_owned(), typ.into());
    header.insert("kid".to_owned(), key.kid.as_str().into());
    replace(&mut header, more);
    let part = |fields: &Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::Object(fields.clone()).to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let bytes = signed.as_bytes();
    let signature = match sign {
        Sign::Current => key.sign(bytes)?,
        Sign::Stranger => Key::generate(key.algorithm())?.sign(bytes)?,
        Sign::Broken => {
            let mut signature = key.sign(bytes)?;
            if let Some(last) = signature.last_mut() {
                *last ^= 1;
            }
            signature
        }
        Sign::None => Vec::new(),
        Sign::PublicKeyAsSecret => {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, key.public_pem()?.as_bytes());
            hmac::sign(&secret, bytes).as_ref().to_vec()
        }
    };
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
