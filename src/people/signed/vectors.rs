//! `tests/vectors/devices.json`: what an app's own tests can be held against. It is made here, from two keys, and compared with the file.
//!
//! After a change that is meant: `WATCHBELL_WRITE_VECTORS=1 cargo test --lib signed::vectors`.
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::tests::Pair;
use super::*;

const AUDIENCE: &str = "https://watchbell.example";
const URL: &str = "https://watchbell.example/v1/workspaces/acme/requests";
const NOW_S: i64 = 1_800_000_000;

/// Reads a text of one type and believes it, or says what is wrong.
type Judge = fn(&str) -> Result<(), Flaw>;

/// What a phone was given to sign before it registers.
const CHALLENGE: &str = "Zx8Q0JqE3hV1nT5yR7uW9aB2cD4fG6kM8pS0vXeYtLo";

fn asked_for(nonce: Option<&str>, text: &str) -> Result<(), Flaw> {
    let (now, window) = (Timestamp::from_secs(NOW_S), Duration::from_secs(120));
    let asked = Asked { method: "POST", url: URL, nonce, now, window };
    UncheckedProof::read(text)?.verify(&Pair::of(1).public(), &asked).map(drop)
}

fn proof(text: &str) -> Result<(), Flaw> {
    asked_for(None, text)
}

/// A proof of the request that registers: it has to answer the challenge.
fn registration(text: &str) -> Result<(), Flaw> {
    asked_for(Some(CHALLENGE), text)
}

fn statement<S: Statement>(text: &str) -> Result<(), Flaw> {
    Unchecked::<S>::read(text)?.verify(&Pair::of(1).public(), AUDIENCE).map(drop)
}

/// Name, by which key (1 is the device's), header, payload, who reads it.
fn cases() -> Vec<(&'static str, u8, String, String, Judge)> {
    let known = |typ: &str| format!(r#"{{"alg":"ES256","typ":"{typ}","kid":"0191f0a0-5b7e-7d0a-8f00-000000000001"}}"#);
    let carried = |typ: &str| format!(r#"{{"alg":"ES256","typ":"{typ}","jwk":{}}}"#, Pair::of(1).public().to_jwk());
    let made_for =
        |method: &str, iat: i64| format!(r#"{{"jti":"5f0c4e9a","htm":"{method}","htu":"{URL}","iat":{iat}}}"#);
    let answering = |nonce: &str| made_for("POST", NOW_S).replacen('{', &format!(r#"{{"nonce":"{nonce}","#), 1);
    let common = format!(r#""aud":"{AUDIENCE}","workspace":"acme","user":"auth0|ada","iat":{NOW_S},"jti":"9b1d3c7e""#);
    let about = r#""type":"identity_verification","event":"sign-in-7""#;
    let approve = format!(r#"{{{common},{about},"verb":"approve","number":"042137"}}"#);
    let deny = format!(r#"{{{common},{about},"verb":"deny_not_me"}}"#);
    let promotion = format!(r#"{{{common},"device":"0191f0a0-5b7e-7d0a-8f00-000000000002","number":"900210"}}"#);
    let roll = format!(r#"{{{common},"jwk":{}}}"#, Pair::of(2).public().to_jwk());
    let twice = format!(r#"{{"verb":"deny",{common},{about},"verb":"approve"}}"#);
    let more = format!(r#"{{{common},{about},"verb":"approve","note":"only today"}}"#);
    let elsewhere = approve.replacen(AUDIENCE, "https://other.example", 1);
    let critical = known(DECISION_TYPE).replacen('{', r#"{"crit":["exp"],"#, 1);
    let none = known(DECISION_TYPE).replacen("ES256", "none", 1);
    let answer: Judge = statement::<SignedAnswer>;
    vec![
        ("proof of a known device", 1, known(PROOF_TYPE), made_for("POST", NOW_S), proof),
        ("proof with the key, to roll", 1, carried(PROOF_TYPE), made_for("POST", NOW_S), proof),
        (
            "registration: proof with the key and the challenge",
            1,
            carried(PROOF_TYPE),
            answering(CHALLENGE),
            registration,
        ),
        ("registration: proof without the challenge", 1, carried(PROOF_TYPE), made_for("POST", NOW_S), registration),
        ("registration: proof with another challenge", 1, carried(PROOF_TYPE), answering("AAAA"), registration),
        ("proof for another method", 1, known(PROOF_TYPE), made_for("GET", NOW_S), proof),
        ("proof that is too old", 1, known(PROOF_TYPE), made_for("POST", NOW_S - 121), proof),
        ("proof from the future", 1, known(PROOF_TYPE), made_for("POST", NOW_S + 121), proof),
        ("proof by another key", 2, known(PROOF_TYPE), made_for("POST", NOW_S), proof),
        ("approval with a number", 1, known(DECISION_TYPE), approve.clone(), answer),
        ("denial: not me", 1, known(DECISION_TYPE), deny, answer),
        ("approval for another service", 1, known(DECISION_TYPE), elsewhere, answer),
        ("approval with two verbs", 1, known(DECISION_TYPE), twice, answer),
        ("approval that says more", 1, known(DECISION_TYPE), more, answer),
        ("approval by another key", 2, known(DECISION_TYPE), approve.clone(), answer),
        ("approval that brings its key", 1, carried(DECISION_TYPE), approve.clone(), answer),
        ("approval with a critical parameter", 1, critical, approve.clone(), answer),
        ("approval without an algorithm", 1, none, approve.clone(), answer),
        ("approval that is a proof", 1, known(PROOF_TYPE), approve, answer),
        ("promotion of another phone", 1, known(PROMOTION_TYPE), promotion, statement::<Promotion>),
        ("key and its successor", 1, known(KEY_TYPE), roll, statement::<KeyRoll>),
    ]
}

fn vectors() -> Value {
    let keys = [1, 2].map(|byte| {
        let pair = Pair::of(byte);
        let jwk: Value = serde_json::from_str(&pair.public().to_jwk()).unwrap();
        json!({"jwk": jwk, "d": URL_SAFE_NO_PAD.encode([byte; 32]), "thumbprint": pair.public().thumbprint()})
    });
    let cases = cases().into_iter().map(|(name, key, header, payload, judge)| {
        let jws = Pair::of(key).sign(&header, &payload);
        let expected = judge(&jws).err().map_or("ok", Flaw::name);
        json!({"name": name, "key": key, "header": header, "payload": payload, "jws": jws, "expected": expected})
    });
    let asked = json!({"method": "POST", "url": URL, "now": NOW_S, "window_s": 120, "audience": AUDIENCE, "challenge": CHALLENGE});
    json!({
        "about": "Signed with ES256 and the nonce of RFC 6979. A library that draws its nonce makes other signatures, which are as good. \
                  `key` is a place in `keys`, from 1; the device's key is the first. `expected` is `ok` or the flaw that the server names. \
                  A proof of a registration has to answer `asked.challenge`, which nothing else asks for.",
        "asked": asked, "keys": keys, "cases": cases.collect::<Vec<_>>(),
    })
}

/// The file is what is made here, so every text in it is judged as it says.
#[test]
fn the_vectors_are_judged_as_they_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/devices.json");
    let made = vectors();
    if std::env::var_os("WATCHBELL_WRITE_VECTORS").is_some() {
        std::fs::write(&path, format!("{made:#}\n")).unwrap();
    }
    let file: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(file, made);
}

/// What is expected of each, a second time: a reader that believed everything, or nothing, would make such a file too.
#[test]
fn what_the_vectors_expect() {
    let made = vectors();
    let said: Vec<_> =
        made["cases"].as_array().unwrap().iter().map(|case| case["expected"].as_str().unwrap()).collect();
    let expected = [
        "ok",
        "ok",
        "ok",
        "nonce",
        "nonce",
        "request",
        "time",
        "time",
        "signature",
        "ok",
        "ok",
        "audience",
        "malformed",
        "malformed",
        "signature",
        "malformed",
        "parameter",
        "algorithm",
        "type",
        "ok",
        "ok",
    ];
    assert_eq!(said, expected);
}
