//! Section `[auth]`: whose tokens count, and what their claims mean.
//!
//! There is no key that turns authentication off.
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::claim::Claim;
use super::role::Role;
use crate::event::WorkspaceId;
use crate::settings::{Problems, is_https_url};

/// Section `[auth]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    /// The issuer's identifier, exactly as it stands in `iss`. Required by `api`.
    pub issuer: Option<String>,
    /// One of these must be the token's audience. Required by `api`.
    #[serde(default)]
    pub audience: Vec<String>,
    /// The client as which a console signs people in; told to whoever asks where people sign in.
    pub console_client_id: Option<String>,
    /// The claim that holds the audience.
    pub audience_claim: String,
    /// Where the issuer's keys are; otherwise its discovery document says so.
    pub jwks_url: Option<String>,
    /// PEM file of the authorities to trust for both instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Signature algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// Seconds by which our clock and the issuer's may differ.
    pub leeway_s: u32,
    /// Seconds since `iat` after which a token is refused although it has not expired.
    pub max_token_age_s: u32,
    /// Longest token, in bytes.
    pub token_bytes_max: usize,
    /// The claim that is the user's id on Kafka.
    pub user_claim: String,
    /// The one workspace of this installation. Not with `workspace_claim`.
    pub workspace: Option<String>,
    /// The claim that is the workspace's id. Then `roles_claim` is a list of roles.
    pub workspace_claim: Option<String>,
    /// A list of roles, or without a workspace a map from workspace to role or roles.
    pub roles_claim: String,
    /// What somebody is who has a workspace but no role.
    pub without_roles: WithoutRoles,
    /// What the roles are called in tokens.
    pub role_names: RoleNames,
    /// The claim that makes somebody an operator, and what it must be or contain.
    pub operator_claim: Option<String>,
    /// See there.
    pub operator_value: Option<String>,
    /// The claim that says how somebody signed in.
    pub acr_claim: String,
    /// Its values that mean a phishing-resistant sign-in.
    pub acr_phishing_resistant: Vec<String>,
    /// Seconds between two fetches of the issuer's keys.
    pub jwks_ttl_s: u32,
    /// Seconds at least between two fetches, whatever tokens come.
    pub jwks_refetch_interval_s: u32,
    /// Seconds for which keys serve that could not be fetched again.
    pub jwks_max_stale_s: u32,
    /// Milliseconds that one fetch may take, discovery included.
    pub jwks_timeout_ms: u32,
    /// Most bytes of each document that is fetched.
    pub jwks_bytes_max: usize,
}

/// A signature algorithm that may be allowed. Symmetric ones and `none` are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[allow(missing_docs)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// What somebody is who has a workspace but no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WithoutRoles {
    /// Nobody: refused.
    Refuse,
    /// A user.
    User,
}

/// What the roles are called in tokens: any number of names for each.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RoleNames {
    /// Names of the role owner.
    pub owner: Vec<String>,
    /// Names of the role super admin.
    pub super_admin: Vec<String>,
    /// Names of the role admin.
    pub admin: Vec<String>,
    /// Names of the role user.
    pub user: Vec<String>,
}

impl RoleNames {
    fn each(&self) -> [(Role, &[String]); 4] {
        [
            (Role::Owner, &self.owner),
            (Role::SuperAdmin, &self.super_admin),
            (Role::Admin, &self.admin),
            (Role::User, &self.user),
        ]
    }

    /// The role of each name.
    pub(super) fn by_name(&self) -> BTreeMap<String, Role> {
        self.each().into_iter().flat_map(|(role, names)| names.iter().map(move |name| (name.clone(), role))).collect()
    }
}

/// A day, in seconds.
const DAY_S: u32 = 24 * 3_600;

impl AuthConfig {
    /// Everything that contradicts itself or cannot work.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        for (key, url) in [("issuer", &self.issuer), ("jwks_url", &self.jwks_url)] {
            let good = url.as_deref().is_none_or(|url| is_https_url(url) && !url.contains('#'));
            problems.require(good, &format!("{key} must be an address that begins with https://"));
        }
        problems.require(
            self.issuer.as_deref().is_none_or(|issuer| !issuer.contains('?')),
            "issuer must have no query: it is the identifier in the tokens' iss",
        );
        problems.require(!self.audience.iter().any(String::is_empty), "audience must not contain an empty text");
        problems.require(
            self.console_client_id.as_deref() != Some(""),
            "console_client_id must not be empty: leave it out if there is no console",
        );
        problems.require(
            !self.algorithms.is_empty(),
            "algorithms is empty: list the signature algorithms of your issuer, such as RS256",
        );
        problems.require(self.leeway_s <= 300, "leeway_s must be at most 300");
        problems.require(
            (60..=7 * DAY_S).contains(&self.max_token_age_s),
            "max_token_age_s must be between 60 and 604800: so long does somebody keep a role that was taken away",
        );
        let kib_64 = 64 * 1024;
        problems
            .require((512..=kib_64).contains(&self.token_bytes_max), "token_bytes_max must be between 512 and 65536");
        self.claim_problems(&mut problems);
        self.role_problems(&mut problems);
        let ttl = (10..=DAY_S).contains(&self.jwks_ttl_s);
        problems.require(ttl, "jwks_ttl_s must be between 10 and 86400");
        problems.require(
            (1..=300).contains(&self.jwks_refetch_interval_s),
            "jwks_refetch_interval_s must be between 1 and 300",
        );
        problems.require(self.jwks_max_stale_s <= 7 * DAY_S, "jwks_max_stale_s must be at most 604800");
        problems
            .require((100..=60_000).contains(&self.jwks_timeout_ms), "jwks_timeout_ms must be between 100 and 60000");
        let bytes = (1024..=4 * 1024 * 1024).contains(&self.jwks_bytes_max);
        problems.require(bytes, "jwks_bytes_max must be between 1024 and 4194304");
        problems
    }

    /// What an `api` cannot do without.
    pub fn missing(&self) -> Problems {
        let mut problems = Problems::default();
        problems
            .require(self.issuer.is_some(), "issuer is missing: the address of your OpenID Connect issuer, as in iss");
        problems.require(!self.audience.is_empty(), "audience is missing: what your issuer puts into aud for this API");
        problems
    }

    fn claim_problems(&self, problems: &mut Problems) {
        let required = [
            ("audience_claim", &self.audience_claim),
            ("user_claim", &self.user_claim),
            ("roles_claim", &self.roles_claim),
            ("acr_claim", &self.acr_claim),
        ];
        let optional = [("workspace_claim", &self.workspace_claim), ("operator_claim", &self.operator_claim)];
        let optional = optional.into_iter().filter_map(|(key, claim)| Some((key, claim.as_ref()?)));
        for (key, claim) in required.into_iter().chain(optional) {
            if let Err(what) = Claim::new(claim) {
                problems.add(format!("{key} {what}"));
            }
        }
        if self.workspace.is_some() && self.workspace_claim.is_some() {
            problems.add("workspace and workspace_claim are both set; remove one");
        }
        if let Some(Err(error)) = self.workspace.as_deref().map(WorkspaceId::new) {
            problems.add(format!("workspace {error}"));
        }
        match (&self.operator_claim, &self.operator_value) {
            (Some(_), None) => problems.add("operator_value is missing: what operator_claim must be or contain"),
            (None, Some(_)) => problems.add("operator_claim is missing: the claim that operator_value stands in"),
            _ => problems.require(
                self.operator_value.as_deref() != Some(""),
                "operator_value must not be empty: it makes somebody an operator",
            ),
        }
        let empty = self.acr_phishing_resistant.iter().any(String::is_empty);
        problems.require(!empty, "acr_phishing_resistant must not contain an empty text");
    }

    fn role_problems(&self, problems: &mut Problems) {
        let names: Vec<_> = self.role_names.each().into_iter().flat_map(|(_, names)| names).collect();
        problems.require(!names.is_empty(), "role_names are all empty, so nobody could have a role");
        for (at, name) in names.iter().enumerate() {
            if name.is_empty() {
                problems.add("role_names must not contain an empty text");
            } else if names[..at].contains(name) {
                problems.add(format!("role_names has {name} twice; a name is one role's"));
            }
        }
    }

    /// How long keys are good since their fetch began.
    pub(super) fn keys_good_for(&self) -> Duration {
        Duration::from_secs(u64::from(self.jwks_ttl_s) + u64::from(self.jwks_max_stale_s))
    }
}
