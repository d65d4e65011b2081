//! Hold topics whose credential was removed from the configuration or renamed.
//!
//! The point: nobody reads them, so their jobs would never end and nobody would hear of it. It deliberately moves nothing: which of
//! the credentials of today the jobs belong to is for people to say. It cannot fail: what may not be listed or asked is passed over.
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::admin::Admin;
use super::client::ClientEvents;

/// How long all questions together may take.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Admin<'_> {
    /// A sentence for each hold topic that has jobs and no credential. Needs a runtime of several threads.
    pub async fn unread_holds(&self) -> Vec<String> {
        let unread = tokio::task::block_in_place(|| self.ask()).unwrap_or_else(|error| {
            tracing::debug!(%error, "hold topics without a credential could not be looked for");
            Vec::new()
        });
        unread.into_iter().map(|(topic, jobs)| self.sentence(&topic, jobs)).collect()
    }

    fn sentence(&self, topic: &str, jobs: i64) -> String {
        let credential = topic.strip_prefix(&format!("{}.", self.topics.hold)).unwrap_or(topic);
        format!(
            "hold topic {topic} has up to {jobs} jobs that nobody reads, because there is no [{credential}] in the configuration: they get \
             no outcome. Put it back until they have ended, or write them to their {}.<urgent|normal>.now; then delete the topic",
            self.topics.jobs
        )
    }

    /// The topics, and how many records are not finished in each.
    fn ask(&self) -> KafkaResult<Vec<(String, i64)>> {
        let until = Instant::now() + TIMEOUT;
        let left = || until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut properties = self.clients.asking();
        // Never joined: only its offsets are asked for.
        properties.set("group.id", self.clients.config().jobs_group());
        let asking: BaseConsumer<ClientEvents> = properties.create_with_context(self.clients.events("asking"))?;
        // Serves a token's refresh, without which nothing connects.
        drop(asking.poll(Duration::ZERO));
        let (prefix, read) = (format!("{}.", self.topics.hold), self.holds());
        let metadata = asking.fetch_metadata(None, left())?;
        let mut unread = Vec::new();
        for topic in metadata.topics() {
            let name = topic.name();
            if !name.starts_with(&prefix) || read.iter().any(|hold| hold == name) {
                continue;
            }
            let mut jobs = 0;
            for partition in topic.partitions() {
                let (low, high) = asking.fetch_watermarks(name, partition.id(), left())?;
                let mut list = TopicPartitionList::new();
                list.add_partition(name, partition.id());
                let committed = asking.committed_offsets(list, left()).ok();
                let committed = committed.and_then(|list| list.elements().first().map(|element| element.offset()));
                let finished = match committed {
                    Some(Offset::Offset(offset)) => offset.max(low),
                    _ => low,
                };
                jobs += (high - finished).max(0);
            }
            if jobs > 0 {
                unread.push((name.to_owned(), jobs));
            }
        }
        Ok(unread)
    }
}
