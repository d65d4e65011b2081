//! A quiet phone does not ring, wherever its job comes from; its person's other phones do, and what is enforced rings on it too.
use crate::delivery::{Ending, Reason};
use crate::event::{NotificationType, wire};
use crate::pipeline::bench::{Bench, ended, retryable};
use crate::pipeline::fakes::{otp, otp_record};
use crate::policy::{Setting, Workspace};
use crate::seam::Forward;

fn quiet(bench: &Bench, devices: &[usize]) {
    let mut users = bench.policy.users.lock().unwrap();
    let user = users.get_mut("u").unwrap();
    devices.iter().for_each(|device| user.devices[*device].quiet = true);
}

fn enforce(bench: &Bench) {
    let mut workspace = Workspace::unknown();
    workspace.settings = [Setting::Enforced; NotificationType::COUNT];
    *bench.policy.workspace.lock().unwrap() = Some(workspace);
}

fn silent() -> Ending {
    Ending::Suppressed(Reason::known("quiet_device"))
}

/// Sent inline: the quiet phone's job ends by itself, under its own device.
#[tokio::test]
async fn a_quiet_phone_does_not_ring() {
    let bench = Bench::new().person("u", 2);
    quiet(&bench, &[0]);
    bench.handle(otp_record(&bench.lease, 0, &otp("a", &["u"]))).await;
    assert_eq!(bench.tokens(), ["u-d1"]);
    assert_eq!(bench.endings(), [ended("u", "d0", silent()), ended("u", "d1", Ending::Accepted)]);
    quiet(&bench, &[1]);
    bench.handle(otp_record(&bench.lease, 1, &otp("b", &["u"]))).await;
    assert_eq!(bench.endings()[2..], [ended("u", "d0", silent()), ended("u", "d1", silent())]);
}

/// Enforced overrides it.
#[tokio::test]
async fn enforced_rings_on_a_quiet_phone() {
    let bench = Bench::new().person("u", 2);
    quiet(&bench, &[0, 1]);
    enforce(&bench);
    bench.handle(otp_record(&bench.lease, 0, &otp("a", &["u"]))).await;
    assert_eq!(bench.tokens().len(), 2);
}

/// A job that waits obeys what was said meanwhile.
#[tokio::test]
async fn a_retry_obeys() {
    let bench = Bench::new().person("u", 1);
    bench.answers(retryable());
    bench.handle(otp_record(&bench.lease, 0, &otp("a", &["u"]))).await;
    quiet(&bench, &[0]);
    bench.handle(bench.job_record(1)).await;
    assert_eq!(bench.endings(), [ended("u", "d0", silent())]);
}

/// An explosion makes no job for it, and a withdrawal does not touch it.
#[tokio::test]
async fn an_explosion_and_a_withdrawal_leave_it_alone() {
    let bench = Bench::new().person("u", 20);
    quiet(&bench, &[3, 7]);
    bench.handle(otp_record(&bench.lease, 0, &otp("a", &["u"]))).await;
    assert_eq!(bench.forwards().len(), 18);
    assert_eq!(bench.endings(), [ended("u", "d3", silent()), ended("u", "d7", silent())]);
    let mut cancel = otp("c", &["u"]);
    cancel.body = Some(wire::event::Body::Cancel(wire::Cancel { event_id: "a".into() }));
    bench.handle(otp_record(&bench.lease, 1, &cancel)).await;
    let devices: Vec<String> = bench
        .forwards()
        .iter()
        .map(|forward| match forward {
            Forward::Job { job, .. } => job.device.as_str().to_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(devices.len() == 18 && !devices.iter().any(|device| device == "d3" || device == "d7"), "{devices:?}");
}
