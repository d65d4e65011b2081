//! The people's side of the store, over both databases: settings and their trail, preferences, the outbox, requests, devices.
mod devices;
mod erased_keys;
mod erasure;
mod lifecycle;
mod not_me;
mod notices;
mod outbox;
pub mod phones;
mod preferences;
mod projected;
mod races;
mod reach;
mod requests;
mod seen;
mod sessions;
mod settings;
mod stories;
pub mod support;
