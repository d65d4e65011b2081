//! The fatigue guard on the whole product: events on Kafka, a worker and an API as processes, a phone at the simulator.
use std::collections::BTreeSet;

use prost::Message as _;
use serde_json::Value;
use watchbell::event::NotificationType::IdentityVerification;
use watchbell::event::wire;
use watchbell::policy::Platform;
use watchbell::sandbox::SandboxConfig;

use super::process::{call, config};
use crate::people::support::heard;
use crate::support::eventually;
use crate::support::kafka::Reader;
use crate::support::process::Watchbell;
use crate::support::services::{shared_kafka, shared_postgres_database, shared_redis};
use crate::support::stage::{CEILING, Stage, device, event, token_of};

fn sign_in(stage: &Stage, id: &str, source: &str) {
    let asks = wire::IdentityVerificationRequested {
        application: "Payroll".into(),
        source: source.into(),
        ..Default::default()
    };
    let asks = wire::event::Body::IdentityVerificationRequested(asks);
    stage.emit(IdentityVerification, &event(id, &["benita"], asks));
}

/// Somebody who has Benita's password signs in fifty times. Her phone rings five times, her own sign-in's among them, and gets one quiet
/// notice. Upstream hears of each of the others that it did not ring; all of them stay open, hers too.
#[test]
fn the_attackers_fifty_sign_ins() {
    let mut stage = Stage::bare(&shared_kafka(), 1, shared_postgres_database(), SandboxConfig::default(), "");
    (stage.guard_max, stage.redis_url) = (5, Some(shared_redis()));
    let token = token_of("benita");
    stage.write(&[device("benita", "phone", Platform::Apns, &token)]);
    let _worker = stage.worker();
    let mut api = Watchbell::api(&config(&stage));
    api.wait_ready();
    sign_in(&stage, "own", "her-browser");
    for n in 0..50 {
        sign_in(&stage, &format!("a{n}"), &format!("attacker-{n}"));
    }
    let outcomes = stage.wait_outcomes(52);
    let of = |ending: wire::Ending| {
        outcomes.values().flatten().filter(move |outcome| outcome.ending() == ending).collect::<Vec<_>>()
    };
    let held: BTreeSet<_> = of(wire::Ending::Suppressed).into_iter().map(|outcome| &outcome.event_id).collect();
    assert_eq!(held.len(), 46);
    assert!(of(wire::Ending::Suppressed).iter().all(|outcome| outcome.reason == "fatigue_guard"));
    let phone = stage.sandbox.apns().device(&token).unwrap();
    let notices: Vec<_> = phone.received.iter().filter(|push| push.payload["kind"] == "notice").collect();
    assert_eq!((phone.received.len(), notices.len()), (6, 1));
    let aps = &notices[0].payload["aps"];
    assert_eq!((&notices[0].payload["notice"], &aps["interruption-level"]), (&"guard".into(), &"passive".into()));
    assert_eq!(aps["sound"], Value::Null, "in silence");

    // Whatever rang, all of them are open, and hers is.
    eventually("what she may answer", CEILING, || {
        let (_, body) = call(&api, &stage, "GET", "/v1/workspaces/acme/me/requests", None);
        let open = body["requests"].as_array().unwrap().iter().map(|request| request["event"].as_str().unwrap());
        let open: BTreeSet<_> = open.collect();
        (open.len() == 51 && open.contains("own")).then_some(())
    });
    let told = || {
        let mut reader = Reader::from_beginning(&stage.bootstrap, &[&stage.topics.decisions]);
        let records = reader.up_to_the_end().iter();
        records.map(|record| wire::Decision::decode(record.payload.as_deref().unwrap()).unwrap()).collect::<Vec<_>>()
    };
    let told = eventually("upstream to hear of the guard", CEILING, || {
        let told = told();
        held.iter().all(|event| heard(&told, event).contains(&"Guard".to_owned())).then_some(told)
    });
    assert_eq!(heard(&told, "own"), ["asked[]"]);
    // The notice is no request's: it is in nobody's Recent, and no decision is about it.
    let notice = notices[0].payload["event_id"].as_str().unwrap().to_owned();
    let (_, recent) = call(&api, &stage, "GET", "/v1/workspaces/acme/me/recent", None);
    assert!(!recent.to_string().contains(&notice) && heard(&told, &notice).is_empty());
}
