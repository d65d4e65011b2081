//! What people are told about their devices: written with the change that it tells of, in one transaction.
//!
//! The point: the row that a phone reads and the jobs that bring it there are in the transaction of the change, so that nobody's phone is
//! set up in silence, whatever is killed when. A job goes to each of the person's devices that pushes have somewhere to go for; one that
//! was just retired has no such place any more, so whoever retired it brings it the news.
//!
//! It deliberately asks no policy and no preference: this is people's own security. It fails by [`Unavailable`].
mod admins;
mod erased;
mod not_me;
mod row;

pub use not_me::NotMe;
pub(super) use row::NOBODY;

use std::sync::Arc;
use std::time::Duration;

use self::row::{columns, entry};
use super::database::{Arg, Sql};
use super::error::unavailable;
use super::policy::Inner;
use super::preferences::of;
use super::retention::NOTICES_KEPT;
use super::work::Work;
use crate::delivery::Notice;
use crate::delivery::codec::encode_notice;
use crate::event::{DeviceId, EventId, Timestamp, UserId, WorkspaceId};
use crate::people::{Cursor, NOTICE_LIFE, News, NoticeEntry, PAGE_MAX, Page, Person};
use crate::seam::{OutboxRecord, OutboxTopic, Unavailable};

/// What people are told. Clones share everything.
#[derive(Clone)]
pub struct Notices {
    inner: Arc<Inner>,
    alert_every: Duration,
}

impl Notices {
    pub(super) fn new(inner: Arc<Inner>, alert_every: Duration) -> Self {
        Self { inner, alert_every }
    }

    /// What a person was told in the last 30 days, newest first; at most `limit` items and [`PAGE_MAX`], those before `before`. What they
    /// were told as one who administers the workspace comes `with_alerts` only.
    pub async fn list(
        &self,
        person: &Person,
        with_alerts: bool,
        before: Option<Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<NoticeEntry>, Unavailable> {
        const READ: &str =
            "SELECT n.seq, n.id, n.at, n.what, n.type, n.about_user, n.device, n.way, n.by_role, n.disowned, n.event,
                n.not_me_at, n.not_me_by, e.name, e.model
            FROM notices n LEFT JOIN enrolments e
                ON e.workspace = n.workspace AND e.user_id = n.user_id AND e.id = n.device AND n.about_user IS NULL
            WHERE n.workspace = $1 AND n.user_id = $2 AND n.seq < $3 AND n.at >= $4 AND (n.about_user IS NULL OR $6 = 1)
            ORDER BY n.seq DESC LIMIT $5";
        let limit = limit.clamp(1, PAGE_MAX);
        let before = Arg::Int(before.map_or(i64::MAX, |cursor| cursor.number));
        let [workspace, user] = of(person);
        let oldest = Arg::Int(now.minus(NOTICES_KEPT).as_millis());
        let args = [workspace, user, before, oldest, Arg::Int(limit as i64 + 1), Arg::Int(with_alerts.into())];
        let rows = self.inner.store.database.rows(READ.into(), &args).await.map_err(|error| unavailable(&error))?;
        let read: Result<Vec<_>, sqlx::Error> =
            rows.iter().map(|row| Ok((Cursor { at: 0, number: row.int(0)? }, entry(row)?))).collect();
        Ok(Page::of(read.map_err(|error| unavailable(&error))?, limit))
    }
}

/// What pushes say of it.
pub(super) fn notice(workspace: &WorkspaceId, news: &News, at: Timestamp) -> Result<Notice, sqlx::Error> {
    let id = EventId::new(uuid::Uuid::new_v4().to_string());
    Ok(Notice {
        workspace: workspace.clone(),
        kind: news.kind(),
        id: id.map_err(|error| sqlx::Error::Encode(Box::new(error)))?,
        what: news.what(),
        occurred_at: at,
        until: at.plus(NOTICE_LIFE),
    })
}

impl Work {
    /// Tells a person, by all of their devices but the one that it is about and the one `besides`. Returns what pushes say of it.
    pub(super) async fn notify(
        &mut self,
        person: &Person,
        news: &News,
        besides: Option<&DeviceId>,
        at: Timestamp,
    ) -> Result<Notice, sqlx::Error> {
        let notice = self.list_notice(person, news, at).await?;
        for (user, device) in self.living(&person.workspace, &[&person.user]).await? {
            if ![news.device(), besides].contains(&Some(&device)) {
                self.tell_device(&notice, &user, &device).await?;
            }
        }
        Ok(notice)
    }

    /// Puts a notice where its person reads it, and tells no device. Returns what pushes would say of it.
    pub(super) async fn list_notice(
        &mut self,
        person: &Person,
        news: &News,
        at: Timestamp,
    ) -> Result<Notice, sqlx::Error> {
        let notice = notice(&person.workspace, news, at)?;
        self.put_notice(&person.user, &notice, news).await?;
        Ok(notice)
    }

    /// The devices of these people that pushes have somewhere to go for.
    async fn living(
        &mut self,
        workspace: &WorkspaceId,
        users: &[&UserId],
    ) -> Result<Vec<(UserId, DeviceId)>, sqlx::Error> {
        const READ: Sql = Sql {
            postgres: "SELECT user_id, id FROM devices
                WHERE workspace = $1 AND user_id IN (SELECT json_array_elements_text($2::text::json)) ORDER BY user_id, id",
            sqlite: "SELECT user_id, id FROM devices
                WHERE workspace = $1 AND user_id IN (SELECT value FROM json_each($2)) ORDER BY user_id, id",
        };
        let users: Vec<&str> = users.iter().map(|user| user.as_str()).collect();
        let users = serde_json::to_string(&users).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let rows = self.tx.rows(READ, &[Arg::Text(workspace.as_str()), Arg::Text(&users)]).await?;
        let bad_id = |error: crate::event::IdError| sqlx::Error::Decode(Box::new(error));
        let device = |row: &super::database::Row| {
            Ok((UserId::new(row.text(0)?).map_err(bad_id)?, DeviceId::new(row.text(1)?).map_err(bad_id)?))
        };
        rows.iter().map(device).collect()
    }

    async fn put_notice(&mut self, user: &UserId, notice: &Notice, news: &News) -> Result<(), sqlx::Error> {
        const PUT: &str =
            "INSERT INTO notices (workspace, user_id, id, at, what, type, about_user, device, way, by_role, disowned, event)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        let told = [Arg::Text(notice.workspace.as_str()), Arg::Text(user.as_str()), Arg::Text(notice.id.as_str())];
        let what = [Arg::Text(notice.what.name()), Arg::Text(notice.kind.name())];
        let row = [&told[..], &[Arg::Int(notice.occurred_at.as_millis())], &what, &columns(news)].concat();
        self.tx.execute(PUT.into(), &row).await
    }

    async fn tell_device(&mut self, notice: &Notice, user: &UserId, device: &DeviceId) -> Result<(), sqlx::Error> {
        let mut payload = Vec::new();
        encode_notice(notice, user, device, &mut payload);
        let key = Some(user.as_str().as_bytes().to_vec());
        let record = OutboxRecord { topic: OutboxTopic::Jobs, key, payload, headers: Vec::new() };
        self.tell(&record, notice.occurred_at).await.map(drop)
    }
}
