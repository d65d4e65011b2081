//! A person's preferences as they see and change them.
//!
//! The point: each wish is one transaction that reads the workspace's setting, asks the rule, and raises the person's version; what
//! changes nothing writes nothing. An enforced type keeps the stored preference, which is in force again when enforcement ends.
//!
//! A type that becomes enforced in the same moment is no race: the preference is stored, and does not count while that lasts.
use super::admin::Admin;
use super::database::{Arg, Row, Sql};
use super::error::{Failure, unavailable};
use super::settings::{InForce, kind, setting, unknown};
use super::work::{Trouble, Work, again_if_raced};
use crate::event::{DeviceId, NotificationType};
use crate::people::{Person, PreferenceRefusal, Preferences, SwitchedOff, effective, may_set};
use crate::policy::{Preference, Setting};
use crate::seam::Unavailable;

/// What a person's wishes are judged by.
struct Now {
    workspace_version: u64,
    user_version: u64,
    settings: [Setting; NotificationType::COUNT],
    preferences: [Preference; NotificationType::COUNT],
}

/// What is to be written, and what to tell whoever wished it.
type Wish<T> = Result<(Vec<(NotificationType, Preference)>, T), PreferenceRefusal>;

/// One snapshot of all of it: `$1` the workspace, `$2` the person.
const READ: &str = "SELECT 'workspace', '', '', version FROM workspaces WHERE id = $1
    UNION ALL SELECT 'user', '', '', version FROM users WHERE workspace = $1 AND id = $2
    UNION ALL SELECT 'setting', type, setting, 0 FROM workspace_settings WHERE workspace = $1
    UNION ALL SELECT 'preference', type, preference, 0 FROM user_preferences WHERE workspace = $1 AND user_id = $2";

impl Admin {
    /// A person's preferences with what is in force; everything on where the store has no row.
    pub async fn preferences(&self, person: &Person) -> Result<Preferences, Unavailable> {
        let rows = self.inner.store.database.rows(READ.into(), &of(person)).await;
        let now = rows.and_then(|rows| Now::decode(&rows)).map_err(|error| unavailable(&error))?;
        Ok(Preferences {
            workspace_version: now.workspace_version,
            user_version: now.user_version,
            types: NotificationType::ALL
                .map(|kind| effective(kind, now.settings[kind.index()], now.preferences[kind.index()])),
        })
    }

    /// Sets a person's preference of one type. `expected` is the user version that they saw, if that matters.
    pub async fn switch(
        &self,
        person: &Person,
        kind: NotificationType,
        preference: Preference,
        expected: Option<u64>,
    ) -> Result<InForce, Failure<PreferenceRefusal>> {
        let wish = |now: &Now| {
            may_set(kind, now.settings[kind.index()], preference)?;
            let set = now.preferences[kind.index()] == preference;
            Ok((if set { Vec::new() } else { vec![(kind, preference)] }, ()))
        };
        self.wish(person, expected, wish).await.map(|(in_force, ())| in_force)
    }

    /// Turns off every type that the person may turn off: all that are not enforced.
    pub async fn switch_off_all(
        &self,
        person: &Person,
        expected: Option<u64>,
    ) -> Result<(InForce, SwitchedOff), Failure<PreferenceRefusal>> {
        let wish = |now: &Now| {
            let free = |kind: &NotificationType| may_set(*kind, now.settings[kind.index()], Preference::Off).is_ok();
            let (free, enforced): (Vec<_>, Vec<_>) = NotificationType::ALL.into_iter().partition(free);
            let on = |kind: &NotificationType| now.preferences[kind.index()] == Preference::On;
            let off: Vec<_> = free.into_iter().filter(on).collect();
            let writes = off.iter().map(|kind| (*kind, Preference::Off)).collect();
            Ok((writes, SwitchedOff { off, enforced }))
        };
        self.wish(person, expected, wish).await
    }

    /// Makes one of the person's devices quiet, or not: it does not ring, but for what is enforced.
    pub async fn quiet(
        &self,
        person: &Person,
        device: &DeviceId,
        quiet: bool,
        expected: Option<u64>,
    ) -> Result<InForce, Failure<PreferenceRefusal>> {
        let (version, work) = again_if_raced(|| self.try_quiet(person, device, quiet, expected)).await?;
        self.settle(version, work).await.map_err(Failure::from)
    }

    async fn try_quiet(
        &self,
        person: &Person,
        device: &DeviceId,
        quiet: bool,
        expected: Option<u64>,
    ) -> Result<(u64, Option<Work>), Trouble<PreferenceRefusal>> {
        const NOW: &str =
            "SELECT quiet FROM enrolments WHERE workspace = $1 AND user_id = $2 AND id = $3 AND retired_at IS NULL";
        const PUT: &str = "UPDATE enrolments SET quiet = $4 WHERE workspace = $1 AND user_id = $2 AND id = $3";
        let mut work = self.inner.store.database.work().await?;
        let version = work.lock_user(person, expected).await?;
        let [workspace, user] = of(person);
        let row = [workspace, user, Arg::Text(device.as_str())];
        let rows = work.tx.rows(NOW.into(), &row).await?;
        let Some(now) = rows.first() else { return Err(Trouble::Refused(PreferenceRefusal::NoSuchDevice)) };
        if version == 0 {
            return Err(Trouble::Raced);
        }
        if (now.int(0)? != 0) == quiet {
            return Ok((version, None));
        }
        let version = work.raise_locked(person, version).await?;
        work.tx.execute(PUT.into(), &[row[0], row[1], row[2], Arg::Int(quiet.into())]).await?;
        Ok((version, Some(work)))
    }

    /// Applies what `wish` makes of what is there now, in one transaction.
    async fn wish<T>(
        &self,
        person: &Person,
        expected: Option<u64>,
        wish: impl Fn(&Now) -> Wish<T>,
    ) -> Result<(InForce, T), Failure<PreferenceRefusal>> {
        let (version, work, told) = again_if_raced(|| self.try_wish(person, expected, &wish)).await?;
        Ok((self.settle(version, work).await?, told))
    }

    async fn try_wish<T>(
        &self,
        person: &Person,
        expected: Option<u64>,
        wish: impl Fn(&Now) -> Wish<T>,
    ) -> Result<(u64, Option<Work>, T), Trouble<PreferenceRefusal>> {
        let mut work = self.inner.store.database.work().await?;
        let version = work.lock_user(person, expected).await?;
        let now = Now::decode(&work.tx.rows(READ.into(), &of(person)).await?)?;
        if now.user_version != version {
            // Nothing was there to be locked, and somebody has made it meanwhile.
            return Err(Trouble::Raced);
        }
        let (writes, told) = wish(&now).map_err(Trouble::Refused)?;
        if writes.is_empty() {
            return Ok((version, None, told));
        }
        let version = work.raise_locked(person, version).await?;
        for (kind, preference) in writes {
            work.put_preference(person, kind, preference, version as i64).await?;
        }
        Ok((version, Some(work), told))
    }

    /// Commits, and tells whoever holds a copy.
    async fn settle(&self, version: u64, work: Option<Work>) -> Result<InForce, sqlx::Error> {
        let Some(work) = work else { return Ok(InForce { version, announced: None }) };
        let touched = work.commit().await?;
        Ok(InForce { version, announced: Some(self.inner.announce(&touched).await) })
    }
}

impl Work {
    /// The person's version, kept from changing until this transaction ends.
    async fn lock_user(&mut self, person: &Person, expected: Option<u64>) -> Result<u64, Trouble<PreferenceRefusal>> {
        const LOCK: Sql = Sql {
            postgres: "SELECT version FROM users WHERE workspace = $1 AND id = $2 FOR UPDATE",
            sqlite: "SELECT version FROM users WHERE workspace = $1 AND id = $2",
        };
        let version = self.tx.rows(LOCK, &of(person)).await?.first().map_or(Ok(0), |row| row.int(0))?;
        let current = u64::try_from(version).unwrap_or_default();
        match expected.filter(|expected| *expected != current) {
            None => Ok(current),
            Some(_) => Err(Trouble::Refused(PreferenceRefusal::Stale { current })),
        }
    }

    /// Raises the version that was locked.
    async fn raise_locked(&mut self, person: &Person, version: u64) -> Result<u64, Trouble<PreferenceRefusal>> {
        let raised = u64::try_from(self.raise_user(person).await?).unwrap_or_default();
        if raised == version + 1 { Ok(raised) } else { Err(Trouble::Raced) }
    }

    pub(super) async fn put_preference(
        &mut self,
        person: &Person,
        kind: NotificationType,
        preference: Preference,
        version: i64,
    ) -> Result<(), sqlx::Error> {
        const PUT: &str = "INSERT INTO user_preferences (workspace, user_id, type, preference, version) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (workspace, user_id, type) DO UPDATE SET preference = excluded.preference, version = excluded.version";
        let [workspace, user] = of(person);
        let (kind, preference) = (Arg::Text(kind.name()), Arg::Text(preference.name()));
        self.tx.execute(PUT.into(), &[workspace, user, kind, preference, Arg::Int(version)]).await
    }
}

/// The two arguments that name a person.
pub(super) fn of(person: &Person) -> [Arg<'_>; 2] {
    [Arg::Text(person.workspace.as_str()), Arg::Text(person.user.as_str())]
}

impl Now {
    fn decode(rows: &[Row]) -> Result<Self, sqlx::Error> {
        let mut now = Self {
            workspace_version: 0,
            user_version: 0,
            settings: Default::default(),
            preferences: Default::default(),
        };
        for row in rows {
            let version = || row.int(3).map(|version| u64::try_from(version).unwrap_or_default());
            match row.text(0)? {
                "workspace" => now.workspace_version = version()?,
                "user" => now.user_version = version()?,
                "setting" => now.settings[kind(row.text(1)?)?.index()] = setting(row.text(2)?)?,
                _ => now.preferences[kind(row.text(1)?)?.index()] = preference(row.text(2)?)?,
            }
        }
        Ok(now)
    }
}

pub(super) fn preference(name: &str) -> Result<Preference, sqlx::Error> {
    let all = [Preference::On, Preference::Off];
    all.into_iter().find(|preference| preference.name() == name).ok_or_else(|| unknown("preference", name))
}
