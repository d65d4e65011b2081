//! A workspace's settings as its admins see and change them, with the audit trail.
//!
//! The point: a change, its entry in the trail and what Kafka hears of it are one transaction, so that neither can be without the other;
//! what changes nothing writes nothing. It deliberately does not ask who may.
use std::collections::HashMap;

use super::admin::{Admin, Announced};
use super::database::{Arg, Row, Sql};
use super::error::{Failure, unavailable};
use super::work::{Touched, Trouble, Work, again_if_raced};
use crate::event::{DeviceId, NotificationType, Timestamp, UserId, WorkspaceId};
use crate::people::{
    Actor, ActorRole, AuditEntry, Audited, DetailChange, SettingChange, SettingRefusal, SettingState,
    WorkspaceSettings, codec,
};
use crate::policy::{Detail, Setting};
use crate::seam::{OutboxRecord, OutboxTopic, Unavailable};

/// A change that was asked for and is in force now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce {
    /// The version of the workspace, or the person, with it.
    pub version: u64,
    /// Who knows of it; `None` if it was in force before and nothing was written.
    pub announced: Option<Announced>,
}

impl Admin {
    /// A workspace's settings, with who set them; the defaults where the store has no row.
    pub async fn settings(&self, workspace: &WorkspaceId) -> Result<WorkspaceSettings, Unavailable> {
        const READ: &str =
            "SELECT w.version, w.display_name, w.detail, s.type, s.setting, s.changed_at, s.changed_by, s.changed_role
            FROM workspaces w LEFT JOIN workspace_settings s ON s.workspace = w.id WHERE w.id = $1";
        let rows = self.inner.store.database.rows(READ.into(), &[Arg::Text(workspace.as_str())]).await;
        rows.and_then(|rows| settings(&rows)).map_err(|error| unavailable(&error))
    }

    /// Changes one type's setting. The trail and Kafka hear of it with the change or not at all.
    pub async fn set(&self, change: &SettingChange) -> Result<InForce, Failure<SettingRefusal>> {
        let (version, touched) = again_if_raced(|| self.try_set(change)).await?;
        let announced = match touched {
            Some(touched) => Some(self.inner.announce(&touched).await),
            None => None,
        };
        Ok(InForce { version, announced })
    }

    async fn try_set(&self, change: &SettingChange) -> Result<(u64, Option<Touched>), Trouble<SettingRefusal>> {
        // Two statements: the second one sees what whoever held the row before has committed.
        const LOCK: Sql = Sql {
            postgres: "SELECT version FROM workspaces WHERE id = $1 FOR UPDATE",
            sqlite: "SELECT version FROM workspaces WHERE id = $1",
        };
        const NOW: &str = "SELECT setting FROM workspace_settings WHERE workspace = $1 AND type = $2";
        let mut work = self.inner.store.database.work().await?;
        let (workspace, kind) = (Arg::Text(change.workspace.as_str()), Arg::Text(change.kind.name()));
        let version = work.tx.rows(LOCK, &[workspace]).await?.first().map_or(Ok(0), |row| row.int(0))?;
        let rows = work.tx.rows(NOW.into(), &[workspace, kind]).await?;
        let from = rows.first().map_or(Ok(Setting::default()), |row| setting(row.text(0)?))?;
        if version == 0 && !rows.is_empty() {
            // Nothing was there to be locked, and somebody has made it meanwhile.
            return Err(Trouble::Raced);
        }
        let current = u64::try_from(version).unwrap_or_default();
        if change.expected.is_some_and(|expected| expected != current) {
            return Err(Trouble::Refused(SettingRefusal::Stale { current }));
        }
        if from == change.setting {
            return Ok((current, None));
        }
        if work.raise_workspace(&change.workspace).await? != version + 1 {
            return Err(Trouble::Raced);
        }
        work.put_setting(change, version + 1).await?;
        let what = Audited::SettingChanged { kind: change.kind, from, to: change.setting };
        work.audit(&change.workspace, &change.actor, change.at, what).await?;
        Ok((current + 1, Some(work.commit().await?)))
    }

    /// Changes how much the workspace's pushes say. The trail and Kafka hear of it with the change or not at all.
    pub async fn set_detail(&self, change: &DetailChange) -> Result<InForce, Failure<SettingRefusal>> {
        let (version, touched) = again_if_raced(|| self.try_set_detail(change)).await?;
        let announced = match touched {
            Some(touched) => Some(self.inner.announce(&touched).await),
            None => None,
        };
        Ok(InForce { version, announced })
    }

    async fn try_set_detail(&self, change: &DetailChange) -> Result<(u64, Option<Touched>), Trouble<SettingRefusal>> {
        const HOLD: Sql = Sql {
            postgres: "SELECT version, detail FROM workspaces WHERE id = $1 FOR UPDATE",
            sqlite: "SELECT version, detail FROM workspaces WHERE id = $1",
        };
        const PUT: &str = "UPDATE workspaces SET detail = $2 WHERE id = $1";
        let mut work = self.inner.store.database.work().await?;
        let workspace = Arg::Text(change.workspace.as_str());
        let rows = work.tx.rows(HOLD, &[workspace]).await?;
        let (version, from) = match rows.first() {
            Some(row) => (row.int(0)?, detail(row.text(1)?)?),
            None => (0, Detail::default()),
        };
        let current = u64::try_from(version).unwrap_or_default();
        if change.expected.is_some_and(|expected| expected != current) {
            return Err(Trouble::Refused(SettingRefusal::Stale { current }));
        }
        if from == change.detail {
            return Ok((current, None));
        }
        if work.raise_workspace(&change.workspace).await? != version + 1 {
            return Err(Trouble::Raced);
        }
        work.tx.execute(PUT.into(), &[workspace, Arg::Text(change.detail.name())]).await?;
        let what = Audited::DetailChanged { from, to: change.detail };
        work.audit(&change.workspace, &change.actor, change.at, what).await?;
        Ok((current + 1, Some(work.commit().await?)))
    }
}

impl Work {
    async fn put_setting(&mut self, change: &SettingChange, version: i64) -> Result<(), sqlx::Error> {
        const PUT: &str = "INSERT INTO workspace_settings (workspace, type, setting, version, changed_at, changed_by, changed_role)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (workspace, type) DO UPDATE SET setting = excluded.setting, version = excluded.version,
                changed_at = excluded.changed_at, changed_by = excluded.changed_by, changed_role = excluded.changed_role";
        let row = [
            Arg::Text(change.workspace.as_str()),
            Arg::Text(change.kind.name()),
            Arg::Text(change.setting.name()),
            Arg::Int(version),
            Arg::Int(change.at.as_millis()),
            Arg::Text(change.actor.id.as_str()),
            Arg::Text(change.actor.role.name()),
        ];
        self.tx.execute(PUT.into(), &row).await
    }

    /// Adds an entry to the trail, and to what Kafka hears.
    pub(super) async fn audit(
        &mut self,
        workspace: &WorkspaceId,
        actor: &Actor,
        at: Timestamp,
        what: Audited,
    ) -> Result<(), sqlx::Error> {
        const ADD: &str = "INSERT INTO audit
            (id, workspace, at, actor, actor_role, action, type, from_value, to_value, target_user, target_device)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
        let id = uuid::Uuid::new_v4().to_string();
        let entry = AuditEntry { id, workspace: workspace.clone(), at, actor: actor.clone(), what };
        let kind = entry.what.kind().map(NotificationType::name);
        let (from, to) = entry.what.values().unzip();
        let device = entry.what.device().map(DeviceId::as_str);
        let row = [
            Arg::Text(&entry.id),
            Arg::Text(workspace.as_str()),
            Arg::Int(at.as_millis()),
            Arg::Text(actor.id.as_str()),
            Arg::Text(actor.role.name()),
            Arg::Text(entry.what.action()),
            Arg::MaybeText(kind),
            Arg::MaybeText(from),
            Arg::MaybeText(to),
            Arg::MaybeText(entry.what.target().map(UserId::as_str)),
            Arg::MaybeText(device),
        ];
        self.tx.execute(ADD.into(), &row).await?;
        let record = OutboxRecord {
            topic: OutboxTopic::Audit,
            key: Some(workspace.as_str().into()),
            payload: codec::encode_audit(&entry),
            headers: Vec::new(),
        };
        self.tell(&record, at).await.map(drop)
    }
}

fn settings(rows: &[Row]) -> Result<WorkspaceSettings, sqlx::Error> {
    let mut set = HashMap::new();
    for row in rows {
        if let Some(kind) = row.maybe_text(3)? {
            let by = match (row.maybe_int(5)?, row.maybe_text(6)?, row.maybe_text(7)?) {
                (Some(at), Some(id), Some(role)) => Some((actor(id, role)?, Timestamp(at))),
                _ => None,
            };
            set.insert(self::kind(kind)?, (setting(row.text(4)?)?, by));
        }
    }
    let settings = NotificationType::ALL.map(|kind| {
        let (setting, changed) = set.remove(&kind).unwrap_or_default();
        SettingState { kind, setting, changed }
    });
    match rows.first() {
        None => Ok(WorkspaceSettings { version: 0, display_name: String::new(), detail: Detail::Minimal, settings }),
        Some(row) => Ok(WorkspaceSettings {
            version: u64::try_from(row.int(0)?).unwrap_or_default(),
            display_name: row.text(1)?.to_owned(),
            detail: detail(row.text(2)?)?,
            settings,
        }),
    }
}

fn detail(name: &str) -> Result<Detail, sqlx::Error> {
    Detail::from_name(name).ok_or_else(|| unknown("detail", name))
}

pub(super) fn entry(row: &Row) -> Result<AuditEntry, sqlx::Error> {
    let user = || row.text(10).and_then(user);
    let device = || DeviceId::new(row.text(11)?).map_err(|error| sqlx::Error::Decode(Box::new(error)));
    let what = match row.text(6)? {
        "setting_changed" => Audited::SettingChanged {
            kind: kind(row.text(7)?)?,
            from: setting(row.text(8)?)?,
            to: setting(row.text(9)?)?,
        },
        "detail_changed" => Audited::DetailChanged { from: detail(row.text(8)?)?, to: detail(row.text(9)?)? },
        "person_reset" => Audited::PersonReset { user: user()? },
        "device_removed" => Audited::DeviceRemoved { user: user()?, device: device()? },
        "ticket_issued" => Audited::TicketIssued { user: user()? },
        "person_removed" => Audited::PersonRemoved { user: user()? },
        "workspace_deleted" => Audited::WorkspaceDeleted,
        "person_erased" => Audited::PersonErased { user: user()? },
        "person_exported" => Audited::PersonExported { user: user()? },
        "not_me" => Audited::NotMe { user: user()?, device: device()? },
        other => return Err(unknown("action", other)),
    };
    Ok(AuditEntry {
        id: row.text(1)?.to_owned(),
        workspace: WorkspaceId::new(row.text(2)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        at: Timestamp(row.int(3)?),
        actor: actor(row.text(4)?, row.text(5)?)?,
        what,
    })
}

fn actor(id: &str, role: &str) -> Result<Actor, sqlx::Error> {
    Ok(Actor { id: user(id)?, role: ActorRole::from_name(role).ok_or_else(|| unknown("role", role))? })
}

fn user(id: &str) -> Result<UserId, sqlx::Error> {
    UserId::new(id).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

pub(super) fn setting(name: &str) -> Result<Setting, sqlx::Error> {
    Setting::from_name(name).ok_or_else(|| unknown("setting", name))
}

pub(super) fn kind(name: &str) -> Result<NotificationType, sqlx::Error> {
    NotificationType::from_name(name).ok_or_else(|| unknown("type", name))
}

/// A value that a newer version wrote: never taken for a default.
pub(super) fn unknown(what: &str, name: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("{name:?} is no {what} that this version knows").into())
}
