//! One HTTP/2 connection of a provider, without its socket: bytes in, bytes out, and the requests between.
//!
//! It exists because a push provider does what general servers cannot: it changes the limit of concurrent streams while it
//! runs, refuses the streams above it, and says why it leaves in the debug data of GOAWAY.
//! It knows nothing of pushes (the [`Service`] does) and does no I/O (the connection does).
//! What breaks the protocol ends the connection with the code of RFC 9113 in a GOAWAY.
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Instant;

use super::frame::{self, Code, FrameHead};
use super::hpack;
use super::outgoing::Outgoing;
use crate::sandbox::exchange::{Answer, Head, Service};
use crate::sandbox::fault::FaultBook;

/// What we let a client send on the whole connection before we open the window again, in bytes.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// The size of a header list beyond which a stream is refused, in bytes: what APNs was seen to announce.
const MAX_HEADER_LIST: usize = 8_000;
/// A header block larger than this is an attack, in bytes.
const MAX_HEADER_BLOCK: usize = 64 * 1024;
/// Requests whose buffers are kept for later ones.
const SPARE: usize = 64;

/// A stream id is spread well enough by one multiplication.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(20);
    }
}

type ById<T> = HashMap<u32, T, BuildHasherDefault<IdHasher>>;

/// A request that is still arriving, or that waits to be looked at.
#[derive(Default)]
pub(crate) struct Incoming {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    /// Bytes of the body in all, also those that were not kept.
    received: usize,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Written out, then closed.
    Close,
    /// The TCP connection is reset.
    Abort,
}

/// One connection, without its socket.
pub(crate) struct Session<V> {
    pub(crate) service: V,
    pub(super) faults: Arc<FaultBook>,
    decoder: hpack::Decoder,
    pub(super) out: Outgoing,
    receiving: ById<Incoming>,
    spare: Vec<Incoming>,
    /// A header block in several frames: stream, whether the request ends with it, bytes.
    block: Option<(u32, bool, Vec<u8>)>,
    /// Requests that are looked at later, with the fault that then meets them.
    pub(super) waiting: ById<(Incoming, Option<crate::sandbox::fault::Fault>)>,
    pub(super) due: BinaryHeap<std::cmp::Reverse<(Instant, u32)>>,
    /// Streams that never get an answer, or whose answer waits for the client's window.
    pub(super) hung: HashSet<u32>,
    pub(super) last_received: u32,
    pub(super) last_processed: u32,
    limit: u32,
    consumed: u32,
    pub(super) answer: Answer,
    /// After GOAWAY: the last stream that is still answered.
    pub(super) leaving: Option<u32>,
    pub(super) silent: bool,
    pub(super) ignore_pings: bool,
    pub(super) end: Option<End>,
    done: Vec<u32>,
}

impl<V: Service> Session<V> {
    /// A new connection; its first bytes (our SETTINGS) are ready to be sent.
    pub(crate) fn new(service: V, faults: Arc<FaultBook>) -> Self {
        let limit = service.first_stream_limit();
        let mut out = Outgoing::default();
        frame::put_settings(
            &mut out.bytes,
            &[
                (frame::SETTING_HEADER_TABLE_SIZE, hpack::TABLE_SIZE as u32),
                (frame::SETTING_MAX_CONCURRENT_STREAMS, limit),
                (frame::SETTING_INITIAL_WINDOW_SIZE, frame::DEFAULT_WINDOW as u32),
                (frame::SETTING_MAX_FRAME_SIZE, frame::MAX_FRAME as u32),
                (frame::SETTING_MAX_HEADER_LIST_SIZE, MAX_HEADER_LIST as u32),
            ],
        );
        frame::put_window_update(&mut out.bytes, 0, CONNECTION_WINDOW - frame::DEFAULT_WINDOW as u32);
        Self {
            service,
            faults,
            decoder: hpack::Decoder::default(),
            out,
            receiving: ById::default(),
            spare: Vec::new(),
            block: None,
            waiting: ById::default(),
            due: BinaryHeap::new(),
            hung: HashSet::new(),
            last_received: 0,
            last_processed: 0,
            limit,
            consumed: 0,
            answer: Answer::default(),
            leaving: None,
            silent: false,
            ignore_pings: false,
            end: None,
            done: Vec::new(),
        }
    }

    /// Reads every whole frame of `bytes`; how many bytes were used.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while self.end.is_none() && !self.silent {
            let rest = &bytes[used..];
            let Some(head) = FrameHead::read(rest) else { break };
            if head.length > frame::MAX_FRAME {
                self.fail(Code::FrameSize);
                break;
            }
            let Some(payload) = rest.get(frame::HEAD..frame::HEAD + head.length) else { break };
            used += frame::HEAD + head.length;
            if let Err(code) = self.frame(head, payload) {
                self.fail(code);
            }
        }
        if self.consumed > CONNECTION_WINDOW / 2 {
            frame::put_window_update(&mut self.out.bytes, 0, self.consumed);
            self.consumed = 0;
        }
        self.close_when_left();
        used
    }

    /// The streams that the client has open.
    pub(super) fn open(&self) -> usize {
        self.receiving.len() + self.waiting.len() + self.hung.len()
    }

    /// Announces a new limit of concurrent streams; streams above it are refused from now on.
    pub(crate) fn announce_limit(&mut self, limit: u32) {
        self.limit = limit;
        frame::put_settings(&mut self.out.bytes, &[(frame::SETTING_MAX_CONCURRENT_STREAMS, limit)]);
    }

    /// Ends the connection for a breach of the protocol.
    fn fail(&mut self, code: Code) {
        frame::put_goaway(&mut self.out.bytes, self.last_received, code, b"");
        self.end = Some(End::Close);
    }

    pub(super) fn close_when_left(&mut self) {
        if self.leaving.is_some() && self.open() == 0 && self.end.is_none() {
            self.end = Some(End::Close);
        }
    }

    pub(super) fn recycle(&mut self, mut incoming: Incoming) {
        if self.spare.len() < SPARE {
            incoming.head.clear();
            incoming.body.clear();
            incoming.received = 0;
            self.spare.push(incoming);
        }
    }

    fn frame(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Code> {
        if let Some((stream, _, _)) = &self.block
            && (head.kind != frame::CONTINUATION || head.stream != *stream)
        {
            return Err(Code::Protocol);
        }
        match head.kind {
            frame::DATA => self.data(head, payload),
            frame::HEADERS => self.headers(head, payload),
            frame::CONTINUATION => self.continuation(head, payload),
            frame::RST_STREAM => self.reset(head, payload),
            frame::SETTINGS => self.settings(head, payload),
            frame::PING => self.ping(head, payload),
            frame::WINDOW_UPDATE => self.window_update(head, payload),
            frame::PUSH_PROMISE => Err(Code::Protocol),
            // The client leaves: what it has open is still answered, then it closes by itself.
            frame::GOAWAY => Ok(()),
            // PRIORITY is ignored by APNs, unknown kinds by everybody (RFC 9113, 5.5).
            _ => Ok(()),
        }
    }

    fn headers(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Code> {
        let mut block = unpadded(head, payload)?;
        if head.has(frame::WITH_PRIORITY) {
            block = block.get(5..).ok_or(Code::FrameSize)?;
        }
        if head.stream.is_multiple_of(2) {
            return Err(Code::Protocol);
        }
        if head.has(frame::END_HEADERS) {
            return self.header_block(head.stream, head.has(frame::END_STREAM), block);
        }
        self.block = Some((head.stream, head.has(frame::END_STREAM), block.to_vec()));
        Ok(())
    }

    fn continuation(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Code> {
        let Some((stream, ends, mut block)) = self.block.take() else { return Err(Code::Protocol) };
        block.extend_from_slice(payload);
        if block.len() > MAX_HEADER_BLOCK {
            return Err(Code::EnhanceYourCalm);
        }
        if head.has(frame::END_HEADERS) {
            return self.header_block(stream, ends, &block);
        }
        self.block = Some((stream, ends, block));
        Ok(())
    }

    fn header_block(&mut self, stream: u32, ends: bool, block: &[u8]) -> Result<(), Code> {
        let mut incoming = self.spare.pop().unwrap_or_default();
        // Read even if the stream is refused: the table is the connection's.
        if self.decoder.decode(block, &mut incoming.head).is_err() {
            return Err(Code::Compression);
        }
        if stream <= self.last_received {
            self.recycle(incoming);
            // Trailers end a request; any other second block is for a stream that is over.
            return match (self.receiving.contains_key(&stream), ends) {
                (true, true) => self.finish(stream),
                (true, false) => Err(Code::Protocol),
                (false, _) => Err(Code::StreamClosed),
            };
        }
        self.last_received = stream;
        if self.leaving.is_some() {
            // Above the last stream of our GOAWAY: the client knows that it was not looked at.
            self.recycle(incoming);
            return Ok(());
        }
        if self.open() >= self.limit as usize {
            frame::put_reset(&mut self.out.bytes, stream, Code::RefusedStream);
            self.recycle(incoming);
            return Ok(());
        }
        if incoming.head.size() > MAX_HEADER_LIST {
            self.recycle(incoming);
            self.answer.reset(431);
            self.out.answer(stream, &self.answer);
            return Ok(());
        }
        if ends {
            self.look_at(stream, incoming);
        } else {
            self.receiving.insert(stream, incoming);
        }
        Ok(())
    }

    fn data(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Code> {
        if head.stream == 0 || head.stream > self.last_received {
            return Err(Code::Protocol);
        }
        self.consumed += payload.len() as u32;
        let piece = unpadded(head, payload)?;
        let limit = self.service.body_limit() + 1;
        let Some(incoming) = self.receiving.get_mut(&head.stream) else { return Ok(()) };
        incoming.received += payload.len();
        let room = limit.saturating_sub(incoming.body.len());
        incoming.body.extend_from_slice(&piece[..piece.len().min(room)]);
        if head.has(frame::END_STREAM) {
            return self.finish(head.stream);
        }
        // A body beyond every limit still has to arrive before it is refused, so its window is opened again.
        if incoming.received > frame::MAX_FRAME && !payload.is_empty() {
            frame::put_window_update(&mut self.out.bytes, head.stream, payload.len() as u32);
        }
        Ok(())
    }

    fn finish(&mut self, stream: u32) -> Result<(), Code> {
        if let Some(incoming) = self.receiving.remove(&stream) {
            self.look_at(stream, incoming);
        }
        Ok(())
    }

    fn reset(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Code> {
        if payload.len() != 4 {
            return Err(Code::FrameSize);
        }
        if head.stream == 0 || head.stream > self.last_received {
            return Err(Code::Protocol);
        }
        self.receiving.remove(&head.stream);
        self.waiting.remove(&head.stream);
        self.hung.remove(&head.stream);
        self.out.forget(head.stream);
        Ok(())
    }

    fn settings(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Code> {
        if head.has(frame::ACK) {
            return if payload.is_empty() { Ok(()) } else { Err(Code::FrameSize) };
        }
        if head.stream != 0 {
            return Err(Code::Protocol);
        }
        if !payload.len().is_multiple_of(6) {
            return Err(Code::FrameSize);
        }
        for setting in payload.chunks_exact(6) {
            let name = u16::from_be_bytes([setting[0], setting[1]]);
            let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
            if name == frame::SETTING_INITIAL_WINDOW_SIZE {
                let mut done = std::mem::take(&mut self.done);
                self.out.initial_window(value, &mut done)?;
                self.complete(done);
            }
        }
        frame::put_settings_ack(&mut self.out.bytes);
        Ok(())
    }

    fn ping(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Code> {
        let opaque = <[u8; 8]>::try_from(payload).map_err(|_| Code::FrameSize)?;
        if !head.has(frame::ACK) && !self.ignore_pings {
            frame::put_ping_ack(&mut self.out.bytes, opaque);
        }
        Ok(())
    }

    fn window_update(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Code> {
        let more = <[u8; 4]>::try_from(payload).map_err(|_| Code::FrameSize)?;
        let mut done = std::mem::take(&mut self.done);
        self.out.window(head.stream, u32::from_be_bytes(more) & 0x7fff_ffff, &mut done)?;
        self.complete(done);
        Ok(())
    }

    fn complete(&mut self, mut done: Vec<u32>) {
        for stream in done.drain(..) {
            self.hung.remove(&stream);
        }
        self.done = done;
    }
}

/// The payload without its padding (RFC 9113, 6.1).
fn unpadded(head: FrameHead, payload: &[u8]) -> Result<&[u8], Code> {
    if !head.has(frame::PADDED) {
        return Ok(payload);
    }
    let (&padding, rest) = payload.split_first().ok_or(Code::FrameSize)?;
    let length = rest.len().checked_sub(usize::from(padding)).ok_or(Code::Protocol)?;
    Ok(&rest[..length])
}
