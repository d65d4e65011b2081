use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::*;
use crate::notification::Texts;
use crate::pipeline::FlowConfig;
use crate::pipeline::fakes::{FakeClock, FakeForwarder, FakeLease, FakePolicy, FakeProvider, otp, otp_record, user};

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
    let worker = tokio::spawn(run(Batches(receiver), Arc::new(pipeline)));
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
