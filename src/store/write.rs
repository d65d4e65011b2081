//! Writing the store of record.
//!
//! The point: each write raises the version of every workspace and person that it touches, in the same transaction, so that an older
//! copy can be told from a newer one wherever it is. A list of changes is made whole or not at all. It deliberately announces nothing:
//! [`super::Admin`] does, after the commit.
//!
//! Fails by [`WriteError`]. A deadlock or a race for one installation is tried again; after a time-out the write may have been made.
use std::collections::BTreeSet;

use super::database::{Arg, Database};
use super::error::{WriteError, unavailable};
use super::read::{EventKey, UserKey};
use super::work::{Touched, Trouble, Work, again_if_raced};
use crate::event::{DeviceId, NotificationType, Timestamp, UserId, WorkspaceId};
use crate::policy::{Detail, Device, Installation, Preference, Setting};
use crate::seam::DeadToken;

/// Most devices of one person: what one length byte of a packed entry can say.
pub const DEVICES_MAX: usize = 255;
/// Longest push token, in bytes: several times the longest seen of either platform, and within what PostgreSQL can index (2,704).
pub const TOKEN_BYTES_MAX: usize = 1_024;
/// Longest app id, in bytes: what one length byte of a packed entry can say, and Android's own limit for package names.
pub const APP_BYTES_MAX: usize = 255;
/// Longest language tag, in bytes (RFC 5646 §4.4.1).
pub const LOCALE_BYTES_MAX: usize = 35;
/// Longest display name of a workspace, in bytes; notifications shorten it further.
pub const DISPLAY_NAME_BYTES_MAX: usize = 255;

/// How many withdrawals that are over one new withdrawal clears away: more than one, so that they cannot pile up.
const CLEARED: i64 = 8;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A workspace's name and how much its pushes say.
    Workspace {
        /// Which.
        workspace: WorkspaceId,
        /// For people; at most [`DISPLAY_NAME_BYTES_MAX`].
        display_name: String,
        /// How much its pushes say.
        detail: Detail,
    },
    /// A workspace's setting of one type. Makes a nameless workspace where there is none.
    Setting {
        /// Whose.
        workspace: WorkspaceId,
        /// Of which type.
        kind: NotificationType,
        /// The new value.
        setting: Setting,
    },
    /// A person's preference of one type.
    Preference {
        /// Whose workspace.
        workspace: WorkspaceId,
        /// Whose.
        user: UserId,
        /// Of which type.
        kind: NotificationType,
        /// The new value.
        preference: Preference,
    },
    /// A person's device, new or changed; whether a known one is quiet stays as it is. Whoever had the same installation in this workspace loses it: the last sign-in wins.
    Device {
        /// Whose workspace.
        workspace: WorkspaceId,
        /// Whose.
        user: UserId,
        /// The device, whole.
        device: Device,
        /// When its app last reported.
        last_seen: Timestamp,
    },
}

impl Change {
    /// What is wrong with it, for people.
    pub fn problem(&self) -> Option<String> {
        let long = |what: &str, text: &str, max: usize| {
            (text.len() > max).then(|| format!("{what} has {} bytes, at most {max} are allowed", text.len()))
        };
        match self {
            Self::Workspace { display_name, .. } => long("display_name", display_name, DISPLAY_NAME_BYTES_MAX),
            Self::Setting { .. } | Self::Preference { .. } => None,
            Self::Device { device, .. } => {
                let Installation { app, token, .. } = &device.installation;
                let texts = [("app", &**app), ("token", token.expose()), ("locale", device.locale.as_str())];
                let empty = |what: &str, text: &str| text.is_empty().then(|| format!("{what} is empty"));
                // Of these PostgreSQL refuses one as if it were at fault itself, and no provider's header takes any.
                let control = |(what, text): (&str, &str)| {
                    text.chars().any(char::is_control).then(|| format!("{what} has a control character"))
                };
                empty("app", app)
                    .or_else(|| empty("token", token.expose()))
                    .or_else(|| texts.into_iter().find_map(control))
                    .or_else(|| long("app", app, APP_BYTES_MAX))
                    .or_else(|| long("token", token.expose(), TOKEN_BYTES_MAX))
                    .or_else(|| long("locale", &device.locale, LOCALE_BYTES_MAX))
            }
        }
    }
}

impl Database {
    /// Makes all changes, or none.
    pub(super) async fn write(&self, changes: &[Change]) -> Result<Touched, WriteError> {
        if let Some(problem) = changes.iter().find_map(Change::problem) {
            return Err(WriteError::Refused(problem));
        }
        again_if_raced(|| self.try_write(changes)).await.map_err(WriteError::from)
    }

    async fn try_write(&self, changes: &[Change]) -> Result<Touched, Trouble<String>> {
        let mut work = self.work().await?;
        for change in changes {
            work.apply(change).await?;
        }
        work.count_devices(changes).await?;
        Ok(work.commit().await?)
    }

    /// Removes every row of the dead token's installation that was registered at or before `since`. Returns how many.
    pub(super) async fn remove_token(&self, dead: &DeadToken) -> Result<(u64, Touched), sqlx::Error> {
        again_if_raced(|| self.try_remove_token(dead)).await
    }

    async fn try_remove_token(&self, dead: &DeadToken) -> Result<(u64, Touched), sqlx::Error> {
        const REMOVE: &str = "DELETE FROM devices
            WHERE token = $1 AND app = $2 AND environment = $3 AND platform = $4 AND registered_at <= $5
            RETURNING workspace, user_id, id";
        // What nothing reaches any more has to be reached again before it may approve.
        const UNREACHED: &str = "UPDATE enrolments SET reachable_since = NULL, unreachable_since = $4 WHERE workspace = $1 AND user_id = $2 AND id = $3";
        let Installation { platform, app, environment, token } = &dead.installation;
        let mut work = self.work().await?;
        let args = [
            Arg::Text(token.expose()),
            Arg::Text(app),
            Arg::Text(environment.name()),
            Arg::Text(platform.name()),
            Arg::Int(dead.since.as_millis()),
        ];
        let rows = work.tx.rows(REMOVE.into(), &args).await?;
        let mut owners = BTreeSet::new();
        for row in &rows {
            owners.insert(key(row.text(0)?, row.text(1)?)?);
        }
        for owner in &owners {
            work.raise_user(owner).await?;
        }
        for row in &rows {
            let since = Arg::Int(dead.since.as_millis());
            let device = [Arg::Text(row.text(0)?), Arg::Text(row.text(1)?), Arg::Text(row.text(2)?), since];
            work.tx.execute(UNREACHED.into(), &device).await?;
        }
        Ok((rows.len() as u64, work.commit().await?))
    }

    /// Remembers that an event is withdrawn, at least until that moment.
    pub(super) async fn withdraw(&self, event: &EventKey, until: Timestamp, now: Timestamp) -> Result<(), sqlx::Error> {
        const CLEAR: &str = "DELETE FROM withdrawals WHERE (workspace, type, event) IN
            (SELECT workspace, type, event FROM withdrawals WHERE until < $1 ORDER BY until LIMIT $2)";
        const WITHDRAW: &str = "INSERT INTO withdrawals (workspace, type, event, until) VALUES ($1, $2, $3, $4)
            ON CONFLICT (workspace, type, event) DO UPDATE SET until = excluded.until WHERE withdrawals.until < excluded.until";
        let (workspace, kind, id) = (event.workspace.as_str(), event.kind.name(), event.event.as_str());
        let row = [Arg::Text(workspace), Arg::Text(kind), Arg::Text(id), Arg::Int(until.as_millis())];
        let mut tx = self.begin().await?;
        tx.execute(WITHDRAW.into(), &row).await?;
        tx.commit().await?;
        // Apart from the withdrawal, which must not fail for the sake of tidiness.
        let clear = async {
            let mut tx = self.begin().await?;
            tx.execute(CLEAR.into(), &[Arg::Int(now.as_millis()), Arg::Int(CLEARED)]).await?;
            tx.commit().await
        };
        if let Err(error) = clear.await {
            tracing::debug!(%error, "withdrawals that are over were not cleared; the next withdrawal tries again");
        }
        Ok(())
    }
}

impl Work {
    async fn apply(&mut self, change: &Change) -> Result<(), sqlx::Error> {
        match change {
            Change::Workspace { workspace, display_name, detail } => {
                let version = self.raise_workspace(workspace).await?;
                let sql = "UPDATE workspaces SET display_name = $2, detail = $3, version = $4 WHERE id = $1";
                let id = Arg::Text(workspace.as_str());
                self.tx
                    .execute(sql.into(), &[id, Arg::Text(display_name), Arg::Text(detail.name()), Arg::Int(version)])
                    .await
            }
            Change::Setting { workspace, kind, setting } => {
                let version = self.raise_workspace(workspace).await?;
                let sql = "INSERT INTO workspace_settings (workspace, type, setting, version) VALUES ($1, $2, $3, $4)
                    ON CONFLICT (workspace, type) DO UPDATE SET setting = excluded.setting, version = excluded.version,
                        changed_at = NULL, changed_by = NULL, changed_role = NULL";
                let (id, kind) = (Arg::Text(workspace.as_str()), Arg::Text(kind.name()));
                self.tx.execute(sql.into(), &[id, kind, Arg::Text(setting.name()), Arg::Int(version)]).await
            }
            Change::Preference { workspace, user, kind, preference } => {
                let person = UserKey { workspace: workspace.clone(), user: user.clone() };
                let version = self.raise_user(&person).await?;
                self.put_preference(&person, *kind, *preference, version).await
            }
            Change::Device { workspace, user, device, last_seen } => {
                self.put_device(workspace, user, device, *last_seen).await.map(drop)
            }
        }
    }

    /// Puts a device's row where pushes are sent from. Returns the devices from which it took the token, each with its person: they are
    /// retired.
    pub(super) async fn put_device(
        &mut self,
        workspace: &WorkspaceId,
        user: &UserId,
        device: &Device,
        seen: Timestamp,
    ) -> Result<Vec<(UserKey, DeviceId)>, sqlx::Error> {
        const TAKE_OVER: &str = "DELETE FROM devices
            WHERE token = $1 AND app = $2 AND environment = $3 AND workspace = $4 AND NOT (user_id = $5 AND id = $6)
            RETURNING user_id, id";
        // Who holds the phone now is somebody else, or the app is a new one: the old row answers nothing any more.
        const RETIRE: &str = "UPDATE enrolments SET retired_at = $4
            WHERE workspace = $1 AND user_id = $2 AND id = $3 AND retired_at IS NULL";
        // One that is there stays as its person left it; one without a key, which never answered anything, is in use again.
        const ENROL: &str =
            "INSERT INTO enrolments (workspace, user_id, id, quiet, enrolled_at) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (workspace, user_id, id) DO UPDATE SET retired_at = NULL WHERE enrolments.key_thumbprint IS NULL";
        const PUT: &str = "INSERT INTO devices
            (workspace, user_id, id, platform, app, environment, token, locale, registered_at, last_seen, version)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
            ON CONFLICT (workspace, user_id, id) DO UPDATE SET platform = excluded.platform, app = excluded.app,
                environment = excluded.environment, token = excluded.token, locale = excluded.locale,
                registered_at = excluded.registered_at, last_seen = excluded.last_seen, version = excluded.version";
        let Installation { platform, app, environment, token } = &device.installation;
        let version = self.raise_user(&UserKey { workspace: workspace.clone(), user: user.clone() }).await?;
        let (token, app, environment) = (Arg::Text(token.expose()), Arg::Text(app), Arg::Text(environment.name()));
        let (at, of, id) = (Arg::Text(workspace.as_str()), Arg::Text(user.as_str()), Arg::Text(device.id.as_str()));
        let former = self.tx.rows(TAKE_OVER.into(), &[token, app, environment, at, of, id]).await?;
        let mut retired = Vec::new();
        for row in &former {
            let (owner, id) = (row.text(0)?, row.text(1)?);
            let args = [at, Arg::Text(owner), Arg::Text(id), Arg::Int(seen.as_millis())];
            self.tx.execute(RETIRE.into(), &args).await?;
            let id = DeviceId::new(id).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            retired.push((key(workspace.as_str(), owner)?, id));
        }
        for owner in retired.iter().map(|(owner, _)| owner).collect::<BTreeSet<_>>() {
            self.raise_user(owner).await?;
        }
        let (platform, locale) = (Arg::Text(platform.name()), Arg::Text(&device.locale));
        let (registered_at, seen) = (Arg::Int(device.registered_at.as_millis()), Arg::Int(seen.as_millis()));
        let row = [at, of, id, platform, app, environment, token, locale, registered_at, seen, Arg::Int(version)];
        self.tx.execute(PUT.into(), &row).await?;
        self.tx.execute(ENROL.into(), &[at, of, id, Arg::Int(device.quiet.into()), registered_at]).await?;
        Ok(retired)
    }

    /// A person with more devices than fit into one entry could not be read any more.
    async fn count_devices(&mut self, changes: &[Change]) -> Result<(), Trouble<String>> {
        const COUNT: &str = "SELECT count(*) FROM devices WHERE workspace = $1 AND user_id = $2";
        let owners: BTreeSet<(&WorkspaceId, &UserId)> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Device { workspace, user, .. } => Some((workspace, user)),
                Change::Workspace { .. } | Change::Setting { .. } | Change::Preference { .. } => None,
            })
            .collect();
        for (workspace, user) in owners {
            let rows = self.tx.rows(COUNT.into(), &[Arg::Text(workspace.as_str()), Arg::Text(user.as_str())]).await?;
            let count = rows.first().map_or(Ok(0), |row| row.int(0))?;
            if count > DEVICES_MAX as i64 {
                return Err(Trouble::Refused(format!(
                    "user {user} of workspace {workspace} would have {count} devices, at most {DEVICES_MAX} are allowed"
                )));
            }
        }
        Ok(())
    }
}

impl From<Trouble<String>> for WriteError {
    fn from(trouble: Trouble<String>) -> Self {
        match trouble {
            Trouble::Store(error) => Self::Unavailable(unavailable(&error)),
            Trouble::Refused(why) => Self::Refused(why),
            Trouble::Raced => Self::Unavailable(unavailable(&sqlx::Error::PoolTimedOut)),
        }
    }
}

fn key(workspace: &str, user: &str) -> Result<UserKey, sqlx::Error> {
    let unreadable = |error| sqlx::Error::Decode(Box::new(error));
    Ok(UserKey {
        workspace: WorkspaceId::new(workspace).map_err(unreadable)?,
        user: UserId::new(user).map_err(unreadable)?,
    })
}
