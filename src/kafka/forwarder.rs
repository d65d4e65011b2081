//! Everything that is written to Kafka: outcomes, jobs, held jobs, dead letters, and what the outbox holds.
//!
//! The point: what is given to the forwarder is written, whatever happens to brokers. librdkafka keeps and repeats a record for as
//! long as it takes (idempotent, acks from all); what it gives back (its queue is full, a topic is missing, a record is refused) waits
//! here and is written again. A settlement is told of each acknowledgement, never earlier.
//!
//! It deliberately keeps no order between forwards, and drops nothing: what waits is bounded by the records in flight, because none of
//! them ends before its forwards are acknowledged.
//!
//! It fails by waiting; [`KafkaForwarder::view`] says how much waits and for how long.
use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::client::{ClientError, Clients, Linger};
use super::config::TopicsConfig;
use super::delivery::{Board, DeliveryContext};
use super::headers;
use super::names::Names;
use crate::delivery::{OutcomeRecord, PushJob, Tier, Urgency, codec};
use crate::event::Headers;
use crate::seam::{Feed, Forward, Forwarder, Group, OutboxRecord, OutboxSink, OutboxTopic, Settlement};

/// How long the serving thread waits for news at most: also the grain of repeating.
const POLL: Duration = Duration::from_millis(100);
type Produced = BaseProducer<DeliveryContext>;

thread_local! {
    /// Outcomes are encoded here, one after the other.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Inner {
    clients: Clients,
    linger: Linger,
    producer: RwLock<Produced>,
    board: Arc<Board>,
    names: Names,
    groups: GroupNames,
}

/// Our groups as dead letters name them.
struct GroupNames {
    events: String,
    jobs: String,
    withdraw: String,
    requests: String,
}

impl GroupNames {
    fn name(&self, group: Group) -> &str {
        match group {
            Group::Events => &self.events,
            Group::Jobs => &self.jobs,
            Group::Withdraw => &self.withdraw,
            Group::Requests => &self.requests,
        }
    }
}

/// See the module. Cloning shares it.
#[derive(Clone)]
pub struct KafkaForwarder {
    inner: Arc<Inner>,
    serving: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// How the forwarder stands.
#[derive(Debug, Clone)]
pub struct ForwarderView {
    /// Records that librdkafka has not had acknowledged yet.
    pub in_flight: usize,
    /// Records that it gave back and that wait to be written again.
    pub waiting: usize,
    /// How long the oldest of these has been waiting.
    pub waiting_for: Option<Duration>,
    /// Records acknowledged so far.
    pub acknowledged: u64,
    /// How often a record was given back.
    pub given_back: u64,
    /// How often the producer met an error that it could not recover from, and another one took its place.
    pub replaced: u64,
    /// Errors that librdkafka reported.
    pub errors: u64,
}

impl KafkaForwarder {
    /// Makes the producer and starts the thread that serves it. Connects in the background.
    pub fn start(clients: &Clients, topics: &TopicsConfig) -> Result<Self, ClientError> {
        Self::start_with(Linger::Batches, clients, topics)
    }

    /// The same, for what somebody waits for: each record is written at once.
    pub fn start_prompt(clients: &Clients, topics: &TopicsConfig) -> Result<Self, ClientError> {
        Self::start_with(Linger::Never, clients, topics)
    }

    fn start_with(linger: Linger, clients: &Clients, topics: &TopicsConfig) -> Result<Self, ClientError> {
        let board = Arc::new(Board::default());
        let config = clients.config();
        let inner = Arc::new(Inner {
            producer: RwLock::new(producer(clients, linger, &board)?),
            linger,
            clients: clients.clone(),
            board,
            names: Names::new(topics),
            groups: GroupNames {
                events: config.group.clone(),
                jobs: config.jobs_group(),
                withdraw: config.withdraw_group(),
                requests: config.requests_group(),
            },
        });
        let served = Arc::clone(&inner);
        let thread = std::thread::Builder::new().name("kafka-producer".to_owned()).spawn(move || served.serve());
        let thread =
            thread.map_err(|error| ClientError::Config(vec![format!("no thread could be started: {error}")]))?;
        Ok(Self { inner, serving: Arc::new(Mutex::new(Some(thread))) })
    }

    /// How it stands.
    pub fn view(&self) -> ForwarderView {
        let (producer, board) = (self.inner.producer(), &self.inner.board);
        let (waiting, waiting_for) = board.waits();
        ForwarderView {
            in_flight: usize::try_from(producer.in_flight_count()).unwrap_or(0),
            waiting,
            waiting_for,
            acknowledged: board.acknowledged.load(Ordering::Relaxed),
            given_back: board.given_back.load(Ordering::Relaxed),
            replaced: board.replaced.load(Ordering::Relaxed),
            errors: producer.context().errors(),
        }
    }

    /// Waits until everything published so far is acknowledged, at most until `deadline`; whether it is. Blocks.
    pub fn flush(&self, deadline: Instant) -> bool {
        loop {
            let view = self.view();
            if view.in_flight + view.waiting == 0 {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            // Asks librdkafka not to linger; what it has given back is written by the serving thread.
            self.inner.producer().flush(left.min(POLL)).ok();
        }
    }

    /// Ends the serving thread. What is not acknowledged by now is lost to this process: its offsets are not committed. Blocks.
    pub fn close(&self) {
        self.inner.board.stop.store(true, Ordering::Release);
        let thread = self.serving.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the producer's thread had panicked");
        }
    }
}

impl std::fmt::Debug for KafkaForwarder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaForwarder").field("names", &self.inner.names).finish_non_exhaustive()
    }
}

fn producer(clients: &Clients, linger: Linger, board: &Arc<Board>) -> Result<Produced, ClientError> {
    let context: DeliveryContext = clients.events_with("producer", Arc::clone(board));
    clients.producer(linger).create_with_context(context).map_err(ClientError::Create)
}

impl Inner {
    fn producer(&self) -> std::sync::RwLockReadGuard<'_, Produced> {
        self.producer.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves acknowledgements and errors, and writes again what came back.
    fn serve(&self) {
        while !self.board.stop.load(Ordering::Acquire) {
            self.producer().poll(POLL);
            // An idempotent producer that lost count with its broker writes nothing any more.
            let fatal = self.producer().client().fatal_error();
            if let Some((code, reason)) = fatal {
                self.replace(code, &reason);
            }
            self.write_again();
        }
    }

    /// A dead producer gives back everything it holds; a new one writes it. What the dead one had sent and not heard of may come twice.
    fn replace(&self, code: RDKafkaErrorCode, reason: &str) {
        tracing::error!(%code, reason, "the producer met an error that it cannot recover from; going on with another one");
        match producer(&self.clients, self.linger, &self.board) {
            Ok(fresh) => {
                let mut current = self.producer.write().unwrap_or_else(PoisonError::into_inner);
                let dead = std::mem::replace(&mut *current, fresh);
                drop(current);
                // Its drop purges it, and each record comes back through `delivery`.
                drop(dead);
                self.board.replaced.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => tracing::error!(%error, "no other producer could be made; trying again"),
        }
    }

    fn write_again(&self) {
        for mut waiting in self.board.take_due() {
            let record: BaseRecord<'_, [u8], [u8], Arc<Settlement>> = BaseRecord {
                topic: &waiting.topic,
                partition: None,
                payload: waiting.payload.as_deref(),
                key: waiting.key.as_deref(),
                timestamp: None,
                headers: waiting.headers.take(),
                delivery_opaque: Arc::clone(&waiting.settlement),
            };
            let refused = self.producer().send(record).err().map(|(_, refused)| refused.headers);
            if let Some(headers) = refused {
                waiting.headers = headers;
                self.board.keep_on(waiting);
            }
        }
    }

    /// Gives a record to librdkafka, which copies it; what it does not take waits.
    fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        headers: Option<OwnedHeaders>,
        settlement: &Arc<Settlement>,
    ) {
        settlement.hold();
        let delivery_opaque = Arc::clone(settlement);
        let record = BaseRecord { topic, partition: None, payload, key, timestamp: None, headers, delivery_opaque };
        let Err((error, refused)) = self.producer().send(record) else { return };
        self.producer().context().report("a record cannot be written yet and waits", &error, topic);
        self.board.keep(topic, key, payload, refused.headers, refused.delivery_opaque);
    }

    fn send_job(&self, topic: &str, job: &PushJob, headers: &Headers, settlement: &Arc<Settlement>) {
        let mut payload = Vec::with_capacity(512);
        codec::encode_job(job, &mut payload);
        let key = job.user.as_str().as_bytes();
        self.send(topic, Some(key), Some(&payload), Some(owned(headers)), settlement);
    }
}

fn owned(headers: &Headers) -> OwnedHeaders {
    let owned = OwnedHeaders::new_with_capacity(headers.iter().count());
    headers.iter().fold(owned, |owned, (key, value)| owned.insert(Header { key, value: Some(&**value) }))
}

fn slice(bytes: &Option<Bytes>) -> Option<&[u8]> {
    bytes.as_deref()
}

impl Forwarder for KafkaForwarder {
    fn outcome(&self, outcome: &OutcomeRecord<'_>, settlement: &Arc<Settlement>) {
        BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            codec::encode_outcome(outcome, buffer);
            let inner = &self.inner;
            let headers = outcome.traceparent.map(|value| {
                OwnedHeaders::new_with_capacity(1).insert(Header { key: headers::TRACEPARENT, value: Some(value) })
            });
            inner.send(&inner.names.outcomes, Some(outcome.user.as_bytes()), Some(buffer), headers, settlement);
        });
    }

    fn publish(&self, forward: Forward, settlement: &Arc<Settlement>) {
        let inner = &*self.inner;
        match forward {
            Forward::Job { tier, not_before, job } => {
                let topic = inner.names.job(Urgency::of(job.subject.kind()), tier);
                inner.send_job(topic, &job, &headers::of_job(&job, Some(not_before)), settlement);
            }
            Forward::Hold { credential, job } => {
                let topic = inner.names.hold(&credential);
                inner.send_job(&topic, &job, &headers::of_job(&job, None), settlement);
            }
            Forward::NewerJob { letter, not_before, expires_at } => {
                let urgency = match letter.feed {
                    Feed::Job(urgency, _) => urgency,
                    // What a newer worker holds may be anything: nobody must wait longer than they have to.
                    Feed::Event(_)
                    | Feed::Hold(_)
                    | Feed::Redrive
                    | Feed::Decision
                    | Feed::Outcome
                    | Feed::Lifecycle => Urgency::Urgent,
                };
                let topic = inner.names.job(urgency, Tier::S30);
                let headers = owned(&headers::of_postponed(&letter.headers, not_before, expires_at));
                inner.send(topic, slice(&letter.key), slice(&letter.payload), Some(headers), settlement);
            }
            Forward::DeadRecord { letter, reason, explanation } => {
                let group = inner.groups.name(letter.feed.group());
                let headers = owned(&headers::of_dead_record(&letter, &reason, &explanation, group));
                inner.send(&inner.names.dlq, slice(&letter.key), slice(&letter.payload), Some(headers), settlement);
            }
            Forward::DeadJob { job, reason, group } => {
                let headers = headers::of_dead_job(&job, &reason, inner.groups.name(group));
                inner.send_job(&inner.names.dlq, &job, &headers, settlement);
            }
        }
    }
}

impl OutboxSink for KafkaForwarder {
    fn write(&self, record: &OutboxRecord, settlement: &Arc<Settlement>) {
        let OutboxRecord { topic, key, payload, headers } = record;
        let names = &self.inner.names;
        let (topic, headers) = match topic {
            OutboxTopic::Audit => (names.audit.as_str(), given(headers)),
            OutboxTopic::Decisions => (names.decisions.as_str(), given(headers)),
            OutboxTopic::Jobs => (names.job(Urgency::Urgent, Tier::Now), of_waiting_job(record)),
            OutboxTopic::Outcomes => (names.outcomes.as_str(), given(headers)),
            OutboxTopic::Redrive => (names.redrive.as_str(), given(headers)),
        };
        self.inner.send(topic, key.as_deref(), Some(payload), Some(headers), settlement);
    }
}

fn given(headers: &[(String, String)]) -> OwnedHeaders {
    let owned = OwnedHeaders::new_with_capacity(headers.len());
    headers.iter().fold(owned, |owned, (key, value)| owned.insert(Header { key, value: Some(value) }))
}

/// The headers that every job has on its topic, made of the job itself. One that a newer version put there goes with what it brings.
fn of_waiting_job(record: &OutboxRecord) -> OwnedHeaders {
    match codec::decode_job(&record.payload) {
        Ok(job) => owned(&headers::of_job(&job, Some(job.first_seen))),
        Err(_) => given(&record.headers),
    }
}
