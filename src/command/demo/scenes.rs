//! What happens in the demo: a short story, told again and again.
use prost::Message as _;
use uuid::Uuid;

use super::people::WORKSPACE;
use super::stage::Stage;
use crate::command::Failure;
use crate::event::{NotificationType, wire};
use crate::sandbox::fault::{Fault, Provider, Refusal, Rule};
use crate::seam::{Clock as _, SystemClock};

/// The script, and where we are in it.
pub(super) struct Scenes {
    at: usize,
    /// The last sign-in, which a later scene takes back.
    sign_in: String,
}

const SCENES: usize = 8;

impl Scenes {
    pub(super) const fn new() -> Self {
        Self { at: 0, sign_in: String::new() }
    }

    /// Plays the next scene and says what it is.
    pub(super) fn play(&mut self, stage: &Stage) -> Result<&'static str, Failure> {
        let scene = self.at % SCENES;
        self.at += 1;
        let id = Uuid::now_v7().to_string();
        let (title, kind, people, body): (_, _, &[&str], _) = match scene {
            0 => {
                self.sign_in.clone_from(&id);
                ("somebody signs in to Payroll as Ana", NotificationType::IdentityVerification, &["ana"], sign_in())
            }
            1 => ("a one-time password arrives for Chiyo", NotificationType::OtpReceived, &["chiyo"], otp()),
            2 => (
                "Ana's sign-in was answered elsewhere: it is withdrawn",
                NotificationType::IdentityVerification,
                &["ana"],
                wire::event::Body::Cancel(wire::Cancel { event_id: self.sign_in.clone() }),
            ),
            3 => (
                "an account is shared with everybody; Ben muted this",
                NotificationType::AccountSharing,
                EVERYBODY,
                shared(),
            ),
            4 => ("a tablet wants to be trusted by Dieter", NotificationType::TrustedDevice, &["dieter"], device()),
            5 => (
                "Ben muted sign-ins, but his workspace enforces them",
                NotificationType::IdentityVerification,
                &["ben"],
                sign_in(),
            ),
            6 => {
                let refusal =
                    Refusal { reason: "ServiceUnavailable".into(), status: None, timestamp: None, retry_after: None };
                let rule = Rule::always(Provider::Apns, Fault::Refuse(refusal)).times(2);
                stage.sandbox().add_fault(rule);
                (
                    "Apple answers 503 to Dieter's code: it comes 10 s later",
                    NotificationType::OtpReceived,
                    &["dieter"],
                    otp(),
                )
            }
            _ => (
                "a one-time password for Elif, whose language we do not have",
                NotificationType::OtpReceived,
                &["elif"],
                otp(),
            ),
        };
        let now = SystemClock.now().as_millis();
        let event = wire::Event {
            event_id: id,
            workspace_id: WORKSPACE.into(),
            recipients: people.iter().map(|&person| person.to_owned()).collect(),
            occurred_at: Some(prost_types::Timestamp { seconds: now / 1000, nanos: (now % 1000) as i32 * 1_000_000 }),
            expires_at: None,
            body: Some(body),
        };
        let key = if people.len() == 1 { people[0] } else { &event.event_id };
        stage.produce(kind, key, &event.encode_to_vec())?;
        Ok(title)
    }
}

const EVERYBODY: &[&str] = &["ana", "ben", "chiyo", "dieter", "elif"];

fn sign_in() -> wire::event::Body {
    wire::event::Body::IdentityVerificationRequested(wire::IdentityVerificationRequested {
        application: "Payroll".into(),
        device: "Firefox on Windows".into(),
        location: "Lisbon, Portugal".into(),
        match_number: Some("407213".into()),
        new_location: true,
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
