//! The whole way on a real broker: events in, pushes at the simulators, outcomes out.
use prost::Message as _;
use watchbell::event::{NotificationType, UserId, WorkspaceId, wire};
use watchbell::policy::{Platform, Preference, Setting};
use watchbell::sandbox::apns::inbox::{DeviceSettings, TokenState};
use watchbell::sandbox::fault::{Fault, Provider, Refusal, Rule};
use watchbell::store::Change;

use crate::support::eventually;
use crate::support::kafka::Reader;
use crate::support::services::shared_kafka;
use crate::support::stage::{CEILING, Stage, WORKSPACE, device, otp, sharing, token_of};

fn refuse(reason: &str) -> Fault {
    Fault::Refuse(Refusal { reason: reason.into(), status: None, timestamp: None, retry_after: None })
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("u{n}")).collect()
}

/// An event reaches the phone of its recipient once, ends as accepted, and its offset is committed.
#[test]
fn event_to_phone() {
    let stage = Stage::new(&shared_kafka(), 3, &names(1));
    stage.write(&[device("u0", "pixel", Platform::Fcm, "fcm-token-of-u0")]);
    let mut worker = stage.worker();
    stage.emit(NotificationType::OtpReceived, &otp("e1", &["u0"]));
    let outcomes = stage.wait_outcomes(2);
    assert!(outcomes.values().flatten().all(|outcome| outcome.ending() == wire::Ending::Accepted), "{outcomes:?}");
    let phone = stage.sandbox.apns().device(&token_of("u0")).unwrap();
    assert_eq!(phone.received.len(), 1);
    let job =
        uuid::Uuid::from_slice(&outcomes.values().flatten().find(|o| o.device_id == "phone").unwrap().job_id).unwrap();
    assert_eq!(phone.received[0].apns_id, job.to_string());
    assert_eq!(phone.received[0].collapse_id.as_deref(), Some(job.to_string().as_str()));
    assert_eq!(stage.sandbox.fcm().registration("fcm-token-of-u0").unwrap().received.len(), 1);
    stage.wait_committed(NotificationType::OtpReceived);
    worker.terminate();
    assert!(worker.wait(CEILING).success(), "{}", worker.log());
}

/// Policy is obeyed: a mute suppresses, enforced overrides it, and each says so.
#[test]
fn policy_is_obeyed() {
    let stage = Stage::new(&shared_kafka(), 1, &names(2));
    let (workspace, kind) = (WorkspaceId::new(WORKSPACE).unwrap(), NotificationType::OtpReceived);
    stage.write(&[
        Change::Preference {
            workspace: workspace.clone(),
            user: UserId::new("u0").unwrap(),
            kind,
            preference: Preference::Off,
        },
        Change::Preference {
            workspace: workspace.clone(),
            user: UserId::new("u1").unwrap(),
            kind: NotificationType::AccountSharing,
            preference: Preference::Off,
        },
        Change::Setting { workspace, kind: NotificationType::AccountSharing, setting: Setting::Enforced },
    ]);
    let _worker = stage.worker();
    stage.emit(kind, &otp("muted", &["u0"]));
    stage.emit(NotificationType::AccountSharing, &sharing("enforced", &["u1"]));
    let outcomes = stage.wait_outcomes(2);
    let of = |event: &str| outcomes.values().flatten().find(|outcome| outcome.event_id == event).unwrap().clone();
    assert_eq!((of("muted").ending(), of("muted").reason.as_str()), (wire::Ending::Suppressed, "muted_by_user"));
    assert_eq!(of("enforced").ending(), wire::Ending::Accepted);
    assert!(stage.sandbox.apns().device(&token_of("u0")).is_none_or(|phone| phone.received.is_empty()));
}

/// What is no event lies in the dead letters byte for byte, and the partition goes on.
#[test]
fn poison_goes_to_the_dead_letters() {
    let stage = Stage::new(&shared_kafka(), 1, &names(1));
    let _worker = stage.worker();
    let topic = stage.topics.event(NotificationType::OtpReceived);
    stage.producer.send_to(topic, "u0", b"\xff\xfe garbage".to_vec());
    stage.emit(NotificationType::OtpReceived, &otp("after", &["u0"]));
    stage.wait_outcomes(1);
    let mut letters = Reader::from_beginning(&stage.bootstrap, &[&stage.topics.dlq]);
    let letter = &letters.until_count(1, CEILING)[0];
    assert_eq!(letter.payload.as_deref(), Some(&b"\xff\xfe garbage"[..]));
    assert_eq!(letter.header("watchbell-reason").as_deref(), Some("not_protobuf"));
    stage.wait_committed(NotificationType::OtpReceived);
}

/// A provider's 503 is retried from the 10s tier with the same id, and only for the device it hit.
#[test]
fn retried_from_a_tier() {
    let stage = Stage::new(&shared_kafka(), 1, &names(2));
    let _worker = stage.worker();
    // The first answer and the one in-process resend.
    let rule = Rule::always(Provider::Apns, refuse("ServiceUnavailable")).on(&token_of("u0")).times(2);
    stage.sandbox.add_fault(rule);
    stage.emit(NotificationType::OtpReceived, &otp("e", &["u0", "u1"]));
    let outcomes = stage.wait_outcomes(2);
    let of = |user: &str| outcomes.values().flatten().find(|outcome| outcome.user_id == user).unwrap().clone();
    assert_eq!((of("u0").attempts, of("u1").attempts), (2, 1));
    assert!(of("u0").latency_us > 9_000_000, "it waited in the tier");
    for user in ["u0", "u1"] {
        assert_eq!(stage.sandbox.apns().device(&token_of(user)).unwrap().received.len(), 1, "{user}");
    }
}

/// A token that Apple calls unregistered since after its registration is removed; one registered later stays.
#[test]
fn dead_tokens_are_removed_by_compare_and_clear() {
    let stage = Stage::new(&shared_kafka(), 1, &names(2));
    let since = |secs: i64| DeviceSettings {
        state: TokenState::Unregistered { timestamp: secs as u64 * 1000 },
        ..DeviceSettings::default()
    };
    stage.sandbox.apns().set_device(&token_of("u0"), since(1_700_000_001));
    stage.sandbox.apns().set_device(&token_of("u1"), since(1_699_999_999));
    let _worker = stage.worker();
    for round in 0..2 {
        for user in ["u0", "u1"] {
            stage.emit(NotificationType::OtpReceived, &otp(&format!("{user}-{round}"), &[user]));
            stage.wait_outcomes(usize::from(user == "u1") + 1 + round * 2);
        }
    }
    let outcomes = stage.outcomes();
    let endings = |user: &str| {
        outcomes.iter().filter(|outcome| outcome.user_id == user).map(wire::Outcome::ending).collect::<Vec<_>>()
    };
    assert_eq!(endings("u0"), [wire::Ending::TokenInvalid, wire::Ending::NoDevice]);
    assert_eq!(endings("u1"), [wire::Ending::TokenInvalid, wire::Ending::TokenInvalid]);
}

/// An event for many people is exploded into jobs, and every phone gets it once.
#[test]
fn fan_out() {
    let people = names(200);
    let stage = Stage::new(&shared_kafka(), 3, &people);
    let _worker = stage.worker();
    let everybody: Vec<&str> = people.iter().map(String::as_str).collect();
    stage.emit(NotificationType::AccountSharing, &sharing("big", &everybody));
    let outcomes = stage.wait_outcomes(200);
    assert!(outcomes.values().all(|all| all.len() == 1 && all[0].ending() == wire::Ending::Accepted));
    for name in &people {
        assert_eq!(stage.sandbox.apns().device(&token_of(name)).unwrap().received.len(), 1, "{name}");
    }
}

/// A cancel that comes while the job waits in the 10s tier: the notification is never pushed.
#[test]
fn cancelled_while_it_waits() {
    let stage = Stage::new(&shared_kafka(), 1, &names(1));
    let _worker = stage.worker();
    let rule = Rule::always(Provider::Apns, refuse("ServiceUnavailable")).times(2);
    stage.sandbox.add_fault(rule);
    stage.emit(NotificationType::OtpReceived, &otp("e", &["u0"]));
    let mut tier = Reader::from_beginning(&stage.bootstrap, &[&format!("{}.urgent.10s", stage.topics.jobs)]);
    tier.until_count(1, CEILING);
    let mut cancel = otp("c", &["u0"]);
    cancel.body = Some(wire::event::Body::Cancel(wire::Cancel { event_id: "e".into() }));
    stage.emit(NotificationType::OtpReceived, &cancel);
    let outcomes = stage.wait_outcomes(2);
    let show = outcomes.values().flatten().find(|outcome| !outcome.withdrawal).unwrap();
    assert_eq!((show.ending(), show.reason.as_str()), (wire::Ending::Suppressed, "withdrawn"));
    let phone = stage.sandbox.apns().device(&token_of("u0")).unwrap();
    assert!(
        phone.received.iter().all(|push| push.apns_id != show_id(show)),
        "the notification itself was never pushed"
    );
}

fn show_id(outcome: &wire::Outcome) -> String {
    uuid::Uuid::from_slice(&outcome.job_id).unwrap().to_string()
}

/// A job dead letter that is put on its `now` topic is delivered; a raw one on the redrive topic too.
#[test]
fn redriven() {
    let stage = Stage::new(&shared_kafka(), 1, &names(1));
    let _worker = stage.worker();
    stage.sandbox.add_fault(Rule::always(Provider::Apns, refuse("BadPriority")).times(1));
    stage.emit(NotificationType::OtpReceived, &otp("e", &["u0"]));
    let mut letters = Reader::from_beginning(&stage.bootstrap, &[&stage.topics.dlq]);
    let letter = letters.until_count(1, CEILING)[0].clone();
    assert_eq!(letter.header("watchbell-kind").as_deref(), Some("job"));
    let job = wire::PushJob::decode(&**letter.payload.as_ref().unwrap()).unwrap();
    assert_eq!(job.user_id, "u0");
    let mut again = letter.clone();
    again.topic = format!("{}.urgent.now", stage.topics.jobs);
    stage.producer.send(&again);
    eventually("the redriven push", CEILING, || {
        let phone = stage.sandbox.apns().device(&token_of("u0"))?;
        (phone.received.len() == 1).then_some(())
    });
}
