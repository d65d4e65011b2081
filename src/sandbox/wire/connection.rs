//! Drives one HTTP/2 session over its TLS socket.
//!
//! Reads as much as has arrived before it writes, and writes all answers at once: at high rates one system call carries
//! dozens of pushes.
//! It has no timers of its own besides the session's delayed requests: an idle connection costs nothing and stays open.
//! A broken socket ends the connection silently; so it is with a real provider.
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;

use super::frame::PREFACE;
use super::judge::Command;
use super::session::{End, Session};
use crate::sandbox::exchange::Service;

/// The socket: TLS reads at most 4 KiB at a time from below, so a larger buffer lies under it.
pub(crate) type Socket = TlsStream<BufReader<TcpStream>>;

/// Room for what arrives, in bytes.
const READ: usize = 64 * 1024;
/// Answers are written when this many bytes of them have gathered, even if more requests are there.
const WRITE_AT: usize = 32 * 1024;
/// How long a closing connection may take to say good-bye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Serves one connection until it ends. Dropping the future drops the connection.
pub(crate) async fn serve<V: Service>(
    mut socket: Socket,
    mut session: Session<V>,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let mut input = BytesMut::with_capacity(2 * READ);
    let mut greeted = false;
    loop {
        if !session.out.bytes.is_empty() {
            if socket.write_all(&session.out.bytes).await.is_err() || socket.flush().await.is_err() {
                return;
            }
            session.out.bytes.clear();
        }
        if let Some(end) = session.end {
            return finish(socket, end).await;
        }
        if !step(&mut socket, &mut session, &mut commands, &mut input).await {
            return;
        }
        if !greeted {
            match input.get(..PREFACE.len()) {
                Some(preface) if preface == PREFACE => input.advance(PREFACE.len()),
                Some(_) => return,
                None => continue,
            }
            greeted = true;
        }
        if session.silent {
            input.clear();
            continue;
        }
        let used = session.receive(&input);
        input.advance(used);
    }
}

/// Waits for the next thing to happen and takes it in; false when the client is gone.
async fn step<V: Service>(
    socket: &mut Socket,
    session: &mut Session<V>,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    input: &mut BytesMut,
) -> bool {
    if session.silent {
        return tokio::select! {
            command = commands.recv() => match command {
                Some(command) => {
                    session.command(command);
                    true
                }
                None => false,
            },
            () = client_left(socket) => false,
        };
    }
    let due = session.next_due();
    input.reserve(READ);
    let mut sleep = pin!(async {
        match due {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    });
    tokio::select! {
        biased;
        command = commands.recv() => match command {
            Some(command) => session.command(command),
            None => return false,
        },
        () = &mut sleep => session.run_due(Instant::now()),
        read = socket.read_buf(input) => {
            if !matches!(read, Ok(1..)) {
                return false;
            }
            // What else is already here joins the same batch.
            while input.len() < WRITE_AT {
                match socket.read_buf(input).now_or_never() {
                    Some(Ok(1..)) => {}
                    Some(Ok(_) | Err(_)) | None => break,
                }
            }
        }
    }
    true
}

/// Waits until the client closes or resets its connection. Nothing is read, so that its writes end in its full socket buffers, as with a
/// dead path; only the operating system's word for the end counts.
pub(crate) async fn client_left(socket: &Socket) {
    let stream = socket.get_ref().0.get_ref();
    loop {
        match stream.ready(Interest::READABLE).await {
            Ok(ready) if !ready.is_read_closed() => {
                // Data that nobody will read: forgotten, so that the next news wakes us. Never anything but `WouldBlock`.
                drop(stream.try_io(Interest::READABLE, || Err::<(), _>(std::io::ErrorKind::WouldBlock.into())));
            }
            Ok(_) | Err(_) => return,
        }
    }
}

async fn finish(mut socket: Socket, end: End) {
    match end {
        End::Close => {
            // The client may still be sending: closing at once would turn our last words into a reset.
            let goodbye = async {
                socket.shutdown().await?;
                let mut sink = [0_u8; 4_096];
                while socket.read(&mut sink).await? > 0 {}
                Ok::<(), std::io::Error>(())
            };
            drop(tokio::time::timeout(GOODBYE, goodbye).await);
        }
        End::Abort => abort(&socket),
    }
}

/// Makes the drop of the socket a TCP reset.
pub(crate) fn abort(socket: &Socket) {
    if let Err(error) = socket.get_ref().0.get_ref().set_zero_linger() {
        tracing::debug!(%error, "a connection of the sandbox closes instead of being reset");
    }
}
