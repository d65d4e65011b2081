//! What is remembered of people who sign in: their role as of their last sign-in, for what depends on the role of somebody who is not
//! there; and from when on their sessions count.
//!
//! The point: a token is believed as it stands, so whoever revokes somebody's sessions has to be remembered for as long as a token may live.
//! Both are read together, with every call, by their keys. It fails by [`Unavailable`].
use super::admin::Admin;
use super::database::{Arg, Row, Sql};
use super::error::unavailable;
use super::preferences::of;
use super::settings::unknown;
use super::work::Work;
use crate::event::{Timestamp, UserId, WorkspaceId};
use crate::people::{Person, Role};
use crate::seam::Unavailable;

/// What is remembered of somebody in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remembered {
    /// Their role, and the sign-in that told it.
    pub role: Option<(Role, Timestamp)>,
    /// Tokens that were issued before do not count; a whole second.
    pub not_before: Option<Timestamp>,
}

impl Admin {
    /// What is remembered of somebody in each of these workspaces, in their order.
    pub async fn remembered(&self, user: &UserId, workspaces: &[&WorkspaceId]) -> Result<Vec<Remembered>, Unavailable> {
        const READ: Sql = Sql {
            postgres: "SELECT workspace, role, seen_at FROM known_roles
                    WHERE user_id = $1 AND workspace IN (SELECT json_array_elements_text($2::text::json))
                UNION ALL SELECT workspace, NULL, not_before FROM ended_sessions
                    WHERE user_id IN ($1, '') AND workspace IN (SELECT json_array_elements_text($2::text::json))",
            sqlite: "SELECT workspace, role, seen_at FROM known_roles
                    WHERE user_id = $1 AND workspace IN (SELECT value FROM json_each($2))
                UNION ALL SELECT workspace, NULL, not_before FROM ended_sessions
                    WHERE user_id IN ($1, '') AND workspace IN (SELECT value FROM json_each($2))",
        };
        let names: Vec<&str> = workspaces.iter().map(|workspace| workspace.as_str()).collect();
        let names = serde_json::to_string(&names).map_err(|error| unavailable(&sqlx::Error::Encode(error.into())))?;
        let rows = self.inner.store.database.rows(READ, &[Arg::Text(user.as_str()), Arg::Text(&names)]).await;
        let read = rows.and_then(|rows| {
            let mut all = vec![Remembered::default(); workspaces.len()];
            for row in &rows {
                let name = row.text(0)?;
                if let Some(place) = workspaces.iter().position(|workspace| workspace.as_str() == name) {
                    all[place].add(row)?;
                }
            }
            Ok(all)
        });
        read.map_err(|error| unavailable(&error))
    }

    /// Remembers a person's role; a later sign-in wins, whatever order the two arrive in, and one that was ended says nothing.
    pub async fn note_role(&self, person: &Person, role: Role, at: Timestamp) -> Result<(), Unavailable> {
        const NOTE: &str =
            "INSERT INTO known_roles (workspace, user_id, role, seen_at) SELECT $1, $2, $3, $4 WHERE NOT EXISTS
                (SELECT 1 FROM ended_sessions WHERE workspace = $1 AND user_id IN ($2, '') AND not_before > $4)
            ON CONFLICT (workspace, user_id) DO UPDATE SET role = excluded.role, seen_at = excluded.seen_at
            WHERE known_roles.seen_at <= excluded.seen_at";
        let [workspace, user] = of(person);
        let row = [workspace, user, Arg::Text(role.name()), Arg::Int(at.as_millis())];
        let written = async {
            let mut work = self.inner.store.database.work().await?;
            work.keep_from_erasure([person]).await?;
            work.tx.execute(NOTE.into(), &row).await?;
            work.commit().await
        };
        written.await.map(drop).map_err(|error| unavailable(&error))
    }

    /// A person's role as of their last sign-in; `None` for somebody who never signed in.
    pub async fn known_role(&self, person: &Person) -> Result<Option<Role>, Unavailable> {
        let rows = self.inner.store.database.rows(ROLE.into(), &of(person)).await;
        rows.and_then(|rows| rows.first().map(role).transpose()).map_err(|error| unavailable(&error))
    }
}

const ROLE: &str = "SELECT role FROM known_roles WHERE workspace = $1 AND user_id = $2";

fn role(row: &Row) -> Result<Role, sqlx::Error> {
    let name = row.text(0)?;
    Role::from_name(name).ok_or_else(|| unknown("role", name))
}

impl Remembered {
    /// Reads workspace, role or NULL, and the moment of either.
    fn add(&mut self, row: &Row) -> Result<(), sqlx::Error> {
        let at = Timestamp(row.int(2)?);
        match row.maybe_text(1)? {
            Some(name) => self.role = Some((Role::from_name(name).ok_or_else(|| unknown("role", name))?, at)),
            None => self.not_before = self.not_before.max(Some(at)),
        }
        Ok(())
    }
}

impl Work {
    /// A person's role as of their last sign-in; unknown counts as user.
    pub(super) async fn role_of(&mut self, person: &Person) -> Result<Role, sqlx::Error> {
        let rows = self.tx.rows(ROLE.into(), &of(person)).await?;
        rows.first().map_or(Ok(Role::User), role)
    }

    /// Ends a person's sessions, or everybody's in the workspace: tokens that were issued before that second do not count any more. Tokens
    /// tell whole seconds.
    pub(super) async fn end_sessions(
        &mut self,
        workspace: &WorkspaceId,
        user: Option<&UserId>,
        at: Timestamp,
    ) -> Result<(), sqlx::Error> {
        const END: &str = "INSERT INTO ended_sessions (workspace, user_id, not_before) VALUES ($1, $2, $3)
            ON CONFLICT (workspace, user_id) DO UPDATE SET not_before = excluded.not_before
            WHERE ended_sessions.not_before < excluded.not_before";
        let whom = Arg::Text(user.map_or("", UserId::as_str));
        let not_before = Arg::Int(second(at).as_millis());
        self.tx.execute(END.into(), &[Arg::Text(workspace.as_str()), whom, not_before]).await
    }
}

/// The whole second of that moment.
pub(super) const fn second(at: Timestamp) -> Timestamp {
    Timestamp::from_secs(at.as_secs())
}
