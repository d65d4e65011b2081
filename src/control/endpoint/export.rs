//! Everything that is stored of a person, handed out in one call.
//!
//! The point: the answer is written while it is read, page by page, so that nobody has too much to be handed out and nothing of it piles up
//! here. It keeps its place among the requests until it ends, which a reader cannot put off for ever. The trail hears of it before the first
//! byte. What breaks on the way breaks the answer off, so that it is no JSON: half of a person's data never looks like all of it.
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::mpsc::{Sender, channel};
use utoipa::ToSchema;

use super::actor;
use super::audit::Entry;
use super::devices::Device;
use super::notices::Notice;
use super::others::whom;
use super::requests::{Activity, Request};
use crate::control::auth::{Action, Member};
use crate::control::gate::Room;
use crate::control::input::Named;
use crate::control::problem::Problem;
use crate::control::state::Api;
use crate::control::view::Moment;
use crate::event::{DeviceId, EventId, NotificationType};
use crate::people::{Cursor, PAGE_MAX, Person, RequestId, Role};
use crate::policy::Preference;
use crate::seam::Unavailable;
use crate::store::{Chosen, EnoughExports, KeptDevice, KeptTest, Policy, SeenMark};

/// Pieces of an answer that wait for whoever reads it: with one page being made, the most that an export holds in memory.
const PIECES: usize = 2;

/// How long a reader may take for one piece, and for all: a page is read at any speed that a phone has, and the largest export within a minute.
const PIECE_MAX: Duration = Duration::from_secs(30);
const WHOLE_MAX: Duration = Duration::from_secs(600);

/// Everything that is stored of a person. Left out are secrets: push tokens but their end, and hashes of what was given out for minutes.
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
/// owners'. The audit trail says who had it. A few times in an hour.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/users/{user}/data", tag = "People",
    responses((status = 200, description = "All of it. If it breaks off, it is not all of it: ask again.", body = Export)))]
pub(in crate::control) async fn export(
    State(api): State<Api>,
    Extension(room): Extension<Room>,
    member: Member,
    Named((_, id)): Named<(String, String)>,
) -> Result<Response, Problem> {
    let person = whom(&api, &member, Action::ExportData, &id).await?;
    let admin = api.policy().admin();
    admin.exported(&person, &actor(&member), api.now()).await?;
    let chosen = admin.chosen(&person).await?;
    let (pieces, written) = channel(PIECES);
    let (policy, at) = (api.policy().clone(), Moment(api.now()));
    tokio::spawn(async move {
        // It has its place among the requests until it ends, and an end of its own: its caller's is over with the head of the answer.
        let _room = room;
        let writing = write(&policy, &person, chosen, at, &pieces);
        let written = tokio::time::timeout(WHOLE_MAX, writing).await.unwrap_or(Err(Broken::Slow));
        match written {
            Ok(()) => {
                tokio::time::timeout(PIECE_MAX, pieces.send(None)).await.ok();
            }
            Err(broken) => tracing::warn!(%broken, "an export broke off"),
        }
    });
    let body = Body::from_stream(stream::unfold(Some(written), |written| async {
        let mut written = written?;
        match written.recv().await {
            Some(Some(piece)) => Some((Ok(piece), Some(written))),
            Some(None) => None,
            None => Some((Err(std::io::Error::other("the export broke off")), None)),
        }
    }));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"watchbell-data.json\"")),
    ];
    Ok((headers, body).into_response())
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
    write_devices(policy, person, List::begin("devices", pieces)).await?;
    write_requests(policy, person, List::begin("requests", pieces)).await?;
    write_recent(policy, person, List::begin("recent", pieces)).await?;
    write_seen(policy, person, List::begin("seen", pieces)).await?;
    write_tests(policy, person, List::begin("tests", pieces)).await?;
    write_notices(policy, person, exported_at, List::begin("notices", pieces)).await?;
    write_audit(policy, person, List::begin("audit", pieces)).await?;
    send(pieces, "}".to_owned()).await
}

async fn write_devices(policy: &Policy, person: &Person, mut list: List<'_>) -> Result<(), Broken> {
    let mut after: Option<DeviceId> = None;
    loop {
        let page = policy.admin().kept_devices(person, after.as_ref()).await?;
        after = page.last().map(|kept| kept.device.id.clone());
        if !list.page(page.into_iter().map(ExportedDevice::from)).await? {
            return list.end().await;
        }
    }
}

async fn write_requests(policy: &Policy, person: &Person, mut list: List<'_>) -> Result<(), Broken> {
    let mut after: Option<RequestId> = None;
    loop {
        let page = policy.requests().kept(person, after.as_ref()).await?;
        after = page.last().map(|request| request.id.clone());
        if !list.page(page.into_iter().map(Request::from)).await? {
            return list.end().await;
        }
    }
}

async fn write_recent(policy: &Policy, person: &Person, mut list: List<'_>) -> Result<(), Broken> {
    let mut before: Option<Cursor> = None;
    loop {
        let page = policy.requests().recent(person, before, PAGE_MAX).await?;
        list.page(page.items.into_iter().map(Activity::from)).await?;
        before = page.next;
        if before.is_none() {
            return list.end().await;
        }
    }
}

async fn write_seen(policy: &Policy, person: &Person, mut list: List<'_>) -> Result<(), Broken> {
    let mut after: Option<SeenMark> = None;
    loop {
        let page = policy.admin().seen_marks(person, after.as_ref()).await?;
        after = page.last().cloned();
        if !list.page(page.into_iter().map(ExportedSeen::from)).await? {
            return list.end().await;
        }
    }
}

async fn write_tests(policy: &Policy, person: &Person, mut list: List<'_>) -> Result<(), Broken> {
    let mut after: Option<EventId> = None;
    loop {
        let page = policy.admin().kept_tests(person, after.as_ref()).await?;
        after = page.last().map(|kept| kept.id.clone());
        if !list.page(page.into_iter().map(ExportedTest::from)).await? {
            return list.end().await;
        }
    }
}

async fn write_notices(policy: &Policy, person: &Person, now: Moment, mut list: List<'_>) -> Result<(), Broken> {
    let mut before: Option<Cursor> = None;
    loop {
        let page = policy.notices().list(person, true, before, PAGE_MAX, now.0).await?;
        list.page(page.items.into_iter().map(Notice::from)).await?;
        before = page.next;
        if before.is_none() {
            return list.end().await;
        }
    }
}

async fn write_audit(policy: &Policy, person: &Person, mut list: List<'_>) -> Result<(), Broken> {
    let mut before: Option<Cursor> = None;
    loop {
        let page = policy.admin().trail_of(person, before).await?;
        list.page(page.items.into_iter().map(Entry::from)).await?;
        before = page.next;
        if before.is_none() {
            return list.end().await;
        }
    }
}

/// A member that is a list.
struct List<'a> {
    name: &'static str,
    pieces: &'a Pieces,
    text: String,
    first: bool,
}

impl<'a> List<'a> {
    fn begin(name: &'static str, pieces: &'a Pieces) -> Self {
        Self { name, pieces, text: String::new(), first: true }
    }

    /// Writes a page. Returns whether another one is to be read: this one was full.
    async fn page<T: Serialize>(&mut self, items: impl Iterator<Item = T>) -> Result<bool, Broken> {
        let mut count = 0;
        for item in items {
            let before = if self.first { format!(",{:?}:[", self.name) } else { ",".to_owned() };
            self.text.push_str(&before);
            self.text.push_str(&serde_json::to_string(&item)?);
            (self.first, count) = (false, count + 1);
        }
        send(self.pieces, std::mem::take(&mut self.text)).await?;
        Ok(count == PAGE_MAX)
    }

    async fn end(self) -> Result<(), Broken> {
        let text = if self.first { format!(",{:?}:[]", self.name) } else { "]".to_owned() };
        send(self.pieces, text).await
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
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_not_waited_for() {
        // As many pieces as wait, and half a minute for the next one.
        let (pieces, _unread) = channel(PIECES);
        for _ in 0..PIECES {
            assert!(send(&pieces, "piece".to_owned()).await.is_ok());
        }
        let began = tokio::time::Instant::now();
        assert!(matches!(send(&pieces, "piece".to_owned()).await, Err(Broken::Slow)));
        assert_eq!(began.elapsed(), PIECE_MAX);
    }
}
