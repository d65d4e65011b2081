//! Brings nonces to phones: pushed by the API's own process, through the same providers as every notification.
//!
//! The point: what proves that pushes reach a phone goes the way that pushes go. It deliberately tries each once: the phone that waits in
//! vain asks again, and gets another. A nonce is in no topic and no log.
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::control::Courier;
use crate::delivery::{Content, JobId, Outcome, Push, Reference};
use crate::event::{DeviceId, NotificationType};
use crate::notification::{self, Locale, Texts};
use crate::people::Person;
use crate::policy::{Device, User, UserEntry};
use crate::provider::Providers;
use crate::seam::{Clock as _, PolicySource as _, PushProvider as _, Query, SystemClock, Unavailable};
use crate::store::{Policy, ToReach};

/// Nonces on their way at once; one more is dropped, and asked for again by its phone.
const ON_THEIR_WAY_MAX: usize = 256;

/// See the module. Clones share everything.
#[derive(Clone)]
pub(super) struct PushCourier(Arc<Inner>);

struct Inner {
    providers: Providers,
    policy: Policy,
    texts: Texts,
    timeout: Duration,
    room: Arc<Semaphore>,
}

impl PushCourier {
    pub(super) fn new(providers: Providers, policy: Policy, texts: Texts, timeout: Duration) -> Self {
        let room = Arc::new(Semaphore::new(ON_THEIR_WAY_MAX));
        Self(Arc::new(Inner { providers, policy, texts, timeout, room }))
    }

    /// Closes the providers' connections.
    pub(super) async fn close(&self) {
        self.0.providers.close().await;
    }
}

impl Courier for PushCourier {
    fn carry(&self, person: &Person, device: &DeviceId, push: ToReach) {
        let Ok(room) = Arc::clone(&self.0.room).try_acquire_owned() else {
            told("dropped");
            return;
        };
        let (inner, person, device) = (Arc::clone(&self.0), person.clone(), device.clone());
        tokio::spawn(async move {
            let _room = room;
            match inner.bring(&person, device, &push).await {
                Ok(Outcome::Accepted) => told("accepted"),
                Ok(outcome) => {
                    tracing::warn!(?outcome, "a nonce was not pushed; the phone will ask for another");
                    told("refused");
                }
                Err(unavailable) => {
                    tracing::warn!(%unavailable, "a nonce was not pushed; the phone will ask for another");
                    told("unavailable");
                }
            }
        });
    }
}

fn told(result: &'static str) {
    metrics::counter!("watchbell_nonces_total", "result" => result).increment(1);
}

impl Inner {
    async fn bring(&self, person: &Person, id: DeviceId, push: &ToReach) -> Result<Outcome, Unavailable> {
        let query = Query { workspace: &person.workspace, users: &[], withdrawn: None };
        let workspace = self.policy.resolve(query).await?.workspace;
        let (now, installation) = (SystemClock.now(), push.to.clone());
        let device = Device { id, installation, locale: push.locale.clone(), registered_at: now, quiet: false };
        let user = User { devices: vec![device], ..User::default() };
        let unsendable = |why: String| Unavailable { what: "a nonce's push", why };
        let entry = UserEntry::pack(&user).map_err(|error| unsendable(error.to_string()))?;
        let device = entry.devices().next().ok_or_else(|| unsendable("it has no device".to_owned()))?;
        let [title, body] = notification::reach(Locale::resolve(&push.locale), &self.texts);
        let job = JobId::from_bytes(*uuid::Uuid::new_v4().as_bytes());
        let push = Push {
            job,
            collapse: job,
            device,
            content: Content::Nonce { title: &title, body: &body, nonce: push.nonce.expose() },
            reference: Reference {
                workspace: person.workspace.as_str(),
                workspace_name: &workspace.display_name,
                // A nonce is about no event: neither is written.
                kind: NotificationType::IdentityVerification,
                event: "",
                number_required: false,
                test: false,
            },
            expires_at: push.nonce.expires_at,
            attempts: 0,
        };
        Ok(self.providers.push(&push, SystemClock.instant() + self.timeout, &|| true).await)
    }
}
