//! Section `[policy]`: the store of record, the Redis in front of it, the cache in this process, and how old an answer may be.
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

use super::database::check_url;
use super::error::OpenError;
use super::redis;
use crate::settings::{Problems, redacted};

/// Section `[policy]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// The store of record: `postgres://user:password@host/database` or `sqlite:path`. Holds a password, so it does not print.
    #[serde(serialize_with = "redacted")]
    pub store_url: Option<SecretString>,
    /// File of the store's URL.
    pub store_url_file: Option<PathBuf>,
    /// The Redis between the workers and PostgreSQL: `redis://` or `rediss://`, one primary.
    #[serde(serialize_with = "redacted")]
    pub redis_url: Option<SecretString>,
    /// File of the Redis' URL.
    pub redis_url_file: Option<PathBuf>,
    /// PEM file of the authorities that sign the Redis' certificate; without it, those of the system.
    pub redis_ca_file: Option<PathBuf>,
    /// Seconds for which an answer may be used, counted from before the read at the store began.
    pub ttl_s: u32,
    /// Seconds for which the absence of a user is remembered.
    pub unknown_user_ttl_s: u32,
    /// Seconds since its read for which the last known answer serves while neither Redis nor the store can be reached.
    pub max_stale_s: u32,
    /// Mebibytes of the cache in this process.
    pub cache_max_mib: u32,
    /// Reads at the store at once. The pool has as many connections, and with SQLite at most four.
    pub store_concurrency: u32,
    /// Milliseconds that one read or write at the store may take.
    pub store_timeout_ms: u32,
    /// Milliseconds that one round trip to Redis may take before the store is asked instead.
    pub redis_timeout_ms: u32,
}

impl PolicyConfig {
    /// The store's product, for people.
    pub fn store_name(&self) -> &'static str {
        match scheme(self.store_url.as_ref()).as_deref() {
            Some("sqlite") => "SQLite",
            _ => "PostgreSQL",
        }
    }

    /// Everything that contradicts itself or cannot work.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        let store = scheme(self.store_url.as_ref());
        let redis = scheme(self.redis_url.as_ref());
        problems.require(
            matches!(store.as_deref(), Some("postgres" | "postgresql" | "sqlite")),
            "store_url must be postgres://user:password@host/database or sqlite:path",
        );
        problems.require(
            matches!(redis.as_deref(), None | Some("redis" | "rediss")),
            "redis_url must be redis://host:port or rediss://host:port (one primary; cluster mode is not supported)",
        );
        problems.require(
            store.as_deref() != Some("sqlite") || redis.is_none(),
            "redis_url has no use with the SQLite of store_url, which serves one process; remove it or use PostgreSQL",
        );
        let encrypted = redis.as_deref() == Some("rediss");
        problems.require(
            encrypted || self.redis_ca_file.is_none(),
            "redis_ca_file needs a redis_url that begins with rediss://",
        );
        // Where the scheme is none, no more needs to be said.
        let mut unusable = Vec::new();
        if matches!(store.as_deref(), Some("postgres" | "postgresql" | "sqlite")) {
            unusable.extend(check_url(self.store_url()).err());
        }
        if let Some(url) = self.redis_url.as_ref().filter(|_| encrypted || redis.as_deref() == Some("redis")) {
            let ca_file = self.redis_ca_file.as_deref().filter(|_| encrypted);
            unusable.extend(redis::check(url.expose_secret(), ca_file).err());
        }
        for error in unusable {
            if let OpenError::Url { key, why } = error {
                problems.add(format!("{key} is not usable: {why}"));
            }
        }
        problems.require((1..=3_600).contains(&self.ttl_s), "ttl_s must be between 1 and 3600");
        problems.require(
            (1..=self.ttl_s.max(1)).contains(&self.unknown_user_ttl_s),
            "unknown_user_ttl_s must be between 1 and ttl_s",
        );
        problems.require(
            self.max_stale_s >= self.ttl_s,
            "max_stale_s must not be below ttl_s: an answer may always be used until then",
        );
        problems.require((1..=65_536).contains(&self.cache_max_mib), "cache_max_mib must be between 1 and 65536");
        problems.require((1..=1_000).contains(&self.store_concurrency), "store_concurrency must be between 1 and 1000");
        // Two reads of one row are put in order by the moments at which they began: a read must not last as long as its copy lives.
        let half_ttl_ms = self.ttl_s.saturating_mul(500);
        problems.require(
            (10..=half_ttl_ms.max(10)).contains(&self.store_timeout_ms),
            "store_timeout_ms must be at least 10 and at most half of ttl_s",
        );
        problems.require(
            (1..=half_ttl_ms.max(1)).contains(&self.redis_timeout_ms),
            "redis_timeout_ms must be at least 1 and at most half of ttl_s",
        );
        problems
    }

    /// [`Self::store_url`]; empty where there is none, which [`Self::problems`] refuses.
    pub(super) fn store_url(&self) -> &str {
        self.store_url.as_ref().map_or("", ExposeSecret::expose_secret)
    }

    /// [`Self::store_timeout_ms`].
    pub(super) fn store_timeout(&self) -> Duration {
        Duration::from_millis(self.store_timeout_ms.into())
    }
}

fn scheme(url: Option<&SecretString>) -> Option<String> {
    url.map(|url| url.expose_secret().split(':').next().unwrap_or_default().to_owned())
}
