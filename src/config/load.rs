//! Puts the layers together and finds everything that is wrong at once.
use std::fmt;
use std::path::Path;

use figment::error::Kind;
use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};

use super::Config;

/// The compiled-in defaults, which are also the reference of all keys.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// The prefix of the environment's variables. Those of the tests' services share it, without a section.
const PREFIX: &str = "WATCHBELL_";

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong and what to do; begins with the key.
    pub sentence: String,
    /// Where the value came from, if it did not come from the defaults.
    pub source: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{} [{source}]", self.sentence),
            None => write!(f, "{}", self.sentence),
        }
    }
}

/// Everything that is wrong with the configuration: at least one thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        writeln!(f, "the configuration has {count} problem{}:", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|problem| writeln!(f, "  - {problem}"))
    }
}

impl Config {
    /// The defaults, `file` and the variables of `environment`, checked for what every command needs.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        load(file, environment.into_iter().collect(), |_| crate::settings::Problems::default())
    }

    /// Like [`Config::load`], checked for what the worker needs too.
    pub fn load_for_worker(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        load(file, environment.into_iter().collect(), Self::worker_problems)
    }
}

fn load(
    file: Option<&Path>,
    environment: Vec<(String, String)>,
    more: impl Fn(&Config) -> crate::settings::Problems,
) -> Result<Config, Problems> {
    let mut found = Found::default();
    let mut layers = Figment::from(Defaults);
    if let Some(file) = file {
        match std::fs::read_to_string(file) {
            Ok(text) => layers = layers.merge(File { path: file.display().to_string(), text }),
            Err(error) => found.add(format!("{}: cannot be read: {error}", file.display()), None),
        }
    }
    let environment = Environment::of(environment, &mut found);
    let layers = layers.merge(environment);

    let merged = match layers.extract::<Dict>() {
        Ok(merged) => merged,
        Err(errors) => {
            errors.into_iter().for_each(|error| found.add(one_line(&error.to_string()), None));
            return Err(Problems(found.0));
        }
    };
    let Some(mut config) = extract_whole(merged, &layers, &mut found) else { return Err(Problems(found.0)) };
    let is_default = |key: &str| source(&layers, key).is_none();
    let sentences = config.read_secrets(is_default).into_iter();
    let sentences = sentences.chain(config.file_problems()).chain(config.problems()).chain(more(&config));
    for sentence in sentences {
        let key = sentence.split([' ', ':']).next().unwrap_or_default();
        let source = source(&layers, key);
        found.add(sentence, source);
    }
    if found.0.is_empty() { Ok(config) } else { Err(Problems(found.0)) }
}

#[derive(Default)]
struct Found(Vec<Problem>);

impl Found {
    fn add(&mut self, sentence: String, source: Option<String>) {
        self.0.push(Problem { sentence, source });
    }
}

/// Extracts the configuration, mending one error after another (the default in place of a wrong value, nothing in place of an unknown
/// key) so that all are found. `None` if something cannot be mended.
fn extract_whole(mut merged: Dict, layers: &Figment, found: &mut Found) -> Option<Config> {
    let defaults: Dict = Figment::from(Defaults).extract().ok()?;
    loop {
        let error = match Figment::from(Mended(&merged)).extract_lossy::<Config>() {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let path = error.path.clone();
        let (bad, sentence) = describe(&path, &error);
        found.add(sentence, source(layers, &bad.join(".")));
        // A missing field is mended by doing without the whole section around it.
        let mended = match look_up(&defaults, &bad) {
            Some(default) if look_up(&merged, &bad) != Some(default) => {
                replace(&mut merged, &bad, Some(default.clone()))
            }
            _ if look_up(&merged, &bad).is_some() => replace(&mut merged, &bad, None),
            _ => !path.is_empty() && replace(&mut merged, &path, None),
        };
        if !mended {
            return None;
        }
    }
}

/// The path of what is wrong, and the sentence about it.
fn describe(path: &[String], error: &Error) -> (Vec<String>, String) {
    let mut bad = path.to_vec();
    let reason = match &error.kind {
        Kind::UnknownField(name, known) => {
            if bad.last() != Some(name) {
                bad.push(name.clone());
            }
            let known = known.join(", ");
            format!("is not a key of this configuration; known here: {known}")
        }
        Kind::MissingField(name) => {
            bad.push(name.to_string());
            "is missing; config/default.toml tells what belongs there".to_owned()
        }
        Kind::UnknownVariant(value, known) => format!("must be one of {}; it is {value:?}", known.join(", ")),
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            format!("must be {expected}; it is {actual}")
        }
        kind => one_line(&kind.to_string()),
    };
    (bad.clone(), format!("{} {reason}", bad.join(".")))
}

fn look_up<'a>(dict: &'a Dict, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    match (dict.get(first)?, rest) {
        (value, []) => Some(value),
        (Value::Dict(_, inner), rest) => look_up(inner, rest),
        _ => None,
    }
}

/// Puts `value` at `path`, or takes away what is there; false if there is no such place.
fn replace(dict: &mut Dict, path: &[String], value: Option<Value>) -> bool {
    match path {
        [] => false,
        [last] => match value {
            Some(value) => {
                dict.insert(last.clone(), value);
                true
            }
            None => dict.remove(last).is_some(),
        },
        [first, rest @ ..] => match dict.get_mut(first) {
            Some(Value::Dict(_, inner)) => replace(inner, rest, value),
            _ => false,
        },
    }
}

/// Where the value of a key came from; `None` for the defaults.
fn source(layers: &Figment, key: &str) -> Option<String> {
    let name = &layers.find_metadata(key)?.name;
    match name.as_ref() {
        "defaults" => None,
        "environment" => Some(format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())),
        file => Some(file.to_owned()),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

struct Defaults;

impl Provider for Defaults {
    fn metadata(&self) -> Metadata {
        Metadata::named("defaults")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Toml::string(DEFAULTS).data()
    }
}

struct File {
    path: String,
    text: String,
}

impl Provider for File {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.path.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        // The message of a syntax error has several lines, with the place drawn in them.
        Toml::string(&self.text).data().map_err(|error| format!("{}: {error}", self.path).into())
    }
}

struct Mended<'a>(&'a Dict);

impl Provider for Mended<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::default()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Map::from([(Profile::Default, self.0.clone())]))
    }
}

/// The variables `WATCHBELL_<SECTION>__<KEY>`. A value is text and becomes what its key is; in brackets it is a list.
struct Environment(Dict);

impl Environment {
    fn of(variables: Vec<(String, String)>, found: &mut Found) -> Self {
        let mut dict = Dict::new();
        for (name, value) in variables {
            let Some(key) = name.strip_prefix(PREFIX) else { continue };
            let key = key.to_lowercase();
            let path: Vec<String> = key.split("__").map(str::to_owned).collect();
            if path.len() > 1 {
                insert(&mut dict, &path, &value);
            } else if SECTIONS.iter().any(|section| key.starts_with(&format!("{section}_"))) {
                // Anything else without a section is somebody else's, such as the variables that Kubernetes sets for a service.
                found.add(format!("{name} would be a key without a section; put two underscores between them"), None);
            }
        }
        Self(dict)
    }
}

/// The sections of [`Config`].
pub(super) const SECTIONS: [&str; 13] = [
    "kafka",
    "topics",
    "in_flight",
    "fanout",
    "policy",
    "provider",
    "retry",
    "hold",
    "dead_tokens",
    "worker",
    "telemetry",
    "apns",
    "fcm",
];

fn insert(dict: &mut Dict, path: &[String], text: &str) {
    match path {
        [] => {}
        [last] => {
            let list = text.starts_with('[').then(|| text.parse::<Value>().ok()).flatten();
            dict.insert(last.clone(), list.unwrap_or_else(|| Value::String(Tag::Default, text.to_owned())));
        }
        [first, rest @ ..] => {
            let inner = dict.entry(first.clone()).or_insert_with(|| Value::Dict(Tag::Default, Dict::new()));
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, text);
            }
        }
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Map::from([(Profile::Default, self.0.clone())]))
    }
}
