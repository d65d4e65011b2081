//! For how long the store keeps what it need not keep.
//!
//! The point: every table that grows has a bound in time, stated here; nothing is removed that somebody may still need. What is not named
//! here is kept until the person is erased: settings, people's versions, preferences, living enrolments and roles, of which each has a limit of
//! its own; and, also afterwards, the thumbprints of keys that were rolled, retired or erased, because such a key never counts again, be it
//! after years: some hundred bytes each, of a phone so many a day at most ([`crate::people::enrolment::ROLLS_A_DAY_MAX`]).
use std::time::Duration;

use super::admin::Admin;
use super::database::{Arg, Database, Sql};
use super::error::unavailable;
use crate::event::Timestamp;
use crate::people::RETIRED_KEY_LIFE;
use crate::seam::Unavailable;

pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

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
/// From when on somebody's sessions count: longer than a token from before may live (`auth.max_token_age_s`: 7 days at most).
pub const ENDED_SESSIONS_KEPT: Duration = Duration::from_secs(8 * 24 * 3600);
/// A device after it was retired: as long as anything is shown that names it. Then its name, model and key go, and the thumbprint stays.
pub const RETIRED_KEPT: Duration = REQUESTS_KEPT;
/// An idempotency key: longer than an app repeats a registration.
pub const IDEMPOTENCY_KEPT: Duration = DAY;
/// A challenge or a ticket after its end: long enough to be told "expired" or "used" instead of "unknown".
pub const SINGLE_USE_KEPT: Duration = DAY;

/// Most rows of a table that one sweep removes: some milliseconds of work.
const ROWS_MAX: i64 = 1_000;

/// For each table the statement, `$1` the oldest moment that stays and `$2` [`ROWS_MAX`], and how long a row is kept.
const SWEEPS: [(&str, Duration); 15] = [
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
    (
        "DELETE FROM ended_sessions WHERE (workspace, user_id) IN
            (SELECT workspace, user_id FROM ended_sessions WHERE not_before < $1 ORDER BY not_before LIMIT $2) RETURNING 1",
        ENDED_SESSIONS_KEPT,
    ),
    (
        // The thumbprint stays.
        "UPDATE erased_keys SET device = NULL, key_jwk = NULL, erasure = NULL WHERE (workspace, thumbprint) IN
            (SELECT workspace, thumbprint FROM erased_keys WHERE device IS NOT NULL AND erased_at < $1 ORDER BY erased_at LIMIT $2)
            RETURNING 1",
        RETIRED_KEY_LIFE,
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
        let retired = self.inner.store.database.sweep_retired(now.minus(RETIRED_KEPT)).await;
        Ok(removed + retired.map_err(|error| unavailable(&error))?)
    }
}

macro_rules! remember {
    ($held:literal) => {
        concat!(
            "INSERT INTO rolled_keys (workspace, user_id, device, thumbprint, rolled_at)
            SELECT workspace, user_id, id, key_thumbprint, retired_at FROM (SELECT * FROM enrolments
                WHERE retired_at < $1 AND key_thumbprint IS NOT NULL ORDER BY retired_at LIMIT $2",
            $held,
            ") AS retired WHERE true ON CONFLICT (workspace, thumbprint) DO NOTHING"
        )
    };
}

// One without a key, or whose key was remembered: what was retired meanwhile is not older.
macro_rules! remove {
    ($held:literal) => {
        concat!(
            "DELETE FROM enrolments WHERE (workspace, user_id, id) IN
            (SELECT e.workspace, e.user_id, e.id FROM enrolments e WHERE e.retired_at < $1 AND (e.key_thumbprint IS NULL OR EXISTS
                (SELECT 1 FROM rolled_keys r WHERE r.workspace = e.workspace AND r.thumbprint = e.key_thumbprint)) LIMIT $2",
            $held,
            ") RETURNING 1"
        )
    };
}

impl Database {
    /// Leaves of devices that were retired before then what their keys are known again by.
    async fn sweep_retired(&self, before: Timestamp) -> Result<usize, sqlx::Error> {
        // Each held until it is gone, so that an erasure finds the row or what is left of it; whoever holds one already has use for it.
        const REMEMBER: Sql = Sql { postgres: remember!(" FOR UPDATE SKIP LOCKED"), sqlite: remember!("") };
        const REMOVE: Sql = Sql { postgres: remove!(" FOR UPDATE OF e SKIP LOCKED"), sqlite: remove!("") };
        let mut tx = self.begin().await?;
        let args = [Arg::Int(before.as_millis()), Arg::Int(ROWS_MAX)];
        tx.execute(REMEMBER, &args).await?;
        let rows = tx.rows(REMOVE, &args).await?;
        tx.commit().await?;
        Ok(rows.len())
    }

    async fn sweep(&self, sql: Sql, before: Timestamp) -> Result<usize, sqlx::Error> {
        let mut tx = self.begin().await?;
        let rows = tx.rows(sql, &[Arg::Int(before.as_millis()), Arg::Int(ROWS_MAX)]).await?;
        tx.commit().await?;
        Ok(rows.len())
    }
}
