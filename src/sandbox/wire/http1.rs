//! HTTP/1.1 for the endpoints that also speak it: FCM's send method and the token endpoint.
//!
//! One request after the other on a kept-alive connection, with a length or in chunks. Many OAuth libraries know nothing newer.
//! No pipelining of answers, no upgrades, no trailers. Faults that need streams fall back to what HTTP/1.1 has: a reset stream
//! or a GOAWAY closes the connection.
//! A request that cannot be read gets 400 and the connection closes.
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::connection::{Socket, abort, client_left};
use super::judge::{Command, reply};
use crate::sandbox::exchange::{Answer, Field, Head, Request, Service};
use crate::sandbox::fault::{Fault, FaultBook};

/// The longest request head, in bytes.
const MAX_HEAD: usize = 32 * 1024;
/// Headers of one request.
const MAX_HEADERS: usize = 64;

/// What becomes of the connection after a request.
enum After {
    Answer,
    Close,
    Abort,
    Silent,
}

/// Serves one connection until it ends. Dropping the future drops the connection.
pub(crate) async fn serve<V: Service>(
    mut socket: Socket,
    mut service: V,
    faults: std::sync::Arc<FaultBook>,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let mut input = BytesMut::new();
    let mut head = Head::default();
    let mut answer = Answer::default();
    loop {
        let read = tokio::select! {
            read = read_request(&mut socket, &mut input, &mut head, service.body_limit()) => read,
            command = commands.recv() => match command {
                Some(command) => {
                    match obey(&mut service, command) {
                        After::Answer => continue,
                        After::Close => return,
                        After::Abort => return abort(&socket),
                        After::Silent => return silent(&socket, &mut commands).await,
                    }
                }
                None => return,
            },
        };
        let (body, keep_alive) = match read {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(Unreadable) => {
                answer.reset(400);
                drop(write(&mut socket, &answer, false).await);
                return;
            }
        };
        let request = Request { head: &head, body: &body };
        let verdict = if faults.is_active() {
            let (provider, token) = service.target(&request);
            faults.meet(provider, token.as_deref())
        } else {
            crate::sandbox::fault::Verdict::default()
        };
        tokio::time::sleep(verdict.delay.unwrap_or(Duration::ZERO)).await;
        match act(&mut service, &request, verdict.fault, &mut answer) {
            After::Answer => {
                if write(&mut socket, &answer, keep_alive).await.is_err() || !keep_alive {
                    return;
                }
            }
            After::Close => return,
            After::Abort => return abort(&socket),
            After::Silent => return silent(&socket, &mut commands).await,
        }
    }
}

/// Keeps the connection and says nothing more, until the client leaves or is thrown out.
async fn silent(socket: &Socket, commands: &mut mpsc::UnboundedReceiver<Command>) {
    loop {
        tokio::select! {
            () = client_left(socket) => return,
            command = commands.recv() => match command {
                Some(Command::Disconnect) => return abort(socket),
                Some(_) => {}
                None => return,
            },
        }
    }
}

fn obey<V: Service>(service: &mut V, command: Command) -> After {
    match command {
        // One request at a time, no PING: nothing to change.
        Command::StreamLimit(_) | Command::IgnorePings => After::Answer,
        Command::Goaway { .. } => After::Close,
        Command::Wedge => {
            service.wedge();
            After::Answer
        }
        Command::BlackHole => After::Silent,
        Command::Disconnect => After::Abort,
    }
}

fn act<V: Service>(service: &mut V, request: &Request<'_>, fault: Option<Fault>, answer: &mut Answer) -> After {
    let mut accepted = |accept: bool, after: After| {
        if accept {
            service.answer(request, answer);
        }
        after
    };
    let Some(fault) = fault else { return accepted(true, After::Answer) };
    match fault {
        Fault::Latency { .. } | Fault::IgnorePings | Fault::StreamLimit { .. } => accepted(true, After::Answer),
        Fault::ResetStream { accept } | Fault::Goaway { accept, .. } => accepted(accept, After::Close),
        Fault::Disconnect { accept } => accepted(accept, After::Abort),
        Fault::Hang { accept } => accepted(accept, After::Silent),
        Fault::BlackHole => After::Silent,
        Fault::Refuse(refusal) => {
            service.refuse(request, &refusal, answer);
            After::Answer
        }
        Fault::Reply { status, body, content_type, retry_after } => {
            answer.reset(status);
            reply(answer, body, content_type, retry_after);
            After::Answer
        }
        Fault::Wedge => {
            service.wedge();
            service.answer(request, answer);
            After::Answer
        }
    }
}

struct Unreadable;

impl From<std::io::Error> for Unreadable {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

/// How the body of a request is delimited.
enum Length {
    Bytes(usize),
    Chunks,
}

/// Reads one request: its head into `head`, its body returned with whether the connection stays open. `None` at the end.
async fn read_request(
    socket: &mut Socket,
    input: &mut BytesMut,
    head: &mut Head,
    limit: usize,
) -> Result<Option<(Vec<u8>, bool)>, Unreadable> {
    let (used, length, keep_alive) = loop {
        if let Some(parsed) = parse(input, head)? {
            break parsed;
        }
        if input.len() > MAX_HEAD {
            return Err(Unreadable);
        }
        if socket.read_buf(input).await? == 0 {
            return Ok(None);
        }
    };
    input.advance(used);
    let mut body = Vec::new();
    match length {
        Length::Bytes(mut left) => {
            while left > 0 {
                if input.is_empty() && socket.read_buf(input).await? == 0 {
                    return Ok(None);
                }
                let piece = input.split_to(left.min(input.len()));
                left -= piece.len();
                keep(&mut body, &piece, limit);
            }
        }
        Length::Chunks => loop {
            let line = read_line(socket, input).await?;
            let size = std::str::from_utf8(&line).ok().and_then(|line| line.split(';').next()).map(str::trim);
            let size = size.and_then(|size| usize::from_str_radix(size, 16).ok()).ok_or(Unreadable)?;
            let mut left = size;
            while left > 0 {
                if input.is_empty() && socket.read_buf(input).await? == 0 {
                    return Ok(None);
                }
                let piece = input.split_to(left.min(input.len()));
                left -= piece.len();
                keep(&mut body, &piece, limit);
            }
            if !read_line(socket, input).await?.is_empty() {
                return Err(Unreadable);
            }
            if size == 0 {
                break;
            }
        },
    }
    Ok(Some((body, keep_alive)))
}

fn keep(body: &mut Vec<u8>, piece: &[u8], limit: usize) {
    let room = (limit + 1).saturating_sub(body.len());
    body.extend_from_slice(&piece[..piece.len().min(room)]);
}

async fn read_line(socket: &mut Socket, input: &mut BytesMut) -> Result<BytesMut, Unreadable> {
    loop {
        if let Some(at) = input.windows(2).position(|pair| pair == b"\r\n") {
            let line = input.split_to(at);
            input.advance(2);
            return Ok(line);
        }
        if input.len() > MAX_HEAD || socket.read_buf(input).await? == 0 {
            return Err(Unreadable);
        }
    }
}

/// Parses a whole head: its bytes, how the body is delimited, whether the connection stays open. `None` while incomplete.
fn parse(input: &[u8], head: &mut Head) -> Result<Option<(usize, Length, bool)>, Unreadable> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(used) = request.parse(input).map_err(|_| Unreadable)? else { return Ok(None) };
    head.clear();
    let mut add = |name: &str, value: &[u8]| {
        head.add(Field::of(name.as_bytes()), name.as_bytes(), |out| {
            out.extend_from_slice(value);
            Ok::<(), Unreadable>(())
        })
    };
    add(":method", request.method.unwrap_or_default().as_bytes())?;
    add(":path", request.path.unwrap_or_default().as_bytes())?;
    let (mut length, mut keep_alive) = (Length::Bytes(0), request.version == Some(1));
    for header in request.headers.iter() {
        let name = header.name.to_ascii_lowercase();
        match name.as_str() {
            "host" => add(":authority", header.value)?,
            "content-length" => {
                let bytes = std::str::from_utf8(header.value).ok().and_then(|value| value.trim().parse().ok());
                length = Length::Bytes(bytes.ok_or(Unreadable)?);
            }
            "transfer-encoding" => length = Length::Chunks,
            "connection" => keep_alive = !header.value.eq_ignore_ascii_case(b"close"),
            _ => {}
        }
        add(&name, header.value)?;
    }
    Ok(Some((used, length, keep_alive)))
}

async fn write(socket: &mut Socket, answer: &Answer, keep_alive: bool) -> std::io::Result<()> {
    let reason = http::StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
    let mut out = format!("HTTP/1.1 {} {}\r\n", answer.status, reason.unwrap_or_default());
    for (name, value) in &answer.headers {
        out.push_str(name);
        out.push_str(": ");
        out.push_str(value);
        out.push_str("\r\n");
    }
    if !keep_alive {
        out.push_str("connection: close\r\n");
    }
    out.push_str("content-length: ");
    out.push_str(&answer.body.len().to_string());
    out.push_str("\r\n\r\n");
    let mut out = out.into_bytes();
    out.extend_from_slice(&answer.body);
    socket.write_all(&out).await?;
    socket.flush().await
}
