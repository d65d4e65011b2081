//! The start of a worker whose Kafka does not answer.
use std::time::Duration;

use crate::support::process::Watchbell;
use crate::support::services::{free_port, shared_kafka};
use crate::support::stage::{CEILING, Stage};
use crate::support::{SOON, eventually};

/// While the start waits for Kafka the process lives and says what it waits for, and a SIGTERM ends it without waiting any longer.
#[test]
fn a_start_that_waits_answers_and_ends() {
    let stage = Stage::new(&shared_kafka(), 1, &[]);
    let nobody = format!("127.0.0.1:{}", free_port());
    let mut worker = Watchbell::worker(&stage.config().replace(&stage.bootstrap, &nobody));
    let reason = eventually("an answer", SOON, || {
        assert_eq!(worker.get("/livez")?.0, 200);
        let (status, reason) = worker.get("/readyz")?;
        assert_eq!(status, 503);
        reason.contains("asking Kafka").then_some(reason)
    });
    assert!(reason.contains(&nobody), "{reason}");
    assert!(worker.get("/metrics").is_some_and(|(status, _)| status == 200));
    worker.terminate();
    // The question to Kafka would take half a minute.
    assert!(worker.wait(Duration::from_secs(15)).success(), "{}", worker.log());
    // The same configuration with the right address is ready.
    let mut worker = stage.worker();
    worker.terminate();
    assert!(worker.wait(CEILING).success(), "{}", worker.log());
}
