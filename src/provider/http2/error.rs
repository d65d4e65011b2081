//! Why there is no answer. The two words that matter are *not processed* (resending cannot double a push) and *unknown*.
use std::sync::Arc;

use super::ConnectionId;

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SendError {
    /// The provider certainly did not process it: resending cannot double a push.
    #[error("not processed: {0}")]
    NotProcessed(NotProcessed),
    /// It was handed over and may have been processed; `connection` is the one to avoid in a resend.
    #[error("handed over on connection {connection}, fate unknown: {cause}")]
    Unknown {
        /// What happened after the hand-over.
        cause: Unknown,
        /// The connection that carried it.
        connection: ConnectionId,
    },
    /// Its deadline passed before it was handed over; it was not sent.
    #[error("the deadline passed before it was sent")]
    Deadline,
}

/// Why a request certainly was not processed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotProcessed {
    /// No connection within the time to wait for one.
    #[error("no connection to the provider: {0}")]
    NoConnection(Arc<str>),
    /// All streams of all connections stayed taken for the time to wait for one.
    #[error("every stream of every connection stayed busy; raise `connections` or lower the number in flight")]
    Busy,
    /// The peer refused the stream, or took leave without processing it, each time it was tried.
    #[error("refused by the peer each of {attempts} times: {last}")]
    Refused {
        /// How often it was tried.
        attempts: u8,
        /// The last refusal.
        last: Arc<str>,
    },
    /// The request is no valid HTTP/2 request.
    #[error("the request is malformed: {0}")]
    Malformed(Arc<str>),
    /// It was not wanted any more when its turn came.
    #[error("not wanted any more")]
    Unwanted,
    /// The pool is closing.
    #[error("the connection pool is closing")]
    Closing,
}

/// What happened to a request after it was handed over.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unknown {
    /// No answer within the attempt's time.
    #[error("no answer in time")]
    Timeout,
    /// The peer reset the stream, for a reason that says nothing about processing.
    #[error("stream reset: {0}")]
    Reset(Arc<str>),
    /// The connection ended.
    #[error("connection lost: {0}")]
    ConnectionLost(Arc<str>),
}

/// The text of an error, shared by all whom it concerns.
pub(super) fn text(error: &impl std::fmt::Display) -> Arc<str> {
    Arc::from(error.to_string())
}
