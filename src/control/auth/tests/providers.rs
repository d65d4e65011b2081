//! The usual providers' tokens, in the shapes that their documentation shows, each with the keys that read it.
use super::super::role::Role;
use super::super::token::Rules;
use super::*;

/// A provider: the section's keys, the claims of one of its access tokens, and who that is.
struct Row {
    provider: &'static str,
    keys: Value,
    claims: Value,
    user: &'static str,
    workspace: &'static str,
    role: Role,
}

const NOW_S: i64 = 1_800_000_000;

fn row(
    provider: &'static str,
    keys: Value,
    claims: Value,
    (user, workspace, role): (&'static str, &'static str, Role),
) -> Row {
    Row { provider, keys, claims, user, workspace, role }
}

const GUID: &str = "690222be-ff1a-4d56-abd1-7e4f7d38e474";
const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

/// Issued a minute ago, good for four more.
fn times(claims: Value) -> Value {
    let mut claims = object(claims);
    claims.insert("iat".to_owned(), (NOW_S - 60).into());
    claims.insert("exp".to_owned(), (NOW_S + 240).into());
    Value::Object(claims)
}

fn rows() -> Vec<Row> {
    [keycloak(), auth0(), entra(), okta_and_cognito(), google_and_ours()].into_iter().flatten().collect()
}

fn keycloak() -> Vec<Row> {
    vec![
        row(
            "Keycloak, realm roles, one realm for each installation",
            json!({"issuer": "https://kc.example/realms/main", "audience": ["watchbell"], "workspace": "acme", "roles_claim": "/realm_access/roles",
                   "role_names": {"owner": ["wb-owner"], "super_admin": [], "admin": ["wb-admin"], "user": ["wb-user"]}}),
            times(
                json!({"iss": "https://kc.example/realms/main", "aud": ["watchbell", "account"], "sub": GUID, "typ": "Bearer", "azp": "console",
                   "acr": "1", "realm_access": {"roles": ["offline_access", "uma_authorization", "wb-admin", "default-roles-main"]},
                   "resource_access": {"account": {"roles": ["manage-account"]}}}),
            ),
            (GUID, "acme", Role::Admin),
        ),
        row(
            "Keycloak, client roles, the tenant as an attribute",
            json!({"issuer": "https://kc.example/realms/main", "audience": ["watchbell"], "workspace_claim": "tenant",
                   "roles_claim": "/resource_access/watchbell-api/roles", "user_claim": "preferred_username"}),
            times(
                json!({"iss": "https://kc.example/realms/main", "aud": "watchbell", "sub": GUID, "preferred_username": "ada", "tenant": ["acme"],
                   "resource_access": {"watchbell-api": {"roles": ["owner", "user"]}}}),
            ),
            ("ada", "acme", Role::Owner),
        ),
    ]
}

fn auth0() -> Vec<Row> {
    vec![
        row(
            "Auth0, namespaced roles, organizations",
            json!({"issuer": "https://acme.eu.auth0.com/", "audience": ["https://api.watchbell.example"], "workspace_claim": "org_id",
                   "roles_claim": "https://watchbell.example/roles"}),
            times(
                json!({"iss": "https://acme.eu.auth0.com/", "sub": "auth0|66f1", "aud": ["https://api.watchbell.example", "https://acme.eu.auth0.com/userinfo"],
                   "azp": "client", "scope": "openid profile", "org_id": "org_9Kq", "permissions": ["read:x"], "https://watchbell.example/roles": ["super_admin"]}),
            ),
            ("auth0|66f1", "org_9Kq", Role::SuperAdmin),
        ),
        row(
            "Auth0, a namespaced map of workspaces",
            json!({"issuer": "https://acme.eu.auth0.com/", "audience": ["https://api.watchbell.example"], "roles_claim": "https://watchbell.example/workspaces"}),
            times(
                json!({"iss": "https://acme.eu.auth0.com/", "sub": "google-oauth2|1", "aud": "https://api.watchbell.example",
                   "https://watchbell.example/workspaces": {"acme": ["user", "owner"], "globex": "user"}}),
            ),
            ("google-oauth2|1", "acme", Role::Owner),
        ),
    ]
}

fn entra() -> Vec<Row> {
    vec![
        row(
            "Entra ID, app roles, the tenant as workspace; sub differs in each application, oid does not",
            json!({"issuer": format!("https://login.microsoftonline.com/{TENANT}/v2.0"), "audience": ["api-client-id"], "user_claim": "oid",
                   "workspace_claim": "tid", "roles_claim": "roles", "acr_claim": "acrs", "acr_phishing_resistant": ["c1"],
                   "role_names": {"owner": ["Watchbell.Owner"], "super_admin": [], "admin": ["Watchbell.Admin"], "user": ["Watchbell.User"]}}),
            times(
                json!({"iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"), "aud": "api-client-id", "ver": "2.0", "sub": "pairwise",
                   "oid": GUID, "tid": TENANT, "scp": "access", "acrs": ["p1", "c1"], "roles": ["Watchbell.Admin"], "nbf": NOW_S - 60}),
            ),
            (GUID, TENANT, Role::Admin),
        ),
        row(
            "Entra ID, groups by their ids, who is in none of ours being a user",
            json!({"issuer": format!("https://login.microsoftonline.com/{TENANT}/v2.0"), "audience": ["api-client-id"], "user_claim": "oid",
                   "workspace_claim": "tid", "roles_claim": "groups", "without_roles": "user",
                   "role_names": {"owner": ["9c2d2b1e-0000-4000-8000-000000000001"], "super_admin": [], "admin": [], "user": []}}),
            times(
                json!({"iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"), "aud": "api-client-id", "sub": "pairwise", "oid": GUID, "tid": TENANT,
                   "groups": ["00000000-1111-4222-8333-444444444444", "9c2d2b1e-0000-4000-8000-000000000001"]}),
            ),
            (GUID, TENANT, Role::Owner),
        ),
    ]
}

fn okta_and_cognito() -> Vec<Row> {
    vec![
        row(
            "Okta, a groups claim of a custom authorization server",
            json!({"issuer": "https://acme.okta.com/oauth2/default", "audience": ["api://watchbell"], "workspace": "acme", "roles_claim": "groups",
                   "user_claim": "uid", "role_names": {"owner": ["wb-owners"], "super_admin": ["wb-super"], "admin": ["wb-admins"], "user": ["Everyone"]}}),
            times(
                json!({"ver": 1, "jti": "AT.x", "iss": "https://acme.okta.com/oauth2/default", "aud": "api://watchbell", "sub": "ada@acme.example",
                   "cid": "client", "uid": "00u5t60iloOHN9pBi0h7", "scp": ["openid"], "auth_time": NOW_S - 90, "groups": ["Everyone", "wb-super"]}),
            ),
            ("00u5t60iloOHN9pBi0h7", "acme", Role::SuperAdmin),
        ),
        row(
            "Cognito, access token: the client in place of an audience",
            json!({"issuer": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab1", "audience": ["client-1"], "audience_claim": "client_id",
                   "workspace": "acme", "roles_claim": "cognito:groups"}),
            times(
                json!({"sub": GUID, "cognito:groups": ["user", "admin"], "iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab1", "version": 2,
                   "client_id": "client-1", "token_use": "access", "scope": "openid", "auth_time": NOW_S - 60, "username": "ada"}),
            ),
            (GUID, "acme", Role::Admin),
        ),
        row(
            "Cognito, ID token: custom attributes",
            json!({"issuer": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab1", "audience": ["client-1"], "workspace_claim": "custom:tenant",
                   "roles_claim": "custom:role"}),
            times(
                json!({"sub": GUID, "custom:tenant": "acme", "custom:role": "owner", "iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab1",
                   "aud": "client-1", "token_use": "id", "cognito:username": "ada"}),
            ),
            (GUID, "acme", Role::Owner),
        ),
    ]
}

fn google_and_ours() -> Vec<Row> {
    vec![
        row(
            "Google, ID token (its access tokens are opaque): the hosted domain as workspace, no roles",
            json!({"issuer": "https://accounts.google.com", "audience": ["1.apps.googleusercontent.com"], "workspace_claim": "hd", "roles_claim": "roles",
                   "without_roles": "user"}),
            times(
                json!({"iss": "https://accounts.google.com", "azp": "1.apps.googleusercontent.com", "aud": "1.apps.googleusercontent.com",
                   "sub": "10769150350006150715", "hd": "acme.example", "email_verified": true}),
            ),
            ("10769150350006150715", "acme.example", Role::User),
        ),
        row(
            "Firebase Authentication and Identity Platform, custom claims",
            json!({"issuer": "https://securetoken.google.com/project", "audience": ["project"], "workspace_claim": "/firebase/tenant", "roles_claim": "role"}),
            times(
                json!({"iss": "https://securetoken.google.com/project", "aud": "project", "sub": "uid1", "user_id": "uid1", "role": "admin",
                   "firebase": {"sign_in_provider": "password", "tenant": "acme-1"}}),
            ),
            ("uid1", "acme-1", Role::Admin),
        ),
        row(
            "the sandbox, as shipped",
            json!({"issuer": "https://127.0.0.1:2200", "audience": ["watchbell"]}),
            times(
                json!({"iss": "https://127.0.0.1:2200", "aud": "watchbell", "sub": "benita", "workspaces": {"acme": "admin"}}),
            ),
            ("benita", "acme", Role::Admin),
        ),
    ]
}

#[test]
fn the_usual_providers_are_understood() {
    // Each shape with its keys yields the person, the workspace and the role; and no token of one passes for another's.
    let now = Timestamp::from_secs(NOW_S);
    let rows = rows();
    for row in &rows {
        let config = config(row.keys.clone());
        let validity = Rules::new(&config).unwrap().judge(&object(row.claims.clone()), now);
        let validity = validity.unwrap_or_else(|refusal| panic!("{}: {refusal}", row.provider));
        let caller = Meaning::new(&config).unwrap().caller(&object(row.claims.clone()), validity).unwrap();
        assert_eq!(caller.user.as_str(), row.user, "{}", row.provider);
        let workspaces: Vec<_> = caller.workspaces().map(|(id, role)| (id.as_str(), role)).collect();
        assert!(workspaces.contains(&(row.workspace, row.role)), "{}: {workspaces:?}", row.provider);
        assert_eq!(caller.in_workspace(&workspace("another")).unwrap_err(), Refusal::NoWorkspace, "{}", row.provider);
        assert_eq!(caller.phishing_resistant, row.provider.starts_with("Entra ID, app roles"), "{}", row.provider);
        for other in rows.iter().filter(|other| other.claims["iss"] != row.claims["iss"]) {
            let refused = Rules::new(&config).unwrap().judge(&object(other.claims.clone()), now).unwrap_err();
            assert_eq!(refused, Refusal::WrongIssuer, "{} with {}", row.provider, other.provider);
        }
    }
}

#[test]
fn an_id_token_is_no_access_token() {
    // Cognito's two kinds differ by where the client stands, the others' by their audience: one does not pass for the other.
    let now = Timestamp::from_secs(NOW_S);
    let rows = rows();
    let cognito: Vec<_> = rows.iter().filter(|row| row.provider.starts_with("Cognito")).collect();
    for (keys, claims) in [(&cognito[0].keys, &cognito[1].claims), (&cognito[1].keys, &cognito[0].claims)] {
        let judged = Rules::new(&config(keys.clone())).unwrap().judge(&object(claims.clone()), now);
        assert_eq!(judged.unwrap_err(), Refusal::WrongAudience);
    }
}
