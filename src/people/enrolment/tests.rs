//! The rules, stated a second time as tables.
use proptest::prelude::*;

use super::*;
use crate::people::{MatchNumber, Permission};
use crate::policy::{Preference, Setting};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn rules(ways: &[Way]) -> EnrolmentRules {
    EnrolmentRules { ways: ways.to_vec(), devices_max: 3, sign_in_max_age: Duration::from_secs(300) }
}

fn device(state: DeviceState) -> Enrolled {
    Enrolled { state, thumbprint: Some("key".into()), retired: false }
}

fn candidate() -> Candidate {
    Candidate { enrolled: device(DeviceState::ReceiveOnly), reachable: true }
}

fn ago(seconds: u64) -> Option<Timestamp> {
    Some(NOW.minus(Duration::from_secs(seconds)))
}

fn soon() -> SingleUse {
    SingleUse { expires_at: Timestamp(NOW.as_millis() + 1), used: false }
}

fn shown(wrong: u32) -> Shown {
    Shown { single_use: soon(), number: number("042137"), wrong }
}

fn number(digits: &str) -> MatchNumber {
    MatchNumber::new(digits).unwrap()
}

fn judged(ways: &[Way], evidence: &Evidence<'_>) -> PromotionJudgement {
    judge_promotion(&rules(ways), Some(&candidate()), evidence, NOW)
}

fn refused(refusal: PromotionRefusal) -> PromotionJudgement {
    PromotionJudgement::Refuse(refusal)
}

/// Sign-ins: which way they open, if any, by what is open, how they were made and whether the person ever had an approver.
#[test]
fn what_a_sign_in_is_worth() {
    use Way::{Approver, FreshSignIn, PhishingResistant, Ticket};
    type Opens = Result<Way, PromotionRefusal>;
    const NO: Opens = Err(PromotionRefusal::SignInAlone);
    const CLOSED: Opens = Err(PromotionRefusal::WayClosed { way: FreshSignIn });
    // Columns: an ordinary sign-in of somebody new, and of somebody who had an approver; a phishing-resistant one of both.
    let table: [(&[Way], [Opens; 4]); 5] = [
        (&[], [CLOSED; 4]),
        (&[Approver, Ticket], [CLOSED; 4]),
        (&[FreshSignIn], [Ok(FreshSignIn), NO, Ok(FreshSignIn), NO]),
        (&[PhishingResistant], [NO, NO, Ok(PhishingResistant), Ok(PhishingResistant)]),
        (&[FreshSignIn, PhishingResistant], [Ok(FreshSignIn), NO, Ok(PhishingResistant), Ok(PhishingResistant)]),
    ];
    for (ways, expected) in table {
        let columns = [(false, false), (false, true), (true, false), (true, true)];
        for ((phishing_resistant, had_approver), expected) in columns.into_iter().zip(expected) {
            let sign_in = |at| Evidence::SignIn { phishing_resistant, at, had_approver };
            let fresh = expected.map_or_else(refused, PromotionJudgement::Promote);
            assert_eq!(judged(ways, &sign_in(ago(300))), fresh, "{ways:?} {phishing_resistant} {had_approver}");
            let old = expected.map_or_else(refused, |_| refused(PromotionRefusal::SignInTooOld));
            for at in [ago(301), None] {
                assert_eq!(judged(ways, &sign_in(at)), old, "{ways:?} {phishing_resistant} {had_approver} {at:?}");
            }
        }
    }
}

/// Only another approver's key speaks for a phone, and only with the digits that it shows.
#[test]
fn who_may_type_the_digits() {
    let (approver, receiver) = (device(DeviceState::Approver), device(DeviceState::ReceiveOnly));
    let retired = Enrolled { retired: true, ..approver.clone() };
    let keyless = Enrolled { thumbprint: None, ..approver.clone() };
    let (one, right, wrong) = (shown(0), number("042137"), number("042138"));
    let by = |approver, signed_by, itself, typed| {
        judged(&[Way::Approver], &Evidence::Digits { approver, itself, signed_by, shown: Some(&one), typed })
    };
    assert_eq!(by(Some(&approver), "key", false, &right), PromotionJudgement::Promote(Way::Approver));
    assert_eq!(by(Some(&approver), "key", false, &wrong), PromotionJudgement::CountWrong { left: 2 });
    for (approver, signed_by, itself) in [
        (None, "key", false),
        (Some(&receiver), "key", false),
        (Some(&retired), "key", false),
        (Some(&keyless), "key", false),
        (Some(&approver), "rolled", false),
        (Some(&approver), "key", true),
    ] {
        for typed in [&right, &wrong] {
            assert_eq!(
                by(approver, signed_by, itself, typed),
                refused(PromotionRefusal::NoApprover),
                "no try is spent"
            );
        }
    }
}

/// Digits count three tries, for their time, once; and nothing counts where nothing is shown.
#[test]
fn digits_are_used_up() {
    let (approver, right) = (device(DeviceState::Approver), number("042137"));
    let with = |shown: Option<&Shown>, typed: &MatchNumber| {
        let evidence = Evidence::Digits { approver: Some(&approver), itself: false, signed_by: "key", shown, typed };
        judged(&[Way::Approver], &evidence)
    };
    for (wrong, left) in [(0, 2), (1, 1), (2, 0)] {
        assert_eq!(with(Some(&shown(wrong)), &number("000000")), PromotionJudgement::CountWrong { left });
        assert_eq!(with(Some(&shown(wrong)), &right), PromotionJudgement::Promote(Way::Approver));
    }
    let used = Shown { single_use: SingleUse { used: true, ..soon() }, ..shown(0) };
    let late = Shown { single_use: SingleUse { expires_at: NOW, ..soon() }, ..shown(0) };
    for (shown, spent) in [
        (Some(&shown(3)), Spent::Used),
        (Some(&used), Spent::Used),
        (Some(&late), Spent::Expired),
        (None, Spent::Unknown),
    ] {
        assert_eq!(with(shown, &right), refused(PromotionRefusal::Digits(spent)));
    }
    let closed =
        Evidence::Digits { approver: Some(&approver), itself: false, signed_by: "key", shown: None, typed: &right };
    assert_eq!(judged(&[Way::Ticket], &closed), refused(PromotionRefusal::WayClosed { way: Way::Approver }));
}

/// A ticket counts once and for its time.
#[test]
fn tickets() {
    let with = |ticket: Option<SingleUse>| judged(&[Way::Ticket], &Evidence::Ticket(ticket.as_ref()));
    assert_eq!(with(Some(soon())), PromotionJudgement::Promote(Way::Ticket));
    for (ticket, spent) in [
        (None, Spent::Unknown),
        (Some(SingleUse { used: true, expires_at: NOW }), Spent::Used),
        (Some(SingleUse { used: false, expires_at: NOW }), Spent::Expired),
    ] {
        assert_eq!(with(ticket), refused(PromotionRefusal::Ticket(spent)));
    }
    let closed = judged(&[Way::Approver], &Evidence::Ticket(Some(&soon())));
    assert_eq!(closed, refused(PromotionRefusal::WayClosed { way: Way::Ticket }));
}

proptest! {
    /// Whatever speaks for it: a phone that is unknown, retired, without a key or not reachable is never promoted, and one that may
    /// approve already uses nothing up.
    #[test]
    fn some_phones_are_never_promoted(kind in 0..5_usize, evidence in 0..3_usize) {
        let base = candidate();
        let enrolled = |change: fn(&mut Enrolled)| {
            let mut changed = base.clone();
            change(&mut changed.enrolled);
            Some(changed)
        };
        let (candidate, expected) = match kind {
            0 => (None, refused(PromotionRefusal::UnknownDevice)),
            1 => (enrolled(|device| device.retired = true), refused(PromotionRefusal::UnknownDevice)),
            2 => (enrolled(|device| device.thumbprint = None), refused(PromotionRefusal::UnknownDevice)),
            3 => (Some(Candidate { reachable: false, ..base.clone() }), refused(PromotionRefusal::NotReachable)),
            _ => (enrolled(|device| device.state = DeviceState::Approver), PromotionJudgement::Already),
        };
        let (approver, shown, right, ticket) = (device(DeviceState::Approver), shown(0), number("042137"), soon());
        let evidence = match evidence {
            0 => Evidence::Digits {
                approver: Some(&approver), itself: false, signed_by: "key", shown: Some(&shown), typed: &right,
            },
            1 => Evidence::Ticket(Some(&ticket)),
            _ => Evidence::SignIn { phishing_resistant: true, at: ago(0), had_approver: false },
        };
        prop_assert_eq!(judge_promotion(&rules(&Way::ALL), candidate.as_ref(), &evidence, NOW), expected);
    }

    /// A way that is closed promotes nobody, whatever is shown.
    #[test]
    fn closed_ways_promote_nobody(open in 0..16_u8, phishing_resistant: bool, had_approver: bool, evidence in 0..3_usize) {
        let ways: Vec<Way> = Way::ALL.into_iter().enumerate().filter(|(bit, _)| open & 1 << bit != 0).map(|(_, way)| way).collect();
        let (approver, shown, right, ticket) = (device(DeviceState::Approver), shown(0), number("042137"), soon());
        let evidence = match evidence {
            0 => Evidence::Digits {
                approver: Some(&approver), itself: false, signed_by: "key", shown: Some(&shown), typed: &right,
            },
            1 => Evidence::Ticket(Some(&ticket)),
            _ => Evidence::SignIn { phishing_resistant, at: ago(0), had_approver },
        };
        if let PromotionJudgement::Promote(way) = judged(&ways, &evidence) {
            prop_assert!(ways.contains(&way));
            prop_assert!(way != Way::FreshSignIn || !had_approver);
            prop_assert!(way != Way::PhishingResistant || phishing_resistant);
        }
    }
}

/// Registering: the same key is the same device; another's and a retired one are refused; a held token waits; there is a limit.
#[test]
fn registrations() {
    let own = crate::event::DeviceId::new("d1").unwrap();
    let with =
        |same_key, devices, token_held| judge_registration(&rules(&[]), &Registering { same_key, devices, token_held });
    assert_eq!(with(None, 0, false), Ok(Registration::Enrol { waits: false }));
    assert_eq!(with(None, 2, true), Ok(Registration::Enrol { waits: true }));
    assert_eq!(with(None, 3, false), Err(RegistrationRefusal::TooMany { max: 3 }));
    assert_eq!(with(Some(SameKey::Own(own.clone())), 3, true), Ok(Registration::Refresh(own)));
    assert_eq!(with(Some(SameKey::Anothers), 0, false), Err(RegistrationRefusal::KeyOfAnother));
    assert_eq!(with(Some(SameKey::Retired), 0, false), Err(RegistrationRefusal::KeyRetired));
}

/// Names and models: a login screen shows them, so nothing in them may be unseen or turn what stands around it.
#[test]
fn labels() {
    for good in ["", "Ada's Pixel ✨", "👩\u{200d}💻", "نسخه\u{200c}ای", "Телефон 2"] {
        assert!(is_name(good), "{good:?}");
    }
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    for bad in
        ["a\nb", "a\u{202e}b", "\u{2066}a", "a\u{200f}", "a\u{200b}b", "a\u{2028}b", "\u{feff}a", "a\u{85}b", &long]
    {
        assert!(!is_name(bad), "{bad:?}");
    }
    let report = |model: &str| Report {
        installation: crate::policy::Installation {
            platform: crate::policy::Platform::Apns,
            app: "a".into(),
            environment: crate::policy::Environment::Production,
            token: crate::policy::Token::new("t"),
        },
        locale: "en".into(),
        model: model.into(),
        permission: None,
        time_sensitive: None,
    };
    assert_eq!(report("Pixel 8").problem(), None);
    assert!(report("Pixel\u{202e}8").problem().unwrap().contains("invisible"));
}

/// Rolling: by the key in force, to one that was never seen.
#[test]
fn rolls() {
    let now = device(DeviceState::Approver);
    let retired = Enrolled { retired: true, ..now.clone() };
    assert_eq!(judge_roll(Some(&now), "key", "new", false, ROLLS_A_DAY_MAX - 1), Ok(()));
    assert_eq!(judge_roll(Some(&now), "key", "new", false, ROLLS_A_DAY_MAX), Err(RollRefusal::TooMany));
    assert_eq!(judge_roll(Some(&now), "key", "new", true, 0), Err(RollRefusal::KeyTaken));
    assert_eq!(judge_roll(Some(&now), "key", "key", false, 0), Err(RollRefusal::KeyTaken));
    for (device, signed_by) in [(Some(&now), "old"), (Some(&retired), "key"), (None, "key")] {
        assert_eq!(judge_roll(device, signed_by, "new", false, 0), Err(RollRefusal::UnknownDevice));
    }
}

/// Removing: the last approver only if that is meant; one that may only receive at any time; none twice.
#[test]
fn removals() {
    let (approver, receiver) = (device(DeviceState::Approver), device(DeviceState::ReceiveOnly));
    let retired = Enrolled { retired: true, ..approver.clone() };
    for (device, others, meant, expected) in [
        (Some(&approver), 1, false, Ok(())),
        (Some(&approver), 0, false, Err(ChangeRefusal::LastApprover)),
        (Some(&approver), 0, true, Ok(())),
        (Some(&receiver), 1, false, Ok(())),
        (Some(&receiver), 0, false, Ok(())),
        (Some(&retired), 1, true, Err(ChangeRefusal::NoSuchDevice)),
        (None, 1, true, Err(ChangeRefusal::NoSuchDevice)),
    ] {
        assert_eq!(judge_removal(device, others, meant), expected, "{device:?} {others} {meant}");
    }
}

/// Whom a type does not reach, and the first thing that has to be mended.
#[test]
fn reach() {
    let phone = Reachability {
        state: DeviceState::Approver,
        has_token: true,
        reachable: true,
        lost: false,
        permission: Some(Permission::Allowed),
        quiet: false,
    };
    let silent = Reachability { permission: Some(Permission::Denied), ..phone };
    let unseen = Reachability { reachable: false, ..phone };
    let receiver = Reachability { state: DeviceState::ReceiveOnly, permission: None, ..phone };
    let tokenless = Reachability { has_token: false, ..phone };
    let lost = Reachability { reachable: false, lost: true, ..tokenless };
    let quiet = Reachability { quiet: true, ..phone };
    let (off, on) = ((Setting::Enabled, Preference::Off), (Setting::Enabled, Preference::On));
    let (forced, gone) = ((Setting::Enforced, Preference::Off), (Setting::Disabled, Preference::On));
    for (devices, asks, policy, expected) in [
        (vec![], false, off, Some(Unreached::NoPhone)),
        (vec![tokenless], false, off, Some(Unreached::NoPhone)),
        (vec![lost], true, off, Some(Unreached::NotReachable)),
        (vec![lost, tokenless], false, gone, Some(Unreached::NotReachable)),
        (vec![lost, silent], false, on, Some(Unreached::NotificationsOff)),
        (vec![lost, phone], true, on, None),
        (vec![silent, tokenless], false, off, Some(Unreached::NotificationsOff)),
        (vec![silent, unseen], false, off, Some(Unreached::NotReachable)),
        (vec![receiver], true, off, Some(Unreached::CannotApprove)),
        (vec![receiver], false, off, Some(Unreached::Suppressed)),
        (vec![receiver], false, gone, Some(Unreached::Suppressed)),
        (vec![receiver], false, on, None),
        (vec![receiver], false, forced, None),
        // An approver whose app is gone is asked nothing.
        (vec![receiver, tokenless], true, on, Some(Unreached::CannotApprove)),
        (vec![receiver, tokenless], false, on, None),
        (vec![receiver, silent], true, on, None),
        (vec![phone, silent], true, on, None),
        // One that is quiet rings for what is enforced only; another one rings for it.
        (vec![quiet], false, on, Some(Unreached::Suppressed)),
        (vec![quiet, silent], false, on, Some(Unreached::Suppressed)),
        (vec![quiet], false, forced, None),
        (vec![quiet, receiver], false, on, None),
    ] {
        let (setting, preference) = policy;
        assert_eq!(unreached(asks, setting, preference, &devices), expected, "{devices:?} {asks} {policy:?}");
    }
    assert_eq!(Unreached::ALL.map(|reason| Unreached::from_name(reason.name())), Unreached::ALL.map(Some));
}

/// A configuration in which nobody could ever approve, or have a phone, is refused.
#[test]
fn something_must_be_open() {
    assert_eq!(rules(&[Way::Ticket]).problems(), Vec::<String>::new());
    let closed = rules(&[Way::Approver]).problems();
    assert!(closed.len() == 1 && closed[0].starts_with("approver_ways has only approver"), "{closed:?}");
    for (ways, resistant, open) in [
        (&[Way::Approver, Way::PhishingResistant][..], false, false),
        (&[Way::Approver, Way::PhishingResistant], true, true),
        (&[Way::FreshSignIn], false, true),
        (&[Way::Ticket, Way::PhishingResistant], false, true),
    ] {
        assert_eq!(rules(ways).first_phone(resistant), open, "{ways:?} {resistant}");
    }
    let nothing = EnrolmentRules { devices_max: 0, ..rules(&[]) };
    let problems = nothing.problems();
    assert_eq!(problems.len(), 2);
    assert!(problems[0].starts_with("approver_ways ") && problems[1].starts_with("devices_max "));
}

/// Of a token only its end is shown, and of a short one nothing.
#[test]
fn tokens_are_not_shown() {
    let shown = |token: &str| token_end(&crate::policy::Token::new(token));
    assert_eq!(shown(&format!("{}beef", "a".repeat(28))), "beef");
    assert_eq!(shown(&"a".repeat(31)), "");
    assert_eq!(shown(&format!("{}é", "a".repeat(40))), "aaé");
    assert_eq!(shown(&format!("{}é1x", "a".repeat(40))), "é1x");
}

/// What an app says has bounds.
#[test]
fn what_an_app_says_has_bounds() {
    use crate::policy::{Environment, Installation, Platform, Token};
    let installation = Installation {
        platform: Platform::Fcm,
        app: "com.example.app".into(),
        environment: Environment::Production,
        token: Token::new("t"),
    };
    let report =
        Report { installation, locale: "en".into(), model: "Pixel 8".into(), permission: None, time_sensitive: None };
    let right = Registrant { report, name: "Ada's phone".into(), kind: DeviceKind::Phone, phone: Some("p-1".into()) };
    assert_eq!(right.problem(), None);
    for (change, about) in [
        ((|one| one.name = "x".repeat(241)) as fn(&mut Registrant), "name"),
        (|one| one.name = "a\nb".into(), "name"),
        (|one| one.report.model = "x".repeat(121), "model"),
        (|one| one.report.model = "\u{85}".into(), "model"),
        (|one| one.phone = Some(String::new()), "phone"),
        (|one| one.phone = Some("x".repeat(129)), "phone"),
        (|one| one.phone = Some("a b".into()), "phone"),
        (|one| one.report.installation.environment = Environment::Sandbox, "sandbox"),
    ] {
        let mut changed = right.clone();
        change(&mut changed);
        assert!(changed.problem().is_some_and(|problem| problem.contains(about)), "{about}");
    }
}
