//! Who is told what concerns a workspace: those who administer it.
use super::super::database::{Arg, Sql};
use crate::delivery::Notice;
use crate::event::UserId;
use crate::people::{ALERTED_MAX, ALERTED_SEEN_WITHIN, News};
use crate::store::telemetry;
use crate::store::work::Work;

impl Work {
    /// Tells those who are known as owner, super admin or admin of the workspace and were here within [`ALERTED_SEEN_WITHIN`]: who was here
    /// last first, [`ALERTED_MAX`] at most, and not the one whom it is about, who knows. Returns how many are told.
    pub(in crate::store) async fn tell_admins(
        &mut self,
        about: Option<&UserId>,
        notice: &Notice,
        news: &News,
    ) -> Result<u32, sqlx::Error> {
        // Held against an erasure of one of them, not against a sign-in, which changes the row and keeps it.
        const ADMINS: Sql = Sql {
            postgres: "SELECT user_id FROM known_roles
                WHERE workspace = $1 AND role IN ('owner', 'super_admin', 'admin') AND user_id <> $2 AND seen_at >= $3
                ORDER BY seen_at DESC, user_id LIMIT $4 FOR KEY SHARE",
            sqlite: "SELECT user_id FROM known_roles
                WHERE workspace = $1 AND role IN ('owner', 'super_admin', 'admin') AND user_id <> $2 AND seen_at >= $3
                ORDER BY seen_at DESC, user_id LIMIT $4",
        };
        let (workspace, about) = (Arg::Text(notice.workspace.as_str()), Arg::Text(about.map_or("", UserId::as_str)));
        let oldest = Arg::Int(notice.occurred_at.minus(ALERTED_SEEN_WITHIN).as_millis());
        let args = [workspace, about, oldest, Arg::Int(ALERTED_MAX as i64 + 1)];
        let rows = self.tx.rows(ADMINS, &args).await?;
        if rows.len() > ALERTED_MAX {
            telemetry::more_admins_than_alerted(ALERTED_MAX);
        }
        let admins = rows.iter().take(ALERTED_MAX).map(|row| {
            let id = UserId::new(row.text(0)?);
            id.map_err(|error| sqlx::Error::Decode(Box::new(error)))
        });
        let admins: Vec<UserId> = admins.collect::<Result<_, _>>()?;
        for admin in &admins {
            self.put_notice(admin, notice, news).await?;
        }
        for (user, device) in self.living(&notice.workspace, &admins.iter().collect::<Vec<_>>()).await? {
            self.tell_device(notice, &user, &device).await?;
        }
        Ok(u32::try_from(admins.len()).unwrap_or(u32::MAX))
    }
}
