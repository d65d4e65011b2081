//! The rules about people.
use super::*;
use crate::event::{DeviceId, EventId, NotificationType, Timestamp};
use crate::policy::{Detail, Preference, Setting};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn number(digits: &str) -> Option<MatchNumber> {
    MatchNumber::new(digits)
}

fn standing(ending: Option<Ending>, shown: Option<&str>, wrong_numbers: u32) -> Standing {
    let expires_at = Timestamp(NOW.as_millis() + 1);
    Standing { expires_at, match_number: shown.and_then(number), wrong_numbers, ending, device_name: "Pixel 8".into() }
}

fn answer(verb: Verb, typed: Option<&str>) -> Answer {
    let person = Person { workspace: WorkspaceId::new("acme").unwrap(), user: UserId::new("ada").unwrap() };
    let kind = NotificationType::IdentityVerification;
    Answer {
        request: RequestId { person, kind, event: EventId::new("e").unwrap() },
        device: DeviceId::new("d1").unwrap(),
        key_thumbprint: "key".into(),
        verb,
        number: typed.and_then(number),
        jws: "a.b.c".into(),
    }
}

fn device(state: DeviceState) -> Enrolled {
    Enrolled { state, thumbprint: Some("key".into()), retired: false }
}

fn decided(device: &str, verb: Verb) -> Ending {
    let device = DeviceId::new(device).unwrap();
    Ending::Decided(Decision {
        id: "x".into(),
        verb,
        device,
        at: NOW,
        jws: "a.b.c".into(),
        key_thumbprint: "key".into(),
    })
}

fn judged(standing: &Standing, answer: &Answer, device: &Enrolled) -> Judgement {
    judge(standing, answer, Some(device), NOW)
}

/// An approver decides; a device that may only receive denies, and says "not me", but never approves.
#[test]
fn who_may_say_what() {
    let open = standing(None, None, 0);
    for (verb, by_receiver) in [
        (Verb::Approve, Judgement::Refuse(AnswerRefusal::CannotApprove)),
        (Verb::Deny, Judgement::Decide),
        (Verb::DenyNotMe, Judgement::Decide),
    ] {
        assert_eq!(judged(&open, &answer(verb, None), &device(DeviceState::Approver)), Judgement::Decide);
        assert_eq!(judged(&open, &answer(verb, None), &device(DeviceState::ReceiveOnly)), by_receiver);
    }
}

/// A device that is unknown, retired, without a key, or with another key answers nothing, whatever the state.
#[test]
fn strangers_answer_nothing() {
    let retired = Enrolled { retired: true, ..device(DeviceState::Approver) };
    let keyless = Enrolled { thumbprint: None, ..device(DeviceState::Approver) };
    let rolled = Enrolled { thumbprint: Some("other".into()), ..device(DeviceState::Approver) };
    for ending in [None, Some(decided("d1", Verb::Deny))] {
        for device in [None, Some(&retired), Some(&keyless), Some(&rolled)] {
            let judgement = judge(&standing(ending.clone(), None, 0), &answer(Verb::Deny, None), device, NOW);
            assert_eq!(judgement, Judgement::Refuse(AnswerRefusal::UnknownDevice));
        }
    }
}

/// Approving needs the number that is shown, denying never does; the third wrong one denies; a missing one is no try.
#[test]
fn numbers() {
    let approver = device(DeviceState::Approver);
    let cases = [
        (Verb::Approve, Some("123456"), 2, Judgement::Decide),
        (Verb::Approve, None, 2, Judgement::Refuse(AnswerRefusal::NumberMissing)),
        (Verb::Approve, Some("654321"), 0, Judgement::CountWrong { left: 2 }),
        (Verb::Approve, Some("654321"), 1, Judgement::CountWrong { left: 1 }),
        (Verb::Approve, Some("654321"), 2, Judgement::DenyForNumbers),
        (Verb::Deny, Some("654321"), 2, Judgement::Decide),
        (Verb::DenyNotMe, None, 2, Judgement::Decide),
    ];
    for (verb, typed, wrong, expected) in cases {
        let standing = standing(None, Some("123456"), wrong);
        assert_eq!(judged(&standing, &answer(verb, typed), &approver), expected, "{verb:?} {typed:?} {wrong}");
        if expected != Judgement::Decide {
            // Somebody who may not approve spends no tries of those who may.
            let refused = Judgement::Refuse(AnswerRefusal::CannotApprove);
            assert_eq!(judged(&standing, &answer(verb, typed), &device(DeviceState::ReceiveOnly)), refused);
        }
    }
}

/// The same from the same device gets the same answer again; anything else is told who was first.
#[test]
fn the_first_answer_stands() {
    let approver = device(DeviceState::Approver);
    let standing_decided = |by: &str, verb| standing(Some(decided(by, verb)), None, 0);
    let again = judged(&standing_decided("d1", Verb::Deny), &answer(Verb::Deny, None), &approver);
    assert!(matches!(again, Judgement::Again(Decision { verb: Verb::Deny, .. })));
    for (by, verb) in [("d1", Verb::Approve), ("d1", Verb::DenyNotMe), ("d2", Verb::Deny)] {
        let device_name = "Pixel 8".to_owned();
        let refused = AnswerRefusal::Answered { verb, device: DeviceId::new(by).unwrap(), device_name, at: NOW };
        let judgement = judged(&standing_decided(by, verb), &answer(Verb::Deny, None), &approver);
        assert_eq!(judgement, Judgement::Refuse(refused));
    }
}

/// From its deadline on a request is over, even while nobody has closed it; one that was closed says why.
#[test]
fn what_is_over_is_over() {
    let approver = device(DeviceState::Approver);
    let late = Standing { expires_at: NOW, ..standing(None, None, 0) };
    assert_eq!(judged(&late, &answer(Verb::Deny, None), &approver), Judgement::Expire);
    for reason in [ClosedReason::Expired, ClosedReason::Superseded, ClosedReason::Cancelled] {
        let closed = standing(Some(Ending::Closed { reason, at: NOW }), None, 0);
        let refused = Judgement::Refuse(AnswerRefusal::Closed { reason });
        assert_eq!(judged(&closed, &answer(Verb::Approve, None), &approver), refused);
    }
}

/// Off is refused where the type is enforced, and only there; on never is.
#[test]
fn only_enforced_is_fixed() {
    let kind = NotificationType::OtpReceived;
    for setting in [Setting::Disabled, Setting::Enabled, Setting::Enforced] {
        let enforced = setting == Setting::Enforced;
        assert_eq!(may_set(kind, setting, Preference::Off).is_err(), enforced);
        assert_eq!(may_set(kind, setting, Preference::On), Ok(()));
        for preference in [Preference::On, Preference::Off] {
            let state = effective(kind, setting, preference);
            assert_eq!((state.fixed.is_some(), state.preference), (enforced, preference));
        }
    }
}

/// Names have one spelling everywhere, and are read back as what they were.
#[test]
fn names_round_trip() {
    for role in Role::ALL {
        assert_eq!(ActorRole::from_name(role.name()), Some(ActorRole::Of(role)));
    }
    assert_eq!(ActorRole::from_name("operator"), Some(ActorRole::Operator));
    assert_eq!((ActorRole::from_name("root"), Role::from_name("operator")), (None, None));
    assert!(Role::Owner > Role::SuperAdmin && Role::SuperAdmin > Role::Admin && Role::Admin > Role::User);
}

/// What the trail tells has a name each, and what is listed of them is all of them.
#[test]
fn actions_are_listed() {
    let (user, device) = (|| UserId::new("ada").unwrap(), || DeviceId::new("d1").unwrap());
    let (from, to) = (Setting::Enabled, Setting::Enforced);
    let all = [
        Audited::SettingChanged { kind: NotificationType::OtpReceived, from, to },
        Audited::DetailChanged { from: Detail::Minimal, to: Detail::Full },
        Audited::PersonReset { user: user() },
        Audited::DeviceRemoved { user: user(), device: device() },
        Audited::TicketIssued { user: user() },
        Audited::PersonRemoved { user: user() },
        Audited::WorkspaceDeleted,
        Audited::PersonErased { user: user() },
        Audited::PersonExported { user: user() },
        Audited::NotMe { user: user(), device: device() },
    ];
    assert_eq!(all.each_ref().map(Audited::action), Audited::ACTIONS);
    assert_eq!(all[0].values(), Some(("enabled", "enforced")));
    assert_eq!((all[1].values(), all[1].kind()), (Some(("minimal", "full")), None));
    assert_eq!((all[2].values(), all[3].device()), (None, Some(&device())));
}

/// Who is second is told who was first: by the phone's name, where it has one.
#[test]
fn who_was_first_is_told() {
    let refused = |verb, device_name: &str| {
        let device = DeviceId::new("d1").unwrap();
        AnswerRefusal::Answered { verb, device, device_name: device_name.into(), at: NOW }.to_string()
    };
    assert_eq!(refused(Verb::Approve, "Ada's phone"), "This was approved already, from Ada's phone.");
    assert_eq!(refused(Verb::DenyNotMe, "Pixel 8"), "This was denied already, from Pixel 8.");
    assert_eq!(refused(Verb::Deny, ""), "This was denied already, from another phone or in another way.");
}

/// What a login screen shows of a device says nothing about its owner.
#[test]
fn masked_names() {
    assert_eq!(masked("Pixel 8", "Ada's phone"), "Pixel 8");
    assert_eq!(masked("", "Ada's  phone"), "A•••• p••••");
    assert_eq!(masked("", ""), "");
}

/// A cursor survives its way out and back, and nothing else is one.
#[test]
fn cursors() {
    let cursor = Cursor { at: -5, number: i64::MAX };
    assert_eq!(Cursor::parse(&cursor.to_text()), Some(cursor));
    assert_eq!(["", "1", "a.1", "1.b", "1.2.3"].map(Cursor::parse), [None; 5]);
    let event = EventId::new("a.b|c").unwrap();
    let cursor = PendingCursor { at: Timestamp(7), kind: NotificationType::TrustedDevice, event };
    assert_eq!(PendingCursor::parse(&cursor.to_text()), Some(cursor));
    let none =
        ["", "7", "7.trusted_device", "7.trusted_device.", "x.trusted_device.e", "7.passkey.e", "7.trusted_device.a b"];
    assert!(none.iter().all(|text| PendingCursor::parse(text).is_none()));
    let cursor = PersonCursor { user: UserId::new("auth0|a+b/c?d=%&").unwrap() };
    let text = cursor.to_text();
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
    assert_eq!(PersonCursor::parse(&text), Some(cursor));
    assert_eq!(["", "a b", "=", "IA"].map(PersonCursor::parse), [None, None, None, None]);
}

/// Neither a number nor what the app may show prints.
#[test]
fn invariant_13_numbers_and_details_do_not_print() {
    let detail = RequestDetail::IdentityVerification {
        application: "Payroll".into(),
        reason: String::new(),
        ip_address: "203.0.113.9".into(),
        location: "Lisbon".into(),
        device: String::new(),
        new_location: true,
        new_device: false,
    };
    let printed = format!("{detail:?} {:?} {:?}", number("123456"), standing(None, Some("123456"), 0));
    assert!(!["123456", "203.0.113.9", "Lisbon"].iter().any(|secret| printed.contains(secret)), "{printed}");
}
