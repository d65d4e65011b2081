//! How values look in JSON, and how the interface's description shows them.
use std::borrow::Cow;

use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::event::{NotificationType, SystemNotice, Timestamp};
use crate::people::enrolment::{DeviceKind, Unreached, Way};
use crate::people::{ActorRole, Audited, ClosedReason, DeviceState, Disowned, Happening, Permission, Role, Verb};
use crate::policy::{Detail, Environment, Platform, Preference, Setting, Suppression};
use crate::store::{Announced, InForce};

/// A moment, as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(pub(super) Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = self.0.as_millis();
        let nanos = i32::try_from(millis.rem_euclid(1_000)).unwrap_or_default() * 1_000_000;
        serializer.collect_str(&prost_types::Timestamp { seconds: millis.div_euclid(1_000), nanos })
    }
}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        let description = "A moment in UTC, as RFC 3339: 2026-01-02T03:04:05.678Z.";
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).description(Some(description)).into()
    }
}

impl ToSchema for Moment {}

/// A domain's closed set of words, described from the words themselves.
macro_rules! words {
    ($($kind:ty, $name:literal, $description:literal: $words:expr;)*) => {$(
        impl PartialSchema for $kind {
            fn schema() -> RefOr<Schema> {
                let words: Vec<&'static str> = $words;
                ObjectBuilder::new().schema_type(Type::String).description(Some($description)).enum_values(Some(words)).into()
            }
        }

        impl ToSchema for $kind {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    )*};
}

/// What was audited, as its name.
pub(super) enum AuditAction {}
/// What an audited change changed, as its name.
pub(super) enum AuditValue {}
/// What a notice tells, as its name.
pub(super) enum NoticeWhat {}
/// What was not them, as its name.
pub(super) enum DisownedWhat {}
/// Why a type does not notify somebody, as its name.
pub(super) enum PreferenceReason {}

const SETTINGS: [Setting; 3] = [Setting::Disabled, Setting::Enabled, Setting::Enforced];
const DETAILS: [Detail; 2] = [Detail::Minimal, Detail::Full];

words! {
    NotificationType, "NotificationType", "A type of notification.": Self::ALL.map(Self::name).to_vec();
    Setting, "Setting", "What a workspace set for a type: nobody is notified, each person decides, or everybody is notified and nobody can \
        turn it off.": SETTINGS.map(Self::name).to_vec();
    Preference, "Preference", "What a person set for a type.": [Self::On, Self::Off].map(Self::name).to_vec();
    Role, "Role", "What a person is in a workspace.": Self::ALL.map(Self::name).to_vec();
    Verb, "Verb", "What was answered; deny_not_me: the person did not start it.":
        [Self::Approve, Self::Deny, Self::DenyNotMe].map(Self::name).to_vec();
    DeviceState, "DeviceState", "What a device may do: show and deny, or approve too.":
        [Self::ReceiveOnly, Self::Approver].map(Self::name).to_vec();
    DeviceKind, "DeviceKind", "What a device is.": [Self::Phone, Self::Tablet, Self::Other].map(Self::name).to_vec();
    Permission, "Permission", "What a phone's system lets the app do: notify, not notify, or notify quietly until the person decides.":
        [Self::Allowed, Self::Denied, Self::Provisional].map(Self::name).to_vec();
    Way, "Way", "A way in which a phone becomes one that may approve.": Self::ALL.map(Self::name).to_vec();
    Platform, "Platform", "A push platform.": [Self::Apns, Self::Fcm].map(Self::name).to_vec();
    Environment, "Environment", "The world that a push token belongs to; sandbox is for apns only.":
        [Self::Production, Self::Sandbox].map(Self::name).to_vec();
    ClosedReason, "ClosedReason", "Why a request ended without an answer.":
        [Self::Expired, Self::Superseded, Self::Cancelled].map(Self::name).to_vec();
    Happening, "Happening", "What happened to a notification.": Self::ALL.map(Self::name).to_vec();
    Detail, "PushDetail", "How much pushes say by themselves: a harmless text, or the names of devices and people too.": DETAILS.map(Self::name).to_vec();
    Unreached, "NotReachedReason", "Why a type does not reach somebody: what has to be mended first.": Self::ALL.map(Self::name).to_vec();
    AuditAction, "AuditAction", "What was done.": Audited::ACTIONS.to_vec();
    AuditValue, "AuditValue", "What is set: for a type, or how much pushes say.":
        SETTINGS.map(Setting::name).into_iter().chain(DETAILS.map(Detail::name)).collect();
    NoticeWhat, "NoticeWhat", "What a notice tells.": SystemNotice::ALL.map(SystemNotice::name).to_vec();
    DisownedWhat, "DisownedWhat", "What somebody said was not them: what a notice told, or a request.":
        SystemNotice::ALL.map(SystemNotice::name).into_iter().chain([Disowned::REQUEST]).collect();
    PreferenceReason, "PreferenceReason", "Why a type does not notify somebody.":
        [Suppression::DisabledByWorkspace, Suppression::MutedByUser].map(Suppression::name).to_vec();
    ActorRole, "ActorRole", "By which right somebody acted.":
        Role::ALL.map(Self::Of).into_iter().chain([Self::Operator, Self::Upstream]).map(Self::name).collect();
}

/// Seconds after which a change is in force everywhere at the latest; 0: it is, within milliseconds.
pub(super) fn in_force_within_s(done: InForce, ttl_s: u32) -> u32 {
    announced_within_s(done.announced.unwrap_or(Announced::Everywhere), ttl_s)
}

/// The same.
pub(super) fn announced_within_s(announced: Announced, ttl_s: u32) -> u32 {
    match announced {
        Announced::Everywhere => 0,
        Announced::NotYet => ttl_s,
    }
}

/// Serialises a closed set by its name.
pub(super) fn by_name<S: Serializer>(role: &ActorRole, serializer: S) -> Result<S::Ok, S::Error> {
    role.name().serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_rfc_3339() {
        // Milliseconds are kept; moments before 1970 too.
        for (millis, text) in [
            (1_700_000_000_000, "2023-11-14T22:13:20Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(serde_json::to_value(Moment(Timestamp(millis))).unwrap(), text);
        }
    }

    #[test]
    fn described_words_are_the_ones_that_are_sent() {
        // A word that serde writes and the description lacks would be an answer that nobody expects.
        let described = |schema: RefOr<Schema>| serde_json::to_value(schema).unwrap()["enum"].clone();
        assert_eq!(described(NotificationType::schema()), serde_json::to_value(NotificationType::ALL).unwrap());
        let settings = [Setting::Disabled, Setting::Enabled, Setting::Enforced];
        assert_eq!(described(Setting::schema()), serde_json::to_value(settings).unwrap());
        assert_eq!(described(Preference::schema()), serde_json::to_value([Preference::On, Preference::Off]).unwrap());
        assert_eq!(described(Role::schema()), serde_json::to_value(Role::ALL).unwrap());
        assert_eq!(described(Verb::schema()), serde_json::json!(["approve", "deny", "deny_not_me"]));
        assert_eq!(described(Happening::schema()), serde_json::to_value(Happening::ALL).unwrap());
        assert_eq!(described(ActorRole::schema()).as_array().unwrap().len(), Role::ALL.len() + 2);
        assert_eq!(
            described(DeviceState::schema()),
            serde_json::json!([DeviceState::ReceiveOnly, DeviceState::Approver])
        );
        assert_eq!(
            described(DeviceKind::schema()),
            serde_json::json!([DeviceKind::Phone, DeviceKind::Tablet, DeviceKind::Other])
        );
        let permissions = serde_json::json!([Permission::Allowed, Permission::Denied, Permission::Provisional]);
        assert_eq!(described(Permission::schema()), permissions);
        assert_eq!(described(Way::schema()), serde_json::json!(Way::ALL));
        assert_eq!(described(Platform::schema()), serde_json::json!([Platform::Apns, Platform::Fcm]));
        assert_eq!(
            described(Environment::schema()),
            serde_json::json!([Environment::Production, Environment::Sandbox])
        );
        assert_eq!(described(ClosedReason::schema()), serde_json::json!(["expired", "superseded", "cancelled"]));
    }
}
