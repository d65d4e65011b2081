//! The policy: whether a notification of one type may ring for one person.
//!
//! The point: one pure rule, [`decide`], for the whole product. Admins set each type to disabled, enabled or enforced; each person
//! switches the enabled ones on or off for themselves. What they keep from ringing
//! on one device is [`decide_device`]'s to say. The rule decides *ringing* only: a request that awaits an answer stays open
//! whatever is decided here. It deliberately knows nothing about deadlines; rates are the [`Guard`]'s, a law of its own. It cannot fail.
//!
//! Invariant: does no I/O, reads no clock; the result depends on the arguments alone.
mod entry;
mod guard;

pub use entry::{
    AppId, Detail, Device, DeviceView, EntryError, Environment, Installation, Platform, Token, User, UserEntry,
    Workspace,
};
pub use guard::{CLOCKS_APART, Guard, Heard, Ring, Tally};

/// What a workspace's owners, super admins and admins set for one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// Nobody is notified.
    Disabled,
    /// Each person decides. The default where nothing was set.
    #[default]
    Enabled,
    /// Everybody is notified, and nobody can switch it off.
    Enforced,
}

impl Setting {
    const ALL: [Self; 3] = [Self::Disabled, Self::Enabled, Self::Enforced];

    /// The name in the API, the store and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::Enforced => "enforced",
        }
    }

    /// The setting of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|setting| setting.name() == name)
    }
}

/// What a person set for one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preference {
    /// Notify me. The default where nothing was set.
    #[default]
    On,
    /// Do not notify me.
    Off,
}

impl Preference {
    /// The name in the API and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// Why a notification does not ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suppression {
    /// The workspace disabled the type.
    DisabledByWorkspace,
    /// The person switched the type off.
    MutedByUser,
    /// The person wants this device to be quiet.
    QuietDevice,
    /// The person wants each of their devices to be quiet.
    AllDevicesQuiet,
    /// The event was cancelled or answered meanwhile.
    Withdrawn,
    /// Too many requests rang for the person: see [`Guard`].
    FatigueGuard,
}

impl Suppression {
    /// The reason in outcomes, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DisabledByWorkspace => "disabled_by_workspace",
            Self::MutedByUser => "muted_by_user",
            Self::QuietDevice => "quiet_device",
            Self::AllDevicesQuiet => "all_devices_quiet",
            Self::Withdrawn => "withdrawn",
            Self::FatigueGuard => "fatigue_guard",
        }
    }
}

/// What the policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Ring.
    Deliver,
    /// Do not ring.
    Suppress(Suppression),
}

/// The rule.
pub fn decide(setting: Setting, preference: Preference) -> Verdict {
    disabled(setting).or_else(|| muted(setting, preference)).map_or(Verdict::Deliver, Verdict::Suppress)
}

/// The rule for one device of a person for whom the type rings: a quiet one does not, unless the type is enforced.
pub fn decide_device(setting: Setting, quiet: bool) -> Verdict {
    match (setting, quiet) {
        (Setting::Enabled | Setting::Disabled, true) => Verdict::Suppress(Suppression::QuietDevice),
        (Setting::Enforced, true) | (Setting::Disabled | Setting::Enabled | Setting::Enforced, false) => {
            Verdict::Deliver
        }
    }
}

/// A disabled type rings for nobody.
fn disabled(setting: Setting) -> Option<Suppression> {
    match setting {
        Setting::Disabled => Some(Suppression::DisabledByWorkspace),
        Setting::Enabled | Setting::Enforced => None,
    }
}

/// A preference counts only where the type is enabled: enforced overrides it.
fn muted(setting: Setting, preference: Preference) -> Option<Suppression> {
    match (setting, preference) {
        (Setting::Enabled, Preference::Off) => Some(Suppression::MutedByUser),
        (Setting::Enabled, Preference::On)
        | (Setting::Disabled | Setting::Enforced, Preference::On | Preference::Off) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rule once more, as the product page states it: one row for each pair.
    const TABLE: [(Option<Setting>, Option<Preference>, &str); 12] = [
        (None, None, "delivered"),
        (None, Some(Preference::On), "delivered"),
        (None, Some(Preference::Off), "muted_by_user"),
        (Some(Setting::Enabled), None, "delivered"),
        (Some(Setting::Enabled), Some(Preference::On), "delivered"),
        (Some(Setting::Enabled), Some(Preference::Off), "muted_by_user"),
        (Some(Setting::Disabled), None, "disabled_by_workspace"),
        (Some(Setting::Disabled), Some(Preference::On), "disabled_by_workspace"),
        (Some(Setting::Disabled), Some(Preference::Off), "disabled_by_workspace"),
        (Some(Setting::Enforced), None, "delivered"),
        (Some(Setting::Enforced), Some(Preference::On), "delivered"),
        (Some(Setting::Enforced), Some(Preference::Off), "delivered"),
    ];

    fn said(verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Deliver => "delivered",
            Verdict::Suppress(reason) => reason.name(),
        }
    }

    proptest! {
        /// The code and the table agree on every pair, absent rows included.
        #[test]
        fn rule_matches_the_table(row in 0..TABLE.len()) {
            let (setting, preference, expected) = TABLE[row];
            prop_assert_eq!(said(decide(setting.unwrap_or_default(), preference.unwrap_or_default())), expected);
        }

        /// A quiet device rings for what is enforced and for nothing else; one that is not quiet is no reason to be silent.
        #[test]
        fn quiet_never_overrides_enforced(setting in 0..3_usize, quiet: bool) {
            let setting = Setting::ALL[setting];
            let rings = !quiet || setting == Setting::Enforced;
            prop_assert_eq!(decide_device(setting, quiet) == Verdict::Deliver, rings);
        }

        /// Enforced rings whatever the person set; disabled never does.
        #[test]
        fn enforced_always_disabled_never(off: bool) {
            let preference = if off { Preference::Off } else { Preference::On };
            prop_assert_eq!(decide(Setting::Enforced, preference), Verdict::Deliver);
            prop_assert!(decide(Setting::Disabled, preference) != Verdict::Deliver);
        }
    }
}
