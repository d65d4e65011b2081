//! The router, what config it refuses, and what a push weighs. What the clients do on the wire is tested against the simulators.
use std::time::Duration;

use secrecy::SecretString;

use super::*;
use crate::delivery::Content;
use crate::event::{DeviceId, NotificationType};
use crate::notification::{Locale, Texts, render};
use crate::policy::{Detail, Device, Installation, Token, User, UserEntry};
use crate::provider::fixtures::{NOW, TOKEN};
use crate::seam::SystemClock;
use crate::telemetry::captured::Captured;

fn apns(apps: &[&str], environment: Environment) -> ApnsConfig {
    ApnsConfig {
        team_id: "TEAM456789".into(),
        key_id: "ABC123DEFG".into(),
        key: Some(apns::TEST_KEY.into()),
        key_file: None,
        apps: apps.iter().map(|app| (*app).to_owned()).collect(),
        environment,
        // Nobody listens on port 9 of this machine.
        base_url: Some("https://127.0.0.1:9".into()),
        ca_file: None,
    }
}

fn fcm(apps: &[&str], account: SecretString) -> FcmConfig {
    FcmConfig {
        service_account: Some(account),
        service_account_file: None,
        apps: apps.iter().map(|app| (*app).to_owned()).collect(),
        base_url: Some("https://127.0.0.1:9".into()),
        token_url: None,
        ca_file: None,
    }
}

fn account() -> SecretString {
    fcm::service_account_for_tests("https://127.0.0.1:9/token").to_string().into()
}

fn several() -> Providers {
    let apns = BTreeMap::from([
        ("ana".to_owned(), apns(&["com.example.a", "com.example.b"], Environment::Production)),
        ("bea".to_owned(), apns(&["com.example.a"], Environment::Sandbox)),
    ]);
    let fcm = BTreeMap::from([("google".to_owned(), fcm(&["com.example.a"], account()))]);
    let pool = PoolConfig { connections: 1, ..PoolConfig::default() };
    Providers::new(Credentials { apns: &apns, fcm: &fcm }, &pool, Arc::new(SystemClock)).unwrap()
}

fn owner(platform: Platform, app: &str, environment: Environment) -> UserEntry {
    let installation = Installation { platform, app: app.into(), environment, token: Token::new(TOKEN) };
    let id = DeviceId::new("d-1").unwrap();
    let device = Device { id, installation, locale: "ja".into(), registered_at: NOW, quiet: false };
    UserEntry::pack(&User { devices: vec![device], ..User::default() }).unwrap()
}

/// A device is served by the credential of its platform, app and environment, and by no other.
#[tokio::test]
async fn routes_by_app_and_environment() {
    use Environment::{Production, Sandbox};
    let providers = several();
    let cases = [
        (Platform::Apns, "com.example.a", Production, Some("apns.ana")),
        (Platform::Apns, "com.example.b", Production, Some("apns.ana")),
        (Platform::Apns, "com.example.a", Sandbox, Some("apns.bea")),
        (Platform::Apns, "com.example.b", Sandbox, None),
        (Platform::Apns, "com.example.c", Production, None),
        (Platform::Fcm, "com.example.a", Production, Some("fcm.google")),
        (Platform::Fcm, "com.example.b", Production, None),
    ];
    for (platform, app, environment, expected) in cases {
        let owner = owner(platform, app, environment);
        let credential = providers.credential(&fixtures::device(&owner)).map(|credential| &**credential);
        assert_eq!(credential, expected, "{platform:?} {app} {environment:?}");
    }
    assert_eq!(providers.stats().count(), 3);
    providers.close().await;
}

/// An app that no credential serves is named in the log with where to add it, once a minute; an app that one serves is not.
#[tokio::test]
async fn an_unserved_app_is_told() {
    let cases = [
        (Platform::Apns, Environment::Sandbox, "environment=\"sandbox\"", "[apns.<name>] of this environment"),
        (Platform::Fcm, Environment::Production, "", "[fcm.<name>]"),
    ];
    for (platform, environment, names, remedy) in cases {
        let (providers, captured) = (several(), Captured::begin());
        providers.credential(&fixtures::device(&owner(platform, "com.example.a", environment))).unwrap();
        for _ in 0..50 {
            let unserved = owner(platform, "com.example.new", environment);
            assert!(providers.credential(&fixtures::device(&unserved)).is_none());
        }
        let told = captured.lines_with(&["no credential serves"]);
        assert_eq!(told.len(), 1, "{told:?}");
        for part in ["ERROR", "app=\"com.example.new\"", names, remedy] {
            assert!(told[0].contains(part), "{part} is missing in {told:?}");
        }
        assert_eq!(captured.lines_with(&[TOKEN]), [""; 0]);
    }
}

/// A push in flight weighs at most 640 bytes, because there are ten thousand of them.
#[tokio::test]
async fn push_is_small() {
    let providers = several();
    let (event, workspace) = (fixtures::event(NotificationType::OtpReceived), fixtures::workspace(Detail::Full));
    let rendered = render(&event, &workspace, Locale::EnUs, &Texts::load().unwrap());
    let owner = owner(Platform::Apns, "com.example.a", Environment::Production);
    let device = fixtures::device(&owner);
    let push = fixtures::push(&device, &event, &workspace, Content::Show(&rendered));
    let weight = std::mem::size_of_val(&providers.push(&push, Instant::now(), &|| true));
    assert!(weight <= 384, "{weight} bytes");
}

/// An app that no credential serves, and a token that is none, are told apart from trouble; nothing reachable is a retry.
#[tokio::test]
async fn outcomes_without_an_answer() {
    let providers = several();
    let (event, workspace) = (fixtures::event(NotificationType::OtpReceived), fixtures::workspace(Detail::Full));
    let rendered = render(&event, &workspace, Locale::EnUs, &Texts::load().unwrap());
    let attempt = async |owner: UserEntry| {
        let device = fixtures::device(&owner);
        let push = fixtures::push(&device, &event, &workspace, Content::Show(&rendered));
        providers.push(&push, Instant::now() + Duration::from_millis(200), &|| true).await
    };
    let nobody = attempt(owner(Platform::Apns, "com.example.c", Environment::Production)).await;
    assert_eq!(nobody, Outcome::Misconfigured { reason: Reason::known("no_credential") });
    let malformed = attempt(fixtures::owner_of(Platform::Apns, "com.example.a", "not/hex")).await;
    assert_eq!(malformed, Outcome::Rejected { reason: Reason::known("token_not_hexadecimal") });
    for platform in [Platform::Apns, Platform::Fcm] {
        let unreachable = attempt(owner(platform, "com.example.a", Environment::Production)).await;
        assert!(matches!(unreachable, Outcome::Retryable { .. }), "{platform:?}: {unreachable:?}");
    }
}

/// All problems of all credentials are told at once, each with its key, and no secret among them.
#[test]
fn all_problems_at_once() {
    let good = apns(&["com.example.a"], Environment::Production);
    let apns = BTreeMap::from([
        ("address".to_owned(), ApnsConfig { base_url: Some("https://host/path".into()), ..good.clone() }),
        ("apps".to_owned(), ApnsConfig { apps: vec!["com.example\n".into()], ..good.clone() }),
        ("good".to_owned(), good.clone()),
        ("key".to_owned(), ApnsConfig { key: Some("hunter2".into()), team_id: "TEAM".into(), ..good.clone() }),
        ("roots".to_owned(), ApnsConfig { ca_file: Some("/nowhere/ca.pem".into()), ..good }),
    ]);
    let good = fcm(&["com.example.a"], account());
    let fcm = BTreeMap::from([
        ("account".to_owned(), FcmConfig { service_account: Some("hunter2".into()), ..good.clone() }),
        ("none".to_owned(), FcmConfig { service_account: None, ..good }),
    ]);
    let credentials = Credentials { apns: &apns, fcm: &fcm };
    let problems: Vec<String> = Providers::check(credentials, Arc::new(SystemClock)).into_iter().collect();
    let expected = [
        "apns.address.base_url",
        "apns.apps.apps",
        "apns.key.team_id",
        "apns.key.key_file",
        "apns.roots.ca_file",
        "fcm.account.service_account_file",
        "fcm.none.service_account_file",
    ];
    let keys: Vec<&str> = problems.iter().map(|problem| problem.split([' ', ':']).next().unwrap()).collect();
    assert_eq!(keys, expected, "{problems:#?}");
    assert!(!problems.iter().any(|problem| problem.contains("hunter2")), "{problems:#?}");
}

/// Nothing that holds a credential prints it.
#[tokio::test]
async fn secrets_do_not_print() {
    let printed = format!("{:?}", several());
    for secret in ["bearer", "eyJ", "PRIVATE", "private_key", "MEECAQ"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}
