//! What devices say they showed: fifty at once, each once, told among the outcomes.
use watchbell::delivery::JobId;
use watchbell::event::{DeviceId, NotificationType, wire};
use watchbell::people::codec_outcome::decode_seen;
use watchbell::people::{Activity, Happening, Seen};
use watchbell::policy::Platform;
use watchbell::seam::OutboxTopic;
use watchbell::store::{Policy, Taken};

use super::support::{after, enrol_ada, published};
use crate::store_support::{AT, Place, event, over_both, person};

over_both! {
    /// All that a phone names at once is marked at once; what it named before, or twice, is marked and told once. The mark has the job's
    /// name and no ending; when the provider took it is known as soon as its outcome was noted.
    async fn what_was_shown_is_told_once(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let (ada, requests, device) = (person("acme", "ada"), policy.requests(), DeviceId::new("d1").unwrap());
        let kind = NotificationType::OtpReceived;
        let mut shown: Vec<_> = (0..50).map(|n| (kind, event(&format!("e{n}")))).collect();
        assert_eq!(requests.seen(&ada, &device, &shown[..2], after(1)).await.unwrap(), 2);
        shown.push(shown[7].clone());
        assert_eq!(requests.seen(&ada, &device, &shown, after(2)).await.unwrap(), 48);
        assert_eq!(requests.seen(&ada, &device, &[], after(3)).await.unwrap(), 0);
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
        let delivered = Activity {
            person: ada.clone(), at: AT, what: Happening::Delivered, kind,
            event: seen.event.clone(), device: Some(device), reason: String::new(),
        };
        requests.note(&[delivered]).await.unwrap();
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
