//! Forged, twisted and stale tokens, against the pure core. Signatures are made here, by the cryptographic library alone.
use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
};
use aws_lc_rs::{hmac, signature};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::super::config::Algorithm;
use super::super::keys::KeySet;
use super::super::token::Rules;
use super::*;

const NOW_S: i64 = 1_800_000_000;

struct Keys {
    ec: EcdsaKeyPair,
    stranger: EcdsaKeyPair,
    rsa: RsaKeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
    stranger: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
    rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
});

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn ec_jwk(key: &EcdsaKeyPair) -> Value {
    let point = key.public_key().as_ref();
    json!({"kty": "EC", "crv": "P-256", "kid": "ec", "x": text(&point[1..33]), "y": text(&point[33..])})
}

fn rsa_jwk() -> Value {
    let public = KEYS.rsa.public_key();
    let (n, e) = (public.modulus(), public.exponent());
    json!({"kty": "RSA", "kid": "rsa", "n": text(n.big_endian_without_leading_zero()), "e": text(e.big_endian_without_leading_zero())})
}

fn by_ec(key: &EcdsaKeyPair, signed: &[u8]) -> Vec<u8> {
    key.sign(&SystemRandom::new(), signed).unwrap().as_ref().to_vec()
}

fn by_rsa(encoding: &'static dyn signature::RsaEncoding, signed: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; KEYS.rsa.public_modulus_len()];
    KEYS.rsa.sign(encoding, &SystemRandom::new(), signed, &mut signature).unwrap();
    signature
}

fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", text(header.to_string().as_bytes()), text(claims.to_string().as_bytes()));
    let signature = text(&sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn claims(changes: Value) -> Value {
    let mut claims = object(json!({
        "iss": "https://login.example", "aud": "watchbell", "sub": "u", "iat": NOW_S - 10, "exp": NOW_S + 60,
        "workspaces": {"acme": "owner"},
    }));
    claims.extend(object(changes));
    claims.retain(|_, value| !value.is_null());
    Value::Object(claims)
}

/// A right token with a changed header.
fn ec_token(header: Value, changes: Value) -> String {
    let mut whole = object(json!({"alg": "ES256", "kid": "ec", "typ": "at+jwt"}));
    whole.extend(object(header));
    token(&Value::Object(whole), &claims(changes), |signed| by_ec(&KEYS.ec, signed))
}

/// The verifier without its network: the keys of the issuer are these two.
fn verify_with(changes: Value, token: &str) -> Result<Caller, Refusal> {
    let mut keys = object(json!({"issuer": "https://login.example", "audience": ["watchbell", "other"]}));
    keys.extend(object(changes));
    let config = config(Value::Object(keys));
    let rules = Rules::new(&config).unwrap();
    let jwks = json!({"keys": [ec_jwk(&KEYS.ec), rsa_jwk()]}).to_string();
    let set = KeySet::read(jwks.as_bytes(), &config.algorithms).unwrap();
    let header = rules.header(token)?;
    let found = set.find(header.kid.as_deref(), header.algorithm);
    if found.is_empty() {
        return Err(Refusal::UnknownKey);
    }
    let claims = Rules::claims(token, &header, &found)?;
    let validity = rules.judge(&claims, Timestamp::from_secs(NOW_S))?;
    Meaning::new(&config).unwrap().caller(&claims, validity)
}

fn verify(token: &str) -> Result<Caller, Refusal> {
    verify_with(json!({}), token)
}

#[test]
fn a_right_token_is_right() {
    // Both default algorithms, with and without the optional header fields; another algorithm only where it is allowed.
    for header in [
        json!({}),
        json!({"typ": "JWT"}),
        json!({"typ": "application/AT+JWT"}),
        json!({"typ": null}),
        json!({"x5t": "y", "jku": "https://evil.example"}),
    ] {
        let caller =
            verify(&ec_token(header.clone(), json!({}))).unwrap_or_else(|refusal| panic!("{header}: {refusal}"));
        assert_eq!((caller.user.as_str(), caller.issued_at), ("u", Timestamp::from_secs(NOW_S - 10)));
        assert_eq!(caller.valid_until, Timestamp::from_secs(NOW_S + 60));
    }
    let rs256 =
        token(&json!({"alg": "RS256", "kid": "rsa"}), &claims(json!({})), |signed| by_rsa(&RSA_PKCS1_SHA256, signed));
    assert!(verify(&rs256).is_ok());
    assert_eq!(verify_with(json!({"algorithms": ["ES256"]}), &rs256), Err(Refusal::AlgorithmNotAllowed));
    let rs384 =
        token(&json!({"alg": "RS384", "kid": "rsa"}), &claims(json!({})), |signed| by_rsa(&RSA_PKCS1_SHA384, signed));
    assert_eq!(verify(&rs384), Err(Refusal::AlgorithmNotAllowed));
    assert!(verify_with(json!({"algorithms": ["RS384"]}), &rs384).is_ok());
    let nameless = token(&json!({"alg": "ES256"}), &claims(json!({})), |signed| by_ec(&KEYS.ec, signed));
    assert!(verify(&nameless).is_ok(), "the only key that fits needs no name");
}

#[test]
fn forged_signatures_are_refused() {
    // No signature, the public key as a secret in every form that a confused verifier might hash, a stranger's key, a key in the header.
    let said = claims(json!({"workspaces": {"acme": "owner"}}));
    for alg in ["none", "None", "NONE", "nOnE", "", "HS256"] {
        let bare = token(&json!({"alg": alg, "kid": "ec"}), &said, |_| Vec::new());
        assert_eq!(verify(&bare), Err(Refusal::AlgorithmNotAllowed), "{alg}");
    }
    let der = |key: PublicKeyX509Der<'_>| key.as_ref().to_vec();
    let pem = |der: &[u8]| {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der)).into_bytes()
    };
    let (ec, rsa) = (der(KEYS.ec.public_key().as_der().unwrap()), der(KEYS.rsa.public_key().as_der().unwrap()));
    let secrets = [
        pem(&ec),
        pem(&rsa),
        ec,
        rsa,
        KEYS.ec.public_key().as_ref().to_vec(),
        ec_jwk(&KEYS.ec).to_string().into_bytes(),
        rsa_jwk().to_string().into_bytes(),
        rsa_jwk()["n"].as_str().unwrap().as_bytes().to_vec(),
        Vec::new(),
    ];
    for (alg, refusal) in [
        ("HS256", Refusal::AlgorithmNotAllowed),
        ("ES256", Refusal::WrongSignature),
        ("RS256", Refusal::WrongSignature),
    ] {
        for secret in &secrets {
            let kid = if alg == "RS256" { "rsa" } else { "ec" };
            let by_secret =
                |signed: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed).as_ref().to_vec();
            assert_eq!(verify(&token(&json!({"alg": alg, "kid": kid}), &said, by_secret)), Err(refusal.clone()));
        }
    }
    let by_stranger = |signed: &[u8]| by_ec(&KEYS.stranger, signed);
    for header in [
        json!({"alg": "ES256", "kid": "ec"}),
        json!({"alg": "ES256", "kid": "ec", "jwk": ec_jwk(&KEYS.stranger)}),
        json!({"alg": "ES256", "kid": "ec", "jku": "https://evil.example/jwks", "x5u": "https://evil.example/x"}),
    ] {
        assert_eq!(verify(&token(&header, &said, by_stranger)), Err(Refusal::WrongSignature), "{header}");
    }
    // All zeros once passed for any key (CVE-2022-21449).
    let zeros = token(&json!({"alg": "ES256", "kid": "ec"}), &said, |_| vec![0; 64]);
    assert_eq!(verify(&zeros), Err(Refusal::WrongSignature));
}

#[test]
fn the_key_must_be_the_named_one() {
    // A name that is not there, or is another kind of key's, has no key; the right signature under it changes nothing.
    for (alg, kid, refusal) in [
        ("ES256", json!("EC"), Refusal::UnknownKey),
        ("ES256", json!(""), Refusal::UnknownKey),
        ("ES256", json!("rsa"), Refusal::UnknownKey),
        ("RS256", json!("ec"), Refusal::UnknownKey),
        ("ES256", json!("../../ec"), Refusal::UnknownKey),
        ("ES256", json!(7), Refusal::NotAToken),
        ("RS256", json!("rsa"), Refusal::WrongSignature),
    ] {
        assert_eq!(verify(&ec_token(json!({"alg": alg, "kid": kid}), json!({}))), Err(refusal), "{alg} {kid}");
    }
}

#[test]
fn two_keys_of_one_name_are_both_tried() {
    // An issuer that repeats a name locks nobody out, and lets in nobody whose key is not there.
    let set = |keys: Value| KeySet::read(json!({ "keys": keys }).to_string().as_bytes(), &[Algorithm::ES256]).unwrap();
    let config = config(json!({"issuer": "https://login.example", "audience": ["watchbell"]}));
    let right = ec_token(json!({}), json!({}));
    let header = Rules::new(&config).unwrap().header(&right).unwrap();
    let both = set(json!([ec_jwk(&KEYS.stranger), ec_jwk(&KEYS.ec)])).find(Some("ec"), Algorithm::ES256);
    assert_eq!(both.len(), 2);
    assert!(Rules::claims(&right, &header, &both).is_ok());
    let strangers = set(json!([ec_jwk(&KEYS.stranger), ec_jwk(&KEYS.stranger)])).find(Some("ec"), Algorithm::ES256);
    assert_eq!(Rules::claims(&right, &header, &strangers), Err(Refusal::WrongSignature));
}

#[test]
fn what_must_be_understood_is_refused() {
    // RFC 7515 §4.1.11: extensions that are critical and unknown; and tokens that are not for this.
    for crit in [json!(["b64"]), json!(["exp"]), json!([]), json!(null), json!("x")] {
        assert_eq!(
            verify(&ec_token(json!({"crit": crit, "b64": false}), json!({}))),
            Err(Refusal::CriticalExtension),
            "{crit}"
        );
    }
    for typ in ["logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", "id+jwt", ""] {
        assert_eq!(verify(&ec_token(json!({"typ": typ}), json!({}))), Err(Refusal::WrongKind), "{typ}");
    }
}

#[test]
fn what_is_no_token_is_refused() {
    // Too few and too many parts, padding, white space, claims that are no object, a token longer than allowed, a repeated field.
    let right = ec_token(json!({}), json!({}));
    let parts: Vec<_> = right.split('.').collect();
    for wrong in [
        String::new(),
        ".".into(),
        "..".into(),
        "a.b.c".into(),
        parts[..2].join("."),
        format!("{right}."),
        format!("{right}.{}", parts[2]),
        format!(" {right}"),
        format!("{right} "),
        format!("{right}="),
        right.replacen('.', "=.", 1),
        right.to_uppercase(),
    ] {
        assert!(matches!(verify(&wrong), Err(Refusal::NotAToken | Refusal::WrongSignature)), "{wrong}");
    }
    for claims in [json!([]), json!("x"), json!(7), json!(null)] {
        let token = token(&json!({"alg": "ES256", "kid": "ec"}), &claims, |signed| by_ec(&KEYS.ec, signed));
        assert!(verify(&token).is_err(), "{claims}");
    }
    let twice = text(br#"{"alg":"ES256","alg":"none","kid":"ec"}"#);
    assert_eq!(verify(&format!("{twice}.{}.{}", parts[1], parts[2])), Err(Refusal::NotAToken));
    assert_eq!(
        verify_with(json!({"token_bytes_max": 512}), &ec_token(json!({}), json!({"x": "y".repeat(600)}))),
        Err(Refusal::NotAToken)
    );
}

#[test]
fn times_are_judged_to_the_second() {
    // exp, nbf, iat and the age, at their bounds with the leeway of 30 s and the age of 3,600 s; each must be a time; two must be there.
    let rows = [
        (json!({"exp": NOW_S - 29}), Ok(())),
        (json!({"exp": NOW_S - 30}), Err(Refusal::Expired)),
        (json!({"exp": NOW_S as f64 + 0.5}), Ok(())),
        (json!({"exp": null}), Err(Refusal::NoTime("exp"))),
        (json!({"exp": (NOW_S + 60).to_string()}), Err(Refusal::NoTime("exp"))),
        (json!({"exp": 1e300}), Err(Refusal::NoTime("exp"))),
        (json!({"exp": -1}), Err(Refusal::NoTime("exp"))),
        (json!({"exp": [NOW_S]}), Err(Refusal::NoTime("exp"))),
        (json!({"exp": true}), Err(Refusal::NoTime("exp"))),
        (json!({"nbf": NOW_S + 30}), Ok(())),
        (json!({"nbf": NOW_S + 31}), Err(Refusal::NotYetValid)),
        (json!({"nbf": "soon"}), Err(Refusal::NoTime("nbf"))),
        (json!({"iat": NOW_S + 30}), Ok(())),
        (json!({"iat": NOW_S + 31}), Err(Refusal::NotYetValid)),
        (json!({"iat": null}), Err(Refusal::NoTime("iat"))),
        (json!({"iat": "0"}), Err(Refusal::NoTime("iat"))),
        (json!({"iat": NOW_S - 3_600}), Ok(())),
        (json!({"iat": NOW_S - 3_601, "exp": NOW_S + 86_400}), Err(Refusal::TooOld)),
        (json!({"iat": 0}), Err(Refusal::TooOld)),
        (json!({"auth_time": "yesterday"}), Err(Refusal::NoTime("auth_time"))),
    ];
    for (changes, expected) in rows {
        assert_eq!(verify(&ec_token(json!({}), changes.clone())).map(drop), expected, "{changes}");
    }
    let signed_in =
        verify(&ec_token(json!({}), json!({"auth_time": NOW_S - 99, "iat": NOW_S - 3_000, "exp": NOW_S + 86_400})))
            .unwrap();
    assert_eq!(signed_in.auth_time, Some(Timestamp::from_secs(NOW_S - 99)));
    assert_eq!(signed_in.valid_until, Timestamp::from_secs(NOW_S + 600), "its age ends it before its exp");
}

#[test]
fn issuer_and_audience_must_be_ours() {
    // The issuer to the byte; one audience of several; nothing that only looks like either.
    let rows = [
        (json!({"aud": ["x", "watchbell"]}), Ok(())),
        (json!({"aud": "other"}), Ok(())),
        (json!({"aud": []}), Err(Refusal::WrongAudience)),
        (json!({"aud": "watchbell2"}), Err(Refusal::WrongAudience)),
        (json!({"aud": "Watchbell"}), Err(Refusal::WrongAudience)),
        (json!({"aud": "watchbell other"}), Err(Refusal::WrongAudience)),
        (json!({"aud": {"watchbell": true}}), Err(Refusal::WrongAudience)),
        (json!({"aud": ["watchbell", 7]}), Err(Refusal::WrongAudience)),
        (json!({"aud": null}), Err(Refusal::WrongAudience)),
        (json!({"iss": null}), Err(Refusal::WrongIssuer)),
        (json!({"iss": "https://login.example/"}), Err(Refusal::WrongIssuer)),
        (json!({"iss": "https://LOGIN.example"}), Err(Refusal::WrongIssuer)),
        (json!({"iss": ["https://login.example"]}), Err(Refusal::WrongIssuer)),
        (json!({"iss": "https://login.example.evil.example"}), Err(Refusal::WrongIssuer)),
    ];
    for (changes, expected) in rows {
        assert_eq!(verify(&ec_token(json!({}), changes.clone())).map(drop), expected, "{changes}");
    }
}

proptest! {
    #[test]
    fn any_changed_letter_ends_a_token(at in 0_usize..1_000, to in "[A-Za-z0-9_.=-]") {
        // One letter of header, claims or signature replaced: never accepted, not even with the same meaning.
        let mut twisted = ec_token(json!({}), json!({})).into_bytes();
        let at = at % twisted.len();
        let to = to.as_bytes()[0];
        prop_assume!(twisted[at] != to);
        twisted[at] = to;
        prop_assert!(verify(&String::from_utf8(twisted).unwrap()).is_err());
    }

    #[test]
    fn nothing_that_is_sent_breaks_the_verifier(token in "[ -~]{0,200}", header in "[ -~]{0,80}", claims in "[ -~]{0,80}") {
        // Arbitrary text, and arbitrary text in the place of header and claims: refused, without a panic.
        prop_assert!(verify(&token).is_err());
        let framed = format!("{}.{}.{}", text(header.as_bytes()), text(claims.as_bytes()), text(b"x"));
        prop_assert!(verify(&framed).is_err());
    }
}
