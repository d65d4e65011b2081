//! What is known of other people's roles: as of their last call, noted in the store at most once an hour for each.
//!
//! The point: who may do what to whom depends on both roles, and a token tells of one. It fails softly: a note that could not be made is
//! made with the next call, and who has none counts as a user.
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::auth::{Caller, Role};
use super::state::Api;
use crate::event::Timestamp;
use crate::people::Person;

/// How long a note is taken to be in the store as it was written.
const NOTED_FOR: Duration = Duration::from_secs(3_600);
/// Notes that are remembered: some 10 MB. When they are more they are all forgotten, and written once more.
const REMEMBERED_MAX: usize = 65_536;
/// Workspaces of one token whose roles are noted; a token has a handful.
const WORKSPACES_MAX: usize = 32;

/// What this process wrote.
#[derive(Default)]
pub(super) struct Roles(Mutex<HashMap<Person, (Role, Timestamp)>>);

impl Roles {
    /// Notes the roles that a caller's token gives them, as of its issue: a token that is older than another one changes nothing.
    pub(super) async fn note(&self, api: &Api, caller: &Caller) {
        let now = api.now();
        for (workspace, role) in caller.workspaces().take(WORKSPACES_MAX) {
            let person = Person { workspace: workspace.clone(), user: caller.user.clone() };
            if self.is_noted(&person, role, now) {
                continue;
            }
            match api.policy().admin().note_role(&person, role, caller.issued_at).await {
                Ok(()) => self.remember(person, role, now),
                Err(unavailable) => tracing::debug!(%unavailable, "a role was not noted"),
            }
        }
    }

    fn is_noted(&self, person: &Person, role: Role, now: Timestamp) -> bool {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.get(person).is_some_and(|(known, at)| *known == role && now.since(*at) < NOTED_FOR)
    }

    fn remember(&self, person: Person, role: Role, now: Timestamp) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= REMEMBERED_MAX {
            noted.clear();
        }
        noted.insert(person, (role, now));
    }

    /// Forgets a person who was erased, so that their next call is noted again.
    pub(super) fn forget(&self, person: &Person) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(person);
    }
}
