//! The providers' clients against the simulators: what a phone gets, and what each trouble means for its job.
mod apple;
mod google;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use watchbell::delivery::{Content, JobId, Outcome, Push, Reason, Reference, RetryScope};
use watchbell::event::{Access, Body, DeviceId, Event, EventId, NotificationType, Timestamp, UserId, WorkspaceId};
use watchbell::notification::{Locale, Texts, render, withdrawn};
use watchbell::policy::{Detail, Device, Environment, Installation, Platform, Token, User, UserEntry, Workspace};
use watchbell::provider::apns::config::ApnsConfig;
use watchbell::provider::fcm::config::FcmConfig;
use watchbell::provider::http2::PoolConfig;
use watchbell::provider::{Credentials, Providers};
use watchbell::sandbox::apns::inbox::{DeviceSettings, TokenState};
use watchbell::sandbox::fault::{Fault, Provider, Refusal, RetryAfter, Rule};
use watchbell::sandbox::fcm::inbox::{RegistrationSettings, RegistrationState};
use watchbell::sandbox::{self, Sandbox, SandboxConfig};
use watchbell::seam::{Clock as _, PushProvider as _, SystemClock, Wanted};

const APP: &str = "com.example.lumen";
const TOKEN: &str = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";
/// Ends a broken run; nothing is measured by it.
const CEILING: Duration = Duration::from_secs(30);

/// Simulators, and clients that are configured for them.
struct Rig {
    sandbox: Sandbox,
    providers: Providers,
    texts: Texts,
}

fn apns(sandbox: &Sandbox, key: usize, environment: Environment) -> ApnsConfig {
    let file = &sandbox.apns().keys()[key];
    ApnsConfig {
        team_id: file.key.team_id.clone(),
        key_id: file.key.key_id.clone(),
        key: Some(read(&file.path)),
        key_file: None,
        apps: vec![APP.to_owned()],
        environment,
        base_url: Some(sandbox.apns_url()),
        ca_file: Some(sandbox.ca_file().to_owned()),
    }
}

fn fcm(sandbox: &Sandbox) -> FcmConfig {
    FcmConfig {
        service_account: Some(read(&sandbox.fcm().service_accounts()[0].path)),
        service_account_file: None,
        apps: vec![APP.to_owned()],
        base_url: Some(sandbox.fcm_url()),
        token_url: None,
        ca_file: Some(sandbox.ca_file().to_owned()),
    }
}

fn read(path: &Path) -> secrecy::SecretString {
    fs::read_to_string(path).unwrap().into()
}

fn providers(apns: &[ApnsConfig], fcm: &[FcmConfig]) -> Providers {
    let apns: BTreeMap<_, _> = apns.iter().enumerate().map(|(n, config)| (n.to_string(), config.clone())).collect();
    let fcm: BTreeMap<_, _> = fcm.iter().enumerate().map(|(n, config)| (n.to_string(), config.clone())).collect();
    let pool = PoolConfig {
        connections: 2,
        request_timeout_ms: 1_000,
        queue_timeout_ms: 20_000,
        connect_spacing_ms: 1,
        replace_interval_ms: 100,
        ..PoolConfig::default()
    };
    Providers::new(Credentials { apns: &apns, fcm: &fcm }, &pool, Arc::new(SystemClock)).unwrap()
}

async fn rig(change: impl FnOnce(&mut SandboxConfig)) -> Rig {
    let mut config = SandboxConfig::default();
    change(&mut config);
    let sandbox = Sandbox::start(config).await.unwrap();
    let providers = providers(&[apns(&sandbox, 0, Environment::Production)], &[fcm(&sandbox)]);
    Rig { sandbox, providers, texts: Texts::load().unwrap() }
}

/// One push that a test wants.
#[derive(Clone, Copy)]
struct Wish<'a> {
    platform: Platform,
    environment: Environment,
    token: &'a str,
    kind: NotificationType,
    detail: Detail,
    withdraw: bool,
    within: Duration,
}

const APPLE: Wish<'_> = Wish {
    platform: Platform::Apns,
    environment: Environment::Production,
    token: TOKEN,
    kind: NotificationType::IdentityVerification,
    detail: Detail::Minimal,
    withdraw: false,
    within: CEILING,
};
const GOOGLE: Wish<'_> = Wish { platform: Platform::Fcm, token: "google-token:1", ..APPLE };

fn event(kind: NotificationType) -> Event {
    let text = |text: &str| text.to_owned();
    let body = match kind {
        NotificationType::IdentityVerification => Body::IdentityVerification {
            application: text("Lumen"),
            device: text("Firefox"),
            new_location: true,
            new_device: true,
        },
        NotificationType::TrustedDevice => Body::TrustedDevice {
            device_name: text("Ana's iPad"),
            browser: text("Safari"),
            operating_system: text("iPadOS"),
            new_location: true,
        },
        NotificationType::AccountSharing => {
            Body::AccountSharing { account: text("Payroll"), shared_by: text("Ana"), access: Access::Use }
        }
        NotificationType::OtpReceived => Body::OtpReceived { account: text("Payroll"), service: text("Contoso") },
    };
    let now = SystemClock.now();
    Event {
        id: EventId::new("e-1").unwrap(),
        workspace: WorkspaceId::new("acme").unwrap(),
        recipients: vec![UserId::new("ana").unwrap()],
        occurred_at: now,
        expires_at: now.plus(Duration::from_secs(300)),
        number_required: kind.is_actionable(),
        test: false,
        body,
    }
}

impl Rig {
    async fn push(&self, wish: Wish<'_>) -> Outcome {
        self.push_through(&self.providers, wish).await
    }

    async fn push_through(&self, providers: &Providers, wish: Wish<'_>) -> Outcome {
        self.push_while(providers, wish, &|| true).await
    }

    async fn push_while(&self, providers: &Providers, wish: Wish<'_>, wanted: Wanted<'_>) -> Outcome {
        let (event, id) = (event(wish.kind), DeviceId::new("d-1").unwrap());
        let workspace = Workspace { detail: wish.detail, display_name: "Acme".into(), ..Workspace::unknown() };
        let (platform, environment, token) = (wish.platform, wish.environment, Token::new(wish.token));
        let installation = Installation { platform, app: APP.into(), environment, token };
        let device =
            Device { id, installation, locale: "es-MX".into(), registered_at: event.occurred_at, quiet: false };
        let user = UserEntry::pack(&User { devices: vec![device], ..User::default() }).unwrap();
        let device = user.devices().next().unwrap();
        let locale = Locale::resolve(device.locale());
        let shown = render(&event, &workspace, locale, &self.texts);
        let gone = withdrawn(wish.kind, locale, &self.texts);
        let collapse = JobId::show("acme", wish.kind, "e-1", "ana", "d-1");
        let (job, content) = match wish.withdraw {
            false => (collapse, Content::Show(&shown)),
            true => (JobId::withdraw("acme", wish.kind, "e-1", "ana", "d-1"), Content::Withdraw(&gone)),
        };
        let (reference, expires_at) = (Reference::of(&event, &workspace), event.expires_at);
        let push = Push { job, collapse, device: &device, content, reference, expires_at, attempts: 0 };
        providers.push(&push, Instant::now() + wish.within, wanted).await
    }

    /// A push that must be accepted, so that the app is known to be configured right.
    async fn prove(&self, wish: Wish<'_>) {
        assert_eq!(self.push(wish).await, Outcome::Accepted);
    }

    /// Puts a fault into force; its number removes it again.
    fn fault(&self, rule: Rule) -> u64 {
        self.sandbox.add_fault(rule)
    }

    /// Pushes that the simulators took or refused.
    fn seen(&self) -> u64 {
        self.sandbox.apns().accepted() + self.apns_refusals() + self.sandbox.fcm().accepted()
    }

    fn apns_refusals(&self) -> u64 {
        self.sandbox.apns().refused().values().sum()
    }

    /// How many requests each rule in force has met, in order.
    async fn met(&self) -> Vec<u64> {
        let rules = reqwest::get(format!("{}/faults", self.sandbox.control_url())).await.unwrap();
        let rules: Vec<serde_json::Value> = rules.json().await.unwrap();
        rules.iter().map(|rule| rule["met"].as_u64().unwrap()).collect()
    }
}

/// A push that is not wanted any more when its turn comes never leaves, and is not sent once more after a first answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_wanted_any_more_never_leaves() {
    let rig = rig(|_| ()).await;
    for wish in [APPLE, GOOGLE] {
        rig.prove(wish).await;
        let before = rig.seen();
        let unwanted = rig.push_while(&rig.providers, wish, &|| false).await;
        assert_eq!(retryable(&unwanted), ("not_wanted", None, RetryScope::Provider));
        assert!(!unwanted.was_sent(), "{unwanted:?}");
        assert_eq!(rig.seen(), before, "{:?}", wish.platform);
    }
    rig.fault(refuse(Provider::Apns, "ServiceUnavailable"));
    let (before, asked) = (rig.seen(), AtomicUsize::new(0));
    let once = rig.push_while(&rig.providers, APPLE, &|| asked.fetch_add(1, SeqCst) == 0).await;
    assert_eq!(retryable(&once), ("ServiceUnavailable", None, RetryScope::Provider));
    assert_eq!((rig.seen(), asked.load(SeqCst)), (before + 1, 2));
}

fn refuse(provider: Provider, reason: &str) -> Rule {
    let refusal = Refusal { reason: reason.to_owned(), status: None, timestamp: None, retry_after: None };
    Rule::always(provider, Fault::Refuse(refusal))
}

fn reply(status: u16, body: &str, retry_after: Option<RetryAfter>) -> Rule {
    let content_type = "text/html".to_owned();
    Rule::always(Provider::Fcm, Fault::Reply { status, body: body.to_owned(), content_type, retry_after })
}

fn retryable(outcome: &Outcome) -> (&str, Option<Duration>, RetryScope) {
    let Outcome::Retryable { reason, retry_after, scope, reach: _ } = outcome else {
        panic!("not retryable: {outcome:?}")
    };
    (reason.as_str(), *retry_after, *scope)
}

fn misconfigured(reason: &'static str) -> Outcome {
    Outcome::Misconfigured { reason: Reason::known(reason) }
}

/// Every type in both details, and its withdrawal, is taken by both services as they check it.
#[tokio::test(flavor = "multi_thread")]
async fn every_push_is_taken() {
    let rig = rig(|_| ()).await;
    for platform in [APPLE, GOOGLE] {
        for kind in NotificationType::ALL {
            for (detail, withdraw) in [(Detail::Minimal, false), (Detail::Full, false), (Detail::Full, true)] {
                let outcome = rig.push(Wish { kind, detail, withdraw, ..platform }).await;
                assert_eq!(
                    outcome,
                    Outcome::Accepted,
                    "{kind:?} {detail:?} {withdraw}: {:?}",
                    rig.sandbox.apns().refused()
                );
            }
        }
    }
    rig.providers.close().await;
}

/// A token that a service does not know is kept until the app had a push accepted: before, the configuration may be what is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_token_is_kept_until_proven() {
    let rig = rig(|_| ()).await;
    let bad = DeviceSettings { state: TokenState::Bad, ..DeviceSettings::default() };
    rig.sandbox.apns().set_device("bad0", bad);
    let malformed = RegistrationSettings { state: RegistrationState::Malformed, ..RegistrationSettings::default() };
    rig.sandbox.fcm().set_registration("bad0", malformed);
    for (wish, reason) in [(APPLE, "BadDeviceToken"), (GOOGLE, "INVALID_ARGUMENT")] {
        let (bad, reason) = (Wish { token: "bad0", ..wish }, Reason::known(reason));
        assert_eq!(rig.push(bad).await, Outcome::Rejected { reason: reason.clone() });
        rig.prove(wish).await;
        assert_eq!(rig.push(bad).await, Outcome::TokenInvalid { since: None, reason });
    }
}
