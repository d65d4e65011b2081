//! Everything real: a phone that its person does not know is set up, and every phone that ought to hear of it does.
use serde_json::{Value, json};
use watchbell::event::DeviceId;
use watchbell::policy::Platform;

use super::process::{call, config, stage};
use crate::people::phones::Phone;
use crate::support::process::Watchbell;
use crate::support::stage::{APP, CEILING, Stage, device, token_of};
use crate::support::{SOON, block_on, eventually};

/// What phones know the API by, whatever port it has here.
const PUBLIC: &str = "http://localhost:8081";
const W: &str = "/v1/workspaces/acme";

/// A call with a proof, and with the sign-in of that persona if it has one.
fn prove(
    api: &Watchbell,
    stage: &Stage,
    (phone, persona): (&Phone, Option<&str>),
    (method, path): (&str, &str),
    (more, body): (Value, Option<Value>),
) -> (u16, Value) {
    let proof = phone.proof_for(PUBLIC, (method, path), &more);
    let token = persona.map(|persona| stage.sandbox.issuer().token(persona).unwrap());
    let url = format!("http://127.0.0.1:{}{path}", api.api_port);
    block_on(async {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = reqwest::Client::new().request(method, url).header("dpop", proof);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    })
}

/// The payload of the last push of that kind which a phone got.
fn pushed(stage: &Stage, token: &str, kind: &str) -> Option<Value> {
    let device = stage.sandbox.apns().device(token)?;
    let push = device.received.iter().rev().find(|push| push.payload["kind"] == kind)?;
    Some(push.payload.clone())
}

/// The notice that a phone got of that.
fn told(stage: &Stage, token: &str, what: &str) -> Value {
    eventually(what, CEILING, || pushed(stage, token, "notice").filter(|payload| payload["notice"] == what))
}

/// Jonas signs in on a phone, and it is reached.
fn enrol(api: &Watchbell, stage: &Stage, name: &str) -> Phone {
    let (mut phone, jonas) = (Phone::new(&token_of(name)), Some("user"));
    let path = format!("{W}/me/devices");
    let challenge = prove(api, stage, (&phone, jonas), ("POST", &format!("{path}/challenges")), (json!({}), None)).1;
    let challenge = &challenge["challenge"];
    let report = json!({"platform": "apns", "app": APP, "token": phone.token, "locale": "de", "model": "iPhone 17"});
    let body = json!({"challenge": challenge, "report": report, "name": name});
    let (status, registered) =
        prove(api, stage, (&phone, jonas), ("POST", &path), (json!({"nonce": challenge}), Some(body)));
    assert_eq!(status, 200, "{registered}");
    phone.id = Some(DeviceId::new(registered["device"].as_str().unwrap()).unwrap());
    let nonce = eventually("the nonce", SOON, || pushed(stage, &phone.token, "reach"))["nonce"].clone();
    let reached = format!("{W}/phone/reached");
    let (status, reached) =
        prove(api, stage, (&phone, None), ("POST", &reached), (json!({}), Some(json!({"nonce": nonce}))));
    assert_eq!(status, 200, "{reached}");
    phone
}

#[test]
fn a_new_phone_is_told_of_and_disowned() {
    // By way of the store, Kafka, a worker and APNs Jonas' phone hears of a second one. His admin retires both; both are told, and the one
    // that was his says that it was not him, with its retired key, and his admin's phone hears of that.
    let stage = stage();
    stage.write(&[device("benita", "hers", Platform::Apns, &token_of("benita"))]);
    let (_worker, mut api) = (stage.worker(), Watchbell::api(&config(&stage)));
    api.wait_ready();
    let first = enrol(&api, &stage, "first");
    let second = enrol(&api, &stage, "of-a-thief");
    let push = told(&stage, &first.token, "enrolled");
    assert_eq!(
        (&push["aps"]["category"], &push["type"]),
        (&json!("watchbell.notice_not_me"), &json!("trusted_device"))
    );
    assert!(!push.to_string().contains("of-a-thief") && !push.to_string().contains(second.id().as_str()), "{push}");
    assert_eq!(pushed(&stage, &second.token, "notice"), None, "it is not told of itself");
    let (_, listed) = prove(&api, &stage, (&first, None), ("GET", &format!("{W}/phone/notices")), (json!({}), None));
    assert_eq!(
        (&listed["notices"][0]["notice"], &listed["notices"][0]["device_name"]),
        (&push["event_id"], &json!("of-a-thief"))
    );

    let (status, reset) = call(&api, &stage, "POST", &format!("{W}/users/jonas/devices/reset"), None);
    assert_eq!(status, 200, "{reset}");
    let [push, other] = [&first, &second].map(|phone| told(&stage, &phone.token, "reset"));
    assert_eq!(push["event_id"], other["event_id"]);
    assert_eq!(push["aps"]["category"], "watchbell.notice_not_me");
    // The simulator has a push before the API has its answer.
    let carried = || api.metric("watchbell_notices_carried_total", &["result=\"accepted\""]);
    eventually("both accepted", SOON, || (carried() == 2.0).then_some(()));
    let path = format!("{W}/phone/notices/{}/not-me", push["event_id"].as_str().unwrap());
    let (status, said) = prove(&api, &stage, (&first, None), ("POST", &path), (json!({}), None));
    assert_eq!((status, &said["alerted"]), (200, &json!(1)), "{said}");
    let alert = told(&stage, &token_of("benita"), "not_me");
    assert_eq!(alert["aps"]["category"], "watchbell.notice");
    assert_eq!(api.metric("watchbell_not_me_total", &["of=\"reset\""]), 1.0);
    assert!(!api.log().contains("jonas"), "no id of a person: {}", api.log());
    api.terminate();
    assert!(api.wait(CEILING).success(), "{}", api.log());
}
