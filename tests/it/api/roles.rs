//! Who may do what: every endpoint, every role, in their own workspace and in another, and without a token.
use std::collections::BTreeSet;

use serde_json::{Value, json};
use watchbell::store::Policy;

use super::described::operations;
use super::support::Served;
use crate::store_support::over_both;

/// The columns: personas of the sandbox's issuer who are owner, super admin, admin and user of `acme`. `elsewhere` owns another workspace.
const PERSONAS: [&str; 4] = ["owner", "super_admin", "admin", "user"];

/// One endpoint, with what `{user}` is: the answers to owner, super admin, admin and user of the workspace. Whoever belongs to another
/// workspace is answered 404, whatever the endpoint, and who has no token 401. `me` stands for whoever calls.
struct Row(&'static str, &'static str, &'static str, [u16; 4]);

const W: &str = "/v1/workspaces/{workspace}";

/// The whole table. Ada owns the workspace, Samira is its super admin, Benita an admin, Jonas a user, and Nina never signed in.
#[rustfmt::skip]
const TABLE: [Row; 58] = [
    Row("GET",    "/settings",                      "",       [200, 200, 200, 403]),
    Row("PUT",    "/settings/{type}",               "",       [200, 200, 200, 403]),
    Row("PUT",    "/detail",                        "",       [200, 200, 200, 403]),
    Row("GET",    "/users",                         "",       [200, 200, 200, 403]),
    Row("GET",    "/audit",                         "",       [200, 200, 200, 403]),
    Row("GET",    "/reach",                         "",       [200, 200, 200, 403]),
    Row("GET",    "/reach/{type}",                  "",       [200, 200, 200, 403]),
    Row("GET",    "/me/preferences",                "",       [200, 200, 200, 200]),
    Row("PUT",    "/me/preferences/{type}",         "",       [200, 200, 200, 200]),
    Row("POST",   "/me/preferences/turn-off-all",   "",       [200, 200, 200, 200]),
    // Nobody has that device: who may not would be told 403.
    Row("PUT",    "/me/devices/{device}/quiet",     "",       [404, 404, 404, 404]),
    Row("GET",    "/me/requests",                   "",       [200, 200, 200, 200]),
    // Nobody was asked that: who may not would be told 403.
    Row("GET",    "/me/requests/{type}/{event}",    "",       [503, 503, 503, 503]),
    Row("GET",    "/me/recent",                     "",       [200, 200, 200, 200]),
    Row("GET",    "/users/{user}/recent",           "nina",   [200, 200, 200, 403]),
    Row("DELETE", "/users/{user}/data",             "me",     [200, 200, 200, 200]),
    Row("DELETE", "/users/{user}/data",             "nina",   [200, 200, 403, 403]),
    Row("DELETE", "/users/{user}/data",             "jonas",  [200, 200, 403, 200]),
    Row("DELETE", "/users/{user}/data",             "benita", [200, 200, 200, 403]),
    Row("DELETE", "/users/{user}/data",             "samira", [200, 200, 403, 403]),
    Row("DELETE", "/users/{user}/data",             "ada",    [200, 403, 403, 403]),
    Row("GET",    "/users/{user}/recent",           "ada",    [200, 200, 200, 403]),
    Row("GET",    "/users/{user}/recent",           "benita", [200, 200, 200, 403]),
    Row("GET",    "/users/{user}/recent",           "samira", [200, 200, 200, 403]),
    Row("GET",    "/users/{user}/data",             "me",     [200, 200, 200, 200]),
    Row("GET",    "/users/{user}/data",             "nina",   [200, 200, 403, 403]),
    Row("GET",    "/users/{user}/data",             "benita", [200, 200, 200, 403]),
    Row("GET",    "/users/{user}/data",             "samira", [200, 200, 403, 403]),
    Row("GET",    "/users/{user}/data",             "ada",    [200, 403, 403, 403]),
    Row("POST",   "/me/tests",                      "",       [200, 200, 200, 200]),
    Row("GET",    "/me/tests/{test}",               "",       [404, 404, 404, 404]),
    Row("GET",    "/me/notices",                    "",       [200, 200, 200, 200]),
    Row("GET",    "/me/devices",                    "",       [200, 200, 200, 200]),
    Row("POST",   "/me/devices/challenges",         "",       [200, 200, 200, 200]),
    // Whoever may is asked for a proof: who may not would be told 403.
    Row("POST",   "/me/devices",                    "",       [401, 401, 401, 401]),
    Row("POST",   "/me/devices/{device}/promotion", "",       [401, 401, 401, 401]),
    Row("PUT",    "/me/devices/{device}/name",      "",       [404, 404, 404, 404]),
    Row("DELETE", "/me/devices/{device}",           "",       [404, 404, 404, 404]),
    Row("GET",    "/users/{user}/devices",          "me",     [200, 200, 200, 200]),
    Row("GET",    "/users/{user}/devices",          "nina",   [200, 200, 200, 403]),
    Row("GET",    "/users/{user}/devices",          "benita", [200, 200, 200, 403]),
    Row("GET",    "/users/{user}/devices",          "samira", [200, 200, 403, 403]),
    Row("GET",    "/users/{user}/devices",          "ada",    [200, 403, 403, 403]),
    Row("DELETE", "/users/{user}/devices/{device}", "me",     [404, 404, 404, 404]),
    Row("DELETE", "/users/{user}/devices/{device}", "nina",   [404, 404, 404, 403]),
    Row("DELETE", "/users/{user}/devices/{device}", "benita", [404, 404, 404, 403]),
    Row("DELETE", "/users/{user}/devices/{device}", "samira", [404, 404, 403, 403]),
    Row("DELETE", "/users/{user}/devices/{device}", "ada",    [404, 403, 403, 403]),
    Row("POST",   "/users/{user}/devices/reset",    "me",     [200, 200, 200, 200]),
    Row("POST",   "/users/{user}/devices/reset",    "nina",   [200, 200, 200, 403]),
    Row("POST",   "/users/{user}/devices/reset",    "benita", [200, 200, 200, 403]),
    Row("POST",   "/users/{user}/devices/reset",    "samira", [200, 200, 403, 403]),
    Row("POST",   "/users/{user}/devices/reset",    "ada",    [200, 403, 403, 403]),
    Row("POST",   "/users/{user}/tickets",          "me",     [403, 403, 403, 403]),
    Row("POST",   "/users/{user}/tickets",          "nina",   [200, 200, 200, 403]),
    Row("POST",   "/users/{user}/tickets",          "benita", [200, 200, 403, 403]),
    // Samira is the super admin and Ada the owner herself: nobody issues one to themselves.
    Row("POST",   "/users/{user}/tickets",          "samira", [200, 403, 403, 403]),
    Row("POST",   "/users/{user}/tickets",          "ada",    [403, 403, 403, 403]),
];

/// Endpoints that are in no workspace: whoever is signed in.
const WITHOUT_WORKSPACE: [(&str, &str); 1] = [("GET", "/v1/me")];

/// Endpoints that need no token.
const OF_ANYBODY: [(&str, &str); 1] = [("GET", "/v1/sign-in")];

/// Endpoints of operators, with the body that each takes: whoever has the claim, of whatever workspace, and nobody else.
const OF_OPERATORS: [(&str, &str); 1] = [("POST", "/v1/operator/workspaces/{workspace}/lifecycle")];

/// Endpoints of phones, and what they say to whoever signed in and has no phone's key: a session is not a phone.
const OF_PHONES: [(&str, &str, &str); 12] = [
    ("PUT", "/phone", "no-proof"),
    ("POST", "/phone/nonce", "no-proof"),
    ("POST", "/phone/reached", "no-proof"),
    ("POST", "/phone/digits", "no-proof"),
    ("POST", "/phone/promotions", "no-proof"),
    ("POST", "/phone/key", "no-proof"),
    ("GET", "/phone/requests", "no-proof"),
    ("GET", "/phone/requests/{type}/{event}", "no-proof"),
    ("POST", "/phone/requests/{type}/{event}/answer", "bad-statement"),
    ("POST", "/phone/seen", "no-proof"),
    ("GET", "/phone/notices", "no-proof"),
    ("POST", "/phone/notices/{notice}/not-me", "no-proof"),
];

/// The body that an endpoint takes.
fn body_of(path: &str) -> Option<Value> {
    match path {
        "/detail" => Some(json!({"detail": "minimal"})),
        "/settings/{type}" => Some(json!({"setting": "enabled"})),
        "/me/preferences/{type}" => Some(json!({"preference": "off"})),
        "/me/devices/{device}/quiet" => Some(json!({"quiet": true})),
        "/me/devices/{device}/name" => Some(json!({"name": "Mine"})),
        "/me/devices/{device}/promotion" | "/me/tests" => Some(json!({})),
        "/phone" => Some(json!({"platform": "apns", "app": "a", "token": "t", "locale": "en"})),
        "/phone/reached" => Some(json!({"nonce": "x"})),
        "/phone/seen" => Some(json!({"shown": []})),
        "/phone/promotions" | "/phone/key" | "/phone/requests/{type}/{event}/answer" => Some(json!({"jws": "x"})),
        _ => None,
    }
}

/// An address with its names filled in.
fn address(path: &str, workspace: &str, user: &str) -> String {
    let names = [
        ("{workspace}", workspace),
        ("{user}", user),
        ("{type}", "identity_verification"),
        ("{device}", "phone"),
        ("{event}", "e1"),
        ("{test}", "t1"),
        ("{notice}", "n1"),
    ];
    names.iter().fold(format!("{W}{path}"), |path, (name, value)| path.replace(name, value))
}

#[test]
fn every_endpoint_is_in_the_table() {
    // An endpoint without a row would be one whose rights nobody stated.
    let stated = TABLE.iter().map(|Row(method, path, ..)| ((*method).to_owned(), format!("{W}{path}")));
    let more =
        WITHOUT_WORKSPACE.iter().chain(&OF_ANYBODY).map(|(method, path)| ((*method).to_owned(), (*path).to_owned()));
    let phones = OF_PHONES.iter().map(|(method, path, _)| ((*method).to_owned(), format!("{W}{path}")));
    let operators = OF_OPERATORS.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned()));
    let stated: BTreeSet<_> = stated.chain(more).chain(operators).chain(phones).collect();
    let described: BTreeSet<_> = operations(&watchbell::control::document()).into_iter().collect();
    let missing: Vec<_> = described.difference(&stated).collect();
    let gone: Vec<_> = stated.difference(&described).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not in the table: {missing:?}; no endpoint any more: {gone:?}");
}

#[test]
fn the_fuzzer_knows_every_endpoint() {
    // Its own table of rights says so as well, but only to whoever runs it.
    let rights = include_str!("../../fuzz/rights.py")
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.split_once("\":"));
    let rights: BTreeSet<_> = rights
        .filter_map(|(operation, _)| operation.split_once(' '))
        .map(|(m, p)| (m.to_owned(), p.to_owned()))
        .collect();
    let described: BTreeSet<_> = operations(&watchbell::control::document()).into_iter().collect();
    assert_eq!(rights, described, "the first is MAY in tests/fuzz/rights.py");
}

over_both! {
    /// The table, asked: role by role, in the own workspace, in another one, and without a token.
    async fn who_may_do_what(policy: Policy) {
        let served = Served::with(policy, |api| api.requests_burst = 10_000).await;
        let users = ["ada", "samira", "benita", "jonas"];
        for Row(method, path, user, expected) in TABLE {
            let call = |persona: &str, workspace: &str, user: &str| {
                let call = served.call_as(persona, method, &address(path, workspace, user));
                if let Some(body) = body_of(path) { call.json(&body) } else { call }
            };
            for (column, persona) in PERSONAS.into_iter().enumerate() {
                // Roles of others are known as of their last call, and erasing forgets them.
                for other in PERSONAS {
                    assert_eq!(served.get(other, "/v1/me").await.status, 200);
                }
                let user = if user == "me" { users[column] } else { user };
                let told = format!("{persona} {method} {path} of {user:?}");
                assert_eq!(call(persona, "acme", user).status().await, expected[column], "{told}");
                for foreign in ["initech", "not%20an%20id"] {
                    let answer = call(persona, foreign, user).answer().await;
                    assert_eq!((answer.status, answer.problem()), (404, "no-workspace"), "{told} in {foreign}");
                }
            }
            // The owner of another workspace, and an operator who belongs to none, are nobody here; but operators issue tickets.
            for stranger in ["elsewhere", "operator"] {
                let expected = if (stranger, path) == ("operator", "/users/{user}/tickets") { 200 } else { 404 };
                assert_eq!(call(stranger, "acme", "jonas").status().await, expected, "{stranger} {method} {path}");
            }
            let mut nobody = served.call(method, &address(path, "acme", "jonas"));
            if let Some(body) = body_of(path) {
                nobody = nobody.json(&body);
            }
            assert_eq!(nobody.answer().await.problem(), "no-token", "{method} {path}");
        }
        for (method, path) in WITHOUT_WORKSPACE {
            for persona in PERSONAS.into_iter().chain(["elsewhere", "operator"]) {
                assert_eq!(served.call_as(persona, method, path).status().await, 200, "{persona} {method} {path}");
            }
            assert_eq!(served.call(method, path).answer().await.problem(), "no-token");
        }
        for (method, path) in OF_ANYBODY {
            assert_eq!(served.call(method, path).status().await, 200, "{method} {path}");
        }
        // Not to themselves, whoever they are; and the trail says by which right.
        let own = address("/users/{user}/tickets", "acme", "otto");
        assert_eq!(served.call_as("operator", "POST", &own).status().await, 403);
        let issued = address("/users/{user}/tickets", "acme", "ada");
        assert_eq!(served.call_as("operator", "POST", &issued).status().await, 200);
        let trail = served.get("owner", "/v1/workspaces/acme/audit?limit=1").await.body;
        let newest = &trail["entries"][0];
        let said = [&newest["action"], &newest["actor_role"], &newest["actor"], &newest["user"]];
        assert_eq!(said, ["ticket_issued", "operator", "otto", "ada"]);
        // Ada owns acme and is a user of globex: there she is one.
        let me = served.get("owner", "/v1/me").await.body;
        let roles = json!([{"workspace": "acme", "role": "owner"}, {"workspace": "globex", "role": "user"}]);
        assert_eq!((&me["user"], &me["operator"], &me["workspaces"]), (&json!("ada"), &json!(false), &roles));
        assert_eq!(served.get("owner", "/v1/workspaces/globex/settings").await.problem(), "not-allowed");
        assert_eq!(served.get("owner", "/v1/workspaces/globex/me/preferences").await.status, 200);
    }

    /// What is no member's: of operators and of phones, in whatever workspace.
    async fn what_no_role_gives(policy: Policy) {
        let served = Served::with(policy, |api| api.requests_burst = 10_000).await;
        let workspaces = ["acme", "initech"];
        for (workspace, (method, path)) in workspaces.into_iter().flat_map(|one| OF_OPERATORS.map(|row| (one, row))) {
            let path = path.replace("{workspace}", workspace);
            let body = json!({"id": "l1", "what": "user_removed", "user": "nina"});
            for persona in PERSONAS.into_iter().chain(["elsewhere"]) {
                let answer = served.call_as(persona, method, &path).json(&body).answer().await;
                assert_eq!((answer.status, answer.problem()), (403, "not-operator"), "{persona} {method} {path}");
            }
            assert_eq!(served.call_as("operator", method, &path).json(&body).status().await, 200, "{method} {path}");
            assert_eq!(served.call(method, &path).json(&body).answer().await.problem(), "no-token");
        }
        for (workspace, (method, path, problem)) in workspaces.into_iter().flat_map(|one| OF_PHONES.map(|row| (one, row))) {
            let address = address(path, workspace, "jonas");
            let calls = PERSONAS.into_iter().chain(["elsewhere", "operator"]);
            let calls = calls.map(|persona| served.call_as(persona, method, &address));
            for mut call in calls.chain([served.call(method, &address)]) {
                if let Some(body) = body_of(path) {
                    call = call.json(&body);
                }
                assert_eq!(call.answer().await.problem(), problem, "{method} {address}");
            }
        }
    }
}
