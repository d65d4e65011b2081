//! How jobs ended: what their person may look back on, and what upstream hears while the request is open.
use super::{Requests, unread};
use crate::event::{DeviceId, Timestamp};
use crate::people::codec::What;
use crate::people::codec_outcome::JobEnded;
use crate::people::{Activity, RequestId};
use crate::seam::Unavailable;
use crate::store::database::Arg;
use crate::store::erasure::{Clocked, erased_since};
use crate::store::work::{Touched, Work, again_if_raced};

impl Requests {
    /// Notes endings, all or none; what is there already stays as it was and is told nobody again. False, and nothing is noted, if upstream
    /// is to hear of a request that is not here yet: ask again soon. With `without_request` that is noted all the same, and upstream
    /// hears nothing.
    pub async fn ended(
        &self,
        endings: &[JobEnded],
        without_request: bool,
        now: Timestamp,
    ) -> Result<bool, Unavailable> {
        let noted = again_if_raced(|| self.try_ended(endings, without_request, now)).await.map_err(unread)?;
        if let Some(touched) = &noted {
            self.told(touched);
        }
        Ok(noted.is_some())
    }

    async fn try_ended(
        &self,
        endings: &[JobEnded],
        without_request: bool,
        now: Timestamp,
    ) -> Result<Option<Touched>, sqlx::Error> {
        let mut work = self.inner.store.database.work().await?;
        work.keep_from_erasure(endings.iter().map(|ended| &ended.activity.person)).await?;
        for JobEnded { activity, notice } in endings {
            let is_new = work.add_activity(activity).await?;
            let Some(kind) = notice.filter(|_| is_new) else { continue };
            let id = RequestId { person: activity.person.clone(), kind: activity.kind, event: activity.event.clone() };
            match work.hold(&id).await? {
                Some((standing, origin, _)) if standing.ending.is_none() => {
                    let name = uuid::Uuid::new_v4().to_string();
                    let what = What::Notice { kind, reason: &activity.reason };
                    work.tell_of(&id, &origin, &name, what, now).await?;
                }
                Some(_) => {}
                None if without_request || work.is_test(&id).await? => {}
                None => return Ok(None),
            }
        }
        work.tell_delivered(endings, now).await?;
        work.commit().await.map(Some)
    }
}

impl Work {
    /// Whether it is a test that its person sent to themselves, which is no request.
    async fn is_test(&mut self, id: &RequestId) -> Result<bool, sqlx::Error> {
        const READ: &str = "SELECT 1 FROM self_tests WHERE workspace = $1 AND user_id = $2 AND id = $3";
        let [workspace, user] = super::of_person(&id.person);
        Ok(!self.tx.rows(READ.into(), &[workspace, user, Arg::Text(id.event.as_str())]).await?.is_empty())
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
