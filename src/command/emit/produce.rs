//! Writes the records, at a pace, and counts what Kafka said.
use std::collections::VecDeque;
use std::fmt;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::OwnedDeliveryResult;
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use tokio_util::sync::CancellationToken;

use super::flags::Rate;
use super::template::{Rules, Stamped, Template};
use crate::command::stop::Stop;
use crate::command::{Failure, output};
use crate::config::Config;
use crate::event::Headers;
use crate::kafka::client::{ClientEvents, Clients, Linger};

/// Records written and not acknowledged yet, at most.
const IN_FLIGHT_MAX: usize = 10_000;
/// A record that was not acknowledged for so long failed: somebody sits at a terminal and waits. Milliseconds.
const RECORD_TIMEOUT_MS: &str = "30000";

/// What is to be written.
pub(super) struct Plan<'a, T> {
    /// The events, in order.
    pub(super) templates: T,
    /// What holds for all of them.
    pub(super) rules: &'a Rules,
    /// How many there are.
    pub(super) count: u64,
    /// How fast.
    pub(super) rate: Option<Rate>,
    /// Where to.
    pub(super) config: &'a Config,
}

/// Writes everything, or what was written until somebody stops it, and says what became of it.
pub(super) async fn run<'a>(
    clients: &Clients,
    plan: Plan<'_, impl Iterator<Item = &'a Template>>,
) -> Result<(), Failure> {
    let producer = producer(clients)?;
    let stop = stop_when_asked()?;
    let mut tally = Tally::new(plan.count);
    let mut in_flight = VecDeque::new();
    for (index, template) in (0..plan.count).zip(plan.templates) {
        if let Some(rate) = plan.rate {
            let due = tally.started + rate.due(index);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep_until(due.into()) => {}
            }
        }
        tally.take_finished(&mut in_flight);
        if in_flight.len() >= IN_FLIGHT_MAX {
            tally.take_oldest(&mut in_flight).await;
        }
        if stop.is_cancelled() {
            break;
        }
        let record = template.stamp(plan.rules).map_err(|refused| Failure::Input(refused.to_string()))?;
        let topic = plan.config.topics.event(template.kind);
        match send(&producer, topic, &record, &plan.rules.headers, &mut tally, &mut in_flight).await {
            Ok(delivery) => {
                in_flight.push_back(Sent { delivery, id: record.id, key: record.key, topic: topic.to_owned() })
            }
            Err(error) => tally.failed(error.to_string()),
        }
    }
    while !in_flight.is_empty() {
        tally.take_oldest(&mut in_flight).await;
    }
    tally.finish()
}

fn producer(clients: &Clients) -> Result<FutureProducer<ClientEvents>, Failure> {
    let mut properties = clients.producer(Linger::Batches);
    if properties.get("message.timeout.ms") == Some("0") {
        properties.set("message.timeout.ms", RECORD_TIMEOUT_MS);
    }
    properties
        .create_with_context(clients.events("emit"))
        .map_err(|error| Failure::internal(anyhow::Error::new(error).context("a producer could not be made")))
}

/// The first Ctrl-C or SIGTERM ends the writing; what was written is still waited for.
fn stop_when_asked() -> Result<CancellationToken, Failure> {
    let mut asked = Stop::listen()?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        asked.asked().await;
        stopping.cancel();
    });
    Ok(stop)
}

/// Hands one record to librdkafka, waiting for room in its queue.
async fn send(
    producer: &FutureProducer<ClientEvents>,
    topic: &str,
    record: &Stamped,
    headers: &Headers,
    tally: &mut Tally,
    in_flight: &mut VecDeque<Sent>,
) -> Result<DeliveryFuture, KafkaError> {
    let mut owned = OwnedHeaders::new_with_capacity(4);
    for (key, value) in headers.iter() {
        owned = owned.insert(Header { key, value: Some(&value[..]) });
    }
    let mut offered = FutureRecord::to(topic).payload(&record.payload);
    offered.headers = (!headers.is_empty()).then_some(owned);
    offered.key = record.key.as_ref();
    loop {
        match producer.send_result(offered) {
            Ok(delivery) => return Ok(delivery),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) if !in_flight.is_empty() => {
                offered = again;
                tally.take_oldest(in_flight).await;
            }
            Err((error, _)) => return Err(error),
        }
    }
}

struct Sent {
    delivery: DeliveryFuture,
    id: String,
    key: Option<String>,
    topic: String,
}

/// What Kafka said so far.
struct Tally {
    started: Instant,
    wanted: u64,
    produced: u64,
    failed: u64,
    first_failure: Option<String>,
    last: Option<String>,
    bar: ProgressBar,
}

impl Tally {
    fn new(wanted: u64) -> Self {
        let bar = if wanted > 1 && std::io::stderr().is_terminal() {
            ProgressBar::new(wanted).with_style(style())
        } else {
            ProgressBar::hidden()
        };
        Self { started: Instant::now(), wanted, produced: 0, failed: 0, first_failure: None, last: None, bar }
    }

    fn take_finished(&mut self, in_flight: &mut VecDeque<Sent>) {
        while let Some(oldest) = in_flight.front_mut() {
            let Some(result) = (&mut oldest.delivery).now_or_never() else { break };
            if let Some(sent) = in_flight.pop_front() {
                self.take(&sent, result);
            }
        }
    }

    async fn take_oldest(&mut self, in_flight: &mut VecDeque<Sent>) {
        if let Some(mut sent) = in_flight.pop_front() {
            let result = (&mut sent.delivery).await;
            self.take(&sent, result);
        }
    }

    fn take<E: fmt::Display>(&mut self, sent: &Sent, result: Result<OwnedDeliveryResult, E>) {
        match result {
            Ok(Ok(delivery)) => {
                self.produced += 1;
                self.bar.inc(1);
                let key = sent.key.as_deref().map_or("no key".to_owned(), |key| format!("key {key}"));
                if self.wanted == 1 {
                    let (topic, id) = (&sent.topic, &sent.id);
                    let (partition, offset) = (delivery.partition, delivery.offset);
                    self.last =
                        Some(format!("event {id} is in {topic}, partition {partition}, offset {offset}, {key}"));
                }
            }
            Ok(Err((error, _))) => self.failed(error.to_string()),
            Err(cancelled) => self.failed(cancelled.to_string()),
        }
    }

    fn failed(&mut self, why: String) {
        self.failed += 1;
        self.bar.inc(1);
        self.first_failure.get_or_insert(why);
    }

    fn finish(self) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let elapsed = self.started.elapsed().max(Duration::from_millis(1)).as_secs_f64();
        let rate = self.produced as f64 / elapsed;
        let (produced, failed) = (self.produced, self.failed);
        output::line(
            self.last
                .unwrap_or_else(|| format!("{produced} produced, {failed} failed, in {elapsed:.1} s: {rate:.1}/s")),
        )?;
        let all = produced + failed;
        match self.first_failure {
            None if all < self.wanted => {
                Err(Failure::Stopped(format!("stopped: {produced} of {} events were written", self.wanted)))
            }
            None => Ok(()),
            Some(why) => {
                Err(Failure::Unavailable(format!("Kafka did not take {failed} of {all} events; the first: {why}")))
            }
        }
    }
}

fn style() -> ProgressStyle {
    let template = "{bar:40} {human_pos}/{human_len} {per_sec} {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
