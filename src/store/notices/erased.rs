//! A phone of somebody who was erased says that the erasure was not its person's: within a day, once for each erasure.
//!
//! The point: an erasure takes everything that "not me" is otherwise checked against, and whoever has a person's session may be who asked for
//! it. So for a day the keys stay that may say so, with the erasure's notice and without the person. Admins are told which erasure it was;
//! of whom, the audit trail says. It deliberately asks for no certain notice: those that the phone was told of before are gone.
use super::not_me::NotMe;
use super::{Notices, notice};
use crate::event::{DeviceId, EventId, SystemNotice, Timestamp, WorkspaceId};
use crate::people::{Disowned, News};
use crate::seam::Unavailable;
use crate::store::database::Arg;
use crate::store::error::unavailable;
use crate::store::telemetry;
use crate::store::work::{Touched, again_if_raced};

impl Notices {
    /// Takes the word of a phone whose person was erased. `None` if there is no such phone any more. The second time changes nothing and gets
    /// the same answer, by whichever phone.
    pub async fn disown_erasure(
        &self,
        workspace: &WorkspaceId,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<Option<NotMe>, Unavailable> {
        let said = again_if_raced(|| self.try_disown_erasure(workspace, device, now)).await;
        let Some((said, touched)) = said.map_err(|error| unavailable(&error))? else { return Ok(None) };
        if let Some(touched) = touched {
            self.inner.announce(&touched).await;
            telemetry::not_me(SystemNotice::Reset.name(), said.alerted);
        }
        Ok(Some(said))
    }

    async fn try_disown_erasure(
        &self,
        workspace: &WorkspaceId,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<Option<(NotMe, Option<Touched>)>, sqlx::Error> {
        const SAY: &str =
            "UPDATE erased_keys SET not_me_at = $3 WHERE workspace = $1 AND not_me_at IS NULL AND erasure =
            (SELECT erasure FROM erased_keys WHERE workspace = $1 AND device = $2) RETURNING erasure";
        const SAID: &str = "SELECT not_me_at, alerted FROM erased_keys WHERE workspace = $1 AND device = $2";
        const TOLD: &str = "UPDATE erased_keys SET alerted = $3 WHERE workspace = $1 AND erasure = $2";
        let (at, id) = (Arg::Text(workspace.as_str()), Arg::Text(device.as_str()));
        let mut work = self.inner.store.database.work().await?;
        let rows = work.tx.rows(SAY.into(), &[at, id, Arg::Int(now.as_millis())]).await?;
        let Some(row) = rows.first() else {
            let rows = work.tx.rows(SAID.into(), &[at, id]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            let alerted = u32::try_from(row.maybe_int(1)?.unwrap_or_default()).unwrap_or(u32::MAX);
            return Ok(row.maybe_int(0)?.map(|at| (NotMe { at: Timestamp(at), alerted }, None)));
        };
        let erasure = EventId::new(row.text(0)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let of = Disowned::Notice { what: SystemNotice::Reset, id: erasure.clone() };
        let news = News::NotMe { user: None, device: device.clone(), of };
        let alerted = work.tell_admins(None, &notice(workspace, &news, now)?, &news).await?;
        work.tx.execute(TOLD.into(), &[at, Arg::Text(erasure.as_str()), Arg::Int(alerted.into())]).await?;
        Ok(Some((NotMe { at: now, alerted }, Some(work.commit().await?))))
    }
}
