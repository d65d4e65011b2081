//! Notices of Watchbell itself, which come as jobs and never as events.
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::bench::{Bench, ended, retryable};
use super::fakes::{NOW, record};
use crate::delivery::{Ending, JobId, Notice, Reason, Tier, Urgency, codec};
use crate::event::{DeviceId, EventId, NotificationType, SystemNotice, UserId, WorkspaceId};
use crate::policy::{Preference, Setting, Workspace};
use crate::seam::{Feed, Record};

const KIND: NotificationType = NotificationType::TrustedDevice;

/// The record by which one of u's devices is told.
fn notice(bench: &Bench, offset: i64, what: SystemNotice, device: &str) -> Record {
    let notice = Notice {
        workspace: WorkspaceId::new("w").unwrap(),
        kind: KIND,
        id: EventId::new("n").unwrap(),
        what,
        occurred_at: NOW,
        until: NOW.plus(Duration::from_secs(3_600)),
    };
    let mut bytes = Vec::new();
    codec::encode_notice(&notice, &UserId::new("u").unwrap(), &DeviceId::new(device).unwrap(), &mut bytes);
    record(Feed::Job(Urgency::Urgent, Tier::Now), &bench.lease, offset, "u", bytes)
}

/// Neither a disabled type nor a mute nor a quiet phone keeps a notice from showing, whatever it says.
#[tokio::test]
async fn nothing_keeps_a_notice_from_showing() {
    let bench = Bench::new().person("u", 1);
    let settings = [Setting::Disabled; NotificationType::COUNT];
    *bench.policy.workspace.lock().unwrap() = Some(Workspace { settings, ..Workspace::unknown() });
    {
        let mut users = bench.policy.users.lock().unwrap();
        let person = users.get_mut("u").unwrap();
        person.preferences = [Preference::Off; NotificationType::COUNT];
        person.devices[0].quiet = true;
    }
    bench.policy.withdrawn.lock().unwrap().insert((KIND, EventId::new("n").unwrap()));
    for (offset, what) in SystemNotice::ALL.into_iter().enumerate() {
        bench.handle(notice(&bench, offset as i64, what, "d0")).await;
    }
    let pushed = bench.provider.pushed.lock().unwrap();
    let said: Vec<_> = pushed.iter().map(|push| push.notice.unwrap()).collect();
    assert_eq!(said, SystemNotice::ALL);
    let id = JobId::notice("w", KIND, "n", "u", "d0");
    assert!(pushed.iter().all(|push| (push.job, push.collapse, push.withdrawal) == (id, id, false)));
    let outcomes = bench.forwarder.outcomes.lock().unwrap();
    for (outcome, what) in outcomes.iter().zip(SystemNotice::ALL) {
        assert_eq!((outcome.job, &outcome.ending, outcome.notice), (id, &Ending::Accepted, Some(what)));
    }
}

/// A device that is gone, or a deadline, ends a notice like any job, and its ending says that it was one. Nobody else is told.
#[tokio::test]
async fn a_notice_ends_like_any_job() {
    let bench = Bench::new().person("u", 1);
    bench.handle(notice(&bench, 0, SystemNotice::Removed, "gone")).await;
    bench.clock.advance(Duration::from_secs(3_601));
    bench.handle(notice(&bench, 1, SystemNotice::Removed, "d0")).await;
    let late = Ending::Expired(Reason::known("deadline"));
    assert_eq!(bench.endings(), [ended("u", "gone", Ending::NoDevice), ended("u", "d0", late)]);
    let outcomes = bench.forwarder.outcomes.lock().unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.notice == Some(SystemNotice::Removed)));
    assert!(bench.tokens().is_empty());
}

/// A notice that its provider does not take is tried again, as the same entry on the screen.
#[tokio::test]
async fn a_notice_is_tried_again() {
    let bench = Bench::new().person("u", 1);
    bench.answers(retryable());
    bench.handle(notice(&bench, 0, SystemNotice::Guard, "d0")).await;
    let again = bench.job_record(1);
    bench.clock.advance(Duration::from_secs(10));
    bench.handle(again).await;
    let pushed = bench.provider.pushed.lock().unwrap();
    assert_eq!((pushed.len(), &pushed[0]), (2, &pushed[1]));
    assert_eq!(bench.endings(), [ended("u", "d0", Ending::Accepted)]);
    assert_eq!(bench.policy.asked.load(SeqCst), 2, "asked anew at each attempt");
}
