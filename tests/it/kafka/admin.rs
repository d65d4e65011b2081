//! The topics that Watchbell makes, and what it says of those that it finds.
use std::time::Duration;

use watchbell::kafka::admin::{Admin, NewTopics};
use watchbell::kafka::client::Clients;
use watchbell::kafka::config::{GroupProtocol, SecurityConfig, TopicsConfig};

use super::{config, topics};
use crate::support::kafka::{Producer, create_topics, create_topics_with, topic_settings};
use crate::support::process::watchbell;
use crate::support::services::{shared_kafka, unique};
use crate::support::{SOON, block_on, eventually};

const NEW: NewTopics = NewTopics { partitions: 3, replication: 1, with_upstreams: true };
const CREDENTIALS: [&str; 2] = ["apns.main", "fcm.main"];

fn clients(kafka: &str) -> Clients {
    Clients::new(config(kafka, &unique("group"))).unwrap()
}

fn create(clients: &Clients, topics: &TopicsConfig, credentials: &[&str]) -> Vec<String> {
    block_on(Admin::new(clients, topics, credentials.iter().copied()).create(&NEW)).unwrap()
}

/// The check's sentences, once there are so many of them: what was just made is not known to every part of a broker at once.
fn problems(clients: &Clients, topics: &TopicsConfig, credentials: &'static [&str], count: usize) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    eventually(&format!("{count} problems"), SOON, || {
        let (clients, topics) = (clients.clone(), topics.clone());
        let asked = async move { Admin::new(&clients, &topics, credentials.iter().copied()).problems().await };
        let told = runtime.block_on(async { tokio::spawn(asked).await.unwrap().unwrap() });
        Some(told).filter(|told| told.len() == count)
    })
}

#[test]
fn topics_are_made_and_checked() {
    // `topics create` makes what is missing and nothing twice; the check at start tells a missing topic, a hold topic with several
    // partitions and dead letters that could not take the largest input.
    let kafka = shared_kafka();
    let (clients, named) = (clients(&kafka), topics(&unique("admin")));
    problems(&clients, &named, &CREDENTIALS, 20);

    create_topics_with(&kafka, &[(&named.otp_received, 2)], &[("max.message.bytes", "3000000")]);
    create_topics(&kafka, &[(&named.hold("fcm.main"), 3)]);
    assert_eq!(create(&clients, &named, &CREDENTIALS).len(), 20);
    assert_eq!(create(&clients, &named, &CREDENTIALS), Vec::<String>::new());
    let told = problems(&clients, &named, &CREDENTIALS, 1);
    assert!(told[0].contains("hold.fcm.main has 3 partitions"), "{told:?}");

    let small = topics(&unique("small"));
    create_topics(&kafka, &[(&small.dlq, 1)]);
    create(&clients, &small, &[]);
    let told = problems(&clients, &small, &[], 1);
    assert!(told[0].contains("set its max.message.bytes to 1114124"), "{told:?}");
}

#[test]
fn hold_topics_keep_jobs_for_as_long_as_any_lives() {
    // What waits for a credential must still be there when it is mended, up to the deadline of the longest-lived event: we make the
    // topics so, and refuse those that others made and that would delete it earlier. For ever is long enough.
    let kafka = shared_kafka();
    let (clients, ours, theirs) = (clients(&kafka), topics(&unique("ours")), topics(&unique("theirs")));
    create(&clients, &ours, &CREDENTIALS);
    problems(&clients, &ours, &CREDENTIALS, 0);
    let settings = topic_settings(&kafka, &ours.hold("apns.main"));
    let kept = ["retention.ms", "retention.bytes", "cleanup.policy"].map(|name| settings[name].as_str());
    assert_eq!(kept, ["2505600000", "-1", "delete"]);

    let week = [("retention.ms", "604800000"), ("retention.bytes", "1000000"), ("cleanup.policy", "compact,delete")];
    create_topics_with(&kafka, &[(&theirs.hold("apns.main"), 1)], &week);
    create_topics_with(&kafka, &[(&theirs.hold("fcm.main"), 1)], &[("retention.ms", "-1")]);
    create(&clients, &theirs, &CREDENTIALS);
    let told = problems(&clients, &theirs, &CREDENTIALS, 3);
    for ((setting, has), sentence) in week.iter().zip(&told) {
        assert!(sentence.contains(&format!("hold.apns.main has {setting} {has}:")), "{sentence}");
    }
}

#[test]
fn the_brokers_own_session_is_measured() {
    // Under KIP-848 the broker decides how long a dead worker goes unnoticed; the worker asks for that and warns when it is too long.
    // The tests' brokers have 6 s, and no classic group is asked about.
    let kafka = shared_kafka();
    let mut config = config(&kafka, &unique("group"));
    let topics = topics("unused");
    let classic = Clients::new(config.clone()).unwrap();
    assert_eq!(block_on(Admin::new(&classic, &topics, []).measured_session()), None);
    config.group_protocol = GroupProtocol::Consumer;
    let clients = Clients::new(config).unwrap();
    let admin = Admin::new(&clients, &topics, []);
    assert_eq!(block_on(admin.measured_session()), Some(Duration::from_secs(6)));
    assert_eq!(block_on(admin.session_warning()), None);
}

#[test]
fn decisions_are_made_too() {
    // Nobody else makes them today, and a worker reads them; upstream's own topics are left to upstream.
    let kafka = shared_kafka();
    let (clients, named) = (clients(&kafka), topics(&unique("decisions")));
    let new = NewTopics { with_upstreams: false, ..NEW };
    let made = block_on(Admin::new(&clients, &named, CREDENTIALS).create(&new)).unwrap();
    assert!(made.contains(&named.decisions), "{made:?}");
    let told = problems(&clients, &named, &CREDENTIALS, 4);
    assert!(told.iter().all(|sentence| sentence.contains("its owners make it")), "{told:?}");
}

#[test]
fn too_many_replicas_are_told_once() {
    // Who tries it on one broker reads one sentence with the way out, not the same refusal for every topic.
    let kafka = shared_kafka();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("watchbell.toml");
    let prefix = unique("replicas");
    let text = format!(
        "[kafka]\nbootstrap_servers = {kafka:?}\n[topics]\njobs = \"{prefix}.jobs\"\nhold = \"{prefix}.hold\"\ndlq = \"{prefix}.dlq\"\n\
         redrive = \"{prefix}.redrive\"\noutcomes = \"{prefix}.outcomes\"\ndecisions = \"{prefix}.decisions\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let create = |more: &[&str]| watchbell(&[&["topics", "create", "--config", file.to_str().unwrap()], more].concat());
    let refused = create(&[]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(69), "{told}");
    assert!(told.lines().count() == 1 && told.contains("1 broker(s)") && told.contains("`--replication 1`"), "{told}");
    assert_eq!(create(&["--replication", "1", "--partitions", "1"]).status.code(), Some(0));
}

#[test]
fn hold_topics_that_nobody_reads_are_told() {
    // A credential that was removed or renamed leaves jobs behind that would never get an outcome. Topics that are empty, or belong to
    // a credential, are no news.
    let kafka = shared_kafka();
    let (clients, named) = (clients(&kafka), topics(&unique("unread")));
    create(&clients, &named, &["apns.main", "apns.old", "fcm.empty"]);
    let producer = Producer::new(&kafka);
    for (credential, jobs) in [("apns.main", 1), ("apns.old", 3)] {
        (0..jobs).for_each(|_| producer.send_to(&named.hold(credential), "u", "job"));
    }
    producer.flush();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let told = runtime.block_on(async { Admin::new(&clients, &named, ["apns.main"]).unread_holds().await });
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains(&format!("{} has up to 3 jobs", named.hold("apns.old"))) && told[0].contains("[apns.old]"),
        "{told:?}"
    );
}

#[test]
fn without_a_token_topics_are_not_made_but_told() {
    // With OAUTHBEARER no admin call gets a token: it says so at once instead of blaming the address after a time-out.
    let security = "protocol = \"sasl_plaintext\"\nsasl_mechanism = \"oauthbearer\"\ntoken_url = \"https://localhost/token\"\n\
                    client_id = \"x\"\nclient_secret = \"x\"";
    let security: SecurityConfig = toml::from_str(security).unwrap();
    let config = watchbell::kafka::config::KafkaConfig { security, ..config("localhost:1", "g") };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let refused = runtime.block_on(async {
        let (clients, topics) = (Clients::new(config).unwrap(), topics("unused"));
        let admin = Admin::new(&clients, &topics, CREDENTIALS);
        assert!(admin.unchecked().is_some_and(|sentence| sentence.contains("are not checked")));
        admin.create(&NEW).await.unwrap_err().to_string()
    });
    assert!(refused.contains("\"By hand\" in deploy/topics.md"), "{refused}");
}
