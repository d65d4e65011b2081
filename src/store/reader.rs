//! Reads at the store of record, gathered: while all connections are busy, what is asked meanwhile goes into one statement.
//!
//! The point: the load on the store has a bound, with Redis or without, and the more is asked the cheaper each answer gets. A worker that
//! starts with ten thousand records in hand does not send ten thousand statements. Deliberately no waiting for company: a read that finds
//! a free connection goes at once. Fails as the statement does, for all who were in it, or when the store's time-out is over; a row that
//! cannot be read fails those who asked for it.
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::cache::{Caches, Moment};
use super::config::PolicyConfig;
use super::database::Database;
use super::error::unavailable;
use super::read::{Found, Wanted};
use super::unreadable::Told;
use crate::seam::Unavailable;

/// Most keys of one statement; one request may have more. About 100 kB of answer.
const KEYS_MAX: usize = 512;

/// What was found, and the moment before the statement began.
type Answer = Result<(Found, Moment), Unavailable>;

struct Request {
    wanted: Wanted,
    answer: oneshot::Sender<Answer>,
}

/// Reads at the store.
pub(super) struct Reader {
    pub(super) database: Arc<Database>,
    caches: Arc<Caches>,
    waiting: Mutex<VecDeque<Request>>,
    /// One for each statement at once.
    statements: Arc<Semaphore>,
    timeout: Duration,
    unreadable: Told,
}

impl Reader {
    pub(super) fn new(database: Arc<Database>, caches: Arc<Caches>, config: &PolicyConfig) -> Arc<Self> {
        let statements = Arc::new(Semaphore::new(config.store_concurrency as usize));
        let (waiting, timeout, unreadable) = (Mutex::default(), config.store_timeout(), Told::default());
        Arc::new(Self { database, caches, waiting, statements, timeout, unreadable })
    }

    /// Reads what is wanted.
    pub(super) async fn read(self: &Arc<Self>, wanted: Wanted) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(Request { wanted, answer });
        self.serve();
        // As long again as the statement itself may take, for the wait before it.
        match tokio::time::timeout(self.timeout * 2, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => {
                let why = format!("no answer within {} ms", (self.timeout * 2).as_millis());
                Err(Unavailable { what: "policy store", why })
            }
        }
    }

    /// Starts a statement if one may be started. In a task of its own: whoever asked may go, others wait for the same statement.
    fn serve(self: &Arc<Self>) {
        if let Ok(permit) = Arc::clone(&self.statements).try_acquire_owned() {
            tokio::spawn(Arc::clone(self).drain(permit));
        }
    }

    async fn drain(self: Arc<Self>, permit: OwnedSemaphorePermit) {
        loop {
            let batch = self.take();
            if batch.is_empty() {
                break;
            }
            self.run(batch).await;
        }
        drop(permit);
        // A request that came between the last look and the release found no permit.
        if !self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            self.serve();
        }
    }

    fn take(&self) -> Vec<Request> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut batch, mut keys) = (Vec::new(), 0);
        while let Some(request) = waiting.front() {
            let more = request.wanted.len();
            if keys > 0 && keys + more > KEYS_MAX {
                break;
            }
            let Some(request) = waiting.pop_front() else { break };
            if !request.answer.is_closed() {
                keys += more;
                batch.push(request);
            }
        }
        batch
    }

    async fn run(&self, batch: Vec<Request>) {
        let mut all = Wanted::default();
        for request in &batch {
            all.extend(&request.wanted);
        }
        let read_at = self.caches.now();
        let found = self.database.read(&all).await.map_err(|error| unavailable(&error));
        if let Ok(found) = &found {
            found.unreadable().for_each(|row| self.unreadable.tell(row, Instant::now()));
        }
        let mut rest = found;
        for Request { wanted, answer } in batch {
            let own = match &mut rest {
                Ok(found) => Ok((found.split_off_front(&wanted), read_at)),
                Err(error) => Err(error.clone()),
            };
            // Whoever asked may have gone.
            answer.send(own).ok();
        }
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
