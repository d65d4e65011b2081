use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::*;
use crate::notification::Texts;
use crate::pipeline::FlowConfig;
use crate::pipeline::fakes::{FakeClock, FakeForwarder, FakeLease, FakePolicy, FakeProvider, otp, otp_record, user};
use crate::telemetry::captured::Captured;

/// Records from memory.
struct Batches(mpsc::UnboundedReceiver<Vec<Record>>);

impl RecordSource for Batches {
    async fn receive(&mut self) -> Option<Vec<Record>> {
        self.0.recv().await
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("it did not come true in time");
}

/// A key's next record begins only after the one before it was answered; other keys do not wait for it.
#[tokio::test]
async fn order_by_key() {
    let (policy, forwarder) = <(Arc<FakePolicy>, Arc<FakeForwarder>)>::default();
    let provider = Arc::new(FakeProvider { gate: Some(Semaphore::new(0)), ..FakeProvider::default() });
    for name in ["a", "b"] {
        policy.users.lock().unwrap().insert(name.into(), user(name, 1));
    }
    let texts = Texts::load().unwrap();
    let config = FlowConfig::default();
    let pipeline = Pipeline::new(policy, Arc::clone(&provider), forwarder, FakeClock::new(), texts, config);
    let (sender, receiver) = mpsc::unbounded_channel();
    let worker = tokio::spawn(run(Batches(receiver), Arc::new(pipeline), Arc::default()));
    let lease = FakeLease::new("otp-received");
    let batch = [("1", "a"), ("2", "a"), ("3", "b"), ("4", "a")];
    let batch = batch.iter().enumerate().map(|(n, (id, key))| otp_record(&lease, n as i64, &otp(id, &[key])));
    sender.send(batch.collect()).unwrap();
    let pushed = || provider.pushed.lock().unwrap().iter().map(|push| push.token.clone()).collect::<Vec<_>>();
    until(|| pushed().len() == 2).await;
    assert_eq!(pushed(), ["a-d0", "b-d0"], "the first of each key");
    let gate = provider.gate.as_ref().unwrap();
    gate.add_permits(2);
    until(|| pushed().len() == 3).await;
    assert_eq!(lease.finished.lock().unwrap().len(), 2);
    gate.add_permits(2);
    drop(sender);
    worker.await.unwrap();
    assert_eq!(pushed(), ["a-d0", "b-d0", "a-d0", "a-d0"]);
    let finished = lease.finished.lock().unwrap().clone();
    let order: Vec<_> = finished.iter().filter(|offset| **offset != 2).collect();
    assert_eq!(order, [&0, &1, &3]);
}

/// A record that cannot even be dead-lettered is given up; the next one of its key goes on.
#[tokio::test]
async fn a_panic_beyond_the_dead_letters_costs_no_lane() {
    let (policy, forwarder) = <(Arc<FakePolicy>, Arc<FakeForwarder>)>::default();
    policy.users.lock().unwrap().insert("a".into(), user("a", 1));
    policy.panics.store(1, std::sync::atomic::Ordering::SeqCst);
    forwarder.panics_at.lock().unwrap().push(0);
    let (provider, config) = (Arc::new(FakeProvider::default()), FlowConfig::default());
    let texts = Texts::load().unwrap();
    let pipeline = Pipeline::new(policy, Arc::clone(&provider), forwarder, FakeClock::new(), texts, config);
    let (sender, receiver) = mpsc::unbounded_channel();
    let lease = FakeLease::new("otp-received");
    sender.send(vec![otp_record(&lease, 0, &otp("1", &["a"])), otp_record(&lease, 1, &otp("2", &["a"]))]).unwrap();
    drop(sender);
    run(Batches(receiver), Arc::new(pipeline), Arc::default()).await;
    assert_eq!((&*lease.abandoned.lock().unwrap(), &*lease.finished.lock().unwrap()), (&vec![0], &vec![1]));
    assert_eq!(provider.pushed.lock().unwrap().len(), 1);
}

/// A key with many records is seen while they wait: by their number, and in one line of the log that says where they are and not whose.
#[tokio::test]
async fn a_hot_key_is_seen() {
    let (lanes, lease, captured) = (Lanes::default(), FakeLease::new("otp-received"), Captured::begin());
    let enter = |offset: i64, user: &str| {
        let record = otp_record(&lease, offset, &otp("e", &[user]));
        let key = lanes.key(&record).unwrap();
        (key, lanes.enter(key, record).is_some())
    };
    let otps = || lanes.longest()[NotificationType::OtpReceived.index()];
    let told = || captured.lines_with(&["many records of one key"]);
    enter(0, "quiet-user");
    let (hot, first) = enter(1, "hot-user");
    assert!(first && otps() == 0);
    for offset in 2..65 {
        assert_eq!(enter(offset, "hot-user"), (hot, false));
    }
    assert_eq!((otps(), told()), (63, vec![]));
    enter(65, "quiet-user");
    for offset in 66..200 {
        enter(offset, "hot-user");
    }
    assert_eq!((otps(), lanes.longest().iter().sum::<usize>()), (197, 197), "no other type has any");
    let told = told();
    let [line] = &told[..] else { panic!("{told:?}") };
    for part in ["WARN", "topic=otp-received", "partition=0", "offset=66", "otp_received", "waiting=64"] {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
    assert!(!line.contains("hot-user"), "{line}");
    while lanes.next(hot).is_some() {}
    assert_eq!(otps(), 1, "the longest of what is left");
}
