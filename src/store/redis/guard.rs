//! The fatigue guard's common count: one script for each person, all people of a request in one round trip.
//!
//! The point: however many workers there are, and wherever a request comes from, one person has one count. Deliberately not read or cached
//! here: the script decides and counts at once, by Redis's own clock. It fails as `None`, within the time that a round trip may take; the
//! caller counts by itself then.
use std::sync::LazyLock;
use std::time::Duration;

use redis::{Script, pipe};

use super::Redis;
use crate::policy::{Guard, Heard, Ring};
use crate::seam::Ringing;
use crate::store::read::UserKey;

/// See its file.
pub(super) static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("guard.lua")));

impl Redis {
    /// Counts a request for each of its people.
    pub(in crate::store) async fn ring(&self, ringing: Ringing<'_>) -> Option<Vec<Ring>> {
        let session = self.link.session()?;
        let (workspace, guard) = (ringing.workspace.as_str(), ringing.guard);
        let request = format!("{}:{}", ringing.kind.name(), ringing.event);
        let mut asked = pipe();
        asked.cmd("TIME");
        for user in ringing.users {
            let command = asked.cmd("EVALSHA").arg(SCRIPT.get_hash()).arg(1);
            command.arg(session.keys.guard(workspace, user.as_str())).arg("ring").arg(guard.window.as_millis() as u64);
            command.arg(guard.max).arg(&request);
        }
        let (_, answers) = self.link.exchange(&session, &asked).await?;
        let said = |answer| match redis::from_redis_value::<i64>(answer).ok()? {
            0 => Some(Ring::Rings),
            answer => Some(Ring::HeldBack { first: answer == 2 }),
        };
        answers.into_iter().map(said).collect::<Option<Vec<_>>>().filter(|all| all.len() == ringing.users.len())
    }

    /// Tells one person's count of an answer. False if Redis cannot be asked.
    pub(in crate::store) async fn hear(&self, person: &UserKey, heard: Heard, ago: Duration, guard: &Guard) -> bool {
        let Some(session) = self.link.session() else { return false };
        let what = match heard {
            Heard::Approved => "approved",
            Heard::NotMe => "not_me",
        };
        let mut told = pipe();
        told.cmd("TIME");
        let key = session.keys.guard(person.workspace.as_str(), person.user.as_str());
        let command = told.cmd("EVALSHA").arg(SCRIPT.get_hash()).arg(1).arg(key).arg(what);
        command.arg(guard.window.as_millis() as u64).arg(ago.as_millis() as u64);
        self.link.exchange(&session, &told).await.is_some()
    }

    /// Forgets a person's count. False if Redis cannot be asked; it goes by itself after a window.
    pub(in crate::store) async fn forget_guard(&self, person: &UserKey) -> bool {
        let Some(session) = self.link.session() else { return false };
        let mut asked = pipe();
        asked.cmd("TIME").cmd("DEL").arg(session.keys.guard(person.workspace.as_str(), person.user.as_str()));
        self.link.exchange(&session, &asked).await.is_some()
    }
}
