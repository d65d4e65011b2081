//! What policy said and when, and what the worker may hence have done about each event.
//!
//! A value may be used for an event if it was written by the time the event ended, and was not replaced for longer than the promised bound
//! when the event was emitted. Whatever else is found at the simulator or among the outcomes is a failure.
use std::collections::HashMap;
use std::time::Duration;

use watchbell::event::{NotificationType, Timestamp, UserId, WorkspaceId, wire};
use watchbell::policy::{Preference, Setting};
use watchbell::seam::{Clock as _, SystemClock};
use watchbell::store::Change;

use crate::account::{Emitted, arrivals};
use crate::support::stage::{Stage, WORKSPACE};

/// The tests' clock is the wall's, the bound is kept by the worker's monotonic one: what a correction may put between them.
const CLOCKS_APART: Duration = Duration::from_millis(50);

/// A value with the moments before its write and after the acknowledgement.
struct Written<V> {
    value: V,
    began: Timestamp,
    acknowledged: Timestamp,
}

/// Everything that was written, in its order.
#[derive(Default)]
pub struct Ledger {
    settings: HashMap<NotificationType, Vec<Written<Setting>>>,
    preferences: HashMap<(String, NotificationType), Vec<Written<Preference>>>,
}

/// What became of everything that was emitted.
#[derive(Debug, Default)]
pub struct Audit {
    pub accepted: usize,
    pub suppressed: usize,
    pub expired: usize,
    /// Events whose ending was decided by what was written while the test ran.
    pub obeyed: usize,
}

impl Ledger {
    /// Writes to the store, and remembers it.
    pub fn write(&mut self, stage: &Stage, changes: &[Change]) {
        let began = SystemClock.now();
        stage.write(changes);
        let acknowledged = SystemClock.now();
        for change in changes {
            match change {
                Change::Setting { kind, setting, .. } => {
                    let written = Written { value: *setting, began, acknowledged };
                    self.settings.entry(*kind).or_default().push(written);
                }
                Change::Preference { user, kind, preference, .. } => {
                    let written = Written { value: *preference, began, acknowledged };
                    self.preferences.entry((user.as_str().to_owned(), *kind)).or_default().push(written);
                }
                Change::Workspace { .. } | Change::Device { .. } => panic!("the ledger is about what may ring"),
            }
        }
    }

    /// Asserts that each event has one ending, that policy and deadlines were obeyed, and that phones got what was accepted, each once and
    /// in the order of its key. Nothing may still be on its way: the workers have ended.
    pub fn audit(&self, stage: &Stage, emitted: &[Emitted], bound: Duration) -> Audit {
        let mut by_job: HashMap<Vec<u8>, Vec<wire::Outcome>> = HashMap::new();
        for outcome in stage.outcomes() {
            by_job.entry(outcome.job_id.clone()).or_default().push(outcome);
        }
        let arrived = arrivals(stage, emitted);
        let mut audit = Audit::default();
        for one in emitted {
            let of_either = [one.job(), one.job_without_phone()];
            let endings: Vec<wire::Outcome> =
                of_either.iter().flat_map(|job| by_job.remove(job.as_bytes().as_slice()).unwrap_or_default()).collect();
            let [ending] = endings.as_slice() else { panic!("{one:?} has not one ending: {endings:?}") };
            let times = arrived.get(&one.job().to_string()).copied().unwrap_or(0);
            let wanted = usize::from(ending.ending() == wire::Ending::Accepted);
            assert_eq!(times, wanted, "pushes of {one:?}, which ended as {ending:?}");
            self.check(one, ending, bound, &mut audit);
        }
        assert!(by_job.is_empty(), "endings of what nobody emitted: {by_job:?}");
        audit
    }

    fn check(&self, one: &Emitted, ending: &wire::Outcome, bound: Duration, audit: &mut Audit) {
        let ended = ended_at(ending);
        let (settings, preferences) =
            (self.settings.get(&one.kind), self.preferences.get(&(one.user.clone(), one.kind)));
        let settings = usable(settings, Setting::Enabled, one.at, ended, bound);
        let preferences = usable(preferences, Preference::On, one.at, ended, bound);
        let both = settings.iter().flat_map(|setting| preferences.iter().map(|preference| (*setting, *preference)));
        let allowed: Vec<Option<&str>> = both.map(suppression).collect();
        let before = suppression((Setting::Enabled, Preference::On));
        audit.obeyed += usize::from(allowed.iter().all(|reason| *reason != before));
        match ending.ending() {
            wire::Ending::Accepted => {
                assert!(allowed.contains(&None), "pushed against policy ({allowed:?}): {one:?} {ending:?}");
                audit.accepted += 1;
            }
            wire::Ending::Suppressed => {
                let reason = Some(ending.reason.as_str());
                assert!(allowed.contains(&reason), "kept back against policy ({allowed:?}): {one:?} {ending:?}");
                audit.suppressed += 1;
            }
            wire::Ending::Expired => {
                assert!(ended >= one.expires_at, "expired before its deadline: {one:?} {ending:?}");
                audit.expired += 1;
            }
            _ => panic!("{one:?} ended as {ending:?}"),
        }
    }
}

/// The rule, in words of its own: why there is no push.
fn suppression(both: (Setting, Preference)) -> Option<&'static str> {
    match both {
        (Setting::Disabled, _) => Some("disabled_by_workspace"),
        (Setting::Enabled, Preference::Off) => Some("muted_by_user"),
        (Setting::Enabled, Preference::On) | (Setting::Enforced, _) => None,
    }
}

fn usable<V: Copy>(
    history: Option<&Vec<Written<V>>>,
    first: V,
    emitted: Timestamp,
    ended: Timestamp,
    bound: Duration,
) -> Vec<V> {
    let history = history.map(Vec::as_slice).unwrap_or_default();
    let values =
        std::iter::once((first, Timestamp(0))).chain(history.iter().map(|written| (written.value, written.began)));
    let replaced = history.iter().map(|written| Some(written.acknowledged)).chain([None]);
    values
        .zip(replaced)
        .filter(|((_, began), replaced)| {
            *began <= ended && replaced.is_none_or(|at| emitted <= at.plus(bound + CLOCKS_APART))
        })
        .map(|((value, _), _)| value)
        .collect()
}

fn ended_at(outcome: &wire::Outcome) -> Timestamp {
    let at = outcome.ended_at.unwrap();
    Timestamp(at.seconds * 1_000 + i64::from(at.nanos) / 1_000_000)
}

/// The preference of each of these people, for every type.
pub fn preferences(people: &[String], preference: Preference) -> Vec<Change> {
    let each = people.iter().flat_map(|user| NotificationType::ALL.map(|kind| (user, kind)));
    each.map(|(user, kind)| Change::Preference {
        workspace: WorkspaceId::new(WORKSPACE).unwrap(),
        user: UserId::new(user.as_str()).unwrap(),
        kind,
        preference,
    })
    .collect()
}

/// The workspace's setting of one type.
pub fn setting(kind: NotificationType, setting: Setting) -> Change {
    Change::Setting { workspace: WorkspaceId::new(WORKSPACE).unwrap(), kind, setting }
}
