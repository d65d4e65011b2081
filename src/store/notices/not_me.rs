//! Somebody says that it was not them: written down once, and told to their workspace's admins once.
use super::row::what;
use super::{Notices, notice};
use crate::event::{DeviceId, EventId, Timestamp, UserId};
use crate::people::{ALERTED_MAX, Actor, ActorRole, Audited, Disowned, News, Person, Role};
use crate::seam::Unavailable;
use crate::store::database::Arg;
use crate::store::error::unavailable;
use crate::store::preferences::of;
use crate::store::settings::unknown;
use crate::store::telemetry;
use crate::store::work::{Touched, Work, again_if_raced};

/// A person's word that it was not them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotMe {
    /// When they said so first.
    pub at: Timestamp,
    /// How many people were told who may help: [`ALERTED_MAX`] at most.
    pub alerted: u32,
}

impl Notices {
    /// Takes the word of a person, by a device of theirs, that what a notice told them was not them. `None` if they were told no such thing.
    /// The second time changes nothing and gets the same answer, by whichever device.
    pub async fn disown(
        &self,
        person: &Person,
        device: &DeviceId,
        notice: &EventId,
        now: Timestamp,
    ) -> Result<Option<NotMe>, Unavailable> {
        let tried = again_if_raced(|| self.try_disown(person, device, notice, now)).await;
        let Some((said, done)) = tried.map_err(|error| unavailable(&error))? else { return Ok(None) };
        if let Some((of, touched)) = done {
            self.inner.announce(&touched).await;
            telemetry::not_me(of, said.alerted);
        }
        Ok(Some(said))
    }

    async fn try_disown(
        &self,
        person: &Person,
        device: &DeviceId,
        notice: &EventId,
        now: Timestamp,
    ) -> Result<Option<(NotMe, Option<(&'static str, Touched)>)>, sqlx::Error> {
        const SAY: &str = "UPDATE notices SET not_me_at = $4, not_me_by = $5
            WHERE workspace = $1 AND user_id = $2 AND id = $3 AND about_user IS NULL AND not_me_at IS NULL RETURNING what";
        const SAID: &str = "SELECT not_me_at, (SELECT count(*) FROM notices told
                WHERE told.workspace = n.workspace AND told.about_user = n.user_id AND told.event = n.id AND told.disowned = n.what)
            FROM notices n WHERE workspace = $1 AND user_id = $2 AND id = $3 AND about_user IS NULL";
        let [workspace, user] = of(person);
        let id = Arg::Text(notice.as_str());
        let mut work = self.inner.store.database.work().await?;
        let word = [workspace, user, id, Arg::Int(now.as_millis()), Arg::Text(device.as_str())];
        let rows = work.tx.rows(SAY.into(), &word).await?;
        let Some(row) = rows.first() else {
            let rows = work.tx.rows(SAID.into(), &[workspace, user, id]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            let said = NotMe { at: Timestamp(row.int(0)?), alerted: u32::try_from(row.int(1)?).unwrap_or(u32::MAX) };
            return Ok(Some((said, None)));
        };
        let of = Disowned::Notice { what: what(row.text(0)?)?, id: notice.clone() };
        let actor = Actor { id: person.user.clone(), role: ActorRole::Of(work.role_of(person).await?) };
        let told = Audited::NotMe { user: person.user.clone(), device: device.clone() };
        work.audit(&person.workspace, &actor, now, told).await?;
        let name = of.name();
        let alerted = work.alert(person, device, of, now).await?;
        Ok(Some((NotMe { at: now, alerted }, Some((name, work.commit().await?)))))
    }
}

impl Work {
    /// Tells those who are known as owner, super admin or admin of the workspace that somebody said it was not them: who was here last first,
    /// [`ALERTED_MAX`] at most, and not the person, who knows. Returns how many are told.
    pub(in crate::store) async fn alert(
        &mut self,
        person: &Person,
        device: &DeviceId,
        of: Disowned,
        at: Timestamp,
    ) -> Result<u32, sqlx::Error> {
        const ADMINS: &str = "SELECT user_id FROM known_roles
            WHERE workspace = $1 AND role IN ('owner', 'super_admin', 'admin') AND user_id <> $2 ORDER BY seen_at DESC, user_id LIMIT $3";
        let [workspace, user] = crate::store::preferences::of(person);
        let rows = self.tx.rows(ADMINS.into(), &[workspace, user, Arg::Int(ALERTED_MAX as i64 + 1)]).await?;
        if rows.len() > ALERTED_MAX {
            telemetry::more_admins_than_alerted(ALERTED_MAX);
        }
        let admins = rows.iter().take(ALERTED_MAX).map(|row| {
            let id = UserId::new(row.text(0)?);
            id.map_err(|error| sqlx::Error::Decode(Box::new(error)))
        });
        let admins: Vec<UserId> = admins.collect::<Result<_, _>>()?;
        let news = News::NotMe { user: person.user.clone(), device: device.clone(), of };
        let notice = notice(&person.workspace, &news, at)?;
        for admin in &admins {
            self.put_notice(admin, &notice, &news).await?;
        }
        for (user, device) in self.living(&person.workspace, &admins.iter().collect::<Vec<_>>()).await? {
            self.tell_device(&notice, &user, &device).await?;
        }
        Ok(u32::try_from(admins.len()).unwrap_or(u32::MAX))
    }

    /// A person's role as of their last sign-in; unknown counts as user.
    async fn role_of(&mut self, person: &Person) -> Result<Role, sqlx::Error> {
        const READ: &str = "SELECT role FROM known_roles WHERE workspace = $1 AND user_id = $2";
        let rows = self.tx.rows(READ.into(), &of(person)).await?;
        let Some(row) = rows.first() else { return Ok(Role::User) };
        let name = row.text(0)?;
        Role::from_name(name).ok_or_else(|| unknown("role", name))
    }
}
