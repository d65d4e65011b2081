//! What is kept for how long, and what is left of somebody who is erased.
use watchbell::event::{DeviceId, NotificationType};
use watchbell::people::codec_outcome::JobEnded;
use watchbell::people::{Activity, Audited, ClosedReason, Happening, Projection, Verb};
use watchbell::policy::{Preference, UserEntry};
use watchbell::seam::{OutboxTopic, PolicySource as _};
use watchbell::store::{
    ACTIVITY_KEPT, AUDIT_KEPT, Announced, ERASED_KEPT, OUTBOX_KEPT, Policy, Projected, REQUESTS_KEPT, migrate, open,
};

use super::support::{Broker, after, answer, enrol_ada, heard, id_of, published, sign_in};
use crate::store_support::{AT, Kind, Place, admin, ask, event, hears, over_both, person, until, user, ws};
use crate::support::SOON;
use crate::support::services::shared_redis;

over_both! {
    /// Of somebody who is erased only ids are left: in the audit trail, and a version by which caches know. Upstream hears the end of what
    /// was open, others keep what is theirs.
    async fn somebody_is_erased(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let (ada, bob, requests) = (person("acme", "ada"), person("acme", "bob"), policy.requests());
        policy.admin().switch(&ada, NotificationType::OtpReceived, Preference::Off, None).await.unwrap();
        policy.admin().switch(&bob, NotificationType::OtpReceived, Preference::Off, None).await.unwrap();
        let [one, two] = ["e1", "e2"].map(|id| sign_in(&ada, id, AT));
        let theirs = sign_in(&bob, "e3", AT);
        for projection in [&one, &two, &theirs] {
            requests.project(projection, AT).await.unwrap();
        }
        requests.decide(&answer(&one, "d1", Verb::Approve, None), AT).await.unwrap();
        let device = DeviceId::new("d1").unwrap();
        requests.seen(&ada, &device, &[(NotificationType::IdentityVerification, one.event.clone())], AT).await.unwrap();

        policy.admin().erase(&ada, &admin("root"), after(9)).await.unwrap();
        let users = ask(&policy, "acme", &["ada", "bob"]).await.unwrap().users;
        assert_eq!((users[0].device_count(), users[0].version()), (0, 3));
        assert_eq!(users[0].preference(NotificationType::OtpReceived), Preference::On);
        assert_eq!(users[1].preference(NotificationType::OtpReceived), Preference::Off);
        assert!(requests.pending(&ada, None, 200, AT).await.unwrap().items.is_empty());
        assert!(requests.recent(&ada, None, 9).await.unwrap().items.is_empty());
        for projection in [&one, &two] {
            assert_eq!(requests.project(projection, AT).await.unwrap(), Projected::Known, "read again, it asks nobody anew");
            assert_eq!(requests.request(&id_of(projection)).await.unwrap().unwrap().detail, None);
        }
        assert_eq!(requests.pending(&bob, None, 200, AT).await.unwrap().items.len(), 1);
        let decisions = published(&policy).await.decisions();
        assert_eq!(heard(&decisions, "e1").split_off(1), ["Approve"]);
        assert_eq!(heard(&decisions, "e2").split_off(1), ["Cancelled"]);
        assert_eq!(heard(&decisions, "e3"), ["asked[]"]);
        let trail = policy.admin().audit_trail(&ws("acme"), None, 9).await.unwrap().items;
        assert_eq!((trail[0].what.clone(), trail[0].at), (Audited::PersonErased { user: user("ada") }, after(9)));
        assert_ne!(users[0], UserEntry::unknown(), "a version from before must lose against it");
        // Nothing else of theirs is in the store, in whatever column.
        let left = place.dump(&["requests", "devices", "enrolments", "user_preferences", "activity", "seen_marks", "audit"]).await;
        for theirs in ["token-d1", "Pixel", "Payroll", "203.0.113.9", "statement-of", "key-of"] {
            assert!(!left.iter().any(|row| row.contains(theirs) && !row.contains("bob")), "{theirs} in {left:#?}");
        }
    }

    /// What Kafka still holds from before an erasure brings nothing back: neither an outcome that is read late nor an event that asks, of
    /// which upstream hears the end. What happens to the same person afterwards is kept as anybody's.
    async fn what_is_read_late_brings_nobody_back(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let (ada, bob, requests) = (person("acme", "ada"), person("acme", "bob"), policy.requests());
        policy.admin().erase(&ada, &admin("root"), after(10)).await.unwrap();
        let ended = |who: &watchbell::people::Person, at| JobEnded {
            activity: Activity {
                person: who.clone(),
                at: after(at),
                what: Happening::Suppressed,
                kind: NotificationType::IdentityVerification,
                event: event("e1"),
                device: None,
                reason: "muted_by_user".into(),
            },
            notice: Some(watchbell::people::NoticeKind::Muted),
        };
        requests.ended(&[ended(&ada, 10), ended(&bob, 10)], after(11)).await.unwrap();
        // By a machine's clock that is two seconds ahead.
        requests.ended(&[ended(&ada, 12)], after(12)).await.unwrap();
        assert!(requests.recent(&ada, None, 9).await.unwrap().items.is_empty());
        assert_eq!(requests.recent(&bob, None, 9).await.unwrap().items.len(), 1);
        let late = sign_in(&ada, "e1", after(5));
        let closed = Projected::Closed(ClosedReason::Cancelled);
        assert_eq!(requests.project(&late, after(12)).await.unwrap(), closed);
        assert_eq!(requests.project(&late, after(13)).await.unwrap(), Projected::Known);
        assert_eq!(requests.request(&id_of(&late)).await.unwrap().unwrap().detail, None);
        assert!(requests.recent(&ada, None, 9).await.unwrap().items.is_empty());
        let rows = place.dump(&["requests", "activity"]).await;
        assert!(!rows.iter().any(|row| row.contains("Payroll") || row.contains("Lisbon")), "{rows:#?}");
        assert_eq!(heard(&published(&policy).await.decisions(), "e1"), ["Cancelled"]);

        // Upstream's clock may be ten minutes ahead, as far as an event may be in the future.
        let ahead = sign_in(&ada, "ahead", after(10 + 600));
        assert_eq!(requests.project(&ahead, after(11)).await.unwrap(), closed);
        let back = sign_in(&ada, "e2", after(11 + 600));
        assert_eq!(requests.project(&back, after(12 + 600)).await.unwrap(), Projected::Open);
        requests.ended(&[ended(&ada, 20)], after(21)).await.unwrap();
        assert_eq!(requests.recent(&ada, None, 9).await.unwrap().items.len(), 1);
        // Erased again, later, and forgotten as such when nothing from before can come any more.
        policy.admin().erase(&ada, &admin("root"), after(30)).await.unwrap();
        assert_eq!(place.dump(&["erased_people"]).await.len(), 1);
        policy.admin().sweep(after(30).plus(ERASED_KEPT)).await.unwrap();
        assert_eq!(place.dump(&["erased_people"]).await.len(), 1);
        policy.admin().sweep(after(30).plus(ERASED_KEPT + std::time::Duration::from_millis(1))).await.unwrap();
        assert!(place.dump(&["erased_people"]).await.is_empty());
    }

    /// Each kind of row is kept for as long as is said and no longer; what is open or not published is kept for ever.
    async fn rows_are_kept_as_long_as_is_said(policy: Policy, place: &Place) {
        enrol_ada(place, &policy).await;
        let (ada, requests, store) = (person("acme", "ada"), policy.requests(), policy.admin());
        let [open, over] = ["open", "over"].map(|id| sign_in(&ada, id, AT));
        requests.project(&open, AT).await.unwrap();
        requests.project(&over, AT).await.unwrap();
        requests.decide(&answer(&over, "d1", Verb::Approve, None), AT).await.unwrap();
        let change = watchbell::people::SettingChange {
            workspace: ws("acme"),
            kind: NotificationType::OtpReceived,
            setting: watchbell::policy::Setting::Enforced,
            expected: None,
            actor: admin("root"),
            at: AT,
        };
        store.set(&change).await.unwrap();
        let ms = std::time::Duration::from_millis(1);
        let exists = async |projection: &Projection| requests.request(&id_of(projection)).await.unwrap().is_some();
        // Three records wait, and nothing goes that was not published.
        assert_eq!(store.sweep(AT.plus(OUTBOX_KEPT + ms)).await.unwrap(), 0);
        policy.outbox().drain(OutboxTopic::Decisions, &Broker::default()).await.unwrap();
        assert_eq!(store.sweep(AT.plus(ACTIVITY_KEPT)).await.unwrap(), 0, "published now, which is later than that");
        assert_eq!(store.sweep(AT.plus(ACTIVITY_KEPT + ms)).await.unwrap(), 1);
        assert_eq!(store.sweep(AT.plus(REQUESTS_KEPT)).await.unwrap(), 0);
        assert!(exists(&over).await);
        assert_eq!(store.sweep(AT.plus(REQUESTS_KEPT + ms)).await.unwrap(), 1);
        assert!(exists(&open).await && !exists(&over).await);
        assert_eq!(store.sweep(AT.plus(AUDIT_KEPT)).await.unwrap(), 0);
        assert_eq!(store.sweep(AT.plus(AUDIT_KEPT + ms)).await.unwrap(), 1);
        let now = watchbell::seam::Clock::now(&watchbell::seam::SystemClock);
        assert_eq!(store.sweep(now.plus(OUTBOX_KEPT + 60_000 * ms)).await.unwrap(), 3, "the three decisions, not the audit record");
        assert_eq!(policy.outbox().backlog(OutboxTopic::Audit, AT).await.unwrap().waiting, 1);
    }
}

/// What Redis holds of `ada` of `acme`, in this store's life.
async fn copy_of_ada(place: &Place) -> Vec<u8> {
    let life = place.dump(&["incarnation"]).await.pop().unwrap();
    let mut redis = redis::Client::open(shared_redis()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("watchbell:*:user:4:acme:ada").query_async(&mut redis).await.unwrap();
    let ours = keys.iter().find(|key| key.split(':').nth(2).is_some_and(|id| life.contains(id))).expect("a copy");
    redis::cmd("GET").arg(ours).query_async(&mut redis).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_reaches_redis_and_every_process() {
    // A worker has somebody in its memory, and Redis has a copy: when the erasure is answered, neither has their tokens any more.
    let mut place = Place::empty(Kind::Postgres);
    place.config.redis_url = Some(shared_redis().into());
    migrate(&place.config, false).await.unwrap();
    let (worker, api) = (open(&place.config).await.unwrap(), open(&place.config).await.unwrap());
    hears(&worker).await;
    hears(&api).await;
    enrol_ada(&place, &api).await;
    assert_eq!(ask(&worker, "acme", &["ada"]).await.unwrap().users[0].device_count(), 3);
    let has_token = |copy: &[u8]| copy.windows(8).any(|bytes| bytes == b"token-d1");
    assert!(has_token(&copy_of_ada(&place).await));

    let erased = api.admin().erase(&person("acme", "ada"), &admin("root"), after(9)).await.unwrap();
    assert_eq!(erased.announced, Announced::Everywhere);
    assert!(!has_token(&copy_of_ada(&place).await));
    until("the worker's memory", SOON, async || {
        ask(&worker, "acme", &["ada"]).await.unwrap();
        let (_, entry) = worker.cached(&ws("acme"), &user("ada"))?;
        (entry.device_count() == 0).then_some(())
    })
    .await;
}
