//! Phones over HTTP: from signing in to an answer that upstream hears, and whoever only says that they are a phone.
use std::time::Duration;

use serde_json::{Value, json};
use watchbell::event::wire;
use watchbell::people::signed::{DECISION_TYPE, KEY_TYPE, PROMOTION_TYPE};
use watchbell::people::{MatchNumber, Projection};
use watchbell::seam::{Clock as _, SystemClock};
use watchbell::store::Policy;

use super::support::{Answer, Call, Served};
use crate::people::phones::Phone;
use crate::people::support::{heard, published, sign_in};
use crate::store_support::{over_both, person};

const W: &str = "/v1/workspaces/acme";

fn now_s() -> i64 {
    SystemClock.now().as_secs()
}

impl Served {
    /// A proof for that method and path.
    fn proof(&self, phone: &Phone, (method, path): (&str, &str), more: &Value) -> String {
        phone.proof_for(&self.url, (method, path), more)
    }

    /// A call by a phone, with its proof.
    pub fn by_phone(&self, phone: &Phone, method: &str, path: &str) -> Call<'_> {
        // A proof is for an address without its query.
        let address = path.split('?').next().unwrap();
        let proof = self.proof(phone, (method, address), &json!({}));
        self.call(method, path).header("dpop", &proof)
    }

    /// A statement of a phone of Jonas'.
    fn statement(&self, phone: &Phone, typ: &str, more: &Value) -> Value {
        phone.statement_for(&self.url, "jonas", typ, more)
    }

    /// Jonas signs in on a phone: it is registered.
    pub async fn register(&self, phone: &mut Phone) -> Answer {
        let answer = self.registers(phone, "").await;
        if answer.status == 200 {
            phone.id = Some(watchbell::event::DeviceId::new(answer.body["device"].as_str().unwrap()).unwrap());
        }
        answer
    }

    /// What the API says to a registration, under that idempotency key unless it is empty.
    async fn registers(&self, phone: &Phone, key: &str) -> Answer {
        let path = format!("{W}/me/devices");
        let challenge = self.call_as("user", "POST", &format!("{path}/challenges")).answer().await;
        let challenge = challenge.body["challenge"].clone();
        let proof = self.proof(phone, ("POST", &path), &json!({"nonce": challenge}));
        let report = json!({"platform": "apns", "app": "com.example.app", "token": phone.token, "locale": "en-US", "model": "Pixel 8"});
        let body = json!({"challenge": challenge, "name": "My phone", "report": report});
        let call = self.call_as("user", "POST", &path).header("dpop", &proof).json(&body);
        let call = if key.is_empty() { call } else { call.header("idempotency-key", key) };
        call.answer().await
    }

    /// The push arrives and its nonce goes back.
    pub async fn reach(&self, phone: &Phone) -> Answer {
        let nonce = self.pushed.take().nonce.expose().to_owned();
        let call = self.by_phone(phone, "POST", &format!("{W}/phone/reached"));
        call.json(&json!({"nonce": nonce})).answer().await
    }

    /// Jonas' first phone, which may approve by a ticket of his admin's.
    pub async fn approver(&self) -> Phone {
        let mut phone = Phone::new("token-1");
        assert_eq!(self.register(&mut phone).await.status, 200);
        assert_eq!(self.reach(&phone).await.status, 200);
        let ticket = self.call_as("admin", "POST", &format!("{W}/users/jonas/tickets")).answer().await;
        let promoted = self.promote(&phone, json!({"ticket": ticket.body["ticket"]})).await;
        assert_eq!(promoted.body, json!({"state": "approver", "way": "ticket"}));
        phone
    }

    pub async fn promote(&self, phone: &Phone, body: Value) -> Answer {
        let path = format!("{W}/me/devices/{}/promotion", phone.id());
        let proof = self.proof(phone, ("POST", &path), &json!({}));
        self.call_as("user", "POST", &path).header("dpop", &proof).json(&body).answer().await
    }

    pub async fn answers(&self, phone: &Phone, event: &str, verb: &str) -> Answer {
        self.answers_with(phone, event, json!({"verb": verb})).await
    }

    /// With a verb, and with a number where one is asked for.
    async fn answers_with(&self, phone: &Phone, event: &str, mut about: Value) -> Answer {
        (about["type"], about["event"]) = (json!("identity_verification"), json!(event));
        let path = format!("{W}/phone/requests/identity_verification/{event}/answer");
        self.call("POST", &path).json(&self.statement(phone, DECISION_TYPE, &about)).answer().await
    }
}

/// Somebody signs in as Jonas.
pub async fn asks(policy: &Policy, event: &str) -> Projection {
    let request = sign_in(&person("acme", "jonas"), event, SystemClock.now().minus(Duration::from_secs(1)));
    policy.requests().project(&request, SystemClock.now()).await.unwrap();
    request
}

async fn served(policy: Policy) -> Served {
    Served::with(policy, |api| api.devices.answer_wait_ms = 50).await
}

over_both! {
    /// A new hire, from signing in to an answer: the phone is registered, reached, and approves once it may; upstream hears once, and the phone is told
    /// whether upstream's log has it.
    async fn new_hire(policy: Policy) {
        let served = served(policy.clone()).await;
        let mut phone = Phone::new("token-1");
        let registered = served.register(&mut phone).await;
        assert_eq!(registered.body["state"], "receive_only");
        assert_eq!((&registered.body["reach"], &registered.body["waits"], &registered.body["again"]), (&json!(true), &json!(false), &json!(false)));
        assert_eq!(served.promote(&phone, json!({})).await.problem(), "not-reachable");
        assert_eq!(served.reach(&phone).await.body, json!({"state": "receive_only", "replaced": []}));
        asks(&policy, "e1").await;
        let pending = served.by_phone(&phone, "GET", &format!("{W}/phone/requests")).answer().await;
        assert_eq!(pending.body["requests"][0]["event"], "e1");
        let detail = served.by_phone(&phone, "GET", &format!("{W}/phone/requests/identity_verification/e1")).answer().await;
        assert_eq!(detail.body["detail"]["location"], "Lisbon");
        assert_eq!(served.answers(&phone, "e1", "approve").await.problem(), "cannot-approve");
        assert_eq!(served.promote(&phone, json!({})).await.status, 403, "a session is not enough");

        let ticket = served.call_as("admin", "POST", &format!("{W}/users/jonas/tickets")).answer().await;
        let promoted = served.promote(&phone, json!({"ticket": ticket.body["ticket"]})).await;
        assert_eq!(promoted.body, json!({"state": "approver", "way": "ticket"}));
        let recorded = served.answers(&phone, "e1", "approve").await;
        assert_eq!((recorded.status, &recorded.body["published"]), (202, &json!(false)));
        let decisions = published(&policy).await.decisions();
        assert_eq!(heard(&decisions, "e1").split_off(1), ["Approve"]);
        let again = served.answers(&phone, "e1", "approve").await;
        assert_eq!((again.status, &again.body["decision"]), (200, &recorded.body["decision"]), "signed anew, answered alike");
        let otherwise = served.answers(&phone, "e1", "deny").await;
        assert_eq!((otherwise.status, otherwise.problem(), &otherwise.body["verb"]), (409, "answered", &json!("approve")));
        assert_eq!(otherwise.body["device_name"], "My phone");
        assert_eq!(otherwise.body["detail"], "This was approved already, from My phone.");
        let late = served.answers(&phone, "e2", "deny").await;
        assert_eq!((late.status, late.problem(), late.header("retry-after")), (503, "request-not-here", "1"));
        let seen = json!({"shown": [{"type": "identity_verification", "event": "e1"}]});
        let seen = served.by_phone(&phone, "POST", &format!("{W}/phone/seen")).json(&seen).answer().await;
        assert_eq!(seen.body, json!({"taken": 1}));
        let recent = served.get("user", &format!("{W}/me/recent")).await.body;
        assert!(recent["items"].as_array().unwrap().iter().any(|item| item["what"] == "seen"), "{recent}");
    }

    /// Three wrong numbers deny a request, which upstream hears without a statement. That phone's own denial after that agrees with it, and
    /// changes nothing of what upstream heard; everything else is too late.
    async fn numbers_are_used_up(policy: Policy) {
        let served = served(policy.clone()).await;
        let phone = served.approver().await;
        let at = SystemClock.now().minus(Duration::from_secs(1));
        let asks = Projection { match_number: MatchNumber::new("042137"), ..sign_in(&person("acme", "jonas"), "e1", at) };
        policy.requests().project(&asks, SystemClock.now()).await.unwrap();
        let types = async |number: &str| served.answers_with(&phone, "e1", json!({"verb": "approve", "number": number})).await;
        assert_eq!(served.answers(&phone, "e1", "approve").await.problem(), "number-missing");
        for left in [2, 1] {
            let wrong = types("111111").await;
            assert_eq!((wrong.status, wrong.problem(), &wrong.body["left"]), (409, "number-wrong", &json!(left)));
        }
        let used_up = types("111111").await;
        assert_eq!((used_up.status, used_up.problem()), (409, "numbers-used-up"));
        assert!(used_up.body["detail"].as_str().unwrap().contains("3 times"), "{}", used_up.text);
        for late in [types("042137").await, served.answers(&phone, "e1", "deny_not_me").await] {
            assert_eq!((late.status, late.problem(), &late.body["verb"]), (409, "answered", &json!("deny")));
        }
        assert_eq!(served.answers(&phone, "e1", "deny").await.status, 202);
        let decisions = published(&policy).await.decisions();
        assert_eq!(heard(&decisions, "e1").split_off(1), ["Deny"]);
        let Some(wire::decision::Body::Decided(decided)) = &decisions[1].body else { panic!("{decisions:?}") };
        assert_eq!((decided.jws.as_str(), decided.key_thumbprint.as_str(), decided.key_jwk.as_str()), ("", "", ""));
        let denied = served.answers(&phone, "e1", "deny").await;
        assert_eq!((denied.status, &denied.body["decision"], &denied.body["published"]), (200, &json!(decisions[1].decision_id), &json!(true)));
        assert_eq!(published(&policy).await.decisions().len(), 0, "nothing more is told");
    }

    /// A proof counts for one request, once, by a key that counts: nothing else lets a phone in, and a wrong clock is told the right time.
    async fn who_only_says_that_they_are_a_phone(policy: Policy) {
        let served = served(policy.clone()).await;
        let phone = served.approver().await;
        let path = format!("{W}/phone/requests");
        let show = async |proof: &str| served.call("GET", &path).header("dpop", proof).answer().await;
        let proof = served.proof(&phone, ("GET", &path), &json!({}));
        assert_eq!(show(&proof).await.status, 200);
        assert_eq!(show(&proof).await.problem(), "proof-used");
        assert_eq!(served.call_as("user", "GET", &path).answer().await.problem(), "no-proof");
        for (made_for, more, flaw) in [
            (("POST", path.as_str()), json!({}), "request"),
            (("GET", "/v1/workspaces/acme/phone/seen"), json!({}), "request"),
            (("GET", path.as_str()), json!({"iat": now_s() - 600}), "time"),
        ] {
            let refused = show(&served.proof(&phone, made_for, &more)).await;
            assert_eq!((refused.status, refused.problem(), &refused.body["flaw"]), (401, "bad-proof", &json!(flaw)));
            assert!((refused.body["server_time"].as_i64().unwrap() - now_s()).abs() < 60);
        }
        let thief = Phone { id: phone.id.clone(), ..Phone::new("x") };
        assert_eq!(show(&served.proof(&thief, ("GET", &path), &json!({}))).await.body["flaw"], "signature");
        let stranger = Phone { id: Some(watchbell::event::DeviceId::new("nobody").unwrap()), ..Phone::new("x") };
        assert_eq!(show(&served.proof(&stranger, ("GET", &path), &json!({}))).await.problem(), "unknown-phone");
        let other = path.replace("acme", "globex");
        let elsewhere = served.by_phone(&phone, "GET", &other).answer().await;
        assert_eq!(elsewhere.problem(), "unknown-phone");
        asks(&policy, "e1").await;
        asks(&policy, "e2").await;
        let about = json!({"type": "identity_verification", "event": "e1", "verb": "approve"});
        let elsewhere = format!("{path}/identity_verification/e2/answer");
        let moved = served.call("POST", &elsewhere).json(&served.statement(&phone, DECISION_TYPE, &about)).answer().await;
        assert_eq!((moved.problem(), &moved.body["flaw"]), ("bad-statement", &json!("subject")));

        let reset = served.call_as("admin", "POST", &format!("{W}/users/jonas/devices/reset")).answer().await;
        assert_eq!(reset.body["devices"], json!([phone.id().as_str()]));
        assert_eq!(show(&served.proof(&phone, ("GET", &path), &json!({}))).await.problem(), "unknown-phone");
        assert_eq!(served.answers(&phone, "e1", "approve").await.problem(), "unknown-phone");
    }

    /// A registration that is sent again is answered as it was, to the letter, while nothing changed: of a phone that has to be reached, of one
    /// that waits for its token, and of one that was known. No push is sent twice for it. Once it was reached, that is what it is told.
    async fn a_registration_is_answered_as_it_was(policy: Policy) {
        let served = served(policy).await;
        served.approver().await;
        for (token, waits) in [("token-2", false), ("token-1", true)] {
            let mut phone = Phone::new(token);
            let first = served.registers(&phone, token).await;
            let said = ["again", "reach", "waits"].map(|member| first.body[member].as_bool().unwrap());
            assert_eq!((first.status, said), (200, [false, true, waits]), "{}", first.text);
            let pushed = served.pushed.take();
            assert_eq!(served.registers(&phone, token).await.body, first.body);
            let known = served.registers(&phone, &format!("{token}-known")).await;
            assert_eq!((&known.body["again"], &known.body["device"]), (&json!(true), &first.body["device"]));
            assert_eq!(served.registers(&phone, &format!("{token}-known")).await.body, known.body);
            assert_ne!(served.pushed.take().nonce, pushed.nonce, "that of the second one");

            phone.id = Some(watchbell::event::DeviceId::new(first.body["device"].as_str().unwrap()).unwrap());
            let call = served.by_phone(&phone, "POST", &format!("{W}/phone/reached"));
            assert_eq!(call.json(&json!({"nonce": pushed.nonce.expose()})).status().await, 200);
            phone.id = None;
            let reached = served.registers(&phone, token).await;
            assert_eq!([&reached.body["reach"], &reached.body["waits"]], [&json!(false), &json!(false)]);
        }
    }

    /// A second phone by the digits that it shows, a key that rolls, and the list in which its person sees it all.
    async fn second_phone(policy: Policy) {
        let served = served(policy.clone()).await;
        let (first, mut second) = (served.approver().await, Phone::new(&"f".repeat(64)));
        served.register(&mut second).await;
        served.reach(&second).await;
        let shown = served.by_phone(&second, "POST", &format!("{W}/phone/digits")).answer().await;
        let vouch = async |digits: &Value| {
            let word = served.statement(&first, PROMOTION_TYPE, &json!({"device": second.id().as_str(), "number": digits}));
            served.by_phone(&first, "POST", &format!("{W}/phone/promotions")).json(&word).answer().await
        };
        let digits = shown.body["digits"].as_str().unwrap();
        let wrong = if digits == "000000" { "000001" } else { "000000" };
        let refused = vouch(&json!(wrong)).await;
        assert_eq!((refused.problem(), &refused.body["left"]), ("digits-wrong", &json!(2)));
        assert_eq!(vouch(&json!(digits)).await.body, json!({"state": "approver", "way": "approver"}));

        let next = second.with_new_key();
        let roll = served.statement(&second, KEY_TYPE, &json!({"jwk": next.jwk()}));
        let path = format!("{W}/phone/key");
        let carried = Phone { id: None, ..next.clone() };
        let rolled = served.by_phone(&carried, "POST", &path).json(&roll).answer().await;
        assert_eq!(rolled.body, json!({"thumbprint": next.thumbprint()}));
        asks(&policy, "e1").await;
        assert_eq!(served.answers(&second, "e1", "approve").await.body["flaw"], "signature", "the old key");
        assert_eq!(served.answers(&next, "e1", "approve").await.status, 202);

        let listed = served.get("user", &format!("{W}/me/devices")).await;
        let devices = listed.body["devices"].as_array().unwrap();
        assert_eq!(devices.iter().map(|device| &device["state"]).collect::<Vec<_>>(), ["approver", "approver"]);
        assert_eq!(devices[1]["pushes"]["token_end"], "ffff");
        assert!(!listed.text.contains("fffff"));
        let path = format!("{W}/me/devices/{}", second.id());
        let stale = served.call_as("user", "PUT", &format!("{path}/name")).header("if-match", "\"u1\"");
        assert_eq!(stale.json(&json!({"name": "Old"})).status().await, 412);
        let named = served.call_as("user", "PUT", &format!("{path}/name")).header("if-match", listed.header("etag"));
        assert_eq!(named.json(&json!({"name": "New"})).answer().await.body["devices"][1]["name"], "New");
        let removed = served.call_as("user", "DELETE", &path).answer().await;
        assert_eq!(removed.body["approvers_left"], 1);
        let last = format!("{W}/me/devices/{}", first.id());
        assert_eq!(served.call_as("user", "DELETE", &last).answer().await.problem(), "last-approver");
        let unsure = served.call_as("user", "DELETE", &format!("{last}?even_the_last=maybe")).answer().await;
        assert_eq!((unsure.status, unsure.problem()), (400, "wrong-query"));
        assert_eq!(served.call_as("user", "DELETE", &format!("{last}?even_the_last=true")).status().await, 200);
    }
}
