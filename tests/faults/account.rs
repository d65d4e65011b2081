//! Load that can be accounted for: every event that was emitted is looked for at the simulator and among the outcomes.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use prost::Message as _;
use watchbell::delivery::JobId;
use watchbell::event::{NotificationType, Timestamp, wire};
use watchbell::seam::{Clock as _, SystemClock};

use crate::support::eventually;
use crate::support::kafka::Producer;
use crate::support::stage::{CEILING, Stage, WORKSPACE, event};

/// One emitted event, for one person.
#[derive(Debug, Clone)]
pub struct Emitted {
    pub kind: NotificationType,
    pub event: String,
    pub user: String,
    /// Before it was handed to Kafka.
    pub at: Timestamp,
    pub expires_at: Timestamp,
}

impl Emitted {
    /// The job of the person's phone.
    pub fn job(&self) -> JobId {
        JobId::show(WORKSPACE, self.kind, &self.event, &self.user, "phone")
    }

    /// The job that stands for the person where no phone was chosen.
    pub fn job_without_phone(&self) -> JobId {
        JobId::show(WORKSPACE, self.kind, &self.event, &self.user, "")
    }
}

/// An event's number within its load; 0 for what no load emitted.
pub fn number(event: &str) -> usize {
    event.strip_prefix('e').and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Hands an event for one person to Kafka.
pub fn emit(
    (producer, topic): (&Producer, &str),
    kind: NotificationType,
    event_id: String,
    user: String,
    lifetime: Duration,
) -> Emitted {
    let at = SystemClock.now();
    let expires_at = at.plus(lifetime);
    let mut record = event(&event_id, &[&user], body(kind));
    let (seconds, millis) = (expires_at.as_millis() / 1_000, expires_at.as_millis() % 1_000);
    record.expires_at = Some(prost_types::Timestamp { seconds, nanos: millis as i32 * 1_000_000 });
    producer.send_to(topic, &user, record.encode_to_vec());
    Emitted { kind, event: event_id, user, at, expires_at }
}

/// Long enough that nothing expires while a test breaks things.
const LONG_LIFE: Duration = Duration::from_secs(3_600);

/// Emits in the background at a steady rate until it has emitted its number of events, or is told to end.
pub struct Load {
    thread: JoinHandle<Vec<Emitted>>,
    emitted: Arc<AtomicUsize>,
    told: Arc<AtomicBool>,
}

impl Load {
    pub fn start(stage: &Stage, people: &[String], count: usize, per_second: u32) -> Self {
        let people = people.to_vec();
        Self::picking(stage, count, per_second, move |n| people[n * 7 % people.len()].clone())
    }

    /// For the person that `pick` gives for each event's number.
    pub fn picking(
        stage: &Stage,
        count: usize,
        per_second: u32,
        pick: impl Fn(usize) -> String + Send + 'static,
    ) -> Self {
        let (emitted, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, end) = (Arc::clone(&emitted), Arc::clone(&told));
        let topics: HashMap<NotificationType, String> =
            NotificationType::ALL.into_iter().map(|kind| (kind, stage.topics.event(kind).to_owned())).collect();
        let producer = Producer::new(&stage.bootstrap);
        let thread = std::thread::spawn(move || {
            let (began, mut all) = (Instant::now(), Vec::new());
            for n in (0..count).take_while(|_| !end.load(Ordering::Relaxed)) {
                let due = began + Duration::from_secs(n as u64) / per_second;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let kind = NotificationType::ALL[n % NotificationType::COUNT];
                all.push(emit((&producer, &topics[&kind]), kind, format!("e{n:06}"), pick(n), LONG_LIFE));
                counter.fetch_add(1, Ordering::Relaxed);
            }
            producer.flush();
            all
        });
        Self { thread, emitted, told }
    }

    /// How many were emitted so far.
    pub fn emitted(&self) -> usize {
        self.emitted.load(Ordering::Relaxed)
    }

    /// Waits until so many more were emitted: the load itself is the clock.
    pub fn wait_for_more(&self, more: usize) -> usize {
        let at = self.emitted() + more;
        eventually("more load", CEILING, || (self.emitted() >= at).then(|| self.emitted()))
    }

    /// Tells it to end.
    pub fn end(self) -> Vec<Emitted> {
        self.told.store(true, Ordering::Relaxed);
        self.finish()
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
    let arrived = arrivals(stage, emitted);
    for one in emitted {
        assert!(arrived.contains_key(&one.job().to_string()), "{one:?} never reached its phone");
    }
    Account { repeated: arrived.values().sum::<usize>() - arrived.len() }
}

/// How often each job's push reached its phone, by `apns-id`. Asserts that somebody asked for each, and that first arrivals keep the
/// order of their key.
pub fn arrivals(stage: &Stage, emitted: &[Emitted]) -> HashMap<String, usize> {
    let by_job: HashMap<String, usize> =
        emitted.iter().enumerate().map(|(n, one)| (one.job().to_string(), n)).collect();
    let (mut arrived, mut latest) = (HashMap::new(), HashMap::new());
    for push in &stage.sandbox.apns().pushes() {
        let n = *by_job.get(&push.apns_id).unwrap_or_else(|| panic!("a push that nobody asked for: {push:?}"));
        let times = arrived.entry(push.apns_id.clone()).or_insert(0);
        *times += 1;
        if *times == 1 {
            let one = &emitted[n];
            let before = latest.insert((one.kind, one.user.clone()), n);
            assert!(before.is_none_or(|before| before < n), "{one:?} overtook {:?}", before.map(|n| &emitted[n]));
        }
    }
    arrived
}
