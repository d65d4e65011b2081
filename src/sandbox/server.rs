//! Listeners, TLS, and the list of open connections.
//!
//! APNs is HTTP/2 only: a client that does not choose `h2` in ALPN finds its connection closed, as at Apple. FCM and the token
//! endpoint speak HTTP/1.1 too.
//! Each connection is one task; its commands (from the control endpoint) come through the [`Registry`].
//! A failed handshake is logged at debug level and harms nobody else.
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConfig};

use super::credentials::ServerIdentity;
use super::exchange::Service;
use super::fault::{FaultBook, Provider};
use super::wire::judge::Command;
use super::wire::session::Session;
use super::wire::{connection, http1};

/// Room under TLS for what arrives, in bytes.
const READ_BUFFER: usize = 64 * 1024;

/// The open connections, by number.
#[derive(Default)]
pub(crate) struct Registry {
    opened: AtomicU64,
    live: Mutex<HashMap<u64, (Provider, mpsc::UnboundedSender<Command>)>>,
}

impl Registry {
    fn enter(self: &Arc<Self>, provider: Provider) -> (Entry, mpsc::UnboundedReceiver<Command>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let id = self.opened.fetch_add(1, Ordering::Relaxed) + 1;
        self.live.lock().unwrap_or_else(PoisonError::into_inner).insert(id, (provider, sender));
        (Entry { registry: Arc::clone(self), id }, receiver)
    }

    /// Sends `command` to every connection of `provider`, or to the one numbered `id`; how many were told.
    pub(crate) fn command(&self, provider: Provider, id: Option<u64>, command: &Command) -> usize {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let chosen = live.iter().filter(|(own, (kind, _))| *kind == provider && id.is_none_or(|id| id == **own));
        chosen.filter(|(_, (_, sender))| sender.send(command.clone()).is_ok()).count()
    }

    /// The numbers of the open connections of `provider`, oldest first.
    pub(crate) fn live(&self, provider: Provider) -> Vec<u64> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ids: Vec<u64> = live.iter().filter(|(_, (kind, _))| *kind == provider).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// Connections opened since the start, of all providers.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }
}

/// Removes the connection from the registry when it ends.
struct Entry {
    registry: Arc<Registry>,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.registry.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// What a listener needs to serve its provider.
pub(crate) struct Endpoint<F> {
    pub(crate) provider: Provider,
    pub(crate) tls: Arc<ServerConfig>,
    /// Whether clients without `h2` are served by HTTP/1.1 or refused.
    pub(crate) http1: bool,
    pub(crate) service: F,
    pub(crate) faults: Arc<FaultBook>,
    pub(crate) registry: Arc<Registry>,
}

/// The TLS settings of an endpoint: `h2` first, `http/1.1` only where it is served.
pub(crate) fn tls_config(identity: &ServerIdentity, http1: bool) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols.push(b"h2".to_vec());
    if http1 {
        config.alpn_protocols.push(b"http/1.1".to_vec());
    }
    Ok(Arc::new(config))
}

/// Accepts connections until the task is dropped, and all of them with it.
pub(crate) async fn listen<F, V>(listener: TcpListener, endpoint: Endpoint<F>)
where
    F: Fn() -> V + Clone + Send + Sync + 'static,
    V: Service,
{
    let endpoint = Arc::new(endpoint);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(greet(stream, Arc::clone(&endpoint)));
                }
                // Too many open files, for example: what is open goes on, and new ones are tried again.
                Err(error) => {
                    tracing::warn!(%error, "the sandbox cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn greet<F, V>(stream: TcpStream, endpoint: Arc<Endpoint<F>>)
where
    F: Fn() -> V + Clone + Send + Sync + 'static,
    V: Service,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection of the sandbox keeps Nagle's algorithm");
    }
    let acceptor = TlsAcceptor::from(Arc::clone(&endpoint.tls));
    let socket = match acceptor.accept(BufReader::with_capacity(READ_BUFFER, stream)).await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(%error, "a TLS handshake with the sandbox failed");
            return;
        }
    };
    let (_entry, commands) = endpoint.registry.enter(endpoint.provider);
    let service = (endpoint.service)();
    let faults = Arc::clone(&endpoint.faults);
    if socket.get_ref().1.alpn_protocol() == Some(b"h2") {
        connection::serve(socket, Session::new(service, faults), commands).await;
    } else if endpoint.http1 {
        http1::serve(socket, service, faults, commands).await;
    } else {
        tracing::debug!("a client without HTTP/2 is refused, as APNs does");
    }
}
