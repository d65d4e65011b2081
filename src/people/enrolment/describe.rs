//! What an app says of its device, and what is shown of a device to its person.
use super::Way;
use crate::event::{DeviceId, Timestamp, is_invisible};
use crate::people::{DeviceState, Permission};
use crate::policy::{Environment, Installation, Platform, Token};

/// Longest name that a person gives a device, in bytes: some 60 characters of any script.
pub const NAME_BYTES_MAX: usize = 240;
/// Longest model, in bytes.
pub const MODEL_BYTES_MAX: usize = 120;
/// Longest name by which an app knows the phone itself, in bytes.
pub const PHONE_BYTES_MAX: usize = 128;

/// What kind of device it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A phone.
    #[default]
    Phone,
    /// A tablet.
    Tablet,
    /// Something else.
    Other,
}

impl DeviceKind {
    /// The name in the API and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Tablet => "tablet",
            Self::Other => "other",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Phone, Self::Tablet, Self::Other].into_iter().find(|kind| kind.name() == name)
    }
}

/// What an app reports whenever it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Where pushes go.
    pub installation: Installation,
    /// BCP 47 tag of the phone's language.
    pub locale: String,
    /// As its maker calls it: "Pixel 8". A login screen may show it.
    pub model: String,
    /// What the phone's system lets the app do; `None` if the app cannot tell.
    pub permission: Option<Permission>,
    /// Whether time-sensitive notifications are on (iOS).
    pub time_sensitive: Option<bool>,
}

/// What an app says besides when it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registrant {
    /// What it will report again.
    pub report: Report,
    /// As its person calls it; may be empty.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// What the app knows the phone itself by, if its system tells the app something that outlives it: so that an app that was installed
    /// anew takes the place of the one before. Opaque, and of this person's devices only.
    pub phone: Option<String>,
}

/// Whether it is a name that may be stored: bounded, on one line, without control and invisible characters.
pub fn is_name(name: &str) -> bool {
    is_label(name, NAME_BYTES_MAX)
}

fn is_label(text: &str, max: usize) -> bool {
    let unfit = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || is_invisible(c);
    text.len() <= max && !text.chars().any(unfit)
}

impl Report {
    /// What is wrong with it, apart from the bounds of a token, an app and a language, which the store has.
    pub fn problem(&self) -> Option<&'static str> {
        let Installation { platform, environment, .. } = &self.installation;
        if *platform == Platform::Fcm && *environment == Environment::Sandbox {
            Some("fcm has no sandbox")
        } else if !is_label(&self.model, MODEL_BYTES_MAX) {
            Some("its model is too long or has control or invisible characters")
        } else {
            None
        }
    }
}

impl Registrant {
    /// As [`Report::problem`].
    pub fn problem(&self) -> Option<&'static str> {
        let phone = |phone: &String| {
            (1..=PHONE_BYTES_MAX).contains(&phone.len()) && phone.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !is_name(&self.name) {
            Some("its name is too long or has control or invisible characters")
        } else if !self.phone.as_ref().is_none_or(phone) {
            Some("what it calls the phone is too long or not visible ASCII")
        } else {
            self.report.problem()
        }
    }
}

/// A device as its person and admins see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDevice {
    /// Its id.
    pub id: DeviceId,
    /// As its person calls it; may be empty.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// As its maker calls it; may be empty.
    pub model: String,
    /// What it may do.
    pub state: DeviceState,
    /// Whether it ever proved a key; one that did not can only show.
    pub has_key: bool,
    /// Since when pushes are known to reach it, with the token that it has.
    pub reachable_since: Option<Timestamp>,
    /// Since when its token is dead, and nothing reached it again.
    pub unreachable_since: Option<Timestamp>,
    /// Whether its token is another row's until it was reached.
    pub waits: bool,
    /// What its system allows, as reported last.
    pub permission: Option<Permission>,
    /// Whether time-sensitive notifications are on.
    pub time_sensitive: Option<bool>,
    /// Whether its person wants it not to ring.
    pub quiet: bool,
    /// When it was enrolled.
    pub enrolled_at: Timestamp,
    /// When and in which way it became an approver.
    pub promoted: Option<(Timestamp, Option<Way>)>,
    /// Where pushes go; `None` while they have nowhere to go.
    pub pushes: Option<Pushes>,
}

/// Where a device's pushes go, as far as that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushes {
    /// The platform.
    pub platform: Platform,
    /// The app.
    pub app: String,
    /// The token's world.
    pub environment: Environment,
    /// The end of the token: enough to tell two apart, too little to push with.
    pub token_end: String,
    /// The phone's language.
    pub locale: String,
    /// When the app last reported.
    pub last_seen: Timestamp,
}

/// Characters of a token that are shown.
const TOKEN_SHOWN: usize = 4;
/// A token that is shorter is not shown at all: its end would be too much of it.
const TOKEN_SHOWN_FROM: usize = 32;

/// The end of a token.
pub fn token_end(token: &Token) -> String {
    let token = token.expose();
    let start = token.len().checked_sub(TOKEN_SHOWN).filter(|_| token.len() >= TOKEN_SHOWN_FROM);
    start.and_then(|start| token.get(start..)).unwrap_or_default().to_owned()
}
