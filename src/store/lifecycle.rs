//! What becomes of people and workspaces at upstream: keys are retired at once.
//!
//! The point: each counts once, by its id. What concerns one person is one transaction. What concerns a whole workspace is many small ones,
//! and the id is done when nothing is left: whoever repeats it after a kill does what is left, and whoever repeats it later does nothing.
//! What is read late concerns what began before it ([`Lifecycle::until`]): of devices, those that an older session enrolled, whenever that
//! was, so that nobody who is told to go enrols a phone that stays.
//!
//! It deliberately erases nothing: see [`Admin::erase`]. It fails by [`Unavailable`]; then some of it may be done, and doing it again is
//! harmless.
use super::admin::{Admin, Announced};
use super::database::{Arg, Sql};
use super::devices::Silenced;
use super::error::unavailable;
use super::read::UserKey;
use super::work::{Work, again_if_raced};
use crate::delivery::Notice;
use crate::event::{Timestamp, UserId, WorkspaceId};
use crate::people::{Actor, Audited, Lifecycle, News, Person, PersonChange};
use crate::seam::Unavailable;

/// Most people whose keys one transaction retires: some milliseconds of work, and one chunk of what Redis is told.
const PEOPLE: usize = 256;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// It was done before, by that id: nothing was written.
    pub again: bool,
    /// Devices whose keys were retired.
    pub devices: u64,
    /// Requests that were closed as cancelled.
    pub closed: u64,
    /// Whom to tell. Who left is told nothing.
    pub told: Option<Told>,
    /// Who knows of it.
    pub announced: Announced,
}

/// Somebody whose sessions were revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Who.
    pub person: Person,
    /// What they are told.
    pub notice: Notice,
    /// The retired phones that have to be told: pushes went there.
    pub phones: Vec<Silenced>,
}

/// What the store says of an id.
enum Begun {
    New,
    Unfinished,
    Done,
}

/// A statement about a list of people: `$1` the workspace, `$2` their ids as a JSON list.
macro_rules! of_people {
    ($before:literal, $after:literal) => {
        Sql {
            postgres: concat!($before, "(SELECT json_array_elements_text($2::text::json))", $after),
            sqlite: concat!($before, "(SELECT value FROM json_each($2))", $after),
        }
    };
}

impl Applied {
    const AGAIN: Self = Self { again: true, devices: 0, closed: 0, told: None, announced: Announced::Everywhere };

    fn and(self, announced: Announced, devices: u64, closed: u64) -> Self {
        let announced = if announced == Announced::NotYet { announced } else { self.announced };
        Self { again: false, devices: self.devices + devices, closed: self.closed + closed, told: None, announced }
    }
}

impl Admin {
    /// Does what follows from it, unless it was done before. The trail hears of it.
    pub async fn lifecycle(&self, told: &Lifecycle, by: &Actor, now: Timestamp) -> Result<Applied, Unavailable> {
        let applied = match told.of_person() {
            Some((person, what)) => self.of_person(told, (&person, what), by, now).await,
            None => self.of_workspace(told, by, now).await,
        };
        applied.map_err(|error| unavailable(&error))
    }

    async fn of_person(
        &self,
        told: &Lifecycle,
        (person, what): (&Person, PersonChange),
        by: &Actor,
        now: Timestamp,
    ) -> Result<Applied, sqlx::Error> {
        let (until, Person { workspace, user }) = (told.until(now), person);
        let attempt = || async {
            let mut work = self.inner.store.database.work().await?;
            work.hold_alone(person).await?;
            if !matches!(work.begin(told, now).await?, Begun::New) {
                return Ok(None);
            }
            let mut phones = work.ringing(person).await?;
            // The person before their requests, and these before devices: so do those who answer, and nobody waits in a ring.
            let closed = match what {
                PersonChange::SessionsRevoked => 0,
                PersonChange::Removed => {
                    work.hold_word(person).await?;
                    work.cancel_all(person, until, now).await?
                }
            };
            let devices = work.retire_people(workspace, std::slice::from_ref(user), until, now).await?;
            work.end_sessions(workspace, Some(user), until.unwrap_or(now)).await?;
            let mut applied = Applied { again: false, devices, closed, ..Applied::AGAIN };
            let audited = match what {
                PersonChange::SessionsRevoked => {
                    // A phone that is spared is not told that it was reset.
                    let notice = work.list_notice(person, &News::Reset { by: Some(by.role) }, now).await?;
                    let left = work.ringing(person).await?;
                    phones.retain(|phone| !left.contains(phone));
                    applied.told = Some(Told { person: person.clone(), notice, phones });
                    Audited::PersonReset { user: user.clone() }
                }
                PersonChange::Removed => {
                    work.forget_role(person, until).await?;
                    Audited::PersonRemoved { user: user.clone() }
                }
            };
            work.audit(workspace, by, now, audited).await?;
            work.over(told, now).await?;
            Ok::<_, sqlx::Error>(Some((applied, work.commit().await?)))
        };
        let Some((applied, touched)) = again_if_raced(attempt).await? else { return Ok(Applied::AGAIN) };
        Ok(Applied { announced: self.inner.announce(&touched).await, ..applied })
    }

    async fn of_workspace(&self, told: &Lifecycle, by: &Actor, now: Timestamp) -> Result<Applied, sqlx::Error> {
        let begin = || async {
            let mut work = self.inner.store.database.work().await?;
            let begun = work.begin(told, now).await?;
            if matches!(begun, Begun::New) {
                work.end_sessions(&told.workspace, None, now).await?;
                work.audit(&told.workspace, by, now, Audited::WorkspaceDeleted).await?;
            }
            Ok::<_, sqlx::Error>((begun, work.commit().await?))
        };
        let (begun, touched) = again_if_raced(begin).await?;
        if matches!(begun, Begun::Done) {
            return Ok(Applied::AGAIN);
        }
        let mut applied = Applied { again: false, ..Applied::AGAIN };
        applied = applied.and(self.inner.announce(&touched).await, 0, 0);
        let mut after = String::new();
        loop {
            let batch = || async {
                let mut work = self.inner.store.database.work().await?;
                let people = work.people_with_devices(&told.workspace, &after).await?;
                let Some(last) = people.last().cloned() else { return Ok(None) };
                let devices = work.retire_people(&told.workspace, &people, None, now).await?;
                Ok::<_, sqlx::Error>(Some((last, devices, work.commit().await?)))
            };
            let Some((last, devices, touched)) = again_if_raced(batch).await? else { break };
            applied = applied.and(self.inner.announce(&touched).await, devices, 0);
            last.as_str().clone_into(&mut after);
        }
        loop {
            let batch = || async {
                let mut work = self.inner.store.database.work().await?;
                let closed = work.cancel_some_of(&told.workspace, now).await?;
                let roles = work.forget_some_roles(&told.workspace).await?;
                Ok::<_, sqlx::Error>((closed, roles, work.commit().await?))
            };
            let (closed, roles, touched) = again_if_raced(batch).await?;
            if closed + roles == 0 {
                break;
            }
            applied = applied.and(self.inner.announce(&touched).await, 0, closed);
        }
        let end = || async {
            let mut work = self.inner.store.database.work().await?;
            work.over(told, now).await?;
            work.commit().await
        };
        again_if_raced(end).await?;
        Ok(applied)
    }
}

impl Work {
    /// Notes that it is being done, and says whether it was begun before. Whoever begins the same waits for this transaction.
    async fn begin(&mut self, told: &Lifecycle, now: Timestamp) -> Result<Begun, sqlx::Error> {
        const BEGIN: &str = "INSERT INTO lifecycle (workspace, id, what, user_id, begun_at) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT DO NOTHING RETURNING 1";
        const LOOK: &str =
            "SELECT done_at FROM lifecycle WHERE workspace = $1 AND id = $2 AND what = $3 AND user_id = $4";
        let [workspace, id, what, user] = named(told);
        let row = [workspace, id, what, user, Arg::Int(now.as_millis())];
        if !self.tx.rows(BEGIN.into(), &row).await?.is_empty() {
            return Ok(Begun::New);
        }
        let rows = self.tx.rows(LOOK.into(), &named(told)).await?;
        let done = rows.first().map_or(Ok(None), |row| row.maybe_int(0))?;
        Ok(if done.is_some() { Begun::Done } else { Begun::Unfinished })
    }

    async fn over(&mut self, told: &Lifecycle, now: Timestamp) -> Result<(), sqlx::Error> {
        const END: &str = "UPDATE lifecycle SET done_at = $5
            WHERE workspace = $1 AND id = $2 AND what = $3 AND user_id = $4 AND done_at IS NULL";
        let [workspace, id, what, user] = named(told);
        self.tx.execute(END.into(), &[workspace, id, what, user, Arg::Int(now.as_millis())]).await
    }

    /// Forgets a person's role, if a session told it that began before `until`.
    async fn forget_role(&mut self, person: &Person, until: Option<Timestamp>) -> Result<(), sqlx::Error> {
        const FORGET: &str = "DELETE FROM known_roles WHERE workspace = $1 AND user_id = $2 AND seen_at < $3";
        let [workspace, user] = super::preferences::of(person);
        self.tx.execute(FORGET.into(), &[workspace, user, before(until)]).await
    }

    /// Forgets the roles of [`PEOPLE`] people at most. Returns of how many; none are left after 0.
    async fn forget_some_roles(&mut self, workspace: &WorkspaceId) -> Result<u64, sqlx::Error> {
        const FORGET: &str = "DELETE FROM known_roles WHERE workspace = $1 AND user_id IN
            (SELECT user_id FROM known_roles WHERE workspace = $1 LIMIT $2) RETURNING 1";
        let args = [Arg::Text(workspace.as_str()), Arg::Int(PEOPLE as i64)];
        Ok(self.tx.rows(FORGET.into(), &args).await?.len() as u64)
    }

    /// The next people of a workspace who have a device that answers or rings.
    async fn people_with_devices(&mut self, workspace: &WorkspaceId, after: &str) -> Result<Vec<UserId>, sqlx::Error> {
        const NEXT: &str = "SELECT u.id FROM users u WHERE u.workspace = $1 AND u.id > $2 AND (
                EXISTS (SELECT 1 FROM enrolments e WHERE e.workspace = u.workspace AND e.user_id = u.id AND e.retired_at IS NULL)
                OR EXISTS (SELECT 1 FROM devices d WHERE d.workspace = u.workspace AND d.user_id = u.id))
            ORDER BY u.id LIMIT $3";
        let args = [Arg::Text(workspace.as_str()), Arg::Text(after), Arg::Int(PEOPLE as i64)];
        let id = |id: &str| UserId::new(id).map_err(|error| sqlx::Error::Decode(Box::new(error)));
        self.tx.rows(NEXT.into(), &args).await?.iter().map(|row| id(row.text(0)?)).collect()
    }

    /// Retires the devices of these people that a session enrolled which began before `until`, or nobody knows which one, with whatever was
    /// given out to enrol one. Returns how many devices.
    pub(super) async fn retire_people(
        &mut self,
        workspace: &WorkspaceId,
        people: &[UserId],
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<u64, sqlx::Error> {
        const RAISE: Sql = of_people!(
            "UPDATE users SET version = version + 1 WHERE workspace = $1 AND id IN ",
            " RETURNING id, version"
        );
        const RETIRE: Sql = of_people!(
            "UPDATE enrolments SET retired_at = $3
                WHERE workspace = $1 AND retired_at IS NULL AND (session IS NULL OR session < $4) AND user_id IN ",
            " RETURNING 1"
        );
        const FORGET: [Sql; 4] = [
            of_people!(
                "DELETE FROM devices WHERE workspace = $1 AND user_id IN ",
                " AND NOT EXISTS (SELECT 1 FROM enrolments e WHERE e.workspace = devices.workspace
                    AND e.user_id = devices.user_id AND e.id = devices.id AND e.retired_at IS NULL)"
            ),
            of_people!(
                "DELETE FROM claimed_tokens WHERE workspace = $1 AND user_id IN ",
                " AND NOT EXISTS (SELECT 1 FROM enrolments e WHERE e.workspace = claimed_tokens.workspace
                    AND e.user_id = claimed_tokens.user_id AND e.id = claimed_tokens.device AND e.retired_at IS NULL)"
            ),
            of_people!("DELETE FROM challenges WHERE workspace = $1 AND user_id IN ", ""),
            of_people!("DELETE FROM tickets WHERE workspace = $1 AND user_id IN ", ""),
        ];
        let list = |ids: &[&UserId]| {
            let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
            serde_json::to_string(&ids).map_err(|error| sqlx::Error::Encode(error.into()))
        };
        let key = |user: &UserId| UserKey { workspace: workspace.clone(), user: user.clone() };
        let all: Vec<&UserId> = people.iter().collect();
        let not_held: Vec<_> = all.iter().copied().filter(|id| !self.touched.users.contains_key(&key(id))).collect();
        let (ids, not_held) = (list(&all)?, list(&not_held)?);
        let whom = [Arg::Text(workspace.as_str()), Arg::Text(&ids)];
        // The people's rows first, as everything does that changes a person's devices.
        for row in &self.tx.rows(RAISE, &[whom[0], Arg::Text(&not_held)]).await? {
            let user = UserId::new(row.text(0)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            self.touched.users.insert(UserKey { workspace: workspace.clone(), user }, row.int(1)?);
        }
        let retired = self.tx.rows(RETIRE, &[whom[0], whom[1], Arg::Int(now.as_millis()), before(until)]).await?;
        for sql in FORGET {
            self.tx.execute(sql, &whom).await?;
        }
        Ok(retired.len() as u64)
    }
}

/// Before which second something must have begun: tokens tell whole ones.
pub(super) fn before(until: Option<Timestamp>) -> Arg<'static> {
    Arg::Int(until.map_or(i64::MAX, |until| super::roles::second(until).as_millis()))
}

/// The four arguments that name it.
fn named(told: &Lifecycle) -> [Arg<'_>; 4] {
    [
        Arg::Text(told.workspace.as_str()),
        Arg::Text(told.id.as_str()),
        Arg::Text(told.what.name()),
        Arg::Text(told.what.user().map_or("", UserId::as_str)),
    ]
}
