//! Requests that end without an answer: by their time, or because upstream says so.
use super::{Origin, Requests, closed, of, row, unread};
use crate::event::{EventId, NotificationType, Timestamp, UserId, WorkspaceId};
use crate::people::codec::What;
use crate::people::{ClosedReason, Person, RequestId};
use crate::seam::Unavailable;
use crate::store::database::{Arg, Sql};
use crate::store::error::{Failure, Unfit, unfit_or_unavailable};
use crate::store::settings::kind;
use crate::store::work::{Touched, Work, again_if_raced};

/// Most requests that one transaction closes.
const BATCH: i64 = 64;

impl Requests {
    /// Closes requests whose time is over, oldest first. Returns how many; ask again while there are any. Any number of processes may.
    /// Those of a type that only a newer version knows wait for it, and hold up no others.
    pub async fn expire(&self, now: Timestamp) -> Result<usize, Unavailable> {
        let (closed, touched) = again_if_raced(|| self.try_expire(now)).await.map_err(unread)?;
        self.told(&touched);
        Ok(closed)
    }

    async fn try_expire(&self, now: Timestamp) -> Result<(usize, Touched), sqlx::Error> {
        const DUE: Sql = Sql {
            postgres: "SELECT workspace, type, event, user_id, record_key, traceparent FROM requests
                WHERE state = 'open' AND expires_at <= $1 AND type IN (SELECT json_array_elements_text($3::text::json))
                ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED",
            sqlite: "SELECT workspace, type, event, user_id, record_key, traceparent FROM requests
                WHERE state = 'open' AND expires_at <= $1 AND type IN (SELECT value FROM json_each($3)) ORDER BY expires_at LIMIT $2",
        };
        let mut work = self.inner.store.database.work().await?;
        let types = known_types();
        let rows = work.tx.rows(DUE, &[Arg::Int(now.as_millis()), Arg::Int(BATCH), Arg::Text(&types)]).await?;
        if rows.is_empty() {
            return Ok((0, Touched::default()));
        }
        let bad_id = |error: crate::event::IdError| sqlx::Error::Decode(Box::new(error));
        for row in &rows {
            let person = Person {
                workspace: WorkspaceId::new(row.text(0)?).map_err(bad_id)?,
                user: UserId::new(row.text(3)?).map_err(bad_id)?,
            };
            let event = EventId::new(row.text(2)?).map_err(bad_id)?;
            let id = RequestId { person, kind: kind(row.text(1)?)?, event };
            work.close(&id, &row::origin(row, 4)?, ClosedReason::Expired, now).await?;
        }
        Ok((rows.len(), work.commit().await?))
    }

    /// When the next request's time is over; `None` while none is open.
    pub async fn next_expiry(&self) -> Result<Option<Timestamp>, Unavailable> {
        const NEXT: Sql = Sql {
            postgres: "SELECT min(expires_at) FROM requests
                WHERE state = 'open' AND type IN (SELECT json_array_elements_text($1::text::json))",
            sqlite: "SELECT min(expires_at) FROM requests WHERE state = 'open' AND type IN (SELECT value FROM json_each($1))",
        };
        let rows = self.inner.store.database.rows(NEXT, &[Arg::Text(&known_types())]).await.map_err(unread)?;
        let next = rows.first().map_or(Ok(None), |row| row.maybe_int(0)).map_err(unread)?;
        Ok(next.map(Timestamp))
    }

    /// Closes a request that upstream cancelled; false if it was over. One that has not come yet is closed before it comes, so that it
    /// never opens; `until` is how long that matters at least, and the record's key that of the withdrawal's record.
    pub async fn cancel(
        &self,
        id: &RequestId,
        record_key: Option<&[u8]>,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Failure<Unfit>> {
        let closed = again_if_raced(|| self.try_cancel(id, record_key, until, now)).await;
        let (closed, touched) = closed.map_err(unfit_or_unavailable)?;
        self.told(&touched);
        Ok(closed)
    }

    async fn try_cancel(
        &self,
        id: &RequestId,
        record_key: Option<&[u8]>,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(bool, Touched), sqlx::Error> {
        let mut work = self.inner.store.database.work().await?;
        work.keep_from_erasure([&id.person]).await?;
        match work.hold(id).await? {
            Some((standing, _, _)) if standing.ending.is_some() => return Ok((false, Touched::default())),
            Some((_, origin, _)) => work.close(id, &origin, ClosedReason::Cancelled, now).await?,
            None => {
                let origin = Origin { record_key: record_key.map(<[u8]>::to_vec), traceparent: None };
                work.close_unseen(id, &origin, until, now).await?;
                if !work.erased_lately(&id.person).await? {
                    work.happened(&closed(id, ClosedReason::Cancelled, now)).await?;
                }
            }
        }
        Ok((true, work.commit().await?))
    }
}

/// The names of the types that this version knows, as a JSON list.
fn known_types() -> String {
    format!("{:?}", NotificationType::ALL.map(NotificationType::name))
}

impl Work {
    /// Cancels everything that awaits a person's answer and happened before `until`. Returns how many requests.
    pub(in crate::store) async fn cancel_all(
        &mut self,
        person: &Person,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<u64, sqlx::Error> {
        const OPEN: Sql = Sql {
            postgres: "SELECT type, event, record_key, traceparent FROM requests
                WHERE workspace = $1 AND user_id = $2 AND state = 'open' AND occurred_at < $3 FOR UPDATE",
            sqlite: "SELECT type, event, record_key, traceparent FROM requests
                WHERE workspace = $1 AND user_id = $2 AND state = 'open' AND occurred_at < $3",
        };
        let [workspace, user] = crate::store::preferences::of(person);
        let rows = self.tx.rows(OPEN, &[workspace, user, crate::store::lifecycle::before(until)]).await?;
        for row in &rows {
            let event = EventId::new(row.text(1)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            let id = RequestId { person: person.clone(), kind: kind(row.text(0)?)?, event };
            self.close(&id, &row::origin(row, 2)?, ClosedReason::Cancelled, now).await?;
        }
        Ok(rows.len() as u64)
    }

    /// Cancels some of what awaits answers in a workspace, [`BATCH`] at most. Returns how many requests; none are left after 0.
    pub(in crate::store) async fn cancel_some_of(
        &mut self,
        workspace: &WorkspaceId,
        now: Timestamp,
    ) -> Result<u64, sqlx::Error> {
        const OPEN: Sql = Sql {
            postgres: "SELECT type, event, record_key, traceparent, user_id FROM requests
                WHERE workspace = $1 AND state = 'open' LIMIT $2 FOR UPDATE",
            sqlite: "SELECT type, event, record_key, traceparent, user_id FROM requests
                WHERE workspace = $1 AND state = 'open' LIMIT $2",
        };
        let rows = self.tx.rows(OPEN, &[Arg::Text(workspace.as_str()), Arg::Int(BATCH)]).await?;
        let bad_id = |error: crate::event::IdError| sqlx::Error::Decode(Box::new(error));
        for row in &rows {
            let user = UserId::new(row.text(4)?).map_err(bad_id)?;
            let event = EventId::new(row.text(1)?).map_err(bad_id)?;
            let person = Person { workspace: workspace.clone(), user };
            let id = RequestId { person, kind: kind(row.text(0)?)?, event };
            self.close(&id, &row::origin(row, 2)?, ClosedReason::Cancelled, now).await?;
        }
        Ok(rows.len() as u64)
    }

    /// Closes a request that never opened: nothing of it is kept but ids.
    pub(super) async fn close_unseen(
        &mut self,
        id: &RequestId,
        origin: &Origin,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        const PUT: &str =
            "INSERT INTO requests (workspace, type, event, user_id, state, source, record_key, number_required,
                detail, occurred_at, expires_at, ended_at, closed_reason, decision_id, outbox_id)
            VALUES ($1, $2, $3, $4, 'closed', '', $5, 0, 'null', $6, $7, $6, 'cancelled', $8, $9)";
        let decision_id = uuid::Uuid::new_v4().to_string();
        let told = self.tell_of(id, origin, &decision_id, What::Closed(ClosedReason::Cancelled), now).await?;
        let [workspace, kind, event, user] = of(id);
        let row = [
            workspace,
            kind,
            event,
            user,
            Arg::Bytes(origin.record_key.as_deref()),
            Arg::Int(now.as_millis()),
            Arg::Int(until.as_millis()),
            Arg::Text(&decision_id),
            Arg::Int(told),
        ];
        self.tx.execute(PUT.into(), &row).await
    }
}
