//! A broker that asks who is there: TLS with SASL PLAIN, SCRAM and OAUTHBEARER, and the OIDC token endpoint that goes with it.
//!
//! The broker checks everything: certificates by a CA of this test, passwords, and access tokens by signature, audience and expiry.
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData};
use tempfile::TempDir;

use super::services::{Broker, free_port};

/// The user of PLAIN and SCRAM.
pub const USER: &str = "watchbell";
/// Its password, of characters that property files and URLs treat specially.
pub const PASSWORD: &str = "s3cret+%&/pass";
/// The client of the token endpoint.
pub const CLIENT_ID: &str = "watchbell-client";
/// Its secret.
pub const CLIENT_SECRET: &str = "client s3cret:+%";
/// The scope that the endpoint insists on.
pub const SCOPE: &str = "kafka";

/// A broker with a plain listener for the test's own needs and a secured one for the code under test.
pub struct SecureBroker {
    /// The broker: stop it, start it again; its own `address` is the plain listener's.
    pub broker: Broker,
    /// The secured listener's address (host:port).
    pub address: String,
    /// PEM file of the CA that signed the broker's certificate.
    pub ca_file: PathBuf,
    /// The token endpoint's URL.
    pub token_url: String,
    tokens_given: Arc<AtomicUsize>,
    _files: TempDir,
}

impl SecureBroker {
    /// Starts the token endpoint and the broker; tokens live for `token_lifetime_s`.
    pub fn start(token_lifetime_s: u64) -> Self {
        let files = tempfile::tempdir().unwrap();
        let path = |name: &str| files.path().join(name);
        let Certificates { ca, key, certificate } = Certificates::of(&["127.0.0.1", "localhost"]);
        fs::write(path("ca.pem"), ca).unwrap();
        fs::write(path("broker.pem"), key + &certificate).unwrap();
        let key = KeyPair::generate().unwrap();
        fs::write(path("jwks.json"), jwks(&key)).unwrap();
        let tokens_given = Arc::new(AtomicUsize::new(0));
        let token_url = serve_tokens(&key, token_lifetime_s, Arc::clone(&tokens_given));

        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let jwks_url = format!("file://{}", path("jwks.json").display());
        let plain = "org.apache.kafka.common.security.plain.PlainLoginModule";
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule";
        let oauth = "org.apache.kafka.common.security.oauthbearer";
        let listener = "listener.name.sasl_ssl";
        let users = [256, 512].map(|bits| format!("--add-scram=SCRAM-SHA-{bits}=[name={USER},password={PASSWORD}]"));
        let arguments = [
            format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={jwks_url}"),
            format!("extra.listeners=SASL_SSL://{address}"),
            "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER".to_owned(),
            "ssl.keystore.type=PEM".to_owned(),
            format!("ssl.keystore.location={}", path("broker.pem").display()),
            format!("{listener}.plain.sasl.jaas.config={plain} required user_{USER}=\"{PASSWORD}\";"),
            format!("{listener}.scram-sha-256.sasl.jaas.config={scram} required;"),
            format!("{listener}.scram-sha-512.sasl.jaas.config={scram} required;"),
            format!("{listener}.oauthbearer.sasl.jaas.config={oauth}.OAuthBearerLoginModule required;"),
            format!(
                "{listener}.oauthbearer.sasl.server.callback.handler.class={oauth}.OAuthBearerValidatorCallbackHandler"
            ),
            format!("{listener}.oauthbearer.sasl.oauthbearer.jwks.endpoint.url={jwks_url}"),
            format!("{listener}.oauthbearer.sasl.oauthbearer.expected.audience=kafka-test"),
            // A session ends with its token: who does not renew it is cut off.
            format!("{listener}.oauthbearer.connections.max.reauth.ms=3600000"),
        ];
        let all: Vec<&str> = users.iter().chain(&arguments).map(String::as_str).collect();
        let broker = Broker::start_with(&all);
        Self { broker, address, ca_file: path("ca.pem"), token_url, tokens_given, _files: files }
    }

    /// How many tokens the endpoint has given.
    pub fn tokens_given(&self) -> usize {
        self.tokens_given.load(Ordering::SeqCst)
    }
}

/// A CA of its own, and what it signed for a server of some names; all PEM.
pub struct Certificates {
    pub ca: String,
    pub key: String,
    pub certificate: String,
}

impl Certificates {
    pub fn of(names: &[&str]) -> Self {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        // A name of its own: a certificate whose issuer has its own name counts as self-signed.
        ca.distinguished_name.push(DnType::CommonName, "Watchbell test CA");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
        let issuer = Issuer::new(ca, ca_key);
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        Self { ca: ca_pem, key: key.serialize_pem(), certificate: certificate.pem() }
    }
}

fn jwks(key: &KeyPair) -> String {
    // An uncompressed point of P-256: 4, then 32 bytes each of x and y.
    let point = key.der_bytes();
    let [x, y] = [&point[1..33], &point[33..65]].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"test","x":"{x}","y":"{y}"}}]}}"#)
}

/// An endpoint for client credentials (RFC 6749, 4.4) that checks the client, the grant and the scope.
fn serve_tokens(key: &KeyPair, lifetime_s: u64, given: Arc<AtomicUsize>) -> String {
    let signing = jsonwebtoken::EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    // The thread ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            let (status, body) = match accepted(&stream) {
                Ok(()) => {
                    given.fetch_add(1, Ordering::SeqCst);
                    let token = access_token(&signing, lifetime_s);
                    let body =
                        format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{lifetime_s}}}"#);
                    ("200 OK", body)
                }
                Err(error) => ("400 Bad Request", format!(r#"{{"error":"{error}"}}"#)),
            };
            let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n");
            write!(&stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).ok();
        }
    });
    url
}

fn access_token(signing: &jsonwebtoken::EncodingKey, lifetime_s: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    header.kid = Some("test".to_owned());
    let claims = serde_json::json!({
        "sub": CLIENT_ID, "aud": "kafka-test", "scope": SCOPE, "iat": now, "exp": now + lifetime_s,
    });
    jsonwebtoken::encode(&header, &claims, signing).unwrap()
}

/// Reads one request and checks it; the error is RFC 6749's.
fn accepted(stream: &TcpStream) -> Result<(), &'static str> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).map_err(|_| "invalid_request")?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().map_err(|_| "invalid_request")?,
            "authorization" => authorization = value.strip_prefix("Basic ").map(str::to_owned),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).map_err(|_| "invalid_request")?;
    let form: Vec<(String, String)> = form_pairs(&String::from_utf8_lossy(&body));
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());

    // RFC 6749, 2.3.1: the client is in the Authorization header, form-encoded before base64, or in the form.
    let basic = authorization.and_then(|text| STANDARD.decode(text).ok()).and_then(|text| String::from_utf8(text).ok());
    let basic = basic.and_then(|text| text.split_once(':').map(|(id, secret)| (decoded(id), decoded(secret))));
    let client = basic.or_else(|| Some((field("client_id")?, field("client_secret")?)));
    match () {
        () if client != Some((CLIENT_ID.to_owned(), CLIENT_SECRET.to_owned())) => Err("invalid_client"),
        () if field("grant_type").as_deref() != Some("client_credentials") => Err("unsupported_grant_type"),
        () if field("scope").as_deref() != Some(SCOPE) => Err("invalid_scope"),
        () => Ok(()),
    }
}

fn form_pairs(body: &str) -> Vec<(String, String)> {
    body.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (decoded(key), decoded(value))).collect()
}

/// Decodes application/x-www-form-urlencoded; what is none stays as it is.
fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    let mut bytes = Vec::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(b'%'));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}
