//! Whom each type reaches: everybody is counted once, under what has to be mended first, however many they are.
use std::time::Instant;

use watchbell::event::NotificationType::{self, IdentityVerification, OtpReceived};
use watchbell::people::enrolment::Unreached;
use watchbell::people::{LifecycleChange, PersonChange, Role};
use watchbell::policy::{Preference, Setting};
use watchbell::store::Policy;

use crate::store_support::{AT, Place, device_of, event, over_both, person, phone, preference, setting, user, ws};

/// People of the large workspace.
const PEOPLE: usize = 100_000;

/// Everybody whom a type does not reach, page by page.
async fn all_unreached(policy: &Policy, kind: NotificationType, only: Option<Unreached>) -> Vec<(String, Unreached)> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = policy.admin().unreached((&ws("acme"), kind), only, after, 3).await.unwrap();
        found.extend(page.into_iter().map(|person| (person.user.as_str().to_owned(), person.why)));
        after = Some(match next {
            Some(next) => next,
            None => return found,
        });
    }
}

over_both! {
    /// One person for each reason, some whom it reaches, and some who are not people of the workspace any more.
    async fn everybody_is_counted_once(policy: Policy, place: &Place) {
        let people = ["denied", "unseen", "receiver", "muted", "reached", "quiet", "gone"];
        for name in people {
            policy.admin().write(&[device_of("acme", name, phone("d", &format!("token-{name}")))]).await.unwrap();
        }
        policy.admin().write(&[device_of("globex", "other", phone("d", "token-other"))]).await.unwrap();
        policy.admin().note_role(&person("acme", "phoneless"), Role::Admin, AT).await.unwrap();
        policy.admin().note_role(&person("acme", "reached"), Role::User, AT).await.unwrap();
        policy.admin().write(&[preference("acme", "muted", OtpReceived, Preference::Off)]).await.unwrap();
        place
            .execute(
                "UPDATE enrolments SET reachable_since = 1, state = 'approver';
                 UPDATE enrolments SET permission = 'denied' WHERE user_id = 'denied';
                 UPDATE enrolments SET reachable_since = NULL WHERE user_id = 'unseen';
                 UPDATE enrolments SET state = 'receive_only' WHERE user_id = 'receiver';
                 UPDATE enrolments SET quiet = 1 WHERE user_id = 'quiet'",
            )
            .await;
        let gone = watchbell::people::Lifecycle { id: event("l"), workspace: ws("acme"), occurred_at: AT, what: LifecycleChange::Person(user("gone"), PersonChange::Removed) };
        policy.admin().lifecycle(&gone, &crate::store_support::admin("root"), AT).await.unwrap();

        let of = |reach: &watchbell::store::Reach, kind: NotificationType| {
            let of = reach.types.iter().find(|of| of.kind == kind).unwrap();
            (of.setting, of.reached, of.unreached)
        };
        let reach = policy.admin().reach(&ws("acme")).await.unwrap();
        assert_eq!(reach.people, 7);
        assert_eq!(of(&reach, OtpReceived), (Setting::Enabled, 2, [1, 1, 1, 0, 2]));
        assert_eq!(of(&reach, IdentityVerification), (Setting::Enabled, 2, [1, 1, 1, 1, 1]));
        let listed = all_unreached(&policy, OtpReceived, None).await;
        let named = |name: &str| listed.iter().find(|(user, _)| user == name).map(|(_, why)| *why);
        assert_eq!(listed.len(), 5);
        assert_eq!(["phoneless", "denied", "unseen", "muted", "quiet", "reached"].map(named), [
            Some(Unreached::NoPhone), Some(Unreached::NotificationsOff), Some(Unreached::NotReachable),
            Some(Unreached::Suppressed), Some(Unreached::Suppressed), None,
        ]);
        let only = all_unreached(&policy, IdentityVerification, Some(Unreached::CannotApprove)).await;
        assert_eq!(only, [("receiver".to_owned(), Unreached::CannotApprove)]);
        let (page, _) = policy.admin().unreached((&ws("acme"), OtpReceived), Some(Unreached::NoPhone), None, 9).await.unwrap();
        assert_eq!((page.len(), page[0].last_seen), (1, None));

        policy.admin().write(&[setting("acme", OtpReceived, Setting::Enforced)]).await.unwrap();
        let reach = policy.admin().reach(&ws("acme")).await.unwrap();
        assert_eq!(of(&reach, OtpReceived), (Setting::Enforced, 4, [1, 1, 1, 0, 0]), "neither muted nor quiet counts");
    }

    /// A hundred thousand people, a thousand at a time; a look for the few who are not reached ends in time, and goes on where it ended.
    async fn a_large_workspace_is_read_in_pages(policy: Policy, place: &Place) {
        let rows = format!("WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {PEOPLE})");
        place
            .execute(&format!(
                "INSERT INTO users (workspace, id, version) {rows} SELECT 'acme', 'u' || i, 1 FROM n;
                 INSERT INTO known_roles (workspace, user_id, role, seen_at) {rows} SELECT 'acme', 'u' || i, 'user', 1 FROM n;
                 INSERT INTO enrolments (workspace, user_id, id, enrolled_at, reachable_since)
                     {rows} SELECT 'acme', 'u' || i, 'd', 1, 1 FROM n WHERE i <> 77777;
                 INSERT INTO devices (workspace, user_id, id, platform, app, environment, token, locale, registered_at, last_seen, version)
                     {rows} SELECT 'acme', 'u' || i, 'd', 'fcm', 'a', 'production', 't' || i, 'en', 1, 1, 1 FROM n WHERE i <> 77777"
            ))
            .await;
        let began = Instant::now();
        let reach = policy.admin().reach(&ws("acme")).await.unwrap();
        eprintln!("the reach of {PEOPLE} people was counted in {:?}", began.elapsed());
        let of = reach.types.iter().find(|of| of.kind == OtpReceived).unwrap();
        assert_eq!((reach.people, of.reached, of.unreached), (PEOPLE as u64, PEOPLE as u64 - 1, [1, 0, 0, 0, 0]));
        let (mut looks, mut after, mut found) = (0, None, Vec::new());
        loop {
            let began = Instant::now();
            let (page, next) = policy.admin().unreached((&ws("acme"), OtpReceived), None, after, 50).await.unwrap();
            if looks == 0 {
                eprintln!("one look took {:?}", began.elapsed());
            }
            found.extend(page);
            looks += 1;
            after = match next {
                Some(next) => Some(next),
                None => break,
            };
        }
        assert_eq!((looks, found.len(), found[0].user.as_str()), (6, 1, "u77777"));
    }
}
