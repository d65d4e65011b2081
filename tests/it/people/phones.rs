//! Phones that really sign: what an app does, with everything verified as the API verifies it.
use std::time::Duration;

use serde_json::{Value, json};
use watchbell::event::{DeviceId, Timestamp};
use watchbell::people::enrolment::{
    DeviceKind, EnrolmentRules, PromotionRefusal, Registrant, RegistrationRefusal, Report, Way,
};
use watchbell::people::signed::{
    Asked, DECISION_TYPE, DeviceKey, KEY_TYPE, KeyRoll, PROMOTION_TYPE, Promotion, Proof, Signed, SignedAnswer,
    Statement, Unchecked, UncheckedProof,
};
use watchbell::people::{Answer, Person, Projection, Verb};
use watchbell::sandbox::phones::PhoneKey;
use watchbell::store::{Failure, Policy, PromotedBy, Registered, ToReach};

use super::support::id_of;
use crate::store_support::{AT, installation};

const AUDIENCE: &str = "https://w.example";
const URL: &str = "https://w.example/v1/workspaces/acme/devices";
const WINDOW: Duration = Duration::from_secs(120);

/// Everything open; three phones each.
pub fn rules(ways: &[Way]) -> EnrolmentRules {
    EnrolmentRules { ways: ways.to_vec(), devices_max: 3, sign_in_max_age: Duration::from_secs(300) }
}

/// A phone with our app on it.
#[derive(Clone)]
pub struct Phone {
    pub key: PhoneKey,
    pub token: String,
    /// What outlives the app on it.
    pub phone: Option<String>,
    /// Known once it was registered.
    pub id: Option<DeviceId>,
}

impl Phone {
    pub fn new(token: &str) -> Self {
        Self { key: PhoneKey::generate().unwrap(), token: token.to_owned(), phone: None, id: None }
    }

    /// A key of its own making, in the place of the one before.
    pub fn with_new_key(&self) -> Self {
        Self { key: Self::new("").key, ..self.clone() }
    }

    pub fn key(&self) -> DeviceKey {
        DeviceKey::from_jwk(&self.jwk().to_string()).unwrap()
    }

    pub fn thumbprint(&self) -> String {
        self.key.thumbprint()
    }

    pub fn id(&self) -> &DeviceId {
        self.id.as_ref().unwrap()
    }

    pub fn jwk(&self) -> Value {
        self.key.jwk()
    }

    /// A proof for a request over HTTP: with the key while the phone has no id, else with its name.
    pub fn proof_for(&self, base: &str, (method, path): (&str, &str), more: &Value) -> String {
        let url = format!("{base}{path}");
        self.key.proof(self.id.as_ref().map(DeviceId::as_str), (method, &url), more).unwrap()
    }

    /// A statement for somebody in `acme`, as the body of a request over HTTP.
    pub fn statement_for(&self, base: &str, user: &str, typ: &str, more: &Value) -> Value {
        let mut about = json!({"aud": base, "workspace": "acme", "user": user});
        about.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"jws": self.key.statement(self.id().as_str(), typ, &about).unwrap()})
    }

    /// A proof that carries the key, verified.
    pub fn proof(&self, nonce: Option<&str>) -> Proof {
        let mut more = json!({"iat": AT.as_secs()});
        if let Some(nonce) = nonce {
            more["nonce"] = nonce.into();
        }
        let text = self.key.proof(None, ("POST", URL), &more).unwrap();
        let asked = Asked { method: "POST", url: URL, nonce, now: AT, window: WINDOW };
        UncheckedProof::read(&text).unwrap().verify(&self.key(), &asked).unwrap()
    }

    /// A statement, verified with the key that the store has of the device that it names.
    async fn statement<S: Statement + Clone>(
        &self,
        policy: &Policy,
        person: &Person,
        typ: &str,
        more: Value,
    ) -> Signed<S> {
        let mut about = json!({
            "aud": AUDIENCE, "workspace": person.workspace.as_str(), "user": person.user.as_str(), "iat": 1,
        });
        about.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let text = self.key.statement(self.id().as_str(), typ, &about).unwrap();
        let unchecked = Unchecked::<S>::read(&text).unwrap();
        let keyed = policy.devices().keyed(&person.workspace, unchecked.device()).await.unwrap().unwrap();
        // A phone whose key was rolled away signs well, with a key that counts no more: the store has to notice.
        let key = if unchecked.clone().verify(&keyed.key, AUDIENCE).is_ok() { keyed.key } else { self.key() };
        unchecked.verify(&key, AUDIENCE).unwrap()
    }

    pub async fn answer(&self, policy: &Policy, request: &Projection, verb: Verb) -> Answer {
        let about = json!({"type": "identity_verification", "event": request.event.as_str(), "verb": verb.name()});
        let signed = self.statement::<SignedAnswer>(policy, &request.person, DECISION_TYPE, about).await;
        signed.answer_to(&id_of(request)).unwrap()
    }

    /// What this phone, an approver, says of another one.
    pub async fn vouch(&self, policy: &Policy, person: &Person, other: &Self, digits: &str) -> Signed<Promotion> {
        let about = json!({"device": other.id().as_str(), "number": digits});
        self.statement(policy, person, PROMOTION_TYPE, about).await
    }

    /// What this phone says of the key of `next`.
    pub async fn roll(&self, policy: &Policy, person: &Person, next: &Self) -> Signed<KeyRoll> {
        self.statement(policy, person, KEY_TYPE, json!({"jwk": next.jwk()})).await
    }

    pub fn registrant(&self) -> Registrant {
        let report = Report {
            installation: installation(&self.token),
            locale: "en-US".into(),
            model: "Pixel 8".into(),
            permission: Some(watchbell::people::Permission::Allowed),
            time_sensitive: None,
        };
        Registrant { report, name: "My phone".into(), kind: DeviceKind::Phone, phone: self.phone.clone() }
    }

    /// Registers: challenge, proof, request. It knows its id from then on.
    pub async fn register(
        &mut self,
        policy: &Policy,
        person: &Person,
        now: Timestamp,
    ) -> Result<Registered, Failure<RegistrationRefusal>> {
        self.register_as(policy, person, None, now).await
    }

    pub async fn register_as(
        &mut self,
        policy: &Policy,
        person: &Person,
        key: Option<&str>,
        now: Timestamp,
    ) -> Result<Registered, Failure<RegistrationRefusal>> {
        self.register_by(policy, person, AT, key, now).await
    }

    /// With a session that began at that moment.
    pub async fn register_by(
        &mut self,
        policy: &Policy,
        person: &Person,
        session: Timestamp,
        key: Option<&str>,
        now: Timestamp,
    ) -> Result<Registered, Failure<RegistrationRefusal>> {
        let challenge = policy.devices().challenge(person, session, now).await.unwrap();
        let proof = self.proof(Some(challenge.expose()));
        let (registrant, rules) = (self.registrant(), rules(&Way::ALL));
        let proved = (&proof, challenge.expose());
        let registered = policy.devices().register(person, proved, &registrant, key, &rules, now).await?;
        self.id = Some(registered.device.clone());
        Ok(registered)
    }

    /// Registers, and sends the nonce back that was pushed to it.
    pub async fn enrol(&mut self, policy: &Policy, person: &Person, now: Timestamp) -> Vec<DeviceId> {
        let registered = self.register(policy, person, now).await.unwrap();
        self.reach(policy, person, &registered.reach.unwrap(), now).await
    }

    /// The push arrives, if it goes to this phone's token, and its nonce is sent back. Returns what was replaced.
    pub async fn reach(&self, policy: &Policy, person: &Person, push: &ToReach, now: Timestamp) -> Vec<DeviceId> {
        assert_eq!(push.to, installation(&self.token), "the push goes to another phone");
        let reached = policy.devices().reached(person, self.id(), &self.thumbprint(), push.nonce.expose(), now).await;
        reached.unwrap().replaced
    }

    /// Asks to be promoted for a sign-in.
    pub async fn sign_in(
        &self,
        policy: &Policy,
        person: &Person,
        (phishing_resistant, at): (bool, Timestamp),
        ways: &[Way],
        now: Timestamp,
    ) -> Result<Option<Way>, Failure<PromotionRefusal>> {
        let thumbprint = self.thumbprint();
        let by = PromotedBy::SignIn { thumbprint: &thumbprint, phishing_resistant, at: Some(at) };
        let promotion = policy.devices().promote(person, self.id(), by, None, &rules(ways), now).await?;
        Ok(promotion.way)
    }

    /// Asks to be promoted for a ticket.
    pub async fn redeem(
        &self,
        policy: &Policy,
        person: &Person,
        ticket: &str,
        now: Timestamp,
    ) -> Result<Option<Way>, Failure<PromotionRefusal>> {
        let thumbprint = self.thumbprint();
        let by = PromotedBy::Ticket { ticket, thumbprint: &thumbprint };
        let promotion = policy.devices().promote(person, self.id(), by, None, &rules(&Way::ALL), now).await?;
        Ok(promotion.way)
    }
}

/// Somebody's first phone, which may approve.
pub async fn approver(policy: &Policy, person: &Person, token: &str) -> Phone {
    let mut phone = Phone::new(token);
    phone.enrol(policy, person, AT).await;
    phone.sign_in(policy, person, (false, AT), &[Way::FreshSignIn], AT).await.unwrap();
    phone
}
