//! Whatever ends a request, killed wherever it waits and done again: there is one end, and upstream hears it once.
use std::collections::BTreeSet;

use watchbell::event::wire;
use watchbell::people::{Projection, Verb};
use watchbell::store::{Policy, Projected};

use super::support::{Killed, after, answer, enrol_ada, heard, id_of, published, sign_in};
use crate::store_support::{AT, Place, over_both, person};

/// Does something about one request after the other, killed where it waits for the first time, the second, and so on, and then does it again. It
/// says whether it had been done before. Ends when it was killed before it was done and after, and lived to its end. Returns the requests.
async fn killed_everywhere(
    prepare: impl AsyncFn(&Projection),
    once: impl AsyncFn(&Projection) -> bool,
) -> Vec<Projection> {
    let (mut asked, mut waits, mut seen) = (Vec::new(), 0, BTreeSet::new());
    while !BTreeSet::from([(false, false), (true, false), (true, true)]).is_subset(&seen) {
        let mut request = sign_in(&person("acme", "ada"), &format!("e{}", asked.len()), AT);
        request.source = format!("source-{}", asked.len());
        prepare(&request).await;
        let ended = Killed { waits, inner: Box::pin(once(&request)) }.await.is_some();
        let done_before = once(&request).await;
        assert!(done_before || !ended, "done, and undone");
        seen.insert((done_before, ended));
        waits = if ended { 0 } else { waits + 1 };
        asked.push(request);
        assert!(asked.len() < 1_000, "{seen:?}");
    }
    asked
}

/// Of each request upstream heard that and nothing else.
fn all_heard(decisions: &[wire::Decision], asked: &[Projection], expected: &[&str]) {
    for request in asked {
        assert_eq!(heard(decisions, request.event.as_str()), expected, "{}", request.event);
    }
}

over_both! {
    /// A cancel of what is open.
    async fn killed_while_it_is_cancelled(policy: Policy) {
        let requests = policy.requests();
        let open = async |request: &Projection| assert_eq!(requests.project(request, AT).await.unwrap(), Projected::Open);
        let cancel = async |request: &Projection| !requests.cancel(&id_of(request), None, after(60), after(1)).await.unwrap();
        let asked = killed_everywhere(open, cancel).await;
        all_heard(&published(&policy).await.decisions(), &asked, &["asked[]", "Cancelled"]);
    }

    /// A cancel that is read before its event.
    async fn killed_while_it_is_cancelled_before_it_came(policy: Policy) {
        let requests = policy.requests();
        let cancel = async |request: &Projection| !requests.cancel(&id_of(request), None, after(60), after(1)).await.unwrap();
        let asked = killed_everywhere(async |_: &Projection| {}, cancel).await;
        for request in &asked {
            assert_eq!(requests.project(request, after(2)).await.unwrap(), Projected::Known);
        }
        all_heard(&published(&policy).await.decisions(), &asked, &["Cancelled"]);
    }

    /// A newer request of the same source.
    async fn killed_while_it_is_superseded(policy: Policy) {
        let requests = policy.requests();
        let newer = |request: &Projection| {
            let mut newer = sign_in(&request.person, &format!("newer-{}", request.event), after(1));
            newer.source.clone_from(&request.source);
            newer
        };
        let open = async |request: &Projection| assert_eq!(requests.project(request, AT).await.unwrap(), Projected::Open);
        let supersede = async |request: &Projection| requests.project(&newer(request), after(1)).await.unwrap() == Projected::Known;
        let asked = killed_everywhere(open, supersede).await;
        let (decisions, newer) = (published(&policy).await.decisions(), asked.iter().map(newer).collect::<Vec<_>>());
        all_heard(&decisions, &asked, &["asked[]", "Superseded"]);
        all_heard(&decisions, &newer, &["asked[]"]);
    }

    /// The clock. What a killed transaction still holds is passed over, so it is looked at until it is over.
    async fn killed_while_it_expires(policy: Policy) {
        let requests = policy.requests();
        let open = async |request: &Projection| assert_eq!(requests.project(request, AT).await.unwrap(), Projected::Open);
        let expire = async |request: &Projection| {
            let mut ended = 0;
            loop {
                ended += requests.expire(after(300)).await.unwrap();
                if requests.request(&id_of(request)).await.unwrap().unwrap().ending.is_some() {
                    return ended == 0;
                }
            }
        };
        let asked = killed_everywhere(open, expire).await;
        all_heard(&published(&policy).await.decisions(), &asked, &["asked[]", "Expired"]);
    }

    /// An answer: the same phone says the same again.
    async fn killed_while_it_is_decided(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let requests = policy.requests();
        let open = async |request: &Projection| assert_eq!(requests.project(request, AT).await.unwrap(), Projected::Open);
        let decide = async |request: &Projection| {
            requests.decide(&answer(request, "d1", Verb::Approve, None), after(1)).await.unwrap().again
        };
        let asked = killed_everywhere(open, decide).await;
        all_heard(&published(&policy).await.decisions(), &asked, &[r#"asked["Pixel 8", "A•• p••••"]"#, "Approve"]);
    }
}
