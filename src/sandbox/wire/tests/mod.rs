//! The frame layer from the outside, over real sockets and mostly frame by frame: limits, faults, protocol.
mod faults;
mod limits;
mod protocol;

use super::frame;
use crate::sandbox::Sandbox;
use crate::sandbox::testing::{Raw, TOPIC, put_head, token};

/// Two devices.
pub(super) const ONE: &str = "0a01";
pub(super) const TWO: &str = "0b02";

pub(super) fn bearer(sandbox: &Sandbox) -> String {
    format!("bearer {}", token(sandbox, 0, 0))
}

/// The headers of a good alert for a device.
pub(super) fn push<'a>(bearer: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", "POST"),
        (":scheme", "https"),
        (":path", path),
        (":authority", "localhost"),
        ("authorization", bearer),
        ("apns-topic", TOPIC),
    ]
}

pub(super) fn path(device: &str) -> String {
    format!("/3/device/{device}")
}

pub(super) async fn connect(sandbox: &Sandbox) -> Raw {
    Raw::connect(sandbox, &sandbox.apns_url()).await
}

/// Sends a PING and returns its opaque bytes.
pub(super) async fn ping(raw: &mut Raw) -> [u8; 8] {
    let mut out = Vec::new();
    put_head(&mut out, 8, frame::PING, 0, 0);
    out.extend_from_slice(b"12345678");
    raw.send(&out).await;
    *b"12345678"
}

/// How many pushes a device accepted.
pub(super) fn received(sandbox: &Sandbox, device: &str) -> usize {
    sandbox.apns().device(device).map_or(0, |device| device.received.len())
}
