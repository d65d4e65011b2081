//! From an event on Kafka to what its person reads, and what upstream hears: through `watchbell api` as a process, killed in between.
use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use serde_json::Value;
use watchbell::event::NotificationType::IdentityVerification;
use watchbell::event::{NotificationType, wire};
use watchbell::seam::{Clock as _, SystemClock};

use super::process::{call, config, stage};
use crate::people::support::heard;
use crate::support::kafka::Reader;
use crate::support::process::Watchbell;
use crate::support::stage::{CEILING, Stage, event};
use crate::support::{SOON, eventually};

/// Events that are put in while processes are killed.
const EVENTS: usize = 120;
/// Processes that are killed.
const KILLS: usize = 4;

fn sign_in(id: &str, source: &str) -> wire::Event {
    let body = wire::IdentityVerificationRequested {
        application: "Payroll".into(),
        location: "Lisbon".into(),
        match_number: Some("123456".into()),
        source: source.into(),
        ..Default::default()
    };
    event(id, &["benita"], wire::event::Body::IdentityVerificationRequested(body))
}

fn cancel(id: &str) -> wire::Event {
    let body = wire::event::Body::Cancel(wire::Cancel { event_id: id.to_owned() });
    event(&format!("cancel-of-{id}"), &["benita"], body)
}

fn ready(stage: &Stage) -> Watchbell {
    let mut api = Watchbell::api(&config(stage));
    api.wait_ready();
    api
}

/// What an admin of ours, Benita, has to answer.
fn pending(api: &Watchbell, stage: &Stage) -> BTreeSet<String> {
    let (status, body) = call(api, stage, "GET", "/v1/workspaces/acme/me/requests", None);
    assert_eq!(status, 200, "{body}");
    body["requests"].as_array().unwrap().iter().map(|request| request["event"].as_str().unwrap().to_owned()).collect()
}

/// Everything that upstream heard so far; what came twice under one id counts once.
fn told(stage: &Stage) -> Vec<wire::Decision> {
    let mut reader = Reader::from_beginning(&stage.bootstrap, &[&stage.topics.decisions]);
    let records = reader.up_to_the_end().iter();
    let decisions = records.map(|record| wire::Decision::decode(record.payload.as_deref().unwrap()).unwrap());
    let by_id: BTreeMap<_, _> = decisions.map(|decision| (decision.decision_id.clone(), decision)).collect();
    by_id.into_values().collect()
}

/// An event that asks is pending with what the app may show and never the number; upstream hears whom it asks; its cancel ends it, and
/// what cannot be read or only informs disturbs nobody.
#[test]
fn an_event_becomes_a_request() {
    let stage = stage();
    let api = ready(&stage);
    stage.producer.send_to(&stage.topics.identity_verification, "benita", b"no event".to_vec());
    stage.emit(IdentityVerification, &sign_in("e1", ""));
    eventually("the request to be pending", CEILING, || pending(&api, &stage).contains("e1").then_some(()));
    let path = "/v1/workspaces/acme/me/requests/identity_verification/e1";
    let (status, request) = call(&api, &stage, "GET", path, None);
    assert_eq!(
        (status, &request["detail"]["location"], &request["number_required"]),
        (200, &"Lisbon".into(), &true.into())
    );
    assert!(!request.to_string().contains("123456"), "{request}");

    stage.emit(IdentityVerification, &cancel("e1"));
    eventually("the cancel", CEILING, || pending(&api, &stage).is_empty().then_some(()));
    let (_, request) = call(&api, &stage, "GET", path, None);
    assert_eq!((&request["ended"]["closed"], &request["ended"]["verb"]), (&"cancelled".into(), &Value::Null));
    let told = eventually("upstream to hear of it", SOON, || Some(told(&stage)).filter(|told| told.len() == 2));
    let mut heard = heard(&told, "e1");
    heard.sort();
    assert_eq!(heard, ["Cancelled", "asked[]"]);
    assert_eq!(api.metric("watchbell_requests_projected_total", &["result=\"unreadable\""]), 1.0);
}

/// An outcome is in Recent once, however often it is written. Upstream hears once why a request does not ring, even where the outcome was
/// read before its event; nothing of what only informs, nor of what is over.
#[test]
fn outcomes_are_noted_and_told() {
    let stage = stage();
    let api = ready(&stage);
    let write = |kind: NotificationType, id: &str, ending: wire::Ending, reason: &str| {
        let now = SystemClock.now();
        let outcome = wire::Outcome {
            job_id: vec![7; 16],
            workspace_id: "acme".into(),
            r#type: wire::wire_type(kind).into(),
            event_id: id.into(),
            user_id: "benita".into(),
            ending: ending.into(),
            reason: reason.into(),
            ended_at: Some(wire::wire_time(now)),
            ..Default::default()
        };
        stage.producer.send_to(&stage.topics.outcomes, "benita", outcome.encode_to_vec());
    };
    stage.producer.send_to(&stage.topics.outcomes, "benita", b"\xff".to_vec());
    write(IdentityVerification, "e1", wire::Ending::Suppressed, "muted_by_user");
    write(NotificationType::OtpReceived, "o1", wire::Ending::NoDevice, "");
    stage.emit(IdentityVerification, &sign_in("e1", ""));
    let told_of = |id: &str| {
        let mut heard = heard(&told(&stage), id);
        heard.sort();
        heard
    };
    eventually("the notice", CEILING, || (told_of("e1") == ["Muted", "asked[]"]).then_some(()));
    write(IdentityVerification, "e1", wire::Ending::Suppressed, "muted_by_user");
    stage.emit(IdentityVerification, &cancel("e1"));
    eventually("the end", CEILING, || (told_of("e1").len() == 3).then_some(()));
    write(IdentityVerification, "e1", wire::Ending::NoDevice, "");
    let recent = eventually("what happened", CEILING, || {
        let (_, body) = call(&api, &stage, "GET", "/v1/workspaces/acme/me/recent", None);
        (body["items"].as_array().unwrap().len() >= 4).then_some(body)
    });
    let mut happened: Vec<_> = recent["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            format!(
                "{} {} {}",
                item["event"].as_str().unwrap(),
                item["what"].as_str().unwrap(),
                item["reason"].as_str().unwrap_or("")
            )
        })
        .collect();
    happened.sort();
    assert_eq!(happened, ["e1 cancelled ", "e1 suppressed muted_by_user", "e1 undelivered ", "o1 undelivered "]);
    assert_eq!(told_of("e1"), ["Cancelled", "Muted", "asked[]"]);
    assert_eq!(told_of("o1"), Vec::<String>::new());
}

/// A phone's word among the outcomes is measured against the acceptance before it, and is no ending.
#[test]
fn what_phones_showed_is_measured() {
    let stage = stage();
    let api = ready(&stage);
    let now = SystemClock.now();
    let accepted = wire::Outcome {
        job_id: vec![7; 16],
        workspace_id: "acme".into(),
        r#type: wire::wire_type(NotificationType::OtpReceived).into(),
        event_id: "o1".into(),
        user_id: "benita".into(),
        device_id: "d1".into(),
        ending: wire::Ending::Accepted.into(),
        ended_at: Some(wire::wire_time(now)),
        ..Default::default()
    };
    let seen_at = Some(wire::wire_time(now.plus(std::time::Duration::from_secs(3))));
    let seen = wire::Outcome { ending: 0, ended_at: None, seen_at, ..accepted.clone() };
    for outcome in [accepted, seen] {
        stage.producer.send_to(&stage.topics.outcomes, "benita", outcome.encode_to_vec());
    }
    let labels = ["type=\"otp_received\"", "platform=\"unknown\""];
    let sum = || api.metric("watchbell_accepted_to_seen_seconds_sum", &labels);
    let sum = eventually("the measure", CEILING, || Some(sum()).filter(|sum| *sum > 0.0));
    assert!((sum - 3.0).abs() < 0.001, "{sum}");
    let (_, body) = call(&api, &stage, "GET", "/v1/workspaces/acme/me/recent", None);
    let what: Vec<_> = body["items"].as_array().unwrap().iter().map(|item| item["what"].clone()).collect();
    assert_eq!(what, ["delivered"]);
}

/// Processes are killed while events and cancels come in; others take their share over. Each event is asked once and each cancel closes
/// once, whatever died when.
#[test]
fn killed_processes_lose_and_double_nothing() {
    let stage = stage();
    let mut processes = [ready(&stage), ready(&stage)];
    for n in 0..EVENTS {
        stage.emit(IdentityVerification, &sign_in(&format!("e{n}"), &format!("source-{n}")));
        if n % 3 == 0 {
            stage.emit(IdentityVerification, &cancel(&format!("e{n}")));
        }
        if n % (EVENTS / KILLS) == EVENTS / KILLS - 1 {
            // In the midst of work: some of what was just put in has been read.
            let before = told(&stage).len();
            eventually("some work", CEILING, || (told(&stage).len() > before).then_some(()));
            let victim = n / (EVENTS / KILLS) % 2;
            processes[victim].kill();
            processes[victim] = ready(&stage);
        }
    }
    let open: BTreeSet<_> = (0..EVENTS).filter(|n| n % 3 != 0).map(|n| format!("e{n}")).collect();
    let expected = EVENTS + EVENTS.div_ceil(3);
    let told = eventually("upstream to hear of everything", CEILING, || {
        Some(told(&stage)).filter(|told| told.len() >= expected)
    });
    assert_eq!(told.len(), expected, "each once");
    for n in 0..EVENTS {
        let mut heard = heard(&told, &format!("e{n}"));
        heard.sort();
        let all: &[&str] = if n % 3 == 0 { &["Cancelled", "asked[]"] } else { &["asked[]"] };
        assert_eq!(heard, all, "e{n}");
    }
    assert_eq!(pending(&processes[0], &stage), open);
}
