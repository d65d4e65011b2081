//! The trace context on its way through the topics.
use prost::Message as _;
use watchbell::event::NotificationType;
use watchbell::sandbox::fault::{Fault, Provider, Refusal, Rule};

use crate::support::kafka::{Reader, Record};
use crate::support::services::shared_kafka;
use crate::support::stage::{CEILING, Stage, otp, token_of};

fn refuse(reason: &str) -> Fault {
    Fault::Refuse(Refusal { reason: reason.into(), status: None, timestamp: None, retry_after: None })
}

/// The trace context of an event's record is a header of what follows from it: the job in its tier, its dead letter, its outcome.
#[test]
fn the_trace_context_is_carried() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let stage = Stage::new(&shared_kafka(), 1, &["u0".to_owned()]);
    let _worker = stage.worker();
    stage.sandbox.add_fault(Rule::always(Provider::Apns, refuse("ServiceUnavailable")).times(2));
    stage.sandbox.add_fault(Rule::always(Provider::Apns, refuse("BadPriority")).on(&token_of("u0")));
    stage.producer.send(&Record {
        topic: stage.topics.event(NotificationType::OtpReceived).to_owned(),
        key: Some(b"u0".to_vec()),
        payload: Some(otp("e", &["u0"]).encode_to_vec()),
        headers: vec![("traceparent".to_owned(), trace.as_bytes().to_vec())],
        ..Record::default()
    });
    stage.wait_outcomes(1);
    for topic in [&format!("{}.urgent.10s", stage.topics.jobs), &stage.topics.dlq, &stage.topics.outcomes] {
        let mut reader = Reader::from_beginning(&stage.bootstrap, &[topic]);
        assert_eq!(reader.until_count(1, CEILING)[0].header("traceparent").as_deref(), Some(trace), "{topic}");
    }
}
