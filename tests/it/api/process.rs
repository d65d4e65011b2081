//! `watchbell api` as its operators run it: a process, with a broker, an issuer and a database.
use std::collections::BTreeSet;
use std::time::Duration;

use prost::Message as _;
use serde_json::{Value, json};
use watchbell::config::Config;
use watchbell::event::wire;
use watchbell::sandbox::SandboxConfig;
use watchbell::seam::{Clock as _, SystemClock};
use watchbell::store::open;

use crate::people::support::{heard, sign_in};
use crate::store_support::person;
use crate::support::kafka::Reader;
use crate::support::process::{Watchbell, watchbell};
use crate::support::services::{shared_kafka, shared_postgres_database};
use crate::support::stage::{CEILING, Stage};
use crate::support::{SOON, block_on, eventually};

pub fn stage() -> Stage {
    stage_of(1)
}

/// With topics of so many partitions, over which the processes of a group share the work.
pub fn stage_of(partitions: i32) -> Stage {
    Stage::bare(&shared_kafka(), partitions, shared_postgres_database(), SandboxConfig::default(), "")
}

/// The stage's configuration, with its issuer.
pub fn config(stage: &Stage) -> String {
    let (issuer, ca) = (stage.sandbox.issuer(), stage.sandbox.ca_file().display());
    let (url, audience) = (issuer.url(), issuer.audience());
    format!("{}[auth]\nissuer = {url:?}\naudience = [{audience:?}]\nca_file = \"{ca}\"\n", stage.config())
}

/// Status and body of an admin's call.
pub fn call(api: &Watchbell, stage: &Stage, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let token = stage.sandbox.issuer().token("admin").unwrap();
    let url = format!("http://127.0.0.1:{}{path}", api.api_port);
    block_on(async {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = reqwest::Client::new().request(method, url).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    })
}

/// A change reaches Kafka, a request ends at its deadline and upstream hears of it, the metrics count, and a SIGTERM ends it in order.
#[test]
fn the_api_runs() {
    let stage = stage();
    let mut api = Watchbell::api(&config(&stage));
    api.wait_ready();
    let path = "/v1/workspaces/acme/settings/otp_received";
    let (status, changed) = call(&api, &stage, "PUT", path, Some(json!({"setting": "enforced"})));
    assert_eq!((status, &changed["in_force_within_s"]), (200, &json!(0)), "{changed}");
    let mut audit = Reader::from_beginning(&stage.bootstrap, &[&stage.topics.audit]);
    let records = audit.until_count(1, SOON);
    assert_eq!(records[0].key.as_deref(), Some(&b"acme"[..]));
    let entry = wire::AuditEntry::decode(records[0].payload.as_deref().unwrap()).unwrap();
    assert_eq!((entry.actor_id.as_str(), entry.from.as_str(), entry.to.as_str()), ("benita", "enabled", "enforced"));

    let mut asked = sign_in(&person("acme", "benita"), "e1", SystemClock.now());
    asked.expires_at = asked.occurred_at.plus(Duration::from_secs(2));
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("watchbell.toml");
        std::fs::write(&file, config(&stage)).unwrap();
        let policy = open(&Config::load(Some(&file), []).unwrap().policy).await.unwrap();
        policy.requests().project(&asked, asked.occurred_at).await.unwrap();
        policy.close().await;
    });
    let mut decisions = Reader::from_beginning(&stage.bootstrap, &[&stage.topics.decisions]);
    let records = decisions.until_count(2, SOON);
    let told: Vec<_> =
        records.iter().map(|record| wire::Decision::decode(record.payload.as_deref().unwrap()).unwrap()).collect();
    assert_eq!(heard(&told, "e1"), ["asked[]", "Expired"]);

    let labels = ["route=\"/v1/workspaces/{workspace}/settings/{type}\"", "method=\"PUT\"", "status=\"200\""];
    assert_eq!(api.metric("watchbell_api_requests_total", &labels), 1.0);
    assert!(api.log().contains("answered") && !api.log().contains("benita"), "no id of a person: {}", api.log());
    api.terminate();
    assert!(api.wait(CEILING).success(), "{}", api.log());
}

/// Changes are made while Kafka is away, and an issuer that is away makes it not ready; neither ends it.
#[test]
fn the_api_waits_for_nobody() {
    let stage = stage();
    let nobody = config(&stage).replace(&stage.bootstrap, "127.0.0.1:1");
    let mut api = Watchbell::api(&nobody);
    api.wait_ready();
    let path = "/v1/workspaces/acme/settings/otp_received";
    let (status, _) = call(&api, &stage, "PUT", path, Some(json!({"setting": "enforced"})));
    assert_eq!(status, 200);
    api.terminate();
    assert!(api.wait(CEILING).success(), "{}", api.log());
    // What Kafka was to hear waits in the store for the next process.
    let mut api = Watchbell::api(&config(&stage));
    api.wait_ready();
    Reader::from_beginning(&stage.bootstrap, &[&stage.topics.audit]).until_count(1, SOON);
    drop(api);

    let issuer = stage.sandbox.issuer().url().to_owned();
    let mut api = Watchbell::api(&config(&stage).replace(&issuer, "https://127.0.0.1:1"));
    eventually("the reason", SOON, || {
        let (status, reasons) = api.get("/readyz")?;
        (status == 503 && reasons.contains("sign-in: the issuer's keys")).then_some(())
    });
    api.terminate();
    assert!(api.wait(CEILING).success(), "{}", api.log());
}

/// A configuration in which nobody could sign in is refused by the check and by the API alike, with 64 and every key.
#[test]
fn nobody_to_sign_in_is_told_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("watchbell.toml");
    std::fs::write(&file, "[api]\nhttp_listen = \"here\"\n").unwrap();
    let file = file.to_str().unwrap();
    let said = [&["check-config", "--for", "api", "--config", file][..], &["api", "--config", file]].map(|arguments| {
        let output = watchbell(arguments);
        assert_eq!(output.status.code(), Some(64));
        String::from_utf8(output.stderr).unwrap()
    });
    for told in &said {
        for key in ["api.http_listen must", "auth.issuer is missing", "auth.audience is missing"] {
            assert!(told.contains(key), "{key} is missing in {told}");
        }
    }
    assert_eq!(BTreeSet::from(said).len(), 1);
}
