//! What is written about somebody while they are being erased: it waits for the erasure, and nothing from before stays.
use std::pin::Pin;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use watchbell::event::{DeviceId, NotificationType};
use watchbell::people::codec_outcome::JobEnded;
use watchbell::people::{Activity, Happening, Person, Role, Verb};
use watchbell::store::{Marked, Policy, RETIRED_KEPT};

use super::support::{after, answer, enrol_ada, id_of, sign_in};
use crate::store_support::{AT, Kind, Place, admin, device_of, event, over_both, person, phone, until};
use crate::support::SOON;

const KIND: NotificationType = NotificationType::IdentityVerification;

type Writing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Something that is written about a person, by a phone or a process that knew them before they were erased.
type Writer = fn(Policy, Person) -> Writing;

fn outcome(policy: Policy, person: Person) -> Writing {
    let (device, reason) = (None, "muted_by_user".to_owned());
    let (at, what, event) = (after(5), Happening::Suppressed, event("e1"));
    let ended = JobEnded { activity: Activity { person, at, what, kind: KIND, event, device, reason }, notice: None };
    Box::pin(async move { policy.requests().ended(&[ended], after(11)).await.map(drop).unwrap() })
}

fn seen(policy: Policy, person: Person) -> Writing {
    Box::pin(async move {
        let (device, shown) = (DeviceId::new(format!("of-{}", person.user)).unwrap(), [(KIND, event("e1"))]);
        let marked = policy.requests().seen(&person, &device, &shown, after(5)).await.unwrap();
        assert_eq!(marked, Marked::default());
    })
}

fn role(policy: Policy, person: Person) -> Writing {
    Box::pin(async move { policy.admin().note_role(&person, Role::Owner, after(5)).await.unwrap() })
}

fn cancel(policy: Policy, person: Person) -> Writing {
    let id = id_of(&sign_in(&person, "never-came", AT));
    Box::pin(async move { policy.requests().cancel(&id, None, after(300), after(5)).await.map(drop).unwrap() })
}

fn self_test(policy: Policy, person: Person) -> Writing {
    Box::pin(async move { policy.admin().send_test(&person, KIND, 9, after(5)).await.map(drop).unwrap() })
}

/// Ada says that it was not her, of which this person hears as one who administers the workspace.
fn alert(policy: Policy, _: Person) -> Writing {
    let word = answer(&sign_in(&person("acme", "ada"), "of-ada", AT), "d1", Verb::DenyNotMe, None);
    Box::pin(async move { policy.requests().decide(&word, after(5)).await.map(drop).unwrap() })
}

fn sweep(policy: Policy, _: Person) -> Writing {
    Box::pin(async move { policy.admin().sweep(after(5)).await.map(drop).unwrap() })
}

/// Whoever writes, and whether that has to wait: a sweep passes over what others hold.
const WRITERS: [(&str, Writer, bool); 7] = [
    ("the-outcome", outcome, true),
    ("the-seen", seen, true),
    ("the-role", role, true),
    ("the-cancel", cancel, true),
    ("the-test", self_test, true),
    ("the-alert", alert, true),
    ("the-sweep", sweep, false),
];

/// Of each writer somebody, with a phone that was retired long ago and one in use; who hears of alerts administers the workspace.
async fn people(policy: &Policy, place: &Place) {
    for (name, ..) in WRITERS {
        let (old, new) = (format!("old-{name}"), format!("of-{name}"));
        let devices = [old, new].map(|id| device_of("acme", name, phone(&id, &format!("token-{id}"))));
        policy.admin().write(&devices).await.unwrap();
    }
    policy.admin().note_role(&person("acme", "the-alert"), Role::Admin, AT).await.unwrap();
    enrol_ada(place, policy).await;
    let long_ago = AT.minus(RETIRED_KEPT + Duration::from_secs(60)).as_millis();
    place.execute(&format!("UPDATE enrolments SET retired_at = {long_ago} WHERE id = 'old-the-sweep'")).await;
    policy.requests().project(&sign_in(&person("acme", "ada"), "of-ada", AT), AT).await.unwrap();
}

/// What is in the store of that person, where nothing may be.
async fn left(place: &Place, name: &str) -> Vec<String> {
    let tables = ["activity", "seen_marks", "known_roles", "rolled_keys", "enrolments", "devices", "notices"];
    let rows = place.dump(&tables).await;
    rows.into_iter().filter(|row| row.contains(&format!("\"{name}\""))).collect()
}

/// How many of the database's transactions wait for another one.
async fn waiting(watch: &mut PgConnection) -> i64 {
    const WAITING: &str =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    sqlx::query_scalar(WAITING).fetch_one(watch).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_waits_for_the_erasure() {
    // An erasure is kept in its middle: it has deleted everything, and nobody sees that yet.
    let (place, policy) = Place::open(Kind::Postgres).await;
    people(&policy, &place).await;
    let url = place.config.store_url.as_ref().unwrap().expose_secret();
    let mut watch = PgConnection::connect(url).await.unwrap();
    let mut wrong = Vec::new();
    for (name, writer, waits) in WRITERS {
        let someone = person("acme", name);
        // What it writes last but for what it tells.
        let row = format!("INSERT INTO erased_people VALUES ('acme', '{name}', {})", AT.as_millis());
        place.execute(&row).await;
        let mut holder = PgConnection::connect(url).await.unwrap();
        let hold = format!("BEGIN; SELECT 1 FROM erased_people WHERE user_id = '{name}' FOR UPDATE");
        holder.execute(sqlx::raw_sql(AssertSqlSafe(hold))).await.unwrap();
        let (eraser, erased) = (policy.clone(), someone.clone());
        let erasing =
            tokio::spawn(async move { eraser.admin().erase(&erased, &admin("root"), after(10)).await.unwrap() });
        until("the erasure in its middle", SOON, async || (waiting(&mut watch).await == 1).then_some(())).await;
        let writing = tokio::spawn(writer(policy.clone(), someone));
        until("the other one", SOON, async || (writing.is_finished() || waiting(&mut watch).await == 2).then_some(()))
            .await;
        if writing.is_finished() == waits {
            wrong.push(format!("{name} does not wait"));
        }
        holder.close().await.unwrap();
        erasing.await.unwrap();
        writing.await.unwrap();
        wrong.extend(left(&place, name).await.into_iter().map(|row| format!("{name} leaves {row}")));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

over_both! {
    /// What comes right after an erasure, by a phone or a process that did not hear of it: nothing of it is kept.
    async fn whoever_comes_too_late_writes_nothing(policy: Policy, place: &Place) {
        people(&policy, place).await;
        for (name, writer, _) in WRITERS {
            policy.admin().erase(&person("acme", name), &admin("root"), after(10)).await.unwrap();
            writer(policy.clone(), person("acme", name)).await;
            assert_eq!(left(place, name).await, Vec::<String>::new(), "{name}");
        }
    }

    /// Everybody writes while everybody is erased: whoever was first, nothing from before stays.
    async fn all_at_once(policy: Policy, place: &Place) {
        people(&policy, place).await;
        let at_once = WRITERS.map(|(name, writer, _)| {
            let (eraser, writing) = (policy.clone(), tokio::spawn(writer(policy.clone(), person("acme", name))));
            let erased = person("acme", name);
            let erasing = tokio::spawn(async move { eraser.admin().erase(&erased, &admin("root"), after(10)).await.unwrap() });
            (name, writing, erasing)
        });
        for (name, writing, erasing) in at_once {
            erasing.await.unwrap();
            writing.await.unwrap();
            assert_eq!(left(place, name).await, Vec::<String>::new(), "{name}");
        }
    }
}
