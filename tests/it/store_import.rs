//! `watchbell migrate` and `watchbell store import`, as a person runs them.
use std::process::Output;

use watchbell::event::NotificationType;
use watchbell::policy::Setting;
use watchbell::store::open;

use crate::store_support::{Kind, Place, ask};
use crate::support::block_on;
use crate::support::process::command;

fn run(place: &Place, arguments: &[&str]) -> Output {
    use secrecy::ExposeSecret;
    let url = place.config.store_url.as_ref().unwrap().expose_secret().to_owned();
    let mut command = command(arguments);
    command.env("WATCHBELL_POLICY__STORE_URL", url).env("WATCHBELL_POLICY__STORE_TIMEOUT_MS", "20000");
    command.output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn a_file_is_imported_whole_or_not_at_all() {
    // Before the migration nothing is imported; a file with one mistake leaves the store as it was; the sample goes in.
    let place = Place::empty(Kind::Sqlite);
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo.toml");
    let (code, text) = said(&run(&place, &["store", "import", sample]));
    assert!(code == Some(69) && text.contains("run `watchbell migrate` first"), "{text}");
    assert_eq!(said(&run(&place, &["migrate"])).0, Some(0));

    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.toml");
    let text = std::fs::read_to_string(sample).unwrap();
    std::fs::write(&bad, format!("{text}\n[[workspaces]]\nid = \"no good\"\n")).unwrap();
    let (code, text) = said(&run(&place, &["store", "import", bad.to_str().unwrap()]));
    assert!(code == Some(65) && text.contains("line ") && text.contains("not printable ASCII"), "{text}");
    let setting = || {
        let config = place.config.clone();
        block_on(async move {
            let policy = open(&config).await.unwrap();
            let answer = ask(&policy, "acme", &["benita"]).await.unwrap();
            policy.close().await;
            (answer.workspace.setting(NotificationType::IdentityVerification), answer.users[0].device_count())
        })
    };
    assert_eq!(setting(), (Setting::Enabled, 0));

    let (code, text) = said(&run(&place, &["store", "import", sample]));
    assert_eq!((code, text.trim()), (Some(0), "Imported 2 workspaces, 4 people, 5 devices."));
    assert_eq!(setting(), (Setting::Enforced, 1));
}
