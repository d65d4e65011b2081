//! From a base URL to an encrypted line: name, address, TCP, TLS.
//!
//! **Point:** the name is looked up anew for every connection, and the addresses are used in turn, so that connections spread.
//! **Does not:** keep addresses, accept plain text, or go on without HTTP/2 (ALPN).
//! **Fails** with a sentence that names the step and the address.
use std::{future::Future, io, net::SocketAddr, path::Path, pin::Pin, sync::Arc, time::Duration};

use http::uri::Authority;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::line::Io;

/// Addresses tried for one connection before it counts as failed; the next try looks the name up again.
const ADDRESSES_TRIED: usize = 3;
const H2: &[u8] = b"h2";

/// Where a provider is, and how its certificate is checked.
#[derive(Clone)]
pub struct Endpoint {
    authority: Authority,
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    lookup: Lookup,
}

type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
/// From host and port to addresses: the system's resolver.
pub(super) type Lookup = Arc<dyn Fn(String, u16) -> Addresses + Send + Sync>;

fn system_lookup(host: String, port: u16) -> Addresses {
    Box::pin(async move { Ok(lookup_host((host.as_str(), port)).await?.collect()) })
}

/// Why a base URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not `https://host[:port]`.
    #[error("`{url}` is not a base URL of the form https://host[:port]{detail}")]
    Url {
        /// The text given.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The TLS settings do not offer HTTP/2.
    #[error("the TLS settings must offer exactly the protocol h2 (ALPN); make them with `tls_config`")]
    Alpn,
}

/// Why TLS settings cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file with root certificates cannot be read or holds none.
    #[error("root certificates in {path}: {detail}")]
    Roots {
        /// The file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The TLS library refused.
    #[error("TLS settings: {0}")]
    Tls(#[from] rustls::Error),
}

/// TLS settings for providers: HTTP/2 only, certificates checked against the PEM file if given, else as the platform does.
pub fn tls_config(roots: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = match roots {
        None => builder.with_platform_verifier()?.with_no_client_auth(),
        Some(path) => builder.with_root_certificates(read_roots(path)?).with_no_client_auth(),
    };
    config.alpn_protocols = vec![H2.to_vec()];
    Ok(Arc::new(config))
}

fn read_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let fault = |detail: String| TlsError::Roots { path: path.display().to_string(), detail };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| fault(e.to_string()))? {
        let certificate = certificate.map_err(|e| fault(e.to_string()))?;
        roots.add(certificate).map_err(|e| fault(e.to_string()))?;
    }
    if roots.is_empty() { Err(fault("no certificate in it".to_owned())) } else { Ok(roots) }
}

/// A base URL's parts.
struct Place {
    authority: Authority,
    host: String,
    name: ServerName<'static>,
}

/// Whether `base_url` is `https://host[:port]`, nothing more.
pub fn check_base_url(base_url: &str) -> Result<(), EndpointError> {
    Place::of(base_url).map(drop)
}

impl Place {
    fn of(base_url: &str) -> Result<Self, EndpointError> {
        let fault = |detail: &str| EndpointError::Url { url: base_url.to_owned(), detail: detail.to_owned() };
        let uri: http::Uri = base_url.parse().map_err(|_| fault(""))?;
        if uri.scheme_str() != Some("https") {
            return Err(fault(": the scheme must be https"));
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(fault(": it must not have a path or query"));
        }
        let authority = uri.authority().cloned().ok_or_else(|| fault(""))?;
        if authority.as_str().contains('@') {
            return Err(fault(": it must not carry a user name"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| fault(": the host is no valid name"))?;
        Ok(Self { authority, host, name })
    }
}

impl Endpoint {
    /// `base_url` is as [`check_base_url`] wants it; `tls` comes from [`tls_config`].
    pub fn new(base_url: &str, tls: Arc<ClientConfig>) -> Result<Self, EndpointError> {
        let Place { authority, host, name } = Place::of(base_url)?;
        if tls.alpn_protocols != [H2] {
            return Err(EndpointError::Alpn);
        }
        let port = authority.port_u16().unwrap_or(443);
        Ok(Self { authority, host, port, name, tls, lookup: Arc::new(system_lookup) })
    }

    /// The same endpoint with another way from its name to its addresses.
    #[cfg(test)]
    pub(super) fn with_lookup(self, lookup: Lookup) -> Self {
        Self { lookup, ..self }
    }

    async fn open(&self, turn: usize, limit: Duration) -> io::Result<Box<dyn Io>> {
        let mut addresses = timeout(limit, (self.lookup)(self.host.clone(), self.port))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| at(&format!("looking up {}", self.host), &error))?;
        if addresses.is_empty() {
            return Err(io::Error::other(format!("{} has no address", self.host)));
        }
        let first = turn % addresses.len();
        addresses.rotate_left(first);
        let mut failure = io::Error::other("no address tried");
        for address in addresses.into_iter().take(ADDRESSES_TRIED) {
            match timeout(limit, self.secure(address)).await {
                Ok(Ok(io)) => return Ok(io),
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::Error::other(format!("connecting to {address}: no answer within {limit:?}")),
            }
        }
        Err(failure)
    }

    async fn secure(&self, address: SocketAddr) -> io::Result<Box<dyn Io>> {
        let tcp = TcpStream::connect(address).await.map_err(|e| at(&format!("connecting to {address}"), &e))?;
        tcp.set_nodelay(true)?;
        let connector = TlsConnector::from(self.tls.clone());
        let tls =
            connector.connect(self.name.clone(), tcp).await.map_err(|e| at(&format!("TLS with {address}"), &e))?;
        if tls.get_ref().1.alpn_protocol() != Some(H2) {
            return Err(io::Error::other(format!("{address} does not speak HTTP/2 (ALPN)")));
        }
        Ok(Box::new(tls))
    }
}

fn at(step: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{step}: {error}"))
}

pub(super) type Dialed<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send + 'a>>;

/// Opens lines to one peer. `turn` counts the tries, to use several addresses in turn.
pub(super) trait Dial: Send + Sync {
    fn authority(&self) -> Authority;
    fn dial(&self, turn: usize, limit: Duration) -> Dialed<'_>;
}

impl Dial for Endpoint {
    fn authority(&self) -> Authority {
        self.authority.clone()
    }

    fn dial(&self, turn: usize, limit: Duration) -> Dialed<'_> {
        Box::pin(self.open(turn, limit))
    }
}
