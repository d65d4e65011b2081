//! What must not happen twice: a proof that is shown again, a registration that is sent again.
use super::Devices;
use super::register::{Made, Repeat, Settled};
use super::row::device_id;
use crate::event::{DeviceId, Timestamp};
use crate::people::Person;
use crate::people::enrolment::RegistrationRefusal;
use crate::people::signed::Proof;
use crate::seam::Unavailable;
use crate::store::database::Arg;
use crate::store::error::unavailable;
use crate::store::preferences::of;
use crate::store::work::{Trouble, Work};

/// What a registration's answer is stored under: it is the only request that carries an idempotency key.
const ANSWERED: i64 = 201;

impl Devices {
    /// Uses a proof up. `false` if it was used before: then whoever shows it read it somewhere.
    pub async fn spend(&self, proof: &Proof) -> Result<bool, Unavailable> {
        const PUT: &str = "INSERT INTO used_proofs (key_thumbprint, jti, until) VALUES ($1, $2, $3)
            ON CONFLICT (key_thumbprint, jti) DO NOTHING RETURNING until";
        let spend = async {
            let mut work = self.work().await?;
            let until = Arg::Int(proof.remember_until.as_millis());
            let thumbprint = proof.key.thumbprint();
            let rows = work.tx.rows(PUT.into(), &[Arg::Text(&thumbprint), Arg::Text(&proof.jti), until]).await?;
            work.commit().await?;
            Ok(!rows.is_empty())
        };
        spend.await.map_err(|error| unavailable(&error))
    }
}

impl Work {
    /// What came of the registration that had this idempotency key.
    pub(super) async fn repeated(
        &mut self,
        person: &Person,
        repeat: Repeat<'_>,
    ) -> Result<Option<Made>, Trouble<RegistrationRefusal>> {
        const READ: &str =
            "SELECT request, answer FROM idempotency_keys WHERE workspace = $1 AND user_id = $2 AND key = $3";
        let [workspace, user] = of(person);
        let rows = self.tx.rows(READ.into(), &[workspace, user, Arg::Text(repeat.key)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        if row.text(0)? != repeat.request {
            return Err(Trouble::Refused(RegistrationRefusal::KeyReused));
        }
        let device = device_id(row.text(1)?)?;
        // Removed since: the app has to begin anew, with another idempotency key.
        let held = self.hold_device(person, &device).await?.filter(|held| !held.enrolled.retired);
        let held = held.ok_or(Trouble::Refused(RegistrationRefusal::KeyRetired))?;
        Ok(Some((device, held.enrolled.state, true, Settled::default())))
    }

    pub(super) async fn remember(
        &mut self,
        person: &Person,
        repeat: Repeat<'_>,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        const PUT: &str = "INSERT INTO idempotency_keys (workspace, user_id, key, request, status, answer, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let [workspace, user] = of(person);
        let (key, request, answer) = (Arg::Text(repeat.key), Arg::Text(repeat.request), Arg::Text(device.as_str()));
        let row = [workspace, user, key, request, Arg::Int(ANSWERED), answer, Arg::Int(now.as_millis())];
        self.tx.execute(PUT.into(), &row).await
    }
}
