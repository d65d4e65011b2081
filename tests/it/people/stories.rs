//! The stories of enrolment, by name: who gets in, and who does not.
use watchbell::people::enrolment::{PromotionRefusal, ReachRefusal, Spent, Way};
use watchbell::people::{AnswerRefusal, Audited, DeviceState, Person, Projection, Verb};
use watchbell::seam::PolicySource as _;
use watchbell::store::{Failure, Policy, PromotedBy};

use super::phones::{Phone, approver, rules};
use super::support::{after, sign_in};
use crate::store_support::{AT, admin, ask, installation, over_both, person, user, ws};

/// A sign-in that asks that person, from that second on.
async fn asks(policy: &Policy, person: &Person, id: &str) -> Projection {
    let request = sign_in(person, id, AT);
    policy.requests().project(&request, AT).await.unwrap();
    request
}

/// What becomes of a phone's approval.
async fn approves(policy: &Policy, phone: &Phone, person: &Person, id: &str) -> Result<(), AnswerRefusal> {
    let request = asks(policy, person, id).await;
    let answer = phone.answer(policy, &request, Verb::Approve).await;
    match policy.requests().decide(&answer, after(1)).await {
        Ok(_) => Ok(()),
        Err(Failure::Refused(refusal)) => Err(refusal),
        Err(unavailable) => panic!("{unavailable}"),
    }
}

/// The tokens at which the worker rings that person.
async fn rings(policy: &Policy, person: &str) -> Vec<String> {
    let entry = ask(policy, "acme", &[person]).await.unwrap().users[0].clone();
    entry.devices().map(|device| device.expose_token().to_owned()).collect()
}

fn refused<T>(result: &Result<T, Failure<PromotionRefusal>>) -> PromotionRefusal {
    match result {
        Err(Failure::Refused(refusal)) => *refusal,
        _ => panic!("it was not refused"),
    }
}

over_both! {
    /// A new hire signs in on their phone: it rings at once and can deny; it approves once they redeemed the ticket that an admin gave them,
    /// which is good for one phone, for ten minutes, and for them alone.
    async fn new_hire(policy: Policy) {
        let (ada, devices) = (person("acme", "ada"), policy.devices());
        let mut phone = Phone::new("token-1");
        let registered = phone.register(&policy, &ada, AT).await.unwrap();
        assert_eq!((registered.state, registered.again, registered.waits), (DeviceState::ReceiveOnly, false, false));
        assert_eq!(rings(&policy, "ada").await, ["token-1"]);
        assert_eq!(approves(&policy, &phone, &ada, "e1").await, Err(AnswerRefusal::CannotApprove));
        let denied = phone.answer(&policy, &sign_in(&ada, "e1", AT), Verb::DenyNotMe).await;
        policy.requests().decide(&denied, after(2)).await.unwrap();

        let early = devices.ticket(&ada, &admin("root"), None, AT).await.unwrap().0;
        assert_eq!(refused(&phone.redeem(&policy, &ada, early.expose(), AT).await), PromotionRefusal::NotReachable);
        phone.reach(&policy, &ada, &registered.reach.unwrap(), AT).await;
        let ticket = devices.ticket(&ada, &admin("root"), None, AT).await.unwrap().0;
        assert_eq!(refused(&phone.redeem(&policy, &ada, early.expose(), AT).await), PromotionRefusal::Ticket(Spent::Unknown));
        assert_eq!(refused(&phone.redeem(&policy, &ada, ticket.expose(), after(600)).await), PromotionRefusal::Ticket(Spent::Expired));

        let mut bobs = Phone::new("token-2");
        let bob = person("acme", "bob");
        bobs.enrol(&policy, &bob, AT).await;
        assert_eq!(refused(&bobs.redeem(&policy, &bob, ticket.expose(), AT).await), PromotionRefusal::Ticket(Spent::Unknown));

        assert_eq!(phone.redeem(&policy, &ada, ticket.expose(), after(599)).await, Ok(Some(Way::Ticket)));
        assert_eq!(approves(&policy, &phone, &ada, "e2").await, Ok(()));
        assert_eq!(phone.redeem(&policy, &ada, ticket.expose(), after(599)).await, Ok(None), "it may already");
        let mut second = Phone::new("token-3");
        second.enrol(&policy, &ada, AT).await;
        assert_eq!(refused(&second.redeem(&policy, &ada, ticket.expose(), after(599)).await), PromotionRefusal::Ticket(Spent::Used));
        let trail = policy.admin().audit_trail(&ws("acme"), None, 9).await.unwrap().items;
        assert_eq!(trail.iter().map(|entry| entry.what.clone()).collect::<Vec<_>>(), vec![Audited::TicketIssued { user: user("ada") }; 2]);
    }

    /// A second phone shows six digits, which its person types on the first: both approve then. Three wrong ones use the digits up, and a
    /// phone vouches neither for itself nor for somebody else's.
    async fn second_phone(policy: Policy) {
        let (ada, devices) = (person("acme", "ada"), policy.devices());
        let (first, mut second) = (approver(&policy, &ada, "token-1").await, Phone::new("token-2"));
        second.enrol(&policy, &ada, AT).await;
        let promote = async |by: &Phone, digits: &str, now| {
            let word = by.vouch(&policy, &ada, &second, digits).await;
            policy.devices().promote(&ada, second.id(), PromotedBy::Approver(&word), None, &rules(&[Way::Approver]), now).await
        };
        assert_eq!(refused(&promote(&first, "000000", AT).await), PromotionRefusal::Digits(Spent::Unknown), "it shows none yet");
        let shown = devices.digits(&ada, second.id(), &second.thumbprint(), AT).await.unwrap();
        let wrong = if shown.number.expose() == "000000" { "000001" } else { "000000" };
        assert_eq!(refused(&promote(&second, shown.number.expose(), AT).await), PromotionRefusal::NoApprover);
        for left in [2, 1, 0] {
            assert_eq!(refused(&promote(&first, wrong, AT).await), PromotionRefusal::DigitsWrong { left });
        }
        assert_eq!(refused(&promote(&first, shown.number.expose(), AT).await), PromotionRefusal::Digits(Spent::Used));
        assert_eq!(approves(&policy, &second, &ada, "e1").await, Err(AnswerRefusal::CannotApprove));

        let shown = devices.digits(&ada, second.id(), &second.thumbprint(), after(1)).await.unwrap();
        assert_eq!(refused(&promote(&first, shown.number.expose(), after(601)).await), PromotionRefusal::Digits(Spent::Expired));
        let bobs = approver(&policy, &person("acme", "bob"), "token-9").await;
        let theirs = bobs.vouch(&policy, &ada, &second, shown.number.expose()).await;
        let theirs = devices.promote(&ada, second.id(), PromotedBy::Approver(&theirs), None, &rules(&Way::ALL), after(2)).await;
        assert_eq!(refused(&theirs), PromotionRefusal::NoApprover);
        assert_eq!(promote(&first, shown.number.expose(), after(2)).await.unwrap().way, Some(Way::Approver));
        for (phone, id) in [(&first, "e2"), (&second, "e3")] {
            assert_eq!(approves(&policy, phone, &ada, id).await, Ok(()));
        }
    }

    /// Somebody loses their only phone: an admin's reset retires it, tells it, and enrols nothing. A sign-in alone does not help whoever
    /// found the phone or the session; a ticket does.
    async fn lost_only_phone(policy: Policy) {
        let (ada, devices) = (person("acme", "ada"), policy.devices());
        let lost = approver(&policy, &ada, "token-1").await;
        let before = devices.ticket(&ada, &admin("root"), None, AT).await.unwrap().0;
        let reset = devices.reset(&ada, &admin("root"), (false, None), after(1)).await.unwrap();
        let told: Vec<_> = reset.told.iter().map(|told| (&told.device, &told.to)).collect();
        assert_eq!((reset.devices.as_slice(), told), (&[lost.id().clone()][..], vec![(lost.id(), &installation("token-1"))]));
        assert_eq!(rings(&policy, "ada").await, Vec::<String>::new());
        assert_eq!(approves(&policy, &lost, &ada, "e1").await, Err(AnswerRefusal::UnknownDevice));
        assert_eq!(devices.list(&ada).await.unwrap().1, []);
        let trail = policy.admin().audit_trail(&ws("acme"), None, 1).await.unwrap().items;
        assert_eq!((trail[0].what.clone(), trail[0].actor.clone()), (Audited::PersonReset { user: user("ada") }, admin("root")));

        let mut phone = Phone::new("token-2");
        phone.enrol(&policy, &ada, after(2)).await;
        let alone = phone.sign_in(&policy, &ada, (false, after(2)), &Way::ALL, after(2)).await;
        assert_eq!(refused(&alone), PromotionRefusal::SignInAlone);
        assert_eq!(refused(&phone.redeem(&policy, &ada, before.expose(), after(2)).await), PromotionRefusal::Ticket(Spent::Unknown));
        let ticket = devices.ticket(&ada, &admin("root"), None, after(2)).await.unwrap().0;
        assert_eq!(phone.redeem(&policy, &ada, ticket.expose(), after(2)).await, Ok(Some(Way::Ticket)));
        assert_eq!(approves(&policy, &phone, &ada, "e2").await, Ok(()));
    }

    /// The app is installed anew: its key is gone and a new one is a new enrolment, which may only receive. The one before stops approving
    /// as soon as the new one was reached, whether the token stayed or not, and not a moment before.
    async fn reinstall(policy: Policy) {
        let ada = person("acme", "ada");
        let mut before = Phone { phone: Some("pixel-of-ada".into()), ..Phone::new("token-1") };
        before.enrol(&policy, &ada, AT).await;
        before.sign_in(&policy, &ada, (false, AT), &[Way::FreshSignIn], AT).await.unwrap();

        // Another token: known by what the app knows the phone by.
        let mut anew = Phone { phone: Some("pixel-of-ada".into()), ..Phone::new("token-2") };
        let registered = anew.register(&policy, &ada, after(1)).await.unwrap();
        assert_eq!((registered.state, registered.again), (DeviceState::ReceiveOnly, false));
        assert_eq!(approves(&policy, &before, &ada, "e1").await, Ok(()));
        assert_eq!(anew.reach(&policy, &ada, &registered.reach.unwrap(), after(1)).await, [before.id().clone()]);
        assert_eq!(approves(&policy, &before, &ada, "e2").await, Err(AnswerRefusal::UnknownDevice));
        assert_eq!(approves(&policy, &anew, &ada, "e2").await, Err(AnswerRefusal::CannotApprove));
        assert_eq!(rings(&policy, "ada").await, ["token-2"]);

        // The same token: it stays where it was until it was reached.
        let mut again = Phone { phone: None, ..anew.with_new_key() };
        let registered = again.register(&policy, &ada, after(2)).await.unwrap();
        assert!(registered.waits && !registered.again && registered.device != *anew.id());
        let (_, listed) = policy.devices().list(&ada).await.unwrap();
        assert_eq!(listed.iter().map(|device| (device.waits, device.pushes.is_some())).collect::<Vec<_>>(), [(false, true), (true, false)]);
        again.reach(&policy, &ada, &registered.reach.unwrap(), after(2)).await;
        assert_eq!(approves(&policy, &anew, &ada, "e3").await, Err(AnswerRefusal::UnknownDevice));
        let (_, listed) = policy.devices().list(&ada).await.unwrap();
        assert_eq!(listed.iter().map(|device| (&device.id, device.waits)).collect::<Vec<_>>(), [(again.id(), false)]);
        assert_eq!(rings(&policy, "ada").await, ["token-2"]);
    }

    /// A session that was phished at this moment is fresh. It enrols a phone of the thief's, which may never approve: not while the person
    /// has an approver, nor after they removed, reset or erased it; only a sign-in that cannot be phished would do.
    async fn phished_fresh_session(policy: Policy) {
        let (ada, devices) = (person("acme", "ada"), policy.devices());
        let phone = approver(&policy, &ada, "token-1").await;
        let mut thief = Phone::new("token-of-thief");
        thief.enrol(&policy, &ada, after(1)).await;
        let tries = async |thief: &Phone, id: &str| {
            for ways in [&Way::ALL[..], &[Way::FreshSignIn]] {
                let fresh = thief.sign_in(&policy, &ada, (false, after(1)), ways, after(1)).await;
                assert_eq!(refused(&fresh), PromotionRefusal::SignInAlone);
            }
            assert_eq!(approves(&policy, thief, &ada, id).await, Err(AnswerRefusal::CannotApprove));
        };
        tries(&thief, "e1").await;
        devices.remove(&ada, phone.id(), None, (true, None), after(1)).await.unwrap();
        tries(&thief, "e2").await;
        // Long before what is asked below: of what was asked before an erasure nothing comes back, by a clock that is ten minutes ahead either.
        let earlier = AT.minus(std::time::Duration::from_secs(601));
        policy.admin().erase(&ada, &admin("root"), earlier).await.unwrap();
        let mut thief = Phone::new("token-of-thief-2");
        thief.enrol(&policy, &ada, after(1)).await;
        tries(&thief, "e3").await;
        let closed = thief.sign_in(&policy, &ada, (true, after(1)), &[Way::Ticket], after(1)).await;
        assert_eq!(refused(&closed), PromotionRefusal::WayClosed { way: Way::FreshSignIn });
        let passkey = thief.sign_in(&policy, &ada, (true, after(1)), &[Way::PhishingResistant], after(1)).await;
        assert_eq!(passkey, Ok(Some(Way::PhishingResistant)), "it is then nobody's but the person's");
    }

    /// Whoever stole a session that is not fresh, and has no phone of the person's, enrols a phone that rings and never approves; knows the
    /// token of the person's phone and cannot take it over; and answers in nobody's name.
    async fn stolen_session_without_phone(policy: Policy) {
        let (ada, devices) = (person("acme", "ada"), policy.devices());
        let phone = approver(&policy, &ada, "token-1").await;
        let mut thief = Phone::new("token-of-thief");
        thief.enrol(&policy, &ada, after(1)).await;
        for phishing_resistant in [false, true] {
            let old = thief.sign_in(&policy, &ada, (phishing_resistant, AT), &Way::ALL, after(301)).await;
            let expected = if phishing_resistant { PromotionRefusal::SignInTooOld } else { PromotionRefusal::SignInAlone };
            assert_eq!(refused(&old), expected);
        }
        // It claims the token that it knows. The nonce goes to the person's phone; what came to its own proves its own alone.
        let mine = devices.nonce(&ada, thief.id(), &thief.thumbprint(), after(1)).await.unwrap();
        let report = Phone { token: "token-1".into(), ..thief.clone() }.registrant().report;
        let taken = devices.report(&ada, (thief.id(), &thief.thumbprint()), &report, None, after(1)).await.unwrap();
        let push = taken.reach.unwrap();
        assert_eq!(push.to, installation("token-1"));
        let returned = devices.reached(&ada, thief.id(), &thief.thumbprint(), mine.nonce.expose(), after(1)).await;
        assert_eq!(returned.err(), Some(Failure::Refused(ReachRefusal::Nonce(Spent::Unknown))));
        let forged = devices.reached(&ada, thief.id(), &phone.thumbprint(), push.nonce.expose(), after(1)).await;
        assert_eq!(forged.err(), Some(Failure::Refused(ReachRefusal::UnknownDevice)));
        assert_eq!(approves(&policy, &phone, &ada, "e1").await, Ok(()), "it rings and approves as before");
        let mut tokens = rings(&policy, "ada").await;
        tokens.sort();
        assert_eq!(tokens, ["token-1", "token-of-thief"]);
        // In the name of the person's phone, with a key of its own.
        let request = asks(&policy, &ada, "e2").await;
        let impostor = Phone { id: phone.id.clone(), ..thief.clone() };
        let answer = impostor.answer(&policy, &request, Verb::Approve).await;
        let answered = policy.requests().decide(&answer, after(2)).await;
        assert_eq!(answered.err(), Some(Failure::Refused(AnswerRefusal::UnknownDevice)));
        assert!(policy.cached(&ws("acme"), &user("ada")).is_some());
    }
}
