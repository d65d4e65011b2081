//! What the issuer must not do.
use super::*;

#[tokio::test]
async fn nothing_is_sent_to_a_redirect_that_is_not_registered() {
    // Unknown client, another redirect, or one of two: a page, no redirect, no code.
    let browser = Browser::new(|_| {}).await;
    for change in [
        ("client_id", "stranger"),
        ("client_id", ""),
        ("redirect_uri", ""),
        ("redirect_uri", "http://localhost/callback/"),
        ("redirect_uri", "http://localhost/callback?x"),
        ("redirect_uri", "http://localhost:80/callback"),
        ("redirect_uri", "HTTP://localhost/callback"),
        ("redirect_uri", "http://127.0.0.1:8081/console/"),
    ] {
        let got = browser.authorize(&[change]).await;
        assert_eq!((got.status, got.header("location")), (400, None), "{change:?}");
        assert!(got.body.contains("cannot go on"), "{}", got.body);
    }
    let twice = format!("/authorize?client_id={CLIENT}&redirect_uri={BACK}&redirect_uri=http://evil.example/");
    let got = browser.get(&twice).await;
    assert_eq!((got.status, got.header("location")), (400, None));
}

#[tokio::test]
async fn a_wrong_authorization_request_goes_back_with_its_error() {
    // Every other mistake is the client's to read: the error's word, its state, no code.
    let browser = Browser::new(|_| {}).await;
    let long = "a".repeat(44);
    let rows = [
        ("response_type", "", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "code id_token", "unsupported_response_type"),
        ("response_mode", "fragment", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge", &long, "invalid_request"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("scope", "", "invalid_scope"),
        ("scope", "profile", "invalid_scope"),
        ("request", "x.y.z", "request_not_supported"),
        ("login_hint", "nobody", "access_denied"),
    ];
    for (name, value, error) in rows {
        let came_back = back(&browser.authorize(&[(name, value)]).await);
        assert_eq!((came_back["error"].as_str(), came_back["state"].as_str()), (error, "a state&="), "{name}={value}");
        assert!(!came_back.contains_key("code"));
    }
    let came_back = back(&browser.authorize(&[("login_hint", ""), ("prompt", "none")]).await);
    assert_eq!(came_back["error"], "login_required");
    assert_eq!(browser.send(browser.at(Method::POST, "/authorize")).await.status, 405);
}

#[tokio::test]
async fn a_code_is_good_once_for_whom_it_was_made() {
    // Another client, redirect or verifier, a second time: invalid_grant; and whatever was tried with a code uses it up.
    let browser = Browser::new(|_| {}).await;
    let plain = CHALLENGE;
    let rows = [
        ("client_id", "watchbell-console", "invalid_grant"),
        ("client_id", "stranger", "invalid_client"),
        ("client_secret", "s", "invalid_client"),
        ("redirect_uri", "http://localhost/callback2", "invalid_grant"),
        ("code_verifier", plain, "invalid_grant"),
        ("code_verifier", "dBjftJeZ4CVP", "invalid_grant"),
        ("code_verifier", "", "invalid_request"),
        ("code", "", "invalid_request"),
        ("code", "guessed", "invalid_grant"),
        ("grant_type", "", "invalid_request"),
        ("grant_type", "password", "unsupported_grant_type"),
        ("grant_type", "client_credentials", "unsupported_grant_type"),
    ];
    for (name, value, error) in rows {
        let code = browser.code("admin").await;
        let got = browser.exchange(&code, &[(name, value)]).await;
        assert_eq!((got.status, got.json()["error"].as_str()), (400, Some(error)), "{name}={value}: {}", got.body);
        let used = error == "invalid_grant" && name != "code";
        assert_eq!(browser.exchange(&code, &[]).await.status, if used { 400 } else { 200 }, "{name}={value}");
    }
    let code = browser.code("admin").await;
    assert_eq!(browser.exchange(&code, &[]).await.status, 200);
    assert_eq!(browser.exchange(&code, &[]).await.json()["error"], "invalid_grant");

    let code = browser.code("admin").await;
    let form = format!(
        "grant_type=authorization_code&client_id={CLIENT}&redirect_uri={BACK}&code={code}&code_verifier={VERIFIER}"
    );
    let post = |body: String| browser.at(Method::POST, "/token").body(body);
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let as_json = browser.send(post(form.clone()).header(kind.0, "application/json")).await;
    let with_secret = browser.send(post(form.clone()).header(kind.0, kind.1).basic_auth(CLIENT, Some("s"))).await;
    let twice = browser.send(post(format!("{form}&code={code}")).header(kind.0, kind.1)).await;
    let long = browser.send(post(format!("{form}&x={}", "x".repeat(20_000))).header(kind.0, kind.1)).await;
    assert_eq!([as_json.status, with_secret.status, twice.status, long.status], [400, 401, 400, 413]);
    assert_eq!(browser.send(browser.at(Method::GET, "/token")).await.status, 405);
    assert_eq!(browser.send(post(form).header(kind.0, kind.1)).await.status, 200, "none of these used the code");
}

#[tokio::test]
async fn a_code_is_short_lived() {
    // A code is no good after its lifetime, here none.
    let browser = Browser::new(|config| config.issuer.code_lifetime_s = 0).await;
    let got = browser.exchange(&browser.code("admin").await, &[]).await;
    assert_eq!(got.json()["error_description"], "this code has expired");
    assert_eq!(browser.sandbox.issuer().refused()[&(400, "invalid_grant".to_owned())], 1);
}
