//! Reading the store of record: any number of people, workspaces and withdrawals in one statement, hence in one snapshot.
//!
//! The point: a person's version, preferences and devices never come from different moments. It deliberately does not cache. A row that
//! this version cannot read (a setting of a newer one, say) is [`Unreadable`], never a default: nobody is rung against policy, and
//! everybody else is answered.
use std::collections::HashMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::database::{Arg, Database, Row, Sql};
use super::unreadable::{Readable, Unreadable};
use crate::event::{DeviceId, EventId, NotificationType, Timestamp, WorkspaceId};
pub(super) use crate::people::Person as UserKey;
use crate::policy::{
    Detail, Device, Environment, Installation, Platform, Preference, Setting, Token, User, UserEntry, Workspace,
};

/// One event that may have been withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct EventKey {
    pub(super) workspace: WorkspaceId,
    pub(super) kind: NotificationType,
    pub(super) event: EventId,
}

/// What to read.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub(super) workspaces: Vec<WorkspaceId>,
    pub(super) users: Vec<UserKey>,
    pub(super) events: Vec<EventKey>,
}

impl Wanted {
    /// Keys in all.
    pub(super) fn len(&self) -> usize {
        self.workspaces.len() + self.users.len() + self.events.len()
    }

    /// Whether nothing is wanted.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Wants the other's too, behind its own.
    pub(super) fn extend(&mut self, other: &Self) {
        self.workspaces.extend_from_slice(&other.workspaces);
        self.users.extend_from_slice(&other.users);
        self.events.extend_from_slice(&other.events);
    }
}

/// What was read, in the order of [`Wanted`].
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) workspaces: Vec<Readable<Arc<Workspace>>>,
    pub(super) users: Vec<Readable<UserEntry>>,
    /// Until when each is withdrawn.
    pub(super) events: Vec<Option<Timestamp>>,
}

impl Found {
    /// Takes what was found for the first of those who wanted.
    pub(super) fn split_off_front(&mut self, wanted: &Wanted) -> Self {
        Self {
            workspaces: self.workspaces.drain(..wanted.workspaces.len()).collect(),
            users: self.users.drain(..wanted.users.len()).collect(),
            events: self.events.drain(..wanted.events.len()).collect(),
        }
    }

    /// The rows that this version cannot read.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = &Arc<Unreadable>> {
        let workspaces = self.workspaces.iter().filter_map(|row| row.as_ref().err());
        workspaces.chain(self.users.iter().filter_map(|row| row.as_ref().err()))
    }
}

/// One statement for all three: `$1` the people, `$2` the workspaces, `$3` the events, each as JSON.
const READ: Sql = Sql {
    postgres: "
SELECT 'user' AS kind, u.workspace AS workspace, u.id AS id, u.version AS number,
    (SELECT json_agg(json_build_array(p.type, p.preference)) FROM user_preferences p
        WHERE p.workspace = u.workspace AND p.user_id = u.id)::text AS one,
    (SELECT json_agg(json_build_array(d.id, d.platform, d.app, d.environment, d.token, d.locale, d.registered_at, coalesce(e.quiet, 0)))
        FROM devices d LEFT JOIN enrolments e ON e.workspace = d.workspace AND e.user_id = d.user_id AND e.id = d.id
        WHERE d.workspace = u.workspace AND d.user_id = u.id)::text AS two,
    NULL AS three
FROM json_array_elements($1::text::json) AS asked (key) JOIN users u ON u.workspace = asked.key ->> 0 AND u.id = asked.key ->> 1
UNION ALL
SELECT 'workspace', w.id, '', w.version,
    (SELECT json_agg(json_build_array(s.type, s.setting)) FROM workspace_settings s WHERE s.workspace = w.id)::text,
    w.display_name, w.detail
FROM json_array_elements_text($2::text::json) AS asked (key) JOIN workspaces w ON w.id = asked.key
UNION ALL
SELECT 'event', c.workspace, c.event, c.until, c.type, NULL, NULL
FROM json_array_elements($3::text::json) AS asked (key)
    JOIN withdrawals c ON c.workspace = asked.key ->> 0 AND c.type = asked.key ->> 1 AND c.event = asked.key ->> 2",
    sqlite: "
SELECT 'user' AS kind, u.workspace AS workspace, u.id AS id, u.version AS number,
    (SELECT json_group_array(json_array(p.type, p.preference)) FROM user_preferences p
        WHERE p.workspace = u.workspace AND p.user_id = u.id) AS one,
    (SELECT json_group_array(json_array(d.id, d.platform, d.app, d.environment, d.token, d.locale, d.registered_at, coalesce(e.quiet, 0)))
        FROM devices d LEFT JOIN enrolments e ON e.workspace = d.workspace AND e.user_id = d.user_id AND e.id = d.id
        WHERE d.workspace = u.workspace AND d.user_id = u.id) AS two,
    NULL AS three
FROM json_each($1) AS asked JOIN users u ON u.workspace = asked.value ->> 0 AND u.id = asked.value ->> 1
UNION ALL
SELECT 'workspace', w.id, '', w.version,
    (SELECT json_group_array(json_array(s.type, s.setting)) FROM workspace_settings s WHERE s.workspace = w.id),
    w.display_name, w.detail
FROM json_each($2) AS asked JOIN workspaces w ON w.id = asked.value
UNION ALL
SELECT 'event', c.workspace, c.event, c.until, c.type, NULL, NULL
FROM json_each($3) AS asked
    JOIN withdrawals c ON c.workspace = asked.value ->> 0 AND c.type = asked.value ->> 1 AND c.event = asked.value ->> 2",
};

impl Database {
    /// What the store knows; [`UserEntry::unknown`] and [`Workspace::unknown`] where it has no row.
    pub(super) async fn read(&self, wanted: &Wanted) -> Result<Found, sqlx::Error> {
        let json = |value: serde_json::Value| value.to_string();
        let users = json(wanted.users.iter().map(|key| [key.workspace.as_str(), key.user.as_str()]).collect());
        let workspaces = json(wanted.workspaces.iter().map(WorkspaceId::as_str).collect());
        let events = json(
            wanted.events.iter().map(|key| [key.workspace.as_str(), key.kind.name(), key.event.as_str()]).collect(),
        );
        let rows = self.rows(READ, &[Arg::Text(&users), Arg::Text(&workspaces), Arg::Text(&events)]).await?;
        Ok(Rows::decode(&rows)?.in_order_of(wanted))
    }
}

/// The rows by their keys.
#[derive(Default)]
struct Rows<'a> {
    users: HashMap<(&'a str, &'a str), Readable<UserEntry>>,
    workspaces: HashMap<&'a str, Readable<Arc<Workspace>>>,
    events: HashMap<(&'a str, &'a str, &'a str), Timestamp>,
}

impl<'a> Rows<'a> {
    fn decode(rows: &'a [Row]) -> Result<Self, sqlx::Error> {
        let mut all = Self::default();
        for row in rows {
            let (workspace, id) = (row.text(1)?, row.text(2)?);
            match row.text(0)? {
                "user" => {
                    let entry = user(row).map_err(|why| Unreadable::new(workspace, Some(id), why));
                    all.users.insert((workspace, id), entry);
                }
                "workspace" => {
                    let entry = self::workspace(row).map(Arc::new);
                    all.workspaces.insert(workspace, entry.map_err(|why| Unreadable::new(workspace, None, why)));
                }
                _ => {
                    all.events.insert((workspace, row.text(4)?, id), Timestamp(row.int(3)?));
                }
            }
        }
        Ok(all)
    }

    fn in_order_of(&self, wanted: &Wanted) -> Found {
        let user = |key: &UserKey| self.users.get(&(key.workspace.as_str(), key.user.as_str())).cloned();
        let workspace = |id: &WorkspaceId| self.workspaces.get(id.as_str()).cloned();
        let event =
            |key: &EventKey| self.events.get(&(key.workspace.as_str(), key.kind.name(), key.event.as_str())).copied();
        let unknown_workspace = || Ok(Arc::new(Workspace::unknown()));
        Found {
            workspaces: wanted.workspaces.iter().map(|id| workspace(id).unwrap_or_else(unknown_workspace)).collect(),
            users: wanted.users.iter().map(|key| user(key).unwrap_or_else(|| Ok(UserEntry::unknown()))).collect(),
            events: wanted.events.iter().map(event).collect(),
        }
    }
}

/// What is wrong with a row, and with which part of it.
type Wrong = String;

fn user(row: &Row) -> Result<UserEntry, Wrong> {
    let mut user = User { version: version(row)?, ..Default::default() };
    for (kind, preference) in list::<(NotificationType, Preference)>(row, 4, "its preferences")? {
        user.preferences[kind.index()] = preference;
    }
    const DEVICES: &str = "its devices";
    for (id, platform, app, environment, token, locale, registered_at, quiet) in list::<DeviceRow>(row, 5, DEVICES)? {
        user.devices.push(Device {
            id: DeviceId::new(id).map_err(wrong(DEVICES))?,
            installation: Installation { platform, app: app.into(), environment, token: Token::new(token) },
            locale,
            registered_at: Timestamp(registered_at),
            quiet: quiet != 0,
        });
    }
    user.devices.sort_unstable_by(|one, two| one.id.cmp(&two.id));
    UserEntry::pack(&user).map_err(wrong(DEVICES))
}

type DeviceRow = (String, Platform, String, Environment, String, String, i64, i64);

fn workspace(row: &Row) -> Result<Workspace, Wrong> {
    let mut workspace = Workspace {
        version: version(row)?,
        display_name: row.text(5).map_err(wrong("its display name"))?.to_owned(),
        detail: detail(row)?,
        ..Workspace::unknown()
    };
    for (kind, setting) in list::<(NotificationType, Setting)>(row, 4, "its settings")? {
        workspace.settings[kind.index()] = setting;
    }
    Ok(workspace)
}

fn detail(row: &Row) -> Result<Detail, Wrong> {
    const PART: &str = "its detail";
    serde_json::from_value(row.text(6).map_err(wrong(PART))?.into()).map_err(wrong(PART))
}

fn version(row: &Row) -> Result<u64, Wrong> {
    const PART: &str = "its version";
    u64::try_from(row.int(3).map_err(wrong(PART))?).map_err(wrong(PART))
}

/// A JSON array; NULL is an empty one.
fn list<T: DeserializeOwned>(row: &Row, column: usize, part: &'static str) -> Result<Vec<T>, Wrong> {
    match row.text_or_empty(column).map_err(wrong(part))? {
        "" => Ok(Vec::new()),
        json => serde_json::from_str(json).map_err(wrong(part)),
    }
}

/// A decoder's error names a word that it does not know, or a type: never a token, which is text and may be any.
fn wrong<E: std::fmt::Display>(part: &'static str) -> impl Fn(E) -> Wrong {
    move |error| format!("{part}: {error}")
}
