//! Our own records as bytes: jobs and outcomes, and the decisions that the worker reads. Pure.
//!
//! Wire types stay in here: protobuf is a promise to other versions of ourselves and to others, the domain's types are not.
use std::sync::Arc;

use prost::Message as _;

pub use super::codec_decision::{Decision, DecisionError, Finality, decode_decision};
use super::{Ending, JobId, Notice, Origin, OutcomeRecord, PushJob, PushKind, Subject, Withdrawal};
use crate::event::{
    Access, Body, Checked, DeviceId, Event, EventId, NotificationType, SystemNotice, Timestamp, UserId, WorkspaceId,
    is_traceparent, to_timestamp, wire, wire_body,
};
use wire::{domain_notice, domain_type, wire_notice, wire_time, wire_type};

/// The newest schema of a job that this code knows.
pub const JOB_SCHEMA: u32 = 4;

/// Why bytes are no job that this worker can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// It was written by a newer worker, in a way that must not be ignored.
    #[error("the job has schema {schema}; this worker knows {JOB_SCHEMA}: it waits for a newer worker")]
    Newer {
        /// Its schema.
        schema: u32,
        /// Its deadline.
        expires_at: Timestamp,
        /// What is needed to say how it ended, if that can be read.
        named: Option<Box<NamedJob>>,
    },
    /// It is no job.
    #[error("the value is no watchbell.v1.PushJob: {0}")]
    Malformed(String),
}

/// A job of a newer schema, as far as any worker can read it: fields are only ever added, so these are where they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedJob {
    /// What it does.
    pub kind: PushKind,
    /// What it says, if it is a notice.
    pub notice: Option<SystemNotice>,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its notification's type.
    pub notification: NotificationType,
    /// Its event.
    pub event: EventId,
    /// Its recipient.
    pub user: UserId,
    /// Its device.
    pub device: DeviceId,
    /// Attempts made so far.
    pub attempts: u32,
    /// When the record that asked for it was first read.
    pub first_seen: Timestamp,
    /// The W3C trace context of the record that asked for it, if it had one.
    pub traceparent: Option<Box<str>>,
}

impl NamedJob {
    /// The job's id.
    pub fn id(&self) -> JobId {
        let derive = match self.kind {
            PushKind::Show => JobId::show,
            PushKind::Withdraw => JobId::withdraw,
            PushKind::Notice => JobId::notice,
        };
        let (event, user, device) = (self.event.as_str(), self.user.as_str(), self.device.as_str());
        derive(self.workspace.as_str(), self.notification, event, user, device)
    }

    fn of(job: wire::PushJob, notification: NotificationType) -> Option<Self> {
        let (kind, notice) = (push_kind(job.kind())?, domain_notice(job.notice()));
        // Without it the notice's ending would be taken for an event's.
        if (kind == PushKind::Notice) != notice.is_some() {
            return None;
        }
        Some(Self {
            kind,
            notice,
            workspace: WorkspaceId::new(job.workspace_id).ok()?,
            notification,
            event: EventId::new(job.event_id).ok()?,
            user: UserId::new(job.user_id).ok()?,
            device: DeviceId::new(job.device_id).ok()?,
            attempts: job.attempts,
            first_seen: job.first_seen.or(job.occurred_at).and_then(to_timestamp)?,
            traceparent: is_traceparent(&job.traceparent).then(|| job.traceparent.into()),
        })
    }
}

const fn push_kind(kind: wire::PushKind) -> Option<PushKind> {
    match kind {
        wire::PushKind::Unspecified => None,
        wire::PushKind::Show => Some(PushKind::Show),
        wire::PushKind::Withdraw => Some(PushKind::Withdraw),
        wire::PushKind::Notice => Some(PushKind::Notice),
    }
}

/// The schema that a job needs: a worker that knows no notices, not this one, or no tests, lets it wait.
fn schema(job: &PushJob) -> u32 {
    match &job.subject {
        Subject::Event(event) if event.test => 3,
        Subject::Event(_) | Subject::Withdrawal(_) => 1,
        Subject::Notice(notice) => match notice.what {
            SystemNotice::Guard
            | SystemNotice::Enrolled
            | SystemNotice::Promoted
            | SystemNotice::Removed
            | SystemNotice::Reset
            | SystemNotice::NotMe => 2,
            SystemNotice::Rolled | SystemNotice::Erased => 4,
        },
    }
}

/// Appends the bytes of the job that tells one device of a notice, not attempted yet and born from no record.
pub fn encode_notice(notice: &Notice, user: &UserId, device: &DeviceId, buffer: &mut Vec<u8>) {
    let job = PushJob {
        kind: PushKind::Notice,
        subject: Subject::Notice(Arc::new(notice.clone())),
        user: user.clone(),
        device: device.clone(),
        attempts: 0,
        first_seen: notice.occurred_at,
        origin: Origin::default(),
        last_reason: String::new(),
        maybe_shown: false,
        wait_until: None,
        traceparent: None,
    };
    encode_job(&job, buffer);
}

/// Appends a job's bytes.
pub fn encode_job(job: &PushJob, buffer: &mut Vec<u8>) {
    let (body, number_required, test) = match &job.subject {
        Subject::Event(event) => (Some(job_body(&event.body)), event.number_required, event.test),
        Subject::Withdrawal(_) | Subject::Notice(_) => (None, false, false),
    };
    let kind = match job.kind {
        PushKind::Show => wire::PushKind::Show,
        PushKind::Withdraw => wire::PushKind::Withdraw,
        PushKind::Notice => wire::PushKind::Notice,
    };
    let record = wire::PushJob {
        schema: schema(job),
        workspace_id: job.subject.workspace().as_str().to_owned(),
        r#type: wire_type(job.subject.kind()).into(),
        event_id: job.subject.event().as_str().to_owned(),
        user_id: job.user.as_str().to_owned(),
        device_id: job.device.as_str().to_owned(),
        kind: kind.into(),
        occurred_at: Some(wire_time(job.subject.occurred_at())),
        expires_at: Some(wire_time(job.subject.expires_at())),
        number_required,
        attempts: job.attempts,
        first_seen: Some(wire_time(job.first_seen)),
        origin: Some(wire::Origin {
            topic: job.origin.topic.to_string(),
            partition: job.origin.partition,
            offset: job.origin.offset,
        }),
        last_reason: job.last_reason.clone(),
        maybe_shown: job.maybe_shown,
        wait_until: job.wait_until.map(wire_time),
        traceparent: job.traceparent.as_deref().unwrap_or_default().to_owned(),
        body,
        notice: job.subject.notice().map_or(wire::SystemNotice::Unspecified, wire_notice).into(),
        test,
    };
    buffer.reserve(record.encoded_len());
    record.encode_raw(buffer);
}

fn job_body(body: &Body) -> wire::push_job::Body {
    use wire::push_job::Body as Job;
    match body.clone() {
        Body::IdentityVerification { application, device, new_location, new_device } => {
            Job::IdentityVerificationRequested(wire::IdentityVerificationRequested {
                application,
                device,
                new_location,
                new_device,
                ..Default::default()
            })
        }
        Body::TrustedDevice { device_name, browser, operating_system, new_location } => {
            Job::TrustedDeviceRequested(wire::TrustedDeviceRequested {
                device_name,
                browser,
                operating_system,
                new_location,
                ..Default::default()
            })
        }
        Body::AccountSharing { account, shared_by, access } => {
            let access_level = match access {
                Access::Unspecified => wire::AccessLevel::Unspecified,
                Access::View => wire::AccessLevel::View,
                Access::Use => wire::AccessLevel::Use,
                Access::Edit => wire::AccessLevel::Edit,
                Access::Manage => wire::AccessLevel::Manage,
            };
            Job::AccountShared(wire::AccountShared { account, shared_by, access_level: access_level.into() })
        }
        Body::OtpReceived { account, service } => Job::OtpReceived(wire::OtpReceived { account, service }),
    }
}

fn event_body(body: wire::push_job::Body) -> wire::event::Body {
    use wire::event::Body as Event;
    use wire::push_job::Body as Job;
    match body {
        Job::IdentityVerificationRequested(asked) => Event::IdentityVerificationRequested(asked),
        Job::TrustedDeviceRequested(asked) => Event::TrustedDeviceRequested(asked),
        Job::AccountShared(shared) => Event::AccountShared(shared),
        Job::OtpReceived(otp) => Event::OtpReceived(otp),
    }
}

/// Reads a job.
pub fn decode_job(bytes: &[u8]) -> Result<PushJob, JobError> {
    let malformed = |what: &str| JobError::Malformed(what.to_owned());
    let job = wire::PushJob::decode(bytes).map_err(|error| JobError::Malformed(error.to_string()))?;
    let kind = domain_type(job.r#type()).ok_or_else(|| malformed("it has no type"))?;
    let expires_at = job.expires_at.and_then(to_timestamp).ok_or_else(|| malformed("it has no deadline"))?;
    if job.schema > JOB_SCHEMA {
        return Err(JobError::Newer { schema: job.schema, expires_at, named: NamedJob::of(job, kind).map(Box::new) });
    }
    let push = push_kind(job.kind()).ok_or_else(|| malformed("it has no kind"))?;
    let notice = domain_notice(job.notice());
    let bad_id = |error: crate::event::IdError| JobError::Malformed(format!("an id {error}"));
    let workspace = WorkspaceId::new(job.workspace_id).map_err(bad_id)?;
    let event = EventId::new(job.event_id).map_err(bad_id)?;
    let user = UserId::new(job.user_id).map_err(bad_id)?;
    let device = DeviceId::new(job.device_id).map_err(bad_id)?;
    let occurred_at = job.occurred_at.and_then(to_timestamp).ok_or_else(|| malformed("it has no date"))?;
    let first_seen = job.first_seen.and_then(to_timestamp).unwrap_or(occurred_at);
    let origin = job.origin.unwrap_or_default();
    let subject = match (push, job.body) {
        (PushKind::Show, None) => return Err(malformed("it has no body")),
        (PushKind::Show, Some(body)) => {
            let body = match wire_body(event_body(body)) {
                Ok(Checked::Body(body, _)) if body.kind() == kind => body,
                Ok(_) => return Err(malformed("its body is of another type")),
                Err(error) => return Err(JobError::Malformed(error.to_string())),
            };
            let (recipients, number_required, test) = (vec![user.clone()], job.number_required, job.test);
            Subject::Event(Arc::new(Event {
                id: event,
                workspace,
                recipients,
                occurred_at,
                expires_at,
                number_required,
                test,
                body,
            }))
        }
        (PushKind::Withdraw, _) => {
            Subject::Withdrawal(Arc::new(Withdrawal { workspace, kind, event, occurred_at, until: expires_at }))
        }
        (PushKind::Notice, _) => {
            let what = notice.ok_or_else(|| malformed("it says nothing that this worker knows"))?;
            Subject::Notice(Arc::new(Notice { workspace, kind, id: event, what, occurred_at, until: expires_at }))
        }
    };
    let origin = Origin { topic: origin.topic.into(), partition: origin.partition, offset: origin.offset };
    Ok(PushJob {
        kind: push,
        subject,
        user,
        device,
        attempts: job.attempts,
        first_seen,
        origin,
        last_reason: job.last_reason,
        maybe_shown: job.maybe_shown,
        wait_until: job.wait_until.and_then(to_timestamp),
        traceparent: is_traceparent(&job.traceparent).then(|| job.traceparent.into()),
    })
}

/// Appends an outcome's bytes. On the hot path: the fields are written in place, without a message of owned strings between.
pub fn encode_outcome(outcome: &OutcomeRecord<'_>, buffer: &mut Vec<u8>) {
    let ending = match outcome.ending {
        Ending::Accepted => wire::Ending::Accepted,
        Ending::Suppressed(_) => wire::Ending::Suppressed,
        Ending::Expired(_) => wire::Ending::Expired,
        Ending::TokenInvalid(_) => wire::Ending::TokenInvalid,
        Ending::NoDevice => wire::Ending::NoDevice,
        Ending::DeadLettered(_) => wire::Ending::DeadLettered,
    };
    let reason = outcome.ending.reason().map_or("", super::Reason::as_str);
    bytes_field(1, outcome.job.as_bytes(), buffer);
    bytes_field(2, outcome.workspace.as_bytes(), buffer);
    varint_field(3, wire_type(outcome.kind) as u64, buffer);
    bytes_field(4, outcome.event.as_bytes(), buffer);
    bytes_field(5, outcome.user.as_bytes(), buffer);
    bytes_field(6, outcome.device.as_bytes(), buffer);
    varint_field(7, ending as u64, buffer);
    bytes_field(8, reason.as_bytes(), buffer);
    varint_field(9, u64::from(outcome.attempts), buffer);
    varint_field(10, outcome.latency.as_micros() as u64, buffer);
    prost::encoding::message::encode(11, &wire_time(outcome.ended_at), buffer);
    varint_field(12, outcome.workspace_version, buffer);
    varint_field(13, outcome.user_version, buffer);
    varint_field(14, u64::from(outcome.withdrawal), buffer);
    varint_field(15, outcome.notice.map_or(0, |notice| wire_notice(notice) as u64), buffer);
}

fn bytes_field(tag: u32, value: &[u8], buffer: &mut Vec<u8>) {
    if !value.is_empty() {
        prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, buffer);
        prost::encoding::encode_varint(value.len() as u64, buffer);
        buffer.extend_from_slice(value);
    }
}

fn varint_field(tag: u32, value: u64, buffer: &mut Vec<u8>) {
    if value != 0 {
        prost::encoding::encode_key(tag, prost::encoding::WireType::Varint, buffer);
        prost::encoding::encode_varint(value, buffer);
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
