//! What can go wrong with the policy store, for the people who start it and for the code that uses it.
use sqlx::error::ErrorKind;
use sqlx::postgres::PgDatabaseError;

use crate::seam::Unavailable;

/// Why the store could not be opened or migrated.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Contradictory settings; all of them.
    #[error("{}", .0.join("\n"))]
    Config(Vec<String>),
    /// The URL is none, or of a kind that is not supported.
    #[error("policy.{key} is not usable: {why}")]
    Url {
        /// `store_url`, `redis_url` or `redis_ca_file`.
        key: &'static str,
        /// What is wrong; never a URL itself, which may hold a password.
        why: String,
    },
    /// The store did not answer.
    #[error("the policy store cannot be reached: {0}")]
    Unreachable(String),
    /// It was never migrated, or by an older version.
    #[error(
        "the policy store's schema is at version {found}, this version needs {needed}: run `watchbell migrate` first"
    )]
    Unmigrated {
        /// The highest version applied; 0 for none.
        found: i64,
        /// The version that this program needs.
        needed: i64,
    },
    /// It was migrated by a newer version, to a schema on which this program may not work.
    #[error(
        "the policy store's schema is at version {found}, too new for this version, which knows {needed}: run the version that \
         migrated it, or a newer one"
    )]
    Newer {
        /// The highest version applied.
        found: i64,
        /// The version that this program needs.
        needed: i64,
    },
    /// A migration was changed after it was applied.
    #[error(
        "the policy store's schema at version {0} was made by other statements than this version's: it was built by hand or by a fork"
    )]
    Altered(i64),
    /// Another process has the SQLite file.
    #[error(
        "{file} is in use by another process. SQLite serves one process: stop the other one, or use PostgreSQL (policy.store_url) for \
         several"
    )]
    InUse {
        /// The lock file.
        file: String,
    },
    /// A migration failed; the store is as it was.
    #[error("the migration failed: {0}")]
    Migration(String),
    /// The Redis that answered cannot be used.
    #[error("policy.redis_url: {0}")]
    Redis(String),
}

/// Why a write was not made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The store cannot be reached, or did not answer in time: whether the write was made is not known.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The write breaks a rule; nothing was written.
    #[error("{0}")]
    Refused(String),
}

/// Why the store did not do what it was asked to; nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure<R: std::error::Error> {
    /// The store cannot be reached, or did not answer in time: then whether it was done is not known.
    #[error("{what} is unavailable: {why}", what = .0.what, why = .0.why)]
    Unavailable(Unavailable),
    /// A rule says no.
    #[error("{0}")]
    Refused(R),
}

impl<R: std::error::Error> From<sqlx::Error> for Failure<R> {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(unavailable(&error))
    }
}

/// The database says that what was to be written is wrong. Another try would hear the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy store does not take it ({code})")]
pub struct Unfit {
    /// The database's own code (PostgreSQL's SQLSTATE, SQLite's result code), `encode` or `decode`; never its words, which may hold values.
    pub code: String,
}

/// Tells the two apart: a store that cannot be reached, and one that answered that the values are wrong.
pub(super) fn unfit_or_unavailable(error: sqlx::Error) -> Failure<Unfit> {
    match unfit(&error) {
        Some(code) => Failure::Refused(Unfit { code }),
        None => error.into(),
    }
}

/// Under which code the values are wrong, if they are. A row that is there already, or one that is missing elsewhere, is another
/// transaction's doing, and may be otherwise at the next try.
fn unfit(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Encode(_) => Some("encode".to_owned()),
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => Some("decode".to_owned()),
        sqlx::Error::Database(database) => {
            if matches!(database.kind(), ErrorKind::UniqueViolation | ErrorKind::ForeignKeyViolation) {
                return None;
            }
            let code = database.code()?.into_owned();
            let is_unfit = match database.try_downcast_ref::<PgDatabaseError>() {
                // Classes 22, data exception, and 23, integrity constraint violation (PostgreSQL, Appendix A).
                Some(_) => code.starts_with("22") || code.starts_with("23"),
                // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH: the low byte of an extended result code.
                None => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 18..=20)),
            };
            is_unfit.then_some(code)
        }
        _ => None,
    }
}

/// An [`Unavailable`] of the store. What the database says names tables and constraints, never the values of a row.
pub(super) fn unavailable(error: &sqlx::Error) -> Unavailable {
    Unavailable { what: "policy store", why: told(error) }
}

/// An error in words that say what happened: the pool's would speak of the pool.
pub(super) fn told(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::PoolTimedOut => "it did not answer in time".to_owned(),
        other => other.to_string(),
    }
}
