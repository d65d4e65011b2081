//! What must come back: a challenge for a new key, a nonce that travels by push, digits on a screen, tickets.
//!
//! The point: what is given out is drawn from the system's randomness and stored as a hash, so that whoever reads the store cannot use it.
//! Digits are the exception: a hash of six digits hides nothing.
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Devices;
use super::row::of_device;
use crate::event::{DeviceId, Timestamp};
use crate::people::enrolment::{
    CHALLENGE_LIFE, ChangeRefusal, IssueRefusal, OPEN_MAX, PROMOTION_LIFE, SingleUse, Stale, TICKET_LIFE,
};
use crate::people::{Actor, Audited, MatchNumber, Person};
use crate::policy::Installation;
use crate::seam::Unavailable;
use crate::store::database::{Arg, Sql};
use crate::store::error::Failure;
use crate::store::preferences::of;
use crate::store::work::{Trouble, Work};

/// Random bytes of what is given out: nobody guesses it within the life of the universe.
const SECRET_BYTES: usize = 32;

/// What it is for; the name in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Register,
    Reach,
    Promote,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Reach => "reach",
            Self::Promote => "promote",
        }
    }
}

/// Something that was given out, to be used once. It never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    value: String,
    /// From then on it counts no more.
    pub expires_at: Timestamp,
}

impl Issued {
    pub(super) fn draw(expires_at: Timestamp) -> Self {
        Self { value: URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>()), expires_at }
    }

    /// The value: 43 characters of base64url. Whoever calls this must not print it.
    pub fn expose(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issued(redacted, until {})", self.expires_at.as_millis())
    }
}

/// The digits that a new phone shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digits {
    /// They.
    pub number: MatchNumber,
    /// From then on they count no more.
    pub expires_at: Timestamp,
}

/// What is stored of a value: with what else it must come back with, each part with its length before it.
pub(super) fn hash(parts: &[&str]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(context.finish())
}

/// A nonce proves the token that it was sent to, and no other.
pub(super) fn hash_nonce(nonce: &str, to: &Installation) -> String {
    hash(&["reach", nonce, to.platform.name(), &to.app, to.environment.name(), to.token.expose()])
}

impl Devices {
    /// A challenge that the proof of a registration must carry as its `nonce`. `session`: when the token was issued with which it is asked
    /// for, which tells a person's sessions apart. Of those that this session asked for before, the oldest goes if there are too many; no
    /// other session's does.
    pub async fn challenge(&self, person: &Person, session: Timestamp, now: Timestamp) -> Result<Issued, Unavailable> {
        const MAKE_ROOM: &str = "DELETE FROM challenges WHERE hash IN (SELECT hash FROM challenges
            WHERE workspace = $1 AND user_id = $2 AND purpose = 'register' AND session = $3 AND expires_at > $4
            ORDER BY expires_at DESC, hash LIMIT 1000 OFFSET $5)";
        const PUT: &str = "INSERT INTO challenges (hash, purpose, workspace, user_id, expires_at, session)
            VALUES ($1, 'register', $2, $3, $4, $5)";
        let attempt = || async {
            let mut work = self.work().await?;
            // Of two at once the second one sees the first.
            work.hold_as_is(person).await?;
            let [workspace, user] = of(person);
            let (asked_by, kept) = (Arg::Int(session.as_millis()), Arg::Int(i64::from(OPEN_MAX) - 1));
            let args = [workspace, user, asked_by, Arg::Int(now.as_millis()), kept];
            work.tx.execute(MAKE_ROOM.into(), &args).await?;
            let issued = Issued::draw(now.plus(CHALLENGE_LIFE));
            let hash = hash(&["register", issued.expose()]);
            let until = Arg::Int(issued.expires_at.as_millis());
            work.tx.execute(PUT.into(), &[Arg::Text(&hash), workspace, user, until, asked_by]).await?;
            Ok((issued, work))
        };
        match self.settle::<_, Infallible, _>(attempt).await {
            Ok((issued, _)) => Ok(issued),
            Err(Failure::Unavailable(unavailable)) => Err(unavailable),
            Err(Failure::Refused(never)) => match never {},
        }
    }

    /// Digits for a device to show, which an approver of the same person types. Those before count no more.
    pub async fn digits(
        &self,
        person: &Person,
        device: &DeviceId,
        thumbprint: &str,
        now: Timestamp,
    ) -> Result<Digits, Failure<IssueRefusal>> {
        let attempt = || async {
            let mut work = self.work().await?;
            let held = work.hold_signer(person, device, thumbprint).await?;
            held.ok_or(Trouble::Refused(IssueRefusal::UnknownDevice))?;
            let text = format!("{:06}", rand::random_range(0..1_000_000_u32));
            let number = MatchNumber::new(&text).ok_or(sqlx::Error::RowNotFound)?;
            let hash = hash(&[Issued::draw(now).expose()]);
            let wanted =
                Wanted { purpose: Purpose::Promote, person, device, number: Some(&text), life: PROMOTION_LIFE };
            if !work.issue(&wanted, &hash, now).await? {
                return Err(too_many());
            }
            Ok((Digits { number, expires_at: now.plus(PROMOTION_LIFE) }, work))
        };
        self.settle(attempt).await.map(|(digits, _)| digits)
    }

    /// A ticket with which a person makes one of their phones an approver, with the version of their devices. Those before count no more. The
    /// trail hears of it.
    pub async fn ticket(
        &self,
        person: &Person,
        issuer: &Actor,
        expected: Option<u64>,
        now: Timestamp,
    ) -> Result<(Issued, u64), Failure<ChangeRefusal>> {
        const FORGET: &str = "DELETE FROM tickets WHERE workspace = $1 AND user_id = $2 AND used_at IS NULL";
        const PUT: &str =
            "INSERT INTO tickets (hash, workspace, user_id, issued_by, issued_role, issued_at, expires_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let attempt = || async {
            let mut work = self.work().await?;
            let version = work.hold_as_is(person).await?;
            if expected.is_some_and(|expected| expected != version) {
                return Err(Trouble::Refused(Stale { current: version }.into()));
            }
            let issued = Issued::draw(now.plus(TICKET_LIFE));
            let [workspace, user] = of(person);
            work.tx.execute(FORGET.into(), &[workspace, user]).await?;
            let hash = hash(&["ticket", issued.expose()]);
            let (by, role) = (Arg::Text(issuer.id.as_str()), Arg::Text(issuer.role.name()));
            let times = [now, issued.expires_at].map(|at| Arg::Int(at.as_millis()));
            let row = [Arg::Text(&hash), workspace, user, by, role, times[0], times[1]];
            work.tx.execute(PUT.into(), &row).await?;
            work.audit(&person.workspace, issuer, now, Audited::TicketIssued { user: person.user.clone() }).await?;
            Ok(((issued, version), work))
        };
        self.settle(attempt).await.map(|(issued, _)| issued)
    }
}

fn too_many() -> Trouble<IssueRefusal> {
    Trouble::Refused(IssueRefusal::TooMany)
}

/// What is to be given out.
pub(super) struct Wanted<'a> {
    pub(super) purpose: Purpose,
    pub(super) person: &'a Person,
    pub(super) device: &'a DeviceId,
    pub(super) number: Option<&'a str>,
    pub(super) life: Duration,
}

impl Work {
    /// Remembers what was given out. Nothing, if too much of the kind was given out within its life: then `false`.
    pub(super) async fn issue(&mut self, wanted: &Wanted<'_>, hash: &str, now: Timestamp) -> Result<bool, sqlx::Error> {
        const COUNT: &str = "SELECT count(*) FROM challenges
            WHERE workspace = $1 AND user_id = $2 AND purpose = $3 AND device = $4 AND expires_at > $5";
        const PUT: &str = "INSERT INTO challenges (hash, purpose, workspace, user_id, device, expires_at, number)
            VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let [workspace, user] = of(wanted.person);
        let (purpose, device) = (Arg::Text(wanted.purpose.name()), Arg::Text(wanted.device.as_str()));
        let args = [workspace, user, purpose, device, Arg::Int(now.as_millis())];
        let open = self.tx.rows(COUNT.into(), &args).await?.first().map_or(Ok(0), |row| row.int(0))?;
        if open >= i64::from(OPEN_MAX) {
            return Ok(false);
        }
        let until = Arg::Int(now.plus(wanted.life).as_millis());
        let number = Arg::MaybeText(wanted.number);
        self.tx.execute(PUT.into(), &[Arg::Text(hash), purpose, workspace, user, device, until, number]).await?;
        Ok(true)
    }

    /// What was given out to that person, held, by its hash.
    pub(super) async fn hold_issued(
        &mut self,
        purpose: Purpose,
        person: &Person,
        hash: &str,
    ) -> Result<Option<SingleUse>, sqlx::Error> {
        const HOLD: Sql = Sql {
            postgres: "SELECT expires_at, used_at FROM challenges
                WHERE hash = $1 AND purpose = $2 AND workspace = $3 AND user_id = $4 FOR UPDATE",
            sqlite: "SELECT expires_at, used_at FROM challenges WHERE hash = $1 AND purpose = $2 AND workspace = $3 AND user_id = $4",
        };
        let [workspace, user] = of(person);
        let rows = self.tx.rows(HOLD, &[Arg::Text(hash), Arg::Text(purpose.name()), workspace, user]).await?;
        let single_use = |row: &crate::store::database::Row| {
            Ok(SingleUse { expires_at: Timestamp(row.int(0)?), used: row.maybe_int(1)?.is_some() })
        };
        rows.first().map(single_use).transpose()
    }

    pub(super) async fn use_up(&mut self, hash: &str, now: Timestamp) -> Result<(), sqlx::Error> {
        const USE: &str = "UPDATE challenges SET used_at = $2 WHERE hash = $1";
        self.tx.execute(USE.into(), &[Arg::Text(hash), Arg::Int(now.as_millis())]).await
    }

    /// Forgets what a device was given that nobody used yet.
    pub(super) async fn forget_issued(&mut self, person: &Person, device: &DeviceId) -> Result<(), sqlx::Error> {
        const FORGET: &str =
            "DELETE FROM challenges WHERE workspace = $1 AND user_id = $2 AND device = $3 AND used_at IS NULL";
        self.tx.execute(FORGET.into(), &of_device(person, device)).await
    }
}
