//! The command line as its users see it: what it prints, and its exit codes.
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use watchbell::sandbox::{Sandbox, SandboxConfig};

use crate::support::eventually;
use crate::support::process::{command, watchbell};
use crate::support::services::send_signal;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All that a command said.
fn text_of(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

/// A signing key and a service account as Apple and Google give them.
fn keys() -> (String, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sandbox = runtime.block_on(Sandbox::start(SandboxConfig::default())).unwrap();
    let [key, account] = [&sandbox.apns().keys()[0].path, &sandbox.fcm().service_accounts()[0].path];
    (fs::read_to_string(key).unwrap(), fs::read_to_string(account).unwrap())
}

#[test]
fn the_production_example_passes_once_its_secrets_are_there() {
    // Who copies the example and mounts the secrets has a configuration that works.
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/production.example.toml");
    let secrets = tempfile::tempdir().unwrap();
    let (key, account) = keys();
    let mut check = command(&["check-config", "--config", example.to_str().unwrap()]);
    for (variable, value) in [
        ("KAFKA__SECURITY__PASSWORD_FILE", "password"),
        ("POLICY__STORE_URL_FILE", "postgres://watchbell:password@postgres.example.com/watchbell\n"),
        ("APNS__MAIN__KEY_FILE", &key),
        ("APNS__DEVELOPMENT__KEY_FILE", &key),
        ("FCM__MAIN__SERVICE_ACCOUNT_FILE", &account),
    ] {
        let file = secrets.path().join(variable);
        fs::write(&file, value).unwrap();
        check.env(format!("WATCHBELL_{variable}"), &file);
    }
    let output = check.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    assert!(printed.starts_with("OK\n"), "{printed}");
    assert!(printed.contains("apns.development") && printed.contains("PostgreSQL behind Redis"), "{printed}");
    assert!(printed.contains("https://watchbell.example.com; may approve by approver, ticket"), "{printed}");
    assert!(!printed.contains("password"), "{printed}");
    // The API starts from the same file.
    let output = check.args(["--for", "api"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
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
fn what_secrets_and_addresses_hold_is_checked_before_anything_starts() {
    // A key that is none, a URL that is none, a file without certificates: told at once, with 64, by the check and by the worker alike,
    // and none of it printed.
    let dir = tempfile::tempdir().unwrap();
    let (file, no_pem) = (dir.path().join("watchbell.toml"), dir.path().join("no.pem"));
    fs::write(&no_pem, "no certificate").unwrap();
    let text = format!(
        r#"
        [kafka]
        bootstrap_servers = "kafka-1:9092,:9092"
        [kafka.security]
        protocol = "ssl"
        ca_file = {no_pem:?}
        [policy]
        store_url = "postgres://user:hush@host:notaport/watchbell"
        redis_url = "rediss://:hush@host:notaport"
        [apns.key]
        team_id = "A1B2C3D4E5"
        key_id = "F6G7H8I9J0"
        key = "hush"
        apps = ["com.example.app"]
        environment = "production"
        base_url = "https://host/path"
        ca_file = {no_pem:?}
        [fcm.account]
        service_account = "{{}}"
        apps = ["com.example.app"]
        base_url = "https://"
        ca_file = {no_pem:?}
        "#
    );
    fs::write(&file, text).unwrap();
    let expected = [
        "kafka.bootstrap_servers must be",
        "kafka.security.ca_file: ",
        "policy.store_url is not usable",
        "policy.redis_url is not usable",
        "apns.key.key_file is not",
        "apns.key.base_url: ",
        "apns.key.ca_file: ",
        "fcm.account.service_account_file is no",
        "fcm.account.base_url: ",
        "fcm.account.ca_file: ",
    ];
    for role in ["check-config", "worker"] {
        let output = watchbell(&[role, "--config", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(64), "{role}: {}", text_of(&output));
        let told = text_of(&output);
        for beginning in expected {
            assert!(told.contains(&format!("  - {beginning}")), "{role}: {beginning} is missing in {told}");
        }
        assert!(told.contains(&format!("has {} problems", expected.len())) && !told.contains("hush"), "{role}: {told}");
    }
}

#[test]
fn the_readmes_configuration_for_the_simulators_fits_them() {
    // What the README shows is what `watchbell sandbox` makes in the folder where it runs.
    let readme = include_str!("../../README.md");
    let text = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let dir = Some(folder.path().join("watchbell-sandbox"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sandbox = runtime.block_on(Sandbox::start(SandboxConfig { dir, ..SandboxConfig::default() })).unwrap();
    let key = &sandbox.apns().keys()[0].key;
    assert!(text.contains(&format!("{:?}", key.team_id)) && text.contains(&format!("{:?}", key.key_id)), "{text}");
    fs::write(folder.path().join("watchbell.toml"), text).unwrap();
    let output = command(&["check-config", "--config", "watchbell.toml"]).current_dir(&folder).output().unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
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

#[test]
fn a_demo_that_is_told_to_end_says_what_waits_and_leaves_nothing() {
    // SIGTERM while a retry waits: the summary tells of it, a withdrawal was seen as one, every kind of end of a request was told to upstream,
    // and the temporary folder is gone.
    let (dir, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let printed = dir.path().join("printed");
    let mut demo = command(&["demo", "--text"])
        .env("TMPDIR", temporary.path())
        .stdout(File::create(&printed).unwrap())
        .stderr(File::create(dir.path().join("errors")).unwrap())
        .spawn()
        .unwrap();
    let text = || fs::read_to_string(&printed).unwrap();
    let parts = [
        "Solicitud de inicio de sesión cerrada  (silently, in place of the notification)",
        "(takes the notification away)",
        "Times are UTC",
        "Ana's Pixel     may approve: Ana's iPhone vouched for it",
        "[ Approve: type the number on the screen ]  [ Deny ]",
        "Ana's iPhone      → Approve (signed; the API: upstream has it)",
        "Elif's Pixel      → Deny: it was not me (signed; the API: upstream has it)",
        "Several requests in a short time",
        "not shown         elif: identity_verification suppressed: fatigue_guard",
        "upstream hears    asked: dieter, on iPhone 17",
        "upstream hears    decided: ana, approve; signature of Ana's iPhone verified",
        "upstream hears    decided: elif, deny not me; signature of Elif's Pixel verified",
        "upstream hears    decided: elif, approve; signature of Elif's Pixel verified",
        "upstream hears    decided: ben, deny; signature of Ben's iPhone verified",
        "upstream hears    closed: dieter, expired",
        "upstream hears    closed: ana, cancelled",
    ];
    for part in parts {
        eventually(part, Duration::from_secs(120), || text().contains(part).then_some(()));
    }
    // The next one: what waits is shown ten seconds later.
    let waits = || text().matches("dieter: otp_received waits for another attempt").count();
    let before = waits();
    eventually("a retry in the demo", Duration::from_secs(120), || (waits() > before).then_some(()));
    assert!(fs::read_dir(temporary.path()).unwrap().count() > 0, "the demo keeps its files elsewhere");
    send_signal("TERM", &[demo.id()]);
    let status = eventually("the demo to end", Duration::from_secs(60), || demo.try_wait().unwrap());
    assert!(status.success(), "{status}: {}", fs::read_to_string(dir.path().join("errors")).unwrap());
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "something is left behind");
    let text = text();
    let numbers: Vec<_> = text.lines().filter(|line| line.contains("  still waiting for a retry  ")).collect();
    assert!(numbers.len() == 1 && numbers[0].ends_with(" 1"), "{text}");
    assert!(!text.contains("ana: identity_verification waits"), "a withdrawal is no retry: {text}");
    assert!(text.contains("  upstream heard decided, deny not me "), "{text}");
}

#[test]
fn a_reader_that_leaves_ends_a_command_quietly() {
    // `| head` closes the pipe: no panic, no failure, nothing on standard error, nothing left behind.
    let many = [
        "emit",
        "otp",
        "--workspace",
        "w",
        "--user",
        "u",
        "--account",
        "A",
        "--service",
        "S",
        "--dry-run",
        "--count",
        "100000",
    ];
    for arguments in [&many[..], &["demo", "--text"]] {
        let temporary = tempfile::tempdir().unwrap();
        let mut child = command(arguments)
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(!lines.next().unwrap().unwrap().is_empty());
        drop(lines);
        let status = eventually("the command to end", Duration::from_secs(120), || child.try_wait().unwrap());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(status.success() && said.is_empty(), "{arguments:?}: {status}: {said}");
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "something is left behind");
    }
}
