//! Reading import files.
use super::*;
use crate::event::{DeviceId, NotificationType, UserId, WorkspaceId};
use crate::policy::{Detail, Device, Environment, Installation, Platform, Preference, Setting, Token};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

const TOML: &str = r#"
[[workspaces]]
id = "acme"
display_name = "Acme"
detail = "full"
settings = { otp_received = "enforced" }

[[workspaces.users]]
id = "auth0|ada"
preferences = { trusted_device = "off" }

[[workspaces.users.devices]]
id = "d1"
platform = "apns"
app = "com.example.app"
token = "SECRET"
environment = "sandbox"
registered_at = 1_700_000_000_000

[[workspaces]]
id = "beta"
"#;

const JSON: &str = r#"{"workspaces": [
  {"id": "acme", "display_name": "Ac\u006de", "detail": "full", "settings": {"otp_received": "enforced"},
   "users": [{"id": "auth0|ada", "preferences": {"trusted_device": "off"}, "devices": [
     {"id": "d1", "platform": "apns", "app": "com.example.app", "token": "SECRET", "environment": "sandbox",
      "registered_at": 1700000000000}]}]},
  {"id": "beta"}
]}"#;

/// Both formats say the same thing with the same names, and what is left out gets its default.
#[test]
fn both_formats_give_the_same_changes() {
    let import = read(TOML, Format::Toml, NOW).unwrap();
    assert_eq!(import, read(JSON, Format::Json, NOW).unwrap());
    assert_eq!((import.workspaces, import.users, import.devices), (2, 1, 1));
    let (workspace, user) = (WorkspaceId::new("acme").unwrap(), UserId::new("auth0|ada").unwrap());
    let installation = Installation {
        platform: Platform::Apns,
        app: "com.example.app".into(),
        environment: Environment::Sandbox,
        token: Token::new("SECRET"),
    };
    let registered_at = Timestamp(1_700_000_000_000);
    let device =
        Device { id: DeviceId::new("d1").unwrap(), installation, locale: "en-US".into(), registered_at, quiet: false };
    let (kind, preference) = (NotificationType::TrustedDevice, Preference::Off);
    assert_eq!(
        import.changes,
        [
            Change::Workspace { workspace: workspace.clone(), display_name: "Acme".into(), detail: Detail::Full },
            Change::Setting {
                workspace: workspace.clone(),
                kind: NotificationType::OtpReceived,
                setting: Setting::Enforced
            },
            Change::Preference { workspace: workspace.clone(), user: user.clone(), kind, preference },
            Change::Device { workspace, user, device, last_seen: NOW },
            Change::Workspace {
                workspace: WorkspaceId::new("beta").unwrap(),
                display_name: "beta".into(),
                detail: Detail::Minimal
            },
        ]
    );
}

fn problems(text: &str, format: Format) -> Vec<String> {
    read(text, format, NOW).unwrap_err().iter().map(Problem::to_string).collect()
}

/// Everything that is wrong is told at once, each with its line, where it stands and what would be right; no token is repeated.
#[test]
fn all_problems_are_told_by_line() {
    let toml = r#"colour = "red"
[[workspaces]]
id = "ac me"
detail = "everything"
settings = { otp_recieved = "enforced", account_sharing = true }

[[workspaces.users]]
preferences = { trusted_device = "never" }

[[workspaces.users.devices]]
id = "d1"
platform = "ios"
token = 7
environment = "production"

[[workspaces.users.devices]]
id = "d2"
platform = "fcm"
app = "a"
token = "SECRET"
environment = "sandbox"
registered_at = "yesterday"
"#;
    let told = problems(toml, Format::Toml);
    assert_eq!(
        told,
        [
            "line 1: \"colour\" is no known key, or stands twice",
            "line 3: workspaces[0]: id has a byte that is not printable ASCII at position 2",
            "line 4: workspaces[0]: detail is \"everything\", must be one of minimal, full",
            "line 5: workspaces[0].settings: \"otp_recieved\" is no type, must be one of identity_verification, trusted_device, \
             account_sharing, otp_received",
            "line 5: workspaces[0].settings: account_sharing is true or false, must be one of disabled, enabled, enforced",
            "line 7: workspaces[0].users[0]: id is missing",
            "line 8: workspaces[0].users[0].preferences: trusted_device is \"never\", must be one of on, off",
            "line 10: workspaces[0].users[0].devices[0]: app is missing",
            "line 12: workspaces[0].users[0].devices[0]: platform is \"ios\", must be one of apns, fcm",
            "line 13: workspaces[0].users[0].devices[0]: token is a number, must be a text",
            "line 16: workspaces[0].users[0].devices[1]: fcm has no sandbox",
            "line 22: workspaces[0].users[0].devices[1]: registered_at is a text, must be milliseconds since 1970, a number",
        ]
    );
}

/// What must be unique is refused the second time, with the line of the first.
#[test]
fn repetitions_are_told() {
    let phone =
        |id: &str, token: &str| format!(r#"{{"id": "{id}", "platform": "fcm", "app": "a", "token": "{token}"}}"#);
    let (one, two, three) = (phone("d1", "S1"), phone("d1", "S2"), phone("d3", "S1"));
    let json = format!(
        "{{\"workspaces\": [\n{{\"id\": \"acme\", \"users\": [\n{{\"id\": \"ada\", \"devices\": [\n{one},\n{two}]}},\n\
         {{\"id\": \"ada\", \"devices\": [\n{three}]}}]}},\n{{\"id\": \"acme\"}}]}}"
    );
    assert_eq!(
        problems(&json, Format::Json),
        [
            "line 5: workspaces[0].users[0].devices[1]: the device stands on line 4 already",
            "line 6: workspaces[0].users[1]: the user stands on line 3 already",
            "line 7: workspaces[0].users[1].devices[0]: the installation (app, environment, token) stands on line 4 already",
            "line 8: workspaces[1]: the workspace stands on line 2 already",
        ]
    );
    // A program that writes JSON writes one line.
    assert_eq!(
        problems(&json.replace('\n', ""), Format::Json),
        [
            "line 1: workspaces[0].users[0].devices[1]: the device stands on line 1 already",
            "line 1: workspaces[0].users[1].devices[0]: the installation (app, environment, token) stands on line 1 already",
            "line 1: workspaces[0].users[1]: the user stands on line 1 already",
            "line 1: workspaces[1]: the workspace stands on line 1 already",
        ]
    );
}

/// A text that is not even TOML or JSON is told by line.
#[test]
fn syntax_errors_are_told_by_line() {
    let told = problems("[[workspaces]]\nid = \"a\nx = 1\n", Format::Toml);
    assert!(told[0].starts_with("line 2: this is no TOML"), "{told:?}");
    let told = problems("{\"workspaces\": [\n{\"id\": }]}", Format::Json);
    assert!(told[0].starts_with("line 2: this is no JSON"), "{told:?}");
}

/// The example of the format that people start from, config/demo.toml, is a good file.
#[test]
fn the_sample_file_is_good() {
    let import = read(include_str!("../../../config/demo.toml"), Format::Toml, NOW).unwrap();
    assert!(import.users >= 3 && import.devices >= 3);
}
