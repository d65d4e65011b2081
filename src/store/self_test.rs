//! What people send to themselves to see whether it arrives: written down with the record by which it goes to Kafka, and followed by what is
//! known of it anyway.
//!
//! The point: a test goes the way of every notification, so nothing here looks at how it went: its outcomes are in what happened lately, as
//! anybody's. It deliberately counts tests in the transaction that adds one and holds nobody's row for that: two at the same instant may be
//! one more than the limit. Fails by [`Failure`].
use std::time::Duration;

use super::admin::Admin;
use super::database::{Arg, Row};
use super::error::{Failure, unavailable};
use super::outbox::OutboxId;
use super::preferences::of;
use super::settings::kind;
use super::work::{Trouble, again_if_raced};
use crate::event::{DeviceId, EventId, FEED_HEADER, NotificationType, TYPE_HEADER, Timestamp};
use crate::people::codec_event::encode_test;
use crate::people::{Happening, Person};
use crate::seam::{FeedKind, OutboxRecord, OutboxTopic, Unavailable};

/// The span in which a person's tests are counted.
const SPAN: Duration = Duration::from_secs(3600);

/// Somebody sent enough of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("You have sent {max} tests within the last hour. Try again later.")]
pub struct EnoughTests {
    /// As many as they may within an hour.
    pub max: u32,
}

/// A test, and how far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfTest {
    /// Its id, which is its event's.
    pub id: EventId,
    /// As which type it went.
    pub kind: NotificationType,
    /// When it was asked for.
    pub at: Timestamp,
    /// Whether a broker has it.
    pub on_kafka: bool,
    /// What happened to it, in order.
    pub stages: Vec<TestStage>,
    /// Devices with a push token of which nothing is known yet; none if policy spoke for all of them.
    pub waiting: Vec<DeviceId>,
}

/// Something that happened to a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestStage {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Happening,
    /// On which device; `None` where policy spoke for all.
    pub device: Option<DeviceId>,
    /// Why, as in outcomes.
    pub reason: String,
}

impl Admin {
    /// Sends a person a test of that type, at most `per_hour` within an hour. Returns its id.
    pub async fn send_test(
        &self,
        person: &Person,
        kind: NotificationType,
        per_hour: u32,
        now: Timestamp,
    ) -> Result<EventId, Failure<EnoughTests>> {
        let id = EventId::new(format!("test-{}", uuid::Uuid::new_v4()))
            .map_err(|error| Failure::from(sqlx::Error::Encode(Box::new(error))))?;
        again_if_raced(|| self.try_send_test(person, (&id, kind), per_hour, now)).await?;
        Ok(id)
    }

    async fn try_send_test(
        &self,
        person: &Person,
        (id, kind): (&EventId, NotificationType),
        per_hour: u32,
        now: Timestamp,
    ) -> Result<(), Trouble<EnoughTests>> {
        const COUNT: &str = "SELECT count(*) FROM self_tests WHERE workspace = $1 AND user_id = $2 AND at > $3";
        const PUT: &str =
            "INSERT INTO self_tests (workspace, user_id, id, type, at, outbox_id) VALUES ($1, $2, $3, $4, $5, $6)";
        let mut work = self.inner.store.database.work().await?;
        work.keep_from_erasure([person]).await?;
        let [workspace, user] = of(person);
        let since = Arg::Int(now.minus(SPAN).as_millis());
        let rows = work.tx.rows(COUNT.into(), &[workspace, user, since]).await?;
        if rows.first().map_or(Ok(0), |row| row.int(0))? >= i64::from(per_hour) {
            return Err(Trouble::Refused(EnoughTests { max: per_hour }));
        }
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let record = OutboxRecord {
            topic: OutboxTopic::Redrive,
            key: Some(person.user.as_str().into()),
            payload: encode_test(person, kind, id, now),
            headers: vec![header(FEED_HEADER, FeedKind::Event.name()), header(TYPE_HEADER, kind.name())],
        };
        let told: OutboxId = work.tell(&record, now).await?;
        let (id, at) = (Arg::Text(id.as_str()), Arg::Int(now.as_millis()));
        work.tx.execute(PUT.into(), &[workspace, user, id, Arg::Text(kind.name()), at, Arg::Int(told)]).await?;
        let touched = work.commit().await?;
        if touched.told {
            self.inner.outbox.wake();
        }
        Ok(())
    }

    /// A test of a person's, and how far it came; `None` if they sent none of that id.
    pub async fn self_test(&self, person: &Person, id: &EventId) -> Result<Option<SelfTest>, Unavailable> {
        const READ: &str =
            "SELECT type, at, (SELECT count(*) FROM outbox o WHERE o.id = t.outbox_id AND o.published_at IS NULL)
            FROM self_tests t WHERE workspace = $1 AND user_id = $2 AND id = $3";
        const STAGES: &str = "SELECT at, what, device, reason FROM activity
            WHERE workspace = $1 AND user_id = $2 AND type = $3 AND event = $4 ORDER BY at, id";
        const DEVICES: &str = "SELECT id FROM devices WHERE workspace = $1 AND user_id = $2 ORDER BY id";
        let database = &self.inner.store.database;
        let [workspace, user] = of(person);
        let read = async {
            let event = Arg::Text(id.as_str());
            let rows = database.rows(READ.into(), &[workspace, user, event]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            let (kind, at, on_kafka) = (kind(row.text(0)?)?, Timestamp(row.int(1)?), row.int(2)? == 0);
            let rows = database.rows(STAGES.into(), &[workspace, user, Arg::Text(kind.name()), event]).await?;
            let stages = rows.iter().map(stage).collect::<Result<Vec<_>, _>>()?;
            let rows = database.rows(DEVICES.into(), &[workspace, user]).await?;
            let devices = rows.iter().map(|row| device(row.text(0)?)).collect::<Result<Vec<_>, _>>()?;
            let for_all = stages.iter().any(|stage| stage.device.is_none());
            let known = |device: &DeviceId| stages.iter().any(|stage| stage.device.as_ref() == Some(device));
            let waiting = devices.into_iter().filter(|device| !for_all && !known(device)).collect();
            Ok(Some(SelfTest { id: id.clone(), kind, at, on_kafka, stages, waiting }))
        };
        read.await.map_err(|error: sqlx::Error| unavailable(&error))
    }
}

fn stage(row: &Row) -> Result<TestStage, sqlx::Error> {
    let (what, on) = (row.text(1)?, row.text(2)?);
    Ok(TestStage {
        at: Timestamp(row.int(0)?),
        what: Happening::from_name(what).ok_or_else(|| super::settings::unknown("happening", what))?,
        device: if on.is_empty() { None } else { Some(device(on)?) },
        reason: row.text(3)?.to_owned(),
    })
}

fn device(id: &str) -> Result<DeviceId, sqlx::Error> {
    DeviceId::new(id).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
