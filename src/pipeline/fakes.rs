//! The seams in memory, for the tests of the flow: small, total, and strict about what production would refuse.
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use prost::Message as _;

pub(crate) use super::fake_policy::{FakePolicy, Remembered};
use crate::delivery::{Content, Ending, JobId, Outcome, OutcomeRecord, Push, Reach, Reason, RetryScope};
use crate::event::{DeviceId, Headers, NotificationType, SystemNotice, Timestamp, wire};
use crate::policy::{Device, DeviceView, Environment, Installation, Platform, Token, User};
use crate::seam::{
    Budget, Clock, CredentialId, Feed, Forward, Forwarder, Lease, LeaseState, PushProvider, Record, Settlement, Wanted,
};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A lease that remembers what it was told and refuses to be told twice.
#[derive(Debug)]
pub(crate) struct FakeLease {
    topic: Arc<str>,
    state: Mutex<LeaseState>,
    pub(crate) finished: Mutex<Vec<i64>>,
    pub(crate) abandoned: Mutex<Vec<i64>>,
    pub(crate) progress: Mutex<Vec<(i64, u32)>>,
    /// Whether progress is committed only when the test says so.
    pub(crate) slow: AtomicBool,
    awaited: Mutex<Vec<Arc<Settlement>>>,
}

impl FakeLease {
    pub(crate) fn new(topic: &str) -> Arc<Self> {
        Arc::new(Self {
            topic: topic.into(),
            state: Mutex::new(LeaseState::Owned),
            finished: Mutex::default(),
            abandoned: Mutex::default(),
            progress: Mutex::default(),
            slow: AtomicBool::default(),
            awaited: Mutex::default(),
        })
    }

    pub(crate) fn set(&self, state: LeaseState) {
        *self.state.lock().unwrap() = state;
    }

    pub(crate) fn commit(&self) {
        self.awaited.lock().unwrap().drain(..).for_each(|settlement| settlement.release());
    }

    fn once(&self, offset: i64) {
        let told = self.finished.lock().unwrap().contains(&offset) || self.abandoned.lock().unwrap().contains(&offset);
        assert!(!told, "the lease was told twice of offset {offset}");
    }
}

impl Lease for FakeLease {
    fn state(&self) -> LeaseState {
        *self.state.lock().unwrap()
    }

    fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    fn partition(&self) -> i32 {
        0
    }

    fn finish(&self, offset: i64) {
        self.once(offset);
        self.finished.lock().unwrap().push(offset);
    }

    fn abandon(&self, offset: i64) {
        self.once(offset);
        self.abandoned.lock().unwrap().push(offset);
    }

    fn progress(&self, offset: i64, next_recipient: u32, committed: &Arc<Settlement>) {
        self.progress.lock().unwrap().push((offset, next_recipient));
        if self.slow.load(SeqCst) {
            committed.hold();
            self.awaited.lock().unwrap().push(Arc::clone(committed));
        }
    }
}

/// A clock that tests move.
#[derive(Clone)]
pub(crate) struct FakeClock(Arc<AtomicI64>, Instant);

impl FakeClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(0)), Instant::now())
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as i64, SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp(NOW.0 + self.0.load(SeqCst))
    }

    fn instant(&self) -> Instant {
        self.1 + Duration::from_millis(self.0.load(SeqCst) as u64)
    }
}

/// What a fake provider was asked to push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pushed {
    pub(crate) job: JobId,
    pub(crate) collapse: JobId,
    pub(crate) token: String,
    pub(crate) withdrawal: bool,
    pub(crate) notice: Option<SystemNotice>,
}

/// What a fake provider answers next.
pub(crate) enum Answer {
    Outcome(Outcome),
    Panic,
}

/// A provider that answers as the test says, and accepts when it says nothing.
#[derive(Default)]
pub(crate) struct FakeProvider {
    pub(crate) pushed: Mutex<Vec<Pushed>>,
    pub(crate) answers: Mutex<VecDeque<Answer>>,
    /// Pushes wait for one permit each, when there is a gate.
    pub(crate) gate: Option<tokio::sync::Semaphore>,
    pub(crate) credential: OnceLock<CredentialId>,
    pub(crate) without_credential: AtomicBool,
    /// Tokens for which the credential is misconfigured.
    pub(crate) refused: Mutex<HashSet<String>>,
}

impl PushProvider for Arc<FakeProvider> {
    fn credential(&self, _: &DeviceView<'_>) -> Option<&CredentialId> {
        if self.without_credential.load(SeqCst) {
            None
        } else {
            Some(self.credential.get_or_init(|| "apns.main".into()))
        }
    }

    async fn push<'a>(&'a self, push: &'a Push<'a>, _: Instant, wanted: Wanted<'a>) -> Outcome {
        let (job, collapse, token) = (push.job, push.collapse, push.device.expose_token().to_owned());
        // Decided before the wait, so that the future that others measure is no larger.
        if self.refused.lock().unwrap().contains(&token) {
            let reason = Reason::known("BadTopic");
            self.answers.lock().unwrap().push_back(Answer::Outcome(Outcome::Misconfigured { reason }));
        }
        let (withdrawal, notice) = match push.content {
            Content::Withdraw(_) => (true, None),
            Content::Notice(_, what) => (false, Some(what)),
            Content::Show(_) | Content::Nonce { .. } => (false, None),
        };
        self.pushed.lock().unwrap().push(Pushed { job, collapse, token, withdrawal, notice });
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        if !wanted() {
            let (reason, scope) = (Reason::known("not_wanted"), RetryScope::Provider);
            return Outcome::Retryable { reason, retry_after: None, scope, reach: Reach::Unsent };
        }
        let answer = self.answers.lock().unwrap().pop_front();
        match answer {
            None => Outcome::Accepted,
            Some(Answer::Outcome(outcome)) => outcome,
            Some(Answer::Panic) => panic!("the test says so"),
        }
    }
}

/// An outcome, kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) user: String,
    pub(crate) device: String,
    pub(crate) ending: Ending,
    pub(crate) attempts: u32,
    pub(crate) job: JobId,
    pub(crate) traceparent: Option<String>,
    pub(crate) notice: Option<SystemNotice>,
}

/// A forwarder that keeps everything and acknowledges at once, or when told.
#[derive(Default)]
pub(crate) struct FakeForwarder {
    pub(crate) outcomes: Mutex<Vec<Ended>>,
    pub(crate) forwards: Mutex<Vec<Forward>>,
    pub(crate) slow: AtomicBool,
    /// Which of the next calls of `publish` panic, counted from 0 as they come.
    pub(crate) panics_at: Mutex<Vec<usize>>,
    published: AtomicUsize,
    waiting: Mutex<Vec<Arc<Settlement>>>,
}

impl FakeForwarder {
    fn take(&self, settlement: &Arc<Settlement>) {
        settlement.hold();
        match self.slow.load(SeqCst) {
            true => self.waiting.lock().unwrap().push(Arc::clone(settlement)),
            false => settlement.release(),
        }
    }

    pub(crate) fn acknowledge(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        waiting.iter().for_each(|settlement| settlement.release());
    }
}

impl Forwarder for Arc<FakeForwarder> {
    fn outcome(&self, outcome: &OutcomeRecord<'_>, settlement: &Arc<Settlement>) {
        self.outcomes.lock().unwrap().push(Ended {
            user: outcome.user.into(),
            device: outcome.device.into(),
            ending: outcome.ending.clone(),
            attempts: outcome.attempts,
            job: outcome.job,
            traceparent: outcome.traceparent.map(str::to_owned),
            notice: outcome.notice,
        });
        self.take(settlement);
    }

    fn publish(&self, forward: Forward, settlement: &Arc<Settlement>) {
        let at = self.published.fetch_add(1, SeqCst);
        let panics = self.panics_at.lock().unwrap().contains(&at);
        assert!(!panics, "the test says so");
        self.forwards.lock().unwrap().push(forward);
        self.take(settlement);
    }
}

/// A person with so many devices, `d0`, `d1`, … whose tokens are `<user>-d0`, ….
pub(crate) fn user(name: &str, devices: usize) -> User {
    let device = |n: usize| Device {
        id: DeviceId::new(format!("d{n}")).unwrap(),
        installation: Installation {
            platform: Platform::Apns,
            app: "com.example.app".into(),
            environment: Environment::Production,
            token: Token::new(format!("{name}-d{n}")),
        },
        locale: "en-US".into(),
        registered_at: Timestamp(0),
        quiet: false,
    };
    User { version: 7, preferences: Default::default(), devices: (0..devices).map(device).collect() }
}

/// An OTP event for these people.
pub(crate) fn otp(id: &str, recipients: &[&str]) -> wire::Event {
    wire::Event {
        event_id: id.into(),
        workspace_id: "w".into(),
        recipients: recipients.iter().map(|user| (*user).to_owned()).collect(),
        occurred_at: Some(prost_types::Timestamp { seconds: NOW.as_secs(), nanos: 0 }),
        expires_at: None,
        test: false,
        body: Some(wire::event::Body::OtpReceived(wire::OtpReceived {
            account: "Bank".into(),
            service: "ACME".into(),
        })),
    }
}

/// A sign-in that asks these people.
pub(crate) fn sign_in(id: &str, recipients: &[&str]) -> wire::Event {
    let asks = wire::IdentityVerificationRequested { application: "Payroll".into(), ..Default::default() };
    wire::Event { body: Some(wire::event::Body::IdentityVerificationRequested(asks)), ..otp(id, recipients) }
}

/// A sign-in's record.
pub(crate) fn sign_in_record(lease: &Arc<FakeLease>, offset: i64, event: &wire::Event) -> Record {
    let feed = Feed::Event(NotificationType::IdentityVerification);
    record(feed, lease, offset, &event.recipients[0], event.encode_to_vec())
}

/// A record with that value.
pub(crate) fn record(feed: Feed, lease: &Arc<FakeLease>, offset: i64, key: &str, payload: Vec<u8>) -> Record {
    Record {
        feed,
        lease: Arc::clone(lease) as Arc<dyn Lease>,
        offset,
        key: Some(key.to_owned().into()),
        payload: Some(payload.into()),
        headers: Headers::new(),
        timestamp: None,
        next_recipient: 0,
        read_at: Instant::now(),
        permit: Budget::new(1).try_take().unwrap(),
    }
}

/// An OTP event's record.
pub(crate) fn otp_record(lease: &Arc<FakeLease>, offset: i64, event: &wire::Event) -> Record {
    record(Feed::Event(NotificationType::OtpReceived), lease, offset, &event.recipients[0], event.encode_to_vec())
}
