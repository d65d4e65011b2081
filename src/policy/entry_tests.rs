use proptest::prelude::*;

use super::*;

fn device() -> impl Strategy<Value = Device> {
    ("[!-~]{1,128}", "[a-z.]{1,60}", "[a-zA-Z-]{0,35}", "[!-~]{1,300}", any::<(bool, bool, bool, i64)>()).prop_map(
        |(id, app, locale, token, (fcm, sandbox, quiet, registered_at))| Device {
            id: DeviceId::new(id).unwrap(),
            installation: Installation {
                platform: if fcm { Platform::Fcm } else { Platform::Apns },
                app: app.into(),
                environment: if sandbox { Environment::Sandbox } else { Environment::Production },
                token: Token::new(token),
            },
            locale,
            registered_at: Timestamp(registered_at),
            quiet,
        },
    )
}

proptest! {
    /// Packing loses nothing, and packed bytes are taken back as they are.
    #[test]
    fn pack_round_trip(version: u64, off: [bool; 4], devices in proptest::collection::vec(device(), 0..5)) {
        let preferences = off.map(|off| if off { Preference::Off } else { Preference::On });
        let user = User { version, preferences, devices };
        let entry = UserEntry::pack(&user).unwrap();
        prop_assert_eq!(entry.version(), version);
        for kind in NotificationType::ALL {
            prop_assert_eq!(entry.preference(kind), preferences[kind.index()]);
        }
        let read: Vec<Device> = entry.devices().map(|view| Device {
            id: DeviceId::new(view.id()).unwrap(),
            installation: view.installation(),
            locale: view.locale().into(),
            registered_at: view.registered_at(),
            quiet: view.quiet(),
        }).collect();
        prop_assert_eq!(&read, &user.devices);
        prop_assert_eq!(UserEntry::from_bytes(entry.as_bytes()), Ok(entry));
    }

    /// Bytes that are no entry are refused; nothing panics.
    #[test]
    fn foreign_bytes(bytes: Vec<u8>) {
        if let Ok(entry) = UserEntry::from_bytes(&bytes) {
            prop_assert_eq!(entry.as_bytes(), &bytes[..]);
            prop_assert_eq!(entry.devices().count(), entry.device_count());
        }
    }
}

/// A person with one ordinary iPhone takes few enough bytes that a hundred thousand fit into 30 MB, key and cache included.
#[test]
fn entry_is_small() {
    let device = Device {
        id: DeviceId::new("018f3c1e-7d5a-7c3b-9e55-0242ac120002").unwrap(),
        installation: Installation {
            platform: Platform::Apns,
            app: "com.example.authenticator".into(),
            environment: Environment::Production,
            token: Token::new("ab".repeat(32)),
        },
        locale: "en-US".into(),
        registered_at: Timestamp(0),
        quiet: true,
    };
    let user = User { version: 1, preferences: Default::default(), devices: vec![device] };
    assert!(UserEntry::pack(&user).unwrap().as_bytes().len() <= 160);
}

/// A token does not print, whichever type holds it.
#[test]
fn invariant_13_tokens_do_not_print() {
    let user = User {
        version: 1,
        preferences: Default::default(),
        devices: vec![Device {
            id: DeviceId::new("d").unwrap(),
            installation: Installation {
                platform: Platform::Fcm,
                app: "a".into(),
                environment: Environment::Production,
                token: Token::new("SECRET"),
            },
            locale: "de".into(),
            registered_at: Timestamp(0),
            quiet: false,
        }],
    };
    let entry = UserEntry::pack(&user).unwrap();
    let device = entry.device("d").unwrap();
    for printed in [format!("{user:?}"), format!("{entry:?}"), format!("{device:?}")] {
        assert!(!printed.contains("SECRET"), "{printed}");
    }
}
