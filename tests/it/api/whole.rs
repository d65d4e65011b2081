//! Everything real: a phone signs in, is reached by a push, and approves what came from Kafka; upstream checks the signature.
use prost::Message as _;
use serde_json::{Value, json};
use watchbell::event::NotificationType::IdentityVerification;
use watchbell::event::{DeviceId, wire};
use watchbell::people::signed::{DECISION_TYPE, SignedAnswer, Unchecked};

use super::process::{call, config, stage};
use crate::people::phones::Phone;
use crate::support::kafka::Reader;
use crate::support::process::Watchbell;
use crate::support::stage::{APP, CEILING, Stage, event};
use crate::support::{SOON, block_on, eventually};

/// What phones know the API by, whatever port it has here.
const PUBLIC: &str = "http://localhost:8081";
const W: &str = "/v1/workspaces/acme";
const TOKEN: &str = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";

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

/// The nonce of the last push to the phone.
fn pushed(stage: &Stage) -> Option<String> {
    let device = stage.sandbox.apns().device(TOKEN)?;
    let push = device.received.last()?;
    assert_eq!(push.payload["kind"], "reach");
    Some(push.payload["nonce"].as_str()?.to_owned())
}

#[test]
fn from_sign_in_to_upstream() {
    // Jonas' new phone: registered, reached by a push of the real provider's, promoted by Benita's ticket; an event on Kafka asks, the phone
    // reads it and approves, and upstream's record carries the statement, which its key signed.
    let stage = stage();
    let mut api = Watchbell::api(&config(&stage));
    api.wait_ready();
    let (mut phone, jonas) = (Phone::new(TOKEN), Some("user"));
    let path = format!("{W}/me/devices");
    let challenge = prove(&api, &stage, (&phone, jonas), ("POST", &format!("{path}/challenges")), (json!({}), None)).1;
    let challenge = &challenge["challenge"];
    let report = json!({"platform": "apns", "app": APP, "token": TOKEN, "locale": "de", "model": "iPhone 17"});
    let body = json!({"challenge": challenge, "report": report});
    let (status, registered) =
        prove(&api, &stage, (&phone, jonas), ("POST", &path), (json!({"nonce": challenge}), Some(body)));
    assert_eq!((status, &registered["reach"]), (200, &json!(true)), "{registered}");
    phone.id = Some(DeviceId::new(registered["device"].as_str().unwrap()).unwrap());
    let nonce = eventually("the push", SOON, || pushed(&stage));
    let alone = |method, path: String, body| prove(&api, &stage, (&phone, None), (method, &path), (json!({}), body));
    let (status, reached) = alone("POST", format!("{W}/phone/reached"), Some(json!({"nonce": nonce})));
    assert_eq!(status, 200, "{reached}");

    // The persona of these calls is an admin.
    let (status, ticket) = call(&api, &stage, "POST", &format!("{W}/users/jonas/tickets"), None);
    assert_eq!(status, 200, "{ticket}");
    let promotion = format!("{path}/{}/promotion", phone.id());
    let body = Some(json!({"ticket": ticket["ticket"]}));
    let (status, promoted) = prove(&api, &stage, (&phone, jonas), ("POST", &promotion), (json!({}), body));
    assert_eq!((status, &promoted["state"]), (200, &json!("approver")), "{promoted}");

    let asks = wire::IdentityVerificationRequested {
        application: "Payroll".into(),
        match_number: Some("042137".into()),
        ..Default::default()
    };
    let asks = wire::event::Body::IdentityVerificationRequested(asks);
    stage.emit(IdentityVerification, &event("sign-in-7", &["jonas"], asks));
    eventually("the request to be pending", CEILING, || {
        let (_, pending) = alone("GET", format!("{W}/phone/requests"), None);
        (pending["requests"][0]["number_required"] == true).then_some(())
    });
    let request = format!("{W}/phone/requests/identity_verification/sign-in-7");
    let answer = |number: &str| {
        let about = json!({"type": "identity_verification", "event": "sign-in-7", "verb": "approve", "number": number});
        let body = phone.statement_for(PUBLIC, "jonas", DECISION_TYPE, &about);
        alone("POST", format!("{request}/answer"), Some(body))
    };
    let (status, wrong) = answer("042138");
    assert_eq!((status, &wrong["left"]), (409, &json!(2)), "{wrong}");
    let (status, answered) = answer("042137");
    assert_eq!((status, &answered["published"]), (200, &json!(true)), "{answered}");

    let mut decisions = Reader::from_beginning(&stage.bootstrap, &[&stage.topics.decisions]);
    let records = decisions.until_count(2, SOON);
    let told: Vec<_> =
        records.iter().map(|record| wire::Decision::decode(record.payload.as_deref().unwrap()).unwrap()).collect();
    let Some(wire::decision::Body::Asked(asked)) = &told[0].body else { panic!("{told:?}") };
    assert_eq!(asked.devices, ["iPhone 17"]);
    let Some(wire::decision::Body::Decided(decided)) = &told[1].body else { panic!("{told:?}") };
    assert_eq!((decided.verb(), &decided.key_thumbprint), (wire::Verb::Approve, &phone.thumbprint()));
    let statement = Unchecked::<SignedAnswer>::read(&decided.jws).unwrap().verify(&phone.key(), PUBLIC).unwrap();
    assert_eq!(statement.says.request().event.as_str(), "sign-in-7");

    let log = api.log();
    for secret in [
        nonce.as_str(),
        ticket["ticket"].as_str().unwrap(),
        challenge.as_str().unwrap(),
        TOKEN,
        "042137",
        decided.jws.as_str(),
    ] {
        assert!(!log.contains(secret), "a secret is in the log: {log}");
    }
    assert_eq!(api.metric("watchbell_nonces_total", &["result=\"accepted\""]), 1.0);
    api.terminate();
    assert!(api.wait(CEILING).success(), "{}", api.log());
}
