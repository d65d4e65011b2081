//! Turns at what costs more than other answers: so many at once, and of these so many of one workspace or one person.
//!
//! The point: what reads much, or for long, is bounded by itself, so that it takes no request's place; and whoever asks for it again and
//! again has their part of the turns and never all of them. Whoever waits does so in the order in which they came, first for a turn of
//! their own.
//!
//! It deliberately counts in this process alone, and waits no longer than it is told. It fails with 503 and `Retry-After`.
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::gate::busy;
use super::problem::Problem;

/// See the module.
pub(super) struct Turns<K> {
    all: Arc<Semaphore>,
    /// Of those who have a turn, or wait for one.
    each: Mutex<HashMap<K, Arc<Semaphore>>>,
    of_one: usize,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _own: OwnedSemaphorePermit,
    _shared: OwnedSemaphorePermit,
}

impl<K: Eq + Hash> Turns<K> {
    /// So many at once, `of_one` of them for one key at most.
    pub(super) fn new(at_once: usize, of_one: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(at_once)), each: Mutex::default(), of_one }
    }

    /// A turn, if there is one within `wait`.
    pub(super) async fn take(&self, key: K, wait: Duration) -> Result<Turn, Problem> {
        let own = self.own(key);
        let turn = async {
            let own = own.acquire_owned().await.ok()?;
            let shared = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Turn { _own: own, _shared: shared })
        };
        tokio::time::timeout(wait, turn).await.ok().flatten().ok_or_else(busy)
    }

    fn own(&self, key: K) -> Arc<Semaphore> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        // Who neither has a turn nor waits is forgotten: there are as many left as there are requests, and few of those are for this.
        each.retain(|_, own| Arc::strong_count(own) > 1);
        Arc::clone(each.entry(key).or_insert_with(|| Arc::new(Semaphore::new(self.of_one))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    #[tokio::test(start_paused = true)]
    async fn nobody_has_all_turns() {
        // Two of three are one's at most; the third is anybody else's, and after it nobody gets one until one is over.
        let turns = Turns::new(3, 2);
        let [first, second] = [turns.take("acme", AT_ONCE).await.unwrap(), turns.take("acme", AT_ONCE).await.unwrap()];
        assert_eq!(turns.take("acme", AT_ONCE).await.unwrap_err().status, 503);
        let third = turns.take("globex", AT_ONCE).await.unwrap();
        assert_eq!(turns.take("initech", AT_ONCE).await.unwrap_err().status, 503);
        let waiting = turns.take("initech", Duration::from_secs(2));
        drop((first, second));
        drop((waiting.await.unwrap(), third));
        assert_eq!(
            turns.take("acme", AT_ONCE).await.map(|_| turns.each.lock().unwrap().len()).unwrap(),
            1,
            "others are forgotten"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_their_own_keeps_nobody_waiting() {
        // However many of one wait, only the one whose turn it is counts among all.
        let turns = Turns::new(2, 1);
        let held = turns.take("acme", AT_ONCE).await.unwrap();
        let mut waiting: Vec<_> = (0..5).map(|_| Box::pin(turns.take("acme", Duration::from_secs(2)))).collect();
        for one in &mut waiting {
            assert!(futures_util::poll!(one).is_pending());
        }
        assert!(turns.take("globex", AT_ONCE).await.is_ok());
        drop(held);
        assert!(waiting.remove(0).await.is_ok());
    }
}
