//! A new device wants to be trusted: approve and deny, through Focus.
use super::texts::{Message, Wording};
use super::{Interruption, Type, name};
use crate::policy::Detail;

const TITLE: Message = Message::new("trusted-device-title", &[]);
const MINIMAL: Message = Message::new("trusted-device-minimal", &[]);
const FULL: Message = Message::new("trusted-device-full", &["device"]);
const PLATFORM: Message = Message::new("trusted-device-full-platform", &["device", "platform"]);
const NEW_LOCATION: Message = Message::new("trusted-device-full-new-location", &["device"]);
const PLATFORM_NEW_LOCATION: Message =
    Message::new("trusted-device-full-platform-new-location", &["device", "platform"]);
const WITHDRAWN: [Message; 2] =
    [Message::new("trusted-device-withdrawn-title", &[]), Message::new("trusted-device-withdrawn", &[])];

pub(super) const TYPE: Type = Type {
    interruption: Interruption::TimeSensitive,
    title: TITLE,
    withdrawn: WITHDRAWN,
    bodies: &[MINIMAL, FULL, PLATFORM, NEW_LOCATION, PLATFORM_NEW_LOCATION],
};

/// `platform` is the browser and the operating system; either may be empty.
pub(super) fn body(
    device: &str,
    platform: [&str; 2],
    new_location: bool,
    detail: Detail,
    wording: Wording<'_>,
) -> String {
    match detail {
        Detail::Minimal => wording.text(MINIMAL, &[]),
        Detail::Full => {
            let device = wording.name(device);
            let [browser, system] = platform.map(name::clean);
            let platform = match (browser.is_empty(), system.is_empty()) {
                (true, _) => system,
                (false, true) => browser,
                (false, false) => format!("{browser}, {system}").into(),
            };
            match (platform.is_empty(), new_location) {
                (true, false) => wording.text(FULL, &[&device]),
                (true, true) => wording.text(NEW_LOCATION, &[&device]),
                (false, false) => wording.text(PLATFORM, &[&device, &platform]),
                (false, true) => wording.text(PLATFORM_NEW_LOCATION, &[&device, &platform]),
            }
        }
    }
}
