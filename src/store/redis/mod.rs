//! Redis between the store of record and the processes: one copy for all of them, and the stream that tells each what changed.
//!
//! The point: a change reaches every process within milliseconds, and a process that starts does not ask the store for everybody.
//! One connection speaks RESP3 with client tracking: Redis remembers which keys this process read, and says when one of them changes.
//! Tracking is by key, not by prefix: with a prefix every process would hear of every person who is read anywhere. `NOLOOP` spares us our
//! own writes.
//!
//! A Redis that throws values out for want of memory keeps the bound of one TTL, but a read that was under way meanwhile may put an
//! older version back for that long: give it room.
//!
//! Deliberately not trusted: a value without a believable age, a connection that was silent once. One error takes Redis out of use at
//! once, for everybody, until [`supervise`] has a new connection; until then the store is asked. One that only forgot its scripts is given
//! them again. Nothing here fails a read.
mod clock;
mod connect;
mod copy;
mod guard;
mod supervise;

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, PushInfo, PushKind, RedisError, ServerErrorKind, Value, pipe};
use tokio::sync::Notify;

use self::clock::{Exchange, RedisClock};
use self::copy::{Held, Keys, Named, workspace_payload};
use super::cache::{Caches, Moment};
use super::config::PolicyConfig;
use super::database::Database;
use super::error::OpenError;
use super::read::{EventKey, Found, Wanted};
use super::telemetry;
use crate::event::Timestamp;
use crate::policy::{UserEntry, Workspace};

/// A connection in use.
#[derive(Clone)]
struct Session {
    id: u64,
    connection: MultiplexedConnection,
    keys: Keys,
}

/// What the tasks share.
struct Link {
    session: RwLock<Option<Session>>,
    next_id: AtomicU64,
    clock: Mutex<RedisClock>,
    caches: Arc<Caches>,
    /// Woken when the session ended.
    ended: Notify,
    timeout: Duration,
    ttl_ms: u64,
    unknown_ttl_ms: u64,
}

/// Redis in front of the store.
pub(super) struct Redis {
    link: Arc<Link>,
    supervisor: tokio::task::JoinHandle<()>,
}

/// A value that Redis held.
pub(super) struct Copied<V> {
    pub(super) value: V,
    pub(super) read_at: Moment,
}

/// What Redis held of what was wanted, in the same order.
pub(super) struct Copies {
    pub(super) workspaces: Vec<Option<Copied<Arc<Workspace>>>>,
    pub(super) users: Vec<Option<Copied<UserEntry>>>,
    /// `Some(None)`: known not to be withdrawn.
    pub(super) events: Vec<Option<Option<Timestamp>>>,
}

/// What became of a value that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offered {
    /// Redis holds this version.
    Held,
    /// Redis holds a higher one.
    Overtaken,
    /// Redis holds neither: the read was too old by the time it arrived.
    Late,
}

/// Whether the URL is one, and the file has authorities in it; connects nowhere.
pub(super) fn check(url: &str, ca_file: Option<&Path>) -> Result<(), OpenError> {
    connect::client(url, ca_file).map(drop)
}

impl Redis {
    /// Connects, and goes on without Redis if it does not answer; one that cannot be used is refused.
    pub(super) async fn open(
        config: &PolicyConfig,
        url: &str,
        database: Arc<Database>,
        caches: Arc<Caches>,
    ) -> Result<Self, OpenError> {
        let ttl_ms = u64::from(config.ttl_s) * 1_000;
        let link = Arc::new(Link {
            session: RwLock::new(None),
            next_id: AtomicU64::new(1),
            clock: Mutex::new(RedisClock::new(ttl_ms)),
            caches,
            ended: Notify::new(),
            timeout: Duration::from_millis(config.redis_timeout_ms.into()),
            ttl_ms,
            unknown_ttl_ms: u64::from(config.unknown_user_ttl_s) * 1_000,
        });
        let supervisor =
            supervise::start(connect::client(url, config.redis_ca_file.as_deref())?, database, &link).await?;
        Ok(Self { link, supervisor })
    }

    /// What Redis holds, in one round trip; `None` if it cannot be asked.
    pub(super) async fn read(&self, wanted: &Wanted) -> Option<Copies> {
        let session = self.link.session()?;
        let mut keys: Vec<String> = wanted.workspaces.iter().map(|id| session.keys.workspace(id.as_str())).collect();
        keys.extend(wanted.users.iter().map(|key| session.keys.user(key)));
        keys.extend(wanted.events.iter().map(|key| session.keys.closed(key)));
        let mut request = pipe();
        request.cmd("TIME").cmd("MGET").arg(&keys);
        let (exchange, answers) = self.link.exchange(&session, &request).await?;
        let values: Vec<Option<Vec<u8>>> = redis::from_redis_value(answers.into_iter().next()?).ok()?;
        let clock = self.link.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut values = values.into_iter();
        let workspaces = wanted
            .workspaces
            .iter()
            .map(|_| believed(&clock, exchange, values.next(), |held| held.workspace()))
            .collect();
        let users =
            wanted.users.iter().map(|_| believed(&clock, exchange, values.next(), |held| held.user())).collect();
        let events = wanted.events.iter().map(|_| {
            let until = i64::from_be_bytes(values.next()??.try_into().ok()?);
            Some((until != 0).then_some(Timestamp(until)))
        });
        let events = events.collect();
        Some(Copies { workspaces, users, events })
    }

    /// Puts what was read at the store into Redis, unless it holds something newer. One answer for each workspace, then each user, that
    /// could be read; `None` if Redis cannot be asked.
    pub(super) async fn offer(&self, wanted: &Wanted, found: &Found, read_at: Moment) -> Option<Vec<Offered>> {
        let session = self.link.session()?;
        let mut request = pipe();
        request.cmd("TIME");
        let count = wanted.workspaces.len() + wanted.users.len() - found.unreadable().count();
        if count > 0 {
            self.write_values(&session, &mut request, wanted, found, read_at);
        }
        for (key, until) in wanted.events.iter().zip(&found.events) {
            self.write_event(&session, &mut request, key, *until, read_at);
        }
        let (_, answers) = self.link.exchange(&session, &request).await?;
        let answers: Vec<i64> = match answers.into_iter().next() {
            Some(answers) if count > 0 => redis::from_redis_value(answers).ok()?,
            Some(_) | None => Vec::new(),
        };
        let offered = |answer| match answer {
            0.. => Offered::Held,
            -1 => Offered::Overtaken,
            _ => Offered::Late,
        };
        Some(answers.into_iter().map(offered).collect())
    }

    fn write_values(
        &self,
        session: &Session,
        request: &mut redis::Pipeline,
        wanted: &Wanted,
        found: &Found,
        read_at: Moment,
    ) {
        let workspaces = wanted.workspaces.iter().zip(&found.workspaces);
        let workspaces = workspaces.filter_map(|(id, value)| Some((id, value.as_ref().ok()?)));
        let workspaces = workspaces
            .map(|(id, value)| (session.keys.workspace(id.as_str()), value.version, workspace_payload(value)));
        let users = wanted.users.iter().zip(&found.users);
        let users = users.filter_map(|(key, value)| Some((key, value.as_ref().ok()?)));
        let users = users.map(|(key, value)| (session.keys.user(key), value.version(), value.as_bytes().to_vec()));
        let values: Vec<_> = workspaces.chain(users).collect();
        let age = self.link.caches.now().ms_since(read_at);
        let command = request.cmd("EVALSHA").arg(connect::SCRIPT.get_hash()).arg(values.len());
        for (key, _, _) in &values {
            command.arg(key);
        }
        // A read that lasted longer may have missed a change whose copy has expired already; no read at the store lasts half a TTL.
        command.arg(age).arg(self.link.stamp(read_at)).arg(self.link.ttl_ms / 2);
        for (_, version, payload) in &values {
            let ttl = if *version == 0 { self.link.unknown_ttl_ms } else { self.link.ttl_ms };
            command.arg(*version).arg(ttl).arg(payload);
        }
    }

    /// That an event is withdrawn outweighs everything; that it is not, nothing. Either is believed for a TTL from its read.
    fn write_event(
        &self,
        session: &Session,
        request: &mut redis::Pipeline,
        key: &EventKey,
        until: Option<Timestamp>,
        read_at: Moment,
    ) {
        let expires_at = self.link.stamp(read_at) + self.link.ttl_ms as i64;
        let value = until.map_or(0, Timestamp::as_millis).to_be_bytes();
        let command = request.cmd("SET").arg(session.keys.closed(key)).arg(&value[..]).arg("PXAT").arg(expires_at);
        if until.is_none() {
            command.arg("NX");
        }
    }

    /// Tells everybody that the event is withdrawn. False if Redis cannot be asked.
    pub(super) async fn withdraw(&self, key: &EventKey, until: Timestamp) -> bool {
        let Some(session) = self.link.session() else { return false };
        let mut request = pipe();
        request.cmd("TIME");
        self.write_event(&session, &mut request, key, Some(until), self.link.caches.now());
        self.link.exchange(&session, &request).await.is_some()
    }

    /// Whether Redis is in use.
    pub(super) fn is_up(&self) -> bool {
        self.link.session().is_some()
    }

    /// Ends the connection.
    pub(super) async fn close(&self) {
        self.supervisor.abort();
        if let Some(session) = self.link.session() {
            self.link.fail(session.id, "closed");
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

impl Link {
    fn session(&self) -> Option<Session> {
        self.session.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stamp(&self, moment: Moment) -> i64 {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).stamp(moment)
    }

    /// Sends a request that begins with `TIME`, waits for the answer as long as is allowed, and takes note of the time. Returns the other
    /// answers. What a request asks may be asked twice.
    async fn exchange(&self, session: &Session, request: &redis::Pipeline) -> Option<(Exchange, Vec<Value>)> {
        let began = self.caches.now();
        let mut connection = session.connection.clone();
        let asked = async {
            match request.query_async::<Vec<Value>>(&mut connection).await {
                // Boxed: nearly no request needs room for it.
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    Box::pin(async {
                        connect::load_scripts(&mut connection).await?;
                        request.query_async(&mut connection).await
                    })
                    .await
                }
                answered => answered,
            }
        };
        let answer = tokio::time::timeout(self.timeout, asked).await;
        let ended = self.caches.now();
        let parsed = match answer {
            Ok(Ok(answers)) => parse(began, ended, answers).map_err(|error| error.to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} ms", self.timeout.as_millis())),
        };
        match parsed {
            Ok((exchange, value)) => {
                self.clock.lock().unwrap_or_else(PoisonError::into_inner).note(exchange);
                Some((exchange, value))
            }
            Err(why) => {
                self.fail(session.id, &why);
                None
            }
        }
    }

    /// Ends the session, if it is still that one. From here on nothing that is held is certain to be young.
    fn fail(&self, id: u64, why: &str) {
        let mut session = self.session.write().unwrap_or_else(PoisonError::into_inner);
        if session.as_ref().is_some_and(|session| session.id == id) {
            *session = None;
            drop(session);
            self.caches.doubt_everything();
            telemetry::redis_lost(why);
            self.ended.notify_one();
        }
    }

    /// What Redis says by itself. Called where the connection reads, in the order of everything that it reads: an invalidation has been
    /// acted upon before the answer behind it is seen.
    fn told(&self, id: u64, keys: &Keys, push: PushInfo) {
        match push.kind {
            PushKind::Invalidate => self.invalidate(keys, push.data),
            PushKind::Disconnection => self.fail(id, "the connection was closed"),
            _ => {}
        }
    }

    fn invalidate(&self, keys: &Keys, data: Vec<Value>) {
        let Some(Value::Array(changed)) = data.into_iter().next() else {
            // Nil: everything was flushed.
            self.caches.doubt_everything();
            return;
        };
        for key in changed {
            let Value::BulkString(key) = key else { continue };
            match std::str::from_utf8(&key).ok().and_then(|key| keys.named(key)) {
                Some(Named::Workspace(workspace)) => self.caches.invalidate_workspace(workspace),
                Some(Named::User { workspace, user }) => self.caches.invalidate_user(workspace, user),
                // A withdrawal's, which is not cached here, or a count of the guard's.
                None => continue,
            }
            telemetry::invalidated();
        }
    }
}

/// Takes the time off the answers.
fn parse(began: Moment, ended: Moment, mut answers: Vec<Value>) -> Result<(Exchange, Vec<Value>), RedisError> {
    let time = if answers.is_empty() { Value::Nil } else { answers.remove(0) };
    let (seconds, micros): (i64, i64) = redis::from_redis_value(time)?;
    Ok((Exchange { began, ended, redis_ms: seconds * 1_000 + micros / 1_000 }, answers))
}

/// A value whose age is believed.
fn believed<V>(
    clock: &RedisClock,
    exchange: Exchange,
    bytes: Option<Option<Vec<u8>>>,
    value: impl FnOnce(&Held<'_>) -> Option<V>,
) -> Option<Copied<V>> {
    let bytes = bytes??;
    let held = Held::parse(&bytes)?;
    Some(Copied { read_at: clock.read_at(exchange, held.read_at)?, value: value(&held)? })
}
