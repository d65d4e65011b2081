//! Everything that is written to Kafka: outcomes, jobs, held jobs, dead letters.
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
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::client::{ClientError, ClientEvents, Clients};
use super::config::TopicsConfig;
use super::headers;
use super::names::Names;
use crate::delivery::{OutcomeRecord, PushJob, Tier, Urgency, codec};
use crate::event::Headers;
use crate::seam::{Feed, Forward, Forwarder, Settlement};

/// How long the serving thread waits for news at most: also the grain of repeating.
const POLL: Duration = Duration::from_millis(100);
/// How soon what was given back is written again: doubled with each failure of the same record, up to the second.
const AGAIN_MIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(10);

type Produced = BaseProducer<DeliveryContext>;

thread_local! {
    /// Outcomes are encoded here, one after the other.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A record that waits to be written again.
#[derive(Debug)]
struct Waiting {
    topic: String,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    headers: Option<OwnedHeaders>,
    settlement: Arc<Settlement>,
    failures: u32,
    at: Instant,
    since: Instant,
}

/// What is acknowledged and what is given back.
#[derive(Debug, Default)]
struct Board {
    waiting: Mutex<VecDeque<Waiting>>,
    acknowledged: AtomicU64,
    given_back: AtomicU64,
    /// The producer is beyond repair and must be made anew (an idempotent producer's fatal error).
    is_dead: AtomicBool,
    stop: AtomicBool,
}

impl Board {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct DeliveryContext {
    events: ClientEvents,
    board: Arc<Board>,
}

impl ClientContext for DeliveryContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = ClientEvents::ENABLE_REFRESH_OAUTH_TOKEN;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.events.log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.events.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.board.is_dead.store(true, Ordering::Release);
        }
        self.events.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.events.generate_oauth_token(config)
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = Arc<Settlement>;

    fn delivery(&self, result: &DeliveryResult<'_>, settlement: Arc<Settlement>) {
        match result {
            Ok(_) => {
                self.board.acknowledged.fetch_add(1, Ordering::Relaxed);
                settlement.release();
            }
            Err((error, message)) => {
                match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::Fatal) => self.board.is_dead.store(true, Ordering::Release),
                    // Taken back from a dead producer, to be written by the next one.
                    Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {}
                    _ => self.events.report(&format!("{} refuses a record", message.topic()), error, ""),
                }
                let now = Instant::now();
                self.board.given_back.fetch_add(1, Ordering::Relaxed);
                self.board.waiting().push_back(Waiting {
                    topic: message.topic().to_owned(),
                    key: message.key().map(<[u8]>::to_vec),
                    payload: message.payload().map(<[u8]>::to_vec),
                    headers: message.headers().map(|headers| headers.detach()),
                    settlement,
                    failures: 1,
                    at: now + AGAIN_MIN,
                    since: now,
                });
            }
        }
    }
}

struct Inner {
    clients: Clients,
    producer: RwLock<Produced>,
    board: Arc<Board>,
    names: Names,
    events_group: String,
    jobs_group: String,
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
    /// Errors that librdkafka reported.
    pub errors: u64,
}

impl KafkaForwarder {
    /// Makes the producer and starts the thread that serves it. Connects in the background.
    pub fn start(clients: &Clients, topics: &TopicsConfig) -> Result<Self, ClientError> {
        let board = Arc::new(Board::default());
        let config = clients.config();
        let inner = Arc::new(Inner {
            producer: RwLock::new(producer(clients, &board)?),
            clients: clients.clone(),
            board,
            names: Names::new(topics),
            events_group: config.group.clone(),
            jobs_group: config.jobs_group(),
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
        let waiting = board.waiting();
        ForwarderView {
            in_flight: usize::try_from(producer.in_flight_count()).unwrap_or(0),
            waiting: waiting.len(),
            waiting_for: waiting.iter().map(|waiting| waiting.since).min().map(|since| since.elapsed()),
            acknowledged: board.acknowledged.load(Ordering::Relaxed),
            given_back: board.given_back.load(Ordering::Relaxed),
            errors: producer.context().events.errors(),
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

fn producer(clients: &Clients, board: &Arc<Board>) -> Result<Produced, ClientError> {
    let context = DeliveryContext { events: clients.events("producer"), board: Arc::clone(board) };
    clients.producer().create_with_context(context).map_err(ClientError::Create)
}

impl Inner {
    fn producer(&self) -> std::sync::RwLockReadGuard<'_, Produced> {
        self.producer.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves acknowledgements and errors, and writes again what came back.
    fn serve(&self) {
        while !self.board.stop.load(Ordering::Acquire) {
            self.producer().poll(POLL);
            if self.board.is_dead.swap(false, Ordering::AcqRel) {
                self.replace();
            }
            self.write_again();
        }
    }

    /// A dead producer gives back everything it holds; a new one writes it.
    fn replace(&self) {
        tracing::error!("the producer met an error that it cannot recover from; going on with a new one");
        match producer(&self.clients, &self.board) {
            Ok(fresh) => {
                let mut current = self.producer.write().unwrap_or_else(PoisonError::into_inner);
                let dead = std::mem::replace(&mut *current, fresh);
                drop(current);
                // Its drop purges it, and each record comes back through `delivery`.
                drop(dead);
                self.board.is_dead.store(false, Ordering::Release);
            }
            Err(error) => {
                tracing::error!(%error, "trying again");
                self.board.is_dead.store(true, Ordering::Release);
            }
        }
    }

    fn write_again(&self) {
        let now = Instant::now();
        // Only those that wait at this moment: what comes back meanwhile has its own time.
        let mut due = Vec::new();
        {
            let mut waiting = self.board.waiting();
            let mut kept = VecDeque::with_capacity(waiting.len());
            for record in waiting.drain(..) {
                if record.at <= now { due.push(record) } else { kept.push_back(record) }
            }
            *waiting = kept;
        }
        for record in due {
            self.send_waiting(record, now);
        }
    }

    fn send_waiting(&self, mut waiting: Waiting, now: Instant) {
        let record: BaseRecord<'_, [u8], [u8], Arc<Settlement>> = BaseRecord {
            topic: &waiting.topic,
            partition: None,
            payload: waiting.payload.as_deref(),
            key: waiting.key.as_deref(),
            timestamp: None,
            headers: waiting.headers.take(),
            delivery_opaque: Arc::clone(&waiting.settlement),
        };
        let Err((_, refused)) = self.producer().send(record) else { return };
        waiting.headers = refused.headers;
        waiting.failures = waiting.failures.saturating_add(1);
        waiting.at = now + AGAIN_MIN.saturating_mul(1 << waiting.failures.min(7)).min(AGAIN_MAX);
        self.board.waiting().push_back(waiting);
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
        let now = Instant::now();
        self.board.given_back.fetch_add(1, Ordering::Relaxed);
        self.producer().context().events.report("a record cannot be written yet and waits", &error, topic);
        let waiting = Waiting {
            topic: topic.to_owned(),
            key: key.map(<[u8]>::to_vec),
            payload: payload.map(<[u8]>::to_vec),
            headers: refused.headers,
            settlement: refused.delivery_opaque,
            failures: 1,
            at: now + AGAIN_MIN,
            since: now,
        };
        self.board.waiting().push_back(waiting);
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
            inner.send(&inner.names.outcomes, Some(outcome.user.as_bytes()), Some(buffer), None, settlement);
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
                    Feed::Event(_) | Feed::Hold | Feed::Redrive | Feed::Decision => Urgency::Urgent,
                };
                let topic = inner.names.job(urgency, Tier::S30);
                let headers = owned(&headers::of_postponed(&letter.headers, not_before, expires_at));
                inner.send(topic, slice(&letter.key), slice(&letter.payload), Some(headers), settlement);
            }
            Forward::DeadRecord { letter, reason, explanation } => {
                let group = match letter.feed {
                    Feed::Event(_) => &inner.events_group,
                    Feed::Job(..) | Feed::Hold | Feed::Redrive | Feed::Decision => &inner.jobs_group,
                };
                let headers = owned(&headers::of_dead_record(&letter, &reason, &explanation, group));
                inner.send(&inner.names.dlq, slice(&letter.key), slice(&letter.payload), Some(headers), settlement);
            }
            Forward::DeadJob { job, reason } => {
                let headers = headers::of_dead_job(&job, &reason, &inner.jobs_group);
                inner.send_job(&inner.names.dlq, &job, &headers, settlement);
            }
        }
    }
}
