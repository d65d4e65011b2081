//! The sample workspace: who there is, what they carry, and what was set.
use std::collections::BTreeMap;

use serde_json::Map;

use crate::event::{IdError, NotificationType, UserId, WorkspaceId};
use crate::policy::{Detail, Preference, Setting};
use crate::sandbox::issuer::Persona;
use crate::sandbox::phones::{Behaviour, Make, Platform};
use crate::store::Change;

pub(super) const WORKSPACE: &str = "meridian";
pub(super) const APP: &str = "com.example.app";

/// Who there is, and what they may do.
const PEOPLE: [(&str, &str); 5] =
    [("ana", "user"), ("ben", "admin"), ("chiyo", "user"), ("dieter", "user"), ("elif", "user")];

/// Those whom the issuer knows.
pub(super) fn personas() -> Vec<Persona> {
    let persona = |(user, role): (&str, &str)| Persona {
        name: user.to_owned(),
        user: user.to_owned(),
        workspaces: BTreeMap::from([(WORKSPACE.to_owned(), role.to_owned())]),
        operator: false,
        acr: None,
        auth_age_s: 0,
        claims: Map::new(),
    };
    PEOPLE.map(persona).into()
}

/// Somebody's phone.
pub(super) struct Phone {
    pub(super) user: &'static str,
    /// As it is called on the screen.
    pub(super) name: &'static str,
    platform: Platform,
    locale: &'static str,
    model: &'static str,
    /// The phone of the same person that vouches for it; without one its person's fresh sign-in does.
    pub(super) vouched_by: Option<&'static str>,
}

impl Phone {
    /// What the sandbox is to make.
    pub(super) fn make(&self) -> Make {
        Make {
            persona: self.user.to_owned(),
            platform: self.platform,
            app: APP.to_owned(),
            locale: self.locale.to_owned(),
            model: self.model.to_owned(),
            behaviour: Behaviour::default(),
        }
    }
}

const IPHONE: (Platform, &str) = (Platform::Apns, "iPhone 17");
const PIXEL: (Platform, &str) = (Platform::Fcm, "Pixel 10");

const fn phone(
    (user, name): (&'static str, &'static str),
    (platform, model): (Platform, &'static str),
    locale: &'static str,
    vouched_by: Option<&'static str>,
) -> Phone {
    Phone { user, name, platform, locale, model, vouched_by }
}

pub(super) const PHONES: [Phone; 6] = [
    phone(("ana", "Ana's iPhone"), IPHONE, "es-MX", None),
    phone(("ana", "Ana's Pixel"), PIXEL, "es", Some("Ana's iPhone")),
    phone(("ben", "Ben's iPhone"), IPHONE, "en-GB", None),
    phone(("chiyo", "Chiyo's Pixel"), PIXEL, "ja-JP", None),
    phone(("dieter", "Dieter's iPhone"), IPHONE, "de-AT", None),
    phone(("elif", "Elif's Pixel"), PIXEL, "tr", None),
];

/// What is in the store before anybody signs in: Ben muted sharing, and everybody must learn of sign-ins.
pub(super) fn changes() -> Result<Vec<Change>, IdError> {
    let workspace = WorkspaceId::new(WORKSPACE)?;
    let muted = |user: &str, kind| -> Result<Change, IdError> {
        let (workspace, user) = (workspace.clone(), UserId::new(user)?);
        Ok(Change::Preference { workspace, user, kind, preference: Preference::Off })
    };
    Ok(vec![
        Change::Workspace { workspace: workspace.clone(), display_name: "Meridian Bank".into(), detail: Detail::Full },
        Change::Setting {
            workspace: workspace.clone(),
            kind: NotificationType::IdentityVerification,
            setting: Setting::Enforced,
        },
        muted("ben", NotificationType::AccountSharing)?,
        muted("ben", NotificationType::IdentityVerification)?,
    ])
}
