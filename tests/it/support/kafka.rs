//! Topics, producing and consuming for tests, on a plain rdkafka that shares nothing with the code under test.
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{SOON, block_on};

/// A record as it was read or is to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub topic: String,
    /// Where it was read; ignored when it is written.
    pub partition: i32,
    /// Where it was read; ignored when it is written.
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// The first header of that name, as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        value.map(|value| String::from_utf8(value.clone()).unwrap())
    }
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("reconnect.backoff.max.ms", "500");
    config
}

/// Creates topics with so many partitions each.
pub fn create_topics(bootstrap: &str, topics: &[(&str, i32)]) {
    create_topics_with(bootstrap, topics, &[]);
}

/// Creates topics with topic configuration, such as `("max.message.bytes", "2000000")`.
pub fn create_topics_with(bootstrap: &str, topics: &[(&str, i32)], settings: &[(&str, &str)]) {
    let admin: AdminClient<_> = config(bootstrap).create().unwrap();
    let topics: Vec<_> = topics
        .iter()
        .map(|(name, partitions)| {
            let topic = NewTopic::new(name, *partitions, TopicReplication::Fixed(1));
            settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    // Created means created everywhere: the operation's timeout makes the broker wait until it is.
    let options = AdminOptions::new().operation_timeout(Some(SOON));
    for result in block_on(admin.create_topics(&topics, &options)).unwrap() {
        result.unwrap();
    }
}

/// The configuration of a topic, defaults included.
pub fn topic_settings(bootstrap: &str, topic: &str) -> BTreeMap<String, String> {
    let admin: AdminClient<_> = config(bootstrap).create().unwrap();
    let asked = [ResourceSpecifier::Topic(topic)];
    let answers = block_on(admin.describe_configs(&asked, &AdminOptions::new())).unwrap();
    let entries = answers.into_iter().next().unwrap().unwrap().entries;
    entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

/// Gives a topic this one setting of its own.
pub fn alter_topic(bootstrap: &str, topic: &str, setting: &str, value: &str) {
    alter(bootstrap, AlterConfig::new(ResourceSpecifier::Topic(topic)).set(setting, value));
}

/// Gives a group this one setting of its own.
pub fn alter_group(bootstrap: &str, group: &str, setting: &str, value: &str) {
    alter(bootstrap, AlterConfig::new(ResourceSpecifier::Group(group)).set(setting, value));
}

fn alter(bootstrap: &str, change: AlterConfig<'_>) {
    let admin: AdminClient<_> = config(bootstrap).create().unwrap();
    let altered = block_on(admin.alter_configs([&change], &AdminOptions::new())).unwrap();
    altered.into_iter().for_each(|resource| drop(resource.unwrap()));
}

/// Produces records; idempotent, flushed by [`Producer::flush`] and on drop.
pub struct Producer(ThreadedProducer<rdkafka::producer::DefaultProducerContext>);

impl Producer {
    pub fn new(bootstrap: &str) -> Self {
        Self(config(bootstrap).set("enable.idempotence", "true").set("linger.ms", "2").create().unwrap())
    }

    /// Queues a record; its partition follows from its key.
    pub fn send(&self, record: &Record) {
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        let mut base: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&record.topic).headers(headers);
        if let Some(key) = &record.key {
            base = base.key(key);
        }
        if let Some(payload) = &record.payload {
            base = base.payload(payload);
        }
        self.0.send(base).map_err(|(error, _)| error).unwrap();
    }

    /// Queues a record of key and payload alone.
    pub fn send_to(&self, topic: &str, key: &str, payload: impl Into<Vec<u8>>) {
        let (key, payload) = (Some(key.as_bytes().to_vec()), Some(payload.into()));
        self.send(&Record { topic: topic.to_owned(), key, payload, ..Record::default() });
    }

    /// Waits until the broker has acknowledged everything sent so far.
    pub fn flush(&self) {
        self.0.flush(Duration::from_secs(60)).unwrap();
        assert_eq!(self.0.in_flight_count(), 0, "records left in the queue after a flush");
    }
}

/// Reads topics from their beginning, without a group, and keeps what it read.
pub struct Reader {
    consumer: BaseConsumer,
    /// Everything read so far, in order within each partition.
    pub records: Vec<Record>,
    /// When each of them was written, by its writer's clock, in milliseconds of the epoch.
    pub written_at: Vec<i64>,
}

impl Reader {
    /// Starts at the beginning of every partition of `topics`, which must exist.
    pub fn from_beginning(bootstrap: &str, topics: &[&str]) -> Self {
        let consumer: BaseConsumer =
            config(bootstrap).set("group.id", "unused").set("enable.auto.commit", "false").create().unwrap();
        let mut all = TopicPartitionList::new();
        for topic in topics {
            for partition in 0..partitions(&consumer, topic) {
                all.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
            }
        }
        consumer.assign(&all).unwrap();
        Self { consumer, records: Vec::new(), written_at: Vec::new() }
    }

    /// Reads on until `enough` says so of all records read so far; panics with their number after `ceiling`.
    pub fn until(&mut self, what: &str, ceiling: Duration, mut enough: impl FnMut(&[Record]) -> bool) -> &[Record] {
        let started = Instant::now();
        while !enough(&self.records) {
            let read = self.records.len();
            assert!(started.elapsed() < ceiling, "gave up after {ceiling:?} with {read} records, waiting for: {what}");
            self.read_for(Duration::from_millis(100));
        }
        &self.records
    }

    /// Reads on until there are at least `count` records.
    pub fn until_count(&mut self, count: usize, ceiling: Duration) -> &[Record] {
        self.until(&format!("{count} records"), ceiling, |records| records.len() >= count)
    }

    /// Reads what the partitions hold at this moment, up to their ends, and returns all records read so far. What must
    /// *not* be there is looked for here, after something that comes later is known to be there.
    pub fn up_to_the_end(&mut self) -> &[Record] {
        let ends: Vec<(String, i32, i64)> = (self.consumer.assignment().unwrap().elements().iter())
            .map(|element| {
                let (_, high) = self.consumer.fetch_watermarks(element.topic(), element.partition(), SOON).unwrap();
                (element.topic().to_owned(), element.partition(), high)
            })
            .collect();
        self.until("the partitions' ends", Duration::from_secs(60), |records| {
            ends.iter().all(|(topic, partition, high)| {
                let mut of = records.iter().rev().filter(|r| r.topic == *topic && r.partition == *partition);
                *high == 0 || of.next().is_some_and(|last| last.offset + 1 >= *high)
            })
        })
    }

    fn read_for(&mut self, timeout: Duration) {
        let mut wait = timeout;
        // Errors here are a broker that is away; the caller's ceiling decides how long that may last.
        while let Some(polled) = self.consumer.poll(wait) {
            wait = Duration::ZERO;
            let Ok(message) = polled else { continue };
            let headers = message.headers().map(|headers| headers.iter());
            self.written_at.push(message.timestamp().to_millis().unwrap());
            self.records.push(Record {
                topic: message.topic().to_owned(),
                partition: message.partition(),
                offset: message.offset(),
                key: message.key().map(<[u8]>::to_vec),
                payload: message.payload().map(<[u8]>::to_vec),
                headers: headers
                    .into_iter()
                    .flatten()
                    .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
                    .collect(),
            });
        }
    }
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> i32 {
    let metadata = consumer.fetch_metadata(Some(topic), SOON).unwrap();
    let count = metadata.topics()[0].partitions().len();
    assert!(count > 0, "topic {topic} does not exist");
    i32::try_from(count).unwrap()
}

/// What a group has committed on a topic: offset and metadata by partition, without the partitions that have none.
pub fn committed(bootstrap: &str, group: &str, topic: &str) -> BTreeMap<i32, (i64, String)> {
    let consumer: BaseConsumer = config(bootstrap).set("group.id", group).create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition_range(topic, 0, partitions(&consumer, topic) - 1);
    let offsets = consumer.committed_offsets(asked, SOON).unwrap();
    (offsets.elements().iter())
        .filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some((element.partition(), (offset, element.metadata().to_owned()))),
            _ => None,
        })
        .collect()
}

/// The sum over a topic's partitions of what a group has not committed yet.
pub fn lag(bootstrap: &str, group: &str, topic: &str) -> i64 {
    let consumer: BaseConsumer = config(bootstrap).create().unwrap();
    let committed = committed(bootstrap, group, topic);
    (0..partitions(&consumer, topic))
        .map(|partition| {
            let (low, high) = consumer.fetch_watermarks(topic, partition, SOON).unwrap();
            high - committed.get(&partition).map_or(low, |(offset, _)| *offset)
        })
        .sum()
}
