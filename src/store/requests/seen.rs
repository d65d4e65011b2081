//! What devices say they showed: for their people, and for whoever counts how long it takes from a provider to a screen.
//!
//! The point: a mark, its place in what happened lately and its record among the outcomes are one transaction, whatever the number of
//! notifications that a phone names at once. Told is only what was meant for that device: its delivery is known, or a request or a notice
//! of its person's. A phone may be faster than its provider's answer, so a mark of which nothing is known yet is kept, and told when its
//! delivery is noted; what was never sent is told nobody. (One that is written in the same instant as its delivery may see nothing of it,
//! and stay untold: a receipt is a best effort.) A device has [`MARKS_MAX`] marks in a day.
use serde_json::json;

use super::{Requests, of_person, unread};
use crate::delivery::JobId;
use crate::event::{DeviceId, EventId, IdError, NotificationType, Timestamp, UserId, WorkspaceId};
use crate::people::codec_outcome::{JobEnded, encode_seen};
use crate::people::{Activity, Happening, Person, Seen};
use crate::policy::Platform;
use crate::seam::{OutboxRecord, OutboxTopic, Unavailable};
use crate::store::database::{Arg, Row, Sql};
use crate::store::retention::DAY;
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

/// Most marks that a device may make within a day: several times what anybody is notified of.
pub const MARKS_MAX: usize = 1_000;

/// What came of a device's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marked {
    /// Marks that are told of now.
    pub told: usize,
    /// Notifications that were left out: the device made enough marks.
    pub too_many: usize,
}

impl Requests {
    /// A device's word that it showed these notifications. What it named before changes nothing.
    pub async fn seen(
        &self,
        person: &Person,
        device: &DeviceId,
        shown: &[(NotificationType, EventId)],
        at: Timestamp,
    ) -> Result<Marked, Unavailable> {
        let attempt = || self.try_seen(person, device, shown, at);
        let (marked, touched) = again_if_raced(attempt).await.map_err(unread)?;
        self.told(&touched);
        Ok(marked)
    }

    async fn try_seen(
        &self,
        person: &Person,
        device: &DeviceId,
        shown: &[(NotificationType, EventId)],
        at: Timestamp,
    ) -> Result<(Marked, Touched), sqlx::Error> {
        let mut work = self.inner.store.database.work().await?;
        work.keep_from_erasure([person]).await?;
        if !work.has_device(person, device).await? {
            return Ok((Marked::default(), Touched::default()));
        }
        let room = MARKS_MAX.saturating_sub(work.marks_of(person, device, at).await?);
        let marked = Marked { told: 0, too_many: shown.len().saturating_sub(room) };
        let shown = &shown[..shown.len().min(room)];
        if shown.is_empty() {
            return Ok((marked, Touched::default()));
        }
        let known = work.mark(person, device, shown, at).await?;
        work.tell_seen(&known, at).await?;
        Ok((Marked { told: known.len(), ..marked }, work.commit().await?))
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

/// What is about a notification in a list `s` of types and events, for `$1` and `$2` the person and `$3` the device.
macro_rules! mark {
    ($list:literal) => {
        concat!(
            "INSERT INTO seen_marks (workspace, user_id, device, seen_at, type, event, told)
            SELECT $1, $2, $3, $4, s.type, s.event, CASE
                WHEN EXISTS (SELECT 1 FROM activity a WHERE a.workspace = $1 AND a.user_id = $2 AND a.type = s.type
                    AND a.event = s.event AND a.device = $3 AND a.what = 'delivered') THEN 1
                WHEN EXISTS (SELECT 1 FROM requests r
                    WHERE r.workspace = $1 AND r.user_id = $2 AND r.type = s.type AND r.event = s.event) THEN 1
                WHEN EXISTS (SELECT 1 FROM notices n WHERE n.workspace = $1 AND n.user_id = $2 AND n.id = s.event) THEN 1
                ELSE 0 END FROM (", $list, ") AS s WHERE true
            ON CONFLICT (workspace, user_id, type, event, device) DO UPDATE SET told = 1
                WHERE seen_marks.told = 0 AND excluded.told = 1
            RETURNING type, event, seen_at, told"
        )
    };
}

impl Work {
    /// Whether the person has the device, in use or retired. Whoever was erased since their phone was let in has none.
    async fn has_device(&mut self, person: &Person, device: &DeviceId) -> Result<bool, sqlx::Error> {
        const READ: &str = "SELECT 1 FROM enrolments WHERE workspace = $1 AND user_id = $2 AND id = $3";
        let [workspace, user] = of_person(person);
        Ok(!self.tx.rows(READ.into(), &[workspace, user, Arg::Text(device.as_str())]).await?.is_empty())
    }

    /// How many marks a device made lately; [`MARKS_MAX`] at most.
    async fn marks_of(&mut self, person: &Person, device: &DeviceId, now: Timestamp) -> Result<usize, sqlx::Error> {
        const COUNT: &str = "SELECT count(*) FROM (SELECT 1 FROM seen_marks
            WHERE workspace = $1 AND user_id = $2 AND device = $3 AND seen_at > $4 LIMIT $5) AS counted";
        let [workspace, user] = of_person(person);
        let since = Arg::Int(now.minus(DAY).as_millis());
        let args = [workspace, user, Arg::Text(device.as_str()), since, Arg::Int(MARKS_MAX as i64)];
        let rows = self.tx.rows(COUNT.into(), &args).await?;
        Ok(usize::try_from(rows.first().map_or(Ok(0), |row| row.int(0))?).unwrap_or(MARKS_MAX))
    }

    /// Marks them, all in one statement. Returns those that are to be told of, and were not before.
    async fn mark(
        &mut self,
        person: &Person,
        device: &DeviceId,
        shown: &[(NotificationType, EventId)],
        at: Timestamp,
    ) -> Result<Vec<Seen>, sqlx::Error> {
        const MARK: Sql = Sql {
            postgres: mark!(
                "SELECT DISTINCT value->>0 AS type, value->>1 AS event FROM json_array_elements($5::text::json)"
            ),
            sqlite: mark!(
                "SELECT DISTINCT json_extract(value, '$[0]') AS type, json_extract(value, '$[1]') AS event FROM json_each($5)"
            ),
        };
        let list: Vec<_> = shown.iter().map(|(kind, event)| json!([kind.name(), event.as_str()])).collect();
        let list = serde_json::Value::from(list).to_string();
        let [workspace, user] = of_person(person);
        let args = [workspace, user, Arg::Text(device.as_str()), Arg::Int(at.as_millis()), Arg::Text(&list)];
        let rows = self.tx.rows(MARK, &args).await?;
        let mut known = Vec::with_capacity(rows.len());
        for row in &rows {
            if row.int(3)? == 0 {
                continue;
            }
            let event = EventId::new(row.text(1)?).map_err(bad_id)?;
            let (kind, at) = (kind(row.text(0)?)?, Timestamp(row.int(2)?));
            known.push(Seen { person: person.clone(), kind, event, device: device.clone(), at });
        }
        Ok(known)
    }

    /// Tells of what devices showed before their deliveries were noted, which they are now.
    pub(super) async fn tell_delivered(&mut self, noted: &[JobEnded], now: Timestamp) -> Result<(), sqlx::Error> {
        const TELL: Sql = Sql {
            postgres: "UPDATE seen_marks SET told = 1 WHERE told = 0 AND (workspace, user_id, type, event, device) IN
                (SELECT value->>0, value->>1, value->>2, value->>3, value->>4 FROM json_array_elements($1::text::json))
                RETURNING workspace, user_id, type, event, device, seen_at",
            sqlite: "UPDATE seen_marks SET told = 1 WHERE told = 0 AND (workspace, user_id, type, event, device) IN
                (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
                    json_extract(value, '$[3]'), json_extract(value, '$[4]') FROM json_each($1))
                RETURNING workspace, user_id, type, event, device, seen_at",
        };
        let delivered =
            noted.iter().map(|ended| &ended.activity).filter(|activity| activity.what == Happening::Delivered);
        let list = delivered.filter_map(|activity| {
            let Person { workspace, user } = &activity.person;
            let (kind, event, device) = (activity.kind.name(), activity.event.as_str(), activity.device.as_ref()?);
            Some(json!([workspace.as_str(), user.as_str(), kind, event, device.as_str()]))
        });
        let list: Vec<_> = list.collect();
        if list.is_empty() {
            return Ok(());
        }
        let list = serde_json::Value::from(list).to_string();
        let rows = self.tx.rows(TELL, &[Arg::Text(&list)]).await?;
        let seen: Result<Vec<_>, sqlx::Error> = rows.iter().map(row_of_mark).collect();
        self.tell_seen(&seen?, now).await
    }

    /// Puts them into what happened lately and among the outcomes.
    async fn tell_seen(&mut self, seen: &[Seen], now: Timestamp) -> Result<(), sqlx::Error> {
        let Some(first) = seen.first() else { return Ok(()) };
        // Marks of one person are asked for at once; several come only from outcomes, and those of notices are not among them.
        let notices = self.notices_among(&first.person, seen).await?;
        for seen in seen {
            self.add_activity(&Activity {
                person: seen.person.clone(),
                at: seen.at,
                what: Happening::Seen,
                kind: seen.kind,
                event: seen.event.clone(),
                device: Some(seen.device.clone()),
                reason: String::new(),
            })
            .await?;
            let job = if notices.contains(&seen.event) { JobId::notice } else { JobId::show };
            let (workspace, user) = (seen.person.workspace.as_str(), seen.person.user.as_str());
            let job = job(workspace, seen.kind, seen.event.as_str(), user, seen.device.as_str());
            let record = OutboxRecord {
                topic: OutboxTopic::Outcomes,
                key: Some(user.into()),
                payload: encode_seen(seen, job.as_bytes()),
                headers: Vec::new(),
            };
            self.tell(&record, now).await?;
        }
        Ok(())
    }

    /// Which of these are notices of Watchbell itself: their jobs are named otherwise.
    async fn notices_among(&mut self, person: &Person, shown: &[Seen]) -> Result<Vec<EventId>, sqlx::Error> {
        const READ: Sql = Sql {
            postgres: "SELECT id FROM notices WHERE workspace = $1 AND user_id = $2
                AND id IN (SELECT json_array_elements_text($3::text::json))",
            sqlite: "SELECT id FROM notices WHERE workspace = $1 AND user_id = $2 AND id IN (SELECT value FROM json_each($3))",
        };
        let ids: Vec<_> = shown.iter().map(|seen| seen.event.as_str()).collect();
        let ids = serde_json::Value::from(ids).to_string();
        let [workspace, user] = of_person(person);
        let rows = self.tx.rows(READ, &[workspace, user, Arg::Text(&ids)]).await?;
        rows.iter().map(|row| EventId::new(row.text(0)?).map_err(bad_id)).collect()
    }
}

fn bad_id(error: IdError) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

fn row_of_mark(row: &Row) -> Result<Seen, sqlx::Error> {
    let workspace = WorkspaceId::new(row.text(0)?).map_err(bad_id)?;
    let user = UserId::new(row.text(1)?).map_err(bad_id)?;
    Ok(Seen {
        person: Person { workspace, user },
        kind: kind(row.text(2)?)?,
        event: EventId::new(row.text(3)?).map_err(bad_id)?,
        device: DeviceId::new(row.text(4)?).map_err(bad_id)?,
        at: Timestamp(row.int(5)?),
    })
}
