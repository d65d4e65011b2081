//! The whole way on a real broker: events in, pushes at the simulators, outcomes out.
use std::collections::BTreeSet;

use prost::Message as _;
use watchbell::delivery::Notice;
use watchbell::delivery::codec::{decode_job, encode_notice};
use watchbell::event::{DeviceId, EventId, NotificationType, SystemNotice, UserId, WorkspaceId, wire};
use watchbell::policy::{Platform, Preference, Setting};
use watchbell::sandbox::SandboxConfig;
use watchbell::sandbox::fault::{Fault, Provider, Refusal, Rule};
use watchbell::seam::{Clock as _, SystemClock};
use watchbell::store::Change;

use crate::support::eventually;
use crate::support::kafka::{Reader, lag};
use crate::support::process::Watchbell;
use crate::support::services::shared_kafka;
use crate::support::stage::{CEILING, Stage, WORKSPACE, device, event, otp, sharing, token_of};

pub fn refuse(reason: &str) -> Fault {
    Fault::Refuse(Refusal { reason: reason.into(), status: None, timestamp: None, retry_after: None })
}

pub fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("u{n}")).collect()
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

/// A cancel that comes while the job waits in the 10s tier: nothing at all is pushed to the phone, neither the notification nor anything
/// that takes it back.
#[test]
fn cancelled_while_it_waits() {
    let stage = Stage::new(&shared_kafka(), 1, &names(2));
    let _worker = stage.worker();
    let rule = Rule::always(Provider::Apns, refuse("ServiceUnavailable")).on(&token_of("u0")).times(2);
    stage.sandbox.add_fault(rule);
    stage.emit(NotificationType::OtpReceived, &otp("e", &["u0", "u1"]));
    let mut tier = Reader::from_beginning(&stage.bootstrap, &[&format!("{}.urgent.10s", stage.topics.jobs)]);
    tier.until_count(1, CEILING);
    stage.emit(NotificationType::OtpReceived, &cancel("e", &["u0", "u1"]));
    // The other phone's notification and withdrawal show that the cancel was carried out.
    let outcomes = stage.wait_outcomes(3);
    let show = outcomes.values().flatten().find(|outcome| outcome.user_id == "u0").unwrap();
    assert_eq!((show.ending(), show.reason.as_str()), (wire::Ending::Suppressed, "withdrawn"));
    let withdrawn: Vec<_> = outcomes.values().flatten().filter(|outcome| outcome.withdrawal).collect();
    assert!(matches!(withdrawn[..], [other] if other.user_id == "u1"), "{withdrawn:?}");
    assert!(stage.sandbox.apns().device(&token_of("u0")).is_none_or(|phone| phone.received.is_empty()));
    assert_eq!(stage.sandbox.apns().device(&token_of("u1")).unwrap().received.len(), 2);
}

/// An answer on the decisions topic takes the request back from the person's phones: passively, in the place of the notification. A Cancel
/// does the same. The iPhone of somebody who has the type muted is left alone by both, as it was by the event.
#[test]
fn withdrawn_by_policy() {
    let stage = Stage::new(&shared_kafka(), 1, &names(2));
    let kind = NotificationType::IdentityVerification;
    stage.write(&[Change::Preference {
        workspace: WorkspaceId::new(WORKSPACE).unwrap(),
        user: UserId::new("u0").unwrap(),
        kind,
        preference: Preference::Off,
    }]);
    let _worker = stage.worker();
    let asked = wire::IdentityVerificationRequested { application: "Payroll".into(), ..Default::default() };
    for id in ["cancelled", "answered"] {
        let body = wire::event::Body::IdentityVerificationRequested(asked.clone());
        stage.emit(kind, &event(id, &["u0", "u1"], body));
    }
    stage.wait_outcomes(4);
    stage.emit(kind, &cancel("cancelled", &["u0", "u1"]));
    for user in ["u0", "u1"] {
        let decision = wire::Decision {
            workspace_id: WORKSPACE.into(),
            r#type: wire::NotificationType::IdentityVerification.into(),
            event_id: "answered".into(),
            user_id: user.into(),
            decision_id: format!("decision-of-{user}"),
            at: event("now", &[user], wire::event::Body::Cancel(wire::Cancel::default())).occurred_at,
            body: Some(wire::decision::Body::Decided(wire::Decided::default())),
        };
        stage.producer.send_to(&stage.topics.decisions, user, decision.encode_to_vec());
    }
    let outcomes = stage.wait_outcomes(6);
    let withdrawn: Vec<_> = outcomes.values().flatten().filter(|outcome| outcome.withdrawal).collect();
    assert!(withdrawn.iter().all(|outcome| outcome.user_id == "u1" && outcome.ending() == wire::Ending::Accepted));
    eventually("all cancels and decisions to be done", CEILING, || {
        let decisions = lag(&stage.bootstrap, &format!("{}.withdraw", stage.group), &stage.topics.decisions);
        (decisions + lag(&stage.bootstrap, &stage.group, stage.topics.event(kind)) == 0).then_some(())
    });
    let phone = stage.sandbox.apns().device(&token_of("u1")).unwrap();
    assert_eq!(phone.received.len(), 4);
    for id in ["cancelled", "answered"] {
        let of_event: Vec<_> = phone.received.iter().filter(|push| push.payload["event_id"] == id).collect();
        let [show, withdrawal] = of_event[..] else { panic!("{of_event:?}") };
        assert_eq!(show.collapse_id, withdrawal.collapse_id);
        assert_eq!(withdrawal.payload["aps"]["interruption-level"], "passive", "{withdrawal:?}");
    }
    assert!(stage.sandbox.apns().device(&token_of("u0")).is_none_or(|phone| phone.received.is_empty()));
}

/// A notice of Watchbell itself, as the API writes it, shows on both platforms though its person muted the type, and its outcome says that
/// it was one.
#[test]
fn notices_show() {
    let stage = Stage::new(&shared_kafka(), 1, &names(1));
    let (workspace, user) = (WorkspaceId::new(WORKSPACE).unwrap(), UserId::new("u0").unwrap());
    let kind = NotificationType::TrustedDevice;
    stage.write(&[
        device("u0", "android", Platform::Fcm, "android-token"),
        Change::Preference { workspace: workspace.clone(), user: user.clone(), kind, preference: Preference::Off },
    ]);
    let now = SystemClock.now();
    let notice = Notice {
        workspace,
        kind,
        id: EventId::new("n-1").unwrap(),
        what: SystemNotice::Enrolled,
        occurred_at: now,
        until: now.plus(CEILING),
    };
    let _worker = stage.worker();
    for device in ["phone", "android"] {
        let mut job = Vec::new();
        encode_notice(&notice, &user, &DeviceId::new(device).unwrap(), &mut job);
        stage.producer.send_to(&format!("{}.urgent.now", stage.topics.jobs), "u0", job);
    }
    let outcomes = stage.wait_outcomes(2);
    let all_said = outcomes
        .values()
        .flatten()
        .all(|outcome| (outcome.ending(), outcome.notice()) == (wire::Ending::Accepted, wire::SystemNotice::Enrolled));
    assert!(all_said, "{outcomes:?}");
    let phone = stage.sandbox.apns().device(&token_of("u0")).unwrap();
    let payload = &phone.received[0].payload;
    assert_eq!((&payload["kind"], &payload["notice"]), (&"notice".into(), &"enrolled".into()));
    assert_eq!((&payload["event_id"], &payload["type"]), (&"n-1".into(), &"trusted_device".into()));
    assert_eq!(payload["aps"]["category"], "watchbell.notice_not_me");
    let android = stage.sandbox.fcm().registration("android-token").unwrap();
    let data = &android.received[0].data;
    assert_eq!((data["notice"].as_str(), data["category"].as_str()), ("enrolled", "watchbell.notice_not_me"));
}

fn cancel(of: &str, recipients: &[&str]) -> wire::Event {
    let body = wire::event::Body::Cancel(wire::Cancel { event_id: of.into() });
    event(&format!("cancel-of-{of}"), recipients, body)
}

/// A job dead letter that is put on its `now` topic is delivered; a raw one on the redrive topic too.
#[test]
fn redriven() {
    let stage = Stage::new(&shared_kafka(), 1, &names(2));
    let mut worker = Watchbell::worker(&format!("{}[fanout]\nrecipients_max = 1\n", stage.config()));
    worker.wait_ready();
    stage.sandbox.add_fault(Rule::always(Provider::Apns, refuse("BadPriority")).times(1));
    stage.emit(NotificationType::OtpReceived, &otp("e", &["u0"]));
    let mut letters = Reader::from_beginning(&stage.bootstrap, &[&stage.topics.dlq]);
    let letter = letters.until_count(1, CEILING)[0].clone();
    assert_eq!(letter.header("watchbell-kind").as_deref(), Some("job"));
    assert_eq!(letter.header("kafka_dlt-original-consumer-group").as_deref(), Some(stage.group.as_str()));
    let job = wire::PushJob::decode(&**letter.payload.as_ref().unwrap()).unwrap();
    assert_eq!(job.user_id, "u0");
    let mut again = letter.clone();
    again.topic = format!("{}.urgent.now", stage.topics.jobs);
    stage.producer.send(&again);
    let pushes = |user: &str, count: usize| {
        eventually("the redriven push", CEILING, || {
            let phone = stage.sandbox.apns().device(&token_of(user))?;
            (phone.received.len() == count).then_some(())
        });
    };
    pushes("u0", 1);
    // What this worker refuses whole, another one takes.
    stage.emit(NotificationType::OtpReceived, &otp("f", &["u0", "u1"]));
    let mut letter = letters.until_count(2, CEILING)[1].clone();
    assert_eq!(letter.header("watchbell-kind").as_deref(), Some("record"));
    assert_eq!(letter.header("watchbell-reason").as_deref(), Some("too_many_recipients"));
    worker.terminate();
    assert!(worker.wait(CEILING).success(), "{}", worker.log());
    let _worker = stage.worker();
    letter.topic.clone_from(&stage.topics.redrive);
    stage.producer.send(&letter);
    pushes("u1", 1);
    pushes("u0", 2);
}

/// Every record and every job that came in went somewhere: nothing is open at rest, whatever the mix.
#[test]
fn invariant_01_balance() {
    let people = names(40);
    let stage = Stage::new(&shared_kafka(), 2, &people);
    let worker = stage.worker();
    let everybody: Vec<&str> = people.iter().map(String::as_str).collect();
    stage.sandbox.add_fault(Rule::always(Provider::Apns, refuse("InternalServerError")).times(4));
    stage.sandbox.add_fault(Rule::always(Provider::Apns, refuse("BadPriority")).on(&token_of("u3")));
    for (n, person) in people.iter().enumerate() {
        stage.emit(NotificationType::OtpReceived, &otp(&format!("e{n}"), &[person]));
    }
    stage.emit(NotificationType::OtpReceived, &otp("stranger", &["nobody"]));
    stage.emit(NotificationType::AccountSharing, &sharing("everybody", &everybody));
    stage.producer.send_to(stage.topics.event(NotificationType::OtpReceived), "k", b"\xff".to_vec());
    stage.wait_outcomes(81);
    let read = |name: &str| worker.metric(&format!("watchbell_{name}_total"), &[]);
    eventually("the balance at rest", CEILING, || {
        let records = read("records_planned") + read("records_dead_lettered_whole") + read("records_fenced");
        let jobs = read("jobs_ended") + read("jobs_forwarded") + read("jobs_fenced");
        (read("records_read") >= 43.0 && read("records_read") == records && read("jobs_planned") == jobs).then_some(())
    });
    let outcomes = stage.outcomes();
    assert_eq!(outcomes.len(), 81, "each job has one ending");
    // What ended there lies there, and nothing else does.
    let dead = outcomes.iter().filter(|outcome| outcome.ending() == wire::Ending::DeadLettered);
    let dead: BTreeSet<Vec<u8>> = dead.map(|outcome| outcome.job_id.clone()).collect();
    let mut letters = Reader::from_beginning(&stage.bootstrap, &[&stage.topics.dlq]);
    let (jobs, records): (Vec<_>, Vec<_>) =
        letters.up_to_the_end().iter().partition(|letter| letter.header("watchbell-kind").as_deref() == Some("job"));
    let lies: Vec<_> = jobs.iter().map(|letter| decode_job(letter.payload.as_ref().unwrap()).unwrap()).collect();
    assert_eq!((lies.len(), records.len()), (2, 1));
    assert_eq!(lies.iter().map(|job| job.id().as_bytes().to_vec()).collect::<BTreeSet<_>>(), dead);
}

/// What waits in a tier carries references: no token, no text, no match number.
#[test]
fn invariant_04_jobs_carry_references() {
    let stage = Stage::new(&shared_kafka(), 1, &names(1));
    let _worker = stage.worker();
    stage.sandbox.add_fault(Rule::always(Provider::Apns, refuse("ServiceUnavailable")).times(2));
    let body = wire::event::Body::IdentityVerificationRequested(wire::IdentityVerificationRequested {
        application: "Payroll".into(),
        ip_address: "203.0.113.9".into(),
        location: "Lisbon".into(),
        match_number: Some("407213".into()),
        ..Default::default()
    });
    stage.emit(NotificationType::IdentityVerification, &event("e", &["u0"], body));
    let mut tier = Reader::from_beginning(&stage.bootstrap, &[&format!("{}.urgent.10s", stage.topics.jobs)]);
    let job = tier.until_count(1, CEILING)[0].clone();
    let text = format!("{:?} {}", job.headers, String::from_utf8_lossy(job.payload.as_ref().unwrap()));
    for secret in ["407213", "203.0.113.9", "Lisbon", &token_of("u0"), "Is this you"] {
        assert!(!text.contains(secret), "{secret} travels in a job: {text}");
    }
    assert!(text.contains("Payroll"), "the reference to what happened is there");
}

/// A misconfigured credential holds its own jobs and nobody else's, deletes no token, and when it is mended they flow by themselves.
#[test]
fn invariant_06_misconfiguration_holds() {
    let extra = "[hold]\nprobe_interval_ms = 300\n";
    let stage = Stage::with(&shared_kafka(), 1, &names(3), SandboxConfig::default(), extra);
    stage.write(&[device("google", "pixel", Platform::Fcm, "fcm-token-of-google")]);
    let worker = stage.worker();
    let broken = stage.sandbox.add_fault(Rule::always(Provider::Apns, refuse("InvalidProviderToken")));
    for user in ["u0", "u1", "u2", "google"] {
        stage.emit(NotificationType::AccountSharing, &sharing(user, &[user]));
    }
    let others = stage.wait_outcomes(1);
    assert!(others.values().flatten().all(|outcome| outcome.user_id == "google"), "{others:?}");
    let mut hold = Reader::from_beginning(&stage.bootstrap, &[&stage.topics.hold("apns.main")]);
    hold.until_count(3, CEILING);
    assert!(worker.metric("watchbell_credential_misconfigured", &["apns.main"]) > 0.5, "somebody is alerted");
    assert!(stage.sandbox.remove_fault(broken));
    let outcomes = stage.wait_outcomes(4);
    assert!(outcomes.values().flatten().all(|outcome| outcome.ending() == wire::Ending::Accepted), "{outcomes:?}");
    eventually("the alert to end", CEILING, || {
        (worker.metric("watchbell_credential_misconfigured", &["apns.main"]) < 0.5).then_some(())
    });
}

/// Device tokens, what Apple and Google are shown and give, texts and match numbers are in no log, even at the most talkative level, and
/// in no metric.
#[test]
fn invariant_13_secrets_cannot_print() {
    let extra = "[telemetry]\nlog_level = \"trace\"\n";
    let stage = Stage::with(&shared_kafka(), 1, &names(2), SandboxConfig::default(), extra);
    stage.write(&[device("u1", "pixel", Platform::Fcm, "fcm-token-of-u1")]);
    let worker = stage.worker();
    stage.sandbox.add_fault(Rule::always(Provider::Apns, refuse("BadDeviceToken")).on(&token_of("u0")));
    let body = wire::event::Body::IdentityVerificationRequested(wire::IdentityVerificationRequested {
        application: "Payroll of Meridian".into(),
        match_number: Some("407213".into()),
        ..Default::default()
    });
    for user in ["u0", "u1"] {
        stage.emit(NotificationType::IdentityVerification, &event(user, &[user], body.clone()));
    }
    stage.wait_outcomes(3);
    let (_, metrics) = worker.get("/metrics").unwrap();
    let (provider_tokens, googles) = (stage.sandbox.apns().secrets(), stage.sandbox.fcm().secrets());
    let is_jwt = |secret: &String| secret.starts_with("eyJ") && secret.split('.').count() == 3;
    assert!(!provider_tokens.is_empty() && provider_tokens.iter().all(is_jwt), "Apple was shown no token");
    assert!(googles.iter().any(is_jwt), "Google was shown no assertion");
    assert!(googles.iter().any(|secret| secret.starts_with("ya29.")), "Google gave no access token");
    let rendered = ["Is this you signing in?", "Payroll of Meridian", "waiting for your answer"].map(str::to_owned);
    assert!(shown(&stage, "u1").contains(&rendered[0]), "nothing was rendered");
    let log = worker.log();
    assert!(log.contains("watchbell::") && log.contains("TRACE"), "the log is not talkative");
    // The beginnings too: a token that is cut is still most of a token.
    let others = [&token_of("u0"), &token_of("u1"), "fcm-token-of-u1", "407213", "eyJ", "ya29.", "-----BEGIN"];
    for secret in provider_tokens.into_iter().chain(googles).chain(rendered).chain(others.map(str::to_owned)) {
        assert!(!log.contains(&secret), "{secret} is in the log");
        assert!(!metrics.contains(&secret), "{secret} is in the metrics");
    }
}

/// What the person's iPhone shows.
fn shown(stage: &Stage, user: &str) -> String {
    let phone = stage.sandbox.apns().device(&token_of(user)).unwrap();
    phone.shown.iter().map(|push| push.payload["aps"]["alert"].to_string()).collect()
}
