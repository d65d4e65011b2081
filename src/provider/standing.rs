//! Whether an app is known to be configured right, which decides what a provider's "I do not know this token" means.
//!
//! The point: both providers give the same answer for one bad token and for a credential of the wrong environment, bundle or project,
//! where every healthy token looks bad. So a token is called dead only after the same app had a push accepted in this process; before
//! that the push is refused alone and its token kept; and when nothing but refusals came, the configuration is to blame.
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use crate::delivery::{Outcome, Reason};

/// So many unknown tokens of an app without one acceptance mean that not the tokens are wrong.
const SUSPECT_AFTER: u32 = 20;

/// What this process has seen of one app under one credential.
#[derive(Debug, Default)]
pub(super) struct Standing {
    accepted: AtomicBool,
    unknown_tokens: AtomicU32,
}

/// How far the configuration of an app can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Nothing was accepted yet.
    Unproven,
    /// A push was accepted.
    Proven,
    /// Nothing was accepted yet, and many tokens were unknown.
    Suspect,
}

impl Standing {
    /// A push of the app was accepted.
    pub(super) fn accepted(&self) {
        // Read first: a write on each push would bounce the cache line between the cores.
        if !self.accepted.load(Relaxed) {
            self.accepted.store(true, Relaxed);
        }
    }

    /// A token of the app is unknown to the provider.
    pub(super) fn unknown_token(&self) -> Trust {
        if self.accepted.load(Relaxed) {
            return Trust::Proven;
        }
        let before = self.unknown_tokens.fetch_add(1, Relaxed);
        if before < SUSPECT_AFTER { Trust::Unproven } else { Trust::Suspect }
    }
}

impl Trust {
    /// What an unknown token means.
    pub(super) fn judge(self, reason: Reason) -> Outcome {
        match self {
            Self::Unproven => Outcome::Rejected { reason },
            Self::Proven => Outcome::TokenInvalid { since: None, reason },
            Self::Suspect => Outcome::Misconfigured { reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An unknown token is dead only where the app is proven; many of them without an acceptance blame the configuration.
    #[test]
    fn trust_is_earned() {
        let standing = Standing::default();
        let seen: Vec<Trust> = (0..21).map(|_| standing.unknown_token()).collect();
        assert_eq!(seen[..20], [Trust::Unproven; 20]);
        assert_eq!(seen[20], Trust::Suspect);
        standing.accepted();
        assert_eq!(standing.unknown_token(), Trust::Proven);
        let reason = Reason::known("BadDeviceToken");
        assert!(matches!(Trust::Unproven.judge(reason.clone()), Outcome::Rejected { .. }));
        assert!(matches!(Trust::Suspect.judge(reason.clone()), Outcome::Misconfigured { .. }));
        assert!(matches!(Trust::Proven.judge(reason), Outcome::TokenInvalid { since: None, .. }));
    }
}
