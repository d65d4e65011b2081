//! Preferences: what each person may switch, and what counts.
use watchbell::event::NotificationType::{self, AccountSharing, IdentityVerification, OtpReceived, TrustedDevice};
use watchbell::people::PreferenceRefusal::{Enforced, NoSuchDevice, Stale};
use watchbell::people::{Effective, SwitchedOff};
use watchbell::policy::{Preference, Setting, Suppression, Verdict};
use watchbell::store::{Failure, InForce, Policy};

use crate::store_support::{ask, device_of, over_both, person, phone, setting};

async fn state(policy: &Policy, kind: NotificationType) -> Effective {
    policy.admin().preferences(&person("acme", "ada")).await.unwrap().types[kind.index()]
}

async fn set(policy: &Policy, kind: NotificationType, value: Setting) {
    policy.admin().write(&[setting("acme", kind, value)]).await.unwrap();
}

async fn quiet_now(policy: &Policy, device: &str) -> bool {
    ask(policy, "acme", &["ada"]).await.unwrap().users[0].device(device).unwrap().quiet()
}

over_both! {
    /// Without a row everything is on and free to switch.
    async fn defaults(policy: Policy) {
        let preferences = policy.admin().preferences(&person("acme", "ada")).await.unwrap();
        assert_eq!((preferences.workspace_version, preferences.user_version), (0, 0));
        for (kind, state) in NotificationType::ALL.into_iter().zip(preferences.types) {
            let (setting, preference) = (Setting::Enabled, Preference::On);
            assert_eq!(state, Effective { kind, setting, preference, verdict: Verdict::Deliver, fixed: None });
        }
    }

    /// A switch is in force at once, for that person and that type; switching to what is so writes nothing.
    async fn a_switch_is_in_force(policy: Policy) {
        let (ada, admin) = (person("acme", "ada"), policy.admin());
        let made = admin.switch(&ada, OtpReceived, Preference::Off, Some(0)).await.unwrap();
        assert!(made.version == 1 && made.announced.is_some());
        let entry = ask(&policy, "acme", &["ada", "bob"]).await.unwrap().users;
        assert_eq!((entry[0].preference(OtpReceived), entry[0].version(), entry[1].version()), (Preference::Off, 1, 0));
        assert_eq!(state(&policy, OtpReceived).await.verdict, Verdict::Suppress(Suppression::MutedByUser));
        assert_eq!(state(&policy, TrustedDevice).await.verdict, Verdict::Deliver);
        let same = admin.switch(&ada, OtpReceived, Preference::Off, Some(1)).await.unwrap();
        assert_eq!(same, InForce { version: 1, announced: None });
        let stale = admin.switch(&ada, OtpReceived, Preference::On, Some(0)).await;
        assert_eq!(stale, Err(Failure::Refused(Stale { current: 1 })));
    }

    /// An enforced type cannot be switched off; what was stored before is kept, does not count, and counts again afterwards.
    async fn enforced_keeps_the_preference(policy: Policy) {
        let (ada, admin) = (person("acme", "ada"), policy.admin());
        admin.switch(&ada, OtpReceived, Preference::Off, None).await.unwrap();
        set(&policy, OtpReceived, Setting::Enforced).await;
        let during = state(&policy, OtpReceived).await;
        assert_eq!((during.preference, during.verdict, during.fixed), (Preference::Off, Verdict::Deliver, Some(Enforced { kind: OtpReceived })));
        for kind in [OtpReceived, TrustedDevice] {
            set(&policy, kind, Setting::Enforced).await;
            let refused = admin.switch(&ada, kind, Preference::Off, None).await;
            assert_eq!(refused, Err(Failure::Refused(Enforced { kind })), "off already, or not");
        }
        assert_eq!(ask(&policy, "acme", &["ada"]).await.unwrap().users[0].version(), 1, "a refusal writes nothing");
        set(&policy, OtpReceived, Setting::Enabled).await;
        assert_eq!(state(&policy, OtpReceived).await.verdict, Verdict::Suppress(Suppression::MutedByUser));
        set(&policy, OtpReceived, Setting::Disabled).await;
        assert_eq!(state(&policy, OtpReceived).await.verdict, Verdict::Suppress(Suppression::DisabledByWorkspace));
    }

    /// Everything that may be turned off is, in one step that raises one version; what is enforced is named and stays.
    async fn turn_off_all_i_may(policy: Policy) {
        let (ada, admin) = (person("acme", "ada"), policy.admin());
        set(&policy, OtpReceived, Setting::Enforced).await;
        set(&policy, AccountSharing, Setting::Disabled).await;
        admin.switch(&ada, TrustedDevice, Preference::Off, None).await.unwrap();
        let (made, switched) = admin.switch_off_all(&ada, Some(1)).await.unwrap();
        assert_eq!(made.version, 2);
        assert_eq!(switched, SwitchedOff { off: vec![IdentityVerification, AccountSharing], enforced: vec![OtpReceived] });
        let entry = ask(&policy, "acme", &["ada"]).await.unwrap().users[0].clone();
        let on: Vec<_> = NotificationType::ALL.into_iter().filter(|kind| entry.preference(*kind) == Preference::On).collect();
        assert_eq!((on, entry.version()), (vec![OtpReceived], 2));
        let (again, switched) = admin.switch_off_all(&ada, None).await.unwrap();
        assert_eq!((again, switched.off), (InForce { version: 2, announced: None }, vec![]));
    }

    /// One phone is quiet and the other is not, until it is told otherwise; nobody else's phone can be.
    async fn quiet_on_one_phone(policy: Policy) {
        let (ada, admin) = (person("acme", "ada"), policy.admin());
        admin.write(&[device_of("acme", "ada", phone("d1", "t1")), device_of("acme", "ada", phone("d2", "t2"))]).await.unwrap();
        let (one, three) = (phone("d1", "").id, phone("d3", "").id);
        let made = admin.quiet(&ada, &one, true, Some(1)).await.unwrap();
        assert!(made.version == 2 && made.announced.is_some());
        assert!(quiet_now(&policy, "d1").await && !quiet_now(&policy, "d2").await);
        assert_eq!(admin.quiet(&ada, &one, true, None).await.unwrap(), InForce { version: 2, announced: None });
        admin.write(&[device_of("acme", "ada", phone("d1", "t3"))]).await.unwrap();
        assert!(quiet_now(&policy, "d1").await, "a new token is no wish");
        assert_eq!(admin.quiet(&ada, &one, false, Some(1)).await, Err(Failure::Refused(Stale { current: 3 })));
        assert_eq!(admin.quiet(&ada, &three, true, None).await, Err(Failure::Refused(NoSuchDevice)));
        assert_eq!(admin.quiet(&person("acme", "bob"), &one, true, None).await, Err(Failure::Refused(NoSuchDevice)));
        admin.quiet(&ada, &one, false, None).await.unwrap();
        assert!(!quiet_now(&policy, "d1").await);
    }

    /// Many switches of one person at once are all made, one after the other.
    async fn switches_at_once_are_all_made(policy: Policy) {
        let tries: Vec<_> = NotificationType::ALL.into_iter().map(|kind| {
            let admin = policy.admin();
            tokio::spawn(async move { admin.switch(&person("acme", "ada"), kind, Preference::Off, None).await })
        }).collect();
        for tried in tries {
            tried.await.unwrap().unwrap();
        }
        let entry = ask(&policy, "acme", &["ada"]).await.unwrap().users[0].clone();
        assert_eq!(entry.version(), 4);
        assert!(NotificationType::ALL.into_iter().all(|kind| entry.preference(kind) == Preference::Off));
    }

    /// The same first switch many times at once is one, and everybody is told the version with which it is in force.
    async fn the_same_switch_at_once_is_one(policy: Policy) {
        for n in 0..10 {
            let tries: Vec<_> = (0..8).map(|_| {
                let admin = policy.admin();
                tokio::spawn(async move { admin.switch(&person("acme", &format!("u{n}")), OtpReceived, Preference::Off, None).await })
            }).collect();
            let mut written = 0;
            for tried in tries {
                let in_force = tried.await.unwrap().unwrap();
                assert_eq!(in_force.version, 1);
                written += usize::from(in_force.announced.is_some());
            }
            assert_eq!(written, 1);
        }
    }
}
