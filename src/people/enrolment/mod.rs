//! How a phone becomes a device that may approve, and how it stops being one: the whole table of rules, pure.
//!
//! ```text
//!              register (key, token)      reached (nonce by push)      promoted (one of four ways)
//!   nothing ─────────────────────▶ receive_only ───────────▶ reachable ─────────────────▶ approver
//!                                       └────────────── removed, replaced, reset ──────────┴──▶ retired, for ever
//! ```
//!
//! The point: whoever has a person's session does not have their phone. So a device that may approve was vouched for by something besides
//! a session: another approver's eyes, somebody who issued a ticket, or a sign-in that cannot be phished. A retired key never comes back.
//! The store asks these rules within the transaction in which it read what they judge; nothing else decides.
//!
//! It deliberately knows neither HTTP nor storage, and issues nothing. What it refuses it refuses with a sentence for people.
mod describe;
mod promotion;
mod reach;
#[cfg(test)]
mod tests;

pub use describe::{
    DeviceKind, MODEL_BYTES_MAX, NAME_BYTES_MAX, OwnDevice, PHONE_BYTES_MAX, Pushes, Registrant, Report, is_name,
    token_end,
};
pub use promotion::{Candidate, Evidence, PromotionJudgement, PromotionRefusal, Shown, judge_promotion};
pub use reach::{Reachability, Unreached, unreached};

use std::time::Duration;

use super::{DeviceState, Enrolled};
use crate::event::{DeviceId, Timestamp};

/// How long a challenge may be answered: a registration's requests follow each other at once, on a slow network too.
pub const CHALLENGE_LIFE: Duration = Duration::from_secs(5 * 60);
/// How long the nonce that travels by push may come back: a push may be late by minutes, and the app has to be woken.
pub const REACH_LIFE: Duration = Duration::from_secs(15 * 60);
/// How long the digits on a new phone's screen count: no longer than NIST SP 800-63B allows a secret that is carried by hand.
pub const PROMOTION_LIFE: Duration = Duration::from_secs(10 * 60);
/// How long a ticket may be redeemed.
pub const TICKET_LIFE: Duration = Duration::from_secs(10 * 60);
/// Challenges of one purpose that a device, or one session of a person, may have open at once: with their lifetimes the bound on how many are
/// made. A device is refused more. A session, whose thief asks as well as its owner, loses its oldest: nobody uses up all there are.
pub const OPEN_MAX: u32 = 5;
/// Keys of one device that are followed by another one within a day: an app that thinks its key known makes a new one once. What is remembered
/// of each outlives the device, so this bounds it.
pub const ROLLS_A_DAY_MAX: u32 = 5;
/// Wrong digits after which those on the new phone's screen count no more. Six digits and three tries: 3 in a million.
pub const WRONG_DIGITS_MAX: u32 = 3;

/// A way to become an approver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Another approver of the same person typed the digits that the new phone shows.
    Approver,
    /// A ticket that an admin or upstream issued.
    Ticket,
    /// A sign-in by a method that is configured as phishing-resistant.
    PhishingResistant,
    /// Any fresh sign-in, while the person has never had an approver.
    FreshSignIn,
}

impl Way {
    /// The way of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.name() == name)
    }

    /// All of them.
    pub const ALL: [Self; 4] = [Self::Approver, Self::Ticket, Self::PhishingResistant, Self::FreshSignIn];

    /// The name in the configuration, the API and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approver => "approver",
            Self::Ticket => "ticket",
            Self::PhishingResistant => "phishing_resistant",
            Self::FreshSignIn => "fresh_sign_in",
        }
    }
}

/// What the operator chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentRules {
    /// The ways that are open.
    pub ways: Vec<Way>,
    /// Devices of one person that are not retired, at most.
    pub devices_max: u32,
    /// How long after it a sign-in counts as fresh.
    pub sign_in_max_age: Duration,
}

impl EnrolmentRules {
    /// Whether a way is open.
    pub fn open(&self, way: Way) -> bool {
        self.ways.contains(&way)
    }

    /// Whether somebody signed in a moment ago. An issuer that does not say when says nothing.
    pub fn is_fresh(&self, signed_in: Option<Timestamp>, now: Timestamp) -> bool {
        signed_in.is_some_and(|at| now.since(at) <= self.sign_in_max_age)
    }

    /// Whether somebody without a phone that may approve could ever have one. `resistant`: some sign-ins count as phishing-resistant.
    pub fn first_phone(&self, resistant: bool) -> bool {
        self.ways.iter().any(|way| match way {
            Way::Approver => false,
            Way::PhishingResistant => resistant,
            Way::Ticket | Way::FreshSignIn => true,
        })
    }

    /// What is wrong with it, for the operator; each sentence begins with its key.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.ways.is_empty() {
            let all = Way::ALL.map(Way::name).join(", ");
            problems.push(format!("approver_ways is empty, so nobody could ever approve: name at least one of {all}"));
        }
        if !self.ways.is_empty() && !self.first_phone(true) {
            problems.push(
                "approver_ways has only approver, so nobody could ever approve: a first phone has no other one that vouches for it; name \
                 ticket, phishing_resistant or fresh_sign_in besides"
                    .to_owned(),
            );
        }
        if self.devices_max == 0 {
            problems.push("devices_max is 0, so nobody could have a phone: at least 1".to_owned());
        }
        problems
    }
}

/// Something that may be used once, and until a moment: a challenge, a nonce, a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SingleUse {
    /// From then on it counts no more.
    pub expires_at: Timestamp,
    /// Whether it was used.
    pub used: bool,
}

/// Why something that may be used once does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Spent {
    /// There is none such for this person, or it was forgotten.
    #[error("That is not known. Begin again.")]
    Unknown,
    /// It was used before.
    #[error("That was used before. Begin again.")]
    Used,
    /// Its time is over.
    #[error("That took too long. Begin again.")]
    Expired,
}

/// Whether it may be used now.
pub fn judge_single_use(one: Option<&SingleUse>, now: Timestamp) -> Result<(), Spent> {
    match one {
        None => Err(Spent::Unknown),
        Some(SingleUse { used: true, .. }) => Err(Spent::Used),
        Some(SingleUse { expires_at, .. }) if *expires_at <= now => Err(Spent::Expired),
        Some(_) => Ok(()),
    }
}

/// Whose the key is that wants to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SameKey {
    /// A device of the same person has it.
    Own(DeviceId),
    /// Somebody else in the workspace has it: one phone, two people.
    Anothers,
    /// It was retired.
    Retired,
}

/// What a registration is judged by, as read in the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registering {
    /// Who has the key, if it is known in the workspace.
    pub same_key: Option<SameKey>,
    /// Devices of the person that are not retired.
    pub devices: u32,
    /// Whether another row of the workspace has the push token.
    pub token_held: bool,
}

/// What a registration makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// Nothing new: this device registered before, and may have a new token.
    Refresh(DeviceId),
    /// A device that may receive, at once or, where the token is another row's, once it was reached.
    Enrol {
        /// Whether the token waits until then.
        waits: bool,
    },
}

/// Why a device was not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RegistrationRefusal {
    /// The challenge does not count.
    #[error("{0}")]
    Challenge(Spent),
    /// The key was retired.
    #[error("This phone's key was retired. The app must make a new one and register again.")]
    KeyRetired,
    /// The key is another person's.
    #[error("This phone's key belongs to another account. The app must make a new one for each account.")]
    KeyOfAnother,
    /// The person has as many devices as they may have.
    #[error("You have {max} devices already. Remove one that you no longer use.")]
    TooMany {
        /// The limit.
        max: u32,
    },
    /// The idempotency key came with something else before.
    #[error("This idempotency key was used for another registration.")]
    KeyReused,
    /// Something about the device is out of its bounds.
    #[error("What the app says of this device cannot be stored: {0}.")]
    Invalid(&'static str),
}

/// The rule of registering.
pub fn judge_registration(
    rules: &EnrolmentRules,
    registering: &Registering,
) -> Result<Registration, RegistrationRefusal> {
    match &registering.same_key {
        Some(SameKey::Own(device)) => Ok(Registration::Refresh(device.clone())),
        Some(SameKey::Anothers) => Err(RegistrationRefusal::KeyOfAnother),
        Some(SameKey::Retired) => Err(RegistrationRefusal::KeyRetired),
        None if registering.devices >= rules.devices_max => {
            Err(RegistrationRefusal::TooMany { max: rules.devices_max })
        }
        None => Ok(Registration::Enrol { waits: registering.token_held }),
    }
}

/// Somebody acts on devices that are not any more as they saw them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("These devices were changed somewhere else meanwhile. Look at them again before you change anything.")]
pub struct Stale {
    /// The version now.
    pub current: u64,
}

/// Why no challenge, nonce, number or ticket was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum IssueRefusal {
    /// The device is not known to this person, was retired, or has another key.
    #[error("This phone is not known here any more. Register it again.")]
    UnknownDevice,
    /// Pushes to the device have nowhere to go.
    #[error("This phone has no push token here. Open the app again.")]
    NoToken,
    /// Too many are open.
    #[error("Too many attempts are open at once. Wait some minutes, then try again.")]
    TooMany,
}

/// Why a device was not taken for reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ReachRefusal {
    /// The device is not known to this person, was retired, or has another key.
    #[error("This phone is not known here any more. Register it again.")]
    UnknownDevice,
    /// The nonce does not count, or was sent to another token than the one that it has now.
    #[error("{0}")]
    Nonce(Spent),
}

/// Why a report was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ReportRefusal {
    /// The person's devices were changed since.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// The device is not known to this person, was retired, or has another key.
    #[error("This phone is not known here any more. Register it again.")]
    UnknownDevice,
    /// Something in it is out of its bounds.
    #[error("What the app says of this device cannot be stored: {0}.")]
    Invalid(&'static str),
}

/// Why a key was not rolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RollRefusal {
    /// The device is not known, or its key is another one by now.
    #[error("This phone is not known here any more. Register it again.")]
    UnknownDevice,
    /// The new key did not prove itself.
    #[error("The request must carry a proof by the new key.")]
    NotProved,
    /// The device's key was changed [`ROLLS_A_DAY_MAX`] times within a day.
    #[error("This phone's key was changed too often today. Try again tomorrow.")]
    TooMany,
    /// The new key is the old one, or was known here before.
    #[error("The new key is not new. The app must make another one.")]
    KeyTaken,
}

/// The rule of rolling a key: the key in force signs a new one that was never seen in the workspace, so often within a day. What the device
/// may do stays. `rolled`: how often it was done within the last day.
pub fn judge_roll(
    device: Option<&Enrolled>,
    signed_by: &str,
    new: &str,
    new_is_known: bool,
    rolled: u32,
) -> Result<(), RollRefusal> {
    match device {
        Some(device) if device.signs_with(signed_by) => {
            if new_is_known || new == signed_by {
                Err(RollRefusal::KeyTaken)
            } else if rolled >= ROLLS_A_DAY_MAX {
                Err(RollRefusal::TooMany)
            } else {
                Ok(())
            }
        }
        _ => Err(RollRefusal::UnknownDevice),
    }
}

/// Why a device was not renamed or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ChangeRefusal {
    /// There is none such, or no longer.
    #[error("There is no such device. It may have been removed.")]
    NoSuchDevice,
    /// The person's devices were changed since.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// The name cannot be stored.
    #[error("A name has at most 240 bytes and no control or invisible characters.")]
    Name,
    /// It is the last one that may approve, and nobody said that this is meant.
    #[error(
        "This is the last phone that can approve. Without it, sign-ins that ask for approval will fail. Say so if you mean to remove it all the same."
    )]
    LastApprover,
}

/// The rule of removing: the last approver goes only if that is meant. `others`: approvers of the same person besides it that pushes go to. One
/// without a token may still approve, but nobody is to count on a phone whose app is gone.
pub fn judge_removal(device: Option<&Enrolled>, others: u32, meant: bool) -> Result<(), ChangeRefusal> {
    match device {
        Some(device) if !device.retired => {
            let last = device.state == DeviceState::Approver && others == 0;
            if last && !meant { Err(ChangeRefusal::LastApprover) } else { Ok(()) }
        }
        _ => Err(ChangeRefusal::NoSuchDevice),
    }
}

/// The rule of resetting: whoever resets themselves must mean it where an approver goes with it, as with removing the last one.
pub fn judge_reset(approvers: u32, oneself: bool, meant: bool) -> Result<(), ChangeRefusal> {
    if oneself && approvers > 0 && !meant { Err(ChangeRefusal::LastApprover) } else { Ok(()) }
}

impl Enrolled {
    /// Whether this is the key with which the device signs.
    pub fn signs_with(&self, thumbprint: &str) -> bool {
        !self.retired && self.thumbprint.as_deref() == Some(thumbprint)
    }
}
