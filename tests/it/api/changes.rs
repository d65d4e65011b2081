//! Settings and preferences: what is changed, what others see of it, and what is refused.
use serde_json::{Value, json};
use watchbell::event::NotificationType::OtpReceived;
use watchbell::policy::Setting;
use watchbell::store::Policy;

use super::support::Served;
use crate::store_support::{ask, device_of, over_both, phone};

const SETTINGS: &str = "/v1/workspaces/acme/settings";
const OTP_SETTING: &str = "/v1/workspaces/acme/settings/otp_received";
const PREFERENCES: &str = "/v1/workspaces/acme/me/preferences";
const OTP_PREFERENCE: &str = "/v1/workspaces/acme/me/preferences/otp_received";

/// One type's entry of a list.
fn of<'a>(list: &'a Value, kind: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|entry| entry["type"] == kind).unwrap()
}

over_both! {
    /// An admin enforces a type: in force for the worker at once, shown with who and when, in the trail; the same once more changes nothing.
    async fn a_setting_is_changed(policy: Policy) {
        let served = Served::new(policy).await;
        let before = served.get("owner", SETTINGS).await;
        assert_eq!(before.body["settings"].as_array().unwrap().len(), 4);
        assert_eq!(of(&before.body["settings"], "otp_received"), &json!({"type": "otp_received", "setting": "enabled"}));

        let changed = served.put("admin", OTP_SETTING, json!({"setting": "enforced"})).await;
        assert_eq!((changed.status, &changed.body["in_force_within_s"]), (200, &json!(0)));
        let shown = of(&changed.body["settings"]["settings"], "otp_received");
        assert_eq!((&shown["setting"], &shown["changed"]["by"], &shown["changed"]["role"]), (&json!("enforced"), &json!("benita"), &json!("admin")));
        assert_eq!(ask(&served.policy, "acme", &[]).await.unwrap().workspace.setting(OtpReceived), Setting::Enforced);

        let again = served.put("owner", OTP_SETTING, json!({"setting": "enforced"})).await;
        assert_eq!((again.status, again.header("etag")), (200, changed.header("etag")));
        assert_eq!(served.get("owner", SETTINGS).await.body, changed.body["settings"]);
        let trail = served.get("super_admin", "/v1/workspaces/acme/audit").await.body;
        assert_eq!(trail["entries"].as_array().unwrap().len(), 1);
        let entry = &trail["entries"][0];
        let told = ["action", "actor", "actor_role", "type", "from", "to"].map(|member| entry[member].as_str().unwrap());
        assert_eq!(told, ["setting_changed", "benita", "admin", "otp_received", "enabled", "enforced"]);
        assert_eq!(entry["at"], shown["changed"]["at"]);
        assert_eq!(trail["next"], Value::Null);
    }

    /// Of two admins who saw the same, the second is told that the first changed it; who has not seen a change gets it, who has does not.
    async fn nobody_overwrites_what_they_have_not_seen(policy: Policy) {
        let served = Served::new(policy).await;
        let seen = served.get("owner", SETTINGS).await.header("etag").to_owned();
        let change = |persona: &str, tag: &str, setting: &str| {
            served.call_as(persona, "PUT", OTP_SETTING).header("if-match", tag).json(&json!({"setting": setting}))
        };
        let first = change("owner", &seen, "enforced").answer().await;
        assert_eq!(first.status, 200);
        let second = change("admin", &seen, "disabled").answer().await;
        assert_eq!((second.status, second.problem()), (412, "changed-meanwhile"));
        assert!(second.body["detail"].as_str().unwrap().starts_with("Somebody else changed"), "{}", second.text);
        let unchanged = served.get("owner", SETTINGS).await;
        assert_eq!(of(&unchanged.body["settings"], "otp_received")["setting"], "enforced");

        let read = |tag: &str| served.call_as("owner", "GET", SETTINGS).header("if-none-match", tag);
        let same = read(unchanged.header("etag")).answer().await;
        assert_eq!((same.status, same.text.as_str(), same.header("etag")), (304, "", unchanged.header("etag")));
        assert_eq!(read(&seen).status().await, 200);
        assert_eq!(change("admin", unchanged.header("etag"), "disabled").status().await, 200);
        assert_eq!(change("admin", "*", "enabled").status().await, 200);
        assert_eq!(change("admin", "s1", "enabled").answer().await.problem(), "unreadable-condition");
    }

    /// The trail comes page by page, newest first, without a gap or a repeat while it grows at its head.
    async fn the_trail_is_paged(policy: Policy) {
        let served = Served::new(policy).await;
        let settings = ["enforced", "disabled", "enabled", "enforced", "disabled"];
        for setting in settings {
            served.put("owner", OTP_SETTING, json!({"setting": setting})).await;
        }
        let (mut seen, mut before) = (Vec::new(), String::new());
        loop {
            let page = served.get("owner", &format!("/v1/workspaces/acme/audit?limit=2{before}")).await.body;
            seen.extend(page["entries"].as_array().unwrap().iter().map(|entry| entry["to"].as_str().unwrap().to_owned()));
            served.put("owner", "/v1/workspaces/acme/settings/trusted_device", json!({"setting": settings[seen.len() % 5]})).await;
            match page["next"].as_str() {
                Some(next) => before = format!("&before={next}"),
                None => break,
            }
        }
        assert_eq!(seen, ["disabled", "enforced", "enabled", "disabled", "enforced"]);
        for wrong in ["limit=0", "limit=201", "limit=x", "before=x", "limit=-1"] {
            let answer = served.get("owner", &format!("/v1/workspaces/acme/audit?{wrong}")).await;
            assert_eq!((answer.status, answer.problem()), (400, "wrong-page"), "{wrong}");
        }
    }

    /// Off is refused with a sentence while the type is enforced; what was chosen before is kept, and counts again afterwards.
    async fn what_is_enforced_cannot_be_turned_off(policy: Policy) {
        let served = Served::new(policy).await;
        let state = async || of(&served.get("user", PREFERENCES).await.body["types"], "otp_received").clone();
        assert_eq!(served.put("user", OTP_PREFERENCE, json!({"preference": "off"})).await.status, 200);
        assert_eq!((state().await["effective"].clone(), state().await["reason"].clone()), (json!("off"), json!("muted_by_user")));

        served.put("owner", OTP_SETTING, json!({"setting": "enforced"})).await;
        let now = state().await;
        assert_eq!((&now["effective"], &now["preference"], &now["can_turn_off"]), (&json!("on"), &json!("off"), &json!(false)));
        let refused = served.put("user", OTP_PREFERENCE, json!({"preference": "off"})).await;
        assert_eq!((refused.status, refused.problem(), &refused.body["notification_type"]), (409, "enforced", &json!("otp_received")));
        assert_eq!(refused.body["detail"], "Your workspace requires these notifications, so they cannot be turned off. Ask an admin if you think that is wrong.");

        served.put("owner", OTP_SETTING, json!({"setting": "disabled"})).await;
        assert_eq!(state().await["reason"], "disabled_by_workspace");
        served.put("owner", OTP_SETTING, json!({"setting": "enabled"})).await;
        assert_eq!((state().await["effective"].clone(), state().await["reason"].clone()), (json!("off"), json!("muted_by_user")));
    }

    /// "Turn off all I may" leaves what is enforced and says which that is; each person changes their own.
    async fn all_that_one_may_is_turned_off(policy: Policy) {
        let served = Served::new(policy).await;
        served.put("owner", OTP_SETTING, json!({"setting": "enforced"})).await;
        served.put("user", "/v1/workspaces/acme/me/preferences/account_sharing", json!({"preference": "off"})).await;
        let done = served.call_as("user", "POST", "/v1/workspaces/acme/me/preferences/turn-off-all").answer().await;
        assert_eq!((&done.body["off"], &done.body["enforced"]), (&json!(["identity_verification", "trusted_device"]), &json!(["otp_received"])));
        let effective: Vec<_> = done.body["preferences"]["types"].as_array().unwrap().iter().map(|entry| entry["effective"].as_str().unwrap()).collect();
        assert_eq!(effective, ["off", "off", "off", "on"]);
        let others = served.get("admin", PREFERENCES).await;
        assert!(others.body["types"].as_array().unwrap().iter().all(|entry| entry["effective"] == "on"), "{}", others.text);
    }

    /// A person's tag changes with what they see: with their own choice, and with the workspace's; an old one changes nothing.
    async fn preferences_are_tagged_by_both(policy: Policy) {
        let served = Served::new(policy).await;
        let tag = async || served.get("user", PREFERENCES).await.header("etag").to_owned();
        let switch = |tag: &str, preference: &str| {
            served.call_as("user", "PUT", OTP_PREFERENCE).header("if-match", tag).json(&json!({"preference": preference}))
        };
        let first = tag().await;
        let switched = switch(&first, "off").answer().await;
        assert_eq!((switched.status, switched.header("etag")), (200, tag().await.as_str()));
        assert_ne!(first, tag().await);
        assert_eq!(switch(&first, "on").answer().await.problem(), "changed-meanwhile");
        let second = tag().await;
        served.put("owner", "/v1/workspaces/acme/settings/trusted_device", json!({"setting": "disabled"})).await;
        assert_eq!(switch(&second, "on").status().await, 412, "an admin changed what the person sees");
        assert_eq!(switch(&tag().await, "on").status().await, 200);
    }

    /// A phone is made quiet by its person and by nobody else.
    async fn a_phone_is_made_quiet(policy: Policy) {
        policy.admin().write(&[device_of("acme", "jonas", phone("d1", "token"))]).await.unwrap();
        let served = Served::new(policy).await;
        let path = "/v1/workspaces/acme/me/devices/d1/quiet";
        let quiet = served.put("user", path, json!({"quiet": true})).await;
        assert_eq!((quiet.status, &quiet.body), (200, &json!({"device": "d1", "quiet": true, "in_force_within_s": 0})));
        assert_eq!(quiet.header("etag"), served.get("user", "/v1/workspaces/acme/me/devices").await.header("etag"));
        let resolved = ask(&served.policy, "acme", &["jonas"]).await.unwrap();
        assert!(resolved.users[0].devices().all(|device| device.quiet()), "the worker knows");
        let foreign = served.put("owner", path, json!({"quiet": false})).await;
        assert_eq!((foreign.status, foreign.problem()), (404, "no-such-device"));
        assert_eq!(served.put("user", path, json!({"quiet": false})).await.status, 200);
    }
}
