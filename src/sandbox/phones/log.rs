//! What phones did, in order: what they showed, what they asked the API, and what it said.
//!
//! No number, nonce, token, key or signed text is ever in it. It keeps the last [`KEPT`] entries of all phones together.
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::Value;

use super::behaviour::Reply;
use crate::sandbox::apns::now_us;

/// Entries that are kept.
const KEPT: usize = 10_000;

/// What a phone did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Did {
    /// It asked the API to know it.
    Registered,
    /// It sent a nonce back that a push had brought.
    Reached,
    /// It asked to be one that may approve.
    Promoted,
    /// It reported anew.
    Refreshed,
    /// It showed a notification.
    Showed,
    /// It took one away, or put a silent entry in its place.
    TookAway,
    /// It fetched a request's detail.
    Read,
    /// It said what it had shown.
    Receipted,
    /// It answered a request.
    Answered,
}

/// One entry.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Its place among all entries since the start, from 0.
    pub sequence: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Which phone.
    pub phone: String,
    /// What.
    pub did: Did,
    /// The rest.
    #[serde(flatten)]
    pub what: What,
}

/// What an entry is about. What does not apply is absent.
#[derive(Debug, Clone, Default, Serialize)]
pub struct What {
    /// The notification's type.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The notification's event.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub event: String,
    /// What stood on the screen.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// What stood below it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// Which buttons it had.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub category: String,
    /// Whether it came without a sound.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub silently: bool,
    /// How it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Reply>,
    /// The API's status; absent where it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What the API said: a request's detail, a state, or why not.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub said: Value,
}

/// All phones' entries.
#[derive(Default)]
pub(super) struct Log(Mutex<(u64, VecDeque<Entry>)>);

impl Log {
    fn entries(&self) -> MutexGuard<'_, (u64, VecDeque<Entry>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, phone: &str, did: Did, what: What) {
        let mut entries = self.entries();
        let (next, kept) = &mut *entries;
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Entry { sequence: *next, at_ms: now_us() / 1_000, phone: phone.to_owned(), did, what });
        *next += 1;
    }

    /// Those from that one on.
    pub(super) fn since(&self, sequence: u64) -> Vec<Entry> {
        self.entries().1.iter().filter(|entry| entry.sequence >= sequence).cloned().collect()
    }

    /// Those of one phone.
    pub(super) fn of(&self, phone: &str) -> Vec<Entry> {
        self.entries().1.iter().filter(|entry| entry.phone == phone).cloned().collect()
    }
}
