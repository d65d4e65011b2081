//! The protobuf types generated from `proto/watchbell/v1`, and the conversions that they and the domain share.
//!
//! Wire types are a promise to others and are kept apart from the domain's: only `event` and the adapters that write Watchbell's own
//! records look in here.
#![allow(missing_docs, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/watchbell.v1.rs"));
