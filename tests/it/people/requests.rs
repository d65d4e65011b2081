//! Requests: projected once, ended once, and what upstream hears of both.
use prost::Message as _;
use watchbell::event::{DeviceId, NotificationType, wire};
use watchbell::people::{
    Activity, AnswerRefusal, ClosedReason, Cursor, Ending, Happening, MatchNumber, PendingCursor, Projection, Request,
    Verb,
};
use watchbell::store::{Failure, Policy, Projected};

use super::phones::Phone;
use super::support::{after, answer, enrol_ada, heard, id_of, published, sign_in};
use crate::store_support::{AT, Place, over_both, person};
use crate::support::SOON;

fn from_source(id: &str, source: &str, second: u64) -> Projection {
    Projection { source: source.into(), ..sign_in(&person("acme", "ada"), id, after(second)) }
}

async fn pending(policy: &Policy) -> Vec<String> {
    let pending = policy.requests().pending(&person("acme", "ada"), None, 200, after(60)).await.unwrap();
    pending.items.iter().map(|request| request.id.event.to_string()).collect()
}

async fn request(policy: &Policy, projection: &Projection) -> Request {
    policy.requests().request(&id_of(projection)).await.unwrap().unwrap()
}

fn closed(reason: ClosedReason) -> Failure<AnswerRefusal> {
    Failure::Refused(AnswerRefusal::Closed { reason })
}

over_both! {
    /// An event becomes a request once, however often it is read; upstream hears once whom it asks, under the event's own key.
    async fn an_event_is_projected_once(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let mut event = sign_in(&person("acme", "ada"), "e1", AT);
        event.record_key = Some(vec![0, 255, 7]);
        event.traceparent = Some("00-1-2-01".into());
        let requests = policy.requests();
        assert_eq!(requests.project(&event, AT).await.unwrap(), Projected::Open);
        for later in [0, 10, 400] {
            assert_eq!(requests.project(&event, after(later)).await.unwrap(), Projected::Known);
        }
        let read = request(&policy, &event).await;
        assert_eq!((read.id, read.detail), (id_of(&event), Some(event.detail.clone())));
        assert_eq!((read.number_required, read.occurred_at, read.expires_at, read.ending), (false, AT, after(300), None));
        let broker = published(&policy).await;
        assert_eq!(heard(&broker.decisions(), "e1"), [r#"asked["Pixel 8", "A•• p••••"]"#]);
        let record = &broker.log()[0];
        assert_eq!(record.key.as_deref(), Some(&[0, 255, 7][..]));
        assert_eq!(record.headers, [("traceparent".to_owned(), "00-1-2-01".to_owned())]);
        assert_eq!(requests.request(&id_of(&sign_in(&person("acme", "bob"), "e1", AT))).await.unwrap(), None);
    }

    /// The statement goes upstream as it was signed, with what a reader needs to check it.
    async fn a_decision_stands_by_itself(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let event = sign_in(&person("acme", "ada"), "e1", AT);
        policy.requests().project(&event, AT).await.unwrap();
        let answered = policy.requests().decide(&answer(&event, "d1", Verb::Approve, None), after(5)).await.unwrap();
        assert!(!answered.again);
        assert_eq!(request(&policy, &event).await.ending, Some(Ending::Decided(answered.decision.clone())));
        let told = published(&policy).await.decisions().pop().unwrap();
        let at = |second| Some(prost_types::Timestamp { seconds: after(second).as_secs(), nanos: 0 });
        let expected = wire::Decision {
            workspace_id: "acme".into(),
            r#type: wire::NotificationType::IdentityVerification.into(),
            event_id: "e1".into(),
            user_id: "ada".into(),
            decision_id: answered.decision.id,
            at: at(5),
            body: Some(wire::decision::Body::Decided(wire::Decided {
                verb: wire::Verb::Approve.into(),
                decided_at: at(5),
                expires_at: at(300),
                jws: "statement-of-d1".into(),
                key_thumbprint: "key-of-d1".into(),
                key_jwk: "jwk-of-d1".into(),
            })),
        };
        assert_eq!(told, expected);
        assert_eq!(policy.outbox().published(answered.outbox, SOON).await, Ok(true));
        assert!(watchbell::delivery::codec::decode_decision(&expected.encode_to_vec()).is_ok(), "the worker reads it");
    }

    /// The same from the same device gets the same answer; anything else is told who answered what and when; upstream hears one end.
    async fn the_first_answer_stands(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let event = sign_in(&person("acme", "ada"), "e1", AT);
        let requests = policy.requests();
        let early = requests.decide(&answer(&event, "d1", Verb::Deny, None), AT).await;
        assert_eq!(early, Err(Failure::Refused(AnswerRefusal::NotProjected)));
        requests.project(&event, AT).await.unwrap();
        let first = requests.decide(&answer(&event, "d1", Verb::Deny, None), after(1)).await.unwrap();
        let mut again = answer(&event, "d1", Verb::Deny, None);
        again.jws = "the same statement, signed anew".into();
        let again = requests.decide(&again, after(2)).await.unwrap();
        assert_eq!((again.again, &again.decision, again.outbox), (true, &first.decision, first.outbox));
        for (device, verb) in [("d1", Verb::Approve), ("d1", Verb::DenyNotMe), ("d2", Verb::Deny), ("d2", Verb::Approve)] {
            let refused = requests.decide(&answer(&event, device, verb, None), after(3)).await;
            let (verb, device, at) = (Verb::Deny, DeviceId::new("d1").unwrap(), after(1));
            let device_name = "Ada phone".to_owned();
            assert_eq!(refused, Err(Failure::Refused(AnswerRefusal::Answered { verb, device, device_name, at })));
        }
        assert_eq!(requests.expire(after(999)).await.unwrap(), 0);
        assert_eq!(heard(&published(&policy).await.decisions(), "e1").split_off(1), ["Deny"]);
    }

    /// A device that may only receive denies and never approves; a retired one, a stranger's and one with another key do neither.
    async fn who_may_answer(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let requests = policy.requests();
        let event = sign_in(&person("acme", "ada"), "e1", AT);
        requests.project(&event, AT).await.unwrap();
        let refused = requests.decide(&answer(&event, "d3", Verb::Approve, None), AT).await;
        assert_eq!(refused, Err(Failure::Refused(AnswerRefusal::CannotApprove)));
        let unknown = Err(Failure::Refused(AnswerRefusal::UnknownDevice));
        assert_eq!(requests.decide(&answer(&event, "d9", Verb::Deny, None), AT).await, unknown);
        let mut forged = answer(&event, "d1", Verb::Approve, None);
        forged.key_thumbprint = "key-of-d2".into();
        assert_eq!(requests.decide(&forged, AT).await, unknown);
        // Somebody else signs in on the phone: the old row answers nothing any more.
        let moved = crate::store_support::device_of("acme", "bob", crate::store_support::phone("d1", "token-d1"));
        policy.admin().write(&[moved]).await.unwrap();
        assert_eq!(requests.decide(&answer(&event, "d1", Verb::Approve, None), AT).await, unknown);
        requests.decide(&answer(&event, "d3", Verb::DenyNotMe, None), AT).await.unwrap();
    }

    /// A device whose token died is enrolled as before: its key answers.
    async fn a_dead_token_costs_no_enrolment(policy: Policy, place: &Place) {
        use watchbell::seam::{DeadToken, PolicySource as _};
        enrol_ada(place, &policy).await;
        let event = sign_in(&person("acme", "ada"), "e1", AT);
        policy.requests().project(&event, AT).await.unwrap();
        let ada = person("acme", "ada");
        let (device, installation) = (DeviceId::new("d1").unwrap(), crate::store_support::installation("token-d1"));
        policy.remove_token(&DeadToken { workspace: ada.workspace, user: ada.user, device, installation, since: AT }).await.unwrap();
        policy.requests().decide(&answer(&event, "d1", Verb::Approve, None), AT).await.unwrap();
    }

    /// Upstream is told to wait for no phone that nothing can be pushed to: its app is gone, as far as anybody knows. With no other one there is
    /// none to wait for.
    async fn a_phone_without_a_token_is_not_named(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        for (id, gone) in [("e1", ""), ("e2", "d1"), ("e3", "d2")] {
            place.execute(&format!("DELETE FROM devices WHERE id = '{gone}'")).await;
            policy.requests().project(&sign_in(&person("acme", "ada"), id, AT), AT).await.unwrap();
        }
        let decisions = published(&policy).await.decisions();
        let asked = ["e1", "e2", "e3"].map(|id| heard(&decisions, id).remove(0));
        assert_eq!(asked, [r#"asked["Pixel 8", "A•• p••••"]"#, r#"asked["A•• p••••"]"#, "asked[]"]);
    }

    /// A phone whose token died is not reached any more, and may not be promoted before a push reached it again.
    async fn a_dead_token_reaches_nobody(policy: Policy) {
        use watchbell::people::enrolment::{PromotionRefusal, Way};
        use watchbell::seam::{DeadToken, PolicySource as _};
        let ada = person("acme", "ada");
        let mut phone = Phone::new("token-1");
        phone.enrol(&policy, &ada, AT).await;
        let reachable = async || policy.devices().keyed(&ada.workspace, phone.id()).await.unwrap().unwrap().reachable;
        assert!(reachable().await);
        let (device, installation) = (phone.id().clone(), crate::store_support::installation("token-1"));
        let dead = DeadToken { workspace: ada.workspace.clone(), user: ada.user.clone(), device, installation, since: AT };
        policy.remove_token(&dead).await.unwrap();
        assert!(!reachable().await);
        let promoted = phone.sign_in(&policy, &ada, (true, AT), &Way::ALL, AT).await;
        assert_eq!(promoted.err(), Some(Failure::Refused(PromotionRefusal::NotReachable)));
        let (thumbprint, report) = (phone.thumbprint(), phone.registrant().report);
        let reported = policy.devices().report(&ada, (phone.id(), &thumbprint), &report, None, AT).await.unwrap();
        phone.reach(&policy, &ada, &reported.reach.unwrap(), AT).await;
        assert!(reachable().await);
    }

    /// Wrong numbers count over all devices that may approve; the third denies, with no statement, and the right one comes too late.
    async fn three_wrong_numbers_deny(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let requests = policy.requests();
        let mut event = sign_in(&person("acme", "ada"), "e1", AT);
        event.match_number = MatchNumber::new("123456");
        requests.project(&event, AT).await.unwrap();
        assert!(request(&policy, &event).await.number_required);
        let say = async |device: &str, number: Option<&str>| {
            let said = requests.decide(&answer(&event, device, Verb::Approve, number), AT).await;
            said.map_err(|failure| match failure {
                Failure::Refused(refusal) => refusal,
                Failure::Unavailable(unavailable) => panic!("{unavailable}"),
            })
        };
        assert_eq!(say("d1", None).await, Err(AnswerRefusal::NumberMissing));
        assert_eq!(say("d3", Some("000000")).await, Err(AnswerRefusal::CannotApprove));
        assert_eq!(say("d1", Some("000000")).await, Err(AnswerRefusal::NumberWrong { left: 2 }));
        assert_eq!(say("d2", Some("111111")).await, Err(AnswerRefusal::NumberWrong { left: 1 }));
        assert_eq!(say("d1", Some("222222")).await, Err(AnswerRefusal::NumbersUsedUp));
        let refused = say("d1", Some("123456")).await;
        assert!(matches!(refused, Err(AnswerRefusal::Answered { verb: Verb::Deny, .. })), "{refused:?}");
        assert!(request(&policy, &event).await.number_required, "said of it even now");
        let decisions = published(&policy).await.decisions();
        assert_eq!(heard(&decisions, "e1").split_off(1), ["Deny"]);
        let Some(wire::decision::Body::Decided(decided)) = &decisions[1].body else { panic!("{decisions:?}") };
        assert_eq!((decided.jws.as_str(), decided.key_thumbprint.as_str()), ("", ""));
    }

    /// The right number approves, after a wrong one too.
    async fn the_right_number_approves(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let requests = policy.requests();
        let mut event = sign_in(&person("acme", "ada"), "e1", AT);
        event.match_number = MatchNumber::new("123456");
        requests.project(&event, AT).await.unwrap();
        requests.decide(&answer(&event, "d1", Verb::Approve, Some("654321")), AT).await.unwrap_err();
        let answered = requests.decide(&answer(&event, "d1", Verb::Approve, Some("123456")), AT).await.unwrap();
        assert_eq!(answered.decision.verb, Verb::Approve);
    }

    /// A newer request takes the place of the older one of its source, and of no other, whichever comes first.
    async fn supersession_stays_within_a_source(policy: Policy) {
        let requests = policy.requests();
        let project = async |projection: Projection| requests.project(&projection, after(20)).await.unwrap();
        assert_eq!(project(from_source("owner", "laptop", 1)).await, Projected::Open);
        // The attacker's fifty: from nowhere in particular, and from a source of their own.
        for n in 0..50 {
            let source = if n % 2 == 0 { "" } else { "attacker" };
            assert_eq!(project(from_source(&format!("attack-{n}"), source, 2 + n)).await, Projected::Open);
        }
        let open = pending(&policy).await;
        assert_eq!((open.len(), open.last().map(String::as_str), open[0].as_str()), (27, Some("owner"), "attack-49"));
        assert_eq!(project(from_source("owner-2", "laptop", 60)).await, Projected::Open);
        assert_eq!(project(from_source("late", "laptop", 30)).await, Projected::Closed(ClosedReason::Superseded));
        assert_eq!(pending(&policy).await.len(), 27);
        let decisions = published(&policy).await.decisions();
        assert_eq!(heard(&decisions, "owner").split_off(1), ["Superseded"]);
        assert_eq!(heard(&decisions, "late"), ["Superseded"]);
        assert_eq!(heard(&decisions, "owner-2"), ["asked[]"]);
        let ended = decisions.iter().filter(|decision| matches!(decision.body, Some(wire::decision::Body::Closed(_)))).count();
        assert_eq!(ended, 26);
    }

    /// Time ends a request once: by the clock that passes, by an answer that comes too late, or before it was ever open.
    async fn time_ends_a_request_once(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let requests = policy.requests();
        let ada = person("acme", "ada");
        assert_eq!(requests.next_expiry().await.unwrap(), None);
        for n in 0..70 {
            requests.project(&sign_in(&ada, &format!("e{n}"), after(n)), AT).await.unwrap();
        }
        assert_eq!(requests.next_expiry().await.unwrap(), Some(after(300)));
        assert_eq!(requests.expire(after(299)).await.unwrap(), 0);
        let late = requests.decide(&answer(&sign_in(&ada, "e0", AT), "d1", Verb::Approve, None), after(300)).await;
        assert_eq!(late, Err(closed(ClosedReason::Expired)));
        assert_eq!(requests.expire(after(368)).await.unwrap(), 64);
        assert_eq!(requests.expire(after(368)).await.unwrap(), 4);
        assert_eq!(requests.expire(after(368)).await.unwrap(), 0);
        assert_eq!(requests.next_expiry().await.unwrap(), Some(after(369)));
        // One that a newer version projected is left to it, and is in nobody's way.
        place.execute("UPDATE requests SET type = 'sms_received', expires_at = 1 WHERE event = 'e69'").await;
        assert_eq!(requests.next_expiry().await.unwrap(), None);
        assert_eq!(requests.expire(after(400)).await.unwrap(), 0);
        let old = sign_in(&ada, "old", AT);
        assert_eq!(requests.project(&old, after(300)).await.unwrap(), Projected::Closed(ClosedReason::Expired));
        let decisions = published(&policy).await.decisions();
        assert_eq!(heard(&decisions, "old"), ["Expired"]);
        for n in 0..70 {
            let ends = heard(&decisions, &format!("e{n}")).split_off(1);
            assert_eq!(ends.len(), usize::from(n < 69), "e{n}: {ends:?}");
        }
    }

    /// Upstream cancels: once, before or after the request came; what was answered stays answered.
    async fn cancelled_once(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let (requests, ada) = (policy.requests(), person("acme", "ada"));
        let [open, decided, unseen] = ["open", "decided", "unseen"].map(|id| sign_in(&ada, id, AT));
        requests.project(&open, AT).await.unwrap();
        requests.project(&decided, AT).await.unwrap();
        requests.decide(&answer(&decided, "d1", Verb::Approve, None), AT).await.unwrap();
        for (projection, first) in [(&open, true), (&decided, false), (&unseen, true)] {
            for expected in [first, false] {
                assert_eq!(requests.cancel(&id_of(projection), Some(b"ada"), after(60), after(1)).await.unwrap(), expected);
            }
        }
        assert_eq!(requests.project(&unseen, after(2)).await.unwrap(), Projected::Known);
        let late = requests.decide(&answer(&open, "d1", Verb::Approve, None), after(3)).await;
        assert_eq!(late, Err(closed(ClosedReason::Cancelled)));
        let decisions = published(&policy).await.decisions();
        assert_eq!(heard(&decisions, "open").split_off(1), ["Cancelled"]);
        assert_eq!(heard(&decisions, "decided").split_off(1), ["Approve"]);
        assert_eq!(heard(&decisions, "unseen"), ["Cancelled"]);
        assert_eq!(request(&policy, &unseen).await.detail, None);
    }

    /// Recent shows what happened, newest first, page by page, once each; others' it never shows.
    async fn recent_is_paged(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let (requests, ada) = (policy.requests(), person("acme", "ada"));
        let event = sign_in(&ada, "e1", AT);
        requests.project(&event, AT).await.unwrap();
        requests.decide(&answer(&event, "d1", Verb::DenyNotMe, None), after(9)).await.unwrap();
        let device = DeviceId::new("d1").unwrap();
        let kind = NotificationType::IdentityVerification;
        let shown = [(kind, event.event.clone())];
        assert_eq!(requests.seen(&ada, &device, &shown, after(2)).await.unwrap().told, 1);
        assert_eq!(requests.seen(&ada, &device, &shown, after(3)).await.unwrap().told, 0);
        let delivered = Activity {
            person: ada.clone(),
            at: after(1),
            what: Happening::Delivered,
            kind,
            event: event.event.clone(),
            device: Some(device),
            reason: String::new(),
        };
        let muted = Activity { what: Happening::Suppressed, device: None, reason: "muted_by_user".into(), ..delivered.clone() };
        requests.note(&[delivered.clone(), muted.clone(), Activity { at: after(50), ..delivered }]).await.unwrap();
        let (mut read, mut before) = (Vec::new(), None);
        loop {
            let page = requests.recent(&ada, before, 3).await.unwrap();
            read.extend(page.items);
            let Some(next) = page.next else { break };
            before = Cursor::parse(&next.to_text());
        }
        let what: Vec<_> = read.iter().map(|activity| activity.what).collect();
        assert_eq!(what, [Happening::DeniedNotMe, Happening::Seen, Happening::Suppressed, Happening::Delivered]);
        assert_eq!(read[2], muted);
        assert!(requests.recent(&person("acme", "bob"), None, 9).await.unwrap().items.is_empty());
        // What is shown ends after thirty days, removed or not.
        let (days, ms) = (watchbell::store::ACTIVITY_KEPT, std::time::Duration::from_millis(1));
        for (later, left) in [(days, 4), (days + ms, 2)] {
            let shown = requests.last_days(&ada, None, 9, after(1).plus(later)).await.unwrap();
            assert_eq!(shown.items.len(), left, "{later:?}");
        }
    }

    /// However many ask, the person's own request is on some page: three hundred of as many sources hide none, those of one moment included.
    async fn pending_is_read_in_pages(policy: Policy) {
        let (ada, requests) = (person("acme", "ada"), policy.requests());
        let own = from_source("own.request|+&#%/1", "", 0);
        requests.project(&own, AT).await.unwrap();
        for n in 0..300 {
            requests.project(&from_source(&format!("e{n}"), &format!("source-{n}"), 1 + n / 100), AT).await.unwrap();
        }
        let (mut read, mut pages, mut before) = (Vec::new(), Vec::new(), None);
        loop {
            let page = requests.pending(&ada, before.as_ref(), 200, after(60)).await.unwrap();
            pages.push(page.items.len());
            read.extend(page.items.into_iter().map(|request| (request.occurred_at, request.id.event.to_string())));
            let Some(next) = page.next else { break };
            assert!(next.to_text().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            before = PendingCursor::parse(&next.to_text());
        }
        assert_eq!(pages, [200, 101]);
        assert!(read.is_sorted_by(|one, next| one.0 >= next.0), "newest first");
        assert_eq!(read.last().unwrap().1, "own.request|+&#%/1");
        let different: std::collections::BTreeSet<_> = read.iter().map(|(_, event)| event).collect();
        assert_eq!(different.len(), 301);
    }
}
