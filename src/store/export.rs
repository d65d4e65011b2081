//! Everything that is stored of a person, part by part, for whoever may have it.
//!
//! The point: each part is read page by page, so that no person is too large to be handed out; only what is a secret is left out (tokens, and
//! hashes of what was given out for minutes). It deliberately reads no two pages in one snapshot: somebody who goes on using the service
//! is handed out as they were page by page. Fails by [`Unavailable`].
use std::time::Duration;

use super::admin::Admin;
use super::database::{Arg, Row};
use super::devices::own;
use super::error::{Failure, unavailable};
use super::preferences::of;
use super::settings::{entry, kind, unknown};
use super::work::{Trouble, again_if_raced};
use crate::event::{DeviceId, EventId, NotificationType, Timestamp};
use crate::people::enrolment::OwnDevice;
use crate::people::{Actor, AuditEntry, Audited, Cursor, PAGE_MAX, Page, Person, Role};
use crate::policy::Preference;
use crate::seam::Unavailable;

/// How often somebody may have a person's data within an hour: reading all of it costs the store as much as some hundred calls. Each who
/// asks is counted apart, so that who administers a workspace does not use up what people have of their own.
const EXPORTS_PER_HOUR: i64 = 10;

/// Somebody had a person's data often enough.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("You exported this person's data {} times within the last hour. Try again later.", EXPORTS_PER_HOUR)]
pub struct EnoughExports;

/// A device, in use or retired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptDevice {
    /// What it is, or was.
    pub device: OwnDevice,
    /// When it was retired; `None` while it is in use.
    pub retired_at: Option<Timestamp>,
}

/// A device's word that it showed a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenMark {
    /// The notification's type.
    pub kind: NotificationType,
    /// The notification's event.
    pub event: EventId,
    /// Which device.
    pub device: DeviceId,
    /// When it said so.
    pub at: Timestamp,
}

/// A test that a person sent to themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTest {
    /// Its id, which is its event's.
    pub id: EventId,
    /// As which type it went.
    pub kind: NotificationType,
    /// When it was asked for.
    pub at: Timestamp,
}

/// What a person chose, and what they were when they last signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Preferences that are stored; a type without one is on.
    pub preferences: Vec<(NotificationType, Preference)>,
    /// Their role as of their last sign-in, and when it was seen.
    pub role: Option<(Role, Timestamp)>,
}

impl Admin {
    /// Writes into the trail that somebody is about to have everything of a person, [`EXPORTS_PER_HOUR`] times each at most.
    pub async fn exported(&self, person: &Person, by: &Actor, at: Timestamp) -> Result<(), Failure<EnoughExports>> {
        const COUNT: &str = "SELECT count(*) FROM audit
            WHERE workspace = $1 AND target_user = $2 AND action = 'person_exported' AND at > $3 AND actor = $4";
        let note = || async {
            let mut work = self.inner.store.database.work().await?;
            // So that several at once are counted one after the other.
            work.hold_word(person).await?;
            let [workspace, user] = of(person);
            let since = Arg::Int(at.minus(Duration::from_secs(3600)).as_millis());
            let rows = work.tx.rows(COUNT.into(), &[workspace, user, since, Arg::Text(by.id.as_str())]).await?;
            if rows.first().map_or(Ok(0), |row| row.int(0))? >= EXPORTS_PER_HOUR {
                return Err(Trouble::Refused(EnoughExports));
            }
            let what = Audited::PersonExported { user: person.user.clone() };
            work.audit(&person.workspace, by, at, what).await?;
            Ok(work.commit().await?)
        };
        let touched = again_if_raced(note).await?;
        self.inner.announce(&touched).await;
        Ok(())
    }

    /// What a person chose.
    pub async fn chosen(&self, person: &Person) -> Result<Chosen, Unavailable> {
        const READ: &str = "SELECT type, preference, 0 FROM user_preferences WHERE workspace = $1 AND user_id = $2
            UNION ALL SELECT '', role, seen_at FROM known_roles WHERE workspace = $1 AND user_id = $2";
        let rows = self.inner.store.database.rows(READ.into(), &of(person)).await;
        rows.and_then(|rows| chosen(&rows)).map_err(|error| unavailable(&error))
    }

    /// A person's devices, those included that were retired within [`super::RETIRED_KEPT`], in the order of their ids, those after `after`.
    pub async fn kept_devices(
        &self,
        person: &Person,
        after: Option<&DeviceId>,
    ) -> Result<Vec<KeptDevice>, Unavailable> {
        const READ: &str = "SELECT e.id, e.name, e.kind, e.model, e.state, e.key_thumbprint, e.reachable_since, c.claimed_at, e.permission,
                e.time_sensitive, e.quiet, e.enrolled_at, e.promoted_at, e.promoted_by,
                d.platform, d.app, d.environment, d.token, d.locale, d.last_seen, e.unreachable_since, e.retired_at
            FROM enrolments e
                LEFT JOIN devices d ON d.workspace = e.workspace AND d.user_id = e.user_id AND d.id = e.id
                LEFT JOIN claimed_tokens c ON c.workspace = e.workspace AND c.user_id = e.user_id AND c.device = e.id
            WHERE e.workspace = $1 AND e.user_id = $2 AND e.id > $3 ORDER BY e.id LIMIT $4";
        let [workspace, user] = of(person);
        let after = Arg::Text(after.map_or("", DeviceId::as_str));
        let rows = self.inner.store.database.rows(READ.into(), &[workspace, user, after, PAGE]).await;
        let kept = |row: &Row| Ok(KeptDevice { device: own(row)?, retired_at: row.maybe_int(21)?.map(Timestamp) });
        rows.and_then(|rows| rows.iter().map(kept).collect()).map_err(|error| unavailable(&error))
    }

    /// What a person's devices said they showed, in the order of type, event and device, those after `after`.
    pub async fn seen_marks(&self, person: &Person, after: Option<&SeenMark>) -> Result<Vec<SeenMark>, Unavailable> {
        const READ: &str = "SELECT type, event, device, seen_at FROM seen_marks
            WHERE workspace = $1 AND user_id = $2 AND (type, event, device) > ($3, $4, $5)
            ORDER BY type, event, device LIMIT $6";
        let [workspace, user] = of(person);
        let (kind, event, device) =
            after.map_or(("", "", ""), |mark| (mark.kind.name(), mark.event.as_str(), mark.device.as_str()));
        let args = [workspace, user, Arg::Text(kind), Arg::Text(event), Arg::Text(device), PAGE];
        let rows = self.inner.store.database.rows(READ.into(), &args).await;
        rows.and_then(|rows| rows.iter().map(mark).collect()).map_err(|error| unavailable(&error))
    }

    /// The tests that a person sent to themselves, in the order of their ids, those after `after`.
    pub async fn kept_tests(&self, person: &Person, after: Option<&EventId>) -> Result<Vec<KeptTest>, Unavailable> {
        const READ: &str = "SELECT id, type, at FROM self_tests
            WHERE workspace = $1 AND user_id = $2 AND id > $3 ORDER BY id LIMIT $4";
        let [workspace, user] = of(person);
        let after = Arg::Text(after.map_or("", EventId::as_str));
        let rows = self.inner.store.database.rows(READ.into(), &[workspace, user, after, PAGE]).await;
        let test = |row: &Row| {
            let id = EventId::new(row.text(0)?).map_err(bad_id)?;
            Ok(KeptTest { id, kind: kind(row.text(1)?)?, at: Timestamp(row.int(2)?) })
        };
        rows.and_then(|rows| rows.iter().map(test).collect()).map_err(|error| unavailable(&error))
    }

    /// The part of the audit trail that tells of a person, as who acted or as whom it concerned, newest first.
    pub async fn trail_of(&self, person: &Person, before: Option<Cursor>) -> Result<Page<AuditEntry>, Unavailable> {
        const READ: &str =
            "SELECT seq, id, workspace, at, actor, actor_role, action, type, from_value, to_value, target_user, target_device
            FROM audit WHERE workspace = $1 AND (target_user = $2 OR actor = $2) AND seq < $3 ORDER BY seq DESC LIMIT $4";
        let before = before.map_or(i64::MAX, |cursor| cursor.number);
        let [workspace, user] = of(person);
        let args = [workspace, user, Arg::Int(before), Arg::Int(PAGE_MAX as i64 + 1)];
        let rows = self.inner.store.database.rows(READ.into(), &args).await.map_err(|error| unavailable(&error))?;
        let read: Result<Vec<_>, sqlx::Error> =
            rows.iter().map(|row| Ok((Cursor { at: 0, number: row.int(0)? }, entry(row)?))).collect();
        Ok(Page::of(read.map_err(|error| unavailable(&error))?, PAGE_MAX))
    }
}

/// Rows of one page.
const PAGE: Arg<'static> = Arg::Int(PAGE_MAX as i64);

fn chosen(rows: &[Row]) -> Result<Chosen, sqlx::Error> {
    let mut chosen = Chosen { preferences: Vec::new(), role: None };
    for row in rows {
        let (name, value) = (row.text(0)?, row.text(1)?);
        if name.is_empty() {
            let role = Role::from_name(value).ok_or_else(|| unknown("role", value))?;
            chosen.role = Some((role, Timestamp(row.int(2)?)));
        } else {
            chosen.preferences.push((kind(name)?, super::preferences::preference(value)?));
        }
    }
    Ok(chosen)
}

fn bad_id(error: crate::event::IdError) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

fn mark(row: &Row) -> Result<SeenMark, sqlx::Error> {
    Ok(SeenMark {
        kind: kind(row.text(0)?)?,
        event: EventId::new(row.text(1)?).map_err(bad_id)?,
        device: DeviceId::new(row.text(2)?).map_err(bad_id)?,
        at: Timestamp(row.int(3)?),
    })
}
