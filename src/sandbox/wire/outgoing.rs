//! The bytes on their way to the client, under HTTP/2's flow control.
//!
//! Answers are small, so nearly always an answer goes straight into the buffer. When a window is used up, the rest of the
//! answers wait in order until the client opens it.
//! It does not send part of a body: a body goes when the window has room for all of it, which our short answers allow.
//! A client that breaks the arithmetic of windows ends its connection.
use std::collections::VecDeque;

use super::frame::{self, Code};
use super::hpack;
use crate::sandbox::exchange::Answer;

struct Held {
    stream: u32,
    window: i64,
    body: Vec<u8>,
}

/// The client broke flow control: the code for the GOAWAY.
pub(crate) type Broken = Code;

pub(crate) struct Outgoing {
    pub(crate) bytes: Vec<u8>,
    connection_window: i64,
    initial_window: i64,
    held: VecDeque<Held>,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self {
            bytes: Vec::with_capacity(32 * 1024),
            connection_window: frame::DEFAULT_WINDOW,
            initial_window: frame::DEFAULT_WINDOW,
            held: VecDeque::new(),
        }
    }
}

impl Outgoing {
    /// Writes one answer; true if its body has to wait for the window.
    pub(crate) fn answer(&mut self, stream: u32, answer: &Answer) -> bool {
        let at = self.bytes.len();
        let flags = if answer.body.is_empty() { frame::END_HEADERS | frame::END_STREAM } else { frame::END_HEADERS };
        frame::put_head(&mut self.bytes, 0, frame::HEADERS, flags, stream);
        hpack::put_status(&mut self.bytes, answer.status);
        if let Some(id) = &answer.apns_id {
            hpack::put_literal(&mut self.bytes, b"apns-id", id);
        }
        for (name, value) in &answer.headers {
            hpack::put_literal(&mut self.bytes, name.as_bytes(), value.as_bytes());
        }
        let length = self.bytes.len() - at - frame::HEAD;
        self.bytes[at..at + 3].copy_from_slice(&[(length >> 16) as u8, (length >> 8) as u8, length as u8]);
        if answer.body.is_empty() {
            return false;
        }
        let size = answer.body.len() as i64;
        if self.held.is_empty() && size <= self.connection_window && size <= self.initial_window {
            self.connection_window -= size;
            put_body(&mut self.bytes, stream, &answer.body);
            return false;
        }
        self.held.push_back(Held { stream, window: self.initial_window, body: answer.body.clone() });
        true
    }

    /// The client opens a window; the streams whose answers are now complete are appended to `done`.
    pub(crate) fn window(&mut self, stream: u32, more: u32, done: &mut Vec<u32>) -> Result<(), Broken> {
        let more = i64::from(more);
        if more == 0 {
            return Err(Code::Protocol);
        }
        if stream == 0 {
            self.connection_window += more;
            if self.connection_window > i64::from(i32::MAX) {
                return Err(Code::FlowControl);
            }
        } else if let Some(held) = self.held.iter_mut().find(|held| held.stream == stream) {
            held.window += more;
        }
        self.release(done);
        Ok(())
    }

    /// The client sets the window that streams begin with.
    pub(crate) fn initial_window(&mut self, size: u32, done: &mut Vec<u32>) -> Result<(), Broken> {
        let size = i64::from(size);
        if size > i64::from(i32::MAX) {
            return Err(Code::FlowControl);
        }
        for held in &mut self.held {
            held.window += size - self.initial_window;
        }
        self.initial_window = size;
        self.release(done);
        Ok(())
    }

    /// The client gave the stream up.
    pub(crate) fn forget(&mut self, stream: u32) -> bool {
        let before = self.held.len();
        self.held.retain(|held| held.stream != stream);
        before != self.held.len()
    }

    fn release(&mut self, done: &mut Vec<u32>) {
        while let Some(first) = self.held.front() {
            let size = first.body.len() as i64;
            if size > self.connection_window || size > first.window {
                return;
            }
            self.connection_window -= size;
            put_body(&mut self.bytes, first.stream, &first.body);
            done.push(first.stream);
            self.held.pop_front();
        }
    }
}

fn put_body(out: &mut Vec<u8>, stream: u32, body: &[u8]) {
    let mut pieces = body.chunks(frame::MAX_FRAME).peekable();
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { frame::END_STREAM } else { 0 };
        frame::put_head(out, piece.len(), frame::DATA, flags, stream);
        out.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
        let mut answer = Answer::default();
        answer.reset(400);
        answer.body.extend_from_slice(body.as_bytes());
        answer
    }

    #[test]
    fn bodies_wait_for_the_window_in_order() {
        // A client with a window of ten bytes gets headers at once and bodies only as it opens windows, first come first.
        let mut out = Outgoing::default();
        let mut done = Vec::new();
        out.initial_window(10, &mut done).unwrap();
        assert!(out.answer(1, &answer("0123456789abc")), "thirteen bytes do not fit in ten");
        assert!(out.answer(3, &answer("short")), "and what comes later waits behind it");
        out.window(1, 2, &mut done).unwrap();
        assert_eq!(done, [0_u32; 0]);
        out.window(1, 1, &mut done).unwrap();
        assert_eq!(done, [1, 3]);
        assert!(out.bytes.ends_with(b"short"));
    }

    #[test]
    fn the_connection_window_counts_all_bodies() {
        // 65,535 bytes for the whole connection until the client opens more (RFC 9113, 6.9.2).
        let mut out = Outgoing::default();
        let body = "x".repeat(1_000);
        let waiting = (0..100_u32).filter(|n| out.answer(n * 2 + 1, &answer(&body))).count();
        assert_eq!(waiting, 35);
        let mut done = Vec::new();
        out.window(0, 2_000, &mut done).unwrap();
        assert_eq!(done, [131, 133], "535 left and 2,000 more are two bodies");
        assert_eq!(out.window(0, 0, &mut done), Err(Code::Protocol));
        assert_eq!(out.window(0, u32::from(u16::MAX) << 15, &mut done), Ok(()));
        assert_eq!(out.window(0, i32::MAX as u32, &mut done), Err(Code::FlowControl));
    }
}
