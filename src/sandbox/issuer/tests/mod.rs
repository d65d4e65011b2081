//! The issuer over real HTTP, its tokens verified by hand with the cryptographic library alone.
mod control;
mod flow;
mod refusals;

use std::collections::BTreeMap;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use aws_lc_rs::signature::{UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::sandbox::testing::{start, within};
use crate::sandbox::{Sandbox, SandboxConfig, form};

const CLIENT: &str = "watchbell-cli";
const BACK: &str = "http://localhost/callback";
/// The example of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A browser of which nothing is remembered.
pub(crate) struct Browser {
    pub(crate) http: reqwest::Client,
    pub(crate) sandbox: Sandbox,
}

/// One answer: status, headers, body.
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Browser {
    pub(crate) async fn new(change: impl FnOnce(&mut SandboxConfig)) -> Self {
        let sandbox = start(change).await;
        let ca = reqwest::Certificate::from_pem(&std::fs::read(sandbox.ca_file()).unwrap()).unwrap();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([ca]);
        let http = http.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { http, sandbox }
    }

    async fn send(&self, request: RequestBuilder) -> Got {
        let answer = within(request.send()).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Got { status, headers, body: within(answer.text()).await.unwrap() }
    }

    fn at(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.sandbox.issuer().url()))
    }

    async fn get(&self, path: &str) -> Got {
        self.send(self.at(Method::GET, path)).await
    }

    async fn control(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.sandbox.control_url()));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let got = self.send(request).await;
        (got.status, got.json())
    }

    /// A good authorization request, some of its parameters replaced; an empty one is left out.
    async fn authorize(&self, change: &[(&str, &str)]) -> Got {
        let mut fields = BTreeMap::from([
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("redirect_uri", BACK),
            ("scope", "openid"),
            ("state", "a state&="),
            ("nonce", "n"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("login_hint", "admin"),
        ]);
        fields.extend(change.iter().copied());
        let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
        let query: Vec<_> = fields.map(|(name, value)| format!("{name}={}", form::escape(value))).collect();
        self.get(&format!("/authorize?{}", query.join("&"))).await
    }

    /// A code for the persona.
    pub(crate) async fn code(&self, persona: &str) -> String {
        back(&self.authorize(&[("login_hint", persona)]).await)["code"].clone()
    }

    /// A good token request for `code`, some of its parameters replaced; an empty one is left out.
    pub(crate) async fn exchange(&self, code: &str, change: &[(&str, &str)]) -> Got {
        let mut fields = BTreeMap::from([
            ("grant_type", "authorization_code"),
            ("client_id", CLIENT),
            ("redirect_uri", BACK),
            ("code", code),
            ("code_verifier", VERIFIER),
        ]);
        fields.extend(change.iter().copied());
        fields.retain(|_, value| !value.is_empty());
        self.send(self.at(Method::POST, "/token").form(&fields)).await
    }
}

/// The parameters with which a redirect comes back to the client.
fn back(got: &Got) -> BTreeMap<String, String> {
    assert_eq!(got.status, 302, "{}", got.body);
    let location = got.header("location").unwrap();
    let (uri, query) = location.split_once('?').unwrap();
    assert_eq!(uri, BACK);
    form::fields(query).collect()
}

fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn claims(token: &str) -> Value {
    part(token, 1)
}

/// Whether the key that the token names, among those of a key set, made its signature.
fn verifies(token: &str, jwks: &Value) -> bool {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let header = part(token, 0);
    let key = jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]);
    let Some(key) = key else { return false };
    assert_eq!((&key["use"], &key["alg"]), (&"sig".into(), &header["alg"]));
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let signed = signed.as_bytes();
    match key["kty"].as_str().unwrap() {
        "EC" => {
            let point = [vec![4], bytes("x"), bytes("y")].concat();
            let algorithm: &dyn VerificationAlgorithm = &ECDSA_P256_SHA256_FIXED;
            UnparsedPublicKey::new(algorithm, point).verify(signed, &signature).is_ok()
        }
        "RSA" => {
            let key = RsaPublicKeyComponents { n: bytes("n"), e: bytes("e") };
            key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, &signature).is_ok()
        }
        kty => panic!("{kty}"),
    }
}
