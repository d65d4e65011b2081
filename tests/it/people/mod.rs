//! The people's side of the store, over both databases: settings and their trail, preferences, the outbox, requests.
mod erasure;
mod outbox;
mod preferences;
mod races;
mod requests;
mod settings;
pub mod support;
