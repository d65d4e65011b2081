//! What Apple's answers, resets and silences mean for a push.
use super::*;

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
        let id = rig.fault(fault.clone().times(1));
        assert_eq!(rig.push(APPLE).await, Outcome::Accepted, "{fault:?}");
        assert_eq!(rig.sandbox.apns().accepted(), before + 1, "{fault:?}");
        rig.sandbox.remove_fault(id);
    }
    assert_eq!(rig.sandbox.apns().device(TOKEN).unwrap().by_apns_id().len(), 1, "all under one id");
    rig.fault(refuse(Provider::Apns, "ServiceUnavailable"));
    assert_eq!(retryable(&rig.push(APPLE).await), ("ServiceUnavailable", None, RetryScope::Provider));
    assert_eq!(rig.met().await, [2]);
}

/// A push that had no answer is not sent again when nobody would wait for the second one: Apple might take both.
#[tokio::test(flavor = "multi_thread")]
async fn apple_is_not_asked_without_time() {
    let rig = rig(|_| ()).await;
    rig.prove(APPLE).await;
    rig.fault(Rule::always(Provider::Apns, Fault::Hang { accept: true }));
    // A request may take a second here.
    let short = Wish { within: Duration::from_millis(1_500), ..APPLE };
    assert_eq!(retryable(&rig.push(short).await), ("timeout", None, RetryScope::Provider));
    assert_eq!(rig.met().await, [1]);
    rig.push(APPLE).await;
    assert_eq!(rig.met().await, [3], "with time it is");
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
        rig.fault(Rule::always(Provider::Apns, fault).times(1));
        assert_eq!(retryable(&rig.push(APPLE).await), (reason, None, RetryScope::Provider));
        assert_eq!(rig.sandbox.apns().accepted(), before + 1);
    }
}

/// A connection that holds on to an expired token is given up, and the push goes through on a fresh one.
#[tokio::test(flavor = "multi_thread")]
async fn apple_wedged_connection_is_replaced() {
    let rig = rig(|_| ()).await;
    rig.prove(APPLE).await;
    rig.fault(Rule::always(Provider::Apns, Fault::Wedge).times(1));
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
