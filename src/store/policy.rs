//! [`Policy`]: the caches in front of the store of record, as one [`PolicySource`].
use std::sync::Arc;
use std::time::Duration;

use super::admin::Admin;
use secrecy::ExposeSecret;

use super::cache::{Begin, Caches, Limits};
use super::config::PolicyConfig;
use super::database::{Database, Missing};
use super::devices::Devices;
use super::error::{OpenError, unavailable};
use super::notices::Notices;
use super::outbox::{Desk, Outbox};
use super::read::{EventKey, UserKey};
use super::reader::Reader;
use super::redis::Redis;
use super::requests::Requests;
use super::round::Round;
use super::telemetry::Handles;
use super::{schema, telemetry};
use crate::event::{EventId, NotificationType, Timestamp, UserId, WorkspaceId};
use crate::policy::{Guard, Heard, Ring, UserEntry, Workspace};
use crate::seam::{Clock, DeadToken, PolicySource, Query, Removal, Resolved, Ringing, SystemClock, Unavailable};

/// How often one question is asked anew because the answer was overtaken by a change while it was read. Each time needs another change
/// to the same few keys within a millisecond or two.
const ROUNDS_MAX: usize = 4;

/// Settings, preferences, devices and withdrawals, cached. Clones share everything.
#[derive(Clone)]
pub struct Policy {
    pub(super) inner: Arc<Inner>,
    /// See [`Self::alerting_every`].
    alert_every: Duration,
}

/// What clones share.
pub(super) struct Inner {
    pub(super) store: Arc<Reader>,
    pub(super) redis: Option<Redis>,
    pub(super) caches: Arc<Caches>,
    pub(super) reads: Handles,
    pub(super) outbox: Desk,
}

/// Opens the policy store. It must have been migrated. A Redis that does not answer is used as soon as it does.
pub async fn open(config: &PolicyConfig) -> Result<Policy, OpenError> {
    open_with(config, Arc::new(SystemClock)).await
}

/// As [`open`], by another clock.
pub async fn open_with(config: &PolicyConfig, clock: Arc<dyn Clock>) -> Result<Policy, OpenError> {
    let problems: Vec<String> = config.problems().into_iter().map(|problem| format!("policy.{problem}")).collect();
    if !problems.is_empty() {
        return Err(OpenError::Config(problems));
    }
    let database = Arc::new(Database::connect(config, Missing::Refuse).await?);
    schema::check(&database).await?;
    let limits = Limits {
        ttl_ms: u64::from(config.ttl_s) * 1_000,
        unknown_ttl_ms: u64::from(config.unknown_user_ttl_s) * 1_000,
        max_stale_ms: u64::from(config.max_stale_s) * 1_000,
    };
    let caches = Arc::new(Caches::new(u64::from(config.cache_max_mib) << 20, limits, clock));
    let redis = match &config.redis_url {
        Some(url) => Some(Redis::open(config, url.expose_secret(), Arc::clone(&database), Arc::clone(&caches)).await?),
        None => None,
    };
    let store = Reader::new(database, Arc::clone(&caches), config);
    let inner = Inner { store, redis, caches, reads: Handles::register(), outbox: Desk::default() };
    Ok(Policy { inner: Arc::new(inner), alert_every: Guard::default().window })
}

impl Inner {
    /// One attempt at an answer; `None` if it was overtaken.
    async fn round(&self, query: Query<'_>) -> Result<Option<Resolved>, Unavailable> {
        let now = self.caches.now();
        let mut round = Round::default();
        let of_workspace = self.caches.fingerprints.of_workspace(query.workspace.as_str());
        let workspace = match self.caches.workspaces.begin(of_workspace, now) {
            Begin::Lead(lead) => round.read_workspace(query.workspace, of_workspace, lead),
            Begin::Fresh(value) => Place::Have(value),
            Begin::Join(result) => Place::Wait(result),
        };
        let mut users = Vec::with_capacity(query.users.len());
        for user in query.users {
            let (_, fingerprint) = self.caches.fingerprints.of(query.workspace.as_str(), user.as_str());
            users.push(match self.caches.users.fresh(fingerprint, now) {
                Some(value) => Place::Have(value),
                None => match self.caches.users.begin(fingerprint, now) {
                    Begin::Fresh(value) => Place::Have(value),
                    Begin::Join(result) => Place::Wait(result),
                    Begin::Lead(lead) => {
                        let key = UserKey { workspace: query.workspace.clone(), user: user.clone() };
                        round.read_user(key, fingerprint, lead)
                    }
                },
            });
        }
        if let Some((kind, event)) = query.withdrawn {
            round.read_event(EventKey { workspace: query.workspace.clone(), kind, event: event.clone() });
        }
        let read = round.run(self).await?;
        let Some(workspace) = workspace.value(|_| read.workspace).await else { return Ok(None) };
        let mut entries = Vec::with_capacity(users.len());
        let mut found = read.users;
        for user in users {
            let Some(entry) = user.value(|index| found[index].take()).await else { return Ok(None) };
            entries.push(entry);
        }
        let withdrawn = read.event.is_some_and(|until| until > self.caches.clock.now());
        Ok(Some(Resolved { workspace, users: entries, withdrawn }))
    }
}

/// Where one value of an answer comes from.
pub(super) enum Place<V> {
    /// The cache had it.
    Have(V),
    /// Another task reads it.
    Wait(tokio::sync::watch::Receiver<Option<V>>),
    /// This round reads it, at that position.
    Read(usize),
}

impl<V: Clone> Place<V> {
    async fn value(self, read: impl FnOnce(usize) -> Option<V>) -> Option<V> {
        match self {
            Self::Have(value) => Some(value),
            Self::Read(index) => read(index),
            // Whoever reads it is bound by the same time-outs, and a reader that is dropped closes the channel.
            Self::Wait(mut result) => result.wait_for(Option::is_some).await.ok()?.clone(),
        }
    }
}

impl Policy {
    /// The writer's side.
    pub fn admin(&self) -> Admin {
        Admin::new(Arc::clone(&self.inner))
    }

    /// With a window of the fatigue guard (`guard.window_s`) other than the shipped one: within it a person's word that
    /// requests are not theirs alerts admins once, and their word that notices are not theirs once.
    #[must_use]
    pub fn alerting_every(self, window: Duration) -> Self {
        Self { alert_every: window, ..self }
    }

    /// What awaits people's answers.
    pub fn requests(&self) -> Requests {
        Requests::new(Arc::clone(&self.inner), self.alert_every)
    }

    /// People's devices.
    pub fn devices(&self) -> Devices {
        Devices::new(Arc::clone(&self.inner))
    }

    /// What people are told about their devices.
    pub fn notices(&self) -> Notices {
        Notices::new(Arc::clone(&self.inner), self.alert_every)
    }

    /// What is still to be written to Kafka.
    pub fn outbox(&self) -> Outbox {
        Outbox::new(Arc::clone(&self.inner))
    }

    /// Entries in the in-process cache (workspaces and people) and the bytes that they take.
    pub fn cache_size(&self) -> (usize, u64) {
        self.inner.caches.size()
    }

    /// Whether changes made by other processes arrive as they are made: Redis is in use.
    pub fn hears_of_changes(&self) -> bool {
        self.inner.redis.as_ref().is_some_and(Redis::is_up)
    }

    /// Closes all connections and waits until they are. Whatever asks afterwards is told that the store is unavailable.
    pub async fn close(&self) {
        if let Some(redis) = &self.inner.redis {
            redis.close().await;
        }
        self.inner.store.database.close().await;
    }
}

impl PolicySource for Policy {
    fn cached(&self, workspace: &WorkspaceId, user: &UserId) -> Option<(Arc<Workspace>, UserEntry)> {
        let answer = self.inner.caches.fresh(workspace, user)?;
        self.inner.reads.memory.increment(1);
        Some(answer)
    }

    async fn resolve(&self, query: Query<'_>) -> Result<Resolved, Unavailable> {
        for _ in 0..ROUNDS_MAX {
            if let Some(resolved) = self.inner.round(query).await? {
                return Ok(resolved);
            }
        }
        let why = format!("its rows changed faster than they could be read, {ROUNDS_MAX} times in a row");
        Err(Unavailable { what: "policy store", why })
    }

    async fn withdraw(
        &self,
        workspace: &WorkspaceId,
        kind: NotificationType,
        event: &EventId,
        until: Timestamp,
    ) -> Result<(), Unavailable> {
        let key = EventKey { workspace: workspace.clone(), kind, event: event.clone() };
        let now = self.inner.caches.clock.now();
        self.inner.store.database.withdraw(&key, until, now).await.map_err(|error| unavailable(&error))?;
        if let Some(redis) = &self.inner.redis
            && !redis.withdraw(&key, until).await
        {
            telemetry::not_announced();
        }
        Ok(())
    }

    async fn remove_token(&self, dead: &DeadToken) -> Result<Removal, Unavailable> {
        let (rows, touched) =
            self.inner.store.database.remove_token(dead).await.map_err(|error| unavailable(&error))?;
        self.inner.announce(&touched).await;
        Ok(if rows == 0 { Removal::Unchanged } else { Removal::Removed(rows) })
    }

    fn counts_together(&self) -> bool {
        let Some(redis) = &self.inner.redis else { return false };
        let up = redis.is_up();
        if !up {
            telemetry::counted_alone();
        }
        up
    }

    async fn ring(&self, ringing: Ringing<'_>) -> Option<Vec<Ring>> {
        let rings = self.inner.redis.as_ref()?.ring(ringing).await;
        if rings.is_none() {
            telemetry::counted_alone();
        }
        rings
    }

    async fn hear(&self, workspace: &WorkspaceId, user: &UserId, heard: Heard, ago: Duration, guard: &Guard) {
        let Some(redis) = &self.inner.redis else { return };
        let person = UserKey { workspace: workspace.clone(), user: user.clone() };
        if !redis.hear(&person, heard, ago, guard).await {
            telemetry::guard_not_told();
        }
    }
}
