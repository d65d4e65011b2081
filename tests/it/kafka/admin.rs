//! The topics that Watchbell makes, and what it says of those that it finds.
use std::time::Duration;

use watchbell::kafka::admin::{Admin, NewTopics};
use watchbell::kafka::client::Clients;
use watchbell::kafka::config::{GroupProtocol, TopicsConfig};

use super::{config, topics};
use crate::support::kafka::{create_topics, create_topics_with, topic_settings};
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
    assert_eq!(create(&clients, &named, &CREDENTIALS).len(), 18);
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
