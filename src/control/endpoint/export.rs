//! Everything that is stored of a person, handed out in one call.
//!
//! The point: the answer is written while it is read, page by page, so that nobody has too much to be handed out and nothing of it piles up
//! here. It takes a turn of those that exports have until it ends, which a reader cannot put off for ever, and no request's place: so many
//! are handed out at once, and of these two to one caller. The trail hears of it before the first byte. What breaks on the way breaks the
//! answer off, so that it is no JSON: half of a person's data never looks like all of it.
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use utoipa::ToSchema;

use super::actor;
use super::audit::Entry;
use super::devices::Device;
use super::notices::Notice;
use super::others::whom;
use super::requests::{Activity, Request};
use crate::control::auth::{Action, Member};
use crate::control::input::Named;
use crate::control::problem::Problem;
use crate::control::state::Api;
use crate::control::view::Moment;
use crate::event::{DeviceId, EventId, NotificationType};
use crate::people::{Cursor, PAGE_MAX, Page, Person, RequestId, Role};
use crate::policy::Preference;
use crate::seam::Unavailable;
use crate::store::{Chosen, EnoughExports, KeptDevice, KeptTest, Policy, SeenMark};

/// Pieces of an answer that wait for whoever reads it: with one page being made, the most that an export holds in memory.
const PIECES: usize = 2;

/// How long a reader may take for one piece, and for all: a page is read at any speed that a phone has, and the largest export within a
/// minute.
const PIECE_MAX: Duration = Duration::from_secs(30);
const WHOLE_MAX: Duration = Duration::from_secs(600);

/// Everything that is stored of a person. Left out are secrets (push tokens but their end, what an app
/// knows its phone by, hashes of what was given out for minutes), public keys but their thumbprints, and which session enrolled a device.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "it describes what is written piece by piece")]
pub(in crate::control) struct Export {
    /// The workspace.
    workspace: String,
    /// The person.
    user: String,
    /// When it was handed out.
    exported_at: Moment,
    /// What the person was when they last signed in; null if they never did.
    role: Option<KnownRole>,
    /// What they chose; a type without an entry is on.
    preferences: Vec<ChosenPreference>,
    /// Their devices, those included that were retired within the last 31 days.
    devices: Vec<ExportedDevice>,
    /// What they were asked: what is open, and what ended within the last 31 days.
    requests: Vec<Request>,
    /// What happened to their notifications within the last 30 days, newest first.
    recent: Vec<Activity>,
    /// What their devices showed within the last 30 days.
    seen: Vec<ExportedSeen>,
    /// The tests that they sent to themselves within the last 30 days; what became of them is in `recent`.
    tests: Vec<ExportedTest>,
    /// What they were told about their devices within the last 30 days, newest first.
    notices: Vec<Notice>,
    /// What the audit trail says of them, as who acted or as whom it concerned: the last 400 days, newest first.
    audit: Vec<Entry>,
}

/// A role, as of a sign-in.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct KnownRole {
    /// The role.
    role: Role,
    /// When it was seen.
    at: Moment,
}

/// What a person chose for a type.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct ChosenPreference {
    /// The type.
    r#type: NotificationType,
    /// On or off.
    preference: Preference,
}

/// A device, in use or retired.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct ExportedDevice {
    /// What it is.
    device: Device,
    /// When it was retired; absent while it is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    retired_at: Option<Moment>,
}

/// A notification that a device showed.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct ExportedSeen {
    /// Its type.
    r#type: NotificationType,
    /// Its event.
    event: String,
    /// The device.
    device: String,
    /// When the device said so.
    at: Moment,
}

/// A test that somebody sent to themselves.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct ExportedTest {
    /// Its id.
    test: String,
    /// As which type it went.
    r#type: NotificationType,
    /// When they sent it.
    sent_at: Moment,
}

impl From<KeptTest> for ExportedTest {
    fn from(kept: KeptTest) -> Self {
        Self { test: kept.id.as_str().to_owned(), r#type: kept.kind, sent_at: Moment(kept.at) }
    }
}

impl From<KeptDevice> for ExportedDevice {
    fn from(kept: KeptDevice) -> Self {
        Self { device: kept.device.into(), retired_at: kept.retired_at.map(Moment) }
    }
}

impl From<SeenMark> for ExportedSeen {
    fn from(mark: SeenMark) -> Self {
        let (event, device) = (mark.event.as_str().to_owned(), mark.device.as_str().to_owned());
        Self { r#type: mark.kind, event, device, at: Moment(mark.at) }
    }
}

/// Export a person's data
///
/// Everything that is stored of them, in one call, as a file. Everybody may have their own; owners anybody's, super admins everybody's but
/// owners'. The audit trail says who had it. Whoever asks may have one person's a few times in an hour, and two exports at once.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/users/{user}/data", tag = "People",
    responses((status = 200, description = "All of it. If it breaks off, it is not all of it: ask again.", body = Export)))]
pub(in crate::control) async fn export(
    State(api): State<Api>,
    member: Member,
    Named((_, id)): Named<(String, String)>,
) -> Result<Response, Problem> {
    let person = whom(&api, &member, Action::ExportData, &id).await?;
    let turn = api.exports().take(member.user.clone(), Duration::ZERO).await?;
    let admin = api.policy().admin();
    admin.exported(&person, &actor(&member), api.now()).await?;
    let chosen = admin.chosen(&person).await?;
    let (pieces, written) = channel(PIECES);
    let (policy, at) = (api.policy().clone(), Moment(api.now()));
    tokio::spawn(async move {
        // It has its turn until it ends, and an end of its own: its caller's is over with the head of the answer.
        let _turn = turn;
        hand_out(write(&policy, &person, chosen, at, &pieces), &pieces).await;
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"watchbell-data.json\"")),
    ];
    Ok((headers, body(written)).into_response())
}

/// What was written, for whoever reads it; an error where it broke off.
fn body(written: Receiver<Option<Bytes>>) -> Body {
    Body::from_stream(stream::unfold(Some(written), |written| async {
        let mut written = written?;
        match written.recv().await {
            Some(Some(piece)) => Some((Ok(piece), Some(written))),
            Some(None) => None,
            None => Some((Err(std::io::Error::other("the export broke off")), None)),
        }
    }))
}

/// Lets it be written until it ends or its time is over, and says which: only what is whole has an end.
async fn hand_out(writing: impl Future<Output = Result<(), Broken>>, pieces: &Pieces) {
    match tokio::time::timeout(WHOLE_MAX, writing).await.unwrap_or(Err(Broken::Slow)) {
        Ok(()) => {
            tokio::time::timeout(PIECE_MAX, pieces.send(None)).await.ok();
        }
        Err(broken) => tracing::warn!(%broken, "an export broke off"),
    }
}

/// Why an answer ends early.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Unavailable(#[from] Unavailable),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("nobody reads it any more")]
    Hung,
    #[error("it is read too slowly")]
    Slow,
}

/// Pieces of the answer, and nothing after the last: without that it broke off.
type Pieces = Sender<Option<Bytes>>;

/// Writes the members one after the other, each list page by page.
async fn write(
    policy: &Policy,
    person: &Person,
    chosen: Chosen,
    exported_at: Moment,
    pieces: &Pieces,
) -> Result<(), Broken> {
    let role = chosen.role.map(|(role, at)| KnownRole { role, at: Moment(at) });
    let preferences: Vec<_> =
        chosen.preferences.into_iter().map(|(r#type, preference)| ChosenPreference { r#type, preference }).collect();
    let head = serde_json::json!({
        "workspace": person.workspace.as_str(), "user": person.user.as_str(), "exported_at": exported_at,
        "role": role, "preferences": preferences,
    });
    let mut text = serde_json::to_string(&head)?;
    text.pop();
    send(pieces, text).await?;
    let (admin, requests, notices) = (&policy.admin(), &policy.requests(), &policy.notices());
    let devices = |after: Option<DeviceId>| async move {
        let page = admin.kept_devices(person, after.as_ref()).await?;
        Ok(part::<_, ExportedDevice, _>(page, |kept| kept.device.id.clone()))
    };
    write_list(pieces, "devices", devices).await?;
    let asked = |after: Option<RequestId>| async move {
        let page = requests.kept(person, after.as_ref()).await?;
        Ok(part::<_, Request, _>(page, |request| request.id.clone()))
    };
    write_list(pieces, "requests", asked).await?;
    let recent = |before| async move { Ok(rest::<_, Activity>(requests.recent(person, before, PAGE_MAX).await?)) };
    write_list(pieces, "recent", recent).await?;
    let seen = |after: Option<SeenMark>| async move {
        let page = admin.seen_marks(person, after.as_ref()).await?;
        Ok(part::<_, ExportedSeen, _>(page, SeenMark::clone))
    };
    write_list(pieces, "seen", seen).await?;
    let tests = |after: Option<EventId>| async move {
        let page = admin.kept_tests(person, after.as_ref()).await?;
        Ok(part::<_, ExportedTest, _>(page, |kept| kept.id.clone()))
    };
    write_list(pieces, "tests", tests).await?;
    let told = |before| async move {
        Ok(rest::<_, Notice>(notices.list(person, true, before, PAGE_MAX, exported_at.0).await?))
    };
    write_list(pieces, "notices", told).await?;
    let trail = |before| async move { Ok(rest::<_, Entry>(admin.trail_of(person, before).await?)) };
    write_list(pieces, "audit", trail).await?;
    send(pieces, "}".to_owned()).await
}

/// Items of a list as they are shown, and the place after which to go on, if there may be more.
type Part<T, P> = (Vec<T>, Option<P>);

/// What the store has after a place, up to a page; a full one may have another after it.
fn part<S, T: From<S>, P>(page: Vec<S>, place: impl Fn(&S) -> P) -> Part<T, P> {
    let next = page.last().filter(|_| page.len() == PAGE_MAX).map(place);
    (page.into_iter().map(T::from).collect(), next)
}

/// The same where the store says what comes after.
fn rest<S, T: From<S>>(page: Page<S>) -> Part<T, Cursor> {
    (page.items.into_iter().map(T::from).collect(), page.next)
}

/// Writes a member that is a list: `read` gives what comes after a place.
async fn write_list<T: Serialize, P, R: Future<Output = Result<Part<T, P>, Unavailable>>>(
    pieces: &Pieces,
    name: &str,
    read: impl Fn(Option<P>) -> R,
) -> Result<(), Broken> {
    let (mut text, mut place) = (format!(",{name:?}:["), None);
    let mut is_first = true;
    loop {
        let (items, next) = read(place).await?;
        for item in items {
            if !std::mem::take(&mut is_first) {
                text.push(',');
            }
            text.push_str(&serde_json::to_string(&item)?);
        }
        place = next;
        if place.is_none() {
            text.push(']');
            return send(pieces, text).await;
        }
        send(pieces, std::mem::take(&mut text)).await?;
    }
}

async fn send(pieces: &Pieces, text: String) -> Result<(), Broken> {
    if text.is_empty() {
        return Ok(());
    }
    match tokio::time::timeout(PIECE_MAX, pieces.send(Some(text.into()))).await {
        Ok(sent) => sent.map_err(|_| Broken::Hung),
        Err(_) => Err(Broken::Slow),
    }
}

impl From<EnoughExports> for Problem {
    fn from(enough: EnoughExports) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "enough-exports", "Enough exports", enough.to_string())
            .with_header(header::RETRY_AFTER, "600")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_not_waited_for() {
        // As many pieces as wait, and half a minute for the next one.
        let (pieces, _unread) = channel(PIECES);
        for _ in 0..PIECES {
            assert!(send(&pieces, "piece".to_owned()).await.is_ok());
        }
        let began = Instant::now();
        assert!(matches!(send(&pieces, "piece".to_owned()).await, Err(Broken::Slow)));
        assert_eq!(began.elapsed(), PIECE_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_for_ever_is_not_waited_for() {
        // Each piece is read just in time, and there is no end of them: ten minutes, what waits to be read, and then no end but an error.
        let (pieces, written) = channel(PIECES);
        let began = Instant::now();
        let writing = async move {
            let endless = async {
                loop {
                    send(&pieces, "piece".to_owned()).await?;
                }
            };
            hand_out(endless, &pieces).await;
            began.elapsed()
        };
        let reading = async {
            let mut body = body(written).into_data_stream();
            loop {
                tokio::time::sleep(PIECE_MAX - Duration::from_secs(1)).await;
                match body.next().await {
                    Some(Ok(_)) => {}
                    Some(Err(_)) => return "broken off",
                    None => return "whole",
                }
            }
        };
        let both = tokio::time::timeout(2 * WHOLE_MAX, async { tokio::join!(writing, reading) });
        assert_eq!(both.await, Ok((WHOLE_MAX, "broken off")));
    }
}
