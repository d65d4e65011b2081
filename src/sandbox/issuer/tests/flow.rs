//! The code flow as it should go.
use serde_json::json;

use super::*;
use crate::sandbox::issuer::{Persona, SigningAlgorithm};
use crate::sandbox::testing::now_s;

#[tokio::test]
async fn a_person_signs_in_by_the_code_flow() {
    // From discovery through the code to both tokens, which the published key verifies and which say who it is, and no more.
    let browser = Browser::new(|_| {}).await;
    let issuer = browser.sandbox.issuer().url().to_owned();
    let discovery = browser.get("/.well-known/openid-configuration").await.json();
    assert_eq!(discovery["issuer"], issuer);
    assert_eq!(discovery["authorization_endpoint"], format!("{issuer}/authorize"));
    assert_eq!(discovery["token_endpoint"], format!("{issuer}/token"));
    assert_eq!(discovery["jwks_uri"], format!("{issuer}/jwks"));
    assert_eq!(discovery["code_challenge_methods_supported"], json!(["S256"]));

    let came_back = back(&browser.authorize(&[]).await);
    assert_eq!((came_back["state"].as_str(), came_back["iss"].as_str()), ("a state&=", issuer.as_str()));
    let got = browser.exchange(&came_back["code"], &[]).await;
    assert_eq!((got.status, got.header("cache-control")), (200, Some("no-store")));
    let tokens = got.json();
    assert_eq!(
        (&tokens["token_type"], &tokens["expires_in"], &tokens["scope"]),
        (&json!("Bearer"), &json!(3600), &json!("openid"))
    );
    assert_eq!(tokens.get("refresh_token"), None);

    let jwks = browser.get("/jwks").await.json();
    assert!(jwks["keys"][0].get("d").is_none(), "no private part is published");
    let (access, id) = (tokens["access_token"].as_str().unwrap(), tokens["id_token"].as_str().unwrap());
    assert!(verifies(access, &jwks) && verifies(id, &jwks));
    let kid = &jwks["keys"][0]["kid"];
    assert_eq!(part(access, 0), json!({ "alg": "ES256", "typ": "at+jwt", "kid": kid }));
    assert_eq!(part(id, 0), json!({ "alg": "ES256", "typ": "JWT", "kid": kid }));
    let (access, id) = (claims(access), claims(id));
    let (iat, jti) = (access["iat"].as_i64().unwrap(), access["jti"].as_str().unwrap());
    assert!((now_s() - iat).abs() < 20);
    let expected = json!({
        "iss": issuer, "sub": "benita", "aud": "watchbell", "iat": iat, "exp": iat + 3600, "auth_time": access["auth_time"],
        "jti": jti, "client_id": CLIENT, "scope": "openid", "workspaces": { "acme": "admin" },
    });
    assert_eq!(access, expected);
    let expected = json!({
        "iss": issuer, "sub": "benita", "aud": CLIENT, "iat": id["iat"], "exp": id["exp"], "auth_time": id["auth_time"],
        "jti": id["jti"], "name": "admin", "nonce": "n",
    });
    assert_eq!(id, expected);
    assert_eq!(browser.sandbox.issuer().issued(), 1);
}

#[tokio::test]
async fn every_persona_has_its_claims() {
    // Roles by workspace, the operator, and what a persona adds or takes away.
    let browser = Browser::new(|config| {
        let text = r#"{"name":"eve","user":"eve|1","workspaces":{"acme":"user"},"acr":"phr","auth_age_s":600,
                       "claims":{"https://example.com/roles":["admin"],"jti":null}}"#;
        config.issuer.personas.push(serde_json::from_str::<Persona>(text).unwrap());
    })
    .await;
    let rows = [
        ("owner", "ada", json!({"acme": "owner", "globex": "user"})),
        ("super_admin", "samira", json!({"acme": "super_admin"})),
        ("admin", "benita", json!({"acme": "admin"})),
        ("user", "jonas", json!({"acme": "user"})),
        ("elsewhere", "hanako", json!({"globex": "owner"})),
        ("operator", "otto", json!({})),
        ("eve", "eve|1", json!({"acme": "user"})),
    ];
    for (persona, user, workspaces) in rows {
        let tokens = browser.exchange(&browser.code(persona).await, &[]).await.json();
        let claims = claims(tokens["access_token"].as_str().unwrap());
        assert_eq!((&claims["sub"], &claims["workspaces"]), (&json!(user), &workspaces));
        assert_eq!(claims["operator"] == true, persona == "operator");
        assert_eq!(claims["acr"] == "phr", persona == "eve");
        let age = claims["iat"].as_i64().unwrap() - claims["auth_time"].as_i64().unwrap();
        assert!((age - if persona == "eve" { 600 } else { 0 }).abs() <= 2, "{age}");
        assert_eq!(
            (claims.get("jti").is_none(), claims.get("https://example.com/roles").is_some()),
            (persona == "eve", persona == "eve")
        );
    }
    let fresh = back(&browser.authorize(&[("login_hint", "eve"), ("max_age", "60")]).await)["code"].clone();
    let claims = claims(browser.exchange(&fresh, &[]).await.json()["access_token"].as_str().unwrap());
    assert!(
        claims["iat"].as_i64().unwrap() - claims["auth_time"].as_i64().unwrap() <= 2,
        "max_age asks for a new sign-in"
    );
}

#[tokio::test]
async fn without_a_hint_a_person_chooses() {
    // The page lists everybody; each link leads to that persona's code with all parameters kept; nothing in it is executable.
    let browser = Browser::new(|config| {
        config.issuer.personas.push(serde_json::from_str(r#"{"name":"<b>&\"x","user":"<i>"}"#).unwrap());
    })
    .await;
    let page = browser.authorize(&[("login_hint", "")]).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert!(!page.body.contains("<b>") && !page.body.contains("<i>") && !page.body.contains("<script"));
    let links: Vec<_> = page.body.split("<a href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(links.len(), 7);
    for link in links {
        let came_back = back(&browser.get(&format!("/{}", link.replace("&amp;", "&"))).await);
        assert_eq!(came_back["state"], "a state&=");
        assert_eq!(browser.exchange(&came_back["code"], &[]).await.status, 200, "{link}");
    }
}

#[tokio::test]
async fn it_can_have_another_name() {
    // In a network of containers: the identifier, the endpoints and the certificate are those of its host name there.
    let browser = Browser::new(|config| {
        config.names = vec!["sandbox.internal".to_owned()];
        config.issuer.url = Some("https://sandbox.internal:2200/".to_owned());
    })
    .await;
    let (_, credentials) = browser.control(Method::GET, "/credentials", None).await;
    assert_eq!(credentials["issuer"], json!({"url": "https://sandbox.internal:2200", "audience": "watchbell"}));
    let ca = reqwest::Certificate::from_pem(&std::fs::read(browser.sandbox.ca_file()).unwrap()).unwrap();
    let address = browser.sandbox.issuer_address();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).resolve("sandbox.internal", address);
    let url = format!("https://sandbox.internal:{}/.well-known/openid-configuration", address.port());
    let discovery: Value = within(http.build().unwrap().get(url).send()).await.unwrap().json().await.unwrap();
    assert_eq!(discovery["issuer"], "https://sandbox.internal:2200");
    assert_eq!(discovery["jwks_uri"], "https://sandbox.internal:2200/jwks");
    let token = browser.sandbox.issuer().token("user").unwrap();
    assert_eq!(claims(&token)["iss"], "https://sandbox.internal:2200");
}

#[tokio::test]
async fn rsa_keys_sign_too() {
    // RS256 from the start: what most providers use.
    let browser = Browser::new(|config| config.issuer.algorithm = SigningAlgorithm::RS256).await;
    let token = browser.sandbox.issuer().token("user").unwrap();
    assert_eq!(part(&token, 0)["alg"], "RS256");
    assert!(verifies(&token, &browser.get("/jwks").await.json()));
}

#[tokio::test]
async fn browsers_may_fetch_what_signing_in_takes() {
    // CORS: tokens for the origin of a registered redirect, in the preflight and the answer; discovery and keys for any; nothing else.
    let browser = Browser::new(|_| {}).await;
    let ask = |method: Method, path: &str, origin: &str| {
        let request = browser.at(method, path).header("origin", origin);
        browser.send(request.header("access-control-request-method", "POST"))
    };
    let known = "http://127.0.0.1:8081";
    let got = ask(Method::OPTIONS, "/token", known).await;
    assert_eq!((got.status, got.header("access-control-allow-origin")), (204, Some(known)));
    assert_eq!(got.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(got.header("access-control-allow-headers"), Some("content-type"));
    assert_eq!((got.header("vary"), got.header("access-control-allow-credentials")), (Some("origin"), None));
    let got = ask(Method::POST, "/token", known).await;
    assert_eq!((got.status, got.header("access-control-allow-origin")), (400, Some(known)), "errors can be read too");
    for (method, path, origin) in [
        (Method::OPTIONS, "/token", "http://127.0.0.1:8082"),
        (Method::OPTIONS, "/token", "http://127.0.0.1"),
        (Method::OPTIONS, "/token", "null"),
        (Method::POST, "/token", "https://evil.example"),
        (Method::GET, "/authorize", known),
        (Method::POST, "/jwks", known),
    ] {
        let got = ask(method.clone(), path, origin).await;
        assert_eq!(got.header("access-control-allow-origin"), None, "{method} {path} {origin}");
    }
    for path in ["/jwks", "/.well-known/openid-configuration"] {
        let got = ask(Method::GET, path, "https://anywhere.example").await;
        assert_eq!((got.status, got.header("access-control-allow-origin")), (200, Some("*")), "{path}");
    }
}
