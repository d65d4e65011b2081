//! A connection that is fit for use: RESP3, tracked, to one primary of a version that can do what is needed.
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, ProtocolVersion, RedisError, Script, pipe};

use super::copy::Keys;
use super::{Link, Session};
use crate::store::error::OpenError;

/// Sets values that are newer than those that are there.
pub(super) static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("script.lua")));

/// `SET ... PXAT` came with 6.2; that a script's reads are tracked for its caller with 7.0.
const OLDEST: u32 = 7;

/// Why there is no session.
pub(super) enum Refused {
    /// It may answer later.
    Unreachable(String),
    /// It answered, and must not be used.
    Unfit(String),
}

impl From<RedisError> for Refused {
    fn from(error: RedisError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

/// Reads the URL. RESP3, whatever it says: the stream of invalidations is part of it.
pub(super) fn client(url: &str) -> Result<Client, OpenError> {
    let bad = |error: RedisError| OpenError::Url { key: "redis_url", why: error.to_string() };
    let info = url.into_connection_info().map_err(bad)?;
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Client::open(info.set_redis_settings(settings)).map_err(bad)
}

/// Opens a session under the keys of one incarnation.
pub(super) async fn connect(client: &Client, link: &Arc<Link>, keys: Keys) -> Result<Session, Refused> {
    let id = link.next_id.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    // A first connection may have to resolve a name and shake hands for TLS.
    let patience = link.timeout.max(Duration::from_secs(1));
    let (told, named): (Weak<Link>, Keys) = (Arc::downgrade(link), keys.clone());
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(patience))
        .set_response_timeout(Some(patience))
        .set_pipeline_buffer_size(1_024)
        .set_push_sender(move |push| match told.upgrade() {
            Some(link) => {
                link.told(id, &named, push);
                Ok(())
            }
            None => Err(redis::aio::SendError),
        });
    let prepared = async {
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        fit(&mut connection).await?;
        let mut request = pipe();
        request.cmd("CLIENT").arg("SETNAME").arg("watchbell").ignore();
        request.cmd("CLIENT").arg("TRACKING").arg("ON").arg("NOLOOP").ignore();
        request.query_async::<()>(&mut connection).await?;
        SCRIPT.load_async(&mut connection).await?;
        Ok(Session { id, connection, keys })
    };
    match tokio::time::timeout(patience * 2, prepared).await {
        Ok(done) => done,
        Err(_) => Err(Refused::Unreachable(format!("no answer within {} ms", (patience * 2).as_millis()))),
    }
}

/// Refuses what would not keep the promises: a replica may lag behind its primary without a bound, a cluster tracks by node, an older
/// version does not track what a script reads.
async fn fit(connection: &mut MultiplexedConnection) -> Result<(), Refused> {
    let info: String = redis::cmd("INFO").query_async(connection).await?;
    let field =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("").trim();
    let major = field("redis_version").split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < OLDEST) {
        let found = field("redis_version");
        return Err(Refused::Unfit(format!("this Redis is version {found}; version {OLDEST} or newer is needed")));
    }
    if field("role") != "master" {
        let role = field("role");
        return Err(Refused::Unfit(format!(
            "this Redis is a {role}; give the address of the primary, replicas lag behind it"
        )));
    }
    if field("redis_mode") == "cluster" || field("cluster_enabled") == "1" {
        return Err(Refused::Unfit("this Redis is a cluster, which is not supported; give a single primary".into()));
    }
    Ok(())
}
