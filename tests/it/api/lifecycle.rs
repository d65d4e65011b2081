//! What becomes of people and workspaces: told by an operator over HTTP, and by upstream on Kafka to `watchbell api` as a process.
use prost::Message as _;
use serde_json::json;
use watchbell::event::wire::{self, lifecycle::Body};
use watchbell::seam::{Clock as _, SystemClock};
use watchbell::store::Policy;

use super::process::{call, config, stage};
use super::support::Served;
use crate::store_support::{device_of, over_both, phone};
use crate::support::eventually;
use crate::support::kafka::{Reader, Record};
use crate::support::process::Watchbell;
use crate::support::stage::{CEILING, Stage};

over_both! {
    /// An operator says it once, in words that are checked; the trail of the workspace says who did.
    async fn operators_say_what_became_of_people(policy: Policy) {
        let served = Served::new(policy).await;
        let devices = [device_of("acme", "jonas", phone("p", "t1")), device_of("acme", "nina", phone("p", "t2"))];
        served.policy.admin().write(&devices).await.unwrap();
        let path = "/v1/operator/workspaces/acme/lifecycle";
        let say = async |body| served.call_as("operator", "POST", path).json(&body).answer().await;
        let removed = json!({"id": "l1", "what": "user_removed", "user": "jonas"});
        let first = say(removed.clone()).await.body;
        let expected = json!({"again": false, "devices_retired": 1, "requests_cancelled": 0, "in_force_within_s": 0});
        assert_eq!(first, expected);
        assert_eq!(say(removed).await.body["again"], true);
        for (wrong, status) in [
            (json!({"id": "l2", "what": "user_removed"}), 422),
            (json!({"id": "l2", "what": "workspace_deleted", "user": "jonas"}), 422),
            (json!({"id": "l 2", "what": "user_removed", "user": "jonas"}), 422),
            (json!({"id": "l2", "what": "user_removed", "user": ""}), 422),
            (json!({"id": "l2", "what": "user_forgotten", "user": "jonas"}), 422),
            (json!({"id": "l2", "what": "user_removed", "user": "jonas", "more": 1}), 422),
        ] {
            assert_eq!(say(wrong.clone()).await.status, status, "{wrong}");
        }
        let nowhere = served.call_as("operator", "POST", "/v1/operator/workspaces/a%20b/lifecycle");
        let body = json!({"id": "l2", "what": "workspace_deleted"});
        assert_eq!(nowhere.json(&body).answer().await.problem(), "no-such-id");
        assert_eq!(say(json!({"id": "l2", "what": "workspace_deleted"})).await.body["devices_retired"], 1);
        let trail = served.get("owner", "/v1/workspaces/acme/audit").await.body;
        let (newest, first) = (&trail["entries"][0], &trail["entries"][1]);
        assert_eq!((&newest["action"], &newest["actor_role"]), (&json!("workspace_deleted"), &json!("operator")));
        assert_eq!((&first["action"], &first["user"]), (&json!("person_removed"), &json!("jonas")));
    }
}

fn told(id: &str, body: Body) -> Vec<u8> {
    let occurred_at = Some(wire::wire_time(SystemClock.now()));
    wire::Lifecycle { lifecycle_id: id.into(), workspace_id: "acme".into(), occurred_at, body: Some(body) }
        .encode_to_vec()
}

fn ready(stage: &Stage) -> Watchbell {
    let mut api = Watchbell::api(&format!("{}[api]\nrequests_burst = 10000\n", config(stage)));
    api.wait_ready();
    api
}

/// How many devices of those people the API shows.
fn devices(api: &Watchbell, stage: &Stage, person: &str) -> usize {
    let path = format!("/v1/workspaces/acme/users/{person}/devices");
    let ask = || call(api, stage, "GET", &path, None);
    // Where sessions end in the moment between a token and its call, the next token counts.
    let (status, body) = match ask() {
        (401, _) => ask(),
        answer => answer,
    };
    assert_eq!(status, 200, "{body}");
    body["devices"].as_array().unwrap().len()
}

/// What cannot be read is dead-lettered byte for byte, key and headers included, and stops nothing; what can be is done within moments.
#[test]
fn upstream_says_what_became_of_people() {
    let stage = stage();
    stage.add_people(&["jonas".into(), "nina".into()]);
    let api = ready(&stage);
    let topic = &stage.topics.lifecycle;
    for bytes in [b"\xffno lifecycle".to_vec(), told("", Body::WorkspaceDeleted(wire::WorkspaceDeleted {}))] {
        stage.producer.send_to(topic, "jonas", bytes);
    }
    let removed = Body::UserRemoved(wire::UserRemoved { user_id: "jonas".into() });
    stage.producer.send_to(topic, "jonas", told("l1", removed.clone()));
    stage.producer.send_to(topic, "other", told("l1", removed));
    eventually("jonas' phone to be gone", CEILING, || (devices(&api, &stage, "jonas") == 0).then_some(()));
    assert_eq!(devices(&api, &stage, "nina"), 1);
    let mut letters = Reader::from_beginning(&stage.bootstrap, &[&stage.topics.dlq]);
    let letters: Vec<Record> = letters.until_count(2, CEILING).to_vec();
    assert_eq!(letters[0].payload.as_deref(), Some(&b"\xffno lifecycle"[..]));
    assert_eq!(letters[0].key.as_deref(), Some(&b"jonas"[..]));
    let said = letters.iter().map(|letter| {
        ["watchbell-reason", "watchbell-feed", "watchbell-kind"].map(|name| letter.header(name).unwrap())
    });
    assert_eq!(said.collect::<Vec<_>>(), [["not_protobuf", "lifecycle", "record"], ["bad_id", "lifecycle", "record"]]);
    let count = |result: &str| api.metric("watchbell_lifecycle_total", &[&format!("result={result:?}")]);
    eventually("the second one", CEILING, || (count("known") == 1.0).then_some(()));
    assert_eq!((count("applied"), count("unreadable")), (1.0, 2.0));
}

/// A process is killed while it deletes a workspace; another one ends it, and the trail has it once.
#[test]
fn a_killed_process_deletes_a_workspace_once() {
    let stage = stage();
    let people: Vec<String> = (0..2_000).map(|n| format!("u{n}")).collect();
    stage.add_people(&people);
    let mut api = ready(&stage);
    stage.producer.send_to(
        &stage.topics.lifecycle,
        "acme",
        told("l1", Body::WorkspaceDeleted(wire::WorkspaceDeleted {})),
    );
    // In the order of their ids: whoever is first is gone while others are not.
    eventually("some work", CEILING, || (devices(&api, &stage, "u0") == 0).then_some(()));
    api.kill();
    let other = ready(&stage);
    eventually("the last one", CEILING, || (devices(&other, &stage, "u999") == 0).then_some(()));
    let path = "/v1/workspaces/acme/audit";
    let (_, trail) = call(&other, &stage, "GET", path, None);
    let actions: Vec<_> = trail["entries"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(actions, ["workspace_deleted"]);
    assert_eq!(trail["entries"][0]["actor_role"], "upstream");
}
