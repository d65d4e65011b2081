//! Clients for the tests: raw HTTP/2 frames, the `h2` crate, HTTP/1.1 by hand; and signers of tokens.
//!
//! The raw client reads and writes its frames itself; of the server's code it has the names of the numbers and the header decoder. The
//! `h2` client shares nothing.
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use reqwest::Method;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::exchange::{FIELDS, Head};
use super::wire::frame::{self, FrameHead};
use super::wire::hpack::Decoder;
use super::{Sandbox, SandboxConfig};

/// How long a test waits for anything.
pub(crate) const CEILING: Duration = Duration::from_secs(20);
pub(crate) const TOPIC: &str = "com.example.app";
pub(crate) const PAYLOAD: &[u8] = br#"{"aps":{"alert":{"title":"Sign-in","body":"New sign-in"}}}"#;

pub(crate) async fn start(change: impl FnOnce(&mut SandboxConfig)) -> Sandbox {
    let mut config = SandboxConfig::default();
    change(&mut config);
    Sandbox::start(config).await.unwrap()
}

pub(crate) fn now_s() -> i64 {
    i64::try_from(super::apns::now_us() / 1_000_000).unwrap()
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(CEILING, future).await.expect("nothing happened within the ceiling")
}

/// A call of the control endpoint; what is no JSON is read as null.
pub(crate) async fn call(sandbox: &Sandbox, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let request = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = request.request(method, format!("{}{path}", sandbox.control_url()));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = within(request.send()).await.unwrap();
    (answer.status().as_u16(), within(answer.json()).await.unwrap_or_default())
}

/// A TLS connection that trusts the sandbox's CA and offers these protocols.
pub(crate) async fn tls(ca: &Path, url: &str, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let address = url.strip_prefix("https://").unwrap();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(address.rsplit_once(':').unwrap().0.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// A provider token signed by a key file.
pub(crate) fn jwt(key: &Path, header: &str, claims: &str) -> String {
    sign(key, &URL_SAFE_NO_PAD.encode(header), &URL_SAFE_NO_PAD.encode(claims), false)
}

/// The same in the form some clients send: padded standard base64 and a DER signature.
pub(crate) fn der_jwt(key: &Path, header: &str, claims: &str) -> String {
    sign(key, &STANDARD.encode(header), &STANDARD.encode(claims), true)
}

fn sign(key: &Path, header: &str, claims: &str, der: bool) -> String {
    let key = PrivatePkcs8KeyDer::from_pem_file(key).unwrap();
    let algorithm = if der { &ECDSA_P256_SHA256_ASN1_SIGNING } else { &ECDSA_P256_SHA256_FIXED_SIGNING };
    let key = EcdsaKeyPair::from_pkcs8(algorithm, key.secret_pkcs8_der()).unwrap();
    let signed = format!("{header}.{claims}");
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    let signature = if der { STANDARD.encode(signature.as_ref()) } else { URL_SAFE_NO_PAD.encode(signature.as_ref()) };
    format!("{signed}.{signature}")
}

/// A good token of the sandbox's key with this index, issued `age` seconds ago.
pub(crate) fn token(sandbox: &Sandbox, key: usize, age: i64) -> String {
    let key = &sandbox.apns().keys()[key];
    let (kid, iss) = (&key.key.key_id, &key.key.team_id);
    let claims = format!(r#"{{"iss":"{iss}","iat":{}}}"#, now_s() - age);
    jwt(&key.path, &format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#), &claims)
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn reason(&self) -> String {
        self.json()["reason"].as_str().unwrap_or_default().to_owned()
    }
}

/// Nine bytes: three of length, kind, flags, four of stream (RFC 9113, 4.1).
pub(crate) fn put_head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    out.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

/// A frame whose payload is numbers of four bytes.
pub(crate) fn put_numbers(out: &mut Vec<u8>, kind: u8, stream: u32, numbers: &[u32]) {
    put_head(out, numbers.len() * 4, kind, 0, stream);
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
}

/// A header that is not indexed and has no Huffman code (RFC 7541, 6.2.2), its lengths in the long form from 127 on (5.1).
pub(crate) fn put_literal(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0);
    for text in [name, value] {
        let mut length = text.len();
        if length < 127 {
            out.push(length as u8);
        } else {
            out.push(127);
            length -= 127;
            while length >= 128 {
                out.push((length % 128) as u8 | 128);
                length /= 128;
            }
            out.push(length as u8);
        }
        out.extend_from_slice(text.as_bytes());
    }
}

fn head_of(input: &[u8]) -> Option<FrameHead> {
    let head = input.get(..9)?;
    let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    let (length, stream) = (number(&head[..3]) as usize, number(&head[5..]) & 0x7fff_ffff);
    Some(FrameHead { length, kind: head[3], flags: head[4], stream })
}

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) head: FrameHead,
    pub(crate) payload: Vec<u8>,
}

/// A client that writes its own frames.
pub(crate) struct Raw {
    pub(crate) socket: TlsStream<TcpStream>,
    input: Vec<u8>,
    decoder: Decoder,
    next: u32,
    /// Stream limits in the order in which they were announced.
    pub(crate) limits: Vec<u32>,
}

impl Raw {
    pub(crate) async fn connect(sandbox: &Sandbox, url: &str) -> Self {
        let mut socket = within(tls(sandbox.ca_file(), url, &["h2"])).await.unwrap();
        let mut hello = frame::PREFACE.to_vec();
        put_head(&mut hello, 0, frame::SETTINGS, 0, 0);
        socket.write_all(&hello).await.unwrap();
        Self { socket, input: Vec::new(), decoder: Decoder::default(), next: 1, limits: Vec::new() }
    }

    /// The bytes of a request on the next stream, and that stream.
    pub(crate) fn request(&mut self, headers: &[(&str, &str)], body: &[u8]) -> (u32, Vec<u8>) {
        let stream = self.next;
        self.next += 2;
        let mut block = Vec::new();
        for (name, value) in headers {
            put_literal(&mut block, name, value);
        }
        let mut out = Vec::new();
        let flags = frame::END_HEADERS | if body.is_empty() { frame::END_STREAM } else { 0 };
        put_head(&mut out, block.len(), frame::HEADERS, flags, stream);
        out.extend_from_slice(&block);
        let mut pieces = body.chunks(frame::MAX_FRAME).peekable();
        while let Some(piece) = pieces.next() {
            let flags = if pieces.peek().is_none() { frame::END_STREAM } else { 0 };
            put_head(&mut out, piece.len(), frame::DATA, flags, stream);
            out.extend_from_slice(piece);
        }
        (stream, out)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
        self.socket.flush().await.unwrap();
    }

    /// The next frame; `None` when the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(head) = head_of(&self.input)
                && self.input.len() >= frame::HEAD + head.length
            {
                let mut bytes = self.input.drain(..frame::HEAD + head.length).collect::<Vec<_>>();
                let payload = bytes.split_off(frame::HEAD);
                if head.kind == frame::SETTINGS && !head.has(frame::ACK) {
                    for setting in payload.chunks(6).filter(|setting| setting[..2] == [0, 3]) {
                        self.limits.push(u32::from_be_bytes(setting[2..].try_into().unwrap()));
                    }
                }
                return Some(Frame { head, payload });
            }
            let mut more = [0; 4096];
            match within(self.socket.read(&mut more)).await {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.input.extend_from_slice(&more[..length]),
            }
        }
    }

    /// The next frame of a kind, others passed over.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.head.kind == kind {
                return Some(frame);
            }
        }
    }

    /// The next answer and its stream, other frames passed over.
    pub(crate) async fn answer(&mut self) -> Option<(u32, Got)> {
        let frame = self.next_of(frame::HEADERS).await?;
        let mut head = Head::default();
        self.decoder.decode(&frame.payload, &mut head).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let slots = FIELDS.iter().filter_map(|(field, name)| Some(((*name).to_owned(), text(head.get(*field)?))));
        let headers: HashMap<_, _> =
            slots.chain(head.others().map(|(name, value)| (text(name), text(value)))).collect();
        let mut body = Vec::new();
        let mut ended = frame.head.has(frame::END_STREAM);
        while !ended {
            let data = self.next_of(frame::DATA).await?;
            ended = data.head.has(frame::END_STREAM);
            body.extend_from_slice(&data.payload);
        }
        let status = headers[":status"].parse().unwrap();
        Some((frame.head.stream, Got { status, headers, body }))
    }

    /// Sends one request and waits for its answer.
    pub(crate) async fn ask(&mut self, headers: &[(&str, &str)], body: &[u8]) -> Got {
        let (stream, bytes) = self.request(headers, body);
        self.send(&bytes).await;
        let (answered, got) = self.answer().await.expect("the connection ended without an answer");
        assert_eq!(answered, stream);
        got
    }
}

/// A client of the `h2` crate.
pub(crate) struct H2 {
    sender: h2::client::SendRequest<Bytes>,
}

impl H2 {
    pub(crate) async fn connect(sandbox: &Sandbox, url: &str) -> Self {
        let socket = within(tls(sandbox.ca_file(), url, &["h2"])).await.unwrap();
        let (sender, connection) = within(h2::client::handshake(socket)).await.unwrap();
        tokio::spawn(async move {
            drop(connection.await);
        });
        Self { sender }
    }

    pub(crate) async fn ask(&self, uri: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Got, h2::Error> {
        let mut request = http::Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut sender = self.sender.clone().ready().await?;
        let (answer, mut stream) = sender.send_request(request.body(()).unwrap(), body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body), true)?;
        }
        let (parts, mut incoming) = within(answer).await?.into_parts();
        let mut body = Vec::new();
        while let Some(piece) = within(incoming.data()).await {
            body.extend_from_slice(&piece?);
        }
        let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        Ok(Got { status: parts.status.as_u16(), headers: headers.collect(), body })
    }
}
