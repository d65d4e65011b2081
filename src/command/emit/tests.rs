use clap::Parser;

use super::flags::{Count, Header, Lifetime, Rate, TypeOfTopic};
use super::template::{Rules, Stamped};
use super::*;
use crate::event::wire::{self, event::Body};
use crate::event::{NotificationType, Timestamp};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    emit: EmitCommand,
}

/// What a command line asks for.
fn template(line: &str) -> Template {
    let words = std::iter::once("emit").chain(line.split(' ')).map(|word| word.replace('_', " "));
    let emit = Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).emit;
    emit.typed.unwrap().into_template().0
}

fn rules(headers: &[(&str, &str)]) -> Rules {
    let mut list = Headers::new();
    headers.iter().for_each(|(name, value)| list.push(*name, value.as_bytes().to_vec()));
    Rules { headers: list, limits: Limits { recipients_max: 500 }, with_key: true }
}

fn stamp(template: &Template) -> Stamped {
    template.stamp_at(&rules(&[]), NOW).unwrap_or_else(|refused| panic!("{refused}"))
}

fn only(text: &str) -> Template {
    let mut templates = json::read(text, Some(NotificationType::AccountSharing)).unwrap();
    assert_eq!(templates.len(), 1);
    templates.remove(0)
}

/// One command line for each type, every flag of it used.
const LINES: [(&str, NotificationType); 5] = [
    (
        "identity-verification --workspace w --user u --application Payroll --reason Export_of_salaries --device Firefox \
         --ip-address 192.0.2.1 --location Lisbon --match-number 407213 --source s --new-location --new-device",
        NotificationType::IdentityVerification,
    ),
    (
        "trusted-device --workspace w --user u --device-name Pixel_8 --device-kind phone --browser Chrome \
         --operating-system Android --location Lisbon --match-number 407213 --source s --new-location --new-device",
        NotificationType::TrustedDevice,
    ),
    (
        "account-sharing --workspace w --to u1 u2 --account Mail --shared-by Ann --access-level use --expires-in 1d",
        NotificationType::AccountSharing,
    ),
    ("otp --workspace w --user u --account Bank --service ACME --event-id e-1", NotificationType::OtpReceived),
    ("cancel --workspace w --user u --type otp --of e-1", NotificationType::OtpReceived),
];

/// Every type can be emitted from flags, on its own topic, and each flag arrives in the field of its name.
#[test]
fn flags() {
    let records = LINES.map(|(line, kind)| {
        let template = template(line);
        assert_eq!(template.kind, kind, "{line}");
        let record = stamp(&Template { event: wire::Event { event_id: "id".into(), ..template.event }, ..template });
        json::record(&record, kind.name(), &Headers::new())
    });
    insta::assert_snapshot!(records.join("\n"));
}

/// What `--dry-run` prints is what `--json` reads: the same event, byte for byte.
#[test]
fn dry_run_reads_back() {
    for (line, kind) in LINES {
        let record = stamp(&template(line));
        let printed: serde_json::Value =
            serde_json::from_str(&json::record(&record, "topic", &Headers::new())).unwrap();
        let again = json::read(&printed["event"].to_string(), Some(kind)).unwrap().remove(0);
        assert_eq!((again.kind, stamp(&again).payload), (kind, record.payload), "{line}");
    }
}

/// The key is the user for one recipient (named twice or not), the event for several, the withdrawn event for a withdrawal of several,
/// and nothing with --no-key.
#[test]
fn keys() {
    let key = |line: &str| stamp(&template(line)).key;
    assert_eq!(key("otp --workspace w --account A --service S --event-id e --user u").as_deref(), Some("u"));
    assert_eq!(key("otp --workspace w --account A --service S --event-id e --to u u").as_deref(), Some("u"));
    assert_eq!(key("otp --workspace w --account A --service S --event-id e --to u --to v").as_deref(), Some("e"));
    assert_eq!(key("cancel --workspace w --type otp --of e --to u v").as_deref(), Some("e"));
    assert_eq!(key("cancel --workspace w --type otp --of e --to u").as_deref(), Some("u"));
    let without = Rules { with_key: false, ..rules(&[]) };
    assert_eq!(template(LINES[0].0).stamp_at(&without, NOW).unwrap().key, None);
}

/// What is left out is filled in at each writing: another id, this moment, the deadline counted from it. What CloudEvents headers say
/// is left to them.
#[test]
fn filled_in() {
    let template = template("otp --workspace w --user u --account A --service S --expires-in 90s");
    let (one, other) = (stamp(&template), stamp(&template));
    assert_ne!(one.id, other.id);
    assert_eq!(uuid::Uuid::try_parse(&one.id).unwrap().get_version_num(), 7);
    assert_eq!(one.event.occurred_at.unwrap().seconds, NOW.as_secs());
    assert_eq!(one.event.expires_at.unwrap().seconds, NOW.as_secs() + 90);
    let cloud = rules(&[("ce_id", "from-header"), ("ce_time", "2027-01-15T08:00:00Z")]);
    let cloud = template.stamp_at(&cloud, NOW).unwrap();
    assert_eq!((cloud.id.as_str(), cloud.event.event_id.as_str()), ("from-header", ""));
    assert_eq!(cloud.event.occurred_at, None);
}

/// An event that a worker would dead-letter is refused with the decoder's reason and sentence, and the line it came from.
#[test]
fn refused() {
    let refuse = |template: &Template| template.stamp_at(&rules(&[]), NOW).unwrap_err().to_string();
    let said = refuse(&template("otp --workspace w --user u_v --account A --service S"));
    assert!(said.contains("bad_id") && said.contains("recipients has a byte"), "{said}");
    let said = refuse(&template("otp --workspace w --user u --account A --service S --expires-in 29d"));
    assert!(said.contains("expires_at is out of range"), "{said}");
    let text =
        "\n{\"workspaceId\": \"w\", \"recipients\": [], \"otpReceived\": {\"account\": \"A\", \"service\": \"S\"}}";
    let said = refuse(&only(text));
    assert!(said.starts_with("line 2: ") && said.contains("no_recipients"), "{said}");
}

/// JSON is read in protobuf's mapping: both spellings of names, times in RFC 3339, enums by name or number, one event over several
/// lines or one a line.
#[test]
fn json_mapping() {
    let camel = r#"{"eventId": "e", "workspaceId": "w", "recipients": ["u"], "occurredAt": "2027-01-15T08:00:00.5+01:00",
        "accountShared": {"account": "A", "sharedBy": "S", "accessLevel": "ACCESS_LEVEL_EDIT"}}"#;
    let snake = r#"{"event_id": "e", "workspace_id": "w", "recipients": ["u"], "occurred_at": "2027-01-15T07:00:00.5Z",
        "account_shared": {"account": "A", "shared_by": "S", "access_level": 3}}"#;
    let (one, other) = (only(camel), only(snake));
    assert_eq!(one, other);
    assert_eq!(
        one.event.occurred_at,
        Some(prost_types::Timestamp { seconds: 1_800_000_000 - 3_600, nanos: 500_000_000 })
    );
    let Some(Body::AccountShared(shared)) = &one.event.body else { panic!("another body") };
    assert_eq!(shared.access_level(), wire::AccessLevel::Edit);

    let lines = json::read(&format!("{camel}\n\n{snake}\n"), None).unwrap();
    assert_eq!(lines.iter().map(|template| template.line.unwrap()).collect::<Vec<_>>(), [1, 4]);
}

/// What is wrong with JSON is said with its line, and nothing is guessed: no unknown names, one body, a type for each withdrawal.
#[test]
fn json_refused() {
    let otp = r#"{"workspaceId": "w", "recipients": ["u"], "otpReceived": {"account": "A", "service": "S"}}"#;
    let cases = [
        ("", "line 1: there is no event"),
        ("{\n\"workspace\": 1}", "line 2: column 11: unknown field `workspace`"),
        ("{\n\"workspaceId\": 1}", "line 2: column 16: invalid type: integer `1`, expected a string"),
        ("{\"workspaceId\": ", "EOF while parsing"),
        ("{\"eventId\": \"e\"}", "line 1: the event has no body"),
        ("{\"otpReceived\": {},\n \"cancel\": {}}", "line 1: the event has several bodies"),
        ("{\"cancel\": {\"eventId\": \"e\"}}", "line 1: a cancel needs --cancel-type"),
        ("{\"otpReceived\": {}, \"occurredAt\": \"today\"}", "line 1: occurredAt is \"today\""),
        ("{\"accountShared\": {\"accessLevel\": \"ROOT\"}}", "line 1: \"ROOT\" is no AccessLevel"),
        ("[]", "line 1: "),
    ];
    for (text, sentence) in cases {
        let said = json::read(text, None).unwrap_err().to_string();
        assert!(said.contains(sentence), "{text}: {said}");
        // Lines are counted over the whole input.
        let said = json::read(&format!("{otp}\n{text}"), None);
        let later = sentence.replace("line 2", "line 3").replace("line 1", "line 2");
        assert!(text.is_empty() || said.as_ref().unwrap_err().to_string().contains(&later), "{text}: {said:?}");
    }
}

/// The small values are read strictly.
#[test]
fn small_values() {
    let lifetime = |text: &str| text.parse().ok().map(|Lifetime(time)| time);
    assert_eq!(lifetime("1500ms"), Some(Duration::from_millis(1500)));
    assert_eq!(lifetime("90s"), Some(Duration::from_secs(90)));
    assert_eq!(lifetime("5m"), Some(Duration::from_secs(300)));
    assert_eq!(lifetime("7d"), Some(Duration::from_secs(7 * 86_400)));
    for bad in ["", "s", "90", "0s", "-1s", "1.5h", "90 s", "99999999999999999999d"] {
        assert_eq!(lifetime(bad), None, "{bad}");
    }
    let due = |text: &str, index| text.parse().ok().map(|rate: Rate| rate.due(index));
    assert_eq!(due("200/s", 100), Some(Duration::from_millis(500)));
    assert_eq!(due("0.5", 1), Some(Duration::from_secs(2)));
    for bad in ["", "0/s", "-1", "inf", "NaN", "5/m"] {
        assert_eq!(due(bad, 1), None, "{bad}");
    }
    assert_eq!("10_000".parse(), Ok(Count(10_000)));
    assert!("0".parse::<Count>().is_err());
    assert_eq!("a=b=c".parse(), Ok(Header("a".into(), "b=c".into())));
    assert!("=b".parse::<Header>().is_err());
    assert_eq!("otp_received".parse(), Ok(TypeOfTopic(NotificationType::OtpReceived)));
    assert!("sms".parse::<TypeOfTopic>().is_err());
}

/// A command line says one thing: a type or JSON.
#[test]
fn one_or_the_other() {
    let parses = |line: &str| Line::try_parse_from(std::iter::once("emit").chain(line.split(' '))).is_ok();
    assert!(parses("--json - --count 5 --rate 10/s --cancel-type otp"));
    assert!(parses("otp --workspace w --user u --account A --service S --count 5 --rate 10/s --headers a=b --dry-run"));
    assert!(!parses("--json - otp --workspace w --user u --account A --service S"));
    assert!(!parses("otp --workspace w --account A --service S"));
    assert!(!parses("--count 5"));
}
