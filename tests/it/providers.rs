//! The providers' clients against the simulators: what a phone gets, and what each trouble means for its job.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
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
use watchbell::seam::{Clock as _, PushProvider as _, SystemClock};

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
}

const APPLE: Wish<'_> = Wish {
    platform: Platform::Apns,
    environment: Environment::Production,
    token: TOKEN,
    kind: NotificationType::IdentityVerification,
    detail: Detail::Minimal,
    withdraw: false,
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
        body,
    }
}

impl Rig {
    async fn push(&self, wish: Wish<'_>) -> Outcome {
        self.push_through(&self.providers, wish).await
    }

    async fn push_through(&self, providers: &Providers, wish: Wish<'_>) -> Outcome {
        let (event, id) = (event(wish.kind), DeviceId::new("d-1").unwrap());
        let workspace = Workspace { detail: wish.detail, display_name: "Acme".into(), ..Workspace::unknown() };
        let (platform, environment, token) = (wish.platform, wish.environment, Token::new(wish.token));
        let installation = Installation { platform, app: APP.into(), environment, token };
        let device = Device { id, installation, locale: "es-MX".into(), registered_at: event.occurred_at };
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
        let push = Push { job, collapse, device, content, reference, expires_at, attempts: 0 };
        providers.push(push, Instant::now() + CEILING).await
    }

    /// A push that must be accepted, so that the app is known to be configured right.
    async fn prove(&self, wish: Wish<'_>) {
        assert_eq!(self.push(wish).await, Outcome::Accepted);
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

fn refuse(provider: Provider, reason: &str) -> Rule {
    let refusal = Refusal { reason: reason.to_owned(), status: None, timestamp: None, retry_after: None };
    Rule::always(provider, Fault::Refuse(refusal))
}

fn reply(status: u16, body: &str, retry_after: Option<RetryAfter>) -> Rule {
    let content_type = "text/html".to_owned();
    Rule::always(Provider::Fcm, Fault::Reply { status, body: body.to_owned(), content_type, retry_after })
}

fn retryable(outcome: &Outcome) -> (&str, Option<Duration>, RetryScope) {
    let Outcome::Retryable { reason, retry_after, scope } = outcome else { panic!("not retryable: {outcome:?}") };
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

/// An iPhone shows one entry under the job's id; its withdrawal takes the entry's place in silence.
#[tokio::test(flavor = "multi_thread")]
async fn apple_shows_and_withdraws_one_entry() {
    let rig = rig(|_| ()).await;
    rig.prove(APPLE).await;
    let job = JobId::show("acme", APPLE.kind, "e-1", "ana", "d-1").to_string();
    let device = rig.sandbox.apns().device(TOKEN).unwrap();
    let shown = &device.shown[0];
    assert_eq!((shown.apns_id.as_str(), shown.collapse_id.as_deref()), (job.as_str(), Some(job.as_str())));
    assert_eq!((shown.topic.as_str(), shown.push_type, shown.priority), (APP, "alert", 10));
    assert_eq!(shown.payload["expires_at"].as_u64(), shown.expiration);
    assert_eq!(shown.payload["aps"]["alert"]["title"], "¿Estás iniciando sesión?");
    rig.prove(Wish { withdraw: true, ..APPLE }).await;
    let device = rig.sandbox.apns().device(TOKEN).unwrap();
    assert_eq!((device.shown.len(), device.received.len()), (1, 2));
    let gone = &device.shown[0];
    assert_eq!(gone.collapse_id.as_deref(), Some(job.as_str()));
    assert_ne!(gone.apns_id, job);
    assert_eq!(gone.payload["aps"]["interruption-level"], "passive");
    assert!(gone.payload["aps"].get("sound").is_none() && gone.payload["aps"].get("category").is_none());
}

/// An Android phone gets data under the job's tag, at high priority; the withdrawal removes the entry at normal priority.
#[tokio::test(flavor = "multi_thread")]
async fn google_shows_and_withdraws_one_entry() {
    let rig = rig(|_| ()).await;
    rig.prove(GOOGLE).await;
    let phone = rig.sandbox.fcm().registration(GOOGLE.token).unwrap();
    let shown = &phone.shown[0];
    let job = JobId::show("acme", GOOGLE.kind, "e-1", "ana", "d-1").to_string();
    assert_eq!((shown.tag.as_deref(), shown.priority, &shown.collapse_key), (Some(job.as_str()), "HIGH", &None));
    assert!((290..=300).contains(&shown.ttl_s), "{}", shown.ttl_s);
    assert_eq!(shown.data["number_required"], "true");
    rig.prove(Wish { withdraw: true, ..GOOGLE }).await;
    let phone = rig.sandbox.fcm().registration(GOOGLE.token).unwrap();
    assert_eq!((phone.shown.len(), phone.received.len()), (0, 2));
    assert_eq!((phone.received[1].tag.as_deref(), phone.received[1].priority), (Some(job.as_str()), "NORMAL"));
}

/// A token that left is dead since Apple's own moment.
#[tokio::test(flavor = "multi_thread")]
async fn apple_token_is_gone() {
    let rig = rig(|_| ()).await;
    let timestamp = 1_700_000_000_123;
    let cases =
        [(TokenState::Unregistered { timestamp }, "Unregistered"), (TokenState::Expired { timestamp }, "ExpiredToken")];
    for (state, reason) in cases {
        rig.sandbox.apns().set_device(TOKEN, DeviceSettings { state, ..DeviceSettings::default() });
        let since = Some(Timestamp(timestamp.cast_signed()));
        let expected = Outcome::TokenInvalid { since, reason: Reason::known(reason) };
        assert_eq!(rig.push(APPLE).await, expected);
    }
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

/// A device to which Apple said 429 waits, and nothing more is sent to it meanwhile; others go on.
#[tokio::test(flavor = "multi_thread")]
async fn apple_throttles_one_device() {
    let rig = rig(|_| ()).await;
    rig.sandbox.apns().set_device(TOKEN, DeviceSettings { state: TokenState::Throttled, ..DeviceSettings::default() });
    let first = rig.push(APPLE).await;
    assert_eq!(retryable(&first), ("TooManyRequests", Some(Duration::from_secs(60)), RetryScope::Device));
    let again = rig.push(APPLE).await;
    let (reason, wait, scope) = retryable(&again);
    assert_eq!((reason, scope), ("TooManyRequests", RetryScope::Device));
    assert!(wait.is_some_and(|wait| wait > Duration::ZERO && wait <= Duration::from_secs(60)));
    assert_eq!(rig.apns_refusals(), 1, "the second was not sent");
    rig.prove(Wish { token: "0a", ..APPLE }).await;
}

/// One 5xx, and one request without an answer, is sent once more with the same id, and no more often than that.
#[tokio::test(flavor = "multi_thread")]
async fn apple_is_asked_once_more() {
    let rig = rig(|_| ()).await;
    rig.prove(APPLE).await;
    for fault in [
        refuse(Provider::Apns, "InternalServerError"),
        refuse(Provider::Apns, "Shutdown"),
        refuse(Provider::Apns, "IdleTimeout"),
        Rule::always(Provider::Apns, Fault::Hang { accept: false }),
    ] {
        let before = rig.sandbox.apns().accepted();
        let id = rig.sandbox.add_fault(fault.clone().times(1));
        assert_eq!(rig.push(APPLE).await, Outcome::Accepted, "{fault:?}");
        assert_eq!(rig.sandbox.apns().accepted(), before + 1, "{fault:?}");
        rig.sandbox.remove_fault(id);
    }
    assert_eq!(rig.sandbox.apns().device(TOKEN).unwrap().by_apns_id().len(), 1, "all under one id");
    let _ = rig.sandbox.add_fault(refuse(Provider::Apns, "ServiceUnavailable"));
    assert_eq!(retryable(&rig.push(APPLE).await), ("ServiceUnavailable", None, RetryScope::Provider));
    assert_eq!(rig.met().await, [2]);
}

/// A reset after Apple may have accepted the push is not answered by sending it again at once.
#[tokio::test(flavor = "multi_thread")]
async fn apple_reset_is_not_resent() {
    let rig = rig(|_| ()).await;
    rig.prove(APPLE).await;
    for (fault, reason) in
        [(Fault::ResetStream { accept: true }, "stream_reset"), (Fault::Disconnect { accept: true }, "connection_lost")]
    {
        let before = rig.sandbox.apns().accepted();
        let _ = rig.sandbox.add_fault(Rule::always(Provider::Apns, fault).times(1));
        assert_eq!(retryable(&rig.push(APPLE).await), (reason, None, RetryScope::Provider));
        assert_eq!(rig.sandbox.apns().accepted(), before + 1);
    }
}

/// A connection that holds on to an expired token is given up, and the push goes through on a fresh one.
#[tokio::test(flavor = "multi_thread")]
async fn apple_wedged_connection_is_replaced() {
    let rig = rig(|_| ()).await;
    rig.prove(APPLE).await;
    let _ = rig.sandbox.add_fault(Rule::always(Provider::Apns, Fault::Wedge).times(1));
    assert_eq!(rig.push(APPLE).await, Outcome::Accepted);
    // All of them: misconfigured until the pool has replaced them, then as before, without anybody's help.
    assert!(rig.sandbox.wedge(Provider::Apns) > 0);
    let started = Instant::now();
    loop {
        match rig.push(APPLE).await {
            Outcome::Accepted => break,
            outcome => assert_eq!(outcome, misconfigured("ExpiredProviderToken")),
        }
        assert!(started.elapsed() < CEILING, "the wedged connections are still in use");
    }
}

/// A key that Apple does not know is a misconfiguration at the second try, and costs no device its token.
#[tokio::test(flavor = "multi_thread")]
async fn apple_refuses_the_key() {
    let rig = rig(|_| ()).await;
    let wrong = ApnsConfig { key_id: "AAAAAAAAAA".into(), ..apns(&rig.sandbox, 0, Environment::Production) };
    let providers = providers(&[wrong], &[]);
    let refusals = || rig.sandbox.apns().refused()[&(403, "InvalidProviderToken".to_owned())];
    assert_eq!(rig.push_through(&providers, APPLE).await, misconfigured("InvalidProviderToken"));
    assert_eq!(refusals(), 2);
    for _ in 0..20 {
        assert_eq!(rig.push_through(&providers, APPLE).await, misconfigured("InvalidProviderToken"));
    }
    assert_eq!(refusals(), 24, "three pushes tried two connections each; after that it is known to be the key");
}

/// Workers and restarts present one and the same token: Apple's count of distinct ones never runs out.
#[tokio::test(flavor = "multi_thread")]
async fn apple_sees_one_token() {
    // Two, in case the grid's moment passes just now.
    let rig = rig(|config| config.apns.tokens_per_20_minutes = 2).await;
    for _ in 0..5 {
        let worker = providers(&[apns(&rig.sandbox, 0, Environment::Production)], &[]);
        assert_eq!(rig.push_through(&worker, APPLE).await, Outcome::Accepted);
        worker.close().await;
    }
}

/// Two environments of one app live side by side, each with its own key.
#[tokio::test(flavor = "multi_thread")]
async fn apple_environments_side_by_side() {
    let rig = rig(|config| {
        let key = config.apns.keys[0].clone();
        config.apns.keys = [
            ("PRODUCTION", sandbox::config::Environment::Production),
            ("DEVELOPING", sandbox::config::Environment::Sandbox),
        ]
        .map(|(key_id, environment)| sandbox::config::ApnsKey {
            key_id: key_id.into(),
            environment: Some(environment),
            ..key.clone()
        })
        .into();
    })
    .await;
    let both = [apns(&rig.sandbox, 0, Environment::Production), apns(&rig.sandbox, 1, Environment::Sandbox)];
    let providers = providers(&both, &[]);
    for (token, environment, theirs) in [
        ("aa", Environment::Production, sandbox::config::Environment::Production),
        ("bb", Environment::Sandbox, sandbox::config::Environment::Sandbox),
    ] {
        let settings = DeviceSettings { environment: Some(theirs), ..DeviceSettings::default() };
        rig.sandbox.apns().set_device(token, settings);
        let wish = Wish { token, environment, ..APPLE };
        assert_eq!(rig.push_through(&providers, wish).await, Outcome::Accepted, "{environment:?}");
    }
}

/// Each of Google's refusals means what it says, whatever it is wrapped in.
#[tokio::test(flavor = "multi_thread")]
async fn google_refusals() {
    let rig = rig(|_| ()).await;
    rig.prove(GOOGLE).await;
    let set = |state| rig.sandbox.fcm().set_registration("t", RegistrationSettings { state, online: true });
    let target = Wish { token: "t", ..GOOGLE };
    let dead = |reason| Outcome::TokenInvalid { since: None, reason: Reason::known(reason) };
    for (state, expected) in [
        (RegistrationState::Unregistered, dead("UNREGISTERED")),
        (RegistrationState::OtherSender, dead("SENDER_ID_MISMATCH")),
        (RegistrationState::ThirdPartyAuth, misconfigured("THIRD_PARTY_AUTH_ERROR")),
    ] {
        set(state);
        assert_eq!(rig.push(target).await, expected, "{state:?}");
    }
    set(RegistrationState::Throttled);
    let throttled = rig.push(target).await;
    let (reason, wait, _) = retryable(&throttled);
    assert_eq!(reason, "QUOTA_EXCEEDED");
    assert!(wait.is_some_and(|wait| wait >= Duration::from_secs(1)), "{wait:?}");
    set(RegistrationState::Live);
    let second = Duration::from_secs;
    for (rule, expected) in [
        (reply(502, "<html>Bad Gateway</html>", None), ("http_502", None)),
        (reply(503, "", Some(RetryAfter::Seconds(7))), ("http_503", Some(second(7)))),
        (refuse(Provider::Fcm, "UNAVAILABLE"), ("UNAVAILABLE", None)),
        (refuse(Provider::Fcm, "INTERNAL"), ("INTERNAL", None)),
    ] {
        let id = rig.sandbox.add_fault(rule);
        let outcome = rig.push(target).await;
        let (reason, wait, scope) = retryable(&outcome);
        assert_eq!((reason, wait, scope), (expected.0, expected.1, RetryScope::Provider));
        assert_eq!(rig.met().await, [1], "not sent again at once");
        rig.sandbox.remove_fault(id);
    }
    let id = rig.sandbox.add_fault(reply(503, "", Some(RetryAfter::Date { date_in_s: 30 })));
    let dated = rig.push(target).await;
    assert!(retryable(&dated).1.is_some_and(|wait| (second(25)..=second(31)).contains(&wait)), "{dated:?}");
    rig.sandbox.remove_fault(id);
    let _ = rig.sandbox.add_fault(reply(404, "<html>", None));
    assert_eq!(rig.push(target).await, misconfigured("http_404"));
}

/// However many pushes find no access token, one exchange is made for them all.
#[tokio::test(flavor = "multi_thread")]
async fn google_token_is_exchanged_once() {
    let rig = rig(|_| ()).await;
    let _ = rig.sandbox.add_fault(Rule::always(Provider::Oauth, Fault::Latency { ms: 100, jitter_ms: 0 }));
    let outcomes = join_all((0..50).map(|_| rig.push(GOOGLE))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Accepted), "{outcomes:?}");
    assert_eq!(rig.met().await, [1]);
}

/// A refused access token is replaced and the push sent again, also when many find it refused at once.
#[tokio::test(flavor = "multi_thread")]
async fn google_token_is_revoked() {
    let rig = rig(|_| ()).await;
    rig.prove(GOOGLE).await;
    rig.sandbox.fcm().revoke_access_tokens();
    let outcomes = join_all((0..20).map(|_| rig.push(GOOGLE))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Accepted), "{outcomes:?}");
}

/// A new access token that is refused too is a misconfiguration, and does not make each push ask for one more.
#[tokio::test(flavor = "multi_thread")]
async fn google_refuses_every_token() {
    let rig = rig(|_| ()).await;
    rig.prove(GOOGLE).await;
    let _ = rig.sandbox.add_fault(Rule::always(Provider::Oauth, Fault::Latency { ms: 1, jitter_ms: 0 }));
    let _ = rig.sandbox.add_fault(refuse(Provider::Fcm, "UNAUTHENTICATED"));
    let outcomes = join_all((0..20).map(|_| rig.push(GOOGLE))).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Misconfigured { .. })), "{outcomes:?}");
    let met = rig.met().await;
    assert_eq!(met[0], 1, "one exchange for all twenty");
    assert!((21..=40).contains(&met[1]), "each is sent once more at most: {met:?}");
}

/// While a token lives, trouble at the token endpoint is nobody's; without one it is told apart: a wrong account is ours to mend.
#[tokio::test(flavor = "multi_thread")]
async fn google_token_endpoint_in_trouble() {
    let rig = rig(|_| ()).await;
    rig.prove(GOOGLE).await;
    for (reason, status, expected) in
        [("temporarily_unavailable", 503, "temporarily_unavailable"), ("invalid_grant", 400, "invalid_grant")]
    {
        let refusal = Refusal { reason: reason.into(), status: Some(status), timestamp: None, retry_after: None };
        let id = rig.sandbox.add_fault(Rule::always(Provider::Oauth, Fault::Refuse(refusal)));
        rig.prove(GOOGLE).await;
        let newcomer = providers(&[], &[fcm(&rig.sandbox)]);
        match rig.push_through(&newcomer, GOOGLE).await {
            Outcome::Retryable { reason, .. } => assert_eq!((reason.as_str(), status), (expected, 503)),
            Outcome::Misconfigured { reason } => assert_eq!((reason.as_str(), status), (expected, 400)),
            outcome => panic!("{outcome:?}"),
        }
        rig.sandbox.remove_fault(id);
    }
}

/// Tokens are renewed before they end, and no push is ever refused for one.
#[tokio::test(flavor = "multi_thread")]
async fn google_token_is_renewed_early() {
    let rig = rig(|config| config.fcm.token_lifetime_s = 2).await;
    let _ = rig.sandbox.add_fault(Rule::always(Provider::Oauth, Fault::Latency { ms: 1, jitter_ms: 0 }));
    let started = Instant::now();
    while rig.met().await[0] < 3 {
        rig.prove(GOOGLE).await;
        assert!(started.elapsed() < CEILING, "the token is not renewed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(rig.sandbox.fcm().refused(), BTreeMap::new(), "no token was used past its end");
}
