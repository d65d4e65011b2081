//! Being asked to end: Ctrl-C, or the SIGTERM of whoever runs us.
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;

/// Hears both signals from when it is made, so that one that comes during the start is not lost and kills nothing.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Begins to listen; needs a runtime.
    pub(super) fn listen() -> Result<Self, Failure> {
        let of = |kind| signal(kind).map_err(Failure::internal);
        Ok(Self { interrupt: of(SignalKind::interrupt())?, terminate: of(SignalKind::terminate())? })
    }

    /// Waits until somebody asks. May be dropped and called again.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
