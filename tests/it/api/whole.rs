//! Everything real: phones of the sandbox sign in, are reached by a push, vouch for each other, and answer what came from Kafka; upstream
//! checks the signature.
use std::collections::BTreeSet;

use prost::Message as _;
use serde_json::{Value, json};
use watchbell::event::NotificationType::IdentityVerification;
use watchbell::event::wire;
use watchbell::people::signed::{DeviceKey, SignedAnswer, Unchecked};
use watchbell::sandbox::phones::{Did, Enrol, Make, Reply};

use super::process::{config, stage};
use crate::support::kafka::Reader;
use crate::support::process::{Watchbell, watchbell};
use crate::support::stage::{APP, CEILING, Stage, event};
use crate::support::{SOON, block_on, eventually};

/// What a phone showed besides, when the other one was enrolled.
const NOTICE: &str = "watchbell.notice_not_me";

/// What phones know the API by, whatever port it has here.
const PUBLIC: &str = "http://localhost:8081";

/// A phone of Jonas' is made, unless it is there, and enrolled with whatever speaks for it.
fn enrol(stage: &Stage, api: &Watchbell, name: &str, (make, by): (Value, Value)) -> Value {
    let phones = stage.sandbox.phones();
    if phones.view(name).is_err() {
        phones.make(name, serde_json::from_value::<Make>(make).unwrap()).unwrap();
    }
    let mut enrol: Enrol = serde_json::from_value(by).unwrap();
    (enrol.api, enrol.public_url) = (format!("http://127.0.0.1:{}", api.api_port), Some(PUBLIC.into()));
    json!(block_on(phones.enrol(name, &enrol)).unwrap())
}

/// What a command prints of this stage's topics.
fn follow(stage: &Stage, arguments: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("watchbell.toml");
    std::fs::write(&file, stage.config()).unwrap();
    let output = watchbell(&[arguments, &["--config", file.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a phone did, and what the API's status was.
fn did(stage: &Stage, phone: &str) -> Vec<(Did, Option<u16>)> {
    stage.sandbox.phones().log_of(phone).iter().map(|entry| (entry.did, entry.what.status)).collect()
}

#[test]
fn from_sign_in_to_upstream() {
    // Jonas' new iPhone: registered, reached by a push of the real provider's, promoted by Benita's ticket; it vouches for his Pixel. An event
    // on Kafka asks, the iPhone approves, and upstream's record carries the statement, which its key signed.
    let stage = stage();
    let mut api = Watchbell::api(&config(&stage));
    api.wait_ready();
    let make = json!({"persona": "user", "platform": "apns", "app": APP, "locale": "de", "model": "iPhone 17"});
    let by = json!({"api": "", "workspace": "acme", "ticket_by": "admin"});
    let enrolled = enrol(&stage, &api, "iphone", (make, by));
    assert_eq!((&enrolled["state"], &enrolled["way"]), (&json!("approver"), &json!("ticket")), "{enrolled}");
    let make = json!({"persona": "user", "platform": "fcm", "app": APP, "locale": "de", "model": "Pixel 10"});
    let alone = json!({"api": "", "workspace": "acme"});
    let receives = enrol(&stage, &api, "pixel", (make.clone(), alone));
    assert_eq!(receives["state"], "receive_only", "a session is not enough: {receives}");
    let by = json!({"api": "", "workspace": "acme", "vouched_by": "iphone"});
    let enrolled = enrol(&stage, &api, "pixel", (make, by));
    assert_eq!((&enrolled["state"], &enrolled["way"]), (&json!("approver"), &json!("approver")), "{enrolled}");

    let asks = wire::IdentityVerificationRequested {
        application: "Payroll".into(),
        match_number: Some("042137".into()),
        ..Default::default()
    };
    let asks = wire::event::Body::IdentityVerificationRequested(asks);
    stage.emit(IdentityVerification, &event("sign-in-7", &["jonas"], asks));
    let phones = stage.sandbox.phones();
    eventually("the request to be pending", CEILING, || {
        let pending = block_on(phones.pending("iphone")).unwrap().said;
        (pending["requests"][0]["number_required"] == true).then_some(())
    });
    let answer = |phone, reply, number| {
        let request = ("identity_verification", "sign-in-7");
        block_on(phones.answer(phone, request, reply, Some(number))).unwrap()
    };
    let wrong = answer("iphone", Reply::Approve, "042138");
    assert_eq!((wrong.problem(), &wrong.said["left"]), ("number-wrong", &json!(2)), "{wrong:?}");
    let answered = answer("iphone", Reply::Approve, "042137");
    assert_eq!((answered.status, &answered.said["published"]), (200, &json!(true)), "{answered:?}");
    let late = answer("pixel", Reply::DenyNotMe, "");
    assert_eq!((late.problem(), &late.said["verb"]), ("answered", &json!("approve")), "{late:?}");

    let mut decisions = Reader::from_beginning(&stage.bootstrap, &[&stage.topics.decisions]);
    let records = decisions.until_count(2, SOON);
    let told: Vec<_> =
        records.iter().map(|record| wire::Decision::decode(record.payload.as_deref().unwrap()).unwrap()).collect();
    let Some(wire::decision::Body::Asked(asked)) = &told[0].body else { panic!("{told:?}") };
    let both = BTreeSet::from(["iPhone 17", "Pixel 10"]);
    assert_eq!(asked.devices.iter().map(String::as_str).collect::<BTreeSet<_>>(), both);
    let Some(wire::decision::Body::Decided(decided)) = &told[1].body else { panic!("{told:?}") };
    let phone = phones.view("iphone").unwrap();
    assert_eq!((decided.verb(), &decided.key_thumbprint), (wire::Verb::Approve, &phone.thumbprint));
    let key = DeviceKey::from_jwk(&decided.key_jwk).unwrap();
    assert_eq!(key.thumbprint(), phone.thumbprint, "the record is enough to verify the statement");
    let statement = Unchecked::<SignedAnswer>::read(&decided.jws).unwrap().verify(&key, PUBLIC).unwrap();
    assert_eq!(statement.says.request().event.as_str(), "sign-in-7");

    let printed = follow(&stage, &["decisions", "--from-beginning", "--count", "2"]);
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["asked"]["devices"], json!(asked.devices), "{printed}");
    assert_eq!((&lines[1]["decided"]["verb"], &lines[1]["decided"]["signed"]), (&json!("approve"), &json!(true)));
    assert!(!printed.contains(&decided.jws) && !printed.contains("042137"), "{printed}");

    let refreshed = block_on(phones.refresh("iphone", true)).unwrap();
    assert_eq!((refreshed.status, &refreshed.said["reach"]), (200, &json!(true)), "{refreshed:?}");
    eventually("another nonce, at the other token", SOON, || {
        (did(&stage, "iphone").iter().filter(|did| **did == (Did::Reached, Some(200))).count() == 2).then_some(())
    });
    let log = api.log();
    let written = json!(phones.log_since(0)).to_string();
    for secret in [phone.token.as_str(), "042137", decided.jws.as_str()] {
        assert!(!log.contains(secret) && !written.contains(secret), "a secret is in a log: {log}\n{written}");
    }
    assert_eq!(api.metric("watchbell_nonces_total", &["result=\"accepted\""]), 3.0);
    api.terminate();
    assert!(api.wait(CEILING).success(), "{}", api.log());
}

/// Worker and API together: pushed, shown, fetched, said to be seen, and answered by the phone itself; the other one takes it off its screen.
#[test]
fn phones_that_answer_by_themselves() {
    let stage = stage();
    let (mut api, worker) = (Watchbell::api(&config(&stage)), Watchbell::worker(&stage.config()));
    api.wait_ready();
    let of = |platform: &str, behaviour: Value| json!({"persona": "user", "platform": platform, "app": APP, "behaviour": behaviour});
    let by = json!({"api": "", "workspace": "acme", "ticket_by": "admin"});
    let approves = json!({"answer": "approve", "number": "042137", "times": 1});
    enrol(&stage, &api, "iphone", (of("apns", approves), by.clone()));
    enrol(&stage, &api, "pixel", (of("fcm", json!({})), by));
    let asks = wire::IdentityVerificationRequested {
        application: "Payroll".into(),
        location: "Lisbon".into(),
        match_number: Some("042137".into()),
        ..Default::default()
    };
    let asks = wire::event::Body::IdentityVerificationRequested(asks);
    stage.emit(IdentityVerification, &event("sign-in-8", &["jonas"], asks));
    let phones = stage.sandbox.phones();
    eventually("the answer", CEILING, || did(&stage, "iphone").contains(&(Did::Answered, Some(200))).then_some(()));
    eventually("the other phone's screen", SOON, || {
        let log = phones.log_of("pixel");
        log.iter().any(|entry| entry.did == Did::TookAway && entry.what.event == "sign-in-8").then_some(())
    });
    let log = phones.log_of("iphone");
    let of = |did: Did| log.iter().find(|entry| entry.did == did && entry.what.category != NOTICE).unwrap();
    assert_eq!(of(Did::Showed).what.category, "watchbell.approve_number");
    assert_eq!(of(Did::Read).what.said["detail"]["location"], "Lisbon");
    assert_eq!(of(Did::Receipted).what.said, json!({"taken": 1}));
    assert_eq!(phones.view("pixel").unwrap().screen, []);
    // Two notices of the other phone are among them.
    let printed = follow(&stage, &["outcomes", "--from-beginning", "--count", "4"]);
    let mut endings = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let shown = endings.find(|line| line["event"] == "sign-in-8").unwrap();
    assert_eq!((&shown["ending"], shown.get("notice")), (&json!("accepted"), None), "{printed}");
    drop(worker);
}
