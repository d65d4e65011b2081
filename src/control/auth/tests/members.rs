//! Workspaces and roles out of claims.
use super::super::role::{Action, Role, Target};
use super::*;

fn role(changes: &Value, claims: Value, id: &str) -> Result<Role, Refusal> {
    caller(changes.clone(), claims)?.in_workspace(&workspace(id)).map(|member| member.role)
}

#[test]
fn a_map_gives_each_workspace_its_role() {
    // One role or several, the highest counts; another workspace is 404; a role that nobody knows is 403 in its workspace alone.
    let shipped = json!({});
    let claims = json!({"sub": "u", "workspaces": {
        "acme": "owner", "both": ["user", "admin"], "mixed": ["cook", "super_admin"], "odd": "cook", "none": [], "gone": null,
        "number": 7, "no id": "owner", "upper": "Owner",
    }});
    let rows = [
        ("acme", Ok(Role::Owner)),
        ("both", Ok(Role::Admin)),
        ("mixed", Ok(Role::SuperAdmin)),
        ("odd", Err(Refusal::RoleUnknown)),
        ("upper", Err(Refusal::RoleUnknown)),
        ("none", Err(Refusal::RoleUnknown)),
        ("gone", Err(Refusal::UnreadableClaim("workspaces".into()))),
        ("number", Err(Refusal::UnreadableClaim("workspaces".into()))),
        ("elsewhere", Err(Refusal::NoWorkspace)),
        ("ACME", Err(Refusal::NoWorkspace)),
    ];
    for (id, expected) in rows {
        assert_eq!(role(&shipped, claims.clone(), id), expected, "{id}");
    }
    let known: Vec<_> =
        caller(shipped.clone(), claims).unwrap().workspaces().map(|(id, role)| (id.to_string(), role)).collect();
    assert_eq!(known, [("acme".into(), Role::Owner), ("both".into(), Role::Admin), ("mixed".into(), Role::SuperAdmin)]);
    assert_eq!(role(&shipped, json!({"sub": "u"}), "acme"), Err(Refusal::NoWorkspace));
    assert_eq!(
        caller(shipped, json!({"sub": "u", "workspaces": ["acme"]})),
        Err(Refusal::UnreadableClaim("workspaces".into()))
    );
}

#[test]
fn a_list_gives_its_roles_in_the_one_workspace() {
    // The workspace is a claim's or the configured one; a claim that names several leaves open where the roles hold.
    let by_claim = json!({"workspace_claim": "org", "roles_claim": "roles"});
    let rows = [
        (json!({"sub": "u", "org": "acme", "roles": ["user", "offline_access", "admin"]}), Ok(Role::Admin)),
        (json!({"sub": "u", "org": "acme", "roles": "owner"}), Ok(Role::Owner)),
        (json!({"sub": "u", "org": ["acme"], "roles": ["user"]}), Ok(Role::User)),
        (json!({"sub": "u", "org": "acme", "roles": ["offline_access"]}), Err(Refusal::RoleUnknown)),
        (json!({"sub": "u", "org": "acme", "roles": {"owner": true}}), Err(Refusal::UnreadableClaim("roles".into()))),
        (json!({"sub": "u", "org": "acme", "roles": ["owner", 7]}), Err(Refusal::UnreadableClaim("roles".into()))),
        (json!({"sub": "u", "org": "acme"}), Err(Refusal::NoClaim("roles".into()))),
        (json!({"sub": "u", "org": "globex", "roles": ["owner"]}), Err(Refusal::NoWorkspace)),
        (json!({"sub": "u", "roles": ["owner"]}), Err(Refusal::NoWorkspace)),
        (json!({"sub": "u", "org": [], "roles": ["owner"]}), Err(Refusal::NoWorkspace)),
        (
            json!({"sub": "u", "org": ["acme", "globex"], "roles": ["owner"]}),
            Err(Refusal::UnreadableClaim("org".into())),
        ),
        (json!({"sub": "u", "org": "a b", "roles": ["owner"]}), Err(Refusal::UnreadableClaim("org".into()))),
        (json!({"sub": "u", "org": 7, "roles": ["owner"]}), Err(Refusal::UnreadableClaim("org".into()))),
    ];
    for (claims, expected) in rows {
        assert_eq!(role(&by_claim, claims.clone(), "acme"), expected, "{claims}");
    }
    let fixed = json!({"workspace": "acme", "roles_claim": "roles"});
    assert_eq!(role(&fixed, json!({"sub": "u", "roles": ["owner"]}), "acme"), Ok(Role::Owner));
    assert_eq!(role(&fixed, json!({"sub": "u", "roles": ["owner"]}), "globex"), Err(Refusal::NoWorkspace));
}

#[test]
fn who_has_no_role_is_a_user_only_if_configured() {
    // A missing or empty claim may mean user; an unknown role never does, and nothing makes more than a user of anybody.
    let lenient = json!({"workspace": "acme", "roles_claim": "roles", "without_roles": "user"});
    assert_eq!(role(&lenient, json!({"sub": "u"}), "acme"), Ok(Role::User));
    assert_eq!(role(&lenient, json!({"sub": "u", "roles": []}), "acme"), Ok(Role::User));
    assert_eq!(role(&lenient, json!({"sub": "u", "roles": ["cook"]}), "acme"), Err(Refusal::RoleUnknown));
    assert_eq!(role(&lenient, json!({"sub": "u", "roles": 7}), "acme"), Err(Refusal::UnreadableClaim("roles".into())));
}

#[test]
fn roles_have_the_operators_names() {
    // Any number of names for a role, also none.
    let names = json!({"role_names": {"owner": ["wb-owners", "Chef"], "super_admin": [], "admin": ["wb-admins"], "user": ["*"]}});
    let rows = [
        ("Chef", Ok(Role::Owner)),
        ("wb-admins", Ok(Role::Admin)),
        ("*", Ok(Role::User)),
        ("owner", Err(Refusal::RoleUnknown)),
    ];
    for (name, expected) in rows {
        assert_eq!(role(&names, json!({"sub": "u", "workspaces": {"acme": name}}), "acme"), expected, "{name}");
    }
}

#[test]
fn the_user_is_exactly_the_claim() {
    // Upstream's id, byte for byte; what cannot be one is refused whole.
    for id in ["auth0|66f", "u+1@example.com", "1046", "A"] {
        assert_eq!(caller(json!({}), json!({"sub": id})).unwrap().user.as_str(), id);
    }
    assert_eq!(caller(json!({}), json!({"oid": "u"})), Err(Refusal::NoClaim("sub".into())));
    for wrong in [json!(""), json!("a b"), json!(7), json!(["u"]), json!("x".repeat(129))] {
        assert_eq!(caller(json!({}), json!({"sub": wrong})), Err(Refusal::UnreadableClaim("sub".into())));
    }
}

#[test]
fn an_operator_is_whom_the_claim_says() {
    // Nobody without the keys; then by a word, a list or a truth; a role is something else.
    let changes = |claim: &str, value: &str| json!({"operator_claim": claim, "operator_value": value});
    let rows = [
        (json!({}), json!({"operator": true}), false),
        (changes("operator", "true"), json!({"operator": true}), true),
        (changes("operator", "true"), json!({"operator": false}), false),
        (changes("operator", "yes"), json!({"operator": true}), false),
        (changes("/realm_access/roles", "op"), json!({"realm_access": {"roles": ["x", "op"]}}), true),
        (changes("/realm_access/roles", "op"), json!({"realm_access": {"roles": ["x", "opera"]}}), false),
        (changes("scope", "op"), json!({"scope": "op"}), true),
        (changes("scope", "op"), json!({"scope": {"op": true}}), false),
        (changes("scope", "op"), json!({}), false),
    ];
    for (changes, mut claims, expected) in rows {
        claims["sub"] = json!("u");
        let caller = caller(changes, claims.clone()).unwrap();
        assert_eq!((caller.operator, caller.require_operator().is_ok()), (expected, expected), "{claims}");
        assert_eq!(caller.in_workspace(&workspace("acme")), Err(Refusal::NoWorkspace), "an operator is no member");
    }
}

#[test]
fn a_phishing_resistant_sign_in_is_one_that_is_listed() {
    // None is by default; then exactly the listed words, in whatever claim.
    let listed = json!({"acr_phishing_resistant": ["phr", "phrh"]});
    let amr = json!({"acr_claim": "amr", "acr_phishing_resistant": ["hwk"]});
    let rows = [
        (json!({}), json!({"acr": "phr"}), false),
        (listed.clone(), json!({"acr": "phrh"}), true),
        (listed.clone(), json!({"acr": "PHR"}), false),
        (listed.clone(), json!({"acr": ["mfa", "phr"]}), true),
        (listed.clone(), json!({"acr": 2}), false),
        (listed, json!({}), false),
        (amr.clone(), json!({"amr": ["pwd", "hwk"]}), true),
        (amr, json!({"acr": "hwk"}), false),
    ];
    for (changes, mut claims, expected) in rows {
        claims["sub"] = json!("u");
        assert_eq!(caller(changes, claims.clone()).unwrap().phishing_resistant, expected, "{claims}");
    }
}

#[test]
fn a_refusal_says_what_and_nothing_of_the_token() {
    // Every refusal has a sentence and a type of its own kind; what stands in claims prints nowhere.
    let secret = "hush";
    let claims = json!({"sub": secret, "acr": secret, "workspaces": {"hush": "hush-role", "other": "owner"}});
    let caller = caller(json!({}), claims).unwrap();
    let member = caller.in_workspace(&workspace("other")).unwrap();
    let refusal = caller.in_workspace(&workspace("hush")).unwrap_err();
    let printed = format!("{caller:?} {member:?} {refusal:?} {refusal}");
    assert!(!printed.contains(secret), "{printed}");
    let refused = member.require(Action::Answer, Target::another(Some(Role::User))).unwrap_err();
    assert_eq!(refused.to_string(), "Nobody may enrol a device or answer a request for somebody else.");
    assert_eq!(member.require(Action::Answer, Target::Oneself), Ok(()));
    let user = super::super::Member { role: Role::User, ..member };
    let told = user.require(Action::ResetDevices, Target::Another(Role::Owner)).unwrap_err().to_string();
    assert_eq!(
        told,
        "Your role in this workspace (user) does not allow you to reset these devices: they are another person's (owner)."
    );
}

#[test]
fn every_refusal_is_told_apart() {
    // Each kind has a type of its own, a status and a sentence; only sign-ins that do not count ask for another sign-in.
    use Refusal::*;
    let all = [
        (NoToken, 401),
        (NotAToken, 401),
        (WrongKind, 401),
        (CriticalExtension, 401),
        (AlgorithmNotAllowed, 401),
        (UnknownKey, 401),
        (WrongSignature, 401),
        (WrongIssuer, 401),
        (WrongAudience, 401),
        (Expired, 401),
        (NotYetValid, 401),
        (TooOld, 401),
        (NoTime("exp"), 401),
        (KeysUnavailable { retry_after_s: 1 }, 503),
        (NoClaim("sub".into()), 403),
        (UnreadableClaim("sub".into()), 403),
        (RoleUnknown, 403),
        (NoWorkspace, 404),
        (NotAllowed { role: Role::User, action: Action::ReadAudit, target: Target::Workspace }, 403),
        (NotOperator, 403),
    ];
    let kinds: std::collections::BTreeSet<_> = all.iter().map(|(refusal, _)| refusal.kind()).collect();
    assert_eq!(kinds.len(), all.len());
    for (refusal, status) in all {
        assert_eq!(refusal.status().as_u16(), status, "{refusal:?}");
        let problem = crate::control::problem::Problem::from(refusal.clone());
        assert_eq!(problem.headers.iter().any(|(name, _)| name == "www-authenticate"), status == 401, "{refusal:?}");
        assert!(problem.detail.ends_with('.') && problem.detail == refusal.to_string(), "{refusal:?}");
    }
}

#[test]
fn a_service_is_an_operator_without_being_anybody() {
    // Upstream's own token, by client credentials: without the user's claim it is known by its client's id, and belongs to no workspace.
    // Whoever is no operator needs a user.
    let changes = json!({"operator_claim": "operator", "operator_value": "true", "user_claim": "email", "workspace": "acme",
        "roles_claim": "roles"});
    let named = |claims: Value| caller(changes.clone(), claims).map(|caller| caller.user.as_str().to_owned());
    assert_eq!(named(json!({"operator": true, "client_id": "up", "azp": "a", "sub": "s"})), Ok("up".to_owned()));
    assert_eq!(named(json!({"operator": true, "azp": "a", "sub": "s"})), Ok("a".to_owned()));
    assert_eq!(named(json!({"operator": true, "client_id": "not an id", "sub": "s"})), Ok("s".to_owned()));
    assert_eq!(
        named(json!({"operator": true, "email": "ada@acme", "client_id": "up", "roles": ["user"]})),
        Ok("ada@acme".to_owned())
    );
    for refused in
        [json!({"operator": false, "client_id": "up"}), json!({"client_id": "up"}), json!({"operator": true})]
    {
        assert_eq!(named(refused), Err(Refusal::NoClaim("email".into())));
    }
    let service = caller(changes.clone(), json!({"operator": true, "client_id": "up", "roles": ["owner"]})).unwrap();
    assert_eq!(service.in_workspace(&workspace("acme")), Err(Refusal::NoWorkspace), "whatever roles it says it has");
}
