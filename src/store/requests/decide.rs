//! From a device's answer to a decision: one wins.
use std::time::Duration;

use super::row::standing;
use super::{Origin, Requests, of};
use crate::event::{DeviceId, Timestamp};
use crate::people::codec::What;
use crate::people::{
    Activity, Answer, AnswerRefusal, ClosedReason, Decision, DeviceState, Disowned, Enrolled, Judgement, Person,
    RequestId, Standing, Verb, judge,
};
use crate::store::database::{Arg, Row, Sql};
use crate::store::error::Failure;
use crate::store::outbox::OutboxId;
use crate::store::settings::unknown;
use crate::store::telemetry;
use crate::store::work::{Touched, Work, again_if_raced};

/// An answer that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// What was decided, and by what.
    pub decision: Decision,
    /// The record that tells upstream: see [`crate::store::Outbox::published`].
    pub outbox: OutboxId,
    /// Whether this device had said the same before: nothing was written.
    pub again: bool,
}

/// What one transaction made of an answer. A refusal may have written, too: a wrong number is counted.
type Tried = (Result<Answered, AnswerRefusal>, Touched);

impl Requests {
    /// Takes an answer whose signature was checked. `now` decides about the deadline.
    pub async fn decide(&self, answer: &Answer, now: Timestamp) -> Result<Answered, Failure<AnswerRefusal>> {
        let (answered, touched) = again_if_raced(|| self.try_decide(answer, now)).await?;
        self.told(&touched);
        answered.map_err(Failure::Refused)
    }

    async fn try_decide(&self, answer: &Answer, now: Timestamp) -> Result<Tried, sqlx::Error> {
        let id = &answer.request;
        let mut work = self.inner.store.database.work().await?;
        if answer.verb == Verb::DenyNotMe {
            work.hold_word(&id.person).await?;
        }
        let Some((standing, origin, told)) = work.hold(id).await? else {
            return Ok((Err(AnswerRefusal::NotProjected), Touched::default()));
        };
        let (device, jwk) = work.enrolled(&id.person, &answer.device).await?.unzip();
        let jwk = jwk.unwrap_or_default();
        let refused = match judge(&standing, answer, device.as_ref(), now) {
            Judgement::Refuse(refusal) => return Ok((Err(refusal), Touched::default())),
            Judgement::Again(decision) => {
                let outbox = told.ok_or(sqlx::Error::RowNotFound)?;
                return Ok((Ok(Answered { decision, outbox, again: true }), Touched::default()));
            }
            Judgement::Decide => {
                let decision = decision(answer, answer.verb, (&answer.jws, &answer.key_thumbprint), now);
                let outbox = work.end(id, (&standing, &origin), &decision, &jwk).await?;
                let alerted = work.alert_if_disowned(answer, (now, self.alert_every)).await?;
                let answered = Answered { decision, outbox, again: false };
                let touched = work.commit().await?;
                if let Some(alerted) = alerted {
                    telemetry::not_me(Disowned::REQUEST, alerted);
                }
                return Ok((Ok(answered), touched));
            }
            Judgement::DenyForNumbers => {
                // Nobody signed a denial: the record carries no statement.
                let decision = decision(answer, Verb::Deny, ("", ""), now);
                work.count_wrong(id).await?;
                work.end(id, (&standing, &origin), &decision, "").await?;
                AnswerRefusal::NumbersUsedUp
            }
            Judgement::CountWrong { left } => {
                work.count_wrong(id).await?;
                AnswerRefusal::NumberWrong { left }
            }
            Judgement::Expire => {
                work.close(id, &origin, ClosedReason::Expired, now).await?;
                AnswerRefusal::Closed { reason: ClosedReason::Expired }
            }
        };
        Ok((Err(refused), work.commit().await?))
    }
}

fn decision(answer: &Answer, verb: Verb, (jws, key): (&str, &str), at: Timestamp) -> Decision {
    let id = uuid::Uuid::new_v4().to_string();
    Decision { id, verb, device: answer.device.clone(), at, jws: jws.to_owned(), key_thumbprint: key.to_owned() }
}

impl Work {
    /// A request's row, which nobody else changes until this transaction ends; with the outbox's name of its end.
    pub(super) async fn hold(
        &mut self,
        id: &RequestId,
    ) -> Result<Option<(Standing, Origin, Option<OutboxId>)>, sqlx::Error> {
        const HOLD: Sql = Sql {
            postgres: "SELECT state, ended_at, closed_reason, verb, decision_id, device, jws, key_thumbprint,
                    expires_at, match_number, wrong_tries, outbox_id, record_key, traceparent,
                    (SELECT CASE WHEN e.name <> '' THEN e.name ELSE e.model END FROM enrolments e
                        WHERE e.workspace = $1 AND e.user_id = $4 AND e.id = requests.device)
                FROM requests WHERE workspace = $1 AND type = $2 AND event = $3 AND user_id = $4 FOR UPDATE",
            sqlite: "SELECT state, ended_at, closed_reason, verb, decision_id, device, jws, key_thumbprint,
                    expires_at, match_number, wrong_tries, outbox_id, record_key, traceparent,
                    (SELECT CASE WHEN e.name <> '' THEN e.name ELSE e.model END FROM enrolments e
                        WHERE e.workspace = $1 AND e.user_id = $4 AND e.id = requests.device)
                FROM requests WHERE workspace = $1 AND type = $2 AND event = $3 AND user_id = $4",
        };
        let rows = self.tx.rows(HOLD, &of(id)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (standing, origin) = standing(row)?;
        Ok(Some((standing, origin, row.maybe_int(11)?)))
    }

    /// What a device's enrolment says, and its key, kept from being retired until this transaction ends.
    async fn enrolled(
        &mut self,
        person: &Person,
        device: &DeviceId,
    ) -> Result<Option<(Enrolled, String)>, sqlx::Error> {
        const READ: Sql = Sql {
            postgres: "SELECT state, key_thumbprint, retired_at, key_jwk FROM enrolments
                WHERE workspace = $1 AND user_id = $2 AND id = $3 FOR SHARE",
            sqlite: "SELECT state, key_thumbprint, retired_at, key_jwk FROM enrolments
                WHERE workspace = $1 AND user_id = $2 AND id = $3",
        };
        let [workspace, user] = crate::store::preferences::of(person);
        let rows = self.tx.rows(READ, &[workspace, user, Arg::Text(device.as_str())]).await?;
        rows.first().map(|row| Ok((enrolled(row)?, row.text_or_empty(3)?.to_owned()))).transpose()
    }

    /// Tells admins of a decision that says it was not the person; how many know, if it is one.
    async fn alert_if_disowned(
        &mut self,
        answer: &Answer,
        (now, every): (Timestamp, Duration),
    ) -> Result<Option<u32>, sqlx::Error> {
        match answer.verb {
            Verb::Approve | Verb::Deny => Ok(None),
            Verb::DenyNotMe => {
                let RequestId { person, kind, event } = &answer.request;
                let of = Disowned::Request { kind: *kind, event: event.clone() };
                self.alert(person, &answer.device, of, (now, every)).await.map(Some)
            }
        }
    }

    async fn count_wrong(&mut self, id: &RequestId) -> Result<(), sqlx::Error> {
        const COUNT: &str = "UPDATE requests SET wrong_tries = wrong_tries + 1
            WHERE workspace = $1 AND type = $2 AND event = $3 AND user_id = $4";
        self.tx.execute(COUNT.into(), &of(id)).await
    }

    /// Ends a request that is held and open by an answer, which that key signed.
    async fn end(
        &mut self,
        id: &RequestId,
        (standing, origin): (&Standing, &Origin),
        decision: &Decision,
        key_jwk: &str,
    ) -> Result<OutboxId, sqlx::Error> {
        const END: &str =
            "UPDATE requests SET state = 'decided', verb = $5, ended_at = $6, decision_id = $7, device = $8,
                jws = $9, key_thumbprint = $10, outbox_id = $11, match_number = NULL
            WHERE workspace = $1 AND type = $2 AND event = $3 AND user_id = $4 AND state = 'open'";
        let Decision { id: decision_id, verb, device, at, jws, key_thumbprint } = decision;
        let (verb, at, expires_at) = (*verb, *at, standing.expires_at);
        let what = What::Decided { verb, decided_at: at, expires_at, jws, key_thumbprint, key_jwk };
        let told = self.tell_of(id, origin, decision_id, what, at).await?;
        let [workspace, kind, event, user] = of(id);
        let row = [
            workspace,
            kind,
            event,
            user,
            Arg::Text(verb.name()),
            Arg::Int(at.as_millis()),
            Arg::Text(decision_id),
            Arg::Text(device.as_str()),
            Arg::Text(jws),
            Arg::Text(key_thumbprint),
            Arg::Int(told),
        ];
        self.tx.execute(END.into(), &row).await?;
        let reason = if jws.is_empty() { "wrong_numbers" } else { "" };
        self.happened(&Activity {
            person: id.person.clone(),
            at,
            what: verb.into(),
            kind: id.kind,
            event: id.event.clone(),
            device: Some(device.clone()),
            reason: reason.to_owned(),
        })
        .await?;
        Ok(told)
    }
}

fn enrolled(row: &Row) -> Result<Enrolled, sqlx::Error> {
    let state = row.text(0)?;
    Ok(Enrolled {
        state: DeviceState::from_name(state).ok_or_else(|| unknown("state", state))?,
        thumbprint: row.maybe_text(1)?.map(str::to_owned),
        retired: row.maybe_int(2)?.is_some(),
    })
}
