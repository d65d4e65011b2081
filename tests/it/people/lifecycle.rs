//! What becomes of people and workspaces at upstream: keys are retired once, whatever is repeated or killed.
use std::time::Duration;

use watchbell::event::NotificationType;
use watchbell::people::{Actor, ActorRole, Audited, Lifecycle, LifecycleChange, PersonChange, Role, Verb};
use watchbell::policy::Preference;
use watchbell::store::{Applied, Change, LIFECYCLE_KEPT, Policy, Told};

use super::support::{after, answer, enrol_ada, heard, published, sign_in};
use crate::store_support::{AT, Place, ask, device_of, event, over_both, person, phone, user, ws};

/// Upstream, by its record `id`.
fn upstream(id: &str) -> Actor {
    Actor { id: user(id), role: ActorRole::Upstream }
}

async fn told(policy: &Policy, id: &str, what: LifecycleChange) -> Applied {
    let told = Lifecycle { id: event(id), workspace: ws("acme"), occurred_at: after(9), what };
    policy.admin().lifecycle(&told, &upstream(id), after(9)).await.unwrap()
}

/// How many devices of that workspace answer, and how many rows say where pushes go.
async fn left(place: &Place, workspace: &str) -> (usize, usize) {
    let enrolments = place.dump(&["enrolments"]).await;
    let ours = |row: &&String| row.contains(&format!("\"{workspace}\""));
    let living = |row: &&String| {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        // An object in PostgreSQL; in SQLite a list, with the column at its place.
        row.get("retired_at").or_else(|| row.get(16)).is_some_and(serde_json::Value::is_null)
    };
    let enrolled = enrolments.iter().filter(ours).filter(living).count();
    (enrolled, place.dump(&["devices"]).await.iter().filter(ours).count())
}

over_both! {
    /// Sessions that were revoked cost every key and no request; somebody who left, both. What they chose and what happened to them stays, and
    /// others keep what is theirs. The same record again does nothing, to devices that were enrolled since.
    async fn keys_are_retired_once(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        policy.admin().write(&[device_of("acme", "bob", phone("b1", "token-b1"))]).await.unwrap();
        let (ada, requests) = (person("acme", "ada"), policy.requests());
        policy.admin().switch(&ada, NotificationType::OtpReceived, Preference::Off, None).await.unwrap();
        let asked = sign_in(&ada, "e1", AT);
        requests.project(&asked, AT).await.unwrap();
        policy.admin().note_role(&ada, Role::Owner, AT).await.unwrap();
        policy.devices().ticket(&ada, &crate::store_support::admin("root"), None, AT).await.unwrap();

        let revoked = LifecycleChange::Person(user("ada"), PersonChange::SessionsRevoked);
        let done = told(&policy, "l1", revoked.clone()).await;
        assert_eq!((done.again, done.devices, done.closed), (false, 3, 0));
        let Told { person: of, notice, phones } = done.told.unwrap();
        assert_eq!(of, ada);
        let silenced: Vec<_> = phones.iter().map(|phone| phone.device.as_str()).collect();
        assert_eq!(silenced, ["d1", "d2", "d3"], "the courier has to tell them");
        let listed = policy.notices().list(&ada, true, None, 9, after(9)).await.unwrap().items;
        let by = Some(ActorRole::Upstream);
        assert_eq!((&listed[0].id, &listed[0].news), (&notice.id, &watchbell::people::News::Reset { by }));
        assert_eq!(left(place, "acme").await, (1, 1), "bob's");
        assert!(place.dump(&["tickets"]).await.is_empty());
        assert_eq!(ask(&policy, "acme", &["ada"]).await.unwrap().users[0].device_count(), 0);
        assert_eq!(requests.pending(&ada, None, 200, AT).await.unwrap().items.len(), 1);
        assert_eq!(policy.admin().known_role(&ada).await.unwrap(), Some(Role::Owner));
        let late = requests.decide(&answer(&asked, "d1", Verb::Approve, None), after(10)).await;
        assert!(late.unwrap_err().to_string().contains("any more"), "a retired key answers nothing");

        policy.admin().write(&[device_of("acme", "ada", phone("d4", "token-d4"))]).await.unwrap();
        let again = told(&policy, "l1", revoked.clone()).await;
        assert_eq!((again.again, again.devices, again.told), (true, 0, None));
        assert_eq!(left(place, "acme").await, (2, 2), "what was enrolled since stays");

        let done = told(&policy, "l2", LifecycleChange::Person(user("ada"), PersonChange::Removed)).await;
        assert_eq!((done.again, done.devices, done.closed, done.told), (false, 1, 1, None), "who left is told nothing");
        assert!(requests.pending(&ada, None, 200, AT).await.unwrap().items.is_empty());
        assert_eq!(policy.admin().known_role(&ada).await.unwrap(), None);
        let entry = ask(&policy, "acme", &["ada"]).await.unwrap().users.remove(0);
        assert_eq!(entry.preference(NotificationType::OtpReceived), Preference::Off, "erasing is another call");
        assert!(!requests.recent(&ada, None, 9).await.unwrap().items.is_empty());
        let nobody = told(&policy, "l3", LifecycleChange::Person(user("nobody"), PersonChange::Removed)).await;
        assert_eq!((nobody.again, nobody.devices, nobody.closed), (false, 0, 0));

        let decisions = published(&policy).await.decisions();
        assert_eq!(heard(&decisions, "e1").split_off(1), ["Cancelled"]);
        let trail = policy.admin().audit_trail(&ws("acme"), None, 9).await.unwrap().items;
        let whats: Vec<_> = trail.iter().map(|entry| (entry.actor.clone(), entry.what.clone())).collect();
        let (ada, nobody) = (user("ada"), user("nobody"));
        assert_eq!(whats[..3], [
            (upstream("l3"), Audited::PersonRemoved { user: nobody }),
            (upstream("l2"), Audited::PersonRemoved { user: ada.clone() }),
            (upstream("l1"), Audited::PersonReset { user: ada }),
        ]);
    }

    /// A workspace of more people than one transaction takes is gone, and another one untouched. Killed in between, it is done by whoever
    /// is told again, and the trail has it once.
    async fn a_workspace_is_deleted(policy: Policy, place: &Place) {
        const PEOPLE: usize = 600;
        let names: Vec<String> = (0..PEOPLE).map(|n| format!("u{n}")).collect();
        let devices: Vec<Change> =
            names.iter().map(|name| device_of("acme", name, phone("p", &format!("token-{name}")))).collect();
        policy.admin().write(&devices).await.unwrap();
        policy.admin().write(&[device_of("globex", "u1", phone("p", "token-u1"))]).await.unwrap();
        for name in &names[..70] {
            policy.requests().project(&sign_in(&person("acme", name), &format!("of-{name}"), AT), AT).await.unwrap();
        }
        policy.admin().note_role(&person("acme", "u3"), Role::Admin, AT).await.unwrap();
        // Others have them in memory: they are told.
        assert_eq!(ask(&policy, "acme", &["u599"]).await.unwrap().users[0].device_count(), 1);
        let done = told(&policy, "l1", LifecycleChange::WorkspaceDeleted).await;
        assert_eq!((done.again, done.devices, done.closed), (false, PEOPLE as u64, 70));
        assert_eq!((left(place, "acme").await, left(place, "globex").await), ((0, 0), (1, 1)));
        assert_eq!(ask(&policy, "acme", &["u599"]).await.unwrap().users[0].device_count(), 0);
        assert!(policy.requests().pending(&person("acme", "u3"), None, 200, AT).await.unwrap().items.is_empty());
        assert_eq!(policy.admin().known_role(&person("acme", "u3")).await.unwrap(), None);

        // As a kill leaves it: begun, not done, and something left.
        place.execute("UPDATE lifecycle SET done_at = NULL").await;
        policy.admin().write(&[device_of("acme", "new", phone("p", "token-new"))]).await.unwrap();
        let resumed = told(&policy, "l1", LifecycleChange::WorkspaceDeleted).await;
        assert_eq!((resumed.again, resumed.devices, resumed.closed), (false, 1, 0));
        assert!(told(&policy, "l1", LifecycleChange::WorkspaceDeleted).await.again);
        let trail = policy.admin().audit_trail(&ws("acme"), None, 9).await.unwrap().items;
        assert_eq!(trail.iter().map(|entry| entry.what.clone()).collect::<Vec<_>>(), [Audited::WorkspaceDeleted]);
        assert_eq!(published(&policy).await.decisions().len(), 140, "each was asked and closed, once");
    }

    /// Two who are told the same at once do it once; ids are remembered for as long as is said.
    async fn the_same_at_once_counts_once(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let removed = || LifecycleChange::Person(user("ada"), PersonChange::Removed);
        let (one, other) = tokio::join!(told(&policy, "l1", removed()), told(&policy, "l1", removed()));
        assert_eq!((u8::from(one.again) + u8::from(other.again), one.devices + other.devices), (1, 3));
        let ms = Duration::from_millis(1);
        policy.outbox().backlog(watchbell::seam::OutboxTopic::Audit, AT).await.unwrap();
        // What ended their sessions goes long before.
        assert_eq!(policy.admin().sweep(after(9).plus(LIFECYCLE_KEPT)).await.unwrap(), 1);
        // With what the three phones were called.
        assert_eq!(policy.admin().sweep(after(9).plus(LIFECYCLE_KEPT + ms)).await.unwrap(), 4);
        assert!(!told(&policy, "l1", removed()).await.again);
    }
}
