use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use super::{Counts, HALF_MAX};
use crate::delivery::{Ending, PushJob, PushKind, Reason, Tier};
use crate::event::{NotificationType, SystemNotice, UserId, WorkspaceId, wire};
use crate::pipeline::bench::{Bench, cancel_of, decision, ended, retryable};
use crate::pipeline::fakes::{NOW, otp, otp_record, record, sign_in, sign_in_record};
use crate::policy::{Guard, Ring, Setting, Workspace};
use crate::seam::{Clock as _, Feed, Forward};

fn held_back() -> Ending {
    Ending::Suppressed(Reason::known("fatigue_guard"))
}

/// Once with this process's own count, and once with the common one.
fn both() -> [Bench; 2] {
    let together = Bench::new();
    *together.policy.common.lock().unwrap() = Some(HashMap::new());
    [Bench::new(), together]
}

static OFFSET: AtomicI64 = AtomicI64::new(0);

async fn signs_in(bench: &Bench, event: &str, recipients: &[&str]) {
    let offset = OFFSET.fetch_add(1, SeqCst);
    let occurred_at = Some(wire::wire_time(bench.clock.now()));
    let event = wire::Event { occurred_at, ..sign_in(event, recipients) };
    bench.handle(sign_in_record(&bench.lease, offset, &event)).await;
}

async fn answers(bench: &Bench, verb: wire::Verb) {
    hears(bench, wire::decision::Body::Decided(wire::Decided { verb: verb.into(), ..Default::default() })).await;
    bench.forwards();
}

async fn hears(bench: &Bench, body: wire::decision::Body) {
    let record = record(Feed::Decision, &bench.lease, OFFSET.fetch_add(1, SeqCst), "u", decision(body));
    bench.handle(record).await;
}

/// Somebody set a phone up, and its person says that it was not them: nothing new rings for them. It ends no
/// request, so nothing is taken back.
#[tokio::test]
async fn a_disowned_notice_silences() {
    for bench in both() {
        let bench = bench.person("u", 1).person("v", 1);
        signs_in(&bench, "a", &["u"]).await;
        hears(&bench, wire::decision::Body::NotMe(wire::NotMe::default())).await;
        assert!(bench.policy.withdrawn.lock().unwrap().is_empty());
        signs_in(&bench, "b", &["u", "v"]).await;
        assert_eq!(rang(&bench), 2, "the first, and somebody else's");
        assert_eq!(jobs(&bench).len(), 1, "the person is told, and nothing is taken back");
        bench.endings();
    }
}

/// The jobs that were forwarded.
fn jobs(bench: &Bench) -> Vec<PushJob> {
    let job = |forward| match forward {
        Forward::Job { tier: Tier::Now, job, .. } => *job,
        other => panic!("{other:?}"),
    };
    bench.forwards().into_iter().map(job).collect()
}

fn rang(bench: &Bench) -> usize {
    std::mem::take(&mut *bench.provider.pushed.lock().unwrap()).len()
}

/// Of an attacker's fifty sign-ins five ring, enforced or not; the person is told once, on each of their phones; the other forty-five end
/// as held back, one ending each. Nobody else's phone and no other type is the quieter for it, and theirs ring again when the window is over.
#[tokio::test]
async fn fifty_sign_ins() {
    for bench in both() {
        let bench = bench.person("u", 2).person("v", 1);
        bench.policy.users.lock().unwrap().get_mut("u").unwrap().devices[1].quiet = true;
        let settings = [Setting::Enforced; NotificationType::COUNT];
        *bench.policy.workspace.lock().unwrap() = Some(Workspace { settings, ..Workspace::unknown() });
        for number in 0..50 {
            signs_in(&bench, &format!("e{number}"), &["u"]).await;
        }
        assert_eq!(rang(&bench), 10, "five on two phones");
        let endings = bench.endings();
        assert_eq!(endings.iter().filter(|end| **end == ended("u", "", held_back())).count(), 45);
        assert_eq!(endings.len(), 55);
        let told = jobs(&bench);
        let devices: Vec<_> = told.iter().map(|job| job.device.as_str()).collect();
        assert_eq!(devices, ["d0", "d1"], "the quiet one, too");
        let guard =
            told.iter().all(|job| job.subject.notice() == Some(SystemNotice::Guard) && job.kind == PushKind::Notice);
        assert!(guard && told[0].subject == told[1].subject, "{told:?}");
        signs_in(&bench, "of-another", &["v"]).await;
        bench.handle(otp_record(&bench.lease, 1_000, &otp("code", &["u"]))).await;
        assert_eq!(rang(&bench), 3);
        for (passed, rings) in [(599, 0), (1, 2)] {
            bench.clock.advance(Duration::from_secs(passed));
            signs_in(&bench, &format!("after-{passed}"), &["u"]).await;
            assert_eq!(rang(&bench), rings);
        }
    }
}

/// What people send to themselves asks nothing: it counts for nothing, and the guard holds none of it back.
#[tokio::test]
async fn tests_do_not_count() {
    for bench in both() {
        let bench = bench.person("u", 1);
        let guard = Guard::default();
        for number in 0..2 * guard.max {
            let test = wire::Event { test: true, ..sign_in(&format!("t{number}"), &["u"]) };
            let offset = OFFSET.fetch_add(1, SeqCst);
            bench.handle(sign_in_record(&bench.lease, offset, &test)).await;
        }
        assert_eq!(rang(&bench), 2 * guard.max as usize);
        for number in 0..guard.max {
            signs_in(&bench, &format!("e{number}"), &["u"]).await;
        }
        assert_eq!(rang(&bench), guard.max as usize);
        assert!(jobs(&bench).is_empty());
        bench.endings();
    }
}

/// A record that is read again counts once, and rings again as any repeated record does; a job is never held back. The first that was held
/// back tells the person under the same id each time that it is read, and no other does.
#[tokio::test]
async fn what_is_read_again_counts_once() {
    for bench in both() {
        let bench = bench.person("u", 1);
        for _ in 0..8 {
            signs_in(&bench, "e", &["u"]).await;
        }
        bench.answers(retryable());
        signs_in(&bench, "f", &["u"]).await;
        let retry = bench.job_record(5_000);
        for event in ["g", "h", "i"] {
            signs_in(&bench, event, &["u"]).await;
        }
        assert_eq!(rang(&bench), 12);
        signs_in(&bench, "first", &["u"]).await;
        let told = jobs(&bench);
        signs_in(&bench, "second", &["u"]).await;
        assert!(jobs(&bench).is_empty());
        signs_in(&bench, "first", &["u"]).await;
        assert_eq!(
            told.iter().map(PushJob::id).collect::<Vec<_>>(),
            jobs(&bench).iter().map(PushJob::id).collect::<Vec<_>>()
        );
        answers(&bench, wire::Verb::DenyNotMe).await;
        bench.handle(retry).await;
        assert_eq!((rang(&bench), told.len()), (1, 1));
    }
}

/// An approval begins anew; a plain denial does not; after "not me" nothing new rings, until its window is over.
#[tokio::test]
async fn answers_are_heard() {
    for bench in both() {
        let bench = bench.person("u", 1);
        for number in 0..6 {
            signs_in(&bench, &format!("a{number}"), &["u"]).await;
        }
        assert_eq!(rang(&bench), 5);
        answers(&bench, wire::Verb::Deny).await;
        signs_in(&bench, "b", &["u"]).await;
        assert_eq!(rang(&bench), 0);
        answers(&bench, wire::Verb::Approve).await;
        for number in 0..6 {
            signs_in(&bench, &format!("c{number}"), &["u"]).await;
        }
        assert_eq!(rang(&bench), 5);
        answers(&bench, wire::Verb::Approve).await;
        answers(&bench, wire::Verb::DenyNotMe).await;
        for (passed, rings) in [(0, 0), (599, 0), (1, 1)] {
            bench.clock.advance(Duration::from_secs(passed));
            signs_in(&bench, &format!("d{passed}"), &["u"]).await;
            assert_eq!(rang(&bench), rings, "{passed}");
        }
    }
}

/// Where an event asks many, it is exploded without those who are held back, who are told with the other jobs.
#[tokio::test]
async fn an_explosion_is_guarded() {
    for mut bench in both() {
        let names: Vec<String> = (0..20).map(|n| format!("u{n}")).collect();
        for name in &names {
            bench = bench.person(name, 1);
        }
        for number in 0..5 {
            signs_in(&bench, &format!("a{number}"), &["u7"]).await;
        }
        let everybody: Vec<&str> = names.iter().map(String::as_str).collect();
        signs_in(&bench, "b", &everybody).await;
        let jobs = jobs(&bench);
        let (told, asked): (Vec<_>, Vec<_>) = jobs.iter().partition(|job| job.kind == PushKind::Notice);
        assert!(matches!(told[..], [job] if job.user.as_str() == "u7"), "{told:?}");
        assert!(asked.len() == 19 && asked.iter().all(|job| job.user.as_str() != "u7"));
        assert_eq!(bench.endings()[5..], [ended("u7", "", held_back())]);
    }
}

/// What the guard held back is not taken back when it ends: it is on no phone. What rang is.
#[tokio::test]
async fn what_did_not_ring_is_not_taken_back() {
    let bench = Bench::new().person("u", 1);
    for number in 0..6 {
        signs_in(&bench, &format!("a{number}"), &["u"]).await;
    }
    bench.forwards();
    for (event, withdrawn) in [("a5", 0), ("a4", 1)] {
        let cancel = sign_in_record(&bench.lease, OFFSET.fetch_add(1, SeqCst), &cancel_of(event, &["u"]));
        bench.handle(cancel).await;
        assert_eq!(jobs(&bench).len(), withdrawn, "{event}");
    }
}

/// Who gets no push anyway is not counted: what a mute kept silent takes no room.
#[tokio::test]
async fn what_would_not_ring_is_not_counted() {
    for bench in both() {
        let bench = bench.person("u", 1);
        let set = |setting| {
            let settings = [setting; NotificationType::COUNT];
            *bench.policy.workspace.lock().unwrap() = Some(Workspace { settings, ..Workspace::unknown() });
        };
        set(Setting::Disabled);
        for number in 0..6 {
            signs_in(&bench, &format!("a{number}"), &["u"]).await;
        }
        set(Setting::Enabled);
        for number in 0..6 {
            signs_in(&bench, &format!("b{number}"), &["u"]).await;
        }
        assert_eq!(rang(&bench), 5);
    }
}

/// While the common count does not answer, this process counts by itself, by the same law.
#[tokio::test]
async fn a_count_that_is_gone() {
    let [_, bench] = both();
    let bench = bench.person("u", 1);
    for number in 0..6 {
        signs_in(&bench, &format!("a{number}"), &["u"]).await;
    }
    bench.policy.speechless.store(true, SeqCst);
    for number in 0..6 {
        signs_in(&bench, &format!("b{number}"), &["u"]).await;
    }
    assert_eq!(rang(&bench), 10);
    let told: Vec<_> = jobs(&bench).iter().map(|job| job.subject.notice()).collect();
    assert_eq!(told, [Some(SystemNotice::Guard); 2], "once by each count");
}

/// However many people are asked, the memory has a bound; it keeps who came last, lets go of who came first, and forgets with its window.
#[test]
fn the_memory_is_bounded() {
    let (counts, guard) = (Counts::default(), Guard { max: 1, ..Guard::default() });
    let workspace = WorkspaceId::new("w").unwrap();
    let asks = |person: usize, request: u64, now| {
        let user = UserId::new(format!("u{person}")).unwrap();
        counts.with((&workspace, &user), now, &guard, |tally| tally.ring(request, now, &guard))
    };
    let size = || {
        let people = counts.people.lock().unwrap();
        (people.young.len() + people.old.len(), people.young.capacity())
    };
    assert_eq!(size(), (0, 0), "nothing before something rings");
    for person in 0..5 * HALF_MAX {
        asks(person, 1, NOW);
        assert!(size().0 <= 2 * HALF_MAX && size().1 <= HALF_MAX, "{:?}", size());
    }
    let last = 5 * HALF_MAX - 1;
    assert_eq!(asks(last, 2, NOW), Ring::HeldBack { first: true });
    assert_eq!(asks(last - HALF_MAX, 2, NOW), Ring::HeldBack { first: true }, "of the other half");
    assert_eq!(asks(0, 2, NOW), Ring::Rings, "long ago");
    let later = NOW.plus(guard.window);
    asks(1, 3, later);
    asks(1, 4, later.plus(guard.window));
    assert_eq!(size().0, 1);
}
