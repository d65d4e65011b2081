//! What the rules about phones refuse, as problems.
use axum::http::{StatusCode, header};

use crate::control::condition::changed_meanwhile;
use crate::control::input::not_found;
use crate::control::problem::Problem;
use crate::people::AnswerRefusal;
use crate::people::enrolment::{
    ChangeRefusal, IssueRefusal, PromotionRefusal, ReachRefusal, RegistrationRefusal, ReportRefusal, RollRefusal, Spent,
};
use crate::people::signed::Flaw;

/// A signed statement that does not count.
pub(in crate::control) fn statement_refused(flaw: Flaw) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-statement", "Statement refused", flaw.to_string())
        .with("flaw", flaw.name())
}

fn conflict(kind: &'static str, title: &'static str, sentence: String) -> Problem {
    Problem::new(StatusCode::CONFLICT, kind, title, sentence)
}

fn unknown(sentence: &str) -> Problem {
    not_found("no-such-device", sentence)
}

fn wrong(sentence: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-body", "Wrong body", sentence)
}

/// Somebody has to sign in again for what they want.
pub(in crate::control) fn sign_in_too_old(sentence: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "sign-in-too-old", "Sign in again", sentence)
}

/// What may be used once and does not count.
fn spent(what: Spent, sentence: String) -> Problem {
    match what {
        Spent::Unknown => conflict("not-known", "Not known", sentence),
        Spent::Used => conflict("used-before", "Used before", sentence),
        Spent::Expired => conflict("took-too-long", "Took too long", sentence),
    }
}

impl From<RegistrationRefusal> for Problem {
    fn from(refusal: RegistrationRefusal) -> Self {
        let sentence = refusal.to_string();
        match refusal {
            RegistrationRefusal::Challenge(what) => spent(what, sentence),
            RegistrationRefusal::KeyRetired => conflict("key-retired", "Key retired", sentence),
            RegistrationRefusal::KeyOfAnother => conflict("key-of-another", "Key of another account", sentence),
            RegistrationRefusal::TooMany { max } => {
                conflict("too-many-devices", "Too many devices", sentence).with("max", max)
            }
            RegistrationRefusal::KeyReused => conflict("idempotency-key-reused", "Idempotency key reused", sentence),
            RegistrationRefusal::Invalid(_) => wrong(sentence),
        }
    }
}

impl From<IssueRefusal> for Problem {
    fn from(refusal: IssueRefusal) -> Self {
        let sentence = refusal.to_string();
        match refusal {
            IssueRefusal::UnknownDevice => unknown(&sentence),
            IssueRefusal::NoToken => conflict("no-push-token", "No push token", sentence),
            IssueRefusal::TooMany => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-attempts", "Too many attempts", sentence)
                    .with_header(header::RETRY_AFTER, "60")
            }
        }
    }
}

impl From<ReachRefusal> for Problem {
    fn from(refusal: ReachRefusal) -> Self {
        let sentence = refusal.to_string();
        match refusal {
            ReachRefusal::UnknownDevice => unknown(&sentence),
            ReachRefusal::Nonce(what) => spent(what, sentence),
        }
    }
}

impl From<ReportRefusal> for Problem {
    fn from(refusal: ReportRefusal) -> Self {
        let sentence = refusal.to_string();
        match refusal {
            ReportRefusal::Stale(_) => changed_meanwhile(&sentence),
            ReportRefusal::UnknownDevice => unknown(&sentence),
            ReportRefusal::Invalid(_) => wrong(sentence),
        }
    }
}

impl From<RollRefusal> for Problem {
    fn from(refusal: RollRefusal) -> Self {
        let sentence = refusal.to_string();
        match refusal {
            RollRefusal::UnknownDevice => unknown(&sentence),
            RollRefusal::NotProved => conflict("key-not-proved", "New key not proved", sentence),
            RollRefusal::KeyTaken => conflict("key-taken", "Key taken", sentence),
            RollRefusal::TooMany => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-attempts", "Too many attempts", sentence)
                    .with_header(header::RETRY_AFTER, "3600")
            }
        }
    }
}

impl From<ChangeRefusal> for Problem {
    fn from(refusal: ChangeRefusal) -> Self {
        let sentence = refusal.to_string();
        match refusal {
            ChangeRefusal::NoSuchDevice => unknown(&sentence),
            ChangeRefusal::Stale(_) => changed_meanwhile(&sentence),
            ChangeRefusal::Name => wrong(sentence),
            ChangeRefusal::LastApprover => conflict("last-approver", "Last phone that can approve", sentence),
        }
    }
}

impl From<PromotionRefusal> for Problem {
    fn from(refusal: PromotionRefusal) -> Self {
        let sentence = refusal.to_string();
        let forbidden = |kind, title| Self::new(StatusCode::FORBIDDEN, kind, title, sentence.clone());
        match refusal {
            PromotionRefusal::Stale(_) => changed_meanwhile(&sentence),
            PromotionRefusal::UnknownDevice => unknown(&sentence),
            PromotionRefusal::NotReachable => conflict("not-reachable", "Not reachable", sentence),
            PromotionRefusal::WayClosed { way } => forbidden("way-closed", "Not in this way").with("way", way.name()),
            PromotionRefusal::NoApprover => forbidden("no-approver", "Not by this phone"),
            PromotionRefusal::Digits(what) | PromotionRefusal::Ticket(what) => spent(what, sentence),
            PromotionRefusal::DigitsWrong { left } => {
                conflict("digits-wrong", "Wrong digits", sentence).with("left", left)
            }
            PromotionRefusal::SignInTooOld => sign_in_too_old(&sentence),
            PromotionRefusal::SignInAlone => forbidden("sign-in-alone", "Signing in is not enough"),
        }
    }
}

impl From<AnswerRefusal> for Problem {
    fn from(refusal: AnswerRefusal) -> Self {
        let sentence = refusal.to_string();
        match refusal {
            AnswerRefusal::NotProjected => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "request-not-here", "Not here yet", sentence)
                    .with_header(header::RETRY_AFTER, "1")
            }
            AnswerRefusal::UnknownDevice => {
                Self::new(StatusCode::UNAUTHORIZED, "unknown-phone", "Unknown phone", sentence)
            }
            AnswerRefusal::CannotApprove => {
                Self::new(StatusCode::FORBIDDEN, "cannot-approve", "May not approve", sentence)
            }
            AnswerRefusal::Answered { verb, device, device_name, at } => {
                conflict("answered", "Answered already", sentence)
                    .with("verb", verb.name())
                    .with("device", device.as_str())
                    .with("device_name", device_name)
                    .with("at", serde_json::json!(crate::control::view::Moment(at)))
            }
            AnswerRefusal::Closed { reason } => {
                conflict("request-closed", "Request closed", sentence).with("reason", reason.name())
            }
            AnswerRefusal::NumberMissing => conflict("number-missing", "Number missing", sentence),
            AnswerRefusal::NumberWrong { left } => {
                conflict("number-wrong", "Wrong number", sentence).with("left", left)
            }
            AnswerRefusal::NumbersUsedUp => conflict("numbers-used-up", "Too many wrong numbers", sentence),
        }
    }
}
