//! Watchbell delivers security events from Kafka to the phones where people act on them.
//!
//! Layers, each of which knows only those above it in this list (a test enforces it):
//!
//! - domain, pure: [`event`], [`policy`], [`people`], [`notification`], [`delivery`]; the traits in [`seam`]
//! - adapters, which never import each other: [`provider`], [`kafka`], [`store`], [`telemetry`]
//! - flow, which knows traits only: [`pipeline`], [`worker`]
//! - edge: [`control`], [`sandbox`], [`command`], [`config`], [`app`]
mod allowance;
pub mod app;
pub mod command;
pub mod config;
pub mod control;
pub mod delivery;
pub mod event;
pub mod kafka;
pub mod notification;
pub mod people;
pub mod pipeline;
pub mod policy;
pub mod provider;
pub mod sandbox;
pub mod seam;
pub mod settings;
pub mod store;
pub mod telemetry;
pub mod worker;
