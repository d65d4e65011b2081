//! What a worker says of the session that it does not set itself.
use std::io::Write as _;
use std::time::Duration;

use watchbell::kafka::admin::Admin;
use watchbell::kafka::client::Clients;
use watchbell::kafka::config::GroupProtocol;
use watchbell::sandbox::SandboxConfig;

use super::config;
use crate::support::kafka::alter_group;
use crate::support::process::watchbell;
use crate::support::services::Broker;
use crate::support::stage::Stage;
use crate::support::{SOON, block_on, eventually};

/// Under KIP-848 the broker's session rules, here Kafka's own default: a worker that starts says so, with the value, and so does
/// `topics check`. Of a group that has settings of its own the client library hands on nothing, so nothing is said.
#[test]
fn a_long_session_is_warned_of() {
    let broker = Broker::start_with(&["group.consumer.session.timeout.ms=45000"]);
    let kafka = broker.address();
    let stage = Stage::with(&kafka, 1, &[], SandboxConfig::default(), "group_protocol = \"consumer\"");
    let mut config = config(&kafka, &stage.group);
    config.group_protocol = GroupProtocol::Consumer;
    let clients = Clients::new(config).unwrap();
    let admin = Admin::new(&clients, &stage.topics, []);
    assert_eq!(block_on(admin.measured_session()), Some(Duration::from_secs(45)));
    let warning = block_on(admin.session_warning()).unwrap();
    for said in ["after 45s only", "consumer.session.timeout.ms", &stage.group, "group_protocol = \"classic\""] {
        assert!(warning.contains(said), "{warning}");
    }
    let log = stage.worker().log();
    assert!(log.contains("after 45s only") && log.contains("WARN"), "{log}");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(stage.config().as_bytes()).unwrap();
    let output = watchbell(&["topics", "check", "--config", file.path().to_str().unwrap()]);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("warning: the broker notices"), "{output:?}");

    alter_group(&kafka, &stage.group, "consumer.session.timeout.ms", "6000");
    eventually("the group's own setting", SOON, || block_on(admin.measured_session()).is_none().then_some(()));
    assert_eq!(block_on(admin.session_warning()), None);
}
