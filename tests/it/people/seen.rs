//! What devices say they showed: fifty at once, each once, told among the outcomes.
use watchbell::delivery::JobId;
use watchbell::event::{DeviceId, EventId, NotificationType, wire};
use watchbell::people::codec_outcome::{JobEnded, decode_seen};
use watchbell::people::{Activity, Happening, Seen};
use watchbell::policy::Platform;
use watchbell::seam::OutboxTopic;
use watchbell::store::{MARKS_MAX, Policy, Taken};

use super::support::{after, enrol_ada, published, sign_in};
use crate::store_support::{AT, Place, event, over_both, person};

const KIND: NotificationType = NotificationType::IdentityVerification;

/// A delivery to a phone of Ada's.
fn delivered(event: &EventId, device: &str) -> Activity {
    let (person, event, device) = (person("acme", "ada"), event.clone(), Some(DeviceId::new(device).unwrap()));
    Activity { person, at: AT, what: Happening::Delivered, kind: KIND, event, device, reason: String::new() }
}

/// How many of these are told of, which a phone of Ada's says it showed.
async fn told(policy: &Policy, device: &DeviceId, shown: &[(NotificationType, EventId)], second: u64) -> usize {
    policy.requests().seen(&person("acme", "ada"), device, shown, after(second)).await.unwrap().told
}

async fn project(policy: &Policy, id: &str) {
    policy.requests().project(&sign_in(&person("acme", "ada"), id, AT), AT).await.unwrap();
}

/// The marks among the outcomes, in order.
async fn outcomes(policy: &Policy) -> Vec<Seen> {
    let log = published(policy).await.log();
    log.iter()
        .filter(|record| record.topic == OutboxTopic::Outcomes)
        .map(|record| decode_seen(&record.payload).unwrap())
        .collect()
}

over_both! {
    /// What was never sent to a device is told nobody, and is in nobody's Recent; what it showed before its delivery was noted is told then, as
    /// of when it was shown, and once.
    async fn only_what_was_sent_there_is_told(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let (requests, device) = (policy.requests(), DeviceId::new("d1").unwrap());
        let shown: Vec<_> = ["early", "elsewhere", "invented"].map(|id| (KIND, event(id))).into();
        requests.note(&[delivered(&shown[1].1, "d2")]).await.unwrap();
        assert_eq!(told(&policy, &device, &shown, 1).await, 0);
        assert_eq!(outcomes(&policy).await, []);
        let ended = [JobEnded { activity: delivered(&shown[0].1, "d1"), notice: None }];
        for _ in 0..2 {
            requests.ended(&ended, after(2)).await.unwrap();
        }
        assert_eq!(told(&policy, &device, &shown, 3).await, 0);
        let marks = outcomes(&policy).await;
        assert_eq!(marks.iter().map(|seen| (seen.event.as_str(), seen.at)).collect::<Vec<_>>(), [("early", after(1))]);
        // Its delivery was noted, and nobody looked for marks then: a phone that says so again is heard.
        requests.note(&[delivered(&shown[2].1, "d1")]).await.unwrap();
        assert_eq!(told(&policy, &device, &shown, 4).await, 1);
        let page = requests.recent(&person("acme", "ada"), None, 200).await.unwrap();
        let seen = page.items.iter().filter(|item| item.what == Happening::Seen).map(|item| item.event.as_str());
        assert_eq!(seen.collect::<Vec<_>>(), ["invented", "early"]);
    }

    /// A device has so many marks in a day, however many it names; another one has its own.
    async fn marks_are_bounded(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let (ada, requests) = (person("acme", "ada"), policy.requests());
        let [one, other] = ["d1", "d2"].map(|id| DeviceId::new(id).unwrap());
        let shown: Vec<_> = (0..MARKS_MAX + 30).map(|n| (KIND, event(&format!("e{n}")))).collect();
        let mut too_many = 0;
        for shown in shown.chunks(50) {
            too_many += requests.seen(&ada, &one, shown, after(1)).await.unwrap().too_many;
        }
        assert_eq!(too_many, 30);
        let day = 24 * 3600;
        let marked = async |device, second| requests.seen(&ada, device, &shown[MARKS_MAX..], after(second)).await.unwrap().too_many;
        assert_eq!((marked(&one, day - 1).await, marked(&other, 1).await, marked(&one, day + 1).await), (30, 0, 0));
    }

    /// All that a phone names at once is marked at once; what it named before, or twice, is marked and told once. The mark has the job's
    /// name and no ending; when the provider took it is known as soon as its outcome was noted.
    async fn what_was_shown_is_told_once(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let (ada, requests, device) = (person("acme", "ada"), policy.requests(), DeviceId::new("d1").unwrap());
        let kind = NotificationType::IdentityVerification;
        let mut shown: Vec<_> = (0..50).map(|n| (kind, event(&format!("e{n}")))).collect();
        let deliveries: Vec<_> = shown[1..].iter().map(|(_, event)| delivered(event, "d1")).collect();
        requests.note(&deliveries).await.unwrap();
        project(&policy, "e0").await;
        assert_eq!(told(&policy, &device, &shown[..2], 1).await, 2);
        shown.push(shown[7].clone());
        assert_eq!(told(&policy, &device, &shown, 2).await, 48);
        assert_eq!(told(&policy, &device, &[], 3).await, 0);
        let page = requests.recent(&ada, None, 200).await.unwrap();
        assert_eq!(page.items.iter().filter(|item| item.what == Happening::Seen).count(), 50);

        let log = published(&policy).await.log();
        let told: Vec<_> = log.iter().filter(|record| record.topic == OutboxTopic::Outcomes).collect();
        assert_eq!(told.len(), 50);
        assert!(told.iter().all(|record| record.key.as_deref() == Some(&b"ada"[..])));
        let seen = decode_seen(&told[0].payload).unwrap();
        assert_eq!((seen.person.clone(), seen.device.clone(), seen.at), (ada.clone(), device.clone(), after(1)));
        let record: wire::Outcome = prost::Message::decode(&told[0].payload[..]).unwrap();
        let job = JobId::show("acme", kind, seen.event.as_str(), "ada", "d1");
        assert_eq!((record.job_id, record.ending), (job.as_bytes().to_vec(), 0));

        assert_eq!(requests.taken(&seen).await.unwrap(), None);
        requests.note(&[delivered(&seen.event, "d1")]).await.unwrap();
        assert_eq!(requests.taken(&seen).await.unwrap(), Some(Taken { at: AT, platform: Some(Platform::Apns) }));
        let elsewhere = Seen { device: DeviceId::new("d2").unwrap(), ..seen };
        assert_eq!(requests.taken(&elsewhere).await.unwrap(), None);
    }

    /// What shows a notice of Watchbell itself is named as its job was.
    async fn a_notice_that_was_shown_is_told_as_one(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        place.execute("INSERT INTO notices (workspace, user_id, id, at, what, type) VALUES ('acme', 'ada', 'n1', 1, 'reset', 'trusted_device')").await;
        let (device, kind) = (DeviceId::new("d1").unwrap(), NotificationType::TrustedDevice);
        let shown = [(kind, event("n1"))];
        policy.requests().seen(&person("acme", "ada"), &device, &shown, AT).await.unwrap();
        let log = published(&policy).await.log();
        let record = log.iter().find(|record| record.topic == OutboxTopic::Outcomes).unwrap();
        let record: wire::Outcome = prost::Message::decode(&record.payload[..]).unwrap();
        assert_eq!(record.job_id, JobId::notice("acme", kind, "n1", "ada", "d1").as_bytes());
    }
}
