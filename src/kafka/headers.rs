//! Every header name that Watchbell writes, and what stands under it.
//!
//! The point: a dead letter is read by people with the tools they have, so besides our own headers it carries those of Spring Kafka
//! (`KafkaHeaders.DLT_*`: numbers as big-endian bytes) and of Kafka Connect (`__connect.errors.*`: everything as text). A letter that
//! fails again replaces these headers; it never grows. The headers that the record came with are kept, `traceparent` among them.
//!
//! It deliberately reads only our own. It cannot fail: a header of ours that does not parse is as good as absent.
use bytes::Bytes;

use crate::delivery::{Origin, PushJob, Reason};
use crate::event::{Headers, NotificationType, Timestamp};
use crate::seam::{Feed, FeedKind, RawRecord};

/// `record` or `job`: what a dead letter's bytes are.
pub const KIND: &str = "watchbell-kind";
/// Machine-readable: why.
pub const REASON: &str = "watchbell-reason";
/// For people: why.
pub const EXPLANATION: &str = "watchbell-explanation";
/// Attempts made so far, in decimal.
pub const ATTEMPTS: &str = "watchbell-attempts";
/// When the record was first read, in milliseconds since 1970, in decimal.
pub const FIRST_SEEN: &str = "watchbell-first-seen";
/// The topic from which the event was read.
pub const ORIGIN_TOPIC: &str = "watchbell-origin-topic";
/// Its partition, in decimal.
pub const ORIGIN_PARTITION: &str = "watchbell-origin-partition";
/// Its offset, in decimal.
pub const ORIGIN_OFFSET: &str = "watchbell-origin-offset";
/// What the topic of origin carries: `event`, `job`, `hold`, `redrive`, `decision`.
pub const FEED: &str = crate::event::FEED_HEADER;
/// The notification type: how a redriven record is to be read.
pub const TYPE: &str = crate::event::TYPE_HEADER;
/// Before this moment a tier does not let the record go, in milliseconds since 1970, in decimal.
pub const NOT_BEFORE: &str = "watchbell-not-before";
/// After this moment nothing is sent any more, in milliseconds since 1970, in decimal.
pub const DEADLINE: &str = "watchbell-deadline";

/// The trace context of the event's record, where it had one.
pub const TRACEPARENT: &str = crate::event::TRACEPARENT;

/// The prefixes of the headers that a repeated failure replaces.
const REPLACED: [&str; 3] = ["watchbell-", "kafka_dlt-", "__connect.errors."];
/// Longest explanation in a header, in bytes: the DLQ's record limit has 64 KiB for all headers.
const EXPLANATION_BYTES_MAX: usize = 1024;

/// What a dead letter's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterKind {
    /// A record as it came: redriven to the redrive topic.
    Record,
    /// A job: redriven to its `now` topic.
    Job,
}

impl LetterKind {
    /// Under [`KIND`].
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Job => "job",
        }
    }

    /// What the headers say.
    pub fn of(headers: &Headers) -> Option<Self> {
        let name = headers.get_str(KIND)?;
        [Self::Record, Self::Job].into_iter().find(|kind| kind.name() == name)
    }
}

/// The notification type under [`TYPE`].
pub fn notification_type(headers: &Headers) -> Option<NotificationType> {
    NotificationType::from_name(headers.get_str(TYPE)?)
}

/// The origin under the three origin headers.
pub fn origin(headers: &Headers) -> Option<Origin> {
    Some(Origin {
        topic: headers.get_str(ORIGIN_TOPIC)?.into(),
        partition: headers.get_str(ORIGIN_PARTITION)?.parse().ok()?,
        offset: headers.get_str(ORIGIN_OFFSET)?.parse().ok()?,
    })
}

/// The moment under [`FIRST_SEEN`], [`NOT_BEFORE`] or [`DEADLINE`].
pub fn moment(headers: &Headers, name: &str) -> Option<Timestamp> {
    parse_moment(headers.get(name)?)
}

/// A moment as it stands in a header.
pub(super) fn parse_moment(text: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(text).ok()?.parse().ok().map(Timestamp)
}

/// The attempts under [`ATTEMPTS`].
pub fn attempts(headers: &Headers) -> Option<u32> {
    headers.get_str(ATTEMPTS)?.parse().ok()
}

/// The headers of a job on a job topic.
pub(super) fn of_job(job: &PushJob, not_before: Option<Timestamp>) -> Headers {
    let mut headers = Headers::new();
    put_job(&mut headers, job);
    if let Some(not_before) = not_before {
        put(&mut headers, NOT_BEFORE, not_before.as_millis());
    }
    headers
}

fn put_job(headers: &mut Headers, job: &PushJob) {
    put(headers, KIND, LetterKind::Job.name());
    put(headers, TYPE, job.subject.kind().name());
    put(headers, ATTEMPTS, job.attempts);
    put(headers, FIRST_SEEN, job.first_seen.as_millis());
    put(headers, DEADLINE, job.subject.expires_at().as_millis());
    put_origin(headers, &job.origin);
    if let Some(traceparent) = &job.traceparent {
        put(headers, TRACEPARENT, traceparent);
    }
}

fn put_origin(headers: &mut Headers, origin: &Origin) {
    put(headers, ORIGIN_TOPIC, &origin.topic);
    put(headers, ORIGIN_PARTITION, origin.partition);
    put(headers, ORIGIN_OFFSET, origin.offset);
}

/// The headers of a job that waits on as it came (a newer schema than ours): its own, with another moment.
pub(super) fn of_postponed(headers: &Headers, not_before: Timestamp, deadline: Timestamp) -> Headers {
    let mut postponed = Headers::new();
    let kept = headers.iter().filter(|(name, _)| ![NOT_BEFORE, DEADLINE].contains(name));
    kept.for_each(|(name, value)| postponed.push(name, value.clone()));
    put(&mut postponed, NOT_BEFORE, not_before.as_millis());
    put(&mut postponed, DEADLINE, deadline.as_millis());
    postponed
}

/// The headers of a job's dead letter. `group` read it.
pub(super) fn of_dead_job(job: &PushJob, reason: &Reason, group: &str) -> Headers {
    let mut headers = Headers::new();
    put_job(&mut headers, job);
    put(&mut headers, REASON, reason.as_str());
    let explanation = format!("the job ended after {} attempts: {reason}", job.attempts);
    put(&mut headers, EXPLANATION, &explanation);
    let failure =
        Failure { origin: &job.origin, timestamp: None, group, reason, explanation: &explanation, stage: "TASK_PUT" };
    failure.put_spring(&mut headers);
    failure.put_connect(&mut headers);
    headers
}

/// The headers of a record's dead letter: what it came with, less an earlier failure's, and this failure's.
pub(super) fn of_dead_record(letter: &RawRecord, reason: &Reason, explanation: &str, group: &str) -> Headers {
    let explanation = cut(explanation);
    let mut headers = Headers::new();
    let kept = letter.headers.iter().filter(|(name, _)| !REPLACED.iter().any(|prefix| name.starts_with(prefix)));
    kept.for_each(|(name, value)| headers.push(name, value.clone()));
    put(&mut headers, KIND, LetterKind::Record.name());
    // A redriven record keeps what it was sent back with: it may be redriven again.
    let feed = letter.headers.get_str(FEED).and_then(FeedKind::from_name).filter(|_| letter.feed == Feed::Redrive);
    put(&mut headers, FEED, feed.unwrap_or(letter.feed.kind()).name());
    let kind = match letter.feed {
        Feed::Event(kind) => Some(kind),
        Feed::Redrive | Feed::Job(..) | Feed::Hold(_) | Feed::Decision | Feed::Outcome | Feed::Lifecycle => {
            notification_type(&letter.headers)
        }
    };
    if let Some(kind) = kind {
        put(&mut headers, TYPE, kind.name());
    }
    put(&mut headers, REASON, reason.as_str());
    put(&mut headers, EXPLANATION, explanation);
    put(&mut headers, ATTEMPTS, attempts(&letter.headers).unwrap_or(0).saturating_add(1));
    // Where a redriven record came from first is what people look for, not where in the redrive topic it lay.
    let earlier = origin(&letter.headers).filter(|_| letter.feed == Feed::Redrive);
    let first_seen = moment(&letter.headers, FIRST_SEEN).filter(|_| earlier.is_some()).unwrap_or(letter.first_seen);
    let origin = earlier.as_ref().unwrap_or(&letter.origin);
    put(&mut headers, FIRST_SEEN, first_seen.as_millis());
    put_origin(&mut headers, origin);
    let stage = "VALUE_CONVERTER";
    let failure = Failure { origin, timestamp: letter.timestamp, group, reason, explanation, stage };
    failure.put_spring(&mut headers);
    failure.put_connect(&mut headers);
    headers
}

/// What both foreign families say, each in its own encoding.
struct Failure<'a> {
    origin: &'a Origin,
    timestamp: Option<Timestamp>,
    group: &'a str,
    reason: &'a Reason,
    explanation: &'a str,
    /// `org.apache.kafka.connect.runtime.errors.Stage`.
    stage: &'a str,
}

impl Failure<'_> {
    /// `org.springframework.kafka.listener.DeadLetterPublishingRecoverer`: ints in 4 and longs in 8 big-endian bytes.
    fn put_spring(&self, headers: &mut Headers) {
        put(headers, "kafka_dlt-original-topic", &self.origin.topic);
        headers.push("kafka_dlt-original-partition", bytes(&self.origin.partition.to_be_bytes()));
        headers.push("kafka_dlt-original-offset", bytes(&self.origin.offset.to_be_bytes()));
        if let Some(timestamp) = self.timestamp {
            headers.push("kafka_dlt-original-timestamp", bytes(&timestamp.as_millis().to_be_bytes()));
            put(headers, "kafka_dlt-original-timestamp-type", "CreateTime");
        }
        put(headers, "kafka_dlt-original-consumer-group", self.group);
        put(headers, "kafka_dlt-exception-fqcn", self.class());
        put(headers, "kafka_dlt-exception-message", self.explanation);
        put(headers, "kafka_dlt-exception-stacktrace", self.trace());
    }

    /// `org.apache.kafka.connect.runtime.errors.DeadLetterQueueReporter`: everything as text.
    fn put_connect(&self, headers: &mut Headers) {
        put(headers, "__connect.errors.topic", &self.origin.topic);
        put(headers, "__connect.errors.partition", self.origin.partition);
        put(headers, "__connect.errors.offset", self.origin.offset);
        put(headers, "__connect.errors.connector.name", "watchbell");
        put(headers, "__connect.errors.task.id", "0");
        put(headers, "__connect.errors.stage", self.stage);
        put(headers, "__connect.errors.class.name", "watchbell");
        put(headers, "__connect.errors.exception.class.name", self.class());
        put(headers, "__connect.errors.exception.message", self.explanation);
        put(headers, "__connect.errors.exception.stacktrace", self.trace());
    }

    /// Where Java has a class, by which tools group failures.
    fn class(&self) -> String {
        format!("watchbell.{}", self.reason)
    }

    /// The first line that Java would print of a trace; there are no others.
    fn trace(&self) -> String {
        format!("watchbell.{}: {}", self.reason, self.explanation)
    }
}

fn put(headers: &mut Headers, name: &str, value: impl ToString) {
    headers.push(name, Bytes::from(value.to_string()));
}

fn bytes(value: &[u8]) -> Bytes {
    Bytes::copy_from_slice(value)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(EXPLANATION_BYTES_MAX)]
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
