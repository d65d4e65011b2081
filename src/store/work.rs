//! One transaction of the store, with what others must hear of it once it is committed.
//!
//! The point: whoever changes a person or a workspace raises its version, once for each transaction; whoever tells others puts that into
//! the outbox of the same transaction. It deliberately decides nothing. Fails by [`sqlx::Error`]; dropping it rolls it back.
use std::collections::BTreeMap;

use super::database::{Arg, Database, Tx};
use super::error::Failure;
use super::read::UserKey;
use crate::event::WorkspaceId;

/// How often a transaction is tried that lost a race against another. One of those that race wins each time, so this is how many may.
const TRIES: usize = 10;

/// Whose copies a transaction made old, with the versions that it wrote, and whether the outbox holds something new.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Touched {
    pub(super) workspaces: BTreeMap<WorkspaceId, i64>,
    pub(super) users: BTreeMap<UserKey, i64>,
    pub(super) told: bool,
}

/// A transaction with the versions that it raised: each once, however many changes there are.
pub(super) struct Work {
    pub(super) tx: Tx,
    pub(super) touched: Touched,
}

impl Database {
    /// Begins one.
    pub(super) async fn work(&self) -> Result<Work, sqlx::Error> {
        Ok(Work { tx: self.begin().await?, touched: Touched::default() })
    }
}

impl Work {
    /// Makes it last. After an error it may or may not have lasted.
    pub(super) async fn commit(self) -> Result<Touched, sqlx::Error> {
        self.tx.commit().await?;
        Ok(self.touched)
    }

    /// Raises the workspace's version, once in this transaction, and makes its row where there is none.
    pub(super) async fn raise_workspace(&mut self, workspace: &WorkspaceId) -> Result<i64, sqlx::Error> {
        const RAISE: &str = "INSERT INTO workspaces (id, display_name, detail, version) VALUES ($1, '', 'minimal', 1)
            ON CONFLICT (id) DO UPDATE SET version = workspaces.version + 1 RETURNING version";
        if let Some(version) = self.touched.workspaces.get(workspace) {
            return Ok(*version);
        }
        let rows = self.tx.rows(RAISE.into(), &[Arg::Text(workspace.as_str())]).await?;
        let version = rows.first().ok_or(sqlx::Error::RowNotFound)?.int(0)?;
        self.touched.workspaces.insert(workspace.clone(), version);
        Ok(version)
    }

    /// Raises the person's version, once in this transaction, and makes their row where there is none.
    pub(super) async fn raise_user(&mut self, user: &UserKey) -> Result<i64, sqlx::Error> {
        const RAISE: &str = "INSERT INTO users (workspace, id, version) VALUES ($1, $2, 1)
            ON CONFLICT (workspace, id) DO UPDATE SET version = users.version + 1 RETURNING version";
        if let Some(version) = self.touched.users.get(user) {
            return Ok(*version);
        }
        let rows =
            self.tx.rows(RAISE.into(), &[Arg::Text(user.workspace.as_str()), Arg::Text(user.user.as_str())]).await?;
        let version = rows.first().ok_or(sqlx::Error::RowNotFound)?.int(0)?;
        self.touched.users.insert(user.clone(), version);
        Ok(version)
    }
}

/// Why a transaction came to nothing.
#[derive(Debug)]
pub(super) enum Trouble<R> {
    Store(sqlx::Error),
    Refused(R),
    /// Another transaction made the row that this one had found missing.
    Raced,
}

impl<R> From<sqlx::Error> for Trouble<R> {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error)
    }
}

impl<R: std::error::Error> From<Trouble<R>> for Failure<R> {
    fn from(trouble: Trouble<R>) -> Self {
        match trouble {
            Trouble::Store(error) => Self::from(error),
            Trouble::Refused(refusal) => Self::Refused(refusal),
            Trouble::Raced => Self::from(sqlx::Error::PoolTimedOut),
        }
    }
}

/// What a transaction fails by.
pub(super) trait Race {
    /// Whether another transaction was in the way, so that it is worth another try.
    fn lost(&self) -> bool;
}

impl Race for sqlx::Error {
    fn lost(&self) -> bool {
        lost_a_race(self)
    }
}

impl<R> Race for Trouble<R> {
    fn lost(&self) -> bool {
        match self {
            Trouble::Store(error) => error.lost(),
            Trouble::Refused(_) => false,
            Trouble::Raced => true,
        }
    }
}

/// Does what `attempt` does, again if another transaction was in the way: [`TRIES`] times at most.
pub(super) async fn again_if_raced<T, E: Race, F: Future<Output = Result<T, E>>>(
    attempt: impl Fn() -> F,
) -> Result<T, E> {
    for _ in 1..TRIES {
        match attempt().await {
            Err(error) if error.lost() => {}
            done => return done,
        }
    }
    attempt().await
}

/// Whether another transaction got in the way: a deadlock, a serialization failure, or two that registered one installation at once
/// (PostgreSQL's 40P01, 40001, 23505). The second one sees the first when it is tried again.
fn lost_a_race(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| ["40P01", "40001", "23505"].contains(&code.as_ref()))
}
