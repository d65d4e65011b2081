//! Everybody at once: a request has one end, whoever comes first.
use std::collections::BTreeMap;

use watchbell::event::wire;
use watchbell::people::{AnswerRefusal, Verb};
use watchbell::store::{Failure, Policy};

use super::support::{after, answer, enrol_ada, id_of, published, sign_in};
use crate::store_support::{AT, Place, over_both, person};

/// Pairs that race.
const RACES: usize = 1_000;
/// Pairs at once.
const AT_ONCE: usize = 16;

/// The ends that upstream heard of each request.
fn ends(decisions: &[wire::Decision]) -> BTreeMap<String, Vec<wire::Decision>> {
    let mut ends: BTreeMap<String, Vec<wire::Decision>> = BTreeMap::new();
    for decision in decisions {
        if let Some(wire::decision::Body::Decided(_) | wire::decision::Body::Closed(_)) = decision.body {
            ends.entry(decision.event_id.clone()).or_default().push(decision.clone());
        }
    }
    ends
}

over_both! {
    /// A thousand times one phone approves while another denies: one of them decides, the other is told so, upstream hears that one.
    async fn approve_and_deny(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let ada = person("acme", "ada");
        let projections: Vec<_> = (0..RACES).map(|n| sign_in(&ada, &format!("e{n}"), AT)).collect();
        for projection in &projections {
            policy.requests().project(projection, AT).await.unwrap();
        }
        let mut winners = BTreeMap::new();
        for chunk in projections.chunks(AT_ONCE) {
            let races: Vec<_> = chunk.iter().map(|projection| {
                let say = |device: &str, verb| {
                    let (requests, answer) = (policy.requests(), answer(projection, device, verb, None));
                    tokio::spawn(async move { requests.decide(&answer, after(1)).await })
                };
                (projection, say("d1", Verb::Approve), say("d2", Verb::Deny))
            }).collect();
            for (projection, approve, deny) in races {
                let (won, lost) = match (approve.await.unwrap(), deny.await.unwrap()) {
                    (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
                    both => panic!("{both:?}"),
                };
                let (verb, device, at) = (won.decision.verb, won.decision.device.clone(), after(1));
                assert_eq!(lost, Failure::Refused(AnswerRefusal::Answered { verb, device, device_name: "Ada phone".into(), at }));
                winners.insert(projection.event.to_string(), won.decision.id);
            }
        }
        let ends = ends(&published(&policy).await.decisions());
        assert_eq!(ends.len(), RACES);
        for (event, ends) in ends {
            assert_eq!(ends.iter().map(|end| &end.decision_id).collect::<Vec<_>>(), [&winners[&event]], "{event}");
        }
    }

    /// An answer, the clock, upstream and a newer request all want to end the same requests: each has one end.
    async fn every_way_to_end(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let ada = person("acme", "ada");
        for n in 0..60 {
            let mut older = sign_in(&ada, &format!("e{n}"), AT);
            older.source = format!("source-{n}");
            policy.requests().project(&older, AT).await.unwrap();
            let mut newer = sign_in(&ada, &format!("newer-{n}"), after(1));
            newer.source.clone_from(&older.source);
            let id = id_of(&older);
            let approve = answer(&older, "d1", Verb::Approve, None);
            let [one, two, three, four] = [(); 4].map(|()| policy.requests());
            let ways = [
                tokio::spawn(async move { one.decide(&approve, after(299)).await.map(drop).ok() }),
                tokio::spawn(async move { two.expire(after(300)).await.map(drop).ok() }),
                tokio::spawn(async move { three.cancel(&id, None, after(300), after(299)).await.map(drop).ok() }),
                tokio::spawn(async move { four.project(&newer, after(299)).await.map(drop).ok() }),
            ];
            for way in ways {
                way.await.unwrap();
            }
        }
        while policy.requests().expire(after(999)).await.unwrap() > 0 {}
        let ends = ends(&published(&policy).await.decisions());
        assert_eq!(ends.len(), 120);
        assert!(ends.values().all(|ends| ends.len() == 1), "{ends:?}");
    }

    /// The same event read by several processes at once is one request, and asks once.
    async fn projected_at_once(policy: Policy) {
        for n in 0..20 {
            let projection = sign_in(&person("acme", "ada"), &format!("e{n}"), AT);
            let tries: Vec<_> = (0..6).map(|_| {
                let (requests, projection) = (policy.requests(), projection.clone());
                tokio::spawn(async move { requests.project(&projection, AT).await.unwrap() })
            }).collect();
            let mut open = 0;
            for tried in tries {
                open += usize::from(tried.await.unwrap() == watchbell::store::Projected::Open);
            }
            assert_eq!(open, 1);
        }
        assert_eq!(published(&policy).await.decisions().len(), 20);
    }
}
