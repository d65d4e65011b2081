//! People's roles as of their last sign-in: for what depends on the role of somebody who is not there.
use super::admin::Admin;
use super::database::Arg;
use super::error::unavailable;
use super::preferences::of;
use super::settings::unknown;
use crate::event::Timestamp;
use crate::people::{Person, Role};
use crate::seam::Unavailable;

impl Admin {
    /// Remembers a person's role; a later sign-in wins, whatever order the two arrive in.
    pub async fn note_role(&self, person: &Person, role: Role, at: Timestamp) -> Result<(), Unavailable> {
        const NOTE: &str = "INSERT INTO known_roles (workspace, user_id, role, seen_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (workspace, user_id) DO UPDATE SET role = excluded.role, seen_at = excluded.seen_at
            WHERE known_roles.seen_at <= excluded.seen_at";
        let [workspace, user] = of(person);
        let row = [workspace, user, Arg::Text(role.name()), Arg::Int(at.as_millis())];
        let written = async {
            let mut work = self.inner.store.database.work().await?;
            work.tx.execute(NOTE.into(), &row).await?;
            work.commit().await
        };
        written.await.map(drop).map_err(|error| unavailable(&error))
    }

    /// A person's role as of their last sign-in; `None` for somebody who never signed in.
    pub async fn known_role(&self, person: &Person) -> Result<Option<Role>, Unavailable> {
        const READ: &str = "SELECT role FROM known_roles WHERE workspace = $1 AND user_id = $2";
        let rows = self.inner.store.database.rows(READ.into(), &of(person)).await;
        let role = rows.and_then(|rows| {
            let Some(row) = rows.first() else { return Ok(None) };
            let name = row.text(0)?;
            Role::from_name(name).map(Some).ok_or_else(|| unknown("role", name))
        });
        role.map_err(|error| unavailable(&error))
    }
}
