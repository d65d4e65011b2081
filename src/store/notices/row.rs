//! A notice's row: which columns say what happened.
use crate::event::{DeviceId, EventId, IdError, NotificationType, SystemNotice, Timestamp, UserId};
use crate::people::enrolment::Way;
use crate::people::{ActorRole, Disowned, News, NoticeEntry, Removal};
use crate::store::database::{Arg, Row};
use crate::store::settings::{kind, unknown};

/// Under `about_user`, of somebody of whom nothing is kept.
pub(in crate::store) const NOBODY: &str = "";
/// Under `way`, of a device whose place another one took.
const REPLACED: &str = "replaced";

/// about_user, device, way, by_role, disowned, event.
pub(super) fn columns(news: &News) -> [Arg<'_>; 6] {
    let (user, way, by, disowned, event) = match news {
        News::Enrolled { .. } | News::Rolled { .. } | News::Removed { how: Removal::Own, .. } => {
            (None, None, None, None, None)
        }
        News::Erased => (Some(NOBODY), None, None, None, None),
        News::Promoted { way, .. } => (None, Some(way.name()), None, None, None),
        News::Removed { how: Removal::By(role), .. } => (None, None, Some(role.name()), None, None),
        News::Removed { how: Removal::Replaced, .. } => (None, Some(REPLACED), None, None, None),
        News::Reset { by } => (None, None, by.map(ActorRole::name), None, None),
        News::NotMe { user, of, .. } => {
            let event = match of {
                Disowned::Notice { id, .. } => id,
                Disowned::Request { event, .. } => event,
            };
            let user = user.as_ref().map_or(NOBODY, UserId::as_str);
            (Some(user), None, None, Some(of.name()), Some(event.as_str()))
        }
    };
    [user, news.device().map(DeviceId::as_str), way, by, disowned, event].map(Arg::MaybeText)
}

/// Reads seq, id, at, what, type, the six of [`columns`], not_me_at, not_me_by, and the device's name and model.
pub(super) fn entry(row: &Row) -> Result<NoticeEntry, sqlx::Error> {
    let not_me = match (row.maybe_int(11)?, row.maybe_text(12)?) {
        (Some(at), Some(by)) => Some((Timestamp(at), DeviceId::new(by).map_err(bad_id)?)),
        _ => None,
    };
    let device = row.maybe_text(13)?.map(str::to_owned).zip(row.maybe_text(14)?.map(str::to_owned));
    Ok(NoticeEntry {
        id: EventId::new(row.text(1)?).map_err(bad_id)?,
        at: Timestamp(row.int(2)?),
        news: news(row, kind(row.text(4)?)?)?,
        device,
        not_me,
    })
}

fn news(row: &Row, kind: NotificationType) -> Result<News, sqlx::Error> {
    let device = || DeviceId::new(row.text(6)?).map_err(bad_id);
    let (way, by) = (row.maybe_text(7)?, row.maybe_text(8)?);
    let role = |name| ActorRole::from_name(name).ok_or_else(|| unknown("role", name));
    Ok(match what(row.text(3)?)? {
        SystemNotice::Enrolled => News::Enrolled { device: device()? },
        SystemNotice::Promoted => {
            let name = way.unwrap_or_default();
            News::Promoted { device: device()?, way: Way::from_name(name).ok_or_else(|| unknown("way", name))? }
        }
        SystemNotice::Removed => {
            let how = match (way, by) {
                (_, Some(by)) => Removal::By(role(by)?),
                (Some(REPLACED), None) => Removal::Replaced,
                (None, None) => Removal::Own,
                (Some(way), None) => return Err(unknown("way", way)),
            };
            News::Removed { device: device()?, how }
        }
        SystemNotice::Reset => News::Reset { by: by.map(role).transpose()? },
        SystemNotice::NotMe => {
            let user = Some(row.text(5)?).filter(|user| *user != NOBODY).map(UserId::new).transpose();
            News::NotMe { user: user.map_err(bad_id)?, device: device()?, of: disowned(row, kind)? }
        }
        SystemNotice::Rolled => News::Rolled { device: device()? },
        SystemNotice::Erased => News::Erased,
        // Its own writer keeps no row.
        SystemNotice::Guard => return Err(unknown("notice", SystemNotice::Guard.name())),
    })
}

fn disowned(row: &Row, kind: NotificationType) -> Result<Disowned, sqlx::Error> {
    let event = EventId::new(row.text(10)?).map_err(bad_id)?;
    match row.text(9)? {
        Disowned::REQUEST => Ok(Disowned::Request { kind, event }),
        name => Ok(Disowned::Notice { what: what(name)?, id: event }),
    }
}

pub(super) fn what(name: &str) -> Result<SystemNotice, sqlx::Error> {
    SystemNotice::ALL.into_iter().find(|what| what.name() == name).ok_or_else(|| unknown("notice", name))
}

fn bad_id(error: IdError) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
