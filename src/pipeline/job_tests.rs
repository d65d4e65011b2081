use std::time::Duration;

use prost::Message as _;

use crate::delivery::{Ending, Outcome, Reach, Reason, RetryScope, Tier};
use crate::event::{TRACEPARENT, wire};
use crate::pipeline::bench::{Bench, ended, retryable};
use crate::pipeline::fakes::{NOW, otp, otp_record, record};
use crate::seam::{Clock as _, Forward};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn long_lived(id: &str, recipients: &[&str]) -> wire::Event {
    let expires_at = Some(prost_types::Timestamp { seconds: NOW.as_secs() + 7_200, nanos: 0 });
    wire::Event { expires_at, ..otp(id, recipients) }
}

fn outcome(retry_after: Option<Duration>, reach: Reach) -> Outcome {
    Outcome::Retryable { reason: Reason::known("ServiceUnavailable"), retry_after, scope: RetryScope::Provider, reach }
}

/// A wait that is longer than any tier is waited out in tiers: not attempted earlier, and not counted as an attempt.
#[tokio::test]
async fn a_long_wait_is_waited_out() {
    let bench = Bench::new().person("u", 1);
    bench.answers(outcome(Some(Duration::from_secs(3_600)), Reach::Refused));
    bench.handle(otp_record(&bench.lease, 0, &long_lived("a", &["u"]))).await;
    let mut rounds = 0;
    while bench.tokens().len() < 2 {
        let (tier, not_before, attempts) = match &bench.forwarder.forwards.lock().unwrap()[0] {
            Forward::Job { tier, not_before, job } => (*tier, *not_before, job.attempts),
            other => panic!("{other:?}"),
        };
        assert_eq!((tier, attempts), (Tier::M10, 1));
        bench.clock.advance(not_before.since(bench.clock.now()));
        rounds += 1;
        bench.handle(bench.job_record(rounds)).await;
    }
    assert_eq!((rounds, bench.clock.now()), (6, NOW.plus(Duration::from_secs(3_600))));
    assert_eq!(bench.forwarder.outcomes.lock().unwrap()[0].attempts, 2);
}

/// What could not be sent is no attempt, however often: the job is not dead-lettered, and its outcome says what was sent.
#[tokio::test]
async fn unsent_is_no_attempt() {
    let bench = Bench::new().person("u", 1);
    for _ in 0..12 {
        bench.answers(outcome(None, Reach::Unsent));
    }
    bench.handle(otp_record(&bench.lease, 0, &long_lived("a", &["u"]))).await;
    for round in 1..=12 {
        bench.clock.advance(Duration::from_secs(60));
        bench.handle(bench.job_record(round)).await;
    }
    assert_eq!(bench.endings(), [ended("u", "d0", Ending::Accepted)]);
    assert_eq!(bench.forwarder.outcomes.lock().unwrap()[0].attempts, 1);
}

/// The trace context goes with whatever follows from a record: retries, parts of an explosion, withdrawals, endings.
#[tokio::test]
async fn the_trace_context_is_carried() {
    let names: Vec<String> = (0..17).map(|n| format!("u{n}")).collect();
    let mut bench = Bench::new();
    for name in &names {
        bench = bench.person(name, 1);
    }
    let traced = |offset, event: &wire::Event| {
        let mut record = otp_record(&bench.lease, offset, event);
        record.headers.push(TRACEPARENT, TRACE);
        record
    };
    bench.answers(retryable());
    bench.handle(traced(0, &otp("a", &["u0"]))).await;
    let retried = bench.job_record(1);
    bench.clock.advance(Duration::from_secs(10));
    bench.handle(retried).await;
    bench.handle(traced(2, &otp("b", &["stranger"]))).await;
    let outcomes = bench.forwarder.outcomes.lock().unwrap().clone();
    assert!(outcomes.len() == 2 && outcomes.iter().all(|ended| ended.traceparent.as_deref() == Some(TRACE)));
    let everybody: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut cancel = otp("d", &["u0"]);
    cancel.body = Some(wire::event::Body::Cancel(wire::Cancel { event_id: "a".into() }));
    for (offset, event, jobs) in [(3, otp("c", &everybody), 17), (4, cancel, 1)] {
        bench.handle(traced(offset, &event)).await;
        let forwards = bench.forwards();
        let carries = |forward: &Forward| matches!(forward, Forward::Job { job, .. } if job.traceparent.as_deref() == Some(TRACE));
        assert!(forwards.len() == jobs && forwards.iter().all(carries), "{forwards:?}");
    }
    bench.handle(otp_record(&bench.lease, 5, &otp("e", &["u0"]))).await;
    assert_eq!(bench.forwarder.outcomes.lock().unwrap().last().unwrap().traceparent, None);
}

/// A job of a newer schema that no newer worker took up in time ends as its own job; where not even its ids can be read it is a dead
/// record.
#[tokio::test]
async fn a_newer_job_expires() {
    let bench = Bench::new().person("u", 1);
    bench.answers(retryable());
    bench.handle(otp_record(&bench.lease, 0, &otp("e", &["u"]))).await;
    let shown = bench.provider.pushed.lock().unwrap()[0].job;
    let known = bench.job_record(1);
    let mut newer = wire::PushJob::decode(known.payload.as_deref().unwrap()).unwrap();
    newer.schema = 99;
    let late = |offset, job: &wire::PushJob| record(known.feed, &bench.lease, offset, "u", job.encode_to_vec());
    bench.clock.advance(Duration::from_secs(121));
    bench.handle(late(1, &newer)).await;
    assert_eq!(bench.endings(), [ended("u", "d0", Ending::Expired(Reason::known("newer_schema")))]);
    let outcome = bench.forwarder.outcomes.lock().unwrap()[0].clone();
    assert_eq!((outcome.job, outcome.attempts), (shown, 1));
    assert!(bench.forwards().is_empty());
    newer.user_id.clear();
    bench.handle(late(2, &newer)).await;
    assert!(
        matches!(bench.forwards().as_slice(), [Forward::DeadRecord { reason, .. }] if reason.as_str() == "newer_schema")
    );
}
