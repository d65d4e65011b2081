//! A test that somebody sends to themselves: through the API, Kafka, a worker and a provider, with every stage shown.
use std::time::Duration;

use prost::Message as _;
use serde_json::{Value, json};
use watchbell::event::{EventId, NotificationType, wire};
use watchbell::people::codec_outcome::JobEnded;
use watchbell::people::{Activity, Happening, NoticeKind};
use watchbell::policy::{Platform, Preference};
use watchbell::seam::OutboxTopic;
use watchbell::store::{Failure, Policy};

use super::process::{call, config, stage};
use super::support::Served;
use crate::people::support::{after, published};
use crate::store_support::{AT, device_of, over_both, person, phone, preference};
use crate::support::eventually;
use crate::support::process::Watchbell;
use crate::support::stage::{CEILING, device, token_of};

over_both! {
    /// A test is one record for the worker, once asked for; what is known of it is shown, and a limit is kept for each person. That it is muted
    /// holds up nobody, although no request of it will ever come.
    async fn a_test_is_sent_and_followed(policy: Policy) {
        let (ada, kind) = (person("acme", "ada"), NotificationType::TrustedDevice);
        policy.admin().write(&[device_of("acme", "ada", phone("d1", "t1")), device_of("acme", "ada", phone("d2", "t2"))]).await.unwrap();
        let id = policy.admin().send_test(&ada, kind, 2, AT).await.unwrap();
        let test = policy.admin().self_test(&ada, &id).await.unwrap().unwrap();
        assert_eq!((test.on_kafka, test.stages.len(), test.waiting.len()), (false, 0, 2));
        let log = published(&policy).await.log();
        let [record] = log.as_slice() else { panic!("{log:?}") };
        assert_eq!((record.topic, record.key.as_deref()), (OutboxTopic::Redrive, Some(&b"ada"[..])));
        let headers = [("watchbell-feed", "event"), ("watchbell-type", "trusted_device")];
        assert_eq!(record.headers, headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let event = wire::Event::decode(&record.payload[..]).unwrap();
        assert_eq!((event.event_id.as_str(), event.test), (id.as_str(), true));

        let happened = |what, device: Option<&str>, reason: &str| Activity {
            person: ada.clone(), at: after(1), what, kind, event: id.clone(),
            device: device.map(|id| watchbell::event::DeviceId::new(id).unwrap()), reason: reason.into(),
        };
        policy.requests().note(&[happened(Happening::Delivered, Some("d1"), "")]).await.unwrap();
        let test = policy.admin().self_test(&ada, &id).await.unwrap().unwrap();
        assert_eq!((test.on_kafka, test.stages.len(), test.waiting.len()), (true, 1, 1));
        let muted = JobEnded { activity: happened(Happening::Suppressed, None, "muted_by_user"), notice: Some(NoticeKind::Muted) };
        policy.requests().ended(&[muted], after(1)).await.unwrap();
        let test = policy.admin().self_test(&ada, &id).await.unwrap().unwrap();
        assert_eq!((test.stages.len(), test.waiting.len()), (2, 0));
        let of_another = policy.admin().self_test(&person("acme", "bob"), &id).await.unwrap();
        let unknown = policy.admin().self_test(&ada, &EventId::new("other").unwrap()).await.unwrap();
        assert_eq!((of_another, unknown), (None, None));

        policy.admin().send_test(&ada, kind, 2, after(2)).await.unwrap();
        let third = policy.admin().send_test(&ada, kind, 2, after(3)).await;
        assert!(matches!(third, Err(Failure::Refused(_))), "{third:?}");
        policy.admin().send_test(&person("acme", "bob"), kind, 2, after(3)).await.unwrap();
        policy.admin().send_test(&ada, kind, 2, AT.plus(Duration::from_secs(3600))).await.unwrap();
    }

    /// The limit is the operator's, and a type that nobody knows is refused.
    async fn tests_have_a_limit(policy: Policy) {
        let served = Served::with(policy, |api| api.tests_per_hour = 1).await;
        let path = "/v1/workspaces/acme/me/tests";
        let send = async |body: Value| served.call_as("user", "POST", path).json(&body).answer().await;
        assert_eq!(send(json!({"type": "carrier_pigeon"})).await.status, 422);
        let sent = send(json!({})).await.body;
        let test = served.get("user", &format!("{path}/{}", sent["test"].as_str().unwrap())).await.body;
        assert_eq!((&test["type"], &test["stages"]), (&json!("identity_verification"), &json!([])));
        let refused = send(json!({})).await;
        assert_eq!((refused.status, refused.problem(), refused.header("retry-after")), (429, "enough-tests", "300"));
    }
}

/// On a real broker, with a worker and a provider: it says that it is a test, asks nothing, is no request, and each stage is shown. Policy
/// applies, and is shown.
#[test]
fn a_test_goes_all_the_way() {
    let stage = stage();
    let quiet = NotificationType::AccountSharing;
    stage.write(&[
        device("benita", "phone", Platform::Apns, &token_of("benita")),
        preference("acme", "benita", quiet, Preference::Off),
    ]);
    let _worker = stage.worker();
    let mut api = Watchbell::api(&config(&stage));
    api.wait_ready();
    let path = "/v1/workspaces/acme/me/tests";
    let follow = |kind: &str, what: &str| {
        let (status, sent) = call(&api, &stage, "POST", path, Some(json!({ "type": kind })));
        assert_eq!(status, 200, "{sent}");
        let path = format!("{path}/{}", sent["test"].as_str().unwrap());
        eventually(what, CEILING, || {
            let (_, test) = call(&api, &stage, "GET", &path, None);
            (!test["stages"].as_array().unwrap().is_empty()).then_some(test)
        })
    };
    let rang = follow("identity_verification", "the test to be delivered");
    let stage_of = |test: &Value| (test["stages"][0]["what"].clone(), test["stages"][0]["device"].clone());
    assert_eq!((stage_of(&rang), &rang["on_kafka"]), ((json!("delivered"), json!("phone")), &json!(true)));
    assert_eq!(rang["waiting"], json!([]));
    let received = stage.sandbox.apns().device(&token_of("benita")).unwrap().received;
    let pushed = received[0].payload.to_string();
    for said in ["A test of your notifications", "watchbell.inform"] {
        assert!(pushed.contains(said), "{said} is not in {pushed}");
    }
    assert!(!pushed.contains("watchbell.approve"), "{pushed}");
    let muted = follow("account_sharing", "the policy to be shown");
    assert_eq!(muted["stages"][0]["reason"], "muted_by_user");
    let (_, pending) = call(&api, &stage, "GET", "/v1/workspaces/acme/me/requests", None);
    assert_eq!(pending["requests"], json!([]));
}
