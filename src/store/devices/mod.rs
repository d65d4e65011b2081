//! Devices: how they are enrolled, promoted, reached, rolled and retired, one transaction each.
//!
//! The point: what [`crate::people::enrolment`] rules is judged by what the same transaction read, with the person's row held, so that of
//! two who try at once the second is judged by what the first did. Of what must be kept secret (challenges, nonces, tickets) only hashes
//! are stored. A key comes in only within a proof that it made, and a token moves from another row only to whoever was reached by it.
//!
//! It deliberately checks no signature, asks no clock and knows no session: callers bring proofs and statements that were verified, and say
//! whose they are. It fails by [`Failure`]; where the store does not answer in time, whether it was done is not known.
mod challenge;
mod list;
mod once;
mod promote;
mod reach;
mod register;
mod retire;
mod roll;
mod row;

pub use challenge::{Digits, Issued};
pub use list::Keyed;
pub(super) use list::own;
pub use promote::{PromotedBy, Promotion};
pub use reach::Reached;
pub use register::{Registered, Reported, ToReach};
pub use retire::{Removed, Reset, Silenced};

use std::sync::Arc;

use super::admin::Announced;
use super::database::Sql;
use super::error::Failure;
use super::policy::Inner;
use super::preferences::of;
use super::work::{Trouble, Work, again_if_raced};
use crate::people::Person;
use crate::people::enrolment::Stale;

/// People's devices. Clones share everything.
#[derive(Clone)]
pub struct Devices {
    inner: Arc<Inner>,
}

impl Devices {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    async fn work(&self) -> Result<Work, sqlx::Error> {
        self.inner.store.database.work().await
    }

    /// Does what `attempt` does and commits it, again if another transaction got in the way; then tells whoever holds a copy.
    async fn settle<T, R, F>(&self, attempt: impl Fn() -> F) -> Result<(T, Announced), Failure<R>>
    where
        F: Future<Output = Result<(T, Work), Trouble<R>>>,
        R: std::error::Error,
    {
        let committed = || async {
            let (done, work) = attempt().await?;
            Ok::<_, Trouble<R>>((done, work.commit().await?))
        };
        let (done, touched) = again_if_raced(committed).await?;
        Ok((done, self.inner.announce(&touched).await))
    }
}

impl Work {
    /// Holds the person's row until this transaction ends, as it is, and makes it where there is none.
    async fn hold_as_is(&mut self, person: &Person) -> Result<u64, sqlx::Error> {
        const MAKE: &str =
            "INSERT INTO users (workspace, id, version) VALUES ($1, $2, 0) ON CONFLICT (workspace, id) DO NOTHING";
        const HOLD: Sql = Sql {
            postgres: "SELECT version FROM users WHERE workspace = $1 AND id = $2 FOR UPDATE",
            sqlite: "SELECT version FROM users WHERE workspace = $1 AND id = $2",
        };
        self.tx.execute(MAKE.into(), &of(person)).await?;
        let version = self.tx.rows(HOLD, &of(person)).await?.first().map_or(Ok(0), |row| row.int(0))?;
        Ok(u64::try_from(version).unwrap_or_default())
    }

    /// Holds the person as they are, if their devices are as who asks saw them; returns the version that they have.
    async fn hold_seen<R: From<Stale>>(&mut self, person: &Person, expected: Option<u64>) -> Result<u64, Trouble<R>> {
        let current = self.hold_as_is(person).await?;
        if expected.is_some_and(|expected| expected != current) {
            return Err(Trouble::Refused(Stale { current }.into()));
        }
        Ok(current)
    }

    /// The same, raising their version; returns the one that they have afterwards.
    async fn hold_expected<R: From<Stale>>(
        &mut self,
        person: &Person,
        expected: Option<u64>,
    ) -> Result<u64, Trouble<R>> {
        let current = self.hold_seen(person, expected).await?;
        self.raise_user(person).await?;
        Ok(self.version_now(person, current))
    }

    /// The version of a person who had that one when they were held.
    fn version_now(&self, person: &Person, held: u64) -> u64 {
        self.touched.users.get(person).map_or(held, |raised| u64::try_from(*raised).unwrap_or_default())
    }

    /// Holds the person's row until this transaction ends, raising their version.
    async fn hold_person(&mut self, person: &Person) -> Result<(), sqlx::Error> {
        self.raise_user(person).await.map(drop)
    }
}
