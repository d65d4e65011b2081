//! Phones of invented people, which really sign: an app's side of `docs/app.md`, played.
//!
//! The point: whoever builds or tries the other sides (an API, an upstream service, a demonstration) has phones that are enrolled by a key of
//! their own, are woken by the pushes that the simulators accept for their token, fetch what is asked, say that they showed it, and answer,
//! by themselves or when they are told.
//!
//! There are none until somebody makes one ([`control`]). A phone belongs to one persona of the sandbox's issuer and is enrolled at one API.
//! Its key lives in memory, as long as the phone. It deliberately has no clock of its own that could be wrong, keeps nothing over a
//! restart, and draws nothing.
//!
//! It fails by saying so: what the API refuses is in the phone's log, in the API's words. The simulators must record pushes in full.
mod arrival;
mod behaviour;
mod client;
pub(crate) mod control;
mod enrol;
mod key;
mod log;
mod phone;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{AbortHandle, JoinSet};

pub use self::behaviour::{Behaviour, Reply};
pub use self::client::Said;
pub use self::enrol::{Enrol, Enrolled};
pub use self::key::PhoneKey;
pub use self::log::{Did, Entry, What};

use self::arrival::Arrival;
use self::log::Log;
use self::phone::Phone;
use super::apns::Apns;
use super::fcm::Fcm;
use super::issuer::Issuer;

/// Whose pushes a phone gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// Apple's.
    Apns,
    /// Google's.
    Fcm,
}

impl Platform {
    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Apns => "apns",
            Self::Fcm => "fcm",
        }
    }
}

/// What a phone is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Make {
    /// Whose: a persona of the issuer.
    pub persona: String,
    /// Its platform.
    pub platform: Platform,
    /// The app on it: bundle id or package name.
    #[serde(default = "app")]
    pub app: String,
    /// Its language, as a BCP 47 tag.
    #[serde(default = "locale")]
    pub locale: String,
    /// As its maker calls it.
    #[serde(default)]
    pub model: String,
    /// What it does about requests.
    #[serde(default)]
    pub behaviour: Behaviour,
}

fn app() -> String {
    "com.example.app".to_owned()
}

fn locale() -> String {
    "en-US".to_owned()
}

/// An entry on a phone's screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The notification's type.
    #[serde(rename = "type")]
    pub about: String,
    /// Its event.
    pub event: String,
    /// What stands there.
    pub title: String,
    /// What stands below.
    pub body: String,
}

/// A phone as it is now. Its key has only a public half here.
#[derive(Debug, Clone, Serialize)]
pub struct View {
    /// What it is called here.
    pub name: String,
    /// Whose it is.
    pub persona: String,
    /// Their user id.
    pub user: String,
    /// Its platform.
    pub platform: Platform,
    /// Its push token, as in `GET /devices/{token}`.
    pub token: String,
    /// Its key's public half.
    pub jwk: Value,
    /// RFC 7638 thumbprint of it.
    pub thumbprint: String,
    /// The device's id at the API; absent before it is enrolled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What it may do, as the API said last.
    pub state: String,
    /// How it answers the requests that come.
    pub answers: Reply,
    /// What is on its screen, oldest first.
    pub screen: Vec<Shown>,
}

/// A phone that is awake. It sleeps for ever when this is dropped.
struct Awake {
    phone: Arc<Phone>,
    task: AbortHandle,
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All phones, by name.
pub struct Phones {
    apns: Arc<Apns>,
    fcm: Arc<Fcm>,
    issuer: Arc<Issuer>,
    log: Arc<Log>,
    runtime: Handle,
    awake: Mutex<BTreeMap<String, Awake>>,
}

impl std::fmt::Debug for Phones {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Phones").field("names", &self.names()).finish_non_exhaustive()
    }
}

impl Phones {
    /// None yet; those to come live on the current Tokio runtime.
    pub(crate) fn new(apns: Arc<Apns>, fcm: Arc<Fcm>, issuer: Arc<Issuer>) -> Self {
        Self { apns, fcm, issuer, log: Arc::default(), runtime: Handle::current(), awake: Mutex::default() }
    }

    fn awake(&self) -> MutexGuard<'_, BTreeMap<String, Awake>> {
        self.awake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn phone(&self, name: &str) -> Result<Arc<Phone>, String> {
        let phone = self.awake().get(name).map(|awake| Arc::clone(&awake.phone));
        phone.ok_or_else(|| format!("there is no phone {name}; PUT /phones/{name} makes it"))
    }

    /// What the phones are called.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.awake().keys().cloned().collect()
    }

    /// Makes a phone, with a key and a push token of its own; one of that name is thrown away.
    ///
    /// # Errors
    /// A sentence, if there is no such persona.
    pub fn make(&self, name: &str, make: Make) -> Result<View, String> {
        let persona = &make.persona;
        let user = self.issuer.user(persona).ok_or_else(|| format!("there is no persona {persona}"))?;
        let key = PhoneKey::generate().map_err(|error| error.to_string())?;
        let token = new_token(make.platform);
        let shared = (Arc::clone(&self.issuer), Arc::clone(&self.log));
        let phone = Arc::new(Phone::new((name, make), user, key, token, shared));
        self.wake_by_pushes(&phone);
        self.view(name)
    }

    /// Lets what arrives for its token wake the phone, and nothing else any more.
    fn wake_by_pushes(&self, phone: &Arc<Phone>) {
        let token = phone.state().token.clone();
        let task = match phone.make.platform {
            Platform::Apns => self.runtime.spawn(live(Arc::clone(phone), self.apns.listen(&token))),
            Platform::Fcm => self.runtime.spawn(live(Arc::clone(phone), self.fcm.listen(&token))),
        };
        let awake = Awake { phone: Arc::clone(phone), task: task.abort_handle() };
        drop(self.awake().insert(phone.name.clone(), awake));
    }

    /// A phone as it is now.
    ///
    /// # Errors
    /// A sentence, if there is none of that name.
    pub fn view(&self, name: &str) -> Result<View, String> {
        let phone = self.phone(name)?;
        let device = phone.enrolment.borrow().as_ref().map(|enrolment| enrolment.device.clone());
        let state = phone.state();
        Ok(View {
            name: phone.name.clone(),
            persona: phone.make.persona.clone(),
            user: phone.user.clone(),
            platform: phone.make.platform,
            token: state.token.clone(),
            jwk: phone.key.jwk(),
            thumbprint: phone.key.thumbprint(),
            device,
            state: state.may.clone(),
            answers: state.behaviour.answer,
            screen: state.screen.clone(),
        })
    }

    /// Throws a phone away; false if there was none.
    pub fn remove(&self, name: &str) -> bool {
        let removed = self.awake().remove(name);
        removed.is_some()
    }

    /// Throws all of them away.
    pub(crate) fn reset(&self) {
        self.awake().clear();
    }

    /// Sets a phone up at an API, and waits for the push with which it is reached.
    ///
    /// # Errors
    /// A sentence, if there is no such phone, or the API does not answer or refuses it. One that may only receive is no error.
    pub async fn enrol(&self, name: &str, enrol: &Enrol) -> Result<Enrolled, String> {
        let phone = self.phone(name)?;
        let voucher = enrol.vouched_by.as_deref().map(|other| self.phone(other)).transpose()?;
        phone.enrol(enrol, voucher).await
    }

    /// Says how a phone answers the requests that come from now on.
    ///
    /// # Errors
    /// A sentence, if there is none of that name.
    pub fn behave(&self, name: &str, behaviour: Behaviour) -> Result<(), String> {
        self.phone(name)?.state().behaviour = behaviour;
        Ok(())
    }

    /// Lets a phone answer one request: type and event.
    ///
    /// # Errors
    /// A sentence, if there is no such phone or the API does not answer. What it refuses is no error.
    pub async fn answer(
        &self,
        name: &str,
        request: (&str, &str),
        reply: Reply,
        number: Option<&str>,
    ) -> Result<Said, String> {
        self.phone(name)?.answer(request, reply, number).await
    }

    /// What awaits an answer, as the phone reads it when its app is opened.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub async fn pending(&self, name: &str) -> Result<Said, String> {
        self.phone(name)?.call(reqwest::Method::GET, "/phone/requests", None).await
    }

    /// Lets a phone report anew, as its app does when it starts; with another push token if its platform gave it one.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub async fn refresh(&self, name: &str, another_token: bool) -> Result<Said, String> {
        let phone = self.phone(name)?;
        if another_token {
            phone.state().token = new_token(phone.make.platform);
            self.wake_by_pushes(&phone);
        }
        let said = phone.call(reqwest::Method::PUT, "/phone", Some(phone.report())).await;
        phone.note(Did::Refreshed, ("", ""), &said);
        said
    }

    /// What all phones did, from that entry on.
    #[must_use]
    pub fn log_since(&self, sequence: u64) -> Vec<Entry> {
        self.log.since(sequence)
    }

    /// What one phone did.
    #[must_use]
    pub fn log_of(&self, name: &str) -> Vec<Entry> {
        self.log.of(name)
    }
}

/// A token as the platform makes them.
fn new_token(platform: Platform) -> String {
    let [one, two] = [(), ()].map(|()| uuid::Uuid::new_v4().simple().to_string());
    match platform {
        Platform::Apns => format!("{one}{two}"),
        Platform::Fcm => format!("sandbox:{one}-{two}"),
    }
}

/// What a phone does while it is awake. Pushes are not looked at one after the other: one that waits holds up none.
async fn live<P>(phone: Arc<Phone>, mut pushes: UnboundedReceiver<Arc<P>>)
where
    for<'a> Arrival: From<&'a P>,
{
    let mut doing = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = doing.join_next() => {}
            push = pushes.recv() => {
                let Some(push) = push else { return };
                let (phone, arrival) = (Arc::clone(&phone), Arrival::from(&push));
                doing.spawn(async move { phone.wake(arrival).await });
            }
        }
    }
}
