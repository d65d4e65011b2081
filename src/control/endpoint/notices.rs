//! What people are told about their devices, and how they say that it was not them.
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::person;
use crate::control::auth::{Action, Member, Role, Target};
use crate::control::input::{Named, Part, event, not_found};
use crate::control::phone::{AnyPhone, Phone};
use crate::control::problem::Problem;
use crate::control::state::Api;
use crate::control::view::{DisownedWhat, Moment, NoticeWhat};
use crate::event::{DeviceId, NotificationType};
use crate::people::enrolment::Way;
use crate::people::{ActorRole, Cursor, Disowned, News, NoticeEntry, Page, Removal};

/// A part of what somebody was told.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct NoticePage {
    /// Newest first.
    notices: Vec<Notice>,
    /// What `before` is to be for the notices after these; null after the last.
    #[schema(required)]
    next: Option<String>,
}

/// Something that somebody was told.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Notice {
    /// Its id: `event_id` in the push.
    notice: String,
    /// When it happened.
    at: Moment,
    /// What happened: a device was `enrolled`, `promoted` (it may approve) or `removed`, its key was `rolled`, all were `reset`; or, for those
    /// who administer the workspace, somebody said `not_me`, or `erased` themselves.
    #[schema(value_type = NoticeWhat)]
    what: &'static str,
    /// `type` in the push.
    r#type: NotificationType,
    /// The device that it is about, or with which somebody said that it was not them; absent: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// What its person calls it; absent if it is somebody else's.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
    /// What its maker calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_model: Option<String>,
    /// In which way it became one that may approve.
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<Way>,
    /// The role of whoever did it; absent if it was done with the person's own sign-in or phone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ActorRole>)]
    by_role: Option<&'static str>,
    /// True if another device took its place: the app was installed anew, or its push token is another device's now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replaced: bool,
    /// Who said that it was not them; absent if they were erased: then the audit trail says whose erasure it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// What was not them: what a notice told, or a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DisownedWhat>)]
    disowned: Option<&'static str>,
    /// The event of the request that was not them; of somebody who was erased the `notice` of the erasure.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    /// When the person said that this was not them.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_me_at: Option<Moment>,
}

/// Somebody's word that it was not them.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct NotMe {
    /// When it was said first.
    at: Moment,
    /// How many people who administer the workspace are told.
    alerted: u32,
    /// What to do now, in a sentence to show.
    what_to_do: &'static str,
}

const ADMINS_KNOW: &str = "The people who administer your workspace are being told. Nothing was switched off by this: \
    ask one of them to reset your phones.";
const NOBODY_KNOWS: &str = "Nobody who administers your workspace could be told from here. Nothing was switched off by this: \
    call them, and ask for your phones to be reset.";

impl From<NoticeEntry> for Notice {
    fn from(entry: NoticeEntry) -> Self {
        let NoticeEntry { id, at, news, device, not_me } = entry;
        let (device_name, device_model) = device.unzip();
        let (way, by, replaced) = match &news {
            News::Promoted { way, .. } => (Some(*way), None, false),
            News::Removed { how: Removal::By(role), .. } => (None, Some(*role), false),
            News::Removed { how: Removal::Replaced, .. } => (None, None, true),
            News::Reset { by } => (None, *by, false),
            News::Enrolled { .. }
            | News::Rolled { .. }
            | News::Erased
            | News::Removed { how: Removal::Own, .. }
            | News::NotMe { .. } => (None, None, false),
        };
        let (user, disowned, event) = match &news {
            News::NotMe { user, of: Disowned::Request { event, .. }, .. } => {
                (user.as_ref(), Some(Disowned::REQUEST), Some(event))
            }
            News::NotMe { user, of: Disowned::Notice { what, id }, .. } => {
                (user.as_ref(), Some(what.name()), user.is_none().then_some(id))
            }
            News::Enrolled { .. }
            | News::Promoted { .. }
            | News::Removed { .. }
            | News::Reset { .. }
            | News::Rolled { .. }
            | News::Erased => (None, None, None),
        };
        Self {
            notice: id.as_str().to_owned(),
            at: Moment(at),
            what: news.what().name(),
            r#type: news.kind(),
            device: news.device().map(DeviceId::as_str).map(str::to_owned),
            device_name,
            device_model,
            way,
            by_role: by.map(ActorRole::name),
            replaced,
            user: user.map(|user| user.as_str().to_owned()),
            disowned,
            event: event.map(|event| event.as_str().to_owned()),
            not_me_at: not_me.map(|(at, _)| Moment(at)),
        }
    }
}

impl From<Page<NoticeEntry>> for NoticePage {
    fn from(page: Page<NoticeEntry>) -> Self {
        let notices = page.items.into_iter().map(Notice::from).collect();
        Self { notices, next: page.next.map(Cursor::to_text) }
    }
}

/// Read what you were told about your devices
///
/// Your last 30 days, newest first, page by page: which device was enrolled, may approve, was removed, and by whom. Those who administer the
/// workspace find here who said that it was not them, and that somebody erased themselves, as long as they do.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/me/notices", tag = "Devices",
    params(("before" = Option<String>, Query, description = "What `next` was on the page before; without it the newest notices come."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Notices at most; 50 without it.")),
    responses((status = 200, description = "A page of it.", body = NoticePage)))]
pub(in crate::control) async fn notices(
    State(api): State<Api>,
    member: Member,
    part: Part,
) -> Result<Json<NoticePage>, Problem> {
    member.require(Action::ReadRequests, Target::Oneself)?;
    let with_alerts = member.role >= Role::Admin;
    let page = api.policy().notices().list(&person(&member), with_alerts, part.before, part.limit, api.now()).await?;
    Ok(Json(page.into()))
}

/// Read what a phone's person was told, on the phone
///
/// What a push about a device leaves out: which one, when, in which way, by whom.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/phone/notices", tag = "Phones", security(("proof" = [])),
    params(("before" = Option<String>, Query, description = "What `next` was on the page before; without it the newest notices come."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Notices at most; 50 without it.")),
    responses((status = 200, description = "A page of it.", body = NoticePage)))]
pub(in crate::control) async fn phone_notices(
    State(api): State<Api>,
    phone: Phone,
    part: Part,
) -> Result<Json<NoticePage>, Problem> {
    // A phone has no sign-in that tells a role.
    let role = api.policy().admin().known_role(&phone.person).await?;
    let with_alerts = role.is_some_and(|role| role >= Role::Admin);
    let page = api.policy().notices().list(&phone.person, with_alerts, part.before, part.limit, api.now()).await?;
    Ok(Json(page.into()))
}

/// Say that it was not you
///
/// What a notice told: the audit trail says so, once for each notice, upstream hears of it, and the people who administer the workspace are
/// told, once for each kind of notice within the fatigue guard's window, in which no new request rings for you. Nothing is retired by it.
/// A phone that was retired may say this for a day, and nothing else; one whose person was erased too, of whatever notice: then only the
/// people who administer the workspace are told, of the erasure.
#[utoipa::path(post, path = "/v1/workspaces/{workspace}/phone/notices/{notice}/not-me", tag = "Phones", security(("proof" = [])),
    responses((status = 200, description = "It is written down.", body = NotMe)))]
pub(in crate::control) async fn not_me(
    State(api): State<Api>,
    phone: AnyPhone,
    Named((_, id)): Named<(String, String)>,
) -> Result<Json<NotMe>, Problem> {
    let notice = event(&id).map_err(|_| no_such_notice())?;
    let (notices, now) = (api.policy().notices(), api.now());
    let said = match phone {
        AnyPhone::Known(phone) => notices.disown(&phone.person, &phone.device, &notice, now).await?,
        AnyPhone::Erased { workspace, device } => notices.disown_erasure(&workspace, &device, now).await?,
    };
    let said = said.ok_or_else(no_such_notice)?;
    let what_to_do = if said.alerted > 0 { ADMINS_KNOW } else { NOBODY_KNOWS };
    Ok(Json(NotMe { at: Moment(said.at), alerted: said.alerted, what_to_do }))
}

fn no_such_notice() -> Problem {
    not_found("no-such-notice", "You were told no such thing, or it is more than 30 days ago.")
}
