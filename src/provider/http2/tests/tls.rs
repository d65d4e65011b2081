//! Over real TLS and TCP, with certificates made for the test.
use std::{
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::peer::{NO_ERROR, Peer, in_seconds, one_connection, request};
use crate::provider::http2::{
    Endpoint, EndpointError, NotProcessed, Pool, PoolConfig, SendError, TlsError, WarmUp, tls_config,
};

/// A TLS listener for `localhost`, and the file with the root that signed it.
struct Site {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    roots: tempfile::NamedTempFile,
}

impl Site {
    async fn open(protocols: &[&[u8]]) -> Self {
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().expect("a key")).expect("a root");
        let key = KeyPair::generate().expect("a key");
        let leaf =
            CertificateParams::new(["localhost".to_owned()]).expect("a name").signed_by(&key, &root).expect("a leaf");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
            .expect("a certificate");
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        let roots = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(roots.path(), root.pem()).expect("written");
        let listener = TcpListener::bind("localhost:0").await.expect("a port");
        Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)), roots }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("bound")
    }

    fn pool(&self, roots: &Path, config: PoolConfig) -> Pool {
        let url = format!("https://localhost:{}", self.address().port());
        let endpoint = Endpoint::new(&url, tls_config(Some(roots)).expect("TLS settings")).expect("an endpoint");
        Pool::new("tls", endpoint, config, WarmUp::None)
    }

    async fn accept(&self) -> std::io::Result<Peer> {
        let (tcp, _) = self.listener.accept().await.expect("a connection");
        Ok(Peer::greet(Box::new(self.acceptor.accept(tcp).await?), 100).await)
    }
}

/// Base URL, private root, ALPN and frames work together over a real socket, and a closed pool says goodbye properly.
#[tokio::test]
async fn a_request_is_answered_over_tls() {
    let site = Site::open(&[b"h2"]).await;
    let pool = site.pool(site.roots.path(), one_connection());
    let sending = tokio::spawn({
        let pool = pool.clone();
        async move { pool.send(request, in_seconds(30)).await }
    });
    let mut peer = site.accept().await.expect("a client that trusts us");
    let stream = peer.request().await;
    peer.answer(stream, 200, b"{}").await;
    let answer = sending.await.expect("no panic").expect("an answer");
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"{}"[..]));
    let closing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close().await }
    });
    let goodbye = peer.until(super::peer::GOAWAY).await.expect("a GOAWAY before the line closes");
    assert_eq!(goodbye.payload[4..8], NO_ERROR.to_be_bytes());
    drop(peer);
    closing.await.expect("closed");
}

/// A server whose root is not in the file is never sent anything.
#[tokio::test]
async fn a_certificate_of_an_unknown_root_is_refused() {
    let (site, other) = (Site::open(&[b"h2"]).await, Site::open(&[b"h2"]).await);
    let pool = site.pool(other.roots.path(), PoolConfig { queue_timeout_ms: 1_000, ..one_connection() });
    let sending = tokio::spawn(async move { pool.send(request, in_seconds(30)).await });
    assert!(site.accept().await.is_err(), "the client must not accept the certificate");
    let error = sending.await.expect("no panic").expect_err("no connection");
    let SendError::NotProcessed(NotProcessed::NoConnection(why)) = error else { panic!("{error}") };
    assert!(why.contains("certificate"), "{why}");
}

/// A server that does not agree on HTTP/2 is not spoken to.
#[tokio::test]
async fn a_server_without_http2_is_refused() {
    let site = Site::open(&[]).await;
    let pool = site.pool(site.roots.path(), PoolConfig { queue_timeout_ms: 1_000, ..one_connection() });
    let sending = tokio::spawn(async move { pool.send(request, in_seconds(30)).await });
    let (tcp, _) = site.listener.accept().await.expect("a connection");
    let _line = site.acceptor.accept(tcp).await.expect("TLS itself works");
    let error = sending.await.expect("no panic").expect_err("no connection");
    let SendError::NotProcessed(NotProcessed::NoConnection(why)) = error else { panic!("{error}") };
    assert!(why.contains("HTTP/2"), "{why}");
}

/// The name is looked up for every connection: when its address changes, the next connection goes to the new one.
#[tokio::test]
async fn the_name_is_looked_up_for_every_connection() {
    let (old, new) = (Site::open(&[b"h2"]).await, Site::open(&[b"h2"]).await);
    let moved = Arc::new(AtomicBool::new(false));
    let addresses = [old.address(), new.address()];
    let lookup = {
        let moved = moved.clone();
        move |host: String, _| -> Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send>> {
            assert_eq!(host, "localhost");
            let address = addresses[usize::from(moved.load(Ordering::SeqCst))];
            Box::pin(std::future::ready(Ok(vec![address])))
        }
    };
    let roots = both(&old, &new);
    let endpoint = Endpoint::new("https://localhost", tls_config(Some(roots.path())).expect("TLS settings"));
    let endpoint = endpoint.expect("an endpoint").with_lookup(Arc::new(lookup));
    let _pool = Pool::new("moving", endpoint, one_connection(), WarmUp::None);
    let peer = old.accept().await.expect("the first connection");
    moved.store(true, Ordering::SeqCst);
    drop(peer);
    new.accept().await.expect("the next connection, elsewhere");
}

/// Addresses are used in turn, so that connections spread, and one that does not answer is passed over.
#[tokio::test]
async fn connections_spread_over_the_addresses() {
    let (one, two) = (Site::open(&[b"h2"]).await, Site::open(&[b"h2"]).await);
    let closed = TcpListener::bind("localhost:0").await.expect("a port").local_addr().expect("bound");
    let addresses = vec![one.address(), closed, two.address()];
    let roots = both(&one, &two);
    let endpoint = Endpoint::new("https://localhost", tls_config(Some(roots.path())).expect("TLS settings"));
    let endpoint = endpoint.expect("an endpoint").with_lookup(Arc::new(move |_, _| {
        let addresses = addresses.clone();
        Box::pin(std::future::ready(Ok(addresses)))
    }));
    let config = PoolConfig { connections: 3, ..PoolConfig::default() };
    let _pool = Pool::new("spread", endpoint, config, WarmUp::None);
    let (mut peers_of_one, mut peers_of_two) = (Vec::new(), Vec::new());
    // Three tries begin at the closed port (and pass on to the second site), at the second site, and at the first.
    while peers_of_one.is_empty() || peers_of_two.len() < 2 {
        tokio::select! {
            peer = one.accept() => peers_of_one.push(peer.expect("a client that trusts us")),
            peer = two.accept() => peers_of_two.push(peer.expect("a client that trusts us")),
        }
    }
    assert_eq!(peers_of_one.len(), 1);
}

/// A file with the roots of both sites.
fn both(one: &Site, two: &Site) -> tempfile::NamedTempFile {
    let roots = [one, two].map(|site| std::fs::read_to_string(site.roots.path()).expect("readable")).concat();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), roots).expect("written");
    file
}

/// A base URL is https with a host and perhaps a port; everything else is refused with a reason.
#[test]
fn a_base_url_is_checked() {
    let site = tls_config(None).expect("TLS settings");
    for good in
        ["https://api.push.apple.com", "https://api.push.apple.com:2197", "https://[::1]:8443", "https://127.0.0.1/"]
    {
        assert!(Endpoint::new(good, site.clone()).is_ok(), "{good}");
    }
    for bad in ["http://localhost", "localhost:1", "https://", "https://a/b", "https://a?x=1", "https://u@a", ""] {
        assert!(matches!(Endpoint::new(bad, site.clone()), Err(EndpointError::Url { .. })), "{bad}");
    }
    let mut plain = rustls::ClientConfig::clone(&site);
    plain.alpn_protocols.clear();
    assert!(matches!(Endpoint::new("https://a", Arc::new(plain)), Err(EndpointError::Alpn)));
}

/// A file without a certificate is refused at start, by name.
#[test]
fn a_root_file_without_certificates_is_refused() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let error = tls_config(Some(file.path())).expect_err("no roots");
    assert!(matches!(&error, TlsError::Roots { path, .. } if *path == file.path().display().to_string()), "{error}");
}
