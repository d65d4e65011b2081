//! The scanner and the rules can fail: each rule is broken once, in every way that Rust has to name something.
use super::{scan, violations};

/// What is wrong with a file of this text, in the order of the text.
fn broken(path: &str, text: &str) -> Vec<String> {
    violations(path, &scan(path, text))
}

#[test]
fn each_rule_can_be_broken() {
    // One line for each rule: the file, what it says, and the words that must stand in the complaint.
    let cases = [
        ("event/mod.rs", "use crate::policy::Setting;", "the domain knows only"),
        ("policy/entry.rs", "fn f() -> crate::delivery::Tier { todo() }", "the domain knows only"),
        ("delivery/retry.rs", "use crate::kafka::config::TopicsConfig;", "the domain knows only"),
        ("notification/mod.rs", "use std::time::{Duration, Instant};", "reads no clock"),
        ("notification/mod.rs", "let now = std::time::SystemTime::now();", "reads no clock"),
        ("delivery/retry.rs", "use rand::Rng as _;", "the dice come in as arguments"),
        ("event/decode.rs", "use std::{fmt, fs as files};", "does no I/O"),
        ("event/decode.rs", "async fn decode() {}", "waits for nothing"),
        ("policy/mod.rs", "use tokio::sync::Notify;", "does not wait"),
        ("seam.rs", "use crate::store::Store;", "the seams know the domain alone"),
        ("seam.rs", "tokio::spawn(future)", "tokio's Notify"),
        ("settings.rs", "use crate::config::Config;", "know no module of ours"),
        ("kafka/source.rs", "use crate::store::config::PolicyConfig;", "never another adapter"),
        ("provider/fcm/mod.rs", "use crate::pipeline;", "never another adapter"),
        ("store/mod.rs", "use crate::*;", "never another adapter"),
        ("telemetry/mod.rs", "pub use super::kafka::source;", "never another adapter"),
        ("pipeline/mod.rs", "use crate::{event, provider::apns};", "through traits only"),
        ("worker.rs", "super::store::open()", "through traits only"),
        ("pipeline/mod.rs", "rdkafka::util::get_rdkafka_version()", "only src/kafka names rdkafka"),
        ("provider/apns/mod.rs", "use h2::client;", "only src/provider/http2 names h2"),
        ("sandbox/frames.rs", "type Reason = h2::Reason;", "only src/provider/http2 names h2"),
        ("kafka/forwarder.rs", "use crate::event::wire;", "generated types"),
        ("kafka/forwarder.rs", "use crate::event as e; fn f(_: e::wire::PushJob) {}", "generated types"),
        ("sandbox/mod.rs", "use crate::event::*;", "generated types"),
        ("novelty/mod.rs", "", "in no layer"),
    ];
    for (path, text, words) in cases {
        let broken = broken(path, text);
        assert!(broken.len() == 1 && broken[0].contains(words), "{path}: {text:?} gave {broken:?}, not: {words}");
    }
}

#[test]
fn what_is_allowed_is_left_alone() {
    // No rule complains about the layers below, about one's own module, or about words that only look like paths.
    let cases = [
        (
            "delivery/mod.rs",
            "use crate::{event::{Event, Timestamp}, policy, notification::*}; use super::delivery::JobId;",
        ),
        ("delivery/codec.rs", "use crate::event::wire; use std::time::Duration;"),
        (
            "kafka/source.rs",
            "use crate::seam::{Lease, Record}; use rdkafka::consumer::BaseConsumer; use std::time::Instant;",
        ),
        ("pipeline/mod.rs", "use crate::telemetry; use crate::worker::Worker; use tokio::task;"),
        ("command/emit.rs", "use rdkafka::producer; use crate::event::wire; use crate::kafka::config;"),
        (
            "event/mod.rs",
            "// use crate::kafka;\n/* tokio::spawn /* h2::x */ */ let s = \"crate::store\"; let r = r#\"h2::\"x\"#;",
        ),
        (
            "event/mod.rs",
            "let quote = '\"'; let other = '\\''; // crate::store\nfn f<'a>(x: &'a str) { r#type::new() }",
        ),
        ("event/mod.rs", "#[cfg(test)] mod tests { use tokio::test; mod inner { use crate::kafka; } } use std::fmt;"),
        (
            "event/mod.rs",
            "#[cfg(test)] use tokio::{sync, task}; #[cfg(test)] fn wait(a: [u8; 2]) { crate::store::open() }",
        ),
        ("policy/mod.rs", "impl Await for Async { fn tokio() { Tokio::spawn() } }"),
    ];
    for (path, text) in cases {
        assert_eq!(broken(path, text), Vec::<String>::new(), "{path}: {text:?}");
    }
}

#[test]
fn a_complaint_says_where() {
    // The file, the line and what was named, the alias resolved.
    let text = "//! One\n\"two\nlines\";\nuse crate::{\n    event,\n    kafka as k,\n};\nfn f() { k::source::run() }\n";
    let broken = broken("store/mod.rs", text);
    assert_eq!(broken.len(), 2);
    assert!(broken[0].starts_with("src/store/mod.rs:6 names crate::kafka: "), "{}", broken[0]);
    assert!(broken[1].starts_with("src/store/mod.rs:8 names crate::kafka::source::run: "), "{}", broken[1]);
}

#[test]
fn the_files_of_test_modules_are_known() {
    // Modules under cfg(test) in files of their own are left out with everything below them.
    let text = "#[cfg(test)]\nmod fakes;\n#[cfg(test)]\n#[path = \"decode_tests.rs\"]\nmod tests;\nmod shipped;";
    let tests = |path| scan(path, text).tests.into_iter().collect::<Vec<_>>();
    assert_eq!(tests("pipeline/mod.rs"), ["pipeline/decode_tests", "pipeline/fakes"]);
    assert_eq!(tests("event/decode.rs"), ["event/decode/fakes", "event/decode_tests"]);
    assert_eq!(tests("lib.rs"), ["decode_tests", "fakes"]);
}
