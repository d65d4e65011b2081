//! Invariants on a real broker, each held against what would break it: an outcome that nobody acknowledges, a store that is away, a retry,
//! a slow phone, a token that may have been replaced.
use std::time::Duration;

use watchbell::event::{NotificationType, wire};
use watchbell::policy::Platform;
use watchbell::sandbox::SandboxConfig;
use watchbell::sandbox::apns::inbox::{DeviceSettings, TokenState};
use watchbell::sandbox::fault::{Fault, Provider, Rule};
use watchbell::seam::{Clock as _, SystemClock};
use watchbell::store::Change;

use crate::support::eventually;
use crate::support::kafka::{Reader, alter_topic, committed, lag, topic_settings};
use crate::support::services::{Postgres, shared_kafka};
use crate::support::stage::{APP, CEILING, Stage, device, otp, token_of};
use crate::worker::{names, refuse};

const OTP: NotificationType = NotificationType::OtpReceived;
/// Long enough that nothing expires while a test breaks things.
const LONG_LIFE: Duration = Duration::from_secs(3_600);

fn lives(event: wire::Event, life: Duration) -> wire::Event {
    let millis = SystemClock.now().plus(life).as_millis();
    let expires_at = prost_types::Timestamp { seconds: millis / 1_000, nanos: (millis % 1_000) as i32 * 1_000_000 };
    wire::Event { expires_at: Some(expires_at), ..event }
}

/// How many pushes a phone has received.
fn received(stage: &Stage, token: &str) -> usize {
    stage.sandbox.apns().device(token).map_or(0, |phone| phone.received.len())
}

/// What a push caused is not acknowledged (its topic takes nothing), so its offset stays uncommitted, while what came after it is finished
/// and committed above it. Once it is acknowledged it is committed too, and nothing was repeated.
#[test]
fn invariant_02_an_offset_waits_for_what_it_caused() {
    const SETTING: &str = "max.message.bytes";
    let stage = Stage::new(&shared_kafka(), 1, &names(1));
    let (topic, outcomes) = (stage.topics.event(OTP), &stage.topics.outcomes);
    alter_topic(&stage.bootstrap, outcomes, SETTING, "1");
    eventually("the setting", CEILING, || (topic_settings(&stage.bootstrap, outcomes)[SETTING] == "1").then_some(()));
    let worker = stage.worker();
    stage.emit(OTP, &lives(otp("e", &["u0"]), LONG_LIFE));
    eventually("the outcome to be refused", CEILING, || {
        (worker.metric("watchbell_forwards_given_back_total", &[]) > 0.0).then_some(())
    });
    // Its dead letter is acknowledged.
    stage.producer.send_to(topic, "k", b"\xff".to_vec());
    let above = |(offset, map): (i64, String)| (offset > 0 || !map.is_empty()).then_some(offset);
    let offset = eventually("a commit of what came after", CEILING, || {
        committed(&stage.bootstrap, &stage.group, topic).get(&0).cloned().and_then(above)
    });
    assert_eq!(offset, 0, "committed, although nobody acknowledged its outcome");
    assert!(stage.outcomes().is_empty());
    alter_topic(&stage.bootstrap, outcomes, SETTING, "1000000");
    stage.wait_outcomes(1);
    stage.wait_committed(OTP);
    assert_eq!((stage.outcomes().len(), received(&stage, &token_of("u0"))), (1, 1));
}

/// A provider's 503 is retried from the 10s tier for the device that it hit: neither the person's other device nor anybody else's is pushed
/// to again.
#[test]
fn invariant_03_retry_is_one_devices_job() {
    let stage = Stage::new(&shared_kafka(), 1, &names(2));
    stage.write(&[device("u0", "tablet", Platform::Apns, &token_of("u0-tablet"))]);
    let _worker = stage.worker();
    // The first answer and the one in-process resend.
    let rule = Rule::always(Provider::Apns, refuse("ServiceUnavailable")).on(&token_of("u0")).times(2);
    stage.sandbox.add_fault(rule);
    stage.emit(OTP, &otp("e", &["u0", "u1"]));
    let outcomes = stage.wait_outcomes(3);
    let of = |user: &str, device: &str| {
        let found = outcomes.values().flatten().find(|outcome| outcome.user_id == user && outcome.device_id == device);
        found.unwrap().clone()
    };
    let attempts = [of("u0", "phone"), of("u0", "tablet"), of("u1", "phone")].map(|outcome| outcome.attempts);
    assert_eq!(attempts, [2, 1, 1]);
    assert!(of("u0", "phone").latency_us > 9_000_000, "it waited in the tier");
    for name in ["u0", "u0-tablet", "u1"] {
        assert_eq!(received(&stage, &token_of(name)), 1, "{name}");
    }
}

/// What is no event lies in the dead letters byte for byte; what a provider refuses is one job's ending; what breaks on our side stalls:
/// neither ended nor dead-lettered nor committed while the store is away, delivered when it is back.
#[test]
fn invariant_05_three_kinds_of_failure() {
    let mut postgres = Postgres::start();
    let stage = Stage::bare(&shared_kafka(), 1, postgres.new_database(), SandboxConfig::default(), "");
    stage.add_people(&names(3));
    let worker = stage.worker();
    let topic = stage.topics.event(OTP);
    stage.producer.send_to(topic, "u0", b"\xff\xfe garbage".to_vec());
    stage.sandbox.add_fault(Rule::always(Provider::Apns, refuse("BadPriority")).on(&token_of("u1")));
    stage.emit(OTP, &otp("after", &["u0", "u1"]));
    stage.wait_outcomes(2);
    let mut letters = Reader::from_beginning(&stage.bootstrap, &[&stage.topics.dlq]);
    let both = letters.until_count(2, CEILING);
    let of_kind =
        |kind: &str| both.iter().find(|letter| letter.header("watchbell-kind").as_deref() == Some(kind)).unwrap();
    assert_eq!(of_kind("record").payload.as_deref(), Some(&b"\xff\xfe garbage"[..]));
    assert_eq!(of_kind("record").header("watchbell-reason").as_deref(), Some("not_protobuf"));
    assert_eq!(of_kind("job").header("watchbell-reason").as_deref(), Some("BadPriority"));
    stage.wait_committed(OTP);

    postgres.kill();
    stage.emit(OTP, &lives(otp("stalled", &["u2"]), LONG_LIFE));
    eventually("the record to stall", CEILING, || (worker.metric("watchbell_stalls_total", &[]) >= 2.0).then_some(()));
    assert_eq!((stage.outcomes().len(), letters.up_to_the_end().len()), (2, 2));
    assert_eq!((lag(&stage.bootstrap, &stage.group, topic), received(&stage, &token_of("u2"))), (1, 0));
    postgres.start_again();
    let outcomes = stage.wait_outcomes(3);
    let stalled = outcomes.values().flatten().find(|outcome| outcome.event_id == "stalled").unwrap();
    assert_eq!(stalled.ending(), wire::Ending::Accepted);
    stage.wait_committed(OTP);
    assert_eq!(letters.up_to_the_end().len(), 2);
}

/// A stale event is never pushed, whatever made it late; a job that a tier would keep past its deadline is not put there.
#[test]
fn invariant_07_deadline_rules() {
    let stage = Stage::new(&shared_kafka(), 1, &names(1));
    let mut late = otp("late", &["u0"]);
    late.occurred_at = late.occurred_at.map(|at| prost_types::Timestamp { seconds: at.seconds - 121, ..at });
    stage.emit(OTP, &late);
    let _worker = stage.worker();
    let outcomes = stage.wait_outcomes(1);
    let outcome = outcomes.values().flatten().next().unwrap();
    assert_eq!((outcome.ending(), outcome.reason.as_str()), (wire::Ending::Expired, "deadline"));

    stage.sandbox.add_fault(Rule::always(Provider::Apns, refuse("ServiceUnavailable")));
    // On a machine that was held up its life may be over before the answer is there: then the next one shows it.
    let mut lived = None;
    for n in 0..10 {
        let id = format!("short-{n}");
        stage.emit(OTP, &lives(otp(&id, &["u0"]), Duration::from_secs(9)));
        let outcomes = stage.wait_outcomes(n + 2);
        let outcome = outcomes.values().flatten().find(|outcome| outcome.event_id == id).unwrap().clone();
        assert_eq!(outcome.ending(), wire::Ending::Expired, "{outcome:?}");
        lived = (outcome.reason == "ServiceUnavailable").then_some(outcome);
        if lived.is_some() {
            break;
        }
    }
    assert!(lived.is_some(), "none lived long enough to be answered");
    let tier = format!("{}.urgent.10s", stage.topics.jobs);
    assert!(
        Reader::from_beginning(&stage.bootstrap, &[&tier]).up_to_the_end().is_empty(),
        "it waited past its deadline"
    );
    assert_eq!(received(&stage, &token_of("u0")), 0);
}

/// A push that arrived and whose answer was lost is sent again, by the next attempt too, under the same ids: its phone shows one entry.
#[test]
fn invariant_08_one_entry_on_the_screen() {
    let stage = Stage::new(&shared_kafka(), 3, &names(1));
    stage.write(&[device("u0", "pixel", Platform::Fcm, "fcm-token-of-u0")]);
    let mut worker = stage.worker();
    stage.sandbox.add_fault(Rule::always(Provider::Apns, Fault::ResetStream { accept: true }).times(2));
    stage.emit(OTP, &otp("e1", &["u0"]));
    let outcomes = stage.wait_outcomes(2);
    assert!(outcomes.values().flatten().all(|outcome| outcome.ending() == wire::Ending::Accepted), "{outcomes:?}");
    let outcome = outcomes.values().flatten().find(|outcome| outcome.device_id == "phone").unwrap();
    assert!(outcome.attempts >= 2, "{outcome:?}");
    let job = uuid::Uuid::from_slice(&outcome.job_id).unwrap().to_string();
    let phone = stage.sandbox.apns().device(&token_of("u0")).unwrap();
    let ids = phone.received.iter().map(|push| (push.apns_id.as_str(), push.collapse_id.as_deref()));
    assert_eq!(ids.collect::<Vec<_>>(), [(job.as_str(), Some(job.as_str())); 3]);
    assert_eq!(phone.shown.len(), 1);
    assert_eq!(stage.sandbox.fcm().registration("fcm-token-of-u0").unwrap().received.len(), 1);
    stage.wait_committed(OTP);
    worker.terminate();
    assert!(worker.wait(CEILING).success(), "{}", worker.log());
}

/// A push that takes long holds up what comes after it for the same person.
#[test]
fn invariant_09_order_by_key() {
    let stage = Stage::new(&shared_kafka(), 1, &names(2));
    let _worker = stage.worker();
    // The provider's connections are proven by somebody else, so that nothing but the order holds anything up.
    stage.emit(OTP, &otp("before", &["u1"]));
    stage.wait_outcomes(1);
    let slow = Rule::always(Provider::Apns, Fault::Latency { ms: 2_000, jitter_ms: 0 }).on(&token_of("u0")).times(1);
    stage.sandbox.add_fault(slow);
    let ids: Vec<String> = (0..20).map(|n| format!("e{n}")).collect();
    for id in &ids {
        stage.emit(OTP, &otp(id, &["u0"]));
    }
    stage.wait_outcomes(21);
    let phone = stage.sandbox.apns().device(&token_of("u0")).unwrap();
    let arrived: Vec<_> = phone.received.iter().map(|push| push.payload["event_id"].as_str().unwrap()).collect();
    assert_eq!(arrived, ids);
}

/// A token that Apple calls unregistered is removed if it was registered before the time that Apple names, or, where it names none, before
/// the push by more than the clocks may differ. One registered later stays.
#[test]
fn invariant_11_token_hygiene() {
    let extra = "[dead_tokens]\nclock_skew_ms = 300000\n";
    let stage = Stage::with(&shared_kafka(), 1, &names(4), SandboxConfig::default(), extra);
    let since = |secs: i64| DeviceSettings {
        state: TokenState::Unregistered { timestamp: secs as u64 * 1000 },
        ..DeviceSettings::default()
    };
    stage.sandbox.apns().set_device(&token_of("u0"), since(1_700_000_001));
    stage.sandbox.apns().set_device(&token_of("u1"), since(1_699_999_999));
    for user in ["u2", "u3"] {
        stage.sandbox.add_fault(Rule::always(Provider::Apns, refuse("Unregistered")).on(&token_of(user)));
    }
    let mut registered_now = device("u3", "phone", Platform::Apns, &token_of("u3"));
    if let Change::Device { device, .. } = &mut registered_now {
        device.registered_at = SystemClock.now();
    }
    stage.write(&[registered_now]);
    let _worker = stage.worker();
    let people = names(4);
    for round in 0..2 {
        for user in &people {
            stage.emit(OTP, &otp(&format!("{user}-{round}"), &[user]));
        }
        stage.wait_outcomes((round + 1) * people.len());
    }
    let outcomes = stage.outcomes();
    let endings = |user: &str| {
        outcomes.iter().filter(|outcome| outcome.user_id == user).map(wire::Outcome::ending).collect::<Vec<_>>()
    };
    for (user, then) in [("u0", true), ("u1", false), ("u2", true), ("u3", false)] {
        let then = if then { wire::Ending::NoDevice } else { wire::Ending::TokenInvalid };
        assert_eq!(endings(user), [wire::Ending::TokenInvalid, then], "{user}");
    }
}

/// When the tokens of an app turn dead by the dozen, removal stops and somebody is alerted; the others' tokens are still there.
#[test]
fn invariant_11_a_wave_stops_removal() {
    // As shipped: `dead_tokens.wave_dead_min`. The one that makes it a wave stays already.
    const DEAD_MIN: usize = 20;
    let people = names(30);
    let extra = "[dead_tokens]\nwave_window_s = 3600\n";
    let stage = Stage::with(&shared_kafka(), 1, &people, SandboxConfig::default(), extra);
    for user in &people {
        let state = TokenState::Unregistered { timestamp: 1_700_000_001_000 };
        stage.sandbox.apns().set_device(&token_of(user), DeviceSettings { state, ..DeviceSettings::default() });
    }
    let worker = stage.worker();
    let stopped = || worker.metric("watchbell_token_removal_stopped", &[&format!("app=\"{APP}\"")]);
    for round in 0..2 {
        assert_eq!(stopped() > 0.5, round == 1);
        for user in &people {
            stage.emit(OTP, &otp(&format!("{user}-{round}"), &[user]));
        }
        stage.wait_outcomes((round + 1) * people.len());
    }
    let outcomes = stage.outcomes();
    let ended = |ending| outcomes.iter().filter(|outcome| outcome.ending() == ending).count();
    let (gone, dead) = (ended(wire::Ending::NoDevice), ended(wire::Ending::TokenInvalid));
    assert_eq!((gone, dead), (DEAD_MIN - 1, 2 * people.len() - (DEAD_MIN - 1)));
}
