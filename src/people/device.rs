//! What a device is to its person: what it may do, and what is known of it.

/// What a device may do. A new one may receive before it may approve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// Show, deny, and say "not me".
    ReceiveOnly,
    /// Approve too.
    Approver,
}

impl DeviceState {
    /// The name in the API and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReceiveOnly => "receive_only",
            Self::Approver => "approver",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::ReceiveOnly, Self::Approver].into_iter().find(|state| state.name() == name)
    }
}

/// What the phone's system lets the app do, as the app reported it last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// Notifications ring.
    Allowed,
    /// They are off.
    Denied,
    /// They are delivered quietly, until the person decides (iOS).
    Provisional,
}

impl Permission {
    /// The name in the API and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Provisional => "provisional",
        }
    }

    /// The permission of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Allowed, Self::Denied, Self::Provisional].into_iter().find(|permission| permission.name() == name)
    }
}

/// What a device's enrolment says about its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// What it may do.
    pub state: DeviceState,
    /// RFC 7638 thumbprint of its key; `None` if it never proved one.
    pub thumbprint: Option<String>,
    /// Its key was retired: it answers nothing any more.
    pub retired: bool,
}

/// A device's name as a screen may show it that an attacker may be looking at: the model where it is known ("Pixel 8"), which says
/// nothing about its owner; otherwise the name, with only the first character of each word left.
pub fn masked(model: &str, name: &str) -> String {
    if !model.is_empty() {
        return model.to_owned();
    }
    let word = |word: &str| {
        let mut characters = word.chars();
        let first = characters.next().map(String::from).unwrap_or_default();
        first + &"•".repeat(characters.count())
    };
    name.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}
