//! Who has no key, or no room: what they may make the service do, which is to look, a bounded number of times, and never to write.
use serde_json::json;
use watchbell::event::DeviceId;
use watchbell::people::signed::{DECISION_TYPE, KEY_TYPE};
use watchbell::store::Policy;

use super::phones::asks;
use super::support::Served;
use crate::people::phones::Phone;
use crate::store_support::{Place, over_both};

const W: &str = "/v1/workspaces/acme";

/// Proofs that are remembered as used.
async fn spent(place: &Place) -> usize {
    place.dump(&["used_proofs"]).await.len()
}

over_both! {
    /// Keys cost nothing to make. One that nobody spoke for writes nothing, whatever the statement is that comes with it.
    async fn a_key_of_nobody_writes_nothing(policy: Policy, place: &Place) {
        let served = Served::new(policy).await;
        let phone = served.approver().await;
        let (before, path) = (spent(place).await, format!("{W}/phone/key"));
        let thief = Phone { id: phone.id.clone(), ..Phone::new("x") };
        let next = Phone { id: None, ..Phone::new("y") };
        let about = json!({"jwk": next.jwk()});
        let forged = thief.statement_for(&served.url, "jonas", KEY_TYPE, &about);
        let of_another = phone.statement_for(&served.url, "nina", KEY_TYPE, &about);
        for (statement, flaw) in [(json!({"jws": "x"}), "malformed"), (forged, "signature"), (of_another, "subject")] {
            let refused = served.by_phone(&next, "POST", &path).json(&statement).answer().await;
            assert_eq!((refused.problem(), &refused.body["flaw"]), ("bad-statement", &json!(flaw)));
        }
        assert_eq!(spent(place).await, before);
        let statement = phone.statement_for(&served.url, "jonas", KEY_TYPE, &about);
        let proof = next.proof_for(&served.url, ("POST", &path), &json!({}));
        let roll = || served.call("POST", &path).header("dpop", &proof).json(&statement).answer();
        assert_eq!((roll().await.status, spent(place).await), (200, before + 1));
        // The statement is the old key's, which signs for nobody now.
        assert_eq!((roll().await.problem(), spent(place).await), ("bad-statement", before + 1));
    }

    /// A phone that has no room left writes nothing: its proof is not used up, and counts when there is room.
    async fn a_phone_without_room_writes_nothing(policy: Policy, place: &Place) {
        let served = Served::with(policy, |api| (api.requests_per_minute, api.requests_burst) = (60, 8)).await;
        let phone = served.approver().await;
        let path = format!("{W}/phone/requests");
        let mut statuses = Vec::new();
        while statuses.last() != Some(&429) && statuses.len() < 50 {
            statuses.push(served.by_phone(&phone, "GET", &path).status().await);
        }
        let written = spent(place).await;
        let refused = served.by_phone(&phone, "GET", &path).answer().await;
        assert_eq!((refused.status, refused.problem()), (429, "too-many-requests"), "{statuses:?}");
        assert_eq!(spent(place).await, written);
    }

    /// A proof that is shown many times at once counts once.
    async fn a_proof_that_is_shown_at_once_counts_once(policy: Policy) {
        let served = Served::new(policy).await;
        let phone = served.approver().await;
        let path = format!("{W}/phone/requests");
        for _ in 0..4 {
            let proof = phone.proof_for(&served.url, ("GET", &path), &json!({}));
            let shown = (0..8).map(|_| served.call("GET", &path).header("dpop", &proof).answer());
            let answers = futures_util::future::join_all(shown).await;
            let let_in = answers.iter().filter(|answer| answer.status == 200).count();
            assert_eq!(let_in, 1, "{answers:?}");
            assert!(answers.iter().all(|answer| answer.status == 200 || answer.problem() == "proof-used"));
        }
    }

    /// Whoever reads what upstream hears shows a phone's answer again, there and at the address of what is open: the phone answers all the same.
    async fn an_old_answer_takes_no_room(policy: Policy) {
        let served = Served::with(policy.clone(), |api| {
            (api.requests_per_minute, api.requests_burst, api.devices.answer_wait_ms) = (1, 8, 0);
        });
        let served = served.await;
        let phone = served.approver().await;
        asks(&policy, "e1").await;
        let address = |event: &str| format!("{W}/phone/requests/identity_verification/{event}/answer");
        let about = json!({"type": "identity_verification", "event": "e1", "verb": "approve"});
        let read = phone.statement_for(&served.url, "jonas", DECISION_TYPE, &about);
        assert_eq!(served.call("POST", &address("e1")).json(&read).status().await, 202);
        asks(&policy, "e2").await;
        let mut shown = Vec::new();
        for event in ["e1", "e2"].repeat(6) {
            shown.push(served.call("POST", &address(event)).json(&read).status().await);
        }
        assert_eq!(shown, [202, 422, 202, 422, 202, 422, 202, 422, 429, 429, 429, 429]);
        assert_eq!(served.answers(&phone, "e2", "approve").await.status, 202);
        assert_eq!(served.by_phone(&phone, "GET", &format!("{W}/phone/requests")).status().await, 200);
        let again = served.answers(&phone, "e2", "approve").await;
        assert_eq!((again.status, again.problem()), (429, "too-many-requests"), "who asks again waits, too");
    }

    /// An app whose phone was retired goes on asking, with its key and with old answers: it is told so, takes its own room, and is none of those
    /// who make up names. Whoever has another key is, and is told the same.
    async fn a_retired_phone_is_no_stranger(policy: Policy) {
        let served = Served::with(policy, |api| {
            (api.requests_per_minute, api.requests_burst, api.unproved_per_minute) = (1, 8, 3);
        });
        let served = served.await;
        let phone = served.approver().await;
        assert_eq!(served.call_as("admin", "POST", &format!("{W}/users/jonas/devices/reset")).status().await, 200);
        let path = format!("{W}/phone/requests");
        let ask = async |phone: &Phone| served.by_phone(phone, "GET", &path).answer().await.problem().to_owned();
        let mut told = Vec::new();
        for _ in 0..9 {
            told.push(ask(&phone).await);
        }
        // Two of its eight calls said that a push had come, and asked to be promoted.
        assert_eq!(told[..6].to_vec(), vec!["unknown-phone"; 6]);
        assert_eq!(told[6..].to_vec(), vec!["too-many-requests"; 3]);
        for _ in 0..5 {
            assert_eq!(served.answers(&phone, "e1", "deny").await.problem(), "unknown-phone");
        }
        let nobody = Phone { id: Some(DeviceId::new("nobody").unwrap()), ..Phone::new("x") };
        let impostor = Phone { id: phone.id.clone(), ..Phone::new("x") };
        let told = [ask(&nobody).await, ask(&impostor).await, served.answers(&impostor, "e1", "deny").await.problem().to_owned()];
        assert_eq!(told, ["unknown-phone", "unknown-phone", "unknown-phone"]);
        assert_eq!([ask(&nobody).await, ask(&nobody).await], ["unknown-phone", "busy"]);
    }

    /// Names of phones that are made up, and signatures that are, are looked at so many times. Then a phone that proved itself here is let in
    /// all the same; any other is told to wait.
    async fn made_up_names_are_looked_at_so_many_times(policy: Policy) {
        let served = Served::with(policy, |api| api.unproved_per_minute = 3).await;
        let phone = served.approver().await;
        let path = format!("{W}/phone/requests");
        let thief = Phone { id: phone.id.clone(), ..Phone::new("x") };
        let of_nobody = |n: u32| Phone { id: Some(DeviceId::new(format!("nobody-{n}")).unwrap()), ..Phone::new("x") };
        let mut told = vec![served.by_phone(&thief, "GET", &path).answer().await.problem().to_owned()];
        for n in 0..5 {
            told.push(served.by_phone(&of_nobody(n), "GET", &path).answer().await.problem().to_owned());
        }
        let expected = ["bad-proof", "unknown-phone", "unknown-phone", "unknown-phone", "busy", "busy"];
        assert_eq!(told, expected);
        let statement = json!({"type": "identity_verification", "event": "e1", "verb": "deny"});
        let statement = of_nobody(9).statement_for(&served.url, "jonas", DECISION_TYPE, &statement);
        let answer = format!("{path}/identity_verification/e1/answer");
        let busy = served.call("POST", &answer).json(&statement).answer().await;
        assert_eq!((busy.status, busy.problem(), busy.header("retry-after")), (503, "busy", "1"));
        assert_eq!(served.by_phone(&phone, "GET", &path).status().await, 200);
        assert_eq!(served.get("user", "/v1/me").await.status, 200, "whoever signed in is no phone");
    }
}
