use std::collections::BTreeSet;
use std::io::Write;

use tempfile::NamedTempFile;

use super::*;
use crate::provider::apns::TEST_KEY;

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, Problems> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(Some(file(text).path()), environment)
}

/// What is said about a configuration, without the names of files.
fn sentences(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    load(text, environment).unwrap_err().0.into_iter().map(|problem| problem.sentence).collect()
}

#[test]
fn the_defaults_are_a_whole_configuration() {
    // A process with no file and no variable starts from the compiled-in defaults, which contradict nothing.
    let config = Config::load(None, []).unwrap();
    assert_eq!(config.kafka.session_timeout_ms, 6_000);
    assert_eq!(config.retry, RetryPolicy::default());
    assert_eq!(config.provider.pool, crate::provider::http2::PoolConfig::default());
    assert_eq!(format!("{:?}", config.flow()), format!("{:?}", crate::pipeline::FlowConfig::default()));
}

#[test]
fn a_file_outweighs_the_defaults_and_a_variable_outweighs_the_file() {
    // The layers, lowest first: defaults, file, environment.
    let text = "[kafka]\ngroup = \"of-the-file\"\ncommit_interval_ms = 100\n";
    let config = load(text, &[("WATCHBELL_KAFKA__GROUP", "of-the-environment"), ("PATH", "/bin")]).unwrap();
    assert_eq!(config.kafka.group, "of-the-environment");
    assert_eq!(config.kafka.commit_interval_ms, 100);
    assert_eq!(config.kafka.heartbeat_interval_ms, 500);
}

#[test]
fn a_variable_becomes_what_its_key_is() {
    // Numbers, text that looks like a number, lists and names of credentials can all be set by the environment.
    let key = file("key\n");
    let config = load(
        "",
        &[
            ("WATCHBELL_KAFKA__COMMIT_INTERVAL_MS", "250"),
            ("WATCHBELL_KAFKA__PROPERTIES__DEBUG", "cgrp"),
            ("WATCHBELL_APNS__MAIN__TEAM_ID", "1234567890"),
            ("WATCHBELL_APNS__MAIN__KEY_ID", "0123456789"),
            ("WATCHBELL_APNS__MAIN__KEY_FILE", key.path().to_str().unwrap()),
            ("WATCHBELL_APNS__MAIN__APPS", "[\"com.example.one\", \"com.example.two\"]"),
            ("WATCHBELL_APNS__MAIN__ENVIRONMENT", "sandbox"),
        ],
    )
    .unwrap();
    assert_eq!(config.kafka.commit_interval_ms, 250);
    assert_eq!(config.kafka.properties.get("debug"), Some("cgrp"));
    let apns = &config.apns["main"];
    assert_eq!((apns.team_id.as_str(), apns.apps.len()), ("1234567890", 2));
    assert_eq!(config.credentials(), ["apns.main"]);
}

#[test]
fn all_problems_are_told_at_once_each_with_its_key() {
    // Unknown keys, wrong types, unknown words, missing keys, contradictions: one run tells them all.
    let text = r#"
        typo = 1
        [kafka]
        bootstrap_server = "localhost:9092"
        session_timeout_ms = "soon"
        group_protocol = "modern"
        [kafka.properties]
        "group.id" = "mine"
        "no.such.property" = 1
        [worker]
        drain_deadline_ms = 5000
        [provider.pool]
        connections = 0
        [policy]
        redis_url = "redis://localhost"
        redis_ca_file = "/dev/null"
        store_url = "postgres://localhost/watchbell"
        [topics]
        dlq = "watchbell.outcomes"
        [apns.Main]
        team_id = "short"
        ca_file = "/no/such/file"
        [fcm.Main]
        service_account = "{}"
        apps = []
    "#;
    let told = sentences(text, &[("WATCHBELL_KAFKA_GROUP", "x"), ("WATCHBELL_PORT", "tcp://10.0.0.1:80")]);
    let expected = [
        "WATCHBELL_KAFKA_GROUP would be a key without a section",
        "typo is not a key",
        "kafka.bootstrap_server is not a key",
        "kafka.session_timeout_ms must be a whole number from 0 to 4294967295; it is \"soon\"",
        "kafka.group_protocol must be one of classic, consumer; it is \"modern\"",
        "apns.Main.apps is missing",
        "apns.Main.environment is missing",
        "apns.Main.key_id is missing",
        "apns.Main.key_file is missing",
        "apns.Main.team_id must be the ten characters",
        "apns.Main.ca_file: cannot read /no/such/file",
        "apns.Main has a name that does not fit",
        "kafka.properties.group.id is set by Watchbell itself; use kafka.group",
        "kafka.properties.no.such.property is refused by librdkafka",
        "provider.pool.connections must be between 1 and 64",
        "policy.redis_ca_file needs a redis_url that begins with rediss://",
        "topics.outcomes has the same name as dlq",
        "worker.drain_deadline_ms (5000) must be above provider.push_timeout_ms (15000)",
        "fcm.Main.apps is empty",
        "fcm.Main has a name that does not fit",
    ];
    for beginning in expected {
        assert!(told.iter().any(|sentence| sentence.starts_with(beginning)), "{beginning} is missing in {told:#?}");
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}

#[test]
fn what_loses_records_is_no_property() {
    // Properties that would let a record be lost or skipped are refused by either of their names, with what rules instead.
    let text = r#"
        [kafka.properties]
        "acks" = 1
        "request.required.acks" = 0
        "message.timeout.ms" = 1000
        "delivery.timeout.ms" = 1000
        "auto.offset.reset" = "latest"
        "auto.commit.enable" = true
        "delivery.report.only.error" = true
        "transactional.id" = "mine"
        "offset.store.method" = "none"
        "test.mock.num.brokers" = 1
    "#;
    let expected = [
        "kafka.properties.acks is set by Watchbell itself; use the topic's min.insync.replicas",
        "kafka.properties.request.required.acks is set by Watchbell itself; use the topic's min.insync.replicas",
        "kafka.properties.message.timeout.ms is set by Watchbell itself; use nothing",
        "kafka.properties.delivery.timeout.ms is set by Watchbell itself; use nothing",
        "kafka.properties.auto.offset.reset is set by Watchbell itself; use nothing",
        "kafka.properties.auto.commit.enable is set by Watchbell itself; use nothing",
        "kafka.properties.delivery.report.only.error is set by Watchbell itself; use nothing: an offset is finished when",
        "kafka.properties.transactional.id is set by Watchbell itself; use nothing",
        "kafka.properties.offset.store.method is set by Watchbell itself; use nothing",
        "kafka.properties.test.mock.num.brokers is set by Watchbell itself; use kafka.bootstrap_servers",
    ];
    let told = sentences(text, &[]);
    for beginning in expected {
        assert!(told.iter().any(|sentence| sentence.starts_with(beginning)), "{beginning} is missing in {told:#?}");
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}

#[test]
fn a_push_has_time_for_its_resend() {
    // A push without an answer is sent once more, so a push may take longer than a request; the shipped numbers have that room.
    let with = |push: u32| sentences(&format!("[provider]\npush_timeout_ms = {push}\n"), &[]);
    let told = with(11_999);
    assert!(told.len() == 1 && told[0].starts_with("provider.push_timeout_ms (11999) leaves a push"), "{told:?}");
    assert!(told[0].contains("pool.request_timeout_ms (10000)") && told[0].contains("at least 12000"), "{told:?}");
    assert!(load("[provider]\npush_timeout_ms = 12000\n", &[]).is_ok());
}

#[test]
fn a_problem_names_where_its_value_came_from() {
    // An operator with a file and twenty variables must not have to search.
    let file = file("[kafka]\ncommit_interval_ms = 0\n[kafka.properties]\n\"enable.auto.commit\" = true\n");
    let environment = [("WATCHBELL_WORKER__HTTP_LISTEN".to_owned(), "everywhere".to_owned())];
    let problems = Config::load(Some(file.path()), environment).unwrap_err();
    assert_eq!(problems.0.len(), 3);
    let sources: BTreeSet<_> = problems.0.iter().map(|problem| problem.source.clone().unwrap()).collect();
    let expected = [file.path().display().to_string(), "WATCHBELL_WORKER__HTTP_LISTEN".to_owned()];
    assert_eq!(sources, expected.into());
}

#[test]
fn a_file_that_is_no_toml_is_told_with_its_place() {
    // A syntax error names the file and draws the line, on lines of its own; a secret in that line stays out.
    let file = file("[kafka]\ngroup = \"a\" \"b\"\n");
    let problems = Config::load_for_worker(Some(file.path()), []).unwrap_err();
    let told = problems.to_string();
    for part in ["1 problem:", &format!("  - {}: ", file.path().display()), "\n    2 | group = \"a\" \"b\"\n    "] {
        assert!(told.contains(part), "{part:?} is missing in {told}");
    }
    for secret in ["password = \"hush", "x = { key = \"hush\" \"\" }", "\"store_url\"=\"hush"] {
        let told = sentences(&format!("[policy]\n{secret}\n"), &[]).concat();
        assert!(told.contains("\n2 | ") && !told.contains("hush"), "{told}");
    }
}

#[test]
fn what_is_half_there_makes_no_other_problem() {
    // A credential of which some keys are missing is told so once: it still is a credential, its app is nobody's, its times are its own.
    let environment = |list: &[(&str, &str)]| -> Vec<_> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let half =
        environment(&[("WATCHBELL_APNS__MAIN__TEAM_ID", "A1B2C3D4E5"), ("WATCHBELL_APNS__MAIN__APPS", "[\"a\"]")]);
    let problems = Config::load_for_worker(None, half).unwrap_err().0;
    let told: Vec<_> = problems.iter().map(|problem| problem.sentence.split(';').next().unwrap()).collect();
    let key_file = "apns.main.key_file is missing: the path of the .p8 file from Apple";
    assert_eq!(told, ["apns.main.key_id is missing", "apns.main.environment is missing", key_file]);
    assert!(problems.iter().all(|problem| problem.source.is_none()), "{problems:?}");

    let one = format!(
        "[apns.one]\nteam_id = \"A1B2C3D4E5\"\nkey_id = \"A1B2C3D4E5\"\nkey = {TEST_KEY:?}\napps = [\"com.example.app\"]\n"
    );
    let two = one.replace("one", "two");
    let file = file(&format!(
        "{one}{two}environment = \"production\"\n[provider]\npush_timeout_ms = 50000\n[worker]\ndrain_deadline_ms = \"long\"\n"
    ));
    let problems = Config::load_for_worker(Some(file.path()), []).unwrap_err().0;
    let told: Vec<_> = problems.iter().map(|problem| problem.sentence.split(';').next().unwrap()).collect();
    let number = "worker.drain_deadline_ms must be a whole number from 0 to 4294967295";
    assert_eq!(told, ["apns.one.environment is missing", number]);
    let path = file.path().display().to_string();
    assert!(problems.iter().all(|problem| problem.source.as_ref() == Some(&path)), "{problems:?}");

    let no_section = sentences("[apns]\nmain = 5\n", &[]);
    assert_eq!(no_section, ["apns.main must be a section: its keys stand below [apns.main]; it is 5"]);
    let problems = Config::load_for_worker(None, environment(&[("WATCHBELL_APNS__MAIN", "x")])).unwrap_err().0;
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn nobody_has_to_know_the_programs_types() {
    // Whatever stands where something else belongs, each documented key is told about once, in an operator's words, never with a secret.
    let all: toml::Table = toml::from_str(&super::mend::uncommented(DEFAULTS)).unwrap();
    let keys: Vec<_> = toml_keys(&all, "").into_iter().filter(|key| key != ".kafka.properties").collect();
    assert!(keys.len() > 80, "{}", keys.len());
    let mut told_about = 0;
    for key in keys {
        for wrong in ["-1.5", "true", "[[]]", "{ x = [] }", "-271828", "271828271828"] {
            // Now and then it is a fitting value.
            let Err(told) = load(&format!("{} = {wrong}\n", &key[1..]), &[]) else { continue };
            let told: Vec<_> = told.0.into_iter().map(|problem| problem.sentence).collect();
            let about: Vec<_> = told.iter().filter(|told| told.starts_with(&key[1..])).collect();
            told_about += usize::from(!about.is_empty());
            let words = [
                "u8", "u16", "u32", "u64", "usize", "f64", "i64", "struct", "enum", "sequence", "variant", "a map",
                " int ",
            ];
            for word in words {
                assert!(about.iter().all(|told| !told.contains(word)), "{about:?}");
            }
            assert!(!key.ends_with("password") || about.iter().all(|told| !told.contains("27182")), "{about:?}");
        }
    }
    assert!(told_about > 350, "{told_about}");
}

#[test]
fn a_secret_comes_from_a_value_or_a_file_but_not_from_both() {
    // Two sources of one secret would leave open which one is used.
    use secrecy::ExposeSecret;
    let secret = file("postgres://db/watchbell\n");
    let path = secret.path().display();
    let config = load(&format!("[policy]\nstore_url_file = \"{path}\""), &[]).unwrap();
    assert_eq!(config.policy.store_url.unwrap().expose_secret(), "postgres://db/watchbell");

    let both = format!("[policy]\nstore_url = \"sqlite:x\"\nstore_url_file = \"{path}\"");
    assert_eq!(sentences(&both, &[]), ["policy.store_url and policy.store_url_file are both set; remove one"]);
    let gone = sentences("[policy]\nstore_url_file = \"/no/such/file\"", &[]);
    let [only] = &gone[..] else { panic!("{gone:?}") };
    assert!(only.starts_with("policy.store_url_file: cannot read /no/such/file"), "{only}");
}

#[test]
fn secrets_print_nowhere() {
    // Neither Debug nor serialisation of a configuration shows a secret.
    let text = r#"
        [kafka.security]
        protocol = "sasl_ssl"
        sasl_mechanism = "plain"
        username = "u"
        password = "hush-kafka"
        [kafka.properties]
        "ssl.key.password" = "hush-key"
        "ssl.key.pem" = "hush-pem"
        "ssl.keystore.password" = "hush-store"
        "sasl.oauthbearer.config" = "principal=hush-oauth"
        "client.rack" = "hush, because any value may be a secret to somebody"
        [policy]
        store_url = "postgres://u:hush-store@db/w"
        redis_url = "redis://:hush-redis@cache"
        [apns.main]
        team_id = "A1B2C3D4E5"
        key_id = "A1B2C3D4E5"
        key = "hush-apns"
        apps = ["a"]
        environment = "production"
        [fcm.main]
        service_account = "hush-fcm"
        apps = ["a"]
    "#;
    let config = load(text, &[]).unwrap();
    let printed = format!("{config:?}{}", serde_json::to_string(&config).unwrap());
    assert!(!printed.contains("hush"), "{printed}");
    assert!(printed.contains("ssl.key.password") && config.kafka.properties.get("ssl.key.pem") == Some("hush-pem"));
    for name in ["ssl.key.pasword", "sasl.oauthbearer.client.secret"] {
        let refused = sentences(&format!("[kafka.properties]\n\"{name}\" = \"hush\"\n"), &[]);
        assert!(refused[0].contains("is refused by librdkafka") && !refused[0].contains("hush"), "{refused:?}");
    }
}

#[test]
fn one_app_has_one_credential() {
    // Two credentials for the same app and environment would leave open which one sends.
    let apns = |name: &str, environment: &str| {
        format!(
            "[apns.{name}]\nteam_id = \"A1B2C3D4E5\"\nkey_id = \"A1B2C3D4E5\"\nkey = \"k\"\napps = [\"com.example\"]\n\
             environment = \"{environment}\"\n"
        )
    };
    assert!(load(&(apns("one", "production") + &apns("two", "sandbox")), &[]).is_ok());
    let told = sentences(&(apns("one", "production") + &apns("two", "production")), &[]);
    assert_eq!(told, ["apns.two.apps has com.example (production), which apns.one serves too; remove one"]);
}

#[test]
fn credentials_can_be_counted_in_a_byte() {
    // 255 credentials of both kinds together are taken, and one more is refused.
    let credentials = |apns: usize, fcm: usize| -> String {
        let ids = "team_id = \"A1B2C3D4E5\"\nkey_id = \"A1B2C3D4E5\"\nkey = \"k\"\nenvironment = \"sandbox\"";
        let apns = (0..apns).map(|n| format!("[apns.a{n}]\napps = [\"a{n}\"]\n{ids}\n"));
        apns.chain((0..fcm).map(|n| format!("[fcm.f{n}]\napps = [\"f{n}\"]\nservice_account = \"x\"\n"))).collect()
    };
    let shares = "[in_flight]\nmax = 60000\n";
    load(&(credentials(200, 55) + shares), &[]).unwrap();
    let told = sentences(&(credentials(200, 56) + shares), &[]);
    assert_eq!(told, ["apns and fcm have more than 255 credentials together; let one serve several apps"]);
}

#[test]
fn a_worker_needs_a_credential() {
    // A worker that can send nothing would only fill the dead letters.
    let problems = Config::load_for_worker(None, []).unwrap_err();
    assert_eq!(problems.0.len(), 1);
    assert!(problems.0[0].sentence.contains("without a credential"));
}

#[test]
fn every_key_is_documented() {
    // Each key of the structs has a line in default.toml, with a value or commented out, and each such line is a key.
    let all = super::mend::uncommented(DEFAULTS);
    let documented: toml::Table = toml::from_str(&all).unwrap();
    let config: Config = toml::from_str(&all).expect("a documented key is no key of the configuration");
    let known = serde_json::to_value(&config).unwrap();
    assert_eq!(json_keys(&known, ""), toml_keys(&documented, ""));
}

#[test]
fn every_section_is_known_to_the_environment() {
    // A variable that lacks the second underscore is noticed in every section.
    let config = Config::load(None, []).unwrap();
    let sections = serde_json::to_value(&config).unwrap();
    let sections: BTreeSet<_> = sections.as_object().unwrap().keys().cloned().collect();
    assert_eq!(sections, super::load::SECTIONS.map(str::to_owned).into());
}

fn json_keys(value: &serde_json::Value, prefix: &str) -> BTreeSet<String> {
    match value {
        serde_json::Value::Object(table) => {
            table.iter().flat_map(|(key, value)| json_keys(value, &format!("{prefix}.{key}"))).collect()
        }
        // An optional key without a documented value would show here as one that the file does not have.
        value => [format!("{prefix}{}", if value.is_null() { " (undocumented)" } else { "" })].into(),
    }
}

fn toml_keys(table: &toml::Table, prefix: &str) -> BTreeSet<String> {
    let keys = table.iter().flat_map(|(key, value)| match value {
        toml::Value::Table(inner) => toml_keys(inner, &format!("{prefix}.{key}")),
        _ => [format!("{prefix}.{key}")].into(),
    });
    keys.collect()
}

#[test]
fn every_topic_is_described_to_operators() {
    // deploy/topics.md names each topic of the defaults, so that a new one is not forgotten there.
    let page = include_str!("../../deploy/topics.md");
    let topics = serde_json::to_value(Config::load(None, []).unwrap().topics).unwrap();
    for name in topics.as_object().unwrap().values() {
        let name = name.as_str().unwrap();
        assert!(page.contains(&format!("`{name}")), "deploy/topics.md does not describe {name}");
    }
}
