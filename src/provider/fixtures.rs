//! Pushes for the providers' tests.
use std::fmt::Write as _;

use crate::delivery::{Content, JobId, Push, Reference};
use crate::event::{
    Access, Body, DeviceId, Event, EventId, NotificationType, SystemNotice, Timestamp, UserId, WorkspaceId,
};
use crate::notification::{Locale, Notification, Texts, notice, render, withdrawn};
use crate::policy::{
    Detail, Device, DeviceView, Environment, Installation, Platform, Token, User, UserEntry, Workspace,
};

/// 2027-01-15T08:00:00Z: the moment of the fixtures.
pub(super) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
/// A token as Apple's are; Google's have more characters, ours does not matter.
pub(super) const TOKEN: &str = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";

/// A person with one device.
pub(super) fn owner(platform: Platform, token: &str) -> UserEntry {
    let app = match platform {
        Platform::Apns => "com.example.lumen",
        Platform::Fcm => "com.example.lumen.android",
    };
    owner_of(platform, app, token)
}

/// A person with one device of an app.
pub(super) fn owner_of(platform: Platform, app: &str, token: &str) -> UserEntry {
    let installation =
        Installation { platform, app: app.into(), environment: Environment::Production, token: Token::new(token) };
    let device = Device {
        id: DeviceId::new("d-1").unwrap(),
        installation,
        locale: "de-AT".into(),
        registered_at: NOW,
        quiet: false,
    };
    UserEntry::pack(&User { version: 1, preferences: Default::default(), devices: vec![device] }).unwrap()
}

/// One event of each type; the two that await an answer need the number.
pub(super) fn event(kind: NotificationType) -> Event {
    let body = match kind {
        NotificationType::IdentityVerification => Body::IdentityVerification {
            application: "Lumen \"Pro\"".into(),
            device: "Firefox on Windows".into(),
            new_location: true,
            new_device: false,
        },
        NotificationType::TrustedDevice => Body::TrustedDevice {
            device_name: "Ana's iPad".into(),
            browser: "Safari".into(),
            operating_system: "iPadOS".into(),
            new_location: false,
        },
        NotificationType::AccountSharing => {
            Body::AccountSharing { account: "Payroll".into(), shared_by: "Ana Nakamura".into(), access: Access::Use }
        }
        NotificationType::OtpReceived => Body::OtpReceived { account: "Payroll".into(), service: "Contoso".into() },
    };
    Event {
        id: EventId::new("evt-7").unwrap(),
        workspace: WorkspaceId::new("acme").unwrap(),
        recipients: vec![UserId::new("auth0|ana").unwrap()],
        occurred_at: NOW,
        expires_at: NOW.plus(kind.default_lifetime()),
        number_required: kind.is_actionable(),
        test: false,
        body,
    }
}

/// The workspace of the fixtures.
pub(super) fn workspace(detail: Detail) -> Workspace {
    Workspace { version: 3, display_name: "Acme & Söhne".into(), detail, settings: Default::default() }
}

/// The device of [`owner`].
pub(super) fn device(owner: &UserEntry) -> DeviceView<'_> {
    owner.devices().next().unwrap()
}

/// A push of an event; its withdrawal replaces the entry of the first.
pub(super) fn push<'a>(
    device: &'a DeviceView<'a>,
    event: &'a Event,
    workspace: &'a Workspace,
    content: Content<'a>,
) -> Push<'a> {
    let (id, kind, user) = (event.workspace.as_str(), event.kind(), event.recipients[0].as_str());
    let shown = JobId::show(id, kind, event.id.as_str(), user, device.id());
    let job = match content {
        Content::Show(_) | Content::Nonce { .. } => shown,
        Content::Withdraw(_) => JobId::withdraw(id, kind, event.id.as_str(), user, device.id()),
        Content::Notice(..) => JobId::notice(id, kind, event.id.as_str(), user, device.id()),
    };
    let collapse = if matches!(content, Content::Notice(..)) { job } else { shown };
    let reference =
        Reference { number_required: event.number_required && collapse == shown, ..Reference::of(event, workspace) };
    Push { job, collapse, device, content, reference, expires_at: event.expires_at, attempts: 0 }
}

/// Every payload that a platform can be sent, as committed text: each type in both details, and its withdrawal; the notices.
pub(super) fn all_payloads(platform: Platform, body: impl Fn(&Push<'_>) -> serde_json::Value) -> String {
    let texts = Texts::load().unwrap();
    let owner = owner(platform, TOKEN);
    let mut shown = String::new();
    let mut show = |name: String, push: &Push<'_>| {
        writeln!(shown, "# {name}\n{}\n", serde_json::to_string_pretty(&body(push)).unwrap()).unwrap();
    };
    for kind in NotificationType::ALL {
        let event = event(kind);
        for detail in [Detail::Minimal, Detail::Full] {
            let workspace = workspace(detail);
            let rendered = render(&event, &workspace, Locale::EnUs, &texts);
            let device = device(&owner);
            let push = push(&device, &event, &workspace, Content::Show(&rendered));
            show(format!("{}, {detail:?}", kind.name()), &push);
        }
        let workspace = workspace(Detail::Minimal);
        let gone = withdrawn(kind, Locale::EnUs, &texts);
        show(
            format!("{}, withdrawn", kind.name()),
            &push(&device(&owner), &event, &workspace, Content::Withdraw(&gone)),
        );
    }
    let workspace = workspace(Detail::Minimal);
    let test = Event { test: true, number_required: false, ..event(NotificationType::IdentityVerification) };
    let rendered = render(&test, &workspace, Locale::EnUs, &texts);
    show("a test".to_owned(), &push(&device(&owner), &test, &workspace, Content::Show(&rendered)));
    let about = event(NotificationType::TrustedDevice);
    for what in SystemNotice::ALL {
        let said = notice(about.kind(), what, Locale::EnUs, &texts);
        let content = Content::Notice(&said, what);
        show(format!("notice, {}", what.name()), &push(&device(&owner), &about, &workspace, content));
    }
    let event = event(NotificationType::IdentityVerification);
    let [title, body] = crate::notification::reach(Locale::EnUs, &texts);
    let content = Content::Nonce { title: &title, body: &body, nonce: "bm9uY2U" };
    show("a nonce".to_owned(), &push(&device(&owner), &event, &workspace, content));
    shown.replace('\u{2068}', "⟨").replace('\u{2069}', "⟩")
}

/// A push whose every part is as long and as costly to escape as `filler` makes it.
pub(super) fn with_extreme_push(filler: &str, withdraw: bool, platform: Platform, check: impl FnOnce(&Push<'_>)) {
    let id = |filler: &str| -> String {
        let printable: String = filler.chars().filter(char::is_ascii_graphic).chain("\"".repeat(128).chars()).collect();
        printable[..128].to_owned()
    };
    let mut event = event(NotificationType::IdentityVerification);
    event.id = EventId::new(id(filler)).unwrap();
    event.workspace = WorkspaceId::new(id(filler)).unwrap();
    event.expires_at = Timestamp(i64::MAX);
    let workspace = Workspace { display_name: filler.repeat(3), ..workspace(Detail::Full) };
    let notification = Notification {
        kind: event.kind(),
        title: filler.repeat(2),
        body: filler.repeat(7),
        category: crate::notification::Category::ApproveNumber,
        interruption: crate::notification::Interruption::TimeSensitive,
    };
    let owner = owner(platform, TOKEN);
    let content = if withdraw { Content::Withdraw(&notification) } else { Content::Show(&notification) };
    check(&push(&device(&owner), &event, &workspace, content));
}

/// What Apple's payload says for the same push.
pub(super) fn apns_body(push: &Push<'_>) -> serde_json::Value {
    super::apns::body_for_tests(push)
}
