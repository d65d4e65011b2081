//! Load that can be accounted for: every event that was emitted is looked for at the simulator and among the outcomes.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use prost::Message as _;
use watchbell::delivery::JobId;
use watchbell::event::{NotificationType, wire};

use crate::support::kafka::Producer;
use crate::support::stage::{Stage, WORKSPACE, event};

/// One emitted event, for one person.
#[derive(Debug, Clone)]
pub struct Emitted {
    pub kind: NotificationType,
    pub event: String,
    pub user: String,
}

impl Emitted {
    fn job(&self) -> JobId {
        JobId::show(WORKSPACE, self.kind, &self.event, &self.user, "phone")
    }
}

/// Emits in the background at a steady rate until it has emitted its number of events.
pub struct Load {
    thread: JoinHandle<Vec<Emitted>>,
    emitted: Arc<AtomicUsize>,
}

impl Load {
    pub fn start(stage: &Stage, people: &[String], count: usize, per_second: u32) -> Self {
        let emitted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&emitted);
        let topics: HashMap<NotificationType, String> =
            NotificationType::ALL.into_iter().map(|kind| (kind, stage.topics.event(kind).to_owned())).collect();
        let (producer, people) = (Producer::new(&stage.bootstrap), people.to_vec());
        let thread = std::thread::spawn(move || {
            let (began, mut all) = (Instant::now(), Vec::with_capacity(count));
            for n in 0..count {
                let due = began + Duration::from_secs(n as u64) / per_second;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let kind = NotificationType::ALL[n % NotificationType::COUNT];
                let one = Emitted { kind, event: format!("e{n:06}"), user: people[n * 7 % people.len()].clone() };
                let mut record = event(&one.event, &[&one.user], body(kind));
                // Long enough that nothing expires while the test breaks things.
                let expires_at =
                    record.occurred_at.map(|at| prost_types::Timestamp { seconds: at.seconds + 3600, ..at });
                record.expires_at = expires_at;
                producer.send_to(&topics[&kind], &one.user, record.encode_to_vec());
                all.push(one);
                counter.fetch_add(1, Ordering::Relaxed);
            }
            producer.flush();
            all
        });
        Self { thread, emitted }
    }

    /// How many were emitted so far.
    pub fn emitted(&self) -> usize {
        self.emitted.load(Ordering::Relaxed)
    }

    /// Waits until it has emitted all of its events.
    pub fn finish(self) -> Vec<Emitted> {
        self.thread.join().unwrap()
    }
}

fn body(kind: NotificationType) -> wire::event::Body {
    use wire::event::Body;
    match kind {
        NotificationType::IdentityVerification => {
            Body::IdentityVerificationRequested(wire::IdentityVerificationRequested {
                application: "Payroll".into(),
                ..Default::default()
            })
        }
        NotificationType::TrustedDevice => Body::TrustedDeviceRequested(wire::TrustedDeviceRequested {
            device_name: "Laptop".into(),
            ..Default::default()
        }),
        NotificationType::AccountSharing => Body::AccountShared(wire::AccountShared {
            account: "Bank".into(),
            shared_by: "Ana".into(),
            access_level: 0,
        }),
        NotificationType::OtpReceived => {
            Body::OtpReceived(wire::OtpReceived { account: "Bank".into(), service: "ACME".into() })
        }
    }
}

/// What became of everything that was emitted.
#[derive(Debug)]
pub struct Account {
    /// Pushes beyond the first of each event.
    pub repeated: usize,
}

/// Waits until every event has an outcome, and asserts that each ended as accepted, reached its phone at least once, and that first
/// arrivals keep the order of their key.
pub fn settle(stage: &Stage, emitted: &[Emitted]) -> Account {
    let outcomes = stage.wait_outcomes(emitted.len());
    for one in emitted {
        let of_job = outcomes.get(one.job().as_bytes().as_slice()).unwrap_or_else(|| panic!("{one:?} has no outcome"));
        let accepted = of_job.iter().any(|outcome| outcome.ending() == wire::Ending::Accepted);
        assert!(accepted, "{one:?} ended as {of_job:?}");
    }
    let pushes = stage.sandbox.apns().pushes();
    let by_job: HashMap<String, usize> =
        emitted.iter().enumerate().map(|(n, one)| (one.job().to_string(), n)).collect();
    let (mut seen, mut latest) = (HashSet::new(), HashMap::new());
    for push in &pushes {
        let n = *by_job.get(&push.apns_id).unwrap_or_else(|| panic!("a push that nobody asked for: {push:?}"));
        if seen.insert(n) {
            let one = &emitted[n];
            let before = latest.insert((one.kind, one.user.clone()), n);
            assert!(before.is_none_or(|before| before < n), "{one:?} overtook {:?}", before.map(|n| &emitted[n]));
        }
    }
    for (n, one) in emitted.iter().enumerate() {
        assert!(seen.contains(&n), "{one:?} never reached its phone");
    }
    Account { repeated: pushes.len() - seen.len() }
}
