//! What people are told about their devices: on which phones, and that it is written with the change.
use std::collections::BTreeSet;
use std::time::Duration;

use watchbell::event::{DeviceId, NotificationType, SystemNotice, wire};
use watchbell::people::enrolment::Way;
use watchbell::people::{ActorRole, Cursor, NOTICE_LIFE, News, Person, Removal, Role};
use watchbell::policy::Preference;
use watchbell::store::{NOTICES_KEPT, Policy};

use super::phones::{Phone, approver};
use super::support::{Killed, after, published};
use crate::store_support::{AT, admin, device_of, over_both, person, phone};

/// The devices to which jobs go since the last look, and what they say.
pub async fn told(policy: &Policy) -> BTreeSet<(String, SystemNotice)> {
    let jobs = published(policy).await.jobs();
    let ids: BTreeSet<_> = jobs.iter().map(|job| (&job.device_id, &job.event_id)).collect();
    assert_eq!(ids.len(), jobs.len(), "a device is told once: {jobs:?}");
    jobs.iter().map(|job| (job.device_id.clone(), said(job))).collect()
}

fn said(job: &wire::PushJob) -> SystemNotice {
    SystemNotice::ALL.into_iter().find(|what| wire::wire_notice(*what) == job.notice()).expect("a notice")
}

fn to<const N: usize>(phones: [&Phone; N], what: SystemNotice) -> BTreeSet<(String, SystemNotice)> {
    phones.into_iter().map(|phone| (phone.id().as_str().to_owned(), what)).collect()
}

/// What a person was told, newest first.
pub async fn list(policy: &Policy, person: &Person) -> Vec<News> {
    let page = policy.notices().list(person, true, None, 50, after(60)).await.unwrap();
    page.items.into_iter().map(|entry| entry.news).collect()
}

over_both! {
    /// A new hire's first phone: there is nobody to tell, and the list says what happened to it.
    async fn a_first_phone_tells_nobody(policy: Policy) {
        let ada = person("acme", "ada");
        let phone = approver(&policy, &ada, "token-1").await;
        assert_eq!(told(&policy).await, BTreeSet::new());
        let device = phone.id().clone();
        let expected = [News::Promoted { device: device.clone(), way: Way::FreshSignIn }, News::Enrolled { device }];
        assert_eq!(list(&policy, &ada).await, expected);
        assert_eq!(list(&policy, &person("acme", "bob")).await, []);
    }

    /// A second phone is enrolled and promoted: the first one hears of both, for a day; the second one and everybody else's of neither. That
    /// its key rolls is told, too; to report anew and to be reached are no news.
    async fn a_second_phone_is_told_of_on_the_first(policy: Policy) {
        let (ada, bob) = (person("acme", "ada"), person("acme", "bob"));
        let (first, mut second) = (approver(&policy, &ada, "token-1").await, Phone::new("token-2"));
        approver(&policy, &bob, "token-9").await;
        told(&policy).await;
        let registered = second.register(&policy, &ada, after(1)).await.unwrap();
        let jobs = published(&policy).await.jobs();
        assert_eq!(jobs.iter().map(|job| job.device_id.as_str()).collect::<Vec<_>>(), [first.id().as_str()]);
        let job = &jobs[0];
        assert_eq!((job.workspace_id.as_str(), job.user_id.as_str(), said(job)), ("acme", "ada", SystemNotice::Enrolled));
        assert_eq!((job.r#type(), job.body.is_none()), (wire::NotificationType::TrustedDevice, true));
        let moments = [job.occurred_at.unwrap(), job.expires_at.unwrap()].map(|at| at.seconds);
        assert_eq!(moments, [after(1), after(1).plus(NOTICE_LIFE)].map(|at| at.as_secs()));
        let listed = policy.notices().list(&ada, true, None, 1, after(1)).await.unwrap().items.remove(0);
        assert_eq!((listed.id.as_str(), listed.at, listed.not_me), (job.event_id.as_str(), after(1), None));
        assert_eq!(listed.device, Some(("My phone".to_owned(), "Pixel 8".to_owned())));

        second.reach(&policy, &ada, &registered.reach.unwrap(), after(1)).await;
        assert!(second.register(&policy, &ada, after(2)).await.unwrap().again);
        assert_eq!(told(&policy).await, BTreeSet::new());
        let next = second.with_new_key();
        let roll = second.roll(&policy, &ada, &next).await;
        policy.devices().roll(&roll, &next.proof(None), after(2)).await.unwrap();
        assert_eq!(told(&policy).await, to([&first], SystemNotice::Rolled));
        assert_eq!(list(&policy, &ada).await[0], News::Rolled { device: second.id().clone() });
        next.sign_in(&policy, &ada, (true, after(3)), &[Way::PhishingResistant], after(3)).await.unwrap();
        assert_eq!(told(&policy).await, to([&first], SystemNotice::Promoted));
        next.sign_in(&policy, &ada, (true, after(3)), &[Way::PhishingResistant], after(3)).await.unwrap();
        assert_eq!(told(&policy).await, BTreeSet::new(), "it may already");
    }

    /// A phone is removed: all others hear of it, and the one that is gone is named to whoever removed it, with where its pushes went.
    async fn a_removal_is_told_on_the_others(policy: Policy) {
        let ada = person("acme", "ada");
        let first = approver(&policy, &ada, "token-1").await;
        let [mut second, mut third] = ["token-2", "token-3"].map(Phone::new);
        second.enrol(&policy, &ada, AT).await;
        third.enrol(&policy, &ada, AT).await;
        told(&policy).await;
        let removed = policy.devices().remove(&ada, second.id(), Some(&admin("root")), (false, None), after(1)).await.unwrap();
        assert_eq!(told(&policy).await, to([&first, &third], SystemNotice::Removed));
        let gone = removed.told.unwrap();
        assert_eq!((&gone.device, gone.to.token.expose(), gone.locale.as_str()), (second.id(), "token-2", "en-US"));
        let how = Removal::By(ActorRole::Of(Role::Admin));
        assert_eq!(list(&policy, &ada).await[0], News::Removed { device: second.id().clone(), how });
        let listed = policy.notices().list(&ada, true, None, 1, after(1)).await.unwrap().items.remove(0);
        assert_eq!((removed.notice.id, removed.notice.what), (listed.id, SystemNotice::Removed));

        policy.devices().remove(&ada, third.id(), None, (false, None), after(2)).await.unwrap();
        assert_eq!(told(&policy).await, to([&first], SystemNotice::Removed));
        assert_eq!(list(&policy, &ada).await[0], News::Removed { device: third.id().clone(), how: Removal::Own });
        policy.devices().remove(&ada, first.id(), None, (false, None), after(3)).await.unwrap_err();
        assert_eq!((told(&policy).await, list(&policy, &ada).await.len()), (BTreeSet::new(), 6), "what is refused is not told");
    }

    /// A reset leaves no phone to send a job to: each that was retired is named, with where its pushes went.
    async fn a_reset_names_every_phone(policy: Policy) {
        let ada = person("acme", "ada");
        let (first, mut second) = (approver(&policy, &ada, "token-1").await, Phone::new("token-2"));
        second.enrol(&policy, &ada, AT).await;
        told(&policy).await;
        let reset = policy.devices().reset(&ada, &admin("root"), (false, None), after(1)).await.unwrap();
        assert_eq!(told(&policy).await, BTreeSet::new());
        let named: BTreeSet<_> = reset.told.iter().map(|told| (told.device.clone(), told.to.token.expose().to_owned())).collect();
        assert_eq!(named, BTreeSet::from([(first.id().clone(), "token-1".to_owned()), (second.id().clone(), "token-2".to_owned())]));
        assert_eq!((reset.notice.what, reset.notice.until), (SystemNotice::Reset, after(1).plus(NOTICE_LIFE)));
        assert_eq!(list(&policy, &ada).await[0], News::Reset { by: Some(ActorRole::Of(Role::Admin)) });
        policy.devices().reset(&ada, &admin("ada"), (true, None), after(2)).await.unwrap();
        assert_eq!(list(&policy, &ada).await[0], News::Reset { by: None });
    }

    /// The app is installed anew and takes the place of the one before, or takes a token that another row had, of the same person or of
    /// another: the owner's other phones hear of what was lost, the new one does not.
    async fn what_is_replaced_is_told_on_the_others(policy: Policy) {
        let (ada, bob) = (person("acme", "ada"), person("acme", "bob"));
        let tablet = approver(&policy, &ada, "token-1").await;
        let mut before = Phone { phone: Some("pixel-of-ada".into()), ..Phone::new("token-2") };
        before.enrol(&policy, &ada, AT).await;
        let mut anew = Phone { phone: Some("pixel-of-ada".into()), ..Phone::new("token-3") };
        let registered = anew.register(&policy, &ada, after(1)).await.unwrap();
        told(&policy).await;
        let nonce = registered.reach.unwrap().nonce;
        let reached = policy.devices().reached(&ada, anew.id(), &anew.thumbprint(), nonce.expose(), after(1)).await.unwrap();
        assert_eq!(told(&policy).await, to([&tablet], SystemNotice::Removed));
        let gone: Vec<_> = reached.told.iter().map(|(notice, told)| (notice.what, &told.device)).collect();
        assert_eq!(gone, [(SystemNotice::Removed, before.id())]);
        assert_eq!(list(&policy, &ada).await[0], News::Removed { device: before.id().clone(), how: Removal::Replaced });

        // Ada gives the phone to Bob, whose app gets the same token.
        let mut bobs = Phone::new("token-3");
        let registered = bobs.register(&policy, &bob, after(2)).await.unwrap();
        assert_eq!(told(&policy).await, BTreeSet::new(), "it claims the token until it was reached");
        bobs.reach(&policy, &bob, &registered.reach.unwrap(), after(2)).await;
        assert_eq!(told(&policy).await, to([&tablet], SystemNotice::Removed));
        assert_eq!(list(&policy, &ada).await[0], News::Removed { device: anew.id().clone(), how: Removal::Replaced });
    }

    /// A device that was imported, has no key and gets pushes is told as any other; one whose token is dead is not.
    async fn who_can_be_reached_is_told(policy: Policy) {
        let ada = person("acme", "ada");
        policy.admin().write(&[device_of("acme", "ada", phone("old", "token-9"))]).await.unwrap();
        let (mut first, mut second) = (Phone::new("token-1"), Phone::new("token-2"));
        first.enrol(&policy, &ada, AT).await;
        assert_eq!(told(&policy).await, BTreeSet::from([("old".to_owned(), SystemNotice::Enrolled)]));
        assert_eq!(list(&policy, &ada).await.len(), 1, "an import enrols nobody");
        let old = DeviceId::new("old").unwrap();
        policy.devices().remove(&ada, &old, None, (true, None), AT).await.unwrap();
        told(&policy).await;
        second.enrol(&policy, &ada, AT).await;
        assert_eq!(told(&policy).await, to([&first], SystemNotice::Enrolled));
    }

    /// The list is read page by page, for 30 days, and goes with its person.
    async fn the_list_ends(policy: Policy) {
        let ada = person("acme", "ada");
        let (_, mut second) = (approver(&policy, &ada, "token-1").await, Phone::new("token-2"));
        second.enrol(&policy, &ada, after(1)).await;
        let all = list(&policy, &ada).await;
        assert_eq!(all.len(), 3);
        let (mut read, mut before) = (Vec::new(), None);
        loop {
            let page = policy.notices().list(&ada, true, before, 2, after(60)).await.unwrap();
            read.extend(page.items.into_iter().map(|entry| entry.news));
            match page.next {
                Some(next) => before = Cursor::parse(&next.to_text()),
                None => break,
            }
        }
        assert_eq!(read, all);
        let late = policy.notices().list(&ada, true, None, 9, AT.plus(NOTICES_KEPT + Duration::from_millis(1))).await.unwrap();
        assert_eq!(late.items.into_iter().map(|entry| entry.news).collect::<Vec<_>>(), all[..1]);
        assert!(policy.admin().sweep(AT.plus(NOTICES_KEPT + Duration::from_millis(1))).await.unwrap() >= 2);
        assert_eq!(list(&policy, &ada).await, all[..1]);
        policy.admin().erase(&ada, &admin("root"), after(2)).await.unwrap();
        assert_eq!(list(&policy, &ada).await, []);
    }

    /// Killed wherever it can be, an enrolment is there with what is told of it, or neither is.
    async fn killed_while_it_enrols(policy: Policy) {
        let (mut waits, mut seen) = (0, BTreeSet::new());
        // How often it waits on its way is not the same each time.
        for round in 0..1_000 {
            let someone = person("acme", &format!("p{round}"));
            Phone::new(&format!("first-{round}")).enrol(&policy, &someone, AT).await;
            told(&policy).await;
            let mut second = Phone::new(&format!("second-{round}"));
            let registering = async { second.register(&policy, &someone, AT).await.unwrap() };
            let done = Killed { waits, inner: Box::pin(registering) }.await.is_some();
            // Waits for a transaction that dies a moment later: it holds the person's row.
            policy.admin().switch(&someone, NotificationType::OtpReceived, Preference::Off, None).await.unwrap();
            let enrolled = policy.devices().list(&someone).await.unwrap().1.len() - 1;
            let (listed, jobs) = (list(&policy, &someone).await.len() - 1, told(&policy).await.len());
            assert_eq!((listed, jobs), (enrolled, enrolled), "killed after {waits} waits");
            seen.insert((done, waits));
            waits = if done { 0 } else { waits + 1 };
            if done && seen.len() > 5 {
                return;
            }
        }
        panic!("it was not killed on its way: {seen:?}");
    }
}
