//! From when on a person's sessions count, and who is told what as one who administers a workspace.
use std::time::Duration;

use watchbell::event::Timestamp;
use watchbell::people::{ALERTED_SEEN_WITHIN, Actor, ActorRole, Lifecycle, LifecycleChange, PersonChange, Role};
use watchbell::store::{ENDED_SESSIONS_KEPT, Policy, Remembered};

use super::phones::approver;
use super::support::after;
use crate::store_support::{AT, Place, admin, event, over_both, person, user, ws};

async fn told(policy: &Policy, id: &str, what: LifecycleChange, second: u64) {
    let told = Lifecycle { id: event(id), workspace: ws("acme"), occurred_at: after(second), what };
    let upstream = Actor { id: user(id), role: ActorRole::Upstream };
    policy.admin().lifecycle(&told, &upstream, after(second)).await.unwrap();
}

/// From when on their sessions count in `acme` and in `beta`.
async fn not_before(policy: &Policy, id: &str) -> [Option<Timestamp>; 2] {
    let (acme, beta) = (ws("acme"), ws("beta"));
    let remembered = policy.admin().remembered(&user(id), &[&acme, &beta]).await.unwrap();
    [remembered[0].not_before, remembered[1].not_before]
}

over_both! {
    /// Sessions end with what upstream says of a person or of everybody, and with an erasure: in that workspace, for as long as a token may
    /// live, and the later end stands.
    async fn sessions_end(policy: Policy, place: &Place) {
        assert_eq!(not_before(&policy, "ada").await, [None, None]);
        told(&policy, "l1", LifecycleChange::Person(user("ada"), PersonChange::SessionsRevoked), 5).await;
        assert_eq!(not_before(&policy, "ada").await, [Some(after(5)), None]);
        told(&policy, "l2", LifecycleChange::Person(user("ada"), PersonChange::Removed), 3).await;
        assert_eq!(not_before(&policy, "ada").await, [Some(after(5)), None], "an older end changes nothing");
        policy.admin().erase(&person("acme", "ada"), &admin("root"), after(7).plus(Duration::from_millis(999))).await.unwrap();
        assert_eq!(not_before(&policy, "ada").await, [Some(after(7)), None], "tokens tell whole seconds");
        assert_eq!(not_before(&policy, "bob").await, [None, None]);
        told(&policy, "l3", LifecycleChange::WorkspaceDeleted, 9).await;
        assert_eq!(not_before(&policy, "ada").await, [Some(after(9)), None]);
        assert_eq!(not_before(&policy, "bob").await, [Some(after(9)), None]);
        policy.admin().sweep(after(9).plus(ENDED_SESSIONS_KEPT)).await.unwrap();
        assert_eq!(not_before(&policy, "ada").await, [Some(after(9)), None]);
        policy.admin().sweep(after(9).plus(ENDED_SESSIONS_KEPT + Duration::from_millis(1))).await.unwrap();
        assert!(place.dump(&["ended_sessions"]).await.is_empty());
    }

    /// A token from before says nothing of a role any more, whichever process is told it.
    async fn an_ended_session_tells_no_role(policy: Policy) {
        let ada = person("acme", "ada");
        policy.admin().note_role(&ada, Role::Owner, after(1)).await.unwrap();
        let (acme, beta) = (ws("acme"), ws("beta"));
        let remembered = policy.admin().remembered(&ada.user, &[&beta, &acme]).await.unwrap();
        assert_eq!(remembered, [Remembered::default(), Remembered { role: Some((Role::Owner, after(1))), not_before: None }]);
        policy.admin().erase(&ada, &admin("root"), after(2)).await.unwrap();
        policy.admin().note_role(&ada, Role::Owner, after(1)).await.unwrap();
        assert_eq!(policy.admin().known_role(&ada).await.unwrap(), None);
        policy.admin().note_role(&ada, Role::Admin, after(2)).await.unwrap();
        assert_eq!(policy.admin().known_role(&ada).await.unwrap(), Some(Role::Admin));
    }

    /// Who administered a workspace half a year ago is not alerted.
    async fn who_was_long_gone_is_not_alerted(policy: Policy) {
        let ada = person("acme", "ada");
        let phone = approver(&policy, &ada, "token-1").await;
        let said = after(1);
        let oldest = said.minus(ALERTED_SEEN_WITHIN);
        policy.admin().note_role(&person("acme", "here"), Role::Admin, oldest).await.unwrap();
        policy.admin().note_role(&person("acme", "gone"), Role::Owner, oldest.minus(Duration::from_millis(1))).await.unwrap();
        let notice = policy.notices().list(&ada, true, None, 1, AT).await.unwrap().items.remove(0).id;
        let said = policy.notices().disown(&ada, phone.id(), &notice, said).await.unwrap().unwrap();
        assert_eq!(said.alerted, 1);
        let shown = policy.notices().list(&person("acme", "here"), true, None, 9, after(2)).await.unwrap();
        assert_eq!(shown.items.len(), 1);
    }
}
