//! The control endpoint over plain HTTP, as a person with curl uses it.
use reqwest::Method;
use serde_json::{Value, json};

use super::Sandbox;
use super::testing::{H2, PAYLOAD, TOPIC, call, start, token, within};

const DEVICE: &str = "abcd12";

async fn push(sandbox: &Sandbox, h2: &H2) -> (u16, String) {
    let bearer = format!("bearer {}", token(sandbox, 0, 0));
    let uri = format!("{}/3/device/{DEVICE}", sandbox.apns_url());
    let sent = [("authorization", bearer.as_str()), ("apns-topic", TOPIC), ("apns-collapse-id", "c")];
    let got = h2.ask(&uri, &sent, PAYLOAD).await.unwrap();
    (got.status, got.reason())
}

#[tokio::test]
async fn everything_can_be_seen_and_set_by_http() {
    // Devices, counts, token states, faults, credentials, reset: each does what the library does.
    let sandbox = start(|config| config.apns.tokens_per_20_minutes = 100).await;
    let h2 = H2::connect(&sandbox, &sandbox.apns_url()).await;
    assert_eq!(push(&sandbox, &h2).await.0, 200);
    let (_, device) = call(&sandbox, Method::GET, "/devices/ABCD12", None).await;
    assert_eq!((&device["provider"], &device["counts"]["by_collapse_id"]["c"]), (&json!("apns"), &json!(1)));
    assert_eq!(device["device"]["received"][0]["payload"]["aps"]["alert"]["title"], "Sign-in");
    assert_eq!(call(&sandbox, Method::GET, "/devices/unknown", None).await.0, 404);
    assert_eq!(call(&sandbox, Method::GET, "/devices", None).await.1, json!({"apns": [DEVICE], "fcm": []}));

    let gone = json!({"provider": "apns", "state": "unregistered", "timestamp": 7});
    assert_eq!(call(&sandbox, Method::PUT, "/tokens/abcd12", Some(gone)).await.0, 204);
    assert_eq!(push(&sandbox, &h2).await, (410, "Unregistered".to_owned()));
    let fcm = json!({"provider": "fcm", "state": "other_sender"});
    assert_eq!(call(&sandbox, Method::PUT, "/tokens/reg", Some(fcm)).await.0, 204);
    assert_eq!(
        call(&sandbox, Method::GET, "/devices/reg", None).await.1["device"]["settings"]["state"],
        "other_sender"
    );

    let rule = json!({"provider": "apns", "count": 1, "fault": {"kind": "refuse", "reason": "Shutdown"}});
    let (status, added) = call(&sandbox, Method::POST, "/faults", Some(rule.clone())).await;
    assert_eq!((status, added["id"].as_u64()), (201, Some(1)));
    assert_eq!(call(&sandbox, Method::GET, "/faults", None).await.1[0]["met"], 0);
    assert_eq!(push(&sandbox, &h2).await, (503, "Shutdown".to_owned()));
    assert_eq!(call(&sandbox, Method::GET, "/faults", None).await.1, json!([]), "its count is used up");
    call(&sandbox, Method::POST, "/faults", Some(rule.clone())).await;
    assert_eq!(call(&sandbox, Method::DELETE, "/faults/2", None).await.0, 204);
    assert_eq!(call(&sandbox, Method::DELETE, "/faults/2", None).await.0, 404);
    call(&sandbox, Method::POST, "/faults", Some(rule)).await;
    assert_eq!(call(&sandbox, Method::DELETE, "/faults", None).await.1, json!({"removed": 1}));

    let (_, stats) = call(&sandbox, Method::GET, "/stats", None).await;
    assert_eq!((&stats["apns"]["accepted"], &stats["connections_opened"]), (&json!(1), &json!(1)));
    assert_eq!(stats["apns"]["refused"][0], json!({"status": 410, "reason": "Unregistered", "count": 1}));
    let (_, credentials) = call(&sandbox, Method::GET, "/credentials", None).await;
    assert_eq!(credentials["apns"]["keys"][0]["key_id"], "WBSANDBOXK");
    for file in [
        &credentials["ca_file"],
        &credentials["apns"]["keys"][0]["path"],
        &credentials["fcm"]["service_accounts"][0]["path"],
    ] {
        assert!(std::fs::exists(file.as_str().unwrap()).unwrap());
    }
    assert_eq!(call(&sandbox, Method::POST, "/reset", None).await.0, 204);
    assert_eq!(push(&sandbox, &h2).await.0, 200, "the device's state is forgotten");
    assert_eq!(sandbox.apns().accepted(), 1);
}

#[tokio::test]
async fn connections_can_be_commanded_by_http() {
    // One command by name, for all connections or one; an unknown one is explained.
    let sandbox = start(|config| config.apns.tokens_per_20_minutes = 100).await;
    let h2 = H2::connect(&sandbox, &sandbox.apns_url()).await;
    push(&sandbox, &h2).await;
    let told = async |command: &str, body: Value| {
        call(&sandbox, Method::POST, &format!("/connections/{command}"), Some(body)).await
    };
    let one = json!({"connections": 1});
    assert_eq!(told("stream_limit", json!({"provider": "apns", "streams": 5})).await, (200, one.clone()));
    assert_eq!(told("ignore_pings", json!({"provider": "apns", "connection": 1})).await, (200, one.clone()));
    assert_eq!(told("wedge", json!({"provider": "apns", "connection": 99})).await.1, json!({"connections": 0}));
    assert_eq!(told("wedge", json!({"provider": "fcm"})).await.1, json!({"connections": 0}));
    assert_eq!(told("wedge", json!({"provider": "apns"})).await.1, one);
    assert_eq!(push(&sandbox, &h2).await, (403, "ExpiredProviderToken".to_owned()));
    let (status, body) = told("explode", json!({"provider": "apns"})).await;
    assert!(status == 400 && body["error"].as_str().unwrap().contains("goaway"), "{body}");
    assert_eq!(told("goaway", json!({"provider": "apns", "reason": "Shutdown"})).await.1["connections"], 1);
    within(async {
        while !sandbox.connections(super::fault::Provider::Apns).is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(call(&sandbox, Method::DELETE, "/access-tokens", None).await.0, 204);
}

#[tokio::test]
async fn a_sandbox_ends_with_its_ports_and_its_temporary_files() {
    // After shutdown the port can be listened on again and the temporary directory is gone; a port in use is named.
    let sandbox = start(|_| {}).await;
    let (dir, url) = (sandbox.dir().to_owned(), sandbox.apns_url());
    let port: u16 = url.rsplit_once(':').unwrap().1.parse().unwrap();
    let taken = super::SandboxConfig { apns_port: port, ..super::SandboxConfig::default() };
    let error = Sandbox::start(taken.clone()).await.unwrap_err().to_string();
    assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
    sandbox.shutdown().await;
    assert!(!dir.exists());
    Sandbox::start(taken).await.unwrap().shutdown().await;
}

#[tokio::test]
async fn a_mistake_in_a_command_is_told_and_changes_nothing() {
    // Unknown fields, also where others are flattened or a fault has none; numbers out of range; bodies that are no JSON.
    let sandbox = start(|_| {}).await;
    let fault = |change: &str, value: Value| {
        let mut rule = json!({"provider": "apns", "fault": {"kind": "hang"}});
        rule.as_object_mut().unwrap().insert(change.to_owned(), value);
        ("POST /faults", rule)
    };
    let refuse = |status: u16| json!({"kind": "refuse", "reason": "x", "status": status});
    let far = 1_u64 << 60;
    let rows = [
        (("PUT /tokens/d", json!({"provider": "apns", "state": "live", "topci": "com.example.app"})), "topci"),
        (("PUT /tokens/d", json!({"provider": "apns", "state": "live", "timestamp": 7})), "timestamp"),
        (("PUT /tokens/d", json!({"provider": "fcm", "state": "live", "topic": "x"})), "topic"),
        (("PUT /tokens/d", json!({"provider": "fcm", "state": "sleepy"})), "sleepy"),
        (fault("cuont", json!(1)), "cuont"),
        (fault("percent", json!(-3)), "percent must be above 0 and at most 100; it is -3"),
        (fault("percent", json!(100.5)), "percent"),
        (fault("count", json!(0)), "count must be at least 1"),
        (fault("for_ms", json!(0)), "for_ms"),
        (fault("for_ms", json!(far)), "for_ms"),
        (fault("fault", json!({"kind": "black_hole", "accept": true})), "accept"),
        (fault("fault", json!({"kind": "latency", "ms": far})), "ms and jitter_ms"),
        (fault("fault", json!({"kind": "reply", "status": 20})), "status must be between 200 and 599"),
        (fault("fault", refuse(1_000)), "status"),
        (("POST /faults", json!({"provider": "apns"})), "fault"),
        (("PUT /quota", json!({"requests": 1, "window": 5})), "window"),
        (("PUT /quota", json!({"requests": 1, "window_ms": 0})), "window_ms must be between"),
        (("POST /connections/wedge", json!({"provider": "apns", "conection": 1})), "conection"),
        (("POST /connections/wedge", json!("apns")), "invalid type"),
    ];
    for ((request, body), named) in rows {
        let (method, path) = request.split_once(' ').unwrap();
        let (status, told) = call(&sandbox, method.parse().unwrap(), path, Some(body.clone())).await;
        assert!(status == 400 && told["error"].as_str().unwrap().contains(named), "{request} {body}: {status} {told}");
    }
    let (status, told) = call(&sandbox, Method::PUT, "/quota", None).await;
    assert!(status == 400 && told["error"].as_str().unwrap().starts_with("the body is no JSON"), "{told}");
    assert_eq!(call(&sandbox, Method::GET, "/faults", None).await.1, json!([]));
    assert_eq!(call(&sandbox, Method::GET, "/devices", None).await.1, json!({"apns": [], "fcm": []}));
}

#[tokio::test]
async fn a_quota_can_be_set_and_taken_away_while_it_runs() {
    // Nothing may be sent, then one message, then as many as one likes; a reset returns to the quota of the start.
    use super::fcm::tests::{Sender, data};
    let sandbox = start(|config| config.fcm.quota = Some(0)).await;
    let sender = Sender::new(&sandbox);
    let token = sender.access_token().await;
    let send = async || sender.send(&token, &data("d", json!({}))).await.0;
    assert_eq!(send().await, 429);
    let one = json!({"requests": 1, "window_ms": 3_600_000});
    assert_eq!(call(&sandbox, Method::PUT, "/quota", Some(one)).await.0, 204);
    assert_eq!((send().await, send().await), (200, 429));
    assert_eq!(call(&sandbox, Method::DELETE, "/quota", None).await.0, 204);
    assert_eq!((send().await, send().await), (200, 200));
    assert_eq!(call(&sandbox, Method::POST, "/reset", None).await.0, 204);
    assert_eq!(send().await, 429);
}
