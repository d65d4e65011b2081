//! The upstream side: events of some types, one recipient each, in turn over all people.
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use prost::Message as _;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use watchbell::delivery::JobId;
use watchbell::event::NotificationType;
use watchbell::event::wire::{self, event::Body};

use crate::stage::{DEVICE, People, Topics, user};

/// Everything that was sent here must be acknowledged within this time.
const FLUSH: Duration = Duration::from_secs(30);

/// Produces events and remembers when.
pub(crate) struct Load {
    producer: BaseProducer,
    topics: Topics,
    people: People,
    kinds: &'static [NotificationType],
    /// Moments of production in microseconds since 1970, by the event's number.
    produced: Vec<u64>,
    buffer: Vec<u8>,
}

impl Load {
    /// Events of these types, in turn, for these people.
    pub(crate) fn new(
        bootstrap: &str,
        topics: Topics,
        people: People,
        kinds: &'static [NotificationType],
    ) -> anyhow::Result<Self> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("queue.buffering.max.messages", "1000000")
            .create()
            .context("creating the load's producer")?;
        Ok(Self { producer, topics, people, kinds, produced: Vec::new(), buffer: Vec::new() })
    }

    /// Events produced so far.
    pub(crate) fn count(&self) -> u64 {
        self.produced.len() as u64
    }

    /// Produces `count` events, and keeps at most `outstanding` of all of them unaccepted. `accepted` counts since the beginning.
    pub(crate) fn closed(&mut self, count: u64, outstanding: u64, accepted: &dyn Fn() -> u64) -> anyhow::Result<()> {
        let end = self.count() + count;
        while self.count() < end {
            let until = end.min(accepted() + outstanding);
            while self.count() < until {
                self.send()?;
            }
            self.producer.poll(Duration::ZERO);
            std::thread::sleep(Duration::from_millis(1));
        }
        self.flush()
    }

    /// Produces `per_second` events for that long, evenly, whatever becomes of them.
    pub(crate) fn open(&mut self, per_second: f64, duration: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        self.open_while(per_second, &|| started.elapsed() < duration)
    }

    /// As [`Self::open`], as long as is said.
    pub(crate) fn open_while(&mut self, per_second: f64, goes_on: &dyn Fn() -> bool) -> anyhow::Result<()> {
        let (started, first) = (Instant::now(), self.count());
        while goes_on() {
            let until = first + (started.elapsed().as_secs_f64() * per_second) as u64;
            while self.count() < until {
                self.send()?;
            }
            self.producer.poll(Duration::ZERO);
            std::thread::sleep(Duration::from_micros(500));
        }
        self.flush()
    }

    /// The events from number `first` on: the id under which each arrives, and the moment of its production.
    pub(crate) fn since(&self, first: u64) -> Vec<(u128, u64)> {
        let numbers = (0_u64..).zip(&self.produced).skip(first as usize);
        numbers.map(|(number, moment)| (self.job(number), *moment)).collect()
    }

    fn job(&self, number: u64) -> u128 {
        let (owner, event) = (number % self.people.count, event_id(number));
        let job = JobId::show(&self.people.workspace(owner), self.kind(number), &event, &user(owner), DEVICE);
        u128::from_be_bytes(*job.as_bytes())
    }

    fn kind(&self, number: u64) -> NotificationType {
        // A person gets another type in each turn.
        self.kinds[((number + number / self.people.count) % self.kinds.len() as u64) as usize]
    }

    fn send(&mut self) -> anyhow::Result<()> {
        let number = self.count();
        let (owner, kind) = (number % self.people.count, self.kind(number));
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let event = wire::Event {
            event_id: event_id(number),
            workspace_id: self.people.workspace(owner),
            recipients: vec![user(owner)],
            occurred_at: Some(prost_types::Timestamp {
                seconds: now.as_secs() as i64,
                nanos: now.subsec_nanos() as i32,
            }),
            expires_at: None,
            test: false,
            body: Some(body(kind)),
        };
        self.buffer.clear();
        event.encode(&mut self.buffer)?;
        let key = &event.recipients[0];
        loop {
            let record = BaseRecord::to(self.topics.event(kind)).key(key).payload(&self.buffer);
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.producer.poll(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error).context("producing an event"),
            }
        }
        self.produced.push(now.as_micros() as u64);
        Ok(())
    }

    fn flush(&self) -> anyhow::Result<()> {
        self.producer.flush(FLUSH).context("the broker did not take the load's events")
    }
}

fn event_id(number: u64) -> String {
    format!("bench-{number:010}")
}

/// Bodies of everyday length.
fn body(kind: NotificationType) -> Body {
    match kind {
        NotificationType::IdentityVerification => {
            Body::IdentityVerificationRequested(wire::IdentityVerificationRequested {
                application: "Acme Payroll".into(),
                reason: "Sign in".into(),
                ip_address: "203.0.113.17".into(),
                location: "Lisbon, Portugal".into(),
                device: "Firefox on Windows".into(),
                match_number: Some("482913".into()),
                source: "browser-5b1f".into(),
                new_location: false,
                new_device: true,
            })
        }
        NotificationType::TrustedDevice => Body::TrustedDeviceRequested(wire::TrustedDeviceRequested {
            device_name: "Ana's laptop".into(),
            device_kind: wire::DeviceKind::Desktop.into(),
            browser: "Firefox 144".into(),
            operating_system: "Windows 11".into(),
            location: "Lisbon, Portugal".into(),
            match_number: None,
            source: "browser-5b1f".into(),
            new_location: false,
            new_device: true,
        }),
        NotificationType::AccountSharing => Body::AccountShared(wire::AccountShared {
            account: "Company social media".into(),
            shared_by: "Maria Santos".into(),
            access_level: wire::AccessLevel::Use.into(),
        }),
        NotificationType::OtpReceived => {
            Body::OtpReceived(wire::OtpReceived { account: "Company bank".into(), service: "Example Bank".into() })
        }
    }
}
