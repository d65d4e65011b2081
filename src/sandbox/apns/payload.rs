//! The payload of a push against the rules of Apple's "Generating a remote notification".
//!
//! The body is a JSON object with an `aps` object whose keys have Apple's types and fit the push type: a background push carries
//! `content-available` and nothing that a person could notice, an alert push something to notice.
//! Apple documents no answer for a body that is no such object and often drops it in silence; a simulator that did so would
//! hide the mistake, so it says BadRequestPayload, and InvalidPushType where type and content contradict.
use std::borrow::Cow;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::check::PushType;
use super::reason::Reason;

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    aps: Option<Aps<'a>>,
}

/// The keys that are judged; unknown ones are ignored, as Apple does.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Aps<'a> {
    alert: Option<Alert>,
    badge: Option<f64>,
    sound: Option<Sound>,
    #[serde(borrow, rename = "thread-id")]
    _thread_id: Option<Text<'a>>,
    #[serde(borrow, rename = "category")]
    _category: Option<Text<'a>>,
    content_available: Option<u8>,
    mutable_content: Option<u8>,
    interruption_level: Option<InterruptionLevel>,
    relevance_score: Option<f64>,
    event: Option<LiveEvent>,
    timestamp: Option<u64>,
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A text or an object of texts; read in place, because every push has one.
struct Alert {
    /// Whether a person would see anything of it.
    visible: bool,
}

impl<'de> Deserialize<'de> for Alert {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AlertVisitor)
    }
}

struct AlertVisitor;

impl<'de> Visitor<'de> for AlertVisitor {
    type Value = Alert;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text or an object")
    }

    fn visit_str<E>(self, text: &str) -> Result<Alert, E> {
        Ok(Alert { visible: !text.is_empty() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Alert, A::Error> {
        let mut visible = false;
        while let Some(key) = map.next_key::<Text<'de>>()? {
            match key.0.as_ref() {
                "title" | "subtitle" | "body" | "title-loc-key" | "subtitle-loc-key" | "loc-key" => {
                    visible |= map.next_value::<Option<Text<'de>>>()?.is_some_and(|text| !text.0.is_empty());
                }
                "launch-image" => {
                    map.next_value::<Option<Text<'de>>>()?;
                }
                "title-loc-args" | "subtitle-loc-args" | "loc-args" => {
                    map.next_value::<Option<Vec<Text<'de>>>>()?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Alert { visible })
    }
}

/// A file's name, or the object of a critical alert.
struct Sound {
    valid: bool,
}

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SoundVisitor)
    }
}

struct SoundVisitor;

impl<'de> Visitor<'de> for SoundVisitor {
    type Value = Sound;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name or an object")
    }

    fn visit_str<E>(self, name: &str) -> Result<Sound, E> {
        Ok(Sound { valid: !name.is_empty() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sound, A::Error> {
        let (mut named, mut valid) = (false, true);
        while let Some(key) = map.next_key::<Text<'de>>()? {
            match key.0.as_ref() {
                "critical" => valid &= map.next_value::<u8>()? <= 1,
                "name" => named = !map.next_value::<Text<'de>>()?.0.is_empty(),
                "volume" => valid &= (0.0..=1.0).contains(&map.next_value::<f64>()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Sound { valid: valid && named })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum InterruptionLevel {
    Passive,
    Active,
    TimeSensitive,
    Critical,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LiveEvent {
    Start,
    Update,
    End,
}

/// Checks a body of allowed size against `push_type`.
pub(crate) fn check(body: &[u8], push_type: PushType) -> Result<(), Reason> {
    match push_type {
        PushType::Alert | PushType::Background => {}
        PushType::LiveActivity => return live_activity(body),
        // Other types carry what their frameworks agree on with the app: an object is all that Apple asks.
        PushType::Voip
        | PushType::Complication
        | PushType::FileProvider
        | PushType::Mdm
        | PushType::Location
        | PushType::PushToTalk
        | PushType::Widgets
        | PushType::Controls => return object(body),
    }
    let payload: Payload<'_> = serde_json::from_slice(body).map_err(|_| Reason::BadRequestPayload)?;
    let aps = payload.aps.ok_or(Reason::BadRequestPayload)?;
    let flags = [aps.content_available, aps.mutable_content];
    let scores = aps.relevance_score.is_none_or(|score| (0.0..=1.0).contains(&score));
    let badge = aps.badge.is_none_or(|badge| badge >= 0.0 && badge.fract() == 0.0);
    let sound = aps.sound.as_ref().is_none_or(|sound| sound.valid);
    if flags.into_iter().flatten().any(|flag| flag > 1) || !scores || !badge || !sound {
        return Err(Reason::BadRequestPayload);
    }
    let noticeable = aps.alert.is_some() || aps.badge.is_some() || aps.sound.is_some();
    let fits = if push_type == PushType::Background {
        aps.content_available == Some(1) && !noticeable && aps.interruption_level.is_none()
    } else {
        // An extension is only run for an alert with visible text, so mutable-content without one is a mistake.
        let visible = aps.alert.as_ref().is_some_and(|alert| alert.visible);
        noticeable && (aps.alert.is_none() || visible) && (aps.mutable_content != Some(1) || visible)
    };
    if fits { Ok(()) } else { Err(Reason::InvalidPushType) }
}

fn live_activity(body: &[u8]) -> Result<(), Reason> {
    let payload: Payload<'_> = serde_json::from_slice(body).map_err(|_| Reason::BadRequestPayload)?;
    let aps = payload.aps.ok_or(Reason::BadRequestPayload)?;
    if aps.event.is_some() && aps.timestamp.is_some() { Ok(()) } else { Err(Reason::InvalidPushType) }
}

fn object(body: &[u8]) -> Result<(), Reason> {
    match serde_json::from_slice::<std::collections::HashMap<String, IgnoredAny>>(body) {
        Ok(_) => Ok(()),
        Err(_) => Err(Reason::BadRequestPayload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_fit_their_push_type() {
        // Each row of Apple's payload key reference that a sender can get wrong, and its right form beside it.
        let alert = PushType::Alert;
        let background = PushType::Background;
        let ok = Ok(());
        let broken = Err(Reason::BadRequestPayload);
        let contradiction = Err(Reason::InvalidPushType);
        let rows: &[(&str, PushType, Result<(), Reason>)] = &[
            (r#"{"aps":{"alert":{"title":"Sign-in","body":"New sign-in"},"mutable-content":1}}"#, alert, ok),
            (r#"{"aps":{"alert":"Hello \"you\""}}"#, alert, ok),
            (r#"{"aps":{"alert":{"loc-key":"MESSAGE","loc-args":["a"]}},"id":[1,{"x":null}]}"#, alert, ok),
            (r#"{"aps":{"badge":0}}"#, alert, ok),
            (r#"{"aps":{"alert":"x","interruption-level":"time-sensitive","relevance-score":0.5}}"#, alert, ok),
            (r#"{"aps":{"alert":"x","sound":{"critical":1,"name":"default","volume":1}}}"#, alert, ok),
            (r#"{"aps":{"content-available":1}}"#, background, ok),
            (r#"{"aps":{"content-available":1},"id":"x"}"#, background, ok),
            ("", alert, broken),
            ("[]", alert, broken),
            ("{", alert, broken),
            (r#"{"id":1}"#, alert, broken),
            (r#"{"aps":{"alert":1}}"#, alert, broken),
            (r#"{"aps":{"alert":{"title":7}}}"#, alert, broken),
            (r#"{"aps":{"alert":{"loc-key":"A","loc-args":[1]}}}"#, alert, broken),
            (r#"{"aps":{"alert":"x","badge":"1"}}"#, alert, broken),
            (r#"{"aps":{"alert":"x","badge":1.5}}"#, alert, broken),
            (r#"{"aps":{"alert":"x","sound":{"name":"a","volume":2}}}"#, alert, broken),
            (r#"{"aps":{"alert":"x","mutable-content":2}}"#, alert, broken),
            (r#"{"aps":{"alert":"x","category":3}}"#, alert, broken),
            (r#"{"aps":{"alert":"x","interruption-level":"urgent"}}"#, alert, broken),
            (r#"{"aps":{"alert":"x","relevance-score":7}}"#, alert, broken),
            (r#"{"aps":{}}"#, alert, contradiction),
            (r#"{"aps":{"content-available":1}}"#, alert, contradiction),
            (r#"{"aps":{"alert":{"title":""}}}"#, alert, contradiction),
            (r#"{"aps":{"mutable-content":1,"sound":"default"}}"#, alert, contradiction),
            (r#"{"aps":{"content-available":1,"alert":"x"}}"#, background, contradiction),
            (r#"{"aps":{"content-available":1,"sound":"default"}}"#, background, contradiction),
            (r#"{"aps":{"badge":1}}"#, background, contradiction),
            (r#"{"aps":{"event":"update","timestamp":1,"content-state":{}}}"#, PushType::LiveActivity, ok),
            (r#"{"aps":{"event":"begin","timestamp":1}}"#, PushType::LiveActivity, broken),
            (r#"{"aps":{"event":"end"}}"#, PushType::LiveActivity, contradiction),
            (r#"{"anything":[1]}"#, PushType::Voip, ok),
            ("7", PushType::Voip, broken),
        ];
        for (body, push_type, want) in rows {
            assert_eq!(check(body.as_bytes(), *push_type), *want, "{push_type:?} {body}");
        }
    }
}
