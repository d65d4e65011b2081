//! How many people each type reaches, counted no oftener than it is worth: it reads everybody of a workspace.
//!
//! The point: a page that asks again and again costs no more than one that asks now and then. What was counted is told for ten times as long
//! as the counting took, so that a small workspace's is as good as fresh, and a large one's takes little of one connection's time: a tenth,
//! or more where it is told no longer than the ten minutes that it is told at most.
//! Counting goes on in a task of its own, where it takes no request's place, and its result is there for who asks next; whoever asks meanwhile
//! waits for two seconds at most. The list of whom a type does not reach is read anew each time. A workspace is counted once at a time, and
//! one of its lists is read at a time, so none keeps all others from either.
//!
//! It deliberately counts in each process for itself, and keeps nothing in the store. It fails with 503 and `Retry-After`.
use std::collections::HashMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{StatusCode, header};
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};

use super::gate::{broken, busy};
use super::problem::Problem;
use super::state::Api;
use super::turns::{Turn, Turns};
use crate::event::{Timestamp, WorkspaceId};
use crate::store::Reach;

/// How many times as long as it took a count is told.
const TOLD_FOR: u32 = 10;
/// Longest that it is told.
const TOLD_FOR_MAX: Duration = Duration::from_secs(600);
/// Longest that a request waits for a count, or for its turn to look.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Workspaces that are counted at once, and pages of lists that are read at once: each has a connection of the store's for as long.
const AT_ONCE: usize = 2;
/// Workspaces whose counts are kept before those are forgotten that are told no more.
const KEPT_MAX: usize = 1_024;
/// Seconds after which to ask again.
const AGAIN_S: &str = "2";

/// A count, and when it was made.
#[derive(Clone)]
pub(super) struct Counted {
    pub(super) reach: Reach,
    pub(super) at: Timestamp,
    told_until: Instant,
}

type Slot = Arc<Mutex<Option<Counted>>>;

/// What was counted lately.
pub(super) struct Counts {
    of: Lock<HashMap<WorkspaceId, Slot>>,
    counting: Arc<Semaphore>,
    looking: Turns<WorkspaceId>,
}

impl Default for Counts {
    fn default() -> Self {
        let counting = Arc::new(Semaphore::new(AT_ONCE));
        Self { of: Lock::default(), counting, looking: Turns::new(AT_ONCE, 1) }
    }
}

impl Counts {
    /// How many people each type reaches in that workspace.
    pub(super) async fn of(&self, api: &Api, workspace: &WorkspaceId) -> Result<Counted, Problem> {
        let slot = self.slot(workspace);
        if let Ok(slot) = Arc::clone(&slot).try_lock_owned() {
            return match told(slot.as_ref()) {
                Some(counted) => Ok(counted),
                None => self.count(api, workspace, slot).await,
            };
        }
        // Somebody counts.
        let counted = tokio::time::timeout(WAIT_MAX, slot.lock()).await;
        counted.ok().and_then(|slot| told(slot.as_ref())).ok_or_else(being_counted)
    }

    async fn count(
        &self,
        api: &Api,
        workspace: &WorkspaceId,
        mut slot: OwnedMutexGuard<Option<Counted>>,
    ) -> Result<Counted, Problem> {
        let room = Arc::clone(&self.counting).try_acquire_owned().map_err(|_| busy())?;
        let (api, workspace) = (api.clone(), workspace.clone());
        let task = tokio::spawn(async move {
            let _room = room;
            let (began, at) = (Instant::now(), api.now());
            let reach = api.policy().admin().reach(&workspace).await?;
            let told_for = began.elapsed().saturating_mul(TOLD_FOR).min(TOLD_FOR_MAX);
            let counted = Counted { reach, at, told_until: Instant::now() + told_for };
            *slot = Some(counted.clone());
            Ok(counted)
        });
        match tokio::time::timeout(WAIT_MAX, task).await {
            Ok(Ok(counted)) => counted,
            Ok(Err(_)) => Err(broken()),
            Err(_) => Err(being_counted()),
        }
    }

    /// A turn to look at a list of that workspace's, until it is dropped.
    pub(super) async fn look(&self, workspace: &WorkspaceId) -> Result<Turn, Problem> {
        self.looking.take(workspace.clone(), WAIT_MAX).await
    }

    fn slot(&self, workspace: &WorkspaceId) -> Slot {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.len() >= KEPT_MAX {
            of.retain(|_, slot| slot.try_lock().map_or(true, |kept| told(kept.as_ref()).is_some()));
        }
        Arc::clone(of.entry(workspace.clone()).or_default())
    }
}

/// The count, if it is told still.
fn told(kept: Option<&Counted>) -> Option<Counted> {
    kept.filter(|counted| Instant::now() < counted.told_until).cloned()
}

fn being_counted() -> Problem {
    let detail = "The people of this workspace are being counted, which takes a while. Ask again in some seconds.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "being-counted", "Being counted", detail)
        .with_header(header::RETRY_AFTER, AGAIN_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_workspace_has_all_looks() {
        // Whoever looks at one workspace again and again waits for themselves; another's is looked at meanwhile.
        let counts = Counts::default();
        let [acme, globex] = ["acme", "globex"].map(|id| WorkspaceId::new(id).unwrap());
        let held = counts.look(&acme).await.unwrap();
        let refused = counts.look(&acme).await.unwrap_err();
        assert_eq!((refused.status, refused.kind), (StatusCode::SERVICE_UNAVAILABLE, "busy"));
        assert!(counts.look(&globex).await.is_ok());
        drop(held);
        assert!(counts.look(&acme).await.is_ok());
    }
}
