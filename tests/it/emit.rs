//! `watchbell emit` against a real broker.
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use watchbell::event::{Event, Headers, Incoming, Limits, NotificationType, Timestamp, decode};

use crate::support::SOON;
use crate::support::kafka::{Reader, Record, create_topics};
use crate::support::process::command;
use crate::support::services::{send_signal, shared_kafka, unique};

/// The broker and a topic of its own for one-time passwords.
struct Target {
    kafka: String,
    topic: String,
}

impl Target {
    fn new() -> Self {
        let target = Self { kafka: shared_kafka(), topic: unique("otp") };
        create_topics(&target.kafka, &[(&target.topic, 3)]);
        target
    }

    fn command(&self, arguments: &str) -> Command {
        let arguments: Vec<_> = std::iter::once("emit").chain(arguments.split(' ')).collect();
        let mut command = command(&arguments);
        command.env("WATCHBELL_KAFKA__BOOTSTRAP_SERVERS", &self.kafka);
        command.env("WATCHBELL_TOPICS__OTP_RECEIVED", &self.topic);
        command
    }

    fn emit(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn emit_json(&self, arguments: &str, json: &str) -> Output {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(json.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn records(&self, count: usize) -> Vec<Record> {
        let mut reader = Reader::from_beginning(&self.kafka, &[&self.topic]);
        reader.until_count(count, SOON);
        reader.up_to_the_end().to_vec()
    }
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn event(record: &Record) -> Event {
    let mut headers = Headers::new();
    record.headers.iter().for_each(|(name, value)| headers.push(name.as_str(), value.clone()));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = Timestamp(i64::try_from(now.as_millis()).unwrap());
    let limits = Limits { recipients_max: 500 };
    match decode(record.payload.as_deref(), &headers, NotificationType::OtpReceived, limits, now).unwrap() {
        Incoming::Event(event) => event,
        Incoming::Cancel(cancel) => panic!("a cancel: {cancel:?}"),
    }
}

#[test]
fn one_event_from_flags_is_what_a_worker_reads() {
    // The record on the topic has the contract's key, the headers that were asked for, and a complete event.
    let target = Target::new();
    let said = printed(&target.emit(
        "otp --workspace acme --user auth0|u1 --account Bank --service ACME --expires-in 90s --event-id e-1 \
         --header traceparent=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ));
    assert!(said.contains("event e-1") && said.contains(&target.topic) && said.contains("key auth0|u1"), "{said}");

    let records = target.records(1);
    let [record] = records.as_slice() else { panic!("{} records", records.len()) };
    assert_eq!(record.key.as_deref(), Some(&b"auth0|u1"[..]));
    assert_eq!(record.header("traceparent").unwrap().len(), 55);
    let event = event(record);
    assert_eq!((event.id.as_str(), event.workspace.as_str()), ("e-1", "acme"));
    assert_eq!(event.expires_at.since(event.occurred_at), Duration::from_secs(90));
}

#[test]
fn events_from_json_take_turns_until_the_count_is_reached() {
    // Load from a few lines of JSON: every event is acknowledged and counted, ids are new each time, keys follow the contract.
    let target = Target::new();
    let json = r#"{"workspaceId": "w", "recipients": ["u1"], "otpReceived": {"account": "A", "service": "S"}}
{"workspaceId": "w", "recipients": ["u2", "u3"], "otpReceived": {"account": "A", "service": "S"}}"#;
    let said = printed(&target.emit_json("--json - --count 1001 --rate 5000/s", json));
    assert!(said.starts_with("1001 produced, 0 failed, "), "{said}");

    let records = target.records(1001);
    assert_eq!(records.len(), 1001);
    let events: Vec<_> = records.iter().map(event).collect();
    let ids: std::collections::BTreeSet<_> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), 1001);
    let to_one: Vec<_> = events.iter().zip(&records).filter(|(event, _)| event.recipients.len() == 1).collect();
    assert_eq!(to_one.len(), 501);
    assert!(to_one.iter().all(|(_, record)| record.key.as_deref() == Some(b"u1")));
    let to_two = events.iter().zip(&records).filter(|(event, _)| event.recipients.len() == 2);
    assert!(to_two.into_iter().all(|(event, record)| record.key.as_deref() == Some(event.id.as_str().as_bytes())));
}

#[test]
fn what_was_written_before_a_stop_is_told() {
    // Ctrl-C in the middle of load: the exit code of an interrupted command, and a count that is what the topic holds.
    let target = Target::new();
    let mut command = target.command("otp --workspace w --user u --account A --service S --count 100000 --rate 100/s");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    target.records(3);
    send_signal("INT", &[child.id()]);
    let said = refused(&child.wait_with_output().unwrap(), 130);
    let written = target.records(3).len();
    assert!(said.contains(&format!("stopped: {written} of 100000 events were written")), "{said}");
}

#[test]
fn nothing_is_written_when_one_event_is_wrong() {
    // All or nothing: the second line is refused with the decoder's sentence, and the first one was not written.
    let target = Target::new();
    let json = r#"{"workspaceId": "w", "recipients": ["u1"], "otpReceived": {"account": "A", "service": "S"}}
{"workspaceId": "w", "recipients": ["u 2"], "otpReceived": {"account": "A", "service": "S"}}"#;
    let said = refused(&target.emit_json("--json -", json), 65);
    assert!(said.contains("line 2: ") && said.contains("bad_id") && said.contains("nothing was written"), "{said}");
    printed(&target.emit("otp --workspace w --user later --account A --service S --no-key"));
    let records = target.records(1);
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].key.clone(), event(&records[0]).recipients[0].as_str()), (None, "later"));
}

#[test]
fn what_cannot_be_reached_is_named() {
    // A topic that does not exist and a broker that is not there end with 69 and say what to look at.
    let target = Target { kafka: shared_kafka(), topic: unique("nowhere") };
    let otp = "otp --workspace w --user u --account A --service S";
    let said = refused(&target.emit(otp), 69);
    assert!(said.contains(&target.topic) && said.contains("does not exist"), "{said}");
    // Port 9 on loopback (discard, RFC 863): nobody listens there.
    let said = refused(&Target { kafka: "127.0.0.1:9".to_owned(), ..target }.emit(otp), 69);
    assert!(said.contains("127.0.0.1:9") && said.contains("kafka.bootstrap_servers"), "{said}");
}
