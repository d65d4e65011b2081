//! The programs of `docs/upstream.md`, in Python and in Java, as the page says to run them. They are fetched from PyPI and Maven, so this is no
//! part of the gate: `make upstream` runs it and keeps what it said.
use prost::Message as _;
use serde_json::Value;
use watchbell::event::wire;

use super::readme::walk_of_the_api;
use super::{CEILING, Walk, commands, page, section};
use crate::support::eventually;
use crate::support::kafka::{Producer, Reader};

/// Each program asks Jonas, whose phone approves with the number that the program shows, and believes the answer's signature. Asking again, it
/// hears lies first, and believes none of them.
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
    let mut answered = Vec::new();
    for command in commands {
        let command = command.replace("/tmp/ask", &folder);
        if !command.contains(" acme jonas") {
            walk.follows(&command);
            continue;
        }
        for lied_to in [false, true] {
            let event = asks_and_verifies(&mut walk, &command, answer, &answered, lied_to);
            answered.push(event);
        }
    }
    assert_eq!(answered.len(), 4, "one in Python, one in Java, twice each");
}

/// Runs a program to its end; returns the event by which it asked.
fn asks_and_verifies(walk: &mut Walk, command: &str, answer: &str, answered: &[String], lied_to: bool) -> String {
    // In another terminal: it waits for the answer.
    walk.follows(&format!("{command} &"));
    let words = format!("typed-{}.out", walk.typed - 1);
    let shown = eventually("the program's number", CEILING, || {
        let said = walk.read(&words);
        assert!(!said.contains("Error") && !said.contains("Exception"), "{said}");
        said.contains("check ").then_some(())?;
        said.split("the sign-in page shows ").nth(1)?.get(..6).map(str::to_owned)
    });
    let event = eventually("the request on the phone", CEILING, || {
        let screen = walk.types(&walk.adapted("curl -s localhost:2199/phones/jonas | jq .phone.screen"));
        let screen: Value = serde_json::from_str(&screen).ok()?;
        let newest = screen.as_array()?.last().filter(|newest| newest.to_string().contains("Payroll"))?;
        newest["event"].as_str().filter(|event| !answered.iter().any(|over| over == event)).map(str::to_owned)
    });
    let mut answer = answer.replace("042137", &shown);
    if lied_to {
        lie(&walk.bootstrap, &event, answered.last().unwrap());
        eventually("the program to refuse both", CEILING, || {
            (walk.read(&words).matches("refused: ").count() == 2).then_some(())
        });
        // Watchbell itself believes its topic, and took the request off the screen. It is open all the same.
        let named = format!(r#"{{"type":"identity_verification","event":"{event}","answer""#);
        answer = answer.replace(r#"{"answer""#, &named);
    }
    walk.follows(&answer);
    let end = "VERB_APPROVE signed by ";
    let said = eventually("the program to believe the answer", CEILING, || {
        Some(walk.read(&words)).filter(|said| said.contains(end))
    });
    eprintln!("{}", said.trim_end());
    assert!(said.contains("iPhone 17") && said.split(end).nth(1).unwrap().trim().len() == 43, "{said}");
    assert!(!said.contains("CLOSED"), "{said}");
    event
}

/// Writes what no Watchbell writes: ends of what others were asked under the same id, an approval that nobody signed, and one that the phone
/// signed for an earlier event. All before the answer, in its partition.
fn lie(bootstrap: &str, event: &str, earlier: &str) {
    use wire::NotificationType::{IdentityVerification, TrustedDevice};
    use wire::decision::Body;
    let mut reader = Reader::from_beginning(bootstrap, &["watchbell.decisions"]);
    let heard = reader.up_to_the_end().iter();
    let heard = heard.map(|record| wire::Decision::decode(record.payload.as_deref().unwrap()).unwrap());
    let is_approval = |body: &Option<Body>| matches!(body, Some(Body::Decided(decided)) if !decided.jws.is_empty());
    let approved = heard.filter(|said| said.event_id == earlier).find(|said| is_approval(&said.body)).unwrap();
    let closed = Some(Body::Closed(wire::Closed { reason: wire::ClosedReason::Expired.into() }));
    let unsigned = wire::Decided { verb: wire::Verb::Approve.into(), ..Default::default() };
    let lies = [
        ("globex", IdentityVerification, "jonas", closed.clone()),
        ("acme", TrustedDevice, "jonas", closed.clone()),
        ("acme", IdentityVerification, "elif", closed),
        ("acme", IdentityVerification, "jonas", Some(Body::Decided(unsigned))),
        ("acme", IdentityVerification, "jonas", approved.body.clone()),
    ];
    let producer = Producer::new(bootstrap);
    for (n, (workspace, kind, user, body)) in lies.into_iter().enumerate() {
        let lie = wire::Decision {
            workspace_id: workspace.into(),
            r#type: kind.into(),
            event_id: event.into(),
            user_id: user.into(),
            decision_id: format!("lie-{n}-{event}"),
            body,
            ..approved.clone()
        };
        producer.send_to("watchbell.decisions", "jonas", lie.encode_to_vec());
    }
    producer.flush();
    eprintln!(
        "(On watchbell.decisions now, under this event's id: the ends of three requests of others, an approval that nobody signed,"
    );
    eprintln!("and an earlier approval of Jonas'.)");
}
