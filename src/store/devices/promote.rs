//! From a device that may receive to one that may approve.
use super::challenge::hash;
use super::row::of_device;
use super::{Announced, Devices};
use crate::event::{DeviceId, Timestamp};
use crate::people::enrolment::{
    Candidate, EnrolmentRules, Evidence, PromotionJudgement, PromotionRefusal, Shown, SingleUse, Way, judge_promotion,
};
use crate::people::signed::{self, Signed};
use crate::people::{MatchNumber, News, Person};
use crate::store::database::{Arg, Sql};
use crate::store::error::Failure;
use crate::store::preferences::of;
use crate::store::work::{Trouble, Work};

/// What speaks for a promotion.
#[derive(Debug, Clone, Copy)]
pub enum PromotedBy<'a> {
    /// An approver of the same person typed the digits that the candidate shows.
    Approver(&'a Signed<signed::Promotion>),
    /// The candidate brought a ticket, and its person's own sign-in.
    Ticket {
        /// The ticket.
        ticket: &'a str,
        /// Thumbprint of the key that made the request's proof.
        thumbprint: &'a str,
    },
    /// The candidate brought its person's own sign-in.
    SignIn {
        /// Thumbprint of the key that made the request's proof.
        thumbprint: &'a str,
        /// Whether the sign-in's method is configured as phishing-resistant.
        phishing_resistant: bool,
        /// When the person signed in, if the issuer says so.
        at: Option<Timestamp>,
    },
}

/// A device that may approve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promotion {
    /// In which way it became that; `None` if it was that before.
    pub way: Option<Way>,
    /// Of the person's devices now.
    pub version: u64,
    /// Who knows of it.
    pub announced: Announced,
}

/// What one transaction read: the candidate, whether its person ever had an approver, the digits that it shows with their row's name.
struct Read {
    candidate: Option<Candidate>,
    had_approver: bool,
    shown: Option<(String, Shown)>,
}

impl Devices {
    /// Promotes a device, if the rules say so. A wrong number is counted.
    pub async fn promote(
        &self,
        person: &Person,
        device: &DeviceId,
        by: PromotedBy<'_>,
        expected: Option<u64>,
        rules: &EnrolmentRules,
        now: Timestamp,
    ) -> Result<Promotion, Failure<PromotionRefusal>> {
        let attempt = || self.try_promote(person, device, by, (expected, rules), now);
        let (done, announced) = self.settle(attempt).await?;
        done.map(|(way, version)| Promotion { way, version, announced }).map_err(Failure::Refused)
    }

    /// What is refused and yet committed is the inner error: a wrong number counts.
    async fn try_promote(
        &self,
        person: &Person,
        device: &DeviceId,
        by: PromotedBy<'_>,
        (expected, rules): (Option<u64>, &EnrolmentRules),
        now: Timestamp,
    ) -> Result<(Result<(Option<Way>, u64), PromotionRefusal>, Work), Trouble<PromotionRefusal>> {
        let mut work = self.work().await?;
        // Raised by what changes somebody's devices alone: a wrong number does not, nor does what was so before.
        let version = work.hold_seen(person, expected).await?;
        let read = work.read_candidate(person, device, by).await?;
        let ticket = match by {
            PromotedBy::Ticket { ticket, .. } => Some(hash(&["ticket", ticket])),
            PromotedBy::Approver(_) | PromotedBy::SignIn { .. } => None,
        };
        let held_ticket = work.hold_ticket(person, ticket.as_deref()).await?;
        let approver = match by {
            PromotedBy::Approver(word) if word.says.person == *person && word.says.device == *device => {
                work.hold_device(person, &word.device).await?.map(|held| held.enrolled)
            }
            PromotedBy::Approver(_) | PromotedBy::Ticket { .. } | PromotedBy::SignIn { .. } => None,
        };
        let evidence = match by {
            PromotedBy::Approver(word) => Evidence::Digits {
                approver: approver.as_ref(),
                itself: word.device == *device,
                signed_by: &word.key_thumbprint,
                shown: read.shown.as_ref().map(|(_, shown)| shown),
                typed: &word.says.number,
            },
            PromotedBy::Ticket { .. } => Evidence::Ticket(held_ticket.as_ref()),
            PromotedBy::SignIn { phishing_resistant, at, .. } => {
                Evidence::SignIn { phishing_resistant, at, had_approver: read.had_approver }
            }
        };
        let shown = read.shown.as_ref().map_or("", |(hash, _)| hash.as_str());
        match judge_promotion(rules, read.candidate.as_ref(), &evidence, now) {
            PromotionJudgement::Refuse(refusal) => Err(Trouble::Refused(refusal)),
            PromotionJudgement::Already => Ok((Ok((None, version)), work)),
            PromotionJudgement::CountWrong { left } => {
                const COUNT: &str = "UPDATE challenges SET wrong_tries = wrong_tries + 1 WHERE hash = $1";
                work.tx.execute(COUNT.into(), &[Arg::Text(shown)]).await?;
                Ok((Err(PromotionRefusal::DigitsWrong { left }), work))
            }
            PromotionJudgement::Promote(way) => {
                work.hold_person(person).await?;
                work.make_approver(person, device, way, now).await?;
                work.notify(person, &News::Promoted { device: device.clone(), way }, None, now).await?;
                if let Some(ticket) = &ticket {
                    work.use_ticket(ticket, now).await?;
                } else if way == Way::Approver {
                    work.use_up(shown, now).await?;
                }
                Ok((Ok((Some(way), work.version_now(person, version))), work))
            }
        }
    }
}

impl Work {
    async fn read_candidate(
        &mut self,
        person: &Person,
        device: &DeviceId,
        by: PromotedBy<'_>,
    ) -> Result<Read, sqlx::Error> {
        const HAD: &str = "SELECT had_approver FROM users WHERE workspace = $1 AND id = $2";
        const SHOWN: Sql = Sql {
            postgres: "SELECT hash, expires_at, used_at, number, wrong_tries FROM challenges
                WHERE workspace = $1 AND user_id = $2 AND device = $3 AND purpose = 'promote' ORDER BY expires_at DESC LIMIT 1 FOR UPDATE",
            sqlite: "SELECT hash, expires_at, used_at, number, wrong_tries FROM challenges
                WHERE workspace = $1 AND user_id = $2 AND device = $3 AND purpose = 'promote' ORDER BY expires_at DESC LIMIT 1",
        };
        let held = match by {
            PromotedBy::Approver(_) => self.hold_device(person, device).await?,
            // Whoever brings a ticket or a sign-in is the candidate itself, and proves it.
            PromotedBy::Ticket { thumbprint, .. } | PromotedBy::SignIn { thumbprint, .. } => {
                self.hold_signer(person, device, thumbprint).await?
            }
        };
        let candidate =
            held.map(|held| Candidate { reachable: held.reachable_since.is_some(), enrolled: held.enrolled });
        let had_approver = self.tx.rows(HAD.into(), &of(person)).await?.first().map_or(Ok(0), |row| row.int(0))? != 0;
        let rows = self.tx.rows(SHOWN, &of_device(person, device)).await?;
        let shown = match rows.first() {
            None => None,
            Some(row) => {
                let single_use = SingleUse { expires_at: Timestamp(row.int(1)?), used: row.maybe_int(2)?.is_some() };
                let number = MatchNumber::new(row.text_or_empty(3)?);
                let wrong = u32::try_from(row.int(4)?).unwrap_or(u32::MAX);
                let hash = row.text(0)?.to_owned();
                number.map(|number| (hash, Shown { single_use, number, wrong }))
            }
        };
        Ok(Read { candidate, had_approver, shown })
    }

    async fn hold_ticket(&mut self, person: &Person, hash: Option<&str>) -> Result<Option<SingleUse>, sqlx::Error> {
        const HOLD: Sql = Sql {
            postgres: "SELECT expires_at, used_at FROM tickets WHERE workspace = $1 AND user_id = $2 AND hash = $3 FOR UPDATE",
            sqlite: "SELECT expires_at, used_at FROM tickets WHERE workspace = $1 AND user_id = $2 AND hash = $3",
        };
        let Some(hash) = hash else { return Ok(None) };
        let [workspace, user] = of(person);
        let rows = self.tx.rows(HOLD, &[workspace, user, Arg::Text(hash)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(SingleUse { expires_at: Timestamp(row.int(0)?), used: row.maybe_int(1)?.is_some() }))
    }

    async fn use_ticket(&mut self, hash: &str, now: Timestamp) -> Result<(), sqlx::Error> {
        const USE: &str = "UPDATE tickets SET used_at = $2 WHERE hash = $1";
        self.tx.execute(USE.into(), &[Arg::Text(hash), Arg::Int(now.as_millis())]).await
    }

    async fn make_approver(
        &mut self,
        person: &Person,
        device: &DeviceId,
        way: Way,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        const PROMOTE: &str = "UPDATE enrolments SET state = 'approver', promoted_at = $4, promoted_by = $5
            WHERE workspace = $1 AND user_id = $2 AND id = $3";
        const HAD: &str = "UPDATE users SET had_approver = 1 WHERE workspace = $1 AND id = $2";
        let [workspace, user, id] = of_device(person, device);
        let (at, by) = (Arg::Int(now.as_millis()), Arg::Text(way.name()));
        self.tx.execute(PROMOTE.into(), &[workspace, user, id, at, by]).await?;
        self.tx.execute(HAD.into(), &of(person)).await
    }
}
