//! The APNs and FCM simulators, an OIDC issuer and phones, for tests, demonstrations and load, in this process or as `watchbell sandbox`.
//!
//! Senders are judged as the real services judge them (signed tokens, headers, payloads, schema, device states), devices
//! remember what they received, and everything that goes wrong with a provider can be made to go wrong here, on demand.
//! TLS with a CA of its own, written to a file, so that any client of either service can be pointed at it.
//! The issuer signs people in without a question, by the same protocol as a real one ([`issuer`]).
//! Phones are played too, if somebody asks for them ([`phones`]); it delivers to no real one, and is no place for real tokens or keys.
//! Start fails if a port or the directory cannot be had; after that it fails only as a provider does, by its answers.
//!
//! The control endpoint (plain HTTP, JSON, loopback) is described in [`control`]; the faults in [`fault`].
pub mod apns;
pub mod config;
pub mod control;
#[cfg(test)]
mod control_tests;
mod credentials;
mod exchange;
pub mod fault;
pub mod fcm;
mod form;
pub mod issuer;
pub mod phones;
mod ranges;
mod server;
#[cfg(test)]
pub(crate) mod testing;
mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use self::config::SandboxConfig;
pub use self::credentials::CredentialsError;

use self::apns::Apns;
use self::apns::service::ApnsService;
use self::credentials::Directory;
use self::fault::{FaultBook, Provider, Rule};
use self::fcm::Fcm;
use self::fcm::service::FcmService;
use self::issuer::Issuer;
use self::issuer::service::IssuerService;
use self::phones::Phones;
use self::server::{Endpoint, Registry};
use self::wire::judge::Command;

/// Why a sandbox does not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// An address cannot be listened on.
    #[error("the sandbox cannot listen on {address}: {error}; choose another port, or 0 for a free one")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// Keys or certificates cannot be had.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The TLS library refuses the certificate.
    #[error("the sandbox cannot use its certificate: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
}

/// What the parts of a sandbox share.
pub(crate) struct Shared {
    pub(crate) apns: Arc<Apns>,
    pub(crate) fcm: Arc<Fcm>,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) phones: Arc<Phones>,
    pub(crate) faults: Arc<FaultBook>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) ca_file: PathBuf,
    pub(crate) apns_address: SocketAddr,
    pub(crate) fcm_address: SocketAddr,
}

/// A running sandbox. It ends when it is dropped; [`Sandbox::shutdown`] waits for the end.
pub struct Sandbox {
    shared: Arc<Shared>,
    control_address: SocketAddr,
    issuer_address: SocketAddr,
    tasks: JoinSet<()>,
    directory: Directory,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox")
            .field("apns", &self.apns_url())
            .field("fcm", &self.fcm_url())
            .field("issuer", &self.shared.issuer.url())
            .field("control", &self.control_url())
            .finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Starts the simulators, the issuer and the control endpoint on the current Tokio runtime.
    ///
    /// # Errors
    /// [`SandboxError`] when a port, the directory or a key file cannot be used.
    pub async fn start(config: SandboxConfig) -> Result<Self, SandboxError> {
        let directory = Directory::open(config.dir.as_deref())?;
        let (apns_listener, apns_address) = listener(SocketAddr::new(config.host, config.apns_port)).await?;
        let (fcm_listener, fcm_address) = listener(SocketAddr::new(config.host, config.fcm_port)).await?;
        let (issuer_listener, issuer_address) = listener(SocketAddr::new(config.host, config.issuer_port)).await?;
        let (control_listener, control_address) = listener(SocketAddr::new(config.host, config.control_port)).await?;
        let identity = credentials::server_identity(&directory, config.host, &config.names)?;
        let urls = [url(fcm_address), format!("https://localhost:{}", fcm_address.port())];
        let apns = Arc::new(Apns::new(config.apns, &directory)?);
        let fcm = Arc::new(Fcm::new(config.fcm, &directory, &urls)?);
        let issuer = Arc::new(Issuer::new(config.issuer, url(issuer_address))?);
        let shared = Arc::new(Shared {
            phones: Arc::new(Phones::new(Arc::clone(&apns), Arc::clone(&fcm), Arc::clone(&issuer))),
            apns,
            fcm,
            issuer,
            faults: Arc::default(),
            registry: Arc::default(),
            ca_file: identity.ca_file.clone(),
            apns_address,
            fcm_address,
        });
        for rule in config.faults {
            shared.faults.add(rule);
        }
        let mut tasks = JoinSet::new();
        let apns = Arc::clone(&shared.apns);
        tasks.spawn(server::listen(
            apns_listener,
            Endpoint {
                provider: Provider::Apns,
                tls: server::tls_config(&identity, false)?,
                http1: false,
                service: move || ApnsService::new(Arc::clone(&apns)),
                faults: Arc::clone(&shared.faults),
                registry: Arc::clone(&shared.registry),
            },
        ));
        let fcm = Arc::clone(&shared.fcm);
        tasks.spawn(server::listen(
            fcm_listener,
            Endpoint {
                provider: Provider::Fcm,
                tls: server::tls_config(&identity, true)?,
                http1: true,
                service: move || FcmService::new(Arc::clone(&fcm)),
                faults: Arc::clone(&shared.faults),
                registry: Arc::clone(&shared.registry),
            },
        ));
        let issuer = Arc::clone(&shared.issuer);
        tasks.spawn(server::listen(
            issuer_listener,
            Endpoint {
                provider: Provider::Issuer,
                tls: server::tls_config(&identity, true)?,
                http1: true,
                service: move || IssuerService::new(Arc::clone(&issuer)),
                faults: Arc::clone(&shared.faults),
                registry: Arc::clone(&shared.registry),
            },
        ));
        tasks.spawn(control::serve(control_listener, Arc::clone(&shared)));
        Ok(Self { shared, control_address, issuer_address, tasks, directory })
    }

    /// The APNs simulator: keys, devices, what they received.
    #[must_use]
    pub fn apns(&self) -> &Apns {
        &self.shared.apns
    }

    /// The FCM simulator: service accounts, registrations, what they received.
    #[must_use]
    pub fn fcm(&self) -> &Fcm {
        &self.shared.fcm
    }

    /// The OIDC issuer: personas, keys, tokens. Its address is [`Issuer::url`].
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.shared.issuer
    }

    /// The phones, of which there are none until one is made.
    #[must_use]
    pub fn phones(&self) -> &Arc<Phones> {
        &self.shared.phones
    }

    /// Where the issuer listens, whatever its identifier says.
    #[must_use]
    pub fn issuer_address(&self) -> SocketAddr {
        self.issuer_address
    }

    /// Base URL of the APNs simulator, such as `https://127.0.0.1:2197`.
    #[must_use]
    pub fn apns_url(&self) -> String {
        url(self.shared.apns_address)
    }

    /// Base URL of the FCM simulator; the token endpoint is `/token` below it.
    #[must_use]
    pub fn fcm_url(&self) -> String {
        url(self.shared.fcm_address)
    }

    /// Base URL of the control endpoint.
    #[must_use]
    pub fn control_url(&self) -> String {
        format!("http://{}", reachable(self.control_address))
    }

    /// The CA certificate that clients must trust, PEM.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.shared.ca_file
    }

    /// The directory with all files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// Puts a fault into force; returns its number.
    pub fn add_fault(&self, rule: Rule) -> u64 {
        self.shared.faults.add(rule)
    }

    /// Removes one fault; true if it was in force.
    pub fn remove_fault(&self, id: u64) -> bool {
        self.shared.faults.remove(Some(id)) > 0
    }

    /// Removes all faults; how many there were.
    pub fn clear_faults(&self) -> usize {
        self.shared.faults.remove(None)
    }

    /// Numbers of the open connections of a provider, oldest first.
    #[must_use]
    pub fn connections(&self, provider: Provider) -> Vec<u64> {
        self.shared.registry.live(provider)
    }

    /// Connections opened since the start, all services together.
    #[must_use]
    pub fn connections_opened(&self) -> u64 {
        self.shared.registry.opened()
    }

    /// Sends GOAWAY on every open connection of a provider: with `lose`, requests that still wait (under latency) are dropped
    /// unanswered and the connection closes at once; without, they are answered first. How many connections were told.
    pub fn goaway(&self, provider: Provider, reason: Option<&str>, lose: bool) -> usize {
        let command = Command::Goaway { reason: reason.map(str::to_owned), lose };
        self.shared.registry.command(provider, None, &command)
    }

    /// Resets every open TCP connection of a provider.
    pub fn disconnect(&self, provider: Provider) -> usize {
        self.shared.registry.command(provider, None, &Command::Disconnect)
    }

    /// Makes every open connection of a provider go silent for ever: nothing is read, answered or closed.
    pub fn black_hole(&self, provider: Provider) -> usize {
        self.shared.registry.command(provider, None, &Command::BlackHole)
    }

    /// Makes every open connection of a provider leave PINGs unanswered.
    pub fn ignore_pings(&self, provider: Provider) -> usize {
        self.shared.registry.command(provider, None, &Command::IgnorePings)
    }

    /// Makes every open connection of a provider answer that its token has expired, whatever token comes.
    pub fn wedge(&self, provider: Provider) -> usize {
        self.shared.registry.command(provider, None, &Command::Wedge)
    }

    /// Changes the limit of concurrent streams on every open connection of a provider, and for those to come.
    pub fn set_stream_limit(&self, provider: Provider, streams: u32) -> usize {
        self.shared.set_stream_limit(provider, streams)
    }

    /// Forgets what devices received and all that was set, faults and phones too. Connections and credentials stay.
    pub fn reset(&self) {
        self.shared.reset();
    }

    /// Ends the sandbox: all connections are dropped and the ports are free when this returns.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }
}

impl Shared {
    pub(crate) fn set_stream_limit(&self, provider: Provider, streams: u32) -> usize {
        match provider {
            Provider::Apns => self.apns.set_stream_limit(streams),
            Provider::Fcm | Provider::Oauth => self.fcm.set_stream_limit(streams),
            // Connections to come have the usual one.
            Provider::Issuer => {}
        }
        self.registry.command(provider, None, &Command::StreamLimit(streams))
    }

    pub(crate) fn reset(&self) {
        self.faults.remove(None);
        self.phones.reset();
        self.apns.reset();
        self.fcm.reset();
        self.issuer.reset();
    }
}

async fn listener(address: SocketAddr) -> Result<(TcpListener, SocketAddr), SandboxError> {
    let fail = |error| SandboxError::Listen { address, error };
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?;
    Ok((listener, bound))
}

/// An address a client on this machine can connect to: loopback in place of "all interfaces".
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        std::net::IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn url(address: SocketAddr) -> String {
    format!("https://{}", reachable(address))
}
