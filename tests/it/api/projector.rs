//! From an event on Kafka to what its person reads, and what upstream hears: through `watchbell api` as a process, killed in between.
use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use serde_json::Value;
use watchbell::event::NotificationType::IdentityVerification;
use watchbell::event::{NotificationType, wire};
use watchbell::seam::{Clock as _, SystemClock};

use super::process::{call, config, stage, stage_of};
use crate::people::support::heard;
use crate::support::kafka::Reader;
use crate::support::process::Watchbell;
use crate::support::stage::{CEILING, Stage, event};
use crate::support::{SOON, eventually};

/// Events that are put in while processes are killed.
const EVENTS: usize = 120;
/// Processes that are killed.
const KILLS: usize = 4;

/// Partitions of each topic then.
const PARTITIONS: i32 = 4;
/// Who is asked then: so many keys that every partition has some.
const PEOPLE: usize = 16;

fn sign_in(id: &str, source: &str) -> wire::Event {
    sign_in_of("benita", id, source)
}

fn sign_in_of(user: &str, id: &str, source: &str) -> wire::Event {
    let body = wire::IdentityVerificationRequested {
        application: "Payroll".into(),
        location: "Lisbon".into(),
        match_number: Some("123456".into()),
        source: source.into(),
        ..Default::default()
    };
    event(id, &[user], wire::event::Body::IdentityVerificationRequested(body))
}

fn cancel(id: &str) -> wire::Event {
    cancel_of("benita", id)
}

fn cancel_of(user: &str, id: &str) -> wire::Event {
    let body = wire::event::Body::Cancel(wire::Cancel { event_id: id.to_owned() });
    event(&format!("cancel-of-{id}"), &[user], body)
}

/// Puts an outcome on its topic.
fn note(stage: &Stage, kind: NotificationType, (user, id): (&str, &str), ending: wire::Ending, reason: &str) {
    let outcome = wire::Outcome {
        job_id: vec![7; 16],
        workspace_id: "acme".into(),
        r#type: wire::wire_type(kind).into(),
        event_id: id.into(),
        user_id: user.into(),
        ending: ending.into(),
        reason: reason.into(),
        ended_at: Some(wire::wire_time(SystemClock.now())),
        ..Default::default()
    };
    stage.producer.send_to(&stage.topics.outcomes, user, outcome.encode_to_vec());
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
    stage.emit(IdentityVerification, &sign_in("e1", "a source\0that no database takes"));
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
        note(&stage, kind, ("benita", id), ending, reason);
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

/// Asks everybody something of the other type, so that its partitions have something in them, too.
fn ask_to_trust(stage: &Stage) {
    for n in 0..PEOPLE {
        let body = wire::TrustedDeviceRequested { device_name: "Pixel 8".into(), ..Default::default() };
        let body = wire::event::Body::TrustedDeviceRequested(body);
        stage.emit(NotificationType::TrustedDevice, &event(&format!("trust-{n}"), &[&format!("user-{n}")], body));
    }
}

/// Whether a process projected or noted anything.
fn has_worked(api: &Watchbell) -> bool {
    let of = ["watchbell_requests_projected_total", "watchbell_outcomes_noted_total"];
    of.into_iter().any(|metric| api.metric(metric, &[]) > 0.0)
}

/// Processes are killed while events, cancels and outcomes come in; others take their share over. Each event is asked once, each cancel
/// closes once, and of each request that stays open upstream hears once why it does not ring, whatever died when.
#[test]
fn killed_processes_lose_and_double_nothing() {
    let stage = stage_of(PARTITIONS);
    let mut processes = [ready(&stage), ready(&stage)];
    // Each has its half of the partitions, and will have had work before any is killed. The group shares out partitions and not topics, so
    // all but the lifecycle's have something in them.
    let share = |api: &Watchbell| api.metric("watchbell_partitions_assigned", &[]) >= f64::from(PARTITIONS);
    eventually("both to have partitions", CEILING, || processes.iter().all(share).then_some(()));
    let user = |n: usize| if n.is_multiple_of(PEOPLE) { "benita".to_owned() } else { format!("user-{}", n % PEOPLE) };
    ask_to_trust(&stage);
    let mut before = 0;
    for n in 0..EVENTS {
        if n % (EVENTS / KILLS) == 0 {
            before = told(&stage).len();
        }
        let (user, id) = (user(n), format!("e{n}"));
        let emit = || stage.emit(IdentityVerification, &sign_in_of(&user, &id, &format!("source-{n}")));
        // The outcomes of every other event are read before it, or about when it is.
        if n % 2 == 0 {
            emit();
        }
        note(&stage, IdentityVerification, (&user, &id), wire::Ending::Suppressed, "muted_by_user");
        note(&stage, IdentityVerification, (&user, &id), wire::Ending::NoDevice, "");
        if n % 2 == 1 {
            emit();
        }
        if n % 3 == 0 {
            stage.emit(IdentityVerification, &cancel_of(&user, &id));
        }
        if n % (EVENTS / KILLS) == EVENTS / KILLS - 1 {
            if n < EVENTS / KILLS {
                eventually("both to work", CEILING, || processes.iter().all(has_worked).then_some(()));
            }
            // In the midst of work: some of what was just put in has been read.
            eventually("some work", CEILING, || (told(&stage).len() > before).then_some(()));
            let victim = n / (EVENTS / KILLS) % 2;
            processes[victim].kill();
            processes[victim] = ready(&stage);
        }
    }
    let open = (0..EVENTS).filter(|n| n % 3 != 0);
    let is_final = |heard: &[String]| heard.iter().any(|what| what == "Cancelled");
    let heard_of = |told: &[wire::Decision], n: usize| {
        let mut heard = heard(told, &format!("e{n}"));
        heard.sort();
        heard
    };
    let told = eventually("upstream to hear of everything", CEILING, || {
        let told = told(&stage);
        let whole = |n: usize| {
            let heard = heard_of(&told, n);
            if n.is_multiple_of(3) {
                is_final(&heard) && heard.contains(&"asked[]".to_owned())
            } else {
                heard.len() >= 3
            }
        };
        (0..EVENTS).all(whole).then_some(told)
    });
    for n in open.clone() {
        assert_eq!(heard_of(&told, n), ["Muted", "NoDevice", "asked[]"], "e{n}");
    }
    for n in (0..EVENTS).filter(|n| n % 3 == 0) {
        // What was read after its end is told nobody.
        let heard = heard_of(&told, n);
        let ends = heard.iter().filter(|what| ["Cancelled", "asked[]"].contains(&what.as_str())).count();
        let different: BTreeSet<_> = heard.iter().collect();
        assert!(ends == 2 && different.len() == heard.len(), "e{n}: {heard:?}");
    }
    let benitas: BTreeSet<_> = open.filter(|n| n % PEOPLE == 0).map(|n| format!("e{n}")).collect();
    assert_eq!(pending(&processes[0], &stage), benitas);
}
