//! One request and its answer, from the queue to the last byte.
//!
//! **Point:** the future itself is small, takes no timer and no task, and frees its stream when it is dropped.
//! **Does not:** resend what the peer may have processed.
//! **Fails** with [`SendError`]; an answer whose body was cut is still an answer, because its status is known.
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, client::ResponseFuture};
use http::{HeaderMap, StatusCode, uri::PathAndQuery};

use super::{
    ConnectionId, NotProcessed, SendError, Unknown,
    connection::{Connection, NotOpened},
    error::text,
    pool::Shared,
    state::{Ending, Tick, Turn},
};

/// A POST to the provider. Values that differ on each push (ids) should be marked sensitive
/// (`HeaderValue::set_sensitive`), so that they do not push the constant ones out of the compression table.
pub struct Request {
    /// Path, with query if any.
    pub path: PathAndQuery,
    /// All headers but the pseudo headers: a clone of a prepared map is the cheapest.
    pub headers: HeaderMap,
    /// The payload.
    pub body: Bytes,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Paths carry device tokens, headers the credential, bodies the text.
        f.debug_struct("Request").field("headers", &self.headers.len()).field("body_bytes", &self.body.len()).finish()
    }
}

/// What the provider said.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, at most `response_body_max` bytes.
    pub body: Bytes,
    /// False if the body is cut: too long, or its end did not come in time.
    pub complete: bool,
    /// Who carried it: to avoid or condemn.
    pub connection: ConnectionId,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .field("complete", &self.complete)
            .field("connection", &self.connection)
            .finish()
    }
}

/// A request under way; see [`super::Pool::send`].
#[must_use = "a request is sent when it is awaited"]
pub(super) struct Sending<'a, F> {
    shared: &'a Arc<Shared>,
    request: F,
    deadline: Tick,
    avoid: Option<ConnectionId>,
    refusals: u8,
    step: Step,
    /// The place in the books, while there is one.
    key: Option<usize>,
    expires: Tick,
    /// The address of the waking task, to notice when the future has moved to another.
    task: usize,
}

enum Step {
    Enter,
    Wait,
    Head(Arc<Connection>, ResponseFuture),
    Body(Arc<Connection>, Box<Reading>),
    Over,
}

struct Reading {
    status: StatusCode,
    headers: HeaderMap,
    stream: RecvStream,
    first: Bytes,
    more: BytesMut,
}

impl<'a, F: Fn() -> Option<Request>> Sending<'a, F> {
    pub(super) fn new(shared: &'a Arc<Shared>, request: F, deadline: Tick, avoid: Option<ConnectionId>) -> Self {
        Self { shared, request, deadline, avoid, refusals: 0, step: Step::Enter, key: None, expires: 0, task: 0 }
    }

    fn leave(&mut self, ending: Ending) {
        if let Some(key) = self.key.take() {
            self.shared.leave(key, ending);
        }
    }

    fn expired(&self) -> bool {
        self.shared.tick.load(Ordering::Relaxed) >= self.expires
    }

    /// Takes part in the books, and opens a stream if it is this request's turn.
    fn enter(&mut self, cx: &Context<'_>) -> Poll<Result<(), SendError>> {
        let now = self.shared.tick.load(Ordering::Relaxed);
        if now >= self.deadline {
            return Poll::Ready(Err(SendError::Deadline));
        }
        let (key, turn) = self.shared.state().enter(now, self.deadline, self.avoid, cx.waker());
        self.key = Some(key);
        self.task = cx.waker().data() as usize;
        self.take_turn(turn)
    }

    fn take_turn(&mut self, turn: Turn<Arc<Connection>>) -> Poll<Result<(), SendError>> {
        match turn {
            Turn::Closing => {
                self.leave(Ending::Cut);
                Poll::Ready(Err(SendError::NotProcessed(NotProcessed::Closing)))
            }
            Turn::Waiting { expires } => {
                self.expires = expires;
                self.step = Step::Wait;
                if self.expired() { Poll::Ready(Err(self.gave_up())) } else { Poll::Pending }
            }
            Turn::Granted(grant) => {
                self.expires = grant.expires;
                Poll::Ready(self.open(grant.connection))
            }
        }
    }

    /// The time to wait for a stream is over.
    fn gave_up(&mut self) -> SendError {
        self.leave(Ending::Cut);
        if self.shared.tick.load(Ordering::Relaxed) >= self.deadline {
            return SendError::Deadline;
        }
        SendError::NotProcessed(self.shared.why_no_stream())
    }

    fn open(&mut self, connection: Arc<Connection>) -> Result<(), SendError> {
        let Some(request) = (self.request)() else {
            self.leave(Ending::Cut);
            return Err(SendError::NotProcessed(NotProcessed::Unwanted));
        };
        match connection.start(request) {
            Ok(response) => {
                self.step = Step::Head(connection, response);
                Ok(())
            }
            Err(NotOpened::Malformed(why)) => {
                self.leave(Ending::Cut);
                Err(SendError::NotProcessed(NotProcessed::Malformed(why)))
            }
            Err(NotOpened::Full) => self.again(connection.id, "the peer lowered its stream limit".into()),
            Err(NotOpened::Leaving(why)) => {
                self.shared.retire(connection.id, &why);
                self.again(connection.id, why)
            }
        }
    }

    /// Certainly not processed: once more, elsewhere if there is an elsewhere.
    fn again(&mut self, connection: ConnectionId, why: Arc<str>) -> Result<(), SendError> {
        self.step = Step::Enter;
        self.leave(Ending::Cut);
        self.avoid = Some(connection);
        self.refusals += 1;
        self.shared.telemetry.resends.increment(1);
        if self.refusals > self.shared.config.max_resends {
            return Err(SendError::NotProcessed(NotProcessed::Refused { attempts: self.refusals, last: why }));
        }
        Ok(())
    }

    fn failed(&mut self, connection: ConnectionId, error: &h2::Error) -> Result<(), SendError> {
        // A peer's GOAWAY reaches exactly the streams above its last id; RFC 9113 §6.8 and §8.7: these were not processed.
        let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        if error.is_remote() && (refused || error.is_go_away()) {
            return self.again(connection, text(error));
        }
        self.step = Step::Over;
        self.leave(Ending::Cut);
        let cause = if error.is_reset() { Unknown::Reset(text(error)) } else { Unknown::ConnectionLost(text(error)) };
        Err(SendError::Unknown { cause, connection })
    }

    fn timed_out(&mut self, connection: &Connection) -> SendError {
        // Dropping the stream resets it, before the books free its place.
        self.step = Step::Over;
        self.leave(Ending::TimedOut);
        self.shared.telemetry.timeouts.increment(1);
        connection.suspect();
        SendError::Unknown { cause: Unknown::Timeout, connection: connection.id }
    }

    fn answer(&mut self, connection: ConnectionId, reading: Reading, complete: bool) -> Answer {
        let Reading { status, headers, stream, first, more } = reading;
        drop(stream);
        let accepted = shows_acceptance(status);
        self.leave(Ending::Answered { accepted });
        let body = if more.is_empty() { first } else { more.freeze() };
        Answer { status, headers, body, complete, connection }
    }
}

/// Whether a status shows that the credential was accepted: neither refused for it (401, 403), nor slowed down because of it
/// (429), nor a failure that may have come before it was looked at (5xx).
fn shows_acceptance(status: StatusCode) -> bool {
    !matches!(status.as_u16(), 401 | 403 | 429 | 500..)
}

impl Reading {
    /// Reads on. True when the body is complete, false when it is cut.
    fn poll(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<bool> {
        loop {
            let chunk = match ready!(self.stream.poll_data(cx)) {
                None => return Poll::Ready(true),
                Some(Err(_)) => return Poll::Ready(false),
                Some(Ok(chunk)) => chunk,
            };
            let held = self.first.len().max(self.more.len());
            let cut = held + chunk.len() > max;
            let chunk = if cut { chunk.slice(..max - held) } else { chunk };
            if self.first.is_empty() {
                self.first = chunk;
            } else {
                if self.more.is_empty() {
                    self.more.extend_from_slice(&self.first);
                }
                self.more.extend_from_slice(&chunk);
            }
            if cut {
                return Poll::Ready(false);
            }
        }
    }
}

impl<F: Fn() -> Option<Request> + Unpin> Future for Sending<'_, F> {
    type Output = Result<Answer, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(key) = this.key
            && this.task != cx.waker().data() as usize
        {
            this.shared.state().rewake(key, cx.waker());
            this.task = cx.waker().data() as usize;
        }
        loop {
            match std::mem::replace(&mut this.step, Step::Over) {
                Step::Enter => ready!(this.enter(cx))?,
                Step::Wait => {
                    let turn = this.key.map_or(Turn::Closing, |key| this.shared.state().wait(key, cx.waker()));
                    ready!(this.take_turn(turn))?;
                }
                Step::Head(connection, mut response) => match Pin::new(&mut response).poll(cx) {
                    Poll::Ready(Ok(response)) => {
                        let (head, stream) = response.into_parts();
                        let (first, more) = (Bytes::new(), BytesMut::new());
                        let mut reading = Reading { status: head.status, headers: head.headers, stream, first, more };
                        if let Poll::Ready(complete) = reading.poll(cx, this.shared.config.response_body_max) {
                            return Poll::Ready(Ok(this.answer(connection.id, reading, complete)));
                        }
                        this.step = Step::Body(connection, Box::new(reading));
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(error)) => this.failed(connection.id, &error)?,
                    Poll::Pending if this.expired() => {
                        drop(response);
                        return Poll::Ready(Err(this.timed_out(&connection)));
                    }
                    Poll::Pending => {
                        this.step = Step::Head(connection, response);
                        return Poll::Pending;
                    }
                },
                Step::Body(connection, mut reading) => {
                    let complete = match reading.poll(cx, this.shared.config.response_body_max) {
                        Poll::Ready(complete) => complete,
                        Poll::Pending if this.expired() => false,
                        Poll::Pending => {
                            this.step = Step::Body(connection, reading);
                            return Poll::Pending;
                        }
                    };
                    return Poll::Ready(Ok(this.answer(connection.id, *reading, complete)));
                }
                Step::Over => return Poll::Pending,
            }
        }
    }
}

impl<F> Drop for Sending<'_, F> {
    fn drop(&mut self) {
        self.step = Step::Over;
        if let Some(key) = self.key.take() {
            self.shared.leave(key, Ending::Cut);
        }
    }
}
