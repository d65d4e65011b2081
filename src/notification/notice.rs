//! What Watchbell itself tells people: sentences without a name, which a lock screen may show.
use super::texts::Message;
use super::{Category, Interruption};
use crate::event::SystemNotice;

/// Title and body.
pub(super) const fn messages(what: SystemNotice) -> [Message; 2] {
    let [title, body] = match what {
        SystemNotice::Guard => ["notice-guard-title", "notice-guard"],
        SystemNotice::Enrolled => ["notice-enrolled-title", "notice-enrolled"],
        SystemNotice::Promoted => ["notice-promoted-title", "notice-promoted"],
        SystemNotice::Removed => ["notice-removed-title", "notice-removed"],
        SystemNotice::Reset => ["notice-reset-title", "notice-reset"],
        SystemNotice::NotMe => ["notice-not-me-title", "notice-not-me"],
        SystemNotice::Rolled => ["notice-rolled-title", "notice-rolled"],
        SystemNotice::Erased => ["notice-erased-title", "notice-erased"],
    };
    [Message::new(title, &[]), Message::new(body, &[])]
}

/// What happened to one's own phones may be denied on the spot; the others are answered in the app.
pub(super) const fn category(what: SystemNotice) -> Category {
    match what {
        SystemNotice::Guard | SystemNotice::NotMe | SystemNotice::Erased => Category::Notice,
        SystemNotice::Enrolled
        | SystemNotice::Promoted
        | SystemNotice::Removed
        | SystemNotice::Reset
        | SystemNotice::Rolled => Category::NoticeNotMe,
    }
}

/// The guard exists so that phones stay silent: its own notice lies in the list.
pub(super) const fn interruption(what: SystemNotice) -> Interruption {
    match what {
        SystemNotice::Guard => Interruption::Passive,
        SystemNotice::Enrolled
        | SystemNotice::Promoted
        | SystemNotice::Removed
        | SystemNotice::Reset
        | SystemNotice::NotMe
        | SystemNotice::Rolled
        | SystemNotice::Erased => Interruption::Active,
    }
}
