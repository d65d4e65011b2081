//! What must not happen twice: a proof that is shown again, a registration that is sent again, a report that says what is known.
use super::Devices;
use super::register::{Made, Repeat, Settled};
use super::row::{device_id, of_device};
use crate::event::{DeviceId, Timestamp};
use crate::people::enrolment::{RegistrationRefusal, Report};
use crate::people::signed::Proof;
use crate::people::{Permission, Person};
use crate::policy::{Device, Installation};
use crate::seam::Unavailable;
use crate::store::database::Arg;
use crate::store::error::unavailable;
use crate::store::preferences::of;
use crate::store::work::{Trouble, Work};

/// What a registration's answer is stored under, the only request that carries an idempotency key: that it made a device.
const MADE: i64 = 201;
/// That the device was known by its key.
const KNOWN: i64 = 200;

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
            "SELECT request, answer, status FROM idempotency_keys WHERE workspace = $1 AND user_id = $2 AND key = $3";
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
        let waits = self.claims(person, &device).await?;
        let unproved = waits || held.reachable_since.is_none();
        Ok(Some((device, held.enrolled.state, row.int(2)? == KNOWN, Settled { waits, unproved, reach: None })))
    }

    /// Whether it has a token that is another row's until it was reached.
    async fn claims(&mut self, person: &Person, device: &DeviceId) -> Result<bool, sqlx::Error> {
        const READ: &str = "SELECT 1 FROM claimed_tokens WHERE workspace = $1 AND user_id = $2 AND device = $3";
        Ok(!self.tx.rows(READ.into(), &of_device(person, device)).await?.is_empty())
    }

    /// Takes what a device says of itself. Where all of it is known, only when it said so is written: nobody's copy is older for that, and
    /// nobody's view of the person's devices either.
    pub(super) async fn take_report(
        &mut self,
        person: &Person,
        (device, report): (&Device, &Report),
        reachable: bool,
        now: Timestamp,
    ) -> Result<Settled, sqlx::Error> {
        // What the token's death is judged by is when it was last said, too.
        const SEEN: &str = "UPDATE devices SET registered_at = $4, last_seen = $4
            WHERE workspace = $1 AND user_id = $2 AND id = $3";
        if !self.is_known(person, &device.id, report).await? {
            let settled = self.settle_token(person, device, reachable, now).await?;
            self.describe(person, &device.id, report).await?;
            return Ok(settled);
        }
        let [workspace, user, id] = of_device(person, &device.id);
        self.tx.execute(SEEN.into(), &[workspace, user, id, Arg::Int(now.as_millis())]).await?;
        let reach = if reachable {
            None
        } else {
            self.nonce(person, &device.id, (&device.installation, &device.locale), now).await?
        };
        Ok(Settled { waits: false, unproved: reach.is_some(), reach })
    }

    /// Whether a device says what it said before, and its token is its own.
    async fn is_known(&mut self, person: &Person, device: &DeviceId, report: &Report) -> Result<bool, sqlx::Error> {
        const READ: &str =
            "SELECT d.platform, d.app, d.environment, d.token, d.locale, e.model, e.permission, e.time_sensitive
            FROM devices d JOIN enrolments e ON e.workspace = d.workspace AND e.user_id = d.user_id AND e.id = d.id
            WHERE d.workspace = $1 AND d.user_id = $2 AND d.id = $3";
        if self.claims(person, device).await? {
            return Ok(false);
        }
        let rows = self.tx.rows(READ.into(), &of_device(person, device)).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        let Report { installation, locale, model, permission, time_sensitive } = report;
        let Installation { platform, app, environment, token } = installation;
        let said = [platform.name(), app, environment.name(), token.expose(), locale, model];
        for (column, said) in said.into_iter().enumerate() {
            if row.text(column)? != said {
                return Ok(false);
            }
        }
        Ok(row.maybe_text(6)? == permission.map(Permission::name) && row.maybe_int(7)? == time_sensitive.map(i64::from))
    }

    pub(super) async fn remember(
        &mut self,
        person: &Person,
        repeat: Repeat<'_>,
        (device, _, again, _): &Made,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        const PUT: &str = "INSERT INTO idempotency_keys (workspace, user_id, key, request, status, answer, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let [workspace, user] = of(person);
        let (key, request, answer) = (Arg::Text(repeat.key), Arg::Text(repeat.request), Arg::Text(device.as_str()));
        let status = Arg::Int(if *again { KNOWN } else { MADE });
        let row = [workspace, user, key, request, status, answer, Arg::Int(now.as_millis())];
        self.tx.execute(PUT.into(), &row).await
    }
}
