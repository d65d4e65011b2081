//! Settings: versioned, audited, told, in one transaction.
use prost::Message as _;
use watchbell::event::NotificationType::{AccountSharing, OtpReceived};
use watchbell::event::{NotificationType, Timestamp, wire};
use watchbell::people::{Audited, Cursor, SettingChange, SettingRefusal};
use watchbell::policy::{Detail, Setting};
use watchbell::seam::OutboxTopic;
use watchbell::store::{Announced, Failure, InForce, Policy};

use super::support::{after, published};
use crate::store_support::{AT, admin, ask, over_both, setting, ws};

fn change(kind: NotificationType, setting: Setting, expected: Option<u64>, at: Timestamp) -> SettingChange {
    SettingChange { workspace: ws("acme"), kind, setting, expected, actor: admin("ada"), at }
}

async fn trail(policy: &Policy) -> usize {
    policy.admin().audit_trail(&ws("acme"), None, 200).await.unwrap().items.len()
}

over_both! {
    /// A change is in force at once, and says who made it and when; everything else is as it was.
    async fn a_change_is_in_force(policy: Policy) {
        let before = policy.admin().settings(&ws("acme")).await.unwrap();
        assert_eq!((before.version, before.detail), (0, Detail::Minimal));
        assert!(before.settings.iter().all(|state| state.setting == Setting::Enabled && state.changed.is_none()));

        let made = policy.admin().set(&change(OtpReceived, Setting::Enforced, Some(0), AT)).await.unwrap();
        assert_eq!(made, InForce { version: 1, announced: Some(Announced::Everywhere) });
        assert_eq!(ask(&policy, "acme", &[]).await.unwrap().workspace.setting(OtpReceived), Setting::Enforced);
        let now = policy.admin().settings(&ws("acme")).await.unwrap();
        let of = |kind: NotificationType| now.settings[kind.index()].clone();
        assert_eq!((now.version, of(OtpReceived).setting, of(OtpReceived).changed), (1, Setting::Enforced, Some((admin("ada"), AT))));
        assert_eq!((of(AccountSharing).setting, of(AccountSharing).changed), (Setting::Enabled, None));
    }

    /// Who changes what they have not seen is told so, and nothing is written.
    async fn a_stale_change_is_refused(policy: Policy) {
        policy.admin().set(&change(OtpReceived, Setting::Enforced, None, AT)).await.unwrap();
        for expected in [0, 2] {
            let refused = policy.admin().set(&change(OtpReceived, Setting::Disabled, Some(expected), AT)).await;
            assert_eq!(refused, Err(Failure::Refused(SettingRefusal::Stale { current: 1 })));
        }
        let now = policy.admin().settings(&ws("acme")).await.unwrap();
        assert_eq!((now.version, now.settings[OtpReceived.index()].setting, trail(&policy).await), (1, Setting::Enforced, 1));
        assert_eq!(published(&policy).await.log().len(), 1);
    }

    /// What is so already is not written again: no version, no entry, no record.
    async fn no_change_writes_nothing(policy: Policy) {
        let same = change(OtpReceived, Setting::Enabled, Some(0), AT);
        assert_eq!(policy.admin().set(&same).await.unwrap(), InForce { version: 0, announced: None });
        policy.admin().set(&change(OtpReceived, Setting::Enforced, None, AT)).await.unwrap();
        let same = change(OtpReceived, Setting::Enforced, None, after(60));
        assert_eq!(policy.admin().set(&same).await.unwrap(), InForce { version: 1, announced: None });
        let now = policy.admin().settings(&ws("acme")).await.unwrap();
        assert_eq!((now.version, now.settings[OtpReceived.index()].changed.clone()), (1, Some((admin("ada"), AT))));
        assert_eq!((trail(&policy).await, published(&policy).await.log().len()), (1, 1));
    }

    /// Of many who change the same version at once one succeeds; the others are told what is there now.
    async fn one_of_many_wins(policy: Policy) {
        for version in 0..10_u64 {
            let value = if version % 2 == 0 { Setting::Enforced } else { Setting::Disabled };
            let tries: Vec<_> = (0..8).map(|_| {
                let admin = policy.admin();
                tokio::spawn(async move { admin.set(&change(OtpReceived, value, Some(version), AT)).await })
            }).collect();
            let mut won = 0;
            for tried in tries {
                match tried.await.unwrap() {
                    Ok(in_force) => {
                        won += 1;
                        assert_eq!(in_force.version, version + 1);
                    }
                    Err(refused) => assert_eq!(refused, Failure::Refused(SettingRefusal::Stale { current: version + 1 })),
                }
            }
            assert_eq!(won, 1);
        }
        let entries = policy.admin().audit_trail(&ws("acme"), None, 200).await.unwrap().items;
        assert_eq!((entries.len(), published(&policy).await.log().len()), (10, 10));
        // Each began where the one before ended.
        for pair in entries.windows(2) {
            let (Audited::SettingChanged { from, .. }, Audited::SettingChanged { to, .. }) = (&pair[0].what, &pair[1].what) else {
                panic!("{pair:?}")
            };
            assert_eq!(from, to);
        }
    }

    /// The trail is read newest first, page by page, with nothing twice and nothing left out, each workspace its own.
    async fn the_trail_is_paged(policy: Policy) {
        let admin = policy.admin();
        for n in 0..7 {
            let value = if n % 2 == 0 { Setting::Enforced } else { Setting::Disabled };
            admin.set(&change(OtpReceived, value, None, after(n))).await.unwrap();
        }
        admin.set(&SettingChange { workspace: ws("beta"), ..change(OtpReceived, Setting::Disabled, None, AT) }).await.unwrap();
        let (mut read, mut before, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = admin.audit_trail(&ws("acme"), before, 3).await.unwrap();
            read.extend(page.items);
            pages += 1;
            // Meanwhile the trail grows at its head, which moves nothing.
            let value = if pages % 2 == 0 { Setting::Enforced } else { Setting::Disabled };
            admin.set(&change(AccountSharing, value, None, after(100))).await.unwrap();
            match page.next {
                Some(next) => before = Cursor::parse(&next.to_text()),
                None => break,
            }
        }
        let times: Vec<_> = read.iter().map(|entry| entry.at).collect();
        assert_eq!((pages, times), (3, (0..7).rev().map(after).collect()));
        let first = read.last().unwrap();
        assert_eq!(first.what, Audited::SettingChanged { kind: OtpReceived, from: Setting::Enabled, to: Setting::Enforced });
        assert_eq!((first.actor.clone(), first.workspace.clone()), (crate::store_support::admin("ada"), ws("acme")));
    }

    /// Kafka hears each entry of the trail, in order, under the workspace's key, with the same id.
    async fn kafka_hears_the_trail(policy: Policy) {
        policy.admin().set(&change(OtpReceived, Setting::Enforced, None, AT)).await.unwrap();
        policy.admin().set(&change(OtpReceived, Setting::Disabled, None, after(1))).await.unwrap();
        let records = published(&policy).await.log();
        let read = records.iter().map(|record| {
            assert_eq!((record.topic, record.key.as_deref()), (OutboxTopic::Audit, Some(&b"acme"[..])));
            wire::AuditEntry::decode(&record.payload[..]).unwrap()
        });
        let read: Vec<_> = read.collect();
        let mut trail = policy.admin().audit_trail(&ws("acme"), None, 10).await.unwrap().items;
        trail.reverse();
        assert_eq!(read.iter().map(|entry| &entry.audit_id).collect::<Vec<_>>(), trail.iter().map(|entry| &entry.id).collect::<Vec<_>>());
        let expected = wire::AuditEntry {
            audit_id: trail[1].id.clone(),
            workspace_id: "acme".into(),
            at: Some(prost_types::Timestamp { seconds: after(1).as_secs(), nanos: 0 }),
            actor_id: "ada".into(),
            actor_role: wire::ActorRole::Admin.into(),
            action: wire::AuditAction::SettingChanged.into(),
            r#type: wire::NotificationType::OtpReceived.into(),
            from: "enforced".into(),
            to: "disabled".into(),
            target_user_id: String::new(),
            target_device_id: String::new(),
        };
        assert_eq!(read[1], expected);
        assert!(published(&policy).await.log().is_empty(), "what was published is not published again");
    }

    /// A setting that was imported has no author; the one that was changed here before loses its.
    async fn an_import_has_no_author(policy: Policy) {
        policy.admin().set(&change(OtpReceived, Setting::Enforced, None, AT)).await.unwrap();
        policy.admin().write(&[setting("acme", OtpReceived, Setting::Disabled)]).await.unwrap();
        let state = policy.admin().settings(&ws("acme")).await.unwrap().settings[OtpReceived.index()].clone();
        assert_eq!((state.setting, state.changed), (Setting::Disabled, None));
    }
}
