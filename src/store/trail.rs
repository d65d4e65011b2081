//! The audit trail, read: whole, of one person, or of one action.
//!
//! The point: a page costs what it shows, however long the trail is: each way of reading it has an index that is in the trail's order. Only where a person and an action are asked for together all of that
//! person's entries may be looked through. It
//! deliberately writes nothing: entries come with what they tell of. Fails by [`Unavailable`].
use super::admin::Admin;
use super::database::Arg;
use super::error::unavailable;
use super::settings::entry;
use crate::event::{UserId, WorkspaceId};
use crate::people::{AuditEntry, Cursor, PAGE_MAX, Page};
use crate::seam::Unavailable;

/// Which entries are asked for; all of them by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Only {
    /// Those of what this person did, and of what was done to them.
    pub user: Option<UserId>,
    /// Those of this action, by its name.
    pub action: Option<&'static str>,
}

/// The columns of an entry.
macro_rules! entries {
    ($where:literal) => {
        concat!(
            "SELECT seq, id, workspace, at, actor, actor_role, action, type, from_value, to_value, target_user, target_device
            FROM audit WHERE workspace = $1 AND seq < $2 ",
            $where,
            " ORDER BY seq DESC LIMIT $3"
        )
    };
}

impl Admin {
    /// The audit trail, newest first; at most `limit` entries and [`PAGE_MAX`], those before `before`.
    pub async fn audit_trail(
        &self,
        workspace: &WorkspaceId,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<AuditEntry>, Unavailable> {
        self.audit_of(workspace, &Only::default(), before, limit).await
    }

    /// The same of some entries.
    pub async fn audit_of(
        &self,
        workspace: &WorkspaceId,
        only: &Only,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<AuditEntry>, Unavailable> {
        // An entry about oneself is found in both halves, and is one.
        const OF_PERSON: &str = concat!(
            "SELECT * FROM (SELECT * FROM (",
            entries!("AND actor = $4 AND ($5 = '' OR action = $5)"),
            ") AS did UNION SELECT * FROM (",
            entries!("AND target_user = $4 AND ($5 = '' OR action = $5)"),
            ") AS met) AS of_person ORDER BY seq DESC LIMIT $3"
        );
        let limit = limit.clamp(1, PAGE_MAX);
        let before = Arg::Int(before.map_or(i64::MAX, |cursor| cursor.number));
        let (workspace, more) = (Arg::Text(workspace.as_str()), Arg::Int(limit as i64 + 1));
        let database = &self.inner.store.database;
        let rows = match (&only.user, only.action) {
            (None, None) => database.rows(entries!("").into(), &[workspace, before, more]).await,
            (None, Some(action)) => {
                let args = [workspace, before, more, Arg::Text(action)];
                database.rows(entries!("AND action = $4").into(), &args).await
            }
            (Some(user), action) => {
                let (user, action) = (Arg::Text(user.as_str()), Arg::Text(action.unwrap_or_default()));
                database.rows(OF_PERSON.into(), &[workspace, before, more, user, action]).await
            }
        };
        let rows = rows.map_err(|error| unavailable(&error))?;
        let read: Result<Vec<_>, sqlx::Error> =
            rows.iter().map(|row| Ok((Cursor { at: 0, number: row.int(0)? }, entry(row)?))).collect();
        Ok(Page::of(read.map_err(|error| unavailable(&error))?, limit))
    }
}
