//! Rows that this version cannot read: written by a newer one, or corrupt.
//!
//! The point: such a row costs its own person (or its own workspace) and nobody else. Whoever asked for it waits, and a line of the log
//! says for whom and why, once a minute for each row for as long as somebody asks. It deliberately guesses nothing: neither a default nor
//! the last known value stands in, because the store was reached and knows better.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::telemetry;
use crate::seam::Unavailable;

/// One row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy of {} cannot be read by this version: {why}", self.whose())]
pub(super) struct Unreadable {
    workspace: Box<str>,
    /// `None` for the workspace's own row.
    user: Option<Box<str>>,
    why: String,
}

/// A row's value, where this version can read it.
pub(super) type Readable<V> = Result<V, Arc<Unreadable>>;

impl Unreadable {
    pub(super) fn new(workspace: &str, user: Option<&str>, why: String) -> Arc<Self> {
        Arc::new(Self { workspace: workspace.into(), user: user.map(Into::into), why })
    }

    /// For the flow, which waits.
    pub(super) fn unavailable(&self) -> Unavailable {
        Unavailable { what: "policy row", why: self.to_string() }
    }

    fn whose(&self) -> String {
        match &self.user {
            Some(user) => format!("user {user} of workspace {}", self.workspace),
            None => format!("workspace {}", self.workspace),
        }
    }
}

/// Between two lines about the same row.
const QUIET: Duration = Duration::from_secs(60);
/// Rows that are told about in that time: more of them are the same mistake, which the metric counts.
const ROWS_MAX: usize = 256;

/// What was told lately.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashMap<Row, Instant>>);

/// Workspace and user.
type Row = (Box<str>, Option<Box<str>>);

impl Told {
    /// Counts the row, and tells people unless they were told lately.
    pub(super) fn tell(&self, row: &Unreadable, now: Instant) {
        telemetry::unreadable(row.user.is_some());
        if self.is_news(row, now) {
            telemetry::unreadable_row(&row.workspace, row.user.as_deref(), &row.why);
        }
    }

    fn is_news(&self, row: &Unreadable, now: Instant) -> bool {
        let lately = |at: &Instant| now.saturating_duration_since(*at) < QUIET;
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (row.workspace.clone(), row.user.clone());
        if told.get(&key).is_some_and(lately) {
            return false;
        }
        if told.len() >= ROWS_MAX {
            told.retain(|_, at| lately(at));
        }
        let news = told.len() < ROWS_MAX;
        if news {
            told.insert(key, now);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row is told about at once, again after a minute, and thousands of them do not fill the log or the memory.
    #[test]
    fn each_row_is_told_about_once_a_minute() {
        let (told, now) = (Told::default(), Instant::now());
        let row = |user: Option<&str>| Unreadable::new("acme", user, "its version: it is below zero".to_owned());
        let at = |user: Option<&str>, s: u64| told.is_news(&row(user), now + Duration::from_secs(s));
        assert_eq!([at(Some("ada"), 0), at(Some("bob"), 0), at(None, 0)], [true; 3]);
        assert_eq!([at(Some("ada"), 59), at(None, 59)], [false; 2]);
        assert_eq!([at(Some("ada"), 60), at(Some("ada"), 61)], [true, false]);
        let news = (0..1_000).filter(|n| at(Some(&format!("user-{n}")), 61)).count();
        assert!((1..=ROWS_MAX).contains(&news) && told.0.lock().unwrap().len() <= ROWS_MAX, "{news}");
    }
}
