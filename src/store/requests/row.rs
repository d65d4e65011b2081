//! A request's row, read.
use super::Origin;
use crate::event::{DeviceId, Timestamp};
use crate::people::{ClosedReason, Decision, Ending, MatchNumber, Standing, Verb};
use crate::store::database::Row;
use crate::store::settings::unknown;

/// How a request ended; `None` while it is open. Reads the first eight columns: state, ended_at, closed_reason, verb, decision_id,
/// device, jws, key_thumbprint.
pub(super) fn ending(row: &Row) -> Result<Option<Ending>, sqlx::Error> {
    let at = || row.int(1).map(Timestamp);
    match row.text(0)? {
        "open" => Ok(None),
        "closed" => {
            let reason = row.text(2)?;
            let reason = ClosedReason::from_name(reason).ok_or_else(|| unknown("reason", reason))?;
            Ok(Some(Ending::Closed { reason, at: at()? }))
        }
        _ => {
            let verb = row.text(3)?;
            Ok(Some(Ending::Decided(Decision {
                id: row.text(4)?.to_owned(),
                verb: Verb::from_name(verb).ok_or_else(|| unknown("verb", verb))?,
                device: DeviceId::new(row.text(5)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
                at: at()?,
                jws: row.text_or_empty(6)?.to_owned(),
                key_thumbprint: row.text_or_empty(7)?.to_owned(),
            })))
        }
    }
}

/// What an answer is judged by, and what every record about the request has. After the columns of [`ending`]: expires_at, match_number,
/// wrong_tries, outbox_id, record_key, traceparent, and what its person calls the device.
pub(super) fn standing(row: &Row) -> Result<(Standing, Origin), sqlx::Error> {
    let standing = Standing {
        expires_at: Timestamp(row.int(8)?),
        match_number: row.maybe_text(9)?.and_then(MatchNumber::new),
        wrong_numbers: u32::try_from(row.int(10)?).unwrap_or(u32::MAX),
        ending: ending(row)?,
        device_name: row.text_or_empty(14)?.to_owned(),
    };
    Ok((standing, origin(row, 12)?))
}

/// Key and trace context, from that column on.
pub(super) fn origin(row: &Row, column: usize) -> Result<Origin, sqlx::Error> {
    let (record_key, traceparent) = (row.bytes(column)?, row.maybe_text(column + 1)?);
    Ok(Origin { record_key: record_key.map(<[u8]>::to_vec), traceparent: traceparent.map(str::to_owned) })
}
