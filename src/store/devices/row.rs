//! An enrolment's row, read and held.
use crate::event::{DeviceId, Timestamp};
use crate::people::{DeviceState, Enrolled, Person};
use crate::store::database::{Arg, Row, Sql};
use crate::store::preferences::of;
use crate::store::settings::unknown;
use crate::store::work::Work;

/// A device's enrolment, which nobody else changes until the transaction ends.
pub(super) struct Held {
    pub(super) enrolled: Enrolled,
    pub(super) reachable_since: Option<Timestamp>,
    pub(super) phone: Option<String>,
}

/// The three arguments that name a device.
pub(super) fn of_device<'a>(person: &'a Person, device: &'a DeviceId) -> [Arg<'a>; 3] {
    let [workspace, user] = of(person);
    [workspace, user, Arg::Text(device.as_str())]
}

/// Reads the first three columns: state, key_thumbprint, retired_at.
pub(super) fn enrolled(row: &Row) -> Result<Enrolled, sqlx::Error> {
    let state = row.text(0)?;
    Ok(Enrolled {
        state: DeviceState::from_name(state).ok_or_else(|| unknown("state", state))?,
        thumbprint: row.maybe_text(1)?.map(str::to_owned),
        retired: row.maybe_int(2)?.is_some(),
    })
}

pub(super) fn device_id(text: &str) -> Result<DeviceId, sqlx::Error> {
    DeviceId::new(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

impl Work {
    pub(super) async fn hold_device(
        &mut self,
        person: &Person,
        device: &DeviceId,
    ) -> Result<Option<Held>, sqlx::Error> {
        const HOLD: Sql = Sql {
            postgres: "SELECT state, key_thumbprint, retired_at, reachable_since, phone FROM enrolments
                WHERE workspace = $1 AND user_id = $2 AND id = $3 FOR UPDATE",
            sqlite: "SELECT state, key_thumbprint, retired_at, reachable_since, phone FROM enrolments
                WHERE workspace = $1 AND user_id = $2 AND id = $3",
        };
        let rows = self.tx.rows(HOLD, &of_device(person, device)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Held {
            enrolled: enrolled(row)?,
            reachable_since: row.maybe_int(3)?.map(Timestamp),
            phone: row.maybe_text(4)?.map(str::to_owned),
        }))
    }

    /// The device, if that is the key with which it signs.
    pub(super) async fn hold_signer(
        &mut self,
        person: &Person,
        device: &DeviceId,
        thumbprint: &str,
    ) -> Result<Option<Held>, sqlx::Error> {
        let held = self.hold_device(person, device).await?;
        Ok(held.filter(|held| held.enrolled.signs_with(thumbprint)))
    }
}
