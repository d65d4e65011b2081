//! For how long the store keeps what it need not keep, and how a person is erased.
//!
//! The point: every table that grows has a bound in time, stated here; nothing is removed that somebody may still need. What is not named
//! here is kept: settings, people's versions, preferences, enrolments and roles, until the person is erased.
use std::time::Duration;

use super::admin::{Admin, Announced};
use super::database::{Arg, Database, Sql};
use super::error::unavailable;
use super::preferences::of;
use super::work::{Touched, Work, again_if_raced};
use crate::event::Timestamp;
use crate::people::{Actor, Audited, Person};
use crate::seam::Unavailable;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An entry of the audit trail: a year and a month, so that a yearly review finds all of its year. Kafka's copy may live longer.
pub const AUDIT_KEPT: Duration = Duration::from_secs(400 * 24 * 3600);
/// A record of the outbox after it was published: somebody may still be waiting to hear that it was.
pub const OUTBOX_KEPT: Duration = Duration::from_secs(3600);
/// A request after it ended: as long as Recent, and longer than any event may be read again after (`event.proto`: 30 days after it
/// happened, at most 10 minutes in the future).
pub const REQUESTS_KEPT: Duration = Duration::from_secs(31 * 24 * 3600);
/// What happened to a person's notifications: what Recent shows.
pub const ACTIVITY_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// A device's word that it showed a notification.
pub const SEEN_KEPT: Duration = ACTIVITY_KEPT;
/// What a person was told about their devices: as long as what they look back on besides.
pub const NOTICES_KEPT: Duration = ACTIVITY_KEPT;
/// What became of people at upstream, by its id: longer than a record of it may be read again (`lifecycle.proto`: 30 days after it happened,
/// at most 10 minutes in the future).
pub const LIFECYCLE_KEPT: Duration = REQUESTS_KEPT;
/// That somebody was erased: longer than an event or an outcome from before may be read again.
pub const ERASED_KEPT: Duration = REQUESTS_KEPT;
/// An idempotency key: longer than an app repeats a registration.
pub const IDEMPOTENCY_KEPT: Duration = DAY;
/// A challenge or a ticket after its end: long enough to be told "expired" or "used" instead of "unknown".
pub const SINGLE_USE_KEPT: Duration = DAY;

/// Most rows of a table that one sweep removes: some milliseconds of work.
const ROWS_MAX: i64 = 1_000;

/// For each table the statement, `$1` the oldest moment that stays and `$2` [`ROWS_MAX`], and how long a row is kept.
const SWEEPS: [(&str, Duration); 13] = [
    ("DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE at < $1 ORDER BY at LIMIT $2) RETURNING 1", AUDIT_KEPT),
    (
        "DELETE FROM outbox WHERE id IN
            (SELECT id FROM outbox WHERE published_at IS NOT NULL AND published_at < $1 ORDER BY published_at LIMIT $2) RETURNING 1",
        OUTBOX_KEPT,
    ),
    (
        "DELETE FROM requests WHERE (workspace, type, event, user_id) IN
            (SELECT workspace, type, event, user_id FROM requests WHERE state <> 'open' AND ended_at < $1 ORDER BY ended_at LIMIT $2)
            RETURNING 1",
        REQUESTS_KEPT,
    ),
    ("DELETE FROM activity WHERE id IN (SELECT id FROM activity WHERE at < $1 ORDER BY at LIMIT $2) RETURNING 1", ACTIVITY_KEPT),
    (
        "DELETE FROM seen_marks WHERE (workspace, user_id, type, event, device) IN
            (SELECT workspace, user_id, type, event, device FROM seen_marks WHERE seen_at < $1 ORDER BY seen_at LIMIT $2) RETURNING 1",
        SEEN_KEPT,
    ),
    ("DELETE FROM notices WHERE seq IN (SELECT seq FROM notices WHERE at < $1 ORDER BY at LIMIT $2) RETURNING 1", NOTICES_KEPT),
    (
        "DELETE FROM idempotency_keys WHERE (workspace, user_id, key) IN
            (SELECT workspace, user_id, key FROM idempotency_keys WHERE created_at < $1 ORDER BY created_at LIMIT $2) RETURNING 1",
        IDEMPOTENCY_KEPT,
    ),
    (
        "DELETE FROM challenges WHERE hash IN (SELECT hash FROM challenges WHERE expires_at < $1 ORDER BY expires_at LIMIT $2) RETURNING 1",
        SINGLE_USE_KEPT,
    ),
    (
        "DELETE FROM tickets WHERE hash IN (SELECT hash FROM tickets WHERE expires_at < $1 ORDER BY expires_at LIMIT $2) RETURNING 1",
        SINGLE_USE_KEPT,
    ),
    (
        "DELETE FROM used_proofs WHERE (key_thumbprint, jti) IN
            (SELECT key_thumbprint, jti FROM used_proofs WHERE until < $1 ORDER BY until LIMIT $2) RETURNING 1",
        // Its own time is over: nobody can show it again.
        Duration::ZERO,
    ),
    (
        "DELETE FROM lifecycle WHERE (workspace, id, what, user_id) IN
            (SELECT workspace, id, what, user_id FROM lifecycle WHERE begun_at < $1 ORDER BY begun_at LIMIT $2) RETURNING 1",
        LIFECYCLE_KEPT,
    ),
    (
        "DELETE FROM erased_people WHERE (workspace, user_id) IN
            (SELECT workspace, user_id FROM erased_people WHERE erased_at < $1 ORDER BY erased_at LIMIT $2) RETURNING 1",
        ERASED_KEPT,
    ),
    (
        "DELETE FROM self_tests WHERE (workspace, user_id, id) IN
            (SELECT workspace, user_id, id FROM self_tests WHERE at < $1 ORDER BY at LIMIT $2) RETURNING 1",
        ACTIVITY_KEPT,
    ),
];

impl Admin {
    /// Removes what is older than it is kept for. Returns how many rows went; ask again soon if there were any.
    pub async fn sweep(&self, now: Timestamp) -> Result<usize, Unavailable> {
        let mut removed = 0;
        for (sql, kept) in SWEEPS {
            let swept = self.inner.store.database.sweep(sql.into(), now.minus(kept)).await;
            removed += swept.map_err(|error| unavailable(&error))?;
        }
        Ok(removed)
    }

    /// Erases everything about a person but ids: those in the audit trail; their version, by which caches know that what they hold is
    /// old; and, for [`REQUESTS_KEPT`], those of requests, so that an event which is read again asks nobody anew. What awaits their answer
    /// is cancelled first: upstream hears the end of it. For [`ERASED_KEPT`] it is remembered that they were erased, so that what Kafka holds
    /// from before brings nothing back.
    pub async fn erase(&self, person: &Person, actor: &Actor, at: Timestamp) -> Result<Announced, Unavailable> {
        let erased = again_if_raced(|| self.try_erase(person, actor, at)).await;
        let touched = erased.map_err(|error| unavailable(&error))?;
        if let Some(redis) = &self.inner.redis {
            redis.forget_guard(person).await;
        }
        Ok(self.inner.announce(&touched).await)
    }

    async fn try_erase(&self, person: &Person, actor: &Actor, at: Timestamp) -> Result<Touched, sqlx::Error> {
        let mut work = self.inner.store.database.work().await?;
        work.raise_user(person).await?;
        work.cancel_all(person, at).await?;
        work.forget(person).await?;
        work.mark_erased(person, at).await?;
        let what = Audited::PersonErased { user: person.user.clone() };
        work.audit(&person.workspace, actor, at, what).await?;
        work.commit().await
    }
}

impl Database {
    async fn sweep(&self, sql: Sql, before: Timestamp) -> Result<usize, sqlx::Error> {
        let mut tx = self.begin().await?;
        let rows = tx.rows(sql, &[Arg::Int(before.as_millis()), Arg::Int(ROWS_MAX)]).await?;
        tx.commit().await?;
        Ok(rows.len())
    }
}

impl Work {
    /// What happened to the person until then is nobody's any more.
    async fn mark_erased(&mut self, person: &Person, at: Timestamp) -> Result<(), sqlx::Error> {
        const MARK: &str = "INSERT INTO erased_people (workspace, user_id, erased_at) VALUES ($1, $2, $3)
            ON CONFLICT (workspace, user_id) DO UPDATE SET erased_at = excluded.erased_at
            WHERE erased_people.erased_at < excluded.erased_at";
        let [workspace, user] = of(person);
        self.tx.execute(MARK.into(), &[workspace, user, Arg::Int(at.as_millis())]).await
    }

    /// Whether the person was erased at that moment or later.
    pub(super) async fn erased_since(&mut self, person: &Person, at: Timestamp) -> Result<bool, sqlx::Error> {
        const READ: &str = "SELECT 1 FROM erased_people WHERE workspace = $1 AND user_id = $2 AND erased_at >= $3";
        let [workspace, user] = of(person);
        Ok(!self.tx.rows(READ.into(), &[workspace, user, Arg::Int(at.as_millis())]).await?.is_empty())
    }

    async fn forget(&mut self, person: &Person) -> Result<(), sqlx::Error> {
        const FORGET: [&str; 14] = [
            "DELETE FROM user_preferences WHERE workspace = $1 AND user_id = $2",
            "DELETE FROM devices WHERE workspace = $1 AND user_id = $2",
            "DELETE FROM claimed_tokens WHERE workspace = $1 AND user_id = $2",
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
            "DELETE FROM notices WHERE workspace = $1 AND (user_id = $2 OR about_user = $2)",
            "DELETE FROM idempotency_keys WHERE workspace = $1 AND user_id = $2",
            "DELETE FROM self_tests WHERE workspace = $1 AND user_id = $2",
            "DELETE FROM known_roles WHERE workspace = $1 AND user_id = $2",
        ];
        for sql in FORGET {
            self.tx.execute(sql.into(), &of(person)).await?;
        }
        Ok(())
    }
}
