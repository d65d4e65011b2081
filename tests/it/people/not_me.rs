//! Somebody says that it was not them: once, and the people who administer their workspace hear of it.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use watchbell::event::{DeviceId, EventId, NotificationType, SystemNotice, wire};
use watchbell::people::enrolment::Way;
use watchbell::people::{ALERTED_MAX, Actor, ActorRole, Audited, Disowned, News, Person, Role, Verb};
use watchbell::policy::Heard;
use watchbell::seam::OutboxTopic;
use watchbell::store::{NotMe, Policy};

use super::notices::{list, told};
use super::phones::{Phone, approver};
use super::support::{Killed, after, answer, enrol_ada, heard, id_of, published, sign_in};
use crate::store_support::{AT, Place, device_of, event, over_both, person, phone, user, ws};

/// Of `acme`: Root is an admin with two phones, Olga owns it and has none, Sam is its super admin, Bob a user. All but Sam were here lately.
async fn people(policy: &Policy) {
    let phones = [("root", "r1"), ("root", "r2"), ("bob", "b1"), ("sam", "s1")];
    let phones = phones.map(|(person, id)| device_of("acme", person, phone(id, &format!("token-{id}"))));
    policy.admin().write(&phones).await.unwrap();
    let roles = [("root", Role::Admin), ("olga", Role::Owner), ("sam", Role::SuperAdmin), ("bob", Role::User)];
    for (id, role) in roles {
        policy.admin().note_role(&person("acme", id), role, AT).await.unwrap();
    }
    policy.admin().note_role(&person("beta", "else"), Role::Owner, AT).await.unwrap();
    policy.admin().write(&[device_of("beta", "else", phone("e1", "token-e1"))]).await.unwrap();
}

/// Everybody of `acme` who administers it, by their devices.
fn alerted() -> BTreeSet<(String, SystemNotice)> {
    ["r1", "r2", "s1"].map(|id| (id.to_owned(), SystemNotice::NotMe)).into()
}

/// The newest notice of a person.
async fn newest(policy: &Policy, person: &Person) -> EventId {
    policy.notices().list(person, true, None, 1, after(60)).await.unwrap().items.remove(0).id
}

async fn disown(policy: &Policy, person: &Person, by: &Phone, notice: &EventId, second: u64) -> Option<NotMe> {
    policy.notices().disown(person, by.id(), notice, after(second)).await.unwrap()
}

async fn trail(policy: &Policy) -> Vec<(Audited, Actor)> {
    let page = policy.admin().audit_trail(&ws("acme"), None, 9).await.unwrap();
    page.items.into_iter().map(|entry| (entry.what, entry.actor)).collect()
}

over_both! {
    /// A phone that Ada does not know was set up. She says so with two of hers: the trail has it once, admins are told once, in this
    /// workspace only, and nothing is retired by it.
    async fn two_phones_press_and_one_alert_is_raised(policy: Policy) {
        people(&policy).await;
        let ada = person("acme", "ada");
        let (first, mut second, mut thief) = (approver(&policy, &ada, "token-1").await, Phone::new("token-2"), Phone::new("token-3"));
        second.enrol(&policy, &ada, AT).await;
        thief.enrol(&policy, &ada, after(1)).await;
        told(&policy).await;
        let notice = newest(&policy, &ada).await;
        let said = disown(&policy, &ada, &first, &notice, 2).await.unwrap();
        assert_eq!(said, NotMe { at: after(2), alerted: 3 });
        assert_eq!(told(&policy).await, alerted());
        assert_eq!(disown(&policy, &ada, &second, &notice, 3).await, Some(said), "the same answer");
        assert_eq!(disown(&policy, &ada, &first, &notice, 4).await, Some(said));
        assert_eq!(told(&policy).await, BTreeSet::new());

        let word = Audited::NotMe { user: user("ada"), device: first.id().clone() };
        assert_eq!(trail(&policy).await, [(word, Actor { id: user("ada"), role: ActorRole::Of(Role::User) })]);
        let of = Disowned::Notice { what: SystemNotice::Enrolled, id: notice.clone() };
        let alert = News::NotMe { user: Some(user("ada")), device: first.id().clone(), of };
        for admin in ["root", "olga", "sam"] {
            assert_eq!(list(&policy, &person("acme", admin)).await, std::slice::from_ref(&alert), "{admin}");
        }
        assert_eq!(list(&policy, &person("acme", "bob")).await, []);
        let listed = policy.notices().list(&ada, true, None, 1, after(60)).await.unwrap().items.remove(0);
        assert_eq!(listed.not_me, Some((after(2), first.id().clone())));
        assert_eq!(policy.devices().list(&ada).await.unwrap().1.len(), 3);
    }

    /// Many phones press at once: one alert.
    async fn all_press_at_once(policy: Policy) {
        people(&policy).await;
        let ada = person("acme", "ada");
        let first = Arc::new(approver(&policy, &ada, "token-1").await);
        told(&policy).await;
        let notice = newest(&policy, &ada).await;
        let presses = (0..8).map(|n| {
            let (policy, ada, first, notice) = (policy.clone(), ada.clone(), Arc::clone(&first), notice.clone());
            tokio::spawn(async move { disown(&policy, &ada, &first, &notice, n).await.unwrap() })
        });
        let mut said = BTreeSet::new();
        for press in presses.collect::<Vec<_>>() {
            let NotMe { at, alerted } = press.await.unwrap();
            said.insert((at, alerted));
        }
        assert_eq!(said.len(), 1, "{said:?}");
        assert_eq!((told(&policy).await, trail(&policy).await.len()), (alerted(), 1));
    }

    /// Who was told nothing says nothing: somebody else's notice, one that there never was, and an alert to an admin are not theirs to disown.
    async fn somebody_elses_notice(policy: Policy) {
        people(&policy).await;
        let (ada, bob) = (person("acme", "ada"), person("acme", "bob"));
        let first = approver(&policy, &ada, "token-1").await;
        let theirs = approver(&policy, &bob, "token-9").await;
        told(&policy).await;
        let notice = newest(&policy, &ada).await;
        assert_eq!(disown(&policy, &bob, &theirs, &notice, 1).await, None);
        assert_eq!(disown(&policy, &person("beta", "ada"), &first, &notice, 1).await, None);
        assert_eq!(disown(&policy, &ada, &first, &event("never"), 1).await, None);
        assert_eq!((told(&policy).await, trail(&policy).await), (BTreeSet::new(), vec![]));
        disown(&policy, &ada, &first, &notice, 1).await.unwrap();
        let root = person("acme", "root");
        let alert = newest(&policy, &root).await;
        let r1 = DeviceId::new("r1").unwrap();
        assert_eq!(policy.notices().disown(&root, &r1, &alert, after(2)).await.unwrap(), None);
    }

    /// A request that is answered with "not me" alerts once, about the request's type; again, and any other answer, does not.
    async fn a_decision_alerts_once(policy: Policy, place: &Place) {
        people(&policy).await;
        enrol_ada(place, &policy).await;
        let (ada, requests) = (person("acme", "ada"), policy.requests());
        for id in ["e1", "e2"] {
            requests.project(&sign_in(&ada, id, AT), AT).await.unwrap();
        }
        let not_me = answer(&sign_in(&ada, "e1", AT), "d3", Verb::DenyNotMe, None);
        requests.decide(&not_me, after(1)).await.unwrap();
        assert!(requests.decide(&not_me, after(2)).await.unwrap().again);
        requests.decide(&answer(&sign_in(&ada, "e1", AT), "d1", Verb::Approve, None), after(2)).await.unwrap_err();
        requests.decide(&answer(&sign_in(&ada, "e2", AT), "d1", Verb::Deny, None), after(2)).await.unwrap();
        let jobs = published(&policy).await.jobs();
        // People's jobs are written side by side, in no order.
        let devices: BTreeSet<_> = jobs.iter().map(|job| job.device_id.as_str()).collect();
        assert_eq!((devices, jobs.len()), (BTreeSet::from(["r1", "r2", "s1"]), 3));
        assert!(jobs.iter().all(|job| job.r#type() == watchbell::event::wire::NotificationType::IdentityVerification));
        let of = Disowned::Request { kind: NotificationType::IdentityVerification, event: id_of(&sign_in(&ada, "e1", AT)).event };
        let alert = News::NotMe { user: Some(user("ada")), device: DeviceId::new("d3").unwrap(), of };
        assert_eq!(list(&policy, &person("acme", "olga")).await, [alert]);
    }

    /// Request after request is disowned, eight at once: admins are alerted once within the guard's window, whoever's request, whichever
    /// phone. A phone that was set up has an alert of its own, however many requests were disowned before; and somebody else's word, too.
    async fn one_alert_within_a_window(policy: Policy, place: &Place) {
        people(&policy).await;
        enrol_ada(place, &policy).await;
        let (ada, requests) = (person("acme", "ada"), policy.requests());
        let disowns = async |id: String, device: &'static str, second: u64| {
            let asked = sign_in(&ada, &id, after(second));
            requests.project(&asked, after(second)).await.unwrap();
            let word = answer(&asked, device, Verb::DenyNotMe, None);
            requests.decide(&word, after(second + 1)).await.unwrap();
        };
        let at_once = (0..8).map(|n| disowns(format!("e{n}"), if n % 2 == 0 { "d1" } else { "d3" }, n));
        futures_util::future::join_all(at_once).await;
        assert_eq!((told(&policy).await, list(&policy, &person("acme", "root")).await.len()), (alerted(), 1));
        disowns("within".into(), "d1", 590).await;
        assert_eq!(told(&policy).await, BTreeSet::new());
        disowns("later".into(), "d1", 610).await;
        assert_eq!(told(&policy).await, alerted(), "another window");

        // Room for two more.
        place.execute("DELETE FROM enrolments WHERE id <> 'd1'; DELETE FROM devices WHERE id IN ('d2', 'd3')").await;
        let mut phone = Phone::new("token-9");
        phone.register(&policy, &ada, after(611)).await.unwrap();
        told(&policy).await;
        let notice = newest(&policy, &ada).await;
        let said = disown(&policy, &ada, &phone, &notice, 612).await.unwrap();
        assert_eq!((said.alerted, told(&policy).await), (3, alerted()), "a request's alert does not hide it");
        let mut another = Phone::new("token-10");
        another.register(&policy, &ada, after(613)).await.unwrap();
        told(&policy).await;
        let second = newest(&policy, &ada).await;
        let also = disown(&policy, &ada, &phone, &second, 614).await.unwrap();
        assert_eq!((also.alerted, told(&policy).await), (3, BTreeSet::new()), "they know already");
        assert_eq!(trail(&policy).await.len(), 2, "all of it is in the trail");
        for (notice, said) in [(&notice, said), (&second, also)] {
            assert_eq!(disown(&policy, &ada, &another, notice, 1_300).await, Some(said), "the same answer, long after");
        }
        let bob = person("acme", "bob");
        let mut bobs = Phone::new("token-11");
        bobs.register(&policy, &bob, after(615)).await.unwrap();
        told(&policy).await;
        disown(&policy, &bob, &bobs, &newest(&policy, &bob).await, 616).await.unwrap();
        assert_eq!(told(&policy).await, alerted(), "of somebody else");
    }

    /// A weaker word hides no stronger one: whoever disowns that a phone was enrolled first leaves the alert about one that may approve.
    async fn each_kind_of_notice_has_its_window(policy: Policy) {
        people(&policy).await;
        let ada = person("acme", "ada");
        let (first, mut thief) = (approver(&policy, &ada, "token-1").await, Phone::new("token-2"));
        let notices = async |what: SystemNotice| {
            let page = policy.notices().list(&ada, true, None, 9, after(60)).await.unwrap();
            page.items.into_iter().filter(|entry| entry.news.what() == what).map(|entry| entry.id).collect::<Vec<_>>()
        };
        thief.enrol(&policy, &ada, after(1)).await;
        thief.sign_in(&policy, &ada, (true, after(1)), &[Way::PhishingResistant], after(1)).await.unwrap();
        told(&policy).await;
        let (enrolled, promoted) = (notices(SystemNotice::Enrolled).await, notices(SystemNotice::Promoted).await);
        assert_eq!(disown(&policy, &ada, &thief, &enrolled[0], 2).await.unwrap().alerted, 3);
        assert_eq!(told(&policy).await, alerted());
        assert_eq!(disown(&policy, &ada, &first, &promoted[0], 3).await.unwrap().alerted, 3);
        assert_eq!(told(&policy).await, alerted(), "of another kind");
        disown(&policy, &ada, &thief, &enrolled[1], 4).await.unwrap();
        disown(&policy, &ada, &thief, &promoted[1], 5).await.unwrap();
        assert_eq!(told(&policy).await, BTreeSet::new(), "they know already");
    }

    /// The window is the operator's.
    async fn the_window_is_configured(policy: Policy, place: &Place) {
        people(&policy).await;
        enrol_ada(place, &policy).await;
        let ada = person("acme", "ada");
        let policy = policy.alerting_every(Duration::from_secs(5));
        for (id, second) in [("e1", 0), ("e2", 4), ("e3", 6)] {
            let asked = sign_in(&ada, id, after(second));
            policy.requests().project(&asked, after(second)).await.unwrap();
            policy.requests().decide(&answer(&asked, "d1", Verb::DenyNotMe, None), after(second)).await.unwrap();
        }
        assert_eq!(list(&policy, &person("acme", "root")).await.len(), 2);
    }

    /// Upstream and the guard hear of it once when a notice is disowned: which one, by whom, on which phone, in the order of the person's
    /// other records.
    async fn upstream_hears_of_a_disowned_notice(policy: Policy) {
        let ada = person("acme", "ada");
        let first = approver(&policy, &ada, "token-1").await;
        let mut second = Phone::new("token-2");
        second.register(&policy, &ada, AT).await.unwrap();
        assert_eq!(published(&policy).await.decisions(), [], "a notice alone is nothing to upstream");
        let notice = newest(&policy, &ada).await;
        for n in 1..3 {
            disown(&policy, &ada, &first, &notice, n).await.unwrap();
        }
        let broker = published(&policy).await;
        let decisions = broker.decisions();
        assert_eq!(heard(&decisions, notice.as_str()), ["not me: Enrolled"]);
        let [decision] = &decisions[..] else { panic!("{decisions:?}") };
        assert_eq!((decision.workspace_id.as_str(), decision.user_id.as_str()), ("acme", "ada"));
        assert_eq!(decision.at.unwrap().seconds, after(1).as_secs());
        let Some(wire::decision::Body::NotMe(not_me)) = &decision.body else { panic!("{decision:?}") };
        assert_eq!(not_me.device_id, first.id().as_str());
        let record = broker.log().into_iter().find(|record| record.topic == OutboxTopic::Decisions).unwrap();
        assert_eq!(record.key.as_deref(), Some(&b"ada"[..]));
        let read = watchbell::delivery::codec::decode_decision(&record.payload).unwrap();
        assert_eq!(read.heard, Some(Heard::NotMe));
    }

    /// Of a crowd of admins those are told who were here last, and the one who says it is not told of themselves.
    async fn a_crowd_is_bounded(policy: Policy) {
        let ada = person("acme", "ada");
        let first = approver(&policy, &ada, "token-1").await;
        policy.admin().note_role(&ada, Role::Owner, after(9)).await.unwrap();
        let notice = newest(&policy, &ada).await;
        assert_eq!(disown(&policy, &ada, &first, &notice, 1).await.unwrap().alerted, 0, "nobody else administers it");
        for n in 0..=ALERTED_MAX as u64 {
            policy.admin().note_role(&person("acme", &format!("a{n}")), Role::Admin, after(n)).await.unwrap();
        }
        let mut second = Phone::new("token-2");
        second.enrol(&policy, &ada, after(1)).await;
        let notice = newest(&policy, &ada).await;
        assert_eq!(disown(&policy, &ada, &first, &notice, 1).await.unwrap().alerted as usize, ALERTED_MAX);
        assert_eq!(list(&policy, &person("acme", "a0")).await, []);
        assert_eq!(list(&policy, &person("acme", "a1")).await.len(), 1);
        assert_eq!(trail(&policy).await[0].1.role, ActorRole::Of(Role::Owner));
    }

    /// Killed wherever it can be while it is written down, and said again by a phone that heard no answer: one entry, one alert.
    async fn killed_while_it_is_said(policy: Policy) {
        people(&policy).await;
        let (mut waits, mut seen) = (0, BTreeSet::new());
        for round in 0..1_000 {
            let someone = person("acme", &format!("p{round}"));
            let mut phone = Phone::new(&format!("token-{round}"));
            phone.register(&policy, &someone, AT).await.unwrap();
            told(&policy).await;
            let notice = newest(&policy, &someone).await;
            let saying = async { disown(&policy, &someone, &phone, &notice, 1).await.unwrap() };
            let done = Killed { waits, inner: Box::pin(saying) }.await.is_some();
            assert_eq!(disown(&policy, &someone, &phone, &notice, 2).await.unwrap().alerted, 3);
            assert_eq!(told(&policy).await, alerted(), "killed after {waits} waits");
            let mine = trail(&policy).await.into_iter().filter(|(what, _)| what.target() == Some(&someone.user));
            assert_eq!(mine.count(), 1, "killed after {waits} waits");
            seen.insert((done, waits));
            waits = if done { 0 } else { waits + 1 };
            if done && seen.len() > 5 {
                return;
            }
        }
        panic!("it was not killed on its way: {seen:?}");
    }
}
