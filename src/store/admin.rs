//! Writing to the policy store: commit first, then tell everybody who may hold a copy.
//!
//! The point: a change that was answered as made everywhere is used by every worker within milliseconds; one whose announcement failed is
//! answered as such and is used everywhere after one TTL at the latest. It deliberately knows nothing about who may write.
use std::sync::Arc;

use super::error::WriteError;
use super::policy::Inner;
use super::write::{Change, Touched};

/// The writer's side of the policy store. Clones share everything.
#[derive(Clone)]
pub struct Admin {
    inner: Arc<Inner>,
}

/// Who knows of a change that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// Every worker, within milliseconds.
    Everywhere,
    /// This process only; the others after one TTL at the latest.
    NotYet,
}

impl Admin {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Makes all changes, in their order, or none.
    pub async fn write(&self, changes: &[Change]) -> Result<Announced, WriteError> {
        let touched = self.inner.database.write(changes).await?;
        Ok(self.inner.announce(&touched).await)
    }
}

impl Inner {
    /// Makes every copy of what was touched old.
    pub(super) async fn announce(&self, touched: &Touched) -> Announced {
        for workspace in touched.workspaces.keys() {
            self.invalidate_workspace(workspace);
        }
        for user in touched.users.keys() {
            self.invalidate_user(user);
        }
        Announced::Everywhere
    }
}
