//! One round of reading what the in-process cache did not have: everything in one statement to the store.
//!
//! The point: however many recipients an event has, they cost one round trip. It deliberately keeps nothing itself; each value goes
//! through its [`Lead`]. Where nothing can be reached, the last known values serve, all of them or none.
use std::sync::Arc;

use super::cache::{Fingerprint, Kept, Lead, Moment};
use super::error::unavailable;
use super::policy::{Inner, Place};
use super::read::{EventKey, Found, UserKey, Wanted};
use crate::event::{Timestamp, WorkspaceId};
use crate::policy::{UserEntry, Workspace};
use crate::seam::Unavailable;

/// One value to read.
struct Asked<K, V: super::cache::Value> {
    key: K,
    fingerprint: Fingerprint,
    lead: Lead<V>,
}

/// What this round reads.
#[derive(Default)]
pub(super) struct Round {
    workspace: Option<Asked<WorkspaceId, Arc<Workspace>>>,
    users: Vec<Asked<UserKey, UserEntry>>,
    event: Option<EventKey>,
}

/// What it found, in the same order; `None` where the value was overtaken while it was read.
#[derive(Default)]
pub(super) struct Read {
    pub(super) workspace: Option<Arc<Workspace>>,
    pub(super) users: Vec<Option<UserEntry>>,
    /// Until when the event is withdrawn.
    pub(super) event: Option<Timestamp>,
}

impl Round {
    pub(super) fn read_workspace(
        &mut self,
        key: &WorkspaceId,
        fingerprint: Fingerprint,
        lead: Lead<Arc<Workspace>>,
    ) -> Place<Arc<Workspace>> {
        self.workspace = Some(Asked { key: key.clone(), fingerprint, lead });
        Place::Read(0)
    }

    pub(super) fn read_user(
        &mut self,
        key: UserKey,
        fingerprint: Fingerprint,
        lead: Lead<UserEntry>,
    ) -> Place<UserEntry> {
        self.users.push(Asked { key, fingerprint, lead });
        Place::Read(self.users.len() - 1)
    }

    pub(super) fn read_event(&mut self, key: EventKey) {
        self.event = Some(key);
    }

    /// Reads everything.
    pub(super) async fn run(self, inner: &Inner) -> Result<Read, Unavailable> {
        if self.workspace.is_none() && self.users.is_empty() && self.event.is_none() {
            return Ok(Read::default());
        }
        let wanted = Wanted {
            workspaces: self.workspace.iter().map(|asked| asked.key.clone()).collect(),
            users: self.users.iter().map(|asked| asked.key.clone()).collect(),
            events: self.event.iter().cloned().collect(),
        };
        let read_at = inner.now();
        match inner.database.read(&wanted).await {
            Ok(found) => Ok(self.keep(found, read_at)),
            Err(error) => self.last_known(inner).ok_or_else(|| unavailable(&error)),
        }
    }

    fn keep(self, found: Found, read_at: Moment) -> Read {
        fn finish<K, V: super::cache::Value + Send + Sync + 'static>(
            asked: Asked<K, V>,
            value: V,
            read_at: Moment,
        ) -> Option<V> {
            match asked.lead.finish(&value, read_at) {
                Kept::Yes | Kept::Discarded => Some(value),
                Kept::Behind => None,
            }
        }
        let workspace = self.workspace.into_iter().zip(found.workspaces);
        let users = self.users.into_iter().zip(found.users);
        Read {
            workspace: workspace.map(|(asked, value)| finish(asked, value, read_at)).next().flatten(),
            users: users.map(|(asked, value)| finish(asked, value, read_at)).collect(),
            event: found.events.into_iter().next().flatten(),
        }
    }

    /// The last known values, if there is one for each that was asked for. Whether an event was withdrawn is never assumed.
    fn last_known(self, inner: &Inner) -> Option<Read> {
        if self.event.is_some() {
            return None;
        }
        let now = inner.now();
        let workspace = self.workspace.as_ref().map(|asked| inner.workspaces.last_known(asked.fingerprint, now));
        let users: Vec<_> = self.users.iter().map(|asked| inner.users.last_known(asked.fingerprint, now)).collect();
        if workspace.as_ref().is_some_and(Option::is_none) || users.iter().any(Option::is_none) {
            return None;
        }
        if let (Some(asked), Some(Some(value))) = (self.workspace, &workspace) {
            asked.lead.serve(value);
        }
        for (asked, value) in self.users.into_iter().zip(&users) {
            if let Some(value) = value {
                asked.lead.serve(value);
            }
        }
        Some(Read { workspace: workspace.flatten(), users, event: None })
    }
}
