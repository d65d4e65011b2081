//! Kafka: records in, forwards out, offsets committed only when all is acknowledged.
//!
//! The point: everything that is particular to Kafka and librdkafka ends here; the flow sees [`crate::seam`]'s traits. One consumer
//! group is one [`source::Source`] with a thread of its own; one [`forwarder::KafkaForwarder`] writes for the whole process; all header
//! names stand in [`headers`], all topic names in [`config`], all property names in [`client`].
//!
//! It deliberately decides nothing about a record: it neither decodes events nor knows policy.
//!
//! It fails by waiting: brokers that are away are waited for, records that they do not take are kept, and nothing is dropped.
pub mod admin;
mod batch;
pub mod client;
mod commits;
pub mod config;
mod delivery;
pub mod follow;
pub mod forwarder;
mod group;
pub mod headers;
mod history;
mod lane;
mod names;
mod oauth;
mod offset_map;
mod offsets;
mod partition;
mod reader;
pub mod source;
mod term;
mod tiers;
mod unread;
