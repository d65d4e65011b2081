use std::time::Duration;

use prost::Message as _;

use crate::delivery::{Ending, Outcome, PushKind, Reason, RetryScope};
use crate::event::wire;
use crate::pipeline::bench::{Bench, ended, retryable};
use crate::pipeline::fakes::{NOW, otp, otp_record, record};
use crate::seam::{Feed, Forward};

fn cancel_of(event: &str, recipients: &[&str]) -> wire::Event {
    let mut cancel = otp("c", recipients);
    cancel.body = Some(wire::event::Body::Cancel(wire::Cancel { event_id: event.into() }));
    cancel
}

/// A cancel is remembered before anything is taken back, and each device gets a job that names the first one's entry.
#[tokio::test]
async fn cancel_withdraws() {
    let bench = Bench::new().person("u", 1);
    bench.handle(otp_record(&bench.lease, 0, &otp("e", &["u"]))).await;
    bench.handle(otp_record(&bench.lease, 1, &cancel_of("e", &["u"]))).await;
    assert_eq!(bench.policy.withdrawn.lock().unwrap().len(), 1);
    bench.handle(bench.job_record(2)).await;
    let pushed = bench.provider.pushed.lock().unwrap();
    assert!(pushed[1].withdrawal);
    assert_eq!(pushed[1].collapse, pushed[0].job);
    assert_ne!(pushed[1].job, pushed[0].job);
}

/// A final decision withdraws the request from the person's phones; one that is not final does nothing.
#[tokio::test]
async fn decision_withdraws() {
    let bench = Bench::new().person("u", 2);
    let decision = |body| wire::Decision {
        workspace_id: "w".into(),
        r#type: wire::NotificationType::IdentityVerification.into(),
        event_id: "e".into(),
        user_id: "u".into(),
        decision_id: "x".into(),
        at: Some(prost_types::Timestamp { seconds: NOW.as_secs(), nanos: 0 }),
        body: Some(body),
    };
    let open = decision(wire::decision::Body::Asked(wire::Asked::default()));
    bench.handle(record(Feed::Decision, &bench.lease, 0, "u", open.encode_to_vec())).await;
    assert!(bench.forwards().is_empty());
    let decided = decision(wire::decision::Body::Decided(wire::Decided::default()));
    bench.handle(record(Feed::Decision, &bench.lease, 1, "u", decided.encode_to_vec())).await;
    let forwards = bench.forwards();
    let withdraws = |forward: &Forward| matches!(forward, Forward::Job { job, .. } if job.kind == PushKind::Withdraw);
    assert!(forwards.len() == 2 && forwards.iter().all(withdraws));
    assert_eq!(bench.policy.withdrawn.lock().unwrap().len(), 1);
}

/// A notification that its provider refused, and that waits in a tier, is taken back without any push: neither its own nor another.
#[tokio::test]
async fn cancel_in_a_tier_pushes_nothing() {
    let bench = Bench::new().person("u", 2);
    bench.answers(retryable());
    bench.handle(otp_record(&bench.lease, 0, &otp("e", &["u"]))).await;
    let waiting = bench.job_record(1);
    bench.handle(otp_record(&bench.lease, 2, &cancel_of("e", &["u"]))).await;
    let [Forward::Job { job, .. }] = &bench.forwards()[..] else { panic!("the second phone alone showed it") };
    assert_eq!((job.device.as_str(), job.kind), ("d1", PushKind::Withdraw));
    bench.clock.advance(Duration::from_secs(10));
    bench.handle(waiting).await;
    assert_eq!(bench.endings()[1..], [ended("u", "d0", Ending::Suppressed(Reason::known("withdrawn")))]);
    assert_eq!(bench.tokens(), ["u-d0", "u-d1"]);
}

/// A push of unknown fate is taken back even while it waits, also after a later attempt that was refused; and so is one whose tier has
/// let it go.
#[tokio::test]
async fn cancel_takes_back_what_may_be_shown() {
    let unknown = Outcome::Retryable {
        reason: Reason::known("timeout"),
        retry_after: None,
        scope: RetryScope::Provider,
        maybe_shown: true,
    };
    let withdrawn = |bench: &Bench| {
        bench
            .forwards()
            .iter()
            .any(|forward| matches!(forward, Forward::Job { job, .. } if job.kind == PushKind::Withdraw))
    };
    let bench = Bench::new().person("u", 1);
    bench.answers(unknown);
    bench.answers(retryable());
    bench.handle(otp_record(&bench.lease, 0, &otp("e", &["u"]))).await;
    bench.handle(bench.job_record(1)).await;
    let _waits_again = bench.forwards();
    bench.handle(otp_record(&bench.lease, 2, &cancel_of("e", &["u"]))).await;
    assert!(withdrawn(&bench));

    bench.answers(retryable());
    bench.handle(otp_record(&bench.lease, 3, &otp("late", &["u"]))).await;
    let _waits = bench.forwards();
    bench.clock.advance(Duration::from_secs(10));
    bench.handle(otp_record(&bench.lease, 4, &cancel_of("late", &["u"]))).await;
    assert!(withdrawn(&bench));
}
