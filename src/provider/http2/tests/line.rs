//! What leaves on the line, and when.
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::poll_fn;
use http::uri::Authority;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    sync::mpsc,
};

use super::peer::{Peer, failure, in_seconds, one_connection, request, status};
use crate::provider::http2::{
    Answer, Pool, PoolConfig, Request, SendError, Unknown, WarmUp,
    dial::{Dial, Dialed},
    line::{Io, Line},
};

/// A stream that counts the writes it was given, and can be made to refuse them.
struct Counted {
    io: DuplexStream,
    writes: Arc<AtomicUsize>,
    broken: Arc<AtomicBool>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        if self.broken.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

struct CountedDial {
    far: mpsc::UnboundedSender<DuplexStream>,
    writes: Arc<AtomicUsize>,
    broken: Arc<AtomicBool>,
    room: usize,
}

impl Dial for CountedDial {
    fn authority(&self) -> Authority {
        Authority::from_static("provider.test")
    }

    fn dial(&self, _: usize, _: Duration) -> Dialed<'_> {
        let (near, far) = duplex(self.room);
        let sent = self.far.send(far).map_err(|_| io::Error::other("the test is over"));
        let line = Counted { io: near, writes: self.writes.clone(), broken: self.broken.clone() };
        Box::pin(std::future::ready(sent.map(|()| Box::new(line) as Box<dyn Io>)))
    }
}

fn big_request() -> Option<Request> {
    request().map(|request| Request { body: Bytes::from(vec![b'x'; 1_100]), ..request })
}

async fn pool_over(room: usize) -> (Pool, Peer, Arc<AtomicUsize>, Arc<AtomicBool>) {
    let (far, mut lines) = mpsc::unbounded_channel();
    let writes = Arc::new(AtomicUsize::new(0));
    let broken = Arc::new(AtomicBool::new(false));
    let dial = CountedDial { far, writes: writes.clone(), broken: broken.clone(), room };
    let config = PoolConfig { queue_timeout_ms: 60_000, ..one_connection() };
    let pool = Pool::with_dialer("counted".into(), Box::new(dial), config, WarmUp::None);
    let far = lines.recv().await.expect("a connection");
    (pool, Peer::greet(Box::new(far), 1_000).await, writes, broken)
}

fn burst(pool: &Pool, size: usize) -> Vec<tokio::task::JoinHandle<Result<Answer, SendError>>> {
    let send = |_| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.send(big_request, in_seconds(60)).await })
    };
    (0..size).map(send).collect()
}

/// A burst of requests leaves in a few large writes, whatever the size of their bodies, not in one or two for each.
#[tokio::test(start_paused = true)]
async fn a_burst_is_gathered() {
    let (pool, mut peer, writes, _) = pool_over(1 << 20).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = writes.load(Ordering::Relaxed);
    let sent = burst(&pool, 50);
    let streams = peer.requests_within(Duration::from_secs(1)).await;
    assert_eq!(streams.len(), 50);
    let writes = writes.load(Ordering::Relaxed) - before;
    assert!(writes <= 5, "{writes} writes for 50 requests");
    for stream in streams {
        peer.answer(stream, 200, b"").await;
    }
    for sent in sent {
        assert_eq!(status(sent).await, 200);
    }
}

/// A line that takes a few bytes at a time loses nothing and stalls nobody.
#[tokio::test(start_paused = true)]
async fn a_narrow_line_delivers_everything() {
    let (pool, mut peer, _, _) = pool_over(700).await;
    let sent = burst(&pool, 50);
    for _ in 0..50 {
        let stream = peer.request().await;
        // The peer's window for bodies is 65,535 bytes (RFC 9113 §6.9.2) until it gives some back.
        peer.write(8, 0, 0, &1_100_u32.to_be_bytes()).await;
        peer.answer(stream, 200, b"").await;
    }
    for sent in sent {
        assert_eq!(status(sent).await, 200);
    }
}

/// What was written is on its way once `poll_written` is ready, and never before the limit of what is gathered.
#[tokio::test]
async fn gathered_bytes_leave_when_asked_or_when_they_are_many() {
    let (near, mut far) = duplex(1 << 20);
    let mut line = Line::new(Box::new(near));
    line.write_all(&[1; 1_000]).await.expect("taken");
    line.flush().await.expect("nothing yet");
    let mut seen = vec![0; 1 << 17];
    let early = futures_util::FutureExt::now_or_never(far.read(&mut seen));
    assert!(early.is_none(), "a flush alone writes nothing");
    poll_fn(|cx| line.poll_written(cx)).await.expect("written");
    assert_eq!(far.read(&mut seen).await.expect("bytes"), 1_000);
    line.write_all(&[2; 65_000]).await.expect("taken");
    line.write_all(&[3; 1_000]).await.expect("taken");
    assert_eq!(far.read(&mut seen).await.expect("bytes"), 65_000, "the first are many enough when the next come");
}

/// A line that cannot be written ends the connection, and its requests are unknown at once, not at their deadline.
#[tokio::test(start_paused = true)]
async fn a_broken_line_is_noticed_when_writing() {
    let (pool, mut peer, _, broken) = pool_over(1 << 20).await;
    assert!(peer.requests_within(Duration::from_secs(1)).await.is_empty());
    broken.store(true, Ordering::Relaxed);
    let began = tokio::time::Instant::now();
    for sent in burst(&pool, 3) {
        let error = failure(sent).await;
        assert!(matches!(error, SendError::Unknown { cause: Unknown::ConnectionLost(_), .. }), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(1));
}
