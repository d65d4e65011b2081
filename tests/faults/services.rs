//! The controls over services do to them what the fault tests take them to do.
use std::time::Duration;

use crate::support::kafka::{Producer, Reader, create_topics};
use crate::support::services::{Broker, Postgres, Redis};
use crate::support::{SOON, block_on};

#[test]
fn a_broker_killed_and_started_again_has_its_records_and_its_address() {
    // A fault test that loses records because its *broker* forgot them would blame the wrong side.
    let mut broker = Broker::start();
    let address = broker.address();
    create_topics(&address, &[("kept", 1)]);
    let producer = Producer::new(&address);
    producer.send_to("kept", "k", "before");
    producer.flush();

    broker.kill();
    producer.send_to("kept", "k", "while away");
    broker.start_again();
    producer.flush();

    let mut reader = Reader::from_beginning(&address, &["kept"]);
    let payloads: Vec<_> = reader.until_count(2, SOON).iter().map(|r| r.payload.clone().unwrap()).collect();
    assert_eq!(payloads, [b"before".to_vec(), b"while away".to_vec()]);
}

#[test]
fn a_frozen_service_accepts_connections_and_answers_nothing_until_thawed() {
    // Freezing plays the worst fault, the one that no connection error tells: everybody must have a deadline.
    fn ping(redis: &Redis, timeout: Duration) -> redis::RedisResult<String> {
        let mut connection = redis::Client::open(redis.url()).unwrap().get_connection_with_timeout(timeout)?;
        connection.set_read_timeout(Some(timeout))?;
        redis::cmd("PING").query(&mut connection)
    }
    let redis = Redis::start();
    assert_eq!(ping(&redis, SOON).unwrap(), "PONG");
    redis.freeze();
    assert!(ping(&redis, Duration::from_millis(300)).is_err_and(|error| error.is_timeout()));
    redis.thaw();
    assert_eq!(ping(&redis, SOON).unwrap(), "PONG");
}

#[test]
fn a_stopped_postgres_refuses_and_has_its_tables_when_started_again() {
    // The store of record keeps what was committed before it went away.
    async fn answer(url: &str) -> Result<i32, sqlx::Error> {
        use sqlx::{Connection, Row};
        let mut connection = sqlx::PgConnection::connect(url).await?;
        Ok(sqlx::query("SELECT id FROM kept").fetch_one(&mut connection).await?.get(0))
    }
    let mut postgres = Postgres::start();
    let url = postgres.new_database();
    block_on(async {
        use sqlx::{Connection, Executor};
        let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
        connection.execute("CREATE TABLE kept AS SELECT 7 AS id").await.unwrap();
    });
    postgres.kill();
    assert!(block_on(answer(&url)).is_err());
    postgres.start_again();
    assert_eq!(block_on(answer(&url)).unwrap(), 7);
}

#[test]
fn a_secure_broker_lets_in_who_proves_who_they_are_and_nobody_else() {
    // A broker that lets anybody in would prove nothing about our TLS and SASL.
    use rdkafka::config::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer};

    use crate::support::secure::{PASSWORD, SecureBroker, USER};

    let secure = SecureBroker::start(300);
    let answers = |mechanism: &str, password: &str, ca: bool| {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &secure.address)
            .set("security.protocol", "sasl_ssl")
            .set("sasl.mechanism", mechanism)
            .set("sasl.username", USER)
            .set("sasl.password", password);
        if ca {
            config.set("ssl.ca.location", secure.ca_file.to_str().unwrap());
        }
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.fetch_metadata(None, Duration::from_secs(if password == PASSWORD && ca { 30 } else { 2 })).is_ok()
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        assert!(answers(mechanism, PASSWORD, true), "{mechanism} with the right password");
        assert!(!answers(mechanism, "wrong", true), "{mechanism} with a wrong password");
    }
    assert!(!answers("PLAIN", PASSWORD, false), "a certificate of an unknown authority");
}
