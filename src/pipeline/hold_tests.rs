use std::collections::VecDeque;
use std::time::Duration;

use crate::delivery::{Ending, Reason, codec};
use crate::pipeline::FlowConfig;
use crate::pipeline::bench::{Bench, ended};
use crate::pipeline::fakes::{otp, otp_record, record};
use crate::seam::{Clock as _, Feed, Forward, LeaseState};

/// Somebody with one device of that app, whose pushes the credential is not good for.
fn refused(bench: Bench, name: &str, app: &str) -> Bench {
    let bench = bench.person(name, 1);
    bench.policy.users.lock().unwrap().get_mut(name).unwrap().devices[0].installation.app = app.into();
    bench.provider.refused.lock().unwrap().insert(format!("{name}-d0"));
    bench
}

fn mend(bench: &Bench, name: &str) {
    assert!(bench.provider.refused.lock().unwrap().remove(&format!("{name}-d0")));
}

/// What was forwarded to the hold topic since the last look.
fn held(bench: &Bench) -> Vec<Vec<u8>> {
    let bytes = |forward| match forward {
        Forward::Hold { job, .. } => {
            let mut bytes = Vec::new();
            codec::encode_job(&job, &mut bytes);
            bytes
        }
        other => panic!("{other:?}"),
    };
    bench.forwards().into_iter().map(bytes).collect()
}

/// Plays the hold topic for so long: its records one after the other, what is put back at its end; then its partition is given back. The
/// next offset.
async fn play(bench: &Bench, topic: &mut VecDeque<Vec<u8>>, first_offset: i64, time: Duration) -> i64 {
    let end = bench.clock.now().plus(time);
    let ticking = async {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            bench.clock.advance(Duration::from_millis(10));
            if bench.clock.now() >= end {
                bench.lease.set(LeaseState::Draining);
            }
        }
    };
    let mut offset = first_offset;
    let playing = async {
        while let Some(head) = topic.front() {
            bench.handle(record(Feed::Hold(0), &bench.lease, offset, "u", head.clone())).await;
            offset += 1;
            if bench.lease.abandoned.lock().unwrap().contains(&(offset - 1)) {
                break;
            }
            topic.pop_front();
            topic.extend(held(bench));
        }
    };
    tokio::select! {
        () = playing => {}
        () = ticking => {}
    }
    bench.lease.set(LeaseState::Owned);
    offset
}

/// A held job expires at its deadline and keeps the reason that held it; until then it is probed each interval and no more.
#[tokio::test(start_paused = true)]
async fn expires_with_its_reason() {
    let bench = refused(Bench::new(), "u", "app");
    bench.handle(otp_record(&bench.lease, 0, &otp("a", &["u"]))).await;
    let mut topic = held(&bench).into();
    play(&bench, &mut topic, 1_000, Duration::from_secs(130)).await;
    assert_eq!(bench.endings(), [ended("u", "d0", Ending::Expired(Reason::foreign("BadTopic")))]);
    let probes = bench.tokens().len();
    assert!((10..=13).contains(&probes), "{probes} in two minutes");
}

/// One app of a credential that stays wrong does not keep another's jobs waiting behind it, nor its new ones out; mended, all flow.
#[tokio::test(start_paused = true)]
async fn an_app_that_works_is_not_held_for_another() {
    let mut bench = refused(Bench::new(), "good", "good");
    let wrong: Vec<String> = (0..20).map(|n| format!("wrong{n}")).collect();
    for name in &wrong {
        bench = refused(bench, name, "wrong");
    }
    for (offset, name) in (0..).zip(wrong.iter().map(String::as_str).chain(["good"])) {
        bench.handle(otp_record(&bench.lease, offset, &otp("a", &[name]))).await;
    }
    let mut topic: VecDeque<_> = held(&bench).into();
    assert_eq!(topic.len(), 21, "everything is held while the credential is wrong");
    mend(&bench, "good");
    let interval = FlowConfig::default().probe_interval;
    let offset = play(&bench, &mut topic, 100, interval * 2).await;
    assert_eq!(bench.endings(), [ended("good", "d0", Ending::Accepted)]);
    bench.handle(otp_record(&bench.lease, 50, &otp("b", &["good"]))).await;
    assert_eq!(bench.endings().len(), 2, "a new one is not held");
    wrong.iter().for_each(|name| mend(&bench, name));
    play(&bench, &mut topic, offset, interval * 2).await;
    assert_eq!((topic.len(), bench.endings().len()), (0, 22));
    assert!(bench.endings().iter().all(|(_, _, ending)| *ending == Ending::Accepted));
}

/// A job that alone is refused does not stay the only one that is tried, and a round of the topic is written once an interval.
#[tokio::test(start_paused = true)]
async fn one_bad_job_does_not_block_its_app() {
    let mut bench = refused(Bench::new(), "bad", "app");
    for name in ["u1", "u2", "u3"] {
        bench = refused(bench, name, "app");
    }
    for (offset, name) in (0..).zip(["bad", "u1", "u2", "u3"]) {
        bench.handle(otp_record(&bench.lease, offset, &otp("a", &[name]))).await;
    }
    let mut topic: VecDeque<_> = held(&bench).into();
    let interval = FlowConfig::default().probe_interval;
    let offset = play(&bench, &mut topic, 100, interval * 3).await;
    assert!(offset - 100 <= 4 * 5, "{} records in three intervals", offset - 100);
    ["u1", "u2", "u3"].iter().for_each(|name| mend(&bench, name));
    play(&bench, &mut topic, offset, interval * 4).await;
    let ended: Vec<_> = bench.endings().into_iter().map(|(user, ..)| user).collect();
    assert_eq!(ended.len(), 3, "{ended:?}");
    assert!(!ended.contains(&"bad".to_owned()));
}

/// A worker whose own pushes of an app were refused, and that sends none any more, stops saying so after a while: whether it was mended
/// since is known to the reader of the hold topic, not to everybody.
#[test]
fn an_alert_that_nothing_confirms_ends() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let says = |value: u8| {
        let line = format!("watchbell_credential_misconfigured{{credential=\"apns.main\",app=\"app\"}} {value}\n");
        assert!(recorder.handle().render().contains(&line), "{}", recorder.handle().render());
    };
    let refused = async {
        let bench = refused(Bench::new(), "u", "app");
        bench.handle(otp_record(&bench.lease, 0, &otp("a", &["u"]))).await;
        bench.flow.export();
        says(1);
        bench.clock.advance(Duration::from_secs(300));
        bench.flow.export();
        says(0);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(refused));
}
