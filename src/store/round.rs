//! One round of reading what the in-process cache did not have: one exchange with Redis, then one statement at the store for the rest.
//!
//! The point: however many recipients an event has, they cost one round trip. It deliberately keeps nothing itself; each value goes
//! through its [`Lead`]. Where nothing can be reached, the last known values serve, for all that is missing or not at all. A row that
//! cannot be read fails this round after everything else it read was kept, so that nobody else waits for it.
use std::sync::Arc;

use super::cache::{Fingerprint, Kept, Lead, Level, Moment, Value};
use super::policy::{Inner, Place};
use super::read::{EventKey, Found, UserKey, Wanted};
use super::redis::{Copied, Copies, Offered};
use super::telemetry;
use super::unreadable::Readable;
use crate::event::{Timestamp, WorkspaceId};
use crate::policy::{UserEntry, Workspace};
use crate::seam::Unavailable;

/// One value to read.
struct Asked<K, V: Value> {
    key: K,
    fingerprint: Fingerprint,
    state: State<V>,
}

enum State<V: Value> {
    /// Still to be read.
    Missing(Lead<V>),
    /// Read; `None` if it was overtaken meanwhile.
    Done(Option<V>),
}

impl<K: Clone, V: Value + Send + Sync + 'static> Asked<K, V> {
    fn missing(&self) -> Option<K> {
        match self.state {
            State::Missing(_) => Some(self.key.clone()),
            State::Done(_) => None,
        }
    }

    /// Takes a value for it.
    fn take(self, value: V, read_at: Moment, now: Moment) -> Self {
        let state = match self.state {
            State::Missing(lead) => State::Done(match lead.finish(&value, read_at, now) {
                Kept::Yes | Kept::Discarded => Some(value),
                Kept::Unusable => None,
            }),
            State::Done(value) => State::Done(value),
        };
        Self { state, ..self }
    }

    /// Takes a copy from Redis, if it is young and not older than what was seen here.
    fn take_copy(self, copy: Option<Copied<V>>, level: &Level<V>, now: Moment) -> Self {
        match copy {
            Some(Copied { value, read_at }) if level.usable(self.fingerprint, &value, read_at, now) => {
                self.take(value, read_at, now)
            }
            Some(_) | None => self,
        }
    }

    /// It cannot be had in this round: Redis has a newer one than the store had a moment ago, or the row cannot be read.
    fn give_up(self) -> Self {
        Self { state: State::Done(None), ..self }
    }

    fn serve(self, value: V) -> Self {
        if let State::Missing(lead) = self.state {
            lead.serve(&value);
        }
        Self { state: State::Done(Some(value)), key: self.key, fingerprint: self.fingerprint }
    }

    fn done(self) -> Option<V> {
        match self.state {
            State::Missing(_) => None,
            State::Done(value) => value,
        }
    }
}

/// What this round reads.
#[derive(Default)]
pub(super) struct Round {
    workspace: Vec<Asked<WorkspaceId, Arc<Workspace>>>,
    users: Vec<Asked<UserKey, UserEntry>>,
    event: Option<EventKey>,
    /// Until when the event is withdrawn, once that is known.
    closed: Option<Option<Timestamp>>,
}

/// What it found, in the same order; `None` where the value was overtaken while it was read.
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
        self.workspace.push(Asked { key: key.clone(), fingerprint, state: State::Missing(lead) });
        Place::Read(0)
    }

    pub(super) fn read_user(
        &mut self,
        key: UserKey,
        fingerprint: Fingerprint,
        lead: Lead<UserEntry>,
    ) -> Place<UserEntry> {
        self.users.push(Asked { key, fingerprint, state: State::Missing(lead) });
        Place::Read(self.users.len() - 1)
    }

    pub(super) fn read_event(&mut self, key: EventKey) {
        self.event = Some(key);
    }

    /// Reads everything.
    pub(super) async fn run(mut self, inner: &Inner) -> Result<Read, Unavailable> {
        let mut wanted = self.wanted();
        if let Some(redis) = &inner.redis
            && !wanted.is_empty()
            && let Some(copies) = redis.read(&wanted).await
        {
            self = self.take_copies(copies, inner);
            let asked = wanted.len();
            wanted = self.wanted();
            inner.reads.redis.increment((asked - wanted.len()) as u64);
        }
        if !wanted.is_empty() {
            self = match inner.store.read(wanted.clone()).await {
                Ok((found, read_at)) => {
                    inner.reads.store.increment(wanted.len() as u64);
                    self.take_found(&wanted, found, read_at, inner).await?
                }
                Err(unavailable) => self.last_known(inner, &unavailable)?,
            };
        }
        Ok(Read {
            workspace: self.workspace.into_iter().next().and_then(Asked::done),
            users: self.users.into_iter().map(Asked::done).collect(),
            event: self.closed.flatten(),
        })
    }

    /// What is still missing.
    fn wanted(&self) -> Wanted {
        Wanted {
            workspaces: self.workspace.iter().filter_map(Asked::missing).collect(),
            users: self.users.iter().filter_map(Asked::missing).collect(),
            events: self.event.iter().filter(|_| self.closed.is_none()).cloned().collect(),
        }
    }

    fn take_copies(self, copies: Copies, inner: &Inner) -> Self {
        let now = inner.caches.now();
        let workspace = self.workspace.into_iter().zip(copies.workspaces);
        let users = self.users.into_iter().zip(copies.users);
        Self {
            workspace: workspace.map(|(asked, copy)| asked.take_copy(copy, &inner.caches.workspaces, now)).collect(),
            users: users.map(|(asked, copy)| asked.take_copy(copy, &inner.caches.users, now)).collect(),
            event: self.event,
            closed: copies.events.into_iter().next().flatten(),
        }
    }

    async fn take_found(
        self,
        wanted: &Wanted,
        found: Found,
        read_at: Moment,
        inner: &Inner,
    ) -> Result<Self, Unavailable> {
        let unreadable = found.unreadable().next().map(|row| row.unavailable());
        // Before it is kept here: Redis knows whether it was overtaken on its way, and tracks it from here on.
        let offered = match &inner.redis {
            Some(redis) => redis.offer(wanted, &found, read_at).await.unwrap_or_default(),
            None => Vec::new(),
        };
        let (mut offered, now) = (offered.into_iter(), inner.caches.now());
        let closed = found.events.into_iter().next().or(self.closed);
        let (mut workspaces, mut entries) = (found.workspaces.into_iter(), found.users.into_iter());
        let workspace = self
            .workspace
            .into_iter()
            .map(|asked| place(asked, &mut workspaces, &mut offered, (read_at, now)))
            .collect();
        let users =
            self.users.into_iter().map(|asked| place(asked, &mut entries, &mut offered, (read_at, now))).collect();
        match unreadable {
            None => Ok(Self { workspace, users, event: self.event, closed }),
            Some(unavailable) => Err(unavailable),
        }
    }

    /// The last known values, if there is one for each that is missing. Whether an event was withdrawn is never assumed.
    fn last_known(self, inner: &Inner, unavailable: &Unavailable) -> Result<Self, Unavailable> {
        let now = inner.caches.now();
        let Self { workspace, users, event, closed } = self;
        if event.is_some() && closed.is_none() {
            return Err(unavailable.clone());
        }
        let workspace: Option<Vec<_>> =
            workspace.into_iter().map(|asked| known(asked, &inner.caches.workspaces, now)).collect();
        let users: Option<Vec<_>> = users.into_iter().map(|asked| known(asked, &inner.caches.users, now)).collect();
        let (Some(workspace), Some(users)) = (workspace, users) else { return Err(unavailable.clone()) };
        inner.reads.last_known.increment(1);
        telemetry::last_known_used(&unavailable.why);
        Ok(Self { workspace, users, event, closed })
    }
}

/// Gives the next value found, and what Redis said of it if it was offered, to who misses one.
fn place<K: Clone, V: Value + Send + Sync + 'static>(
    asked: Asked<K, V>,
    values: &mut impl Iterator<Item = Readable<V>>,
    offered: &mut impl Iterator<Item = Offered>,
    (read_at, now): (Moment, Moment),
) -> Asked<K, V> {
    if asked.missing().is_none() {
        return asked;
    }
    let Some(Ok(value)) = values.next() else { return asked.give_up() };
    match offered.next() {
        Some(Offered::Overtaken | Offered::Late) => asked.give_up(),
        Some(Offered::Held) | None => asked.take(value, read_at, now),
    }
}

fn known<K: Clone, V: Value + Send + Sync + 'static>(
    asked: Asked<K, V>,
    level: &Level<V>,
    now: Moment,
) -> Option<Asked<K, V>> {
    if asked.missing().is_none() {
        return Some(asked);
    }
    let value = level.last_known(asked.fingerprint, now)?;
    Some(asked.serve(value))
}
