//! A test that a person sends to themselves, through everything that a notification goes through, and how far it came.
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::person;
use crate::control::auth::{Action, Member, Target};
use crate::control::input::{Body, Named, event, not_found};
use crate::control::problem::Problem;
use crate::control::state::Api;
use crate::control::view::Moment;
use crate::event::{DeviceId, NotificationType};
use crate::people::Happening;
use crate::store::{self, EnoughTests};

/// Seconds after which somebody who sent enough tests may look again: counted over an hour, one comes free within minutes.
const AGAIN_S: &str = "300";

/// A test to send.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct NewTest {
    /// As which type it goes; `identity_verification` without it.
    #[serde(default)]
    r#type: Option<NotificationType>,
}

/// A test that was sent.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct TestSent {
    /// Its id, under which it can be followed.
    test: String,
}

/// A test, and how far it came.
#[derive(Serialize, ToSchema)]
#[schema(as = SelfTest)]
pub(in crate::control) struct Test {
    /// Its id.
    test: String,
    /// As which type it went.
    r#type: NotificationType,
    /// When you sent it.
    sent_at: Moment,
    /// Whether Kafka has it.
    on_kafka: bool,
    /// What happened to it, in order: why a phone stays silent, what its provider said, what was seen.
    stages: Vec<Stage>,
    /// Your devices for which it has not ended yet: it is on its way, or it could not be delivered and waits to be tried again, or waits until
    /// the app's credential works again. Which of these it is nobody is told but whoever runs the service; each ends within the test's lifetime.
    waiting: Vec<String>,
}

/// Something that happened to a test.
#[derive(Serialize, ToSchema)]
#[schema(as = TestStage)]
pub(in crate::control) struct Stage {
    /// When.
    at: Moment,
    /// What.
    what: Happening,
    /// On which device; absent where it concerns all of yours.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// Why; absent where there is nothing to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

impl From<store::SelfTest> for Test {
    fn from(test: store::SelfTest) -> Self {
        let name = |device: &DeviceId| device.as_str().to_owned();
        let stage = |stage: store::TestStage| Stage {
            at: Moment(stage.at),
            what: stage.what,
            device: stage.device.as_ref().map(name),
            reason: stage.reason,
        };
        Self {
            test: test.id.as_str().to_owned(),
            r#type: test.kind,
            sent_at: Moment(test.at),
            on_kafka: test.on_kafka,
            stages: test.stages.into_iter().map(stage).collect(),
            waiting: test.waiting.iter().map(name).collect(),
        }
    }
}

impl From<EnoughTests> for Problem {
    fn from(enough: EnoughTests) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "enough-tests", "Enough tests", enough.to_string())
            .with_header(header::RETRY_AFTER, AGAIN_S)
    }
}

/// Send a test to yourself
///
/// A notification of that type which says that it is a test and asks nothing. It goes the way of every other: through Kafka, your
/// workspace's setting and your preferences, to each of your phones. Some in an hour.
#[utoipa::path(post, path = "/v1/workspaces/{workspace}/me/tests", tag = "Devices",
    request_body = NewTest,
    responses((status = 200, description = "It is on its way.", body = TestSent)))]
pub(in crate::control) async fn send_test(
    State(api): State<Api>,
    member: Member,
    Body(new): Body<NewTest>,
) -> Result<Json<TestSent>, Problem> {
    member.require(Action::UseDevices, Target::Oneself)?;
    let kind = new.r#type.unwrap_or(NotificationType::IdentityVerification);
    let per_hour = api.config().tests_per_hour;
    let id = api.policy().admin().send_test(&person(&member), kind, per_hour, api.now()).await?;
    Ok(Json(TestSent { test: id.as_str().to_owned() }))
}

/// See how far a test came
///
/// Ask again every second or so while there are devices of which nothing is known. What is tried again later shows when it ended.
#[utoipa::path(get, path = "/v1/workspaces/{workspace}/me/tests/{test}", tag = "Devices",
    responses((status = 200, description = "How far it came.", body = Test)))]
pub(in crate::control) async fn test(
    State(api): State<Api>,
    member: Member,
    Named((_, id)): Named<(String, String)>,
) -> Result<Json<Test>, Problem> {
    member.require(Action::UseDevices, Target::Oneself)?;
    let found = api.policy().admin().self_test(&person(&member), &event(&id)?).await?;
    let unknown = "You sent no such test within the last 30 days.";
    found.map(|test| Json(test.into())).ok_or_else(|| not_found("no-such-test", unknown))
}
