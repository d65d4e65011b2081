//! What a person's devices are, and whose key a proof names. Reads only.
use super::Devices;
use super::row::{device_id, enrolled, of_device};
use crate::event::{DeviceId, Timestamp, UserId, WorkspaceId};
use crate::people::enrolment::{DeviceKind, OwnDevice, Pushes, Way, token_end};
use crate::people::signed::DeviceKey;
use crate::people::{DeviceState, Enrolled, Permission, Person, RETIRED_KEY_LIFE};
use crate::policy::Token;
use crate::seam::Unavailable;
use crate::store::database::{Arg, Row};
use crate::store::error::unavailable;
use crate::store::preferences::of;
use crate::store::settings::unknown;

/// A device with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    /// Whose it is.
    pub person: Person,
    /// Its id.
    pub device: DeviceId,
    /// The key with which it signs.
    pub key: DeviceKey,
    /// What it may do. A retired one is told apart here, and answers nothing.
    pub enrolled: Enrolled,
    /// Since when it is retired.
    pub retired_at: Option<Timestamp>,
    /// Whether pushes reach it.
    pub reachable: bool,
}

impl Devices {
    /// The device that a proof or a statement names, with its key. `None` if none of that id has a key in the workspace, or, which ids that
    /// are made here never are, if two people have one.
    pub async fn keyed(&self, workspace: &WorkspaceId, device: &DeviceId) -> Result<Option<Keyed>, Unavailable> {
        const READ: &str = "SELECT state, key_thumbprint, retired_at, user_id, key_jwk, reachable_since FROM enrolments
            WHERE workspace = $1 AND id = $2 AND key_jwk IS NOT NULL";
        let args = [Arg::Text(workspace.as_str()), Arg::Text(device.as_str())];
        let rows = self.inner.store.database.rows(READ.into(), &args).await.map_err(|error| unavailable(&error))?;
        let [row] = rows.as_slice() else { return Ok(None) };
        keyed(row, workspace, device).map(Some).map_err(|error| unavailable(&error))
    }

    /// The key of a phone whose person was erased a moment ago, without the person: it may still say that this was not them.
    pub async fn erased(
        &self,
        workspace: &WorkspaceId,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<Option<DeviceKey>, Unavailable> {
        const READ: &str = "SELECT key_jwk FROM erased_keys WHERE workspace = $1 AND device = $2 AND erased_at >= $3";
        let oldest = Arg::Int(now.minus(RETIRED_KEY_LIFE).as_millis());
        let args = [Arg::Text(workspace.as_str()), Arg::Text(device.as_str()), oldest];
        let rows = self.inner.store.database.rows(READ.into(), &args).await;
        let read = rows.and_then(|rows| rows.first().map(|row| key(row.text(0)?)).transpose());
        read.map_err(|error| unavailable(&error))
    }

    /// A person's devices that are not retired, in the order of their enrolment, with the version that they have together with the
    /// person's preferences. Of their tokens only the end.
    pub async fn list(&self, person: &Person) -> Result<(u64, Vec<OwnDevice>), Unavailable> {
        // One statement, hence one snapshot: the version's row first.
        const READ: &str = "SELECT '' AS id, '' AS name, '' AS kind, '' AS model, '' AS state, NULL AS thumbprint,
                NULL AS reachable_since, NULL AS claimed_at, NULL AS permission, NULL AS time_sensitive, 0 AS quiet,
                version AS enrolled_at, NULL AS promoted_at, NULL AS promoted_by,
                NULL AS platform, NULL AS app, NULL AS environment, NULL AS token, NULL AS locale, NULL AS last_seen,
                NULL AS unreachable_since
            FROM users WHERE workspace = $1 AND id = $2
            UNION ALL SELECT e.id, e.name, e.kind, e.model, e.state, e.key_thumbprint, e.reachable_since, c.claimed_at, e.permission,
                e.time_sensitive, e.quiet, e.enrolled_at, e.promoted_at, e.promoted_by,
                d.platform, d.app, d.environment, d.token, d.locale, d.last_seen, e.unreachable_since
            FROM enrolments e
                LEFT JOIN devices d ON d.workspace = e.workspace AND d.user_id = e.user_id AND d.id = e.id
                LEFT JOIN claimed_tokens c ON c.workspace = e.workspace AND c.user_id = e.user_id AND c.device = e.id
            WHERE e.workspace = $1 AND e.user_id = $2 AND e.retired_at IS NULL";
        let rows = self.inner.store.database.rows(READ.into(), &of(person)).await;
        let read = rows.and_then(|rows| {
            let mut version = 0;
            let mut devices = Vec::new();
            for row in &rows {
                if row.text(0)?.is_empty() {
                    version = u64::try_from(row.int(11)?).unwrap_or_default();
                } else {
                    devices.push(own(row)?);
                }
            }
            devices.sort_by(|one, other| (one.enrolled_at, &one.id).cmp(&(other.enrolled_at, &other.id)));
            Ok((version, devices))
        });
        read.map_err(|error| unavailable(&error))
    }

    /// What a device's enrolment says; `None` if the person has no such device, retired ones included.
    pub async fn enrolled(&self, person: &Person, device: &DeviceId) -> Result<Option<Enrolled>, Unavailable> {
        const READ: &str = "SELECT state, key_thumbprint, retired_at FROM enrolments
            WHERE workspace = $1 AND user_id = $2 AND id = $3";
        let rows = self.inner.store.database.rows(READ.into(), &of_device(person, device)).await;
        rows.and_then(|rows| rows.first().map(enrolled).transpose()).map_err(|error| unavailable(&error))
    }
}

fn keyed(row: &Row, workspace: &WorkspaceId, device: &DeviceId) -> Result<Keyed, sqlx::Error> {
    let user = UserId::new(row.text(3)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Keyed {
        person: Person { workspace: workspace.clone(), user },
        device: device.clone(),
        key: key(row.text(4)?)?,
        enrolled: enrolled(row)?,
        retired_at: row.maybe_int(2)?.map(Timestamp),
        reachable: row.maybe_int(5)?.is_some(),
    })
}

fn key(jwk: &str) -> Result<DeviceKey, sqlx::Error> {
    DeviceKey::from_jwk(jwk).map_err(|flaw| sqlx::Error::Decode(Box::new(flaw)))
}

/// Reads twenty-one columns, in the order of [`Devices::list`].
pub(in crate::store) fn own(row: &Row) -> Result<OwnDevice, sqlx::Error> {
    let (kind, state) = (row.text(2)?, row.text(4)?);
    let permission = row.maybe_text(8)?;
    let permission = permission.map(|name| Permission::from_name(name).ok_or_else(|| unknown("permission", name)));
    let promoted_by = row.maybe_text(13)?.and_then(Way::from_name);
    Ok(OwnDevice {
        id: device_id(row.text(0)?)?,
        name: row.text(1)?.to_owned(),
        kind: DeviceKind::from_name(kind).ok_or_else(|| unknown("kind", kind))?,
        model: row.text(3)?.to_owned(),
        state: DeviceState::from_name(state).ok_or_else(|| unknown("state", state))?,
        has_key: row.maybe_text(5)?.is_some(),
        reachable_since: row.maybe_int(6)?.map(Timestamp),
        unreachable_since: row.maybe_int(20)?.map(Timestamp),
        waits: row.maybe_int(7)?.is_some(),
        permission: permission.transpose()?,
        time_sensitive: row.maybe_int(9)?.map(|flag| flag != 0),
        quiet: row.int(10)? != 0,
        enrolled_at: Timestamp(row.int(11)?),
        promoted: row.maybe_int(12)?.map(|at| (Timestamp(at), promoted_by)),
        pushes: pushes(row)?,
    })
}

fn pushes(row: &Row) -> Result<Option<Pushes>, sqlx::Error> {
    let Some(platform) = row.maybe_text(14)? else { return Ok(None) };
    Ok(Some(Pushes {
        platform: super::reach::platform(platform)?,
        app: row.text(15)?.to_owned(),
        environment: super::reach::environment(row.text(16)?)?,
        token_end: token_end(&Token::new(row.text(17)?)),
        locale: row.text(18)?.to_owned(),
        last_seen: Timestamp(row.int(19)?),
    }))
}
