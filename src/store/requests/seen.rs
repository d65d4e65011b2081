//! What devices say they showed: for their people, and for whoever counts how long it takes from a provider to a screen.
//!
//! The point: a mark, its place in what happened lately and its record among the outcomes are one transaction, whatever the number of
//! notifications that a phone names at once. It deliberately asks of no mark whether its notification was ever sent: who says so is the
//! device that would know, and outcomes may be read later.
use serde_json::json;

use super::{Requests, of_person, unread};
use crate::delivery::JobId;
use crate::event::{DeviceId, EventId, NotificationType, Timestamp};
use crate::people::codec_outcome::encode_seen;
use crate::people::{Person, Seen};
use crate::policy::Platform;
use crate::seam::{OutboxRecord, OutboxTopic, Unavailable};
use crate::store::database::{Arg, Sql};
use crate::store::settings::{kind, unknown};
use crate::store::work::{Touched, Work, again_if_raced};

/// When a provider took what a device showed, and which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// When.
    pub at: Timestamp,
    /// Which; `None` if the device has no token any more.
    pub platform: Option<Platform>,
}

impl Requests {
    /// A device's word that it showed these notifications. Returns how many of them it had not named before.
    pub async fn seen(
        &self,
        person: &Person,
        device: &DeviceId,
        shown: &[(NotificationType, EventId)],
        at: Timestamp,
    ) -> Result<usize, Unavailable> {
        let (marked, touched) = again_if_raced(|| self.try_seen(person, device, shown, at)).await.map_err(unread)?;
        self.told(&touched);
        Ok(marked)
    }

    async fn try_seen(
        &self,
        person: &Person,
        device: &DeviceId,
        shown: &[(NotificationType, EventId)],
        at: Timestamp,
    ) -> Result<(usize, Touched), sqlx::Error> {
        let mut work = self.inner.store.database.work().await?;
        let new = work.mark(person, device, shown, at).await?;
        if new.is_empty() {
            return Ok((0, Touched::default()));
        }
        let notices = work.notices_among(person, &new).await?;
        for (kind, event) in &new {
            let seen = Seen { person: person.clone(), kind: *kind, event: event.clone(), device: device.clone(), at };
            let job = if notices.contains(event) { JobId::notice } else { JobId::show };
            let (workspace, user) = (person.workspace.as_str(), person.user.as_str());
            let job = job(workspace, *kind, event.as_str(), user, device.as_str());
            let record = OutboxRecord {
                topic: OutboxTopic::Outcomes,
                key: Some(user.into()),
                payload: encode_seen(&seen, job.as_bytes()),
                headers: Vec::new(),
            };
            work.tell(&record, at).await?;
        }
        Ok((new.len(), work.commit().await?))
    }

    /// When a provider took what that device showed; `None` while its outcome has not been noted here.
    pub async fn taken(&self, seen: &Seen) -> Result<Option<Taken>, Unavailable> {
        const READ: &str = "SELECT a.at, d.platform FROM activity a
                LEFT JOIN devices d ON d.workspace = a.workspace AND d.user_id = a.user_id AND d.id = a.device
            WHERE a.workspace = $1 AND a.user_id = $2 AND a.type = $3 AND a.event = $4 AND a.device = $5 AND a.what = 'delivered'";
        let [workspace, user] = of_person(&seen.person);
        let (event, device) = (Arg::Text(seen.event.as_str()), Arg::Text(seen.device.as_str()));
        let args = [workspace, user, Arg::Text(seen.kind.name()), event, device];
        let rows = self.inner.store.database.rows(READ.into(), &args).await.map_err(unread)?;
        let Some(row) = rows.first() else { return Ok(None) };
        let taken = || {
            let platform = row.maybe_text(1)?.map(|name| {
                let known = [Platform::Apns, Platform::Fcm].into_iter().find(|platform| platform.name() == name);
                known.ok_or_else(|| unknown("platform", name))
            });
            Ok(Taken { at: Timestamp(row.int(0)?), platform: platform.transpose()? })
        };
        taken().map(Some).map_err(unread)
    }
}

impl Work {
    /// Marks them, all in one statement, and puts them into what happened lately. Returns those that were new.
    async fn mark(
        &mut self,
        person: &Person,
        device: &DeviceId,
        shown: &[(NotificationType, EventId)],
        at: Timestamp,
    ) -> Result<Vec<(NotificationType, EventId)>, sqlx::Error> {
        const MARK: Sql = Sql {
            postgres: "INSERT INTO seen_marks (workspace, user_id, device, seen_at, type, event)
                SELECT $1, $2, $3, $4, value->>0, value->>1 FROM json_array_elements($5::text::json)
                ON CONFLICT DO NOTHING RETURNING type, event",
            sqlite: "INSERT INTO seen_marks (workspace, user_id, device, seen_at, type, event)
                SELECT $1, $2, $3, $4, json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each($5) WHERE true
                ON CONFLICT DO NOTHING RETURNING type, event",
        };
        const HAPPENED: Sql = Sql {
            postgres: "INSERT INTO activity (workspace, user_id, device, at, what, reason, type, event)
                SELECT $1, $2, $3, $4, 'seen', '', value->>0, value->>1 FROM json_array_elements($5::text::json)
                ON CONFLICT DO NOTHING",
            sqlite: "INSERT INTO activity (workspace, user_id, device, at, what, reason, type, event)
                SELECT $1, $2, $3, $4, 'seen', '', json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each($5)
                WHERE true ON CONFLICT DO NOTHING",
        };
        let list: Vec<_> = shown.iter().map(|(kind, event)| json!([kind.name(), event.as_str()])).collect();
        let list = serde_json::Value::from(list).to_string();
        let [workspace, user] = of_person(person);
        let device = Arg::Text(device.as_str());
        let args = [workspace, user, device, Arg::Int(at.as_millis()), Arg::Text(&list)];
        let rows = self.tx.rows(MARK, &args).await?;
        self.tx.execute(HAPPENED, &args).await?;
        let event = |id: &str| EventId::new(id).map_err(|error| sqlx::Error::Decode(Box::new(error)));
        rows.iter().map(|row| Ok((kind(row.text(0)?)?, event(row.text(1)?)?))).collect()
    }

    /// Which of these are notices of Watchbell itself: their jobs are named otherwise.
    async fn notices_among(
        &mut self,
        person: &Person,
        shown: &[(NotificationType, EventId)],
    ) -> Result<Vec<EventId>, sqlx::Error> {
        const READ: Sql = Sql {
            postgres: "SELECT id FROM notices WHERE workspace = $1 AND user_id = $2
                AND id IN (SELECT json_array_elements_text($3::text::json))",
            sqlite: "SELECT id FROM notices WHERE workspace = $1 AND user_id = $2 AND id IN (SELECT value FROM json_each($3))",
        };
        let ids: Vec<_> = shown.iter().map(|(_, event)| event.as_str()).collect();
        let ids = serde_json::Value::from(ids).to_string();
        let [workspace, user] = of_person(person);
        let rows = self.tx.rows(READ, &[workspace, user, Arg::Text(&ids)]).await?;
        let event = |id: &str| EventId::new(id).map_err(|error| sqlx::Error::Decode(Box::new(error)));
        rows.iter().map(|row| event(row.text(0)?)).collect()
    }
}
