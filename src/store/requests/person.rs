//! What a person sees: what awaits their answer, one request, their last 30 days.
use std::collections::HashMap;

use super::{Requests, of, of_person, row, unread};
use crate::event::{DeviceId, EventId, Timestamp};
use crate::people::{Activity, Cursor, Happening, PAGE_MAX, Page, PendingCursor, Person, Request, RequestId};
use crate::seam::Unavailable;
use crate::store::database::{Arg, Row};
use crate::store::retention::ACTIVITY_KEPT;
use crate::store::settings::{kind, unknown};

impl Requests {
    /// What awaits the person's answer at that moment, newest first; at most `limit` requests and [`PAGE_MAX`], those before `before`.
    pub async fn pending(
        &self,
        person: &Person,
        before: Option<&PendingCursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<Request, PendingCursor>, Unavailable> {
        const READ: &str = "SELECT state, ended_at, closed_reason, verb, decision_id, device, jws, key_thumbprint,
                type, event, detail, number_required, occurred_at, expires_at, NULL AS device_name
            FROM requests WHERE workspace = $1 AND user_id = $2 AND state = 'open' AND expires_at > $3
                AND (occurred_at, type, event) < ($4, $5, $6)
            ORDER BY occurred_at DESC, type DESC, event DESC LIMIT $7";
        let limit = limit.clamp(1, PAGE_MAX);
        let (at, kind, event) = before
            .map_or((i64::MAX, "", ""), |before| (before.at.as_millis(), before.kind.name(), before.event.as_str()));
        let [workspace, user] = of_person(person);
        let (now, limit_and_one) = (Arg::Int(now.as_millis()), Arg::Int(limit as i64 + 1));
        let args = [workspace, user, now, Arg::Int(at), Arg::Text(kind), Arg::Text(event), limit_and_one];
        let rows = self.inner.store.database.rows(READ.into(), &args).await.map_err(unread)?;
        let read = rows.iter().map(|row| {
            let request = request(person, row)?;
            let (kind, event) = (request.id.kind, request.id.event.clone());
            Ok((PendingCursor { at: request.occurred_at, kind, event }, request))
        });
        Ok(Page::of(read.collect::<Result<_, sqlx::Error>>().map_err(unread)?, limit))
    }

    /// Every request that is kept of the person, open or not, without their devices' names, in the order of type and event, those after `after`; a page of them.
    pub async fn kept(&self, person: &Person, after: Option<&RequestId>) -> Result<Vec<Request>, Unavailable> {
        const READ: &str = "SELECT state, ended_at, closed_reason, verb, decision_id, device, jws, key_thumbprint,
                type, event, detail, number_required, occurred_at, expires_at, NULL AS device_name
            FROM requests WHERE workspace = $1 AND user_id = $2 AND (type, event) > ($3, $4) ORDER BY type, event LIMIT $5";
        let [workspace, user] = of_person(person);
        let (kind, event) = after.map_or(("", ""), |id| (id.kind.name(), id.event.as_str()));
        let args = [workspace, user, Arg::Text(kind), Arg::Text(event), Arg::Int(PAGE_MAX as i64)];
        let rows = self.inner.store.database.rows(READ.into(), &args).await.map_err(unread)?;
        rows.iter().map(|row| request(person, row)).collect::<Result<_, _>>().map_err(unread)
    }

    /// One request, open or not; `None` if it has not come yet.
    pub async fn request(&self, id: &RequestId) -> Result<Option<Request>, Unavailable> {
        const READ: &str = "SELECT state, ended_at, closed_reason, verb, decision_id, device, jws, key_thumbprint,
                type, event, detail, number_required, occurred_at, expires_at,
                (SELECT CASE WHEN e.name <> '' THEN e.name ELSE e.model END FROM enrolments e
                    WHERE e.workspace = $1 AND e.user_id = $4 AND e.id = requests.device)
            FROM requests WHERE workspace = $1 AND type = $2 AND event = $3 AND user_id = $4";
        let rows = self.inner.store.database.rows(READ.into(), &of(id)).await.map_err(unread)?;
        rows.first().map(|row| request(&id.person, row)).transpose().map_err(unread)
    }

    /// The person's last 30 days as of `now`, newest first; at most `limit` items and [`PAGE_MAX`], those before `before`.
    pub async fn last_days(
        &self,
        person: &Person,
        before: Option<Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<Activity>, Unavailable> {
        self.happened_since(person, now.minus(ACTIVITY_KEPT), before, limit).await
    }

    /// Everything of it that is kept: more, where what is older was not removed yet.
    pub async fn recent(
        &self,
        person: &Person,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Activity>, Unavailable> {
        self.happened_since(person, Timestamp(i64::MIN), before, limit).await
    }

    async fn happened_since(
        &self,
        person: &Person,
        since: Timestamp,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Activity>, Unavailable> {
        const READ: &str = "SELECT at, id, what, type, event, device, reason FROM activity
            WHERE workspace = $1 AND user_id = $2 AND (at, id) < ($3, $4) AND at >= $5 ORDER BY at DESC, id DESC LIMIT $6";
        let limit = limit.clamp(1, PAGE_MAX);
        let before = before.unwrap_or(Cursor { at: i64::MAX, number: i64::MAX });
        let [workspace, user] = of_person(person);
        let (at, number, since) = (Arg::Int(before.at), Arg::Int(before.number), Arg::Int(since.as_millis()));
        let args = [workspace, user, at, number, since, Arg::Int(limit as i64 + 1)];
        let rows = self.inner.store.database.rows(READ.into(), &args).await.map_err(unread)?;
        let read: Result<Vec<_>, sqlx::Error> = rows
            .iter()
            .map(|row| Ok((Cursor { at: row.int(0)?, number: row.int(1)? }, activity(person, row)?)))
            .collect();
        Ok(Page::of(read.map_err(unread)?, limit))
    }

    /// What a person knows their devices by: the name they gave each, or else its model. Those that are retired too, as long as they are kept;
    /// what has neither is left out.
    pub async fn device_names(&self, person: &Person) -> Result<HashMap<DeviceId, String>, Unavailable> {
        const READ: &str = "SELECT id, CASE WHEN name <> '' THEN name ELSE model END FROM enrolments
            WHERE workspace = $1 AND user_id = $2 AND (name <> '' OR model <> '')";
        let rows = self.inner.store.database.rows(READ.into(), &of_person(person)).await.map_err(unread)?;
        let named = |row: &Row| {
            let id = DeviceId::new(row.text(0)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            Ok((id, row.text(1)?.to_owned()))
        };
        rows.iter().map(named).collect::<Result<_, _>>().map_err(unread)
    }

    /// Adds what happened to people's last 30 days; what is there already stays as it was.
    pub async fn note(&self, happened: &[Activity]) -> Result<(), Unavailable> {
        let noted = async {
            let mut work = self.inner.store.database.work().await?;
            work.keep_from_erasure(happened.iter().map(|activity| &activity.person)).await?;
            for activity in happened {
                work.happened(activity).await?;
            }
            work.commit().await.map(drop)
        };
        noted.await.map_err(unread)
    }
}

fn request(person: &Person, row: &Row) -> Result<Request, sqlx::Error> {
    let event = EventId::new(row.text(9)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Request {
        id: RequestId { person: person.clone(), kind: kind(row.text(8)?)?, event },
        detail: serde_json::from_str(row.text(10)?).map_err(|error| sqlx::Error::Decode(error.into()))?,
        number_required: row.int(11)? != 0,
        occurred_at: Timestamp(row.int(12)?),
        expires_at: Timestamp(row.int(13)?),
        ending: row::ending(row)?,
        device_name: row.text_or_empty(14)?.to_owned(),
    })
}

/// Reads at, id, what, type, event, device, reason.
pub(super) fn activity(person: &Person, row: &Row) -> Result<Activity, sqlx::Error> {
    let bad_id = |error: crate::event::IdError| sqlx::Error::Decode(Box::new(error));
    let (what, device) = (row.text(2)?, row.text(5)?);
    Ok(Activity {
        person: person.clone(),
        at: Timestamp(row.int(0)?),
        what: Happening::from_name(what).ok_or_else(|| unknown("happening", what))?,
        kind: kind(row.text(3)?)?,
        event: EventId::new(row.text(4)?).map_err(bad_id)?,
        device: if device.is_empty() { None } else { Some(DeviceId::new(device).map_err(bad_id)?) },
        reason: row.text(6)?.to_owned(),
    })
}
