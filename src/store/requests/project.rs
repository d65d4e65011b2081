//! From an event to a request, once, however often the event is read.
use super::{Origin, Requests, closed, of};
use crate::event::{EventId, Timestamp};
use crate::people::codec::What;
use crate::people::{ClosedReason, Person, Projection, RequestId, masked};
use crate::store::database::{Arg, Sql};
use crate::store::erasure::Clocked;
use crate::store::error::{Failure, Unfit, unfit_or_unavailable};
use crate::store::work::{Touched, Work, again_if_raced};

/// What became of an event that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projected {
    /// It is open, and upstream hears whom it asks.
    Open,
    /// It was over when it came, and upstream hears that: its time had passed, a newer one of its source is here, or whom it asks was erased
    /// since.
    Closed(ClosedReason),
    /// It is here already, open or not; nothing was written.
    Known,
}

/// What an open request of one source means for another of the same source.
enum Source {
    /// It is newer.
    Newer,
    /// It is older and open: it ends.
    Older(EventId, Origin),
}

impl Requests {
    /// Takes an event for one of the people whom it asks. What it supersedes is closed with it, and what became of its notifications so far is
    /// told with it.
    pub async fn project(&self, projection: &Projection, now: Timestamp) -> Result<Projected, Failure<Unfit>> {
        let projected = again_if_raced(|| self.try_project(projection, now)).await;
        let (projected, touched) = projected.map_err(unfit_or_unavailable)?;
        self.told(&touched);
        Ok(projected)
    }

    async fn try_project(&self, new: &Projection, now: Timestamp) -> Result<(Projected, Touched), sqlx::Error> {
        const KNOWN: &str = "SELECT 1 FROM requests WHERE workspace = $1 AND type = $2 AND event = $3 AND user_id = $4";
        let id = RequestId { person: new.person.clone(), kind: new.detail.kind(), event: new.event.clone() };
        let mut work = self.inner.store.database.work().await?;
        if !work.tx.rows(KNOWN.into(), &of(&id)).await?.is_empty() {
            return Ok((Projected::Known, Touched::default()));
        }
        work.keep_from_erasure([&new.person]).await?;
        if work.erased_since(&new.person, (new.occurred_at, Clocked::Upstream)).await? {
            // Nobody is asked, nothing of it is kept but ids, and upstream hears that.
            let origin = Origin { record_key: new.record_key.clone(), traceparent: new.traceparent.clone() };
            work.close_unseen(&id, &origin, new.expires_at, now).await?;
            return Ok((Projected::Closed(ClosedReason::Cancelled), work.commit().await?));
        }
        work.keep_whole(std::iter::once(id.clone())).await?;
        let mut over = (new.expires_at <= now).then_some(ClosedReason::Expired);
        if over.is_none() {
            for other in work.same_source(&id, new).await? {
                match other {
                    Source::Newer => over = Some(ClosedReason::Superseded),
                    Source::Older(event, origin) => {
                        let older = RequestId { event, ..id.clone() };
                        work.close(&older, &origin, ClosedReason::Superseded, now).await?;
                    }
                }
            }
        }
        work.open(&id, new, over, now).await?;
        let touched = work.commit().await?;
        Ok((over.map_or(Projected::Open, Projected::Closed), touched))
    }
}

impl Work {
    /// The requests of the same source that matter to a new one: the open one, held, and any newer one.
    async fn same_source(&mut self, id: &RequestId, new: &Projection) -> Result<Vec<Source>, sqlx::Error> {
        const READ: Sql = Sql {
            postgres: "SELECT event, occurred_at, state, record_key, traceparent FROM requests
                WHERE workspace = $1 AND user_id = $2 AND type = $3 AND source = $4 AND (state = 'open' OR occurred_at > $5)
                FOR UPDATE",
            sqlite: "SELECT event, occurred_at, state, record_key, traceparent FROM requests
                WHERE workspace = $1 AND user_id = $2 AND type = $3 AND source = $4 AND (state = 'open' OR occurred_at > $5)",
        };
        if new.source.is_empty() {
            return Ok(Vec::new());
        }
        let args = [
            Arg::Text(id.person.workspace.as_str()),
            Arg::Text(id.person.user.as_str()),
            Arg::Text(id.kind.name()),
            Arg::Text(&new.source),
            Arg::Int(new.occurred_at.as_millis()),
        ];
        let rows = self.tx.rows(READ, &args).await?;
        let mut found = Vec::new();
        for row in &rows {
            let (event, open) = (row.text(0)?, row.text(2)? == "open");
            // Of two that happened in the same millisecond the ids decide, so that every process decides alike.
            if (row.int(1)?, event) > (new.occurred_at.as_millis(), new.event.as_str()) {
                found.push(Source::Newer);
            } else if open {
                let event = EventId::new(event).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
                found.push(Source::Older(event, super::row::origin(row, 3)?));
            }
        }
        Ok(found)
    }

    /// Makes the row, and tells upstream whom it asks, or that it is over.
    async fn open(
        &mut self,
        id: &RequestId,
        new: &Projection,
        over: Option<ClosedReason>,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        const PUT: &str = "INSERT INTO requests (workspace, type, event, user_id, state, source, record_key, traceparent,
                number_required, match_number, detail, occurred_at, expires_at, ended_at, closed_reason, decision_id, outbox_id)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
        let origin = Origin { record_key: new.record_key.clone(), traceparent: new.traceparent.clone() };
        let decision_id = uuid::Uuid::new_v4().to_string();
        let what = match over {
            Some(reason) => What::Closed(reason),
            None => What::Asked { devices: self.who_can_answer(&id.person).await? },
        };
        let told = self.tell_of(id, &origin, &decision_id, what, now).await?;
        let detail = serde_json::to_string(&new.detail).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let number = new.match_number.as_ref().filter(|_| over.is_none());
        let [workspace, kind, event, user] = of(id);
        let row = [
            workspace,
            kind,
            event,
            user,
            Arg::Text(if over.is_some() { "closed" } else { "open" }),
            Arg::Text(&new.source),
            Arg::Bytes(new.record_key.as_deref()),
            Arg::MaybeText(new.traceparent.as_deref()),
            Arg::Int(new.match_number.is_some().into()),
            Arg::MaybeText(number.map(crate::people::MatchNumber::expose)),
            Arg::Text(&detail),
            Arg::Int(new.occurred_at.as_millis()),
            Arg::Int(new.expires_at.as_millis()),
            Arg::MaybeInt(over.map(|_| now.as_millis())),
            Arg::MaybeText(over.map(ClosedReason::name)),
            Arg::MaybeText(over.map(|_| decision_id.as_str())),
            Arg::MaybeInt(over.map(|_| told)),
        ];
        self.tx.execute(PUT.into(), &row).await?;
        match over {
            Some(reason) => self.happened(&closed(id, reason, now)).await,
            None => self.tell_earlier(id, &origin, now).await,
        }
    }

    /// The names of the devices that may approve and that pushes go to, as a login screen may show them. A phone whose notifications are off
    /// counts: its app lists what is pending. One without a token does not, though its answer would: its app is gone, as far as is known.
    async fn who_can_answer(&mut self, person: &Person) -> Result<Vec<String>, sqlx::Error> {
        const READ: &str = "SELECT e.model, e.name FROM enrolments e
                JOIN devices d ON d.workspace = e.workspace AND d.user_id = e.user_id AND d.id = e.id
            WHERE e.workspace = $1 AND e.user_id = $2
            AND e.state = 'approver' AND e.key_thumbprint IS NOT NULL AND e.retired_at IS NULL ORDER BY e.id";
        let rows = self.tx.rows(READ.into(), &crate::store::preferences::of(person)).await?;
        rows.iter().map(|row| Ok(masked(row.text(0)?, row.text(1)?))).collect()
    }
}
