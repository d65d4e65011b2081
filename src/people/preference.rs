//! What a person may switch for themselves, and what rings for them.
use crate::event::NotificationType;
use crate::policy::{self, Preference, Setting, Verdict};

/// One type as its person sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effective {
    /// The type.
    pub kind: NotificationType,
    /// The workspace's setting.
    pub setting: Setting,
    /// The person's own wish. It is kept while the type is enforced or disabled, and is in force again when it is enabled.
    pub preference: Preference,
    /// Whether it rings, or why not.
    pub verdict: Verdict,
    /// Why the person cannot switch it off; `None` where they can.
    pub fixed: Option<PreferenceRefusal>,
}

/// The effective state of one type.
pub fn effective(kind: NotificationType, setting: Setting, preference: Preference) -> Effective {
    let fixed = may_set(kind, setting, Preference::Off).err();
    Effective { kind, setting, preference, verdict: policy::decide(setting, preference), fixed }
}

/// Whether a person may set their preference of a type to that value.
pub(crate) fn may_set(
    kind: NotificationType,
    setting: Setting,
    preference: Preference,
) -> Result<(), PreferenceRefusal> {
    match (setting, preference) {
        (Setting::Enforced, Preference::Off) => Err(PreferenceRefusal::Enforced { kind }),
        (Setting::Enforced, Preference::On)
        | (Setting::Enabled | Setting::Disabled, Preference::On | Preference::Off) => Ok(()),
    }
}

/// A person's preferences, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    /// Of the workspace's settings: with `user_version`, it says which state this is.
    pub workspace_version: u64,
    /// Rises with every change of the person's preferences or devices; what a change expects.
    pub user_version: u64,
    /// One for each type, in the order of [`NotificationType::ALL`].
    pub types: [Effective; NotificationType::COUNT],
}

/// What "turn off all I may" did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchedOff {
    /// These were on and are off now.
    pub off: Vec<NotificationType>,
    /// These are enforced and stay as they are.
    pub enforced: Vec<NotificationType>,
}

/// Why a preference was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PreferenceRefusal {
    /// The workspace enforces the type.
    #[error(
        "Your workspace requires these notifications, so they cannot be turned off. Ask an admin if you think that is wrong."
    )]
    Enforced {
        /// Which type.
        kind: NotificationType,
    },
    /// The person's preferences or devices were changed since.
    #[error("Your settings were changed somewhere else meanwhile. Look at them again before you change them.")]
    Stale {
        /// The version now.
        current: u64,
    },
    /// The person has no such device, or no longer.
    #[error("You have no such device. It may have been removed.")]
    NoSuchDevice,
}
