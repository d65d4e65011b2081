//! One HTTP/2 connection: opening streams on it, and the task that drives it until it ends.
//!
//! **Point:** the peer's stream limit, its GOAWAY and its silence reach the books as soon as they are read.
//! **Does not:** decide who may send (`state`) or when to connect (`keeper`).
//! **Fails** by ending: streams still open then have an unknown fate, and a stream that could not be opened was not processed.
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use h2::client::{ResponseFuture, SendRequest};
use http::{
    Method, Uri, Version,
    uri::{Authority, Parts, Scheme},
};
use tokio::time::{Instant, Sleep};

use super::{
    ConnectionId, Request,
    error::text,
    line::{Io, Line},
    pool::Shared,
};

/// Streams that we reset (a timeout) are remembered so that a late answer is ignored; forgotten, each would count as a fault
/// of the connection.
const REMEMBERED_RESETS: usize = 10_000;
const REMEMBER_RESETS: std::time::Duration = std::time::Duration::from_secs(10);
/// Bytes of answers that a connection holds before they are read; what a peer may cost us at most. A stream's own window stays
/// at HTTP/2's default of 65,535 bytes, beyond which no body is kept.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of answer headers that we accept; APNs itself announces 8,000 for requests.
const HEADER_LIST_MAX: u32 = 16 << 10;

pub(super) type Driver = h2::client::Connection<Line, Bytes>;

/// One connection, as far as those who send on it need it.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    authority: Authority,
    /// None once no new stream may be opened.
    sender: Mutex<Option<SendRequest<Bytes>>>,
    waker: AtomicWaker,
    ping_now: AtomicBool,
    /// Requests were started that may not be written yet.
    started: AtomicBool,
}

/// Why a stream could not be opened; in both cases nothing was sent.
pub(super) enum NotOpened {
    /// The connection takes no new streams.
    Leaving(Arc<str>),
    /// The connection is full at this moment.
    Full,
    /// The request itself cannot be sent.
    Malformed(Arc<str>),
}

/// What the connection says about itself after it was driven.
enum Standing {
    Usable { limit: u32 },
    Leaving(Arc<str>),
}

/// Starts HTTP/2 on an established line.
pub(super) async fn handshake(
    io: Box<dyn Io>,
    id: ConnectionId,
    authority: Authority,
) -> Result<(Arc<Connection>, Driver, Line), h2::Error> {
    let line = Line::new(io);
    let (sender, driver) = h2::client::Builder::new()
        .enable_push(false)
        .initial_max_send_streams(1)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST_MAX)
        .max_concurrent_reset_streams(REMEMBERED_RESETS)
        .reset_stream_duration(REMEMBER_RESETS)
        .max_local_error_reset_streams(None)
        .handshake(line.clone())
        .await?;
    let connection = Connection {
        id,
        authority,
        sender: Mutex::new(Some(sender)),
        waker: AtomicWaker::new(),
        ping_now: AtomicBool::new(false),
        started: AtomicBool::new(false),
    };
    Ok((Arc::new(connection), driver, line))
}

impl Connection {
    fn sender(&self) -> MutexGuard<'_, Option<SendRequest<Bytes>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a stream and hands the request over.
    pub(super) fn start(&self, request: Request) -> Result<ResponseFuture, NotOpened> {
        let Request { path, headers, body } = request;
        let mut parts = Parts::default();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        let mut head = http::Request::new(());
        *head.method_mut() = Method::POST;
        *head.version_mut() = Version::HTTP_2;
        *head.uri_mut() = Uri::from_parts(parts).map_err(|error| NotOpened::Malformed(text(&error)))?;
        *head.headers_mut() = headers;
        let opened = match self.sender().as_mut() {
            None => return Err(NotOpened::Leaving("the connection takes no new requests".into())),
            Some(sender) => sender.send_request(head, body.is_empty()),
        };
        let (response, mut stream) = opened.map_err(|error| self.not_opened(&error))?;
        self.started.store(true, Ordering::Relaxed);
        if !body.is_empty()
            && let Err(error) = stream.send_data(body, true)
        {
            // The stream was closed between the two calls; its answer says why.
            tracing::debug!(connection = %self.id, %error, "the request's body was not taken");
        }
        Ok(response)
    }

    /// Tells a connection that is leaving from one that is full and from a request that cannot be sent.
    fn not_opened(&self, error: &h2::Error) -> NotOpened {
        let mut guard = self.sender();
        let Some(sender) = guard.as_mut() else { return NotOpened::Leaving(text(error)) };
        match sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(leaving)) => NotOpened::Leaving(text(&leaving)),
            Poll::Ready(Ok(())) => NotOpened::Malformed(text(error)),
            Poll::Pending => {
                // A stream of this handle waits for the peer's limit, which was lowered since the books were asked, and a
                // handle takes no other before that one is open. A fresh handle does; the books know the new limit by then.
                let fresh = sender.clone();
                *sender = fresh;
                NotOpened::Full
            }
        }
    }

    /// Opens no new stream; the connection ends by itself when its last one has.
    pub(super) fn let_go(&self) {
        let sender = self.sender().take();
        drop(sender);
        self.waker.wake();
    }

    /// Asks the peer for a sign of life now.
    pub(super) fn suspect(&self) {
        self.ping_now.store(true, Ordering::Relaxed);
        self.waker.wake();
    }

    fn standing(&self) -> Standing {
        let mut guard = self.sender();
        let Some(sender) = guard.as_mut() else { return Standing::Leaving("retired".into()) };
        match sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) => Standing::Leaving(text(&error)),
            Poll::Ready(Ok(())) | Poll::Pending => {
                Standing::Usable { limit: u32::try_from(sender.current_max_send_streams()).unwrap_or(u32::MAX) }
            }
        }
    }
}

/// Drives a connection until it ends, and keeps the books informed. Returns why it ended.
pub(super) struct Drive {
    connection: Arc<Connection>,
    driver: Driver,
    line: Line,
    shared: Weak<Shared>,
    limit: u32,
    leaving: bool,
    pulse: Pulse,
}

impl Drive {
    pub(super) fn new(connection: Arc<Connection>, mut driver: Driver, line: Line, shared: &Arc<Shared>) -> Self {
        let pulse = Pulse {
            pings: driver.ping_pong(),
            interval: shared.config.ping_interval(),
            timeout: shared.config.ping_timeout(),
            timer: Box::pin(tokio::time::sleep(shared.config.ping_interval())),
            asked: false,
        };
        Self { connection, driver, line, shared: Arc::downgrade(shared), limit: 0, leaving: false, pulse }
    }

    fn report(&mut self) {
        if self.leaving {
            return;
        }
        match self.connection.standing() {
            Standing::Usable { limit } if limit == self.limit => {}
            Standing::Usable { limit } => {
                self.limit = limit;
                if let Some(shared) = self.shared.upgrade() {
                    shared.limit_changed(self.connection.id, limit);
                }
            }
            Standing::Leaving(why) => {
                self.leaving = true;
                if let Some(shared) = self.shared.upgrade() {
                    shared.retire(self.connection.id, &why);
                }
                self.connection.let_go();
            }
        }
    }
}

impl Drive {
    /// Writes what the driver left on the line. All that was started before is written then.
    fn write(&self, cx: &mut Context<'_>) -> std::io::Result<()> {
        if let Poll::Ready(written) = self.line.poll_written(cx) {
            written?;
            if self.connection.started.swap(false, Ordering::Relaxed)
                && let Some(shared) = self.shared.upgrade()
            {
                shared.written(self.connection.id);
            }
        }
        Ok(())
    }
}

impl Future for Drive {
    type Output = Arc<str>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Arc<str>> {
        let this = &mut *self;
        this.connection.waker.register(cx.waker());
        if let Poll::Ready(result) = Pin::new(&mut this.driver).poll(cx) {
            return Poll::Ready(match result {
                Ok(()) => "closed".into(),
                Err(error) => text(&error),
            });
        }
        this.report();
        if let Err(error) = this.write(cx) {
            return Poll::Ready(text(&error));
        }
        this.pulse.poll(&this.connection, &this.line, cx)
    }
}

/// Asks for a sign of life after a silence, and calls a silent peer dead.
struct Pulse {
    pings: Option<h2::PingPong>,
    interval: std::time::Duration,
    timeout: std::time::Duration,
    timer: Pin<Box<Sleep>>,
    asked: bool,
}

impl Pulse {
    fn poll(&mut self, connection: &Connection, line: &Line, cx: &mut Context<'_>) -> Poll<Arc<str>> {
        let Some(pings) = self.pings.as_mut() else { return Poll::Pending };
        if self.asked
            && let Poll::Ready(answer) = pings.poll_pong(cx)
        {
            self.asked = false;
            if let Err(error) = answer {
                return Poll::Ready(text(&error));
            }
            self.timer.as_mut().reset(Instant::now() + self.interval);
        }
        if !self.asked && connection.ping_now.swap(false, Ordering::Relaxed) {
            line.heard();
            self.timer.as_mut().reset(Instant::now());
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if self.asked {
                return Poll::Ready("no answer to a PING".into());
            }
            let heard = line.heard();
            let wait = if heard { self.interval } else { self.timeout };
            if !heard {
                if let Err(error) = pings.send_ping(h2::Ping::opaque()) {
                    return Poll::Ready(text(&error));
                }
                self.asked = true;
                // Registers for the answer; it cannot be there yet.
                if pings.poll_pong(cx).is_ready() {
                    self.asked = false;
                }
            }
            self.timer.as_mut().reset(Instant::now() + wait);
        }
        Poll::Pending
    }
}
