//! What awaits an answer and what happened, as its person reads it; and how a person is erased.
use std::time::Duration;

use serde_json::{Value, json};
use watchbell::event::NotificationType;
use watchbell::people::{Activity, Happening, Projection, RequestDetail, Verb};
use watchbell::seam::{Clock as _, SystemClock};
use watchbell::store::{Failure, Policy};

use super::support::Served;
use crate::people::phones::Phone;
use crate::people::support::{answer, enrol_ada, heard, published, sign_in};
use crate::store_support::{Place, event, over_both, person};

const PENDING: &str = "/v1/workspaces/acme/me/requests";

/// A sign-in of Ada's, so many seconds ago.
fn ago(id: &str, seconds: u64) -> Projection {
    sign_in(&person("acme", "ada"), id, SystemClock.now().minus(Duration::from_secs(seconds)))
}

async fn project(policy: &Policy, projection: &Projection) {
    policy.requests().project(projection, projection.occurred_at).await.unwrap();
}

async fn pending(served: &Served, persona: &str) -> Vec<String> {
    let body = served.get(persona, PENDING).await.body;
    body["requests"].as_array().unwrap().iter().map(|request| request["event"].as_str().unwrap().to_owned()).collect()
}

over_both! {
    /// Newest first, each person their own; what is over is not pending.
    async fn what_is_pending(policy: Policy) {
        for (id, seconds) in [("old", 60), ("new", 5), ("middle", 30), ("over", 400)] {
            let mut projection = ago(id, seconds);
            projection.source = id.into();
            project(&policy, &projection).await;
        }
        let served = Served::new(policy).await;
        assert_eq!(pending(&served, "owner").await, ["new", "middle", "old"]);
        assert_eq!(pending(&served, "user").await, Vec::<String>::new());
        let listed = served.get("owner", PENDING).await.body["requests"][0].clone();
        assert_eq!(listed, served.get("owner", &format!("{PENDING}/identity_verification/new")).await.body);
        assert_eq!((&listed["detail"]["type"], &listed["detail"]["location"]), (&json!("identity_verification"), &json!("Lisbon")));
        assert_eq!((&listed["number_required"], &listed["ended"]), (&json!(false), &Value::Null));
    }

    /// Page by page, in a browser as on a phone, however many ask.
    async fn pending_comes_in_pages(policy: Policy) {
        for n in 0..300 {
            let at = SystemClock.now().minus(Duration::from_secs(n / 10));
            let source = format!("source-{n}");
            project(&policy, &Projection { source, ..sign_in(&person("acme", "jonas"), &format!("e{n}"), at) }).await;
        }
        let served = Served::new(policy).await;
        let mut phone = Phone::new("token-1");
        assert_eq!(served.register(&mut phone).await.status, 200);
        let phones = "/v1/workspaces/acme/phone/requests";
        let mut read = std::collections::BTreeMap::new();
        for (path, limit, pages) in [(PENDING, "", vec![200, 100]), (phones, "", vec![200, 100]), (PENDING, "&limit=120", vec![120, 120, 60])] {
            let (mut sizes, mut before) = (Vec::new(), String::from("?"));
            loop {
                let path = format!("{path}{before}{limit}");
                let page = if path.starts_with(phones) { served.by_phone(&phone, "GET", &path).answer().await } else { served.get("user", &path).await };
                let events = page.body["requests"].as_array().unwrap().clone();
                sizes.push(events.len());
                for event in events {
                    *read.entry(event["event"].as_str().unwrap().to_owned()).or_insert(0) += 1;
                }
                let Some(next) = page.body["next"].as_str() else { break };
                before = format!("?before={next}");
            }
            assert_eq!(sizes, pages, "{path}{limit}");
        }
        assert!(read.len() == 300 && read.values().all(|times| *times == 3), "{read:?}");
        let wrong = served.get("user", &format!("{PENDING}?before=7.5")).await;
        assert_eq!((wrong.status, wrong.problem()), (400, "wrong-page"));
    }

    /// A request that has not come yet is asked for again; ids travel percent-encoded; what only informs has no requests.
    async fn a_request_is_addressed(policy: Policy) {
        let id = "auth0|a+b/c?d=%";
        let mut asked = ago(id, 1);
        asked.detail = RequestDetail::TrustedDevice {
            device_name: "Laptop".into(), device_kind: "desktop".into(), browser: "Firefox".into(), operating_system: "Linux".into(),
            location: "Porto".into(), new_location: false, new_device: true,
        };
        project(&policy, &asked).await;
        let served = Served::new(policy).await;
        let path = format!("{PENDING}/trusted_device/auth0%7Ca%2Bb%2Fc%3Fd%3D%25");
        let read = served.get("owner", &path).await;
        assert_eq!((read.status, &read.body["event"], &read.body["detail"]["device_name"]), (200, &json!(id), &json!("Laptop")));
        let foreign = served.get("user", &path).await;
        assert_eq!((foreign.status, foreign.problem(), foreign.header("retry-after")), (503, "request-not-here", "1"));
        for (address, problem) in [
            ("otp_received/e1", "no-such-request"),
            ("passkey/e1", "no-such-type"),
            ("trusted_device/a%20b", "no-such-id"),
            ("trusted_device/%ff", "no-such-address"),
        ] {
            let answer = served.get("owner", &format!("{PENDING}/{address}")).await;
            assert_eq!((answer.status, answer.problem()), (404, problem), "{address}");
        }
    }

    /// How a request ended, and its tag, which changes with that and with nothing else.
    async fn a_request_ends(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let asked = ago("e1", 1);
        project(&policy, &asked).await;
        let served = Served::new(policy).await;
        let path = format!("{PENDING}/identity_verification/e1");
        let open = served.get("owner", &path).await;
        let again = served.call_as("owner", "GET", &path).header("if-none-match", open.header("etag")).answer().await;
        assert_eq!((again.status, again.header("etag")), (304, open.header("etag")));
        served.policy.requests().decide(&answer(&asked, "d1", Verb::DenyNotMe, None), SystemClock.now()).await.unwrap();
        let over = served.call_as("owner", "GET", &path).header("if-none-match", open.header("etag")).answer().await;
        assert_eq!((over.status, &over.body["ended"]["verb"], &over.body["ended"]["device"]), (200, &json!("deny_not_me"), &json!("d1")));
        assert!(!over.text.contains("statement-of-d1"), "the signed statement is upstream's");
        assert_eq!(pending(&served, "owner").await, Vec::<String>::new());

        let mut late = ago("e2", 400);
        late.source = "late".into();
        project(&served.policy, &late).await;
        served.policy.requests().expire(SystemClock.now()).await.unwrap();
        let over = served.get("owner", &format!("{PENDING}/identity_verification/e2")).await;
        assert_eq!((&over.body["ended"]["closed"], &over.body["ended"]["verb"]), (&json!("expired"), &Value::Null));
        assert_ne!(over.header("etag"), open.header("etag"));
    }

    /// The last 30 days, page by page; an admin reads the same of anybody, without contents.
    async fn what_happened(policy: Policy) {
        let now = SystemClock.now();
        let happened: Vec<_> = (0..5).map(|n| Activity {
            person: person("acme", "jonas"), at: now.minus(Duration::from_secs(n)), what: Happening::Delivered,
            kind: NotificationType::OtpReceived, event: event(&format!("e{n}")), device: None, reason: String::new(),
        }).collect();
        policy.requests().note(&happened).await.unwrap();
        let served = Served::new(policy).await;
        let first = served.get("user", "/v1/workspaces/acme/me/recent?limit=3").await.body;
        assert_eq!(first["items"][0]["what"], "delivered");
        let rest = format!("/v1/workspaces/acme/me/recent?before={}", first["next"].as_str().unwrap());
        let rest = served.get("user", &rest).await.body;
        let events = |page: &Value| page["items"].as_array().unwrap().iter().map(|item| item["event"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!([events(&first), events(&rest)].concat(), ["e0", "e1", "e2", "e3", "e4"]);
        assert_eq!(rest["next"], Value::Null);
        let seen = served.get("admin", "/v1/workspaces/acme/users/jonas/recent").await.body;
        assert_eq!(events(&seen).len(), 5);
        assert_eq!(events(&served.get("admin", "/v1/workspaces/acme/me/recent").await.body), Vec::<String>::new());
    }

    /// Erasing leaves nothing but the trail: preferences are the defaults, nothing is pending, upstream hears that it was cancelled.
    async fn a_person_is_erased(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let asked = ago("e1", 1);
        project(&policy, &asked).await;
        let served = Served::new(policy).await;
        served.put("owner", "/v1/workspaces/acme/me/preferences/otp_received", json!({"preference": "off"})).await;
        let erased = served.call_as("owner", "DELETE", "/v1/workspaces/acme/users/ada/data").answer().await;
        assert_eq!((erased.status, &erased.body), (200, &json!({"in_force_within_s": 0})));
        assert_eq!(pending(&served, "owner").await, Vec::<String>::new());
        let preferences = served.get("owner", "/v1/workspaces/acme/me/preferences").await.body;
        assert!(preferences["types"].as_array().unwrap().iter().all(|entry| entry["preference"] == "on"));
        let trail = served.get("owner", "/v1/workspaces/acme/audit").await.body;
        let entry = &trail["entries"][0];
        assert_eq!((&entry["action"], &entry["actor"], &entry["user"]), (&json!("person_erased"), &json!("ada"), &json!("ada")));
        let told = heard(&published(&served.policy).await.decisions(), "e1");
        assert_eq!(told.last().unwrap(), "Cancelled", "{told:?}");
        let late = answer(&asked, "d1", Verb::Approve, None);
        assert!(matches!(served.policy.requests().decide(&late, SystemClock.now()).await, Err(Failure::Refused(_))));
    }
}
