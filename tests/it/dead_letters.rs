//! Dead letters are read with the tools that people have.
use std::path::Path;
use std::process::Command;

use watchbell::event::NotificationType;

use crate::support::kafka::Reader;
use crate::support::services::shared_kafka;
use crate::support::stage::{CEILING, Stage};

/// The command of deploy/topics.md that begins with `tool`, as words.
fn documented(tool: &str) -> Vec<String> {
    let page = include_str!("../../deploy/topics.md").replace("\\\n", " ");
    let line = page.lines().find(|line| line.trim_start().starts_with(tool));
    let line = line.unwrap_or_else(|| panic!("deploy/topics.md shows no {tool}"));
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn kafkas_own_consumer_reads_dead_letters_by_the_documented_command() {
    // What deploy/topics.md tells people to type shows the bytes, our reason, and both families of foreign headers.
    let stage = Stage::new(&shared_kafka(), 1, &[]);
    let _worker = stage.worker();
    stage.producer.send_to(stage.topics.event(NotificationType::OtpReceived), "u0", "no event");
    Reader::from_beginning(&stage.bootstrap, &[&stage.topics.dlq]).until_count(1, CEILING);

    let home = std::env::var("WATCHBELL_TEST_KAFKA_HOME").expect("tests/services/run sets it");
    let words = documented("kafka-console-consumer.sh");
    // What kafka-console-consumer.sh runs, without the scripts that Maven's jars come without.
    let mut java = Command::new("java");
    java.arg("-cp").arg(Path::new(&home).join("lib/*")).arg("org.apache.kafka.tools.consumer.ConsoleConsumer");
    java.args(words[1..].iter().map(|word| match word.as_str() {
        "HOST:PORT" => &stage.bootstrap,
        "watchbell.dlq" => &stage.topics.dlq,
        word => word,
    }));
    let output = java.args(["--max-messages", "1", "--timeout-ms", "60000"]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let letter = printed.lines().find(|line| line.ends_with("no event"));
    let letter = letter.unwrap_or_else(|| panic!("no letter in {printed}{}", String::from_utf8_lossy(&output.stderr)));
    let origin = stage.topics.event(NotificationType::OtpReceived);
    for part in [
        "watchbell-kind:record",
        "watchbell-reason:not_protobuf",
        "watchbell-type:otp_received",
        &format!("kafka_dlt-original-topic:{origin}"),
        &format!("__connect.errors.topic:{origin}"),
        "Offset:0",
        "\tu0\t",
    ] {
        assert!(letter.contains(part), "{part} is not in {letter}");
    }
}

#[test]
fn every_header_of_a_dead_letter_is_described() {
    // deploy/topics.md names each header that Watchbell adds, so that a new one is not forgotten there.
    use watchbell::kafka::headers;
    let page = include_str!("../../deploy/topics.md");
    for name in [
        headers::KIND,
        headers::REASON,
        headers::EXPLANATION,
        headers::TYPE,
        headers::FEED,
        headers::ATTEMPTS,
        headers::FIRST_SEEN,
        headers::DEADLINE,
        headers::ORIGIN_TOPIC,
        "kafka_dlt-original-",
        "__connect.errors.",
    ] {
        assert!(page.contains(&format!("`{name}")), "deploy/topics.md does not describe {name}");
    }
}
