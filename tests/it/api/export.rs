//! Everything that is stored of a person, in one call.
use serde_json::{Value, json};
use watchbell::event::{DeviceId, NotificationType};
use watchbell::people::{Activity, Happening, Verb};
use watchbell::store::{Change, Policy};

use super::support::Served;
use crate::people::support::{answer, enrol_ada, sign_in};
use crate::store_support::{AT, Place, device_of, event, over_both, person, phone, until};
use crate::support::SOON;

const PATH: &str = "/v1/workspaces/acme/users/ada/data";

const OF_JONAS: &str = "/v1/workspaces/acme/users/jonas/data";

const LISTS: [&str; 8] = ["preferences", "devices", "requests", "recent", "seen", "tests", "notices", "audit"];

fn lengths(body: &Value) -> [usize; 8] {
    LISTS.map(|name| body[name].as_array().unwrap().len())
}

over_both! {
    /// All of it, and nobody else's; no token, no number, no address of a push. Who had it stands in the trail, and in what is handed out.
    async fn a_person_has_their_data(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        policy.admin().write(&[device_of("acme", "jonas", phone("phone-of-jonas", "token-of-jonas"))]).await.unwrap();
        let (ada, jonas) = (person("acme", "ada"), person("acme", "jonas"));
        let [one, two] = ["e1", "e2"].map(|id| sign_in(&ada, id, AT));
        for projection in [&one, &two, &sign_in(&jonas, "event-of-jonas", AT)] {
            policy.requests().project(projection, AT).await.unwrap();
        }
        policy.requests().decide(&answer(&one, "d1", Verb::Approve, None), AT).await.unwrap();
        let device = DeviceId::new("d1").unwrap();
        policy.requests().seen(&ada, &device, &[(NotificationType::IdentityVerification, one.event.clone())], AT).await.unwrap();
        let served = Served::new(policy).await;
        served.put("owner", "/v1/workspaces/acme/me/preferences/otp_received", json!({"preference": "off"})).await;
        let test = served.call_as("owner", "POST", "/v1/workspaces/acme/me/tests");
        let test = test.json(&json!({"type": "otp_received"})).answer().await.body;
        let removed = served.call_as("owner", "DELETE", "/v1/workspaces/acme/users/ada/devices/d3").status().await;
        assert_eq!(removed, 200);

        let answer = served.get("owner", PATH).await;
        assert_eq!((answer.status, answer.header("content-disposition").contains("attachment")), (200, true));
        let body = &answer.body;
        assert_eq!(lengths(body), [1, 3, 2, 2, 1, 1, 1, 1], "{body:#}");
        assert_eq!((&body["user"], &body["role"]["role"]), (&json!("ada"), &json!("owner")));
        assert_eq!(body["preferences"], json!([{"type": "otp_received", "preference": "off"}]));
        assert!(body["devices"][2]["retired_at"].is_string() && body["devices"][0].get("retired_at").is_none());
        assert_eq!(body["requests"][1]["detail"]["location"], "Lisbon");
        assert_eq!((&body["tests"][0]["test"], &body["tests"][0]["type"]), (&test["test"], &json!("otp_received")));
        assert_eq!((&body["notices"][0]["what"], &body["notices"][0]["device"]), (&json!("removed"), &json!("d3")));
        assert_eq!(body["audit"][0]["action"], "person_exported");
        for secret in ["token-d1", "token-of-jonas", "statement-of", "key-of", "of-jonas"] {
            assert!(!answer.text.contains(secret), "{secret} in {}", answer.text);
        }
        let nobody = served.get("owner", "/v1/workspaces/acme/users/nobody/data").await.body;
        assert_eq!((lengths(&nobody), &nobody["role"]), ([0, 0, 0, 0, 0, 0, 0, 1], &Value::Null));
    }

    /// Somebody has a person's data a few times in an hour, and everybody else's besides; the person has as many of their own.
    async fn a_few_times_in_an_hour(policy: Policy) {
        let served = Served::new(policy).await;
        for _ in 0..10 {
            assert_eq!(served.get("owner", OF_JONAS).await.status, 200);
        }
        let enough = served.get("owner", OF_JONAS).await;
        assert_eq!((enough.status, enough.problem(), enough.header("retry-after")), (429, "enough-exports", "600"));
        assert_eq!(served.get("owner", PATH).await.status, 200);
        assert_eq!(served.get("user", OF_JONAS).await.status, 200);
    }

    /// Exports that nobody reads take no request's place. One caller has two of them at once, and keeps nobody else from theirs.
    async fn an_export_takes_no_requests_place(policy: Policy, place: &Place) {
        const MUCH: &str = "INSERT INTO activity (workspace, user_id, at, what, type, event, device, reason)
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
            SELECT 'acme', 'ada', i, 'delivered', 'otp_received', 'e' || CAST(i AS text), 'd1', 'LONG' FROM n";
        place.execute(&MUCH.replace("LONG", &"long".repeat(100))).await;
        let served = Served::with(policy, |api| api.in_flight_max = 1).await;
        let token = served.sandbox.issuer().token("owner").unwrap();
        let read = async || {
            let reading = served.http.get(format!("{}{PATH}", served.url)).bearer_auth(&token).send().await.unwrap();
            assert_eq!(reading.status(), 200);
            reading
        };
        let unread = [read().await, read().await];
        let busy = served.get("owner", PATH).await;
        assert_eq!((busy.status, busy.problem(), busy.header("retry-after")), (503, "busy", "1"));
        assert_eq!(served.get("owner", "/v1/me").await.status, 200);
        assert_eq!(served.get("user", OF_JONAS).await.status, 200);
        drop(unread);
        until("a turn", SOON, async || (served.get("owner", PATH).await.status == 200).then_some(())).await;
    }

    /// More than a page of anything is handed out whole.
    async fn nobody_has_too_much_to_be_handed_out(policy: Policy) {
        let ada = person("acme", "ada");
        let devices: Vec<Change> =
            (0..205).map(|n| device_of("acme", "ada", phone(&format!("d{n}"), &format!("token-{n}")))).collect();
        policy.admin().write(&devices).await.unwrap();
        let kind = NotificationType::IdentityVerification;
        for n in 0..405 {
            let (event, device) = (event(&format!("e{n}")), DeviceId::new("d1").unwrap());
            policy.requests().project(&sign_in(&ada, event.as_str(), AT), AT).await.unwrap();
            policy.requests().seen(&ada, &device, &[(kind, event.clone())], AT).await.unwrap();
            let (person, device, reason) = (ada.clone(), Some(device), String::new());
            let delivered = Activity { person, at: AT, what: Happening::Delivered, kind, event, device, reason };
            policy.requests().note(&[delivered]).await.unwrap();
        }
        for _ in 0..205 {
            policy.admin().send_test(&ada, kind, 1_000, AT).await.unwrap();
        }
        let served = Served::new(policy).await;
        let body = served.get("owner", PATH).await.body;
        assert_eq!(lengths(&body), [0, 205, 405, 810, 405, 205, 0, 1]);
        for (list, key) in [("requests", "/event"), ("seen", "/event"), ("devices", "/device/device"), ("tests", "/test")] {
            let items = body[list].as_array().unwrap();
            let ids: std::collections::BTreeSet<_> = items.iter().map(|item| item.pointer(key).unwrap().as_str()).collect();
            assert_eq!(ids.len(), items.len(), "{list}: each once");
        }
    }
}
