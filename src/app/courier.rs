//! Brings nonces to phones, and news to phones that were just retired: pushed by the API's own process, through the same providers as every
//! notification.
//!
//! The point: what proves that pushes reach a phone goes the way that pushes go; and where a retired phone's pushes went is in no store any
//! more, so who retired it says so. It deliberately tries a nonce once: the phone that waits in vain asks again, and gets another. News is
//! tried a few times within a minute and then given up, as it is when the process ends: the person reads it in their list. A nonce is in no
//! topic and no log.
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::control::Courier;
use crate::delivery::{Content, JobId, Notice, Outcome, Push, Reference};
use crate::event::{DeviceId, NotificationType};
use crate::notification::{self, Locale, Texts};
use crate::people::Person;
use crate::policy::{Device, Installation, User, UserEntry, Workspace};
use crate::provider::Providers;
use crate::seam::{Clock as _, PolicySource as _, PushProvider as _, Query, SystemClock, Unavailable};
use crate::store::{Policy, Silenced, ToReach};

/// Pushes on their way at once; one more is dropped: a nonce is asked for again by its phone.
const ON_THEIR_WAY_MAX: usize = 256;
/// Between two tries to bring news: as long as a provider's short trouble lasts.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];
/// Longest wait that a provider may ask for before news is given up.
const PAUSE_MAX: Duration = Duration::from_secs(60);

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

    fn tell(&self, person: &Person, notice: &Notice, told: Vec<Silenced>) {
        for phone in told {
            let Ok(room) = Arc::clone(&self.0.room).try_acquire_owned() else {
                carried("dropped");
                continue;
            };
            let (inner, person, notice) = (Arc::clone(&self.0), person.clone(), notice.clone());
            tokio::spawn(async move {
                let _room = room;
                carried(inner.tell(&person, &notice, &phone).await);
            });
        }
    }
}

fn carried(result: &'static str) {
    metrics::counter!("watchbell_notices_carried_total", "result" => result).increment(1);
}

/// Somebody whose only device is this one.
fn owner_of(id: &DeviceId, installation: &Installation, locale: &str) -> Result<UserEntry, Unavailable> {
    let (id, installation, locale) = (id.clone(), installation.clone(), locale.to_owned());
    let device = Device { id, installation, locale, registered_at: SystemClock.now(), quiet: false };
    let user = User { devices: vec![device], ..User::default() };
    UserEntry::pack(&user).map_err(|error| unsendable(error.to_string()))
}

fn unsendable(why: String) -> Unavailable {
    Unavailable { what: "a push of the API's own", why }
}

fn told(result: &'static str) {
    metrics::counter!("watchbell_nonces_total", "result" => result).increment(1);
}

impl Inner {
    async fn bring(&self, person: &Person, id: DeviceId, push: &ToReach) -> Result<Outcome, Unavailable> {
        let workspace = self.workspace(person).await?;
        let entry = owner_of(&id, &push.to, &push.locale)?;
        let device = entry.devices().next().ok_or_else(|| unsendable("it has no device".to_owned()))?;
        let [title, body] = notification::reach(Locale::resolve(&push.locale), &self.texts);
        let job = JobId::from_bytes(*uuid::Uuid::new_v4().as_bytes());
        let push = Push {
            job,
            collapse: job,
            device: &device,
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

    async fn workspace(&self, person: &Person) -> Result<Arc<Workspace>, Unavailable> {
        let query = Query { workspace: &person.workspace, users: &[], withdrawn: None };
        Ok(self.policy.resolve(query).await?.workspace)
    }

    /// Tells a phone, again where that may help. Returns what came of it.
    async fn tell(&self, person: &Person, notice: &Notice, phone: &Silenced) -> &'static str {
        let mut pauses = PAUSES.into_iter();
        loop {
            let asked = match self.try_tell(person, notice, phone).await {
                Ok(Outcome::Accepted) => return "accepted",
                Ok(Outcome::Retryable { retry_after, .. }) => retry_after.unwrap_or_default(),
                Err(unavailable) => {
                    tracing::debug!(%unavailable, "a retired phone was not told yet");
                    Duration::ZERO
                }
                Ok(outcome) => {
                    tracing::warn!(?outcome, "a retired phone was not told; its person's list says it");
                    return "refused";
                }
            };
            match pauses.next() {
                Some(pause) if asked <= PAUSE_MAX => tokio::time::sleep(pause.max(asked)).await,
                _ => return "given_up",
            }
        }
    }

    async fn try_tell(&self, person: &Person, notice: &Notice, phone: &Silenced) -> Result<Outcome, Unavailable> {
        let workspace = self.workspace(person).await?;
        let entry = owner_of(&phone.device, &phone.to, &phone.locale)?;
        let device = entry.devices().next().ok_or_else(|| unsendable("it has no device".to_owned()))?;
        let said = notification::notice(notice.kind, notice.what, Locale::resolve(&phone.locale), &self.texts);
        let (workspace_id, user) = (person.workspace.as_str(), person.user.as_str());
        let job = JobId::notice(workspace_id, notice.kind, notice.id.as_str(), user, phone.device.as_str());
        let push = Push {
            job,
            collapse: job,
            device: &device,
            content: Content::Notice(&said, notice.what),
            reference: Reference::of_notice(notice, &workspace),
            expires_at: notice.until,
            attempts: 0,
        };
        Ok(self.providers.push(&push, SystemClock.instant() + self.timeout, &|| true).await)
    }
}
