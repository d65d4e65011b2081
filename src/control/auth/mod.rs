//! Sign-in: from a bearer token to who calls and what they may do.
//!
//! | step | where | pure |
//! | --- | --- | --- |
//! | the request's token | [`mod@extract`] | |
//! | its form, algorithm, signature, issuer, audience, times | `token` | yes, given keys and time |
//! | the issuer's keys | `cache`, `fetch`, `keys` | no |
//! | person, workspaces, roles | [`caller`] | yes |
//! | what a role may do to whom | [`role`] | yes |
//! | what is refused, and how that is told | [`refusal`] | yes |
//!
//! ```text
//! async fn reset(member: Member, …) -> Result<…, Problem> {
//!     member.require(Action::ResetDevices, Target::another(last_known_role))?;
//! ```
//!
//! People sign in at an OpenID Connect issuer that the operator names; this verifies what it signed and keeps no session. There is no switch
//! that lets anybody in without. Phones have keys of their own and do not come through here. A token that was taken back is good until it
//! expires, or is older than `auth.max_token_age_s`, unless somebody says so: [`crate::control`] asks who was told that the session is over.
//!
//! It fails with [`Refusal`]: 401 for a token that does not count, 403 and 404 for a person who may not, 503 while the issuer's keys
//! cannot be had. No token and no claim stands in a refusal or a log.
mod cache;
pub mod caller;
mod claim;
pub mod config;
pub mod extract;
mod fetch;
mod keys;
pub mod refusal;
pub mod role;
mod token;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::caller::{Caller, Member};
pub use self::config::AuthConfig;
pub use self::refusal::Refusal;
pub use self::role::{Action, Role, Target, may};

use self::cache::{KeyCache, Pace};
use self::caller::Meaning;
use self::fetch::Fetch;
use self::token::Rules;
use crate::seam::Clock;

/// Counts a token that is refused.
pub(super) fn counted(refusal: Refusal) -> Refusal {
    metrics::counter!("watchbell_sign_ins_refused_total", "reason" => refusal.kind()).increment(1);
    tracing::debug!(reason = refusal.kind(), "a token is refused");
    refusal
}

/// Where people sign in, as a page has to know it before anybody has a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInAt {
    /// The issuer's identifier.
    pub issuer: String,
    /// One of these must be the token's audience.
    pub audience: Vec<String>,
    /// The console's client, if one was configured.
    pub client_id: Option<String>,
}

/// Verifies tokens. One for a process.
pub struct Authenticator {
    rules: Rules,
    meaning: Meaning,
    keys: KeyCache,
    sign_in_at: SignInAt,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Authenticator {
    /// Begins to fetch the issuer's keys on the current Tokio runtime, and returns without waiting for them.
    ///
    /// # Errors
    /// A sentence that begins with a key of the section, where the section is not whole or its `ca_file` cannot be used.
    pub fn start(config: &AuthConfig, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let (rules, meaning) = (Rules::new(config)?, Meaning::new(config)?);
        let fetch = Arc::new(Fetch::new(config)?);
        let keys = KeyCache::start(Pace::new(config), move || {
            let fetch = Arc::clone(&fetch);
            async move { fetch.keys().await }
        });
        let sign_in_at = SignInAt {
            issuer: config.issuer.clone().unwrap_or_default(),
            audience: config.audience.clone(),
            client_id: config.console_client_id.clone(),
        };
        Ok(Self { rules, meaning, keys, sign_in_at, clock })
    }

    /// Whether a whole section could be used, without asking the issuer.
    ///
    /// # Errors
    /// A sentence that begins with a key of the section.
    pub fn check(config: &AuthConfig) -> Result<(), String> {
        Rules::new(config)?;
        Meaning::new(config)?;
        Fetch::new(config).map(drop)
    }

    /// Who a token says calls. It waits for the issuer only where it names a key that is not known yet.
    ///
    /// # Errors
    /// [`Refusal`], which is counted here.
    pub async fn authenticate(&self, token: &str) -> Result<Caller, Refusal> {
        self.verify(token).await.map_err(counted)
    }

    async fn verify(&self, token: &str) -> Result<Caller, Refusal> {
        let header = self.rules.header(token)?;
        let keys = self.keys.find(header.kid.as_deref(), header.algorithm).await?;
        let claims = Rules::claims(token, &header, &keys)?;
        let validity = self.rules.judge(&claims, self.clock.now())?;
        self.meaning.caller(&claims, validity)
    }

    /// Where people sign in.
    pub fn sign_in_at(&self) -> &SignInAt {
        &self.sign_in_at
    }

    /// Why nobody can sign in at this moment, if so: for readiness.
    pub fn trouble(&self) -> Option<String> {
        self.keys.trouble()
    }
}
