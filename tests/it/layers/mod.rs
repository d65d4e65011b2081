//! The architecture as a test: who may name whom.
//!
//! Domain (`event` < `policy` < `people`, `notification` < `delivery`, and the traits in `seam`) ← adapters (`provider`, `kafka`, `store`,
//! `telemetry`) ← flow (`pipeline`, `worker`) ← edge. What is below knows nothing of what is above, so that a provider, a store or a
//! broker can be replaced without touching what decides; and what decides can be tested without any of them.
mod scan;
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use scan::{Named, Scanned, scan};

/// Longest source file, in lines: what can be read at one go.
const LINES_MAX: usize = 400;

/// A module of the crate's root, and the layer that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    /// Pure, and knows only these modules.
    Domain(&'static [&'static str]),
    /// The traits between the layers: types of the domain, one `Notify`, and the system's clock behind a trait.
    Seam,
    /// Small tools that everybody may use: they know no module of ours.
    Base,
    Adapter,
    Flow,
    Edge,
}

/// Every module of the crate's root. A new one must say here where it stands.
const MODULES: [(&str, Layer); 17] = [
    ("event", Layer::Domain(&[])),
    ("policy", Layer::Domain(&["event"])),
    ("people", Layer::Domain(&["event", "policy"])),
    ("notification", Layer::Domain(&["event", "policy"])),
    ("delivery", Layer::Domain(&["event", "policy", "notification"])),
    ("seam", Layer::Seam),
    ("settings", Layer::Base),
    ("allowance", Layer::Base),
    ("provider", Layer::Adapter),
    ("kafka", Layer::Adapter),
    ("store", Layer::Adapter),
    ("telemetry", Layer::Adapter),
    ("pipeline", Layer::Flow),
    ("worker", Layer::Flow),
    ("sandbox", Layer::Edge),
    ("command", Layer::Edge),
    ("config", Layer::Edge),
];
/// Modules of the edge that may come and go.
const MORE_EDGE: [&str; 4] = ["app", "bench", "control", "main"];

const DOMAIN: [&str; 5] = ["event", "policy", "people", "notification", "delivery"];

/// Crates that compute and do nothing else.
const PURE_CRATES: [&str; 13] = [
    "aws_lc_rs",
    "base64",
    "bytes",
    "core",
    "fluent_bundle",
    "fluent_syntax",
    "prost",
    "prost_types",
    "serde",
    "serde_json",
    "thiserror",
    "unicode_segmentation",
    "uuid",
];

/// The parts of pure crates and of the standard library that do input and output, throw dice, know the time, or wait.
const IMPURE: [&str; 12] = [
    "aws_lc_rs::rand",
    "std::env",
    "std::fs",
    "std::future",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::sync::mpsc",
];

/// The libraries of the outside, and the only place below the edge that names them.
const HOMES: [(&str, &str); 8] = [
    ("rdkafka", "kafka"),
    ("sqlx", "store"),
    ("redis", "store"),
    ("a2", "provider/apns"),
    ("p256", "provider/apns"),
    ("jsonwebtoken", "provider"),
    ("metrics_exporter_prometheus", "telemetry"),
    ("axum", "telemetry"),
];

/// Where the types generated from `proto/` may be named.
const WIRE_TYPES: [&str; 6] =
    ["event/", "delivery/codec", "people/codec", "command/emit", "command/follow", "command/demo"];

/// One sentence, with the place that breaks it.
type Violation = String;

/// What is wrong with the file at `path` (relative to the sources' root).
fn violations(path: &str, scanned: &Scanned) -> Vec<Violation> {
    let Some(layer) = layer_of(path) else {
        return vec![format!("src/{path}: its module is in no layer; give it one in tests/it/layers/mod.rs")];
    };
    let mut found = Vec::new();
    for named in &scanned.named {
        let rules = [may_know(path, layer, named), is_pure(layer, named), is_wire(path, named)].into_iter().flatten();
        let rules = rules.map(str::to_owned).chain(is_at_home(path, layer, named));
        found.extend(rules.map(|rule| format!("src/{path}:{} names {named}: {rule}", named.line)));
    }
    if matches!(layer, Layer::Domain(_)) {
        let said = scanned.asynchronous.iter();
        found.extend(said.map(|line| format!("src/{path}:{line} says async or await: the domain waits for nothing")));
    }
    found
}

fn module_name(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap_or_default()
}

fn layer_of(path: &str) -> Option<Layer> {
    let name = module_name(path);
    if name == "lib" || MORE_EDGE.contains(&name) {
        return Some(Layer::Edge);
    }
    MODULES.iter().find(|(module, _)| *module == name).map(|(_, layer)| *layer)
}

/// A layer knows only what is below it, and adapters do not know each other.
fn may_know(path: &str, layer: Layer, named: &Named) -> Option<&'static str> {
    let other = match named.segments.as_slice() {
        [first, module, ..] if first == "crate" => module.as_str(),
        // `use crate::*` would let anything in.
        [first] if first == "crate" && named.glob => "*",
        _ => return None,
    };
    if other == module_name(path) {
        return None;
    }
    match layer {
        Layer::Domain(below) => (!below.contains(&other) && other != "settings")
            .then_some("the domain knows only event < policy < notification < delivery, each those before it"),
        Layer::Seam => (!DOMAIN.contains(&other)).then_some("the seams know the domain alone"),
        Layer::Base => Some("the tools that everybody may use know no module of ours"),
        Layer::Adapter => (!DOMAIN.contains(&other) && !["seam", "settings", "allowance"].contains(&other))
            .then_some("an adapter knows the domain and the seams, and never another adapter, the flow or the edge"),
        Layer::Flow => (!DOMAIN.contains(&other)
            && !["seam", "settings", "allowance", "telemetry", "pipeline", "worker"].contains(&other))
        .then_some("the flow knows the domain, the seams and telemetry; it meets adapters through traits only"),
        Layer::Edge => None,
    }
}

/// The domain does no input and output, reads no clock and does not wait.
fn is_pure(layer: Layer, named: &Named) -> Option<&'static str> {
    const RULE: &str =
        "the domain does no I/O, reads no clock and does not wait; the time and the dice come in as arguments";
    let crate_name = named.segments.first()?.as_str();
    match layer {
        Layer::Domain(_) => {
            let impure = dependencies().contains(crate_name) && !PURE_CRATES.contains(&crate_name);
            let impure_std = IMPURE.iter().any(|part| named.names(part));
            (impure || impure_std).then_some(RULE)
        }
        Layer::Seam => {
            let ours = named.names("tokio::sync::Notify") || PURE_CRATES.contains(&crate_name);
            (dependencies().contains(crate_name) && !ours)
                .then_some("the seams need no library but tokio's Notify: whoever implements them chooses")
        }
        Layer::Base | Layer::Adapter | Layer::Flow | Layer::Edge => None,
    }
}

/// Each library of the outside has one home, so that it can be replaced there.
fn is_at_home(path: &str, layer: Layer, named: &Named) -> Option<String> {
    // Its framing is most of what a push costs: another one must fit under the pool's small interface.
    if named.names("h2") && !path.starts_with("provider/http2/") {
        return Some("only src/provider/http2 names h2".to_owned());
    }
    let (library, home) = HOMES.into_iter().find(|(library, _)| named.names(library))?;
    let at_home = path.starts_with(&format!("{home}/")) || path == format!("{home}.rs");
    (!at_home && layer != Layer::Edge).then(|| format!("below the edge only src/{home} names {library}"))
}

/// Protobuf is a promise to others; the domain's types are not.
fn is_wire(path: &str, named: &Named) -> Option<&'static str> {
    let generated = named.names("crate::event::wire") && named.segments.len() > 1;
    let allowed = WIRE_TYPES.iter().any(|place| path.starts_with(place));
    (generated && !allowed)
        .then_some("generated types are named in event, the codecs, command::emit and command::demo only")
}

/// The crates of `[dependencies]`, as code spells them.
fn dependencies() -> &'static BTreeSet<String> {
    static NAMES: std::sync::OnceLock<BTreeSet<String>> = std::sync::OnceLock::new();
    NAMES.get_or_init(|| {
        let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
        manifest["dependencies"].as_table().unwrap().keys().map(|name| name.replace('-', "_")).collect()
    })
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file under `folder`, relative to it, with its text.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(folder.join(&inner)).unwrap() {
            let entry = entry.unwrap();
            let path = inner.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.to_str().unwrap().to_owned(), fs::read_to_string(entry.path()).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn layers_know_only_what_is_below_them() {
    // The domain knows no adapter, adapters do not know each other, the flow knows traits; tests may know everybody.
    let files = files(&root().join("src"));
    let scanned: Vec<_> = files.iter().map(|(path, text)| (path, scan(path, text))).collect();
    let tests: BTreeSet<&String> = scanned.iter().flat_map(|(_, scanned)| &scanned.tests).collect();
    let is_test =
        |path: &str| tests.iter().any(|test| path == format!("{test}.rs") || path.starts_with(&format!("{test}/")));
    let shipped: Vec<_> = scanned.iter().filter(|(path, _)| !is_test(path)).collect();
    assert!(shipped.len() > 30, "only {} files were found", shipped.len());
    let found: Vec<_> = shipped.iter().flat_map(|(path, scanned)| violations(path, scanned)).collect();
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

#[test]
fn files_are_short() {
    // A file that can be read at one go has at most 400 lines.
    let long: Vec<_> = ["src", "tests"]
        .iter()
        .flat_map(|folder| {
            files(&root().join(folder)).into_iter().map(move |(path, text)| (format!("{folder}/{path}"), text))
        })
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{path} has {lines} lines; split it by what it is about"))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}
