//! Nobody is erased in silence: phones, admins and keys of somebody who was.
use std::collections::BTreeSet;
use std::time::Duration;

use watchbell::event::SystemNotice;
use watchbell::people::enrolment::{ChangeRefusal, RegistrationRefusal};
use watchbell::people::{ActorRole, Audited, Disowned, News, Person, Projection, RETIRED_KEY_LIFE, Role};
use watchbell::store::{Failure, NotMe, Policy, Projected};

use super::notices::{list, told};
use super::phones::{Phone, approver};
use super::support::{after, id_of, sign_in};
use crate::store_support::{AT, Place, admin, device_of, over_both, person, phone, user, ws};

/// Root administers `acme` and has a phone.
async fn root(policy: &Policy) -> Person {
    policy.admin().write(&[device_of("acme", "root", phone("r1", "token-r1"))]).await.unwrap();
    policy.admin().note_role(&person("acme", "root"), Role::Admin, AT).await.unwrap();
    person("acme", "root")
}

fn to_root(what: SystemNotice) -> BTreeSet<(String, SystemNotice)> {
    BTreeSet::from([("r1".to_owned(), what)])
}

async fn disowns(policy: &Policy, phone: &Phone, second: u64) -> Option<NotMe> {
    policy.notices().disown_erasure(&ws("acme"), phone.id(), after(second)).await.unwrap()
}

over_both! {
    /// Whoever has Ada's session erases her: her phones are told as after a reset, who administers the workspace hears of it, and each of her
    /// phones may say for a day that it was not her, whatever was retired just before. No key of hers registers again, and nothing names her.
    async fn somebody_erases_themselves(policy: Policy, place: &Place) {
        let (ada, root) = (person("acme", "ada"), root(&policy).await);
        let (first, mut second, mut long_gone) = (approver(&policy, &ada, "token-1").await, Phone::new("token-2"), Phone::new("token-3"));
        second.enrol(&policy, &ada, AT).await;
        long_gone.enrol(&policy, &ada, AT.minus(2 * RETIRED_KEY_LIFE)).await;
        policy.devices().remove(&ada, long_gone.id(), None, (true, None), after(0).minus(RETIRED_KEY_LIFE)).await.unwrap();
        let rolled = first.with_new_key();
        policy.devices().roll(&first.roll(&policy, &ada, &rolled).await, &rolled.proof(None), AT).await.unwrap();
        policy.devices().remove(&ada, second.id(), None, (true, None), AT).await.unwrap();
        told(&policy).await;

        let erased = policy.admin().erase(&ada, &admin("ada"), after(1)).await.unwrap();
        assert_eq!((erased.notice.what, erased.notice.occurred_at), (SystemNotice::Reset, after(1)));
        assert_eq!(erased.told.iter().map(|told| &told.device).collect::<Vec<_>>(), [first.id()]);
        assert_eq!(told(&policy).await, to_root(SystemNotice::Erased));
        assert_eq!(list(&policy, &root).await, [News::Erased]);
        assert_eq!(list(&policy, &ada).await, []);
        let alert = policy.notices().list(&root, true, None, 1, after(1)).await.unwrap().items.remove(0).id;
        assert_eq!(alert, erased.notice.id, "what a phone says later is known by it");
        for mut known in [first.clone(), rolled, second.clone(), long_gone.clone()] {
            let again = known.register(&policy, &ada, after(2)).await;
            assert_eq!(again.err(), Some(Failure::Refused(RegistrationRefusal::KeyRetired)));
        }
        assert!(policy.devices().erased(&ws("acme"), first.id(), after(2)).await.unwrap().is_some());
        assert_eq!(policy.devices().erased(&ws("beta"), first.id(), after(2)).await.unwrap(), None);
        assert_eq!(disowns(&policy, &long_gone, 3).await, None, "it was out of use for a day");
        let said = disowns(&policy, &second, 3).await;
        assert_eq!(said, Some(NotMe { at: after(3), alerted: 1 }));
        assert_eq!(told(&policy).await, to_root(SystemNotice::NotMe));
        assert_eq!(disowns(&policy, &first, 4).await, said, "once for each erasure");
        assert_eq!(told(&policy).await, BTreeSet::new());
        let of = Disowned::Notice { what: SystemNotice::Reset, id: alert };
        assert_eq!(list(&policy, &root).await[0], News::NotMe { user: None, device: second.id().clone(), of });
        let left = place.dump(&["erased_keys", "notices"]).await;
        assert_eq!(left.len(), 4 + 2);
        assert!(!left.iter().any(|row| row.contains("ada")), "{left:#?}");

        // A day later only thumbprints are left.
        let ms = Duration::from_millis(1);
        let late = after(1).plus(RETIRED_KEY_LIFE);
        assert!(policy.devices().erased(&ws("acme"), first.id(), late).await.unwrap().is_some());
        assert_eq!(policy.devices().erased(&ws("acme"), first.id(), late.plus(ms)).await.unwrap(), None);
        policy.admin().sweep(late.plus(ms)).await.unwrap();
        assert_eq!(disowns(&policy, &first, 5).await, None);
        let left = place.dump(&["erased_keys"]).await;
        assert!(left.len() == 4 && !left.iter().any(|row| row.contains(first.id().as_str())), "{left:#?}");
        let again = first.clone().register(&policy, &ada, after(400)).await;
        assert_eq!(again.err(), Some(Failure::Refused(RegistrationRefusal::KeyRetired)));
    }

    /// Somebody else erases Ada: her phones are told by whom, and the others, who did it or may read that, are not alerted.
    async fn somebody_else_erases(policy: Policy) {
        let (ada, root) = (person("acme", "ada"), root(&policy).await);
        let first = approver(&policy, &ada, "token-1").await;
        let erased = policy.admin().erase(&ada, &admin("root"), after(1)).await.unwrap();
        assert_eq!(erased.told.len(), 1);
        assert_eq!((told(&policy).await, list(&policy, &root).await), (BTreeSet::new(), vec![]));
        assert_eq!(disowns(&policy, &first, 2).await, Some(NotMe { at: after(2), alerted: 1 }));
    }

    /// What others were told about somebody stays with them when that one is erased, and does not say any more who it was.
    async fn what_others_were_told_stays(policy: Policy) {
        let (ada, root) = (person("acme", "ada"), root(&policy).await);
        let first = approver(&policy, &ada, "token-1").await;
        let notice = policy.notices().list(&ada, true, None, 1, after(1)).await.unwrap().items.remove(0).id;
        policy.notices().disown(&ada, first.id(), &notice, after(1)).await.unwrap().unwrap();
        policy.admin().erase(&ada, &admin("root"), after(2)).await.unwrap();
        let of = Disowned::Notice { what: SystemNotice::Promoted, id: notice };
        assert_eq!(list(&policy, &root).await, [News::NotMe { user: None, device: first.id().clone(), of }]);
        // Who administers the workspace no more is shown what they were told as its person only.
        let shown = policy.notices().list(&root, false, None, 9, after(3)).await.unwrap();
        assert_eq!(shown.items, []);
    }

    /// What is projected at the same time as its person is erased is kept by neither.
    async fn an_event_comes_with_the_erasure(policy: Policy, place: &Place) {
        for round in 0..60 {
            let someone = person("acme", &format!("p{round}"));
            let request: Projection = sign_in(&someone, &format!("e{round}"), AT);
            let (one, other) = (policy.clone(), policy.clone());
            let (at, erased) = (request.clone(), someone.clone());
            let projecting = tokio::spawn(async move { one.requests().project(&at, after(1)).await.unwrap() });
            let erasing = tokio::spawn(async move { other.admin().erase(&erased, &admin("root"), after(1)).await.unwrap() });
            let projected = projecting.await.unwrap();
            erasing.await.unwrap();
            assert_ne!(projected, Projected::Known);
            let kept = policy.requests().request(&id_of(&request)).await.unwrap().unwrap();
            assert_eq!(kept.detail, None, "round {round}");
            assert!(policy.requests().pending(&someone, None, 9, after(1)).await.unwrap().items.is_empty(), "round {round}");
        }
        let left = place.dump(&["requests"]).await;
        assert!(!left.iter().any(|row| row.contains("Payroll")), "{left:#?}");
    }

    /// Whoever resets themselves must mean it where an approver goes with it; others mean it.
    async fn resetting_oneself_has_to_be_meant(policy: Policy) {
        let (ada, devices) = (person("acme", "ada"), policy.devices());
        let by_operator = watchbell::people::Actor { role: ActorRole::Operator, ..admin("ada") };
        let mut receiver = Phone::new("token-9");
        receiver.enrol(&policy, &ada, AT).await;
        assert_eq!(devices.reset(&ada, &admin("ada"), (false, None), AT).await.unwrap().devices.len(), 1, "it may not approve");
        let phone = approver(&policy, &ada, "token-1").await;
        let refused = devices.reset(&ada, &admin("ada"), (false, None), after(1)).await;
        assert_eq!(refused.err(), Some(Failure::Refused(ChangeRefusal::LastApprover)));
        assert_eq!(devices.list(&ada).await.unwrap().1.len(), 1);
        assert_eq!(devices.reset(&ada, &admin("ada"), (true, None), after(1)).await.unwrap().devices, [phone.id().clone()]);
        assert!(devices.reset(&ada, &by_operator, (false, None), after(2)).await.is_ok());
        let trail = policy.admin().audit_trail(&ws("acme"), None, 9).await.unwrap().items;
        assert_eq!(trail.len(), 3);
        assert!(trail.iter().all(|entry| entry.what == Audited::PersonReset { user: user("ada") }));
    }
}
