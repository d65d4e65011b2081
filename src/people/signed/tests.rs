//! What is believed of what devices sign, and what is not.
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::{EventId, NotificationType, UserId, WorkspaceId};
use crate::people::{MatchNumber, Person, RequestId, Verb};
use std::time::Duration;

/// A key whose private half is that byte, 32 times.
pub(super) struct Pair(SigningKey);

impl Pair {
    pub(super) fn of(byte: u8) -> Self {
        Self(SigningKey::from_slice(&[byte; 32]).unwrap())
    }

    pub(super) fn jwk(&self) -> Value {
        let point = self.0.verifying_key().to_sec1_point(false);
        let point = point.as_bytes();
        let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
        json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})
    }

    pub(super) fn public(&self) -> DeviceKey {
        DeviceKey::from_jwk(&self.jwk().to_string()).unwrap()
    }

    /// Signs bytes, whatever they are. Deterministic (RFC 6979).
    pub(super) fn sign(&self, header: &str, payload: &str) -> String {
        let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
        let signed = format!("{header}.{payload}");
        let signature: Signature = self.0.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}

const NOW: Timestamp = Timestamp(1_800_000_000_500);
const URL: &str = "https://w.example/v1/workspaces/acme/requests";

fn asked<'a>(nonce: Option<&'a str>) -> Asked<'a> {
    Asked { method: "GET", url: URL, nonce, now: NOW, window: Duration::from_secs(120) }
}

fn proof_payload() -> Value {
    json!({"jti": "j-1", "htm": "GET", "htu": URL, "iat": 1_800_000_000})
}

fn known(typ: &str) -> Value {
    json!({"alg": "ES256", "typ": typ, "kid": "d1"})
}

fn proof_of(header: &Value, payload: &Value) -> Result<Proof, Flaw> {
    let text = Pair::of(1).sign(&header.to_string(), &payload.to_string());
    UncheckedProof::read(&text)?.verify(&Pair::of(1).public(), &asked(None))
}

fn decision() -> Value {
    json!({
        "aud": "https://w.example", "workspace": "acme", "user": "ada", "type": "identity_verification", "event": "e-1",
        "verb": "approve", "number": "123456", "iat": 1, "jti": "j-1",
    })
}

fn request(event: &str) -> RequestId {
    let person = Person { workspace: WorkspaceId::new("acme").unwrap(), user: UserId::new("ada").unwrap() };
    RequestId { person, kind: NotificationType::IdentityVerification, event: EventId::new(event).unwrap() }
}

fn decided(payload: &str) -> Result<Signed<SignedAnswer>, Flaw> {
    let text = Pair::of(1).sign(&known(DECISION_TYPE).to_string(), payload);
    Unchecked::<SignedAnswer>::read(&text)?.verify(&Pair::of(1).public(), "https://w.example")
}

/// `value` with one member replaced, or without it.
fn with(value: &Value, name: &str, member: Option<Value>) -> Value {
    let mut changed = value.clone();
    let members = changed.as_object_mut().unwrap();
    match member {
        Some(member) => members.insert(name.to_owned(), member),
        None => members.remove(name),
    };
    changed
}

/// The example of RFC 9449 §4.1 and the thumbprint of its key (§6.1): whoever reads DPoP elsewhere reads the same here.
#[test]
fn the_rfc_example() {
    let text = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    let proof = UncheckedProof::read(text).unwrap();
    let KeyOfProof::Carried(key) = proof.key() else { panic!("it carries its key") };
    assert_eq!(key.thumbprint(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    let now = Timestamp::from_secs(1_562_262_616);
    let asked = Asked { method: "POST", url: "https://server.example.com/token", nonce: None, now, ..asked(None) };
    let proof = proof.verify(&key, &asked).unwrap();
    assert_eq!((proof.jti.as_str(), proof.issued_at), ("-BwC3ESc6acc2lTc", now));
}

/// A proof counts for its method, its address and its time, and its `jti` is remembered for as long as it could be shown again.
#[test]
fn a_proof_counts_for_what_it_was_made_for() {
    let (header, payload) = (known(PROOF_TYPE), proof_payload());
    let proof = proof_of(&header, &payload).unwrap();
    assert_eq!((proof.key, proof.jti.as_str()), (Pair::of(1).public(), "j-1"));
    assert_eq!(proof.remember_until, Timestamp::from_secs(1_800_000_121));
    let changed = |name: &str, member: Value| proof_of(&header, &with(&payload, name, Some(member))).err();
    for (name, member, flaw) in [
        ("htm", json!("POST"), Some(Flaw::Request)),
        ("htm", json!("get"), Some(Flaw::Request)),
        ("htu", json!("https://w.example/v1/workspaces/other/requests"), Some(Flaw::Request)),
        ("htu", json!("http://w.example/v1/workspaces/acme/requests"), Some(Flaw::Request)),
        ("htu", json!(format!("{URL}?page=2")), Some(Flaw::Request)),
        ("htu", json!("HTTPS://W.example:443/v1/workspaces/%61cme/requests"), None),
        ("iat", json!(1_799_999_881), None),
        ("iat", json!(1_799_999_880), Some(Flaw::Time)),
        ("iat", json!(1_800_000_120), None),
        ("iat", json!(1_800_000_121), Some(Flaw::Time)),
        ("iat", json!(-1), Some(Flaw::Malformed)),
        ("iat", json!("1800000000"), Some(Flaw::Malformed)),
        ("iat", json!(1_800_000_000.0), Some(Flaw::Malformed)),
        ("iat", json!(i64::MAX), Some(Flaw::Malformed)),
        ("jti", json!(""), Some(Flaw::Malformed)),
        ("jti", json!("j 1"), Some(Flaw::Malformed)),
        ("jti", json!("j".repeat(128)), None),
        ("jti", json!("j".repeat(129)), Some(Flaw::Malformed)),
        ("nonce", json!(7), Some(Flaw::Malformed)),
        ("ath", json!("what a library puts there"), None),
    ] {
        assert_eq!(changed(name, member.clone()), flaw, "{name} {member}");
    }
    for name in ["jti", "htm", "htu", "iat"] {
        assert_eq!(proof_of(&header, &with(&payload, name, None)).err(), Some(Flaw::Malformed), "without {name}");
    }
}

/// Where a challenge was given the proof must carry it; where none was given it may carry what it likes.
#[test]
fn a_challenge_must_be_answered() {
    let with_nonce = |nonce: Option<Value>| {
        let payload = with(&proof_payload(), "nonce", nonce);
        Pair::of(1).sign(&known(PROOF_TYPE).to_string(), &payload.to_string())
    };
    let verify = |text: &str, nonce| UncheckedProof::read(text).unwrap().verify(&Pair::of(1).public(), &asked(nonce));
    assert!(verify(&with_nonce(Some(json!("c-1"))), Some("c-1")).is_ok());
    assert!(verify(&with_nonce(Some(json!("c-1"))), None).is_ok());
    assert_eq!(verify(&with_nonce(Some(json!("c-2"))), Some("c-1")).err(), Some(Flaw::Nonce));
    assert_eq!(verify(&with_nonce(None), Some("c-1")).err(), Some(Flaw::Nonce));
}

/// A header has an algorithm, a type and one key, and nothing that would have to be understood besides.
#[test]
fn headers_have_no_room_for_tricks() {
    let (header, payload) = (known(PROOF_TYPE), proof_payload());
    let jwk = Pair::of(1).jwk();
    let private = with(&jwk, "d", Some(json!("AQAB")));
    for (name, member, flaw) in [
        ("alg", Some(json!("none")), Flaw::Algorithm),
        ("alg", Some(json!("NONE")), Flaw::Algorithm),
        ("alg", Some(json!("es256")), Flaw::Algorithm),
        ("alg", Some(json!("HS256")), Flaw::Algorithm),
        ("alg", Some(json!("ES384")), Flaw::Algorithm),
        ("alg", Some(json!(["ES256"])), Flaw::Algorithm),
        ("alg", None, Flaw::Algorithm),
        ("typ", Some(json!("JWT")), Flaw::Type),
        ("typ", Some(json!(DECISION_TYPE)), Flaw::Type),
        ("typ", None, Flaw::Type),
        ("crit", Some(json!(["exp"])), Flaw::Parameter),
        ("crit", Some(json!([])), Flaw::Parameter),
        ("crit", Some(Value::Null), Flaw::Parameter),
        ("b64", Some(json!(false)), Flaw::Parameter),
        ("jku", Some(json!("https://evil.example/keys")), Flaw::Parameter),
        ("x5c", Some(json!(["AA"])), Flaw::Parameter),
        ("jwk", Some(jwk.clone()), Flaw::Malformed),
        ("kid", None, Flaw::Malformed),
        ("kid", Some(Value::Null), Flaw::Malformed),
        ("kid", Some(json!("a b")), Flaw::Malformed),
    ] {
        assert_eq!(proof_of(&with(&header, name, member.clone()), &payload).err(), Some(flaw), "{name} {member:?}");
    }
    let carried = |jwk: Value| with(&with(&header, "kid", None), "jwk", Some(jwk));
    assert!(proof_of(&carried(jwk.clone()), &payload).is_ok());
    assert_eq!(proof_of(&carried(private), &payload).err(), Some(Flaw::PrivateKey));
    let other = carried(Pair::of(2).jwk());
    assert_eq!(proof_of(&other, &payload).err(), Some(Flaw::Signature), "another key than the one that counts");
}

/// A key is a point of P-256 in one spelling; what is none never verifies.
#[test]
fn keys() {
    let jwk = Pair::of(1).jwk();
    let own = DeviceKey::from_jwk(&jwk.to_string()).unwrap();
    assert_eq!(DeviceKey::from_jwk(&own.to_jwk()), Ok(own));
    assert_eq!(own.thumbprint().len(), 43);
    let with_more = with(&with(&jwk, "use", Some(json!("sig"))), "kid", Some(json!("x")));
    assert_eq!(DeviceKey::from_jwk(&with_more.to_string()).unwrap().thumbprint(), own.thumbprint());
    let x = jwk["x"].as_str().unwrap();
    for (name, member) in [
        ("kty", json!("RSA")),
        ("crv", json!("P-384")),
        ("crv", json!("secp256k1")),
        ("alg", json!("ES384")),
        ("use", json!("enc")),
        ("x", json!(format!("{x}="))),
        ("x", json!(&x[..42])),
        ("x", json!(format!("AA{x}"))),
        // Its last character with bits that count for nothing: a second spelling of the same bytes.
        ("x", json!(format!("{}{}", &x[..42], second_spelling(x)))),
        ("y", Value::Null),
    ] {
        let changed = with(&jwk, name, Some(member.clone()));
        assert_eq!(DeviceKey::from_jwk(&changed.to_string()), Err(Flaw::Key), "{name} {member}");
    }
    assert_eq!(DeviceKey::from_jwk("{"), Err(Flaw::Key));
    let off_the_curve = with(&jwk, "y", Some(json!(x)));
    let off_the_curve = DeviceKey::from_jwk(&off_the_curve.to_string()).unwrap();
    let text = Pair::of(1).sign(&known(PROOF_TYPE).to_string(), &proof_payload().to_string());
    let verified = UncheckedProof::read(&text).unwrap().verify(&off_the_curve, &asked(None));
    assert_eq!(verified.err(), Some(Flaw::Signature));
}

/// The character that differs from the last one of `text` in its lowest bit, which 32 bytes do not use.
fn second_spelling(text: &str) -> char {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = ALPHABET.iter().position(|byte| *byte == text.as_bytes()[42]).unwrap();
    char::from(ALPHABET[last ^ 1])
}

/// An answer is one to its request, for its audience, by its key; nothing is missing in it and nothing stands there besides.
#[test]
fn an_answer_says_all_of_what_it_means() {
    let payload = decision();
    let signed = decided(&payload.to_string()).unwrap();
    assert_eq!((signed.issued_at, signed.jti.as_str()), (Timestamp::from_secs(1), "j-1"), "recorded, not judged");
    let (jws, thumbprint) = (signed.jws.clone(), signed.key_thumbprint.clone());
    assert_eq!(signed.clone().answer_to(&request("e-2")).err(), Some(Flaw::Subject));
    let answer = signed.answer_to(&request("e-1")).unwrap();
    assert_eq!((answer.verb, answer.number, answer.device.as_str()), (Verb::Approve, MatchNumber::new("123456"), "d1"));
    assert_eq!((answer.key_thumbprint, answer.jws), (Pair::of(1).public().thumbprint(), jws));
    assert_eq!(thumbprint, Pair::of(1).public().thumbprint());
    for name in ["aud", "workspace", "user", "type", "event", "verb", "iat", "jti"] {
        assert_eq!(decided(&with(&payload, name, None).to_string()).err(), Some(Flaw::Malformed), "without {name}");
        let null = with(&payload, name, Some(Value::Null)).to_string();
        assert_eq!(decided(&null).err(), Some(Flaw::Malformed), "{name} is null");
    }
    for (name, member, flaw) in [
        ("aud", json!("https://other.example"), Flaw::Audience),
        ("aud", json!(["https://w.example"]), Flaw::Malformed),
        ("type", json!("otp"), Flaw::Malformed),
        ("verb", json!("Approve"), Flaw::Malformed),
        ("number", json!("12345"), Flaw::Malformed),
        ("number", json!("१२३४५६"), Flaw::Malformed),
        ("number", json!(123_456), Flaw::Malformed),
        ("number", Value::Null, Flaw::Malformed),
        ("comment", json!("only if it is raining"), Flaw::Malformed),
    ] {
        let changed = with(&payload, name, Some(member.clone())).to_string();
        assert_eq!(decided(&changed).err(), Some(flaw), "{name} {member}");
    }
    assert!(decided(&with(&payload, "number", None).to_string()).is_ok());
    let twice = payload.to_string().replacen('{', r#"{"verb":"deny","#, 1);
    assert_eq!(decided(&twice).err(), Some(Flaw::Malformed), "two readers would see two verbs");
    let unchecked = Pair::of(1).sign(&known(DECISION_TYPE).to_string(), &payload.to_string());
    let unchecked = Unchecked::<SignedAnswer>::read(&unchecked).unwrap();
    assert_eq!((unchecked.device().as_str(), unchecked.says().request()), ("d1", &request("e-1")));
    assert_eq!(unchecked.verify(&Pair::of(2).public(), "https://w.example").err(), Some(Flaw::Signature));
}

/// A statement of one type is never read as another, and none brings its own key.
#[test]
fn statements_are_not_exchanged() {
    let key = Pair::of(1);
    let common = json!({"aud": "a", "workspace": "acme", "user": "ada", "iat": 1, "jti": "j"});
    let promotion = with(&with(&common, "device", Some(json!("d2"))), "number", Some(json!("000001")));
    let roll = with(&common, "jwk", Some(Pair::of(2).jwk()));
    let promotion = key.sign(&known(PROMOTION_TYPE).to_string(), &promotion.to_string());
    let roll = key.sign(&known(KEY_TYPE).to_string(), &roll.to_string());
    let read = Unchecked::<Promotion>::read(&promotion).unwrap().verify(&key.public(), "a").unwrap();
    assert_eq!((read.says.device.as_str(), read.says.number.expose()), ("d2", "000001"));
    let read = Unchecked::<KeyRoll>::read(&roll).unwrap().verify(&key.public(), "a").unwrap();
    assert_eq!((read.says.key, read.key_thumbprint), (Pair::of(2).public(), key.public().thumbprint()));
    let flaw = |text: &str| {
        [
            Unchecked::<SignedAnswer>::read(text).err(),
            Unchecked::<Promotion>::read(text).err(),
            Unchecked::<KeyRoll>::read(text).err(),
        ]
    };
    assert_eq!(flaw(&promotion), [Some(Flaw::Type), None, Some(Flaw::Type)]);
    assert_eq!(flaw(&roll), [Some(Flaw::Type), Some(Flaw::Type), None]);
    assert_eq!(UncheckedProof::read(&roll).err(), Some(Flaw::Type));
    let carried = json!({"alg": "ES256", "typ": DECISION_TYPE, "jwk": key.jwk()});
    let carried = key.sign(&carried.to_string(), &decision().to_string());
    assert_eq!(Unchecked::<SignedAnswer>::read(&carried).err(), Some(Flaw::Malformed));
}

/// Neither a number nor a signed text prints.
#[test]
fn invariant_13_signed_texts_do_not_print() {
    let signed = decided(&decision().to_string()).unwrap();
    let unchecked = Unchecked::<SignedAnswer>::read(&signed.jws).unwrap();
    let proof = proof_of(&known(PROOF_TYPE), &proof_payload()).unwrap();
    let printed = format!("{signed:?} {unchecked:?} {proof:?} {:?}", signed.says);
    assert!(!printed.contains("123456") && !printed.contains(&signed.jws), "{printed}");
}

/// Each flaw has one name and a sentence.
#[test]
fn flaws_are_told_apart() {
    let names: std::collections::BTreeSet<_> = Flaw::ALL.iter().map(|flaw| flaw.name()).collect();
    let sentences: std::collections::BTreeSet<_> = Flaw::ALL.iter().map(ToString::to_string).collect();
    assert_eq!((names.len(), sentences.len()), (Flaw::ALL.len(), Flaw::ALL.len()));
}

proptest! {
    /// A text with one character more, less or another one is refused, wherever it is; nothing panics.
    #[test]
    fn no_character_may_change(at in 0..1_000_usize, with: char, how in 0..3_u8) {
        let text = Pair::of(1).sign(&known(DECISION_TYPE).to_string(), &decision().to_string());
        let at = at % text.len();
        let changed = match how {
            0 => format!("{}{with}{}", &text[..at], &text[at + 1..]),
            1 => format!("{}{with}{}", &text[..at], &text[at..]),
            _ => format!("{}{}", &text[..at], &text[at + 1..]),
        };
        let believed = Unchecked::<SignedAnswer>::read(&changed)
            .and_then(|unchecked| unchecked.verify(&Pair::of(1).public(), "https://w.example"));
        prop_assert!(changed == text || believed.is_err());
    }

    /// Whatever is read, nothing panics, and what is too long is not read.
    #[test]
    fn anything_may_come(text in "\\PC{0,80}(\\.\\PC{0,80}){0,4}", more in 0..9_000_usize) {
        let long = format!("{text}{}", ".a".repeat(more / 2));
        for text in [text, long] {
            let read = UncheckedProof::read(&text);
            prop_assert!(read.is_err());
            prop_assert_eq!(text.len() > SIGNED_BYTES_MAX, read.err() == Some(Flaw::TooLong));
            prop_assert!(DeviceKey::from_jwk(&text).is_err());
        }
    }
}
