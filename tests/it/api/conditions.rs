//! Who acts on a person's devices as they saw them is told when they are not so any more: 412, and nothing was done.
use serde_json::{Value, json};
use watchbell::seam::{Clock as _, SystemClock};
use watchbell::store::Policy;

use super::phones::asks;
use super::support::{Answer, Call, Served};
use crate::people::phones::Phone;
use crate::people::support::sign_in;
use crate::store_support::{over_both, person};

const W: &str = "/v1/workspaces/acme";
const THEIRS: &str = "/v1/workspaces/acme/users/jonas/devices";
const OWN: &str = "/v1/workspaces/acme/me/devices";
const PREFERENCES: &str = "/v1/workspaces/acme/me/preferences";

impl Served {
    /// The tag of Jonas' devices.
    async fn tag(&self) -> String {
        self.get("user", OWN).await.header("etag").to_owned()
    }

    /// Somebody changes something about Jonas' devices, here the name of that phone; returns the tag that was true before.
    async fn changed_meanwhile(&self, phone: &Phone) -> String {
        let before = self.tag().await;
        let named = self.put("user", &format!("{OWN}/{}/name", phone.id()), json!({"name": before})).await;
        assert_eq!((named.status, named.header("etag")), (200, self.tag().await.as_str()));
        before
    }

    fn report(&self, phone: &Phone) -> Call<'_> {
        let report = json!({"platform": "apns", "app": "com.example.app", "token": phone.token, "locale": "de", "model": "Pixel 9"});
        self.by_phone(phone, "PUT", &format!("{W}/phone")).json(&report)
    }

    async fn locale(&self) -> Value {
        self.get("user", OWN).await.body["devices"][0]["pushes"]["locale"].clone()
    }
}

fn is_stale(answer: &Answer) {
    assert_eq!((answer.status, answer.problem()), (412, "changed-meanwhile"), "{}", answer.text);
}

over_both! {
    /// A reset, a removal, a ticket: of what an admin saw, or of nothing. Each answer has the tag that is true then.
    async fn an_old_view_of_somebodys_devices(policy: Policy) {
        let served = Served::new(policy).await;
        let phone = served.approver().await;
        let old = served.changed_meanwhile(&phone).await;
        let admin = |method: &str, path: &str, tag: &str| served.call_as("admin", method, path).header("if-match", tag);
        let (ticket, reset) = (format!("{W}/users/jonas/tickets"), format!("{THEIRS}/reset"));
        let removal = format!("{THEIRS}/{}?even_the_last=true", phone.id());
        for (method, path) in [("POST", &ticket), ("POST", &reset), ("DELETE", &removal)] {
            is_stale(&admin(method, path, &old).answer().await);
        }
        let operator = served.call_as("operator", "POST", &ticket).header("if-match", &old).answer().await;
        is_stale(&operator);
        let seen = served.get("admin", THEIRS).await;
        assert_eq!(seen.body["devices"].as_array().unwrap().len(), 1, "nothing was done");
        let issued = admin("POST", &ticket, seen.header("etag")).answer().await;
        assert_eq!((issued.status, issued.header("etag")), (200, seen.header("etag")), "a ticket changes no device");
        let removed = admin("DELETE", &removal, seen.header("etag")).answer().await;
        assert_eq!((removed.status, removed.header("etag")), (200, served.tag().await.as_str()));
        is_stale(&admin("POST", &reset, seen.header("etag")).answer().await);
        let reset_now = admin("POST", &reset, removed.header("etag")).answer().await;
        assert_eq!((reset_now.status, reset_now.header("etag")), (200, served.tag().await.as_str()));
        assert_eq!(served.call_as("admin", "POST", &reset).header("if-match", "*").status().await, 200);
        assert_eq!(served.call_as("admin", "POST", &reset).status().await, 200, "who says nothing means whatever is there");
    }

    /// A phone's report and its promotion: with the tag of the last report, or of the list.
    async fn an_old_view_by_the_phone_itself(policy: Policy) {
        let served = Served::new(policy).await;
        let mut phone = Phone::new("token-1");
        served.register(&mut phone).await;
        served.reach(&phone).await;
        let old = served.changed_meanwhile(&phone).await;
        is_stale(&served.report(&phone).header("if-match", &old).answer().await);
        assert_eq!(served.locale().await, "en-US");
        let taken = served.report(&phone).header("if-match", &served.tag().await).answer().await;
        assert_eq!((taken.status, taken.header("etag")), (200, served.tag().await.as_str()));
        assert_eq!(served.locale().await, "de");
        let again = served.report(&phone).header("if-match", taken.header("etag")).answer().await;
        assert_eq!((again.status, again.header("etag")), (200, taken.header("etag")), "it says nothing new");
        let old = served.changed_meanwhile(&phone).await;

        let ticket = served.call_as("admin", "POST", &format!("{W}/users/jonas/tickets")).answer().await;
        let path = format!("{OWN}/{}/promotion", phone.id());
        let promote = |tag: &str| {
            let proof = phone.proof_for(&served.url, ("POST", &path), &json!({}));
            let call = served.call_as("user", "POST", &path).header("dpop", &proof).header("if-match", tag);
            call.json(&json!({"ticket": ticket.body["ticket"]})).answer()
        };
        is_stale(&promote(&old).await);
        let promoted = promote(&served.tag().await).await;
        assert_eq!((promoted.status, promoted.header("etag")), (200, served.tag().await.as_str()), "{}", promoted.text);
    }

    /// Whoever makes a phone quiet does so with the list of devices before them: its tag counts, that of the preferences does not.
    async fn an_old_view_of_a_phone_that_is_made_quiet(policy: Policy) {
        let served = Served::new(policy).await;
        let phone = served.approver().await;
        let old = served.changed_meanwhile(&phone).await;
        let path = format!("{OWN}/{}/quiet", phone.id());
        let quiet = |tag: &str| {
            served.call_as("user", "PUT", &path).header("if-match", tag).json(&json!({"quiet": true})).answer()
        };
        is_stale(&quiet(&old).await);
        is_stale(&quiet(served.get("user", PREFERENCES).await.header("etag")).await);
        let done = quiet(&served.tag().await).await;
        assert_eq!((done.status, done.header("etag")), (200, served.tag().await.as_str()), "{}", done.text);
    }

    /// `…/me/…` is one address for everybody. What another person was shown is not what one has, and what they saw not what one saw, though
    /// both are in the same state.
    async fn another_persons_tag_is_nobodys(policy: Policy) {
        let served = Served::new(policy.clone()).await;
        for user in ["jonas", "benita"] {
            let now = SystemClock.now();
            policy.requests().project(&sign_in(&person("acme", user), "e1", now), now).await.unwrap();
        }
        let request = format!("{W}/me/requests/identity_verification/e1");
        let tag = async |persona: &str, path: &str| served.get(persona, path).await.header("etag").to_owned();
        for path in [OWN, PREFERENCES, &request] {
            let theirs = tag("user", path).await;
            let read = |persona| served.call_as(persona, "GET", path).header("if-none-match", &theirs).status();
            assert_eq!((read("user").await, read("admin").await), (304, 200), "{path}");
        }
        let (theirs, own) = (tag("user", PREFERENCES).await, tag("admin", PREFERENCES).await);
        let off = format!("{PREFERENCES}/otp_received");
        let switch = |tag: &str| {
            served.call_as("admin", "PUT", &off).header("if-match", tag).json(&json!({"preference": "off"})).answer()
        };
        is_stale(&switch(&theirs).await);
        let all = format!("{PREFERENCES}/turn-off-all");
        is_stale(&served.call_as("admin", "POST", &all).header("if-match", &theirs).answer().await);
        let reset = |tag: &str| served.call_as("admin", "POST", &format!("{THEIRS}/reset")).header("if-match", tag).answer();
        is_stale(&reset(&tag("admin", OWN).await).await);
        assert_eq!(switch(&own).await.status, 200);
        assert_eq!(reset(&tag("admin", THEIRS).await).await.status, 200);
    }

    /// One request, as a phone reads it, has a tag: who has it already gets no body, until it ended.
    async fn a_phone_reads_a_request_again(policy: Policy) {
        let served = Served::with(policy.clone(), |api| api.devices.answer_wait_ms = 50).await;
        let phone = served.approver().await;
        asks(&policy, "e1").await;
        let path = format!("{W}/phone/requests/identity_verification/e1");
        let first = served.by_phone(&phone, "GET", &path).answer().await;
        let again = || served.by_phone(&phone, "GET", &path).header("if-none-match", first.header("etag")).answer();
        assert_eq!((first.status, again().await.status), (200, 304));
        assert_eq!(served.answers(&phone, "e1", "deny").await.status, 202);
        let ended = again().await;
        assert_eq!((ended.status, ended.header("etag") == first.header("etag")), (200, false));
    }
}
