//! How jobs ended: what their person may look back on, and what upstream hears while the request is open.
use std::collections::BTreeSet;

use super::person::activity;
use super::{Origin, Requests, of};
use crate::event::{DeviceId, Timestamp};
use crate::people::codec::What;
use crate::people::codec_outcome::JobEnded;
use crate::people::{Activity, NoticeKind, Person, RequestId, Standing};
use crate::store::database::{Arg, Sql};
use crate::store::erasure::{Clocked, erased_since};
use crate::store::error::{Failure, Unfit, unfit_or_unavailable};
use crate::store::work::{Touched, Work, again_if_raced};

impl Requests {
    /// Notes endings, all or none; what is there already stays as it was and is told nobody again. Upstream hears of those whose request is
    /// open; of those whose request has not come yet, when it opens.
    pub async fn ended(&self, endings: &[JobEnded], now: Timestamp) -> Result<(), Failure<Unfit>> {
        let noted = again_if_raced(|| self.try_ended(endings, now)).await;
        self.told(&noted.map_err(unfit_or_unavailable)?);
        Ok(())
    }

    async fn try_ended(&self, endings: &[JobEnded], now: Timestamp) -> Result<Touched, sqlx::Error> {
        let mut work = self.inner.store.database.work().await?;
        work.keep_from_erasure(endings.iter().map(|ended| &ended.activity.person)).await?;
        let of_notices = endings.iter().filter(|ended| ended.notice.is_some());
        work.keep_whole(of_notices.map(|ended| request_of(&ended.activity))).await?;
        for JobEnded { activity, notice } in endings {
            let is_new = work.add_activity(activity).await?;
            let Some(kind) = notice.filter(|_| is_new) else { continue };
            let id = request_of(activity);
            let Some((Standing { ending: None, .. }, origin, _)) = work.hold(&id).await? else { continue };
            work.tell_notice(&id, &origin, (kind, &activity.reason), now).await?;
        }
        work.tell_delivered(endings, now).await?;
        work.commit().await
    }
}

fn request_of(activity: &Activity) -> RequestId {
    RequestId { person: activity.person.clone(), kind: activity.kind, event: activity.event.clone() }
}

impl Work {
    /// Waits for whoever opens one of these requests, or notes what became of its notifications, and keeps them waiting until this transaction
    /// ends. Otherwise two that run at once would not see each other's rows: the one would find no request, the other nothing to tell. Comes
    /// before any row is held.
    pub(super) async fn keep_whole(&mut self, ids: impl Iterator<Item = RequestId>) -> Result<(), sqlx::Error> {
        const KEEP: Sql = Sql {
            postgres: "SELECT 1 FROM json_array_elements_text($1::text::json) AS name,
                LATERAL pg_advisory_xact_lock(hashtextextended(name, 1))",
            // Its transactions that write are one after the other.
            sqlite: "SELECT 1 WHERE $1 IS NULL",
        };
        let name = |RequestId { person: Person { workspace, user }, kind, event }: RequestId| {
            format!("{workspace} {} {event} {user}", kind.name())
        };
        // In one order everywhere, so that nobody waits for somebody who waits for them.
        let names: BTreeSet<_> = ids.map(name).collect();
        if names.is_empty() {
            return Ok(());
        }
        let names = serde_json::json!(names).to_string();
        self.tx.rows(KEEP, &[Arg::Text(&names)]).await.map(drop)
    }

    /// Tells upstream why a request does not ring.
    async fn tell_notice(
        &mut self,
        id: &RequestId,
        origin: &Origin,
        (kind, reason): (NoticeKind, &str),
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        let name = uuid::Uuid::new_v4().to_string();
        self.tell_of(id, origin, &name, What::Notice { kind, reason }, now).await.map(drop)
    }

    /// Tells upstream what became of a request's notifications before it opened: outcomes come by another topic, and may be read first.
    pub(super) async fn tell_earlier(
        &mut self,
        id: &RequestId,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        const READ: &str = "SELECT at, id, what, type, event, device, reason FROM activity
            WHERE workspace = $1 AND type = $2 AND event = $3 AND user_id = $4 AND what IN ('suppressed', 'undelivered')
            ORDER BY id";
        for row in &self.tx.rows(READ.into(), &of(id)).await? {
            let earlier = activity(&id.person, row)?;
            if let Some(kind) = earlier.notice() {
                self.tell_notice(id, origin, (kind, &earlier.reason), now).await?;
            }
        }
        Ok(())
    }

    /// Adds to a person's last 30 days; false if it was there, or is from before the person was erased. This transaction is kept from an
    /// erasure, or holds a row that it changes: the request's.
    pub(super) async fn add_activity(&mut self, activity: &Activity) -> Result<bool, sqlx::Error> {
        const ADD: &str = concat!(
            "INSERT INTO activity (workspace, user_id, at, what, type, event, device, reason)
            SELECT $1, $2, $9, $4, $5, $6, $7, $8 WHERE NOT EXISTS (",
            erased_since!(),
            ") ON CONFLICT DO NOTHING RETURNING id"
        );
        let row = [
            Arg::Text(activity.person.workspace.as_str()),
            Arg::Text(activity.person.user.as_str()),
            Arg::Int(Clocked::Here.earliest(activity.at).as_millis()),
            Arg::Text(activity.what.name()),
            Arg::Text(activity.kind.name()),
            Arg::Text(activity.event.as_str()),
            Arg::Text(activity.device.as_ref().map_or("", DeviceId::as_str)),
            Arg::Text(&activity.reason),
            Arg::Int(activity.at.as_millis()),
        ];
        Ok(!self.tx.rows(ADD.into(), &row).await?.is_empty())
    }
}
