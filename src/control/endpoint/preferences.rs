//! A person's preferences: what rings for them, why not, and what they may switch.
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{devices, person};
use crate::control::auth::{Action, Member, Target};
use crate::control::condition::{IfMatch, IfNoneMatch, Tag, changed_meanwhile};
use crate::control::input::{Body, Named, device, kind, not_found};
use crate::control::problem::Problem;
use crate::control::state::Api;
use crate::control::view::{PreferenceReason, in_force_within_s};
use crate::event::NotificationType;
use crate::people::{self, Effective, Person, PreferenceRefusal};
use crate::policy::{Preference, Setting, Verdict};
use crate::store::{Admin, InForce};

/// What you are notified of.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Preferences {
    /// One for each type.
    types: Vec<TypePreference>,
}

/// One type as you see it.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct TypePreference {
    /// The type.
    r#type: NotificationType,
    /// Whether it notifies you.
    effective: Preference,
    /// Why it does not; absent where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PreferenceReason>)]
    reason: Option<&'static str>,
    /// What the workspace set.
    setting: Setting,
    /// What you chose. It counts where the workspace leaves the choice to you, and is kept meanwhile.
    preference: Preference,
    /// Whether you may turn it off.
    can_turn_off: bool,
    /// The state in a sentence for people.
    explanation: String,
}

/// What to set your preference of a type to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct NewPreference {
    /// The new value.
    preference: Preference,
}

/// Your preferences after a change.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct PreferencesChanged {
    /// Seconds after which the change is in force everywhere at the latest; 0: it is, within milliseconds.
    in_force_within_s: u32,
    /// All preferences, with the change.
    preferences: Preferences,
}

/// What was turned off.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct TurnedOff {
    /// These were on and are off now.
    off: Vec<NotificationType>,
    /// These stay: the workspace requires them.
    enforced: Vec<NotificationType>,
    /// Seconds after which the change is in force everywhere at the latest; 0: it is, within milliseconds.
    in_force_within_s: u32,
    /// All preferences, with the change.
    preferences: Preferences,
}

/// Whether a device of yours is to be quiet.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct NewQuiet {
    /// True: it does not ring, but for what the workspace requires.
    quiet: bool,
}

/// A device after a change.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct QuietChanged {
    /// The device's id.
    device: String,
    /// Whether it is quiet.
    quiet: bool,
    /// Seconds after which the change is in force everywhere at the latest; 0: it is, within milliseconds.
    in_force_within_s: u32,
}

impl From<people::Preferences> for Preferences {
    fn from(found: people::Preferences) -> Self {
        Self { types: found.types.into_iter().map(TypePreference::from).collect() }
    }
}

impl From<Effective> for TypePreference {
    fn from(state: Effective) -> Self {
        let (effective, reason) = match state.verdict {
            Verdict::Deliver => (Preference::On, None),
            Verdict::Suppress(suppression) => (Preference::Off, Some(suppression.name())),
        };
        Self {
            r#type: state.kind,
            effective,
            reason,
            setting: state.setting,
            preference: state.preference,
            can_turn_off: state.fixed.is_none(),
            explanation: explanation(&state),
        }
    }
}

fn explanation(state: &Effective) -> String {
    let text = match (state.setting, state.preference) {
        (Setting::Disabled, _) => {
            "Your workspace has turned these off for everybody. What you choose here counts once it turns them on again."
        }
        (Setting::Enabled, Preference::On) => "You are notified, and may turn this off.",
        (Setting::Enabled, Preference::Off) => "You have turned these off.",
        (Setting::Enforced, Preference::On) => {
            return state.fixed.map_or_else(String::new, |refusal| refusal.to_string());
        }
        (Setting::Enforced, Preference::Off) => {
            "Your workspace requires these notifications. You had turned them off, which counts again once it no longer does."
        }
    };
    text.to_owned()
}

fn tag(person: &Person, found: &people::Preferences) -> Tag {
    Tag::of(person, &format!("s{}-u{}", found.workspace_version, found.user_version))
}

impl From<PreferenceRefusal> for Problem {
    fn from(refusal: PreferenceRefusal) -> Self {
        let sentence = refusal.to_string();
        match refusal {
            PreferenceRefusal::Enforced { kind } => {
                Self::new(StatusCode::CONFLICT, "enforced", "Required by your workspace", sentence)
                    .with("notification_type", kind.name())
            }
            PreferenceRefusal::Stale { .. } => changed_meanwhile(&sentence),
            PreferenceRefusal::NoSuchDevice => not_found("no-such-device", &sentence),
        }
    }
}

/// What the caller saw of their preferences, as the store's condition; refused where that is not what is there.
async fn seen(admin: &Admin, member: &Member, if_match: &IfMatch) -> Result<Option<u64>, Problem> {
    if !if_match.names_a_version() {
        return Ok(None);
    }
    let person = person(member);
    let found = admin.preferences(&person).await?;
    let current = found.user_version;
    if_match.require(&tag(&person, &found), &PreferenceRefusal::Stale { current }.to_string())?;
    Ok(Some(current))
}

/// Read your preferences
///
/// What you are notified of, type by type: what the workspace set, what you chose, what follows from both, and whether you may change it.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/me/preferences", tag = "Preferences",
    params(IfNoneMatch),
    responses((status = 200, description = "Your preferences.", body = Preferences)))]
pub(in crate::control) async fn preferences(
    State(api): State<Api>,
    member: Member,
    if_none_match: IfNoneMatch,
) -> Result<Response, Problem> {
    member.require(Action::UsePreferences, Target::Oneself)?;
    let person = person(&member);
    let found = api.policy().admin().preferences(&person).await?;
    Ok(if_none_match.show(&tag(&person, &found), Json(Preferences::from(found))))
}

/// Turn a type on or off for yourself
///
/// A type that the workspace requires cannot be turned off: 409, with a sentence to show. One that it disabled can be switched, which
/// counts once it is enabled again.
#[utoipa::path(put, path = "/v1/workspaces/{workspace}/me/preferences/{type}", tag = "Preferences",
    params(IfMatch),
    request_body = NewPreference,
    responses((status = 200, description = "Your preferences with the change.", body = PreferencesChanged),
        (status = 409, description = "The workspace requires this type.")))]
pub(in crate::control) async fn change_preference(
    State(api): State<Api>,
    member: Member,
    Named((_, type_name)): Named<(String, String)>,
    if_match: IfMatch,
    Body(new): Body<NewPreference>,
) -> Result<Response, Problem> {
    member.require(Action::UsePreferences, Target::Oneself)?;
    let kind = kind(&type_name)?;
    let admin = api.policy().admin();
    let expected = seen(&admin, &member, &if_match).await?;
    let done = admin.switch(&person(&member), kind, new.preference, expected).await?;
    let (tag, preferences, in_force_within_s) = changed(&api, &admin, &member, done).await?;
    Ok(tag.on(Json(PreferencesChanged { in_force_within_s, preferences })))
}

/// Turn off all that you may
///
/// Every type but those that the workspace requires. The answer says which those are.
#[utoipa::path(post, path = "/v1/workspaces/{workspace}/me/preferences/turn-off-all", tag = "Preferences",
    params(IfMatch),
    responses((status = 200, description = "What is off now.", body = TurnedOff)))]
pub(in crate::control) async fn turn_off_all(
    State(api): State<Api>,
    member: Member,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    member.require(Action::UsePreferences, Target::Oneself)?;
    let admin = api.policy().admin();
    let expected = seen(&admin, &member, &if_match).await?;
    let (done, people::SwitchedOff { off, enforced }) = admin.switch_off_all(&person(&member), expected).await?;
    let (tag, preferences, in_force_within_s) = changed(&api, &admin, &member, done).await?;
    Ok(tag.on(Json(TurnedOff { off, enforced, in_force_within_s, preferences })))
}

/// What is there after a change.
async fn changed(api: &Api, admin: &Admin, member: &Member, done: InForce) -> Result<(Tag, Preferences, u32), Problem> {
    let person = person(member);
    let found = admin.preferences(&person).await?;
    Ok((tag(&person, &found), found.into(), in_force_within_s(done, api.ttl_s())))
}

/// Make a device of yours quiet, or not
///
/// A quiet device does not ring, but for what the workspace requires. What awaits your answer is in your list all the same. `If-Match` takes
/// the tag of your devices.
#[utoipa::path(put, path = "/v1/workspaces/{workspace}/me/devices/{device}/quiet", tag = "Preferences",
    params(IfMatch),
    request_body = NewQuiet,
    responses((status = 200, description = "The device with the change.", body = QuietChanged)))]
pub(in crate::control) async fn quiet_device(
    State(api): State<Api>,
    member: Member,
    Named((_, id)): Named<(String, String)>,
    if_match: IfMatch,
    Body(NewQuiet { quiet }): Body<NewQuiet>,
) -> Result<Response, Problem> {
    member.require(Action::UseDevices, Target::Oneself)?;
    let (device, person) = (device(&id)?, person(&member));
    let expected = devices::seen(&api, &person, &if_match).await?;
    let done = api.policy().admin().quiet(&person, &device, quiet, expected).await?;
    let in_force_within_s = in_force_within_s(done, api.ttl_s());
    Ok(Tag::of_devices(&person, done.version).on(Json(QuietChanged { device: id, quiet, in_force_within_s })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::effective;

    #[test]
    fn every_state_has_a_sentence() {
        // Each pair of setting and preference: what follows, the reason, whether it can be turned off, and words that say so.
        let rows = [
            (
                Setting::Disabled,
                Preference::On,
                "off",
                Some("disabled_by_workspace"),
                true,
                "turned these off for everybody",
            ),
            (Setting::Disabled, Preference::Off, "off", Some("disabled_by_workspace"), true, "for everybody"),
            (Setting::Enabled, Preference::On, "on", None, true, "may turn this off"),
            (Setting::Enabled, Preference::Off, "off", Some("muted_by_user"), true, "You have turned"),
            (Setting::Enforced, Preference::On, "on", None, false, "cannot be turned off"),
            (Setting::Enforced, Preference::Off, "on", None, false, "counts again"),
        ];
        for (setting, preference, result, reason, can_turn_off, words) in rows {
            let shown = TypePreference::from(effective(NotificationType::OtpReceived, setting, preference));
            assert_eq!((shown.effective.name(), shown.reason, shown.can_turn_off), (result, reason, can_turn_off));
            assert!(shown.explanation.contains(words), "{setting:?} {preference:?}: {}", shown.explanation);
        }
    }
}
