//! What `docs/upstream.md` and its programs say stands in the schemas: their names are compared here, because no Python and no Maven is
//! needed to build Watchbell. `make upstream` runs the programs.
use std::collections::BTreeSet;
use std::path::Path;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Every name in the schemas: messages, fields, enums and their values.
fn named() -> BTreeSet<String> {
    let protos =
        ["event", "decision", "lifecycle", "types"].map(|name| read(&format!("proto/watchbell/v1/{name}.proto")));
    let code = protos.iter().flat_map(|proto| proto.lines()).map(|line| line.split("//").next().unwrap_or_default());
    words(&code.collect::<Vec<_>>().join("\n")).map(str::to_owned).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')).filter(|word| !word.is_empty())
}

/// Every text between `before` and one of `after`, if it is a word.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    let pieces = text.split(before).skip(1).filter_map(|rest| Some(&rest[..rest.find(|c| after.contains(c))?]));
    pieces.filter(|piece| words(piece).next() == Some(piece)).collect()
}

fn snake(camel: &str) -> String {
    let mut out = String::new();
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

fn all_named(what: &str, names: impl IntoIterator<Item = String>, at_least: usize) {
    let (known, names): (_, BTreeSet<String>) = (named(), names.into_iter().collect());
    let unknown: Vec<_> = names.difference(&known).collect();
    assert!(unknown.is_empty(), "{what} names what no schema has: {unknown:?}");
    assert!(names.len() >= at_least, "{what} was not understood: only {names:?} were found in it");
}

/// The Python program's messages, the fields that it sets, and those that it reads.
#[test]
fn the_python_program_knows_the_schemas() {
    let text = read("docs/upstream/python/ask.py");
    let set = text.split("event_pb2.Event(").nth(1).unwrap().split("\n)\n").next().unwrap();
    let set = set.split('=').rev().skip(1).filter_map(|before| words(before).last());
    let modules = ["event_pb2.", "decision_pb2.", "types_pb2."];
    let messages = modules.into_iter().flat_map(|module| between(&text, module, "(., "));
    let own = ["decision.", "decided.", "event."].into_iter().flat_map(|name| between(&text, name, " ,)]:.\n"));
    let own = own.filter(|name| !matches!(*name, "SerializeToString()" | "poll"));
    let bodies = between(&text, "case \"", "\"");
    let names = set.chain(messages).chain(own).chain(bodies).map(str::to_owned);
    all_named("docs/upstream/python/ask.py", names.filter(|name| name != "WhichOneof"), 25);
}

/// The Java program's likewise, whose names are made of the schemas' by a rule.
#[test]
fn the_java_program_knows_the_schemas() {
    let text = read("docs/upstream/java/src/main/java/example/Ask.java");
    let builders = text.split("Event.newBuilder()").nth(1).unwrap().split(".build()").next().unwrap();
    let set = [".set", ".add"].into_iter().flat_map(|verb| between(builders, verb, "("));
    let own = ["decision.get", "decided.get", "event.get", "getAsked().get", "getNotice().get", "getClosed().get"];
    let read = own.into_iter().flat_map(|before| between(&text, before, "(")).filter(|name| *name != "BodyCase");
    let fields = set.chain(read).map(|name| snake(name.strip_suffix("List").unwrap_or(name)));
    let classes = ["EventOuterClass.", "DecisionOuterClass.", "v1.Types."];
    let messages = classes.into_iter().flat_map(|class| between(&text, class, ";"));
    let bodies = between(&text, "case ", " ").into_iter().filter(|case| *case != "BODY_NOT_SET");
    let bodies = bodies.map(str::to_ascii_lowercase);
    let names = fields.chain(messages.map(str::to_owned)).chain(bodies);
    all_named("docs/upstream/java/…/Ask.java", names, 25);
}

/// Both programs compare all that makes a record an answer to what was asked, of which an event's id is only a part, and take no end without
/// a statement but a denial. `make upstream` lies to them.
#[test]
fn the_programs_compare_what_was_asked() {
    let python = ["decision.workspace_id", "decision.type", "decision.event_id", "decision.user_id"];
    let java =
        ["getWorkspaceId()", "getType()", "getEventId()", "getUserId()"].map(|field| format!("decision.{field}"));
    for (path, compared) in [
        ("docs/upstream/python/ask.py", python.map(str::to_owned)),
        ("docs/upstream/java/src/main/java/example/Ask.java", java),
    ] {
        let text = read(path);
        let missing: Vec<_> = compared.iter().filter(|field| !text.contains(*field)).collect();
        assert!(missing.is_empty(), "{path} compares no {missing:?}");
        assert!(text.contains("VERB_DENY") && !text.contains("VERB_APPROVE"), "{path}: what may come unsigned");
    }
}

/// The page names no field, type or word that the schemas do not have, but those of a statement and of the configuration.
#[test]
fn the_page_knows_the_schemas() {
    let page = read("docs/upstream.md");
    let config = read("config/default.toml");
    let statement = ["aud", "workspace", "user", "type", "event", "verb", "iat", "alg", "typ", "number"];
    let enums = named();
    let is_known = |name: &str| {
        statement.contains(&name)
            || config.contains(name)
            || matches!(name, "acks" | "murmur2_random" | "ES256" | "Watchbell")
            || enums.iter().any(|known| known.ends_with(&format!("_{name}")))
    };
    let prose = page.split("```").step_by(2).collect::<String>();
    let names = prose.split('`').skip(1).step_by(2).filter(|name| words(name).next() == Some(*name));
    all_named("docs/upstream.md", names.filter(|name| !is_known(name)).map(str::to_owned), 18);
}
