//! The balance: every record and every job that came in went somewhere.
//!
//! True at every rest: records read = planned + dead-lettered whole + fenced, and jobs planned = ended + forwarded + fenced. (Records
//! that an offset map marks as done never get here; the source counts those as skipped.) While work is in flight the difference is
//! what is in flight.
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of one worker process.
#[derive(Debug, Default)]
pub struct Balance {
    records_read: AtomicU64,
    records_planned: AtomicU64,
    records_dead_lettered: AtomicU64,
    records_fenced: AtomicU64,
    jobs_planned: AtomicU64,
    jobs_ended: AtomicU64,
    jobs_forwarded: AtomicU64,
    jobs_fenced: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct BalanceSnapshot {
    pub records_read: u64,
    pub records_planned: u64,
    pub records_dead_lettered: u64,
    pub records_fenced: u64,
    pub jobs_planned: u64,
    pub jobs_ended: u64,
    pub jobs_forwarded: u64,
    pub jobs_fenced: u64,
}

impl BalanceSnapshot {
    /// Records that were read and are not accounted for: in flight, or lost.
    pub const fn records_open(&self) -> i64 {
        self.records_read as i64 - (self.records_planned + self.records_dead_lettered + self.records_fenced) as i64
    }

    /// Jobs that were planned and are not accounted for: in flight, or lost.
    pub const fn jobs_open(&self) -> i64 {
        self.jobs_planned as i64 - (self.jobs_ended + self.jobs_forwarded + self.jobs_fenced) as i64
    }
}

impl Balance {
    /// The counters now. Exact at a rest; a reading in the middle of work may see a step half done.
    pub fn snapshot(&self) -> BalanceSnapshot {
        BalanceSnapshot {
            records_read: self.records_read.load(Relaxed),
            records_planned: self.records_planned.load(Relaxed),
            records_dead_lettered: self.records_dead_lettered.load(Relaxed),
            records_fenced: self.records_fenced.load(Relaxed),
            jobs_planned: self.jobs_planned.load(Relaxed),
            jobs_ended: self.jobs_ended.load(Relaxed),
            jobs_forwarded: self.jobs_forwarded.load(Relaxed),
            jobs_fenced: self.jobs_fenced.load(Relaxed),
        }
    }

    /// Publishes the counters as metrics; called when somebody looks, so that counting costs one addition.
    pub fn export(&self) {
        let now = self.snapshot();
        let pairs = [
            ("watchbell_records_read_total", now.records_read),
            ("watchbell_records_planned_total", now.records_planned),
            ("watchbell_records_dead_lettered_whole_total", now.records_dead_lettered),
            ("watchbell_records_fenced_total", now.records_fenced),
            ("watchbell_jobs_planned_total", now.jobs_planned),
            ("watchbell_jobs_ended_total", now.jobs_ended),
            ("watchbell_jobs_forwarded_total", now.jobs_forwarded),
            ("watchbell_jobs_fenced_total", now.jobs_fenced),
        ];
        for (name, value) in pairs {
            metrics::counter!(name).absolute(value);
        }
    }

    pub(super) fn record_read(&self) {
        self.records_read.fetch_add(1, Relaxed);
    }

    pub(super) fn record_planned(&self) {
        self.records_planned.fetch_add(1, Relaxed);
    }

    pub(super) fn record_dead_lettered(&self) {
        self.records_dead_lettered.fetch_add(1, Relaxed);
    }

    pub(super) fn record_fenced(&self) {
        self.records_fenced.fetch_add(1, Relaxed);
    }

    pub(super) fn job_planned(&self) {
        self.jobs_planned.fetch_add(1, Relaxed);
    }

    pub(super) fn job_ended(&self) {
        self.jobs_ended.fetch_add(1, Relaxed);
    }

    pub(super) fn job_forwarded(&self) {
        self.jobs_forwarded.fetch_add(1, Relaxed);
    }

    pub(super) fn job_fenced(&self) {
        self.jobs_fenced.fetch_add(1, Relaxed);
    }
}
