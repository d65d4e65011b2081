//! A phone is set up, as an app does it: sign-in, registration with a proof, the nonce that comes by push, and a way to approve.
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::client::{Api, Call, Said, segment};
use super::key::PROMOTION;
use super::log::Did;
use super::phone::{Enrolment, Phone};

/// How long a phone waits for the push with the nonce.
const PUSHED_WITHIN: Duration = Duration::from_secs(60);

/// Where a phone is enrolled, and what speaks for it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// Where the API is, such as `http://localhost:8081`.
    pub api: String,
    /// What the API knows itself by (`api.devices.public_url`), if that is another address.
    #[serde(default)]
    pub public_url: Option<String>,
    /// The workspace's id.
    pub workspace: String,
    /// The persona who issues a ticket for it: somebody who may.
    #[serde(default)]
    pub ticket_by: Option<String>,
    /// The phone of the same person that vouches for it, by the digits that this one shows.
    #[serde(default)]
    pub vouched_by: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Enrolled {
    /// The device's id.
    pub device: String,
    /// `receive_only` or `approver`.
    pub state: String,
    /// In which way it became an approver; absent if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<String>,
    /// Why it may not approve, in the API's words; absent if it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

impl Phone {
    fn sign_in(&self, persona: &str) -> Result<String, String> {
        self.issuer.token(persona).ok_or_else(|| format!("there is no persona {persona}; GET /issuer names them"))
    }

    /// What this phone reports of itself.
    pub(super) fn report(&self) -> Value {
        let make = &self.make;
        let (token, mut report) = (self.state().token.clone(), json!({"permission": "allowed"}));
        report["platform"] = make.platform.name().into();
        report["app"] = make.app.as_str().into();
        report["token"] = token.into();
        report["locale"] = make.locale.as_str().into();
        report["model"] = make.model.as_str().into();
        report
    }

    /// Sets it up. `voucher` is the phone that [`Enrol::vouched_by`] names.
    pub(super) async fn enrol(&self, enrol: &Enrol, voucher: Option<Arc<Self>>) -> Result<Enrolled, String> {
        let api = Api::new(&enrol.api, enrol.public_url.as_deref(), &enrol.workspace)?;
        let device = self.register(&api).await?;
        let mut reached = self.reached.subscribe();
        if !matches!(tokio::time::timeout(PUSHED_WITHIN, reached.wait_for(|reached| *reached)).await, Ok(Ok(_))) {
            let within = PUSHED_WITHIN.as_secs();
            return Err(format!(
                "{device} is registered, and no nonce came by push within {within} s: does the API have the credentials of this sandbox?"
            ));
        }
        let said = match voucher {
            Some(voucher) => self.be_vouched_for(&voucher).await,
            None => self.promote(&api, &device, enrol.ticket_by.as_deref()).await,
        };
        self.note(Did::Promoted, ("", ""), &said);
        let said = said?;
        let way = said.said["way"].as_str().map(str::to_owned);
        let why_not = (!said.is_done()).then(|| said.text("detail"));
        let state = if said.is_done() { said.text("state") } else { "receive_only".to_owned() };
        self.state().may.clone_from(&state);
        Ok(Enrolled { device, state, way, why_not })
    }

    async fn register(&self, api: &Api) -> Result<String, String> {
        let (sign_in, path) = (self.sign_in(&self.make.persona)?, format!("{}/me/devices", api.path));
        let challenges = format!("{path}/challenges");
        let ask = |path, body, proof, nonce| Call {
            method: Method::POST,
            path,
            body,
            sign_in: Some(sign_in.clone()),
            proof,
            nonce,
        };
        let said = api.call(ask(&challenges, None, None, None)).await?;
        if !said.is_done() {
            return Err(refused("give a challenge", &said));
        }
        let challenge = said.text("challenge");
        let body = json!({"challenge": challenge, "name": self.name, "report": self.report()});
        self.enrolment.send_replace(None);
        self.reached.send_replace(false);
        let said = api.call(ask(&path, Some(body), Some((&self.key, None)), Some(&challenge))).await;
        self.note(Did::Registered, ("", ""), &said);
        let said = said?;
        if !said.is_done() {
            return Err(refused("register the phone", &said));
        }
        let device = said.text("device");
        self.state().may = said.text("state");
        self.enrolment.send_replace(Some(Arc::new(Enrolment { api: api.clone(), device: device.clone() })));
        // The same key again, which pushes are known to reach: nothing is on its way.
        if said.said["reach"] == false {
            self.reached.send_replace(true);
        }
        Ok(device)
    }

    /// By a ticket, or by the sign-in itself.
    async fn promote(&self, api: &Api, device: &str, ticket_by: Option<&str>) -> Result<Said, String> {
        let body = match ticket_by {
            None => json!({}),
            Some(persona) => {
                let path = format!("{}/users/{}/tickets", api.path, segment(&self.user));
                let sign_in = Some(self.sign_in(persona)?);
                let call = Call { method: Method::POST, path: &path, body: None, sign_in, proof: None, nonce: None };
                let said = api.call(call).await?;
                if !said.is_done() {
                    return Err(refused("issue a ticket", &said));
                }
                json!({"ticket": said.text("ticket")})
            }
        };
        let path = format!("{}/me/devices/{}/promotion", api.path, segment(device));
        let sign_in = Some(self.sign_in(&self.make.persona)?);
        let proof = Some((&self.key, Some(device)));
        api.call(Call { method: Method::POST, path: &path, body: Some(body), sign_in, proof, nonce: None }).await
    }

    /// Shows digits, which the person types on the other phone.
    async fn be_vouched_for(&self, other: &Self) -> Result<Said, String> {
        let device = self.enrolled()?.device.clone();
        let said = self.call(Method::POST, "/phone/digits", None).await?;
        if !said.is_done() {
            return Err(refused("give digits to show", &said));
        }
        let about = json!({"device": device, "number": said.text("digits")});
        let word = other.statement(PROMOTION, about)?;
        other.call(Method::POST, "/phone/promotions", Some(word)).await
    }
}

fn refused(what: &str, said: &Said) -> String {
    format!("the API does not {what}: {} {}", said.status, said.said["detail"].as_str().unwrap_or_default())
}
