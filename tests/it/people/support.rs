//! What these tests share: a broker in memory, and requests.
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use prost::Message as _;
use watchbell::event::{DeviceId, NotificationType, Timestamp, wire};
use watchbell::people::{Answer, MatchNumber, Person, Projection, RequestDetail, RequestId, Verb};
use watchbell::seam::{OutboxRecord, OutboxSink, OutboxTopic, Settlement};
use watchbell::store::Policy;

use crate::store_support::{AT, Place, device_of, event, phone};

/// A broker that takes everything, and acknowledges it at once or when it is told to.
#[derive(Clone, Default)]
pub struct Broker {
    log: Arc<Mutex<Vec<OutboxRecord>>>,
    held: Option<Arc<Mutex<Vec<Arc<Settlement>>>>>,
}

impl Broker {
    /// One that acknowledges nothing until [`Broker::acknowledge`].
    pub fn holding() -> Self {
        Self { held: Some(Arc::default()), ..Self::default() }
    }

    /// Everything written so far, in order.
    pub fn log(&self) -> Vec<OutboxRecord> {
        self.log.lock().unwrap().clone()
    }

    /// Acknowledges what waits for it; returns how many that was.
    pub fn acknowledge(&self) -> usize {
        let held = std::mem::take(&mut *self.held.as_ref().unwrap().lock().unwrap());
        held.iter().for_each(|settlement| settlement.release());
        held.len()
    }

    /// What upstream heard, in order.
    pub fn decisions(&self) -> Vec<wire::Decision> {
        let ours = self.log().into_iter().filter(|record| record.topic == OutboxTopic::Decisions);
        ours.map(|record| wire::Decision::decode(&record.payload[..]).unwrap()).collect()
    }

    /// The jobs, in order.
    pub fn jobs(&self) -> Vec<wire::PushJob> {
        let ours = self.log().into_iter().filter(|record| record.topic == OutboxTopic::Jobs);
        let jobs = ours.map(|record| {
            let job = wire::PushJob::decode(&record.payload[..]).unwrap();
            assert_eq!(record.key.as_deref(), Some(job.user_id.as_bytes()));
            job
        });
        jobs.collect()
    }
}

impl OutboxSink for Broker {
    fn write(&self, record: &OutboxRecord, settlement: &Arc<Settlement>) {
        settlement.hold();
        self.log.lock().unwrap().push(record.clone());
        match &self.held {
            Some(held) => held.lock().unwrap().push(Arc::clone(settlement)),
            None => settlement.release(),
        }
    }
}

/// A future that is killed where it waits for the so-many-th time.
pub struct Killed<F> {
    pub waits: u64,
    pub inner: Pin<Box<F>>,
}

impl<F: Future> Future for Killed<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.inner.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.waits == 0 => Poll::Ready(None),
            Poll::Pending => {
                self.waits -= 1;
                Poll::Pending
            }
        }
    }
}

/// Publishes everything that waits, and returns the broker that has it.
pub async fn published(policy: &Policy) -> Broker {
    let broker = Broker::default();
    for topic in OutboxTopic::ALL {
        policy.outbox().drain(topic, &broker).await.unwrap();
    }
    broker
}

/// What upstream heard of a request, in order: `asked`, `approve`, `expired`, …
pub fn heard(decisions: &[wire::Decision], id: &str) -> Vec<String> {
    use wire::decision::Body;
    let of = decisions.iter().filter(|decision| decision.event_id == id);
    of.map(|decision| match decision.body.as_ref().unwrap() {
        Body::Asked(asked) => format!("asked{:?}", asked.devices),
        Body::Notice(notice) => format!("{:?}", notice.kind()),
        Body::Decided(decided) => format!("{:?}", decided.verb()),
        Body::Closed(closed) => format!("{:?}", closed.reason()),
        Body::NotMe(not_me) => format!("not me: {:?}", not_me.notice()),
    })
    .collect()
}

/// `AT` and so many seconds.
pub fn after(seconds: u64) -> Timestamp {
    AT.plus(std::time::Duration::from_secs(seconds))
}

/// A sign-in that asks, five minutes long.
pub fn sign_in(person: &Person, id: &str, at: Timestamp) -> Projection {
    Projection {
        person: person.clone(),
        event: event(id),
        detail: RequestDetail::IdentityVerification {
            application: "Payroll".into(),
            reason: String::new(),
            ip_address: "203.0.113.9".into(),
            location: "Lisbon".into(),
            device: "Firefox".into(),
            new_location: true,
            new_device: false,
        },
        source: String::new(),
        match_number: None,
        occurred_at: at,
        expires_at: at.plus(std::time::Duration::from_secs(300)),
        record_key: Some(person.user.as_str().into()),
        traceparent: None,
    }
}

pub fn id_of(projection: &Projection) -> RequestId {
    let (person, event) = (projection.person.clone(), projection.event.clone());
    RequestId { person, kind: NotificationType::IdentityVerification, event }
}

/// An answer by that device, with its own key.
pub fn answer(projection: &Projection, device: &str, verb: Verb, number: Option<&str>) -> Answer {
    Answer {
        request: id_of(projection),
        device: DeviceId::new(device).unwrap(),
        key_thumbprint: format!("key-of-{device}"),
        verb,
        number: number.and_then(MatchNumber::new),
        jws: format!("statement-of-{device}"),
    }
}

/// Ada has two approvers, `d1` and `d2`, and `d3`, which may only receive.
pub async fn enrol_ada(place: &Place, policy: &Policy) {
    let devices = ["d1", "d2", "d3"].map(|id| device_of("acme", "ada", phone(id, &format!("token-{id}"))));
    policy.admin().write(&devices).await.unwrap();
    place
        .execute(
            "UPDATE enrolments SET key_thumbprint = 'key-of-' || id, key_jwk = 'jwk-of-' || id, state = 'approver', model = 'Pixel 8', name = 'Ada phone';
             UPDATE enrolments SET state = 'receive_only' WHERE id = 'd3';
             UPDATE enrolments SET model = '' WHERE id = 'd2'",
        )
        .await;
}
