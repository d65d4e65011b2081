//! TLS and SASL as an operator configures them, against a broker that checks everything.
use std::time::Duration;

use watchbell::event::{NotificationType, wire};
use watchbell::kafka::config::{KafkaConfig, SecurityConfig};
use watchbell::seam::Feed;

use crate::kafka::{Member, config, finish};
use crate::support::eventually;
use crate::support::kafka::{Producer, committed, create_topics};
use crate::support::process::Watchbell;
use crate::support::secure::{CLIENT_ID, CLIENT_SECRET, PASSWORD, SCOPE, SecureBroker, USER};
use crate::support::services::unique;
use crate::support::stage::{Stage, otp};

const OTP: Feed = Feed::Event(NotificationType::OtpReceived);

/// Short enough that a member must renew it within the test, and long enough for librdkafka, which renews at 80 %.
const TOKEN_LIFETIME_S: u64 = 10;

fn by_password(mechanism: &str) -> String {
    format!("sasl_mechanism = \"{mechanism}\"\nusername = {USER:?}\npassword = {PASSWORD:?}\n")
}

fn by_token(secure: &SecureBroker) -> String {
    format!(
        "sasl_mechanism = \"oauthbearer\"\ntoken_url = {:?}\nclient_id = {CLIENT_ID:?}\nclient_secret = {CLIENT_SECRET:?}\n\
         scope = {SCOPE:?}\n",
        secure.token_url
    )
}

/// The keys of section `[kafka.security]`.
fn section(secure: &SecureBroker, security: &str) -> String {
    format!("protocol = \"sasl_ssl\"\nca_file = {:?}\n{security}", secure.ca_file)
}

fn secured(secure: &SecureBroker, security: &str) -> KafkaConfig {
    let security: SecurityConfig = toml::from_str(&section(secure, security)).unwrap();
    KafkaConfig { security, ..config(&secure.address, &unique("group")) }
}

/// Reads, finishes and commits what is produced to a topic of its own.
fn reads_and_commits(secure: &SecureBroker, config: &KafkaConfig) {
    let (topic, plain) = (unique("secured"), secure.broker.address());
    create_topics(&plain, &[(&topic, 1)]);
    let producer = Producer::new(&plain);
    producer.send_to(&topic, "k", "v");
    producer.flush();
    let member = Member::join(config, &[(&topic, OTP, 10)]);
    member.take_count(1).into_iter().for_each(finish);
    eventually("the commit", Duration::from_secs(60), || {
        let committed = committed(&plain, &config.group, &topic);
        (committed.get(&0).map(|(offset, _)| *offset) == Some(1)).then_some(())
    });
    member.leave(Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sasl_mechanism_works_over_tls_and_tokens_are_renewed() {
    // An operator's own cluster asks for TLS and one of four mechanisms; an OAUTHBEARER session outlives its first token.
    let secure = SecureBroker::start(TOKEN_LIFETIME_S);
    for mechanism in ["plain", "scram_sha_256", "scram_sha_512"] {
        reads_and_commits(&secure, &secured(&secure, &by_password(mechanism)));
    }

    let config = secured(&secure, &by_token(&secure));
    let (topic, plain) = (unique("tokens"), secure.broker.address());
    create_topics(&plain, &[(&topic, 1)]);
    let producer = Producer::new(&plain);
    let member = Member::join(&config, &[(&topic, OTP, 1_000)]);
    // A token is renewed after 7 of its 10 seconds and the broker ends a session with its token, so when a fourth is there the sessions
    // of the first two were renewed while records flowed.
    let mut read = 0;
    let mut sent = 0;
    eventually("records under the third token", Duration::from_secs(120), || {
        producer.send_to(&topic, "k", "v");
        sent += 1;
        let taken = member.take();
        read += taken.len();
        taken.into_iter().for_each(finish);
        (secure.tokens_given() >= 4 && read > 0).then_some(())
    });
    producer.flush();
    eventually("the last records", Duration::from_secs(60), || {
        let taken = member.take();
        read += taken.len();
        taken.into_iter().for_each(finish);
        (read == sent).then_some(())
    });
    member.leave(Duration::from_secs(5));
}

#[test]
fn a_worker_runs_under_sasl() {
    // All clients of the process, its producer among them: events in, a push, an outcome out, under a password and under a token.
    let secure = SecureBroker::start(3_600);
    let plain = secure.broker.address();
    let stage = Stage::new(&plain, 1, &["u0".to_owned()]);
    let config = stage
        .config()
        .replace(&format!("bootstrap_servers = {plain:?}"), &format!("bootstrap_servers = {:?}", secure.address));
    assert!(config.contains(&secure.address) && !config.contains(&plain));
    for (jobs, security) in [by_password("scram_sha_512"), by_token(&secure)].iter().enumerate() {
        let section = section(&secure, security);
        let mut worker = Watchbell::worker(&format!("{config}[kafka.security]\n{section}"));
        worker.wait_ready();
        stage.emit(NotificationType::OtpReceived, &otp(&format!("e{jobs}"), &["u0"]));
        let outcomes = stage.wait_outcomes(jobs + 1);
        assert!(outcomes.values().flatten().all(|outcome| outcome.ending() == wire::Ending::Accepted));
        worker.terminate();
        assert!(worker.wait(Duration::from_secs(60)).success());
    }
    assert!(secure.tokens_given() >= 1);
}
