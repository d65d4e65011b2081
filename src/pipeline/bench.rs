//! What the flow's tests stand on: a pipeline between fakes.
use std::sync::Arc;

use prost::Message as _;
use tokio::sync::Semaphore;

use super::fakes::{Answer, FakeClock, FakeForwarder, FakeLease, FakePolicy, FakeProvider, NOW, otp, record, user};
use super::{FlowConfig, InHand, Pipeline};
use crate::delivery::{Ending, Outcome, Reach, Reason, RetryScope, Tier, Urgency, codec};
use crate::event::wire;
use crate::notification::Texts;
use crate::seam::{Feed, Forward, Record};

type Flow = Pipeline<Arc<FakePolicy>, Arc<FakeProvider>, Arc<FakeForwarder>, FakeClock>;

/// A pipeline between fakes; after each record nothing may be left open in its balance.
pub(super) struct Bench {
    pub(super) policy: Arc<FakePolicy>,
    pub(super) provider: Arc<FakeProvider>,
    pub(super) forwarder: Arc<FakeForwarder>,
    pub(super) clock: FakeClock,
    pub(super) lease: Arc<FakeLease>,
    pub(super) flow: Arc<Flow>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(FlowConfig::default())
    }

    pub(super) fn with(config: FlowConfig) -> Self {
        Self::between(config, FakeProvider::default())
    }

    /// Its pushes wait for a permit each.
    pub(super) fn gated() -> Self {
        let gate = Some(Semaphore::new(0));
        Self::between(FlowConfig::default(), FakeProvider { gate, ..FakeProvider::default() })
    }

    fn between(config: FlowConfig, provider: FakeProvider) -> Self {
        let (policy, forwarder) = <(Arc<FakePolicy>, Arc<FakeForwarder>)>::default();
        let provider = Arc::new(provider);
        let (clock, lease) = (FakeClock::new(), FakeLease::new("otp-received"));
        let texts = Texts::load().unwrap();
        policy.forwarder.set(Arc::clone(&forwarder)).ok();
        policy.clock.set(clock.clone()).ok();
        let flow = Pipeline::new(
            Arc::clone(&policy),
            Arc::clone(&provider),
            Arc::clone(&forwarder),
            clock.clone(),
            texts,
            config,
        );
        Self { policy, provider, forwarder, clock, lease, flow: Arc::new(flow) }
    }

    pub(super) fn person(self, name: &str, devices: usize) -> Self {
        self.policy.users.lock().unwrap().insert(name.into(), user(name, devices));
        self
    }

    pub(super) fn answers(&self, outcome: Outcome) {
        self.provider.answers.lock().unwrap().push_back(Answer::Outcome(outcome));
    }

    pub(super) async fn handle(&self, record: Record) {
        self.flow.handle(&mut InHand::new(record)).await;
        let balance = self.flow.balance().snapshot();
        assert_eq!((balance.records_open(), balance.jobs_open()), (0, 0), "{balance:?}");
    }

    pub(super) fn endings(&self) -> Vec<(String, String, Ending)> {
        let outcomes = self.forwarder.outcomes.lock().unwrap();
        outcomes.iter().map(|ended| (ended.user.clone(), ended.device.clone(), ended.ending.clone())).collect()
    }

    pub(super) fn forwards(&self) -> Vec<Forward> {
        std::mem::take(&mut *self.forwarder.forwards.lock().unwrap())
    }

    pub(super) fn tokens(&self) -> Vec<String> {
        self.provider.pushed.lock().unwrap().iter().map(|pushed| pushed.token.clone()).collect()
    }

    /// The next job that was forwarded, as a record of a job topic.
    pub(super) fn job_record(&self, offset: i64) -> Record {
        let forwards = self.forwards();
        let job = forwards.iter().find_map(|forward| match forward {
            Forward::Job { job, .. } | Forward::Hold { job, .. } | Forward::DeadJob { job, .. } => Some(job),
            Forward::NewerJob { .. } | Forward::DeadRecord { .. } => None,
        });
        let mut bytes = Vec::new();
        codec::encode_job(job.expect("a job was forwarded"), &mut bytes);
        record(Feed::Job(Urgency::Urgent, Tier::S10), &self.lease, offset, "u", bytes)
    }
}

pub(super) fn retryable() -> Outcome {
    Outcome::Retryable {
        reason: Reason::known("ServiceUnavailable"),
        retry_after: None,
        scope: RetryScope::Provider,
        reach: Reach::Refused,
    }
}

pub(super) fn ended(user: &str, device: &str, ending: Ending) -> (String, String, Ending) {
    (user.into(), device.into(), ending)
}

/// A Cancel of that event.
pub(super) fn cancel_of(event: &str, recipients: &[&str]) -> wire::Event {
    let mut cancel = otp("c", recipients);
    cancel.body = Some(wire::event::Body::Cancel(wire::Cancel { event_id: event.into() }));
    cancel
}

/// A record's value on the decisions topic.
pub(super) fn decision(body: wire::decision::Body) -> Vec<u8> {
    let decision = wire::Decision {
        workspace_id: "w".into(),
        r#type: wire::NotificationType::IdentityVerification.into(),
        event_id: "e".into(),
        user_id: "u".into(),
        decision_id: "x".into(),
        at: Some(prost_types::Timestamp { seconds: NOW.as_secs(), nanos: 0 }),
        body: Some(body),
    };
    decision.encode_to_vec()
}

/// A final one.
pub(super) fn decided() -> Vec<u8> {
    decision(wire::decision::Body::Decided(wire::Decided::default()))
}
