//! An outcome's bytes as what its person may look back on, and what upstream hears of it. Pure.
use prost::Message as _;

use super::{Activity, Happening, NoticeKind, Person, Seen};
use crate::event::wire::{wire_time, wire_type};
use crate::event::{DeviceId, EventId, UserId, WorkspaceId, to_timestamp, wire};

/// Longest reason that is kept, in bytes: our own are a word, a provider's is cut before it is written.
const REASON_BYTES_MAX: usize = 128;

/// How a job ended, to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnded {
    /// For the person.
    pub activity: Activity,
    /// For upstream, while the request is open; `None` where there is nothing to say, or the type only informs.
    pub notice: Option<NoticeKind>,
}

/// Why bytes are no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record is no outcome: {0}")]
pub struct OutcomeError(String);

/// Decodes one record of the outcomes' topic. `None` for a withdrawal's, which is no notification; for a notice's, which is about no event,
/// also one that only a newer version knows; and for a type or an ending of a newer version.
pub fn decode_outcome(payload: &[u8]) -> Result<Option<JobEnded>, OutcomeError> {
    let outcome = wire::Outcome::decode(payload).map_err(|error| OutcomeError(error.to_string()))?;
    let bad_id = |error: crate::event::IdError| OutcomeError(format!("an id {error}"));
    let ending = outcome.ending();
    let (Some(kind), Some(what)) = (wire::domain_type(outcome.r#type()), meaning(&outcome)) else {
        return Ok(None);
    };
    if outcome.withdrawal || outcome.notice != 0 {
        return Ok(None);
    }
    let at = outcome.ended_at.and_then(to_timestamp).ok_or_else(|| OutcomeError("it has no time".to_owned()))?;
    let device = match outcome.device_id.as_str() {
        "" => None,
        id => Some(DeviceId::new(id).map_err(bad_id)?),
    };
    let mut reason = outcome.reason;
    reason.retain(|c| !c.is_control());
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    if reason.is_empty() {
        // That nobody has a device is what no reason means; an ending of another kind never passes for it.
        without_reason(ending).clone_into(&mut reason);
    }
    let person = Person {
        workspace: WorkspaceId::new(outcome.workspace_id).map_err(bad_id)?,
        user: UserId::new(outcome.user_id).map_err(bad_id)?,
    };
    let event = EventId::new(outcome.event_id).map_err(bad_id)?;
    let activity = Activity { person, at, what, kind, event, device, reason };
    Ok(Some(JobEnded { notice: activity.notice(), activity }))
}

/// A device's word among the outcomes. `job` is the notification's.
pub fn encode_seen(seen: &Seen, job: &[u8; 16]) -> Vec<u8> {
    let record = wire::Outcome {
        job_id: job.to_vec(),
        workspace_id: seen.person.workspace.as_str().to_owned(),
        r#type: wire_type(seen.kind).into(),
        event_id: seen.event.as_str().to_owned(),
        user_id: seen.person.user.as_str().to_owned(),
        device_id: seen.device.as_str().to_owned(),
        seen_at: Some(wire_time(seen.at)),
        ..Default::default()
    };
    record.encode_to_vec()
}

/// The same read again; `None` for anything else.
pub fn decode_seen(payload: &[u8]) -> Option<Seen> {
    let record = wire::Outcome::decode(payload).ok()?;
    let at = record.seen_at.and_then(to_timestamp)?;
    let kind = wire::domain_type(record.r#type())?;
    let person =
        Person { workspace: WorkspaceId::new(record.workspace_id).ok()?, user: UserId::new(record.user_id).ok()? };
    let (event, device) = (EventId::new(record.event_id).ok()?, DeviceId::new(record.device_id).ok()?);
    Some(Seen { person, kind, event, device, at })
}

/// The reason of an ending that came without one.
const fn without_reason(ending: wire::Ending) -> &'static str {
    match ending {
        wire::Ending::Unspecified | wire::Ending::Accepted | wire::Ending::Suppressed | wire::Ending::NoDevice => "",
        wire::Ending::Expired => "expired",
        wire::Ending::TokenInvalid => "token_invalid",
        wire::Ending::DeadLettered => "dead_lettered",
    }
}

/// What an ending is to the person.
fn meaning(outcome: &wire::Outcome) -> Option<Happening> {
    match outcome.ending() {
        wire::Ending::Unspecified => None,
        wire::Ending::Accepted => Some(Happening::Delivered),
        wire::Ending::Suppressed => Some(Happening::Suppressed),
        wire::Ending::NoDevice | wire::Ending::Expired | wire::Ending::TokenInvalid | wire::Ending::DeadLettered => {
            Some(Happening::Undelivered)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;
    use crate::policy::Suppression;

    fn outcome(ending: wire::Ending, reason: &str) -> wire::Outcome {
        wire::Outcome {
            job_id: vec![0; 16],
            workspace_id: "acme".into(),
            r#type: wire::NotificationType::IdentityVerification.into(),
            event_id: "e1".into(),
            user_id: "ada".into(),
            device_id: "d1".into(),
            ending: ending.into(),
            reason: reason.into(),
            ended_at: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 5_000_000 }),
            ..Default::default()
        }
    }

    fn decoded(outcome: &wire::Outcome) -> Option<JobEnded> {
        decode_outcome(&outcome.encode_to_vec()).unwrap()
    }

    #[test]
    fn every_ending_means_something() {
        // To the person: delivered, suppressed, undelivered, with the reason. To upstream: why nobody may answer from a notification.
        use wire::Ending as E;
        let rows = [
            (E::Accepted, "", Happening::Delivered, None),
            (E::Suppressed, "muted_by_user", Happening::Suppressed, Some(NoticeKind::Muted)),
            (E::Suppressed, "disabled_by_workspace", Happening::Suppressed, Some(NoticeKind::Disabled)),
            (E::Suppressed, "fatigue_guard", Happening::Suppressed, Some(NoticeKind::Guard)),
            (E::Suppressed, "quiet_device", Happening::Suppressed, None),
            (E::Suppressed, Suppression::AllDevicesQuiet.name(), Happening::Suppressed, Some(NoticeKind::Muted)),
            (E::Suppressed, "withdrawn", Happening::Suppressed, None),
            (E::Expired, "deadline", Happening::Undelivered, Some(NoticeKind::Undeliverable)),
            (E::TokenInvalid, "Unregistered", Happening::Undelivered, Some(NoticeKind::Undeliverable)),
            (E::NoDevice, "", Happening::Undelivered, Some(NoticeKind::NoDevice)),
            (E::DeadLettered, "BadTopic", Happening::Undelivered, Some(NoticeKind::Undeliverable)),
        ];
        for (ending, reason, what, notice) in rows {
            let ended = decoded(&outcome(ending, reason)).unwrap();
            assert_eq!((ended.activity.what, ended.notice), (what, notice), "{ending:?} {reason}");
            assert_eq!((ended.activity.reason.as_str(), ended.activity.at), (reason, Timestamp(1_800_000_000_005)));
        }
        let informs = wire::Outcome { r#type: wire::NotificationType::OtpReceived.into(), ..outcome(E::NoDevice, "") };
        assert_eq!(decoded(&informs).unwrap().notice, None, "nobody waits for an answer");
        let expired = decoded(&outcome(E::Expired, "")).unwrap();
        assert_eq!((expired.activity.reason.as_str(), expired.notice), ("expired", Some(NoticeKind::Undeliverable)));
        let foreign = decoded(&outcome(E::DeadLettered, "Bad\0\nTopic")).unwrap();
        assert_eq!(foreign.activity.reason, "BadTopic", "the store takes every reason");
    }

    #[test]
    fn a_seen_mark_is_no_ending() {
        // Whoever reads endings passes over it, and nobody takes an ending for a mark.
        let seen = Seen {
            person: Person { workspace: WorkspaceId::new("acme").unwrap(), user: UserId::new("ada").unwrap() },
            kind: crate::event::NotificationType::OtpReceived,
            event: EventId::new("e1").unwrap(),
            device: DeviceId::new("d1").unwrap(),
            at: Timestamp(1_800_000_000_005),
        };
        let bytes = encode_seen(&seen, &[7; 16]);
        assert_eq!((decode_outcome(&bytes), decode_seen(&bytes)), (Ok(None), Some(seen)));
        assert_eq!(decode_seen(&outcome(wire::Ending::Accepted, "").encode_to_vec()), None);
        assert_eq!(decode_seen(b"\xff"), None);
    }

    #[test]
    fn what_says_nothing_to_people_is_passed_over() {
        // Withdrawals, and what only a newer version knows; what is no outcome is an error.
        let withdrawal = wire::Outcome { withdrawal: true, ..outcome(wire::Ending::Accepted, "") };
        let newer = wire::Outcome { r#type: 99, ..outcome(wire::Ending::Accepted, "") };
        let unknown = wire::Outcome { ending: 99, ..outcome(wire::Ending::Accepted, "") };
        let notices = [1, 99].map(|notice| wire::Outcome { notice, ..outcome(wire::Ending::NoDevice, "") });
        assert_eq!([withdrawal, newer, unknown].map(|outcome| decoded(&outcome)), [None, None, None]);
        assert_eq!(notices.map(|outcome| decoded(&outcome)), [None, None], "nor are notices, whose ids are no events'");
        let without_user = wire::Outcome { user_id: String::new(), ..outcome(wire::Ending::Accepted, "") };
        let timeless = wire::Outcome { ended_at: None, ..outcome(wire::Ending::Accepted, "") };
        for broken in [b"\xff".to_vec(), without_user.encode_to_vec(), timeless.encode_to_vec()] {
            assert!(decode_outcome(&broken).is_err());
        }
    }
}
