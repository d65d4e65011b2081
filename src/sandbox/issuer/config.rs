//! Who may sign in, from where, and what their tokens say.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The OIDC issuer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IssuerConfig {
    /// The issuer's identifier, where clients reach it under another address than `https://<host>:<port>`; its endpoints are below it.
    pub url: Option<String>,
    /// The `aud` of access tokens: the API that they are for.
    pub audience: String,
    /// What the first key signs with.
    pub algorithm: SigningAlgorithm,
    /// Seconds that a token lives; zero or less makes tokens that are expired when they are issued.
    pub token_lifetime_s: i64,
    /// Seconds within which a code must be redeemed. RFC 6749 recommends 600 at most.
    pub code_lifetime_s: u64,
    /// The applications that people sign in to: public ones, which have no secret.
    pub clients: Vec<Client>,
    /// The people.
    pub personas: Vec<Persona>,
}

/// What a key signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2,048 bits. It takes half a second to find the primes of a key.
    RS256,
}

/// An application.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Its id, the `aud` of ID tokens.
    pub client_id: String,
    /// Where a code may be sent, compared byte for byte. Their origins may call the token endpoint from a browser.
    pub redirect_uris: Vec<String>,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Persona {
    /// What `login_hint` calls them.
    pub name: String,
    /// The `sub` of their tokens: the user's id in events.
    pub user: String,
    /// Their role in each workspace: the claim `workspaces`.
    #[serde(default)]
    pub workspaces: BTreeMap<String, String>,
    /// Whether they have the claim `operator`.
    #[serde(default)]
    pub operator: bool,
    /// How they signed in: the claim `acr`, for example `phr` for phishing-resistant. None without it.
    #[serde(default)]
    pub acr: Option<String>,
    /// Seconds that their sign-in lies back when a token is issued: the claim `auth_time`.
    #[serde(default)]
    pub auth_age_s: u64,
    /// More claims of their tokens, in place of those above where the names are the same; null takes one away.
    #[serde(default)]
    pub claims: Map<String, Value>,
}

impl Persona {
    fn new(name: &str, user: &str, workspaces: &[(&str, &str)]) -> Self {
        let workspaces = workspaces.iter().map(|(workspace, role)| ((*workspace).to_owned(), (*role).to_owned()));
        Self {
            name: name.to_owned(),
            user: user.to_owned(),
            workspaces: workspaces.collect(),
            operator: false,
            acr: None,
            auth_age_s: 0,
            claims: Map::new(),
        }
    }
}

impl Default for IssuerConfig {
    fn default() -> Self {
        let client = |client_id: &str, redirect_uris: &[&str]| Client {
            client_id: client_id.to_owned(),
            redirect_uris: redirect_uris.iter().map(|uri| (*uri).to_owned()).collect(),
        };
        Self {
            url: None,
            audience: "watchbell".to_owned(),
            algorithm: SigningAlgorithm::ES256,
            token_lifetime_s: 3_600,
            code_lifetime_s: 60,
            clients: vec![
                // For curl: nobody listens there, the code is read from the redirect.
                client("watchbell-cli", &["http://localhost/callback"]),
                client("watchbell-console", &["http://127.0.0.1:8081/console/", "http://localhost:8081/console/"]),
            ],
            // The people of config/demo.toml, and those whom a story needs besides.
            personas: vec![
                Persona::new("owner", "ada", &[("acme", "owner"), ("globex", "user")]),
                Persona::new("super_admin", "samira", &[("acme", "super_admin")]),
                Persona::new("admin", "benita", &[("acme", "admin")]),
                Persona::new("user", "jonas", &[("acme", "user")]),
                Persona::new("elsewhere", "hanako", &[("globex", "owner")]),
                Persona { operator: true, ..Persona::new("operator", "otto", &[]) },
            ],
        }
    }
}
