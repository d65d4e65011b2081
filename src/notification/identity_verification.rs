//! Somebody signs in and the person must say whether it is them: approve and deny, through Focus.
use super::texts::{Message, Wording};
use super::{Interruption, Type, name};
use crate::policy::Detail;

const TITLE: Message = Message::new("identity-verification-title", &[]);
const MINIMAL: Message = Message::new("identity-verification-minimal", &["application"]);
const FULL: Message = Message::new("identity-verification-full", &["application", "device"]);
const NEW_DEVICE: Message = Message::new("identity-verification-full-new-device", &["application", "device"]);
const NEW_LOCATION: Message = Message::new("identity-verification-full-new-location", &["application", "device"]);
const NEW_BOTH: Message =
    Message::new("identity-verification-full-new-device-and-location", &["application", "device"]);
const WITHDRAWN: [Message; 2] =
    [Message::new("identity-verification-withdrawn-title", &[]), Message::new("identity-verification-withdrawn", &[])];

/// Stands for a device of which upstream says nothing.
pub(super) const UNKNOWN_DEVICE: Message = Message::new("unknown-device", &[]);

pub(super) const TYPE: Type = Type {
    interruption: Interruption::TimeSensitive,
    title: TITLE,
    withdrawn: WITHDRAWN,
    bodies: &[MINIMAL, FULL, NEW_DEVICE, NEW_LOCATION, NEW_BOTH],
};

/// `new` says whether the device and whether the place are new to this person.
pub(super) fn body(application: &str, device: &str, new: (bool, bool), detail: Detail, wording: Wording<'_>) -> String {
    let application = wording.name(application);
    match detail {
        Detail::Minimal => wording.text(MINIMAL, &[&application]),
        Detail::Full => {
            let message = match new {
                (false, false) => FULL,
                (true, false) => NEW_DEVICE,
                (false, true) => NEW_LOCATION,
                (true, true) => NEW_BOTH,
            };
            let mut device = name::clean(device);
            if device.is_empty() {
                device = wording.text(UNKNOWN_DEVICE, &[]).into();
            }
            wording.text(message, &[&application, &device])
        }
    }
}
