//! Somebody says that it was not them: written down once, told to their workspace's admins, to upstream, and to the fatigue guard.
//!
//! The point: whoever has a password, or a phone that may only receive, can make requests and disown them without end. So admins are alerted
//! of a person's requests once within the guard's window; what is disowned besides is counted and stands among the person's activity.
//! Each kind of notice has a window of its own, at most as many as there are kinds: nobody hides the owner's word about a phone that may
//! approve by disowning a request first, or a phone that may not.
//!
//! Deliberately not here: who is silenced by it. The worker's guard reads the same record as upstream.
use std::time::Duration;

use super::row::what;
use super::{Notices, notice};
use crate::event::{DeviceId, EventId, NotificationType, Timestamp};
use crate::people::codec::{Told, What, encode_decision};
use crate::people::{Actor, ActorRole, Audited, Disowned, News, Person, RequestId};
use crate::seam::{OutboxRecord, OutboxTopic, Unavailable};
use crate::store::database::{Arg, Sql};
use crate::store::error::unavailable;
use crate::store::preferences::of;
use crate::store::telemetry;
use crate::store::work::{Touched, Work, again_if_raced};

/// A person's word that it was not them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotMe {
    /// When they said so first.
    pub at: Timestamp,
    /// How many people were told who may help, of this or of another word of the same window: [`crate::people::ALERTED_MAX`] at most.
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
        const SAID: &str = "SELECT not_me_at, what FROM notices
            WHERE workspace = $1 AND user_id = $2 AND id = $3 AND about_user IS NULL";
        let [workspace, user] = of(person);
        let id = Arg::Text(notice.as_str());
        let mut work = self.inner.store.database.work().await?;
        work.hold_word(person).await?;
        let word = [workspace, user, id, Arg::Int(now.as_millis()), Arg::Text(device.as_str())];
        let rows = work.tx.rows(SAY.into(), &word).await?;
        let Some(row) = rows.first() else {
            let rows = work.tx.rows(SAID.into(), &[workspace, user, id]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            let (at, of) = (Timestamp(row.int(0)?), Disowned::Notice { what: what(row.text(1)?)?, id: notice.clone() });
            let alerted = work.alerted(person, &of, (at, self.alert_every)).await?;
            return Ok(Some((NotMe { at, alerted }, None)));
        };
        let of = Disowned::Notice { what: what(row.text(0)?)?, id: notice.clone() };
        let actor = Actor { id: person.user.clone(), role: ActorRole::Of(work.role_of(person).await?) };
        let told = Audited::NotMe { user: person.user.clone(), device: device.clone() };
        work.audit(&person.workspace, &actor, now, told).await?;
        let name = of.name();
        work.tell_upstream(person, device, &of, now).await?;
        let alerted = work.alert(person, device, of, (now, self.alert_every)).await?;
        Ok(Some((NotMe { at: now, alerted }, Some((name, work.commit().await?)))))
    }
}

impl Work {
    /// Keeps others from taking this person's word until this transaction ends. To be held before a request's row.
    pub(in crate::store) async fn hold_word(&mut self, person: &Person) -> Result<(), sqlx::Error> {
        const HOLD: Sql = Sql {
            postgres: "SELECT id FROM users WHERE workspace = $1 AND id = $2 FOR NO KEY UPDATE",
            // Its transactions that write are one after the other.
            sqlite: "SELECT id FROM users WHERE workspace = $1 AND id = $2",
        };
        self.tx.rows(HOLD, &of(person)).await.map(drop)
    }

    /// How many people were alerted about this person within the window around a moment, of a word about the same kind of thing.
    async fn alerted(
        &mut self,
        person: &Person,
        what: &Disowned,
        (at, every): (Timestamp, Duration),
    ) -> Result<u32, sqlx::Error> {
        const ALERTED: &str = "SELECT count(DISTINCT user_id) FROM notices
            WHERE workspace = $1 AND about_user = $2 AND at > $3 AND at < $4 AND disowned = $5";
        let [workspace, user] = of(person);
        let (from, to) = (Arg::Int(at.minus(every).as_millis()), Arg::Int(at.plus(every).as_millis()));
        let rows = self.tx.rows(ALERTED.into(), &[workspace, user, from, to, Arg::Text(what.name())]).await?;
        let count = rows.first().map_or(Ok(0), |row| row.int(0))?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Upstream hears that what a notice told was not the person, and so does the guard.
    async fn tell_upstream(
        &mut self,
        person: &Person,
        device: &DeviceId,
        disowned: &Disowned,
        at: Timestamp,
    ) -> Result<(), sqlx::Error> {
        let Disowned::Notice { what, id } = disowned else { return Ok(()) };
        // No request: what stands in its place names the notice.
        let notice = RequestId { person: person.clone(), kind: NotificationType::TrustedDevice, event: id.clone() };
        let (decision_id, what) = (uuid::Uuid::new_v4().to_string(), What::NotMe { notice: *what, device });
        let payload = encode_decision(&Told { request: &notice, id: &decision_id, at, what });
        let key = Some(person.user.as_str().as_bytes().to_vec());
        self.tell(&OutboxRecord { topic: OutboxTopic::Decisions, key, payload, headers: Vec::new() }, at).await?;
        Ok(())
    }

    /// Tells those who administer the workspace that somebody said it was not them. Where they were told of the like within the window, nobody
    /// is told again. Returns how many know.
    pub(in crate::store) async fn alert(
        &mut self,
        person: &Person,
        device: &DeviceId,
        of: Disowned,
        (at, every): (Timestamp, Duration),
    ) -> Result<u32, sqlx::Error> {
        let alerted = self.alerted(person, &of, (at, every)).await?;
        if alerted > 0 {
            return Ok(alerted);
        }
        let news = News::NotMe { user: Some(person.user.clone()), device: device.clone(), of };
        let notice = notice(&person.workspace, &news, at)?;
        self.tell_admins(Some(&person.user), &notice, &news).await
    }
}
