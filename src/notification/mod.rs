//! Notifications: what a person reads, platform-neutral, rendered once for each locale.
//!
//! The point: everything that a type shows (texts, buttons, how it interrupts) stands in one file of that type, and its sentences in
//! `config/locales/*.ftl`. Names come from strangers: they are cleaned, cut at a grapheme, and isolated by Unicode's FSI and PDI.
//! Deliberately no word about payloads, devices or providers, and never a code, an address or a place: the events do not hold them.
//! It cannot fail: [`Texts::load`] refused whatever rendering would miss.
//!
//! Invariant: does no I/O, reads no clock; the same arguments give the same texts.
mod account_sharing;
mod identity_verification;
mod locale;
mod name;
mod notice;
mod otp_received;
#[cfg(test)]
mod tests;
mod texts;
mod trusted_device;

pub use locale::Locale;
pub use name::{NAME_BYTES_MAX, clean, cut};
pub use texts::{Texts, TextsError};

use crate::event::{Body, Event, NotificationType, SystemNotice};
use crate::policy::{Detail, Workspace};
use texts::{Message, Wording};

/// A rendered notification. Its texts come from strangers' names and never print.
#[derive(Clone, PartialEq, Eq)]
pub struct Notification {
    /// The type.
    pub kind: NotificationType,
    /// One line.
    pub title: String,
    /// A sentence or two.
    pub body: String,
    /// Which buttons the app shows.
    pub category: Category,
    /// How it interrupts.
    pub interruption: Interruption,
}

/// The app's registered category: which buttons a notification has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    /// No buttons.
    Inform,
    /// Approve and deny.
    Approve,
    /// Approve with a text input for the number, and deny.
    ApproveNumber,
    /// A notice of Watchbell itself, without buttons.
    Notice,
    /// A notice about one's own phones: "not me".
    NoticeNotMe,
}

impl Category {
    /// The id under which apps register it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inform => "watchbell.inform",
            Self::Approve => "watchbell.approve",
            Self::ApproveNumber => "watchbell.approve_number",
            Self::Notice => "watchbell.notice",
            Self::NoticeNotMe => "watchbell.notice_not_me",
        }
    }

    /// The category of a type: buttons where the person must answer, with an input where the answer needs the number.
    pub const fn of(kind: NotificationType, number_required: bool) -> Self {
        match (kind.is_actionable(), number_required) {
            (true, true) => Self::ApproveNumber,
            (true, false) => Self::Approve,
            (false, _) => Self::Inform,
        }
    }
}

/// How a notification interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interruption {
    /// Lies in the list, without sound or light.
    Passive,
    /// Sound, unless the phone is in Focus.
    Active,
    /// Breaks through Focus where the person allows it.
    TimeSensitive,
}

impl std::fmt::Debug for Notification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notification").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// What one type says about itself; each type's file holds one.
struct Type {
    interruption: Interruption,
    title: Message,
    /// Title and body after the notification was taken back: the title must not go on asking.
    withdrawn: [Message; 2],
    /// The bodies of [`Detail::Minimal`] and [`Detail::Full`].
    bodies: &'static [Message],
}

/// What a push says that only brings a nonce: title and body.
const REACH: [Message; 2] = [Message::new("reach-title", &[]), Message::new("reach", &[])];

/// What a test says in the place of its type's words: title and body.
const TEST: [Message; 2] = [Message::new("test-title", &[]), Message::new("test", &[])];

/// What stands for a name without a visible character.
const UNNAMED: Message = Message::new("unnamed", &[]);

const fn type_of(kind: NotificationType) -> &'static Type {
    match kind {
        NotificationType::IdentityVerification => &identity_verification::TYPE,
        NotificationType::TrustedDevice => &trusted_device::TYPE,
        NotificationType::AccountSharing => &account_sharing::TYPE,
        NotificationType::OtpReceived => &otp_received::TYPE,
    }
}

/// Every message that the code asks for: what each language's file must hold, no more and no less.
fn messages() -> impl Iterator<Item = Message> {
    let of_types = NotificationType::ALL.into_iter().map(type_of);
    let of_types =
        of_types.flat_map(|kind| std::iter::once(kind.title).chain(kind.withdrawn).chain(kind.bodies.iter().copied()));
    let of_notices = SystemNotice::ALL.into_iter().flat_map(notice::messages);
    [UNNAMED, identity_verification::UNKNOWN_DEVICE]
        .into_iter()
        .chain(REACH)
        .chain(TEST)
        .chain(of_types)
        .chain(of_notices)
}

/// Renders an event for the people of one language.
pub fn render(event: &Event, workspace: &Workspace, locale: Locale, texts: &Texts) -> Notification {
    let wording = texts.wording(locale);
    let kind = event.kind();
    if event.test {
        // As loud as what it stands for, and without its buttons.
        let [title, body] = TEST.map(|message| wording.text(message, &[]));
        return Notification {
            kind,
            title,
            body,
            category: Category::Inform,
            interruption: type_of(kind).interruption,
        };
    }
    Notification {
        kind,
        title: wording.text(type_of(kind).title, &[]),
        body: body(&event.body, workspace.detail, wording),
        category: Category::of(kind, event.number_required),
        interruption: type_of(kind).interruption,
    }
}

/// What takes a notification's place after it was withdrawn, on phones that cannot remove it.
pub fn withdrawn(kind: NotificationType, locale: Locale, texts: &Texts) -> Notification {
    let [title, body] = type_of(kind).withdrawn.map(|message| texts.wording(locale).text(message, &[]));
    Notification { kind, title, body, category: Category::Inform, interruption: Interruption::Passive }
}

/// What Watchbell itself tells people; `kind` is the type that it is about.
pub fn notice(kind: NotificationType, what: SystemNotice, locale: Locale, texts: &Texts) -> Notification {
    let [title, body] = notice::messages(what).map(|message| texts.wording(locale).text(message, &[]));
    Notification { kind, title, body, category: notice::category(what), interruption: notice::interruption(what) }
}

/// Title and body of a push that only brings a nonce, for a phone whose app does not take it.
pub fn reach(locale: Locale, texts: &Texts) -> [String; 2] {
    REACH.map(|message| texts.wording(locale).text(message, &[]))
}

fn body(body: &Body, detail: Detail, wording: Wording<'_>) -> String {
    match body {
        Body::IdentityVerification { application, device, new_location, new_device } => {
            identity_verification::body(application, device, (*new_device, *new_location), detail, wording)
        }
        Body::TrustedDevice { device_name, browser, operating_system, new_location } => {
            trusted_device::body(device_name, [browser, operating_system], *new_location, detail, wording)
        }
        Body::AccountSharing { account, shared_by, access } => {
            account_sharing::body(account, shared_by, *access, detail, wording)
        }
        Body::OtpReceived { account, service } => otp_received::body(account, service, detail, wording),
    }
}
