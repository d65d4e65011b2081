//! How a person is erased, and what of them is left.
//!
//! The point: nothing about them stays but ids where ids are needed, and nobody is erased in silence. Their phones are told, as after a
//! reset; who erases themselves alerts those who administer the workspace. Whoever has somebody's session could otherwise retire all of
//! their phones and wipe the traces with one call. The sessions end with it, and the keys never count again.
//!
//! Whatever is written about the person at the same moment comes before it, and goes with the rest, or after it, and is judged as what is
//! read late: whoever writes holds the person's lock with others, or a row that the erasure changes, too. What a call of their own writes
//! that was let in before and has its turn after stays, as if they came back: a preference, a challenge, a test. It is new, and enrols nothing.
//!
//! Deliberately not here: who may erase whom. It fails by [`Unavailable`]; then it may have been done, and doing it again is harmless.
use std::collections::BTreeSet;
use std::time::Duration;

use super::admin::{Admin, Announced};
use super::database::{Arg, Sql};
use super::devices::Silenced;
use super::error::unavailable;
use super::notices::{NOBODY, notice};
use super::preferences::of;
use super::work::{Touched, Work, again_if_raced};
use crate::delivery::Notice;
use crate::event::{EventId, FUTURE_MAX, Timestamp};
use crate::people::{Actor, Audited, News, Person, RETIRED_KEY_LIFE};
use crate::seam::Unavailable;

/// A person who was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// What their phones are told of it.
    pub notice: Notice,
    /// The phones that pushes had somewhere to go for: each has to be told, and may answer that it was not its person.
    pub told: Vec<Silenced>,
    /// Who knows of it.
    pub announced: Announced,
}

impl Admin {
    /// Erases everything about a person but ids: those in the audit trail; their version, by which caches know that what they hold is
    /// old; for [`REQUESTS_KEPT`], those of requests, so that an event which is read again asks nobody anew; for [`LIFECYCLE_KEPT`], that of
    /// what upstream said became of them; and the thumbprints of their keys, without the person. What awaits their answer is cancelled first: upstream hears the end of it. For [`ERASED_KEPT`] it is
    /// remembered that they were erased, so that what Kafka holds from before brings nothing back. What others were told about them stays
    /// with these, without their id.
    ///
    /// [`REQUESTS_KEPT`]: super::REQUESTS_KEPT
    /// [`LIFECYCLE_KEPT`]: super::LIFECYCLE_KEPT
    /// [`ERASED_KEPT`]: super::ERASED_KEPT
    pub async fn erase(&self, person: &Person, actor: &Actor, at: Timestamp) -> Result<Erased, Unavailable> {
        let erased = again_if_raced(|| self.try_erase(person, actor, at)).await;
        let (notice, told, touched) = erased.map_err(|error| unavailable(&error))?;
        if let Some(redis) = &self.inner.redis {
            redis.forget_guard(person).await;
        }
        Ok(Erased { notice, told, announced: self.inner.announce(&touched).await })
    }

    async fn try_erase(
        &self,
        person: &Person,
        actor: &Actor,
        at: Timestamp,
    ) -> Result<(Notice, Vec<Silenced>, Touched), sqlx::Error> {
        let mut work = self.inner.store.database.work().await?;
        work.hold_alone(person).await?;
        work.raise_user(person).await?;
        let by = actor.another_than(&person.user);
        let (notice, told) = (notice(&person.workspace, &News::Reset { by }, at)?, work.ringing(person).await?);
        work.cancel_all(person, None, at).await?;
        work.remember_keys(person, &notice.id, at).await?;
        work.forget(person).await?;
        work.mark_erased(person, at).await?;
        work.end_sessions(&person.workspace, Some(&person.user), at).await?;
        work.audit(&person.workspace, actor, at, Audited::PersonErased { user: person.user.clone() }).await?;
        if by.is_none() {
            let alert = notice_to_admins(&notice);
            work.tell_admins(Some(&person.user), &alert, &News::Erased).await?;
        }
        Ok((notice, told, work.commit().await?))
    }
}

/// Whose clock said when something happened. An erasure says so by ours: what says that it happened a little later may have happened before.
/// The price is that for so long after an erasure nothing is kept of whoever comes back at once, and what asks them is closed as cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clocked {
    /// Upstream's: as far ahead of ours as `event.proto` lets it be. One that is further ahead is refused wherever it is read in time.
    Upstream,
    /// One of our own machines'.
    Here,
}

impl Clocked {
    /// How far machines of one fleet may be apart: several times what NTP leaves between them on a bad day (RFC 5905: milliseconds in a
    /// network, tens of them across the internet).
    const HERE: Duration = Duration::from_secs(2);

    /// When it may have happened at the earliest, by the clock that says when people are erased.
    pub(super) const fn earliest(self, at: Timestamp) -> Timestamp {
        match self {
            Self::Upstream => at.minus(FUTURE_MAX),
            Self::Here => at.minus(Self::HERE),
        }
    }
}

/// `$1` and `$2` the person, `$3` when something happened, at the earliest: a row if they were erased then or later.
macro_rules! erased_since {
    () => {
        "SELECT 1 FROM erased_people WHERE workspace = $1 AND user_id = $2 AND erased_at >= $3"
    };
}
pub(super) use erased_since;

/// What those are told who administer the workspace, under the same id, by which they know what a phone says afterwards was not its person.
fn notice_to_admins(told: &Notice) -> Notice {
    Notice { what: News::Erased.what(), kind: News::Erased.kind(), ..told.clone() }
}

impl Work {
    /// Waits for what is being written about the person at this moment, and keeps it waiting until this transaction ends: otherwise it could
    /// come in beside the erasure, and stay. To be held before any row of the person.
    pub(super) async fn hold_alone(&mut self, person: &Person) -> Result<(), sqlx::Error> {
        const HOLD: Sql = Sql {
            postgres: "SELECT 1 FROM pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0))",
            // Its transactions that write are one after the other.
            sqlite: "SELECT 1 WHERE $1 = $2",
        };
        self.tx.rows(HOLD, &of(person)).await.map(drop)
    }

    /// Waits for erasures of these people that are under way, and keeps others waiting until this transaction ends. All of its people at
    /// once, in one order, and before any row of theirs, so that no two wait for each other.
    pub(super) async fn keep_from_erasure(
        &mut self,
        people: impl IntoIterator<Item = &Person>,
    ) -> Result<(), sqlx::Error> {
        const KEEP: Sql = Sql {
            postgres: "SELECT 1 FROM json_array_elements_text($1::text::json) AS whose,
                LATERAL pg_advisory_xact_lock_shared(hashtextextended(whose, 0))",
            sqlite: "SELECT 1 WHERE $1 IS NULL",
        };
        let names: BTreeSet<String> =
            people.into_iter().map(|person| format!("{} {}", person.workspace, person.user)).collect();
        let names = serde_json::to_string(&names).map_err(|error| sqlx::Error::Encode(error.into()))?;
        self.tx.rows(KEEP, &[Arg::Text(&names)]).await.map(drop)
    }

    /// Keeps the thumbprints of a person's keys, and for a day the keys that may say that the erasure was not their person's.
    async fn remember_keys(&mut self, person: &Person, erasure: &EventId, at: Timestamp) -> Result<(), sqlx::Error> {
        const IN_USE: &str = "INSERT INTO erased_keys (workspace, thumbprint, erased_at, device, key_jwk, erasure)
            SELECT workspace, key_thumbprint, $3, id, key_jwk, $4 FROM enrolments
                WHERE workspace = $1 AND user_id = $2 AND key_thumbprint IS NOT NULL AND (retired_at IS NULL OR retired_at >= $5)
            ON CONFLICT (workspace, thumbprint) DO NOTHING";
        const OUT_OF_USE: &str = "INSERT INTO erased_keys (workspace, thumbprint, erased_at)
            SELECT workspace, key_thumbprint, $3 FROM enrolments WHERE workspace = $1 AND user_id = $2 AND key_thumbprint IS NOT NULL
            UNION SELECT workspace, thumbprint, $3 FROM rolled_keys WHERE workspace = $1 AND user_id = $2
            ON CONFLICT (workspace, thumbprint) DO NOTHING";
        let ([workspace, user], now) = (of(person), Arg::Int(at.as_millis()));
        let oldest = Arg::Int(at.minus(RETIRED_KEY_LIFE).as_millis());
        self.tx.execute(IN_USE.into(), &[workspace, user, now, Arg::Text(erasure.as_str()), oldest]).await?;
        self.tx.execute(OUT_OF_USE.into(), &[workspace, user, now]).await
    }

    /// What happened to the person until then is nobody's any more.
    async fn mark_erased(&mut self, person: &Person, at: Timestamp) -> Result<(), sqlx::Error> {
        const MARK: &str = "INSERT INTO erased_people (workspace, user_id, erased_at) VALUES ($1, $2, $3)
            ON CONFLICT (workspace, user_id) DO UPDATE SET erased_at = excluded.erased_at
            WHERE erased_people.erased_at < excluded.erased_at";
        let [workspace, user] = of(person);
        self.tx.execute(MARK.into(), &[workspace, user, Arg::Int(at.as_millis())]).await
    }

    /// Whether what happened to the person at that moment, by that clock, happened before they were erased.
    pub(super) async fn erased_since(
        &mut self,
        person: &Person,
        (at, by): (Timestamp, Clocked),
    ) -> Result<bool, sqlx::Error> {
        const READ: &str = erased_since!();
        let [workspace, user] = of(person);
        Ok(!self.tx.rows(READ.into(), &[workspace, user, Arg::Int(by.earliest(at).as_millis())]).await?.is_empty())
    }

    /// Whether the person was erased within [`ERASED_KEPT`], for what does not say when it happened.
    ///
    /// [`ERASED_KEPT`]: super::ERASED_KEPT
    pub(super) async fn erased_lately(&mut self, person: &Person) -> Result<bool, sqlx::Error> {
        self.erased_since(person, (Timestamp(0), Clocked::Here)).await
    }

    async fn forget(&mut self, person: &Person) -> Result<(), sqlx::Error> {
        const FORGET: [&str; 14] = [
            // First: whoever tells them something as one of those who administer the workspace holds it.
            "DELETE FROM known_roles WHERE workspace = $1 AND user_id = $2",
            "DELETE FROM user_preferences WHERE workspace = $1 AND user_id = $2",
            "DELETE FROM devices WHERE workspace = $1 AND user_id = $2",
            "DELETE FROM claimed_tokens WHERE workspace = $1 AND user_id = $2",
            // Before what a sweep makes of them.
            "DELETE FROM enrolments WHERE workspace = $1 AND user_id = $2",
            "DELETE FROM rolled_keys WHERE workspace = $1 AND user_id = $2",
            "DELETE FROM challenges WHERE workspace = $1 AND user_id = $2",
            "DELETE FROM tickets WHERE workspace = $1 AND user_id = $2",
            // Open is only what came after the others were cancelled: it has an end of its own before it.
            "UPDATE requests SET state = 'closed', closed_reason = coalesce(closed_reason, 'cancelled'), verb = NULL, source = '',
                record_key = NULL, traceparent = NULL, number_required = 0, match_number = NULL, wrong_tries = 0, detail = 'null',
                decision_id = NULL, device = NULL, jws = NULL, key_thumbprint = NULL, outbox_id = NULL
                WHERE workspace = $1 AND user_id = $2 AND state <> 'open'",
            "DELETE FROM seen_marks WHERE workspace = $1 AND user_id = $2",
            "DELETE FROM activity WHERE workspace = $1 AND user_id = $2",
            "DELETE FROM notices WHERE workspace = $1 AND user_id = $2",
            "DELETE FROM idempotency_keys WHERE workspace = $1 AND user_id = $2",
            "DELETE FROM self_tests WHERE workspace = $1 AND user_id = $2",
        ];
        const BLANK: &str = "UPDATE notices SET about_user = $3 WHERE workspace = $1 AND about_user = $2";
        for sql in FORGET {
            self.tx.execute(sql.into(), &of(person)).await?;
        }
        let [workspace, user] = of(person);
        self.tx.execute(BLANK.into(), &[workspace, user, Arg::Text(NOBODY)]).await
    }
}
