//! Writing to the policy store: commit first, then tell everybody who may hold a copy.
//!
//! The point: a change that was answered as made everywhere is used by every worker within milliseconds; one whose announcement failed is
//! answered as such and is used everywhere after one TTL at the latest. It deliberately knows nothing about who may write.
use std::sync::Arc;

use super::error::WriteError;
use super::policy::Inner;
use super::read::Wanted;
use super::redis::{Offered, Redis};
use super::telemetry;
use super::work::Touched;
use super::write::Change;

/// People whose new copies go to Redis at once: some 50 kB, so that others' requests on the connection wait for less than a millisecond.
const CHUNK: usize = 256;

/// The writer's side of the policy store. Clones share everything.
#[derive(Clone)]
pub struct Admin {
    pub(super) inner: Arc<Inner>,
}

/// Who knows of a change that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// Every worker that hears of changes, within milliseconds. Without Redis: the one process that there should be.
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
        let touched = self.inner.store.database.write(changes).await?;
        Ok(self.inner.announce(&touched).await)
    }
}

/// How much of a chunk is in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Published {
    All,
    /// All but the rows that this version cannot read.
    Readable,
    Nothing,
}

impl Inner {
    /// Makes every copy of what was touched old: in this process at once, elsewhere by a newer copy in Redis, which tells everybody who
    /// read the one before.
    pub(super) async fn announce(&self, touched: &Touched) -> Announced {
        self.invalidate(touched);
        if touched.told {
            self.outbox.wake();
        }
        let Some(redis) = &self.redis else { return Announced::Everywhere };
        let workspaces = touched.workspaces.keys().cloned().collect();
        let mut chunk = Wanted { workspaces, ..Wanted::default() };
        let (mut users, mut announced) = (touched.users.keys(), Announced::Everywhere);
        loop {
            chunk.users.extend(users.by_ref().take(CHUNK).cloned());
            if chunk.is_empty() {
                break;
            }
            let published = self.publish(redis, &chunk).await;
            if published != Published::All {
                telemetry::not_announced();
                announced = Announced::NotYet;
            }
            if published == Published::Nothing {
                break;
            }
            chunk = Wanted::default();
        }
        // Once more: between the commit and the publication the copy before may have come back from Redis, and Redis does not tell us of
        // what we wrote ourselves.
        self.invalidate(touched);
        announced
    }

    fn invalidate(&self, touched: &Touched) {
        for workspace in touched.workspaces.keys() {
            self.caches.invalidate_workspace(workspace.as_str());
        }
        for key in touched.users.keys() {
            self.caches.invalidate_user(key.workspace.as_str(), key.user.as_str());
        }
    }

    /// Reads what is there now, which is what was written or newer, and offers it to Redis.
    async fn publish(&self, redis: &Redis, touched: &Wanted) -> Published {
        let Ok((found, read_at)) = self.store.read(touched.clone()).await else { return Published::Nothing };
        match redis.offer(touched, &found, read_at).await {
            Some(offered) if offered.contains(&Offered::Late) => Published::Nothing,
            None => Published::Nothing,
            // The copy of such a row stays as it was.
            Some(_) if found.unreadable().next().is_some() => Published::Readable,
            Some(_) => Published::All,
        }
    }
}
