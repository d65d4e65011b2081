//! Whom each type reaches in a workspace, and whom not and why.
//!
//! The point: the rule is one function of what is known of a person ([`unreached`]), applied to a thousand people at a time, so that neither
//! the number of people nor what is asked about them decides how much memory it takes. People of a workspace are those who signed in or have
//! a device: somebody who left has neither. It deliberately takes no snapshot of the whole: who changes meanwhile is counted as they were
//! when their page was read. Fails by [`Unavailable`].
use std::collections::HashMap;

use super::admin::Admin;
use super::database::{Arg, Row};
use super::error::unavailable;
use super::settings::unknown;
use crate::event::{NotificationType, Timestamp, UserId, WorkspaceId};
use crate::people::enrolment::{Reachability, Unreached, unreached};
use crate::people::{DeviceState, Permission};
use crate::policy::{Preference, Setting};
use crate::seam::Unavailable;

/// People that are read at once: some hundred kilobytes, and a few milliseconds of the store's time.
const PAGE: usize = 1_000;
/// Pages that one look for people whom a type does not reach reads at most, so that it ends in time where nearly everybody is reached.
const PAGES_MAX: usize = 20;

/// How many people of a workspace each type reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// People of the workspace.
    pub people: u64,
    /// One for each type, in the order of [`NotificationType::ALL`].
    pub types: [ReachOfType; NotificationType::COUNT],
}

/// The same of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReachOfType {
    /// The type.
    pub kind: NotificationType,
    /// What the workspace set for it.
    pub setting: Setting,
    /// People whom it reaches.
    pub reached: u64,
    /// People whom it does not reach, in the order of [`Unreached::ALL`].
    pub unreached: [u64; Unreached::ALL.len()],
}

/// Somebody whom a type does not reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreachedPerson {
    /// Who.
    pub user: UserId,
    /// What has to be mended first.
    pub why: Unreached,
    /// When an app of theirs reported last; `None` if none has somewhere for pushes to go.
    pub last_seen: Option<Timestamp>,
    /// Since when none of their phones is reached, if one was: when the last token died.
    pub unreachable_since: Option<Timestamp>,
}

/// What is known of one person.
#[derive(Default)]
struct Known {
    devices: Vec<Reachability>,
    off: Vec<NotificationType>,
    last_seen: Option<Timestamp>,
    unreachable_since: Option<Timestamp>,
}

impl Known {
    fn unreached(&self, kind: NotificationType, setting: Setting) -> Option<Unreached> {
        let preference = if self.off.contains(&kind) { Preference::Off } else { Preference::On };
        unreached(kind.is_actionable(), setting, preference, &self.devices)
    }
}

impl Admin {
    /// How many people each type reaches. Reads everybody, a page at a time.
    pub async fn reach(&self, workspace: &WorkspaceId) -> Result<Reach, Unavailable> {
        let settings = self.settings(workspace).await?.settings;
        let of = |kind: NotificationType| {
            let setting = settings[kind.index()].setting;
            ReachOfType { kind, setting, reached: 0, unreached: [0; Unreached::ALL.len()] }
        };
        let mut reach = Reach { people: 0, types: NotificationType::ALL.map(of) };
        let mut after = None;
        loop {
            let page = self.known_people(workspace, after.as_ref()).await?;
            reach.people += page.len() as u64;
            for (_, known) in &page {
                for of_type in &mut reach.types {
                    match known.unreached(of_type.kind, of_type.setting) {
                        None => of_type.reached += 1,
                        Some(why) => of_type.unreached[why as usize] += 1,
                    }
                }
            }
            if page.len() < PAGE {
                return Ok(reach);
            }
            after = page.into_iter().last().map(|(user, _)| user);
        }
    }

    /// People whom a type does not reach, at most `limit`, those after `after` in the order of their ids; `only` those with that reason.
    /// With the id after which to go on, if there may be more: there may be none of them on a page that has one after it.
    pub async fn unreached(
        &self,
        (workspace, kind): (&WorkspaceId, NotificationType),
        only: Option<Unreached>,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<(Vec<UnreachedPerson>, Option<UserId>), Unavailable> {
        let setting = self.settings(workspace).await?.settings[kind.index()].setting;
        let (mut found, mut after) = (Vec::new(), after);
        for _ in 0..PAGES_MAX {
            let page = self.known_people(workspace, after.as_ref()).await?;
            let is_last = page.len() < PAGE;
            for (user, known) in page {
                after = Some(user.clone());
                let Some(why) = known.unreached(kind, setting) else { continue };
                if only.is_none_or(|only| only == why) {
                    // Who is not reached for another reason may have one phone of several that is lost.
                    let unreachable_since = known.unreachable_since.filter(|_| why == Unreached::NotReachable);
                    found.push(UnreachedPerson { user, why, last_seen: known.last_seen, unreachable_since });
                }
                if found.len() >= limit {
                    return Ok((found, after));
                }
            }
            if is_last {
                return Ok((found, None));
            }
        }
        Ok((found, after))
    }

    /// The next people of a workspace, in the order of their ids.
    async fn known_people(
        &self,
        workspace: &WorkspaceId,
        after: Option<&UserId>,
    ) -> Result<Vec<(UserId, Known)>, Unavailable> {
        // Both lists are read from their beginning, as far as a page needs.
        const PEOPLE: &str = "SELECT user_id FROM (
                SELECT user_id FROM (SELECT user_id FROM known_roles
                    WHERE workspace = $1 AND user_id > $2 ORDER BY user_id LIMIT $3) AS signed_in
                UNION SELECT user_id FROM (SELECT DISTINCT user_id FROM enrolments
                    WHERE workspace = $1 AND user_id > $2 AND retired_at IS NULL ORDER BY user_id LIMIT $3) AS enrolled
            ) AS known ORDER BY user_id LIMIT $3";
        const KNOWN: &str = "SELECT e.user_id, e.state, e.permission, d.id, e.reachable_since, e.quiet, d.last_seen, e.unreachable_since
            FROM enrolments e LEFT JOIN devices d ON d.workspace = e.workspace AND d.user_id = e.user_id AND d.id = e.id
            WHERE e.workspace = $1 AND e.user_id >= $2 AND e.user_id <= $3 AND e.retired_at IS NULL
            UNION ALL SELECT user_id, '', type, NULL, NULL, 0, NULL, NULL FROM user_preferences
            WHERE workspace = $1 AND user_id >= $2 AND user_id <= $3 AND preference = 'off'";
        let (database, id) = (&self.inner.store.database, Arg::Text(workspace.as_str()));
        let read = async {
            let after = Arg::Text(after.map_or("", UserId::as_str));
            let rows = database.rows(PEOPLE.into(), &[id, after, Arg::Int(PAGE as i64)]).await?;
            let user = |row: &Row| UserId::new(row.text(0)?).map_err(|error| sqlx::Error::Decode(Box::new(error)));
            let people = rows.iter().map(user).collect::<Result<Vec<_>, _>>()?;
            let (Some(first), Some(last)) = (people.first(), people.last()) else { return Ok(Vec::new()) };
            let range = [id, Arg::Text(first.as_str()), Arg::Text(last.as_str())];
            let mut known: HashMap<String, Known> = HashMap::new();
            for row in &database.rows(KNOWN.into(), &range).await? {
                known.entry(row.text(0)?.to_owned()).or_default().learn(row)?;
            }
            let of = |user: UserId| {
                let known = known.remove(user.as_str()).unwrap_or_default();
                (user, known)
            };
            Ok(people.into_iter().map(of).collect())
        };
        read.await.map_err(|error: sqlx::Error| unavailable(&error))
    }
}

impl Known {
    /// A device, or, without a state, a type that the person turned off.
    fn learn(&mut self, row: &Row) -> Result<(), sqlx::Error> {
        let state = row.text(1)?;
        if state.is_empty() {
            // One that only a newer version knows is none that is asked about.
            self.off.extend(row.maybe_text(2)?.and_then(NotificationType::from_name));
            return Ok(());
        }
        let permission = row.maybe_text(2)?;
        let unreachable_since = row.maybe_int(7)?.map(Timestamp);
        let permission = permission.map(|name| Permission::from_name(name).ok_or_else(|| unknown("permission", name)));
        self.devices.push(Reachability {
            state: DeviceState::from_name(state).ok_or_else(|| unknown("state", state))?,
            has_token: row.maybe_text(3)?.is_some(),
            reachable: row.maybe_int(4)?.is_some(),
            lost: unreachable_since.is_some(),
            permission: permission.transpose()?,
            quiet: row.int(5)? != 0,
        });
        self.unreachable_since = self.unreachable_since.max(unreachable_since);
        self.last_seen = self.last_seen.max(row.maybe_int(6)?.map(Timestamp));
        Ok(())
    }
}
