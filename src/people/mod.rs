//! The people's side of the product: roles, what admins change and who hears of it, what each person may switch, what awaits an answer.
//!
//! The point: every rule about people is a pure function of values, shared by the store, which applies it within a transaction, and by
//! the API, which shows it. It deliberately knows no token, no session and no storage; who may call what is the API's to check. What it
//! refuses it refuses by closed enums, each with a sentence that an app can show.
//!
//! Invariant: does no I/O, reads no clock.
mod activity;
mod audit;
pub mod codec;
pub mod codec_event;
pub mod codec_lifecycle;
pub mod codec_outcome;
mod device;
pub mod enrolment;
mod lifecycle;
mod notice;
mod page;
mod preference;
mod request;
mod role;
mod setting;
pub mod signed;

pub use activity::{Activity, Happening, Seen};
pub use audit::{AuditEntry, Audited};
pub use device::{DeviceState, Enrolled, Permission, masked};
pub use lifecycle::{Lifecycle, LifecycleChange, PersonChange};
pub use notice::{
    ALERTED_MAX, ALERTED_SEEN_WITHIN, Disowned, NOTICE_LIFE, News, NoticeEntry, RETIRED_KEY_LIFE, Removal,
};
pub use page::{Cursor, PAGE_MAX, Page, PendingCursor, PersonCursor, Place};
pub(crate) use preference::may_set;
pub use preference::{Effective, PreferenceRefusal, Preferences, SwitchedOff, effective};
pub use request::{
    Answer, AnswerRefusal, ClosedReason, Decision, Ending, Judgement, MatchNumber, NoticeKind, Projection, Request,
    RequestDetail, RequestId, Standing, Verb, WRONG_NUMBERS_MAX, judge,
};
pub use role::{Actor, ActorRole, Role};
pub use setting::{DetailChange, SettingChange, SettingRefusal, SettingState, WorkspaceSettings};

use crate::event::{UserId, WorkspaceId};

/// One person: a user id means nothing without its workspace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Person {
    /// Their workspace.
    pub workspace: WorkspaceId,
    /// Who they are in it.
    pub user: UserId,
}

#[cfg(test)]
mod tests;
