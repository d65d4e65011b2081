//! The people of a workspace, page by page, and the trail by person and by action.
use watchbell::event::NotificationType::{self, OtpReceived};
use watchbell::people::{Audited, DetailChange, PersonCursor, Role, SettingChange, SettingRefusal};
use watchbell::policy::{Detail, Preference, Setting};
use watchbell::seam::OutboxTopic;
use watchbell::store::{Announced, Failure, InForce, KnownPerson, Only, Policy};

use super::support::{after, published};
use crate::store_support::{AT, Place, admin, ask, device_of, over_both, person, phone, preference, setting, user, ws};

async fn page(
    policy: &Policy,
    starts_with: &str,
    after: Option<&PersonCursor>,
    limit: usize,
) -> (Vec<String>, Option<PersonCursor>) {
    let page = policy.admin().people(&ws("acme"), starts_with, after, limit).await.unwrap();
    (page.items.into_iter().map(|known| known.user.as_str().to_owned()).collect(), page.next)
}

/// Everybody, some at a time, each cursor as it comes back from who asks.
async fn all(policy: &Policy, starts_with: &str, limit: usize) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (people, next) = page(policy, starts_with, after.as_ref(), limit).await;
        assert!(people.len() <= limit);
        found.extend(people);
        after = match next {
            Some(next) => PersonCursor::parse(&next.to_text()),
            None => return found,
        };
    }
}

fn detail(detail: Detail, expected: Option<u64>) -> DetailChange {
    DetailChange { workspace: ws("acme"), detail, expected, actor: admin("ada"), at: AT }
}

over_both! {
    /// Who signed in, has a device, or chose something, each once, in the order of their ids' bytes, with what is known of them.
    async fn people_are_listed(policy: Policy, place: &Place) {
        let write = policy.admin();
        for name in ["Zoe", "ada", "auth0|b", "auth0|a+c%_", "~last", "gone"] {
            write.write(&[device_of("acme", name, phone("d1", &format!("token-{name}")))]).await.unwrap();
        }
        write.write(&[device_of("acme", "ada", phone("d2", "token-2")), device_of("globex", "other", phone("d", "t"))]).await.unwrap();
        write.write(&[preference("acme", "chooser", OtpReceived, Preference::Off)]).await.unwrap();
        write.note_role(&person("acme", "ada"), Role::Admin, AT).await.unwrap();
        write.note_role(&person("acme", "signed-in"), Role::User, after(5)).await.unwrap();
        place
            .execute(
                "UPDATE enrolments SET state = 'approver' WHERE user_id = 'ada' AND id = 'd2';
                 UPDATE devices SET last_seen = 7 WHERE user_id = 'ada';
                 UPDATE devices SET last_seen = 9 WHERE user_id = 'ada' AND id = 'd1';
                 UPDATE enrolments SET retired_at = 1 WHERE user_id = 'gone'",
            )
            .await;
        let everybody = ["Zoe", "ada", "auth0|a+c%_", "auth0|b", "chooser", "signed-in", "~last"];
        for limit in [1, 2, 3, 7, 200] {
            assert_eq!(all(&policy, "", limit).await, everybody, "{limit}");
        }
        for (starts_with, expected) in [
            ("a", &["ada", "auth0|a+c%_", "auth0|b"][..]),
            ("auth0|", &["auth0|a+c%_", "auth0|b"]),
            ("auth0|a+c%_", &["auth0|a+c%_"]),
            ("A", &[]),
            ("%", &[]),
            ("_", &[]),
            ("~", &["~last"]),
        ] {
            assert_eq!(all(&policy, starts_with, 1).await, expected, "{starts_with}");
        }
        let listed = write.people(&ws("acme"), "", None, 200).await.unwrap().items;
        let of = |name: &str| listed.iter().find(|known| known.user.as_str() == name).cloned().unwrap();
        let ada = KnownPerson {
            user: user("ada"), role: Some((Role::Admin, AT)), phones: 2, approvers: 1,
            last_seen: Some(watchbell::event::Timestamp(9)),
        };
        assert_eq!(of("ada"), ada);
        assert_eq!(of("chooser"), KnownPerson { user: user("chooser"), role: None, phones: 0, approvers: 0, last_seen: None });
        assert_eq!(of("signed-in").role, Some((Role::User, after(5))));
        assert!(write.people(&ws("nowhere"), "", None, 9).await.unwrap().items.is_empty());
    }

    /// Names of those workspaces that have one.
    async fn workspaces_have_names(policy: Policy) {
        let (workspace, display_name) = (ws("acme"), "Acme Ltd".to_owned());
        let named = watchbell::store::Change::Workspace { workspace, display_name, detail: Detail::Minimal };
        policy.admin().write(&[named, setting("globex", OtpReceived, Setting::Enforced)]).await.unwrap();
        let found = policy.admin().display_names(&[&ws("acme"), &ws("globex"), &ws("nowhere")]).await.unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("acme".to_owned(), "Acme Ltd".to_owned())]);
        assert!(policy.admin().display_names(&[]).await.unwrap().is_empty());
    }

    /// How much pushes say: in force at once, versioned with the settings, audited and told; what is so already writes nothing.
    async fn detail_is_a_setting(policy: Policy) {
        let write = policy.admin();
        assert_eq!(write.set_detail(&detail(Detail::Minimal, Some(0))).await.unwrap(), InForce { version: 0, announced: None });
        let made = write.set_detail(&detail(Detail::Full, Some(0))).await.unwrap();
        assert_eq!(made, InForce { version: 1, announced: Some(Announced::Everywhere) });
        assert_eq!(ask(&policy, "acme", &[]).await.unwrap().workspace.detail, Detail::Full);
        let stale = write.set_detail(&detail(Detail::Minimal, Some(0))).await;
        assert_eq!(stale, Err(Failure::Refused(SettingRefusal::Stale { current: 1 })));
        let now = write.settings(&ws("acme")).await.unwrap();
        assert_eq!((now.version, now.detail), (1, Detail::Full));
        let trail = write.audit_trail(&ws("acme"), None, 9).await.unwrap().items;
        assert_eq!((trail.len(), &trail[0].what), (1, &Audited::DetailChanged { from: Detail::Minimal, to: Detail::Full }));
        let told = published(&policy).await.log();
        assert_eq!((told.len(), told[0].topic), (1, OutboxTopic::Audit));
    }

    /// The trail of one person is what they did and what was done to them, each entry once; of one action that; of both both.
    async fn the_trail_is_read_by_person_and_action(policy: Policy) {
        let write = policy.admin();
        let change = |setting, actor: &str, n| SettingChange {
            workspace: ws("acme"), kind: OtpReceived, setting, expected: None, actor: admin(actor), at: after(n),
        };
        write.set(&change(Setting::Enforced, "ada", 1)).await.unwrap();
        write.set(&change(Setting::Disabled, "bob", 2)).await.unwrap();
        for (whom, by) in [("bob", "ada"), ("ada", "ada"), ("eve", "bob")] {
            write.erase(&person("acme", whom), &admin(by), after(3)).await.unwrap();
        }
        write.set_detail(&detail(Detail::Full, None)).await.unwrap();
        let read = async |whom: Option<&str>, action: Option<&'static str>, limit: usize| {
            let (only, mut before, mut found) = (Only { user: whom.map(user), action }, None, Vec::new());
            loop {
                let page = policy.admin().audit_of(&ws("acme"), &only, before, limit).await.unwrap();
                found.extend(page.items.iter().map(|entry| {
                    let whom = entry.what.target().map_or("", |user| user.as_str());
                    format!("{} {} {whom}", entry.actor.id.as_str(), entry.what.action())
                }));
                before = page.next;
                if before.is_none() {
                    return found;
                }
            }
        };
        let (detail, ada, bob) = ("ada detail_changed ", "ada person_erased ada", "ada person_erased bob");
        let (eve, first, second) = ("bob person_erased eve", "ada setting_changed ", "bob setting_changed ");
        for limit in [1, 2, 50] {
            assert_eq!(read(None, None, limit).await, [detail, eve, ada, bob, second, first]);
            assert_eq!(read(Some("ada"), None, limit).await, [detail, ada, bob, first]);
            assert_eq!(read(Some("bob"), None, limit).await, [eve, bob, second]);
            assert_eq!(read(Some("eve"), None, limit).await, [eve]);
            assert_eq!(read(Some("nobody"), None, limit).await, Vec::<String>::new());
            assert_eq!(read(None, Some("person_erased"), limit).await, [eve, ada, bob]);
            assert_eq!(read(Some("bob"), Some("person_erased"), limit).await, [eve, bob]);
            assert_eq!(read(Some("eve"), Some("setting_changed"), limit).await, Vec::<String>::new());
        }
    }

    /// A phone whose token died is lost since then, and no phone that never was: until something reaches it again.
    async fn a_dead_token_has_its_moment(policy: Policy, place: &Place) {
        use crate::store_support::installation;
        use watchbell::seam::PolicySource as _;
        policy.admin().write(&["d1", "d2"].map(|id| device_of("acme", "ada", phone(id, &format!("token-{id}"))))).await.unwrap();
        place.execute("UPDATE enrolments SET reachable_since = 1, state = 'approver'").await;
        let found = async |kind: NotificationType| policy.admin().unreached((&ws("acme"), kind), None, None, 9).await.unwrap().0;
        for (id, at) in [("d1", after(60)), ("d2", after(30))] {
            assert!(found(OtpReceived).await.is_empty(), "one of two is enough");
            let device = watchbell::event::DeviceId::new(id).unwrap();
            let installation = installation(&format!("token-{id}"));
            let dead = watchbell::seam::DeadToken { workspace: ws("acme"), user: user("ada"), device, installation, since: at };
            policy.remove_token(&dead).await.unwrap();
        }
        let lost = found(OtpReceived).await;
        assert_eq!(lost.len(), 1);
        assert_eq!((lost[0].why.name(), lost[0].unreachable_since, lost[0].last_seen), ("not_reachable", Some(after(60)), None));
        let (_, devices) = policy.devices().list(&person("acme", "ada")).await.unwrap();
        let since: Vec<_> = devices.iter().map(|device| (device.reachable_since, device.unreachable_since)).collect();
        assert_eq!(since, [(None, Some(after(60))), (None, Some(after(30)))]);
        // A new token that nothing has reached yet changes neither; what a push reached is lost no more.
        policy.admin().write(&[device_of("acme", "ada", phone("d1", "token-new"))]).await.unwrap();
        let waiting = found(OtpReceived).await;
        assert_eq!((waiting[0].why.name(), waiting[0].unreachable_since), ("not_reachable", Some(after(60))));
    }
}
