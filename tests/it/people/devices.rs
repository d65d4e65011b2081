//! Devices in the store: what is kept once, what never comes back, what has limits.
use watchbell::people::enrolment::{
    ChangeRefusal, OPEN_MAX, PromotionRefusal, ROLLS_A_DAY_MAX, RegistrationRefusal, Report, ReportRefusal,
    RollRefusal, Spent, Stale, Way,
};
use watchbell::people::{AnswerRefusal, Audited, DeviceState, Verb};
use watchbell::seam::{DeadToken, PolicySource as _};
use watchbell::store::{Announced, Failure, Policy, PromotedBy};

use super::phones::{Phone, approver, rules};
use super::support::{after, sign_in};
use crate::store_support::{AT, Place, admin, ask, installation, over_both, person, user, ws};

async fn version(policy: &Policy) -> u64 {
    ask(policy, "acme", &["ada"]).await.unwrap().users[0].version()
}

over_both! {
    /// What a person sees of their devices: all that they have to know, of a token its end alone, and the worker's entry is as new.
    async fn the_list(policy: Policy) {
        let (ada, devices) = (person("acme", "ada"), policy.devices());
        assert_eq!(devices.list(&ada).await.unwrap(), (0, vec![]));
        let mut phone = Phone::new(&format!("{}beef", "0".repeat(60)));
        phone.enrol(&policy, &ada, AT).await;
        phone.sign_in(&policy, &ada, (false, AT), &[Way::FreshSignIn], after(3)).await.unwrap();
        let (listed_version, listed) = devices.list(&ada).await.unwrap();
        assert_eq!(listed_version, version(&policy).await);
        let one = &listed[0];
        assert_eq!((&one.id, one.name.as_str(), one.model.as_str(), one.state), (phone.id(), "My phone", "Pixel 8", DeviceState::Approver));
        assert_eq!((one.has_key, one.waits, one.quiet, one.reachable_since), (true, false, false, Some(AT)));
        assert_eq!((one.enrolled_at, one.promoted), (AT, Some((after(3), Some(Way::FreshSignIn)))));
        let pushes = one.pushes.as_ref().unwrap();
        assert_eq!((pushes.token_end.as_str(), pushes.app.as_str(), pushes.last_seen), ("beef", "com.example.app", AT));
        assert!(!format!("{listed:?}").contains("0beef"));
        let keyed = devices.keyed(&ws("acme"), phone.id()).await.unwrap().unwrap();
        assert_eq!((keyed.person, keyed.key, keyed.reachable), (ada.clone(), phone.key(), true));
        assert_eq!(devices.keyed(&ws("beta"), phone.id()).await.unwrap(), None);
        assert_eq!(devices.list(&person("acme", "bob")).await.unwrap().1, []);
    }

    /// A challenge is its person's, once and for its time.
    async fn a_challenge_counts_once(policy: Policy) {
        let (ada, bob, devices) = (person("acme", "ada"), person("acme", "bob"), policy.devices());
        let challenge = devices.challenge(&ada, AT, AT).await.unwrap();
        let register = async |person, second| {
            let phone = Phone::new(&format!("token-{second}"));
            let proof = phone.proof(Some(challenge.expose()));
            let proved = (&proof, challenge.expose());
            policy.devices().register(person, proved, &phone.registrant(), None, &rules(&[]), after(second)).await
        };
        let refused = |spent| Some(Failure::Refused(RegistrationRefusal::Challenge(spent)));
        assert_eq!(register(&bob, 1).await.err(), refused(Spent::Unknown));
        assert_eq!(register(&ada, 300).await.err(), refused(Spent::Expired));
        assert!(register(&ada, 299).await.is_ok());
        assert_eq!(register(&ada, 2).await.err(), refused(Spent::Used));
    }

    /// A session that asks for ever more challenges loses its own oldest, at once or one after the other, and no other session's: whoever has
    /// a stolen one keeps nobody from setting up a phone.
    async fn a_session_uses_up_no_challenge_of_another(policy: Policy, place: &Place) {
        let (ada, devices) = (person("acme", "ada"), policy.devices());
        let mut hers = Phone::new("token-1");
        let (owner, thief) = (AT, after(1));
        let challenge = devices.challenge(&ada, owner, AT).await.unwrap();
        let asked = (0..4 * OPEN_MAX).map(|_| {
            let (devices, ada) = (devices.clone(), ada.clone());
            tokio::spawn(async move { devices.challenge(&ada, thief, AT).await.unwrap() })
        });
        let asked: Vec<_> = futures_util::future::join_all(asked).await;
        assert!(asked.iter().all(Result::is_ok));
        let kept = |rows: Vec<String>| rows.iter().filter(|row| row.contains("register")).count();
        assert_eq!(kept(place.dump(&["challenges"]).await), 1 + OPEN_MAX as usize);
        let newest = devices.challenge(&ada, thief, after(2)).await.unwrap();
        let register = async |phone: &Phone, challenge: &str| {
            let proof = phone.proof(Some(challenge));
            devices.register(&ada, (&proof, challenge), &phone.registrant(), None, &rules(&[]), after(2)).await
        };
        let registered = register(&hers, challenge.expose()).await.unwrap();
        hers.id = Some(registered.device);
        assert!(register(&Phone::new("token-2"), newest.expose()).await.is_ok(), "the newest counts");
        assert!(devices.list(&ada).await.unwrap().1.iter().any(|device| device.id == *hers.id()));
    }

    /// A registration that is sent again makes one device; with something else under its key it is refused.
    async fn a_registration_is_made_once(policy: Policy) {
        let (ada, mut phone) = (person("acme", "ada"), Phone::new("token-1"));
        let first = phone.register_as(&policy, &ada, Some("k-1"), AT).await.unwrap();
        let again = phone.register_as(&policy, &ada, Some("k-1"), after(1)).await.unwrap();
        assert_eq!((again.again, &again.device, again.reach, again.unproved), (false, &first.device, None, true));
        // Whatever differs, be it the push token alone: it would not be stored, so it is not told as done.
        for mut changed in [phone.with_new_key(), Phone { token: "token-2".into(), ..phone.clone() }, Phone { phone: Some("p".into()), ..phone.clone() }] {
            let reused = changed.register_as(&policy, &ada, Some("k-1"), after(1)).await;
            assert_eq!(reused.err(), Some(Failure::Refused(RegistrationRefusal::KeyReused)));
        }
        // Without one: the same key is the same device.
        let same = phone.register(&policy, &ada, after(2)).await.unwrap();
        assert_eq!((same.again, same.device, same.reach.is_some()), (true, first.device, true), "it was not reached yet");
        assert_eq!(policy.devices().list(&ada).await.unwrap().1.len(), 1);
        let other = phone.register(&policy, &person("acme", "bob"), after(2)).await;
        assert_eq!(other.err(), Some(Failure::Refused(RegistrationRefusal::KeyOfAnother)));
    }

    /// What changes nothing raises no version, so that nobody's view of the devices is older for it: a report that says what is known, a
    /// registration of the same key or of the same request, a promotion of what may approve, wrong digits. When it was last seen is written.
    async fn what_changes_nothing_raises_no_version(policy: Policy) {
        let (ada, devices) = (person("acme", "ada"), policy.devices());
        let (phone, mut other) = (approver(&policy, &ada, "token-1").await, Phone::new("token-2"));
        let first = other.register_as(&policy, &ada, Some("k-1"), AT).await.unwrap();
        let seen = version(&policy).await;
        let same = phone.registrant().report;
        let report = async |report: &Report, expected: Option<u64>| {
            devices.report(&ada, (phone.id(), &phone.thumbprint()), report, expected, after(5)).await.unwrap().version
        };
        assert_eq!(report(&same, Some(seen)).await, seen);
        let listed = devices.list(&ada).await.unwrap();
        let last_seen = listed.1.iter().find(|one| one.id == *phone.id()).unwrap().pushes.as_ref().unwrap().last_seen;
        assert_eq!((listed.0, last_seen), (seen, after(5)));
        assert!(phone.clone().register(&policy, &ada, after(6)).await.unwrap().again);
        assert_eq!(other.register_as(&policy, &ada, Some("k-1"), after(6)).await.unwrap().device, first.device);
        // One that has to be proved still is pushed a nonce each time it reports.
        let unproved = devices.report(&ada, (other.id(), &other.thumbprint()), &other.registrant().report, None, after(6)).await;
        assert!(unproved.unwrap().reach.is_some());
        phone.sign_in(&policy, &ada, (false, AT), &[Way::FreshSignIn], after(7)).await.unwrap();
        other.reach(&policy, &ada, &first.reach.unwrap(), after(7)).await;
        let seen = devices.list(&ada).await.unwrap().0;
        let shown = devices.digits(&ada, other.id(), &other.thumbprint(), after(7)).await.unwrap();
        let wrong = if shown.number.expose() == "000000" { "000001" } else { "000000" };
        let word = phone.vouch(&policy, &ada, &other, wrong).await;
        let refused = devices.promote(&ada, other.id(), PromotedBy::Approver(&word), Some(seen), &rules(&Way::ALL), after(7)).await;
        assert_eq!(refused.err(), Some(Failure::Refused(PromotionRefusal::DigitsWrong { left: 2 })));
        assert_eq!((version(&policy).await, devices.list(&ada).await.unwrap().0), (seen, seen));
        let changed = [
            Report { locale: "de".into(), ..same.clone() },
            Report { model: "Pixel 9".into(), locale: "de".into(), ..same.clone() },
            Report { permission: None, ..same.clone() },
            Report { time_sensitive: Some(false), ..same.clone() },
            Report { installation: installation("token-3"), ..same.clone() },
        ];
        for (raised, changed) in (seen + 1..).zip(changed) {
            assert_eq!(report(&changed, None).await, raised, "{changed:?}");
        }
        assert_eq!(version(&policy).await, seen + 5);
    }

    /// A phone whose app was removed counts as none that is left: the one beside it is the last, and is not the last itself. Its own answer counts.
    async fn a_phone_without_a_token_is_no_other_one(policy: Policy) {
        let (ada, devices) = (person("acme", "ada"), policy.devices());
        let (gone, mut left) = (approver(&policy, &ada, "token-1").await, Phone::new("token-2"));
        left.enrol(&policy, &ada, AT).await;
        left.sign_in(&policy, &ada, (true, AT), &[Way::PhishingResistant], AT).await.unwrap();
        let dead = DeadToken { workspace: ws("acme"), user: user("ada"), device: gone.id().clone(), installation: installation("token-1"), since: AT };
        policy.remove_token(&dead).await.unwrap();
        let remove = async |phone: &Phone, meant| devices.remove(&ada, phone.id(), None, (meant, None), after(1)).await;
        assert_eq!(remove(&left, false).await.err(), Some(Failure::Refused(ChangeRefusal::LastApprover)));
        assert_eq!(devices.approvers(&ada).await.unwrap(), 2);
        let request = sign_in(&ada, "e1", AT);
        policy.requests().project(&request, AT).await.unwrap();
        let answer = gone.answer(&policy, &request, Verb::Approve).await;
        assert!(policy.requests().decide(&answer, AT).await.is_ok());
        assert_eq!(remove(&gone, false).await.unwrap().approvers_left, 1);
        assert_eq!(remove(&left, true).await.unwrap().approvers_left, 0);
    }

    /// One has as many devices as the rules say, and may make room.
    async fn devices_have_a_limit(policy: Policy) {
        let (ada, devices) = (person("acme", "ada"), policy.devices());
        let mut phones = [1, 2, 3].map(|n| Phone::new(&format!("token-{n}")));
        for phone in &mut phones {
            phone.register(&policy, &ada, AT).await.unwrap();
        }
        let mut fourth = Phone::new("token-4");
        let refused = fourth.register(&policy, &ada, AT).await;
        assert_eq!(refused.err(), Some(Failure::Refused(RegistrationRefusal::TooMany { max: 3 })));
        devices.remove(&ada, phones[0].id(), None, (false, None), AT).await.unwrap();
        assert!(fourth.register(&policy, &ada, after(300)).await.is_ok());
        let mut long = Phone::new(&"x".repeat(1_025)).registrant().report;
        let invalid = devices.report(&ada, (fourth.id(), &fourth.thumbprint()), &long, None, AT).await;
        assert!(matches!(invalid.err(), Some(Failure::Refused(ReportRefusal::Invalid(_)))));
        long.installation.token = watchbell::policy::Token::new("token-5");
        let taken = devices.report(&ada, (fourth.id(), &fourth.thumbprint()), &long, None, AT).await.unwrap();
        assert!(taken.reach.is_some(), "a token that is new has to be proved");
        let unknown = devices.report(&ada, (phones[0].id(), &phones[0].thumbprint()), &long, None, AT).await;
        assert_eq!(unknown.err(), Some(Failure::Refused(ReportRefusal::UnknownDevice)));
    }

    /// The old key signs the new one: what the device may do stays, and the old key answers and returns no more.
    async fn a_key_rolls(policy: Policy) {
        let (ada, devices) = (person("acme", "ada"), policy.devices());
        let old = approver(&policy, &ada, "token-1").await;
        let mut new = old.with_new_key();
        let roll = old.roll(&policy, &ada, &new).await;
        let unproved = devices.roll(&roll, &old.proof(None), AT).await;
        assert_eq!(unproved.err(), Some(Failure::Refused(RollRefusal::NotProved)));
        devices.roll(&roll, &new.proof(None), AT).await.unwrap();
        let again = devices.roll(&roll, &new.proof(None), AT).await;
        assert_eq!(again.err(), Some(Failure::Refused(RollRefusal::UnknownDevice)), "that key signs for nobody now");
        let request = sign_in(&ada, "e1", AT);
        policy.requests().project(&request, AT).await.unwrap();
        let with_old = old.answer(&policy, &request, Verb::Approve).await;
        assert_eq!(policy.requests().decide(&with_old, AT).await.err(), Some(Failure::Refused(AnswerRefusal::UnknownDevice)));
        let with_new = new.answer(&policy, &request, Verb::Approve).await;
        assert!(policy.requests().decide(&with_new, AT).await.is_ok());
        let back = devices.roll(&new.roll(&policy, &ada, &old).await, &old.proof(None), AT).await;
        assert_eq!(back.err(), Some(Failure::Refused(RollRefusal::KeyTaken)));
        let registered = old.clone().register(&policy, &ada, AT).await;
        assert_eq!(registered.err(), Some(Failure::Refused(RegistrationRefusal::KeyRetired)));
        assert!(new.register(&policy, &ada, AT).await.unwrap().again);
    }

    /// A key is followed by so many within a day, and by another one the day after.
    async fn keys_roll_so_often_a_day(policy: Policy) {
        let (ada, devices) = (person("acme", "ada"), policy.devices());
        let mut phone = approver(&policy, &ada, "token-1").await;
        let roll = async |phone: &Phone, next: &Phone, at| {
            devices.roll(&phone.roll(&policy, &ada, next).await, &next.proof(None), at).await
        };
        for _ in 0..ROLLS_A_DAY_MAX {
            let next = phone.with_new_key();
            roll(&phone, &next, AT).await.unwrap();
            phone = next;
        }
        let next = phone.with_new_key();
        let day = 24 * 3600;
        assert_eq!(roll(&phone, &next, after(day - 1)).await.err(), Some(Failure::Refused(RollRefusal::TooMany)));
        roll(&phone, &next, after(day)).await.unwrap();
    }

    /// Removing the last phone that may approve has to be meant; a removed one rings and answers no more, and its key never returns. Only
    /// what was done to somebody else is in the trail.
    async fn removing(policy: Policy) {
        let (ada, devices) = (person("acme", "ada"), policy.devices());
        let mut phone = approver(&policy, &ada, "token-1").await;
        let mut other = Phone::new("token-2");
        other.enrol(&policy, &ada, AT).await;
        let seen = version(&policy).await;
        let remove = async |phone: &Phone, by, how| policy.devices().remove(&ada, phone.id(), by, how, AT).await;
        assert_eq!(remove(&phone, None, (false, None)).await.err(), Some(Failure::Refused(ChangeRefusal::LastApprover)));
        assert_eq!(version(&policy).await, seen, "a refusal writes nothing");
        let stale = remove(&phone, None, (true, Some(seen - 1))).await;
        assert_eq!(stale.err(), Some(Failure::Refused(ChangeRefusal::Stale(Stale { current: seen }))));
        let removed = remove(&phone, None, (true, Some(seen))).await.unwrap();
        assert_eq!((removed.approvers_left, removed.told.is_some(), removed.announced), (0, true, Announced::Everywhere));
        assert_eq!(ask(&policy, "acme", &["ada"]).await.unwrap().users[0].device_count(), 1);
        assert_eq!(remove(&phone, None, (true, None)).await.err(), Some(Failure::Refused(ChangeRefusal::NoSuchDevice)));
        let back = phone.register(&policy, &ada, AT).await;
        assert_eq!(back.err(), Some(Failure::Refused(RegistrationRefusal::KeyRetired)));
        let theirs = devices.remove(&person("acme", "bob"), other.id(), None, (true, None), AT).await;
        assert_eq!(theirs.err(), Some(Failure::Refused(ChangeRefusal::NoSuchDevice)));
        remove(&other, Some(&admin("root")), (false, None)).await.unwrap();
        let trail = policy.admin().audit_trail(&ws("acme"), None, 9).await.unwrap().items;
        let what = Audited::DeviceRemoved { user: user("ada"), device: other.id().clone() };
        assert_eq!(trail.iter().map(|entry| entry.what.clone()).collect::<Vec<_>>(), [what]);
    }

    /// A device has the name that its person gave it last.
    async fn renaming(policy: Policy) {
        let (ada, devices, mut phone) = (person("acme", "ada"), policy.devices(), Phone::new("token-1"));
        phone.enrol(&policy, &ada, AT).await;
        let (seen, _) = devices.list(&ada).await.unwrap();
        devices.rename(&ada, phone.id(), "Ada's Pixel ✨", Some(seen)).await.unwrap();
        let (now, listed) = devices.list(&ada).await.unwrap();
        assert_eq!((now, listed[0].name.as_str()), (seen + 1, "Ada's Pixel ✨"));
        let refused = async |name: &str, expected| devices.rename(&ada, phone.id(), name, expected).await.err();
        assert_eq!(refused("x", Some(seen)).await, Some(Failure::Refused(ChangeRefusal::Stale(Stale { current: now }))));
        assert_eq!(refused("a\nb", None).await, Some(Failure::Refused(ChangeRefusal::Name)));
        let theirs = devices.rename(&person("acme", "bob"), phone.id(), "x", None).await;
        assert_eq!(theirs.err(), Some(Failure::Refused(ChangeRefusal::NoSuchDevice)));
    }

    /// A proof counts once, by its key; another key's may have the same `jti`. It is forgotten when its time alone refuses it.
    async fn a_proof_counts_once(policy: Policy) {
        let (phone, devices) = (Phone::new("t"), policy.devices());
        let proof = phone.proof(None);
        let theirs = watchbell::people::signed::Proof { key: Phone::new("t").key(), ..proof.clone() };
        assert!(devices.spend(&proof).await.unwrap());
        assert!(!devices.spend(&proof).await.unwrap());
        assert!(devices.spend(&theirs).await.unwrap());
        let at_once = (0..8).map(|_| { let (devices, proof) = (devices.clone(), phone.proof(None)); async move {
            let tries = (0..4).map(|_| { let (devices, proof) = (devices.clone(), proof.clone()); tokio::spawn(async move { devices.spend(&proof).await.unwrap() }) });
            let mut spent = 0;
            for tried in tries.collect::<Vec<_>>() { spent += usize::from(tried.await.unwrap()); }
            spent
        }});
        for one in at_once { assert_eq!(one.await, 1); }
        assert_eq!(policy.admin().sweep(proof.remember_until).await.unwrap(), 0);
        let ms = std::time::Duration::from_millis(1);
        assert_eq!(policy.admin().sweep(proof.remember_until.plus(ms)).await.unwrap(), 10);
    }

    /// Of many who redeem one ticket at once, with as many phones, one wins.
    async fn a_ticket_has_one_winner(policy: Policy) {
        let ada = person("acme", "ada");
        let mut phones = [1, 2, 3].map(|n| Phone::new(&format!("token-{n}")));
        for phone in &mut phones {
            phone.enrol(&policy, &ada, AT).await;
        }
        for round in 0..10_u64 {
            let ticket = policy.devices().ticket(&ada, &admin("root"), None, after(round)).await.unwrap().0;
            let tries = phones.clone().map(|phone| {
                let (policy, ada, ticket) = (policy.clone(), ada.clone(), ticket.clone());
                tokio::spawn(async move { phone.redeem(&policy, &ada, ticket.expose(), after(round)).await })
            });
            let mut won = 0;
            for tried in tries {
                won += usize::from(tried.await.unwrap() == Ok(Some(Way::Ticket)));
            }
            // Who may approve already uses nothing up: three rounds make three approvers.
            assert_eq!(won, usize::from(round < 3), "round {round}");
        }
        assert_eq!(policy.devices().approvers(&ada).await.unwrap(), 3);
    }

    /// A device that was retired long ago goes with all that it was called; its key is known all the same, and never counts again.
    async fn a_retired_device_leaves_its_thumbprint(policy: Policy, place: &Place) {
        let (ada, devices) = (person("acme", "ada"), policy.devices());
        let mut phone = approver(&policy, &ada, "token-1").await;
        let mut other = Phone::new("token-2");
        other.enrol(&policy, &ada, AT).await;
        devices.remove(&ada, phone.id(), None, (true, None), AT).await.unwrap();
        let (month, ms) = (watchbell::store::RETIRED_KEPT, std::time::Duration::from_millis(1));
        policy.admin().sweep(AT.plus(month)).await.unwrap();
        assert_eq!(place.dump(&["enrolments"]).await.len(), 2);
        policy.admin().sweep(AT.plus(month).plus(ms)).await.unwrap();
        let left = place.dump(&["enrolments"]).await;
        assert!(left.len() == 1 && left[0].contains(other.id().as_str()), "{left:?}");
        assert_eq!(devices.keyed(&ws("acme"), phone.id()).await.unwrap(), None);
        let back = phone.register(&policy, &ada, after(1)).await;
        assert_eq!(back.err(), Some(Failure::Refused(RegistrationRefusal::KeyRetired)));
        let rolled = devices.roll(&other.roll(&policy, &ada, &phone).await, &phone.proof(None), after(1)).await;
        assert_eq!(rolled.err(), Some(Failure::Refused(RollRefusal::KeyTaken)));
    }

    /// Of somebody who is erased no device, key, challenge or claim is left.
    async fn erased_devices(policy: Policy) {
        let (ada, devices) = (person("acme", "ada"), policy.devices());
        let phone = approver(&policy, &ada, "token-1").await;
        let mut claimant = Phone::new("token-1");
        assert!(claimant.register(&policy, &ada, AT).await.unwrap().waits);
        policy.admin().erase(&ada, &admin("root"), after(1)).await.unwrap();
        assert_eq!(devices.list(&ada).await.unwrap().1, []);
        assert_eq!(devices.keyed(&ws("acme"), phone.id()).await.unwrap(), None);
        assert_eq!(devices.enrolled(&ada, claimant.id()).await.unwrap(), None);
    }
}
