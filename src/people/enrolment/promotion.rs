//! The four ways from a device that may receive to one that may approve.
use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::{EnrolmentRules, SingleUse, Spent, Stale, WRONG_DIGITS_MAX, Way, judge_single_use};
use crate::event::Timestamp;
use crate::people::{DeviceState, Enrolled, MatchNumber};

/// The device that is to be promoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What its enrolment says.
    pub enrolled: Enrolled,
    /// Whether a push was seen to reach it.
    pub reachable: bool,
}

/// The digits on the candidate's screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Until when they count, and whether they were typed already.
    pub single_use: SingleUse,
    /// The digits.
    pub number: MatchNumber,
    /// Wrong ones so far.
    pub wrong: u32,
}

/// What speaks for a promotion, as read in the transaction.
#[derive(Debug)]
pub enum Evidence<'a> {
    /// An approver's signed word.
    Digits {
        /// The device that signed it, if the person has such a one.
        approver: Option<&'a Enrolled>,
        /// Whether that is the candidate itself.
        itself: bool,
        /// Thumbprint of the key that signed it.
        signed_by: &'a str,
        /// What the candidate shows, if it shows something.
        shown: Option<&'a Shown>,
        /// What the person typed.
        typed: &'a MatchNumber,
    },
    /// A ticket, with the person's own sign-in. `None`: there is none such for this person.
    Ticket(Option<&'a SingleUse>),
    /// The person's own sign-in alone.
    SignIn {
        /// Whether its method is configured as phishing-resistant.
        phishing_resistant: bool,
        /// When they signed in, if the issuer says so.
        at: Option<Timestamp>,
        /// Whether the person ever had an approver, be it retired or erased.
        had_approver: bool,
    },
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromotionJudgement {
    /// It may approve from now on.
    Promote(Way),
    /// It may approve already: nothing is used up.
    Already,
    /// Another wrong number.
    CountWrong {
        /// Those left; with none the digits count no more.
        left: u32,
    },
    /// Nothing.
    Refuse(PromotionRefusal),
}

/// Why a device was not promoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PromotionRefusal {
    /// The person's devices were changed since.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// The device is not known to this person, was retired, or never proved a key.
    #[error("This phone is not known here, or no longer. Register it again.")]
    UnknownDevice,
    /// No push was seen to reach it.
    #[error("This phone has not shown yet that notifications reach it. Allow them, and open the app again.")]
    NotReachable,
    /// The operator closed that way.
    #[error("A phone cannot be allowed to approve in this way here.")]
    WayClosed {
        /// Which.
        way: Way,
    },
    /// Who typed the digits is no approver of the same person, or the candidate itself.
    #[error("Only another phone of yours that can approve already may allow this one.")]
    NoApprover,
    /// The candidate shows no digits, or no longer.
    #[error("{0}")]
    Digits(Spent),
    /// They were wrong.
    #[error("Those are not the digits that the new phone shows. Tries left: {left}.")]
    DigitsWrong {
        /// How many tries are left.
        left: u32,
    },
    /// The ticket does not count.
    #[error("{0}")]
    Ticket(Spent),
    /// The sign-in is too old, or does not say when it was.
    #[error("Sign in again on this phone, then try once more.")]
    SignInTooOld,
    /// A sign-in alone does not suffice.
    #[error(
        "Signing in is not enough to let this phone approve. Use a phone that can approve already, or ask an admin for a ticket."
    )]
    SignInAlone,
}

/// The rule.
pub fn judge_promotion(
    rules: &EnrolmentRules,
    candidate: Option<&Candidate>,
    evidence: &Evidence<'_>,
    now: Timestamp,
) -> PromotionJudgement {
    match judge(rules, candidate, evidence, now) {
        Ok(judgement) => judgement,
        Err(refusal) => PromotionJudgement::Refuse(refusal),
    }
}

fn judge(
    rules: &EnrolmentRules,
    candidate: Option<&Candidate>,
    evidence: &Evidence<'_>,
    now: Timestamp,
) -> Result<PromotionJudgement, PromotionRefusal> {
    let candidate = candidate.filter(|one| !one.enrolled.retired && one.enrolled.thumbprint.is_some());
    let candidate = candidate.ok_or(PromotionRefusal::UnknownDevice)?;
    if candidate.enrolled.state == DeviceState::Approver {
        return Ok(PromotionJudgement::Already);
    }
    if !candidate.reachable {
        return Err(PromotionRefusal::NotReachable);
    }
    match evidence {
        Evidence::Digits { approver, itself, signed_by, shown, typed } => {
            require(rules, Way::Approver)?;
            let may = |one: &&Enrolled| one.state == DeviceState::Approver && one.signs_with(signed_by);
            approver.as_ref().filter(|one| !itself && may(one)).ok_or(PromotionRefusal::NoApprover)?;
            judge_digits(*shown, typed, now)
        }
        Evidence::Ticket(ticket) => {
            require(rules, Way::Ticket)?;
            judge_single_use(*ticket, now).map_err(PromotionRefusal::Ticket)?;
            Ok(PromotionJudgement::Promote(Way::Ticket))
        }
        Evidence::SignIn { phishing_resistant, at, had_approver } => {
            let way = judge_sign_in(rules, *phishing_resistant, *had_approver)?;
            let fresh = rules.is_fresh(*at, now);
            if fresh { Ok(PromotionJudgement::Promote(way)) } else { Err(PromotionRefusal::SignInTooOld) }
        }
    }
}

fn require(rules: &EnrolmentRules, way: Way) -> Result<(), PromotionRefusal> {
    if rules.open(way) { Ok(()) } else { Err(PromotionRefusal::WayClosed { way }) }
}

/// A phishing-resistant sign-in suffices wherever that is open; any other only as the first step of somebody who never had an approver,
/// because a session that is phished at this moment is fresh, too.
fn judge_sign_in(
    rules: &EnrolmentRules,
    phishing_resistant: bool,
    had_approver: bool,
) -> Result<Way, PromotionRefusal> {
    if phishing_resistant && rules.open(Way::PhishingResistant) {
        Ok(Way::PhishingResistant)
    } else if !rules.open(Way::FreshSignIn) && !rules.open(Way::PhishingResistant) {
        Err(PromotionRefusal::WayClosed { way: Way::FreshSignIn })
    } else if rules.open(Way::FreshSignIn) && !had_approver {
        Ok(Way::FreshSignIn)
    } else {
        Err(PromotionRefusal::SignInAlone)
    }
}

fn judge_digits(
    shown: Option<&Shown>,
    typed: &MatchNumber,
    now: Timestamp,
) -> Result<PromotionJudgement, PromotionRefusal> {
    judge_single_use(shown.map(|shown| &shown.single_use), now).map_err(PromotionRefusal::Digits)?;
    let shown = shown.filter(|shown| shown.wrong < WRONG_DIGITS_MAX);
    let shown = shown.ok_or(PromotionRefusal::Digits(Spent::Used))?;
    // However long it takes to compare them, it says nothing about how many are right.
    if verify_slices_are_equal(shown.number.expose().as_bytes(), typed.expose().as_bytes()).is_ok() {
        Ok(PromotionJudgement::Promote(Way::Approver))
    } else {
        Ok(PromotionJudgement::CountWrong { left: WRONG_DIGITS_MAX.saturating_sub(shown.wrong + 1) })
    }
}
