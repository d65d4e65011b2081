use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::bench::{Bench, cancel_of, decided, ended};
use super::fakes::{Answer, otp, otp_record, record};
use super::{BalanceSnapshot, InHand};
use crate::delivery::{Ending, PushKind, Reason};
use crate::event::TYPE_HEADER;
use crate::seam::{Feed, Forward, Group, Record};

fn panic_reason() -> Reason {
    Reason::known("panic")
}

/// Handles a record on which the flow fails before its plan: it must lie in the dead letters as it came, and be finished.
async fn dead_lettered_whole(bench: &Bench, record: Record) {
    let (feed, offset, key) = (record.feed, record.offset, record.key.clone());
    let (payload, headers) = (record.payload.clone(), record.headers.clone());
    bench.handle(record).await;
    let forwards = bench.forwards();
    let [Forward::DeadRecord { letter, reason, .. }] = forwards.as_slice() else { panic!("{forwards:?}") };
    assert_eq!((letter.feed, letter.origin.offset, reason.clone()), (feed, offset, panic_reason()));
    assert_eq!((&letter.key, &letter.payload, &letter.headers), (&key, &payload, &headers));
    assert_eq!(*bench.lease.finished.lock().unwrap(), [offset]);
    assert!(bench.tokens().is_empty() && bench.endings().is_empty());
    let whole = BalanceSnapshot { records_read: 1, records_dead_lettered: 1, ..BalanceSnapshot::default() };
    assert_eq!(bench.flow.balance().snapshot(), whole);
}

/// A panic while gathering dead-letters the record byte for byte, whatever kind of record it is.
#[tokio::test]
async fn invariant_05_panic_in_gather() {
    let cancel = cancel_of("e", &["u"]);
    let lease = |bench: &Bench| Arc::clone(&bench.lease);
    let records: [&dyn Fn(&Bench) -> Record; 4] = [
        &|bench| otp_record(&lease(bench), 4, &otp("e", &["u"])),
        &|bench| otp_record(&lease(bench), 4, &cancel),
        &|bench| record(Feed::Decision, &lease(bench), 4, "u", decided()),
        &|bench| Record { feed: Feed::Redrive, ..otp_record(&lease(bench), 4, &otp("e", &["u"])) },
    ];
    for made in records {
        let bench = Bench::new().person("u", 1);
        bench.policy.panics.store(1, SeqCst);
        let mut record = made(&bench);
        record.headers.push("traceparent", "00-1-2-01");
        record.headers.push(TYPE_HEADER, "otp_received");
        dead_lettered_whole(&bench, record).await;
    }
}

/// A panic while planning, for few devices or for many, dead-letters the record byte for byte, and nothing of it was sent.
#[tokio::test]
async fn invariant_05_panic_in_plan() {
    for devices in [0, 1, 3, 40] {
        let bench = Bench::new().person("u", devices);
        bench.policy.surplus.store(true, SeqCst);
        dead_lettered_whole(&bench, otp_record(&bench.lease, 4, &otp("e", &["u"]))).await;
    }
}

/// A panic in one job's send dead-letters that job; its sibling and its record come to their ends.
#[tokio::test]
async fn invariant_05_panic_costs_one_job() {
    let bench = Bench::new().person("u", 2);
    bench.provider.answers.lock().unwrap().push_back(Answer::Panic);
    bench.handle(otp_record(&bench.lease, 0, &otp("a", &["u"]))).await;
    let endings = bench.endings();
    assert!(endings.contains(&ended("u", "d0", Ending::DeadLettered(panic_reason()))));
    assert!(endings.contains(&ended("u", "d1", Ending::Accepted)));
    assert_eq!(*bench.lease.finished.lock().unwrap(), [0]);
    let forwards = bench.forwards();
    assert!(matches!(forwards.as_slice(), [Forward::DeadJob { group: Group::Events, .. }]), "{forwards:?}");
}

/// A job that came from a topic ends in the same way, and says which group read it.
#[tokio::test]
async fn panic_in_a_job() {
    let bench = Bench::new().person("u", 17);
    bench.handle(otp_record(&bench.lease, 0, &otp("a", &["u"]))).await;
    bench.provider.answers.lock().unwrap().push_back(Answer::Panic);
    bench.handle(bench.job_record(1)).await;
    assert_eq!(bench.endings(), [ended("u", "d0", Ending::DeadLettered(panic_reason()))]);
    let forwards = bench.forwards();
    let [Forward::DeadJob { job, group: Group::Jobs, .. }] = forwards.as_slice() else { panic!("{forwards:?}") };
    assert_eq!((job.attempts, job.last_reason.as_str()), (1, "panic"));
}

/// A panic in the middle of an explosion, or of a withdrawal from many devices, dead-letters one job; all others are published.
#[tokio::test]
async fn invariant_05_panic_in_an_explosion() {
    for (event, kind) in [(otp("e", &["u"]), PushKind::Show), (cancel_of("e", &["u"]), PushKind::Withdraw)] {
        let bench = Bench::new().person("u", 100);
        bench.forwarder.panics_at.lock().unwrap().push(70);
        bench.handle(otp_record(&bench.lease, 0, &event)).await;
        assert_eq!(bench.endings(), [ended("u", "d70", Ending::DeadLettered(panic_reason()))]);
        let forwards = bench.forwards();
        let is_job = |forward: &&Forward| matches!(forward, Forward::Job { job, .. } if job.kind == kind);
        assert_eq!((forwards.len(), forwards.iter().filter(is_job).count()), (100, 99));
        assert_eq!(*bench.lease.finished.lock().unwrap(), [0]);
    }
}

/// When a job's dead letter cannot be written either, the whole record is the last resort: it still has its bytes.
#[tokio::test]
async fn last_resort() {
    let bench = Bench::new().person("u", 100);
    bench.forwarder.panics_at.lock().unwrap().extend([70, 71]);
    let record = otp_record(&bench.lease, 0, &otp("e", &["u"]));
    let payload = record.payload.clone();
    bench.flow.handle(&mut InHand::new(record)).await;
    let forwards = bench.forwards();
    let Some(Forward::DeadRecord { letter, .. }) = forwards.last() else { panic!("{forwards:?}") };
    assert_eq!((forwards.len(), &letter.payload), (71, &payload));
    assert_eq!(*bench.lease.finished.lock().unwrap(), [0]);
    assert_eq!(bench.flow.balance().snapshot().records_open(), 0);
}
