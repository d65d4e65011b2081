//! The JSON body of a push, and the header values that differ from push to push, written into one buffer.
//!
//! The body never exceeds Apple's 4,096 bytes: its texts are bounded before they are escaped. It holds what the lock screen may show
//! and the ids by which the app asks for more; never an address, a place, a number or a code.
use bytes::Bytes;
use http::{HeaderValue, uri::PathAndQuery};

use crate::delivery::{Content, Push, PushKind};
use crate::notification::{Interruption, Notification};
use crate::provider::json::Json;
use crate::provider::limits;

/// Room for a usual body, path and ids, so that the buffer does not grow: about 750 bytes in all languages but Japanese (900).
const CAPACITY: usize = 1024;
const DEVICE_PATH: &str = "/3/device/";

/// One push, ready for the wire: slices of one buffer.
pub(super) struct Encoded {
    pub(super) body: Bytes,
    pub(super) path: PathAndQuery,
    pub(super) values: Values,
}

/// The header values that differ from push to push.
pub(super) struct Values {
    pub(super) id: HeaderValue,
    pub(super) collapse_id: HeaderValue,
    pub(super) expiration: HeaderValue,
}

/// Writes a push. The token must be hexadecimal.
pub(super) fn encode(push: &Push<'_>) -> Encoded {
    let mut json = Json::with_capacity(CAPACITY);
    body(&mut json, push);
    let body = json.len();
    json.raw(DEVICE_PATH).plain(push.device.expose_token());
    let path = json.len();
    json.plain(push.job.encode(&mut [0; 36]));
    let id = json.len();
    json.plain(push.collapse.encode(&mut [0; 36]));
    let collapse_id = json.len();
    // 0 would mean: try once and never store. What is late already is not sent at all.
    json.number(push.expires_at.as_secs().max(1));
    let bytes = json.into_bytes();
    Encoded {
        path: PathAndQuery::from_maybe_shared(bytes.slice(body..path))
            .unwrap_or(PathAndQuery::from_static(DEVICE_PATH)),
        values: Values {
            id: private(bytes.slice(path..id)),
            collapse_id: private(bytes.slice(id..collapse_id)),
            expiration: private(bytes.slice(collapse_id..)),
        },
        body: bytes.slice(..body),
    }
}

/// A value that no other push has: marked so that HPACK keeps it out of its table, where it would drive out the authorization.
fn private(bytes: Bytes) -> HeaderValue {
    // Only digits, hexadecimal and hyphens are ever written, which are valid.
    let mut value = HeaderValue::from_maybe_shared(bytes).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn body(json: &mut Json, push: &Push<'_>) {
    let (kind, notification) = match push.content {
        Content::Show(notification) => (PushKind::Show, notification),
        Content::Withdraw(notification) => (PushKind::Withdraw, notification),
        Content::Notice(notification, _) => (PushKind::Notice, notification),
        Content::Nonce { title, body, nonce } => return reach(json, push, [title, body], nonce),
    };
    let reference = &push.reference;
    json.raw(r#"{"aps":{"alert":{"title":"#).text(&limits::title(&notification.title));
    json.raw(r#","body":"#).text(&limits::body(&notification.body)).raw("}");
    presentation(json, kind, notification);
    json.raw(r#","thread-id":"#).joined(&[reference.workspace, "/", reference.kind.name()]);
    json.raw(r#","mutable-content":1},"kind":"#).text(kind.name());
    if let Content::Notice(_, what) = push.content {
        json.raw(r#","notice":"#).text(what.name());
    }
    json.raw(r#","type":"#).text(reference.kind.name());
    json.raw(r#","workspace_id":"#).text(reference.workspace);
    json.raw(r#","workspace_name":"#).text(&limits::workspace_name(reference.workspace_name));
    json.raw(r#","event_id":"#).text(reference.event);
    json.raw(r#","job_id":"#).text(push.job.encode(&mut [0; 36]));
    json.raw(r#","expires_at":"#).number(push.expires_at.as_secs());
    if reference.test {
        json.raw(r#","test":true"#);
    }
    json.raw(if reference.number_required { r#","number_required":true}"# } else { r#","number_required":false}"# });
}

/// A nonce: an alert like any other, because that is what it proves, without sound. The app's extension sends it back.
fn reach(json: &mut Json, push: &Push<'_>, [title, body]: [&str; 2], nonce: &str) {
    let reference = &push.reference;
    json.raw(r#"{"aps":{"alert":{"title":"#).text(&limits::title(title));
    json.raw(r#","body":"#).text(&limits::body(body));
    json.raw(r#"},"interruption-level":"passive","mutable-content":1},"kind":"reach","workspace_id":"#);
    json.text(reference.workspace);
    json.raw(r#","workspace_name":"#).text(&limits::workspace_name(reference.workspace_name));
    json.raw(r#","nonce":"#).text(nonce);
    json.raw(r#","expires_at":"#).number(push.expires_at.as_secs()).raw("}");
}

/// Buttons, sound and how it interrupts; what is passive has no sound, a withdrawal has none of them and replaces what is there in silence.
fn presentation(json: &mut Json, kind: PushKind, notification: &Notification) {
    match kind {
        PushKind::Show | PushKind::Notice => {
            json.raw(r#","category":"#).text(notification.category.name());
            if notification.interruption != Interruption::Passive {
                json.raw(r#","sound":"default""#);
            }
            json.raw(r#","interruption-level":"#).text(interruption_level(notification.interruption));
        }
        PushKind::Withdraw => {
            json.raw(r#","interruption-level":"#).text(interruption_level(Interruption::Passive));
        }
    }
}

/// Apple's word, as a2's `InterruptionLevel` writes it.
pub(super) const fn interruption_level(interruption: Interruption) -> &'static str {
    match interruption {
        Interruption::Passive => "passive",
        Interruption::Active => "active",
        Interruption::TimeSensitive => "time-sensitive",
    }
}

#[cfg(test)]
mod tests {
    use a2::request::payload::{APS, APSAlert, APSSound};
    use a2::{DefaultNotificationBuilder, InterruptionLevel, NotificationBuilder as _};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::event::NotificationType;
    use crate::notification::{Category, Locale, Texts, render};
    use crate::policy::{Detail, Platform};
    use crate::provider::fixtures::{self, NOW, TOKEN};
    use crate::provider::limits::PAYLOAD_BYTES_MAX;

    /// Every payload reads as committed, so that each change of what phones get is seen.
    #[test]
    fn every_payload() {
        insta::assert_snapshot!(fixtures::all_payloads(Platform::Apns, |push| {
            serde_json::from_slice(&encode(push).body).unwrap()
        }));
    }

    /// The `aps` object is the one that a2's types give for the same notification.
    #[test]
    fn aps_is_a2s() {
        let texts = Texts::load().unwrap();
        let owner = fixtures::owner(Platform::Apns, TOKEN);
        let (event, workspace) = (fixtures::event(NotificationType::OtpReceived), fixtures::workspace(Detail::Full));
        let rendered = render(&event, &workspace, Locale::Ja, &texts);
        let device = fixtures::device(&owner);
        let push = fixtures::push(&device, &event, &workspace, Content::Show(&rendered));
        let ours: Value = serde_json::from_slice(&encode(&push).body).unwrap();
        let alert = DefaultNotificationBuilder::new().title(&rendered.title).body(&rendered.body);
        let Some(APSAlert::Default(alert)) = alert.build(TOKEN, Default::default()).aps.alert else {
            panic!("no alert")
        };
        let theirs = APS {
            alert: Some(APSAlert::Default(alert)),
            sound: Some(APSSound::Sound("default".into())),
            thread_id: Some("acme/otp_received".into()),
            category: Some(Category::Inform.name().into()),
            mutable_content: Some(1),
            interruption_level: Some(InterruptionLevel::TimeSensitive),
            ..APS::default()
        };
        assert_eq!(ours["aps"], json!(theirs));
        for (ours, theirs) in [
            (Interruption::Passive, InterruptionLevel::Passive),
            (Interruption::Active, InterruptionLevel::Active),
            (Interruption::TimeSensitive, InterruptionLevel::TimeSensitive),
        ] {
            assert_eq!(json!(theirs), interruption_level(ours));
        }
    }

    /// Path, id, collapse id and expiration stand beside the body; the ids are Apple's canonical form and never enter HPACK's table.
    #[test]
    fn values_beside_the_body() {
        let texts = Texts::load().unwrap();
        let owner = fixtures::owner(Platform::Apns, TOKEN);
        let (event, workspace) =
            (fixtures::event(NotificationType::TrustedDevice), fixtures::workspace(Detail::Minimal));
        let rendered = crate::notification::withdrawn(event.kind(), Locale::De, &texts);
        let device = fixtures::device(&owner);
        let push = fixtures::push(&device, &event, &workspace, Content::Withdraw(&rendered));
        let encoded = encode(&push);
        assert_eq!(encoded.path, format!("/3/device/{TOKEN}"));
        let Values { id, collapse_id, expiration } = encoded.values;
        assert_eq!(id, push.job.to_string());
        assert_eq!(collapse_id, push.collapse.to_string());
        assert_ne!(id, collapse_id);
        assert_eq!(expiration, (NOW.as_secs() + 600).to_string());
        assert!(id.is_sensitive() && collapse_id.is_sensitive() && expiration.is_sensitive());
    }

    proptest! {
        /// No payload exceeds Apple's limit, whatever the texts, names and ids, and all of them are JSON.
        #[test]
        fn never_too_large(filler in "(\\PC|[\\x00-\\x7f]|\"|\u{1f468}\u{200d}\u{1f469}){1,300}", withdraw: bool) {
            fixtures::with_extreme_push(&filler, withdraw, Platform::Apns, |push| {
                let body = encode(push).body;
                assert!(body.len() <= PAYLOAD_BYTES_MAX, "{} bytes", body.len());
                serde_json::from_slice::<Value>(&body).unwrap();
            });
        }
    }
}
