//! One record that the store will never take, or that makes us panic: it holds up nobody.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prost::Message as _;
use secrecy::ExposeSecret as _;
use watchbell::app::{note_outcomes, project_event};
use watchbell::event::NotificationType::IdentityVerification;
use watchbell::event::{Limits, wire};
use watchbell::people::RequestId;
use watchbell::seam::{Feed, Lease, LeaseState, Settlement};
use watchbell::store::{Failure, Policy};

use super::projected::{outcome, read, read_under};
use super::support::sign_in;
use crate::store_support::{AT, Kind, Place, event, over_both, person, until};
use crate::support::services::shared_postgres_database;
use crate::support::{SOON, stage};

/// From now on the store refuses rows of a user `poison` in a table.
async fn refuse_poison(place: &Place, table: &str) {
    let url = place.config.store_url.as_ref().unwrap().expose_secret();
    let sql = if url.starts_with("sqlite") {
        format!(
            "CREATE TRIGGER poison BEFORE INSERT ON {table} WHEN NEW.user_id = 'poison' BEGIN SELECT RAISE(ABORT, 'poison'); END"
        )
    } else {
        format!("ALTER TABLE {table} ADD CONSTRAINT poison CHECK (user_id <> 'poison')")
    };
    place.execute(&sql).await;
}

fn asks(id: &str, users: &[&str], source: &str) -> Vec<u8> {
    let body = wire::IdentityVerificationRequested {
        application: "Pay\0roll".into(),
        location: "Lis\0bon".into(),
        source: source.into(),
        ..Default::default()
    };
    stage::event(id, users, wire::event::Body::IdentityVerificationRequested(body)).encode_to_vec()
}

const LIMITS: Limits = Limits { recipients_max: 500 };

async fn project(policy: &Policy, event: Vec<u8>) {
    let (lease, record) = read(Feed::Event(IdentityVerification), event);
    tokio::time::timeout(SOON, project_event(&policy.requests(), record, LIMITS)).await.expect("it waits for ever");
    assert!(lease.is_finished());
}

async fn is_asked(policy: &Policy, id: &str, user: &str) -> bool {
    let id = RequestId { person: person("acme", user), kind: IdentityVerification, event: event(id) };
    policy.requests().request(&id).await.unwrap().is_some()
}

/// A partition in whose records something of ours panics.
#[derive(Debug, Default)]
struct Panics(AtomicBool);

impl Lease for Panics {
    fn state(&self) -> LeaseState {
        panic!("as it was told to");
    }

    fn topic(&self) -> &Arc<str> {
        static TOPIC: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| "outcomes".into());
        &TOPIC
    }

    fn partition(&self) -> i32 {
        0
    }

    fn finish(&self, _offset: i64) {
        panic!("it is not noted");
    }

    fn abandon(&self, _offset: i64) {
        self.0.store(true, Ordering::Release);
    }

    fn progress(&self, _offset: i64, _next_recipient: u32, _committed: &Arc<Settlement>) {
        panic!("this is no explosion");
    }
}

over_both! {
    /// Whatever upstream writes into an event's texts, U+0000 included, its people are asked.
    async fn any_text_is_taken(policy: Policy) {
        project(&policy, asks("e1", &["ada"], "browser\0one")).await;
        assert!(is_asked(&policy, "e1", "ada").await);
        // It is a source as any other: a newer request of the same one takes its place.
        project(&policy, asks("e2", &["ada"], "browser\0two")).await;
        project(&policy, asks("e3", &["ada"], "browser\0one")).await;
        let pending = policy.requests().pending(&person("acme", "ada"), None, 9, AT).await.unwrap();
        let mut open: Vec<_> = pending.items.iter().map(|request| request.id.event.as_str()).collect();
        open.sort_unstable();
        assert_eq!(open, ["e2", "e3"]);
        let muted = wire::Outcome { reason: "\0muted_by_user".into(), ..outcome("e3", "ada", wire::Ending::Suppressed) };
        let (lease, record) = read(Feed::Outcome, muted.encode_to_vec());
        tokio::time::timeout(SOON, note_outcomes(&policy.requests(), &mut vec![record])).await.expect("it waits for ever");
        assert!(lease.is_finished());
        let recent = policy.requests().recent(&person("acme", "ada"), None, 9).await.unwrap();
        assert!(recent.items.iter().any(|item| item.reason == "muted_by_user"));
    }

    /// What the store says is wrong is passed over; who is asked by the same event is asked, and the next event is projected.
    async fn a_refused_request_holds_up_nobody(policy: Policy, place: &Place) {
        refuse_poison(place, "requests").await;
        let refused = policy.requests().project(&sign_in(&person("acme", "poison"), "e0", AT), AT).await;
        assert!(matches!(refused, Err(Failure::Refused(_))), "{refused:?}");
        project(&policy, asks("e1", &["ada", "poison", "jonas"], "")).await;
        project(&policy, asks("e2", &["poison"], "")).await;
        for (user, expected) in [("ada", true), ("poison", false), ("jonas", true)] {
            assert_eq!(is_asked(&policy, "e1", user).await, expected, "{user}");
        }
        let cancel = wire::event::Body::Cancel(wire::Cancel { event_id: "e3".into() });
        project(&policy, stage::event("c", &["poison", "ada"], cancel).encode_to_vec()).await;
        assert!(is_asked(&policy, "e3", "ada").await, "closed before it came");
    }

    /// Of outcomes that are noted together those are that the store takes.
    async fn a_refused_outcome_holds_up_nobody(policy: Policy, place: &Place) {
        refuse_poison(place, "activity").await;
        let batch = ["ada", "poison", "jonas"].map(|user| outcome("e1", user, wire::Ending::NoDevice));
        let batch = batch.map(|outcome| read(Feed::Outcome, outcome.encode_to_vec()));
        let (leases, mut records): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        tokio::time::timeout(SOON, note_outcomes(&policy.requests(), &mut records)).await.expect("it waits for ever");
        assert!(leases.iter().all(|lease| lease.is_finished()));
        for (user, expected) in [("ada", 1), ("poison", 0), ("jonas", 1)] {
            let recent = policy.requests().recent(&person("acme", user), None, 9).await.unwrap();
            assert_eq!(recent.items.len(), expected, "{user}");
        }
    }

    /// A panic costs the outcome in which it happens; those that are noted with it are noted.
    async fn a_panic_costs_one_outcome(policy: Policy) {
        let bytes = |user: &str| outcome("e1", user, wire::Ending::NoDevice).encode_to_vec();
        let (lease, good) = read(Feed::Outcome, bytes("jonas"));
        let panics = Arc::new(Panics::default());
        let bad = read_under(Arc::clone(&panics) as _, Feed::Outcome, bytes("ada"));
        note_outcomes(&policy.requests(), &mut vec![bad, good]).await;
        assert!(lease.is_finished() && panics.0.load(Ordering::Acquire));
        assert_eq!(policy.requests().recent(&person("acme", "jonas"), None, 9).await.unwrap().items.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgresql_calls_wrong_is_told_from_its_absence() {
    // By its code, and never with its words; a store that is gone is waited for.
    let (_place, policy) = Place::open(Kind::Postgres).await;
    let mut nul = sign_in(&person("acme", "ada"), "e1", AT);
    nul.source = "a\0b".into();
    let refused = policy.requests().project(&nul, AT).await.unwrap_err();
    assert_eq!(refused.to_string(), "the policy store does not take it (22021)");
    policy.close().await;
    let gone = policy.requests().project(&nul, AT).await;
    assert!(matches!(gone, Err(Failure::Unavailable(_))), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_who_waits_keeps_the_others_of_an_event_from_nothing() {
    // Ada's erasure is under way; Jonas, whom the same event asks, is asked meanwhile. (SQLite writes one after the other.)
    use sqlx::Connection as _;
    let url = shared_postgres_database();
    let place = Place::at(url.clone(), tempfile::tempdir().unwrap());
    watchbell::store::migrate(&place.config, false).await.unwrap();
    let policy = watchbell::store::open(&place.config).await.unwrap();
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    let mut erasure = connection.begin().await.unwrap();
    let hold = "SELECT pg_advisory_xact_lock(hashtextextended('acme ada', 0))";
    sqlx::query(hold).execute(&mut *erasure).await.unwrap();
    let (lease, record) = read(Feed::Event(IdentityVerification), asks("e1", &["ada", "jonas"], ""));
    let requests = policy.requests();
    let projecting = tokio::spawn(async move { project_event(&requests, record, LIMITS).await });
    until("Jonas", SOON, async || is_asked(&policy, "e1", "jonas").await.then_some(())).await;
    assert!(!lease.is_finished());
    erasure.rollback().await.unwrap();
    projecting.await.unwrap();
    assert!(lease.is_finished() && is_asked(&policy, "e1", "ada").await);
}
