//! A device answers nothing any more: it was removed, replaced, or reset with all of its person's.
use super::row::{device_id, of_device};
use super::{Announced, Devices};
use crate::delivery::Notice;
use crate::event::{DeviceId, Timestamp};
use crate::people::enrolment::{ChangeRefusal, is_name, judge_removal, judge_reset};
use crate::people::{Actor, Audited, News, Person, Removal};
use crate::policy::Installation;
use crate::seam::Unavailable;
use crate::store::database::Arg;
use crate::store::error::{Failure, unavailable};
use crate::store::preferences::of;
use crate::store::work::{Trouble, Work};

/// A device that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// How many of the person's devices that pushes go to may still approve.
    pub approvers_left: u32,
    /// What its person's other devices are told of it.
    pub notice: Notice,
    /// The device, if pushes had somewhere to go: it has to be told, too.
    pub told: Option<Silenced>,
    /// Of the person's devices now.
    pub version: u64,
    /// Who knows of it.
    pub announced: Announced,
}

/// A device whose pushes go nowhere any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silenced {
    /// Its id.
    pub device: DeviceId,
    /// Where they went.
    pub to: Installation,
    /// BCP 47 tag of its language.
    pub locale: String,
}

/// A person whose devices were all retired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// The devices that were retired.
    pub devices: Vec<DeviceId>,
    /// What they are told of it.
    pub notice: Notice,
    /// Those that pushes had somewhere to go for: each has to be told, and may answer that it was not its person.
    pub told: Vec<Silenced>,
    /// Of the person's devices now.
    pub version: u64,
    /// Who knows of it.
    pub announced: Announced,
}

impl Devices {
    /// Gives a device another name.
    pub async fn rename(
        &self,
        person: &Person,
        device: &DeviceId,
        name: &str,
        expected: Option<u64>,
    ) -> Result<Announced, Failure<ChangeRefusal>> {
        const RENAME: &str = "UPDATE enrolments SET name = $4 WHERE workspace = $1 AND user_id = $2 AND id = $3";
        if !is_name(name) {
            return Err(Failure::Refused(ChangeRefusal::Name));
        }
        let attempt = || async {
            let mut work = self.work().await?;
            work.hold_expected(person, expected).await?;
            let held = work.hold_device(person, device).await?.filter(|held| !held.enrolled.retired);
            held.ok_or(Trouble::Refused(ChangeRefusal::NoSuchDevice))?;
            let [workspace, user, id] = of_device(person, device);
            work.tx.execute(RENAME.into(), &[workspace, user, id, Arg::Text(name)]).await?;
            Ok(((), work))
        };
        self.settle(attempt).await.map(|((), announced)| announced)
    }

    /// Removes a device, the last approver only if that is `meant`. `by`: who does it to somebody else, which the trail hears of.
    pub async fn remove(
        &self,
        person: &Person,
        device: &DeviceId,
        by: Option<&Actor>,
        (meant, expected): (bool, Option<u64>),
        now: Timestamp,
    ) -> Result<Removed, Failure<ChangeRefusal>> {
        let attempt = || async {
            let mut work = self.work().await?;
            let version = work.hold_expected(person, expected).await?;
            let held = work.hold_device(person, device).await?;
            let others = work.approvers_besides(person, device).await?;
            judge_removal(held.as_ref().map(|held| &held.enrolled), others, meant).map_err(Trouble::Refused)?;
            let told = work.ringing(person).await?.into_iter().find(|ringing| ringing.device == *device);
            work.retire(person, device, now).await?;
            let how = by.map_or(Removal::Own, |actor| Removal::By(actor.role));
            let notice = work.notify(person, &News::Removed { device: device.clone(), how }, None, now).await?;
            if let Some(actor) = by {
                let what = Audited::DeviceRemoved { user: person.user.clone(), device: device.clone() };
                work.audit(&person.workspace, actor, now, what).await?;
            }
            Ok(((others, notice, told, version), work))
        };
        let ((approvers_left, notice, told, version), announced) = self.settle(attempt).await?;
        Ok(Removed { approvers_left, notice, told, version, announced })
    }

    /// Retires every device of a person, and whatever was given out to enrol one. It enrols nothing. The trail hears of it. Of oneself the
    /// last approver goes with it only if that is `meant`.
    pub async fn reset(
        &self,
        person: &Person,
        by: &Actor,
        (meant, expected): (bool, Option<u64>),
        now: Timestamp,
    ) -> Result<Reset, Failure<ChangeRefusal>> {
        let attempt = || async {
            let mut work = self.work().await?;
            let version = work.hold_expected(person, expected).await?;
            let oneself = by.another_than(&person.user).is_none();
            judge_reset(work.approvers(person).await?, oneself, meant).map_err(Trouble::Refused)?;
            let (devices, told) = (work.enrolled_ids(person).await?, work.ringing(person).await?);
            work.retire_people(&person.workspace, std::slice::from_ref(&person.user), None, now).await?;
            work.audit(&person.workspace, by, now, Audited::PersonReset { user: person.user.clone() }).await?;
            let by = by.another_than(&person.user);
            let notice = work.notify(person, &News::Reset { by }, None, now).await?;
            Ok(((devices, notice, told, version), work))
        };
        let ((devices, notice, told, version), announced) = self.settle(attempt).await?;
        Ok(Reset { devices, notice, told, version, announced })
    }

    /// How many devices of a person may approve.
    pub async fn approvers(&self, person: &Person) -> Result<u32, Unavailable> {
        let rows = self.inner.store.database.rows(APPROVERS.into(), &of(person)).await;
        let count = rows.and_then(|rows| rows.first().map_or(Ok(0), |row| row.int(0)));
        count.map(|count| u32::try_from(count).unwrap_or(u32::MAX)).map_err(|error| unavailable(&error))
    }
}

const APPROVERS: &str = "SELECT count(*) FROM enrolments
    WHERE workspace = $1 AND user_id = $2 AND state = 'approver' AND retired_at IS NULL";

impl Work {
    async fn approvers(&mut self, person: &Person) -> Result<u32, sqlx::Error> {
        let count = self.tx.rows(APPROVERS.into(), &of(person)).await?.first().map_or(Ok(0), |row| row.int(0))?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Of those that pushes go to, without that one.
    async fn approvers_besides(&mut self, person: &Person, device: &DeviceId) -> Result<u32, sqlx::Error> {
        const OTHERS: &str = "SELECT count(*) FROM enrolments e
                JOIN devices d ON d.workspace = e.workspace AND d.user_id = e.user_id AND d.id = e.id
            WHERE e.workspace = $1 AND e.user_id = $2 AND e.id <> $3 AND e.state = 'approver' AND e.retired_at IS NULL";
        let rows = self.tx.rows(OTHERS.into(), &of_device(person, device)).await?;
        Ok(u32::try_from(rows.first().map_or(Ok(0), |row| row.int(0))?).unwrap_or(u32::MAX))
    }

    async fn enrolled_ids(&mut self, person: &Person) -> Result<Vec<DeviceId>, sqlx::Error> {
        const READ: &str =
            "SELECT id FROM enrolments WHERE workspace = $1 AND user_id = $2 AND retired_at IS NULL ORDER BY id";
        self.tx.rows(READ.into(), &of(person)).await?.iter().map(|row| device_id(row.text(0)?)).collect()
    }

    /// Where a person's pushes go.
    pub(in crate::store) async fn ringing(&mut self, person: &Person) -> Result<Vec<Silenced>, sqlx::Error> {
        const READ: &str = "SELECT id, platform, app, environment, token, locale FROM devices
            WHERE workspace = $1 AND user_id = $2 ORDER BY id";
        let rows = self.tx.rows(READ.into(), &of(person)).await?;
        let ringing = |row: &crate::store::database::Row| {
            let to = Installation {
                platform: super::reach::platform(row.text(1)?)?,
                app: row.text(2)?.into(),
                environment: super::reach::environment(row.text(3)?)?,
                token: crate::policy::Token::new(row.text(4)?),
            };
            Ok(Silenced { device: device_id(row.text(0)?)?, to, locale: row.text(5)?.to_owned() })
        };
        rows.iter().map(ringing).collect()
    }

    /// A device answers and rings no more. Its name and key stay, for what it signed.
    pub(super) async fn retire(
        &mut self,
        person: &Person,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        const RETIRE: &str = "UPDATE enrolments SET retired_at = $4
            WHERE workspace = $1 AND user_id = $2 AND id = $3 AND retired_at IS NULL";
        const SILENCE: &str = "DELETE FROM devices WHERE workspace = $1 AND user_id = $2 AND id = $3";
        let [workspace, user, id] = of_device(person, device);
        self.tx.execute(RETIRE.into(), &[workspace, user, id, Arg::Int(now.as_millis())]).await?;
        self.tx.execute(SILENCE.into(), &[workspace, user, id]).await?;
        self.unclaim(person, device).await?;
        self.forget_issued(person, device).await
    }
}
