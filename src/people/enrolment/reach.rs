//! Whom a notification type reaches, and whom not and why: what admins look at before they enforce it.
use crate::people::{DeviceState, Permission};
use crate::policy::{Preference, Setting, Verdict, decide, decide_device};

/// What is known of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reachability {
    /// What it may do.
    pub state: DeviceState,
    /// Whether pushes have somewhere to go.
    pub has_token: bool,
    /// Whether a push was seen to reach it.
    pub reachable: bool,
    /// Whether its token died: it was a phone to which pushes could go, and was not reached since.
    pub lost: bool,
    /// What its system allows; `None` if the app did not say.
    pub permission: Option<Permission>,
    /// Whether its person wants it not to ring.
    pub quiet: bool,
}

/// Why a type does not reach a person. The order is that in which they have to be mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unreached {
    /// They have no phone to which a push could go.
    NoPhone,
    /// Their phones' systems show no notifications of the app.
    NotificationsOff,
    /// No push is known to reach any of their phones: none ever did, or the tokens died.
    NotReachable,
    /// It reaches them, and none of their phones that a push could go to may approve.
    CannotApprove,
    /// It could reach them, and policy keeps it from ringing.
    Suppressed,
}

impl Unreached {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::NoPhone, Self::NotificationsOff, Self::NotReachable, Self::CannotApprove, Self::Suppressed];

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoPhone => "no_phone",
            Self::NotificationsOff => "notifications_off",
            Self::NotReachable => "not_reachable",
            Self::CannotApprove => "cannot_approve",
            Self::Suppressed => "suppressed",
        }
    }
}

/// Why a type does not reach a person with these devices, none of them retired; `None` if it does. `asks`: it awaits an answer.
pub fn unreached(asks: bool, setting: Setting, preference: Preference, devices: &[Reachability]) -> Option<Unreached> {
    let with_token = || devices.iter().filter(|device| device.has_token);
    let showing = || with_token().filter(|device| device.permission != Some(Permission::Denied));
    let rings = |device: &Reachability| decide_device(setting, device.quiet) == Verdict::Deliver;
    if with_token().next().is_none() {
        let lost = devices.iter().any(|device| device.lost);
        Some(if lost { Unreached::NotReachable } else { Unreached::NoPhone })
    } else if showing().next().is_none() {
        Some(Unreached::NotificationsOff)
    } else if !showing().any(|device| device.reachable) {
        Some(Unreached::NotReachable)
    } else if asks && !with_token().any(|device| device.state == DeviceState::Approver) {
        Some(Unreached::CannotApprove)
    } else {
        let reached = decide(setting, preference) == Verdict::Deliver && showing().any(rings);
        (!reached).then_some(Unreached::Suppressed)
    }
}
