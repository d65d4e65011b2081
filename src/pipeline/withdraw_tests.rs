use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use prost::Message as _;

use crate::delivery::{Ending, Outcome, PushKind, Reach, Reason, RetryScope};
use crate::event::{LIFETIME_MAX, NotificationType, TYPE_HEADER, wire};
use crate::pipeline::bench::{Bench, cancel_of, decided, decision, ended, retryable};
use crate::pipeline::fakes::{NOW, Remembered, otp, otp_record, record};
use crate::policy::{Platform, Preference, Setting, Workspace};
use crate::seam::{Feed, Forward};

fn withdraws(forward: &Forward) -> bool {
    matches!(forward, Forward::Job { job, .. } if job.kind == PushKind::Withdraw)
}

/// The person switched these types off.
fn mute(bench: &Bench) {
    let mut users = bench.policy.users.lock().unwrap();
    users.get_mut("u").unwrap().preferences = [Preference::Off; NotificationType::COUNT];
}

/// A cancel is remembered before anything is taken back, and each device gets a job that names the first one's entry.
#[tokio::test]
async fn cancel_withdraws() {
    let bench = Bench::new().person("u", 1);
    bench.handle(otp_record(&bench.lease, 0, &otp("e", &["u"]))).await;
    bench.handle(otp_record(&bench.lease, 1, &cancel_of("e", &["u"]))).await;
    let remembered = Remembered { until: NOW.plus(LIFETIME_MAX), after_forwards: 0 };
    assert_eq!(*bench.policy.remembered.lock().unwrap(), [remembered]);
    bench.handle(bench.job_record(2)).await;
    let pushed = bench.provider.pushed.lock().unwrap();
    assert!(pushed[1].withdrawal);
    assert_eq!(pushed[1].collapse, pushed[0].job);
    assert_ne!(pushed[1].job, pushed[0].job);
}

/// A cancel that is read when no phone need be told any more is remembered all the same, for as long as its event may live; one that no
/// event can outlive is not.
#[tokio::test]
async fn late_cancel_is_remembered() {
    let bench = Bench::new().person("u", 1);
    let mut cancel = cancel_of("e", &["u"]);
    cancel.expires_at = Some(prost_types::Timestamp { seconds: NOW.as_secs() + 60, nanos: 0 });
    bench.clock.advance(Duration::from_secs(3600));
    bench.handle(otp_record(&bench.lease, 0, &cancel)).await;
    let remembered = Remembered { until: NOW.plus(LIFETIME_MAX), after_forwards: 0 };
    assert_eq!(*bench.policy.remembered.lock().unwrap(), [remembered]);
    bench.clock.advance(LIFETIME_MAX);
    bench.handle(otp_record(&bench.lease, 1, &cancel_of("e", &["u"]))).await;
    assert_eq!(bench.policy.remembered.lock().unwrap().len(), 1);
    assert!(bench.forwards().is_empty());
}

/// An iPhone of somebody for whom policy lets nothing ring is left alone by a withdrawal too: by a cancel, by a decision, and by a job that
/// was published before the mute.
#[tokio::test]
async fn withdrawals_obey_policy() {
    let bench = Bench::new().person("u", 1);
    bench.handle(otp_record(&bench.lease, 0, &cancel_of("e", &["u"]))).await;
    let published = bench.job_record(1);
    mute(&bench);
    bench.handle(published).await;
    assert_eq!(bench.endings(), [ended("u", "d0", Ending::Suppressed(Reason::known("muted_by_user")))]);
    bench.handle(otp_record(&bench.lease, 2, &cancel_of("f", &["u"]))).await;
    bench.handle(record(Feed::Decision, &bench.lease, 3, "u", decided())).await;
    assert_eq!(bench.policy.remembered.lock().unwrap().len(), 3, "a mute forgets no withdrawal");
    assert!(bench.forwards().is_empty() && bench.tokens().is_empty());
    // Enforced overrides the mute here as everywhere.
    let mut workspace = Workspace::unknown();
    workspace.settings = [Setting::Enforced; NotificationType::COUNT];
    *bench.policy.workspace.lock().unwrap() = Some(workspace);
    bench.handle(otp_record(&bench.lease, 4, &cancel_of("g", &["u"]))).await;
    assert!(matches!(bench.forwards().as_slice(), [forward] if withdraws(forward)));
}

/// On Android taking a notification back shows nothing, so it is done whatever the person has muted since; an iPhone is left alone.
#[tokio::test]
async fn a_mute_keeps_nothing_on_android() {
    let bench = Bench::new().person("u", 2);
    bench.policy.users.lock().unwrap().get_mut("u").unwrap().devices[1].installation.platform = Platform::Fcm;
    bench.handle(otp_record(&bench.lease, 0, &otp("e", &["u"]))).await;
    mute(&bench);
    bench.handle(otp_record(&bench.lease, 1, &cancel_of("e", &["u"]))).await;
    {
        let forwards = bench.forwarder.forwards.lock().unwrap();
        let [Forward::Job { job, .. }] = forwards.as_slice() else { panic!("{forwards:?}") };
        assert_eq!((job.device.as_str(), job.kind), ("d1", PushKind::Withdraw));
    }
    bench.handle(bench.job_record(2)).await;
    assert_eq!(bench.endings()[2..], [ended("u", "d1", Ending::Accepted)]);
    assert_eq!(bench.tokens(), ["u-d0", "u-d1", "u-d1"]);
}

/// A record that is redriven after its event was cancelled or answered pushes nothing, though its person is in memory.
#[tokio::test]
async fn redriven_after_its_withdrawal() {
    let bench = Bench::new().person("u", 1);
    bench.policy.near.store(true, SeqCst);
    bench.handle(otp_record(&bench.lease, 0, &cancel_of("e", &["u"]))).await;
    let redriven = |offset, event| {
        let mut redriven = record(Feed::Redrive, &bench.lease, offset, "u", otp(event, &["u"]).encode_to_vec());
        redriven.headers.push(TYPE_HEADER, "otp_received");
        redriven
    };
    bench.handle(redriven(1, "e")).await;
    assert_eq!(bench.endings(), [ended("u", "", Ending::Suppressed(Reason::known("withdrawn")))]);
    bench.handle(redriven(2, "another")).await;
    assert_eq!(bench.tokens(), ["u-d0"]);
}

/// A final decision withdraws the request from the person's phones; one that is not final does nothing.
#[tokio::test]
async fn decision_withdraws() {
    let bench = Bench::new().person("u", 2);
    let open = decision(wire::decision::Body::Asked(wire::Asked::default()));
    bench.handle(record(Feed::Decision, &bench.lease, 0, "u", open)).await;
    assert!(bench.forwards().is_empty());
    bench.handle(record(Feed::Decision, &bench.lease, 1, "u", decided())).await;
    let forwards = bench.forwards();
    assert!(forwards.len() == 2 && forwards.iter().all(withdraws));
    let remembered = bench.policy.remembered.lock().unwrap().clone();
    assert_eq!(remembered.iter().map(|one| one.after_forwards).collect::<Vec<_>>(), [0]);
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
        reach: Reach::Unknown,
    };
    let withdrawn = |bench: &Bench| bench.forwards().iter().any(withdraws);
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
