//! What is not on the wire when a partition goes to somebody else is not sent by us, and the balance knows it.
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::bench::Bench;
use super::fakes::{otp, otp_record};
use super::{BalanceSnapshot, InHand};
use crate::seam::LeaseState;

/// Both of the record's jobs were given up, nothing was forwarded, and the record is left to whoever has the partition now.
fn given_up(bench: &Bench, offset: i64) {
    let balance = bench.flow.balance().snapshot();
    assert_eq!((balance.jobs_planned, balance.jobs_fenced, balance.jobs_open()), (2, 2, 0), "{balance:?}");
    assert!(bench.forwards().is_empty() && bench.endings().is_empty());
    assert_eq!(*bench.lease.abandoned.lock().unwrap(), [offset]);
}

/// A lease that is lost between gathering and sending: the provider is not even asked.
#[tokio::test]
async fn invariant_01_fenced_between_gather_and_send() {
    let bench = Bench::new().person("u", 2);
    bench.policy.fences.set(Arc::clone(&bench.lease)).unwrap();
    bench.handle(otp_record(&bench.lease, 4, &otp("e", &["u"]))).await;
    assert!(bench.tokens().is_empty());
    given_up(&bench, 4);
}

/// A lease that is lost while the pushes wait for their turn: they are not sent, nor put into a tier to be tried once more.
#[tokio::test]
async fn invariant_01_fenced_while_a_push_waits() {
    let bench = Bench::gated().person("u", 2);
    let mut hand = InHand::new(otp_record(&bench.lease, 4, &otp("e", &["u"])));
    {
        let mut handled = Box::pin(bench.flow.handle(&mut hand));
        assert!(futures_util::poll!(&mut handled).is_pending());
        bench.lease.set(LeaseState::Fenced);
        bench.provider.gate.as_ref().unwrap().add_permits(2);
        handled.await;
    }
    given_up(&bench, 4);
}

/// A lease that is lost while the store is away: the record is given up whole.
#[tokio::test(start_paused = true)]
async fn invariant_01_fenced_while_the_store_is_away() {
    let bench = Bench::new().person("u", 2);
    bench.policy.away.store(true, SeqCst);
    bench.policy.fences.set(Arc::clone(&bench.lease)).unwrap();
    bench.handle(otp_record(&bench.lease, 4, &otp("e", &["u"]))).await;
    let given_up = BalanceSnapshot { records_read: 1, records_fenced: 1, ..BalanceSnapshot::default() };
    assert_eq!(bench.flow.balance().snapshot(), given_up);
    assert_eq!(*bench.lease.abandoned.lock().unwrap(), [4]);
}
