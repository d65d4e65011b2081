//! Credentials that Apple or Google refuses, on a real broker: what waits, what does not, and what flows when one is mended.
use watchbell::event::{NotificationType, wire};
use watchbell::policy::Platform;
use watchbell::sandbox::SandboxConfig;
use watchbell::sandbox::fault::{Fault, Provider, Refusal, Rule};

use crate::support::eventually;
use crate::support::kafka::Reader;
use crate::support::services::shared_kafka;
use crate::support::stage::{CEILING, OTHER_APP, Stage, device, device_of, sharing, token_of};

fn refuse(reason: &str) -> Fault {
    Fault::Refuse(Refusal { reason: reason.into(), status: None, timestamp: None, retry_after: None })
}

fn accepted(stage: &Stage) -> Vec<String> {
    let outcomes = stage.outcomes().into_iter().filter(|outcome| outcome.ending() == wire::Ending::Accepted);
    outcomes.map(|outcome| outcome.user_id).collect()
}

fn wait_accepted(stage: &Stage, user: &str) {
    eventually(&format!("a push to {user}"), CEILING, || accepted(stage).iter().any(|name| name == user).then_some(()));
}

/// Waits until each of these people has a job in the credential's hold topic.
fn wait_held(stage: &Stage, credential: &str, users: &[String]) {
    let mut hold = Reader::from_beginning(&stage.bootstrap, &[&stage.topics.hold(credential)]);
    hold.until("everybody's job", CEILING, |records| {
        users.iter().all(|user| records.iter().any(|record| record.key.as_deref() == Some(user.as_bytes())))
    });
}

/// However many jobs of one credential wait, another credential's flow as soon as it is mended.
#[test]
fn a_broken_credential_keeps_no_other_waiting() {
    let extra = "[in_flight]\nhold = 2\n[hold]\nprobe_interval_ms = 300\n";
    let apples: Vec<String> = (0..8).map(|n| format!("u{n}")).collect();
    let stage = Stage::with(&shared_kafka(), 1, &apples, SandboxConfig::default(), extra);
    stage.write(&[device("google", "pixel", Platform::Fcm, "fcm-token-of-google")]);
    let _worker = stage.worker();
    let apple = stage.sandbox.add_fault(Rule::always(Provider::Apns, refuse("InvalidProviderToken")));
    let google = stage.sandbox.add_fault(Rule::always(Provider::Fcm, refuse("PERMISSION_DENIED")));
    for user in &apples {
        stage.emit(NotificationType::AccountSharing, &sharing(user, &[user]));
    }
    wait_held(&stage, "apns.main", &apples);
    stage.emit(NotificationType::AccountSharing, &sharing("google", &["google"]));
    wait_held(&stage, "fcm.main", &["google".to_owned()]);
    assert!(stage.sandbox.remove_fault(google));
    wait_accepted(&stage, "google");
    assert_eq!(accepted(&stage), ["google"], "the other one is broken still");
    assert!(stage.sandbox.remove_fault(apple));
    stage.wait_outcomes(1 + apples.len());
    assert_eq!(accepted(&stage).len(), 1 + apples.len());
}

/// An app that its credential does not serve any more neither blocks the held jobs of another nor holds its new ones; what expires
/// meanwhile ends, and what does not flows when the app is mended.
#[test]
fn a_wrong_app_keeps_no_other_waiting() {
    let extra = "[hold]\nprobe_interval_ms = 1000\n";
    let wrong: Vec<String> = (0..5).map(|n| format!("u{n}")).collect();
    let stage = Stage::with(&shared_kafka(), 1, &wrong, SandboxConfig::default(), extra);
    stage.write(&[device_of(OTHER_APP, "good", "phone", Platform::Apns, &token_of("good"))]);
    let _worker = stage.worker();
    let everything = stage.sandbox.add_fault(Rule::always(Provider::Apns, refuse("InvalidProviderToken")));
    for (n, user) in wrong.iter().enumerate() {
        let mut event = sharing(user, &[user]);
        // The first one is over soon, but not before a busy machine has held it.
        event.expires_at =
            event.occurred_at.filter(|_| n == 0).map(|at| prost_types::Timestamp { seconds: at.seconds + 25, ..at });
        stage.emit(NotificationType::AccountSharing, &event);
    }
    wait_held(&stage, "apns.main", &wrong);
    stage.emit(NotificationType::AccountSharing, &sharing("held", &["good"]));
    wait_held(&stage, "apns.main", &["good".to_owned()]);
    let faults: Vec<_> = wrong
        .iter()
        .map(|user| stage.sandbox.add_fault(Rule::always(Provider::Apns, refuse("BadTopic")).on(&token_of(user))))
        .collect();
    assert!(stage.sandbox.remove_fault(everything));
    wait_accepted(&stage, "good");
    stage.emit(NotificationType::AccountSharing, &sharing("new", &["good"]));
    let outcomes = stage.wait_outcomes(3);
    let expired: Vec<_> =
        outcomes.values().flatten().filter(|outcome| outcome.ending() == wire::Ending::Expired).collect();
    assert_eq!(expired.len(), 1, "{outcomes:?}");
    assert_eq!((expired[0].user_id.as_str(), accepted(&stage)), ("u0", vec!["good".to_owned(); 2]));
    faults.into_iter().for_each(|fault| assert!(stage.sandbox.remove_fault(fault)));
    stage.wait_outcomes(2 + wrong.len());
    assert_eq!(accepted(&stage).len(), 1 + wrong.len());
}
