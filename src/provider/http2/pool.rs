//! The pool itself: what a provider's client holds and calls.
use std::{
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    Answer, ConnectionId, Endpoint, NotProcessed, PoolConfig, Request, SendError,
    connection::Connection,
    dial::Dial,
    exchange::Sending,
    keeper,
    state::{Census, Ending, Laws, State, Tick},
    telemetry::Telemetry,
};

/// The clock of the books: how late a timeout may be noticed, at most twice this.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// Whether a new connection must prove its credential before it is used in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmUp {
    /// One request at a time until one was answered with a status that shows the credential was accepted, then as the peer's
    /// SETTINGS say. APNs demands this with token authentication.
    OneStreamUntilAccepted,
    /// As the peer's SETTINGS say, from the moment they arrive.
    None,
}

/// A pool of connections to one provider under one credential. Cheap to clone; the connections close with the last clone.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

/// Counts of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Connections that take new requests.
    pub open: usize,
    /// Connections that only finish what is in flight.
    pub draining: usize,
    /// Requests handed over and not yet answered.
    pub in_flight: usize,
    /// Requests waiting for a stream.
    pub waiting: usize,
}

/// What the pool, its keeper and its connections share.
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    pub(super) config: PoolConfig,
    pub(super) dialer: Box<dyn Dial>,
    pub(super) telemetry: Telemetry,
    /// Ticks since `epoch`, written by the keeper.
    pub(super) tick: AtomicU32,
    pub(super) epoch: Instant,
    pub(super) emptied: Notify,
    /// Failed dials, and connections that ended young without having accepted the credential, since the last that did. Paces the
    /// next dial.
    pub(super) failures: AtomicU32,
    state: Mutex<State<Arc<Connection>>>,
    /// Why there is no connection, for those who wait for one.
    failure: Mutex<Option<Arc<str>>>,
}

impl Pool {
    /// A pool called `name` in metrics and logs. It connects at once, in the background; needs a tokio runtime.
    pub fn new(name: impl Into<Arc<str>>, endpoint: Endpoint, config: PoolConfig, warm_up: WarmUp) -> Self {
        Self::with_dialer(name.into(), Box::new(endpoint), config, warm_up)
    }

    pub(super) fn with_dialer(name: Arc<str>, dialer: Box<dyn Dial>, config: PoolConfig, warm_up: WarmUp) -> Self {
        let laws = Laws {
            cap: config.max_streams_per_connection,
            request: ticks(config.request_timeout_ms),
            queue: ticks(config.queue_timeout_ms),
            one_until_accepted: warm_up == WarmUp::OneStreamUntilAccepted,
            sick_factor: config.sick_latency_factor,
            sick_floor: ticks(config.sick_latency_floor_ms) as f32,
            narrow: ticks(config.narrow_timeout_ms),
        };
        let shared = Arc::new(Shared {
            telemetry: Telemetry::new(&name),
            name,
            config,
            dialer,
            tick: AtomicU32::new(0),
            epoch: Instant::now(),
            emptied: Notify::new(),
            failures: AtomicU32::new(0),
            state: Mutex::new(State::new(laws)),
            failure: Mutex::new(None),
        });
        tokio::spawn(keeper::keep(Arc::downgrade(&shared)));
        Self { shared }
    }

    /// Sends a request and waits for its answer, until `deadline` at the latest.
    ///
    /// `request` makes the request anew for each time it is handed to a connection, which is once but for certain refusals; `None` says
    /// that it is not wanted any more, and nothing is sent.
    /// Dropping the future resets the stream.
    pub fn send<'a, F>(
        &'a self,
        request: F,
        deadline: std::time::Instant,
    ) -> impl Future<Output = Result<Answer, SendError>> + use<'a, F>
    where
        F: Fn() -> Option<Request> + Unpin,
    {
        Sending::new(&self.shared, request, self.shared.tick_of(deadline.into()), None)
    }

    /// Like [`Pool::send`], but on another connection than `avoid`, unless that is the only one open.
    pub fn send_avoiding<'a, F>(
        &'a self,
        request: F,
        deadline: std::time::Instant,
        avoid: ConnectionId,
    ) -> impl Future<Output = Result<Answer, SendError>> + use<'a, F>
    where
        F: Fn() -> Option<Request> + Unpin,
    {
        Sending::new(&self.shared, request, self.shared.tick_of(deadline.into()), Some(avoid))
    }

    /// Takes a connection out of service, say one that the peer has wedged after an expired token: no new requests, closed
    /// when those in flight have ended, replaced by a new one.
    pub fn condemn(&self, connection: ConnectionId, why: &str) {
        if self.shared.let_go(connection) {
            self.shared.telemetry.retired_condemned.increment(1);
            tracing::warn!(pool = %self.shared.name, %connection, why, "connection condemned");
        }
    }

    /// Counts of the moment.
    pub fn stats(&self) -> PoolStats {
        let Census { open, draining, in_flight, waiting, proven: _ } = self.shared.state().census();
        PoolStats { open, draining, in_flight, waiting }
    }

    /// Takes no more requests, sends away those that wait, lets those in flight end, and returns when every connection is
    /// closed. A path that turns out to be dead is given up after `ping_timeout_ms`, the rest after `request_timeout_ms`.
    pub async fn close(&self) {
        let connections = self.shared.state().close();
        for connection in connections {
            connection.let_go();
            connection.suspect();
        }
        loop {
            let emptied = self.shared.emptied.notified();
            if self.shared.state().is_empty() {
                return;
            }
            emptied.await;
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("name", &self.shared.name).field("stats", &self.stats()).finish()
    }
}

/// Milliseconds as ticks, rounded up.
pub(super) fn ticks(ms: u64) -> Tick {
    Tick::try_from(ms.div_ceil(TICK.as_millis() as u64)).unwrap_or(Tick::MAX)
}

impl Shared {
    /// The books. Never held across an await or a call into the framing.
    pub(super) fn state(&self) -> MutexGuard<'_, State<Arc<Connection>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Tick {
        self.tick.load(Ordering::Relaxed)
    }

    /// The first tick at or after a moment.
    fn tick_of(&self, moment: Instant) -> Tick {
        let ms = moment.saturating_duration_since(self.epoch).as_millis();
        ticks(u64::try_from(ms).unwrap_or(u64::MAX))
    }

    pub(super) fn leave(&self, key: usize, ending: Ending) {
        let now = self.now();
        let mut state = self.state();
        state.leave(key, ending, now);
        if state.is_closing() && state.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    pub(super) fn limit_changed(&self, id: ConnectionId, limit: u32) {
        tracing::debug!(pool = %self.name, connection = %id, limit, "the peer's stream limit changed");
        let now = self.now();
        self.state().limit_changed(id, limit, now);
    }

    pub(super) fn written(&self, id: ConnectionId) {
        let now = self.now();
        self.state().written(id, now);
    }

    /// The connection took leave of us, or cannot be used any more.
    pub(super) fn retire(&self, id: ConnectionId, why: &str) {
        if self.let_go(id) {
            self.telemetry.retired_by_peer.increment(1);
            tracing::info!(pool = %self.name, connection = %id, why, "connection takes no new requests");
        }
    }

    /// True if it was in service until now.
    pub(super) fn let_go(&self, id: ConnectionId) -> bool {
        let now = self.now();
        let retired = self.state().retire(id, now);
        if let Some(connection) = &retired {
            connection.let_go();
        }
        retired.is_some()
    }

    /// True if the credential was ever accepted on the connection.
    pub(super) fn closed(&self, id: ConnectionId) -> bool {
        let now = self.now();
        let mut state = self.state();
        let accepted = state.closed(id, now);
        if state.is_empty() {
            self.emptied.notify_waiters();
        }
        accepted
    }

    pub(super) fn set_failure(&self, failure: Option<Arc<str>>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    pub(super) fn why_no_stream(&self) -> NotProcessed {
        if self.state().census().open > 0 {
            return NotProcessed::Busy;
        }
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        NotProcessed::NoConnection(failure.unwrap_or_else(|| "still connecting".into()))
    }
}

impl Drop for Shared {
    /// Each connection's task holds its connection, not the pool: told to let go, it ends with its last stream.
    fn drop(&mut self) {
        for connection in self.state().close() {
            connection.let_go();
        }
    }
}
