//! A connection that is fit for use: RESP3, tracked, to one primary of a version that can do what is needed.
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, ProtocolVersion, RedisError, Script, TlsCertificates, pipe,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::copy::Keys;
use super::{Link, Session, guard};
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
        if is_distrust(&error) {
            let why = "give the PEM file of the authorities that sign it as policy.redis_ca_file";
            return Self::Unfit(format!("this Redis' certificate is not trusted ({error}); {why}"));
        }
        Self::Unreachable(error.to_string())
    }
}

/// Whether the server showed a certificate that must not be trusted. rustls says so within an I/O error, which shows in no `source()`.
fn is_distrust(error: &RedisError) -> bool {
    let shared = error.source().and_then(|source| source.downcast_ref::<Arc<dyn Error + Send + Sync>>());
    let io = shared.and_then(|shared| shared.downcast_ref::<std::io::Error>());
    let tls = io.and_then(|io| io.get_ref()?.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}

/// Reads the URL and the authorities. RESP3, whatever the URL says: the stream of invalidations is part of it.
pub(super) fn client(url: &str, ca_file: Option<&Path>) -> Result<Client, OpenError> {
    let bad = |error: RedisError| OpenError::Url { key: "redis_url", why: error.to_string() };
    let info = url.into_connection_info().map_err(bad)?;
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let info = info.set_redis_settings(settings);
    let Some(path) = ca_file else { return Client::open(info).map_err(bad) };
    let unusable = |why: String| OpenError::Url { key: "redis_ca_file", why: format!("{}: {why}", path.display()) };
    let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    if CertificateDer::pem_slice_iter(&pem).next().is_none() {
        return Err(unusable("no certificate in it".into()));
    }
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem) };
    Client::build_with_tls(info, certificates).map_err(|error| unusable(error.to_string()))
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
        load_scripts(&mut connection).await?;
        Ok(Session { id, connection, keys })
    };
    match tokio::time::timeout(patience * 2, prepared).await {
        Ok(done) => done,
        Err(_) => Err(Refused::Unreachable(format!("no answer within {} ms", (patience * 2).as_millis()))),
    }
}

/// Gives Redis the scripts. Loaded, not only run: from 7.4 on it throws away those that were merely run.
pub(super) async fn load_scripts(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    SCRIPT.load_async(connection).await?;
    guard::SCRIPT.load_async(connection).await?;
    Ok(())
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
