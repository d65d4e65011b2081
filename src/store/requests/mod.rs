//! Requests: what awaits a person's answer, from its event until it ends exactly once.
//!
//! The point: a request, its end and what upstream hears of either are one transaction. Whoever ends it holds its row, so of a thousand
//! who try at once one does. It deliberately checks no signature and asks no clock; what may be answered is [`judge`]'s to say.
//!
//! Fails by [`Unavailable`]: then whether it was done is not known, and doing it again is harmless.
//!
//! [`judge`]: crate::people::judge
mod close;
mod decide;
mod endings;
mod person;
mod project;
mod row;
mod seen;

pub use decide::Answered;
pub use project::Projected;
pub use seen::{MARKS_MAX, Marked, Taken};

use std::sync::Arc;
use std::time::Duration;

use super::database::Arg;
use super::error::unavailable;
use super::policy::Inner;
use super::preferences::of as of_person;
use super::work::{Touched, Work};
use crate::event::Timestamp;
use crate::people::codec::{Told, What, encode_decision};
use crate::people::{Activity, ClosedReason, RequestId};
use crate::seam::{OutboxRecord, OutboxTopic, Unavailable};
use crate::store::outbox::OutboxId;

/// What awaits people's answers. Clones share everything.
#[derive(Clone)]
pub struct Requests {
    inner: Arc<Inner>,
    alert_every: Duration,
}

/// What every record about a request has of its event's record.
struct Origin {
    record_key: Option<Vec<u8>>,
    traceparent: Option<String>,
}

impl Requests {
    pub(super) fn new(inner: Arc<Inner>, alert_every: Duration) -> Self {
        Self { inner, alert_every }
    }

    /// After a commit: the publishers of this process need not wait for their next look.
    fn told(&self, touched: &Touched) {
        if touched.told {
            self.inner.outbox.wake();
        }
    }
}

fn unread(error: sqlx::Error) -> Unavailable {
    unavailable(&error)
}

/// The four arguments that name a request.
fn of(id: &RequestId) -> [Arg<'_>; 4] {
    [
        Arg::Text(id.person.workspace.as_str()),
        Arg::Text(id.kind.name()),
        Arg::Text(id.event.as_str()),
        Arg::Text(id.person.user.as_str()),
    ]
}

impl Work {
    /// Puts a record about a request into the outbox.
    async fn tell_of(
        &mut self,
        id: &RequestId,
        origin: &Origin,
        decision_id: &str,
        what: What<'_>,
        at: Timestamp,
    ) -> Result<OutboxId, sqlx::Error> {
        let payload = encode_decision(&Told { request: id, id: decision_id, at, what });
        let traceparent = origin.traceparent.iter().map(|value| ("traceparent".to_owned(), value.clone()));
        let (key, headers) = (origin.record_key.clone(), traceparent.collect());
        self.tell(&OutboxRecord { topic: OutboxTopic::Decisions, key, payload, headers }, at).await
    }

    /// Closes a request whose row this transaction holds and which is open.
    async fn close(
        &mut self,
        id: &RequestId,
        origin: &Origin,
        reason: ClosedReason,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        const CLOSE: &str = "UPDATE requests
            SET state = 'closed', closed_reason = $5, ended_at = $6, decision_id = $7, outbox_id = $8, match_number = NULL
            WHERE workspace = $1 AND type = $2 AND event = $3 AND user_id = $4 AND state = 'open'";
        let decision_id = uuid::Uuid::new_v4().to_string();
        let told = self.tell_of(id, origin, &decision_id, What::Closed(reason), now).await?;
        let [workspace, kind, event, user] = of(id);
        let end = [Arg::Text(reason.name()), Arg::Int(now.as_millis()), Arg::Text(&decision_id), Arg::Int(told)];
        self.tx.execute(CLOSE.into(), &[workspace, kind, event, user, end[0], end[1], end[2], end[3]]).await?;
        self.happened(&closed(id, reason, now)).await
    }

    /// Adds to a person's last 30 days, unless it is there.
    pub(super) async fn happened(&mut self, activity: &Activity) -> Result<(), sqlx::Error> {
        self.add_activity(activity).await.map(drop)
    }
}

/// The end of a request without an answer, for Recent.
fn closed(id: &RequestId, reason: ClosedReason, at: Timestamp) -> Activity {
    Activity {
        person: id.person.clone(),
        at,
        what: reason.into(),
        kind: id.kind,
        event: id.event.clone(),
        device: None,
        reason: String::new(),
    }
}
