//! The line under a connection: gathers what is written, and notes that the peer was heard.
//!
//! **Point:** the framing flushes after each body over a kilobyte, and each flush would be a TLS record and a system call of its
//! own. Here a flush costs a copy; what was gathered leaves at once when the connection has been driven ([`Line::poll_written`]).
//! **Does not:** hold anything back on its own: whoever drives the connection must call `poll_written` after each turn.
//! **Fails** as the stream beneath does.
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes gathered before they are written without waiting for the end of the turn: four full TLS records, which is also what
/// the TLS library buffers at most.
const GATHERED_MAX: usize = 64 << 10;

/// Bytes to and from a peer.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Two handles to one line: one for the framing, one for whoever drives it. Both live in one task, so the lock is never waited for.
#[derive(Clone)]
pub(super) struct Line {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    io: Box<dyn Io>,
    gathered: Vec<u8>,
    /// How much of `gathered` is written.
    written: usize,
    heard: bool,
}

impl Line {
    pub(super) fn new(io: Box<dyn Io>) -> Self {
        Self { inner: Arc::new(Mutex::new(Inner { io, gathered: Vec::new(), written: 0, heard: true })) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything was read since this was last asked.
    pub(super) fn heard(&self) -> bool {
        std::mem::replace(&mut self.inner().heard, false)
    }

    /// Writes and flushes all that was gathered.
    pub(super) fn poll_written(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_written(cx)
    }
}

impl Inner {
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drained(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.gathered.len() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.gathered[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.written += n,
            }
        }
        self.gathered.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        let result = Pin::new(&mut inner.io).poll_read(cx, buf);
        inner.heard |= result.is_ready();
        result
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.inner();
        if inner.gathered.len() + buf.len() > GATHERED_MAX {
            ready!(inner.poll_drained(cx))?;
        }
        inner.gathered.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        ready!(inner.poll_written(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}
