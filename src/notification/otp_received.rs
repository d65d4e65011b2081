//! A one-time password arrived: informs, through Focus, because it is of no use after minutes. The code itself is never known here.
use super::texts::{Message, Wording};
use super::{Interruption, Type};
use crate::policy::Detail;

const TITLE: Message = Message::new("otp-received-title", &[]);
const MINIMAL: Message = Message::new("otp-received-minimal", &["account"]);
const FULL: Message = Message::new("otp-received-full", &["account", "service"]);
const WITHDRAWN: [Message; 2] =
    [Message::new("otp-received-withdrawn-title", &[]), Message::new("otp-received-withdrawn", &[])];

pub(super) const TYPE: Type =
    Type { interruption: Interruption::TimeSensitive, title: TITLE, withdrawn: WITHDRAWN, bodies: &[MINIMAL, FULL] };

pub(super) fn body(account: &str, service: &str, detail: Detail, wording: Wording<'_>) -> String {
    let account = wording.name(account);
    match detail {
        Detail::Minimal => wording.text(MINIMAL, &[&account]),
        Detail::Full => wording.text(FULL, &[&account, &wording.name(service)]),
    }
}
