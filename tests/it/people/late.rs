//! What became of people is read long after it happened: it concerns what began before it.
use std::collections::BTreeSet;

use watchbell::event::Timestamp;
use watchbell::people::{Actor, ActorRole, Lifecycle, LifecycleChange, Person, PersonChange, Role};
use watchbell::store::{Applied, Policy};

use super::notices::told;
use super::phones::{Phone, approver};
use super::support::{after, heard, published, sign_in};
use crate::store_support::{ask, device_of, event, over_both, person, phone, user, ws};

/// It happened an hour after `AT`.
const HAPPENED: u64 = 3_600;
/// As far as upstream's clock is believed, in seconds.
const BELIEVED: u64 = 600;

/// What became of Ada is read in that second.
async fn read(policy: &Policy, what: PersonChange, second: u64) -> Applied {
    let id = format!("read-at-{second}");
    let (occurred_at, what) = (after(HAPPENED), LifecycleChange::Person(user("ada"), what));
    let told = Lifecycle { id: event(&id), workspace: ws("acme"), occurred_at, what };
    let upstream = Actor { id: user(&id), role: ActorRole::Upstream };
    policy.admin().lifecycle(&told, &upstream, after(second)).await.unwrap()
}

/// A phone that a session enrolled which began in that second.
async fn enrolled(policy: &Policy, ada: &Person, token: &str, session: u64, second: u64) -> Phone {
    let mut phone = Phone::new(token);
    let registered = phone.register_by(policy, ada, after(session), None, after(second)).await.unwrap();
    phone.reach(policy, ada, &registered.reach.unwrap(), after(second)).await;
    phone
}

/// The phones that answer.
async fn left(policy: &Policy, ada: &Person) -> BTreeSet<String> {
    policy.devices().list(ada).await.unwrap().1.iter().map(|device| device.id.as_str().to_owned()).collect()
}

/// From when on Ada's sessions count.
async fn not_before(policy: &Policy) -> Option<Timestamp> {
    policy.admin().remembered(&user("ada"), &[&ws("acme")]).await.unwrap()[0].not_before
}

fn named<const N: usize>(phones: [&Phone; N]) -> BTreeSet<String> {
    phones.into_iter().map(|phone| phone.id().as_str().to_owned()).collect()
}

over_both! {
    /// Ada left, came back the next day, and only then is it read that she left: what she has since stays. What she had before goes, and what
    /// she enrolled with a session from before after she had left.
    async fn somebody_is_hired_again(policy: Policy) {
        let ada = person("acme", "ada");
        approver(&policy, &ada, "token-1").await;
        enrolled(&policy, &ada, "token-2", HAPPENED - 1, HAPPENED + 2 * BELIEVED).await;
        let day = 24 * 3_600;
        let back = enrolled(&policy, &ada, "token-3", day, day).await;
        policy.admin().note_role(&ada, Role::Admin, after(day)).await.unwrap();
        for (id, second) in [("before", HAPPENED - 1), ("since", day)] {
            let mut asks = sign_in(&ada, id, after(second));
            asks.expires_at = after(3 * day);
            policy.requests().project(&asks, after(second)).await.unwrap();
        }
        let applied = read(&policy, PersonChange::Removed, day + 60).await;
        assert_eq!((applied.devices, applied.closed, applied.told), (2, 1, None));
        assert_eq!(left(&policy, &ada).await, named([&back]));
        assert_eq!(ask(&policy, "acme", &["ada"]).await.unwrap().users[0].device_count(), 1, "it rings");
        assert_eq!(policy.admin().known_role(&ada).await.unwrap(), Some(Role::Admin));
        assert_eq!(not_before(&policy).await, Some(after(HAPPENED + BELIEVED)));
        let decisions = published(&policy).await.decisions();
        assert_eq!((heard(&decisions, "before").len(), heard(&decisions, "since").len()), (2, 1));
    }

    /// Sessions were revoked, and Ada signed in again: that session stays, and the phone that it enrolled. What nobody knows
    /// the session of goes.
    async fn somebody_signed_in_again(policy: Policy) {
        let ada = person("acme", "ada");
        policy.admin().write(&[device_of("acme", "ada", phone("imported", "token-0"))]).await.unwrap();
        let first = approver(&policy, &ada, "token-1").await;
        let since = HAPPENED + BELIEVED;
        let back = enrolled(&policy, &ada, "token-2", since, since).await;
        told(&policy).await;
        let applied = read(&policy, PersonChange::SessionsRevoked, since + 1).await;
        let phones: BTreeSet<_> = applied.told.unwrap().phones.iter().map(|phone| phone.device.as_str().to_owned()).collect();
        assert_eq!(phones, BTreeSet::from([first.id().as_str().to_owned(), "imported".to_owned()]));
        assert_eq!(told(&policy).await, BTreeSet::new(), "what stays was not reset");
        assert_eq!((left(&policy, &ada).await, not_before(&policy).await), (named([&back]), Some(after(since))));
    }

    /// In time, and by a clock that is ahead, it concerns whatever is there.
    async fn in_time_everything_goes(policy: Policy) {
        let ada = person("acme", "ada");
        for (n, second) in [HAPPENED - BELIEVED, HAPPENED + BELIEVED].into_iter().enumerate() {
            enrolled(&policy, &ada, &format!("token-{n}"), second, second).await;
            policy.admin().note_role(&ada, Role::Admin, after(second + 5)).await.unwrap();
            let asks = sign_in(&ada, &format!("e{n}"), after(second + 5));
            policy.requests().project(&asks, after(second)).await.unwrap();
            let applied = read(&policy, PersonChange::Removed, second).await;
            assert_eq!((applied.devices, applied.closed), (1, 1));
            assert_eq!((left(&policy, &ada).await, not_before(&policy).await), (BTreeSet::new(), Some(after(second))));
            assert_eq!(policy.admin().known_role(&ada).await.unwrap(), None);
        }
    }
}
