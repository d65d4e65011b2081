//! Registering a device, and what it reports whenever its app starts.
use super::Devices;
use super::challenge::{Issued, Purpose, Wanted, hash, hash_nonce};
use super::row::{device_id, of_device};
use crate::event::{DeviceId, Timestamp};
use crate::people::enrolment::{
    EnrolmentRules, REACH_LIFE, Registering, Registrant, Registration, RegistrationRefusal, Report, ReportRefusal,
    SameKey, judge_registration, judge_single_use,
};
use crate::people::signed::Proof;
use crate::people::{DeviceState, News, Permission, Person};
use crate::policy::{Device, Installation};
use crate::store::admin::Announced;
use crate::store::database::Arg;
use crate::store::error::Failure;
use crate::store::preferences::of;
use crate::store::work::{Trouble, Work};
use crate::store::write::Change;

/// A registration that may be repeated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repeat<'a> {
    /// The idempotency key: the app's own, at most 128 bytes.
    pub(super) key: &'a str,
    /// A hash of all that is asked for.
    pub(super) request: &'a str,
}

/// A device that is registered now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its id, which its statements name as `kid`.
    pub device: DeviceId,
    /// What it may do.
    pub state: DeviceState,
    /// Whether its key was registered before. A request that is made again is told what it was told first.
    pub again: bool,
    /// Whether its token is another row's until it was reached.
    pub waits: bool,
    /// Whether it has to be proved that its token reaches it, by what is pushed now or was before.
    pub unproved: bool,
    /// What to push to it now, if that has to be proved.
    pub reach: Option<ToReach>,
    /// Who knows of it.
    pub announced: Announced,
}

/// What a device says of itself was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// What to push to it now, if its token has to be proved.
    pub reach: Option<ToReach>,
    /// Of the person's devices now.
    pub version: u64,
    /// Who knows of it.
    pub announced: Announced,
}

/// A nonce to be pushed, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToReach {
    /// What must come back.
    pub nonce: Issued,
    /// Where it goes, and nowhere else.
    pub to: Installation,
    /// BCP 47 tag of the phone's language.
    pub locale: String,
}

/// What came of a registration, before it is committed.
pub(super) type Made = (DeviceId, DeviceState, bool, Settled);

/// What became of a device's token.
pub(super) struct Settled {
    pub(super) waits: bool,
    pub(super) unproved: bool,
    pub(super) reach: Option<ToReach>,
}

const OUT_OF_BOUNDS: &str = "its token, app or language is empty, too long, or has control characters";

impl Devices {
    /// Registers the device whose key made the proof, for who signed in. The proof must have answered `challenge`. Under one idempotency key
    /// (the app's own, at most 128 bytes) it is done once; with anything else than before it is refused.
    pub async fn register(
        &self,
        person: &Person,
        (proof, challenge): (&Proof, &str),
        registrant: &Registrant,
        idempotency_key: Option<&str>,
        rules: &EnrolmentRules,
        now: Timestamp,
    ) -> Result<Registered, Failure<RegistrationRefusal>> {
        let id = DeviceId::checked(&uuid::Uuid::new_v4().to_string());
        let device = put(&id, &registrant.report, now);
        let refused = registrant.problem().or_else(|| is_out_of_bounds(person, &device, now).then_some(OUT_OF_BOUNDS));
        if let Some(problem) = refused {
            return Err(Failure::Refused(RegistrationRefusal::Invalid(problem)));
        }
        let request = asked_for(&proof.key.thumbprint(), registrant);
        let repeat = idempotency_key.map(|key| Repeat { key, request: &request });
        let attempt = || self.try_register(person, (proof, challenge), (&device, registrant), repeat, rules, now);
        let ((device, state, again, settled), announced) = self.settle(attempt).await?;
        let Settled { waits, unproved, reach } = settled;
        Ok(Registered { device, state, again, waits, unproved, reach, announced })
    }

    async fn try_register(
        &self,
        person: &Person,
        (proof, challenge): (&Proof, &str),
        (device, registrant): (&Device, &Registrant),
        repeat: Option<Repeat<'_>>,
        rules: &EnrolmentRules,
        now: Timestamp,
    ) -> Result<(Made, Work), Trouble<RegistrationRefusal>> {
        let mut work = self.work().await?;
        work.hold_as_is(person).await?;
        if let Some(repeat) = repeat
            && let Some(made) = work.repeated(person, repeat).await?
        {
            return Ok((made, work));
        }
        let hash = hash(&["register", challenge]);
        let issued = work.hold_issued(Purpose::Register, person, &hash).await?;
        let refuse = |spent| Trouble::Refused(RegistrationRefusal::Challenge(spent));
        judge_single_use(issued.as_ref(), now).map_err(refuse)?;
        work.use_up(&hash, now).await?;
        let thumbprint = proof.key.thumbprint();
        let registering = Registering {
            same_key: work.same_key(person, &thumbprint).await?,
            devices: work.count_enrolled(person).await?,
            token_held: work.is_held(person, &device.id, &device.installation).await?,
        };
        let made = match judge_registration(rules, &registering).map_err(Trouble::Refused)? {
            Registration::Refresh(known) => {
                let held = work.hold_device(person, &known).await?.ok_or(sqlx::Error::RowNotFound)?;
                let reported = put(&known, &registrant.report, now);
                let reachable = held.reachable_since.is_some();
                let settled = work.take_report(person, (&reported, &registrant.report), reachable, now).await?;
                (known, held.enrolled.state, true, settled)
            }
            Registration::Enrol { .. } => {
                work.enrol(person, &device.id, (&proof.key.to_jwk(), &thumbprint), registrant, &hash, now).await?;
                let settled = work.settle_token(person, device, false, now).await?;
                work.describe(person, &device.id, &registrant.report).await?;
                work.notify(person, &News::Enrolled { device: device.id.clone() }, None, now).await?;
                (device.id.clone(), DeviceState::ReceiveOnly, false, settled)
            }
        };
        if let Some(repeat) = repeat {
            work.remember(person, repeat, &made, now).await?;
        }
        Ok((made, work))
    }

    /// Takes what a device says of itself, whose key that is.
    pub async fn report(
        &self,
        person: &Person,
        (device, thumbprint): (&DeviceId, &str),
        report: &Report,
        expected: Option<u64>,
        now: Timestamp,
    ) -> Result<Reported, Failure<ReportRefusal>> {
        let reported = put(device, report, now);
        let refused = report.problem().or_else(|| is_out_of_bounds(person, &reported, now).then_some(OUT_OF_BOUNDS));
        if let Some(problem) = refused {
            return Err(Failure::Refused(ReportRefusal::Invalid(problem)));
        }
        let attempt = || async {
            let mut work = self.work().await?;
            let version = work.hold_seen(person, expected).await?;
            let held = work.hold_signer(person, device, thumbprint).await?;
            let held = held.ok_or(Trouble::Refused(ReportRefusal::UnknownDevice))?;
            let reachable = held.reachable_since.is_some();
            let settled = work.take_report(person, (&reported, report), reachable, now).await?;
            Ok(((settled.reach, work.version_now(person, version)), work))
        };
        let ((reach, version), announced) = self.settle(attempt).await?;
        Ok(Reported { reach, version, announced })
    }
}

/// A hash of all that a registration asks for: the key and everything that the app says. Not the challenge, which is another one at each try.
fn asked_for(thumbprint: &str, registrant: &Registrant) -> String {
    let Registrant { report, name, kind, phone } = registrant;
    let Report { installation, locale, model, permission, time_sensitive } = report;
    let Installation { platform, app, environment, token } = installation;
    let phone = phone.as_deref().unwrap_or_default();
    let time_sensitive = time_sensitive.map_or("", |on| if on { "on" } else { "off" });
    let permission = permission.map_or("", Permission::name);
    let to = [platform.name(), app, environment.name(), token.expose()];
    let said = [name, kind.name(), phone, locale, model, permission, time_sensitive];
    hash(&[&["registration", thumbprint], &to[..], &said[..]].concat())
}

/// The device's row, as the worker sees it. A device that is known stays as quiet as it is.
fn put(id: &DeviceId, report: &Report, now: Timestamp) -> Device {
    let (installation, locale) = (report.installation.clone(), report.locale.clone());
    Device { id: id.clone(), installation, locale, registered_at: now, quiet: false }
}

fn is_out_of_bounds(person: &Person, device: &Device, now: Timestamp) -> bool {
    let (workspace, user) = (person.workspace.clone(), person.user.clone());
    Change::Device { workspace, user, device: device.clone(), last_seen: now }.problem().is_some()
}

/// The three arguments that name an installation within a workspace.
fn of_installation(installation: &Installation) -> [Arg<'_>; 3] {
    let Installation { app, environment, token, .. } = installation;
    [Arg::Text(token.expose()), Arg::Text(app), Arg::Text(environment.name())]
}

impl Work {
    async fn same_key(&mut self, person: &Person, thumbprint: &str) -> Result<Option<SameKey>, sqlx::Error> {
        const READ: &str = "SELECT user_id, id, retired_at FROM enrolments WHERE workspace = $1 AND key_thumbprint = $2
            UNION ALL SELECT user_id, device, rolled_at FROM rolled_keys WHERE workspace = $1 AND thumbprint = $2
            UNION ALL SELECT '', '', erased_at FROM erased_keys WHERE workspace = $1 AND thumbprint = $2";
        let [workspace, _] = of(person);
        let mut found = None;
        for row in &self.tx.rows(READ.into(), &[workspace, Arg::Text(thumbprint)]).await? {
            if row.maybe_int(2)?.is_some() {
                found = found.or(Some(SameKey::Retired));
            } else if row.text(0)? == person.user.as_str() {
                return Ok(Some(SameKey::Own(device_id(row.text(1)?)?)));
            } else {
                found = Some(SameKey::Anothers);
            }
        }
        Ok(found)
    }

    async fn count_enrolled(&mut self, person: &Person) -> Result<u32, sqlx::Error> {
        const COUNT: &str =
            "SELECT count(*) FROM enrolments WHERE workspace = $1 AND user_id = $2 AND retired_at IS NULL";
        let count = self.tx.rows(COUNT.into(), &of(person)).await?.first().map_or(Ok(0), |row| row.int(0))?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Whether another row of the workspace has the token.
    async fn is_held(
        &mut self,
        person: &Person,
        device: &DeviceId,
        installation: &Installation,
    ) -> Result<bool, sqlx::Error> {
        const HELD: &str = "SELECT 1 FROM devices
            WHERE token = $4 AND app = $5 AND environment = $6 AND workspace = $1 AND NOT (user_id = $2 AND id = $3)";
        let ([workspace, user, id], [token, app, environment]) =
            (of_device(person, device), of_installation(installation));
        Ok(!self.tx.rows(HELD.into(), &[workspace, user, id, token, app, environment]).await?.is_empty())
    }

    /// `challenge`: the hash of the one that was answered, which names the session that asked for it.
    async fn enrol(
        &mut self,
        person: &Person,
        device: &DeviceId,
        (jwk, thumbprint): (&str, &str),
        registrant: &Registrant,
        challenge: &str,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        const ENROL: &str = "INSERT INTO enrolments
            (workspace, user_id, id, name, kind, key_jwk, key_thumbprint, phone, enrolled_at, session)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, (SELECT session FROM challenges WHERE hash = $10))";
        let [workspace, user, id] = of_device(person, device);
        let row = [
            workspace,
            user,
            id,
            Arg::Text(&registrant.name),
            Arg::Text(registrant.kind.name()),
            Arg::Text(jwk),
            Arg::Text(thumbprint),
            Arg::MaybeText(registrant.phone.as_deref()),
            Arg::Int(now.as_millis()),
            Arg::Text(challenge),
        ];
        self.tx.execute(ENROL.into(), &row).await
    }

    pub(super) async fn describe(
        &mut self,
        person: &Person,
        device: &DeviceId,
        report: &Report,
    ) -> Result<(), sqlx::Error> {
        const DESCRIBE: &str = "UPDATE enrolments SET model = $4, permission = $5, time_sensitive = $6
            WHERE workspace = $1 AND user_id = $2 AND id = $3";
        let [workspace, user, id] = of_device(person, device);
        let permission = Arg::MaybeText(report.permission.map(Permission::name));
        let time_sensitive = Arg::MaybeInt(report.time_sensitive.map(i64::from));
        let row = [workspace, user, id, Arg::Text(&report.model), permission, time_sensitive];
        self.tx.execute(DESCRIBE.into(), &row).await
    }

    /// Puts a device's token where pushes go, or, while another row has it, aside until it was reached. A token that is new to the device
    /// has to be proved anew.
    pub(super) async fn settle_token(
        &mut self,
        person: &Person,
        device: &Device,
        reachable: bool,
        now: Timestamp,
    ) -> Result<Settled, sqlx::Error> {
        const SAME: &str = "SELECT 1 FROM devices
            WHERE workspace = $1 AND user_id = $2 AND id = $3 AND token = $4 AND app = $5 AND environment = $6";
        const UNPROVED: &str =
            "UPDATE enrolments SET reachable_since = NULL WHERE workspace = $1 AND user_id = $2 AND id = $3";
        let ([workspace, user, id], [token, app, environment]) =
            (of_device(person, &device.id), of_installation(&device.installation));
        self.hold_person(person).await?;
        let same = !self.tx.rows(SAME.into(), &[workspace, user, id, token, app, environment]).await?.is_empty();
        let waits = !same && self.is_held(person, &device.id, &device.installation).await?;
        if waits {
            self.claim(person, device, now).await?;
        } else {
            self.unclaim(person, &device.id).await?;
            self.put_device(&person.workspace, &person.user, device, now).await?;
            if !same {
                self.tx.execute(UNPROVED.into(), &[workspace, user, id]).await?;
            }
        }
        let proved = same && reachable;
        let reach = if proved {
            None
        } else {
            self.nonce(person, &device.id, (&device.installation, &device.locale), now).await?
        };
        Ok(Settled { waits, unproved: reach.is_some(), reach })
    }

    async fn claim(&mut self, person: &Person, device: &Device, now: Timestamp) -> Result<(), sqlx::Error> {
        const CLAIM: &str = "INSERT INTO claimed_tokens
            (workspace, user_id, device, platform, app, environment, token, locale, claimed_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            ON CONFLICT (workspace, user_id, device) DO UPDATE SET platform = excluded.platform, app = excluded.app,
                environment = excluded.environment, token = excluded.token, locale = excluded.locale, claimed_at = excluded.claimed_at";
        let ([workspace, user, id], [token, app, environment]) =
            (of_device(person, &device.id), of_installation(&device.installation));
        let platform = Arg::Text(device.installation.platform.name());
        let (locale, now) = (Arg::Text(&device.locale), Arg::Int(now.as_millis()));
        self.tx.execute(CLAIM.into(), &[workspace, user, id, platform, app, environment, token, locale, now]).await
    }

    pub(super) async fn unclaim(&mut self, person: &Person, device: &DeviceId) -> Result<(), sqlx::Error> {
        const UNCLAIM: &str = "DELETE FROM claimed_tokens WHERE workspace = $1 AND user_id = $2 AND device = $3";
        self.tx.execute(UNCLAIM.into(), &of_device(person, device)).await
    }

    /// A nonce for that token; `None` if the device was given too many within their life.
    pub(super) async fn nonce(
        &mut self,
        person: &Person,
        device: &DeviceId,
        (to, locale): (&Installation, &str),
        now: Timestamp,
    ) -> Result<Option<ToReach>, sqlx::Error> {
        let nonce = Issued::draw(now.plus(REACH_LIFE));
        let hash = hash_nonce(nonce.expose(), to);
        let wanted = Wanted { purpose: Purpose::Reach, person, device, number: None, life: REACH_LIFE };
        Ok(self.issue(&wanted, &hash, now).await?.then(|| ToReach { nonce, to: to.clone(), locale: locale.to_owned() }))
    }
}
