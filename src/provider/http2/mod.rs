//! The HTTP/2 connections to one provider under one credential.
//!
//! **Point:** a push costs what HTTP/2 and TLS cost and little more, and its fate is never guessed: an answer, *certainly not
//! processed*, or *unknown*. Connections are kept for days, opened one by one, watched, and replaced while they drain.
//! **Does not:** retry what may have been processed, know what a status means for a device, or hold credentials.
//! **Fails** with [`SendError`], always within the deadline (at most two ticks of 50 ms late), never by hanging.
//!
//! Nothing outside this folder names the framing library; [`Pool`] (open, send, answer, condemn, close) is all there is.
mod config;
mod connection;
mod dial;
mod error;
mod exchange;
mod keeper;
mod line;
mod pool;
mod state;
mod telemetry;
#[cfg(test)]
mod tests;

pub use config::PoolConfig;
pub use dial::{Endpoint, EndpointError, TlsError, check_base_url, tls_config};
pub use error::{NotProcessed, SendError, Unknown};
pub use exchange::{Answer, Request};
pub use pool::{Pool, PoolStats, WarmUp};

/// Names one connection of one pool, for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(u64);

impl std::fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", self.0)
    }
}
