//! What the control endpoint does to the issuer.
use serde_json::json;

use super::*;
use crate::sandbox::testing::now_s;

#[tokio::test]
async fn keys_rotate_on_command() {
    // A rotation that keeps the old keys leaves their tokens good; one that does not ends them.
    let browser = Browser::new(|_| {}).await;
    let issuer = browser.sandbox.issuer();
    let first = issuer.token("user").unwrap();
    let rotate = |body: Value| browser.control(Method::POST, "/issuer/rotate", Some(body));
    let (status, answer) = rotate(json!({"keep_old": true})).await;
    let second = issuer.token("user").unwrap();
    assert_eq!((status, &answer["kid"]), (201, &part(&second, 0)["kid"]));
    let jwks = browser.get("/jwks").await.json();
    assert!(verifies(&first, &jwks) && verifies(&second, &jwks));
    let (_, answer) = rotate(json!({"keep_old": false, "algorithm": "RS256"})).await;
    let third = issuer.token("user").unwrap();
    let jwks = browser.get("/jwks").await.json();
    assert_eq!((jwks["keys"].as_array().unwrap().len(), &jwks["keys"][0]["kid"]), (1, &answer["kid"]));
    assert!(!verifies(&first, &jwks) && !verifies(&second, &jwks) && verifies(&third, &jwks));
}

#[tokio::test]
async fn any_token_can_be_had_right_or_wrong() {
    // The direct way: the usual token of a persona, claims and header replaced or taken away, and signatures that must not count.
    let browser = Browser::new(|_| {}).await;
    let mint = async |body: Value| {
        let (status, answer) = browser.control(Method::POST, "/issuer/tokens", Some(body)).await;
        assert_eq!(status, 201, "{answer}");
        answer["access_token"].as_str().unwrap().to_owned()
    };
    let jwks = browser.get("/jwks").await.json();
    let usual = mint(json!({"persona": "admin"})).await;
    assert!(verifies(&usual, &jwks));
    assert_eq!((&claims(&usual)["sub"], &claims(&usual)["workspaces"]), (&json!("benita"), &json!({"acme": "admin"})));
    let changed = json!({
        "persona": "admin",
        "claims": {"exp": 1, "aud": ["a", "b"], "iss": "https://other.example", "iat": null},
        "header": {"crit": ["x"], "typ": null},
    });
    let changed = mint(changed).await;
    assert!(verifies(&changed, &jwks), "whatever it says, its signature is right");
    let said = claims(&changed);
    assert_eq!((&said["exp"], &said["aud"], said.get("iat")), (&json!(1), &json!(["a", "b"]), None));
    assert_eq!((&part(&changed, 0)["crit"], part(&changed, 0).get("typ")), (&json!(["x"]), None));
    for sign in ["stranger", "broken"] {
        assert!(!verifies(&mint(json!({"persona": "admin", "sign": sign})).await, &jwks), "{sign}");
    }
    let none = mint(json!({"persona": "admin", "sign": "none"})).await;
    assert!(part(&none, 0)["alg"] == "none" && none.ends_with('.'));
    let secret = mint(json!({"persona": "admin", "sign": "public_key_as_secret"})).await;
    assert_eq!((&part(&secret, 0)["alg"], secret.rsplit('.').next().unwrap().len()), (&json!("HS256"), 43));
}

#[tokio::test]
async fn people_clients_and_lifetimes_change_on_command() {
    // What is set is in force for the next token, shows in the summary, and is gone after a reset; the keys are not.
    let browser = Browser::new(|_| {}).await;
    let before = browser.get("/jwks").await.json();
    let eve = json!({"name": "eve", "user": "eve", "workspaces": {"acme": "owner"}, "acr": "phr", "auth_age_s": 60});
    assert_eq!(browser.control(Method::PUT, "/issuer/personas/eve", Some(eve)).await.0, 204);
    let client = json!({"client_id": "late", "redirect_uris": [BACK]});
    assert_eq!(browser.control(Method::PUT, "/issuer/clients/late", Some(client)).await.0, 204);
    assert_eq!(browser.control(Method::PUT, "/issuer/lifetime", Some(json!({"token_lifetime_s": -5}))).await.0, 204);
    let code = back(&browser.authorize(&[("login_hint", "eve"), ("client_id", "late")]).await)["code"].clone();
    let tokens = browser.exchange(&code, &[("client_id", "late")]).await.json();
    let said = claims(tokens["access_token"].as_str().unwrap());
    assert_eq!((&said["acr"], &said["client_id"], &tokens["expires_in"]), (&json!("phr"), &json!("late"), &json!(0)));
    assert!(said["exp"].as_i64().unwrap() < now_s(), "expired when it was issued");
    let (_, summary) = browser.control(Method::GET, "/issuer", None).await;
    assert_eq!(
        (&summary["token_lifetime_s"], &summary["issuer"]),
        (&json!(-5), &json!(browser.sandbox.issuer().url()))
    );
    assert!(summary["personas"].as_array().unwrap().iter().any(|persona| persona["name"] == "eve"));
    let (_, stats) = browser.control(Method::GET, "/stats", None).await;
    assert_eq!(stats["issuer"]["issued"], 1);

    assert_eq!(browser.control(Method::POST, "/reset", None).await.0, 204);
    let (status, answer) = browser.control(Method::POST, "/issuer/tokens", Some(json!({"persona": "eve"}))).await;
    assert!(status == 400 && answer["error"].as_str().unwrap().contains("there is no persona eve"), "{answer}");
    assert_eq!(browser.authorize(&[("client_id", "late")]).await.status, 400);
    assert_eq!(browser.get("/jwks").await.json(), before);
}

#[tokio::test]
async fn a_mistake_in_a_command_is_told() {
    // Unknown fields, other names than the path's, numbers out of range: 400, and nothing changes.
    let browser = Browser::new(|_| {}).await;
    let rows = [
        ("POST /issuer/tokens", json!({"persona": "admin", "sgin": "none"}), "sgin"),
        ("POST /issuer/tokens", json!({"persona": "admin", "sign": "well"}), "well"),
        ("POST /issuer/rotate", json!({}), "keep_old"),
        ("POST /issuer/rotate", json!({"keep_old": true, "algorithm": "HS256"}), "HS256"),
        ("PUT /issuer/lifetime", json!({"token_lifetime_s": 1_u64 << 60}), "must be between"),
        ("PUT /issuer/personas/a", json!({"name": "b", "user": "b"}), "name must be"),
        ("PUT /issuer/personas/a", json!({"name": "a", "user": "a", "workspace": "acme"}), "workspace"),
        ("PUT /issuer/clients/a", json!({"client_id": "a", "redirect_uris": [], "secret": "s"}), "secret"),
    ];
    let before = browser.control(Method::GET, "/issuer", None).await;
    for (request, body, named) in rows {
        let (method, path) = request.split_once(' ').unwrap();
        let (status, told) = browser.control(method.parse().unwrap(), path, Some(body)).await;
        assert!(status == 400 && told["error"].as_str().unwrap().contains(named), "{request}: {status} {told}");
    }
    assert_eq!(browser.control(Method::GET, "/issuer", None).await, before);
}

#[tokio::test]
async fn faults_meet_the_issuer_by_path() {
    // One endpoint can be down while the others are not.
    let browser = Browser::new(|_| {}).await;
    let rule = json!({"provider": "issuer", "token": "/jwks", "count": 1, "fault": {"kind": "reply", "status": 503}});
    assert_eq!(browser.control(Method::POST, "/faults", Some(rule)).await.0, 201);
    assert_eq!(browser.get("/.well-known/openid-configuration").await.status, 200);
    assert_eq!(browser.get("/jwks").await.status, 503);
    assert_eq!(browser.get("/jwks").await.status, 200);
    assert_eq!(browser.get("/elsewhere").await.status, 404);
}
