//! A workspace's settings: what its admins set for each type.
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::actor;
use crate::control::auth::{Action, Member, Target};
use crate::control::condition::{IfMatch, IfNoneMatch, Tag, changed_meanwhile};
use crate::control::input::{Body, Named, kind};
use crate::control::problem::Problem;
use crate::control::state::Api;
use crate::control::view::{Moment, by_name, in_force_within_s};
use crate::event::NotificationType;
use crate::people::{Actor, ActorRole, DetailChange, SettingChange, SettingRefusal, SettingState, WorkspaceSettings};
use crate::policy::{Detail, Setting};
use crate::store::InForce;

/// A workspace's settings.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Settings {
    /// The workspace's id.
    workspace: String,
    /// Its name for people; empty if none was set.
    display_name: String,
    /// How much its pushes say by themselves.
    detail: Detail,
    /// One for each type.
    settings: Vec<TypeSetting>,
}

/// One type's setting.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct TypeSetting {
    /// The type.
    r#type: NotificationType,
    /// What is in force.
    setting: Setting,
    /// The last change; absent if it is the default, or came with an import.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<Change>,
}

/// Who changed it last.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Change {
    /// When.
    at: Moment,
    /// Their id.
    by: String,
    /// By which right.
    #[serde(serialize_with = "by_name")]
    role: ActorRole,
}

/// What to change a type's setting to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct NewSetting {
    /// The new value.
    setting: Setting,
}

/// What to change a workspace's detail to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct NewDetail {
    /// The new value.
    detail: Detail,
}

/// The settings after a change.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct SettingsChanged {
    /// Seconds after which the change is in force everywhere at the latest; 0: it is, within milliseconds.
    in_force_within_s: u32,
    /// All settings, with the change.
    settings: Settings,
}

impl Settings {
    fn of(member: &Member, found: WorkspaceSettings) -> Self {
        let settings = found.settings.into_iter().map(|SettingState { kind, setting, changed }| TypeSetting {
            r#type: kind,
            setting,
            changed: changed.map(|(Actor { id, role }, at)| Change {
                at: Moment(at),
                by: id.as_str().to_owned(),
                role,
            }),
        });
        Self {
            workspace: member.workspace.as_str().to_owned(),
            display_name: found.display_name,
            detail: found.detail,
            settings: settings.collect(),
        }
    }
}

fn tag(found: &WorkspaceSettings) -> Tag {
    Tag::new(format!("s{}", found.version))
}

impl From<SettingRefusal> for Problem {
    fn from(refusal: SettingRefusal) -> Self {
        match refusal {
            SettingRefusal::Stale { .. } => changed_meanwhile(&refusal.to_string()),
        }
    }
}

/// Read a workspace's settings
///
/// What is set for each type of notification, who set it, and when. A type that nobody set is enabled. For owners, super admins and admins.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/settings", tag = "Settings",
    params(IfNoneMatch),
    responses((status = 200, description = "The settings.", body = Settings)))]
pub(in crate::control) async fn settings(
    State(api): State<Api>,
    member: Member,
    if_none_match: IfNoneMatch,
) -> Result<Response, Problem> {
    member.require(Action::ReadSettings, Target::Workspace)?;
    let found = api.policy().admin().settings(&member.workspace).await?;
    let tag = tag(&found);
    Ok(if_none_match.show(&tag, Json(Settings::of(&member, found))))
}

/// Change a type's setting
///
/// Disabled: nobody is notified. Enabled: each person decides. Enforced: everybody is notified and nobody can turn it off; what people
/// had chosen is kept, and counts again when enforcement ends. The change is in the audit trail. For owners, super admins and admins.
#[utoipa::path(put, path = "/v1/workspaces/{workspace}/settings/{type}", tag = "Settings",
    params(IfMatch),
    request_body = NewSetting,
    responses((status = 200, description = "The settings with the change.", body = SettingsChanged)))]
pub(in crate::control) async fn change_setting(
    State(api): State<Api>,
    member: Member,
    Named((_, type_name)): Named<(String, String)>,
    if_match: IfMatch,
    Body(new): Body<NewSetting>,
) -> Result<Response, Problem> {
    member.require(Action::ChangeSettings, Target::Workspace)?;
    let kind = kind(&type_name)?;
    let expected = seen(&api, &member, &if_match).await?;
    let (workspace, actor) = (member.workspace.clone(), actor(&member));
    let change = SettingChange { workspace, kind, setting: new.setting, expected, actor, at: api.now() };
    let done = api.policy().admin().set(&change).await?;
    changed(&api, &member, done).await
}

/// Change how much pushes say
///
/// Minimal: a harmless text, and the app fetches the rest. Full: names of devices and people too, on the lock screen of whoever's phone lies
/// there; never an address, a place or a code. The change is in the audit trail. For owners, super admins and admins.
#[utoipa::path(put, path = "/v1/workspaces/{workspace}/detail", tag = "Settings",
    params(IfMatch),
    request_body = NewDetail,
    responses((status = 200, description = "The settings with the change.", body = SettingsChanged)))]
pub(in crate::control) async fn change_detail(
    State(api): State<Api>,
    member: Member,
    if_match: IfMatch,
    Body(new): Body<NewDetail>,
) -> Result<Response, Problem> {
    member.require(Action::ChangeSettings, Target::Workspace)?;
    let expected = seen(&api, &member, &if_match).await?;
    let (workspace, actor) = (member.workspace.clone(), actor(&member));
    let change = DetailChange { workspace, detail: new.detail, expected, actor, at: api.now() };
    let done = api.policy().admin().set_detail(&change).await?;
    changed(&api, &member, done).await
}

/// What the caller saw of the settings, as the store's condition; refused where that is not what is there.
async fn seen(api: &Api, member: &Member, if_match: &IfMatch) -> Result<Option<u64>, Problem> {
    if !if_match.names_a_version() {
        return Ok(None);
    }
    let seen = api.policy().admin().settings(&member.workspace).await?;
    if_match.require(&tag(&seen), &SettingRefusal::Stale { current: seen.version }.to_string())?;
    Ok(Some(seen.version))
}

/// What is there after a change.
async fn changed(api: &Api, member: &Member, done: InForce) -> Result<Response, Problem> {
    let found = api.policy().admin().settings(&member.workspace).await?;
    let (tag, settings) = (tag(&found), Settings::of(member, found));
    let in_force_within_s = in_force_within_s(done, api.ttl_s());
    Ok(tag.on(Json(SettingsChanged { in_force_within_s, settings })))
}
