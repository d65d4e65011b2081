//! A peer that speaks HTTP/2 frames by hand, so that it can do what no well-behaved server does.
use std::{io, sync::Mutex, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, uri::Authority};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::provider::http2::{
    Answer, Pool, PoolConfig, Request, SendError, WarmUp,
    dial::{Dial, Dialed},
    line::Io,
};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const MAX_CONCURRENT_STREAMS: u16 = 3;
/// Error codes of RFC 9113 §7.
pub(super) const NO_ERROR: u32 = 0;
pub(super) const INTERNAL_ERROR: u32 = 2;
pub(super) const REFUSED_STREAM: u32 = 7;

/// What a test waits for comes within this time, or never; far above every timeout of a pool.
const CEILING: Duration = Duration::from_secs(1_000);

/// A frame as read from the line.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// The far end of one connection.
pub(super) struct Peer {
    io: Box<dyn Io>,
    /// Whether PINGs are answered while waiting for something else.
    pub(super) answers_pings: bool,
    pub(super) pings: usize,
}

impl Peer {
    /// Takes the client's preface and announces `streams` concurrent streams.
    pub(super) async fn greet(io: Box<dyn Io>, streams: u32) -> Self {
        let mut peer = Self { io, answers_pings: true, pings: 0 };
        let mut preface = [0; 24];
        peer.io.read_exact(&mut preface).await.expect("the client's preface");
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        peer.announce(streams).await;
        peer
    }

    /// SETTINGS with a new limit.
    pub(super) async fn announce(&mut self, streams: u32) {
        let mut payload = MAX_CONCURRENT_STREAMS.to_be_bytes().to_vec();
        payload.extend(streams.to_be_bytes());
        self.write(SETTINGS, 0, 0, &payload).await;
    }

    pub(super) async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        // A client that has gone is what some tests are about.
        drop(self.io.write_all(&frame).await);
        drop(self.io.flush().await);
    }

    /// The next frame; None when the client has closed the line.
    pub(super) async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.io.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.io.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            self.write(SETTINGS, ACK, 0, &[]).await;
        }
        if frame.kind == PING && frame.flags & ACK == 0 {
            self.pings += 1;
            if self.answers_pings {
                self.write(PING, ACK, 0, &frame.payload).await;
            }
        }
        Some(frame)
    }

    /// Reads on until a frame of this kind; None when the client has closed the line first.
    pub(super) async fn until(&mut self, kind: u8) -> Option<Frame> {
        let reading = async {
            loop {
                let frame = self.frame().await?;
                if frame.kind == kind {
                    return Some(frame);
                }
            }
        };
        timeout(CEILING, reading).await.expect("such a frame, or the end of the line")
    }

    /// Reads on until a request is complete; its stream.
    pub(super) async fn request(&mut self) -> u32 {
        let request = timeout(CEILING, self.maybe_request()).await.expect("a request");
        request.expect("a request before the client closed the line")
    }

    pub(super) async fn maybe_request(&mut self) -> Option<u32> {
        loop {
            let frame = self.frame().await?;
            if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
                return Some(frame.stream);
            }
        }
    }

    /// Reads for a while; the streams of the requests that came.
    pub(super) async fn requests_within(&mut self, time: Duration) -> Vec<u32> {
        let end = Instant::now() + time;
        let mut streams = Vec::new();
        while let Ok(Some(stream)) = tokio::time::timeout_at(end, self.maybe_request()).await {
            streams.push(stream);
        }
        streams
    }

    /// An answer: the status and, if there is one, a body.
    pub(super) async fn answer(&mut self, stream: u32, status: u16, body: &[u8]) {
        self.head(stream, status, body.is_empty()).await;
        if !body.is_empty() {
            self.write(DATA, END_STREAM, stream, body).await;
        }
    }

    /// HEADERS of an answer: `:status` as a literal (RFC 7541 §6.2.2) with the indexed name 8.
    pub(super) async fn head(&mut self, stream: u32, status: u16, end: bool) {
        let mut block = vec![0x08, 3];
        block.extend(status.to_string().bytes());
        self.write(HEADERS, END_HEADERS | if end { END_STREAM } else { 0 }, stream, &block).await;
    }

    /// Serves every request with this status until the client closes the line; returns how many there were.
    pub(super) async fn serve(mut self, status: u16) -> usize {
        let mut served = 0;
        while let Some(stream) = self.maybe_request().await {
            self.answer(stream, status, b"").await;
            served += 1;
        }
        served
    }

    pub(super) async fn reset(&mut self, stream: u32, code: u32) {
        self.write(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    pub(super) async fn go_away(&mut self, last: u32, code: u32, words: &str) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend(code.to_be_bytes());
        payload.extend(words.bytes());
        self.write(GOAWAY, 0, 0, &payload).await;
    }
}

/// Dials into memory: each connection's far end is handed to the test, which may also let dials fail.
pub(super) struct Exchange {
    lines: mpsc::UnboundedSender<DuplexStream>,
    refusals: Mutex<usize>,
}

impl Dial for Exchange {
    fn authority(&self) -> Authority {
        Authority::from_static("provider.test")
    }

    fn dial(&self, _turn: usize, _limit: Duration) -> Dialed<'_> {
        Box::pin(async move {
            {
                let mut refusals = self.refusals.lock().expect("no panic while held");
                if *refusals > 0 {
                    *refusals -= 1;
                    return Err(io::Error::other("connection refused by the test"));
                }
            }
            let (near, far) = duplex(1 << 20);
            self.lines.send(far).map_err(|_| io::Error::other("the test is over"))?;
            Ok(Box::new(near) as Box<dyn Io>)
        })
    }
}

/// The far ends of a pool's connections, in the order in which they were opened.
pub(super) struct Lines {
    lines: mpsc::UnboundedReceiver<DuplexStream>,
}

impl Lines {
    pub(super) async fn next(&mut self, streams: u32) -> Peer {
        Peer::greet(Box::new(self.next_mute().await), streams).await
    }
}

impl Lines {
    /// The next connection's far end, which says nothing at all.
    pub(super) async fn next_mute(&mut self) -> DuplexStream {
        let line = timeout(CEILING, self.lines.recv()).await.expect("a connection");
        line.expect("the pool opens a connection")
    }

    /// The next connection's far end, if one is opened within this time.
    pub(super) async fn next_within(&mut self, time: Duration, streams: u32) -> Option<Peer> {
        let io = timeout(time, self.lines.recv()).await.ok()??;
        Some(Peer::greet(Box::new(io), streams).await)
    }
}

/// A pool in memory whose first `refusals` dials fail.
pub(super) fn pool_after(refusals: usize, config: PoolConfig, warm_up: WarmUp) -> (Pool, Lines) {
    let (sender, lines) = mpsc::unbounded_channel();
    let exchange = Exchange { lines: sender, refusals: Mutex::new(refusals) };
    (Pool::with_dialer("test".into(), Box::new(exchange), config, warm_up), Lines { lines })
}

pub(super) fn pool(config: PoolConfig) -> (Pool, Lines) {
    pool_after(0, config, WarmUp::None)
}

pub(super) fn one_connection() -> PoolConfig {
    PoolConfig { connections: 1, ..PoolConfig::default() }
}

pub(super) fn request() -> Option<Request> {
    let path = "/3/device/0a".parse().expect("a path");
    Some(Request { path, headers: HeaderMap::new(), body: Bytes::from_static(b"{}") })
}

/// A request under way in a task of its own.
pub(super) type Sent = JoinHandle<Result<Answer, SendError>>;

pub(super) fn send(pool: &Pool) -> Sent {
    send_within(pool, 60)
}

pub(super) fn send_within(pool: &Pool, seconds: u64) -> Sent {
    let pool = pool.clone();
    tokio::spawn(async move { pool.send(request, in_seconds(seconds)).await })
}

/// What a task of the test returns.
pub(super) async fn ended<T>(task: JoinHandle<T>) -> T {
    timeout(CEILING, task).await.expect("its end").expect("no panic")
}

pub(super) async fn status(sent: Sent) -> u16 {
    ended(sent).await.expect("an answer").status.as_u16()
}

pub(super) async fn failure(sent: Sent) -> SendError {
    ended(sent).await.expect_err("no answer")
}

pub(super) fn in_seconds(seconds: u64) -> std::time::Instant {
    (Instant::now() + Duration::from_secs(seconds)).into_std()
}
