//! A nonce came back: pushes reach the device, and its token is its own.
use super::challenge::{Purpose, hash_nonce};
use super::register::ToReach;
use super::retire::Silenced;
use super::row::{Held, device_id, of_device};
use super::{Announced, Devices};
use crate::delivery::Notice;
use crate::event::{DeviceId, Timestamp};
use crate::people::enrolment::{IssueRefusal, ReachRefusal, Spent, judge_single_use};
use crate::people::{News, Person, Removal};
use crate::policy::{Device, Environment, Installation, Platform, Token};
use crate::store::database::{Arg, Row};
use crate::store::error::Failure;
use crate::store::preferences::of;
use crate::store::settings::unknown;
use crate::store::work::{Trouble, Work};

/// A device that was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Devices of the same person whose place it took: the app was installed anew on the same phone. They answer nothing any more.
    pub replaced: Vec<DeviceId>,
    /// Those of them that pushes had somewhere to go for, each with what it has to be told.
    pub told: Vec<(Notice, Silenced)>,
    /// Who knows of it.
    pub announced: Announced,
}

impl Devices {
    /// Another nonce for the token that the device has or claims, to be pushed there.
    pub async fn nonce(
        &self,
        person: &Person,
        device: &DeviceId,
        thumbprint: &str,
        now: Timestamp,
    ) -> Result<ToReach, Failure<IssueRefusal>> {
        let attempt = || async {
            let mut work = self.work().await?;
            let held = work.hold_signer(person, device, thumbprint).await?;
            held.ok_or(Trouble::Refused(IssueRefusal::UnknownDevice))?;
            let to = work.token_of(person, device).await?.ok_or(Trouble::Refused(IssueRefusal::NoToken))?;
            let issued = work.nonce(person, device, (&to.installation, &to.locale), now).await?;
            Ok((issued.ok_or(Trouble::Refused(IssueRefusal::TooMany))?, work))
        };
        self.settle(attempt).await.map(|(reach, _)| reach)
    }

    /// The nonce that was pushed to the device's token came back, with a proof by its key.
    pub async fn reached(
        &self,
        person: &Person,
        device: &DeviceId,
        thumbprint: &str,
        nonce: &str,
        now: Timestamp,
    ) -> Result<Reached, Failure<ReachRefusal>> {
        let attempt = || self.try_reached(person, device, thumbprint, nonce, now);
        let ((replaced, told), announced) = self.settle(attempt).await?;
        Ok(Reached { replaced, told, announced })
    }

    async fn try_reached(
        &self,
        person: &Person,
        device: &DeviceId,
        thumbprint: &str,
        nonce: &str,
        now: Timestamp,
    ) -> Result<(Replaced, Work), Trouble<ReachRefusal>> {
        const REACHED: &str = "UPDATE enrolments SET reachable_since = $4, unreachable_since = NULL WHERE workspace = $1 AND user_id = $2 AND id = $3";
        let mut work = self.work().await?;
        work.hold_person(person).await?;
        let held = work.hold_signer(person, device, thumbprint).await?;
        let held = held.ok_or(Trouble::Refused(ReachRefusal::UnknownDevice))?;
        let refuse = |spent| Trouble::Refused(ReachRefusal::Nonce(spent));
        // Its hash holds the token that it was sent to: what came back from another one is not known here.
        let token = work.token_of(person, device).await?.ok_or(refuse(Spent::Unknown))?;
        let hash = hash_nonce(nonce, &token.installation);
        let issued = work.hold_issued(Purpose::Reach, person, &hash).await?;
        judge_single_use(issued.as_ref(), now).map_err(refuse)?;
        work.use_up(&hash, now).await?;
        if token.claimed {
            let Claimed { installation, locale, .. } = token;
            let reached = Device { id: device.clone(), installation, locale, registered_at: now, quiet: false };
            for (owner, former) in work.put_device(&person.workspace, &person.user, &reached, now).await? {
                let news = News::Removed { device: former, how: Removal::Replaced };
                work.notify(&owner, &news, (owner == *person).then_some(device), now).await?;
            }
            work.unclaim(person, device).await?;
        }
        let [workspace, user, id] = of_device(person, device);
        work.tx.execute(REACHED.into(), &[workspace, user, id, Arg::Int(now.as_millis())]).await?;
        let replaced = work.replace(person, device, &held, now).await?;
        Ok((replaced, work))
    }
}

/// The devices whose place another one took, and those of them that have to be told.
type Replaced = (Vec<DeviceId>, Vec<(Notice, Silenced)>);

/// The token that a device has, or claims.
struct Claimed {
    installation: Installation,
    locale: String,
    claimed: bool,
}

impl Work {
    /// What a device claims, or else what it has.
    async fn token_of(&mut self, person: &Person, device: &DeviceId) -> Result<Option<Claimed>, sqlx::Error> {
        const READ: &str = "SELECT platform, app, environment, token, locale, 'claimed' FROM claimed_tokens
                WHERE workspace = $1 AND user_id = $2 AND device = $3
            UNION ALL SELECT platform, app, environment, token, locale, 'own' FROM devices
                WHERE workspace = $1 AND user_id = $2 AND id = $3";
        let rows = self.tx.rows(READ.into(), &of_device(person, device)).await?;
        let read = rows.iter().map(claimed).collect::<Result<Vec<_>, _>>()?;
        Ok(read.into_iter().max_by_key(|token| token.claimed))
    }

    /// Retires what the same person had on the same phone before: its keys are gone with the app that had them.
    async fn replace(
        &mut self,
        person: &Person,
        device: &DeviceId,
        held: &Held,
        now: Timestamp,
    ) -> Result<Replaced, sqlx::Error> {
        const FORMER: &str = "SELECT id FROM enrolments
            WHERE workspace = $1 AND user_id = $2 AND phone = $3 AND id <> $4 AND retired_at IS NULL ORDER BY id";
        let Some(phone) = &held.phone else { return Ok(Replaced::default()) };
        let [workspace, user] = of(person);
        let args = [workspace, user, Arg::Text(phone), Arg::Text(device.as_str())];
        let (mut replaced, mut told) = Replaced::default();
        let ringing = self.ringing(person).await?;
        for row in &self.tx.rows(FORMER.into(), &args).await? {
            let former = device_id(row.text(0)?)?;
            self.retire(person, &former, now).await?;
            let news = News::Removed { device: former.clone(), how: Removal::Replaced };
            let notice = self.notify(person, &news, Some(device), now).await?;
            told.extend(ringing.iter().find(|ringing| ringing.device == former).map(|rang| (notice, rang.clone())));
            replaced.push(former);
        }
        Ok((replaced, told))
    }
}

fn claimed(row: &Row) -> Result<Claimed, sqlx::Error> {
    Ok(Claimed {
        installation: Installation {
            platform: platform(row.text(0)?)?,
            app: row.text(1)?.into(),
            environment: environment(row.text(2)?)?,
            token: Token::new(row.text(3)?),
        },
        locale: row.text(4)?.to_owned(),
        claimed: row.text(5)? == "claimed",
    })
}

pub(super) fn platform(name: &str) -> Result<Platform, sqlx::Error> {
    let all = [Platform::Apns, Platform::Fcm];
    all.into_iter().find(|platform| platform.name() == name).ok_or_else(|| unknown("platform", name))
}

pub(super) fn environment(name: &str) -> Result<Environment, sqlx::Error> {
    let all = [Environment::Production, Environment::Sandbox];
    all.into_iter().find(|environment| environment.name() == name).ok_or_else(|| unknown("environment", name))
}
