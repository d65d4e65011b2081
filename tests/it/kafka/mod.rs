//! The Kafka adapters against a real broker.
mod admin;
mod forwarder;
pub mod member;
mod rebalance;
mod session;
mod source;
mod tiers;

pub use member::{Member, PROTOCOLS, config, finish, topics};
