//! Whom a notification type reaches, and whom not and why: what admins look at before they enforce it.
use crate::people::{DeviceState, Permission};
use crate::policy::Verdict;

/// What is known of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reachability {
    /// What it may do.
    pub state: DeviceState,
    /// Whether pushes have somewhere to go.
    pub has_token: bool,
    /// Whether a push was seen to reach it.
    pub reachable: bool,
    /// What its system allows; `None` if the app did not say.
    pub permission: Option<Permission>,
}

/// Why a type does not reach a person. The order is that in which they have to be mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unreached {
    /// They have no phone to which a push could go.
    NoPhone,
    /// Their phones' systems show no notifications of the app.
    NotificationsOff,
    /// No push was ever seen to reach any of their phones.
    NotReachable,
    /// It reaches them, and none of their phones may approve.
    CannotApprove,
    /// It could reach them, and policy keeps it from ringing.
    Suppressed,
}

impl Unreached {
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
pub fn unreached(asks: bool, verdict: Verdict, devices: &[Reachability]) -> Option<Unreached> {
    let with_token: Vec<_> = devices.iter().filter(|device| device.has_token).collect();
    let shows = |device: &&&Reachability| device.permission != Some(Permission::Denied);
    let showing: Vec<_> = with_token.iter().filter(shows).collect();
    if with_token.is_empty() {
        Some(Unreached::NoPhone)
    } else if showing.is_empty() {
        Some(Unreached::NotificationsOff)
    } else if !showing.iter().any(|device| device.reachable) {
        Some(Unreached::NotReachable)
    } else if asks && !devices.iter().any(|device| device.state == DeviceState::Approver) {
        Some(Unreached::CannotApprove)
    } else {
        (verdict != Verdict::Deliver).then_some(Unreached::Suppressed)
    }
}
