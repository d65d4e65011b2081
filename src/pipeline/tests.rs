use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use prost::Message as _;

use super::bench::{Bench, ended, retryable};
use super::fakes::{FakeLease, NOW, otp, otp_record, record, user};
use super::{FlowConfig, InHand};
use crate::delivery::{Ending, Outcome, Reason, Tier};
use crate::event::{FEED_HEADER, NotificationType, TYPE_HEADER, Timestamp, wire};
use crate::policy::{Preference, Setting, Workspace};
use crate::seam::{Clock as _, Feed, Forward, LeaseState, Record};

/// An accepted push ends its job, and its offset is finished only when the outcome was acknowledged.
#[tokio::test]
async fn invariant_02_finished_when_acknowledged() {
    let bench = Bench::new().person("u", 1);
    bench.forwarder.slow.store(true, SeqCst);
    bench.handle(otp_record(&bench.lease, 5, &otp("e", &["u"]))).await;
    assert_eq!(bench.endings(), [ended("u", "d0", Ending::Accepted)]);
    assert!(bench.lease.finished.lock().unwrap().is_empty());
    bench.forwarder.acknowledge();
    assert_eq!(*bench.lease.finished.lock().unwrap(), [5]);
}

/// Policy suppresses with its reason and one ending; nothing is sent.
#[tokio::test]
async fn suppressed() {
    let bench = Bench::new().person("u", 2);
    let otp_index = NotificationType::OtpReceived.index();
    bench.policy.users.lock().unwrap().get_mut("u").unwrap().preferences[otp_index] = Preference::Off;
    bench.handle(otp_record(&bench.lease, 0, &otp("a", &["u"]))).await;
    let mut workspace = Workspace::unknown();
    workspace.settings[otp_index] = Setting::Disabled;
    *bench.policy.workspace.lock().unwrap() = Some(workspace.clone());
    bench.handle(otp_record(&bench.lease, 1, &otp("b", &["u"]))).await;
    workspace.settings[otp_index] = Setting::Enforced;
    *bench.policy.workspace.lock().unwrap() = Some(workspace);
    bench.handle(otp_record(&bench.lease, 2, &otp("c", &["u"]))).await;
    let endings = bench.endings();
    assert_eq!(endings[0], ended("u", "", Ending::Suppressed(Reason::known("muted_by_user"))));
    assert_eq!(endings[1], ended("u", "", Ending::Suppressed(Reason::known("disabled_by_workspace"))));
    assert_eq!(endings[2..], [ended("u", "d0", Ending::Accepted), ended("u", "d1", Ending::Accepted)]);
}

/// A person without a device ends once, without one.
#[tokio::test]
async fn no_device() {
    let bench = Bench::new();
    bench.handle(otp_record(&bench.lease, 0, &otp("e", &["stranger"]))).await;
    assert_eq!(bench.endings(), [ended("stranger", "", Ending::NoDevice)]);
    assert_eq!(*bench.lease.finished.lock().unwrap(), [0]);
}

/// A stale event is never pushed: it ends as expired for each recipient.
#[tokio::test]
async fn expired_when_read() {
    let bench = Bench::new().person("u", 1);
    bench.clock.advance(Duration::from_secs(121));
    bench.handle(otp_record(&bench.lease, 0, &otp("e", &["u", "v"]))).await;
    let expired = || Ending::Expired(Reason::known("deadline"));
    assert_eq!(bench.endings(), [ended("u", "", expired()), ended("v", "", expired())]);
    assert!(bench.tokens().is_empty());
}

/// What is no event goes to the dead letters byte for byte, with the moment of its reading, and its offset is finished once that was
/// acknowledged.
#[tokio::test]
async fn dead_record() {
    let bench = Bench::new();
    let feed = Feed::Event(NotificationType::OtpReceived);
    let garbage = record(feed, &bench.lease, 3, "k", b"\xffgarbage".to_vec());
    let garbage = Record { read_at: bench.clock.instant(), ..garbage };
    bench.clock.advance(Duration::from_secs(5));
    bench.handle(garbage).await;
    let forwards = bench.forwards();
    let [Forward::DeadRecord { letter, reason, .. }] = forwards.as_slice() else { panic!("{forwards:?}") };
    assert_eq!(letter.payload.as_deref(), Some(&b"\xffgarbage"[..]));
    assert_eq!((reason.as_str(), letter.origin.offset), ("not_protobuf", 3));
    assert_eq!(letter.first_seen, NOW);
    assert_eq!(*bench.lease.finished.lock().unwrap(), [3]);
}

/// A retry reaches only its own device, carries the attempt, and ends under the same job id.
#[tokio::test]
async fn retry_is_one_device() {
    let bench = Bench::new().person("u", 2);
    bench.answers(retryable());
    bench.handle(otp_record(&bench.lease, 0, &otp("e", &["u"]))).await;
    assert_eq!(bench.endings().len(), 1);
    bench.handle(bench.job_record(1)).await;
    assert_eq!(bench.tokens(), ["u-d0", "u-d1", "u-d0"]);
    let pushed = bench.provider.pushed.lock().unwrap();
    assert_eq!(pushed[0].job, pushed[2].job);
    assert_eq!(bench.forwarder.outcomes.lock().unwrap().last().unwrap().attempts, 2);
}

/// What somebody changes between two attempts.
type Change<'a> = &'a dyn Fn(&Bench);

/// Every attempt obeys what changed since the last: a moved token is used, a mute, a withdrawal and an erased phone end the job unsent.
#[tokio::test]
async fn invariant_04_each_attempt_is_planned_anew() {
    let suppressed = |reason| ended("u", "d0", Ending::Suppressed(Reason::known(reason)));
    let withdrawn = |bench: &Bench| {
        let event = crate::event::EventId::new("e").unwrap();
        bench.policy.withdrawn.lock().unwrap().insert((NotificationType::OtpReceived, event));
    };
    let person = |bench: &Bench, person: crate::policy::User| {
        bench.policy.users.lock().unwrap().insert("u".into(), person);
    };
    let muted = |bench: &Bench| {
        let preferences = [Preference::Off; NotificationType::COUNT];
        person(bench, crate::policy::User { preferences, ..user("moved", 1) });
    };
    let changes: [(Change<'_>, _); 3] = [
        (&withdrawn, suppressed("withdrawn")),
        (&muted, suppressed("muted_by_user")),
        (&|bench| person(bench, user("moved", 0)), ended("u", "d0", Ending::NoDevice)),
    ];
    for (change, ending) in changes {
        let bench = Bench::new().person("u", 1);
        bench.answers(retryable());
        bench.answers(retryable());
        bench.handle(otp_record(&bench.lease, 0, &otp("e", &["u"]))).await;
        person(&bench, user("moved", 1));
        bench.handle(bench.job_record(1)).await;
        change(&bench);
        bench.handle(bench.job_record(2)).await;
        assert_eq!(bench.tokens(), ["u-d0", "moved-d0"]);
        assert_eq!(bench.endings(), [ending]);
    }
}

/// A dead token is removed on the provider's time, or on the begin of the send less skew.
#[tokio::test]
async fn dead_token() {
    let bench = Bench::new().person("u", 1);
    let since = Some(Timestamp(123));
    bench.answers(Outcome::TokenInvalid { since, reason: Reason::known("Unregistered") });
    bench.answers(Outcome::TokenInvalid { since: None, reason: Reason::known("UNREGISTERED") });
    bench.handle(otp_record(&bench.lease, 0, &otp("a", &["u"]))).await;
    bench.handle(otp_record(&bench.lease, 1, &otp("b", &["u"]))).await;
    let times: Vec<_> = bench.policy.removed.lock().unwrap().iter().map(|dead| dead.since).collect();
    assert_eq!(times, [Timestamp(123), NOW.minus(FlowConfig::default().clock_skew)]);
    assert_eq!(bench.endings()[0], ended("u", "d0", Ending::TokenInvalid(Reason::known("Unregistered"))));
}

/// A misconfigured credential holds its jobs, deletes no token, and lets nothing else through until it is probed and mended.
#[tokio::test]
async fn misconfigured_holds() {
    let bench = Bench::new().person("u", 1);
    bench.answers(Outcome::Misconfigured { reason: Reason::known("InvalidProviderToken") });
    bench.handle(otp_record(&bench.lease, 0, &otp("a", &["u"]))).await;
    bench.handle(otp_record(&bench.lease, 1, &otp("b", &["u"]))).await;
    assert_eq!(bench.tokens().len(), 1, "the second job waits without a send");
    let held = bench.forwards();
    assert!(
        held.iter().all(|forward| matches!(forward, Forward::Hold { credential, .. } if &**credential == "apns.main"))
    );
    assert_eq!(held.len(), 2);
    assert!(bench.policy.removed.lock().unwrap().is_empty());
    bench.clock.advance(FlowConfig::default().probe_interval);
    bench.handle(otp_record(&bench.lease, 2, &otp("c", &["u"]))).await;
    bench.handle(otp_record(&bench.lease, 3, &otp("d", &["u"]))).await;
    assert_eq!(bench.endings().len(), 2, "the probe was accepted, and the next job flows");
}

/// A device whose app no credential serves waits; no token is touched, nothing is dead-lettered.
#[tokio::test]
async fn no_credential_waits() {
    let bench = Bench::new().person("u", 1);
    bench.provider.without_credential.store(true, SeqCst);
    bench.handle(otp_record(&bench.lease, 0, &otp("a", &["u"]))).await;
    let forwards = bench.forwards();
    assert!(
        matches!(forwards.as_slice(), [Forward::Job { tier: Tier::S10, job, .. }] if job.attempts == 0),
        "{forwards:?}"
    );
}

/// A rejected message is dead-lettered as a job, with its outcome.
#[tokio::test]
async fn rejected_job() {
    let bench = Bench::new().person("u", 1);
    bench.answers(Outcome::Rejected { reason: Reason::known("PayloadTooLarge") });
    bench.handle(otp_record(&bench.lease, 0, &otp("a", &["u"]))).await;
    assert!(matches!(bench.forwards().as_slice(), [Forward::DeadJob { .. }]));
    assert_eq!(bench.endings(), [ended("u", "d0", Ending::DeadLettered(Reason::known("PayloadTooLarge")))]);
}

/// The store being away stalls the record, neither drops it nor sends against policy; when it is back, the record goes on.
#[tokio::test(start_paused = true)]
async fn unavailable_stalls() {
    let bench = Bench::new().person("u", 1);
    bench.policy.away.store(true, SeqCst);
    let (flow, record) = (Arc::clone(&bench.flow), otp_record(&bench.lease, 0, &otp("a", &["u"])));
    let task = tokio::spawn(async move { flow.handle(&mut InHand::new(record)).await });
    while bench.policy.asked.load(SeqCst) < 5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!task.is_finished() && bench.tokens().is_empty());
    bench.policy.away.store(false, SeqCst);
    task.await.unwrap();
    assert_eq!(bench.endings(), [ended("u", "d0", Ending::Accepted)]);
}

/// A stall ends at the deadline as expired, or when the partition is given back as nothing at all.
#[tokio::test(start_paused = true)]
async fn stall_ends() {
    for revoked in [false, true] {
        let bench = Bench::new().person("u", 1);
        bench.policy.away.store(true, SeqCst);
        let (flow, record) = (Arc::clone(&bench.flow), otp_record(&bench.lease, 0, &otp("a", &["u"])));
        let task = tokio::spawn(async move { flow.handle(&mut InHand::new(record)).await });
        while bench.policy.asked.load(SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        match revoked {
            true => bench.lease.set(LeaseState::Draining),
            false => bench.clock.advance(Duration::from_secs(300)),
        }
        task.await.unwrap();
        assert_eq!(*bench.lease.abandoned.lock().unwrap(), if revoked { vec![0] } else { vec![] });
        let expired = ended("u", "", Ending::Expired(Reason::known("policy_unavailable")));
        assert_eq!(bench.endings(), if revoked { vec![] } else { vec![expired] });
    }
}

/// Nothing is begun on a partition that is being given back, and nothing is sent on one that is gone.
#[tokio::test]
async fn fenced() {
    for state in [LeaseState::Draining, LeaseState::Fenced] {
        let bench = Bench::new().person("u", 1);
        bench.lease.set(state);
        bench.handle(otp_record(&bench.lease, 9, &otp("a", &["u"]))).await;
        assert!(bench.tokens().is_empty() && bench.endings().is_empty());
        assert_eq!(*bench.lease.abandoned.lock().unwrap(), [9]);
    }
}

/// A record for many devices becomes jobs before anything is sent, in recipient order, and remembers each acknowledged chunk.
#[tokio::test]
async fn explodes() {
    let names: Vec<String> = (0..100).map(|n| format!("u{n:03}")).collect();
    let mut bench = Bench::new();
    for name in &names {
        bench = bench.person(name, 3);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let event = otp("a", &names);
    bench.handle(otp_record(&bench.lease, 4, &event)).await;
    assert!(bench.tokens().is_empty(), "nothing is sent by the record itself");
    let jobs = bench.forwards();
    let users: Vec<_> = jobs
        .iter()
        .filter_map(|forward| match forward {
            Forward::Job { tier: Tier::Now, job, .. } => Some(job.user.as_str().to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(users.len(), 300);
    assert!(users.is_sorted());
    let progress = bench.lease.progress.lock().unwrap().clone();
    assert_eq!(progress, [(4, 21), (4, 42), (4, 63), (4, 84)]);
    assert_eq!(*bench.lease.finished.lock().unwrap(), [4]);
    // Read again after a crash: what was acknowledged is not repeated.
    let mut again = otp_record(&FakeLease::new("otp-received"), 4, &event);
    again.next_recipient = 84;
    bench.handle(again).await;
    assert_eq!(bench.forwards().len(), 16 * 3);
}

/// The next chunk is published when the group has it committed where the record is, and never when the partition is given back
/// meanwhile.
#[tokio::test]
async fn invariant_03_a_chunk_waits_for_the_commit_of_the_one_before() {
    let bench = Bench::new().person("u", 100).person("v", 100).person("w", 100);
    bench.lease.slow.store(true, SeqCst);
    let record = otp_record(&bench.lease, 0, &otp("e", &["u", "v", "w"]));
    let mut hand = InHand::new(record);
    let mut task = std::pin::pin!(bench.flow.handle(&mut hand));
    for (published, next) in [(100, 1), (200, 2)] {
        assert!(futures_util::poll!(&mut task).is_pending());
        assert_eq!(bench.forwarder.forwards.lock().unwrap().len(), published);
        assert_eq!(bench.lease.progress.lock().unwrap().last(), Some(&(0, next)));
        if next == 2 {
            bench.lease.set(LeaseState::Draining);
        }
        bench.lease.commit();
    }
    task.await;
    assert_eq!(bench.forwards().len(), 200);
    assert_eq!(*bench.lease.abandoned.lock().unwrap(), [0]);
}

/// A job of a newer schema waits for a newer worker byte for byte; a value that is no job is dead-lettered.
#[tokio::test]
async fn foreign_jobs() {
    let bench = Bench::new().person("u", 1);
    bench.answers(retryable());
    bench.handle(otp_record(&bench.lease, 0, &otp("e", &["u"]))).await;
    let known = bench.job_record(1);
    let mut newer = wire::PushJob::decode(&*known.payload.clone().unwrap()).unwrap();
    newer.schema = 99;
    let bytes = newer.encode_to_vec();
    bench.handle(record(known.feed, &bench.lease, 1, "u", bytes.clone())).await;
    let forwards = bench.forwards();
    assert!(
        matches!(forwards.as_slice(), [Forward::NewerJob { letter, .. }] if letter.payload.as_deref() == Some(&*bytes))
    );
    bench.handle(record(known.feed, &bench.lease, 2, "u", b"nonsense".to_vec())).await;
    assert!(matches!(bench.forwards().as_slice(), [Forward::DeadRecord { .. }]));
}

/// A redriven record is read as what its headers name; what they do not name goes back to the dead letters.
#[tokio::test]
async fn redriven() {
    let bench = Bench::new().person("u", 1);
    let redriven = |offset, payload: Vec<u8>, headers: &[(&str, &'static str)]| {
        let mut redriven = record(Feed::Redrive, &bench.lease, offset, "u", payload);
        headers.iter().for_each(|(name, value)| redriven.headers.push(*name, *value));
        redriven
    };
    for (offset, feed) in [(0, "event"), (1, "redrive")] {
        let headers = [(TYPE_HEADER, "otp_received"), (FEED_HEADER, feed)];
        bench.handle(redriven(offset, otp(feed, &["u"]).encode_to_vec(), &headers[..])).await;
    }
    let accepted = || ended("u", "d0", Ending::Accepted);
    assert_eq!(bench.endings(), [accepted(), accepted()]);
    bench.answers(retryable());
    bench.handle(otp_record(&bench.lease, 2, &otp("job", &["u"]))).await;
    let job = bench.job_record(3).payload.unwrap().to_vec();
    bench.handle(redriven(3, job.clone(), &[(FEED_HEADER, "job"), (TYPE_HEADER, "otp_received")])).await;
    bench.handle(redriven(4, job, &[(FEED_HEADER, "hold")])).await;
    assert_eq!(bench.endings()[2..], [accepted(), accepted()]);
    let reasons = [
        (redriven(5, otp("f", &["u"]).encode_to_vec(), &[]), "no_type"),
        (redriven(6, b"nonsense".to_vec(), &[(FEED_HEADER, "job")]), "not_a_job"),
        (redriven(7, b"nonsense".to_vec(), &[(FEED_HEADER, "decision")]), "not_a_decision"),
        (redriven(8, otp("f", &["u"]).encode_to_vec(), &[(FEED_HEADER, "telegram")]), "unknown_feed"),
    ];
    for (record, expected) in reasons {
        bench.handle(record).await;
        let forwards = bench.forwards();
        let [Forward::DeadRecord { reason, .. }] = forwards.as_slice() else { panic!("{forwards:?}") };
        assert_eq!(reason.as_str(), expected);
    }
}

/// The future of a record on its way costs little memory: ten thousand of them are in flight.
#[tokio::test]
async fn record_future_is_small() {
    let bench = Bench::new();
    let mut hand = InHand::new(otp_record(&bench.lease, 0, &otp("e", &["u"])));
    let future = bench.flow.handle(&mut hand);
    let bytes = std::mem::size_of_val(&future);
    future.await;
    assert!(bytes <= 1344, "{bytes} bytes");
}
