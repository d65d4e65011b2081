//! The README, from top to bottom.
use serde_json::{Value, json};

use super::{Walk, blocks, commands, page, section};
use crate::support::{SOON, eventually};

/// The README's line for whoever has Kafka and PostgreSQL elsewhere.
pub(super) fn give(readme: &str) -> String {
    let begin = readme.find("`export WATCHBELL_KAFKA__").expect("the line that gives other addresses") + 1;
    readme[begin..].split('`').next().unwrap().replace('\n', " ")
}

/// The walk of "The API", with its configuration in place, and what its last sentence says ends it.
pub(super) fn walk_of_the_api() -> (Walk, Vec<String>) {
    let readme = page("README.md");
    let (sandbox, api) = (section(&readme, "## Your own Kafka"), section(&readme, "## The API"));
    let walk = Walk::begin(&give(&readme));
    // "the configuration that the sandbox printed, and": another test holds the first part against what it prints.
    walk.write("trial.toml", &(blocks(sandbox, "toml").concat() + &blocks(api, "toml").concat()));
    let end = api.split("`kill ").nth(1).and_then(|rest| rest.split('`').next()).expect("what ends it all");
    let mut commands = commands(api);
    commands.push(format!("kill {end}"));
    (walk, commands)
}

/// From signing in, through a type that is enforced, to an event, its push, and its answer as upstream hears it.
#[test]
fn the_readmes_walk_from_sign_in_to_answer() {
    let (walk, commands) = walk_of_the_api();
    let mut walk = walk.expecting(&[
        ("watchbell migrate", ""),
        ("curl -X PUT localhost:8081/v1/workspaces/acme/settings/trusted_device", r#""setting":"enforced""#),
        ("curl -X PUT localhost:8081/v1/workspaces/acme/me/preferences/trusted_device", r#""status":409"#),
        ("curl -X PUT localhost:2199/phones/jonas", r#""user":"jonas""#),
        ("curl localhost:2199/phones/jonas/enrol", r#""way":"ticket""#),
        ("watchbell emit trusted-device", ""),
        ("curl -s localhost:2199/phones/jonas | jq .phone.screen", "Trust a new device?"),
        ("curl localhost:2199/phones/jonas/answer", r#""status":200"#),
        ("watchbell decisions --from-beginning", "approve"),
        ("kill %3 %2 %1", ""),
    ]);
    let mut heard = Vec::new();
    for command in commands {
        let printed = walk.follows(&command);
        if command.starts_with("watchbell decisions") {
            heard = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
        }
    }
    let [asked, decided] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((&asked["user"], &asked["asked"]["devices"]), (&json!("jonas"), &json!(["iPhone 17"])), "{asked}");
    assert_eq!((&decided["event"], &decided["type"]), (&asked["event"], &json!("trusted_device")));
    assert_eq!(
        (&decided["decided"]["verb"], &decided["decided"]["signed"]),
        (&json!("approve"), &json!(true)),
        "{decided}"
    );
    eventually("all three to end", 2 * SOON, || walk.types("jobs -r").is_empty().then_some(()));
    walk.done();
}

/// A Kafka of one's own, with the simulators for Apple and Google: checked, made, filled, run, and a first event.
#[test]
fn the_readmes_walk_on_ones_own_kafka() {
    let readme = page("README.md");
    let part = section(&readme, "## Your own Kafka");
    let mut walk = Walk::begin(&give(&readme)).expecting(&[
        ("watchbell check-config --config watchbell.toml", "OK\n"),
        ("watchbell topics create", "watchbell.outcomes"),
        ("watchbell migrate", ""),
        ("watchbell store import people.toml", ""),
        ("watchbell worker", ""),
        ("watchbell emit otp", ""),
        ("watchbell sandbox", ""),
    ]);
    let api = section(&readme, "## The API");
    walk.write("watchbell.toml", &(blocks(part, "toml").concat() + &blocks(api, "toml").concat()));
    walk.write("people.toml", &page("config/demo.toml"));
    let mut commands = commands(part);
    commands.retain(|command| !command.starts_with("cargo "));
    // The simulators stand where Apple and Google would.
    commands.sort_by_key(|command| command != "watchbell sandbox");
    for command in commands {
        // Another terminal for what does not end, and what the page says of fewer than three brokers.
        let besides = match command.split_once(" --config").map_or(command.as_str(), |(what, _)| what) {
            "watchbell sandbox" | "watchbell worker" => " &",
            "watchbell topics create" => " --replication 1 --with-upstreams",
            _ => "",
        };
        walk.follows(&(command.clone() + besides));
    }
    let ended = walk.types("watchbell outcomes --config watchbell.toml --from-beginning --count 2");
    assert_eq!(ended.matches(r#""ending":"accepted""#).count(), 2, "{ended}");
    walk.done();
}
