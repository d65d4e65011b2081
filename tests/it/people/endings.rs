//! Why a request does not ring: upstream hears each reason once while it is open, whichever of outcome and event was read first.
use watchbell::event::DeviceId;
use watchbell::people::codec_outcome::JobEnded;
use watchbell::people::{Activity, Happening, NoticeKind, Projection};
use watchbell::store::{Policy, Projected};

use super::support::{after, heard, id_of, published, sign_in};
use crate::store_support::{AT, over_both, person};

/// What became of a notification of that request, on a phone or before any.
fn ended(of: &Projection, what: Happening, device: Option<&str>, reason: &str) -> JobEnded {
    let activity = Activity {
        person: of.person.clone(),
        at: AT,
        what,
        kind: of.detail.kind(),
        event: of.event.clone(),
        device: device.map(|id| DeviceId::new(id).unwrap()),
        reason: reason.into(),
    };
    JobEnded { notice: activity.notice(), activity }
}

over_both! {
    /// However long before, and however often either is read; what ends before it opens, or opens nothing, is told nobody.
    async fn what_was_read_first_is_told_with_the_request(policy: Policy) {
        let requests = policy.requests();
        let [first, over, cancelled] = ["first", "over", "cancelled"].map(|id| sign_in(&person("acme", "ada"), id, AT));
        let of = |request: &Projection| [
            ended(request, Happening::Suppressed, None, "muted_by_user"),
            ended(request, Happening::Undelivered, Some("d1"), "Unregistered"),
            ended(request, Happening::Undelivered, Some("d2"), ""),
            ended(request, Happening::Delivered, Some("d3"), ""),
            ended(request, Happening::Suppressed, Some("d4"), "quiet_device"),
        ];
        for request in [&first, &over, &cancelled] {
            requests.ended(&of(request), AT).await.unwrap();
        }
        requests.cancel(&id_of(&cancelled), None, after(600), after(60)).await.unwrap();
        assert_eq!(requests.project(&first, after(299)).await.unwrap(), Projected::Open);
        assert!(matches!(requests.project(&over, after(300)).await.unwrap(), Projected::Closed(_)));
        for request in [&first, &over, &cancelled] {
            requests.ended(&of(request), after(300)).await.unwrap();
            assert_eq!(requests.project(request, after(301)).await.unwrap(), Projected::Known);
        }
        let other = ended(&first, Happening::Suppressed, Some("d1"), "fatigue_guard");
        requests.ended(&[other.clone(), other], after(301)).await.unwrap();
        let decisions = published(&policy).await.decisions();
        assert_eq!(heard(&decisions, "first"), ["asked[]", "Muted", "Undeliverable", "NoDevice", "Guard"]);
        assert_eq!(heard(&decisions, "over"), ["Expired"]);
        assert_eq!(heard(&decisions, "cancelled"), ["Cancelled"]);
        let told = decisions.iter().filter_map(|decision| match &decision.body {
            Some(watchbell::event::wire::decision::Body::Notice(notice)) => Some(notice.reason.as_str()),
            _ => None,
        });
        assert_eq!(told.collect::<Vec<_>>(), ["muted_by_user", "Unregistered", "", "fatigue_guard"]);
        assert_eq!(ended(&first, Happening::Undelivered, Some("d2"), "").notice, Some(NoticeKind::NoDevice));
    }

    /// A hundred times the two are read at the same moment, and the outcomes in two batches: none is missed.
    async fn read_at_the_same_moment(policy: Policy) {
        for n in 0..100 {
            let request = sign_in(&person("acme", "ada"), &format!("e{n}"), AT);
            let muted = ended(&request, Happening::Suppressed, None, "muted_by_user");
            let dead = ended(&request, Happening::Undelivered, Some("d1"), "Unregistered");
            let [one, two, three] = [(); 3].map(|()| policy.requests());
            let (batch, again) = ([muted.clone(), dead.clone()], [dead, muted]);
            let opening = tokio::spawn(async move { one.project(&request, AT).await.map(drop) });
            let noting = tokio::spawn(async move { two.ended(&batch, AT).await });
            let others = tokio::spawn(async move { three.ended(&again, AT).await });
            for task in [opening, noting, others] {
                task.await.unwrap().unwrap();
            }
        }
        let decisions = published(&policy).await.decisions();
        for n in 0..100 {
            let mut heard = heard(&decisions, &format!("e{n}"));
            heard.sort();
            assert_eq!(heard, ["Muted", "Undeliverable", "asked[]"], "e{n}");
        }
    }
}
