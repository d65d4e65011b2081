//! Who calls: from verified claims to a person with their workspaces and roles. Pure.
//!
//! A token without a user is refused whole. Everything else that is wrong in it concerns one workspace, so it is remembered there and
//! told when that workspace is asked for.
use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::claim::{Claim, texts};
use super::config::{AuthConfig, WithoutRoles};
use super::refusal::Refusal;
use super::role::{Action, Role, Target, may};
use crate::event::{Timestamp, UserId, WorkspaceId};

/// Who calls, as their token says. It exists only for a token whose signature, issuer, audience and times are right.
#[derive(Clone, PartialEq, Eq)]
pub struct Caller {
    /// The person: the id that upstream puts on Kafka, in each of their workspaces. Of a service that is an operator its client's id.
    pub user: UserId,
    /// Whether they may do what spans workspaces.
    pub operator: bool,
    /// When they last signed in themselves, if the issuer says so.
    pub auth_time: Option<Timestamp>,
    /// How they signed in, in the issuer's words.
    pub acr: Vec<String>,
    /// Whether that is one of the ways that are configured as phishing-resistant.
    pub phishing_resistant: bool,
    /// When the token was issued.
    pub issued_at: Timestamp,
    /// When the token expires or becomes too old, whichever is first.
    pub valid_until: Timestamp,
    memberships: BTreeMap<WorkspaceId, Result<Role, Refusal>>,
}

/// A person in one of their workspaces.
#[derive(Clone, PartialEq, Eq)]
pub struct Member {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The person.
    pub user: UserId,
    /// Their role there.
    pub role: Role,
}

impl Caller {
    /// The person in that workspace.
    ///
    /// # Errors
    /// [`Refusal::NoWorkspace`] if the workspace is not in the token; 403 if it is, without a role that is known.
    pub fn in_workspace(&self, workspace: &WorkspaceId) -> Result<Member, Refusal> {
        let role = self.memberships.get(workspace).cloned().unwrap_or(Err(Refusal::NoWorkspace))?;
        Ok(Member { workspace: workspace.clone(), user: self.user.clone(), role })
    }

    /// The workspaces in which the person has a role.
    pub fn workspaces(&self) -> impl Iterator<Item = (&WorkspaceId, Role)> {
        self.memberships.iter().filter_map(|(workspace, role)| Some((workspace, role.clone().ok()?)))
    }

    /// Nothing, for operators.
    ///
    /// # Errors
    /// [`Refusal::NotOperator`] for everybody else.
    pub fn require_operator(&self) -> Result<(), Refusal> {
        if self.operator { Ok(()) } else { Err(Refusal::NotOperator) }
    }
}

impl Member {
    /// Nothing, where the role allows it.
    ///
    /// # Errors
    /// [`Refusal::NotAllowed`] where it does not.
    pub fn require(&self, action: Action, target: Target) -> Result<(), Refusal> {
        if may(self.role, action, target) {
            Ok(())
        } else {
            Err(Refusal::NotAllowed { role: self.role, action, target })
        }
    }
}

/// What stands in a token stays out of logs.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("memberships", &self.memberships.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("role", &self.role).finish_non_exhaustive()
    }
}

/// What the claims mean, compiled from the configuration.
#[derive(Debug, Clone)]
pub(super) struct Meaning {
    user: Claim,
    memberships: Memberships,
    role_names: BTreeMap<String, Role>,
    without_roles: WithoutRoles,
    operator: Option<(Claim, String)>,
    acr: Claim,
    acr_phishing_resistant: Vec<String>,
}

/// Where workspaces and roles stand.
#[derive(Debug, Clone)]
enum Memberships {
    /// A map from workspace to role or roles.
    Map(Claim),
    /// One workspace, and a list of roles.
    List(Where, Claim),
}

#[derive(Debug, Clone)]
enum Where {
    Claim(Claim),
    Everybody(WorkspaceId),
}

/// The times of a token, already judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Validity {
    pub(super) issued_at: Timestamp,
    pub(super) valid_until: Timestamp,
    pub(super) auth_time: Option<Timestamp>,
}

impl Meaning {
    /// The error is a sentence that begins with the key.
    pub(super) fn new(config: &AuthConfig) -> Result<Self, String> {
        let claim = |key: &str, name: &str| Claim::new(name).map_err(|what| format!("{key} {what}"));
        let roles = claim("roles_claim", &config.roles_claim)?;
        let memberships = match (&config.workspace, &config.workspace_claim) {
            (Some(workspace), _) => {
                let workspace = WorkspaceId::new(workspace.as_str()).map_err(|error| format!("workspace {error}"))?;
                Memberships::List(Where::Everybody(workspace), roles)
            }
            (None, Some(name)) => Memberships::List(Where::Claim(claim("workspace_claim", name)?), roles),
            (None, None) => Memberships::Map(roles),
        };
        let operator = match (&config.operator_claim, &config.operator_value) {
            (Some(name), Some(value)) => Some((claim("operator_claim", name)?, value.clone())),
            _ => None,
        };
        Ok(Self {
            user: claim("user_claim", &config.user_claim)?,
            memberships,
            role_names: config.role_names.by_name(),
            without_roles: config.without_roles,
            operator,
            acr: claim("acr_claim", &config.acr_claim)?,
            acr_phishing_resistant: config.acr_phishing_resistant.clone(),
        })
    }

    /// Whom verified claims name.
    pub(super) fn caller(&self, claims: &Map<String, Value>, validity: Validity) -> Result<Caller, Refusal> {
        let holds = |(claim, value): &(Claim, String)| claim.of(claims).is_some_and(|found| says(found, value));
        let operator = self.operator.as_ref().is_some_and(holds);
        let (user, memberships) = match self.user.of(claims) {
            Some(found) => {
                let user = found.as_str().and_then(|text| UserId::new(text).ok());
                (user.ok_or_else(|| unreadable(&self.user))?, self.memberships(claims)?)
            }
            // A service's own token, by client credentials: nobody's, and in no workspace.
            None if operator => (service(claims).ok_or_else(|| no(&self.user))?, BTreeMap::new()),
            None => return Err(no(&self.user)),
        };
        let acr: Vec<String> =
            self.acr.of(claims).and_then(texts).unwrap_or_default().into_iter().map(str::to_owned).collect();
        Ok(Caller {
            user,
            operator,
            auth_time: validity.auth_time,
            phishing_resistant: acr.iter().any(|acr| self.acr_phishing_resistant.contains(acr)),
            acr,
            issued_at: validity.issued_at,
            valid_until: validity.valid_until,
            memberships,
        })
    }

    fn memberships(
        &self,
        claims: &Map<String, Value>,
    ) -> Result<BTreeMap<WorkspaceId, Result<Role, Refusal>>, Refusal> {
        match &self.memberships {
            Memberships::Map(claim) => {
                let Some(map) = claim.of(claims) else { return Ok(BTreeMap::new()) };
                let map = map.as_object().ok_or_else(|| unreadable(claim))?;
                // What is no id is no workspace of ours, and cannot be asked for.
                let known = map.iter().filter_map(|(id, roles)| Some((WorkspaceId::new(id.as_str()).ok()?, roles)));
                Ok(known.map(|(workspace, roles)| (workspace, self.role(claim, Some(roles)))).collect())
            }
            Memberships::List(place, claim) => {
                let workspace = match place {
                    Where::Everybody(workspace) => workspace.clone(),
                    Where::Claim(claim) => {
                        let Some(found) = claim.of(claims) else { return Ok(BTreeMap::new()) };
                        // A list is taken where it names one: with several it would be open where the roles hold.
                        let named = match texts(found).as_deref() {
                            Some([]) => return Ok(BTreeMap::new()),
                            Some([one]) => WorkspaceId::new(*one).ok(),
                            _ => None,
                        };
                        named.ok_or_else(|| unreadable(claim))?
                    }
                };
                Ok(BTreeMap::from([(workspace, self.role(claim, claim.of(claims)))]))
            }
        }
    }

    /// The highest role among what stands there. Names of something else beside it are no mistake: lists of groups are full of them.
    fn role(&self, claim: &Claim, found: Option<&Value>) -> Result<Role, Refusal> {
        let names = found.map(|found| texts(found).ok_or_else(|| unreadable(claim))).transpose()?;
        match (names.as_deref(), self.without_roles) {
            (None | Some([]), WithoutRoles::User) => Ok(Role::User),
            (None, WithoutRoles::Refuse) => Err(no(claim)),
            (Some(names), _) => {
                names.iter().filter_map(|name| self.role_names.get(*name)).max().copied().ok_or(Refusal::RoleUnknown)
            }
        }
    }
}

/// What a service is called whose token is nobody's: by the client's id (RFC 9068 §2.2, OpenID Connect Core §2), or the subject.
fn service(claims: &Map<String, Value>) -> Option<UserId> {
    let named = ["client_id", "azp", "sub"].into_iter().filter_map(|name| claims.get(name)?.as_str());
    named.filter_map(|text| UserId::new(text).ok()).next()
}

/// Whether a claim is the value or contains it. A truth is its word.
fn says(found: &Value, value: &str) -> bool {
    match found {
        Value::Bool(truth) => *truth && value == "true",
        found => texts(found).is_some_and(|texts| texts.contains(&value)),
    }
}

fn no(claim: &Claim) -> Refusal {
    Refusal::NoClaim(claim.name().clone())
}

fn unreadable(claim: &Claim) -> Refusal {
    Refusal::UnreadableClaim(claim.name().clone())
}
