//! The JSON body of a message: data only, because buttons need the app's own code to draw them.
//!
//! The app shows (or removes) the entry named by `tag`; there is no `collapseKey`, which Google throttles. Keys and values together never
//! exceed 4,096 bytes. The data hold what the lock screen may show and the ids by which the app asks for more; never an address, a place,
//! a number or a code.
use bytes::Bytes;

use crate::delivery::{Content, Push, PushKind};
use crate::event::Timestamp;
use crate::notification::{Interruption, Notification};
use crate::provider::json::Json;
use crate::provider::limits;

/// Room for a usual message, so that the buffer does not grow.
const CAPACITY: usize = 1280;
/// Longest `ttl`: four weeks (FCM REST v1, `AndroidConfig.ttl`).
const TTL_SECS_MAX: i64 = 28 * 24 * 3600;

/// Writes the request that sends a push at `now`.
pub(super) fn encode(push: &Push<'_>, now: Timestamp) -> Bytes {
    let mut json = Json::with_capacity(CAPACITY);
    json.raw(r#"{"message":{"token":"#).text(push.device.expose_token());
    let kind = match push.content {
        Content::Show(_) => PushKind::Show.name(),
        Content::Withdraw(_) => PushKind::Withdraw.name(),
        Content::Notice(..) => PushKind::Notice.name(),
        Content::Nonce { .. } => "reach",
    };
    json.raw(match push.content {
        Content::Show(_) | Content::Notice(..) | Content::Nonce { .. } => r#","android":{"priority":"HIGH","ttl":""#,
        // Nothing is shown, and what is HIGH without showing anything is held against the app.
        Content::Withdraw(_) => r#","android":{"priority":"NORMAL","ttl":""#,
    });
    // Rounded down, so that nothing outlives its deadline; 0 means now or never.
    json.number(push.expires_at.as_secs().saturating_sub(now.as_secs()).min(TTL_SECS_MAX));
    json.raw(r#"s"},"data":{"kind":"#).text(kind);
    json.raw(r#","tag":"#).text(push.collapse.encode(&mut [0; 36]));
    match push.content {
        Content::Show(notification) => {
            shown(&mut json, notification);
            references(&mut json, push);
        }
        Content::Notice(notification, what) => {
            shown(&mut json, notification);
            json.raw(r#","notice":"#).text(what.name());
            references(&mut json, push);
        }
        Content::Withdraw(_) => references(&mut json, push),
        Content::Nonce { title, body, nonce } => reach(&mut json, push, [title, body], nonce),
    }
    json.raw("}}}");
    json.into_bytes()
}

fn shown(json: &mut Json, notification: &Notification) {
    json.raw(r#","title":"#).text(&limits::title(&notification.title));
    json.raw(r#","body":"#).text(&limits::body(&notification.body));
    json.raw(r#","category":"#).text(notification.category.name());
    json.raw(r#","interruption":"#).text(match notification.interruption {
        Interruption::Passive => "passive",
        Interruption::Active => "active",
        Interruption::TimeSensitive => "time-sensitive",
    });
}

/// A nonce: HIGH, because it proves the way that requests go. The app sends it back, and shows the text if it cannot.
fn reach(json: &mut Json, push: &Push<'_>, [title, body]: [&str; 2], nonce: &str) {
    json.raw(r#","title":"#).text(&limits::title(title));
    json.raw(r#","body":"#).text(&limits::body(body));
    json.raw(r#","workspace_id":"#).text(push.reference.workspace);
    json.raw(r#","workspace_name":"#).text(&limits::workspace_name(push.reference.workspace_name));
    json.raw(r#","nonce":"#).text(nonce);
    json.raw(r#","expires_at":""#).number(push.expires_at.as_secs()).raw("\"");
}

/// The same names as in Apple's payload; all values are strings, as Google demands.
fn references(json: &mut Json, push: &Push<'_>) {
    let reference = &push.reference;
    json.raw(r#","type":"#).text(reference.kind.name());
    json.raw(r#","workspace_id":"#).text(reference.workspace);
    json.raw(r#","workspace_name":"#).text(&limits::workspace_name(reference.workspace_name));
    json.raw(r#","event_id":"#).text(reference.event);
    json.raw(r#","job_id":"#).text(push.job.encode(&mut [0; 36]));
    json.raw(r#","expires_at":""#).number(push.expires_at.as_secs());
    json.raw(r#"","number_required":"#).text(if reference.number_required { "true" } else { "false" });
    if reference.test {
        json.raw(r#","test":"true""#);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::event::NotificationType;
    use crate::notification::{Locale, Texts, render};
    use crate::policy::{Detail, Platform};
    use crate::provider::fcm::schema;
    use crate::provider::fixtures::{self, NOW, TOKEN};
    use crate::provider::limits::PAYLOAD_BYTES_MAX;

    fn read(body: &Bytes) -> Value {
        serde_json::from_slice(body).unwrap()
    }

    /// Every message reads as committed, so that each change of what phones get is seen; each is one that Google's schema allows.
    #[test]
    fn every_payload() {
        insta::assert_snapshot!(fixtures::all_payloads(Platform::Fcm, |push| {
            let message = read(&encode(push, NOW));
            assert_eq!(schema::problems(&message), Vec::<String>::new());
            message
        }));
    }

    /// The time to live is what is left until the deadline: never more than Google allows, never less than nothing.
    #[test]
    fn time_to_live() {
        let texts = Texts::load().unwrap();
        let owner = fixtures::owner(Platform::Fcm, TOKEN);
        let (event, workspace) = (fixtures::event(NotificationType::OtpReceived), fixtures::workspace(Detail::Full));
        let rendered = render(&event, &workspace, Locale::Ja, &texts);
        let device = fixtures::device(&owner);
        let mut push = fixtures::push(&device, &event, &workspace, Content::Show(&rendered));
        for (expires_in, expected) in [(120, "120s"), (0, "0s"), (-5, "0s"), (2_419_201, "2419200s")] {
            push.expires_at = Timestamp::from_secs(NOW.as_secs() + expires_in);
            assert_eq!(read(&encode(&push, NOW))["message"]["android"]["ttl"], expected);
        }
    }

    /// The page for app teams names what a push carries on each platform: all of it, and nothing that there is not.
    #[test]
    fn the_page_for_app_teams_names_every_member() {
        let page = include_str!("../../../docs/app.md");
        let table = page.split("\n\n").find(|part| part.starts_with("| member |")).unwrap();
        let named = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let mut told = [BTreeSet::new(), BTreeSet::new()];
        for row in table.lines().skip(2) {
            let cells: Vec<_> = row.split('|').map(named).collect();
            // A platform that has no name of its own for it has the member's.
            for (told, own) in told.iter_mut().zip([&cells[2], &cells[3]]) {
                told.extend(if own.is_empty() { cells[1].clone() } else { own.clone() });
            }
        }
        let carried = |platform, body: &dyn Fn(&Push<'_>) -> Value| {
            let names = RefCell::new(BTreeSet::new());
            fixtures::all_payloads(platform, |push| {
                let body = body(push);
                names.borrow_mut().extend(body.as_object().unwrap().keys().cloned());
                names
                    .borrow_mut()
                    .extend(body["aps"].as_object().into_iter().flatten().map(|(name, _)| format!("aps.{name}")));
                body
            });
            names.into_inner()
        };
        let [apples, googles] = told;
        assert_eq!(googles, carried(Platform::Fcm, &|push| read(&encode(push, NOW))["message"]["data"].clone()));
        // What stands in `aps` are Apple's words, of which the page names those that say something of their own.
        let (apples, carried) = (apples, carried(Platform::Apns, &fixtures::apns_body));
        let apples_words = |name: &&String| name.starts_with("aps");
        let own: BTreeSet<_> = apples.iter().filter(|name| !name.starts_with("ap")).collect();
        assert_eq!(own, carried.iter().filter(|name| !apples_words(name)).collect());
        for name in apples.iter().filter(apples_words) {
            assert!(carried.contains(name), "{name}");
        }
    }

    /// Both platforms' apps find the same references under the same names.
    #[test]
    fn same_references() {
        fixtures::with_extreme_push("Lumen", false, Platform::Fcm, |push| {
            let ours = read(&encode(push, NOW))["message"]["data"].clone();
            let apples = fixtures::apns_body(push);
            for (name, value) in apples.as_object().unwrap().iter().filter(|(name, _)| *name != "aps") {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                assert_eq!(ours[name], text, "{name}");
            }
        });
    }

    proptest! {
        /// No message exceeds Google's limit on keys and values, whatever the texts, names and ids, and all obey the schema.
        #[test]
        fn never_too_large(filler in "(\\PC|[\\x00-\\x7f]|\"|\u{1f468}\u{200d}\u{1f469}){1,300}", withdraw: bool) {
            fixtures::with_extreme_push(&filler, withdraw, Platform::Fcm, |push| {
                let message = read(&encode(push, NOW));
                let data = message["message"]["data"].as_object().unwrap();
                let bytes: usize = data.iter().map(|(key, value)| key.len() + value.as_str().unwrap().len()).sum();
                assert!(bytes <= PAYLOAD_BYTES_MAX, "{bytes} bytes");
                assert_eq!(schema::problems(&message), Vec::<String>::new());
            });
        }
    }
}
