//! The people of a workspace, as far as the store knows them, page by page; and what workspaces are called.
//!
//! The point: a page is read from the beginning of three indexes and costs the same in a workspace of a hundred thousand people as in one
//! of a hundred; a beginning of an id is a range of the same indexes. Known is who signed in, has a device, or chose something. It
//! deliberately counts nobody: [`super::Reach`] does. Fails by [`Unavailable`].
use std::collections::HashMap;

use super::admin::Admin;
use super::database::{Arg, Row, Sql};
use super::error::unavailable;
use super::settings::unknown;
use crate::event::{Timestamp, UserId, WorkspaceId};
use crate::people::{PAGE_MAX, Page, PersonCursor, Role};
use crate::seam::Unavailable;

/// Somebody of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPerson {
    /// Who.
    pub user: UserId,
    /// Their role, and the sign-in that told it; `None` if they never signed in.
    pub role: Option<(Role, Timestamp)>,
    /// Devices that are not retired.
    pub phones: u64,
    /// Those of them that may approve.
    pub approvers: u64,
    /// When an app of theirs reported last; `None` if none has somewhere for pushes to go.
    pub last_seen: Option<Timestamp>,
}

/// The ids of a page: `$2` is the id before it, or empty, `$3` how ids begin, `$4` what comes after all of these, `$5` how many.
macro_rules! page {
    ($order:literal) => {
        concat!(
            "SELECT user_id FROM (SELECT user_id FROM (SELECT user_id",
            $order,
            " AS user_id FROM known_roles
                WHERE workspace = $1 AND user_id",
            $order,
            " > $2 AND user_id",
            $order,
            " >= $3 AND user_id",
            $order,
            " < $4
                ORDER BY 1 LIMIT $5) AS signed_in
            UNION SELECT user_id FROM (SELECT DISTINCT user_id",
            $order,
            " AS user_id FROM enrolments
                WHERE workspace = $1 AND user_id",
            $order,
            " > $2 AND user_id",
            $order,
            " >= $3 AND user_id",
            $order,
            " < $4
                AND retired_at IS NULL ORDER BY 1 LIMIT $5) AS enrolled
            UNION SELECT user_id FROM (SELECT DISTINCT user_id",
            $order,
            " AS user_id FROM user_preferences
                WHERE workspace = $1 AND user_id",
            $order,
            " > $2 AND user_id",
            $order,
            " >= $3 AND user_id",
            $order,
            " < $4
                ORDER BY 1 LIMIT $5) AS chose) AS known ORDER BY user_id LIMIT $5"
        )
    };
}

/// Comes after every id that begins with what stands before it: ids are printable ASCII.
const AFTER_ALL: char = '\u{7f}';

impl Admin {
    /// People of a workspace in the order of their ids' bytes; at most `limit` and [`PAGE_MAX`], those after `after`, and only those whose
    /// ids begin with `starts_with`.
    pub async fn people(
        &self,
        workspace: &WorkspaceId,
        starts_with: &str,
        after: Option<&PersonCursor>,
        limit: usize,
    ) -> Result<Page<KnownPerson, PersonCursor>, Unavailable> {
        const IDS: Sql = Sql { postgres: page!(" COLLATE \"C\""), sqlite: page!("") };
        let (database, id) = (&self.inner.store.database, Arg::Text(workspace.as_str()));
        let limit = limit.clamp(1, PAGE_MAX);
        let end = format!("{starts_with}{AFTER_ALL}");
        let after = Arg::Text(after.map_or("", |after| after.user.as_str()));
        let args = [id, after, Arg::Text(starts_with), Arg::Text(&end), Arg::Int(limit as i64 + 1)];
        let read = async {
            let rows = database.rows(IDS, &args).await?;
            let user = |row: &Row| UserId::new(row.text(0)?).map_err(|error| sqlx::Error::Decode(Box::new(error)));
            let users = rows.iter().map(user).collect::<Result<Vec<_>, _>>()?;
            let mut known = self.known(workspace, &users).await?;
            let of = |user: UserId| {
                (PersonCursor { user: user.clone() }, known.remove(user.as_str()).unwrap_or_default().of(user))
            };
            Ok(Page::of(users.into_iter().map(of).collect(), limit))
        };
        read.await.map_err(|error: sqlx::Error| unavailable(&error))
    }

    /// What is known of these people: their roles, and their devices counted.
    async fn known(&self, workspace: &WorkspaceId, users: &[UserId]) -> Result<HashMap<String, Known>, sqlx::Error> {
        const KNOWN: Sql = Sql {
            postgres: "SELECT user_id, role, seen_at, 0::bigint, 0::bigint FROM known_roles
                    WHERE workspace = $1 AND user_id IN (SELECT json_array_elements_text($2::text::json))
                UNION ALL SELECT e.user_id, NULL, max(d.last_seen), count(*), count(*) FILTER (WHERE e.state = 'approver')
                    FROM enrolments e LEFT JOIN devices d ON d.workspace = e.workspace AND d.user_id = e.user_id AND d.id = e.id
                    WHERE e.workspace = $1 AND e.user_id IN (SELECT json_array_elements_text($2::text::json)) AND e.retired_at IS NULL
                    GROUP BY e.user_id",
            sqlite: "SELECT user_id, role, seen_at, 0, 0 FROM known_roles
                    WHERE workspace = $1 AND user_id IN (SELECT value FROM json_each($2))
                UNION ALL SELECT e.user_id, NULL, max(d.last_seen), count(*), count(*) FILTER (WHERE e.state = 'approver')
                    FROM enrolments e LEFT JOIN devices d ON d.workspace = e.workspace AND d.user_id = e.user_id AND d.id = e.id
                    WHERE e.workspace = $1 AND e.user_id IN (SELECT value FROM json_each($2)) AND e.retired_at IS NULL
                    GROUP BY e.user_id",
        };
        let names = serde_json::Value::from_iter(users.iter().map(UserId::as_str)).to_string();
        let args = [Arg::Text(workspace.as_str()), Arg::Text(&names)];
        let mut known: HashMap<String, Known> = HashMap::new();
        for row in &self.inner.store.database.rows(KNOWN, &args).await? {
            known.entry(row.text(0)?.to_owned()).or_default().learn(row)?;
        }
        Ok(known)
    }

    /// What these workspaces are called; those are left out that have no name.
    pub async fn display_names(&self, workspaces: &[&WorkspaceId]) -> Result<HashMap<String, String>, Unavailable> {
        const READ: Sql = Sql {
            postgres: "SELECT id, display_name FROM workspaces
                WHERE id IN (SELECT json_array_elements_text($1::text::json)) AND display_name <> ''",
            sqlite: "SELECT id, display_name FROM workspaces WHERE id IN (SELECT value FROM json_each($1)) AND display_name <> ''",
        };
        let names = serde_json::Value::from_iter(workspaces.iter().map(|workspace| workspace.as_str())).to_string();
        let rows = self.inner.store.database.rows(READ, &[Arg::Text(&names)]).await;
        let named = |row: &Row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned()));
        rows.and_then(|rows| rows.iter().map(named).collect()).map_err(|error| unavailable(&error))
    }
}

/// What is known of one person.
#[derive(Default)]
struct Known {
    role: Option<(Role, Timestamp)>,
    phones: u64,
    approvers: u64,
    last_seen: Option<Timestamp>,
}

impl Known {
    /// A role, or, without one, the person's devices.
    fn learn(&mut self, row: &Row) -> Result<(), sqlx::Error> {
        let at = row.maybe_int(2)?.map(Timestamp);
        if let Some(name) = row.maybe_text(1)? {
            let role = Role::from_name(name).ok_or_else(|| unknown("role", name))?;
            self.role = at.map(|at| (role, at));
        } else {
            let count = |column| row.int(column).map(|count| u64::try_from(count).unwrap_or_default());
            (self.phones, self.approvers, self.last_seen) = (count(3)?, count(4)?, at);
        }
        Ok(())
    }

    fn of(self, user: UserId) -> KnownPerson {
        let Self { role, phones, approvers, last_seen } = self;
        KnownPerson { user, role, phones, approvers, last_seen }
    }
}
