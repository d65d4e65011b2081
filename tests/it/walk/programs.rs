//! The programs of `docs/upstream.md`, in Python and in Java, as the page says to run them. They are fetched from PyPI and Maven, so this is no
//! part of the gate: `make upstream` runs it and keeps what it said.
use super::readme::walk_of_the_api;
use super::{CEILING, commands, page, section};
use crate::support::eventually;

/// Each program asks Jonas, whose phone approves with the number that the program shows, and believes the answer's signature.
#[test]
#[ignore = "it fetches from PyPI and Maven: make upstream"]
fn both_programs_ask_and_verify() {
    let (mut walk, readme) = walk_of_the_api();
    // The README's set-up: up to the phone.
    for command in readme.iter().take_while(|command| !command.starts_with("watchbell emit")) {
        walk.follows(command);
    }
    walk.aloud = true;
    let folder = walk.folder.path().join("ask").display().to_string();
    let upstream = page("docs/upstream.md");
    let commands = commands(section(&upstream, "## The programs"));
    let (answer, commands) = commands.split_last().unwrap();
    assert!(answer.contains(r#""number":"042137""#), "{answer}");
    walk.types(&format!("cd {}", env!("CARGO_MANIFEST_DIR")));
    let mut ran = 0;
    for command in commands {
        let command = command.replace("/tmp/ask", &folder);
        if !command.contains(" acme jonas") {
            walk.follows(&command);
            continue;
        }
        // In another terminal: it waits for the answer.
        walk.follows(&(command + " &"));
        let words = format!("typed-{}.out", walk.typed - 1);
        let shown = eventually("the program's number", CEILING, || {
            let said = walk.read(&words);
            assert!(!said.contains("Error") && !said.contains("Exception"), "{said}");
            said.contains("check ").then_some(())?;
            said.split("the sign-in page shows ").nth(1)?.get(..6).map(str::to_owned)
        });
        eventually("the request on the phone", CEILING, || {
            walk.types(&walk.adapted("curl -s localhost:2199/phones/jonas | jq .phone.screen"))
                .contains("Payroll")
                .then_some(())
        });
        walk.follows(&answer.replace("042137", &shown));
        let end = "VERB_APPROVE signed by ";
        let said = eventually("the program to believe the answer", CEILING, || {
            Some(walk.read(&words)).filter(|said| said.contains(end))
        });
        eprintln!("{}", said.trim_end());
        assert!(said.contains("iPhone 17") && said.split(end).nth(1).unwrap().trim().len() == 43, "{said}");
        ran += 1;
    }
    assert_eq!(ran, 2, "one in Python, one in Java");
}
