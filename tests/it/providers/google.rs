//! What Google's answers and its token endpoint mean for a push.
use super::*;

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
        let id = rig.fault(rule);
        let outcome = rig.push(target).await;
        let (reason, wait, scope) = retryable(&outcome);
        assert_eq!((reason, wait, scope), (expected.0, expected.1, RetryScope::Provider));
        assert_eq!(rig.met().await, [1], "not sent again at once");
        rig.sandbox.remove_fault(id);
    }
    let id = rig.fault(reply(503, "", Some(RetryAfter::Date { date_in_s: 30 })));
    let dated = rig.push(target).await;
    assert!(retryable(&dated).1.is_some_and(|wait| (second(25)..=second(31)).contains(&wait)), "{dated:?}");
    rig.sandbox.remove_fault(id);
    rig.fault(reply(404, "<html>", None));
    assert_eq!(rig.push(target).await, misconfigured("http_404"));
}

/// However many pushes find no access token, one exchange is made for them all.
#[tokio::test(flavor = "multi_thread")]
async fn google_token_is_exchanged_once() {
    let rig = rig(|_| ()).await;
    rig.fault(Rule::always(Provider::Oauth, Fault::Latency { ms: 100, jitter_ms: 0 }));
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
    rig.fault(Rule::always(Provider::Oauth, Fault::Latency { ms: 1, jitter_ms: 0 }));
    rig.fault(refuse(Provider::Fcm, "UNAUTHENTICATED"));
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
        let id = rig.fault(Rule::always(Provider::Oauth, Fault::Refuse(refusal)));
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
    rig.fault(Rule::always(Provider::Oauth, Fault::Latency { ms: 1, jitter_ms: 0 }));
    let started = Instant::now();
    while rig.met().await[0] < 3 {
        rig.prove(GOOGLE).await;
        assert!(started.elapsed() < CEILING, "the token is not renewed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(rig.sandbox.fcm().refused(), BTreeMap::new(), "no token was used past its end");
}
