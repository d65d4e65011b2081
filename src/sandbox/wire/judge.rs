//! What happens to a whole request on an HTTP/2 connection: a fault, a delay, or the service's answer.
//!
//! The one place where a fault turns into frames. A delayed request is not looked at before its time, so that a GOAWAY in
//! between loses it truly unprocessed.
//! It never decides whether a push is good; the service does.
use std::cmp::Reverse;
use std::time::Instant;

use super::frame::{self, Code};
use super::session::{End, Incoming, Session};
use crate::sandbox::exchange::{Request, Service};
use crate::sandbox::fault::{Fault, RetryAfter};

/// What the control endpoint can do to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// A new limit of concurrent streams.
    StreamLimit(u32),
    /// GOAWAY with `{"reason":…}`; `lose` drops what waits and closes at once, else what is open is answered first.
    Goaway { reason: Option<String>, lose: bool },
    /// Answers ExpiredProviderToken from now on.
    Wedge,
    /// Goes silent.
    BlackHole,
    /// Answers no PING any more.
    IgnorePings,
    /// Resets the TCP connection.
    Disconnect,
}

impl<V: Service> Session<V> {
    /// A request is complete.
    pub(super) fn look_at(&mut self, stream: u32, incoming: Incoming) {
        if !self.faults.is_active() {
            self.process(stream, incoming);
            return;
        }
        let request = Request { head: &incoming.head, body: &incoming.body };
        let (provider, token) = self.service.target(&request);
        let verdict = self.faults.meet(provider, token.as_deref());
        drop(token);
        match verdict.delay {
            Some(delay) => {
                self.due.push(Reverse((Instant::now() + delay, stream)));
                self.waiting.insert(stream, (incoming, verdict.fault));
            }
            None => self.act(stream, incoming, verdict.fault),
        }
    }

    /// When the next waiting request is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// Looks at the requests whose time has come.
    pub(crate) fn run_due(&mut self, now: Instant) {
        while let Some(Reverse((at, stream))) = self.due.peek().copied() {
            if at > now || self.end.is_some() || self.silent {
                break;
            }
            self.due.pop();
            if let Some((incoming, fault)) = self.waiting.remove(&stream) {
                self.act(stream, incoming, fault);
            }
        }
        self.close_when_left();
    }

    /// Carries out a command of the control endpoint.
    pub(crate) fn command(&mut self, command: Command) {
        match command {
            Command::StreamLimit(limit) => {
                self.service.set_stream_limit(limit);
                self.announce_limit(limit);
            }
            Command::Goaway { reason, lose } => self.goaway(reason.as_deref(), lose),
            Command::Wedge => self.service.wedge(),
            Command::BlackHole => self.silent = true,
            Command::IgnorePings => self.ignore_pings = true,
            Command::Disconnect => self.end = Some(End::Abort),
        }
        self.close_when_left();
    }

    fn act(&mut self, stream: u32, incoming: Incoming, fault: Option<Fault>) {
        let Some(fault) = fault else { return self.process(stream, incoming) };
        match fault {
            // The book turns latency into a delay; alone it changes nothing more.
            Fault::Latency { .. } => self.process(stream, incoming),
            Fault::Refuse(refusal) => {
                let request = Request { head: &incoming.head, body: &incoming.body };
                self.service.refuse(&request, &refusal, &mut self.answer);
                self.write(stream, incoming);
            }
            Fault::Reply { status, body, content_type, retry_after } => {
                self.answer.reset(status);
                reply(&mut self.answer, body, content_type, retry_after);
                self.write(stream, incoming);
            }
            Fault::ResetStream { accept } => {
                self.accept(stream, incoming, accept);
                frame::put_reset(&mut self.out.bytes, stream, Code::Internal);
            }
            Fault::Disconnect { accept } => {
                self.accept(stream, incoming, accept);
                self.end = Some(End::Abort);
            }
            Fault::Hang { accept } => {
                self.accept(stream, incoming, accept);
                self.hung.insert(stream);
            }
            Fault::BlackHole => {
                self.recycle(incoming);
                self.hung.insert(stream);
                self.silent = true;
            }
            Fault::Goaway { reason, accept } => {
                self.accept(stream, incoming, accept);
                self.goaway(reason.as_deref(), true);
            }
            Fault::Wedge => {
                self.service.wedge();
                self.process(stream, incoming);
            }
            Fault::IgnorePings => {
                self.ignore_pings = true;
                self.process(stream, incoming);
            }
            Fault::StreamLimit { streams } => {
                self.process(stream, incoming);
                self.service.set_stream_limit(streams);
                self.announce_limit(streams);
            }
        }
    }

    /// Lets the service judge, and sends its answer.
    fn process(&mut self, stream: u32, incoming: Incoming) {
        self.last_processed = self.last_processed.max(stream);
        let request = Request { head: &incoming.head, body: &incoming.body };
        self.service.answer(&request, &mut self.answer);
        self.write(stream, incoming);
    }

    /// Lets the service judge without sending its answer.
    fn accept(&mut self, stream: u32, incoming: Incoming, accept: bool) {
        if accept {
            self.last_processed = self.last_processed.max(stream);
            let request = Request { head: &incoming.head, body: &incoming.body };
            self.service.answer(&request, &mut self.answer);
        }
        self.recycle(incoming);
    }

    fn write(&mut self, stream: u32, incoming: Incoming) {
        self.last_processed = self.last_processed.max(stream);
        if self.out.answer(stream, &self.answer) {
            self.hung.insert(stream);
        }
        if let Some(limit) = self.answer.stream_limit {
            self.announce_limit(limit);
        }
        if self.answer.leave && self.leaving.is_none() {
            self.goaway(None, false);
        }
        self.recycle(incoming);
    }

    fn goaway(&mut self, reason: Option<&str>, lose: bool) {
        let debug = reason.map(|reason| serde_json::json!({ "reason": reason }).to_string()).unwrap_or_default();
        let last = if lose { self.last_processed } else { self.last_received };
        frame::put_goaway(&mut self.out.bytes, last, Code::NoError, debug.as_bytes());
        self.leaving = Some(last);
        if lose {
            self.waiting.clear();
            self.due.clear();
            self.end = Some(End::Close);
        }
    }
}

/// Fills an answer with a fault's own bytes.
pub(crate) fn reply(
    answer: &mut crate::sandbox::exchange::Answer,
    body: String,
    content_type: String,
    retry_after: Option<RetryAfter>,
) {
    if !content_type.is_empty() {
        answer.headers.push(("content-type", content_type));
    }
    if let Some(retry_after) = retry_after {
        answer.headers.push(("retry-after", retry_after.value()));
    }
    answer.body = body.into_bytes();
}
