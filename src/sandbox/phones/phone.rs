//! One phone: what its app does by itself when a push wakes it, and what it does when it is told to.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::arrival::{Arrival, Kind};
use super::behaviour::{Behaviour, Reply};
use super::client::{Api, Call, Said, segment};
use super::key::{DECISION, PhoneKey};
use super::log::{Did, Log, What};
use super::{Make, Shown};
use crate::sandbox::apns::now_us;
use crate::sandbox::issuer::Issuer;

/// How long a phone goes on asking for a request that the API does not have yet.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a push waits for the answer to the registration that caused it.
const REGISTERING: Duration = Duration::from_secs(15);

/// What the API knows a phone by.
#[derive(Debug)]
pub(super) struct Enrolment {
    pub(super) api: Api,
    pub(super) device: String,
}

/// A phone; see the module's documentation.
pub(super) struct Phone {
    pub(super) make: Make,
    pub(super) name: String,
    pub(super) user: String,
    pub(super) key: PhoneKey,
    pub(super) issuer: Arc<Issuer>,
    pub(super) log: Arc<Log>,
    pub(super) enrolment: watch::Sender<Option<Arc<Enrolment>>>,
    /// Whether a nonce came by push and was taken back.
    pub(super) reached: watch::Sender<bool>,
    state: Mutex<State>,
}

/// What changes.
pub(super) struct State {
    pub(super) token: String,
    pub(super) behaviour: Behaviour,
    /// What the phone may do, as the API said last; empty before.
    pub(super) may: String,
    /// What is on the screen, oldest first.
    pub(super) screen: Vec<Shown>,
}

impl Phone {
    pub(super) fn new(
        (name, make): (&str, Make),
        user: String,
        key: PhoneKey,
        token: String,
        (issuer, log): (Arc<Issuer>, Arc<Log>),
    ) -> Self {
        let state = State { token, behaviour: make.behaviour.clone(), may: String::new(), screen: Vec::new() };
        let (enrolment, reached) = (watch::Sender::new(None), watch::Sender::new(false));
        Self { name: name.to_owned(), make, user, key, issuer, log, enrolment, reached, state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, did: Did, what: What) {
        self.log.add(&self.name, did, what);
    }

    /// Notes what the API said, of a request or of nothing.
    pub(super) fn note(&self, did: Did, request: (&str, &str), said: &Result<Said, String>) {
        let (status, said) = match said {
            Ok(said) => (Some(said.status), said.said.clone()),
            Err(sentence) => (None, json!(sentence)),
        };
        let (about, event) = (request.0.to_owned(), request.1.to_owned());
        self.add(did, What { about, event, status, said, ..What::default() });
    }

    pub(super) fn enrolled(&self) -> Result<Arc<Enrolment>, String> {
        let enrolment = self.enrolment.borrow().clone();
        enrolment.ok_or_else(|| format!("{} is not enrolled; POST /phones/{0}/enrol first", self.name))
    }

    /// A call by the key alone.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Said, String> {
        let enrolment = self.enrolled()?;
        let path = format!("{}{path}", enrolment.api.path);
        let proof = Some((&self.key, Some(enrolment.device.as_str())));
        enrolment.api.call(Call { method, path: &path, body, sign_in: None, proof, nonce: None }).await
    }

    /// The body of a signed statement.
    pub(super) fn statement(&self, typ: &str, mut about: Value) -> Result<Value, String> {
        let enrolment = self.enrolled()?;
        about["aud"] = enrolment.api.public_url.as_str().into();
        about["workspace"] = enrolment.api.workspace.as_str().into();
        about["user"] = self.user.as_str().into();
        let jws = self.key.statement(&enrolment.device, typ, &about).map_err(|error| error.to_string())?;
        Ok(json!({"jws": jws}))
    }

    /// A push has arrived.
    pub(super) async fn wake(&self, push: Arrival) {
        match push.kind {
            Kind::Reach => self.send_back(&push.nonce).await,
            Kind::Withdraw => {
                let shows = {
                    let screen = &mut self.state().screen;
                    let before = screen.len();
                    screen.retain(|shown| (&shown.about, &shown.event) != (&push.about, &push.event));
                    before > screen.len()
                };
                // A withdrawal may be repeated; what is not there any more is not taken away.
                if shows {
                    self.add(Did::TookAway, showing(&push));
                }
            }
            // What is over is not worth showing.
            Kind::Show | Kind::Other if push.expires_at.is_some_and(|at| at.saturating_mul(1_000_000) <= now_us()) => {}
            Kind::Other => self.add(Did::Showed, showing(&push)),
            Kind::Show => self.show(&push).await,
        }
    }

    async fn send_back(&self, nonce: &str) {
        // The push may be faster than the answer of the call that caused it.
        let mut known = self.enrolment.subscribe();
        let registered = tokio::time::timeout(REGISTERING, known.wait_for(Option::is_some)).await;
        if !matches!(registered, Ok(Ok(_))) {
            return;
        }
        drop(registered);
        let said = self.call(Method::POST, "/phone/reached", Some(json!({"nonce": nonce}))).await;
        let done = said.as_ref().is_ok_and(Said::is_done);
        self.note(Did::Reached, ("", ""), &said);
        if done {
            self.reached.send_replace(true);
        }
    }

    async fn show(&self, push: &Arrival) {
        let request = (push.about.clone(), push.event.clone());
        {
            let mut state = self.state();
            state.screen.retain(|shown| (&shown.about, &shown.event) != (&push.about, &push.event));
            let (title, body) = (push.title.clone(), push.body.clone());
            state.screen.push(Shown { about: request.0.clone(), event: request.1.clone(), title, body });
        }
        self.add(Did::Showed, showing(push));
        if self.enrolled().is_err() {
            return;
        }
        let shown = json!({"shown": [{"type": request.0, "event": request.1}]});
        if !matches!(push.category.as_str(), "watchbell.approve" | "watchbell.approve_number") {
            let said = self.call(Method::POST, "/phone/seen", Some(shown)).await;
            self.note(Did::Receipted, (&request.0, &request.1), &said);
            return;
        }
        let path = format!("/phone/requests/{}/{}", segment(&request.0), segment(&request.1));
        let said = self.read(&path).await;
        self.note(Did::Read, (&request.0, &request.1), &said);
        let said = self.call(Method::POST, "/phone/seen", Some(shown)).await;
        self.note(Did::Receipted, (&request.0, &request.1), &said);
        let now = self.state().behaviour.next();
        if now.answer == Reply::Ignore {
            return;
        }
        tokio::time::sleep(Duration::from_millis(now.after_ms)).await;
        let number = now.number.as_deref().filter(|_| push.number_required);
        // Whatever was said is in the log.
        self.answer((&request.0, &request.1), now.answer, number).await.ok();
    }

    /// Fetches a request's detail, once the API has it.
    async fn read(&self, path: &str) -> Result<Said, String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let said = self.call(Method::GET, path, None).await?;
            let Some(pause) = again(&said, until) else { return Ok(said) };
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends an answer, signed anew each time, once the API has its request.
    async fn send(&self, api: &Api, path: &str, about: &Value) -> Result<Said, String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let body = Some(self.statement(DECISION, about.clone())?);
            let call = Call { method: Method::POST, path, body, sign_in: None, proof: None, nonce: None };
            let said = api.call(call).await?;
            let Some(pause) = again(&said, until) else { return Ok(said) };
            tokio::time::sleep(pause).await;
        }
    }

    /// Answers a request with a signed statement.
    pub(super) async fn answer(
        &self,
        (about, event): (&str, &str),
        reply: Reply,
        number: Option<&str>,
    ) -> Result<Said, String> {
        let verb = reply.verb().ok_or("ignore is no answer; use approve, deny or deny_not_me")?;
        let mut statement = json!({"type": about, "event": event, "verb": verb});
        // Denying needs none.
        if let Some(number) = number.filter(|_| reply == Reply::Approve) {
            statement["number"] = number.into();
        }
        let enrolment = self.enrolled()?;
        let path = format!("{}/phone/requests/{}/{}/answer", enrolment.api.path, segment(about), segment(event));
        let said = self.send(&enrolment.api, &path, &statement).await;
        let (status, text) = match &said {
            Ok(said) => (Some(said.status), said.said.clone()),
            Err(sentence) => (None, json!(sentence)),
        };
        let (about, event) = (about.to_owned(), event.to_owned());
        self.add(Did::Answered, What { about, event, answer: Some(reply), status, said: text, ..What::default() });
        said
    }
}

/// How long to wait before asking again; `None` if what was said is the answer. A push may be faster than its request, and an API too busy.
fn again(said: &Said, until: Instant) -> Option<Duration> {
    let pause = said.retry_after.filter(|_| matches!(said.status, 429 | 503) && Instant::now() < until)?;
    Some(Duration::from_secs(pause.max(1)))
}

fn showing(push: &Arrival) -> What {
    What {
        about: push.about.clone(),
        event: push.event.clone(),
        title: push.title.clone(),
        body: push.body.clone(),
        category: push.category.clone(),
        silently: push.silently,
        ..What::default()
    }
}
