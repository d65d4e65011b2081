//! The services of the tests are what the tests take them for.
use std::time::Duration;

use crate::support::kafka::{Producer, Reader, committed, create_topics};
use crate::support::services::{shared_kafka, shared_postgres_database, shared_redis, unique};
use crate::support::{SOON, block_on};

#[test]
fn a_record_comes_back_from_the_shared_kafka_as_it_went_in() {
    // What the tests produce and read is byte for byte what a broker keeps: key, payload, headers.
    let (kafka, topic) = (shared_kafka(), unique("round-trip"));
    create_topics(&kafka, &[(&topic, 3)]);
    let producer = Producer::new(&kafka);
    let sent = crate::support::kafka::Record {
        topic: topic.clone(),
        key: Some(b"user-1".to_vec()),
        payload: Some(vec![0, 159, 255]),
        headers: vec![("kind".into(), b"record".to_vec())],
        ..Default::default()
    };
    producer.send(&sent);
    producer.flush();

    let mut reader = Reader::from_beginning(&kafka, &[&topic]);
    let read = reader.until_count(1, SOON)[0].clone();
    assert_eq!(read.header("kind").as_deref(), Some("record"));
    assert_eq!((read.key, read.payload, read.headers), (sent.key, sent.payload, sent.headers));
    assert_eq!(reader.up_to_the_end().len(), 1);
    assert!(committed(&kafka, "nobody", &topic).is_empty());
}

#[test]
fn each_test_has_a_database_of_its_own() {
    // Two databases handed out by the shared PostgreSQL do not see each other's tables.
    block_on(async {
        use sqlx::{Connection, Executor};
        let (one, two) = (shared_postgres_database(), shared_postgres_database());
        let mut one = sqlx::PgConnection::connect(&one).await.unwrap();
        let mut two = sqlx::PgConnection::connect(&two).await.unwrap();
        one.execute("CREATE TABLE mine (id int)").await.unwrap();
        two.execute("CREATE TABLE mine (id int)").await.unwrap();
    });
}

#[test]
fn the_shared_redis_speaks_resp3_with_client_tracking() {
    // The coherence of the policy cache stands on RESP3 client tracking: a Redis without it proves nothing.
    let client = redis::Client::open(shared_redis()).unwrap();
    let mut connection = client.get_connection_with_timeout(Duration::from_secs(10)).unwrap();
    let hello: redis::Value = redis::cmd("HELLO").arg(3).query(&mut connection).unwrap();
    assert!(matches!(hello, redis::Value::Map(_)), "HELLO 3 is answered by a RESP3 map");
    let tracking: String = redis::cmd("CLIENT").arg("TRACKING").arg("ON").query(&mut connection).unwrap();
    assert_eq!(tracking, "OK");
}
