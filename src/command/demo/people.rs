//! The sample workspace: who there is, what they carry, and what was set.
use crate::event::{DeviceId, IdError, NotificationType, Timestamp, UserId, WorkspaceId};
use crate::policy::{Detail, Device, Environment, Installation, Platform, Preference, Setting, Token};
use crate::store::Change;

pub(super) const WORKSPACE: &str = "meridian";
pub(super) const APP: &str = "com.example.app";

/// Somebody's phone.
pub(super) struct Phone {
    pub(super) user: &'static str,
    /// As it is called on the screen.
    pub(super) name: &'static str,
    pub(super) platform: Platform,
    pub(super) locale: &'static str,
}

impl Phone {
    /// Its push token: made from its place in the list, in its platform's shape.
    pub(super) fn token(&self) -> String {
        let digest =
            crate::delivery::JobId::show(WORKSPACE, NotificationType::OtpReceived, "demo", self.user, self.name);
        let hex: String = digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        match self.platform {
            Platform::Apns => format!("{hex}{hex}"),
            Platform::Fcm => format!("demo:{hex}-{hex}"),
        }
    }
}

pub(super) const PHONES: [Phone; 6] = [
    Phone { user: "ana", name: "Ana's iPhone", platform: Platform::Apns, locale: "es-MX" },
    Phone { user: "ana", name: "Ana's Pixel", platform: Platform::Fcm, locale: "es" },
    Phone { user: "ben", name: "Ben's iPhone", platform: Platform::Apns, locale: "en-GB" },
    Phone { user: "chiyo", name: "Chiyo's Pixel", platform: Platform::Fcm, locale: "ja-JP" },
    Phone { user: "dieter", name: "Dieter's iPhone", platform: Platform::Apns, locale: "de-AT" },
    Phone { user: "elif", name: "Elif's Pixel", platform: Platform::Fcm, locale: "tr" },
];

/// Everything to write into the store: Ben muted sharing, and everybody must learn of sign-ins.
pub(super) fn changes(now: Timestamp) -> Result<Vec<Change>, IdError> {
    let workspace = WorkspaceId::new(WORKSPACE)?;
    let mut changes = vec![
        Change::Workspace { workspace: workspace.clone(), display_name: "Meridian Bank".into(), detail: Detail::Full },
        Change::Setting {
            workspace: workspace.clone(),
            kind: NotificationType::IdentityVerification,
            setting: Setting::Enforced,
        },
        Change::Preference {
            workspace: workspace.clone(),
            user: UserId::new("ben")?,
            kind: NotificationType::AccountSharing,
            preference: Preference::Off,
        },
        Change::Preference {
            workspace: workspace.clone(),
            user: UserId::new("ben")?,
            kind: NotificationType::IdentityVerification,
            preference: Preference::Off,
        },
    ];
    for (n, phone) in PHONES.iter().enumerate() {
        changes.push(Change::Device {
            workspace: workspace.clone(),
            user: UserId::new(phone.user)?,
            device: Device {
                id: DeviceId::new(format!("phone-{n}"))?,
                installation: Installation {
                    platform: phone.platform,
                    app: APP.into(),
                    environment: Environment::Production,
                    token: Token::new(phone.token()),
                },
                locale: phone.locale.into(),
                registered_at: now,
                quiet: false,
            },
            last_seen: now,
        });
    }
    Ok(changes)
}
