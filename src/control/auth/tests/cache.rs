//! When the issuer's keys are fetched, and what holds while they cannot be: on a clock that the test moves.
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, advance};

use super::super::cache::{KeyCache, Pace};
use super::super::config::Algorithm;
use super::super::keys::KeySet;
use super::*;

/// An issuer of which the test says what it answers, and after how long.
#[derive(Clone)]
struct Issuer {
    publishes: Arc<Mutex<Result<Vec<&'static str>, &'static str>>>,
    takes: Arc<Mutex<Duration>>,
    fetches: Arc<AtomicUsize>,
}

impl Issuer {
    fn new(kids: &[&'static str]) -> Self {
        Self { publishes: Arc::new(Mutex::new(Ok(kids.to_vec()))), takes: Arc::default(), fetches: Arc::default() }
    }

    fn publishes(&self, kids: &[&'static str]) {
        *self.publishes.lock().unwrap() = Ok(kids.to_vec());
    }

    fn is_down(&self) {
        *self.publishes.lock().unwrap() = Err("the issuer is down");
    }

    fn takes(&self, time: Duration) {
        *self.takes.lock().unwrap() = time;
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    async fn fetch(self) -> Result<KeySet, String> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        let kids = self.publishes.lock().unwrap().clone()?;
        let keys: Vec<_> = kids.iter().map(|kid| json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": kid})).collect();
        Ok(KeySet::read(json!({ "keys": keys }).to_string().as_bytes(), &[Algorithm::RS256])?)
    }

    /// Keys fetched each 300 s, at most each 10 s, good for 600 s more; a fetch may take 5 s.
    fn cache(&self) -> KeyCache {
        let config = config(json!({
            "jwks_ttl_s": 300, "jwks_refetch_interval_s": 10, "jwks_max_stale_s": 600, "jwks_timeout_ms": 5_000,
        }));
        let issuer = self.clone();
        KeyCache::start(Pace::new(&config), move || issuer.clone().fetch())
    }
}

async fn look(cache: &KeyCache, kid: &str) -> Result<(), Refusal> {
    cache.find(Some(kid), Algorithm::RS256).await.map(drop)
}

async fn seconds(seconds: u64) {
    // In steps, so that each timer fires in its order.
    for _ in 0..seconds {
        advance(Duration::from_secs(1)).await;
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }
}

const DOWN: Result<(), Refusal> = Err(Refusal::KeysUnavailable { retry_after_s: 10 });
const UNKNOWN: Result<(), Refusal> = Err(Refusal::UnknownKey);

#[tokio::test(start_paused = true)]
async fn everybody_waits_for_one_fetch() {
    // At the start, and when a key is missing: a thousand requests, one fetch.
    let issuer = Issuer::new(&["a"]);
    issuer.takes(Duration::from_secs(1));
    let cache = issuer.cache();
    let all = join_all((0..1_000).map(|_| look(&cache, "a"))).await;
    assert_eq!((all.iter().filter(|look| look.is_ok()).count(), issuer.fetches()), (1_000, 1));
    seconds(10).await;
    issuer.publishes(&["a", "b"]);
    let all = join_all((0..1_000).map(|n| look(&cache, if n % 2 == 0 { "b" } else { "unknown" }))).await;
    assert_eq!((all.iter().filter(|look| look.is_ok()).count(), issuer.fetches()), (500, 2));
    assert!(all.iter().all(|look| look.is_ok() || *look == UNKNOWN));
}

#[tokio::test(start_paused = true)]
async fn unknown_names_cannot_make_a_flood() {
    // However often a name is asked for that is not there: one fetch in ten seconds, and no request waits meanwhile.
    let issuer = Issuer::new(&["a"]);
    let cache = issuer.cache();
    assert_eq!(look(&cache, "a").await, Ok(()));
    for _ in 0..50 {
        let began = Instant::now();
        assert_eq!(look(&cache, "unknown").await, UNKNOWN);
        assert_eq!(Instant::now(), began);
        seconds(1).await;
    }
    assert!((5..=6).contains(&issuer.fetches()), "{}", issuer.fetches());
}

#[tokio::test(start_paused = true)]
async fn keys_live_as_long_as_they_are_published() {
    // An old key counts while the new one is there too; withdrawn it is forgotten within the ttl, without anybody asking.
    let issuer = Issuer::new(&["a"]);
    let cache = issuer.cache();
    assert_eq!(look(&cache, "a").await, Ok(()));
    issuer.publishes(&["a", "b"]);
    seconds(11).await;
    assert_eq!((look(&cache, "b").await, look(&cache, "a").await), (Ok(()), Ok(())));
    issuer.publishes(&["b"]);
    seconds(301).await;
    let fetches = issuer.fetches();
    assert_eq!((look(&cache, "b").await, fetches), (Ok(()), 3));
    assert_eq!(look(&cache, "a").await, UNKNOWN);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_is_outlived_for_a_while() {
    // Known keys serve for ttl and stale time; a name that is not there is not called unknown; afterwards nobody is let in; then all is well.
    let issuer = Issuer::new(&["a"]);
    let cache = issuer.cache();
    assert_eq!(look(&cache, "a").await, Ok(()));
    issuer.is_down();
    seconds(850).await;
    assert_eq!((look(&cache, "a").await, cache.trouble()), (Ok(()), None));
    assert_eq!(look(&cache, "b").await, DOWN);
    seconds(60).await;
    assert_eq!(look(&cache, "a").await, DOWN);
    assert_eq!(cache.trouble().as_deref(), Some("the issuer is down"));
    issuer.publishes(&["b"]);
    seconds(11).await;
    assert_eq!((look(&cache, "b").await, cache.trouble()), (Ok(()), None));
    assert_eq!(look(&cache, "a").await, UNKNOWN);
}

#[tokio::test(start_paused = true)]
async fn a_slow_issuer_holds_nobody_up_for_long() {
    // A fetch that does not end is given up; who needs it waits so long at most; who has their key does not wait.
    let issuer = Issuer::new(&["a"]);
    issuer.takes(Duration::from_secs(3_600));
    let cache = issuer.cache();
    let began = Instant::now();
    assert_eq!(look(&cache, "a").await, DOWN);
    assert!(Instant::now() - began <= Duration::from_secs(10));
    assert!(cache.trouble().unwrap().contains("did not come within 5s"));
    issuer.takes(Duration::ZERO);
    seconds(11).await;
    assert_eq!(look(&cache, "a").await, Ok(()));
    issuer.takes(Duration::from_secs(3_600));
    seconds(301).await;
    let began = Instant::now();
    assert_eq!((look(&cache, "a").await, Instant::now()), (Ok(()), began));
}
