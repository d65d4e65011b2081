//! Phones without an API: what they sign counts, what arrives wakes them, and the control endpoint says what is wrong.
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::*;
use crate::event::Timestamp;
use crate::people::signed::{Asked, DeviceKey, Flaw, SignedAnswer, Unchecked, UncheckedProof};
use crate::sandbox::testing::{H2, TOPIC, call, now_s, start, token, within};

const URL: &str = "https://w.example/v1/workspaces/acme/phone/requests";

/// Whoever verifies believes it, and shares no code with who signed.
#[test]
fn what_a_phone_signs_counts() {
    let (phone, stranger) = (PhoneKey::generate().unwrap(), PhoneKey::generate().unwrap());
    let [key, other] = [&phone, &stranger].map(|key| DeviceKey::from_jwk(&key.jwk().to_string()).unwrap());
    assert_eq!(key.thumbprint(), phone.thumbprint());
    let now = Timestamp::from_secs(now_s());
    let asked = Asked { method: "GET", url: URL, nonce: Some("n"), now, window: Duration::from_secs(60) };
    for device in [None, Some("device-1")] {
        let proof = phone.proof(device, ("GET", URL), &json!({"nonce": "n"})).unwrap();
        let read = UncheckedProof::read(&proof).unwrap();
        assert_eq!(read.clone().verify(&key, &asked).map(|proof| proof.key), Ok(key));
        assert_eq!(read.verify(&other, &asked), Err(Flaw::Signature));
    }
    let about = json!({"aud": "https://w.example", "workspace": "acme", "user": "auth0|ada",
        "type": "identity_verification", "event": "e1", "verb": "deny"});
    let answer = phone.statement("device-1", super::key::DECISION, &about).unwrap();
    let answer = Unchecked::<SignedAnswer>::read(&answer).unwrap();
    assert!(answer.clone().verify(&key, "https://w.example").is_ok());
    assert_eq!(answer.verify(&other, "https://w.example").err(), Some(Flaw::Signature));
    assert_eq!(format!("{phone:?}"), format!("PhoneKey({})", phone.thumbprint()), "no private half prints");
}

/// There is none until one is made; a push for its token is on its screen, a withdrawal takes it off, and nobody else is woken.
#[tokio::test]
async fn a_push_wakes_its_phone() {
    let sandbox = start(|config| config.apns.strict_tokens = true).await;
    assert_eq!(call(&sandbox, Method::GET, "/phones", None).await.1, json!([]));
    let make = json!({"persona": "user", "platform": "apns", "model": "iPhone 17"});
    let (status, made) = call(&sandbox, Method::PUT, "/phones/a", Some(make.clone())).await;
    assert_eq!(
        (status, &made["user"], &made["state"], &made["jwk"]["d"]),
        (201, &json!("jonas"), &json!(""), &Value::Null)
    );
    call(&sandbox, Method::PUT, "/phones/b", Some(make)).await;
    let h2 = H2::connect(&sandbox, &sandbox.apns_url()).await;
    let push = async |kind: &str| {
        let body = json!({"aps": {"alert": {"title": "Code", "body": "for you"}, "category": "watchbell.inform"},
            "kind": kind, "type": "otp_received", "event_id": "e1", "expires_at": now_s() + 60});
        let bearer = format!("bearer {}", token(&sandbox, 0, 0));
        let uri = format!("{}/3/device/{}", sandbox.apns_url(), made["token"].as_str().unwrap());
        let sent = [("authorization", bearer.as_str()), ("apns-topic", TOPIC)];
        assert_eq!(h2.ask(&uri, &sent, body.to_string().as_bytes()).await.unwrap().status, 200);
    };
    let did = async |number: usize| loop {
        let log = sandbox.phones().log_since(0);
        if log.len() >= number {
            return log.into_iter().map(|entry| (entry.phone, entry.did, entry.what.title)).collect::<Vec<_>>();
        }
        tokio::task::yield_now().await;
    };
    push("show").await;
    let shown = ("a".to_owned(), Did::Showed, "Code".to_owned());
    assert_eq!(within(did(1)).await, std::slice::from_ref(&shown));
    let (_, view) = call(&sandbox, Method::GET, "/phones/a", None).await;
    assert_eq!(
        view["phone"]["screen"],
        json!([{"type": "otp_received", "event": "e1", "title": "Code", "body": "for you"}])
    );
    assert_eq!(view["log"][0]["did"], "showed");
    push("withdraw").await;
    assert_eq!(within(did(2)).await[1].1, Did::TookAway);
    assert_eq!(sandbox.phones().view("a").unwrap().screen, []);
}

/// Each mistake is a sentence that says what to do.
#[tokio::test]
async fn mistakes_are_told() {
    let sandbox = start(|_| {}).await;
    let make = json!({"persona": "user", "platform": "fcm"});
    call(&sandbox, Method::PUT, "/phones/a", Some(make.clone())).await;
    let nobody = format!("http://127.0.0.1:{}", 1);
    for (method, path, body, part) in [
        (Method::PUT, "/phones/x", json!({"persona": "nobody", "platform": "fcm"}), "there is no persona nobody"),
        (Method::PUT, "/phones/x", json!({"persona": "user", "platform": "fcm", "colour": 1}), "unknown field"),
        (Method::POST, "/phones/x/enrol", json!({"api": nobody, "workspace": "acme"}), "there is no phone x"),
        (Method::POST, "/phones/a/enrol", json!({"api": nobody, "workspace": "acme"}), "does not answer"),
        (Method::POST, "/phones/a/answer", json!({"answer": "approve"}), "nothing on a's screen"),
        (
            Method::POST,
            "/phones/a/answer",
            json!({"answer": "deny", "type": "trusted_device", "event": "e"}),
            "not enrolled",
        ),
        (Method::POST, "/phones/a/refresh", json!({}), "not enrolled"),
        (Method::PUT, "/phones/a/behaviour", json!({"answer": "maybe"}), "unknown variant"),
    ] {
        let (status, said) = call(&sandbox, method, path, Some(body)).await;
        assert!(status == 400 && said["error"].as_str().unwrap().contains(part), "{path}: {status} {said}");
    }
    let behaviour = json!({"answer": "approve", "number": "042137", "times": 1});
    assert_eq!(call(&sandbox, Method::PUT, "/phones/a/behaviour", Some(behaviour)).await.0, 204);
    let (_, view) = call(&sandbox, Method::GET, "/phones/a", None).await;
    assert!(view["phone"]["answers"] == "approve" && !view.to_string().contains("042137"), "{view}");
    assert_eq!(call(&sandbox, Method::DELETE, "/phones/a", None).await.0, 204);
    assert_eq!(call(&sandbox, Method::DELETE, "/phones/a", None).await.0, 404);
    call(&sandbox, Method::PUT, "/phones/a", Some(make)).await;
    call(&sandbox, Method::POST, "/reset", None).await;
    assert_eq!(sandbox.phones().names(), [""; 0]);
}
