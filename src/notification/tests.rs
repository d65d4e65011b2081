//! The texts of every type, detail and language; names; the fallback of languages.
use std::fmt::Write as _;

use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation as _;

use super::texts::load_source;
use super::*;
use crate::event::{Access, EventId, Timestamp, UserId, WorkspaceId};

fn event(body: Body, number_required: bool) -> Event {
    Event {
        id: EventId::new("e-1").unwrap(),
        workspace: WorkspaceId::new("acme").unwrap(),
        recipients: vec![UserId::new("u-1").unwrap()],
        occurred_at: Timestamp::from_secs(1_800_000_000),
        expires_at: Timestamp::from_secs(1_800_000_300),
        number_required,
        test: false,
        body,
    }
}

fn workspace(detail: Detail) -> Workspace {
    Workspace { display_name: "Acme".into(), detail, ..Workspace::unknown() }
}

/// Every wording that a body can take: its flags, empty fields and access levels.
fn bodies(name: &str) -> Vec<Body> {
    let name = || name.to_owned();
    let flags = [(false, false), (true, false), (false, true), (true, true)];
    let verifications = flags.map(|(new_device, new_location)| Body::IdentityVerification {
        application: name(),
        device: if new_device { name() } else { String::new() },
        new_location,
        new_device,
    });
    let trusted = flags.map(|(platform, new_location)| Body::TrustedDevice {
        device_name: name(),
        browser: if platform { "Safari".into() } else { String::new() },
        operating_system: if platform { "iOS 19".into() } else { String::new() },
        new_location,
    });
    let access = [Access::Unspecified, Access::View, Access::Use, Access::Edit, Access::Manage];
    let shared = access.map(|access| Body::AccountSharing { account: name(), shared_by: name(), access });
    let otp = [Body::OtpReceived { account: name(), service: name() }];
    verifications.into_iter().chain(trusted).chain(shared).chain(otp).collect()
}

/// The whole catalogue reads as committed, so that each change of a text is seen.
#[test]
fn catalogue() {
    let texts = Texts::load().unwrap();
    let mut shown = String::new();
    for locale in Locale::ALL {
        writeln!(shown, "# {}", locale.tag()).unwrap();
        for kind in NotificationType::ALL {
            let gone = withdrawn(kind, locale, &texts);
            let title = texts.wording(locale).text(type_of(kind).title, &[]);
            writeln!(shown, "\n## {}: {title} ({:?})", kind.name(), type_of(kind).interruption).unwrap();
            assert_ne!(gone.title, title, "what was taken back asks nothing any more");
            writeln!(shown, "withdrawn: {}: {}", gone.title, gone.body).unwrap();
            for detail in [Detail::Minimal, Detail::Full] {
                let mut seen = Vec::new();
                for body in bodies("Lumen").into_iter().filter(|body| body.kind() == kind) {
                    let rendered = render(&event(body, false), &workspace(detail), locale, &texts);
                    assert_eq!(rendered.title, title);
                    if !seen.contains(&rendered.body) {
                        writeln!(shown, "{detail:?}: {}", rendered.body).unwrap();
                        seen.push(rendered.body);
                    }
                }
            }
        }
        for kind in NotificationType::ALL {
            let body = bodies("Lumen").into_iter().find(|body| body.kind() == kind).unwrap();
            let test = Event { test: true, ..event(body, kind.is_actionable()) };
            let said = render(&test, &workspace(Detail::Full), locale, &texts);
            let (category, interruption) = (said.category.name(), said.interruption);
            writeln!(shown, "\n## test of {}: {} ({category}, {interruption:?})", kind.name(), said.title).unwrap();
            writeln!(shown, "{}", said.body).unwrap();
        }
        for what in SystemNotice::ALL {
            let said = notice(NotificationType::TrustedDevice, what, locale, &texts);
            let (category, interruption) = (said.category.name(), said.interruption);
            writeln!(shown, "\n## notice {}: {} ({category}, {interruption:?})", what.name(), said.title).unwrap();
            writeln!(shown, "{}", said.body).unwrap();
        }
        shown.push('\n');
    }
    insta::assert_snapshot!(shown.replace('\u{2068}', "⟨").replace('\u{2069}', "⟩"));
}

/// The compiled form of a text is what Fluent makes of it, for all messages and languages.
#[test]
fn compiled_is_fluent() {
    let texts = Texts::load().unwrap();
    let values = ["Lumen", "ルーメン \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}", "{ $x } \\u0041 \"", ""];
    for locale in Locale::ALL {
        let wording = texts.wording(locale);
        let mut compiled = 0;
        for message in messages() {
            for first in 0..values.len() {
                let given: Vec<&str> =
                    message.variables().iter().enumerate().map(|(i, _)| values[(first + i) % values.len()]).collect();
                assert_eq!(wording.text(message, &given), wording.by_fluent(message, &given), "{message:?}");
            }
            compiled += usize::from(wording.is_compiled(message));
        }
        let all = messages().count();
        assert_eq!(compiled, all - 1, "{}: all texts but the one with a selector are compiled", locale.tag());
    }
}

/// A phone's language tag leads to the exact locale, else to its language, else to the likely region, else to en-US.
#[test]
fn fallback_chain() {
    let cases = [
        ("en-US", Locale::EnUs),
        ("EN-us", Locale::EnUs),
        ("en", Locale::EnUs),
        ("en-GB", Locale::EnUs),
        ("en-Latn-AU", Locale::EnUs),
        ("es", Locale::Es),
        ("es-419", Locale::Es),
        ("es_MX", Locale::Es),
        ("de-AT", Locale::De),
        ("de-DE-1996", Locale::De),
        ("de_CH.UTF-8", Locale::De),
        ("de@euro", Locale::De),
        ("ja-JP-u-ca-japanese", Locale::Ja),
        ("JA", Locale::Ja),
        ("pt-BR", Locale::EnUs),
        ("deu", Locale::EnUs),
        ("d", Locale::EnUs),
        ("-de", Locale::EnUs),
        ("日本語", Locale::EnUs),
        ("", Locale::EnUs),
    ];
    for (tag, expected) in cases {
        assert_eq!(Locale::resolve(tag), expected, "{tag:?}");
    }
}

/// A file that lacks a message, has one too many, uses a variable that it is not given, or is not Fluent, is refused by name.
#[test]
fn broken_files() {
    let good = Locale::De.source();
    let refused = |source: &str| load_source("de", source).unwrap_err();
    let missing = refused(&good.replace("otp-received-title =", "# otp-received-title ="));
    assert_eq!(missing, TextsError::Missing { locale: "de", id: "otp-received-title" });
    let unasked = refused(&format!("{good}\nstray = Text\n"));
    assert_eq!(unasked, TextsError::Unasked { locale: "de", id: "stray".into() });
    let variable = refused(&good.replace("[use] „{ $shared_by }", "[use] „{ $who }"));
    let expected = TextsError::Variable { locale: "de", id: "account-sharing-full", variable: "who".into() };
    assert_eq!(variable, expected);
    assert!(matches!(refused(&format!("{good}\n= nothing\n")), TextsError::Syntax { locale: "de", .. }));
    assert_eq!(load_source("de", good), Ok(()));
}

/// What strangers put into names cannot turn, break or hide our sentence; a name without anything visible is called unnamed.
#[test]
fn names_are_cleaned() {
    let cases = [
        ("  Lumen  ", "Lumen"),
        ("Lumen\u{202e}gnp.exe", "Lumengnp.exe"),
        ("\u{2067}a\u{2069}\u{200f}b\u{61c}", "ab"),
        ("two\r\nlines\u{2028}three", "two lines three"),
        ("nul\0l\u{1b}[31m", "null[31m"),
        ("zero\u{200b}width\u{feff}\u{ad}", "zerowidth"),
        ("\u{3000}全角　空白", "全角 空白"),
        ("\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}", "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}"),
        ("\u{202e}\u{200b}\n", ""),
    ];
    for (given, expected) in cases {
        assert_eq!(clean(given), expected, "{given:?}");
    }
    let texts = Texts::load().unwrap();
    let body = Body::OtpReceived { account: "\u{202e}".into(), service: "x".into() };
    let rendered = render(&event(body, false), &workspace(Detail::Minimal), Locale::Es, &texts);
    assert_eq!(rendered.body, "Ha llegado un código para «\u{2068}sin nombre\u{2069}». Abre la aplicación para verlo.");
}

/// A long name ends with an ellipsis after a whole grapheme, be it made of one byte or of many code points.
#[test]
fn names_are_cut_at_graphemes() {
    let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
    assert_eq!(clean(&"x".repeat(64)), "x".repeat(64));
    assert_eq!(clean(&"x".repeat(65)), format!("{}…", "x".repeat(63)));
    assert_eq!(clean(&"é".repeat(70)), format!("{}…", "é".repeat(63)));
    assert_eq!(clean(&family.repeat(20)), format!("{}…", family.repeat(10)));
    assert_eq!(clean(&format!("a{}", "\u{301}".repeat(200))), "…");
    assert_eq!(clean(&"ab ".repeat(30)), format!("{}…", "ab ".repeat(21).trim_end()));
}

/// Minimal texts hold the application's or the account's name and no other; the buttons follow the type and the number.
#[test]
fn minimal_says_little() {
    let texts = Texts::load().unwrap();
    let secret = "Zurich-Phone";
    let bodies = [
        Body::IdentityVerification {
            application: "Lumen".into(),
            device: secret.into(),
            new_location: true,
            new_device: true,
        },
        Body::TrustedDevice {
            device_name: secret.into(),
            browser: secret.into(),
            operating_system: secret.into(),
            new_location: true,
        },
        Body::AccountSharing { account: "Lumen".into(), shared_by: secret.into(), access: Access::Edit },
        Body::OtpReceived { account: "Lumen".into(), service: secret.into() },
    ];
    for (body, locale) in bodies.iter().flat_map(|body| Locale::ALL.map(|locale| (body, locale))) {
        for number_required in [false, true] {
            let happened = event(body.clone(), number_required);
            let minimal = render(&happened, &workspace(Detail::Minimal), locale, &texts);
            assert!(!minimal.body.contains(secret) && !minimal.title.contains(secret), "{}", minimal.body);
            assert_eq!(minimal.category, Category::of(body.kind(), number_required));
            assert_eq!(format!("{minimal:?}"), format!("Notification {{ kind: {:?}, .. }}", body.kind()));
        }
    }
    assert_eq!(Category::of(NotificationType::TrustedDevice, true), Category::ApproveNumber);
    assert_eq!(Category::of(NotificationType::OtpReceived, true), Category::Inform);
}

/// The longest body or title that rendering may give, in bytes: what the payloads reckon with.
const TEXT_BYTES_MAX: usize = 800;

proptest! {
    /// Whatever the names, texts are short, on one line, and hold no character that could turn the text but balanced isolates.
    #[test]
    fn texts_are_bounded(name in "\\PC{0,80}|[\\x00-\\x7f]{0,256}|\u{202e}[\u{600}-\u{6ff}]{0,100}", full: bool) {
        let texts = Texts::load().unwrap();
        let detail = if full { Detail::Full } else { Detail::Minimal };
        for body in bodies(&name) {
            for locale in Locale::ALL {
                let rendered = render(&event(body.clone(), false), &workspace(detail), locale, &texts);
                for text in [&rendered.title, &rendered.body] {
                    prop_assert!(!text.is_empty() && text.len() <= TEXT_BYTES_MAX);
                    let depth = text.chars().try_fold(0i32, |depth, c| match c {
                        '\u{2068}' => Ok(depth + 1),
                        '\u{2069}' if depth > 0 => Ok(depth - 1),
                        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Err(c),
                        c if c.is_control() => Err(c),
                        _ => Ok(depth),
                    });
                    prop_assert_eq!(depth, Ok(0));
                }
            }
        }
    }

    /// Cutting keeps whole graphemes of the beginning and both limits.
    #[test]
    fn cut_keeps_whole_graphemes(text in "(\\PC|\u{301}|\u{200d}|[a-z ]){0,120}", graphemes in 1usize..80, bytes in 3usize..200) {
        let shortened = cut(&text, graphemes, bytes);
        prop_assert!(shortened.len() <= bytes && shortened.graphemes(true).count() <= graphemes);
        if shortened != text {
            let kept = shortened.strip_suffix('…').unwrap();
            let rest = text.strip_prefix(kept).unwrap();
            let boundary = text.grapheme_indices(true).any(|(at, _)| at == kept.len());
            prop_assert!(rest.is_empty() || boundary || rest.starts_with(' '), "cut within a grapheme");
        }
    }
}
