//! Reads a whole topic for somebody who watches it: in no group, committing nothing, from now on or from the beginning.
//!
//! The point: whoever looks takes nothing from those who work. Records of one partition come in their order, those of several as they arrive.
//! It deliberately does not notice partitions that are added while it runs. It fails at the start if the topic is not there; afterwards it
//! waits for brokers that are away.
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{ClientError, ClientEvents, Clients};

/// How long the brokers may take to say what partitions there are.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Kibibytes that each partition may prefetch.
const PREFETCH_KIB: u32 = 1024;

/// See the module.
pub struct Follower {
    consumer: BaseConsumer<ClientEvents>,
}

impl Follower {
    /// Begins at the topic's end, as it is now, or at its beginning. It blocks while it asks the brokers.
    pub fn start(clients: &Clients, topic: &str, from_beginning: bool) -> Result<Self, ClientError> {
        let partitions = clients.partitions(&[topic], ASK_TIMEOUT)?.first().copied().unwrap_or_default();
        if partitions == 0 {
            let why = format!("the topic {topic} does not exist; `watchbell topics create` makes it");
            return Err(ClientError::Refused(vec![why]));
        }
        // The group is asked nothing: the partitions are taken without it.
        let properties = clients.consumer("watchbell.follow", PREFETCH_KIB);
        let consumer: BaseConsumer<ClientEvents> =
            properties.create_with_context(clients.events("follow")).map_err(ClientError::Create)?;
        let mut list = TopicPartitionList::new();
        for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
            // "The end" would be where the topic ends when the broker is asked, which may be after the next record.
            let offset = match from_beginning {
                true => Offset::Beginning,
                false => match consumer.fetch_watermarks(topic, partition, ASK_TIMEOUT) {
                    Ok((_, end)) => Offset::Offset(end),
                    Err(error) => return Err(ClientError::Refused(vec![format!("{topic}: {error}")])),
                },
            };
            list.add_partition_offset(topic, partition, offset).map_err(ClientError::Create)?;
        }
        consumer.assign(&list).map_err(ClientError::Create)?;
        Ok(Self { consumer })
    }

    /// The next record's value; `None` if none came within `wait`. A record without a value is passed over.
    pub fn next(&self, wait: Duration) -> Option<Vec<u8>> {
        // What librdkafka reports besides is counted and logged where the client says it.
        Some(self.consumer.poll(wait)?.ok()?.payload()?.to_vec())
    }
}
