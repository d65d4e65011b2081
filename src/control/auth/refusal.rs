//! Why somebody is not let in, or not let do something: a closed set, each with a status, a type for programs and a sentence for people.
use std::sync::Arc;

use axum::http::{StatusCode, header};

use super::role::{Action, Role, Target};
use crate::control::problem::Problem;

/// Why. It carries names of claims, never their values, and nothing of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The request has no bearer token.
    NoToken,
    /// What came is no signed token, is longer than allowed, or came more than once.
    NotAToken,
    /// It is another kind of token: an ID token says `JWT` too, but a logout token or a proof does not.
    WrongKind,
    /// Its header has `crit`: extensions that must be understood, of which this service knows none.
    CriticalExtension,
    /// Its algorithm is not among `auth.algorithms`.
    AlgorithmNotAllowed,
    /// The issuer publishes no key of this name for this algorithm.
    UnknownKey,
    /// The signature is not the key's.
    WrongSignature,
    /// It was issued by somebody else.
    WrongIssuer,
    /// It was issued for something else.
    WrongAudience,
    /// Its `exp` has passed.
    Expired,
    /// Its `nbf` or `iat` lies in the future.
    NotYetValid,
    /// It was issued longer ago than `auth.max_token_age_s`.
    TooOld,
    /// The person's sessions were ended in this workspace after it was issued.
    SessionEnded,
    /// A claim that every token has to have is missing or unreadable: `exp`, `iat`.
    NoTime(&'static str),
    /// The issuer's keys cannot be had: neither new ones nor ones that are recent enough.
    KeysUnavailable {
        /// Seconds after which another try makes sense.
        retry_after_s: u64,
    },
    /// A configured claim is not in the token.
    NoClaim(Arc<str>),
    /// A configured claim is not of the form that it has to have.
    UnreadableClaim(Arc<str>),
    /// None of the token's roles in this workspace is one that this service knows.
    RoleUnknown,
    /// The workspace is not in the token.
    NoWorkspace,
    /// The role does not allow it.
    NotAllowed {
        /// Whose.
        role: Role,
        /// What was wanted.
        action: Action,
        /// To whom.
        target: Target,
    },
    /// Only operators may, and the token says of nobody that it is one.
    NotOperator,
}

impl Refusal {
    /// The answer's status.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NoToken
            | Self::NotAToken
            | Self::WrongKind
            | Self::CriticalExtension
            | Self::AlgorithmNotAllowed
            | Self::UnknownKey
            | Self::WrongSignature
            | Self::WrongIssuer
            | Self::WrongAudience
            | Self::Expired
            | Self::NotYetValid
            | Self::TooOld
            | Self::SessionEnded
            | Self::NoTime(_) => StatusCode::UNAUTHORIZED,
            Self::NoClaim(_)
            | Self::UnreadableClaim(_)
            | Self::RoleUnknown
            | Self::NotAllowed { .. }
            | Self::NotOperator => StatusCode::FORBIDDEN,
            Self::NoWorkspace => StatusCode::NOT_FOUND,
            Self::KeysUnavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What it is to a program; also the metric's label.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoToken => "no-token",
            Self::NotAToken => "not-a-token",
            Self::WrongKind => "wrong-kind-of-token",
            Self::CriticalExtension => "critical-extension",
            Self::AlgorithmNotAllowed => "algorithm-not-allowed",
            Self::UnknownKey => "unknown-key",
            Self::WrongSignature => "wrong-signature",
            Self::WrongIssuer => "wrong-issuer",
            Self::WrongAudience => "wrong-audience",
            Self::Expired => "token-expired",
            Self::NotYetValid => "token-not-yet-valid",
            Self::TooOld => "token-too-old",
            Self::SessionEnded => "session-ended",
            Self::NoTime(_) => "token-without-time",
            Self::KeysUnavailable { .. } => "keys-unavailable",
            Self::NoClaim(_) => "no-claim",
            Self::UnreadableClaim(_) => "unreadable-claim",
            Self::RoleUnknown => "role-unknown",
            Self::NoWorkspace => "no-workspace",
            Self::NotAllowed { .. } => "not-allowed",
            Self::NotOperator => "not-operator",
        }
    }

    /// What happened and what to do, for people.
    pub fn sentence(&self) -> String {
        let text = match self {
            Self::NoToken => "You are not signed in. Sign in and send the access token as a bearer token.",
            Self::NotAToken => "What was sent as a sign-in token is none. Sign in again.",
            Self::WrongKind => "What was sent is another kind of token. Send the access token.",
            Self::CriticalExtension => "The sign-in token demands an extension that is not understood here.",
            Self::AlgorithmNotAllowed => "The sign-in token is signed in a way that is not accepted here.",
            Self::UnknownKey => {
                "The sign-in token is signed with a key that its issuer does not publish. Sign in again."
            }
            Self::WrongSignature => "The sign-in token's signature is wrong. Sign in again.",
            Self::WrongIssuer => {
                "The sign-in token comes from another place than the one where people of this service sign in."
            }
            Self::WrongAudience => "The sign-in token was issued for another service.",
            Self::Expired => "Your sign-in has expired. Sign in again.",
            Self::NotYetValid => "Your sign-in is not valid yet. If this lasts, the clocks of the servers differ.",
            Self::TooOld => "Your sign-in is too old for this service. Sign in again, or renew the token.",
            Self::SessionEnded => "Your sign-ins from before were ended here. Sign in again.",
            Self::NoTime(claim) => {
                return format!("The sign-in token has no readable {claim}, which every token needs here.");
            }
            Self::KeysUnavailable { .. } => "Your sign-in cannot be checked at the moment. Try again in a while.",
            Self::NoClaim(claim) => {
                return format!("Your sign-in token has no claim {claim}. Ask whoever runs your sign-in to add it.");
            }
            Self::UnreadableClaim(claim) => {
                return format!(
                    "The claim {claim} of your sign-in token has a form that is not understood here. Ask whoever runs your sign-in."
                );
            }
            Self::RoleUnknown => "Your role in this workspace is none that this service knows. Ask an administrator.",
            Self::NoWorkspace => "There is no such workspace for you.",
            Self::NotAllowed { action: Action::Enrol | Action::Answer, target: Target::Another(_), .. } => {
                "Nobody may enrol a device or answer a request for somebody else."
            }
            Self::NotAllowed { action: Action::IssueTicket, target: Target::Oneself, .. } => {
                "Nobody may issue a ticket to themselves. Ask somebody who administers this workspace."
            }
            Self::NotAllowed { role, action, target: Target::Another(other) } => {
                let (role, words, other) = (role.words(), action.words(), other.words());
                return format!(
                    "Your role in this workspace ({role}) does not allow you to {words}: they are another person's ({other})."
                );
            }
            Self::NotAllowed { role, action, .. } => {
                return format!(
                    "Your role in this workspace ({}) does not allow you to {}.",
                    role.words(),
                    action.words()
                );
            }
            Self::NotOperator => "Only operators of the service may do this.",
        };
        text.to_owned()
    }

    const fn title(&self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "Not signed in",
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::NOT_FOUND => "Not found",
            _ => "Not available",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.sentence())
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let problem = Self::new(refusal.status(), refusal.kind(), refusal.title(), refusal.sentence());
        match &refusal {
            // RFC 6750 §3.1: without a token no error code.
            Refusal::NoToken => problem.with_header(header::WWW_AUTHENTICATE, "Bearer realm=\"watchbell\""),
            Refusal::KeysUnavailable { retry_after_s } => {
                problem.with_header(header::RETRY_AFTER, &retry_after_s.to_string())
            }
            refusal if refusal.status() == StatusCode::UNAUTHORIZED => {
                let kind = refusal.kind();
                let value =
                    format!("Bearer realm=\"watchbell\", error=\"invalid_token\", error_description=\"{kind}\"");
                problem.with_header(header::WWW_AUTHENTICATE, &value)
            }
            _ => problem,
        }
    }
}
