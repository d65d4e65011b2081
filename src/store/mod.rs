//! The policy store: workspaces' settings, people's preferences and devices, and which events were withdrawn.
//!
//! PostgreSQL or SQLite is the truth; Redis, if there is one, stands in front of it, and a cache in this process in front of
//! that. The point is freshness with a bound that can be stated: a copy is used for at most one TTL, counted from its read at the store,
//! and changes reach the caches within milliseconds.
//! Deliberately not here: the rule that decides (`policy`), and who may write what.
//!
//! It fails as [`crate::seam::Unavailable`]: while nothing can be reached, the last known values serve up to `policy.max_stale_s`, and
//! after that the caller waits. Whoever asks for a row that this version cannot read waits too. It never guesses, and never drops.
mod admin;
mod cache;
pub mod config;
mod database;
mod devices;
mod erasure;
mod error;
mod export;
pub mod import;
mod lifecycle;
mod notices;
mod outbox;
mod people;
mod policy;
mod preferences;
mod reach;
mod read;
mod reader;
mod redis;
mod requests;
mod retention;
mod roles;
mod round;
mod schema;
mod self_test;
mod settings;
mod telemetry;
mod trail;
mod unreadable;
mod work;
mod write;

pub use admin::{Admin, Announced};
pub use config::PolicyConfig;
pub use devices::{
    Devices, Digits, Issued, Keyed, PromotedBy, Promotion, Reached, Registered, Removed, Reported, Reset, Silenced,
    ToReach,
};
pub use erasure::Erased;
pub use error::{Failure, OpenError, Unfit, WriteError};
pub use export::{Chosen, EnoughExports, KeptDevice, KeptTest, SeenMark};
pub use lifecycle::{Applied, Told};
pub use notices::{NotMe, Notices};
pub use outbox::{BACKLOG_COUNTED_MAX, Backlog, Outbox, OutboxId};
pub use people::KnownPerson;
pub use policy::{Policy, open, open_with};
pub use reach::{Reach, ReachOfType, UnreachedPerson};
pub use requests::{Answered, MARKS_MAX, Marked, Projected, Requests, Taken};
pub use retention::{
    ACTIVITY_KEPT, AUDIT_KEPT, ENDED_SESSIONS_KEPT, ERASED_KEPT, IDEMPOTENCY_KEPT, LIFECYCLE_KEPT, NOTICES_KEPT,
    OUTBOX_KEPT, REQUESTS_KEPT, RETIRED_KEPT, SEEN_KEPT, SINGLE_USE_KEPT,
};
pub use roles::Remembered;
pub use schema::{Migrated, migrate};
pub use self_test::{EnoughTests, SelfTest, TestStage};
pub use settings::InForce;
pub use trail::Only;
pub use write::{APP_BYTES_MAX, Change, DEVICES_MAX, DISPLAY_NAME_BYTES_MAX, LOCALE_BYTES_MAX, TOKEN_BYTES_MAX};
