//! The API as its callers meet it: over HTTP, signed in at the sandbox's issuer, on both databases.
//!
//! Every answer that any of these tests gets is held against the API's own description: its status, its problem, its shape.
mod asked;
mod changes;
mod conditions;
mod console;
mod described;
mod export;
mod guard;
mod lifecycle;
mod limits;
mod notices;
mod pages;
mod phones;
mod process;
mod projector;
mod reach;
mod requests;
mod roles;
mod self_test;
mod sessions;
mod stories;
mod strangers;
mod support;
mod told;
mod whole;
