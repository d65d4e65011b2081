//! An account was shared with the person: informs, and respects Focus, because nothing is lost by reading it later.
use super::texts::{Message, Wording};
use super::{Interruption, Type};
use crate::event::Access;
use crate::policy::Detail;

const TITLE: Message = Message::new("account-sharing-title", &[]);
const MINIMAL: Message = Message::new("account-sharing-minimal", &["account"]);
const FULL: Message = Message::new("account-sharing-full", &["account", "shared_by", "access"]);
const WITHDRAWN: [Message; 2] =
    [Message::new("account-sharing-withdrawn-title", &[]), Message::new("account-sharing-withdrawn", &[])];

pub(super) const TYPE: Type =
    Type { interruption: Interruption::Active, title: TITLE, withdrawn: WITHDRAWN, bodies: &[MINIMAL, FULL] };

pub(super) fn body(account: &str, shared_by: &str, access: Access, detail: Detail, wording: Wording<'_>) -> String {
    let account = wording.name(account);
    match detail {
        Detail::Minimal => wording.text(MINIMAL, &[&account]),
        Detail::Full => wording.text(FULL, &[&account, &wording.name(shared_by), variant(access)]),
    }
}

/// The variant's key in the Fluent files.
const fn variant(access: Access) -> &'static str {
    match access {
        Access::Unspecified => "unspecified",
        Access::View => "view",
        Access::Use => "use",
        Access::Edit => "edit",
        Access::Manage => "manage",
    }
}
