//! What happens in the demo: a short story, told again and again.
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use uuid::Uuid;

use super::people::WORKSPACE;
use super::stage::Stage;
use crate::command::Failure;
use crate::event::NotificationType::{AccountSharing, IdentityVerification, OtpReceived, TrustedDevice};
use crate::event::{NotificationType, wire};
use crate::sandbox::fault::{Fault, Provider, Refusal, Rule};
use crate::sandbox::phones::{Behaviour, Phones, Reply};
use crate::seam::{Clock as _, SystemClock};

/// How long people take to answer, in milliseconds.
const THINKING_MS: u64 = 300;
/// How long it takes to open the app, in milliseconds.
const OPENING_MS: u64 = 900;
/// How long the request lives that nobody answers, in seconds.
const SHORT_LIFE_S: i64 = 3;
/// So many rounds take longer than the guard keeps the phone of somebody quiet who said "not me" (`guard.window_s`).
const QUIET_ROUNDS: usize = 28;
/// What the sign-in page shows.
const NUMBER: &str = "407213";

/// The script, and where we are in it.
pub(super) struct Scenes {
    at: usize,
    /// The last sign-in that nobody answered, which a later scene takes back.
    open: String,
}

/// One scene: what it is, and the event that begins it.
struct Scene {
    title: &'static str,
    kind: NotificationType,
    people: &'static [&'static str],
    body: wire::event::Body,
    /// Seconds that the event lives, if not as long as its type usually does.
    lives_s: Option<i64>,
}

const SCENES: usize = 11;
const EVERYBODY: &[&str] = &["ana", "ben", "chiyo", "dieter", "elif"];

const fn scene(
    title: &'static str,
    kind: NotificationType,
    people: &'static [&'static str],
    body: wire::event::Body,
) -> Scene {
    Scene { title, kind, people, body, lives_s: None }
}

impl Scenes {
    pub(super) const fn new() -> Self {
        Self { at: 0, open: String::new() }
    }

    /// Plays the next scene and says what it is.
    pub(super) fn play(&mut self, stage: &Stage) -> Result<&'static str, Failure> {
        let (round, place) = (self.at / SCENES, self.at % SCENES);
        self.at += 1;
        let id = Uuid::now_v7().to_string();
        let scene = self.scene(stage, &id, place, round)?;
        let now = SystemClock.now().as_millis();
        let moment = |ms: i64| prost_types::Timestamp { seconds: ms / 1000, nanos: (ms % 1000) as i32 * 1_000_000 };
        let event = wire::Event {
            event_id: id,
            workspace_id: WORKSPACE.into(),
            recipients: scene.people.iter().map(|&person| person.to_owned()).collect(),
            occurred_at: Some(moment(now)),
            expires_at: scene.lives_s.map(|lives| moment(now + lives * 1000)),
            body: Some(scene.body),
            test: false,
        };
        let key = if scene.people.len() == 1 { scene.people[0] } else { &event.event_id };
        stage.produce(scene.kind, key, &event.encode_to_vec())?;
        Ok(scene.title)
    }

    /// Nobody denies twice before they approve: the guard against floods of requests would keep their phones quiet.
    fn scene(&mut self, stage: &Stage, id: &str, place: usize, round: usize) -> Result<Scene, Failure> {
        let (phones, first) = (stage.sandbox().phones(), round.is_multiple_of(2));
        let answer = |phone, answer| {
            let number = (answer == Reply::Approve).then(|| NUMBER.to_owned());
            let behaviour = Behaviour { answer, number, times: Some(1), after_ms: THINKING_MS };
            phones.behave(phone, behaviour).map_err(Failure::Internal)
        };
        Ok(match place {
            0 => {
                answer("Ana's iPhone", Reply::Approve)?;
                let title = "Ana signs in to Payroll; its page shows her 407213";
                scene(title, IdentityVerification, &["ana"], sign_in("Lisbon, Portugal", Some(NUMBER)))
            }
            1 => scene("a one-time password arrives for Chiyo", OtpReceived, &["chiyo"], otp()),
            2 if first => Scene {
                lives_s: Some(SHORT_LIFE_S),
                ..scene("a tablet wants to be trusted by Dieter, who is at lunch", TrustedDevice, &["dieter"], device())
            },
            2 => {
                answer("Dieter's iPhone", Reply::Approve)?;
                scene("the tablet asks Dieter again, who is back", TrustedDevice, &["dieter"], device())
            }
            3 if !round.is_multiple_of(QUIET_ROUNDS) => Scene {
                lives_s: Some(SHORT_LIFE_S),
                ..scene(
                    "the stranger tries again; after \"not me\" Elif's phone stays quiet",
                    IdentityVerification,
                    &["elif"],
                    sign_in("Reykjavík, Iceland", Some(NUMBER)),
                )
            },
            3 => {
                answer("Elif's Pixel", Reply::DenyNotMe)?;
                let title = "a stranger signs in to Payroll as Elif";
                scene(title, IdentityVerification, &["elif"], sign_in("Reykjavík, Iceland", Some(NUMBER)))
            }
            4 => scene("an account is shared with everybody; Ben muted this", AccountSharing, EVERYBODY, shared()),
            5 => {
                approve_pending(phones, "Elif's Pixel", id.to_owned());
                let title = "Elif signs in herself: it does not ring, and she finds it in the app";
                scene(title, IdentityVerification, &["elif"], sign_in("Izmir, Türkiye", None))
            }
            6 => {
                id.clone_into(&mut self.open);
                let title = "Ana signs in to Payroll once more …";
                scene(title, IdentityVerification, &["ana"], sign_in("Lisbon, Portugal", None))
            }
            7 => {
                let cancel = wire::event::Body::Cancel(wire::Cancel { event_id: self.open.clone() });
                scene("… and closes the page: Payroll takes it back", IdentityVerification, &["ana"], cancel)
            }
            8 => {
                answer("Ben's iPhone", if first { Reply::Deny } else { Reply::Approve })?;
                let title = "Ben muted sign-ins, but his workspace enforces them";
                scene(title, IdentityVerification, &["ben"], sign_in("Leeds, United Kingdom", None))
            }
            9 => {
                let refusal =
                    Refusal { reason: "ServiceUnavailable".into(), status: None, timestamp: None, retry_after: None };
                let rule = Rule::always(Provider::Apns, Fault::Refuse(refusal)).times(2);
                stage.sandbox().add_fault(rule);
                scene("Apple answers 503 to Dieter's code: it comes 10 s later", OtpReceived, &["dieter"], otp())
            }
            _ => scene("a one-time password for Elif, whose language we do not have", OtpReceived, &["elif"], otp()),
        })
    }
}

/// Somebody opens the app: what is open is in Pending although it did not ring, and is answered there.
fn approve_pending(phones: &Arc<Phones>, phone: &'static str, event: String) {
    let phones = Arc::clone(phones);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(OPENING_MS)).await;
        // What the API says is in the phone's log.
        phones.answer(phone, ("identity_verification", &event), Reply::Approve, None).await.ok();
    });
}

fn sign_in(location: &str, number: Option<&str>) -> wire::event::Body {
    wire::event::Body::IdentityVerificationRequested(wire::IdentityVerificationRequested {
        application: "Payroll".into(),
        device: "Firefox on Windows".into(),
        location: location.into(),
        match_number: number.map(str::to_owned),
        new_location: location.ends_with("Iceland"),
        ..Default::default()
    })
}

fn otp() -> wire::event::Body {
    wire::event::Body::OtpReceived(wire::OtpReceived { account: "Tax office".into(), service: "ACME Mail".into() })
}

fn shared() -> wire::event::Body {
    wire::event::Body::AccountShared(wire::AccountShared {
        account: "Press photos".into(),
        shared_by: "Finn Berg".into(),
        access_level: wire::AccessLevel::Edit.into(),
    })
}

fn device() -> wire::event::Body {
    wire::event::Body::TrustedDeviceRequested(wire::TrustedDeviceRequested {
        device_name: "Galaxy Tab S10".into(),
        device_kind: wire::DeviceKind::Tablet.into(),
        browser: "Chrome".into(),
        operating_system: "Android".into(),
        ..Default::default()
    })
}
