//! A quiet phone does not ring, wherever its job comes from; its person's other phones do, and what is enforced rings on it too. Where all
//! of them are quiet, that is said once, of the person.
use crate::delivery::{Ending, Reason};
use crate::event::{NotificationType, wire};
use crate::pipeline::bench::{Bench, ended, retryable};
use crate::pipeline::fakes::{otp, otp_record, sign_in, sign_in_record};
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

fn all_silent() -> Ending {
    Ending::Suppressed(Reason::known("all_devices_quiet"))
}

/// Sent inline: the quiet phone's job ends by itself, under its own device.
#[tokio::test]
async fn a_quiet_phone_does_not_ring() {
    let bench = Bench::new().person("u", 2);
    quiet(&bench, &[0]);
    bench.handle(otp_record(&bench.lease, 0, &otp("a", &["u"]))).await;
    assert_eq!(bench.tokens(), ["u-d1"]);
    assert_eq!(bench.endings(), [ended("u", "d0", silent()), ended("u", "d1", Ending::Accepted)]);
}

/// Where every phone of somebody is quiet, they end as a whole, as who muted the type does: upstream hears it. Others ring, however many are
/// asked; and a second quiet phone, or twenty, say nothing more.
#[tokio::test]
async fn all_phones_are_quiet() {
    for devices in [1, 2, 20] {
        let bench = Bench::new().person("u", devices).person("v", 1);
        quiet(&bench, &(0..devices).collect::<Vec<_>>());
        bench.handle(sign_in_record(&bench.lease, 0, &sign_in("a", &["u"]))).await;
        assert_eq!((bench.tokens().len(), bench.endings()), (0, vec![ended("u", "", all_silent())]), "{devices}");
        bench.handle(sign_in_record(&bench.lease, 1, &sign_in("b", &["u", "v"]))).await;
        assert_eq!(bench.tokens(), ["v-d0"]);
        assert_eq!(bench.endings()[1..], [ended("u", "", all_silent()), ended("v", "d0", Ending::Accepted)]);
    }
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

/// A job that waits obeys what was said meanwhile, and tells whether its person has another phone that rings.
#[tokio::test]
async fn a_retry_obeys() {
    for (devices, ending) in [(1, all_silent()), (2, silent())] {
        let mut bench = Bench::new().person("u", 1);
        bench.answers(retryable());
        bench.handle(otp_record(&bench.lease, 0, &otp("a", &["u"]))).await;
        bench = bench.person("u", devices);
        quiet(&bench, &[0]);
        bench.handle(bench.job_record(1)).await;
        assert_eq!(bench.endings(), [ended("u", "d0", ending)]);
    }
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
