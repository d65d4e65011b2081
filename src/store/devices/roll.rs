//! A device's key is followed by another one: the old one signs the new one, and the new one proves itself.
use super::row::of_device;
use super::{Announced, Devices};
use crate::event::Timestamp;
use crate::people::News;
use crate::people::enrolment::{RollRefusal, judge_roll};
use crate::people::signed::{KeyRoll, Proof, Signed};
use crate::store::database::Arg;
use crate::store::error::Failure;
use crate::store::preferences::of;
use crate::store::retention::DAY;
use crate::store::work::Trouble;

impl Devices {
    /// Puts the key that the statement names in the place of the one that signed it. `proof`: that of the request, by the new key.
    pub async fn roll(
        &self,
        roll: &Signed<KeyRoll>,
        proof: &Proof,
        now: Timestamp,
    ) -> Result<Announced, Failure<RollRefusal>> {
        const KNOWN: &str = "SELECT 1 FROM enrolments WHERE workspace = $1 AND key_thumbprint = $2
            UNION ALL SELECT 1 FROM rolled_keys WHERE workspace = $1 AND thumbprint = $2
            UNION ALL SELECT 1 FROM erased_keys WHERE workspace = $1 AND thumbprint = $2";
        const ROLLED: &str = "SELECT count(*) FROM rolled_keys
            WHERE workspace = $1 AND user_id = $2 AND device = $3 AND rolled_at > $4";
        const ROLL: &str = "UPDATE enrolments SET key_jwk = $4, key_thumbprint = $5
            WHERE workspace = $1 AND user_id = $2 AND id = $3";
        const REMEMBER: &str = "INSERT INTO rolled_keys (workspace, user_id, device, thumbprint, rolled_at)
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT (workspace, thumbprint) DO NOTHING";
        let (person, device, new) = (&roll.says.person, &roll.device, roll.says.key);
        if proof.key != new {
            return Err(Failure::Refused(RollRefusal::NotProved));
        }
        let (jwk, thumbprint) = (new.to_jwk(), new.thumbprint());
        let attempt = || async {
            let mut work = self.work().await?;
            work.hold_person(person).await?;
            let held = work.hold_device(person, device).await?;
            let known = work.tx.rows(KNOWN.into(), &[of(person)[0], Arg::Text(&thumbprint)]).await?;
            let enrolled = held.as_ref().map(|held| &held.enrolled);
            let [workspace, user, id] = of_device(person, device);
            let rolled =
                work.tx.rows(ROLLED.into(), &[workspace, user, id, Arg::Int(now.minus(DAY).as_millis())]).await?;
            let rolled = rolled.first().map_or(Ok(0), |row| row.int(0))?;
            let rolled = u32::try_from(rolled).unwrap_or(u32::MAX);
            judge_roll(enrolled, &roll.key_thumbprint, &thumbprint, !known.is_empty(), rolled)
                .map_err(Trouble::Refused)?;
            let old = Arg::Text(&roll.key_thumbprint);
            work.tx.execute(ROLL.into(), &[workspace, user, id, Arg::Text(&jwk), Arg::Text(&thumbprint)]).await?;
            work.tx.execute(REMEMBER.into(), &[workspace, user, id, old, Arg::Int(now.as_millis())]).await?;
            work.notify(person, &News::Rolled { device: device.clone() }, None, now).await?;
            Ok(((), work))
        };
        self.settle(attempt).await.map(|((), announced)| announced)
    }
}
