//! The command line as its users see it: what it prints, and its exit codes.
use std::fs;
use std::path::Path;

use crate::support::process::{command, watchbell};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_production_example_passes_once_its_secrets_are_there() {
    // Who copies the example and mounts the secrets has a configuration that works.
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/production.example.toml");
    let secrets = tempfile::tempdir().unwrap();
    let mut check = command(&["check-config", "--config", example.to_str().unwrap()]);
    for (key, value) in [
        ("KAFKA__SECURITY__PASSWORD_FILE", "password"),
        ("POLICY__STORE_URL_FILE", "postgres://watchbell:password@postgres.example.com/watchbell\n"),
        ("APNS__MAIN__KEY_FILE", "key"),
        ("APNS__DEVELOPMENT__KEY_FILE", "key"),
        ("FCM__MAIN__SERVICE_ACCOUNT_FILE", "{}"),
    ] {
        let file = secrets.path().join(key);
        fs::write(&file, value).unwrap();
        check.env(format!("WATCHBELL_{key}"), &file);
    }
    let output = check.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    assert!(printed.starts_with("OK\n"), "{printed}");
    assert!(printed.contains("apns.development") && printed.contains("PostgreSQL behind Redis"), "{printed}");
    assert!(!printed.contains("password"), "{printed}");
}

#[test]
fn a_wrong_configuration_ends_with_64_and_every_problem() {
    // Deployments check a configuration before it goes out; one run has to tell them everything.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("watchbell.toml");
    fs::write(&file, "[kafka]\ngruop = \"x\"\n[retry]\nattempts_max = 0\n").unwrap();
    let output = watchbell(&["check-config", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64));
    let told = text(&output.stderr);
    assert!(told.contains("3 problems"), "{told}");
    for key in ["kafka.gruop", "retry.attempts_max", "[apns.<name>]"] {
        assert!(told.contains(key), "{key} is missing in {told}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn a_wrong_command_line_ends_with_64_and_help_with_0() {
    // Scripts can tell their own mistakes from those of the system.
    assert_eq!(watchbell(&["no-such-command"]).status.code(), Some(64));
    assert_eq!(watchbell(&["check-config", "--no-such-flag"]).status.code(), Some(64));
    assert_eq!(watchbell(&["check-config", "--config", "/no/such/file"]).status.code(), Some(64));
    let help = watchbell(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("Exit codes:"));
}
