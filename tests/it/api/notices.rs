//! What people are told about their devices, over HTTP: read, and answered with "not me" by whoever has one of their keys.
use serde_json::json;
use watchbell::event::SystemNotice;
use watchbell::store::Policy;

use super::phones::asks;
use super::support::{Answer, Served};
use crate::people::phones::Phone;
use crate::store_support::over_both;

const W: &str = "/v1/workspaces/acme";

impl Served {
    async fn says_not_me(&self, phone: &Phone, notice: &str) -> Answer {
        self.by_phone(phone, "POST", &format!("{W}/phone/notices/{notice}/not-me")).answer().await
    }
}

/// The id of the first notice of a page.
fn first(page: &Answer) -> String {
    page.body["notices"][0]["notice"].as_str().unwrap().to_owned()
}

over_both! {
    /// A second phone is set up: the first one reads which, says that it was not its person, and hears what to do. Its admin reads who said so.
    async fn a_phone_says_not_me(policy: Policy) {
        let served = Served::new(policy.clone()).await;
        let (phone, mut second) = (served.approver().await, Phone::new("token-2"));
        served.register(&mut second).await;
        let read = served.by_phone(&phone, "GET", &format!("{W}/phone/notices")).answer().await;
        let notice = &read.body["notices"][0];
        assert_eq!((&notice["what"], &notice["device"]), (&json!("enrolled"), &json!(second.id().as_str())));
        assert_eq!((&notice["device_name"], &notice["device_model"]), (&json!("My phone"), &json!("Pixel 8")));
        assert_eq!(read.body["notices"][1]["way"], "ticket");
        assert_eq!(served.get("user", &format!("{W}/me/notices")).await.body, read.body, "the same with a sign-in");
        let page = served.get("user", &format!("{W}/me/notices?limit=1")).await;
        let rest = served.get("user", &format!("{W}/me/notices?before={}", page.body["next"].as_str().unwrap())).await;
        assert_eq!((page.body["notices"].as_array().unwrap().len(), rest.body["notices"].as_array().unwrap().len()), (1, 2));

        let said = served.says_not_me(&phone, &first(&read)).await;
        assert_eq!((said.status, &said.body["alerted"]), (200, &json!(1)), "{}", said.text);
        assert!(said.body["what_to_do"].as_str().unwrap().contains("reset your phones"));
        assert_eq!(served.says_not_me(&second, &first(&read)).await.body, said.body, "the same to whoever says it again");
        let page = served.get("admin", &format!("{W}/me/notices")).await;
        let told = &page.body["notices"][0];
        assert_eq!((&told["what"], &told["user"], &told["disowned"]), (&json!("not_me"), &json!("jonas"), &json!("enrolled")));
        assert_eq!(page.body["notices"].as_array().unwrap().len(), 1);
        assert!(told.get("device_name").is_none());
        let trail = served.get("admin", &format!("{W}/audit")).await.body["entries"][0].clone();
        assert_eq!((&trail["action"], &trail["user"], &trail["device"]), (&json!("not_me"), &json!("jonas"), &json!(phone.id().as_str())));
        assert_eq!(served.by_phone(&second, "GET", &format!("{W}/phone/requests")).status().await, 200, "nothing was retired");

        // What there is no notice of is nobody's to disown.
        for unknown in ["none", "not%20an%20id"] {
            assert_eq!(served.says_not_me(&phone, unknown).await.problem(), "no-such-notice");
        }
    }

    /// All of a person's phones were retired: each was told, and its key says "not me" and nothing else. Nobody else's does.
    async fn a_retired_phone_says_not_me_and_nothing_else(policy: Policy) {
        let served = Served::new(policy.clone()).await;
        let phone = served.approver().await;
        let reset = served.call_as("admin", "POST", &format!("{W}/users/jonas/devices/reset")).answer().await;
        assert_eq!(reset.body["devices"], json!([phone.id().as_str()]));
        let told: Vec<_> = served.pushed.told().into_iter().map(|(what, told)| (what, told.device)).collect();
        assert_eq!(told, [(SystemNotice::Reset, phone.id().clone())]);
        let page = served.get("user", &format!("{W}/me/notices")).await;
        let notice = &page.body["notices"][0];
        assert_eq!((&notice["what"], &notice["by_role"], &notice["device"]), (&json!("reset"), &json!("admin"), &json!(null)));
        for (method, path) in [("GET", "/phone/notices"), ("GET", "/phone/requests"), ("POST", "/phone/nonce"), ("POST", "/phone/digits")] {
            let answer = served.by_phone(&phone, method, &format!("{W}{path}")).answer().await;
            assert_eq!((answer.status, answer.problem()), (401, "unknown-phone"), "{method} {path}");
        }
        asks(&policy, "e1").await;
        assert_eq!(served.answers(&phone, "e1", "deny_not_me").await.problem(), "unknown-phone");
        let said = served.says_not_me(&phone, &first(&page)).await;
        assert_eq!((said.status, &said.body["alerted"]), (200, &json!(1)), "{}", said.text);

        let impostor = Phone { id: phone.id.clone(), ..Phone::new("token-9") };
        let forged = served.says_not_me(&impostor, &first(&page)).await;
        assert_eq!((forged.status, forged.problem()), (401, "bad-proof"));
        let stranger = Phone { id: Some(watchbell::event::DeviceId::new("nobody").unwrap()), ..impostor };
        assert_eq!(served.says_not_me(&stranger, &first(&page)).await.problem(), "unknown-phone");
        // An erasure just afterwards takes the notice, and not the word of the phone.
        assert_eq!(served.call_as("admin", "DELETE", &format!("{W}/users/jonas/data")).status().await, 403);
        assert_eq!(served.call_as("owner", "DELETE", &format!("{W}/users/jonas/data")).status().await, 200);
        let said = served.says_not_me(&phone, &first(&page)).await;
        assert_eq!((said.status, &said.body["alerted"]), (200, &json!(2)), "{}", said.text);
    }

    /// A phone that is removed is told by whoever removed it; where nobody administers the workspace, who says "not me" hears whom to call.
    async fn a_removed_phone_is_told(policy: Policy) {
        let served = Served::new(policy.clone()).await;
        let mut phone = Phone::new("token-1");
        served.register(&mut phone).await;
        let removed = served.call_as("user", "DELETE", &format!("{W}/me/devices/{}", phone.id())).answer().await;
        assert_eq!(removed.status, 200);
        let told: Vec<_> = served.pushed.told().into_iter().map(|(what, told)| (what, told.device)).collect();
        assert_eq!(told, [(SystemNotice::Removed, phone.id().clone())]);
        let page = served.get("user", &format!("{W}/me/notices")).await;
        let said = served.says_not_me(&phone, &first(&page)).await;
        assert_eq!(said.body["alerted"], 0);
        assert!(said.body["what_to_do"].as_str().unwrap().contains("call them"));
    }
}
