//! `watchbell sandbox`: the APNs and FCM simulators, the OIDC issuer and phones as a program of their own.
//!
//! For any team with any client of these: it prints where it listens and which files a client needs, for Watchbell itself as TOML, then runs
//! until it is told to stop (Ctrl-C or SIGTERM).
//! It reads none of Watchbell's own configuration and needs no Kafka, no store, no network beyond loopback.
//! It ends with an error if a port, the directory, the configuration file or a fault rule cannot be used.
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::stop::Stop;
use super::{Failure, output};
use crate::sandbox::Sandbox;
use crate::sandbox::config::{Environment, Recording, SandboxConfig};
use crate::sandbox::fault::Rule;

/// The APNs simulator's usual port: Apple's alternative port.
const APNS_PORT: u16 = 2197;
/// The FCM simulator's usual port.
const FCM_PORT: u16 = 2198;
/// The OIDC issuer's usual port.
const ISSUER_PORT: u16 = 2200;
/// The control endpoint's usual port.
const CONTROL_PORT: u16 = 2199;
/// Where its files usually are.
const DIR: &str = "./watchbell-sandbox";

const POINTING: &str = "\
Point an APNs client at it:
  base URL       https://127.0.0.1:2197 in place of https://api.push.apple.com
  trust          DIR/ca.pem
  key            DIR/AuthKey_WBSANDBOXK.p8, key id WBSANDBOXK, team id WBSANDBOXT, any topic
  device token   any hexadecimal string is a live device, unless --strict-tokens

Point an FCM client at it:
  base URL       https://127.0.0.1:2198 in place of https://fcm.googleapis.com
  trust          DIR/ca.pem
  credentials    DIR/watchbell-sandbox.service-account.json (its token_uri points here)
  project        watchbell-sandbox
  token          any text is a live registration, unless --strict-tokens

Sign in at its OIDC issuer:
  issuer         https://127.0.0.1:2200, audience watchbell, clients watchbell-cli and watchbell-console
  trust          DIR/ca.pem
  people         owner, super_admin, admin, user, elsewhere, operator; the claim workspaces maps a workspace to a role
  code flow      GET /authorize with login_hint=admin answers at once with the redirect, without it a page to choose from:
  verifier=$(head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d =)
  challenge=$(printf %s $verifier | openssl dgst -sha256 -binary | base64 | tr '+/' '-_' | tr -d =)
  code=$(curl -s --cacert DIR/ca.pem -o /dev/null -w '%{redirect_url}' -G https://127.0.0.1:2200/authorize \\
       -d response_type=code -d client_id=watchbell-cli -d redirect_uri=http://localhost/callback -d scope=openid \\
       -d code_challenge_method=S256 -d code_challenge=$challenge -d login_hint=admin | sed 's/.*code=//; s/&.*//')
  curl --cacert DIR/ca.pem https://127.0.0.1:2200/token -d grant_type=authorization_code -d client_id=watchbell-cli \\
       -d redirect_uri=http://localhost/callback -d code=$code -d code_verifier=$verifier
  shortcut       any token, right or wrong, by the control endpoint (sign: current, stranger, broken, none, public_key_as_secret):
  curl localhost:2199/issuer/tokens -d '{\"persona\":\"admin\"}'
  curl localhost:2199/issuer/tokens -d '{\"persona\":\"admin\",\"claims\":{\"exp\":1,\"aud\":null},\"sign\":\"none\"}'
  curl localhost:2199/issuer/rotate -d '{\"keep_old\":true}'
  curl -X PUT localhost:2199/issuer/lifetime -d '{\"token_lifetime_s\":5}'
  curl -X PUT localhost:2199/issuer/personas/eve \\
       -d '{\"name\":\"eve\",\"user\":\"eve\",\"workspaces\":{\"acme\":\"admin\"},\"acr\":\"phr\",\"auth_age_s\":60}'

Have phones that sign (none until you make one; enrolled at `watchbell api`, whose api.devices.public_url is the address given here):
  curl -X PUT localhost:2199/phones/jonas -d '{\"persona\":\"user\",\"platform\":\"apns\",\"model\":\"iPhone 17\"}'
  curl localhost:2199/phones/jonas/enrol -d '{\"api\":\"http://localhost:8081\",\"workspace\":\"acme\",\"ticket_by\":\"admin\"}'
  curl localhost:2199/phones/jonas                 what is on its screen, what it did, what the API said
  curl localhost:2199/phones/jonas/answer -d '{\"answer\":\"approve\",\"number\":\"042137\"}'
  curl -X PUT localhost:2199/phones/jonas/behaviour -d '{\"answer\":\"deny\",\"times\":3,\"after_ms\":500}'
  instead of ticket_by: \"vouched_by\" another phone of the same person, or neither: the sign-in itself speaks for it

See what happened, make things go wrong (JSON over plain HTTP):
  curl localhost:2199/stats
  curl localhost:2199/devices/abcd12
  curl -X PUT localhost:2199/tokens/abcd12 -H 'content-type: application/json' \\
       -d '{\"provider\":\"apns\",\"state\":\"unregistered\",\"timestamp\":1700000000000}'
  curl localhost:2199/faults -H 'content-type: application/json' \\
       -d '{\"provider\":\"fcm\",\"count\":3,\"fault\":{\"kind\":\"refuse\",\"reason\":\"UNAVAILABLE\",\"retry_after\":5}}'
  curl -X DELETE localhost:2199/faults
  curl -X PUT localhost:2199/quota -d '{\"requests\":100,\"window_ms\":60000}'
  curl localhost:2199/connections/goaway -H 'content-type: application/json' \\
       -d '{\"provider\":\"apns\",\"reason\":\"Shutdown\",\"lose\":true}'

Faults: a rule has \"provider\" (apns, fcm, oauth, issuer), optionally \"token\" (for issuer a path, such as /jwks), \"percent\",
\"skip\", \"count\", \"for_ms\", and a \"fault\":
  {\"kind\":\"latency\",\"ms\":200,\"jitter_ms\":100}
  {\"kind\":\"refuse\",\"reason\":\"TooManyRequests\",\"retry_after\":5}   retry_after also {\"date_in_s\":5}; status, timestamp
  {\"kind\":\"reply\",\"status\":502,\"content_type\":\"text/html\",\"body\":\"<html>Bad Gateway</html>\"}
  {\"kind\":\"reset_stream\",\"accept\":true}    {\"kind\":\"disconnect\",\"accept\":false}    {\"kind\":\"hang\",\"accept\":false}
  {\"kind\":\"goaway\",\"reason\":\"Shutdown\"}    {\"kind\":\"stream_limit\",\"streams\":1}
  {\"kind\":\"black_hole\"}    {\"kind\":\"wedge\"}    {\"kind\":\"ignore_pings\"}
  accept: the device receives the push although the sender never hears of it.";

/// Simulate APNs, FCM with its token endpoint, an OIDC issuer and phones, for any client of them.
#[derive(Debug, clap::Args)]
#[command(after_long_help = POINTING)]
pub(super) struct SandboxCommand {
    /// Address to listen on; the control endpoint has no authentication, so leave it on loopback. [default: 127.0.0.1]
    #[arg(long)]
    host: Option<IpAddr>,
    /// Port of the APNs simulator (HTTP/2 over TLS); 0 takes a free one. [default: 2197]
    #[arg(long)]
    apns_port: Option<u16>,
    /// Port of the FCM simulator and its token endpoint (HTTP/2 and HTTP/1.1 over TLS); 0 takes a free one. [default: 2198]
    #[arg(long)]
    fcm_port: Option<u16>,
    /// Port of the OIDC issuer (HTTP/2 and HTTP/1.1 over TLS); 0 takes a free one. [default: 2200]
    #[arg(long)]
    issuer_port: Option<u16>,
    /// Port of the control endpoint (plain HTTP); 0 takes a free one. [default: 2199]
    #[arg(long)]
    control_port: Option<u16>,
    /// A further name under which clients reach it, for the certificate; may be repeated.
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// Directory for the CA, keys and service accounts; what is there is used again. [default: ./watchbell-sandbox]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// TOML or JSON file with addresses, teams, keys, projects, people and limits; flags that are given win over it.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Refuse device tokens of which the control endpoint was told nothing.
    #[arg(long)]
    strict_tokens: bool,
    /// Be one of Apple's environments only, so that keys and devices of the other are refused.
    #[arg(long, value_enum)]
    apns_environment: Option<EnvironmentArg>,
    /// What to keep of each push: everything, ids and times, or counts only (for load).
    #[arg(long, value_enum)]
    record: Option<RecordArg>,
    /// Do not parse APNs payloads (for load); sizes are still checked.
    #[arg(long)]
    skip_payload_checks: bool,
    /// Also accept provider tokens with DER signatures or padded base64, as Apple does.
    #[arg(long)]
    accept_der: bool,
    /// A fault rule as JSON, in force from the start; may be repeated.
    #[arg(long = "fault", value_name = "JSON")]
    faults: Vec<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum EnvironmentArg {
    Production,
    Sandbox,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RecordArg {
    Full,
    Arrivals,
    Counters,
}

impl SandboxCommand {
    /// Runs the simulators until Ctrl-C or SIGTERM.
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.into_config()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::internal)?;
        runtime.block_on(async {
            let mut stop = Stop::listen()?;
            let sandbox = Sandbox::start(config).await.map_err(|error| Failure::Unavailable(error.to_string()))?;
            output::line(summary(&sandbox))?;
            stop.asked().await;
            sandbox.shutdown().await;
            Ok(())
        })
    }

    fn into_config(self) -> Result<SandboxConfig, Failure> {
        let (mut config, said) = self.config.as_deref().map(read).transpose()?.unwrap_or_default();
        config.host = self.host.or(said.host).unwrap_or(config.host);
        config.apns_port = self.apns_port.or(said.apns_port).unwrap_or(APNS_PORT);
        config.fcm_port = self.fcm_port.or(said.fcm_port).unwrap_or(FCM_PORT);
        config.issuer_port = self.issuer_port.or(said.issuer_port).unwrap_or(ISSUER_PORT);
        config.control_port = self.control_port.or(said.control_port).unwrap_or(CONTROL_PORT);
        config.names.extend(self.names);
        config.dir = Some(self.dir.or(said.dir).unwrap_or_else(|| DIR.into()));
        config.apns.strict_tokens |= self.strict_tokens;
        config.fcm.strict_tokens |= self.strict_tokens;
        config.apns.accept_der |= self.accept_der;
        config.apns.check_payloads &= !self.skip_payload_checks;
        if let Some(environment) = self.apns_environment {
            config.apns.environment = Some(match environment {
                EnvironmentArg::Production => Environment::Production,
                EnvironmentArg::Sandbox => Environment::Sandbox,
            });
        }
        if let Some(record) = self.record {
            let recording = match record {
                RecordArg::Full => Recording::Full,
                RecordArg::Arrivals => Recording::Arrivals,
                RecordArg::Counters => Recording::Counters,
            };
            config.apns.recording = recording;
            config.fcm.recording = recording;
        }
        for text in &self.faults {
            let rule: Rule = serde_json::from_str(text).map_err(|error| {
                Failure::Usage(format!("--fault {text} is no fault rule ({error}); see `watchbell sandbox --help`"))
            })?;
            config.faults.push(rule);
        }
        let wrong = config.faults.iter().find_map(|rule| rule.check().err());
        let wrong = wrong.or_else(|| config.fcm.quota().and_then(|quota| quota.check().err()));
        wrong.map_or(Ok(config), |sentence| Err(Failure::Usage(sentence)))
    }
}

/// What a file says of those keys whose defaults are others on the command line than in the library.
#[derive(Default, Deserialize)]
struct Said {
    host: Option<IpAddr>,
    apns_port: Option<u16>,
    fcm_port: Option<u16>,
    issuer_port: Option<u16>,
    control_port: Option<u16>,
    dir: Option<PathBuf>,
}

/// Reads a configuration file, JSON if its name says so, else TOML.
fn read(path: &Path) -> Result<(SandboxConfig, Said), Failure> {
    let wrong = |error: String| Failure::Usage(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    if path.extension().is_some_and(|extension| extension == "json") {
        let read = serde_json::from_str(&text).and_then(|config| Ok((config, serde_json::from_str(&text)?)));
        read.map_err(|error| wrong(error.to_string()))
    } else {
        let read = toml::from_str(&text).and_then(|config| Ok((config, toml::from_str(&text)?)));
        read.map_err(|error| wrong(error.to_string()))
    }
}

/// What a person needs to point a client here.
fn summary(sandbox: &Sandbox) -> String {
    let mut lines = vec![format!("APNs     {}", sandbox.apns_url())];
    for key in sandbox.apns().keys() {
        let (key_id, team_id) = (&key.key.key_id, &key.key.team_id);
        lines.push(format!("         key {key_id} of team {team_id}: {}", key.path.display()));
    }
    lines.push(format!("FCM      {}", sandbox.fcm_url()));
    for account in sandbox.fcm().service_accounts() {
        lines.push(format!("         project {}: {}", account.project_id, account.path.display()));
    }
    lines.push(format!("Sign-in  {}", sandbox.issuer().url()));
    lines.push(format!("         audience {}, tokens also by POST /issuer/tokens below", sandbox.issuer().audience()));
    lines.push(format!("Trust    {}", sandbox.ca_file().display()));
    lines.push(format!("Control  {}  (try /stats, /devices, /phones, /credentials)", sandbox.control_url()));
    lines.push(format!("For Watchbell, whatever your app's id is:\n\n{}", configuration(sandbox)));
    lines.push("Ready. Ctrl-C ends it. `watchbell sandbox --help` tells how to point a client here.".to_owned());
    lines.join("\n")
}

/// What stands in Watchbell's own configuration to push here: the first key and the first project.
fn configuration(sandbox: &Sandbox) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let file = |path: &Path| quoted(&path.strip_prefix(".").unwrap_or(path).display().to_string());
    let (apps, ca_file) = ("apps = [\"com.example.app\"]", format!("ca_file = {}", file(sandbox.ca_file())));
    let mut lines = Vec::new();
    if let Some(key) = sandbox.apns().keys().first() {
        let environment = match sandbox.apns().environment_of(&key.key) {
            Some(Environment::Sandbox) => "sandbox",
            Some(Environment::Production) | None => "production",
        };
        lines.extend([
            "[apns.main]".to_owned(),
            format!("team_id = {}", quoted(&key.key.team_id)),
            format!("key_id = {}", quoted(&key.key.key_id)),
            format!("key_file = {}", file(&key.path)),
            apps.to_owned(),
            format!("environment = {}", quoted(environment)),
            format!("base_url = {}", quoted(&sandbox.apns_url())),
            ca_file.clone(),
            String::new(),
        ]);
    }
    if let Some(account) = sandbox.fcm().service_accounts().first() {
        lines.extend([
            "[fcm.main]".to_owned(),
            format!("service_account_file = {}", file(&account.path)),
            apps.to_owned(),
            format!("base_url = {}", quoted(&sandbox.fcm_url())),
            ca_file,
            String::new(),
        ]);
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        command: SandboxCommand,
    }

    fn config(arguments: &[&str]) -> Result<SandboxConfig, Failure> {
        let line = Line::try_parse_from([&["sandbox"], arguments].concat());
        line.map_err(|error| Failure::Usage(error.to_string()))?.command.into_config()
    }

    #[test]
    fn flags_win_over_the_file_and_mistakes_are_explained() {
        // A file may hold everything; flags that are given win over it, those that are not do not; an unknown key, a missing file and a broken rule name themselves.
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sandbox.toml");
        let text = "[apns]\nstream_limit = 5\n[[apns.teams]]\nteam_id = \"AAAAAAAAAA\"\n[[fcm.projects]]\nproject_id = \"p\"\n";
        std::fs::write(&file, text).unwrap();
        let path = file.to_str().unwrap();
        let rule = r#"{"provider":"apns","fault":{"kind":"latency","ms":5}}"#;
        let read =
            config(&["--config", path, "--apns-port", "0", "--strict-tokens", "--record", "counters", "--fault", rule]);
        let read = read.unwrap();
        assert_eq!((read.apns.stream_limit, read.apns.teams.len(), read.apns_port, read.fcm_port), (5, 1, 0, FCM_PORT));
        assert_eq!(read.fcm.projects[0].project_id, "p");
        assert!(read.apns.strict_tokens && read.fcm.strict_tokens && read.apns.recording == Recording::Counters);
        assert_eq!(read.faults.len(), 1);
        assert_eq!(read.dir.unwrap(), Path::new(DIR));

        let all = "host = \"::1\"\napns_port = 34001\nfcm_port = 34002\ncontrol_port = 0\ndir = \"elsewhere\"\n";
        let json = dir.path().join("sandbox.json");
        let as_json = serde_json::to_string(&toml::from_str::<serde_json::Value>(all).unwrap()).unwrap();
        std::fs::write(&file, all).unwrap();
        std::fs::write(&json, as_json).unwrap();
        for path in [path, json.to_str().unwrap()] {
            let read = config(&["--config", path, "--fcm-port", "7"]).unwrap();
            let ports = (read.apns_port, read.fcm_port, read.control_port);
            assert_eq!(
                (ports, read.host.to_string(), read.dir),
                ((34001, 7, 0), "::1".into(), Some("elsewhere".into()))
            );
        }
        let usual = config(&[]).unwrap();
        assert_eq!((usual.apns_port, usual.fcm_port, usual.control_port), (APNS_PORT, FCM_PORT, CONTROL_PORT));
        assert!(usual.host.is_loopback());

        std::fs::write(&file, "[apns]\nstreams = 5\n").unwrap();
        for (arguments, named) in [
            (vec!["--config", path], "streams"),
            (vec!["--config", "/does/not/exist.toml"], "/does/not/exist.toml"),
            (vec!["--fault", "{}"], "--help"),
            (vec!["--fault", r#"{"provider":"apns","count":0,"fault":{"kind":"wedge"}}"#], "count must be at least 1"),
            (vec!["--record", "everything"], "everything"),
        ] {
            let error = config(&arguments).unwrap_err().to_string();
            assert!(error.contains(named), "{arguments:?}: {error}");
        }
    }

    #[tokio::test]
    async fn the_summary_names_every_address_and_file() {
        // What is printed at the start is enough to point a client here.
        let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
        let text = summary(&sandbox);
        let key = sandbox.apns().keys()[0].path.display().to_string();
        let account = sandbox.fcm().service_accounts()[0].path.display().to_string();
        let ca = sandbox.ca_file().display().to_string();
        let issuer = sandbox.issuer().url().to_owned();
        for part in [sandbox.apns_url(), sandbox.fcm_url(), sandbox.control_url(), key, account, ca, issuer] {
            assert!(text.contains(&part), "{part} is missing in\n{text}");
        }
    }

    #[tokio::test]
    async fn what_it_prints_for_watchbell_is_what_the_readme_shows() {
        // But for the ports, which are free ones here, and the folder.
        let folder = tempfile::tempdir().unwrap();
        let dir = Some(folder.path().join("watchbell-sandbox"));
        let sandbox = Sandbox::start(SandboxConfig { dir, ..SandboxConfig::default() }).await.unwrap();
        let printed = configuration(&sandbox).replace(&format!("{}/", folder.path().display()), "");
        let printed = printed.replace(&sandbox.apns_url(), "https://127.0.0.1:2197");
        let printed = printed.replace(&sandbox.fcm_url(), "https://127.0.0.1:2198");
        let readme = include_str!("../../README.md").split("```toml\n").nth(1).unwrap();
        assert_eq!(printed, readme.split("```").next().unwrap());
        assert!(summary(&sandbox).contains(&configuration(&sandbox)));
    }
}
