//! Sessions that are over, and what a session alone may not do.
use std::time::Duration;

use serde_json::{Value, json};
use watchbell::event::SystemNotice;
use watchbell::people::{Lifecycle, LifecycleChange, PersonChange, RETIRED_KEY_LIFE, Role};
use watchbell::sandbox::issuer::Mint;
use watchbell::seam::{Clock as _, SystemClock};
use watchbell::store::Policy;

use super::support::{Answer, Served};
use crate::people::phones::Phone;
use crate::store_support::{admin, event, over_both, person, user, ws};

const W: &str = "/v1/workspaces/acme";

impl Served {
    /// A token of that persona with these claims; null leaves one out.
    fn token_of(&self, persona: &str, claims: Value) -> String {
        let Value::Object(claims) = claims else { panic!() };
        let mint = Mint { persona: persona.to_owned(), claims, ..Mint::default() };
        format!("Bearer {}", self.sandbox.issuer().mint(&mint).unwrap())
    }

    /// A call with a token of that persona that was issued, and whose person signed in, so many seconds ago.
    async fn with_token_of(&self, persona: &str, (issued, signed_in): (i64, i64), method: &str, path: &str) -> Answer {
        let now = SystemClock.now().as_secs();
        let token = self.token_of(persona, json!({"iat": now - issued, "auth_time": now - signed_in}));
        self.call(method, path).header("authorization", &token).answer().await
    }
}

fn told(served: &Served) -> Vec<(SystemNotice, String)> {
    served.pushed.told().into_iter().map(|(what, told)| (what, told.device.as_str().to_owned())).collect()
}

over_both! {
    /// Upstream revokes somebody's sessions: a token from before is refused at once, by every process, in that workspace; one that was issued
    /// afterwards counts.
    async fn a_revoked_session_is_refused(policy: Policy) {
        let (served, replica) = (Served::new(policy.clone()).await, Served::new(policy.clone()).await);
        let paths = [format!("{W}/me/devices"), format!("{W}/me/requests"), format!("{W}/me/preferences")];
        for api in [&served, &replica] {
            assert_eq!(api.with_token_of("owner", (2, 2), "GET", &paths[0]).await.status, 200);
        }
        let revoked = Lifecycle { id: event("l1"), workspace: ws("acme"), occurred_at: SystemClock.now(), what: LifecycleChange::Person(user("ada"), PersonChange::SessionsRevoked) };
        policy.admin().lifecycle(&revoked, &admin("root"), SystemClock.now()).await.unwrap();
        for api in [&served, &replica] {
            for path in &paths {
                let refused = api.with_token_of("owner", (2, 2), "GET", path).await;
                assert_eq!((refused.status, refused.problem()), (401, "session-ended"), "{path}");
                assert!(refused.header("www-authenticate").contains("invalid_token"));
                assert_eq!(api.call_as("owner", "GET", path).status().await, 200, "{path}");
            }
            let challenge = api.with_token_of("owner", (2, 2), "POST", &format!("{W}/me/devices/challenges")).await;
            assert_eq!(challenge.problem(), "session-ended");
            // In their other workspace nobody revoked anything.
            assert_eq!(api.with_token_of("owner", (2, 2), "GET", "/v1/workspaces/globex/me/devices").await.status, 200);
            assert_eq!(api.with_token_of("owner", (2, 2), "GET", "/v1/me").await.status, 200);
            assert_eq!(api.with_token_of("user", (2, 2), "GET", &paths[0]).await.status, 200, "somebody else's");
        }
        let revoked = Lifecycle { id: event("l2"), workspace: ws("acme"), occurred_at: SystemClock.now(), what: LifecycleChange::Person(user("jonas"), PersonChange::Removed) };
        policy.admin().lifecycle(&revoked, &admin("root"), SystemClock.now()).await.unwrap();
        for path in [paths[0].as_str(), "/v1/me"] {
            assert_eq!(served.with_token_of("user", (2, 2), "GET", path).await.problem(), "session-ended", "{path}");
        }
    }

    /// What was ended takes nobody else's room: whoever goes on calling with it does not keep the same person's other sessions waiting.
    async fn an_ended_session_starves_nobody(policy: Policy) {
        let served = Served::with(policy.clone(), |api| (api.requests_per_minute, api.requests_burst) = (1, 3)).await;
        let stolen = served.token_of("owner", json!({"iat": SystemClock.now().as_secs() - 2}));
        let revoked = Lifecycle { id: event("l1"), workspace: ws("acme"), occurred_at: SystemClock.now(), what: LifecycleChange::Person(user("ada"), PersonChange::SessionsRevoked) };
        policy.admin().lifecycle(&revoked, &admin("root"), SystemClock.now()).await.unwrap();
        let path = format!("{W}/me/devices");
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(served.call("GET", &path).header("authorization", &stolen).status().await);
        }
        assert_eq!(statuses, [401, 401, 401, 429, 429]);
        assert_eq!(served.call_as("owner", "GET", &path).status().await, 200);
    }

    /// Whoever stole a session that goes on may call with it as often as one session may, and the person's other sessions are answered.
    async fn a_stolen_session_starves_nobody(policy: Policy) {
        let served = Served::with(policy, |api| (api.requests_per_minute, api.requests_burst) = (1, 3)).await;
        let stolen = served.token_of("owner", json!({"iat": SystemClock.now().as_secs() - 2}));
        let path = format!("{W}/me/devices");
        let mut statuses = Vec::new();
        for _ in 0..9 {
            statuses.push(served.call("GET", &path).header("authorization", &stolen).status().await);
        }
        assert_eq!(statuses, [200, 200, 200, 429, 429, 429, 429, 429, 429]);
        assert_eq!(served.call_as("owner", "GET", &path).status().await, 200);
    }

    /// A deletion that was cut short is said again, with the token that said it first: nothing of an operator's ended with the workspace.
    async fn an_operator_says_it_again(policy: Policy) {
        let served = Served::new(policy).await;
        let token = served.token_of("operator", json!({"iat": SystemClock.now().as_secs() - 10}));
        let deleted = json!({"id": "l1", "what": "workspace_deleted"});
        for again in [false, true] {
            let call = served.call("POST", "/v1/operator/workspaces/acme/lifecycle").header("authorization", &token);
            let answer = call.json(&deleted).answer().await;
            assert_eq!((answer.status, &answer.body["again"]), (200, &json!(again)), "{}", answer.text);
        }
    }

    /// Of a workspace that was deleted, who has no role in it hears that there is none for them, whatever their session; who had one hears that
    /// their session ended. An operator helps people there as before.
    async fn a_deleted_workspace_ends_sessions_of_its_people(policy: Policy) {
        let served = Served::new(policy).await;
        let old = |persona: &str| served.token_of(persona, json!({"iat": SystemClock.now().as_secs() - 10}));
        let ask = async |persona: &str, method: &str, path: &str, body: Value| {
            served.call(method, path).header("authorization", &old(persona)).json(&body).answer().await
        };
        let deleted = json!({"id": "l1", "what": "workspace_deleted"});
        let said = ask("operator", "POST", "/v1/operator/workspaces/acme/lifecycle", deleted).await;
        assert_eq!(said.status, 200, "{}", said.text);
        let path = format!("{W}/me/preferences");
        for (persona, status, problem) in
            [("elsewhere", 404, "no-workspace"), ("operator", 404, "no-workspace"), ("user", 401, "session-ended")]
        {
            let answer = ask(persona, "GET", &path, json!({})).await;
            assert_eq!((answer.status, answer.problem()), (status, problem), "{persona}");
        }
        assert_eq!(ask("operator", "POST", &format!("{W}/users/jonas/tickets"), json!({})).await.status, 200);
    }

    /// An issuer that does not say when somebody signed in shows no fresh sign-in, and they are told what to do.
    async fn a_sign_in_that_says_no_time(policy: Policy) {
        let served = Served::new(policy).await;
        let token = served.token_of("user", json!({"auth_time": null}));
        let refused = served.call("DELETE", &format!("{W}/users/jonas/data")).header("authorization", &token).answer().await;
        assert_eq!((refused.status, refused.problem()), (403, "sign-in-too-old"));
        assert!(refused.text.contains("Ask an owner"), "{}", refused.text);
    }

    /// Somebody is erased in one process: the others know no role of theirs any more, and know the next one as soon as they call again.
    async fn a_role_is_forgotten_everywhere(policy: Policy) {
        let (served, replica) = (Served::new(policy.clone()).await, Served::new(policy.clone()).await);
        let (ada, path) = (person("acme", "ada"), format!("{W}/me/devices"));
        for api in [&served, &replica] {
            assert_eq!(api.with_token_of("owner", (2, 2), "GET", &path).await.status, 200);
        }
        assert_eq!(policy.admin().known_role(&ada).await.unwrap(), Some(Role::Owner));
        assert_eq!(served.call_as("owner", "DELETE", &format!("{W}/users/ada/data")).status().await, 200);
        assert_eq!(replica.with_token_of("owner", (2, 2), "GET", &path).await.problem(), "session-ended");
        assert_eq!(policy.admin().known_role(&ada).await.unwrap(), None);
        assert_eq!(replica.call_as("owner", "GET", &path).status().await, 200);
        assert_eq!(policy.admin().known_role(&ada).await.unwrap(), Some(Role::Owner));
    }

    /// An old session erases nobody: the phone stays, and is not told. A fresh one does, and the phone is told; its key never registers again,
    /// and says that it was not its person. Who administers the workspace hears of both.
    async fn a_session_alone_erases_nobody(policy: Policy) {
        let served = Served::new(policy.clone()).await;
        let phone = served.approver().await;
        let data = format!("{W}/users/jonas/data");
        let refused = served.with_token_of("user", (2, 400), "DELETE", &data).await;
        assert_eq!((refused.status, refused.problem()), (403, "sign-in-too-old"));
        assert_eq!(told(&served), []);
        assert_eq!(served.by_phone(&phone, "GET", &format!("{W}/phone/requests")).status().await, 200);
        assert_eq!(served.with_token_of("owner", (2, 400), "DELETE", &format!("{W}/users/nina/data")).await.status, 200, "of another");

        assert_eq!(served.call_as("user", "DELETE", &data).status().await, 200);
        assert_eq!(told(&served), [(SystemNotice::Reset, phone.id().as_str().to_owned())]);
        let alerts = served.get("admin", &format!("{W}/me/notices")).await.body["notices"].clone();
        assert_eq!((alerts.as_array().unwrap().len(), &alerts[0]["what"]), (1, &json!("erased")));
        let erasure = alerts[0]["notice"].as_str().unwrap();
        let again = served.register(&mut Phone { id: None, ..phone.clone() }).await;
        assert_eq!(again.problem(), "key-retired");
        assert_eq!(served.by_phone(&phone, "GET", &format!("{W}/phone/requests")).answer().await.problem(), "unknown-phone");
        let impostor = Phone { id: phone.id.clone(), ..Phone::new("token-9") };
        let path = format!("{W}/phone/notices/{erasure}/not-me");
        assert_eq!(served.by_phone(&impostor, "POST", &path).answer().await.problem(), "bad-proof");
        let said = served.by_phone(&phone, "POST", &path).answer().await;
        assert_eq!((said.status, &said.body["alerted"]), (200, &json!(2)), "{}", said.text);
        let alert = served.get("admin", &format!("{W}/me/notices")).await.body["notices"][0].clone();
        assert_eq!((&alert["what"], &alert["disowned"], &alert["event"]), (&json!("not_me"), &json!("reset"), &json!(erasure)));
        assert!(alert.get("user").is_none(), "{alert}");
    }

    /// A retired key says for a day that it was not its person, and then nothing any more.
    async fn a_retired_key_is_heard_for_a_day(policy: Policy) {
        let served = Served::new(policy.clone()).await;
        for (ago, expected) in [(RETIRED_KEY_LIFE - Duration::from_secs(60), 404), (RETIRED_KEY_LIFE + Duration::from_secs(1), 401)] {
            let mut phone = Phone::new(&format!("token-{expected}"));
            served.register(&mut phone).await;
            let jonas = person("acme", "jonas");
            policy.devices().reset(&jonas, &admin("root"), (false, None), SystemClock.now().minus(ago)).await.unwrap();
            let said = served.by_phone(&phone, "POST", &format!("{W}/phone/notices/none/not-me")).answer().await;
            assert_eq!(said.status, expected, "{}", said.text);
        }
    }

    /// An old session leaves nobody without a phone that may approve, whatever it says that is meant; nor does one whose issuer does not say how
    /// old it is. What takes no such phone needs no fresh sign-in, nor does helping another; and with a fresh one it is one's own to do.
    async fn a_session_alone_silences_nobody(policy: Policy) {
        let served = Served::new(policy).await;
        let (phone, mut receiver) = (served.approver().await, Phone::new("token-2"));
        served.register(&mut receiver).await;
        let own = format!("{W}/me/devices/{}", phone.id());
        let same = format!("{W}/users/jonas/devices/{}", phone.id());
        let reset = format!("{W}/users/jonas/devices/reset");
        let undated = served.token_of("user", json!({"auth_time": null}));
        for (method, path) in [("DELETE", &own), ("DELETE", &same), ("POST", &reset)] {
            let unsure = served.with_token_of("user", (2, 400), method, path).await;
            assert_eq!((unsure.status, unsure.problem()), (409, "last-approver"), "{method} {path}");
            let meant = format!("{path}?even_the_last=true");
            let refused = served.with_token_of("user", (2, 400), method, &meant).await;
            assert_eq!((refused.status, refused.problem()), (403, "sign-in-too-old"), "{method} {path}");
            let refused = served.call(method, &meant).header("authorization", &undated).answer().await;
            assert_eq!((refused.status, refused.problem()), (403, "sign-in-too-old"), "{method} {path}");
            assert!(refused.text.contains("Ask somebody who administers"), "{}", refused.text);
        }
        assert_eq!(served.by_phone(&phone, "GET", &format!("{W}/phone/requests")).status().await, 200);
        let path = format!("{W}/me/devices/{}?even_the_last=true", receiver.id());
        assert_eq!(served.with_token_of("user", (2, 400), "DELETE", &path).await.status, 200, "it may only receive");
        let gone = served.with_token_of("user", (2, 2), "DELETE", &format!("{own}?even_the_last=true")).await;
        assert_eq!((gone.status, &gone.body["approvers_left"]), (200, &json!(0)), "{}", gone.text);
        assert_eq!(served.with_token_of("admin", (2, 400), "POST", &reset).await.status, 200, "another's");
    }

    /// Resetting oneself asks whether the phone that may approve is meant.
    async fn resetting_oneself_has_to_be_meant(policy: Policy) {
        let served = Served::new(policy).await;
        let phone = served.approver().await;
        let path = format!("{W}/users/jonas/devices/reset");
        assert_eq!(served.call_as("user", "POST", &path).answer().await.problem(), "last-approver");
        let meant = served.call_as("user", "POST", &format!("{path}?even_the_last=true")).answer().await;
        assert_eq!(meant.body["devices"], json!([phone.id().as_str()]));
    }
}
